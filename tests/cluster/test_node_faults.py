"""One bad node: named, with its cause; the others are served, and a later run finishes the job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster, Node

pytestmark = pytest.mark.cluster


def _spread(cluster: Cluster) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3, token_within_seconds=3))


def _logins(node: Node) -> int:
    return node.sh("journalctl --no-pager --output cat --identifier sshd").count("Accepted publickey")


def test_a_node_that_is_down_is_named_and_caught_up_later(cluster: Cluster) -> None:
    _spread(cluster)
    cluster.fault("node-2", "unreachable")
    done = cluster.run("deploy", "--output", "json", expect=5).data
    assert list(done["unreachable"]) == ["node-2"]
    assert {entry["replica"]: entry["state"] for entry in done["replicas"]} == {
        "chat-0": "ready",
        "chat-2": "ready",
    }
    assert cluster.states() == {"chat-0": "ready", "chat-1": "unreachable", "chat-2": "ready"}
    before = [cluster.node(name).started() for name in ("node-1", "node-3")]

    cluster.mend("node-2", "unreachable")
    cluster.run("deploy")
    assert set(cluster.states().values()) == {"ready"}
    assert [cluster.node(name).started() for name in ("node-1", "node-3")] == before

    # A teardown that cannot reach a node says so; it is done when the node is back.
    cluster.fault("node-2", "unreachable")
    cluster.close_connections()
    gone = cluster.run("teardown", "--yes", "--output", "json", expect=5).data
    assert list(gone["unreachable"]) == ["node-2"]
    assert cluster.node("node-1").left() == cluster.node("node-3").left() == []
    assert cluster.node("node-2").containers() == {"npuctl-ct-chat-1": "running"}
    cluster.mend("node-2", "unreachable")
    cluster.run("teardown", "--yes")
    assert cluster.node("node-2").left() == []


def test_a_refused_key_and_a_changed_host_key_are_told_apart_and_no_command_is_sent(
    cluster: Cluster,
) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3))
    cluster.fault("node-1", "ssh-refused")
    cluster.fault("node-2", "host-key-changed")
    changed = cluster.node("node-2")
    logins = _logins(changed)
    data = cluster.run("check", "--output", "json", expect=5).data
    assert "refused the key" in data["unreachable"]["node-1"]["reason"]
    assert "host key" in data["unreachable"]["node-2"]["reason"]
    deployed = cluster.run("deploy", expect=5)
    assert "SSH refused the key" in deployed.text
    assert "host key is not the pinned one" in deployed.text
    assert _logins(changed) == logins
    assert [node.containers() for node in cluster.nodes[:2]] == [{}, {}]
    assert cluster.node("node-3").complete(8000)[0] == 200


def test_checking_of_host_keys_cannot_be_turned_off(cluster: Cluster) -> None:
    cluster.write(cluster.service())
    hosts = cluster.inventory / "hosts.yml"
    more = "    ansible_ssh_common_args: -o StrictHostKeyChecking=no\n"
    hosts.write_text(hosts.read_text() + more)
    assert "host keys" in cluster.run("deploy", expect=2).text
    hosts.write_text(hosts.read_text().replace(more, "    ansible_host_key_checking: false\n"))
    assert "host keys" in cluster.run("deploy", expect=2).text
    hosts.write_text(hosts.read_text().replace("    ansible_host_key_checking: false\n", ""))
    cluster.env["ANSIBLE_HOST_KEY_CHECKING"] = "False"
    known = cluster.inventory / ".ssh" / "known_hosts"
    known.write_text("".join(line for line in known.read_text().splitlines(True) if "node-1" not in line))
    deployed = cluster.run("deploy", expect=5)
    assert "host key is not pinned" in deployed.text
    assert cluster.node("node-1").containers() == {}


def test_a_frozen_node_is_unreachable_and_the_others_are_ready(cluster: Cluster) -> None:
    _spread(cluster)
    cluster.run("deploy")
    before = [node.started() for node in cluster.nodes]
    cluster.fault("node-3", "frozen")
    assert cluster.states() == {"chat-0": "ready", "chat-1": "ready", "chat-2": "unreachable"}
    cluster.mend("node-3", "frozen")
    cluster.wait(lambda: set(cluster.states().values()) == {"ready"})
    assert [node.started() for node in cluster.nodes] == before


def test_an_image_that_cannot_be_had_fails_that_node_alone(cluster: Cluster) -> None:
    service = cluster.service(hosts="serving", replicas=3)
    image = "127.0.0.1:1/engine:1"  # nothing listens there: no registry has it
    for node in cluster.nodes[:2]:
        node.sh(f"docker tag {service['image']} {image}")
    try:
        cluster.write({**service, "image": image})
        warned = cluster.run("check", "--output", "json").data
        assert [(finding["id"], finding["node"]) for finding in warned["findings"]] == [
            ("image.absent", "node-3")
        ]
        done = cluster.run("deploy", "--output", "json", expect=4).data
        assert list(done["failed"]) == ["node-3"]
        assert image in done["failed"]["node-3"]
        states = {entry["replica"]: entry["state"] for entry in done["replicas"]}
        assert (states["chat-0"], states["chat-1"]) == ("ready", "ready")
        assert states["chat-2"] != "ready"
        assert [node.complete(8000)[0] for node in cluster.nodes] == [200, 200, 0]
        assert cluster.states()["chat-2"] == "dead"
        text = cluster.run("deploy", expect=4).text
        assert "node-3" in text
        assert image in text
        cluster.node("node-3").sh(f"docker tag {service['image']} {image}")
        cluster.run("deploy")
        assert set(cluster.states().values()) == {"ready"}
    finally:
        cluster.run("teardown", "--yes")
        for node in cluster.nodes:
            node.sh(f"docker rmi {image}", check=False)


def test_a_stopped_container_engine_is_no_proof_that_anything_is_gone(cluster: Cluster) -> None:
    cluster.write(cluster.service(hosts=["node-1", "node-2"], replicas=2))
    cluster.run("deploy")
    cluster.fault("node-2", "docker-stopped")
    assert cluster.states() == {"chat-0": "ready", "chat-1": "unreachable"}
    assert "Docker" in cluster.health_of("chat-1")["detail"]
    stopped = cluster.run("stop", expect=None)
    assert stopped.code != 0, f"node-2 was not stopped: its container starts again with its engine: {stopped}"
    assert "node-2" in stopped.text
    gone = cluster.run("teardown", "--yes", expect=None)
    assert gone.code != 0, f"the container on node-2 is still there: {gone}"
    assert "node-2" in gone.text
    cluster.mend("node-2", "docker-stopped")
    cluster.run("teardown", "--yes")
    assert cluster.node("node-2").left() == []


def test_a_user_without_root_works_through_sudo(cluster: Cluster) -> None:
    hosts = cluster.inventory / "hosts.yml"
    text = hosts.read_text().replace("ansible_user: root", "ansible_user: ops\n    ansible_become: true")
    assert "ansible_become" in text
    hosts.write_text(text)
    (cluster.inventory / "group_vars/all/vault.yml").write_text("npuctl_secrets: {key: let-me-in}\n")
    cluster.write(cluster.service(hosts=["node-1", "node-2"], replicas=2, api_key={"secret": "key"}))
    cluster.run("check")
    cluster.run("deploy", "--check")
    cluster.run("deploy")
    assert cluster.node("node-1").complete(8000, key="let-me-in")[0] == 200
    assert cluster.run("deploy", "--output", "json").data["changed"] == {}
    assert set(cluster.states().values()) == {"ready"}
    secret = cluster.node("node-1").sh("stat -c '%a %U' /etc/npuctl/ct/chat-0/secrets.env").strip()
    assert secret == "600 root"
    assert "node-2 chat-1 | " in cluster.run("logs").stdout
    cluster.run("stop")
    cluster.run("start")
    cluster.run("teardown", "--yes")
    assert [node.left() for node in cluster.nodes] == [[], [], []]


def test_sudo_that_wants_a_password_is_said(cluster: Cluster) -> None:
    hosts = cluster.inventory / "hosts.yml"
    hosts.write_text(
        hosts.read_text().replace("ansible_user: root", "ansible_user: ops\n    ansible_become: true")
    )
    cluster.write(cluster.service())
    node = cluster.node("node-1")
    node.sh("cp -a /etc/sudoers.d/ops /run/ops.sudoers; sed -i s/NOPASSWD:// /etc/sudoers.d/ops")
    node.sh("echo ops:sandbox-password | chpasswd")
    try:
        assert "sudo wants a password" in cluster.run("check", expect=5).text
        vault = cluster.inventory / "group_vars/all/vault.yml"
        vault.write_text("ansible_become_password: not-this-one\n")
        assert "sudo refused the password" in cluster.run("check", expect=5).text
        vault.write_text("ansible_become_password: sandbox-password\n")
        cluster.run("deploy")
        assert node.complete(8000)[0] == 200
        assert set(cluster.states().values()) == {"ready"}
        assert cluster.run("logs").stdout.startswith("node-1 chat-0 | ")
    finally:
        node.sh("cp -a /run/ops.sudoers /etc/sudoers.d/ops; usermod -p '*' ops")
