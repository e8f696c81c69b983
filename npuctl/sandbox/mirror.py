"""The mirror of a sandbox: a container that serves what nodes without a way out are provisioned from.

Package index, git, image registry (with and without a login), model hubs and a Debian archive, over TLS by an
authority of its own. What runs in it lies in sandbox/mirror.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.errors import PlayFailedError, UsageError
from npuctl.sandbox import docker, engine, images, nodes
from npuctl.sandbox.images import File, Files
from npuctl.sandbox.model import LABEL, LABEL_MIRROR, MIRROR, MIRROR_HOST, MODEL_ID, Sandbox

if TYPE_CHECKING:
    from npuctl.sandbox.progress import Progress

REGISTRY = f"{MIRROR_HOST}:5000"
LOGIN_REGISTRY = f"{MIRROR_HOST}:5001"
IMAGE = "quay.io/ascend/vllm-ascend"
LOGIN_IMAGE = "swr.cn-south-1.myhuaweicloud.com/ascendhub/vllm-ascend"
_STATE = "/var/lib/mirror"
_MODELS = "srv/mirror/models"
_ARCHIVE_KEY = "etc/apt/trusted.gpg.d/npuctl-sandbox-mirror.asc"
_PROGRAM = ("python3", "-m", "sandboxmirror")
_READY_SECONDS = 60
# As vllm-ascend's tags: no suffix is A2.
_SUFFIXES = {"a2": "", "a3": "-a3", "310p": "-310p"}


@dataclass(frozen=True, slots=True)
class Mirror:
    """What an inventory needs to know of a mirror.

    Attributes:
        ca: certificate of its authority (PEM).
        user, password: of the registry that wants a login.
        token: opens the gated models of both hubs.
    """

    address: str
    ca: str
    user: str
    password: str
    token: str


def state(sandbox: Sandbox) -> str:
    """Return whether the sandbox's mirror runs, in Docker's word for it; "" where it has none."""
    done = docker.attempt("container", "inspect", "--format", "{{.State.Status}}", sandbox.mirror_container)
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def start(sandbox: Sandbox, progress: Progress) -> None:
    """Make and start the mirror; does not wait for it. One that runs stays as it is."""
    image = images.ensure_mirror_image(progress)
    present = state(sandbox)
    container = sandbox.mirror_container
    if not present:
        progress.say(f"starting the mirror at {sandbox.mirror_address}")
        docker.run(
            *("create", "--name", container, "--hostname", MIRROR, "--init"),
            *("--label", f"{LABEL}={sandbox.name}", "--label", f"{LABEL_MIRROR}=1"),
            *("--network", sandbox.network, "--ip", sandbox.mirror_address, "--network-alias", MIRROR_HOST),
            *(image, "serve", "--address", sandbox.mirror_address, "--name", MIRROR_HOST),
        )
    elif present == "paused":
        docker.run("unpause", container)
    docker.run("start", container)


def fill(sandbox: Sandbox, kind: str, image: str, progress: Progress) -> Mirror:
    """Wait for the mirror, give it the engine `kind` and the models, and the nodes the key of its packages.

    Raises:
        PlayFailedError: it does not come up, or does not take the image.
    """
    container = sandbox.mirror_container
    _wait(sandbox)
    nodes.give_files(container, _models(engine.model_files(kind, image)))
    if image:
        _push(container, kind, image, progress)
    key = {_ARCHIVE_KEY: File(docker.run("exec", container, "cat", f"{_STATE}/archive.asc").encode())}
    for node in sandbox.members:
        nodes.give_files(node.container, key)
    known = json.loads(docker.run("exec", container, "cat", f"{_STATE}/secrets.json"))
    return Mirror(
        address=sandbox.mirror_address,
        ca=docker.run("exec", container, "cat", f"{_STATE}/tls/ca.pem"),
        user=known["registry_user"],
        password=known["registry_password"],
        token=known["hub_token"],
    )


def add_random_model(sandbox: Sandbox, mebibytes: int, progress: Progress) -> None:
    """Let the hubs serve npuctl/random, of that many MiB."""
    progress.say(f"writing a model of {mebibytes} MiB for the mirror")
    docker.run("exec", sandbox.mirror_container, *_PROGRAM, "random-model", str(mebibytes))


def image_name(kind: str, product: str) -> str:
    """Return the name under which the nodes get the engine `kind` for a product."""
    return f"{IMAGE}:{images.engine_release(kind)}{_SUFFIXES[product]}"


def log(sandbox: Sandbox) -> list[dict[str, object]]:
    """Return what the mirror served, oldest first.

    Raises:
        UsageError: there is no mirror, or it does not run.
    """
    _require_running(sandbox)
    done = docker.attempt("exec", sandbox.mirror_container, "cat", f"{_STATE}/served.jsonl")
    return [json.loads(line) for line in done.stdout.decode().splitlines()] if done.returncode == 0 else []


def read_state(sandbox: Sandbox, name: str) -> dict[str, object]:
    """Return a JSON file of the mirror's state, {} where there is none.

    Raises:
        UsageError: there is no mirror, or it does not run.
    """
    _require_running(sandbox)
    done = docker.attempt("exec", sandbox.mirror_container, "cat", f"{_STATE}/{name}")
    told = json.loads(done.stdout) if done.returncode == 0 else {}
    return told if isinstance(told, dict) else {}


def write_state(sandbox: Sandbox, name: str, value: dict[str, object]) -> None:
    """Write a JSON file of the mirror's state."""
    content = (json.dumps(value) + "\n").encode()
    nodes.give_files(sandbox.mirror_container, {f"{_STATE.lstrip('/')}/{name}": File(content)})


def _require_running(sandbox: Sandbox) -> None:
    present = state(sandbox)
    if present != "running":
        raise UsageError(
            f"the mirror of sandbox {sandbox.name!r} is {present or 'missing'}",
            hint=f"npuctl sandbox up --name {sandbox.name} --mirror",
        )


def _wait(sandbox: Sandbox) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not docker.succeeds("exec", sandbox.mirror_container, "test", "-e", f"{_STATE}/ready", timeout=20):
        if time.monotonic() > deadline or state(sandbox) == "exited":
            done = docker.attempt("logs", "--tail", "8", sandbox.mirror_container)
            words = (done.stdout + done.stderr).decode(errors="replace").strip()
            raise PlayFailedError(f"the mirror does not come up; its last words: {words or 'none'}")
        time.sleep(0.2)


def _models(tiny: Files) -> Files:
    """The hubs' models, by path in the container.

    npuctl/tiny with an older revision v1, the same behind a token, and one in MindSpore's format.
    """
    older = tiny | {"generation_config.json": File(b'{"do_sample": false}\n')}
    mindspore = {name: tiny[name] for name in ("config.json", "tokenizer.json")}
    mindspore["checkpoint.ckpt"] = File(bytes(range(256)) * 64)
    folders = {
        f"public/{MODEL_ID}": tiny,
        f"public/{MODEL_ID}@v1": older,
        "public/npuctl/mindspore": mindspore,
        "gated/npuctl/gated": tiny,
    }
    return {
        f"{_MODELS}/{folder}/{name}": file
        for folder, files in folders.items()
        for name, file in files.items()
    }


def _push(container: str, kind: str, image: str, progress: Progress) -> None:
    identity = docker.image_id(image)
    record = f"{_STATE}/filled"
    if docker.attempt("exec", container, "cat", record).stdout.decode() == identity:
        return
    release = images.engine_release(kind)
    references = [f"{IMAGE}:{release}{suffix}" for suffix in _SUFFIXES.values()]
    references.append(f"{LOGIN_IMAGE}:{release}")
    progress.say(f"putting {image} into the mirror's registry as {IMAGE}:{release}")
    command = ["exec", "--interactive", container, *_PROGRAM, "push", *references]
    docker.feed(command, images.archive_of(image, progress))
    nodes.give_files(container, {record.lstrip("/"): File(identity.encode())})
