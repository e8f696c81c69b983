"""The thorough look at one node: NPUs, machine, images, weights, side by side. Read-only.

Standard library; Python 3.8 or newer.
"""

import concurrent.futures
import os
import time

from ansible.module_utils import npuctl_command as command
from ansible.module_utils import npuctl_docker as docker
from ansible.module_utils import npuctl_host as host
from ansible.module_utils import npuctl_images as images
from ansible.module_utils import npuctl_npus as npus
from ansible.module_utils import npuctl_second_opinion as second_opinion
from ansible.module_utils import npuctl_weights as weights

DOCKER_SECONDS = 20
DOCKER_ROOT = "/var/lib/docker"
# 700 headers from a file server that is far away; none that is dead is waited for longer.
WEIGHTS_SECONDS = 60
IMAGES_SECONDS = 60
SECOND_OPINION_SECONDS = 30


def collect(request, info):
    """Read everything that request["survey"] (models, images, caches, second_opinion) asks for.

    `info` is a future of the answer to `npu-smi info`: it decides whether npu-smi is asked again.
    """
    began = time.monotonic()
    wanted = request["survey"]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        asked = wanted.get("npus", True)
        chips = pool.submit(lambda: npus.collect(info.result()) if asked else npus.nothing())
        engine = pool.submit(read_engine)
        machine = pool.submit(lambda: host.collect(places(request, engine.result()["root"])))
        inside = pool.submit(command.within, IMAGES_SECONDS, images.collect, wanted)
        models = pool.submit(read_weights, wanted.get("models") or [])
        others = pool.submit(ask_others, wanted.get("second_opinion"))
        found = {
            "npus": chips.result(),
            "engine": engine.result(),
            "host": machine.result(),
            "images": inside.result(),
            "weights": models.result(),
            "second_opinions": others.result(),
        }
    found["seconds"] = time.monotonic() - began
    return found


def places(request, docker_root):
    """What lies on the disks that matter, and where."""
    wanted = request["survey"]
    return (
        [("root", "/"), ("docker", docker_root or DOCKER_ROOT), ("npuctl", request["root"])]
        + [("cache:" + path, path) for path in wanted.get("caches") or []]
        + [("model:" + path, path) for path in wanted.get("models") or []]
    )


def ask_others(wanted):
    """What other checkers on the node say, where they are asked for."""
    return second_opinion.collect(SECOND_OPINION_SECONDS) if wanted else []


def read_weights(folders):
    """Folder → (what is in it, why it could not be read); all side by side."""
    with concurrent.futures.ThreadPoolExecutor(max(1, len(folders))) as pool:
        answers = pool.map(
            lambda folder: command.within(WEIGHTS_SECONDS, weights.read_folder, folder), folders
        )
        return dict(zip(folders, answers))  # noqa: B905  Python 3.8 has no strict


def read_engine():
    """Folder, storage driver and runtimes of the Docker engine."""
    try:
        info = docker.call("GET", "/info", timeout=DOCKER_SECONDS)
    except docker.DockerError as error:
        return {"error": str(error), "root": ""}
    runtimes = {name: (entry or {}).get("path", "") for name, entry in (info.get("Runtimes") or {}).items()}
    return {
        "error": "",
        "root": info.get("DockerRootDir") or "",
        "driver": info.get("Driver") or "",
        "runtimes": runtimes,
        "default_runtime": info.get("DefaultRuntime") or "",
        "missing_runtimes": sorted(name for name, path in runtimes.items() if path and not is_program(path)),
    }


def is_program(path):
    """Whether a runtime's program is on the node; a bare name is looked for as the engine does."""
    folders = [""] if path.startswith("/") else [*os.environ.get("PATH", "").split(":"), *command.FOLDERS]
    return any(os.access(os.path.join(folder, path), os.X_OK) for folder in folders)
