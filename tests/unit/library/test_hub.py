"""The hub's client against servers that speak as the hubs do, and against some that do not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.hub import COMMIT, CONFIG, SHARD, Fake, serving


@pytest.fixture
def serve() -> Iterator[Callable[[Fake], Fake]]:
    with ExitStack() as stack:
        yield lambda fake: stack.enter_context(serving(fake))


@pytest.fixture
def hub(library_module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("no_proxy", "*")
    return library_module("npuctl_hub")


def request(fake: Fake, kind: str = "huggingface", **more: Any) -> dict[str, Any]:
    return {"hub": kind, "model": "o/m", "endpoint": fake.address, "pause_seconds": 0.01, **more}


def fetch(hub: ModuleType, fake: Fake, path: Path, kind: str = "huggingface", **more: Any) -> dict[str, str]:
    client = hub.Hub(request(fake, kind, **more))
    listing = client.listing()
    wanted = {"path": str(path), "files": listing["files"], "commit": listing["revision"]}
    found: dict[str, str] = hub.download_all(client, wanted, lambda _event: None)
    return found


def arrived(path: Path, name: str) -> bytes:
    return (path.parent / f".{path.name}.npuctl-partial" / name).read_bytes()


@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_a_listing_has_sizes_hashes_and_the_commit(
    hub: ModuleType, serve: Callable[[Fake], Fake], kind: str
) -> None:
    listing = hub.Hub(request(serve(Fake()), kind)).listing()
    assert listing["revision"] == COMMIT
    assert listing["files"]["m.safetensors"]["size"] == len(SHARD)
    assert listing["files"]["m.safetensors"]["sha256"] == hashlib.sha256(SHARD).hexdigest()
    assert set(listing["files"]) == {"config.json", "m.safetensors"}


def test_a_listing_has_several_pages(hub: ModuleType, serve: Callable[[Fake], Fake]) -> None:
    fake = Fake(files={f"f{number}.json": b"x" for number in range(7)}, page=3)
    assert len(hub.Hub(request(serve(fake))).listing()["files"]) == 7


def test_names_that_lead_out_of_the_folder_are_left_out(
    hub: ModuleType, serve: Callable[[Fake], Fake]
) -> None:
    fake = Fake(files={"../evil": b"x", "/etc/evil": b"x", ".hidden": b"x", "a/../b": b"x", "ok.json": b"x"})
    assert set(hub.Hub(request(serve(fake))).listing()["files"]) == {"ok.json"}


@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_a_download_that_is_cut_goes_on_where_it_stopped(
    hub: ModuleType, serve: Callable[[Fake], Fake], tmp_path: Path, kind: str
) -> None:
    fake = serve(Fake(cut_after=len(SHARD) // 3, cuts=2))
    found = fetch(hub, fake, tmp_path / "M", kind)
    assert found["m.safetensors"] == hashlib.sha256(SHARD).hexdigest()
    assert arrived(tmp_path / "M", "m.safetensors") == SHARD
    asked = [entry[1] for entry in fake.log if entry[1]]
    assert asked == [f"bytes={len(SHARD) // 3}-", f"bytes={2 * (len(SHARD) // 3)}-"]


def test_a_later_run_goes_on_and_fetches_nothing_that_is_there(
    hub: ModuleType, serve: Callable[[Fake], Fake], tmp_path: Path
) -> None:
    partial = tmp_path / ".M.npuctl-partial"
    partial.mkdir()
    (partial / "m.safetensors").write_bytes(SHARD[:5000])
    fake = serve(Fake(cut_after=0, cuts=100))
    with pytest.raises(hub.HubError, match="ends the connection"):
        fetch(hub, fake, tmp_path / "M")
    assert arrived(tmp_path / "M", "m.safetensors") == SHARD[:5000]
    fake.cuts = 0
    fake.log.clear()
    fetch(hub, fake, tmp_path / "M")
    assert [entry for entry in fake.log if "resolve" in entry[0]] == [
        (f"/o/m/resolve/{COMMIT}/m.safetensors", "bytes=5000-", "")
    ]
    fake.log.clear()
    fetch(hub, fake, tmp_path / "M")
    assert not [entry for entry in fake.log if "resolve" in entry[0]]


def test_a_server_without_ranges_is_read_from_the_beginning(
    hub: ModuleType, serve: Callable[[Fake], Fake], tmp_path: Path
) -> None:
    fake = serve(Fake(cut_after=5000, cuts=1, ranges=False))
    fetch(hub, fake, tmp_path / "M")
    assert arrived(tmp_path / "M", "m.safetensors") == SHARD


@pytest.mark.parametrize(("name", "word"), [("m.safetensors", "sha256"), ("config.json", "git")])
def test_bytes_that_are_not_what_was_promised_are_refused(
    hub: ModuleType, serve: Callable[[Fake], Fake], tmp_path: Path, name: str, word: str
) -> None:
    fake = serve(Fake())
    fake.wrong = {name: bytes(len(fake.files[name]))}
    with pytest.raises(hub.HubError, match=f"{re.escape(name)}: .*{word}.*twice"):
        fetch(hub, fake, tmp_path / "M")


def test_a_bad_start_of_an_earlier_run_is_fetched_anew(
    hub: ModuleType, serve: Callable[[Fake], Fake], tmp_path: Path
) -> None:
    partial = tmp_path / ".M.npuctl-partial"
    partial.mkdir()
    (partial / "m.safetensors").write_bytes(b"wrong" * 100)
    fetch(hub, serve(Fake()), tmp_path / "M")
    assert arrived(tmp_path / "M", "m.safetensors") == SHARD


def test_a_busy_hub_is_asked_again(hub: ModuleType, serve: Callable[[Fake], Fake], tmp_path: Path) -> None:
    fetch(hub, serve(Fake(busy=4)), tmp_path / "M")
    assert arrived(tmp_path / "M", "config.json") == CONFIG


@pytest.mark.parametrize(
    ("given", "hint"), [("", "set hub_tokens.huggingface"), ("canary-old", "still valid")]
)
def test_a_hub_that_wants_a_token_says_what_to_do_and_never_the_token(
    hub: ModuleType, serve: Callable[[Fake], Fake], given: str, hint: str
) -> None:
    with pytest.raises(hub.HubError, match="401") as caught:
        hub.Hub(request(serve(Fake(token="right")), token=given)).listing()
    assert hint in caught.value.hint
    assert "canary" not in f"{caught.value}{caught.value.hint}"


def test_a_model_that_is_not_there_is_said(hub: ModuleType, serve: Callable[[Fake], Fake]) -> None:
    with pytest.raises(hub.HubError, match=r"404 for o/other: .*revision 'v9'"):
        hub.Hub(request(serve(Fake())) | {"model": "o/other", "revision": "v9"}).listing()


def test_a_hub_that_cannot_be_reached_is_said(hub: ModuleType) -> None:
    with pytest.raises(hub.HubError, match="cannot be reached") as caught:
        hub.Hub(
            {"hub": "modelscope", "model": "o/m", "endpoint": "http://127.0.0.1:9", "pause_seconds": 0}
        ).listing()
    assert "mirrors.modelscope" in caught.value.hint


def test_a_token_is_not_carried_to_another_host(
    hub: ModuleType, serve: Callable[[Fake], Fake], tmp_path: Path
) -> None:
    elsewhere = serve(Fake())
    fake = serve(Fake(token="t", redirect_to=elsewhere.address))
    fetch(hub, fake, tmp_path / "M", token="t")
    assert {entry[2] for entry in fake.log} == {"Bearer t"}
    assert [entry[2] for entry in elsewhere.log] == ["", ""]


def test_a_token_is_carried_along_on_the_same_host(
    hub: ModuleType, serve: Callable[[Fake], Fake], tmp_path: Path
) -> None:
    fake = serve(Fake(token="t"))
    fake.redirect_to = fake.address
    fetch(hub, fake, tmp_path / "M", token="t")
    assert arrived(tmp_path / "M", "m.safetensors") == SHARD


@pytest.mark.parametrize(
    ("host", "direct"),
    [
        ("10.20.3.4", True),
        ("10.21.0.1", False),
        ("192.0.2.7", True),
        ("mirror.example.cn", True),
        ("example.cn", True),
        ("notexample.cn", False),
        ("huggingface.co", False),
        ("127.0.0.1", True),
        ("localhost", True),
        ("2001:db8::1", False),
    ],
)
def test_what_needs_no_proxy_is_named_as_a_domain_a_host_or_a_network(
    hub: ModuleType,
    host: str,
    direct: bool,  # noqa: FBT001
) -> None:
    assert hub.is_direct(host, ["10.20.0.0/16", ".example.cn", "192.0.2.7"]) is direct


def test_a_proxy_that_is_named_is_used_and_no_other(hub: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://of-this-machine.example:1")
    monkeypatch.delenv("no_proxy", raising=False)
    named = hub.Proxies({"http_proxy": "http://proxy.example:3128", "no_proxy": "10.0.0.0/8"})
    assert named.proxies == {"http": "http://proxy.example:3128"}
    asked = hub.urllib.request.Request("http://10.1.2.3/model")
    assert named.proxy_open(asked, named.proxies["http"], "http") is None
    assert asked.host == "10.1.2.3"
    through = hub.urllib.request.Request("http://hub.example/model")
    named.proxy_open(through, named.proxies["http"], "http")
    assert through.host == "proxy.example:3128"
