"""Where weights come from: a hub, a folder here, another machine; each becomes a manifest and something to read."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from npuctl.operate.local_files import resolve_here
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import Node, Wish
from npuctl.plan.provision.weights import Store, noted_manifest
from npuctl.plan.provision.weights_findings import conversion_failed, no_room, no_source, wrong_format
from npuctl.plan.provision.weights_manifest import (
    FileEntry,
    Manifest,
    chosen,
    command_hash,
    compare,
    format_of,
    is_converted,
    is_file_name,
    read_manifest,
    source_name,
)
from npuctl.remote.inventory import Host, Inventory
from npuctl.remote.ssh import options
from npuctl.remote.transfer import (
    HERE,
    Copy,
    LocalFolder,
    RemoteFolder,
    Source,
    Tell,
    WorkError,
    copy,
    work_on,
)
from npuctl.spec.mirrors import effective_mirrors
from npuctl.spec.models import Model
from npuctl.spec.parse import Problem, SpecError
from npuctl.spec.parts import SecretRef

_HUBS = ("huggingface", "modelscope")
_SPARE_BYTES = 256 * 2**20
_SSH_PLACE = re.compile(
    r"^(?:(?P<user>[^@/:\s]+)@)?(?P<host>\[[0-9A-Fa-f:]+\]|[^@/:\s-][^@/:\s]*):(?P<path>/.*)$"
)
_MOST_LINES = 20

Seen = dict[str, tuple[int, int]]


class OriginError(Exception):
    """Weights that cannot be had, as the finding that says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.seen)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Origin:
    """What should be on the nodes, and where it can be taken from.

    Attributes:
        source: what this machine feeds from; None where a node has it.
        first: the node that downloaded it; "" where none did.
    """

    manifest: Manifest
    source: Source | None = None
    first: str = ""


def seen_models(inventory: Inventory) -> dict[str, Seen]:
    """Folder on the nodes → files of the folder here that it is filled from, for models with source `path`.

    Raises:
        SpecError: with each that is not here.
    """
    found: dict[str, Seen] = {}
    problems = []
    for index, service in enumerate(inventory.spec.services):
        model = service.model
        if model.source != "path" or model.path is None or model.from_ is None:
            continue
        folder = resolve_here(inventory, model.from_)
        if folder.is_dir():
            found[model.path.rstrip("/")] = list_here(folder)
            continue
        problems.append(
            Problem(
                f"{inventory.spec_file}: npuctl_cluster.services[{index}].model.from",
                f"{folder} is not a folder here",
                "with source: path it is a folder of this machine, beside hosts.yml unless absolute",
            )
        )
    if problems:
        raise SpecError(problems)
    return found


def list_here(folder: Path) -> Seen:
    """The visible files of a folder of this machine with size and time; links to files are followed."""
    found: Seen = {}
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(root) / name
            relative = str(path.relative_to(folder))
            if is_file_name(relative) and path.is_file():
                info = path.stat()
                found[relative] = (info.st_size, int(info.st_mtime))
    return dict(sorted(found.items()))


def staging_folder(inventory: Inventory) -> Path:
    """Where this machine keeps downloads."""
    given = inventory.spec.model_store.staging
    return Path(given) if given else Path("~/.cache/npuctl/models").expanduser()


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Finds out what a model is made of, and fetches it where no node has it."""

    inventory: Inventory
    wish: Wish
    nodes: Sequence[Node]
    tell: Tell

    def origin(self, store: Store) -> Origin:
        """Manifest and source of a model; a hub's files are fetched on the way, once.

        Raises:
            OriginError: it cannot be had.
        """
        try:
            if store.model.source in _HUBS:
                return self._hub(store)
            return self._folder(store)
        except WorkError as error:
            raise OriginError(no_source(store, str(error), error.hint)) from None
        except OSError as error:
            raise OriginError(no_source(store, str(error), "")) from None

    def _folder(self, store: Store) -> Origin:
        """A folder here, or of another machine."""
        model = store.model
        if model.source == "rsync":
            path = self._rsync(store)
            return self._from_here(store, path)
        if model.source == "path":
            return self._from_here(store, resolve_here(self.inventory, model.from_ or ""))
        host, place = self._machine(store)
        answer = work_on(self.inventory, host, {"work": "list", "path": place}, self.tell)
        seen = {
            str(name): (int(entry["size"]), int(entry["mtime"])) for name, entry in answer["files"].items()
        }
        self._refuse_format(store, seen)
        remote = RemoteFolder(self.inventory, host, place)
        known = self._known(store, seen)
        if known is not None and not is_converted(model, seen):
            return Origin(known, remote)
        if known is not None and any(self._has(store, known, node) for node in self.nodes):
            return Origin(known)
        manifest = self._hashed(store, host, place, seen, hashes="")
        if is_converted(model, seen):
            return self._converted(store, self._bring_here(store, manifest, remote), manifest)
        return Origin(manifest, remote)

    def _from_here(self, store: Store, folder: Path) -> Origin:
        seen = list_here(folder)
        self._refuse_format(store, seen)
        known = self._known(store, seen)
        if known is not None and not is_converted(store.model, seen):
            return Origin(known, LocalFolder(folder))
        if known is not None and any(self._has(store, known, node) for node in self.nodes):
            return Origin(known)
        manifest = self._hashed(
            store, HERE, str(folder), seen, hashes=str(self._beside(store, "hashes.json"))
        )
        if is_converted(store.model, seen):
            return self._converted(store, folder, manifest)
        return Origin(manifest, LocalFolder(folder))

    def _known(self, store: Store, seen: Seen) -> Manifest | None:
        """The manifest of a folder that is as it was when it was read."""
        mine = {name: seen[name] for name in chosen(store.model, seen)}
        for known in (noted_manifest(store, self.nodes), self._kept(store)):
            if known is not None and known.describes(store.model) and known.seen == mine:
                return known
        return None

    def _hashed(self, store: Store, host: Host, folder: str, seen: Seen, *, hashes: str) -> Manifest:
        """The manifest of a folder, read."""
        mine = {name: seen[name] for name in chosen(store.model, seen)}
        self.tell(f"{store.model.id}: reading {len(mine)} files on {host.name}")
        request = {
            "work": "hash",
            "path": folder,
            "hashes": hashes,
            "files": {name: size for name, (size, _) in mine.items()},
        }
        answer = work_on(self.inventory, host, request, self.tell)
        manifest = _manifest(store.model, answer["files"], revision="", seen=mine)
        if not is_converted(store.model, seen):
            self._keep(store, manifest)
        return manifest

    def _machine(self, store: Store) -> tuple[Host, str]:
        """The machine and the folder of source `ssh`; one of the inventory is reached as the inventory says."""
        place = _SSH_PLACE.match(store.model.from_ or "")
        if place is None:
            hint = "write from: USER@HOST:/FOLDER"
            raise OriginError(no_source(store, f"`from` is {store.model.from_!r}", hint))
        name = place["host"].strip("[]")
        known = self.inventory.hosts.get(name)
        if known is not None:
            return known, place["path"]
        return Host(name=name, address=name, user=place["user"] or ""), place["path"]

    def _rsync(self, store: Store) -> Path:
        """Have rsync bring a folder here; it sends only what differs and goes on where it stopped."""
        if shutil.which("rsync") is None:
            hint = "install rsync here, or take source: ssh, which needs none"
            raise OriginError(no_source(store, "there is no rsync on this machine", hint))
        target = staging_folder(self.inventory) / _slug(store.model)
        target.mkdir(parents=True, exist_ok=True)
        shell = shlex.join(["ssh", "-o", "BatchMode=yes", *options(self.inventory)])
        argv = ["rsync", "--recursive", "--copy-links", "--times", "--delete", "--partial-dir=.rsync-partial"]
        argv += ["-e", shell, "--", f"{(store.model.from_ or '').rstrip('/')}/", f"{target}/"]
        self.tell(f"{store.model.id}: rsync brings it to {target}")
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OriginError(
                no_source(store, f"rsync ended with {done.returncode}: {_last(done.stderr)}", "")
            )
        return target

    def _bring_here(self, store: Store, manifest: Manifest, source: Source) -> Path:
        """Copy a folder of another machine here, for a command that needs it."""
        target = staging_folder(self.inventory) / _slug(store.model)
        target.parent.mkdir(parents=True, exist_ok=True)
        files = manifest.to_json()["files"]
        wanted = Copy(
            path=str(target),
            files=files,
            nodes=[HERE.name],
            hosts={HERE.name: HERE},
            ours={HERE.name: list(files)},
            addresses={HERE.name: "127.0.0.1"},
            port=0,
        )
        copied = copy(self.inventory, wanted, source, self.tell)
        if copied.failed:
            raise OriginError(no_source(store, copied.failed[HERE.name], ""))
        self._publish(target, replace(manifest, converted=""))
        return target

    def _publish(self, target: Path, manifest: Manifest) -> None:
        request = {"work": "publish", "path": str(target), "manifest": manifest.to_json()}
        work_on(self.inventory, HERE, request, self.tell)

    def _hub(self, store: Store) -> Origin:
        """A hub's model: from the nodes that have it, from an earlier download, or fetched now."""
        known = noted_manifest(store, self.nodes) or self._kept(store)
        target = staging_folder(self.inventory) / _slug(store.model)
        if known is not None and known.describes(store.model):
            if self._here(target, known):
                return Origin(known, LocalFolder(target))
            if any(self._has(store, known, node) for node in self.nodes):
                return Origin(known)
        where = self.wish.spec.model_store.download_on
        listing = self._listing(store, where)
        files = {name: listing["files"][name] for name in chosen(store.model, listing["files"])}
        if is_converted(store.model, listing["files"]):
            if where:
                self.tell(f"{store.model.id}: downloaded here and not on {where}: `convert` runs here")
            where = None
        if where is not None:
            return self._download_on(store, where, files, listing["revision"])
        self._refuse_full(store, HERE, "", str(target), files)
        target.parent.mkdir(parents=True, exist_ok=True)
        manifest = self._download(store, HERE, str(target), files, listing["revision"])
        if is_converted(store.model, files):
            # Kept as what it is, and not as what is made of it.
            self._publish(target, replace(manifest, converted=""))
            return self._converted(store, target, manifest)
        self._publish(target, manifest)
        return Origin(manifest, LocalFolder(target))

    def _here(self, folder: Path, manifest: Manifest) -> bool:
        """Whether an earlier download is still whole, by size; what is sent is hashed on its way."""
        return all(
            (folder / name).is_file() and (folder / name).stat().st_size == entry.size
            for name, entry in manifest.files.items()
        )

    def _has(self, store: Store, manifest: Manifest, node: Node) -> bool:
        facts = node.setup.stores.get(store.path)
        return facts is not None and compare(manifest, facts).whole

    def _listing(self, store: Store, where: str | None) -> dict[str, Any]:
        host = self.inventory.hosts[where] if where else HERE
        self.tell(f"{store.model.id}: asking {store.origin} from {host.name}")
        listing = work_on(self.inventory, host, {"work": "list_hub", **self._hub_request(store)}, self.tell)
        self._refuse_format(store, listing["files"])
        return listing

    def _download_on(self, store: Store, where: str, files: Mapping[str, Any], revision: str) -> Origin:
        host = self.inventory.hosts[where]
        self._refuse_full(store, host, where, store.path, files)
        manifest = self._download(store, host, store.path, files, revision)
        return Origin(manifest, None, where)

    def _download(
        self, store: Store, host: Host, path: str, files: Mapping[str, Any], revision: str
    ) -> Manifest:
        amount = sum(int(entry["size"]) for entry in files.values())
        self.tell(f"{store.model.id}: {len(files)} files, {amount / 1e9:.2f} GB, from {store.origin}")
        request = {
            "work": "download",
            **self._hub_request(store),
            "commit": revision,
            "path": path,
            "files": dict(files),
        }
        answer = work_on(self.inventory, host, request, self.tell)
        found = {
            name: {"size": entry["size"], "sha256": answer["files"][name]} for name, entry in files.items()
        }
        return _manifest(store.model, found, revision=revision, seen={})

    def _hub_request(self, store: Store) -> dict[str, Any]:
        """What the hub's client is told; it goes there by standard input."""
        spec, model = self.wish.spec, store.model
        mirrors = effective_mirrors(spec)
        token = getattr(spec.hub_tokens, model.source)
        ca = self.wish.local.get(mirrors.ca) if mirrors.ca else None
        return {
            "hub": model.source,
            "model": source_name(model),
            "revision": model.revision or "",
            "endpoint": getattr(mirrors, model.source),
            "token": self._secret(store, token) if token else "",
            "proxies": self._proxies(store),
            "ca": ca.text if ca else "",
        }

    def _proxies(self, store: Store) -> dict[str, str]:
        proxy = self.wish.spec.proxy
        if proxy is None:
            return {}
        given = {"http_proxy": proxy.http, "https_proxy": proxy.https}
        found = {
            name: self._secret(store, value) if isinstance(value, SecretRef) else value
            for name, value in given.items()
            if value is not None
        }
        return found | {"no_proxy": ",".join(proxy.no_proxy)}

    def _secret(self, store: Store, reference: SecretRef) -> str:
        try:
            return self.inventory.secrets[reference.secret]
        except KeyError:
            hint = "add it to npuctl_secrets in group_vars/all/vault.yml"
            raise OriginError(
                no_source(store, f"the vault has no secret {reference.secret!r}", hint)
            ) from None

    def _refuse_format(self, store: Store, names: Mapping[str, Any]) -> None:
        kind = format_of(names)
        if kind != "safetensors" and store.model.convert is None:
            raise OriginError(wrong_format(store.model, store.services[0], kind))

    def _refuse_full(self, store: Store, host: Host, node: str, path: str, files: Mapping[str, Any]) -> None:
        room = work_on(self.inventory, host, {"work": "room", "path": path}, self.tell)
        lacking = sum(int(entry["size"]) for entry in files.values()) - int(room["there_bytes"])
        if lacking > 0 and int(room["free_bytes"]) < lacking + _SPARE_BYTES:
            raise OriginError(no_room(node, store, lacking, int(room["free_bytes"]), _SPARE_BYTES))

    def _converted(self, store: Store, folder: Path, manifest: Manifest) -> Origin:
        """Run the spec's command, once for the same files and the same command."""
        made_of = json.dumps([manifest.to_json()["files"], store.model.convert], sort_keys=True)
        target = staging_folder(self.inventory) / f"{_slug(store.model)}--converted-{_short_hash(made_of)}"
        if not target.is_dir():
            self._convert(store, folder, target)
        own = list_here(target)
        if format_of(own) != "safetensors":
            raise OriginError(conversion_failed(store, f"there is no .safetensors file in {target}"))
        hashes = str(target.with_name(f".{target.name}.npuctl-hashes.json"))
        request = {
            "work": "hash",
            "path": str(target),
            "hashes": hashes,
            "files": {name: size for name, (size, _) in own.items()},
        }
        answer = work_on(self.inventory, HERE, request, self.tell)
        found = _manifest(store.model, answer["files"], revision=manifest.revision, seen=dict(manifest.seen))
        return Origin(found, LocalFolder(target))

    def _convert(self, store: Store, folder: Path, target: Path) -> None:
        fresh = target.with_name(f".{target.name}.unfinished")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        places = {"{source}": str(folder), "{target}": str(fresh)}
        argv = [_filled(word, places) for word in store.model.convert or ()]
        self.tell(f"{store.model.id}: converting with {Path(argv[0]).name}")
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
            )
        except OSError as error:
            raise OriginError(
                conversion_failed(store, f"{argv[0]} cannot be run: {error.strerror}")
            ) from None
        if done.returncode:
            words = f"{argv[0]} ended with {done.returncode}: {_last(done.stdout + done.stderr)}"
            raise OriginError(conversion_failed(store, words))
        fresh.rename(target)

    def _beside(self, store: Store, what: str) -> Path:
        return staging_folder(self.inventory) / f".{_slug(store.model)}.npuctl-{what}"

    def _kept(self, store: Store) -> Manifest | None:
        """The manifest that this machine kept of an earlier run."""
        try:
            text = self._beside(store, "manifest.json").read_text(encoding="utf-8")
            data = json.loads(text)
        except (OSError, ValueError):
            return None
        return read_manifest(data) if isinstance(data, dict) else None

    def _keep(self, store: Store, manifest: Manifest) -> None:
        path = self._beside(store, "manifest.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(manifest.to_json(), indent=1), encoding="utf-8")
        fresh.replace(path)


def _manifest(model: Model, files: Mapping[str, Any], *, revision: str, seen: Seen) -> Manifest:
    return Manifest(
        source=model.source,
        name=source_name(model),
        files={name: FileEntry(int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()},
        asked=model.revision or "",
        revision=revision,
        converted=command_hash(model),
        seen=seen,
    )


def _slug(model: Model) -> str:
    """A folder's name for what a source calls a model."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "--", source_name(model)).strip("-.")[-80:]
    return f"{model.source}--{name}--{_short_hash(source_name(model))}"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _filled(word: str, places: Mapping[str, str]) -> str:
    """A word of a command with its places filled in; no shell reads it."""
    for place, path in places.items():
        word = word.replace(place, path)
    return word


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-_MOST_LINES:]) or "it said nothing"
