"""From an operating system and nothing else to a token, and back: the whole of `npuctl provision`."""

from __future__ import annotations

import re

import pytest

from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster

NODE = "node-1"
# hccn_tool keeps its file, empty as it is then; of a kernel file the chosen word counts.
LEFT = (
    "cat /etc/hccn.conf 2>/dev/null; cat /etc/apt/sources.list; sha256sum /etc/environment /etc/login.defs;"
    " find /etc/docker/daemon.json /etc/docker/certs.d /etc/sysctl.d /etc/tmpfiles.d /etc/security/limits.d /etc/pip.conf /etc/gitconfig /data/models"
    " -type f 2>/dev/null | sort; cat /proc/sys/vm/swappiness;"
    " tr -d '[]' < /sys/kernel/mm/transparent_hugepage/enabled | grep -o madvise"
)


def test_a_bare_node_serves_and_is_given_back(machine: Cluster) -> None:
    node = machine.node(NODE)
    before = node.sh(LEFT)
    assert "npu-smi" not in node.sh("command -v npu-smi docker || true")

    dry = machine.run("provision", "--dry-run")
    assert "nothing was changed" in dry.text
    assert node.sh(LEFT) == before

    done = machine.run("provision", "--output", "json").data
    stages = {change["stage"] for change in done["changes"]}
    assert stages >= {"mirrors", "system", "driver", "container_engine", "images", "weights"}
    assert (done["failed"], done["left"], done["silent"]) == ({}, [], {})
    assert done["simulated"]

    again = machine.run("provision", "--output", "json").data
    assert again["changes"] == []
    assert again["changed"] == {}

    machine.run("deploy")
    assert set(machine.states().values()) == {"ready"}
    assert machine.run("provision", "--output", "json").data["changes"] == []
    served = node.sh("docker inspect --format '{{json .Config.Env}}' $(docker ps -q)")
    assert re.search(r'"HF_ENDPOINT=https://[0-9.]+/huggingface"', served)

    machine.run("teardown", "--provision", "--driver", "--images", "--weights", "--yes")
    assert node.sh(LEFT) == before
    # The Ascend Docker Runtime stays with Docker, and with it what says that it is installed.
    notes = set(node.sh("ls /var/lib/npuctl 2>/dev/null || true").split())
    assert notes <= {
        "packages",
        "settings.json",
        *(f"ascend_runtime.{end}" for end in ("json", "lock", "log")),
    }
    assert "npu-smi" not in node.sh("command -v npu-smi || true")
