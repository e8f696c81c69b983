"""The models' folders: whole on every node, and the same on all nodes of a service."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from npuctl import engines
from npuctl.facts.survey import ShardFacts, WeightsFacts
from npuctl.plan.checks._contract import Checked
from npuctl.plan.checks._majority import most_frequent
from npuctl.plan.model import Finding
from npuctl.plan.wording import several
from npuctl.spec.models import Service

# What downloads leave when they are cut off: ModelScope's folder and suffix, Hugging Face's, browsers' and
# aria2's, rsync's hidden copies (NAME.safetensors.Ab12Cd).
_PARTIAL = ("*.incomplete", "*.____temp*", "*.tmp", "*.part", "*.aria2", ".*.safetensors.??????")
# Files beside the shards that decide what an engine makes of them; the rest (readme, licence) may differ.
_DECISIVE = ("*.json", "*.model", "*.txt", "*.jinja", "*.py", "*.tiktoken", "*.bin")
_OF_OTHER_CHECKS = ("config.json", "generation_config.json")
_GENERATION = "generation_config.json"
_LFS_POINTER_BYTES = 1024
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Copy:
    """One model's folder on one node, and the service that wants it there."""

    node: str
    service: Service
    weights: WeightsFacts


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the weights of every service with a folder of its own."""
    for service in checked.spec.services:
        copies = _copies(checked, service)
        for copy in copies:
            yield from _configuration_readable(copy)
            yield from _headers_readable(copy)
            yield from _sizes_right(copy)
            yield from _index_complete(copy)
            yield from _no_partial_download(copy)
            yield from _quantisation_as_said(copy)
        yield from _copies_equal(copies)
        yield from _generation_equal(copies)


def _copies(checked: Checked, service: Service) -> list[_Copy]:
    """The folder of a service's model on the nodes where its replicas should run, where it was read."""
    found = []
    for node in checked.nodes:
        weights = node.weights(service.model.path)
        if weights is not None and any(replica.service == service.name for replica in node.replicas):
            found.append(_Copy(node.name, service, weights))
    return found


def _configuration_readable(copy: _Copy) -> Iterator[Finding]:
    weights = copy.weights
    if weights.config is None and weights.config_error:
        yield Finding(
            id="weights.config",
            severity="error",
            node=copy.node,
            seen=f"{weights.path}/config.json: {weights.config_error}",
            expected="a configuration that can be read",
            remedy=f"copy config.json of the model to {weights.path} on {copy.node} again",
            service=copy.service.name,
        )


def _headers_readable(copy: _Copy) -> Iterator[Finding]:
    bad = {name: shard for name, shard in _loaded(copy.weights).items() if shard.error}
    if bad:
        name, shard = next(iter(bad.items()))
        small = shard.size_bytes < _LFS_POINTER_BYTES
        pointer = "; so small a file is the pointer of git-lfs and not the weights" if small else ""
        yield Finding(
            id="weights.header",
            severity="error",
            node=copy.node,
            seen=f"{several(list(bad), _MOST_NAMED)}: no readable header ({shard.error}){pointer}",
            expected="a safetensors header in front of the tensors",
            remedy=f"download {name} again, or copy it from a node where it is whole",
            service=copy.service.name,
        )


def _sizes_right(copy: _Copy) -> Iterator[Finding]:
    for name, shard in _loaded(copy.weights).items():
        if shard.error or shard.data_bytes is None or shard.data_bytes == shard.size_bytes:
            continue
        yield Finding(
            id="weights.size",
            severity="error",
            node=copy.node,
            seen=f"{name} has {shard.size_bytes} bytes",
            expected=f"{shard.data_bytes} bytes, as its header says",
            remedy=f"download {name} again, or copy it from a node where it is whole",
            service=copy.service.name,
        )


def _index_complete(copy: _Copy) -> Iterator[Finding]:
    weights = copy.weights
    if weights.index_error:
        yield Finding(
            id="weights.index",
            severity="error",
            node=copy.node,
            seen=f"the index of {weights.path} cannot be read: {weights.index_error}",
            expected="an index that names every shard",
            remedy="copy model.safetensors.index.json of the model again",
            service=copy.service.name,
        )
    missing = _missing(weights)
    if missing:
        there = len(weights.index_shards or []) - len(missing)
        yield Finding(
            id="weights.index",
            severity="error",
            node=copy.node,
            seen=f"{weights.path} lacks {several(missing, _MOST_NAMED)}",
            expected=f"the {len(weights.index_shards or [])} shards that the index names; {there} are there",
            remedy=f"download the missing shards to {copy.node}, or copy them from another node",
            service=copy.service.name,
        )


def _no_partial_download(copy: _Copy) -> Iterator[Finding]:
    partial = sorted(name for name in copy.weights.other_files if _matches(name, _PARTIAL))
    if partial:
        yield Finding(
            id="weights.partial",
            severity="warning",
            node=copy.node,
            seen=f"{copy.weights.path} holds {several(partial, _MOST_NAMED)}, left by a download that did not end",
            expected="no unfinished download",
            remedy="let the download end, or start it again; remove what is left when the weights are whole",
            service=copy.service.name,
        )


def _quantisation_as_said(copy: _Copy) -> Iterator[Finding]:
    if copy.weights.config is None:
        return
    for problem in engines.load(copy.service.engine).weights_problems(copy.service, copy.weights):
        yield Finding(
            id="weights.quantization",
            severity="error",
            node=copy.node,
            seen=problem.message,
            expected=f"{problem.key} and the weights say the same",
            remedy=problem.hint,
            service=copy.service.name,
        )


def _copies_equal(copies: Sequence[_Copy]) -> Iterator[Finding]:
    """Whole files that are not what most of the nodes have: another revision, or another model."""
    told = [_told(copy.weights) for copy in copies]
    broken = [_broken(copy.weights) for copy in copies]
    odd: dict[int, list[str]] = {}
    for name in sorted({name for files in told for name in files}):
        judged = [position for position in range(len(copies)) if name not in broken[position]]
        values = {position: told[position].get(name, "") for position in judged}
        for position in _odd_ones(values):
            odd.setdefault(position, []).append(name)
    for position, names in sorted(odd.items()):
        other = next(place for place in range(len(copies)) if names[0] not in odd.get(place, []))
        yield Finding(
            id="weights.differ",
            severity="error",
            node=copies[position].node,
            seen=f"{several(names, _MOST_NAMED)} in {copies[position].weights.path}: not what {copies[other].node} has",
            expected="the same files on every node of the service",
            remedy=f"compare sha256 sums with the model's page; copy the right files to {copies[position].node}",
            service=copies[position].service.name,
        )


def _generation_equal(copies: Sequence[_Copy]) -> Iterator[Finding]:
    """MindIE guide: default sampling parameters that differ between the nodes of a service may hang it."""
    hashes = {place: copy.weights.generation_config_sha256 for place, copy in enumerate(copies)}
    for position in _odd_ones(hashes):
        copy = copies[position]
        other = next(place for place in hashes if hashes[place] != hashes[position])
        yield Finding(
            id="weights.generation",
            severity="error" if copy.service.topology.nodes_per_replica > 1 else "warning",
            node=copy.node,
            seen=f"{copy.weights.path}/{_GENERATION} is not what {copies[other].node} has",
            expected="the same default sampling parameters on every node",
            remedy=f"copy {_GENERATION} from the node that is right",
            service=copy.service.name,
        )


def _odd_ones(values: Mapping[int, str]) -> list[int]:
    """Places whose value is not the most frequent one; of two equally frequent the first counts as right."""
    usual = most_frequent(values.values())[:1]
    return [place for place, value in values.items() if value not in usual]


def _told(weights: WeightsFacts) -> dict[str, str]:
    """File → what is known of its content without reading it."""
    told = {name: f"{shard.size_bytes} {shard.header_sha256}" for name, shard in _loaded(weights).items()}
    told["config.json"] = weights.config_sha256
    for name, size in weights.other_files.items():
        if name not in _OF_OTHER_CHECKS and _matches(name, _DECISIVE) and not _matches(name, _PARTIAL):
            told[name] = str(size)
    return told


def _broken(weights: WeightsFacts) -> set[str]:
    """Files that other checks name already."""
    names = {name for name, shard in weights.shards.items() if _is_broken(shard)}
    names |= set(_missing(weights))
    return names | ({"config.json"} if weights.config is None else set())


def _loaded(weights: WeightsFacts) -> dict[str, ShardFacts]:
    """The shards that an engine reads: where there is an index, those that it names."""
    named = weights.shards if weights.index_shards is None else set(weights.index_shards)
    return {name: shard for name, shard in sorted(weights.shards.items()) if name in named}


def _is_broken(shard: ShardFacts) -> bool:
    return bool(shard.error) or (shard.data_bytes is not None and shard.data_bytes != shard.size_bytes)


def _missing(weights: WeightsFacts) -> list[str]:
    return sorted(set(weights.index_shards or []) - set(weights.shards))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
