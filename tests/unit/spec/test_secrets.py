"""A secret that was written into the spec itself is refused, and not repeated."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.spec.parse import SpecError, parse_cluster
from npuctl.spec.secrets import masked, secret_names
from tests.making import FILE, cluster_text, service_data

CANARY = "canary-spec-7a"
LOGIN = {"username": "me", "password": {"secret": "pull"}}


@pytest.mark.parametrize(
    "more",
    [
        {"proxy": {"http": f"http://me:{CANARY}@proxy:80"}},
        {"proxy": {"http": f"http://me:{CANARY}/b@c@proxy:80"}},
        {"proxy": {"http": {"secret": f"{CANARY} !"}}},
        {"proxy": {"http": [CANARY]}},
        {"proxy": f"http://me:{CANARY}@proxy"},
        {"registries": {"quay.io": {"username": "me", "password": CANARY}}},
        {"registries": {"quay.io": {"username": "me", "password": {"secret": CANARY}}}},
        {"registries": {"quay.io": {"username": "me", "password": {"secrets": CANARY}}}},
        {"registries": {"quay.io": {"username": "me", "password": {"secret": "a", "value": CANARY}}}},
        {"registries": {"quay.io": CANARY}},
        {"registries": {f"https://me:{CANARY}@quay.io": LOGIN}},
        {"hub_tokens": {"huggingface": CANARY}},
        {"hub_tokens": {"modelscope": 7}},
        {"hub_tokens": CANARY},
        {"mirrors": {"pip": {"index": f"https://me:{CANARY}@host/simple"}}},
        {"mirrors": {"pip": {"index": f"https://{CANARY}@host/simple"}}},
        {"mirrors": {"git": {f"https://me:{CANARY}@host/": "https://other"}}},
        {"mirrors": {"git": {"https://host/": f"https://me:{CANARY}@other/"}}},
        {"mirrors": {"docker": {"images": {"quay.io": f"me:{CANARY}@host/x"}}}},
        {"mirrors": {"docker": {"registry_mirrors": [f"https://me:{CANARY}@host"]}}},
        {"mirrors": {"huggingface": f"https://me:{CANARY}@host/{{{{ x }}}}"}},
        {"service": {"api_key": CANARY}},
        {"service": {"api_key": [CANARY]}},
        {"service": {"secret_env": {"HF_TOKEN": CANARY}}},
        {"service": {"secret_env": CANARY}},
    ],
    ids=str,
)
def test_a_secret_in_the_spec_is_refused_and_not_repeated(more: dict[str, Any]) -> None:
    own = service_data(**more.get("service", {}))
    text = cluster_text(own, **{key: value for key, value in more.items() if key != "service"})
    with pytest.raises(SpecError) as caught:
        parse_cluster(text, file=FILE)
    assert CANARY not in str(caught.value)
    assert CANARY not in str(caught.value.as_data())


def test_what_is_wrong_is_still_said() -> None:
    text = cluster_text(
        service_data(), proxy={"http": "http://me:word@proxy:80"}, hub_tokens={"modelscope": "x"}
    )
    with pytest.raises(SpecError) as caught:
        parse_cluster(text, file=FILE)
    shown = str(caught.value)
    assert "http://***@proxy:80" in shown
    assert "npuctl_cluster.hub_tokens.modelscope: this is no reference to a secret" in shown
    assert "write {secret: NAME}" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:word@host/x", "https://***@host/x"),
        (
            "see https://me:w/o@rd@host:80 and http://token@other",
            "see https://***@host:80 and http://***@other",
        ),
        ("quay.io/x@sha256:0", "quay.io/x@sha256:0"),
        ("https://host/x", "https://host/x"),
        ("me@host", "me@host"),
    ],
)
def test_logins_in_addresses_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_every_secret_that_a_spec_names_is_found() -> None:
    spec = parse_cluster(
        cluster_text(
            service_data(api_key={"secret": "a"}, secret_env={"HF_TOKEN": {"secret": "b"}}),
            registries={"quay.io": LOGIN},
            hub_tokens={"huggingface": {"secret": "c"}},
            proxy={"https": {"secret": "d"}},
        ),
        file=FILE,
    )
    assert dict(secret_names(spec)) == {
        "services[0].api_key": "a",
        "services[0].secret_env.HF_TOKEN": "b",
        "registries.quay.io.password": "pull",
        "hub_tokens.huggingface": "c",
        "proxy.https": "d",
    }
