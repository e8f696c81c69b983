"""Whether each service fits on its chips: memory, heads, length; and flags that do not go together."""

from __future__ import annotations

from collections.abc import Iterator

from npuctl import engines
from npuctl.engines._contract import MemoryWish, Seat
from npuctl.hardware.catalog import Product
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.fit import Fit, fit_of
from npuctl.plan.model import Finding, Replica
from npuctl.plan.model_shape import Shape, read_shape
from npuctl.plan.wording import size_on_chip
from npuctl.spec.models import Service

_MIB = 2**20


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about how the services sit on their nodes; replicas of one service share a finding."""
    for node in checked.nodes:
        if node.product is None:
            continue
        seen: set[str] = set()
        for replica in node.replicas:
            if replica.service in seen:
                continue
            seen.add(replica.service)
            service = checked.services[replica.service]
            seat = _seat(node, replica, node.product)
            yield from _flags_do_what_they_say(service, seat)
            weights = node.weights(service.model.path)
            if weights is None or weights.config is None:
                continue
            shape, wish = read_shape(weights.config), engines.load(service.engine).memory(service, seat)
            yield from _heads_divide(node, service, shape)
            yield from _experts_there(node, service, shape)
            yield from _length_known(node, service, shape, wish)
        for fit in _fits_of(checked, node):
            yield from _memory_suffices(fit)


def fits(checked: Checked) -> tuple[Fit, ...]:
    """How every service fits where its weights were read: on the node where it is tightest."""
    found: dict[str, Fit] = {}
    for node in checked.nodes:
        for fit in _fits_of(checked, node):
            known = found.get(fit.service)
            if known is None or fit.margin_bytes < known.margin_bytes:
                found[fit.service] = fit
    return tuple(found[service.name] for service in checked.spec.services if service.name in found)


def _fits_of(checked: Checked, node: CheckedNode) -> Iterator[Fit]:
    """The tightest fit of each service on the node: its chips may differ."""
    found: dict[str, Fit] = {}
    for replica in node.replicas:
        service = checked.services[replica.service]
        weights = node.weights(service.model.path)
        memory = [chip.memory_total_mb for chip in node.facts.chips if chip.id in replica.chips]
        if node.product is None or weights is None or weights.config is None or not memory:
            continue
        room = (min(memory) - node.product.reserved_memory_mb) * _MIB
        if room <= 0:
            continue
        wish = engines.load(service.engine).memory(service, _seat(node, replica, node.product))
        fit = fit_of(service, wish, weights, room, node=node.name)
        known = found.get(service.name)
        if fit is not None and (known is None or fit.margin_bytes < known.margin_bytes):
            found[service.name] = fit
    yield from found.values()


def _seat(node: CheckedNode, replica: Replica, product: Product) -> Seat:
    return Seat(node.name, product, replica.chips, replica.port)


def _memory_suffices(fit: Fit) -> Iterator[Finding]:
    """Less cache than one sequence: vLLM then refuses to start (v1/core/kv_cache_utils.py)."""
    word = f" ({fit.estimated})" if fit.estimated else ""
    if fit.shortage == "weights":
        yield Finding(
            id="fit.weights",
            severity="error" if fit.certain else "warning",
            node=fit.node,
            seen=fit.binding + word,
            expected=f"at most {size_on_chip(fit.budget_bytes)} of weights on a chip, and room for the KV cache",
            remedy="raise topology.tensor_parallel or pipeline_parallel, or serve quantised weights",
            service=fit.service,
        )
    elif fit.shortage == "cache":
        shorter = _tokens_that_fit(fit)
        hint = f"lower max-model-len to {shorter}, " if shorter else ""
        yield Finding(
            id="fit.cache",
            severity="error" if fit.certain else "warning",
            node=fit.node,
            seen=fit.binding + word,
            expected="room for the KV cache of one sequence of max-model-len beside the weights",
            remedy=f"{hint}raise topology.tensor_parallel or gpu-memory-utilization, or use fewer weights",
            service=fit.service,
        )


def _tokens_that_fit(fit: Fit) -> int:
    """The longest sequence that fits on one data parallel rank, in whole thousands."""
    return (fit.tokens or 0) // fit.ranks // 1024 * 1024


def _heads_divide(node: CheckedNode, service: Service, shape: Shape) -> Iterator[Finding]:
    """The rule of vLLM, config/model.py; every engine that cuts attention by heads shares it."""
    tensor = service.topology.tensor_parallel
    if shape.heads is None or shape.heads % tensor == 0:
        return
    fitting = [count for count in range(1, shape.heads + 1) if shape.heads % count == 0]
    yield Finding(
        id="fit.heads",
        severity="error",
        node=node.name,
        seen=f"tensor_parallel {tensor} does not divide the model's {shape.heads} attention heads",
        expected=f"one of {', '.join(str(count) for count in fitting if count <= 2 * tensor)}",
        remedy="set topology.tensor_parallel to one of these",
        service=service.name,
    )


def _experts_there(node: CheckedNode, service: Service, shape: Shape) -> Iterator[Finding]:
    if service.topology.expert_parallel and not shape.experts:
        yield Finding(
            id="fit.experts",
            severity="error",
            node=node.name,
            seen="expert_parallel is on, and config.json of the model names no experts",
            expected="a mixture-of-experts model, or expert_parallel off",
            remedy="take topology.expert_parallel out",
            service=service.name,
        )


def _length_known(node: CheckedNode, service: Service, shape: Shape, wish: MemoryWish) -> Iterator[Finding]:
    if shape.longest is None or wish.longest is None or wish.any_length or wish.longest <= shape.longest:
        return
    yield Finding(
        id="fit.length",
        severity="error",
        node=node.name,
        seen=f"max-model-len {wish.longest}; the model's config.json allows {shape.longest}",
        expected=f"at most {shape.longest} tokens",
        remedy=f"lower max-model-len to {shape.longest}, or give the model a rope scaling that its card names",
        service=service.name,
    )


def _flags_do_what_they_say(service: Service, seat: Seat) -> Iterator[Finding]:
    for remark in engines.load(service.engine).remarks(service, seat):
        yield Finding(
            id="engine.flags",
            severity="warning",
            node=seat.node,
            seen=f"{remark.key}: {remark.message}",
            expected="flags and variables that act as they are written",
            remedy=remark.hint,
            service=service.name,
        )
