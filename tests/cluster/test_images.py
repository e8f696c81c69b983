"""Images come to a bare node: through the mirror, with a login, from an archive; and go again."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cluster.harness import run_sandbox

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster
NAME = "quay.io/ascend/vllm-ascend:v0.18.0"
LOGIN = "mirror.sandbox:5001"
STAGES = ("--only", "mirrors,container_engine,images")
SPEC = "group_vars/all/cluster.yml"


def spec_of(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((cluster.inventory / SPEC).read_text())["npuctl_cluster"]
    return found


def through_login(cluster: Cluster, **login: Any) -> None:
    """Let quay.io come through the registry that wants a login."""
    spec = spec_of(cluster)
    spec["mirrors"]["docker"]["images"]["quay.io"] = f"{LOGIN}/quay.io"
    spec["registries"][LOGIN] |= login
    cluster.rewrite(spec)


def images(cluster: Cluster) -> list[str]:
    return sorted(cluster.nodes[0].sh("docker images --format '{{.Repository}}:{{.Tag}}'").splitlines())


def test_an_image_comes_through_the_mirror_with_the_login_and_once(bare: Cluster) -> None:
    node = bare.nodes[0]
    through_login(bare)
    # Docker reads the system's certificates once, at its first pull: from now on only a file of its own helps.
    unknown = bare.run("provision", "--only", "images", expect=4)
    assert "mirrors.ca" in unknown.text
    tried = bare.run("provision", *STAGES, "--dry-run")
    assert f"pulled through {LOGIN}/{NAME}" in tried.text
    assert images(bare) == []

    done = bare.run("provision", *STAGES)
    assert f"pulled {NAME} through {LOGIN}/{NAME}" in done.text
    assert images(bare) == [NAME]
    assert node.sh("stat -c '%a %U:%G' /var/lib/npuctl/images.json").strip() == "600 root:root"
    assert node.sh("ls /run/npuctl ~/.docker 2>/dev/null", check=False) == ""
    assert "nothing to do" in bare.run("provision", *STAGES).text

    # Another mirror is no reason to bring it again.
    spec = spec_of(bare)
    spec["mirrors"]["docker"]["images"]["quay.io"] = "mirror.sandbox:5000/quay.io"
    bare.rewrite(spec)
    assert f"image {NAME}" not in bare.run("provision", *STAGES).text

    # In use it stays, and the teardown says by whom; then it goes, and nothing else does.
    node.sh(f"docker create --name theirs {NAME} true")
    refused = bare.run("teardown", "--provision", "--images", "--yes", expect=4)
    assert f"theirs uses {NAME}" in refused.text
    assert images(bare) == [NAME]
    node.sh(f"docker rm theirs; docker tag {NAME} theirs:1")
    bare.run("teardown", "--provision", "--images", "--yes")
    assert images(bare) == ["theirs:1"]
    node.sh("docker rmi theirs:1")
    assert node.sh("find /etc/docker/certs.d -name npuctl.crt", check=False) == ""


def test_what_goes_wrong_is_said_in_words(bare: Cluster) -> None:
    through_login(bare, username="nobody")
    refused = bare.run("provision", *STAGES, expect=4)
    assert f"{LOGIN} does not take the login of nobody" in refused.text
    spec = spec_of(bare)
    spec["services"][0]["image"] = "quay.io/ascend/vllm-ascend:v0.18.0-none"
    spec["mirrors"]["docker"]["images"]["quay.io"] = "mirror.sandbox:5000/quay.io"
    bare.rewrite(spec)
    missing = bare.run("provision", *STAGES, expect=4)
    assert "the registry has no such tag" in missing.text
    assert images(bare) == []
    assert bare.nodes[0].sh("cat /var/lib/npuctl/images.json", check=False) == ""


def test_a_provision_that_is_killed_loses_nothing_of_a_pull(bare: Cluster) -> None:
    """Docker throws away what it has of a pull whose client goes away; ours goes on without npuctl."""
    node = bare.nodes[0]
    bare.run("provision", "--only", "mirrors,container_engine")
    run_sandbox("fault", "mirror", "download-slow", "--value", "4000000", "--name", bare.sandbox.name)
    try:
        running = bare.begin("provision", "--only", "images")
        bare.wait(lambda: "of" in node.sh("cat /run/npuctl/*.json", check=False))
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
        began = node.sh("pgrep -f -x /usr/bin/python3", check=False)
        assert began.strip(), "nothing goes on with the pull"
    finally:
        run_sandbox("fault", "mirror", "download-slow", "--clear", "--name", bare.sandbox.name)
    bare.run("provision", "--only", "images")
    assert images(bare) == [NAME]
    assert node.sh("ls /run/npuctl", check=False) == ""


def test_an_archive_is_loaded_and_leaves_nothing_behind(bare: Cluster) -> None:
    node = bare.nodes[0]
    architecture = node.sh("uname -m").strip()
    folder = bare.inventory / "images"
    folder.mkdir()
    (local,) = subprocess.run(
        ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "npuctl-sandbox/sim-vllm"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[:1]
    file = folder / f"vllm-{architecture}.tar"
    subprocess.run(["docker", "save", "-o", str(file), local], check=True)
    spec = spec_of(bare)
    spec["services"][0]["image_file"] = "images/vllm-{arch}.tar"
    bare.rewrite(spec)
    done = bare.run("provision", "--only", "images")
    assert f"loaded {NAME} from vllm-{architecture}.tar" in done.text
    assert images(bare) == sorted([NAME, local])
    assert node.sh("find /var/lib/npuctl -name '*.tar'") == ""
    assert "nothing to do" in bare.run("provision", "--only", "images").text

    broken = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes(broken)
    (folder / "vllm-other.tar").write_bytes(b"no archive")
    refused = bare.run("provision", "--only", "images", expect=2)
    assert "is no archive of images" in refused.text
    spec["services"].append({**spec["services"][0], "name": "other", "image_file": "images/vllm-other.tar"})
    spec["services"].append({**spec["services"][0], "name": "third", "image_file": "images/none.tar"})
    bare.rewrite(spec)
    every = bare.run("provision", "--only", "images", expect=2)
    assert "3 problems" in every.text, "all at once"
