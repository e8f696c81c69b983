"""Writes the engine image's file system to stdout as a tar stream; runs in a container of the base image.

Usage: python3 collect.py SOURCE FLAGS [release=VERSION cann=VERSION torch_npu=VERSION]
"""

from __future__ import annotations

import io
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

HOME = "/usr/local/lib/simvllm"
COMMANDS = (
    "bash sh python3 cat chmod chown cp cut date dd df dirname du echo env false find free grep head hostname id kill ln "
    "ls mkdir mktemp mv nproc pgrep printenv ps pwd readlink realpath rm rmdir sed seq sleep sort stat tail tee test timeout "
    "touch tr true tty uname uniq wc whoami xargs"
)
CONFIGS = (
    "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/os-release", "/etc/debian_version", "/etc/ld.so.conf",
    "/etc/ld.so.conf.d", "/etc/ld.so.cache", "/etc/localtime", "/usr/lib/locale/C.utf8",
)  # fmt: skip
FOLDERS = (
    "dev", "proc", "sys", "run", "root", "workspace", "vllm-workspace", "models", "var/lib/npusim", "var/log",
    "usr/local/Ascend",
)  # fmt: skip
# Parts of the standard library that a server never imports.
UNUSED = re.compile(
    r"^(test|tests|lib2to3|ensurepip|idlelib|tkinter|turtledemo|pydoc_data|distutils|venv|unittest|sqlite3|curses|dbm|"
    r"config-.*|dist-packages|site-packages|_pyrepl|turtle\.py|.*_test.*\.so|xx.*\.so|_sqlite3.*|_tkinter.*)$"
)


def main() -> None:
    """Collect everything and write the stream."""
    source, flags = (Path(word) for word in sys.argv[1:3])
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        image = Image(archive)
        for folder in FOLDERS:
            image.folder(folder)
        image.folder("tmp", mode=0o1777)
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            if Path("/", name).is_symlink():
                image.add(Path("/", name), follow=False)
        for command in COMMANDS.split():
            found = shutil.which(command, path="/usr/bin:/bin:/usr/sbin:/sbin")
            if found:
                image.program(Path(found))
        image.standard_library()
        for config in CONFIGS:
            image.add(Path(config))
        _stand_in(image, source, flags)
        _version_files(image, dict(word.split("=", 1) for word in sys.argv[3:]))


def _stand_in(image: Image, source: Path, flags: Path) -> None:
    """The stand-in itself, with the model trained here."""
    for path in sorted((source / "simvllm").glob("*.py")):
        image.file(f"{HOME}/simvllm/{path.name}", path.read_bytes())
    image.file(f"{HOME}/flags.json", flags.read_bytes())
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model.json"
        subprocess.run(
            [sys.executable, "-B", "-m", "simvllm.language", source / "corpus.txt", model],
            check=True,
            stdout=sys.stderr,
            env={**os.environ, "PYTHONPATH": str(source)},
        )
        image.file(f"{HOME}/model.json", model.read_bytes())
    image.file("/usr/local/bin/vllm", (source / "vllm").read_bytes(), mode=0o755)
    image.file("/root/.bashrc", (source / "bashrc").read_bytes())


def _version_files(image: Image, versions: dict[str, str]) -> None:
    """What the real image of the release says of itself, where its CANN and its Python packages say it."""
    if not versions:
        return
    cann, machine = versions["cann"], platform.machine()
    folder = f"/usr/local/Ascend/cann-{cann}/{machine}-linux"
    info = f"package_name=Ascend-cann-toolkit\nversion={cann}\narch={machine}\nos=linux\npath={folder}\n"
    image.file(f"{folder}/ascend_toolkit_install.info", info.encode())
    packages = "/usr/local/python3.11/lib/python3.11/site-packages"
    for name, version in (("torch_npu", versions["torch_npu"]), ("vllm_ascend", versions["release"])):
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        image.file(f"{packages}/{name}-{version}.dist-info/METADATA", metadata.encode())


class Image:
    """A tar stream that takes each path once, with all that the path needs."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._seen: set[str] = set()

    def folder(self, name: str, *, mode: int = 0o755) -> None:
        """An empty folder."""
        if name not in self._seen:
            self._seen.add(name)
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            self._archive.addfile(entry)

    def file(self, name: str, data: bytes, *, mode: int = 0o644) -> None:
        """A file made here."""
        entry = tarfile.TarInfo(name.lstrip("/"))
        entry.size, entry.mode = len(data), mode
        self._archive.addfile(entry, io.BytesIO(data))

    def program(self, path: Path) -> None:
        """A program with the libraries that the dynamic linker would load for it."""
        self.add(path)
        run = subprocess.run(["ldd", path], check=False, capture_output=True, text=True)  # a script has none
        for library in re.findall(r"(?:=> |^\s+)(/\S+)", run.stdout, re.MULTILINE):
            self.add(Path(library))

    def standard_library(self) -> None:
        """Python's own modules, without the parts a server never imports."""
        for folder, folders, files in os.walk(sysconfig.get_path("stdlib")):
            folders[:] = [name for name in folders if not UNUSED.match(name)]
            for name in files:
                path = Path(folder, name)
                if UNUSED.match(name):
                    continue
                if path.suffix == ".so":
                    self.program(path)
                else:
                    self.add(path)

    def add(self, path: Path, *, follow: bool = True) -> None:
        """A path of the base image; of a link its target too, of a folder all that is in it."""
        # Below its real folder: /lib is a link, and a member `lib/x` would replace it by a folder.
        real = Path(os.path.realpath(path.parent), path.name)
        name = str(real).lstrip("/")
        if name in self._seen or not os.path.lexists(real):
            return
        self._seen.add(name)
        self._archive.add(real, arcname=name, recursive=False)
        if real.is_symlink() and follow:
            self.add(Path(os.path.realpath(real)))
        elif real.is_dir() and not real.is_symlink():
            for child in sorted(real.iterdir()):
                self.add(child)


if __name__ == "__main__":
    main()
