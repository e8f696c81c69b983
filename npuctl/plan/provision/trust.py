"""The certificate that a node trusts beside those of its distribution. Pure.

The distributions keep a folder for such certificates and a program that makes one file of all: update-ca-certificates(8)
of Debian, update-ca-trust(8) of the others. What the store was last made of is noted on the node: a run that was
killed between certificate and store is known by it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from npuctl.facts.setup import Setup
from npuctl.plan.fetching import CA_BUNDLE
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import RECORDS, Change, Node, Wish, Work
from npuctl.plan.provision.settings import Setting
from npuctl.spec.mirrors import effective_mirrors
from npuctl.spec.parse import Problem

RECORD = "trust"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class _Store:
    """Where a family keeps certificates.

    Attributes:
        bundle: what its program makes of them.
        forget: what the program needs to forget those that are gone.
    """

    folder: str
    program: tuple[str, ...]
    bundle: str
    forget: tuple[str, ...] = ()


_DEBIAN = _Store(
    "/usr/local/share/ca-certificates",
    ("update-ca-certificates",),
    "/etc/ssl/certs/ca-certificates.crt",
    forget=("--fresh",),
)
_RED_HAT = _Store(
    "/etc/pki/ca-trust/source/anchors",
    ("update-ca-trust", "extract"),
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
)
_STORES: Mapping[str, _Store] = {"apt": _DEBIAN, "dnf": _RED_HAT, "yum": _RED_HAT}
PROGRAMS = frozenset(store.program[0] for store in _STORES.values())


def files(wish: Wish) -> frozenset[str]:
    """The files to look at, of every family: before a node was looked at, its own is not known."""
    return frozenset(path for store in (_DEBIAN, _RED_HAT) for path in _certificates(wish, store))


def problems(wish: Wish) -> list[Problem]:
    """Why the file that the spec names cannot be a certificate to trust."""
    path = effective_mirrors(wish.spec).ca
    local = wish.local.get(path or "")
    if local is None:
        return []
    where = f"{wish.file}: npuctl_cluster.mirrors.ca"
    if "PRIVATE KEY" in local.text:
        return [
            Problem(where, f"{path} holds a private key", "name the certificate alone: nodes can read it")
        ]
    if not _PEM.search(local.text):
        return [Problem(where, f"{path} holds no certificate in PEM", "it begins with BEGIN CERTIFICATE")]
    return []


def settings(wish: Wish, node: Node) -> list[Setting]:
    """The certificates as files: one each, as Debian's program wants them."""
    store = _STORES.get(node.setup.packages_by)
    if store is None:
        return []
    return [Setting(path, "", text) for path, text in _certificates(wish, store).items()]


def work(wish: Wish, node: Node) -> Work | None:
    """The store made anew, where it was not made of these certificates."""
    store = _STORES.get(node.setup.packages_by)
    wanted = _certificates(wish, store) if store else {}
    if effective_mirrors(wish.spec).ca and not wish.removing and store is None:
        note = "mirrors.ca: none of apt, dnf and yum is here, and where certificates go is not known"
        return Work(node.name, "mirrors", "package_mirror", notes=(note,))
    digest = _digest(wanted)
    made_of = node.setup.records.get(RECORD, {}).get("sha256", "")
    if store is None or (made_of == digest and not _differ(wanted, node.setup)):
        return None
    if wanted and not node.setup.programs.get(store.program[0]):
        return Work(node.name, "mirrors", "package_mirror", findings=(_no_program(node, store),))
    trust = {
        "command": [
            node.setup.programs.get(store.program[0]) or store.program[0],
            *store.program[1:],
            *(store.forget if made_of else ()),
        ],
        "certificates": sorted(wanted),
        "note": json.dumps({"sha256": digest}) + "\n" if wanted else "",
        "record": f"{RECORDS}/{RECORD}.json",
        "bundle": store.bundle,
        "link": CA_BUNDLE,
    }
    change = Change(
        "certificates that the node trusts",
        "with another of npuctl's"
        if made_of and wanted
        else "with npuctl's"
        if made_of
        else "the distribution's",
        "with that of mirrors.ca" if wanted else "the distribution's",
    )
    return Work(
        node.name, "mirrors", "package_mirror", variables={"package_mirror_trust": trust}, changes=(change,)
    )


def _certificates(wish: Wish, store: _Store | None) -> dict[str, str]:
    """Path → text."""
    path = None if wish.removing else effective_mirrors(wish.spec).ca
    local = wish.local.get(path or "")
    if local is None or store is None:
        return {}
    texts = [f"{found}\n" for found in _PEM.findall(local.text.replace("\r\n", "\n"))]
    names = ["npuctl.crt", *(f"npuctl-{number}.crt" for number in range(2, len(texts) + 1))]
    return {f"{store.folder}/{name}": text for name, text in zip(names, texts, strict=False)}


def _digest(certificates: Mapping[str, str]) -> str:
    return hashlib.sha256("".join(certificates.values()).encode()).hexdigest() if certificates else ""


def _differ(certificates: Mapping[str, str], setup: Setup) -> bool:
    found = {path: setup.files.get(path) for path in certificates}
    return any(file is None or file.text != certificates[path] for path, file in found.items())


def _no_program(node: Node, store: _Store) -> Finding:
    return Finding(
        id="provision.ca_store",
        severity="error",
        node=node.name,
        seen=f"{store.program[0]} is not on the node, and without it nothing takes up the certificate of mirrors.ca",
        expected="the program that adds a certificate to those that the node trusts",
        remedy="install the package ca-certificates on the node, or take mirrors.ca out",
    )
