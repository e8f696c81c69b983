"""From an operating system and nothing else to a token, and back: the whole of `npuctl provision`."""

from __future__ import annotations

import re

import pytest

from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster

NODE = "node-1"
LEFT = (
    "cat /etc/apt/sources.list; sha256sum /etc/environment /etc/login.defs; ls -R /etc/docker /etc/sysctl.d"
    " /etc/tmpfiles.d /etc/security/limits.d /etc/pip.conf /etc/gitconfig /etc/hccn.conf /data/models 2>/dev/null;"
    " cat /proc/sys/vm/swappiness /sys/kernel/mm/transparent_hugepage/enabled"
)


def test_a_bare_node_serves_and_is_given_back(bare: Cluster) -> None:
    node = bare.node(NODE)
    before = node.sh(LEFT)
    assert "npu-smi" not in node.sh("command -v npu-smi docker || true")

    dry = bare.run("provision", "--dry-run")
    assert "nothing was changed" in dry.text
    assert node.sh(LEFT) == before

    done = bare.run("provision", "--output", "json").data
    stages = {change["stage"] for change in done["changes"]}
    assert stages >= {"mirrors", "system", "driver", "container_engine", "images", "weights"}
    assert (done["failed"], done["left"], done["silent"]) == ({}, [], {})
    assert done["simulated"]

    again = bare.run("provision", "--output", "json").data
    assert again["changes"] == []
    assert again["changed"] == {}

    bare.run("deploy")
    assert set(bare.states().values()) == {"ready"}
    assert bare.run("provision", "--output", "json").data["changes"] == []
    served = node.sh("docker inspect --format '{{json .Config.Env}}' $(docker ps -q)")
    assert re.search(r'"HF_ENDPOINT=https://[0-9.]+/huggingface"', served)

    bare.run("teardown", "--provision", "--driver", "--images", "--weights", "--yes")
    assert node.sh(LEFT) == before
    assert node.sh("ls /var/lib/npuctl 2>/dev/null || true") == ""
    assert "npu-smi" not in node.sh("command -v npu-smi || true")
