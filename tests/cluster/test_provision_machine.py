"""Operating system and Docker: set, left alone by a second run, given back; and never a container lost unsaid."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import Cluster, Node, Sandbox

pytestmark = pytest.mark.cluster

NODE = "node-1"
DAEMON = "/etc/docker/daemon.json"
SYSTEM: dict[str, Any] = {"time_sync": False}
VALUES = (
    "/proc/sys/vm/swappiness",
    "/proc/sys/kernel/numa_balancing",
    "/proc/sys/net/ipv4/ip_local_reserved_ports",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor",
)
FILES = (
    DAEMON,
    *("/etc/sysctl.d/90-npuctl.conf", "/etc/tmpfiles.d/npuctl.conf"),
    *("/etc/security/limits.d/90-npuctl.conf", "/etc/systemd/system.conf.d/90-npuctl.conf"),
)
# Stands for the vendor's package: flags, files and last line of mind-cluster's run_main.sh.
RUN = r"""#!/bin/bash
folder=/usr/local/Ascend/Ascend-Docker-Runtime
case "$1" in
  --check) exit 0 ;;
  --install | --upgrade) ;;
  *) echo "[ERROR] Unsupported parameters: $*"; exit 1 ;;
esac
mkdir -p -m 750 $folder
printf '#!/bin/sh\nexec runc "$@"\n' > $folder/ascend-docker-runtime
chmod 0550 $folder/ascend-docker-runtime
printf 'version=v7.3.0\nos=linux\npath=%s\n' $folder > $folder/ascend_docker_runtime_install.info
python3 - <<'END'
import json, os
path = "/etc/docker/daemon.json"
data = json.load(open(path))
data.setdefault("runtimes", {})["ascend"] = {"path": "/usr/local/Ascend/Ascend-Docker-Runtime/ascend-docker-runtime"}
data["default-runtime"] = "ascend"
json.dump(data, open(path, "w"))
os.chmod(path, 0o600)
END
echo "[INFO] Ascend Docker Runtime install success"
"""
# A package that brings a unit; what it does at its installation is the rest of the script.
PACKAGE = r"""
set -e
rm -rf /tmp/pkg && mkdir -p /tmp/pkg/DEBIAN /tmp/pkg/lib/systemd/system /srv/packages
printf 'Package: %s\nVersion: 4.3\nArchitecture: all\nMaintainer: a test <test@example.org>\nDescription: stands for it\n' \
  NAME > /tmp/pkg/DEBIAN/control
printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' \
  > /tmp/pkg/lib/systemd/system/UNIT
printf '#!/bin/sh\nPOSTINST\n' > /tmp/pkg/DEBIAN/postinst
chmod 0755 /tmp/pkg/DEBIAN/postinst
dpkg-deb --build /tmp/pkg /srv/packages/NAME.deb >/dev/null
"""


@pytest.fixture(scope="module")
def sandbox(lone_sandbox: Sandbox) -> Sandbox:
    """The tests of this module need one node."""
    return lone_sandbox


@pytest.fixture
def node(cluster: Cluster) -> Iterator[Node]:
    """A node with a container of somebody else; everything else is given back as it was."""
    chosen = cluster.node(NODE)
    image = cluster.sandbox.template["image"]
    chosen.sh(f"docker run -d --name bystander --network host --entrypoint sleep {image} 86400")
    before = state(chosen)
    try:
        yield chosen
        cluster.run("teardown", "--provision", "--yes", "--limit", NODE)
        assert state(chosen) == before
    finally:
        chosen.sh(
            "docker rm -f bystander; rm -rf /var/lib/npuctl /usr/local/Ascend/Ascend-Docker-Runtime",
            check=False,
        )


def state(node: Node) -> dict[str, str]:
    """The kernel's values and the files, as they stand; of "always [madvise] never" the word in brackets."""
    found = {path: node.sh(f"cat {path}").strip() for path in VALUES}
    found = {path: text.partition("[")[2].partition("]")[0] or text for path, text in found.items()}
    return found | {path: node.sh(f"cat {path} 2>/dev/null || echo none") for path in FILES}


def docker_began(node: Node) -> str:
    return node.sh("systemctl show docker.service --property ActiveEnterTimestampMonotonic").strip()


def provision(cluster: Cluster, *words: str, stages: str = "system,container_engine", expect: int = 0) -> Any:
    ran = cluster.run(
        "provision", "--limit", NODE, "--only", stages, "--output", "json", *words, expect=expect
    )
    return ran.data


def write(cluster: Cluster, **parts: Any) -> None:
    cluster.write(cluster.service(topology={"tensor_parallel": 2}), **parts)


def test_the_system_is_set_once_and_given_back(cluster: Cluster, node: Node) -> None:
    for fault in ("swappiness", "numa-balancing", "governor", "ports-ephemeral"):
        cluster.fault(NODE, fault)
    node.sh("echo 7000-7001 > /run/npusim-host/reserved_ports")
    theirs, began = state(node), docker_began(node)
    write(cluster, system=SYSTEM)
    said = provision(cluster, "--dry-run")
    assert state(node) == theirs
    did = provision(cluster)
    assert said["changes"] == did["changes"] != []
    now = state(node)
    assert [now[path] for path in VALUES] == [
        "0",
        "0",
        "7000-7001,8000,16666,60000-60255",
        "always",
        "performance",
    ]
    assert "vm.swappiness = 0\n" in now["/etc/sysctl.d/90-npuctl.conf"]
    assert "scaling_governor - - - - performance\n" in now["/etc/tmpfiles.d/npuctl.conf"]
    assert node.sh("systemctl show --property DefaultLimitNOFILESoft --value").strip() == "65536"
    assert any("sched_migration_cost_ns" in entry["note"] for entry in did["notes"])
    assert provision(cluster)["changes"] == []
    assert docker_began(node) == began
    cluster.run("teardown", "--provision", "--yes", "--limit", NODE)
    assert state(node) == theirs
    for fault in ("swappiness", "numa-balancing", "governor", "ports-ephemeral"):
        cluster.mend(NODE, fault)


def test_a_value_that_cannot_be_set_is_told_and_the_rest_is_set(cluster: Cluster, node: Node) -> None:
    cluster.fault(NODE, "swappiness")
    cluster.fault(NODE, "numa-balancing")
    node.sh("mount -o remount,bind,ro /proc/sys/vm/swappiness")
    try:
        write(cluster, system=SYSTEM)
        did = provision(cluster)
        assert any(
            "vm/swappiness" in entry["note"] and "read-only" in entry["note"] for entry in did["notes"]
        )
        assert state(node)["/proc/sys/kernel/numa_balancing"] == "0"
        assert state(node)["/proc/sys/vm/swappiness"] == "60"
        assert provision(cluster)["changes"] == []
    finally:
        node.sh("mount -o remount,bind,rw /proc/sys/vm/swappiness")
        cluster.run("teardown", "--provision", "--yes", "--limit", NODE)
        cluster.mend(NODE, "swappiness")
        cluster.mend(NODE, "numa-balancing")


def test_what_docker_reloads_is_reloaded_while_containers_run(cluster: Cluster, node: Node) -> None:
    began, containers = docker_began(node), node.started()
    write(
        cluster, container_engine={"daemon": {"registry-mirrors": ["https://m.example"], "labels": ["a=b"]}}
    )
    provision(cluster)
    assert "https://m.example/" in node.sh("docker info --format '{{.RegistryConfig.Mirrors}} {{.Labels}}'")
    assert json.loads(node.sh(f"cat {DAEMON}"))["log-opts"] == {"max-size": "10m", "max-file": "2"}
    assert provision(cluster)["changes"] == []
    cluster.run("teardown", "--provision", "--yes", "--limit", NODE)
    assert node.sh("docker info --format '{{.RegistryConfig.Mirrors}} {{.Labels}}'").strip() == "[] []"
    assert (docker_began(node), node.started()) == (began, containers)


def test_a_restart_that_would_end_containers_needs_leave(cluster: Cluster, node: Node) -> None:
    began, before = docker_began(node), state(node)
    write(cluster, container_engine={"daemon": {"log-opts": {"max-size": "11m"}}})
    refused = provision(cluster, expect=3)
    (finding,) = refused["findings"]
    assert finding["id"] == "provision.docker_restart"
    assert "bystander" in finding["seen"]
    assert (docker_began(node), state(node)) == (began, before)
    provision(cluster, "--allow-restart")
    assert docker_began(node) != began
    assert json.loads(node.sh(f"cat {DAEMON}"))["log-opts"] == {"max-size": "11m", "max-file": "2"}
    again = docker_began(node)
    assert provision(cluster)["changes"] == []
    assert docker_began(node) == again


@pytest.mark.parametrize("daemon", [{"log-driver": "nonsense"}, {"registry-mirrors": ["nonsense://x"]}])
def test_docker_is_never_left_dead(cluster: Cluster, node: Node, daemon: dict[str, Any]) -> None:
    before = state(node)
    write(cluster, container_engine={"daemon": daemon})
    ran = cluster.run("provision", "--limit", NODE, "--only", "container_engine", "--allow-restart", expect=4)
    assert "nonsense" in ran.text
    assert "the former files are back, and Docker runs with them" in ran.text
    assert state(node) == before
    assert node.sh("docker info --format ok").strip() == "ok"


def test_what_a_killed_run_owes_is_done(cluster: Cluster, node: Node) -> None:
    write(cluster, container_engine={"daemon": {"labels": ["a=b"]}})
    provision(cluster)
    # As if the run had been killed between the file and the reload.
    node.sh("""echo '{"owed": "reload"}' > /var/lib/npuctl/container_engine.json""")
    began = node.sh("date +%s.%N").strip()
    assert provision(cluster)["changes"] != []
    assert "reload" in node.sh(f"docker events --since {began} --until $(date +%s.%N) --filter event=reload")
    assert provision(cluster)["changes"] == []


def test_the_ascend_runtime_is_installed_and_known(cluster: Cluster, node: Node) -> None:
    began, containers = docker_began(node), node.started()
    package = cluster.inventory / f"Ascend-docker-runtime_7.3.0_linux-{platform.machine()}.run"
    package.write_text(RUN)
    runtime = {"package": "Ascend-docker-runtime_7.3.0_linux-{arch}.run", "sha256": "0" * 64}
    write(cluster, container_engine={"ascend_runtime": runtime})
    assert [each["id"] for each in provision(cluster, expect=3)["findings"]] == ["provision.engine_file"]
    runtime["sha256"] = hashlib.sha256(RUN.encode()).hexdigest()
    write(cluster, container_engine={"ascend_runtime": runtime})
    provision(cluster)
    image = cluster.sandbox.template["image"]
    assert node.sh(f"docker run --rm --runtime ascend --entrypoint echo {image} works").strip() == "works"
    assert node.sh("docker info --format '{{.DefaultRuntime}}'").strip() == "runc"
    assert node.sh(f"stat -c %a {DAEMON}").strip() == "644"
    assert provision(cluster)["changes"] == []
    assert (docker_began(node), node.started()) == (began, containers)


def built(node: Node, name: str, unit: str, postinst: str) -> str:
    node.sh(PACKAGE.replace("NAME", name).replace("UNIT", unit).replace("POSTINST", postinst))
    return f"/srv/packages/{name}.deb"


def test_docker_is_installed_from_given_files_and_started(cluster: Cluster, node: Node) -> None:
    node.sh("docker rm -f bystander")
    package = built(node, "stand-in-docker", "stand-in.service", "mv /srv/dockerd /usr/sbin/dockerd")
    node.sh("systemctl stop docker.socket docker.service; mv /usr/sbin/dockerd /srv/dockerd")
    try:
        target = cluster.inventory / Path(package).name
        subprocess.run(
            ["docker", "cp", f"{node.container}:{package}", str(target)], check=True, capture_output=True
        )
        write(cluster, container_engine={"packages": [target.name], "daemon": {"labels": ["new=yes"]}})
        did = provision(cluster)
        assert {"Docker", target.name} <= {change["what"] for change in did["changes"]}
        assert "new=yes" in node.sh("docker info --format '{{.Labels}}'")
        assert provision(cluster)["changes"] == []
    finally:
        node.sh(
            "[ ! -e /srv/dockerd ] || mv /srv/dockerd /usr/sbin/dockerd; dpkg -P stand-in-docker; rm -rf /srv/packages"
        )
        node.sh("systemctl start docker.socket docker.service")


def test_chrony_is_installed_where_nothing_keeps_the_clock(cluster: Cluster, node: Node) -> None:
    package = built(node, "chrony", "chrony.service", "systemctl daemon-reload")
    # A package source of its own, from which apt alone takes it.
    node.sh(f"""
cd /srv/packages
{{ dpkg-deb --field {package}; printf 'Filename: ./chrony.deb\\nSize: %s\\nSHA256: %s\\n' \
  "$(stat -c %s chrony.deb)" "$(sha256sum chrony.deb | cut -d' ' -f1)"; }} > Packages
mkdir /srv/apt.away && mv /etc/apt/sources.list* /srv/apt.away/
echo 'deb [trusted=yes] file:/srv/packages ./' > /etc/apt/sources.list
apt-get -q update
""")
    try:
        write(cluster, system={"time_servers": ["ntp.example"]})
        provision(cluster, stages="system")
        assert node.sh("systemctl is-active chrony").strip() == "active"
        assert "server ntp.example iburst" in node.sh("cat /etc/chrony/chrony.conf")
        assert provision(cluster, stages="system")["changes"] == []
        write(cluster, system={"time_servers": ["ntp2.example"]})
        pid = node.sh("systemctl show chrony --property MainPID")
        provision(cluster, stages="system")
        assert node.sh("systemctl show chrony --property MainPID") != pid
        assert provision(cluster, stages="system")["changes"] == []
    finally:
        node.sh("""
systemctl stop chrony; dpkg -P chrony; rm -rf /etc/chrony /etc/apt/sources.list* /srv/packages
mv /srv/apt.away/* /etc/apt/; rmdir /srv/apt.away; systemctl daemon-reload
""")


OLD_PYTHON = """#!/usr/bin/python3.11 -IS
import os, sys
# Answers as Python 3.7 does: what it is, and no more.
pretend = "import sys; sys.version_info = (3, 7, 9, 'final', 0)\\n"
os.execv("/usr/bin/python3.11", ["python3", "-ISc", pretend + sys.argv[sys.argv.index("-c") + 1]])
"""


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("", "Python was not found on the node"),
        (OLD_PYTHON, "is Python 3.7.9, too old for npuctl and Ansible"),
    ],
)
def test_a_node_without_a_python_for_us_is_found_by_every_look(
    cluster: Cluster, there: str, said: str
) -> None:
    chosen = cluster.node(NODE)
    chosen.sh("mv /usr/bin/python3 /usr/bin/python3.away")
    if there:
        chosen.sh_with(there, "cat > /usr/bin/python3; chmod 0755 /usr/bin/python3")
    try:
        cluster.write(cluster.service(), system=SYSTEM)
        for verb, words in (("inspect", ()), ("check", ()), ("plan", ()), ("provision", ("--dry-run",))):
            ran = cluster.run(verb, *words, expect=None)
            assert ran.code != 1, str(ran)
            assert said in ran.text, str(ran)
            assert "ansible_python_interpreter: /usr/bin/python3.11 for node-1" in ran.text, str(ran)
    finally:
        chosen.sh("mv -f /usr/bin/python3.away /usr/bin/python3")
    assert cluster.run("inspect").code == 0
