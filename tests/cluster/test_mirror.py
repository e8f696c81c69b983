"""A sandbox's mirror is really used: real clients on a node and here fetch from it, and it notes them.

What provisioning will set is set by hand here.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.harness import Node, Sandbox, run_sandbox

pytestmark = pytest.mark.cluster

TAG = "ascend/vllm-ascend:v0.18.0"
OPEN, LOGIN = "mirror.sandbox:5000", "mirror.sandbox:5001"
BEHIND_LOGIN = f"{LOGIN}/swr.cn-south-1.myhuaweicloud.com/ascendhub/vllm-ascend:v0.18.0"
_CLIENTS = """
import sys
import huggingface_hub, modelscope
hub, folder, token = sys.argv[1:]
huggingface_hub.snapshot_download("npuctl/random", local_dir=folder + "/hf")
huggingface_hub.snapshot_download("npuctl/gated", token=token, local_dir=folder + "/hf-gated")
huggingface_hub.snapshot_download("npuctl/tiny", revision="v1", local_dir=folder + "/hf-v1")
modelscope.snapshot_download("npuctl/random", local_dir=folder + "/ms")
modelscope.snapshot_download("npuctl/gated", token=token, local_dir=folder + "/ms-gated")
try:
    huggingface_hub.snapshot_download("npuctl/gated", token=False, local_dir=folder + "/none")
except huggingface_hub.errors.GatedRepoError:
    pass
else:
    sys.exit("a gated model came without a token")
"""


class Mirrored:
    """The sandbox with its mirror, and what it noted since a test began."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        folder = sandbox.inventory / "group_vars/all"
        self.spec: dict[str, Any] = yaml.safe_load((folder / "cluster.yml").read_text())["npuctl_cluster"]
        self.secrets: dict[str, str] = yaml.safe_load((folder / "vault.yml").read_text())["npuctl_secrets"]
        self.ca = sandbox.inventory / self.spec["mirrors"]["ca"]
        self._before = len(self._log())

    @property
    def node(self) -> Node:
        """The only node."""
        return self.sandbox.nodes[0]

    def served(self, service: str) -> list[dict[str, Any]]:
        """What the mirror noted of one of its services since the test began."""
        return [entry for entry in self._log()[self._before :] if entry["service"] == service]

    def fault(self, *words: str) -> None:
        """Put a fault on the mirror."""
        run_sandbox("fault", "mirror", *words, "--name", self.sandbox.name)

    def sh(self, script: str) -> str:
        """Output of a script on the node, whatever its end, with what it complained of."""
        return self.node.sh(f"({script}) 2>&1", check=False)

    def get(self, url: str, **headers: str) -> tuple[int, bytes]:
        """Status and body of a request from this machine, which trusts the mirror's authority."""
        context = ssl.create_default_context(cafile=str(self.ca))
        request = urllib.request.Request(url, headers=headers)  # noqa: S310  addresses of the inventory
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def _log(self) -> list[dict[str, Any]]:
        told = json.loads(run_sandbox("mirror-log", "--name", self.sandbox.name, "--output", "json"))
        entries: list[dict[str, Any]] = told["served"]
        return entries


@pytest.fixture
def mirror(mirrored: Sandbox) -> Iterator[Mirrored]:
    """The mirror without faults; the node does not know its authority."""
    found = Mirrored(mirrored)
    yield found
    found.fault("all", "--clear")
    found.node.sh(
        "rm -rf /usr/local/share/ca-certificates/mirror.crt /etc/docker/certs.d /root/.docker; "
        "update-ca-certificates --fresh >/dev/null 2>&1; docker images -q | xargs -r docker rmi -f >/dev/null"
    )


@pytest.fixture
def trusting(mirror: Mirrored) -> Mirrored:
    """The node trusts the mirror's authority, as far as its own tools look there."""
    target = f"{mirror.node.container}:/usr/local/share/ca-certificates/mirror.crt"
    subprocess.run(["docker", "cp", str(mirror.ca), target], check=True, capture_output=True)
    mirror.node.sh("update-ca-certificates >/dev/null 2>&1")
    return mirror


def _trust_registry(mirror: Mirrored, *registries: str) -> None:
    for registry in registries:
        folder = f"/etc/docker/certs.d/{registry}"
        mirror.node.sh(f"mkdir -p {folder} && cp /usr/local/share/ca-certificates/mirror.crt {folder}/ca.crt")


def test_a_node_begins_bare_and_the_authority_is_needed(mirror: Mirrored) -> None:
    assert mirror.node.sh("docker images -q; ls /data/models").strip() == ""
    assert "certificate" in mirror.sh("curl -sS https://mirror.sandbox/pypi/simple/")
    assert "certificate" in mirror.sh(f"docker pull {OPEN}/quay.io/{TAG}")
    mirror.node.sh("echo 'deb https://mirror.sandbox/debian bookworm main' > /root/only.list")
    assert "certificate" in mirror.sh("apt-get -q update -o Dir::Etc::SourceList=/root/only.list")
    assert mirror.served("tls")
    assert not mirror.served("registry")


def test_an_image_is_pulled_through_its_prefix_for_the_nodes_architecture(trusting: Mirrored) -> None:
    _trust_registry(trusting, OPEN)
    image = f"{OPEN}/quay.io/{TAG}"
    trusting.node.sh(f"docker pull -q {image}")
    own = trusting.node.sh("dpkg --print-architecture").strip()
    assert trusting.node.sh(f"docker image inspect -f '{{{{.Architecture}}}}' {image}").strip() == own
    assert trusting.node.sh(f"docker run --rm --entrypoint vllm {image} --version").strip()
    other = {"amd64": "arm64", "arm64": "amd64"}[own]
    trusting.node.sh(f"docker pull -q {image}-{other}")
    assert (
        trusting.node.sh(f"docker image inspect -f '{{{{.Architecture}}}}' {image}-{other}").strip() == other
    )
    assert [entry for entry in trusting.served("registry") if "/blobs/" in entry["target"]]


def test_a_registry_with_a_login_gives_nothing_without_it(trusting: Mirrored) -> None:
    _trust_registry(trusting, LOGIN)
    assert "no basic auth credentials" in trusting.sh(f"docker pull {BEHIND_LOGIN}")
    (login,) = trusting.spec["registries"].values()
    password = trusting.secrets[login["password"]["secret"]]
    words = ["docker", "exec", "--interactive", trusting.node.container, "docker", "login", LOGIN]
    words += ["--username", login["username"], "--password-stdin"]
    refused = subprocess.run(words, input=b"wrong", capture_output=True, check=False)
    assert b"401" in refused.stderr
    subprocess.run(words, input=password.encode(), capture_output=True, check=True)
    trusting.node.sh(f"docker pull -q {BEHIND_LOGIN}")
    used = trusting.served("registry-login")
    assert login["username"] in [entry["user"] for entry in used]
    assert password not in json.dumps(used)


def test_docker_hub_is_mirrored(trusting: Mirrored) -> None:
    _trust_registry(trusting, OPEN)
    trusting.node.sh("cp /etc/docker/daemon.json /root/daemon.json")
    try:
        trusting.node.sh(
            f"""echo '{{"registry-mirrors": ["https://{OPEN}"]}}' > /etc/docker/daemon.json; systemctl restart docker"""
        )
        trusting.node.sh("docker pull -q npuctl/hello:1")
    finally:
        trusting.node.sh("mv /root/daemon.json /etc/docker/daemon.json; systemctl restart docker")
    assert "npuctl/hello" in json.dumps(trusting.served("registry"))


def test_packages_git_and_pip_come_from_the_mirror(trusting: Mirrored) -> None:
    sources = trusting.node.sh("cat /etc/apt/sources.list")
    for before, after in trusting.spec["mirrors"]["apt"].items():
        trusting.node.sh(f"sed -i 's#{before} #{after} #' /etc/apt/sources.list")
    assert "mirror.sandbox" in trusting.node.sh("cat /etc/apt/sources.list")
    assert "deb.debian.org" not in trusting.node.sh("grep -v mirror.sandbox /etc/apt/sources.list || true")
    trusting.node.sh("apt-get -q update")
    trusting.node.sh(
        "DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends git python3-pip chrony"
    )
    assert "chrony" in trusting.node.sh("dpkg -l chrony | tail -1")
    assert [entry for entry in trusting.served("apt") if entry["target"].endswith(".deb")]

    ((before, after),) = trusting.spec["mirrors"]["git"].items()
    trusting.node.sh(f"git config --system url.{after}.insteadOf {before}")
    trusting.node.sh("rm -rf /root/probe; git clone -q https://github.com/npuctl/probe.git /root/probe")
    assert "mirror" in trusting.node.sh("cat /root/probe/README.md")
    assert trusting.served("git")

    pip = trusting.spec["mirrors"]["pip"]
    lines = f"[global]\nindex-url = {pip['index']}\nextra-index-url = {' '.join(pip['extra_index'])}\n"
    trusting.node.sh(f"cat > /etc/pip.conf <<'E'\n{lines}E\n")
    trusting.node.sh("pip download -q -d /root/wheels npuctl-mirror-probe npuctl-mirror-extra")
    assert len(trusting.node.sh("ls /root/wheels").split()) == 2
    assert trusting.served("pip-pypi")
    assert trusting.served("pip-extra")
    trusting.node.sh("rm -rf /root/probe /root/wheels /etc/pip.conf /etc/gitconfig")
    trusting.node.sh(f"cat > /etc/apt/sources.list <<'E'\n{sources}E\n")


def _weights(mirror: Mirrored) -> tuple[str, str, int]:
    """Address, sha256 and size of a file of the random model, as Hugging Face's hub tells them."""
    hub = mirror.spec["mirrors"]["huggingface"]
    status, body = mirror.get(f"{hub}/api/models/npuctl/random/tree/main?recursive=true")
    assert status == 200
    entry = next(entry for entry in json.loads(body) if "lfs" in entry)
    return f"{hub}/npuctl/random/resolve/main/{entry['path']}", entry["lfs"]["oid"], entry["size"]


def test_weights_come_in_parts_and_a_cut_download_can_go_on(mirror: Mirrored) -> None:
    address, sha256, size = _weights(mirror)
    mirror.fault("download-cut", "--value", str(size // 3))
    target = mirror.sandbox.inventory.parent / "weights"
    target.unlink(missing_ok=True)
    words = ["curl", "-sSL", "--cacert", str(mirror.ca), "-C", "-", "-o", str(target), address]
    codes = [subprocess.run(words, check=False, capture_output=True).returncode for _ in range(4)]
    assert codes[0] != 0
    assert 0 in codes
    assert hashlib.sha256(target.read_bytes()).hexdigest() == sha256
    ranges = [entry["range"] for entry in mirror.served("content") if entry["range"]]
    assert ranges[0] == f"bytes={size // 3}-"


def test_wrong_bytes_and_a_mirror_out_of_service_are_seen_by_clients(trusting: Mirrored) -> None:
    address, sha256, size = _weights(trusting)
    _trust_registry(trusting, OPEN)
    trusting.fault("download-wrong")
    _, content = trusting.get(address)
    assert (len(content), hashlib.sha256(content).hexdigest() == sha256) == (size, False)
    assert "verification failed" in trusting.sh(f"docker pull {OPEN}/quay.io/{TAG}")
    trusting.fault("download-wrong", "--clear")
    trusting.fault("download-refused", "--value", "600")
    assert trusting.get(address)[0] == 503
    trusting.fault("all", "--clear")
    assert hashlib.sha256(trusting.get(address)[1]).hexdigest() == sha256


def test_the_hubs_own_clients_download_models(mirror: Mirrored, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    wanted = [str(environment / "bin/pip"), "install", "-q", "huggingface_hub", "modelscope"]
    if subprocess.run(wanted, check=False, capture_output=True).returncode:
        pytest.skip("not run: the hubs' clients cannot be installed from here")
    hubs = mirror.spec["mirrors"]
    settings = {
        "HF_ENDPOINT": hubs["huggingface"],
        "MODELSCOPE_ENDPOINT": hubs["modelscope"],
        "HOME": str(tmp_path),
        "SSL_CERT_FILE": str(mirror.ca),
        "REQUESTS_CA_BUNDLE": str(mirror.ca),
    }
    words = [str(environment / "bin/python"), "-c", _CLIENTS, "hub", str(tmp_path)]
    words.append(mirror.secrets["mirror_hub_token"])
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=os.environ | settings)
    assert done.returncode == 0, done.stdout + done.stderr
    for folder in ("hf", "ms"):
        model = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (tmp_path / folder).glob("*.safetensors")
        }
        status, body = mirror.get(
            f"{hubs['modelscope']}/api/v1/models/npuctl/random/repo/files?Recursive=true"
        )
        assert status == 200
        files = {entry["Name"]: entry["Sha256"] for entry in json.loads(body)["Data"]["Files"]}
        assert model == {name: digest for name, digest in files.items() if name.endswith(".safetensors")}
    # The token went to the hubs, and never on to where the files lie.
    assert not [entry for entry in mirror.served("content") if entry["authorized"]]


def test_up_again_keeps_the_mirror_and_its_secrets(mirror: Mirrored) -> None:
    subprocess.run(
        ["docker", "kill", f"npuctl-{mirror.sandbox.name}-mirror"], check=True, capture_output=True
    )
    run_sandbox("up", "--name", mirror.sandbox.name)
    assert Mirrored(mirror.sandbox).secrets == mirror.secrets
    assert mirror.get(f"{mirror.spec['mirrors']['huggingface']}/api/models/npuctl/tiny")[0] == 200
    memory = subprocess.run(
        ["docker", "exec", f"npuctl-{mirror.sandbox.name}-mirror", "sh", "-c", "cat /proc/[0-9]*/status"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    resident = sum(int(line.split()[1]) for line in memory.splitlines() if line.startswith("VmRSS"))
    assert resident < 150 * 1024
