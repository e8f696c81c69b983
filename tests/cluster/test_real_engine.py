"""The whole life cycle with the real vLLM, on the CPU: nothing here is our own idea of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.real_engine]


def test_the_real_engine_is_deployed_kept_stopped_started_and_removed(real_cluster: Cluster) -> None:
    (node,) = real_cluster.nodes
    idle = node.hbm()
    real_cluster.write(
        real_cluster.service(
            ready_within_seconds=600, token_within_seconds=60, stop_grace_seconds=60, shm_gib=2
        )
    )
    real_cluster.run("deploy")
    assert real_cluster.states() == {"chat-0": "ready"}
    assert node.ask(8000, "/v1/models")[0] == 200

    question = {
        "model": "npuctl/tiny",
        "prompt": "The quick brown fox",
        "max_tokens": 4,
        "temperature": 0,
        "echo": True,
        "logprobs": 2,
    }
    status, answer = node.ask(8000, "/v1/completions", question)
    assert status == 200
    (choice,) = answer["choices"]
    assert choice["text"].startswith("The quick brown fox")
    values = choice["logprobs"]["token_logprobs"]
    assert len(values) == answer["usage"]["total_tokens"]
    assert values[0] is None
    assert all(value <= 0 for value in values[1:])
    assert node.holders()

    started = node.started()
    again = real_cluster.run("deploy", "--output", "json").data
    assert (again["steps"], again["changed"]) == ([], {})
    assert node.started() == started

    stopped = real_cluster.run("stop", "--output", "json").data
    assert all(entry["holds"] for entry in stopped["evidence"])
    assert (node.holders(), node.hbm(), node.listens(8000)) == ([], idle, False)
    assert node.inspect("npuctl-ct-chat-0")["State"]["ExitCode"] in {0, 143}
    real_cluster.run("start")
    assert node.ask(8000, "/v1/completions", question)[0] == 200
    real_cluster.run("teardown", "--yes")
    assert node.left() == []
