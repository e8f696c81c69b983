"""What the mirror serves, asked over HTTP as clients ask: hubs, package index, git, Debian archive."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import re
import socket
import ssl
import subprocess
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sandboxmirror import apt_archive, authority, git_repository, models, pip_index, place, registry
from sandboxmirror.journal import Journal
from sandboxmirror.place import Place
from sandboxmirror.server import Listener, Surroundings, tls_context

TOKEN = "hf_right"
CONFIG = b'{"model_type": "qwen2"}'
WEIGHTS = bytes(range(256)) * 40


@dataclass
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A mirror without TLS and registry, on ports of the loopback."""

    place: Place
    common: int
    content: int

    def ask(
        self,
        path: str,
        sent: dict[str, str] | None = None,
        *,
        method: str = "GET",
        port: int = 0,
        **headers: str,
    ) -> Reply:
        with closing(http.client.HTTPConnection("127.0.0.1", port or self.common, timeout=10)) as connection:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=names | (sent or {}))
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            try:
                return Reply(answer.status, told, answer.read())
            except http.client.IncompleteRead as cut:
                return Reply(answer.status, told, cut.partial)

    def follow(self, address: str, **headers: str) -> Reply:
        """Ask where a redirect points to; its port is another one here."""
        parts = urlsplit(address)
        assert (parts.hostname, parts.port) == ("10.9.8.250", place.CONTENT_PORT)
        return self.ask(f"{parts.path}?{parts.query}", headers, port=self.content)

    def journal(self) -> list[dict[str, Any]]:
        text = self.place.journal.read_text() if self.place.journal.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def noted(self, count: int) -> list[dict[str, Any]]:
        """The journal, once it has that many entries: an answer is noted after it went out."""
        until = time.monotonic() + 10
        while len(self.journal()) < count and time.monotonic() < until:
            time.sleep(0.01)
        return self.journal()

    def fault(self, **told: object) -> None:
        self.place.faults.write_text(json.dumps(told))


@contextmanager
def listening(what: Any, around: Surroundings, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    with Listener(("127.0.0.1", 0), what, around, tls) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield listener.server_address[1]
        finally:
            listener.shutdown()
            thread.join()


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Served]:
    where = Place(tmp_path / "root", tmp_path / "state")
    where.state.mkdir()
    place.write_indexes(where)
    tiny = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "sub/notes.txt": b"n"}
    folders = {
        "public/npuctl/tiny": tiny,
        "public/npuctl/tiny@v1": tiny | {"config.json": b"{}"},
        "gated/npuctl/gated": tiny,
    }
    for folder, files in folders.items():
        for name, content in files.items():
            path = where.models / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    around = Surroundings(Journal(where.journal), where.faults)
    common, content_mounts = place.mounts(where, TOKEN, "10.9.8.250")
    with listening(common, around) as port, listening(content_mounts, around) as content_port:
        yield Served(where, port, content_port)


HF = "/huggingface"
MS = "/modelscope/api/v1/models"


def test_a_hugging_face_model_has_a_commit_that_names_it_too(mirror: Served) -> None:
    told = mirror.ask(f"{HF}/api/models/npuctl/tiny/revision/main").json
    assert re.fullmatch("[0-9a-f]{40}", told["sha"])
    assert mirror.ask(f"{HF}/api/models/npuctl/tiny").json == told
    assert mirror.ask(f"{HF}/api/models/npuctl/tiny/revision/{told['sha']}").json == told
    assert mirror.ask(f"{HF}/api/models/npuctl/tiny/revision/v1").json["sha"] != told["sha"]
    assert [entry["rfilename"] for entry in told["siblings"]] == [
        "config.json",
        "model.safetensors",
        "sub/notes.txt",
    ]


def test_the_tree_tells_sizes_and_hashes_of_large_files(mirror: Served) -> None:
    entries = {
        entry["path"]: entry
        for entry in mirror.ask(f"{HF}/api/models/npuctl/tiny/tree/main?recursive=true").json
    }
    assert entries["model.safetensors"]["lfs"]["oid"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert entries["model.safetensors"]["size"] == entries["model.safetensors"]["lfs"]["size"] == len(WEIGHTS)
    blob = b"blob %d\0" % len(CONFIG) + CONFIG
    assert entries["config.json"]["oid"] == hashlib.sha1(blob, usedforsecurity=False).hexdigest()
    assert "lfs" not in entries["config.json"]
    assert entries["sub"]["type"] == "directory"
    top = [entry["path"] for entry in mirror.ask(f"{HF}/api/models/npuctl/tiny/tree/main").json]
    assert top == ["config.json", "model.safetensors", "sub"]
    below = mirror.ask(f"{HF}/api/models/npuctl/tiny/tree/main/sub").json
    assert [entry["path"] for entry in below] == ["sub/notes.txt"]


def test_a_long_tree_comes_in_pages(mirror: Served) -> None:
    path, seen = f"{HF}/api/models/npuctl/tiny/tree/main?recursive=true&limit=1", []
    for _ in range(10):
        reply = mirror.ask(path)
        seen += [entry["path"] for entry in reply.json]
        link = re.fullmatch(r'<https://10\.9\.8\.250(?P<path>.+)>; rel="next"', reply.headers.get("link", ""))
        if not link:
            break
        path = link["path"]
    assert seen == ["config.json", "model.safetensors", "sub", "sub/notes.txt"]


def test_a_small_file_is_answered_at_once_and_a_large_one_with_where_it_lies(mirror: Served) -> None:
    small = mirror.ask(f"{HF}/npuctl/tiny/resolve/main/config.json")
    assert (small.status, small.body) == (200, CONFIG)
    sha = mirror.ask(f"{HF}/api/models/npuctl/tiny").json["sha"]
    head = mirror.ask(f"{HF}/npuctl/tiny/resolve/{sha}/model.safetensors", method="HEAD")
    assert (head.status, head.headers["x-repo-commit"]) == (302, sha)
    assert head.headers["x-linked-etag"] == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    assert head.headers["x-linked-size"] == str(len(WEIGHTS))
    assert mirror.follow(head.headers["location"]).body == WEIGHTS
    rest = mirror.follow(head.headers["location"], range="bytes=10000-")
    assert (rest.status, rest.body) == (206, WEIGHTS[10000:])


def test_a_token_that_is_sent_on_to_where_files_lie_is_refused(mirror: Served) -> None:
    address = mirror.ask(f"{HF}/npuctl/tiny/resolve/main/model.safetensors").headers["location"]
    assert mirror.follow(address, authorization=f"Bearer {TOKEN}").status == 400
    assert mirror.follow(address.partition("?")[0]).status == 403


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        ("/npuctl/gated/resolve/main/config.json", "", 401, "GatedRepo"),
        ("/npuctl/gated/resolve/main/config.json", "hf_wrong", 401, None),
        ("/npuctl/gated/resolve/main/config.json", TOKEN, 200, None),
        ("/api/models/npuctl/gated", "", 200, None),
        ("/api/models/npuctl/none", "", 401, "RepoNotFound"),
        ("/api/models/npuctl/none", TOKEN, 404, "RepoNotFound"),
        ("/api/models/npuctl/tiny/revision/none", "", 404, "RevisionNotFound"),
        ("/npuctl/tiny/resolve/main/none", "", 404, "EntryNotFound"),
        ("/api/models/..%2f..%2fnpuctl/tiny", "", 404, None),
        ("/npuctl/tiny/resolve/main/..%2f..%2fgated/npuctl/gated/config.json", "", 404, "EntryNotFound"),
        ("/api/models/npuctl/*", "", 401, "RepoNotFound"),
    ],
)
def test_refusals_carry_the_hubs_own_codes(
    mirror: Served, path: str, token: str, status: int, code: str | None
) -> None:
    reply = mirror.ask(HF + path, {"authorization": f"Bearer {token}"} if token else None)
    assert (reply.status, reply.headers.get("x-error-code")) == (status, code)


def test_modelscope_lists_files_with_their_hashes(mirror: Served) -> None:
    told = mirror.ask(f"{MS}/npuctl/tiny/repo/files?Revision=master&Recursive=True").json
    assert told["Success"]
    files = {entry["Path"]: entry for entry in told["Data"]["Files"]}
    assert files["model.safetensors"]["Sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert (files["config.json"]["Type"], files["config.json"]["Size"]) == ("blob", len(CONFIG))
    assert files["sub"]["Type"] == "tree"
    flat = mirror.ask(f"{MS}/npuctl/tiny/repo/files?Root=sub").json["Data"]["Files"]
    assert [entry["Path"] for entry in flat] == ["sub/notes.txt"]


def test_modelscope_gives_small_files_whole_and_large_ones_by_redirect(mirror: Served) -> None:
    small = mirror.ask(f"{MS}/npuctl/tiny/repo?Revision=v1&FilePath=config.json", range="bytes=1-")
    assert (small.status, small.body) == (200, b"{}")
    large = mirror.ask(f"{MS}/npuctl/tiny/repo?FilePath=model.safetensors")
    assert large.status == 302
    assert mirror.follow(large.headers["location"], range="bytes=-6").body == WEIGHTS[-6:]


def test_modelscope_knows_branches_and_tags(mirror: Served) -> None:
    told = mirror.ask(f"{MS}/npuctl/tiny/revisions").json["Data"]["RevisionMap"]
    assert [entry["Revision"] for entry in told["Branches"]] == ["master"]
    assert [entry["Revision"] for entry in told["Tags"]] == ["v1"]


@pytest.mark.parametrize(
    ("asked", "headers", "status"),
    [
        ("npuctl/none/repo/files", {}, 404),
        ("npuctl/tiny/repo/files?Revision=none", {}, 404),
        ("npuctl/tiny/repo?FilePath=none", {}, 404),
        ("npuctl/gated/repo?FilePath=config.json", {}, 403),
        ("npuctl/gated/repo?FilePath=config.json", {"authorization": f"Bearer {TOKEN}"}, 200),
        ("npuctl/gated/repo?FilePath=config.json", {"cookie": f"a=b; m_session_id={TOKEN}"}, 200),
        ("npuctl/gated/repo?FilePath=config.json", {"cookie": "m_session_id=wrong"}, 403),
    ],
)
def test_modelscope_refuses_in_its_own_form(
    mirror: Served, asked: str, headers: dict[str, str], status: int
) -> None:
    reply = mirror.ask(f"{MS}/{asked}", headers)
    assert reply.status == status
    assert status == 200 or (reply.json["Success"], reply.json["Data"]) == (False, None)


def test_a_changed_file_is_hashed_anew(mirror: Served) -> None:
    path = mirror.place.models / "public/npuctl/tiny/model.safetensors"
    before = mirror.ask(f"{HF}/api/models/npuctl/tiny").json["sha"]
    path.write_bytes(WEIGHTS + b"x")
    assert mirror.ask(f"{HF}/api/models/npuctl/tiny").json["sha"] != before


def test_a_wheel_is_listed_with_its_hash_and_can_be_imported(mirror: Served, tmp_path: Path) -> None:
    assert "npuctl-mirror-probe" in mirror.ask("/pypi/simple/").body.decode()
    page = mirror.ask("/pypi/simple/Npuctl.Mirror_Probe/").body.decode()
    link = re.search(r'href="\.\./\.\./(?P<path>[^#]+)#sha256=(?P<sha256>[0-9a-f]{64})"', page)
    assert link
    content = mirror.ask(f"/pypi/{link['path']}").body
    assert hashlib.sha256(content).hexdigest() == link["sha256"]
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        files = {name: wheel.read(name) for name in wheel.namelist()}
    record = files.pop("npuctl_mirror_probe-1.0.dist-info/RECORD").decode()
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        assert f"{name},sha256={digest},{len(data)}\n" in record
    assert mirror.ask("/pypi/simple/npuctl-mirror-extra/").status == 404
    assert mirror.ask("/extra/simple/npuctl-mirror-extra/").status == 200
    assert pip_index.wheel("a-b", "1") == pip_index.wheel("a-b", "1")


def test_the_git_repository_holds_what_its_names_say(tmp_path: Path) -> None:
    commit = git_repository.write(tmp_path, {"b": b"2\n", "a": b"1\n"})
    for path in (tmp_path / "objects").glob("??/*"):
        content = zlib.decompress(path.read_bytes())
        assert hashlib.sha1(content, usedforsecurity=False).hexdigest() == path.parent.name + path.name
    assert (tmp_path / "info/refs").read_text() == f"{commit}\trefs/heads/main\n"


def deb(control: str, *, packed: str = "gz") -> bytes:
    """A Debian package with this control file and nothing to install."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("./control")
        entry.size = len(control)
        archive.addfile(entry, io.BytesIO(control.encode()))
    members = {"debian-binary": b"2.0\n", f"control.tar.{packed}": gzip.compress(buffer.getvalue())}
    whole = b"!<arch>\n"
    for name, content in members.items():
        whole += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        whole += b"\n" * (len(content) % 2)
    return whole


def test_the_index_of_a_suite_tells_packages_and_the_release_tells_the_index(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    for name in ("one", "other"):
        (tmp_path / f"pool/{name}_1%3a2.deb").write_bytes(deb(f"Package: {name}\nVersion: 1:2\n\n"))
    apt_archive.write_suite(tmp_path, "bookworm", "amd64")
    index = (tmp_path / "dists/bookworm/main/binary-amd64/Packages").read_text()
    assert [part.splitlines()[0] for part in index.split("\n\n")] == ["Package: one", "Package: other"]
    assert "Filename: pool/one_1%3a2.deb\n" in index
    release = (tmp_path / "dists/bookworm/Release").read_text()
    assert (
        f" {hashlib.sha256(index.encode()).hexdigest()} {len(index)} main/binary-amd64/Packages\n" in release
    )


@pytest.mark.parametrize("content", [b"", b"PK", b"!<arch>\n", deb("Package: x\n", packed="zst")])
def test_what_is_no_package_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.deb"):
        apt_archive.control_of(path)


def test_packages_are_fetched_by_names_with_signs_in_them(mirror: Served) -> None:
    pool = mirror.place.root / "debian/pool"
    pool.mkdir(parents=True)
    (pool / "one_1%3a2+x.deb").write_bytes(b"whole")
    assert mirror.ask("/debian/pool/one_1%253a2+x.deb", range="bytes=2-").body == b"ole"
    assert mirror.ask("/debian/../state/secrets.json").status == 404


def test_every_answer_is_noted_and_no_secret_is(mirror: Served) -> None:
    mirror.ask(f"{HF}/npuctl/gated/resolve/main/config.json", authorization=f"Bearer {TOKEN}")
    code = base64.b64encode(b"somebody:opensesame").decode()
    mirror.ask("/pypi/simple/", authorization=f"Basic {code}", range="bytes=0-1", user_agent="pip/1")
    first, second = mirror.noted(2)
    assert (first["service"], first["status"], first["authorized"]) == ("huggingface", 200, True)
    assert (second["service"], second["user"], second["agent"]) == ("pip-pypi", "somebody", "pip/1")
    noted = mirror.place.journal.read_text()
    assert TOKEN not in noted
    assert "opensesame" not in noted
    assert code not in noted


def test_a_cut_download_ends_early_and_lists_stay_whole(mirror: Served) -> None:
    mirror.fault(cut=100)
    address = mirror.ask(f"{HF}/npuctl/tiny/resolve/main/model.safetensors").headers["location"]
    reply = mirror.follow(address)
    assert (reply.status, reply.body) == (200, WEIGHTS[:100])
    assert reply.headers["content-length"] == str(len(WEIGHTS))
    assert mirror.noted(2)[-1]["bytes"] == 100
    assert len(mirror.ask(f"{HF}/api/models/npuctl/tiny").body) > 100


def test_a_slow_download_takes_its_time(mirror: Served) -> None:
    mirror.fault(slow=30_000)
    address = mirror.ask(f"{HF}/npuctl/tiny/resolve/main/model.safetensors").headers["location"]
    began = time.monotonic()
    assert mirror.follow(address).body == WEIGHTS
    assert time.monotonic() - began > 0.25


def test_a_mirror_out_of_service_says_so_until_its_time_is_over(mirror: Served) -> None:
    mirror.fault(refused_until=time.time() + 60)
    assert mirror.ask("/pypi/simple/").status == 503
    mirror.fault(refused_until=time.time() - 1)
    assert mirror.ask("/pypi/simple/").status == 200


@pytest.mark.parametrize("text", ["", "{", "[]", '{"unknown": 1}'])
def test_a_file_of_faults_that_cannot_be_read_means_none(mirror: Served, text: str) -> None:
    mirror.place.faults.write_text(text)
    assert mirror.ask("/pypi/simple/").status == 200


def test_only_who_knows_the_authority_trusts_the_mirror(mirror: Served, tmp_path: Path) -> None:
    try:
        authority.make(tmp_path / "tls", ["mirror.sandbox"], ["127.0.0.1"])
    except FileNotFoundError:
        pytest.skip("not run: this machine has no openssl")
    around = Surroundings(Journal(mirror.place.journal), mirror.place.faults)
    common, _ = place.mounts(mirror.place, TOKEN, "10.9.8.250")
    tls = tls_context(tmp_path / "tls/server.pem", tmp_path / "tls/server.key")
    with listening(common, around, tls) as port:
        for name in ("127.0.0.1", "mirror.sandbox"):
            knowing = ssl.create_default_context(cafile=str(tmp_path / "tls/ca.pem"))
            assert status_over(port, knowing, name) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            status_over(port, ssl.create_default_context(), "127.0.0.1")
        until = time.monotonic() + 10
        while "tls" not in [entry["service"] for entry in mirror.journal()] and time.monotonic() < until:
            time.sleep(0.02)
    assert "tls" in [entry["service"] for entry in mirror.journal()]


def status_over(port: int, context: ssl.SSLContext, name: str) -> int:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        secured.sendall(b"GET /pypi/simple/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return int(secured.recv(64).split()[1])


def saved(layers: dict[str, bytes], *, links: dict[str, str] | None = None, images: int = 1) -> io.BytesIO:
    """What `docker save` writes: layers first, what names them last."""
    names = [*layers, *(links or {})]
    entry = {"Config": "config.json", "Layers": names}
    files = layers | {
        "config.json": b'{"architecture": "amd64"}',
        "manifest.json": json.dumps([entry] * images).encode(),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def test_an_image_is_taken_apart_into_packed_layers(tmp_path: Path) -> None:
    packed = gzip.compress(b"second", mtime=0)
    image = registry.take_apart(
        saved(
            {"a/layer.tar": b"first" * 100, "b/layer.tar": packed}, links={"c/layer.tar": "../a/layer.tar"}
        ),
        tmp_path,
    )
    first, second, third = image.layers
    assert gzip.decompress(first.path.read_bytes()) == b"first" * 100
    assert second.path.read_bytes() == packed
    assert first == third
    for layer in image.layers:
        assert layer.digest == f"sha256:{hashlib.sha256(layer.path.read_bytes()).hexdigest()}"
        assert layer.size == layer.path.stat().st_size


def test_an_archive_of_no_image_or_of_several_is_refused(tmp_path: Path) -> None:
    with pytest.raises(registry.RegistryError, match="2 images"):
        registry.take_apart(saved({"a/layer.tar": b"1"}, images=2), tmp_path)
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    empty.seek(0)
    (tmp_path / "other").mkdir()
    with pytest.raises(registry.RegistryError, match="no image"):
        registry.take_apart(empty, tmp_path / "other")


def test_random_weights_are_true_safetensors(tmp_path: Path) -> None:
    models.write_random(tmp_path, 3, read=lambda length: b"\1" * length)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    total = 0
    for tensor, name in index["weight_map"].items():
        content = (tmp_path / name).read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        first, last = header[tensor]["data_offsets"]
        assert (first, 8 + length + last) == (0, len(content))
        total += last
    assert total == index["metadata"]["total_size"] == 3 << 20


def test_git_itself_clones_the_repository(tmp_path: Path) -> None:
    git_repository.write(tmp_path / "bare", {"README.md": b"hello\n"})
    try:
        done = subprocess.run(
            ["git", "clone", "-q", "bare", "clone"], cwd=tmp_path, capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("not run: this machine has no git")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clone/README.md").read_text() == "hello\n"
