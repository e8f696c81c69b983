"""Where a mirror keeps its things, and what it serves from there."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandboxmirror import apt_archive, authority, git_repository, models, pip_index, registry
from sandboxmirror.huggingface import Content, HuggingFace
from sandboxmirror.models import Catalogue
from sandboxmirror.modelscope import ModelScope
from sandboxmirror.pip_index import PipIndex
from sandboxmirror.server import Mount, files

CONTENT_PORT = 8444
SUITES = {"debian": "bookworm", "debian-security": "bookworm-security"}
WHEELS = {"pypi": ("npuctl-mirror-probe", "1.0"), "extra": ("npuctl-mirror-extra", "2.0")}
GIT = "github.com/npuctl/probe.git"
HELLO = ("npuctl/hello", "1")  # what a mirror of docker.io is tried with
_RANDOM = "npuctl/random"


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of a mirror."""

    root: Path = Path("/srv/mirror")
    state: Path = Path("/var/lib/mirror")

    @property
    def tls(self) -> Path:
        """Authority and certificate."""
        return self.state / "tls"

    @property
    def secrets(self) -> Path:
        """Who may log in, and the token."""
        return self.state / "secrets.json"

    @property
    def faults(self) -> Path:
        """What is wrong at the moment."""
        return self.state / "faults.json"

    @property
    def journal(self) -> Path:
        """What was served."""
        return self.state / "served.jsonl"

    @property
    def ready(self) -> Path:
        """There while the mirror answers."""
        return self.state / "ready"

    @property
    def archive_key(self) -> Path:
        """The public key of the package archive."""
        return self.state / "archive.asc"

    @property
    def htpasswd(self) -> Path:
        """Who may log in, as the registry reads it."""
        return self.state / "htpasswd"

    @property
    def models(self) -> Path:
        """The hubs' models."""
        return self.root / "models"

    @property
    def registry(self) -> Path:
        """The registry's own store."""
        return self.root / "registry"


def known_secrets(place: Place) -> dict[str, str]:
    """The sandbox's login and token, made when they are first asked for."""
    if not place.secrets.exists():
        made = {
            "registry_user": f"puller-{secrets.token_hex(3)}",
            "registry_password": secrets.token_urlsafe(18),
            "hub_token": f"hf_{secrets.token_hex(17)}",
        }
        place.secrets.parent.mkdir(parents=True, exist_ok=True)
        place.secrets.touch(mode=0o600)
        place.secrets.write_text(json.dumps(made), encoding="utf-8")
    told: dict[str, str] = json.loads(place.secrets.read_text(encoding="utf-8"))
    return told


def prepare(place: Place, name: str, address: str) -> None:
    """Make everything that is served, as far as it is not there.

    Raises:
        CalledProcessError: openssl, gpg or dpkg failed.
    """
    authority.make(place.tls, [name], [address, "127.0.0.1"])
    login = known_secrets(place)
    if not place.htpasswd.exists():
        registry.write_htpasswd(place.htpasswd, login["registry_user"], login["registry_password"])
    write_indexes(place)
    if not place.archive_key.exists():
        for folder, suite in SUITES.items():
            apt_archive.write_suite(place.root / folder, suite, _architecture())
            apt_archive.sign(place.root / folder, place.state / "gpg", place.archive_key)


def write_indexes(place: Place) -> None:
    """Write the wheels and the git repository."""
    for index, (project, version) in WHEELS.items():
        file, content = pip_index.wheel(project, version)
        (place.root / index).mkdir(parents=True, exist_ok=True)
        (place.root / index / file).write_bytes(content)
    git_repository.write(place.root / "git" / GIT, {"README.md": b"From the mirror of a sandbox.\n"})


def mounts(place: Place, token: str, address: str) -> tuple[list[Mount], list[Mount]]:
    """What is served on the common port, and what on the one for large files."""
    catalogue = Catalogue(place.models)
    content = f"https://{address}:{CONTENT_PORT}"
    hub = HuggingFace(
        catalogue, token=token, address=f"https://{address}/huggingface", content_address=content
    )
    common = [
        *(Mount(f"/{index}", f"pip-{index}", PipIndex(place.root / index)) for index in WHEELS),
        *(Mount(f"/{folder}", "apt", files(place.root / folder)) for folder in SUITES),
        Mount("/git", "git", files(place.root / "git")),
        Mount("/huggingface", "huggingface", hub),
        Mount("/modelscope", "modelscope", ModelScope(catalogue, token=token, content_address=content)),
    ]
    return common, [Mount("", "content", Content(catalogue))]


def push_hello() -> None:
    """Put the image into the registry that stands for docker.io's."""
    repository, tag = HELLO
    if not registry.has(repository, tag):
        with tempfile.TemporaryDirectory() as folder:
            image = registry.made_of(
                {"hello": b"From the mirror of a sandbox.\n"}, _architecture(), Path(folder)
            )
            registry.push(image, repository, [tag])


def write_random_model(place: Place, mebibytes: int) -> None:
    """Serve a model of that many MiB of random weights; one that is there already is made anew."""
    folder = place.models / models.PUBLIC / _RANDOM
    shutil.rmtree(folder, ignore_errors=True)
    models.write_random(folder, mebibytes)


def _architecture() -> str:
    """This machine's, in Debian's and Docker's word for it."""
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
