"""The images a sandbox is made of; a tag is the hash of what went in, so nothing is built twice."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import subprocess
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from npuctl.errors import PlayFailedError, UsageError
from npuctl.paths import content_root
from npuctl.sandbox import apt, bootstrap, docker
from npuctl.sandbox.model import LABEL_BUILD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuctl.sandbox.progress import Progress

REPOSITORY = "npuctl-sandbox"
INIT = "/usr/local/sbin/npuctl-node-init"
_NODE_CHANGES = (f'ENTRYPOINT ["{INIT}"]', "CMD []", "ENV container=docker")
_LEAN = "etc/dpkg/dpkg.cfg.d/npuctl-lean"
_STAGING = "opt/npuctl-node"
_RELEASES = {"sim": "v0.18.0", "cpu": "v0.23.0"}
# Where files of sandbox/node/npusim go in a node.
_NPUSIM_TARGETS = {"npusim/bin/npusim": "usr/local/sbin/npusim", "npusim/bin/lspci": "usr/local/bin/lspci"}
# The rest lies where `npusim init` or an installer takes it from.
_NPUSIM = "npusim/"
_NPUSIM_LIBRARY = "usr/local/lib/npusim/"
_MIRROR_PACKAGE = "sandboxmirror/"
_MIRROR_LIBRARY = "usr/local/lib/npuctl-mirror"


@dataclass(frozen=True, slots=True)
class File:
    """A file on its way into an image or a node."""

    content: bytes
    mode: int = 0o644


Files = dict[str, File]


def cache_folder() -> Path:
    """Return the folder for what can be made again (made if need be)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "npuctl" / "sandbox"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def only_one(what: str) -> Iterator[None]:
    """Hold this user's lock of that name: two builds of one image would do the work twice."""
    with (cache_folder() / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_tree(folder: Path) -> Files:
    """Read every file below `folder`, but what Python leaves behind."""
    return {
        path.relative_to(folder).as_posix(): File(
            path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def digest(*parts: str | Files) -> str:
    """Return 12 hex digits that change when any part does."""
    total = hashlib.sha256()
    for part in parts:
        entries = {"": File(part.encode())} if isinstance(part, str) else part
        for name, file in sorted(entries.items()):
            total.update(f"{name}\0{file.mode:o}\0{len(file.content)}\0".encode())
            total.update(file.content)
    return total.hexdigest()[:12]


def tar_of(files: Files) -> bytes:
    """Pack files, all owned by root, into a tar that `docker cp -` unpacks at /."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(files[name].content), files[name].mode
            archive.addfile(entry, io.BytesIO(files[name].content))
    return buffer.getvalue()


def node_files(tree: Files) -> Files:
    """Map sandbox/node onto a node's own paths."""
    placed = {
        INIT.lstrip("/"): tree["init"],
        f"{_STAGING}/finish": tree["finish"],
        f"{_STAGING}/strip": tree["strip"],
    }
    for name, file in tree.items():
        if name.startswith("rootfs/"):
            placed[name.removeprefix("rootfs/")] = file
        elif name in _NPUSIM_TARGETS:
            placed[_NPUSIM_TARGETS[name]] = File(file.content, 0o755)
        elif name.startswith(_NPUSIM):
            placed[_NPUSIM_LIBRARY + name.removeprefix(_NPUSIM)] = file
    return placed


def ensure_base_image(progress: Progress) -> str:
    """Return the tag of minimal Debian 12 with python3, made if there is none."""
    mirrors = bootstrap.host_mirrors()
    tag = f"{REPOSITORY}/base:{digest(apt.SUITE, bootstrap.INCLUDED, mirrors.sources_list, 'v1')}"
    if docker.image_id(tag):
        return tag
    minimal = f"{REPOSITORY}/minimal:{apt.SUITE}"
    bootstrap.make_minimal_image(minimal, cache_folder(), progress)
    lean = read_tree(content_root() / "sandbox" / "node" / "rootfs")[_LEAN]
    files = {_LEAN: lean, "etc/apt/sources.list": File(mirrors.sources_list.encode())}
    script = (
        "set -e; rm -f /etc/apt/sources.list.d/debian.sources; "
        "rm -rf /usr/share/man/* /usr/share/info/* /usr/share/locale/*; "
        "find /usr/share/doc -type f ! -name copyright -delete; "
        "command -v python3 >/dev/null || { apt-get -q update && "
        "apt-get -q install -y --no-install-recommends python3; }; "
        "apt-get clean; rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/log/bootstrap.log"
    )
    try:
        _commit(minimal, tag, files, script, changes=('CMD ["/bin/bash"]',), flatten=True)
    finally:
        docker.attempt("image", "rm", minimal)
    return tag


def ensure_node_image(progress: Progress, *, bare: bool = False) -> str:
    """Return the tag of the node image, built if its inputs changed; `bare`: of a node without container engine."""
    tree = read_tree(content_root() / "sandbox" / "node")
    with only_one("images"):
        base = ensure_base_image(progress)
        recipe = {name: tree[name] for name in ("packages.txt", "install-packages", f"rootfs/{_LEAN}")}
        packages = f"{REPOSITORY}/node-packages:{digest(base, recipe)}"
        if not docker.image_id(packages):
            progress.say("installing a node's packages into its image (1 to 2 min)")
            staged = {f"{_STAGING}/{name}": file for name, file in recipe.items()}
            _commit(base, packages, staged, f"/{_STAGING}/install-packages")
        files = node_files(tree)
        tag = f"{REPOSITORY}/node:{digest(packages, files)}"
        if not docker.image_id(tag):
            progress.say("finishing the node image")
            _commit(packages, tag, files, f"/{_STAGING}/finish", changes=_NODE_CHANGES)
            _forget_older(tag)
        return _ensure_bare_image(tag, progress) if bare else tag


def _ensure_bare_image(node: str, progress: Progress) -> str:
    tag = f"{REPOSITORY}/node-bare:{digest(docker.image_id(node))}"
    if not docker.image_id(tag):
        progress.say("making the image of bare nodes (half a minute)")
        _commit(node, tag, {}, f"/{_STAGING}/strip", changes=_NODE_CHANGES)
        _forget_older(tag)
    return tag


def ensure_mirror_image(progress: Progress) -> str:
    """Return the tag of the mirror's image, built if its inputs changed."""
    tree = read_tree(content_root() / "sandbox" / "mirror")
    program = {name: file for name, file in tree.items() if name.startswith(_MIRROR_PACKAGE)}
    recipe = {f"{_STAGING}/{name}": file for name, file in tree.items() if name not in program}
    with only_one("images"):
        base = ensure_base_image(progress)
        packages = f"{REPOSITORY}/mirror-packages:{digest(base, recipe)}"
        if not docker.image_id(packages):
            progress.say("fetching the packages that the mirror serves into its image (about 1 min)")
            _commit(base, packages, recipe, f"/{_STAGING}/install-packages")
            _forget_older(packages)
        tag = f"{REPOSITORY}/mirror:{digest(packages, program)}"
        if not docker.image_id(tag):
            progress.say("finishing the mirror image")
            placed = {f"{_MIRROR_LIBRARY}/{name}": file for name, file in program.items()}
            start = json.dumps(["python3", "-m", _MIRROR_PACKAGE.rstrip("/")])
            changes = (f"ENTRYPOINT {start}", "CMD []", f"ENV PYTHONPATH=/{_MIRROR_LIBRARY}")
            _commit(packages, tag, placed, f"python3 -m compileall -q /{_MIRROR_LIBRARY}", changes=changes)
            _forget_older(tag)
        return tag


def engine_release(engine: str) -> str:
    """Return the vLLM version that the sandbox's engine of that kind plays; "" for none."""
    return _RELEASES.get(engine, "")


def ensure_engine_image(engine: str, progress: Progress) -> str:
    """Return the tag of the image for `engine` (sim or cpu), built if its inputs changed.

    Raises:
        UsageError: this checkout has no such image.
        PlayFailedError: its build failed.
    """
    name = f"{engine}-vllm"
    folder = content_root() / "sandbox" / "images" / name
    script = folder / "build"
    if not script.is_file():
        raise UsageError(f"no {name} image here: {script} is missing", hint="--engine none")
    with only_one("images"):
        base = ensure_base_image(progress)
        release = [_RELEASES["sim"].removeprefix("v")] if engine == "sim" else []
        inputs = {path: file for path, file in read_tree(folder).items() if not path.endswith(".md")}
        tag = f"{REPOSITORY}/{name}:{digest(base, *release, inputs)}"
        if docker.image_id(tag):
            return tag
        minutes = "a few seconds" if engine == "sim" else "several minutes, 3 GB; once"
        progress.say(f"building the engine image {name} ({minutes})")
        command = [str(script), tag, *release, "--base", base]
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0 or not docker.image_id(tag):
        output = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
        tail = "\n  ".join(output[-8:])
        raise PlayFailedError(f"building {tag} failed ({' '.join(command)}):\n  {tail}")
    _forget_older(tag)
    return tag


def archive_of(tag: str, progress: Progress) -> Path:
    """Return the file that holds the image for `docker load`, written once per image id.

    Raises:
        PlayFailedError: there is no such image.
    """
    with only_one("archives"):
        identity = docker.image_id(tag).removeprefix("sha256:")[:16]
        if not identity:
            raise PlayFailedError(
                f"the image {tag} is not on this machine any more",
                hint="npuctl sandbox up brings the present one",
            )
        name, _, version = tag.rpartition("/")[2].partition(":")
        path = cache_folder() / f"{name}-{version}-{identity}.tar"
        if not path.is_file():
            progress.say(f"saving {tag} for the nodes")
            for older in cache_folder().glob(f"{name}-*.tar"):
                older.unlink()
            part = path.with_suffix(".part")
            docker.run("save", "--output", str(part), tag)
            part.replace(path)
    return path


def _forget_older(tag: str) -> None:
    """Remove what older inputs made under the same name, except what a container still uses."""
    reference = f"reference={tag.rpartition(':')[0]}"
    older = docker.lines("images", "--filter", reference, "--format", "{{.Repository}}:{{.Tag}}")
    for other in older:
        if other != tag:
            docker.attempt("image", "rm", other)


def _commit(
    parent: str, tag: str, files: Files, script: str, *, changes: tuple[str, ...] = (), flatten: bool = False
) -> None:
    """Make the image `tag`: `parent` with `files` in it, after `script` (a constant) ran."""
    name = f"npuctl-build-{tag.partition('/')[2].replace(':', '-')}"
    docker.attempt("rm", "--force", "--volumes", name)
    try:
        docker.run(
            *("create", "--name", name, "--label", f"{LABEL_BUILD}=1", "--network", "host"),
            *(*bootstrap.proxy_arguments(), "--entrypoint", "/bin/sh", parent, "-c", script),
        )
        docker.run("cp", "-", f"{name}:/", stdin=tar_of(files))
        docker.run("start", "--attach", name)
        # What the build needed must not live on in the image: this user's proxies, the build's mark.
        forgotten = (f"LABEL {LABEL_BUILD}=", *(f"ENV {name}=" for name in bootstrap.proxies_in_use()))
        options = [word for change in (*changes, *forgotten) for word in ("--change", change)]
        if flatten:
            docker.pipe(["export", name], ["import", *options, "-", tag])
        else:
            docker.run("commit", *options, name, tag)
    finally:
        docker.attempt("rm", "--force", "--volumes", name)
