"""Build the engine image of the stand-in: a small file system taken from the node base image.

A container of the base image trains the language model, picks the files that the stand-in needs and writes
them as a tar stream, which `docker import` takes. So interpreter, libraries and architecture are the base's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# In a checkout, and below npuctl/_content in a wheel.
FLAG_TABLES = (HERE.parents[2] / "npuctl/data/vllm/flags.json", HERE.parents[3] / "data/vllm/flags.json")
SOURCE, FLAGS = "/mnt/npuctl-build/source", "/mnt/npuctl-build/flags.json"
# Of a release's row, what the image has version files of.
VERSIONS = ("release", "cann", "torch_npu")


def main() -> int:
    """Build and tag the image; 0 when it exists afterwards."""
    parser = argparse.ArgumentParser(prog="build", description=__doc__)
    parser.add_argument("tag")
    parser.add_argument("release", nargs="?", default="0.18.0", help="the vLLM release to stand in for")
    parser.add_argument("--base", required=True, help="Docker image of Debian 12 with python3 in it")
    parser.add_argument("--flags", type=Path, help="the table of flags (npuctl/data/vllm/flags.json)")
    args = parser.parse_args()
    flags: Path = args.flags or next(path for path in FLAG_TABLES if path.is_file())
    versions = json.loads(flags.read_text(encoding="utf-8"))["versions"]
    if args.release not in versions:
        print(
            f"build: no flags are known of vLLM {args.release}; known: {', '.join(versions)}", file=sys.stderr
        )
        return 2
    begin = time.monotonic()
    status = _build(args.tag, args.release, args.base, flags.resolve(), _versions(flags, args.release))
    if status == 0:
        print(f"{args.tag}: built in {time.monotonic() - begin:.0f} s")
    return status


def _versions(flags: Path, release: str) -> list[str]:
    """What the image of the vllm-ascend release of that vLLM holds; nothing where there is no such release."""
    table = json.loads((flags.parent / "releases.json").read_text(encoding="utf-8"))["releases"]
    rows = [row for row in table if release in row["vllm"]]
    row = next((row for row in rows if row["release"] == f"v{release}"), rows[0] if rows else {})
    return [f"{name}={row[name].removeprefix('v')}" for name in VERSIONS if row]


def _build(tag: str, release: str, base: str, flags: Path, versions: list[str]) -> int:
    collect = [
        *("docker", "run", "--rm", "--network", "none", "--entrypoint", "python3"),
        *("--volume", f"{HERE}:{SOURCE}:ro", "--volume", f"{flags}:{FLAGS}:ro"),
        *(base, "-B", f"{SOURCE}/collect.py", SOURCE, FLAGS, *versions),
    ]
    changes = (
        f"ENV SIM_VLLM_RELEASE={release}",
        "ENV LANG=C.UTF-8",
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "WORKDIR /workspace",
        'CMD ["/bin/bash"]',
        "LABEL npuctl.sandbox=engine-image",
    )
    load = ["docker", "import", *(word for line in changes for word in ("--change", line)), "-", tag]
    with subprocess.Popen(collect, stdout=subprocess.PIPE) as collecting:
        loaded = subprocess.run(load, stdin=collecting.stdout, check=False)
    if collecting.returncode:
        # What docker import made of half a stream must not be taken for the image.
        subprocess.run(["docker", "rmi", tag], check=False, capture_output=True)
    return collecting.returncode or loaded.returncode


if __name__ == "__main__":
    sys.exit(main())
