"""The engines' images on every node that needs them: pulled, or loaded from an archive."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from npuctl.facts.image_archive import ArchivedImage
from npuctl.facts.setup import LocalImage
from npuctl.facts.survey import ImageFacts
from npuctl.hardware.catalog import PRODUCTS
from npuctl.plan.build import product_of
from npuctl.plan.checks import CheckedNode
from npuctl.plan.checks.runtime import no_room
from npuctl.plan.checks.versions._stack import Stack, stack_of
from npuctl.plan.checks.versions.image import image_is_for_product
from npuctl.plan.compatibility import compatibility
from npuctl.plan.model import Finding, Pull
from npuctl.plan.provision._contract import RECORDS, Change, LocalFile, Node, Questions, Wish, Work
from npuctl.plan.provision.settings import Setting
from npuctl.plan.pull import DOCKER_HUB, image_of, image_prefixes, images_of, pull_of, split
from npuctl.plan.wording import size
from npuctl.spec.mirrors import effective_mirrors
from npuctl.spec.models import Service

RECORD = "images"
_ROLE = "container_image"
_FOLDER = f"{RECORDS}/images"
_CERTIFICATES = "/etc/docker/certs.d"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One image that one node should have.

    Attributes:
        file: the archive here that it is loaded from; None where it is pulled.
        archived: the image in it.
    """

    service: Service
    reference: str
    pull: Pull
    file: LocalFile | None = None
    archived: ArchivedImage | None = None


def questions(wish: Wish) -> Questions:
    """Whether the images are there, by their own names and by those of mirrors."""
    if wish.removing:
        return Questions(records=frozenset({RECORD}))
    references = _references(wish)
    sources = {pull_of(wish.spec, reference).source for reference in references if "@" in reference}
    return Questions(
        files=frozenset(_certificates(wish)),
        images=frozenset((references | sources) - {""}),
        records=frozenset({RECORD}),
    )


def settings(wish: Wish, node: Node) -> list[Setting]:
    """The authority of mirrors.ca for every registry that images come from.

    Docker reads these files at each pull and adds them to the system's (its documentation, "Verify repository
    client with certificates"); a certificate that the system's store got while it runs it sees after a restart.
    """
    if node.facts.docker.error and wish.spec.container_engine is None:
        return []
    return [Setting(path, "", text) for path, text in _certificates(wish).items()]


def _certificates(wish: Wish) -> dict[str, str]:
    """Path on the nodes → text."""
    mirrors = effective_mirrors(wish.spec)
    local = wish.local.get(mirrors.ca or "")
    if local is None or wish.removing:
        return {}
    hosts = {pull_of(wish.spec, reference).registry for reference in _references(wish)}
    hosts |= {
        mirror.partition("://")[2].partition("/")[0]
        for mirror in (mirrors.docker.registry_mirrors if mirrors.docker else [])
    }
    # For Docker Hub itself Docker reads none of these files.
    return {f"{_CERTIFICATES}/{host}/npuctl.crt": local.text for host in sorted(hosts - {DOCKER_HUB})}


def _references(wish: Wish) -> set[str]:
    """Every image that may be needed, whatever the nodes are."""
    return {reference for service in wish.spec.services for reference in images_of(service)}


def work(wish: Wish, nodes: Sequence[Node]) -> list[Work]:
    """What has to be brought, node by node; at a teardown what npuctl brought, if that is asked for."""
    if wish.removing:
        return [_removal(wish, node) for node in nodes] if "images" in wish.remove else []
    works = [_work_of(wish, node, nodes) for node in nodes]
    unused = tuple(_unused_logins(wish))
    if works and unused:
        works[0] = replace(works[0], findings=(*unused, *works[0].findings))
    return works


def _work_of(wish: Wish, node: Node, nodes: Sequence[Node]) -> Work:
    own = Work(node.name, "images", _ROLE)
    services = [service for service in wish.spec.services if node.name in wish.hosts.get(service.name, ())]
    if not services:
        return own
    if node.facts.docker.error and wish.spec.container_engine is None:
        return replace(own, findings=(_no_engine(node),))
    checked = CheckedNode(node.name, node.facts, product_of(node.facts))
    findings: list[Finding] = []
    notes: list[str] = []
    missing: dict[str, _Wanted] = {}
    for service in services:
        reference = image_of(service, checked.product)
        if reference is None:
            notes.append(f"which image {service.name} needs is not known: no NPU of a known product was read")
            continue
        found = _wanted(wish, node, service, reference)
        if isinstance(found, Finding):
            findings.append(found)
            continue
        wrong = list(image_is_for_product(_stack_with(checked, found)))
        findings += wrong
        if not wrong and not _is_there(node, found):
            missing.setdefault(reference, found)
    for wanted in missing.values():
        findings += _no_room(checked, wanted, nodes)
    return replace(
        own,
        variables=_variables(wish, missing.values(), checked) if missing else {},
        changes=tuple(_change(node, wanted) for wanted in missing.values()),
        notes=tuple(dict.fromkeys(notes)),
        findings=tuple(findings),
    )


def _wanted(wish: Wish, node: Node, service: Service, reference: str) -> _Wanted | Finding:
    pull = pull_of(wish.spec, reference)
    if service.image_file is None:
        return _Wanted(service, reference, pull)
    path = service.image_file.replace("{arch}", node.facts.architecture)
    file = wish.local.get(path)
    if file is None or file.archive is None:
        return _file_finding(node, service, f"there is no {path} here", f"an archive for {node.name}")
    images = file.archive.images
    named = [image for image in images if {reference, pull.source} & set(image.names)]
    chosen = named or (images if len(images) == 1 else [])
    if not chosen:
        names = ", ".join(name for image in images for name in image.names) or "images without names"
        return _file_finding(node, service, f"{path} holds {names}", f"{reference} among them")
    return _Wanted(service, reference, pull, file, chosen[0])


def _file_finding(node: Node, service: Service, seen: str, expected: str) -> Finding:
    return Finding(
        id="provision.image_file",
        severity="error",
        node=node.name,
        seen=seen,
        expected=expected,
        remedy="docker pull IMAGE and docker save -o FILE IMAGE where a registry can be reached, on a machine"
        f" of this architecture ({node.facts.architecture}) or with --platform",
        service=service.name,
    )


def _stack_with(checked: CheckedNode, wanted: _Wanted) -> Stack:
    """The versions that must fit each other, with what the archive says where the image comes from one."""
    stack = stack_of(checked, wanted.service, wanted.reference)
    if wanted.archived is None:
        return stack
    inside = wanted.archived
    facts = ImageFacts(
        reference=wanted.reference,
        id=inside.id,
        architecture=inside.architecture,
        soc_version=inside.soc_version,
    )
    return replace(stack, image=facts)


def _is_there(node: Node, wanted: _Wanted) -> bool:
    found = _local(node, wanted)
    if found is None or wanted.archived is None:
        return found is not None
    return wanted.archived.id == found.id or wanted.archived.id == _loaded_as(node, wanted.reference).get(
        found.id
    )


def _local(node: Node, wanted: _Wanted) -> LocalImage | None:
    images = node.setup.images
    if "@" in wanted.reference and wanted.pull.source in images:
        return images[wanted.pull.source]
    return images.get(wanted.reference)


def _loaded_as(node: Node, reference: str) -> dict[str, str]:
    """Id of an image on the node → id that it had in the archive: containerd's store gives it another one."""
    entry = _noted(node).get(reference, {})
    return {str(entry["id"]): str(entry["archive"])} if entry.get("archive") and entry.get("id") else {}


def _noted(node: Node) -> dict[str, dict[str, Any]]:
    images = node.setup.records.get(RECORD, {}).get("images")
    entries = images.items() if isinstance(images, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, dict)}


def _change(node: Node, wanted: _Wanted) -> Change:
    there = "another image of this name" if _local(node, wanted) else "absent"
    if wanted.file is not None:
        return Change(
            f"image {wanted.reference}", there, f"loaded from {wanted.file.path}, {size(wanted.file.size)}"
        )
    through = f" through {wanted.pull.source}" if wanted.pull.source else ""
    return Change(f"image {wanted.reference}", there, f"pulled{through}")


def _no_room(checked: CheckedNode, wanted: _Wanted, nodes: Sequence[Node]) -> Iterator[Finding]:
    unpacked = wanted.archived.unpacked_bytes if wanted.archived else 0
    if not unpacked:
        surveys = [node.facts.survey for node in nodes if node.facts.survey]
        copies = [image for survey in surveys for image in survey.images]
        unpacked = max((copy.size_bytes for copy in copies if copy.reference == wanted.reference), default=0)
    found = no_room(checked, wanted.reference, unpacked, wanted.service.name)
    if found is not None:
        yield found


def _variables(wish: Wish, entries: Collection[_Wanted], checked: CheckedNode) -> dict[str, Any]:
    titles = {product.key: product.title for product in PRODUCTS}
    logins = {
        entry.pull.registry: entry.pull for entry in entries if entry.pull.secret and entry.file is None
    }
    return {
        f"{_ROLE}_cluster": wish.spec.name,
        f"{_ROLE}_images": [_image_variables(entry) for entry in entries],
        f"{_ROLE}_logins": [
            {"registry": registry, "username": pull.username, "secret": pull.secret}
            for registry, pull in sorted(logins.items())
        ],
        f"{_ROLE}_product": checked.product.title if checked.product else "",
        f"{_ROLE}_soc_versions": {
            start: titles[key] for start, key in compatibility().soc_versions.items() if key in titles
        },
    }


def _image_variables(wanted: _Wanted) -> dict[str, Any]:
    if wanted.file is None or wanted.archived is None:
        return {
            "reference": wanted.reference,
            "source": wanted.pull.source,
            "registry": wanted.pull.registry,
        }
    inside = wanted.archived
    own = [name for name in (wanted.reference, wanted.pull.source) if name in inside.names]
    return {
        "reference": wanted.reference,
        "archive_here": wanted.file.resolved,
        "archive": f"{_FOLDER}/{PurePosixPath(wanted.file.path).name}",
        "archive_name": (own or inside.names or [""])[0],
        "archive_names": inside.names,
        "id": inside.id,
    }


def _removal(wish: Wish, node: Node) -> Work:
    """What was brought for this cluster; what was noted for none is whoever's asks."""
    owners = {name: entry.get("cluster") or wish.spec.name for name, entry in sorted(_noted(node).items())}
    notes = tuple(
        f"{name} was brought for cluster {owner}: it stays"
        for name, owner in owners.items()
        if owner != wish.spec.name
    )
    own = Work(node.name, "images", _ROLE, "remove", notes=notes)
    names = [name for name, owner in owners.items() if owner == wish.spec.name]
    changes = tuple(Change(f"image {name}", "brought by npuctl", "absent") for name in names)
    variables = {f"{_ROLE}_cluster": wish.spec.name, f"{_ROLE}_references": names}
    return replace(own, variables=variables, changes=changes) if names else own


def _no_engine(node: Node) -> Finding:
    return Finding(
        id="provision.no_docker",
        severity="error",
        node=node.name,
        seen=f"Docker does not answer: {node.facts.docker.error}",
        expected="a container engine to bring the services' images to",
        remedy="start Docker, or write container_engine: {} into the spec to have it installed",
    )


def _unused_logins(wish: Wish) -> Iterator[Finding]:
    asked = {pull_of(wish.spec, reference).registry for reference in _references(wish)}
    asked |= {split(f"{prefix}/image")[0] for prefix in image_prefixes(wish.spec).values()}
    for registry in sorted(set(wish.spec.registries) - asked):
        yield Finding(
            id="provision.login_unused",
            severity="warning",
            node="",
            seen=f"registries has a login for {registry}, and no image is pulled from there",
            expected=f"a registry of those that are asked: {', '.join(sorted(asked)) or 'none'}",
            remedy=f"take {registry} out of registries, or write the registry that mirrors.docker.images leads to",
        )
