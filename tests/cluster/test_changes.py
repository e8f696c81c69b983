"""A deploy touches what changed and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster


def test_services_live_side_by_side_and_come_change_and_go_alone(cluster: Cluster) -> None:
    first = cluster.service(
        "first", model={"id": "model/first", "path": "/data/models/tiny"}, topology={"tensor_parallel": 2}
    )
    second = cluster.service(
        "second",
        hosts=["node-1", "node-2"],
        replicas=4,
        port=8100,
        model={"id": "model/second", "path": "/data/models/tiny"},
    )
    node, neighbour = cluster.nodes[:2]
    cluster.write(first, second)
    cluster.run("deploy")

    # Chips and ports are disjoint; each service answers under its own name, and only under that.
    names = ("npuctl-ct-first-0", "npuctl-ct-second-0", "npuctl-ct-second-2")
    assert set(node.containers()) == set(names)
    assert set(neighbour.containers()) == {"npuctl-ct-second-1", "npuctl-ct-second-3"}
    given = [chip for name in names for chip in node.chips(name)]
    assert len(given) == len(set(given)) == 4
    assert node.complete(8000, "model/first")[0] == 200
    assert node.complete(8000, "model/second")[0] == 404
    assert [node.complete(port, "model/second")[0] for port in (8100, 8101)] == [200, 200]
    assert [neighbour.complete(port, "model/second")[0] for port in (8100, 8101)] == [200, 200]

    # One changed argument of one service: the plan names the flag, and only that service's containers restart.
    before = {**node.started(), **neighbour.started()}
    second["args"] = {"max-model-len": 2048}
    cluster.write(first, second)
    plan = cluster.run("plan", "--output", "json").data
    changing = {step["name"]: step for step in plan["steps"] if step["action"] != "none"}
    assert {name: step["action"] for name, step in changing.items()} == dict.fromkeys(
        ("second-0", "second-1", "second-2", "second-3"), "recreate"
    )
    assert all(
        [line.split() for line in step["diff"]] == [["+", "--max-model-len", "2048"]]
        for step in changing.values()
    )
    assert "--max-model-len 2048" in cluster.run("plan").stdout
    cluster.run("deploy")
    after = {**node.started(), **neighbour.started()}
    assert {name for name in before if after[name] != before[name]} == {
        name for name in before if "-second-" in name
    }
    assert "--max-model-len" in node.inspect("npuctl-ct-second-0")["Config"]["Cmd"]

    # A third service comes: nobody moves for it.
    third = cluster.service(
        "third", port=8200, model={"id": "model/third", "path": "/data/models/tiny"}, chips=[7]
    )
    cluster.write(third, first, second)
    cluster.run("deploy")
    assert {name: node.started()[name] for name in names} == {name: after[name] for name in names}
    assert node.chips("npuctl-ct-third-0") == [7]
    assert node.complete(8200, "model/third")[0] == 200

    # A service leaves the spec: its containers and folders go, alone.
    before = {**node.started(), **neighbour.started()}
    cluster.write(third, second)
    gone = cluster.run("deploy", "--output", "json").data
    assert gone["steps"] == [{"node": "node-1", "replica": "first-0", "action": "remove"}]
    assert {**node.started(), **neighbour.started()} == {
        name: start for name, start in before.items() if name != "npuctl-ct-first-0"
    }
    assert "first" not in node.sh("ls /etc/npuctl/ct")
    assert {chip for _pid, chip in node.holders()}.isdisjoint({0, 1})


def test_a_change_that_does_not_come_up_never_reaches_the_other_replicas(cluster: Cluster) -> None:
    good = cluster.service(hosts="serving", replicas=3)
    cluster.write(good)
    cluster.run("deploy")
    before = {name: start for node in cluster.nodes for name, start in node.started().items()}

    # Longer than the model allows: the engine exits. npuctl knows that too, and is told not to mind.
    told = [{"check": "fit.length", "reason": "the engine is to fail here"}]
    cluster.write({**good, "args": {"max-model-len": 999999}}, waivers=told)
    for _attempt in range(2):
        failed = cluster.run("deploy", expect=6)
        assert "max_model_len (999999)" in failed.text
        after = {name: start for node in cluster.nodes for name, start in node.started().items()}
        assert [name for name in before if after[name] != before[name]] == ["npuctl-ct-chat-0"]
        assert [node.complete(8000)[0] for node in cluster.nodes] == [0, 200, 200]

    cluster.write(good)
    cluster.run("deploy")
    assert [node.complete(8000)[0] for node in cluster.nodes] == [200, 200, 200]
    after = {name: start for node in cluster.nodes for name, start in node.started().items()}
    assert [name for name in before if after[name] != before[name]] == ["npuctl-ct-chat-0"]


def test_what_was_deleted_by_hand_comes_back_and_nothing_else_moves(cluster: Cluster) -> None:
    (cluster.inventory / "group_vars/all/vault.yml").write_text("npuctl_secrets: {token: not-so-secret}\n")
    cluster.write(
        cluster.service(hosts="serving", replicas=3),
        cluster.service("keyed", hosts=["node-2"], port=8100, secret_env={"HF_TOKEN": {"secret": "token"}}),
    )
    cluster.run("deploy")
    before = [node.started() for node in cluster.nodes]
    cluster.node("node-1").sh("docker rm -f npuctl-ct-chat-0")
    cluster.node("node-2").sh("rm /etc/npuctl/ct/keyed-0/secrets.env")

    assert cluster.states()["chat-0"] == "dead"
    assert "container is not there" in cluster.health_of("chat-0")["detail"]
    plan = cluster.run("plan", "--output", "json").data
    assert {step["name"]: step["action"] for step in plan["steps"] if step["action"] != "none"} == {
        "chat-0": "create",
        "keyed-0": "recreate",
    }
    cluster.run("deploy")
    assert set(cluster.states().values()) == {"ready"}
    after = [node.started() for node in cluster.nodes]
    assert after[2] == before[2]
    assert after[1]["npuctl-ct-chat-1"] == before[1]["npuctl-ct-chat-1"]
    assert "HF_TOKEN" in cluster.node("node-2").sh("cat /etc/npuctl/ct/keyed-0/secrets.env")


def test_text_with_shell_characters_is_passed_literally(cluster: Cluster) -> None:
    name = "a b; $(touch /tmp/pwned) `touch /tmp/pwned` 'ü模型\" | touch /tmp/pwned"
    cluster.write(
        cluster.service(
            model={"id": name, "path": "/data/models/tiny"},
            args={"chat-template": "$(touch /tmp/pwned) && ${HOME} \\ 模", "seed": 7},
            env={"NOTE": "; touch /tmp/pwned; $(touch /tmp/pwned) \"'"},
        )
    )
    node = cluster.node("node-1")
    cluster.run("deploy")
    status, answer = node.complete(8000, name)
    assert (status, answer["model"]) == (200, name)
    described = node.inspect("npuctl-ct-chat-0")
    assert name in described["Config"]["Cmd"]
    assert "$(touch /tmp/pwned) && ${HOME} \\ 模" in described["Config"]["Cmd"]
    assert "NOTE=; touch /tmp/pwned; $(touch /tmp/pwned) \"'" in described["Config"]["Env"]
    assert cluster.run("deploy", "--output", "json").data["changed"] == {}
    for one in cluster.nodes:
        assert one.sh("ls /tmp/pwned 2>&1 || true").strip().endswith("No such file or directory")
    inside = node.sh("docker exec npuctl-ct-chat-0 ls /tmp/pwned 2>&1 || true")
    assert inside.strip().endswith("No such file or directory")
