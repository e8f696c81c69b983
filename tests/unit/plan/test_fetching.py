"""Where engine containers fetch from: as their nodes, unless the service says otherwise."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from npuctl.plan.build import build_plan
from npuctl.plan.fetching import CA_BUNDLE
from npuctl.plan.model import Mount, Plan
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, cluster_text, facts_of, node, service_data

IN_CONTAINER = "/run/npuctl/ca-bundle.pem"
SECRETS = {"way_out": "http://me:word@proxy.example:3128", "other": "http://other"}


def planned(service: dict[str, Any] | None = None, **cluster: Any) -> Plan:
    spec = parse_cluster(cluster_text(service_data(**(service or {})), **cluster), file=FILE)
    return build_plan(spec, {"chat": ["node-1"]}, facts_of(node_1=node()), SECRETS, file=FILE)


def env(service: dict[str, Any] | None = None, **cluster: Any) -> dict[str, str]:
    return planned(service, **cluster).replicas[0].container.env


def test_a_preset_reaches_the_container() -> None:
    made = env(mirrors={"preset": "china"})
    assert made["PIP_INDEX_URL"] == "https://mirrors.tuna.tsinghua.edu.cn/pypi/web/simple"
    assert made["PIP_EXTRA_INDEX_URL"] == "https://mirrors.huaweicloud.com/ascend/repos/pypi"
    assert made["HF_ENDPOINT"] == "https://hf-mirror.com"
    assert made["MODELSCOPE_ENDPOINT"] == "https://www.modelscope.cn"
    assert made["MODELSCOPE_DOMAIN"] == "www.modelscope.cn"
    assert made["GIT_CONFIG_COUNT"] == "1"


def test_git_takes_its_variables(tmp_path: Path) -> None:
    made = env(
        mirrors={
            "preset": "china",
            "git": {"https://a.example/": "https://b.example/", "https://c/": "https://d/"},
        }
    )
    git = {name: value for name, value in made.items() if name.startswith("GIT_")}
    answer = subprocess.run(
        ["git", "ls-remote", "--get-url", "https://a.example/x.git"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**git, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert answer.stdout.strip() == "https://b.example/x.git"


@pytest.mark.parametrize("cluster", [{}, {"mirrors": {}}, {"mirrors": {"preset": "none"}}])
def test_without_mirrors_a_container_is_planned_as_before(cluster: dict[str, Any]) -> None:
    assert planned(**cluster).replicas[0].container == planned().replicas[0].container
    assert not {"HF_ENDPOINT", "NO_PROXY", "SSL_CERT_FILE"} & set(env(**cluster))


def test_what_the_service_sets_itself_stays() -> None:
    own = {"HF_ENDPOINT": "https://mine", "GIT_CONFIG_COUNT": "0", "MODELSCOPE_DOMAIN": "mine.example"}
    made = env({"env": own}, mirrors={"preset": "china"})
    assert {name: made[name] for name in own} == own
    assert "PIP_INDEX_URL" in made
    assert not {"GIT_CONFIG_KEY_0", "MODELSCOPE_ENDPOINT"} & set(made)


def test_a_certificate_is_trusted_beside_the_public_ones() -> None:
    container = planned(mirrors={"ca": "ca.crt"}).replicas[0].container
    assert Mount(CA_BUNDLE, IN_CONTAINER, read_only=True) in container.mounts
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO"):
        assert container.env[name] == IN_CONTAINER


def test_a_proxy_is_known_by_both_spellings_and_never_for_the_node_itself() -> None:
    made = env(proxy={"http": "http://p.example:3128", "no_proxy": ["10.0.0.0/8"]})
    assert made["http_proxy"] == made["HTTP_PROXY"] == "http://p.example:3128"
    assert made["no_proxy"] == made["NO_PROXY"] == "localhost,127.0.0.1,::1,10.0.0.0/8"
    assert "HTTPS_PROXY" not in made


def test_a_secret_proxy_goes_by_the_file_of_secrets() -> None:
    plan = planned(proxy={"https": {"secret": "way_out"}})
    replica = plan.replicas[0]
    (file,) = [file for file in replica.files if file.secret_env]
    assert file.secret_env == {"HTTPS_PROXY": "way_out", "https_proxy": "way_out"}
    assert "HTTPS_PROXY" not in replica.container.env
    assert replica.container.env["NO_PROXY"]
    assert "me:word" not in str(plan.to_json())


@pytest.mark.parametrize(
    "own", [{"env": {"https_proxy": "http://mine"}}, {"secret_env": {"HTTPS_PROXY": {"secret": "other"}}}]
)
def test_a_services_own_proxy_stays(own: dict[str, Any]) -> None:
    replica = planned(own, proxy={"https": {"secret": "way_out"}}).replicas[0]
    secrets = {name: secret for file in replica.files for name, secret in file.secret_env.items()}
    assert "way_out" not in secrets.values()
