"""What is said when weights cannot be provided. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuctl.plan.model import Finding
from npuctl.plan.wording import masked, size
from npuctl.spec.models import Model

if TYPE_CHECKING:
    from npuctl.plan.provision.weights import Store


def conflict(path: str, one: str, other: str) -> Finding:
    """Two services want different models in one folder."""
    return Finding(
        id="provision.weights_conflict",
        severity="error",
        node="",
        seen=f"{one} and {other} want different weights in {path}",
        expected="one model a folder",
        remedy=f"give the model of {other} a path of its own",
        service=other,
    )


def unknown_node(name: str) -> Finding:
    """The download is to happen on a node that the inventory does not have."""
    return Finding(
        id="provision.weights_conflict",
        severity="error",
        node="",
        seen=f"model_store.download_on is {name!r}, which is no host of the inventory",
        expected="a host of the inventory, or nothing: then this machine downloads",
        remedy="correct download_on, or take it out",
    )


def foreign(node: str, store: Store, what: str) -> Finding:
    """The folder is there, is not ours, and is another one."""
    return Finding(
        id="provision.weights_foreign",
        severity="error",
        node=node,
        seen=f"{store.path}: {what}, and npuctl did not put them there",
        expected=f"no folder, one of npuctl's, or exactly {store.model.id} from {store.origin}",
        remedy=f"move {store.path} on {node} away, or give the model another path, or source: local to keep it",
        service=store.services[0],
    )


def no_room(node: str, store: Store, lacking: int, free: int, spare: int) -> Finding:
    """The disk is too small; `node` is "" for this machine."""
    where = node or "this machine"
    return Finding(
        id="provision.weights_space",
        severity="error",
        node=node,
        seen=f"{size(free)} are free for {store.path} on {where}",
        expected=f"{size(lacking)} that are still to come, and {size(spare)} to spare",
        remedy=f"make room on {where}, or choose another path" + ("" if node else " (model_store.staging)"),
        service=store.services[0],
    )


def no_source(store: Store, why: str, hint: str, node: str = "") -> Finding:
    """The weights cannot be had where the spec says."""
    return Finding(
        id="provision.weights_source",
        severity="error",
        node=node,
        seen=f"{store.model.id} from {store.origin}: {masked(why)}",
        expected="weights that can be fetched",
        remedy=hint or "check source, from and revision of the model",
        service=store.services[0],
    )


def wrong_format(model: Model, service: str, kind: str) -> Finding:
    """The weights are in a format that no engine here loads."""
    what = "MindSpore checkpoints (.ckpt)" if kind == "checkpoint" else "no .safetensors file"
    return Finding(
        id="provision.weights_format",
        severity="error",
        node="",
        seen=f"{model.id} holds {what}",
        expected=".safetensors",
        remedy="take a repository with safetensors, or set `convert` to the command that makes them of it",
        service=service,
    )


def conversion_failed(store: Store, why: str) -> Finding:
    """The command of the spec did not make a model."""
    return Finding(
        id="provision.weights_convert",
        severity="error",
        node="",
        seen=f"{store.model.id}: {why}",
        expected="a command that ends with 0 and leaves .safetensors in {target}",
        remedy="run it by hand with the two folders until it does",
        service=store.services[0],
    )


def cut_off(node: str, port: int, why: str) -> Finding:
    """A node that cannot take files from another one; they go through this machine."""
    return Finding(
        id="provision.weights_port",
        severity="warning",
        node=node,
        seen=f"{node} cannot take weights from another node: {why}; they went through this machine",
        expected=f"TCP port {port} of the nodes open to each other, which takes as long as one copy for all",
        remedy=f"open TCP port {port} between the nodes, or set model_store.port to one that is",
    )
