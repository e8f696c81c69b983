"""Secrets come from the vault, reach one file on the node, and appear nowhere else."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.harness import Cluster, Node

pytestmark = pytest.mark.cluster
NAME = "npuctl-ct-chat-0"
FILE = "/etc/npuctl/ct/chat-0/secrets.env"
PLACES = "/etc /root /home /var/tmp /var/log /tmp /run /usr/local /opt /srv"
FIRST, SECOND, TOKEN = "canary-first-5f2a", "canary-second-9c1d'\"$(id)", "canary-token-77e0"


def _encrypt(cluster: Cluster, key: str) -> None:
    vault = cluster.inventory / "group_vars/all/vault.yml"
    password = cluster.work / "vault-password"
    password.write_text("open sesame\n")
    quoted = key.replace("'", "''")
    vault.write_text(f"npuctl_secrets:\n  chat_key: '{quoted}'\n  hub_token: {TOKEN}\n")
    cluster.env["ANSIBLE_VAULT_PASSWORD_FILE"] = str(password)
    tool = Path(sys.executable).with_name("ansible-vault")
    subprocess.run(
        [str(tool), "encrypt", str(vault)], env=cluster.environment(), check=True, capture_output=True
    )
    assert vault.read_text().startswith("$ANSIBLE_VAULT")


class _CommandLines(threading.Thread):
    """Looks at every process's command line: nodes are containers, so this machine sees theirs as well."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.enough = threading.Event()
        self.found: list[str] = []
        self.looks = 0

    def run(self) -> None:
        while not self.enough.wait(0.02):
            self.looks += 1
            self.found += [line for line in _command_lines() if "canary-" in line]


def _command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue


def _files_with_canaries(node: Node) -> list[str]:
    return node.sh(f"grep -rl 'cana[r]y-' {PLACES} 2>/dev/null", check=False).splitlines()


def test_secrets_reach_the_engine_and_show_nowhere(cluster: Cluster) -> None:
    node = cluster.node("node-1")
    cluster.write(
        cluster.service(api_key={"secret": "chat_key"}, secret_env={"HF_TOKEN": {"secret": "hub_token"}}),
        cluster.service("open", port=8100),
    )
    _encrypt(cluster, FIRST)
    cluster.env["SOME_TOKEN"] = "canary-environment-31"  # of npuctl's own process: nobody asked to keep it
    sampler = _CommandLines()
    sampler.start()
    shown = [cluster.run(verb, "--output", "json").text for verb in ("check", "plan", "inspect")]
    shown += [cluster.run("deploy", *words).text for words in (["--check"], ["--output", "json"])]
    neighbour = node.started()["npuctl-ct-open-0"]

    assert cluster.states() == {"chat-0": "ready", "open-0": "ready"}
    assert node.complete(8000)[0] == 401
    assert node.complete(8000, key="wrong")[0] == 401
    assert node.complete(8000, key=FIRST)[0] == 200
    assert node.sh(f"stat -c '%a %U:%G' {FILE}").strip() == "600 root:root"
    assert FIRST in node.sh(f"cat {FILE}")
    assert TOKEN in node.sh(f"cat {FILE}")

    # Another key in the vault restarts that service, and only that; shell characters in it are only text.
    _encrypt(cluster, SECOND)
    assert cluster.health_of("chat-0")["state"] == "degraded"
    assert "API key" in cluster.health_of("chat-0")["detail"]
    shown += [cluster.run("plan").text, cluster.run("plan", "--output", "json").text]
    deployed = cluster.run("deploy", "--output", "json")
    assert deployed.data["steps"] == [{"node": "node-1", "replica": "chat-0", "action": "recreate"}]
    assert node.started()["npuctl-ct-open-0"] == neighbour
    assert node.complete(8000, key=FIRST)[0] == 401
    assert node.complete(8000, key=SECOND)[0] == 200

    shown += [deployed.text, cluster.run("health").text, cluster.run("health", "--output", "json").text]
    shown += [cluster.run("logs").text, cluster.run("plan").text, node.sh(f"docker inspect {NAME}")]
    shown += [node.sh(f"docker logs {NAME} 2>&1"), node.sh("journalctl --no-pager --output cat")]
    assert _files_with_canaries(node) == [FILE]
    assert [_files_with_canaries(other) for other in cluster.nodes[1:]] == [[], []]
    shown += [cluster.run(verb, "--output", "json").text for verb in ("stop", "start")]
    sampler.enough.set()
    sampler.join()
    shown += [node.sh("journalctl --no-pager --output cat")]

    assert not [text for text in shown if "canary-" in text]
    assert sampler.looks > 10
    assert sampler.found == []
    kept = [path for path in (*cluster.inventory.rglob("*"), *cluster.work.rglob("*")) if path.is_file()]
    assert not [path for path in kept if b"canary-" in path.read_bytes()]
    assert any(path.parent.parent.name == "runs" for path in kept), "no run folder was looked at"
    cluster.run("teardown", "--yes")
    assert _files_with_canaries(node) == []


def test_a_vault_that_cannot_be_opened_is_said_before_any_node_is_asked(cluster: Cluster) -> None:
    cluster.write(cluster.service(api_key={"secret": "chat_key"}))
    missing = cluster.run("plan", expect=2)
    assert "'chat_key'" in missing.text
    _encrypt(cluster, FIRST)
    del cluster.env["ANSIBLE_VAULT_PASSWORD_FILE"]
    locked = cluster.run("deploy", expect=2)
    assert "ANSIBLE_VAULT_PASSWORD_FILE" in locked.text
    wrong = cluster.work / "wrong-password"
    wrong.write_text("not it\n")
    cluster.env["ANSIBLE_VAULT_PASSWORD_FILE"] = str(wrong)
    assert "ecrypt" in cluster.run("deploy", expect=2).text
    (cluster.inventory / "group_vars/all/vault.yml").unlink()
