"""Write docs/reference from the code; with --check, compare and name the stale pages.

Each page is made in English and in Chinese. What the code says in English is translated by tools/docs_zh.json;
a text that is not in it stays English.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from npuctl import errors
from npuctl.__main__ import BUG, INTERRUPTED
from npuctl.cli.completion import Command, Option, command_tree
from npuctl.cli.parser import build_parser
from npuctl.sandbox import faults
from npuctl.spec.schema import cluster_schema
from tools.check_pages import check_pages

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
TRANSLATIONS = ROOT / "tools" / "docs_zh.json"
LANGUAGES = ("en", "zh")

# One example a key of the spec, as a person would write it.
_SPEC_PAGES: dict[str, Any] = yaml.safe_load((ROOT / "tools/spec_pages.yaml").read_text(encoding="utf-8"))

Page = tuple[str, list[str]]


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check return 1 and name those that differ."""
    pages = dict(all_pages())
    if "--check" not in arguments:
        REFERENCE.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            (REFERENCE / name).parent.mkdir(exist_ok=True)
            (REFERENCE / name).write_text(text, encoding="utf-8")
        for name in _strangers(pages):
            (REFERENCE / name).unlink()
        return 0
    stale = [name for name, text in pages.items() if _present(REFERENCE / name) != text]
    stale += _strangers(pages)
    for name in stale:
        print(f"docs/reference/{name} is not what the code says: make docs", file=sys.stderr)
    return 1 if stale else 0


def _strangers(pages: Mapping[str, str]) -> list[str]:
    """Pages in docs/reference that nothing generates any more."""
    present = (str(path.relative_to(REFERENCE)) for path in REFERENCE.rglob("*.md"))
    return sorted(name for name in present if name not in pages)


def all_pages() -> Iterator[tuple[str, str]]:
    """Name and text of every generated page."""
    yield from check_pages()
    for language in LANGUAGES:
        suffix = ".md" if language == "en" else ".zh.md"
        for name, make in _PAGES.items():
            title, lines = make(language)
            yield name + suffix, "\n".join([*_head(language, name, title), *lines]).rstrip() + "\n"


def _present(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _head(language: str, name: str, title: str) -> list[str]:
    note = "<!-- Written by tools/generate_docs.py: change the code, then run `make docs`. -->"
    other = f"[中文]({name}.zh.md)" if language == "en" else f"[English]({name}.md)"
    return [note, "", f"# {title}", "", other, ""]


@cache
def _translations() -> dict[str, str]:
    found: dict[str, str] = json.loads(TRANSLATIONS.read_text(encoding="utf-8"))
    return found


def _translate(language: str, text: str) -> str:
    return text if language == "en" else _translations().get(text, text)


def _table(language: str, heads: Sequence[str], rows: Sequence[list[str]]) -> list[str]:
    cells = [[_translate(language, head) for head in heads], ["---"] * len(heads), *rows]
    return [*("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells), ""]


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


# The spec


def spec_page(language: str) -> Page:
    """docs/reference/spec.md, from the JSON Schema."""
    definitions = cluster_schema()["$defs"]
    keys = {f"{kind}.{key}" for kind in definitions for key in definitions[kind].get("properties", {})}
    known = {f"{kind}.{key}" for kind, page in _SPEC_PAGES.items() for key in page["examples"]}
    if keys != known or set(definitions) - {"JsonValue"} != set(_SPEC_PAGES):
        raise SystemExit(f"tools/spec_pages.yaml does not fit npuctl/spec: {sorted(keys ^ known)}")
    lines = [
        _translate(
            language,
            "`inventories/NAME/group_vars/all/cluster.yml` holds one key, `npuctl_cluster`. Values are literal: no"
            " Jinja. Unknown keys are refused. `npuctl schema` prints the same as JSON Schema, for editors.",
        ),
        "",
    ]
    heads = ["key", "type", "default", "meaning", "example"]
    for kind, page in _SPEC_PAGES.items():
        lines += [f"## {_translate(language, page['title'])}", ""]
        lines += _table(language, heads, _spec_rows(language, kind, definitions))
    return _translate(language, "cluster.yml"), lines


def _spec_rows(language: str, kind: str, definitions: Mapping[str, Any]) -> list[list[str]]:
    definition = definitions[kind]
    required = definition.get("required", [])
    return [
        [
            _code(key),
            _type(language, schema),
            _translate(language, "**required**") if key in required else _default(language, schema),
            _translate(language, schema.get("description") or _described(schema, definitions)),
            _code(_SPEC_PAGES[kind]["examples"][key]),
        ]
        for key, schema in definition["properties"].items()
    ]


def _described(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Of a key whose own description pydantic leaves out because it is that of its type."""
    described: str = definitions[schema["$ref"].rpartition("/")[2]]["description"]
    return described


_TYPE_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}


def _type(language: str, schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _translate(language, _SPEC_PAGES[schema["$ref"].rpartition("/")[2]]["type"])
    if "anyOf" in schema:
        words = [_type(language, part) for part in schema["anyOf"] if part.get("type") != "null"]
        return _translate(language, " or ").join(dict.fromkeys(words))
    if "enum" in schema:
        return ", ".join(_code(str(value)) for value in schema["enum"])
    word = _translate(language, _TYPE_WORDS[schema["type"]])
    if "minimum" in schema and "maximum" in schema:
        word += f" {schema['minimum']} … {schema['maximum']}"
    inner = schema.get("items")
    return _translate(language, "list of {}").format(_type(language, inner)) if inner else word


def _default(language: str, schema: Mapping[str, Any]) -> str:
    value = schema.get("default")
    if value is None:
        return _translate(language, "none")
    if isinstance(value, dict) and value:
        return _translate(language, "as below")
    return _code(value if isinstance(value, str) else json.dumps(value))


# The command line


def cli_page(language: str) -> Page:
    """docs/reference/cli.md, from the argument parser."""
    tree = command_tree(build_parser())
    lines = [_translate(language, tree.help), "", *_options_table(language, tree)]
    for verb in tree.commands:
        lines += _command_lines(language, verb, "##")
        for action in verb.commands:
            lines += _command_lines(language, action, "###")
    return _translate(language, "Command line"), lines


def _command_lines(language: str, command: Command, heading: str) -> list[str]:
    lines = [f"{heading} npuctl {' '.join(command.path)}", "", _translate(language, command.help), ""]
    if command.aliases:
        names = ", ".join(_code(f"npuctl {alias}") for alias in command.aliases)
        lines += [_translate(language, "Also: {}.").format(names), ""]
    lines += _options_table(language, command)
    if command.example:
        example = [line.strip() for line in command.example.splitlines()]
        lines += ["```console", *(f"$ {line}" for line in example), "```", ""]
    return lines


def _options_table(language: str, command: Command) -> list[str]:
    rows = [_option_row(language, option) for option in (*command.arguments, *command.options)]
    heads = ["argument", "meaning"]
    return _table(language, heads, [row for row in rows if row])


def _option_row(language: str, option: Option) -> list[str]:
    if "--help" in option.flags:
        return []
    value = f"{{{','.join(option.choices)}}}" if option.choices else option.value
    shown = value if option.choices else value.upper()
    if option.flags:
        shown = f"{', '.join(option.flags)} {value}".strip()
    optional = not option.flags and not option.needed
    return [_code(f"[{shown}]" if optional else shown), _translate(language, option.help)]


# Exit codes


def exit_codes_page(language: str) -> Page:
    """docs/reference/exit-codes.md, from npuctl/errors.py."""
    found = {
        0: ("", "It is done, or there was nothing to do."),
        BUG: ("", "A bug of npuctl's."),
        INTERRUPTED: ("", "Interrupted (Ctrl-C)."),
    }
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.NpuctlError) and value.exit_code != BUG:
            found[value.exit_code] = (value.__name__, (value.__doc__ or "").strip().splitlines()[0])
    heads = ["code", "`code` in JSON", "meaning"]
    rows = [
        [str(code), _code(name), _translate(language, text)] for code, (name, text) in sorted(found.items())
    ]
    note = _translate(
        language,
        "When several things went wrong, the code is that of the worst: a failed change before a silent engine"
        " before a silent node. Codes are a contract: they are added to, not changed.",
    )
    return _translate(language, "Exit codes"), [*_table(language, heads, rows), note]


# Roles


def roles_page(language: str) -> Page:
    """docs/reference/roles.md, from the roles' argument_specs."""
    heads = ["option", "type", "required", "meaning"]
    lines: list[str] = []
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        lines += [f"## {path.parent.parent.name}", ""]
        for entry, spec in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].items():
            described = spec.get("description", [])
            text = " ".join([described] if isinstance(described, str) else described)
            lines += [f"### {entry}: {spec['short_description']}", "", text, ""]
            lines += _table(language, heads, list(_role_rows(language, spec.get("options", {}), "")))
    return _translate(language, "Roles"), lines


def _role_rows(language: str, options: Mapping[str, Any], above: str) -> Iterator[list[str]]:
    for name, option in options.items():
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        text = option["description"]
        if "choices" in option:
            text += " " + ", ".join(_code(str(choice)) for choice in option["choices"])
        needed = _translate(language, "yes") if option.get("required") else ""
        yield [_code(above + name), kind, needed, text]
        yield from _role_rows(language, option.get("options", {}), f"{above}{name}.")


# Faults of the sandbox


def faults_page(language: str) -> Page:
    """docs/reference/faults.md, from what `npuctl sandbox fault --list` says."""
    heads = ["fault", "what it does"]
    rows = [[_code(name), _translate(language, text)] for name, text in faults.explained()]
    note = _translate(
        language,
        "`npuctl sandbox fault NODE FAULT` breaks a node, `--clear` mends it; `all --clear` mends everything.",
    )
    return _translate(language, "Faults of the sandbox"), [note, "", *_table(language, heads, rows)]


_PAGES: dict[str, Callable[[str], Page]] = {
    "spec": spec_page,
    "cli": cli_page,
    "exit-codes": exit_codes_page,
    "roles": roles_page,
    "faults": faults_page,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
