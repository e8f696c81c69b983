"""Pages say what is: commands parse, links resolve, examples load, both languages have one structure."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from npuctl.cli.parser import build_parser
from npuctl.spec.parse import KEY, parse_cluster
from tools import generate_docs

REPOSITORY = Path(__file__).resolve().parents[2]
# Written by the measurements, with their own tests.
_OTHERS = "benchmarks"
PAGES = sorted(
    path.relative_to(REPOSITORY)
    for path in (*REPOSITORY.glob("README*.md"), *(REPOSITORY / "docs").rglob("*.md"))
    if not path.name.startswith(_OTHERS)
)
ENGLISH = [page for page in PAGES if not page.name.endswith(".zh.md")]
IN_BOTH_LANGUAGES = [page for page in ENGLISH if page.parent.name != "contributing"]

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_INLINE = re.compile(r"`(npuctl [^`]+)`")
_FORBIDDEN = re.compile(r"/work\b|\bshared/|\bsimply\b|\bTODO\b", re.IGNORECASE)
_ENDS_A_COMMAND = frozenset({"|", ">", ">>", "&&", ";", "…"})


def text_of(page: Path) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    return _FENCE.sub("", text_of(page))


def commands_of(page: Path) -> list[list[str]]:
    """Every command of the page's fenced blocks, as words; what follows a pipe or a redirection is cut off."""
    lines = (
        line.strip()
        for _, block in _FENCE.findall(text_of(page))
        for line in block.replace("\\\n", " ").splitlines()
    )
    return [words_of(line.removeprefix("$ ")) for line in lines if line.startswith("$ ")]


def words_of(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    end = next((index for index, word in enumerate(words) if word in _ENDS_A_COMMAND), len(words))
    return words[:end]


def blocks_of(page: Path, language: str) -> list[str]:
    return [block for kind, block in _FENCE.findall(text_of(page)) if kind == language]


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for _, title in _HEADING.findall(prose_of(page))
    }


def links_of(page: Path) -> list[str]:
    return [link for link in _LINK.findall(prose_of(page)) if "://" not in link]


def target_of(page: Path, link: str) -> Path:
    """The file that a link names, relative to the repository."""
    named = (
        (REPOSITORY / page.parent / link.partition("#")[0]).resolve() if link[0] != "#" else REPOSITORY / page
    )
    return named.relative_to(REPOSITORY)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_npuctl_command_parses(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [words[1:] for words in commands_of(page) if words[:1] == ["npuctl"]]
    if "reference" not in page.parts:
        commands += [words_of(text)[1:] for text in _INLINE.findall(prose_of(page))]
    for words in commands:
        assert exit_code_of(words) == 0, f"npuctl {shlex.join(words)}: {capsys.readouterr().err}"


def exit_code_of(words: list[str]) -> object:
    """What parsing these words ends with; 0 where the parser takes them."""
    try:
        build_parser().parse_args(words)
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_make_target_and_tool_is_there(page: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for words in commands_of(page):
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
        for word in words:
            if word.startswith(("tools/", "playbooks/")):
                assert (REPOSITORY / word).is_file(), words


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_resolves(page: Path) -> None:
    for link in links_of(page):
        target = target_of(page, link)
        assert (REPOSITORY / target).exists(), link
        if "#" in link:
            assert link.partition("#")[2] in anchors_of(target), link


def test_every_page_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [Path("README.md")]
    while waiting:
        page = waiting.pop()
        if page not in seen and page in PAGES:
            seen.add(page)
            waiting += [target_of(page, link) for link in links_of(page)]
    assert set(PAGES) - seen == set()


@pytest.mark.parametrize("page", IN_BOTH_LANGUAGES, ids=str)
def test_both_languages_have_one_structure(page: Path) -> None:
    chinese = page.with_name(page.name.removesuffix(".md") + ".zh.md")
    assert chinese in PAGES
    for what in (heading_levels, block_kinds, table_shapes):
        assert what(chinese) == what(page), what.__name__
    commands = [[word for word in words if word.isascii()] for words in commands_of(page)]
    assert [[word for word in words if word.isascii()] for words in commands_of(chinese)] == commands


def heading_levels(page: Path) -> list[int]:
    return [len(marks) for marks, _ in _HEADING.findall(prose_of(page))]


def block_kinds(page: Path) -> list[str]:
    return [kind for kind, _ in _FENCE.findall(text_of(page))]


def table_shapes(page: Path) -> list[int]:
    """The number of cells of each row of each table."""
    rows = [line for line in prose_of(page).splitlines() if line.startswith("| ")]
    return [len(re.findall(r"(?<!\\)\|", row)) for row in rows]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name.endswith(".zh.md")], ids=str)
def test_a_chinese_page_links_to_chinese_pages(page: Path) -> None:
    for link in links_of(page):
        target = target_of(page, link)
        own = target.with_name(target.name.removesuffix(".md") + ".zh.md")
        is_switch = own == page
        assert is_switch or target.name.endswith(".zh.md") or own not in PAGES, link


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_page_has_a_forbidden_word(page: Path) -> None:
    assert _FORBIDDEN.findall(text_of(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_yaml_example_loads(page: Path) -> None:
    for block in blocks_of(page, "yaml"):
        if KEY in yaml.safe_load(block):
            parse_cluster(block, file=str(page))


def test_both_readmes_show_the_same_cluster() -> None:
    english, chinese = (blocks_of(Path(name), "yaml") for name in ("README.md", "README.zh.md"))
    assert [yaml.safe_load(block) for block in english] == [yaml.safe_load(block) for block in chinese]


def test_a_stale_page_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate_docs, "REFERENCE", tmp_path)
    assert generate_docs.main([]) == 0
    assert generate_docs.main(["--check"]) == 0
    (tmp_path / "cli.md").write_text("old", encoding="utf-8")
    (tmp_path / "gone.md").write_text("a page that nobody makes", encoding="utf-8")
    capsys.readouterr()
    assert generate_docs.main(["--check"]) == 1
    named = re.findall(r"docs/reference/(\S+)", capsys.readouterr().err)
    assert named == ["cli.md", "gone.md"]
