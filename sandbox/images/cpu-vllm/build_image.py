"""Build the engine image that holds the real vLLM for CPU and a tiny model.

One container of the node base image gets a virtual environment, the model and the start files, and is
committed under the tag asked for. The install runs in that container so that Python and libc are the
ones it will meet at run time; the host's pip configuration (indexes, wheel folders, certificate) is
carried into it, and a download cache is kept between builds.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
MOUNTS = "/mnt/npuctl-build"
PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LOCAL_PATH = re.compile(r"^(?P<scheme>file://)?(?P<path>/.*)$")
PLACES = ("cert", "find-links", "index-url", "extra-index-url")

COMMIT = [
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "ENV HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1",
    "ENV VLLM_CPU_KVCACHE_SPACE=1",
    # Without a C++ compiler in the image there is nothing torch.compile could compile with. Both are needed:
    # compiling ahead of time does not look at the first.
    "ENV TORCHDYNAMO_DISABLE=1 VLLM_USE_AOT_COMPILE=0",
    "WORKDIR /workspace",
    'CMD ["/bin/bash"]',
    "LABEL npuctl.sandbox=engine-image",
]


def main() -> int:
    """Build and tag the image; 0 when it exists afterwards."""
    parser = argparse.ArgumentParser(prog="build", description=__doc__)
    parser.add_argument("tag")
    parser.add_argument("--base", required=True, help="Docker image of Debian 12 with python3 in it")
    parser.add_argument("--work", type=Path, help="folder that keeps pip's downloads between builds")
    parser.add_argument(
        "--torch-index",
        default=PYTORCH_CPU_INDEX,
        help="where torch's CPU wheel is, if no configured place has it",
    )
    args = parser.parse_args()
    work: Path = (
        args.work or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "npuctl/cpu-vllm"
    )
    (work / "pip").mkdir(parents=True, exist_ok=True)
    (work / "apt").mkdir(exist_ok=True)
    begin = time.monotonic()
    container = f"npuctl-build-{uuid.uuid4().hex[:12]}"
    try:
        run = subprocess.run(_install(container, args.base, work.resolve(), args.torch_index), check=False)
        if run.returncode == 0:
            changes = [word for line in COMMIT for word in ("--change", line)]
            run = subprocess.run(["docker", "commit", *changes, container, args.tag], check=False)
    finally:
        subprocess.run(["docker", "rm", "-f", container], check=False, stdout=subprocess.DEVNULL)
    if run.returncode == 0:
        print(f"{args.tag}: built in {time.monotonic() - begin:.0f} s")
    return run.returncode


def _install(container: str, base: str, work: Path, torch_index: str) -> list[str]:
    mounts, environment = pip_settings(_pip_config())
    mounts = {HERE: f"{MOUNTS}/source:ro", work: f"{MOUNTS}/work", **mounts}
    environment["TORCH_INDEX"] = torch_index
    return [
        *("docker", "run", "--name", container, "--network", "host"),
        # Committed with the rest; a base that runs systemd may have others.
        *("--entrypoint", "", "--stop-signal", "SIGTERM"),
        *(word for path, place in mounts.items() for word in ("--volume", f"{path}:{place}")),
        # Not as --env: the commit would keep them.
        *(base, "env", *(f"{name}={value}" for name, value in environment.items())),
        *("bash", f"{MOUNTS}/source/install.sh", MOUNTS),
    ]


def pip_settings(config: dict[str, str]) -> tuple[dict[Path, str], dict[str, str]]:
    """The mounts and PIP_ variables that give a container this pip configuration.

    Local paths are mounted below MOUNTS and renamed in the values. Of an index `…/simple` its parent is
    mounted, because its pages may link to a sibling folder.
    """
    mounts: dict[Path, str] = {}
    environment: dict[str, str] = {}
    for name, value in config.items():
        words = [_moved(word, name, mounts) for word in value.split()] if name in PLACES else [value]
        environment["PIP_" + name.upper().replace("-", "_")] = " ".join(words)
    return mounts, environment


def _moved(word: str, name: str, mounts: dict[Path, str]) -> str:
    match = LOCAL_PATH.match(word)
    if match is None or not Path(match["path"]).exists():
        return word
    path = Path(match["path"])
    source = path.parent if name.endswith("index-url") else path
    place = mounts.setdefault(source, f"{MOUNTS}/pip-{len(mounts)}:ro").removesuffix(":ro")
    return (match["scheme"] or "") + (f"{place}/{path.name}" if source != path else place)


def _pip_config() -> dict[str, str]:
    """What pip is configured with on this host: files first, the environment over them."""
    run = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True
    )
    found: dict[str, str] = {}
    for section in ("global.", "install.", ":env:."):
        for line in run.stdout.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(section):
                found[key.removeprefix(section)] = value.strip("'\"").replace("\\n", " ")
    found.pop("cache-dir", None)
    return found


if __name__ == "__main__":
    sys.exit(main())
