"""Files served in part: what a Range header gets, and that a file put together from parts is the file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandboxmirror import answers, faults
from sandboxmirror.answers import FilePart, Request
from sandboxmirror.faults import Faults

NO_FAULTS = Faults()
SIZES = st.integers(min_value=0, max_value=300)


def sent(answer: answers.Answer, now: Faults = NO_FAULTS) -> bytes:
    assert isinstance(answer.body, FilePart)
    return b"".join(faults.blocks(answer.body, now))


def asked(path: Path, **headers: str) -> answers.Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return answers.content(Request("GET", "/f", headers=names), path, etag="tag")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)))
    return path


@given(SIZES, SIZES, SIZES)
def test_a_range_is_what_slicing_gives(size: int, first: int, last: int) -> None:
    whole = bytes(number % 251 for number in range(size))
    header = f"bytes={first}-{last}"
    if last < first:
        assert answers.wanted_part(header, size) is None
    elif first >= size:
        with pytest.raises(ValueError, match="bytes"):
            answers.wanted_part(header, size)
    else:
        start, length = answers.wanted_part(header, size) or (-1, -1)
        assert whole[start : start + length] == whole[first : last + 1]


@given(SIZES, SIZES)
def test_an_open_range_goes_to_the_end_and_a_suffix_is_the_end(size: int, number: int) -> None:
    whole = bytes(number % 251 for number in range(size))
    for header, part in (
        (f"bytes={number}-", whole[number:]),
        (f"bytes=-{number}", whole[-number:] if number else b""),
    ):
        if part:
            start, length = answers.wanted_part(header, size) or (-1, -1)
            assert whole[start : start + length] == part
        else:
            with pytest.raises(ValueError, match="bytes"):
                answers.wanted_part(header, size)


@given(st.text(max_size=40), SIZES)
def test_any_header_at_all_gets_bytes_of_the_file_or_the_whole_or_a_refusal(header: str, size: int) -> None:
    try:
        part = answers.wanted_part(header, size)
    except ValueError:
        return
    assert part is None or (part[0] >= 0 and part[1] >= 1 and part[0] + part[1] <= size)


@given(st.binary(max_size=60), st.integers(min_value=1, max_value=9), st.booleans())
def test_a_download_that_is_cut_again_and_again_arrives_whole(content: bytes, cut: int, wrong: bool) -> None:  # noqa: FBT001
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(content)
        got = b""
        while len(got) < len(content):
            got += sent(asked(path, range=f"bytes={len(got)}-"), Faults(cut=cut, wrong=wrong))
    differing = [number for number, byte in enumerate(got) if byte != content[number]]
    assert differing == ([len(content) // 2] if wrong and content else [])


@pytest.mark.parametrize(
    "header", ["bytes=0-1,4-5", "bytes=a-b", "items=0-1", "bytes=", "bytes=-", "0-1", "bytes=٣-٤"]
)
def test_what_is_not_one_range_gets_the_whole(file: Path, header: str) -> None:
    answer = asked(file, range=header)
    assert (answer.status, answer.length) == (200, 256)


def test_a_part_says_which_it_is(file: Path) -> None:
    answer = asked(file, range="bytes=10-19")
    assert (answer.status, answer.headers["Content-Range"], answer.length) == (206, "bytes 10-19/256", 10)
    assert sent(answer) == bytes(range(10, 20))


def test_a_part_past_the_end_is_refused_with_the_size(file: Path) -> None:
    answer = asked(file, range="bytes=256-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */256")


def test_a_part_of_another_version_is_not_given(file: Path) -> None:
    assert asked(file, range="bytes=10-", if_range='"tag"').status == 206
    assert asked(file, range="bytes=10-", if_range='"older"').status == 200


def test_what_the_client_has_is_not_sent_again(file: Path) -> None:
    assert asked(file, if_none_match='"other", "tag"').status == 304
    assert asked(file, if_none_match='"other"').status == 200


@pytest.mark.parametrize(
    "name", ["../secret", "a/../../secret", "/../secret", "link", "folder", "none", "a\0b"]
)
def test_names_that_lead_out_of_a_folder_are_not_served(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "own").write_text("x")
    assert answers.file_below(root, name) is None
    assert answers.file_below(root, "/own") == root / "own"
