"""Secrets come from the vault, reach one file on the node, and appear nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cluster.watching import CommandLines, files_with, readable_by_others

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster, Node

pytestmark = pytest.mark.cluster
NAME = "npuctl-ct-chat-0"
FILE = "/etc/npuctl/ct/chat-0/secrets.env"
PLACES = "/etc /root /home /var/tmp /var/log /tmp /run /usr/local /opt /srv"
CANARY = "canary-"
FIRST, SECOND, TOKEN = "canary-first-5f2a", "canary-second-9c1d'\"$(id)", "canary-token-77e0"


def _encrypt(cluster: Cluster, key: str) -> None:
    _write_vault(cluster, {"chat_key": key, "hub_token": TOKEN})


def _write_vault(cluster: Cluster, secrets: dict[str, str]) -> None:
    vault = cluster.inventory / "group_vars/all/vault.yml"
    password = cluster.work / "vault-password"
    password.write_text("open sesame\n")
    vault.write_text(yaml.safe_dump({"npuctl_secrets": secrets}))
    cluster.env["ANSIBLE_VAULT_PASSWORD_FILE"] = str(password)
    tool = Path(sys.executable).with_name("ansible-vault")
    subprocess.run(
        [str(tool), "encrypt", str(vault)], env=cluster.environment(), check=True, capture_output=True
    )
    assert vault.read_text().startswith("$ANSIBLE_VAULT")


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
    sampler = CommandLines([CANARY])
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
    sampler.stop()
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


def test_a_secret_in_a_command_line_would_be_seen(cluster: Cluster) -> None:
    """Planted here and on a node, for the fiftieth part of a second."""
    with CommandLines([CANARY]) as sampler:
        subprocess.run(
            [sys.executable, "-S", "-c", "import time; time.sleep(0.02)", "canary-here"], check=True
        )
        cluster.nodes[0].sh_with("python3 -S -c 'import time; time.sleep(0.02)' canary-there\n", "sh")
    assert any("canary-here" in line for line in sampler.found)
    assert any("canary-there" in line for line in sampler.found)


def test_a_secret_in_a_file_would_be_seen(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    node.sh_with(
        "canary-file", "umask 022; cat > /var/tmp/open; umask 077; cat /var/tmp/open > /var/tmp/closed"
    )
    try:
        found = files_with(node, ["canary-file"])
        assert set(found) == {"/var/tmp/open", "/var/tmp/closed"}
        assert [line.split()[0] for line in readable_by_others(found)] == ["/var/tmp/open"]
    finally:
        node.sh("rm -f /var/tmp/open /var/tmp/closed")


def test_secrets_of_provisioning_are_used_and_show_nowhere(bare: Cluster) -> None:
    """Registry login, hub token, proxy and API key, from the bare node to tokens and back."""
    node = bare.nodes[0]
    secrets = _wish_for_everything_secret(bare)
    words = [*secrets.values(), "canary-proxy"]
    with CommandLines(words) as sampler:
        shown = [bare.run("provision", *more).text for more in (["--dry-run"], ["--output", "json"], [])]
        shown += [bare.run("deploy", "--output", "json").text, bare.run("inspect", "--output", "json").text]
        assert bare.states() == {"chat-0": "ready"}
        assert node.complete(8000, model="npuctl/gated", key=secrets["chat_key"])[0] == 200
        shown += [node.sh("docker ps -aq | xargs docker inspect; docker image inspect $(docker images -q)")]
        shown += [node.sh("docker info 2>&1; systemctl show docker"), node.sh("journalctl --no-pager -o cat")]
        modes = files_with(node, words)
        shown += [bare.run("check", "--output", "json", expect=None).text]
    assert sampler.found == []
    assert sampler.looks > 100
    assert modes, "the engine's key is in a file"
    assert readable_by_others(modes) == []
    assert [word for word in words for text in shown if word in text] == []
    kept = [path for path in (*bare.inventory.rglob("*"), *bare.work.rglob("*")) if path.is_file()]
    assert [path for path in kept for word in words if word.encode() in path.read_bytes()] == []
    assert any(path.name.startswith("plan-") for path in kept), "no run folder was looked at"


def test_a_login_that_is_refused_does_not_show_it(bare: Cluster) -> None:
    _wish_for_everything_secret(bare, mirror_registry_password="canary-password-0b")
    refused = bare.run("provision", "--only", "mirrors,container_engine,images", expect=4)
    assert "does not take the login" in refused.text
    kept = [path for path in (*bare.inventory.rglob("*"), *bare.work.rglob("*")) if path.is_file()]
    assert CANARY not in refused.text
    assert [path for path in kept if CANARY.encode() in path.read_bytes()] == []
    assert files_with(bare.nodes[0], ["canary-password"]) == {}


def _wish_for_everything_secret(bare: Cluster, **changes: str) -> dict[str, str]:
    """A spec in which every place that takes a secret has one; the secrets, encrypted in the vault."""
    folder = bare.inventory / "group_vars/all"
    spec: dict[str, Any] = yaml.safe_load((folder / "cluster.yml").read_text())["npuctl_cluster"]
    secrets: dict[str, str] = yaml.safe_load((folder / "vault.yml").read_text())["npuctl_secrets"]
    secrets |= {"chat_key": "canary-key-31", "some_token": "canary-token-8e", **changes}
    # Nobody listens there: everything that is really fetched is reached directly.
    secrets |= {name: f"http://me:canary-proxy-{name}@127.0.0.1:9" for name in ("proxy_http", "proxy_https")}
    spec["mirrors"]["docker"]["images"]["quay.io"] = "mirror.sandbox:5001/quay.io"
    hub = spec["mirrors"]["huggingface"].partition("://")[2].partition("/")[0]
    spec["proxy"] = {
        "http": {"secret": "proxy_http"},
        "https": {"secret": "proxy_https"},
        "no_proxy": [".sandbox", "mirror.sandbox", hub, *(node.address for node in bare.nodes)],
    }
    service = spec["services"][0]
    service["model"] = {"id": "npuctl/gated", "path": "/data/models/gated", "source": "huggingface"}
    service |= {"api_key": {"secret": "chat_key"}, "secret_env": {"HF_TOKEN": {"secret": "some_token"}}}
    bare.rewrite(spec)
    _write_vault(bare, secrets)
    return secrets
