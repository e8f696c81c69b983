"""Write npuctl/data/vllm/flags.json from lists of flags and environment names read per vLLM version.

    python tools/convert_vllm_flags.py INPUT.json [OUTPUT.json]

The input is `{"flags": {VERSION: [NAME, ...]}, "envs": {VERSION: [NAME, ...]}}`. The output names each
flag once with the runs of versions that have it, so that a name which goes and comes back stays exact.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

SOURCE = (
    "The source distributions of vLLM on PyPI, one for each version listed: the names of `vllm serve` options "
    "and of VLLM_ environment variables found in them. Presence only, no value types; about a version "
    "between two listed ones the table says nothing."
)
DEFAULT_OUTPUT = Path(__file__).resolve().parent.parent / "npuctl/data/vllm/flags.json"

Runs = list[list[str]]


def main() -> None:
    """Read the input named on the command line and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path, nargs="?", default=DEFAULT_OUTPUT)
    args = parser.parse_args()
    data: dict[str, dict[str, list[str]]] = json.loads(args.input.read_text(encoding="utf-8"))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(render(data["flags"], data["envs"]), encoding="utf-8")


def render(flags: dict[str, list[str]], envs: dict[str, list[str]]) -> str:
    """The table as JSON text with one name a line, in the order of the versions and the alphabet."""
    versions = sorted(flags, key=lambda version: [int(part) for part in version.split(".")])
    if sorted(envs) != sorted(versions):
        raise SystemExit("the input has flags and envs of different versions")
    lines = [
        "{",
        f'"source": {json.dumps(SOURCE)},',
        f'"versions": {json.dumps(versions)},',
        f'"flags": {_table(versions, flags)},',
        f'"envs": {_table(versions, envs)}',
        "}",
    ]
    return "\n".join(lines) + "\n"


def runs(versions: list[str], present: set[str]) -> Runs:
    """The unbroken runs of versions that are present, each as its first and last version."""
    found: Runs = []
    previous = False
    for version in versions:
        if version in present and previous:
            found[-1][1] = version
        elif version in present:
            found.append([version, version])
        previous = version in present
    return found


def _table(versions: list[str], names: dict[str, list[str]]) -> str:
    where: dict[str, set[str]] = {}
    for version, listed in names.items():
        for name in listed:
            where.setdefault(name, set()).add(version)
    rows = [f"  {json.dumps(name)}: {json.dumps(runs(versions, where[name]))}" for name in sorted(where)]
    return "{\n" + ",\n".join(rows) + "\n}"


if __name__ == "__main__":
    main()
