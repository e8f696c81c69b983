"""The LLM engine of a sandbox: its image and its model, brought to every node."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from npuctl.sandbox import docker, images, nodes
from npuctl.sandbox.images import Files
from npuctl.sandbox.model import MODEL_PATH, Node, Sandbox
from npuctl.sandbox.tiny_model import tiny_model

if TYPE_CHECKING:
    from npuctl.sandbox.progress import Progress

_AT_ONCE = 3
_TINY_MODEL_IN_IMAGE = "/opt/tiny-model"


def deliver(kind: str, image: str, sandbox: Sandbox, progress: Progress) -> None:
    """Give every node the engine's image and the tiny model; what a node has already stays."""
    model = {f"{MODEL_PATH.lstrip('/')}/{name}": file for name, file in model_files(kind, image).items()}
    identity = docker.image_id(image)

    def serve(node: Node) -> None:
        nodes.give_files(node.container, model)
        if inner_image_id(node.container, image) != identity:
            load(node.container, image, progress)

    missing = [node for node in sandbox.members if inner_image_id(node.container, image) != identity]
    if missing:
        progress.say(f"loading {image} into {len(missing)} nodes")
    docker.in_parallel(serve, sandbox.members, at_once=_AT_ONCE)


def load(container: str, image: str, progress: Progress) -> None:
    """Load an image of the outer engine into a node's own engine."""
    archive = images.archive_of(image, progress)
    docker.feed(["exec", "--interactive", container, "docker", "load", "--quiet"], archive)


def inner_image_id(container: str, image: str) -> str:
    """Return the id of an image in a node's own engine, "" if it has none."""
    done = docker.attempt("exec", container, "docker", "image", "inspect", "--format", "{{.Id}}", image)
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def inner_images(container: str) -> list[str]:
    """Return the sandbox's engine images in a node's own engine."""
    arguments = (
        "images",
        "--filter",
        f"reference={images.REPOSITORY}/*",
        "--format",
        "{{.Repository}}:{{.Tag}}",
    )
    return docker.lines("exec", container, "docker", *arguments)


def model_files(kind: str, image: str) -> Files:
    """Return the tiny model that goes with an engine, by name below its folder."""
    if kind == "cpu":
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "model"
            nodes.copy_out(image, _TINY_MODEL_IN_IMAGE, copy)
            return images.read_tree(copy)
    return tiny_model()
