"""Mirrors on a node: what is set for a spec, that it is taken back whole, and what is said where it cannot be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from npuctl.facts.setup import Setup, TextFile
from npuctl.plan.fetching import CA_BUNDLE
from npuctl.plan.provision import mirrors, proxy, trust
from npuctl.plan.provision._contract import LocalFile, Node, Wish, Work
from npuctl.plan.provision.settings import RECORD, Reconciled, reconcile, record_data
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, cluster_text, node

DEBIAN = "deb http://deb.debian.org/debian bookworm main\ndeb http://deb.debian.org/debian-security bookworm-security main\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBsQ==\n-----END CERTIFICATE-----\n"
EVERYTHING: dict[str, Any] = {
    "preset": "china",
    "pip": {"trusted_hosts": ["pip.example:8080"]},
    "docker": {"insecure_registries": ["registry.example:5000"]},
    "apt": {"http://deb.debian.org/": "http://mirror.example/"},
    "ca": "ca.crt",
}
THERE = {
    "/etc/pip.conf": "# by hand\n[global]\nextra-index-url = https://mine.example/simple\n",
    "/etc/environment": 'PATH="/usr/bin"\n',
    "/etc/docker/daemon.json": '{\n  "data-root": "/data",\n  "registry-mirrors": ["https://mine.example"]\n}\n',
    "/etc/apt/sources.list": DEBIAN,
}


class Machine:
    """A node whose files change as the plan says."""

    def __init__(self, files: Mapping[str, str] | None = None, **setup: Any) -> None:
        self.files = dict(files or {})
        self.records: dict[str, dict[str, Any]] = {}
        programs = {
            "dockerd": "/usr/sbin/dockerd",
            "update-ca-certificates": "/usr/sbin/update-ca-certificates",
        }
        self.rest: dict[str, Any] = {"packages_by": "apt", "os_id": "debian", "programs": programs, **setup}

    def node(self) -> Node:
        noted = {entry["file"] for entry in self.records.get(RECORD, {}).get("entries", [])}
        files = {path: self._file(path) for path in {*self.files, *noted}}
        return Node("node-1", node(), Setup(files=files, records=self.records, **self.rest))

    def _file(self, path: str) -> TextFile | None:
        return TextFile(path=path, text=self.files[path]) if path in self.files else None

    def provision(self, wish: Wish) -> Reconciled:
        """One run; what it did."""
        now = self.node()
        done = reconcile(mirrors.settings(wish, now), now.setup)
        for path, write in done.writes.items():
            self.files.pop(path, None)
            if write.text is not None:
                self.files[path] = write.text
        self.records[RECORD] = record_data(done.settled, "prod")
        self.records.pop(trust.RECORD, None) if wish.removing else None
        for work in mirrors.work(wish, [now]):
            if note := work.variables.get("package_mirror_trust", {}).get("note"):
                self.records[trust.RECORD] = json.loads(note)
        return done


def wish(mirrors_: dict[str, Any] | None, **more: Any) -> Wish:
    """A wish for these mirrors; `proxy` and `container_engine` are of the spec, the rest of the wish."""
    spec_keys: dict[str, Any] = {key: more.pop(key) for key in ("proxy", "container_engine") if key in more}
    spec_keys |= {"mirrors": mirrors_} if mirrors_ is not None else {}
    spec = parse_cluster(cluster_text(**spec_keys), file=FILE)
    local = {"ca.crt": LocalFile("ca.crt", text=CERTIFICATE)}
    return Wish(spec=spec, users={"node-1": "ops"}, **{"local": local, **more})


def works(machine: Machine, wanted: Wish) -> list[Work]:
    return mirrors.work(wanted, [machine.node()])


def test_everything_is_set_once_and_taken_back_whole() -> None:
    machine = Machine(THERE)
    machine.provision(wish(EVERYTHING))
    assert machine.files["/etc/pip.conf"] == (
        "# by hand\n[global]\nextra-index-url = https://mirrors.huaweicloud.com/ascend/repos/pypi\n"
        "    https://mine.example/simple\n"
        "index-url = https://mirrors.tuna.tsinghua.edu.cn/pypi/web/simple\ntrusted-host = pip.example:8080\n"
    )
    assert machine.files["/etc/gitconfig"] == (
        '[url "https://ghfast.top/https://github.com/"]\n\tinsteadof = https://github.com/\n'
    )
    assert json.loads(machine.files["/etc/docker/daemon.json"]) == {
        "data-root": "/data",
        "registry-mirrors": ["https://docker.m.daocloud.io", "https://mine.example"],
        "insecure-registries": ["registry.example:5000"],
    }
    assert machine.files["/etc/environment"] == (
        'PATH="/usr/bin"\nHF_ENDPOINT=https://hf-mirror.com\nMODELSCOPE_ENDPOINT=https://www.modelscope.cn\n'
        "MODELSCOPE_DOMAIN=www.modelscope.cn\n"
    )
    assert "export HF_ENDPOINT=https://hf-mirror.com\n" in machine.files[mirrors.PROFILE]
    assert machine.files["/etc/apt/sources.list"] == DEBIAN.replace("deb.debian.org", "mirror.example")
    assert machine.files["/usr/local/share/ca-certificates/npuctl.crt"] == CERTIFICATE
    again = machine.provision(wish(EVERYTHING))
    assert not again.writes
    assert works(machine, wish(EVERYTHING)) == []
    machine.provision(wish(EVERYTHING, removing=True))
    assert machine.files == THERE


def test_a_file_that_was_there_empty_is_there_empty_again() -> None:
    """openEuler ships /etc/environment without a line in it."""
    there = {"/etc/environment": "", "/etc/docker/daemon.json": "{}\n"}
    machine = Machine(there)
    machine.provision(wish({"preset": "china"}))
    assert "HF_ENDPOINT" in machine.files["/etc/environment"]
    machine.provision(wish(None))
    assert machine.files == there


def test_a_key_that_leaves_the_spec_is_taken_back_alone() -> None:
    machine = Machine(THERE)
    machine.provision(wish(EVERYTHING))
    machine.provision(wish({**EVERYTHING, "pip": None, "apt": None}))
    assert machine.files["/etc/pip.conf"] == THERE["/etc/pip.conf"]
    assert machine.files["/etc/apt/sources.list"] == DEBIAN
    assert "hf-mirror" in machine.files["/etc/environment"]


def test_without_mirrors_nothing_is_set_and_nothing_asked_of_the_files() -> None:
    machine = Machine(THERE)
    assert not machine.provision(wish(None)).changes
    assert mirrors.questions(wish(None)).files == {proxy.ENVIRONMENT_FILE, proxy.DROP_IN}
    assert works(machine, wish(None)) == []


def test_what_is_set_was_asked_for() -> None:
    machine = Machine({**THERE, "/etc/yum.repos.d/a.repo": "[a]\nbaseurl=http://deb.debian.org/x\n"})
    everything = wish({**EVERYTHING, "yum": EVERYTHING["apt"]}, proxy={"http": "http://proxy.example:3128"})
    asked = mirrors.questions(everything).files
    for setting in mirrors.settings(everything, machine.node()):
        assert setting.file in asked or setting.file.rpartition("/")[0] + "/" in asked


def test_for_the_login_user_pip_and_git_are_set_in_his_home() -> None:
    wanted = wish({"preset": "china", "scope": "user"})
    files = {setting.file for setting in mirrors.settings(wanted, Machine().node())}
    assert {"~ops/.config/pip/pip.conf", "~ops/.gitconfig"} <= files
    assert not {"/etc/pip.conf", "/etc/gitconfig"} & files
    assert {"~ops/.config/pip/pip.conf", "~ops/.gitconfig"} <= mirrors.questions(wanted).files


def test_another_scope_moves_what_was_set() -> None:
    machine = Machine({"/etc/pip.conf": "[global]\ntimeout = 5\n"})
    machine.provision(wish({"preset": "china"}))
    machine.provision(wish({"preset": "china", "scope": "user"}))
    assert machine.files["/etc/pip.conf"] == "[global]\ntimeout = 5\n"
    assert "tuna" in machine.files["~ops/.config/pip/pip.conf"]


def test_a_mirror_for_the_mirror_is_found_from_the_first_address() -> None:
    machine = Machine(THERE)
    machine.provision(wish({"apt": {"http://deb.debian.org/": "http://one.example/"}}))
    machine.provision(wish({"apt": {"http://deb.debian.org/": "http://two.example/"}}))
    assert machine.files["/etc/apt/sources.list"] == DEBIAN.replace("deb.debian.org", "two.example")
    machine.provision(wish(None))
    assert machine.files["/etc/apt/sources.list"] == DEBIAN


def test_what_somebody_else_adds_to_the_sources_stays() -> None:
    machine = Machine(THERE)
    wanted = wish({"apt": {"http://deb.debian.org/": "http://one.example/"}})
    machine.provision(wanted)
    machine.files["/etc/apt/sources.list"] += "deb http://deb.debian.org/debian bookworm-updates main\n"
    machine.provision(wanted)
    assert "deb.debian.org" not in machine.files["/etc/apt/sources.list"]
    machine.provision(wish(None))
    assert machine.files["/etc/apt/sources.list"] == (
        DEBIAN + "deb http://deb.debian.org/debian bookworm-updates main\n"
    )


def test_the_longest_prefix_decides() -> None:
    machine = Machine(THERE)
    machine.provision(
        wish({"apt": {"http://deb.debian.org/": "http://a/", "http://deb.debian.org/debian-s": "http://b/s"}})
    )
    assert machine.files["/etc/apt/sources.list"] == (
        "deb http://a/debian bookworm main\ndeb http://b/security bookworm-security main\n"
    )


def test_a_repository_of_dnf_asks_its_mirror_and_nobody_before_it() -> None:
    """openEuler's own files name a metalink, which dnf asks before the base address."""
    text = (
        "[OS]\nname=OS\nbaseurl=http://repo.openeuler.org/openEuler-24.03-LTS/OS/$basearch/\n"
        "metalink=https://mirrors.openeuler.org/metalink?repo=$releasever/OS&arch=$basearch\nmetadata_expire=1h\nenabled=1\n"
        "gpgcheck=1\ngpgkey=http://repo.openeuler.org/openEuler-24.03-LTS/OS/$basearch/RPM-GPG-KEY-openEuler\n"
    )
    machine = Machine({"/etc/yum.repos.d/openEuler.repo": text}, packages_by="dnf", os_id="openEuler")
    wanted = wish({"yum": {"http://repo.openeuler.org/": "https://mirror.example/openeuler/"}})
    machine.provision(wanted)
    after = machine.files["/etc/yum.repos.d/openEuler.repo"]
    assert after == text.replace("http://repo.openeuler.org/", "https://mirror.example/openeuler/").replace(
        "metalink=https://mirrors.openeuler.org/metalink?repo=$releasever/OS&arch=$basearch", "metalink="
    )
    assert not machine.provision(wanted).writes
    machine.provision(wish(None))
    assert machine.files["/etc/yum.repos.d/openEuler.repo"] == text


def test_a_prefix_that_no_source_has_is_said() -> None:
    machine = Machine(THERE)
    notes = [
        note
        for work in works(machine, wish({"apt": {"https://deb.debian.org/": "https://x/"}}))
        for note in work.notes
    ]
    assert notes == ["mirrors.apt: no source of this node begins with https://deb.debian.org/"]
    machine.provision(wish({"apt": {"http://deb.debian.org/": "http://x/"}}))
    assert works(machine, wish({"apt": {"http://deb.debian.org/": "http://x/"}})) == []


def test_docker_is_left_alone_where_it_is_not() -> None:
    machine = Machine(programs={})
    wanted = wish({"preset": "china"}, proxy={"http": "http://proxy.example:3128"})
    assert not [s for s in mirrors.settings(wanted, machine.node()) if "docker" in s.file]
    assert [note for work in works(machine, wanted) for note in work.notes] == [
        "Docker is not here: its mirrors and its proxy are not set (container_engine: {} installs it)"
    ]
    installed = wish({"preset": "china"}, container_engine={})
    assert "/etc/docker/daemon.json" in {s.file for s in mirrors.settings(installed, machine.node())}


def test_git_is_told_of_once_and_the_other_is_said() -> None:
    machine = Machine(
        {"/etc/gitconfig": '[url "https://mine.example/"]\n\tinsteadOf = https://github.com/\n'}
    )
    (work,) = works(machine, wish({"preset": "china"}))
    assert work.notes == (
        "/etc/gitconfig: https://github.com/ is rewritten to https://mine.example/ as well",
    )


def test_a_modelscope_without_tls_is_for_its_newer_package_only() -> None:
    wanted = wish({"modelscope": "http://10.0.0.5:8000"})
    values = {
        s.key: s.value for s in mirrors.settings(wanted, Machine().node()) if s.file == "/etc/environment"
    }
    assert values == {"MODELSCOPE_ENDPOINT": "http://10.0.0.5:8000"}
    assert "modelscope_hub" in works(Machine(), wanted)[0].notes[0]


@pytest.mark.parametrize(
    ("by", "folder", "program"),
    [
        ("apt", "/usr/local/share/ca-certificates", "update-ca-certificates"),
        ("dnf", "/etc/pki/ca-trust/source/anchors", "update-ca-trust"),
        ("yum", "/etc/pki/ca-trust/source/anchors", "update-ca-trust"),
    ],
)
def test_a_certificate_goes_where_the_family_keeps_them(by: str, folder: str, program: str) -> None:
    machine = Machine(packages_by=by, programs={program: f"/usr/bin/{program}"})
    two = wish(
        {"ca": "ca.crt"},
        local={"ca.crt": LocalFile("ca.crt", text=f"# root\n{CERTIFICATE}\r\n{CERTIFICATE}")},
    )
    (work,) = works(machine, two)
    made = work.variables["package_mirror_trust"]
    assert made["command"][0] == f"/usr/bin/{program}"
    assert made["certificates"] == [f"{folder}/npuctl-2.crt", f"{folder}/npuctl.crt"]
    assert made["link"] == CA_BUNDLE
    machine.provision(two)
    assert machine.files == dict.fromkeys(made["certificates"], CERTIFICATE)


def test_the_store_is_made_anew_where_the_last_run_did_not_come_to_it() -> None:
    machine, wanted = Machine(), wish({"ca": "ca.crt"})
    machine.provision(wanted)
    assert works(machine, wanted) == []
    del machine.records[trust.RECORD]
    assert works(machine, wanted)[0].changes[0].wanted == "with that of mirrors.ca"


def test_the_store_loses_the_certificate_again() -> None:
    machine, wanted = Machine(), wish({"ca": "ca.crt"})
    machine.provision(wanted)
    (work,) = works(machine, replace(wanted, removing=True))
    assert work.variables["package_mirror_trust"]["note"] == ""
    assert work.variables["package_mirror_trust"]["command"][1:] == ["--fresh"]
    assert work.changes[0].wanted == "the distribution's"


def test_no_program_for_certificates_refuses() -> None:
    (work,) = works(Machine(programs={}), wish({"ca": "ca.crt"}))
    assert [finding.id for finding in work.findings] == ["provision.ca_store"]
    assert not work.changes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no certificate"),
        ("-----BEGIN PUBLIC KEY-----\nMII=\n-----END PUBLIC KEY-----\n", "no certificate"),
        (CERTIFICATE + "-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n", "private key"),
    ],
)
def test_a_file_that_is_no_certificate_is_refused(text: str, says: str) -> None:
    (problem,) = mirrors.problems(wish({"ca": "ca.crt"}, local={"ca.crt": LocalFile("ca.crt", text=text)}))
    assert says in problem.message
    assert problem.where == f"{FILE}: npuctl_cluster.mirrors.ca"


PROXY = {"http": "http://proxy.example:3128", "https": {"secret": "way_out"}, "no_proxy": ["10.0.0.0/8"]}
SECRETS = {"way_out": "http://me:pass'word@proxy.example:3128"}


def test_dockers_proxy_stands_in_a_file_that_the_drop_in_names() -> None:
    machine, wanted = Machine(), wish(None, proxy=PROXY, secrets=SECRETS)
    (drop_in,) = mirrors.settings(wanted, machine.node())
    assert drop_in.value == "[Service]\nEnvironmentFile=-/etc/docker/npuctl-proxy.env\n"
    file = proxy.environment_file(wanted, machine.node())
    assert file
    assert file.environment
    assert file.environment.plain == {
        "HTTP_PROXY": "http://proxy.example:3128",
        "NO_PROXY": "localhost,127.0.0.1,::1,10.0.0.0/8",
    }
    assert file.environment.secret == {"HTTPS_PROXY": "way_out"}
    assert "pass" not in repr(file)
    assert "pass" not in repr(wanted)


def test_dockers_proxy_changes_with_its_secret_only() -> None:
    wanted = wish(None, proxy=PROXY, secrets=SECRETS)
    text = (
        "HTTPS_PROXY='http://me:pass'\"'\"'word@proxy.example:3128'\nHTTP_PROXY=http://proxy.example:3128\n"
        "NO_PROXY=localhost,127.0.0.1,::1,10.0.0.0/8\n"
    )
    there = TextFile(path=proxy.ENVIRONMENT_FILE, text=text, mode="0600")

    def changes(wanted: Wish, there: TextFile) -> bool:
        now = Machine().node()
        setup = now.setup.model_copy(update={"files": {proxy.ENVIRONMENT_FILE: there}})
        return proxy.environment_file(wanted, replace(now, setup=setup)) is not None

    assert not changes(wanted, there)
    assert changes(replace(wanted, secrets={"way_out": "http://other"}), there)
    assert changes(wanted, there.model_copy(update={"mode": "0644"}))
    assert changes(replace(wanted, removing=True), there)
    assert not changes(replace(wanted, removing=True), TextFile(path=proxy.ENVIRONMENT_FILE, absent=True))
