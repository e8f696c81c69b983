"""However a copy was cut off, and whatever lies there of it, the next one ends with the right bytes and re-sends no more."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npuctl.plan.provision.weights_manifest import FileEntry, Manifest, read_manifest

CONTENTS = st.dictionaries(
    st.sampled_from(["a.bin", "b.bin", "sub/c.bin"]), st.binary(max_size=3000), min_size=1
)
PARTIAL = ".M.npuctl-partial"


class Sending:
    """A relay without upstreams, fed by us; a feed may be cut after some bytes, as when npuctl is killed."""

    def __init__(self, module: ModuleType, root: Path, contents: dict[str, bytes], block: int) -> None:
        self.contents = [contents[name] for name in sorted(contents)]
        self.block = block
        self.left: int | None = None
        self.ended = threading.Event()
        files = {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in contents.items()
        }
        request = {"path": str(root / "M"), "token": "t", "files": files}
        self.relay = module.Relay(request, self.take)
        self.outcome = ""

    def take(self, event: dict[str, Any]) -> None:
        if event["event"] == "want":
            threading.Thread(target=self.feed, args=[event["number"], event["offset"]]).start()
        if event["event"] in {"whole", "failed"}:
            self.outcome = event["event"]
            self.ended.set()

    def feed(self, number: int, offset: int) -> None:
        data = self.contents[number]
        while offset < len(data):
            block = data[offset : offset + self.block]
            if self.left is not None:
                block = block[: self.left]
                self.left -= len(block)
                if not block:
                    self.relay.fail("cut")
                    return
            self.relay.fed(number, block)
            offset += len(block)

    def run(self, cut_after: int | None = None) -> int:
        self.left = cut_after
        worker = threading.Thread(target=self.relay.work, args=[[]])
        worker.start()
        assert self.ended.wait(30)
        worker.join()
        return int(self.relay.received)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=CONTENTS, cuts=st.lists(st.integers(0, 4000), max_size=3), block=st.integers(1, 1500))
def test_every_byte_is_sent_once_however_often_it_is_cut(
    library_module: Callable[[str], ModuleType], contents: dict[str, bytes], cuts: list[int], block: int
) -> None:
    module = library_module("npuctl_relay")
    with tempfile.TemporaryDirectory() as folder:
        sent = sum(Sending(module, Path(folder), contents, block).run(cut) for cut in cuts)
        last = Sending(module, Path(folder), contents, block)
        sent += last.run()
        assert last.outcome == "whole"
        assert sent == sum(map(len, contents.values()))
        assert {name: (Path(folder) / PARTIAL / name).read_bytes() for name in contents} == contents


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=CONTENTS,
    there=st.dictionaries(st.sampled_from(["a.bin", "b.bin", "sub/c.bin"]), st.binary(max_size=4000)),
)
def test_whatever_lies_there_the_bytes_are_right_at_the_end(
    library_module: Callable[[str], ModuleType], contents: dict[str, bytes], there: dict[str, bytes]
) -> None:
    module = library_module("npuctl_relay")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / PARTIAL / "sub").mkdir(parents=True)
        for name, data in there.items():
            (Path(folder) / PARTIAL / name).write_bytes(data)
        sending = Sending(module, Path(folder), contents, 700)
        sending.run()
        assert sending.outcome == "whole"
        assert {name: (Path(folder) / PARTIAL / name).read_bytes() for name in contents} == contents


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(
    data=st.dictionaries(st.sampled_from(["schema", "files", "seen", "source", "name"]), JSON | st.just(1))
)
def test_a_manifest_is_read_or_refused_whatever_somebody_made_of_it(data: dict[str, Any]) -> None:
    assert isinstance(read_manifest(data), Manifest | None)


@given(
    files=st.dictionaries(
        st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5})?", fullmatch=True),
        st.builds(FileEntry, st.integers(0, 2**50), st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
        max_size=5,
    )
)
def test_a_manifest_survives_being_kept(files: dict[str, FileEntry]) -> None:
    ours = Manifest(source="path", name="x", files=files, seen=dict.fromkeys(files, (1, 2)))
    assert read_manifest(ours.to_json()) == ours
