"""A small certificate authority of the mirror's own: nobody trusts it who was not told to."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

_DAYS = "825"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make(folder: Path, names: Sequence[str], addresses: Sequence[str]) -> None:
    """Make ca.pem, and server.pem with server.key for these names and addresses; what is there stays.

    Raises:
        CalledProcessError: openssl failed.
    """
    if (folder / "server.pem").exists():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    alternatives = ",".join([f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses])
    settings = folder / "openssl.cnf"
    settings.write_text(
        "[req]\ndistinguished_name = dn\n[dn]\n"
        "[ca]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\n"
        "subjectKeyIdentifier = hash\n"
        "[server]\nbasicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\n"
        f"extendedKeyUsage = serverAuth\nauthorityKeyIdentifier = keyid\nsubjectAltName = {alternatives}\n",
        encoding="ascii",
    )
    _openssl(
        *("req", "-x509", *_KEY, "-days", _DAYS, "-config", str(settings), "-extensions", "ca"),
        *("-subj", "/O=npuctl sandbox/CN=mirror of a sandbox", "-keyout", "ca.key", "-out", "ca.pem"),
        folder=folder,
    )
    _openssl(
        *("req", "-new", *_KEY, "-config", str(settings), "-subj", f"/O=npuctl sandbox/CN={names[0]}"),
        *("-keyout", "server.key", "-out", "server.csr"),
        folder=folder,
    )
    _openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", _DAYS, "-extfile", str(settings), "-extensions", "server", "-out", "server.pem"),
        folder=folder,
    )


def _openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
