"""From nothing to tokens, to proven silence, to nothing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster
LINE = re.compile(r"(node-\d) (chat-\d) \| .*")


def test_from_nothing_to_tokens_to_nothing(cluster: Cluster) -> None:
    idle = [node.hbm() for node in cluster.nodes]
    cluster.write(
        cluster.service(hosts="serving", replicas=3, topology={"tensor_parallel": 2}, stop_grace_seconds=10)
    )

    assert cluster.run("check", "--output", "json").data["findings"] == []
    planned = cluster.run("plan", "--output", "json").data
    assert [(step["node"], step["name"], step["action"]) for step in planned["steps"]] == [
        ("node-1", "chat-0", "create"),
        ("node-2", "chat-1", "create"),
        ("node-3", "chat-2", "create"),
    ]
    assert planned["simulated"] is True

    before = [(node.containers(), node.tree()) for node in cluster.nodes]
    tried = cluster.run("deploy", "--check", "--output", "json").data
    assert tried["check_mode"] is True
    assert len(tried["steps"]) == 3
    assert [(node.containers(), node.tree()) for node in cluster.nodes] == before

    done = cluster.run("deploy", "--output", "json")
    assert [(entry["replica"], entry["state"]) for entry in done.data["replicas"]] == [
        ("chat-0", "ready"),
        ("chat-1", "ready"),
        ("chat-2", "ready"),
    ]
    for index, node in enumerate(cluster.nodes):
        status, answer = node.complete(8000)
        assert status == 200
        assert answer["usage"]["completion_tokens"] >= 1
        assert node.containers() == {f"npuctl-ct-chat-{index}": "running"}
        assert {chip for _pid, chip in node.holders()} == {0, 1}

    assert "nothing to do" in cluster.run("plan").stdout
    started = [node.started() for node in cluster.nodes]
    trees = [node.tree() for node in cluster.nodes]
    again = cluster.run("deploy", "--output", "json").data
    assert (again["steps"], again["changed"]) == ([], {})
    assert [node.started() for node in cluster.nodes] == started
    assert [node.tree() for node in cluster.nodes] == trees
    assert cluster.states() == {"chat-0": "ready", "chat-1": "ready", "chat-2": "ready"}

    logs = cluster.run("logs", "--tail", "30").stdout.splitlines()
    seen = [LINE.fullmatch(line) for line in logs]
    assert all(seen), (
        f"a line without node and replica: {[line for line in logs if not LINE.fullmatch(line)]}"
    )
    assert {match.group(1, 2) for match in seen if match} == {
        ("node-1", "chat-0"),
        ("node-2", "chat-1"),
        ("node-3", "chat-2"),
    }

    stopped = cluster.run("stop", "--output", "json").data
    assert {entry["node"] for entry in stopped["evidence"]} == {"node-1", "node-2", "node-3"}
    assert all(entry["holds"] for entry in stopped["evidence"])
    for index, node in enumerate(cluster.nodes):
        assert node.containers() == {f"npuctl-ct-chat-{index}": "exited"}
        assert node.holders() == []
        assert node.hbm() == idle[index]
        assert not node.listens(8000)
        assert node.complete(8000)[0] == 0
    assert cluster.run("health", expect=6).stdout.count("stopped") >= 3
    assert set(cluster.states().values()) == {"stopped"}

    started_again = cluster.run("start", "--output", "json").data
    assert [entry["state"] for entry in started_again["replicas"]] == ["ready"] * 3
    assert all(node.complete(8000)[0] == 200 for node in cluster.nodes)
    # A start is no deploy: the same containers run again.
    assert all(
        now[name].startswith(before_stop[name][:64])
        for now, before_stop in zip([node.started() for node in cluster.nodes], started, strict=True)
        for name in before_stop
    )

    removed = cluster.run("teardown", "--yes", "--output", "json").data
    assert all(entry["holds"] for entry in removed["evidence"])
    assert [node.left() for node in cluster.nodes] == [[], [], []]
    assert [node.hbm() for node in cluster.nodes] == idle
    cluster.run("teardown", "--yes")

    verbs = [(line["verb"], line["event"]) for line in cluster.journal()]
    for verb in ("deploy", "stop", "start", "teardown"):
        assert (verb, "begun") in verbs
        assert (verb, "ended") in verbs
    assert not [line for line in cluster.journal() if line["event"] in {"failed", "interrupted"}]


def test_logs_end_quietly_when_their_reader_goes_away(cluster: Cluster) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3))
    cluster.run("deploy")
    for words in (["--tail", "1000"], ["--tail", "10", "--follow"]):
        with cluster.piped("logs", *words) as logs:
            assert logs.stdout is not None
            assert logs.stderr is not None
            assert LINE.fullmatch(logs.stdout.readline().decode().rstrip("\n"))
            logs.stdout.close()

            def ended() -> bool:
                # Whoever follows finds out with the next line: the engines are given something to say.
                for node in cluster.nodes:
                    node.complete(8000)
                return logs.poll() is not None

            cluster.wait(ended, seconds=30)
            assert "Traceback" not in logs.stderr.read().decode()


def test_teardown_asks_where_nobody_can_answer_and_touches_nothing(cluster: Cluster) -> None:
    cluster.write(cluster.service())
    cluster.run("deploy")
    refused = cluster.run("teardown", expect=2)
    assert "--yes" in refused.text
    assert cluster.node("node-1").complete(8000)[0] == 200


def test_limit_and_service_say_what_is_touched(cluster: Cluster) -> None:
    chat = cluster.service(hosts="serving", replicas=3)
    other = cluster.service("other", hosts=["node-1", "node-2"], replicas=2, port=8100)
    cluster.write(chat, other)
    one, two, three = cluster.nodes

    cluster.run("deploy", "--limit", "node-1", "--service", "chat")
    assert [list(node.containers()) for node in cluster.nodes] == [["npuctl-ct-chat-0"], [], []]
    cluster.run("deploy", "--limit", "node-1,node-2")
    assert [len(node.containers()) for node in cluster.nodes] == [2, 2, 0]
    assert three.left() == []
    assert cluster.states("--service", "other") == {"other-0": "ready", "other-1": "ready"}

    logs = cluster.run("logs", "--limit", "node-2", "--service", "other").stdout
    assert {line.split(" | ")[0] for line in logs.splitlines()} == {"node-2 other-1"}

    cluster.run("stop", "--limit", "node-1", "--service", "other")
    assert one.containers() == {"npuctl-ct-chat-0": "running", "npuctl-ct-other-0": "exited"}
    assert set(two.containers().values()) == {"running"}
    cluster.run("stop", "--service", "chat")
    assert two.containers() == {"npuctl-ct-chat-1": "exited", "npuctl-ct-other-1": "running"}
    cluster.run("start", "--limit", "node-2")
    assert one.containers() == {"npuctl-ct-chat-0": "exited", "npuctl-ct-other-0": "exited"}
    assert set(two.containers().values()) == {"running"}

    cluster.run("teardown", "--yes", "--limit", "node-1")
    assert one.left() == []
    assert set(two.containers().values()) == {"running"}
    unknown = json.loads(cluster.run("deploy", "--limit", "node-9", "--output", "json", expect=2).stdout)
    assert "node-9" in unknown["message"]
    assert "nobody" in cluster.run("deploy", "--service", "nobody", expect=2).text
