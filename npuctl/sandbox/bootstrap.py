"""A minimal Debian 12 image: pulled where a registry answers, else bootstrapped here.

debootstrap needs root. It runs inside a container made of this machine's own userland (/usr, read-only),
so a member of the docker group can do it as well as root, and nothing is installed on the machine.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from npuctl.errors import PlayFailedError, UsageError
from npuctl.sandbox import apt, docker
from npuctl.sandbox.model import LABEL_BUILD

if TYPE_CHECKING:
    from npuctl.sandbox.progress import Progress

PULLED = "debian:12-slim"
INCLUDED = "python3"
_PULL_SECONDS = 300
_REGISTRY_SECONDS = 8
_TOOLBOX = "npuctl-sandbox/toolbox:host"
_VOLUME = "npuctl-build-target"
_CONTAINER = "npuctl-build-debootstrap"
_KEYRING = "usr/share/keyrings/debian-archive-keyring.gpg"
_HOST_FILES = ("alternatives", "ld.so.cache", "passwd", "group", "nsswitch.conf", "ssl")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_NEEDS = ("wget", "gpgv", "perl", "dpkg-deb", "tar", "chroot")


def host_mirrors() -> apt.Mirrors:
    """Read this machine's apt sources."""
    folder = Path("/etc/apt")
    one_line = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))]
    deb822 = sorted(folder.glob("sources.list.d/*.sources"))
    return apt.mirrors(
        *([path.read_text() for path in files if _readable(path)] for files in (one_line, deb822))
    )


def make_minimal_image(tag: str, cache: Path, progress: Progress) -> None:
    """Make the image `tag`: Debian 12 and little more.

    Raises:
        UsageError: no registry answers and debootstrap cannot run here.
        PlayFailedError: debootstrap failed.
    """
    if _pull(progress):
        docker.run("tag", PULLED, tag)
        return
    mirror = host_mirrors().archive
    progress.say(f"no image registry answers; making Debian 12 from {mirror} (about 1 min)")
    script, keyring = _debootstrap(cache)
    _make_toolbox()
    _remove_leftovers()
    try:
        _run_debootstrap(script, keyring, mirror)
        pack = ["run", "--rm", "--name", _CONTAINER, "--label", f"{LABEL_BUILD}=1", *_userland()]
        pack += ["-v", f"{_VOLUME}:/target:ro", _TOOLBOX, "/usr/bin/tar", "-C", "/target/root", "-c", "."]
        docker.pipe(pack, ["import", "--change", 'CMD ["/bin/bash"]', "-", tag])
    finally:
        _remove_leftovers()
        docker.attempt("image", "rm", _TOOLBOX)


def proxies_in_use() -> list[str]:
    """Return the names of the proxy variables that are set."""
    return [name for name in _PROXIES if os.environ.get(name)]


def proxy_arguments() -> list[str]:
    """Return docker's arguments that hand this user's proxy settings to a container."""
    return [word for name in proxies_in_use() for word in ("--env", name)]


def _pull(progress: Progress) -> bool:
    if docker.image_id(PULLED):
        return True
    progress.say(f"asking the image registry for {PULLED} (at most {_REGISTRY_SECONDS} s)")
    return docker.pull(PULLED, answers_within=_REGISTRY_SECONDS, done_within=_PULL_SECONDS)


def _run_debootstrap(script: Path, keyring: Path, mirror: str) -> None:
    folder = script.parents[2]  # …/usr/sbin/debootstrap, with …/usr/share/debootstrap beside it
    done = docker.attempt(
        *("run", "--rm", "--name", _CONTAINER, "--label", f"{LABEL_BUILD}=1", "--network", "host"),
        # debootstrap makes device nodes, mounts /proc in its target and changes root into it.
        *("--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"),
        *("--security-opt", "seccomp=unconfined"),
        *_userland(),
        *("-v", f"{folder}/usr/sbin/debootstrap:/debootstrap:ro", "-v", f"{keyring}:/keyring.gpg:ro"),
        *(
            "-v",
            f"{folder}/usr/share/debootstrap:/debootstrap.d:ro",
            "--env",
            "DEBOOTSTRAP_DIR=/debootstrap.d",
        ),
        *(*proxy_arguments(), "-v", f"{_VOLUME}:/target", _TOOLBOX),
        *("/bin/sh", "/debootstrap", "--variant=minbase", f"--include={INCLUDED}", "--keyring=/keyring.gpg"),
        *("--force-check-gpg", apt.SUITE, "/target/root", mirror),
    )
    if done.returncode != 0:
        last = "\n  ".join(done.stdout.decode(errors="replace").strip().splitlines()[-5:])
        raise PlayFailedError(
            f"debootstrap of Debian 12 from {mirror} failed:\n  {last}\n  {done.stderr.decode().strip()[-300:]}",
            hint=f"is {mirror} a Debian mirror that holds {apt.SUITE}, and reachable from here? "
            f"Or load an image by hand: docker pull {PULLED}",
        )


def _remove_leftovers() -> None:
    """Remove what an interrupted run left: its container goes on working when its client is killed."""
    docker.attempt("rm", "--force", "--volumes", _CONTAINER)
    docker.attempt("volume", "rm", "--force", _VOLUME)


def _debootstrap(cache: Path) -> tuple[Path, Path]:
    """Return the debootstrap script and Debian's keyring: the machine's own, else fetched with apt."""
    missing = [tool for tool in _NEEDS if shutil.which(tool, path="/usr/bin:/usr/sbin") is None]
    if missing or not Path("/bin").is_symlink():
        lacks = f"it lacks {', '.join(missing)}" if missing else "its /bin is not a link to /usr/bin"
        raise UsageError(
            f"no image registry answers, and this machine cannot bootstrap Debian: {lacks}",
            hint=f"load a Debian image into the engine (docker load, or docker pull {PULLED} from a mirror)",
        )
    return (
        _own_or_fetched("debootstrap", "usr/sbin/debootstrap", cache),
        _own_or_fetched("debian-archive-keyring", _KEYRING, cache),
    )


def _own_or_fetched(package: str, file: str, cache: Path) -> Path:
    own, fetched = Path("/") / file, cache / package / file
    if own.exists():
        return own
    if not fetched.exists():
        folder = cache / package
        folder.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(
                ["apt-get", "-q", "download", package], cwd=folder, check=True, capture_output=True
            )
            archive = next(folder.glob("*.deb"))
            subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError, StopIteration) as error:
            raise UsageError(
                f"no image registry answers, and the package {package} is neither installed nor to be had",
                hint=f"sudo apt-get install {package}; or docker pull {PULLED} where a registry answers",
            ) from error
    return fetched


def _make_toolbox() -> None:
    """Import an image without files: links into /usr, which is mounted from this machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("usr", "etc", "proc", "sys", "dev", "run", "tmp", "var", "root", "target"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name in ("bin", "sbin", "lib", "lib64", "lib32", "libx32"):
            if Path("/", name).is_symlink():
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{name}"
                archive.addfile(entry)
    docker.run("import", "-", _TOOLBOX, stdin=buffer.getvalue())


def _userland() -> list[str]:
    mounts = ["-v", "/usr:/usr:ro"]
    for name in _HOST_FILES:
        path = Path("/etc", name)
        if path.exists():
            mounts += ["-v", f"{path}:{path}:ro"]
    return mounts


def _readable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)
