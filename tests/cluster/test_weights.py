"""Weights on sandbox nodes: brought once, handed on, published whole; whatever ends npuctl leaves nothing half."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from npuctl.sandbox.tiny_model import tiny_model
from tests.cluster.harness import Cluster, Node
from tests.hub import CONFIG, Fake, serving

pytestmark = pytest.mark.cluster

FOLDER = "/data/models/fresh"
PARTIAL = "/data/models/.fresh.npuctl-partial"
PORT = 7356
BIG = 24_000_000


@pytest.fixture
def weights(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with a model in a folder here, and nothing of it on the nodes, before and after."""
    source = cluster.inventory / "weights"
    source.mkdir()
    for name, file in tiny_model().items():
        (source / name).write_bytes(file.content)
    want(cluster)
    yield cluster
    for node in cluster.nodes:
        node.sh(f"rm -rf {FOLDER} /data/models/.fresh.npuctl-*")


def want(cluster: Cluster, model: dict[str, Any] | None = None, **store: Any) -> None:
    own = {"id": "npuctl/tiny", "path": FOLDER, "source": "path", "from": "weights"}
    staging = str(cluster.work / "staging")
    cluster.write(
        cluster.service(hosts="serving", replicas=3, model=model or own),
        model_store={"staging": staging, **store},
    )


def provide(cluster: Cluster, *words: str, expect: int | None = 0) -> str:
    return cluster.run("provision", "--only", "weights", *words, expect=expect).text


def wanted(cluster: Cluster) -> dict[str, str]:
    folder = cluster.inventory / "weights"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def there(node: Node, folder: str = FOLDER) -> dict[str, str]:
    rows = node.sh(f"cd {folder} 2>/dev/null && sha256sum * || true").splitlines()
    return {name: digest for digest, name in (row.split() for row in rows)}


def inodes(node: Node) -> dict[str, str]:
    rows = node.sh(f"stat -c '%n %i' {FOLDER}/*").splitlines()
    return {Path(name).name: inode for name, inode in (row.split() for row in rows)}


def relays(node: Node) -> str:
    """What listens on the port, or works on the folder."""
    return node.sh(f"ss -Hltnp 'sport = :{PORT}'")


def nothing_listens(node: Node) -> bool:
    return not relays(node)


def make_big(cluster: Cluster) -> None:
    # A shard of one tensor: its header is what its size says.
    data = os.urandom(BIG)
    header = b'{"x":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (BIG, BIG)
    shard = len(header).to_bytes(8, "little") + header + data
    (cluster.inventory / "weights" / "big.safetensors").write_bytes(shard)


def test_a_folder_here_comes_to_all_nodes_and_a_second_run_does_nothing(weights: Cluster) -> None:
    assert "absent" in provide(weights, "--dry-run")
    assert [there(node) for node in weights.nodes] == [{}] * 3
    provide(weights)
    assert [there(node) for node in weights.nodes] == [wanted(weights)] * 3
    assert not any(node.sh(f"ls -d {PARTIAL} 2>/dev/null || true") for node in weights.nodes)
    assert not any(relays(node) for node in weights.nodes)
    before = [inodes(node) for node in weights.nodes]
    assert "nothing to do" in provide(weights)
    assert [inodes(node) for node in weights.nodes] == before


def test_a_damaged_and_a_missing_file_are_mended_and_nothing_else_is_sent(weights: Cluster) -> None:
    provide(weights)
    before = inodes(weights.node("node-2"))
    name = "model-00001-of-00002.safetensors"
    weights.node("node-2").sh(f"printf x | dd of={FOLDER}/{name} bs=1 seek=5000 conv=notrunc 2>/dev/null")
    weights.node("node-3").sh(f"rm {FOLDER}/config.json")
    provide(weights)
    assert [there(node) for node in weights.nodes] == [wanted(weights)] * 3
    after = inodes(weights.node("node-2"))
    assert {file for file in after if after[file] != before[file]} == {name}


def test_a_folder_here_that_changed_is_brought_again(weights: Cluster) -> None:
    provide(weights)
    source = weights.inventory / "weights"
    (source / "config.json").write_bytes((source / "config.json").read_bytes() + b"\n")
    (source / "generation_config.json").unlink()
    provide(weights)
    assert [there(node) for node in weights.nodes] == [wanted(weights)] * 3


def test_a_kill_leaves_nothing_under_the_final_name_and_no_process_and_the_rest_is_all_that_comes(
    weights: Cluster,
) -> None:
    make_big(weights)
    want(weights, mbit_per_second=40)
    running = weights.begin("provision", "--only", "weights")
    last = weights.node("node-3")
    weights.wait(lambda: size_of(last) > BIG // 4)
    running.process.send_signal(signal.SIGKILL)
    running.finish()
    for node in weights.nodes:
        weights.wait(partial(nothing_listens, node), seconds=30)
        assert not node.sh(f"ls -d {FOLDER} 2>/dev/null || true")
    held = size_of(last)
    assert held > BIG // 4
    inode = last.sh(f"stat -c %i {PARTIAL}/big.safetensors")
    want(weights)
    provide(weights)
    assert [there(node) for node in weights.nodes] == [wanted(weights)] * 3
    assert last.sh(f"stat -c %i {FOLDER}/big.safetensors") == inode
    assert "nothing to do" in provide(weights)


def size_of(node: Node) -> int:
    return int(node.sh(f"stat -c %s {PARTIAL}/big.safetensors 2>/dev/null || echo 0"))


def test_a_folder_of_somebody_else_is_refused_and_not_touched(weights: Cluster) -> None:
    node = weights.node("node-2")
    node.sh(f"mkdir -p {FOLDER} && echo theirs > {FOLDER}/config.json")
    assert "provision.weights_foreign" in provide(weights, expect=3)
    assert [list(there(other)) for other in weights.nodes] == [[], ["config.json"], []]
    # Of the same size: found when it is hashed, and the other nodes are served.
    theirs = "x" * (weights.inventory / "weights/config.json").stat().st_size
    node.sh(f"printf %s {theirs} > {FOLDER}/config.json")
    assert "npuctl did not put" in provide(weights, expect=4)
    assert node.sh(f"cat {FOLDER}/config.json") == theirs
    assert [there(weights.node(name)) for name in ("node-1", "node-3")] == [wanted(weights)] * 2


def test_an_equal_folder_of_somebody_else_is_taken_as_it_is(weights: Cluster) -> None:
    provide(weights)
    for node in weights.nodes:
        node.sh("rm /data/models/.fresh.npuctl-manifest.json /data/models/.fresh.npuctl-hashes.json")
    before = [inodes(node) for node in weights.nodes]
    provide(weights)
    assert [inodes(node) for node in weights.nodes] == before
    assert "nothing to do" in provide(weights)


def test_a_closed_port_is_said_and_the_files_come_through_this_machine(weights: Cluster) -> None:
    rule = f"INPUT -p tcp --dport {PORT} -j REJECT --reject-with tcp-reset"
    for node in weights.nodes:
        node.sh(f"iptables -I {rule}")
    try:
        text = provide(weights)
    finally:
        for node in weights.nodes:
            node.sh(f"iptables -D {rule}")
    assert "provision.weights_port" in text
    assert f"open TCP port {PORT}" in text
    assert [there(node) for node in weights.nodes] == [wanted(weights)] * 3


def test_a_hub_is_asked_once_and_its_token_is_seen_nowhere(weights: Cluster) -> None:
    files = {name: file.content for name, file in tiny_model().items()} | {"m.gguf": b"not needed"}
    token = "canary-hub-token-4711"
    vault = weights.inventory / "group_vars/all/vault.yml"
    vault.write_text(f"npuctl_secrets: {{hub: {token}}}\n")
    with serving(Fake(files=files, token=token, cut_after=100_000, cuts=2)) as hub:
        weights.write(
            weights.service(
                hosts="serving",
                replicas=3,
                model={"id": "o/m", "path": FOLDER, "source": "huggingface"},
            ),
            model_store={"staging": str(weights.work / "staging")},
            mirrors={"huggingface": hub.address},
            hub_tokens={"huggingface": {"secret": "hub"}},
        )
        text = provide(weights)
        served = [path for path, _range, _token in hub.log if "/resolve/" in path]
        assert len(served) == len(files) - 1 + 2  # each file once, and two went on after a cut
        assert not any("gguf" in path for path in served)
        asked = len(hub.log)
        text += provide(weights)
        assert len(hub.log) == asked
    assert "nothing to do" in text
    expected = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "m.gguf"}
    assert [there(node) for node in weights.nodes] == [expected] * 3
    assert token not in text
    kept = [
        path for path in weights.work.rglob("*") if path.is_file() and token.encode() in path.read_bytes()
    ]
    kept += [
        path
        for path in (weights.inventory / ".npuctl").rglob("*")
        if path.is_file() and token.encode() in path.read_bytes()
    ]
    assert kept == []
    assert not any(node.sh(f"grep -rl {token} /data /etc /tmp 2>/dev/null || true") for node in weights.nodes)


def test_a_hub_that_refuses_is_said_with_what_to_do(weights: Cluster) -> None:
    with serving(Fake(files={"config.json": CONFIG}, token="other")) as hub:
        weights.write(
            weights.service(model={"id": "o/m", "path": FOLDER, "source": "modelscope"}),
            model_store={"staging": str(weights.work / "staging")},
            mirrors={"modelscope": hub.address},
        )
        text = provide(weights, expect=4)
    assert "provision.weights_source" in text
    assert "hub_tokens.modelscope" in text


def test_a_node_may_download_for_the_others(weights: Cluster) -> None:
    host = weights.node("node-1").sh("ip route | awk '/^default/ {print $3}'").strip()
    files = {name: file.content for name, file in tiny_model().items()}
    with serving(Fake(files=files), address=host) as hub:
        weights.write(
            weights.service(
                hosts="serving", replicas=3, model={"id": "o/m", "path": FOLDER, "source": "modelscope"}
            ),
            model_store={"staging": str(weights.work / "staging"), "download_on": "node-2"},
            mirrors={"modelscope": hub.address},
        )
        provide(weights)
        assert len([path for path, _range, _token in hub.log if "FilePath" in path]) == len(files)
    expected = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert [there(node) for node in weights.nodes] == [expected] * 3
    assert not (weights.work / "staging").exists()


def test_teardown_leaves_weights_unless_they_are_asked_for(weights: Cluster) -> None:
    provide(weights)
    weights.node("node-1").sh(f"echo mine > {FOLDER}/notes.txt")
    weights.run("teardown", "--yes", "--provision")
    assert there(weights.node("node-2")) == wanted(weights)
    weights.run("teardown", "--yes", "--provision", "--weights")
    assert list(there(weights.node("node-1"))) == ["notes.txt"]
    assert there(weights.node("node-2")) == {}
    assert not weights.node("node-2").sh("ls -A /data/models | grep fresh || true")
