"""A Debian archive of the packages in a folder: index, Release, signature, as apt reads them."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import subprocess
import tarfile
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

COMPONENT = "main"
_HEADER = 60  # bytes before each member of an ar archive
_MAGIC = b"!<arch>\n"
_OPENED: dict[str, Callable[[bytes], bytes]] = {".xz": lzma.decompress, ".gz": gzip.decompress, "": bytes}


def control_of(package: Path) -> str:
    """The control file of a .deb.

    Raises:
        ValueError: it is none, or packed in a way that Debian 12 does not use.
    """
    with package.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{package}: not an ar archive")
        while header := file.read(_HEADER):
            name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
            if name.startswith("control.tar"):
                unpack = _OPENED.get(name.removeprefix("control.tar"))
                if unpack is None:
                    raise ValueError(f"{package}: {name} is packed in an unknown way")
                return _from_tar(unpack(file.read(size)), package)
            file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError(f"{package}: no control file")


def write_suite(root: Path, suite: str, architecture: str) -> None:
    """Write dists/SUITE below `root`, with all packages that lie in its pool/."""
    entries = []
    for package in sorted(root.glob("pool/*.deb")):
        content = package.read_bytes()
        entries.append(
            f"{control_of(package).strip()}\nFilename: pool/{package.name}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    folder = root / "dists" / suite
    index = "\n".join(entries).encode()
    below = f"{COMPONENT}/binary-{architecture}/Packages"
    path = folder / below
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(index)
    path.with_suffix(".gz").write_bytes(gzip.compress(index, mtime=0))
    files = {below: path, f"{below}.gz": path.with_suffix(".gz")}
    sums = "".join(
        f" {hashlib.sha256(file.read_bytes()).hexdigest()} {file.stat().st_size} {name}\n"
        for name, file in files.items()
    )
    (folder / "Release").write_text(
        f"Origin: npuctl sandbox\nLabel: npuctl sandbox\nSuite: {suite}\nCodename: {suite}\n"
        f"Date: {formatdate(usegmt=True)}\nArchitectures: {architecture}\nComponents: {COMPONENT}\n"
        f"Description: mirror of a sandbox with simulated NPUs\nSHA256:\n{sums}",
        encoding="utf-8",
    )


def sign(root: Path, home: Path, public_key: Path) -> None:
    """Sign every Release below `root` with the key in `home`, made if there is none; write its public half.

    Raises:
        CalledProcessError: gpg failed.
    """
    gpg = ["gpg", "--batch", "--yes", "--quiet", "--homedir", str(home), "--pinentry-mode", "loopback"]
    gpg += ["--passphrase", ""]
    if not home.exists():
        home.mkdir(mode=0o700, parents=True)
        who = "npuctl sandbox mirror <sandbox@localhost>"
        subprocess.run([*gpg, "--quick-generate-key", who, "ed25519", "sign", "0"], check=True)
    subprocess.run([*gpg, "--armor", "--output", str(public_key), "--export"], check=True)
    for release in root.glob("dists/*/Release"):
        signed = release.with_name("InRelease")
        subprocess.run([*gpg, "--output", str(signed), "--clearsign", str(release)], check=True)
    # Its agent would stay for nothing.
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


def _from_tar(content: bytes, package: Path) -> str:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name in ("./control", "control"):
            try:
                member = archive.extractfile(name)
            except KeyError:
                continue
            if member:
                return member.read().decode()
    raise ValueError(f"{package}: no control file")
