"""Text of cluster.yml → ClusterSpec, or every problem of the file at once. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from npuctl.errors import UsageError
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parts import SecretRef
from npuctl.spec.secrets import masked

KEY = "npuctl_cluster"
_IN_VAULT = "its value stands below npuctl_secrets in group_vars/all/vault.yml"
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file.

    Attributes:
        where: `file:line: key.path`, as far as known.
        message: what is wrong, with the value found.
        hint: what to write instead; may be empty.
    """

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """One or two lines for the screen."""
        return f"{self.where}: {self.message}" + (f"\n    hint: {self.hint}" if self.hint else "")


class SpecError(UsageError):
    """The spec has problems; all of them are listed."""

    def __init__(self, problems: list[Problem]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"the cluster spec has {count}; no node was touched\n{lines}")
        self.problems = problems

    def as_data(self) -> dict[str, object]:
        """The error with its problems one by one."""
        problems = [
            {"where": problem.where, "message": problem.message, "hint": problem.hint}
            for problem in self.problems
        ]
        return {**super().as_data(), "problems": problems}


def parse_cluster(text: str, *, file: str) -> ClusterSpec:
    """Read the text of cluster.yml.

    Args:
        text: the file's content, YAML with the one key `npuctl_cluster`.
        file: the file's name, for messages.

    Raises:
        SpecError: with every problem found, each with line, key path, value and hint.
    """
    try:
        return _parse(text, file)
    except RecursionError:
        raise SpecError([Problem(file, "not valid YAML: nested too deep")]) from None


def _parse(text: str, file: str) -> ClusterSpec:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError([Problem(f"{file}:{line}", f"not valid YAML: {error.problem}")]) from None
    except (yaml.YAMLError, ValueError, KeyError, AttributeError) as error:
        # PyYAML lets errors of its own constructors through: 2024-13-40 is a ValueError of datetime.
        raise SpecError([Problem(file, f"not valid YAML: {error}")]) from None
    lines = dict(_key_lines(root)) if root is not None else {}
    problems = list(_duplicates(root, file)) + list(_templates(data, lines, file))
    if not isinstance(data, dict) or KEY not in data:
        problems.append(Problem(file, f"the key {KEY} is missing", f"start the file with `{KEY}:`"))
        raise SpecError(problems)
    unknown = [key for key in data if key != KEY]
    problems += [
        Problem(f"{file}:{lines.get((key,), 1)}: {key}", "unknown key", f"only {KEY} belongs in this file")
        for key in unknown
    ]
    try:
        spec = ClusterSpec.model_validate(data[KEY])
    except ValidationError as error:
        problems += _merge(_problem(dict(item), lines, file) for item in error.errors())
        raise SpecError(problems) from None
    if problems:
        raise SpecError(problems)
    return spec


def dotted(path: Path) -> str:
    """A key path as people write it: services[0].port."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def _key_lines(node: yaml.Node, path: Path = ()) -> Iterator[tuple[Path, int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            yield from _key_lines(value, here)
            yield here, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _key_lines(value, (*path, index))


def _duplicates(node: yaml.Node | None, file: str, path: Path = ()) -> Iterator[Problem]:
    # YAML readers keep the last of two equal keys in silence; a person never means that.
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                where = f"{file}:{key.start_mark.line + 1}: {dotted((*path, name))}"
                yield Problem(where, "this key stands twice", "keep one of them")
            seen.add(name)
            yield from _duplicates(value, file, (*path, name))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _duplicates(value, file, (*path, index))


def _templates(data: object, lines: Mapping[Path, int], file: str, path: Path = ()) -> Iterator[Problem]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _templates(str(key), lines, file, (*path, str(key)))
            yield from _templates(value, lines, file, (*path, str(key)))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _templates(value, lines, file, (*path, index))
    elif isinstance(data, str) and any(mark in data for mark in ("{{", "{%", "{#")):
        where = f"{file}:{lines.get(path, 1)}: {dotted(path)}"
        yield Problem(where, f"templates are not read here: {masked(data)!r}", "write the value itself")


def _problem(item: dict[str, Any], lines: Mapping[Path, int], file: str) -> Problem:
    path = _existing_path((KEY, *item["loc"]), lines)
    where = f"{file}:{lines.get(path, lines.get(path[:-1], 1))}: {dotted(path)}"
    kind, found = item["type"], item.get("input")
    if kind not in {"extra_forbidden", "missing"} and _is_secret(item["loc"]):
        return _secret_problem(item, where)
    where, found = masked(where), _shown(found)
    if kind == "extra_forbidden":
        known = _known_keys(item["loc"][:-1])
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return Problem(where, "unknown key", hint)
    if kind == "missing":
        return Problem(where, "this key is missing")
    if kind == "string_pattern_mismatch":
        return Problem(where, f"{found!r} does not fit", f"it must match {item['ctx']['pattern']}")
    if kind == "model_type":
        keys = ", ".join(_known_keys(item["loc"]))
        fields = _model_at(item["loc"]).model_fields.values()
        hidden = any(_names(field.annotation, SecretRef) for field in fields)
        what = "this" if hidden else repr(found)
        return Problem(where, f"{what} does not fit", f"write a mapping with the keys: {keys}")
    message = item["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(found, dict | list) else f" (found {found!r})"
    return Problem(where, f"{message[:1].lower()}{message[1:]}{shown}")


def _merge(problems: Iterable[Problem]) -> list[Problem]:
    """One problem a place: pydantic reports each type that a value could have had on its own."""
    places: dict[str, list[Problem]] = {}
    for problem in problems:
        places.setdefault(problem.where, []).append(problem)
    return [
        same[0]
        if len(same) == 1
        else Problem(where, " or ".join(dict.fromkeys(problem.message for problem in same)), same[0].hint)
        for where, same in places.items()
    ]


def _existing_path(path: Path, lines: Mapping[Path, int]) -> Path:
    # pydantic adds the names of union members to a path (`hosts.list[…]`); drop what is no key.
    kept: Path = ()
    for index, part in enumerate(path):
        last = index == len(path) - 1
        if (*kept, part) in lines or (last and not _is_union_tag(part)):
            kept = (*kept, part)
    return kept


def _is_union_tag(part: str | int) -> bool:
    return isinstance(part, str) and (
        part in {"bool", "int", "float", "str", "none", "constrained-str", SecretRef.__name__}
        or "[" in part
        or ("-" in part and "(" in part)
    )


def _known_keys(loc: tuple[str | int, ...]) -> list[str]:
    return sorted(field.alias or name for name, field in _model_at(loc).model_fields.items())


def _model_at(loc: tuple[str | int, ...]) -> type[BaseModel]:
    model: type[BaseModel] = ClusterSpec
    for part in loc:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        model = _inner_model(model.model_fields[part].annotation) or model
    return model


def _secret_problem(item: dict[str, Any], where: str) -> Problem:
    """Says nothing of the value: whoever writes the secret itself here must not find it in a CI log as well."""
    if item["type"] == "string_pattern_mismatch":
        return Problem(where, "this name of a secret does not fit", f"it must match {item['ctx']['pattern']}")
    return Problem(where, "this is no reference to a secret", f"write {{secret: NAME}}; {_IN_VAULT}")


def _shown(found: object) -> object:
    """A value that a message repeats, without a name and password before an @, in an address or not."""
    if not isinstance(found, str):
        return found
    return masked(found) if "://" in found else re.sub(r"[^\s'\"/:]+:[^\s'\"]*@", "***@", found)


def _is_secret(loc: tuple[str | int, ...]) -> bool:
    """Whether the place is one for a reference to a secret, or lies within one."""
    model: type[BaseModel] = ClusterSpec
    for part in loc:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        annotation = model.model_fields[part].annotation
        if _names(annotation, SecretRef):
            return not _names(annotation, str) or SecretRef.__name__ in loc
        model = _inner_model(annotation) or model
    return False


def _names(annotation: object, wanted: type) -> bool:
    """Whether a type is, or is made of, another; what a mapping's keys are does not count."""
    arguments = getattr(annotation, "__args__", ())
    if getattr(annotation, "__origin__", None) is dict:
        arguments = arguments[1:]
    return annotation is wanted or any(_names(argument, wanted) for argument in arguments)


def _inner_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None
