"""Single values in files that others own too: what is not set stays, and what is taken back leaves no trace."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from npuctl.hardware.unreadable import UnreadableError
from npuctl.plan.provision.formats import ABSENT, format_of, json_key

DAEMON = format_of("/etc/docker/daemon.json")
PIP = format_of("/etc/pip.conf")
GIT = format_of("/etc/gitconfig")
ENVIRONMENT = format_of("/etc/environment")
REPO = format_of("/etc/yum.repos.d/openEuler.repo")
LIST = format_of("/etc/apt/sources.list")
SOURCES = format_of("/etc/apt/sources.list.d/debian.sources")
MIRROR = "https://mirror.example/x"

# git is a process for each example; the machine that runs the tests is a busy one.
PATIENT = settings(deadline=None, max_examples=60)

DAEMONS = {
    "Docker's documentation": '{\n  "data-root": "/data/docker",\n  "log-opts": {"max-size": "10m", "max-file": "2"}\n}\n',
    "four blanks": '{\n    "runtimes": {\n        "ascend": {\n            "path": "/usr/bin/a"\n        }\n    }\n}\n',
    "tabs": '{\n\t"registry-mirrors": [\n\t\t"https://a",\n\t\t"https://b"\n\t],\n\t"debug": true\n}',
    "one line": '{"registry-mirrors": ["https://a"], "debug": false}\n',
    "tight": '{"registry-mirrors":["https://a","https://b"],"log-opts":{"tag":"x"}}',
    "windows": '{\r\n  "registry-mirrors": ["https://a"]\r\n}\r\n',
    "strange": '{ "a" : 1 ,\n"registry-mirrors":[ "https://a" , "https://b" ]   }\n\n',
    "中文": '{\n  "labels": ["机房=上海"]\n}\n',
}
PIPS = {
    "as pip writes it": "[global]\nindex-url = https://pypi.org/simple\n",
    "comments": "# ours\n[global]\n; why\ntimeout = 60\n\n[install]\nuser=no\n# end\n",
    "several lines": "[global]\nextra-index-url =\n    https://a\n    # the other\n    https://b\ntimeout: 5\n",
    "on its line": "[global]\nextra-index-url = https://a\n  https://b\n\n[list]\nformat = columns",
    "no global": "[install]\nno-compile = true\n",
    "windows": "[global]\r\ntimeout = 5\r\n",
}
GITS = {
    "user": '[user]\n\tname = A "B" C\n\temail = a@b ; mine\n[core]\n\tbare\n',
    "url": f'[url "{MIRROR}"]\n\tinsteadOf = https://github.com/\n# end\n',
    "one line": "[core] editor = vi\n[Alias]\n  lg = log \\\n    --graph\n",
    "open end": "[core]\n\teditor = vi",
    "windows": "[core]\r\n\teditor = vi\r\n",
}


def set_and_back(form: Any, text: str, values: dict[str, Any]) -> tuple[str, str]:
    """What `values` make of the text, and what giving back what was there makes of that."""
    before = form.read(text)
    after = form.write(text, values)
    return after, form.write(after, {key: before.get(key, ABSENT) for key in values})


@pytest.mark.parametrize("text", DAEMONS.values(), ids=DAEMONS)
def test_a_json_file_is_changed_where_the_value_stands_and_nowhere_else(text: str) -> None:
    old = json.loads(text).get("registry-mirrors", [])
    values: dict[str, Any] = {
        "registry-mirrors": [MIRROR, *old],
        "runtimes.npu": {"path": "/opt/npu", "runtimeArgs": []},
        "default-runtime": "npu",
    }
    after, back = set_and_back(DAEMON, text, values)
    wanted = json.loads(text)
    wanted["registry-mirrors"] = [MIRROR, *old]
    wanted.setdefault("runtimes", {})["npu"] = {"path": "/opt/npu", "runtimeArgs": []}
    wanted["default-runtime"] = "npu"
    assert json.loads(after) == wanted
    assert list(json.loads(after))[: len(json.loads(text))] == list(json.loads(text))
    assert back == text


def test_a_json_file_is_written_as_it_was_written() -> None:
    after = DAEMON.write(
        DAEMONS["Docker's documentation"], {"log-opts.labels": "a", "registry-mirrors": [MIRROR]}
    )
    assert after == (
        '{\n  "data-root": "/data/docker",\n'
        '  "log-opts": {"max-size": "10m", "max-file": "2", "labels": "a"},\n'
        f'  "registry-mirrors": [\n    "{MIRROR}"\n  ]\n}}\n'
    )


def test_a_new_json_file_goes_again_with_its_last_value() -> None:
    after = DAEMON.write("", {"runtimes.ascend.path": "/a"})
    assert after == '{\n  "runtimes": {\n    "ascend": {\n      "path": "/a"\n    }\n  }\n}\n'
    assert DAEMON.write(after, {"runtimes.ascend.path": ABSENT}) == ""


def test_names_with_dots_have_keys_of_their_own() -> None:
    text = '{"a.b": 1, "a": {"b": 2, "c\\\\.d": 3}}'
    assert DAEMON.read(text) == {"a\\.b": 1, "a": {"b": 2, "c\\.d": 3}, "a.b": 2, json_key("a", "c\\.d"): 3}
    assert json.loads(DAEMON.write(text, {json_key("a.b"): 5, json_key("a", "c\\.d"): 6})) == {
        "a.b": 5,
        "a": {"b": 2, "c\\.d": 6},
    }


@pytest.mark.parametrize(
    "text", ["[]", '"x"', "{", '{"a": 1, "a": 2}', '{"a": NaN}', "\ufeff{}", "{} x", "{'a': 1}", "[" * 5000]
)
def test_what_docker_would_not_read_is_not_read(text: str) -> None:
    with pytest.raises(UnreadableError):
        DAEMON.read(text)


def test_a_value_has_no_place_in_what_is_no_object() -> None:
    with pytest.raises(UnreadableError, match="runtimes is not an object"):
        DAEMON.write('{"runtimes": "none"}', {"runtimes.ascend": {}})


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


@PATIENT
@given(
    data=st.dictionaries(st.text(max_size=3), JSON_VALUES, max_size=5),
    indent=st.sampled_from([None, 1, 2, 4, "\t"]),
    separators=st.sampled_from([None, (",", ":"), (", ", " : ")]),
    names=st.lists(st.text(max_size=3), min_size=1, max_size=3),
    value=JSON_VALUES,
)
def test_any_json_file_keeps_the_rest_and_gets_it_all_back(
    data: dict[str, Any],
    indent: Any,
    separators: Any,
    names: list[str],
    value: Any,
) -> None:
    text = json.dumps(data, indent=indent, separators=separators, ensure_ascii=False)
    parent: Any = data
    for name in names[:-1]:
        parent = parent.get(name, {}) if isinstance(parent, dict) else None
        assume(isinstance(parent, dict))
    key = json_key(*names)
    after, back = set_and_back(DAEMON, text, {key: value})
    expected = json.loads(text)
    place = expected
    for name in names[:-1]:
        place = place.setdefault(name, {})
    place[names[-1]] = value
    assert json.loads(after) == expected
    assert DAEMON.read(after)[key] == value
    if not _has_empty(data):
        assert (json.loads(back) if back else {}) == data
    if not _has_empty(data) and not isinstance(DAEMON.read(text).get(key), (dict, list)) and data:
        assert back == text


def _has_empty(value: Any) -> bool:
    return value == {} or (isinstance(value, dict) and any(_has_empty(inner) for inner in value.values()))


@PATIENT
@given(
    old=st.lists(st.sampled_from("abcdef"), max_size=5, unique=True),
    new=st.lists(st.sampled_from("abcdefgh"), max_size=6, unique=True),
    style=st.sampled_from([None, 2, "\t"]),
)
def test_a_list_in_json_gets_its_entries_and_gives_them_back(
    old: list[str], new: list[str], style: Any
) -> None:
    text = json.dumps({"x": 1, "l": old, "y": 2}, indent=style)
    after, back = set_and_back(DAEMON, text, {"l": new})
    assert json.loads(after) == {"x": 1, "l": new, "y": 2}
    assert back == text


@pytest.mark.parametrize("text", PIPS.values(), ids=PIPS)
def test_an_ini_file_is_changed_where_the_option_stands_and_nowhere_else(text: str) -> None:
    there = PIP.read(text).get("global.extra-index-url", [])
    listed = there if isinstance(there, list) else [there]
    values = {"global.index-url": MIRROR, "global.extra-index-url": [MIRROR, *listed]}
    after, back = set_and_back(PIP, text, values)
    assert configured(after) == configured(text) | {
        "global.index-url": [MIRROR],
        "global.extra-index-url": [MIRROR, *listed],
    }
    assert [line for line in text.split("\n") if line.lstrip()[:1] in {"#", ";"}] == [
        line for line in after.split("\n") if line.lstrip()[:1] in {"#", ";"}
    ]
    assert back == text


def configured(text: str) -> dict[str, list[str]]:
    """Section.option → words, as configparser has them."""
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return {
        f"{section}.{key}": value.split()
        for section in parser.sections()
        for key, value in parser.items(section)
    }


def test_pip_has_one_option_for_its_two_spellings() -> None:
    assert PIP.write("[global]\nIndex_URL = a\n", {"global.index-url": "b"}) == "[global]\nIndex_URL = b\n"


@pytest.mark.parametrize(
    "text", ["index-url = x\n", "[a]\nx = 1\nx = 2\n", "[a]\nnothing\n", "[a]\rx=1\n", "\ufeff[a]\n"]
)
def test_what_pip_would_not_read_is_not_read(text: str) -> None:
    with pytest.raises(UnreadableError):
        PIP.read(text)


INI_NAMES = st.text("abcz-", min_size=1, max_size=3)
INI_LINES = st.one_of(
    st.tuples(INI_NAMES, st.text("ab:/ =#", max_size=5)).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    INI_NAMES.map(lambda name: f"[{name}]"),
    st.sampled_from(["", "# remark", "    ", "    more", "  # inner", "\tand more"]),
)


@PATIENT
@given(
    lines=st.lists(INI_LINES, max_size=10),
    values=st.dictionaries(
        st.tuples(INI_NAMES, INI_NAMES).map(".".join),
        st.one_of(
            st.sampled_from(["u", "v"]), st.lists(st.sampled_from("uvw"), min_size=1, max_size=3, unique=True)
        ),
        min_size=1,
        max_size=3,
    ),
    ending=st.sampled_from(["", "\n"]),
)
@example(lines=["[z]", "    more = x"], values={"z.a": "u"}, ending="\n")
def test_any_ini_file_keeps_the_rest(lines: list[str], values: dict[str, Any], ending: str) -> None:
    text = "\n".join(["[a]", *lines]) + ending
    try:
        before = PIP.read(text)
    except UnreadableError:
        return
    after, back = set_and_back(PIP, text, values)
    words = {key: value if isinstance(value, list) else [value] for key, value in values.items()}
    assert configured(after) == configured(text) | words
    assert configured(back) == configured(text)
    if not set(values) & set(before):
        parser = configparser.RawConfigParser()
        parser.read_string(text)
        assert back == text or not all(parser[section] for section in parser.sections())


def test_pip_itself_reads_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    values: dict[str, Any] = {
        "global.index-url": MIRROR,
        "global.extra-index-url": [MIRROR, "https://b"],
        "global.trusted-host": "h",
    }
    file.write_text(PIP.write(PIPS["comments"], values), encoding="utf-8")
    clean = {"PIP_CONFIG_FILE": str(file), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True, env=clean
    )
    said = dict(line.split("=", 1) for line in answer.stdout.splitlines())
    assert said["global.index-url"] == repr(MIRROR)
    assert said["global.extra-index-url"].replace("\\n", " ").strip("'").split() == [MIRROR, "https://b"]
    assert said["global.timeout"] == "'60'"
    assert said["install.user"] == "'no'"


@pytest.mark.parametrize("text", GITS.values(), ids=GITS)
def test_a_git_file_is_changed_where_the_variable_stands_and_nowhere_else(text: str, tmp_path: Path) -> None:
    key = f"url.{MIRROR}.insteadof"
    there = list(GIT.read(text).get(key, []))  # type: ignore[arg-type]
    values = {key: ["https://other.example/", *there], "url.b.insteadof": ["https://b/"]}
    after, back = set_and_back(GIT, text, values)
    assert by_git(tmp_path, after) == by_git(tmp_path, text) | values
    assert GIT.read(after) == by_git(tmp_path, after)
    assert back == text


def by_git(folder: Path, text: str) -> dict[str, list[str | None]]:
    """Key → values, as git reads them; raises CalledProcessError where it does not."""
    file = folder / "config"
    file.write_bytes(text.encode())
    answer = subprocess.run(
        ["git", "config", "--file", str(file), "--list", "-z"], capture_output=True, text=True, check=True
    )
    found: dict[str, list[str | None]] = {}
    for entry in answer.stdout.split("\0")[:-1]:
        key, newline, value = entry.partition("\n")
        found.setdefault(key, []).append(value if newline else None)
    return found


GIT_TEXTS = st.lists(
    st.sampled_from(
        [
            "[a]", "[b]", '[url "x"]', '[url "X.y"]', '[url "q\\"\\\\"]', "[A.b]", " ", "\n", "\r\n", "\t", "key", "k2", "=",
            "v", '"', "#", ";", "\\", "\\n", "\\\n", "[", "]", "1", "é",
        ]
    ),
    max_size=14,
).map("".join)  # fmt: skip


@PATIENT
@given(text=GIT_TEXTS)
@example(text="[a]k=v\\")
@example(text='[a]\nk = "x " \n')
@example(text='[a]\nk = x "y ; z" \t# w\n')
def test_git_and_we_read_the_same(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        wanted: Any = by_git(folder, text)
    except subprocess.CalledProcessError:
        wanted = None
    try:
        found: Any = GIT.read(text)
    except UnreadableError:
        found = None
    assert blanks(found) == blanks(wanted)


def blanks(values: Any) -> Any:
    """Git before 2.45 reads a tab within a value as a blank, later ones as it stands; ours does as the later ones."""
    return json.loads(json.dumps(values).replace("\\t", " "))


@PATIENT
@example(text="[a]key", key="a.key", values=["v"])
@example(text="[a]\nkey = v\\\n", key="url.x.insteadof", values=["v"])
@given(
    text=GIT_TEXTS,
    key=st.sampled_from(["url.x.insteadof", "a.key", 'url.q"\\.insteadof', "url.a b.c.insteadof"]),
    values=st.lists(
        st.sampled_from(["v", "1", "a b", " lead", "x#y", 'q"', "b\\s"]), min_size=1, max_size=3, unique=True
    ),
)
def test_any_git_file_keeps_the_rest_and_gets_it_all_back(text: str, key: str, values: list[str]) -> None:
    try:
        before = GIT.read(text)
    except UnreadableError:
        return
    after, back = set_and_back(GIT, text, {key: values})
    assert GIT.read(after) == {**before, key: values}
    assert GIT.read(back) == before


@pytest.mark.parametrize("text", ["[a\n", "[a]\n1 = 2\n", '[a]\nk = "x\n', "[a]\nk = \\q\n"])
def test_what_git_would_not_read_is_not_read(text: str) -> None:
    with pytest.raises(UnreadableError):
        GIT.read(text)


def test_the_environment_keeps_what_it_has() -> None:
    text = '# all\nPATH="/usr/bin:/bin"\nexport LANG=C\nHF_ENDPOINT=https://old\n'
    assert ENVIRONMENT.read(text) == {"PATH": "/usr/bin:/bin", "LANG": "C", "HF_ENDPOINT": "https://old"}
    after, back = set_and_back(ENVIRONMENT, text, {"HF_ENDPOINT": MIRROR, "NEW": "x"})
    assert after == text.replace("https://old", MIRROR) + "NEW=x\n"
    assert back == text
    assert set_and_back(ENVIRONMENT, "A=1", {"B": "2"}) == ("A=1\nB=2", "A=1")
    assert set_and_back(ENVIRONMENT, "", {"B": "2"}) == ("B=2\n", "")


def test_the_addresses_of_apts_one_line_sources() -> None:
    text = (
        "# deb http://off.example/debian bookworm main\n"
        "deb http://deb.debian.org/debian bookworm main  # first\n"
        "deb [arch=arm64 signed-by=/k.gpg] http://deb.debian.org/debian bookworm main\n"
        "deb http://deb.debian.org/debian bookworm main\n"
    )
    assert LIST.read(text) == {
        "deb bookworm main": "http://deb.debian.org/debian",
        "deb [arch=arm64 signed-by=/k.gpg] bookworm main": "http://deb.debian.org/debian",
        "deb bookworm main (2)": "http://deb.debian.org/debian",
    }
    after, back = set_and_back(LIST, text, {"deb bookworm main": MIRROR})
    assert after == text.replace(
        "deb http://deb.debian.org/debian bookworm main  #", f"deb {MIRROR} bookworm main  #"
    )
    assert back == text


def test_the_addresses_of_apts_paragraphs() -> None:
    text = (
        "# Debian\nTypes: deb deb-src\nURIs: http://deb.debian.org/debian\n  http://two.example/\n# off\nSuites: bookworm\n"
        "Components: main\n\nTypes: deb\nuris: http://deb.debian.org/debian-security\nSuites: bookworm-security\n"
    )
    assert SOURCES.read(text) == {
        "deb deb-src bookworm main": "http://deb.debian.org/debian",
        "deb deb-src bookworm main (2)": "http://two.example/",
        "deb bookworm-security": "http://deb.debian.org/debian-security",
    }
    after, back = set_and_back(
        SOURCES, text, {"deb deb-src bookworm main (2)": MIRROR, "deb bookworm-security": "x"}
    )
    assert after == text.replace("http://two.example/", MIRROR).replace(
        "http://deb.debian.org/debian-security", "x"
    )
    assert back == text


def test_the_sections_of_a_repo_file_keep_their_names() -> None:
    text = "[OS]\nname=OS\nbaseurl=http://repo.openeuler.org/openEuler-22.03-LTS/OS/$basearch/\ngpgcheck=1\n"
    assert REPO.read(text)["OS.baseurl"] == "http://repo.openeuler.org/openEuler-22.03-LTS/OS/$basearch/"
    after, back = set_and_back(REPO, text, {"OS.baseurl": MIRROR})
    assert after == text.replace("http://repo.openeuler.org/openEuler-22.03-LTS/OS/$basearch/", MIRROR)
    assert back == text


def test_a_file_of_no_known_format_is_one_value() -> None:
    form = format_of("/etc/profile.d/npuctl.sh")
    assert form.read("x\n") == {"": "x\n"}
    assert form.write("x\n", {"": "y\n"}) == "y\n"
    assert form.write("x\n", {"": ABSENT}) == ""
