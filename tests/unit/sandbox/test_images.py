"""Tags are hashes of what goes in; mirrors come from the machine's own apt sources."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from npuctl.paths import content_root
from npuctl.sandbox import apt, bootstrap, docker, images, nodes
from npuctl.sandbox.images import File
from npuctl.sandbox.model import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

DEB822 = """\
# a comment
Types: deb
URIs: http://mirror.example/debian/
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/x.gpg

Types: deb deb-src
URIs: http://mirror.example/debian-security
Suites: trixie-security
Components: main

Types: deb
URIs: https://deb.nodesource.example/node_20.x
Suites: nodistro
Components: main
"""


@pytest.mark.parametrize(
    ("one_line", "deb822", "archive", "security"),
    [
        ([], [DEB822], "http://mirror.example/debian", "http://mirror.example/debian-security"),
        (
            [
                "deb [arch=amd64 signed-by=/k] https://m.example/debian bookworm main\n# deb http://no.example/debian x main"
            ],
            [],
            "https://m.example/debian",
            "",
        ),
        (
            [],
            [DEB822.replace("Types: deb\nURIs: http://m", "Enabled: no\nTypes: deb\nURIs: http://m", 1)],
            "http://deb.debian.org/debian",
            "",
        ),
        (["deb http://archive.ubuntu.example/ubuntu noble main"], [], "http://deb.debian.org/debian", ""),
        (
            ["deb cdrom:[Debian]/debian bookworm main", "deb file:/srv/debian bookworm main"],
            [],
            "http://deb.debian.org/debian",
            "",
        ),
        ([], [], "http://deb.debian.org/debian", ""),
    ],
)
def test_mirrors_are_the_machines_own(
    one_line: list[str], deb822: list[str], archive: str, security: str
) -> None:
    found = apt.mirrors(one_line, deb822)
    assert (found.archive, found.security) == (archive, security)


def test_a_node_gets_debian_12_whatever_the_machine_runs() -> None:
    text = apt.mirrors([], [DEB822]).sources_list
    assert text == (
        "deb http://mirror.example/debian bookworm main\n"
        "deb http://mirror.example/debian-security bookworm-security main\n"
    )


def test_a_digest_changes_with_names_contents_and_modes() -> None:
    base = {"a": File(b"1"), "b": File(b"2", 0o755)}
    variants = [
        base,
        {"a": File(b"1"), "b": File(b"2", 0o644)},
        {"a": File(b"1"), "c": File(b"2", 0o755)},
        {"a": File(b"12"), "b": File(b"", 0o755)},
    ]
    assert len({images.digest(variant) for variant in variants}) == len(variants)
    assert images.digest(base) == images.digest(dict(reversed(base.items())))
    assert images.digest("a", "b") != images.digest("b", "a")


def test_what_python_leaves_behind_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_bytes(b"")
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    assert images.read_tree(tmp_path) == {"tool": File(b"#!/bin/sh\n", 0o755)}


def test_an_image_holds_the_simulator_and_leaves_the_drivers_tools_to_its_installer() -> None:
    tree = {
        "init": File(b"i", 0o755),
        "finish": File(b"f", 0o755),
        "strip": File(b"t", 0o755),
        "packages.txt": File(b"p"),
        "rootfs/etc/docker/daemon.json": File(b"{}"),
        "npusim/bin/npu-smi": File(b"n"),
        "npusim/bin/hccn_tool": File(b"h"),
        "npusim/bin/npusim": File(b"s"),
        "npusim/npusim/state.py": File(b"x"),
        "README.md": File(b"r"),
    }
    placed = images.node_files(tree)
    assert placed["usr/local/lib/npusim/bin/npu-smi"] == File(b"n")
    assert not [name for name in placed if name.startswith(("usr/local/Ascend", "usr/local/bin/npu-smi"))]
    assert placed["usr/local/sbin/npusim"] == File(b"s", 0o755)
    assert placed["usr/local/lib/npusim/npusim/state.py"] == File(b"x")
    assert placed["etc/docker/daemon.json"] == File(b"{}")
    assert not [name for name in placed if "README" in name or "packages" in name]


def test_the_shipped_node_folder_has_every_input() -> None:
    tree = images.read_tree(content_root() / "sandbox" / "node")
    for name in ("init", "finish", "strip", "install-packages"):
        assert tree[name].mode == 0o755, name
    assert "docker.io" in tree["packages.txt"].content.decode().split()
    assert images.node_files(tree)["etc/sudoers.d/ops"].content == b"ops ALL=(ALL) NOPASSWD: ALL\n"


def test_a_node_knows_who_it_is_and_that_it_is_simulated() -> None:
    sandbox = Sandbox("lab", 2, "a3", "10.77.3.0/24")
    files = nodes.identity_files(sandbox, sandbox.node("node-2"), "ssh-ed25519 AAA\n")
    assert b'"simulated": true' in files["etc/npuctl-sandbox"].content
    made = b"NPUSIM_PRODUCT=a3\nNPUSIM_NODE_INDEX=2\nNPUSIM_OPTIONS="
    assert files["etc/default/npusim"].content == made + b"--driver 25.5.2\n"
    bare = nodes.identity_files(replace(sandbox, driver=""), sandbox.node("node-2"), "")
    assert bare["etc/default/npusim"].content == made + b"--bare\n"  # sandbox/node/init looks for this line
    with tarfile.open(fileobj=io.BytesIO(images.tar_of(files))) as archive:
        assert archive.getmember("root/.ssh/authorized_keys").uid == 0
        assert archive.getmember("home/ops/.ssh/authorized_keys").mode == 0o644


def test_a_node_is_never_privileged_and_never_writes_proc_sys(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(docker, "run", lambda *arguments: seen.extend(arguments))
    sandbox = Sandbox("lab", 1, "a2", "10.77.3.0/24")
    nodes.create(sandbox, sandbox.node("node-1"), "image")
    assert "--privileged" not in seen
    assert not [word for word in seen if "systempaths" in word]
    assert "npuctl.sandbox=lab" in seen
    assert "type=volume,dst=/var/lib/docker,volume-label=npuctl.sandbox=lab" in seen


def test_proxies_reach_a_build_by_name_not_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in bootstrap._PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy:3128")
    assert bootstrap.proxy_arguments() == ["--env", "https_proxy"]


@pytest.mark.parametrize("engine", ["sim", "cpu"])
def test_every_engine_has_a_release(engine: str) -> None:
    assert images.engine_release(engine).startswith("v")
