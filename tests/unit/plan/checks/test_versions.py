"""Version findings: when each is there, and that nothing is said where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from npuctl.facts.model import NodeFacts
from npuctl.facts.survey import CardFacts, DriverFiles, ImageFacts, Survey
from npuctl.plan.build import product_of
from npuctl.plan.checks import versions
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.checks.versions import _stack, driver_cann
from npuctl.plan.compatibility import OfficialImages, compatibility
from npuctl.plan.model import Finding
from tests.making import facts_of, node, plan_of, service_data, spec_of

OWN = "registry.example/team/engine:7"
FILES = DriverFiles(
    driver="25.5.2",
    firmware="7.8.0.7.220",
    compatible_firmware="[7.0.0,7.8.99]",
    compatible_driver="[25.0,25.0],[25.2,25.2],[25.5,25.5]",
)


def image(**changes: Any) -> ImageFacts:
    own: dict[str, Any] = {
        "reference": OWN,
        "id": f"sha256:{'a' * 64}",
        "architecture": "arm64",
        "cann": "8.5.1",
        "torch_npu": "2.9.0.post1+git4c901a4",
    }
    return ImageFacts(**(own | changes))


def survey(**changes: Any) -> Survey:
    cards = [CardFacts(npu=0, driver_version="25.5.2", firmware_version="7.8.0.7.220", compatibility="OK")]
    own: dict[str, Any] = {"cards": cards, "files": FILES, "images": [image()]}
    return Survey(**(own | changes))


def checked(
    spec: dict[str, Any] | None = None, *, network_required: bool = False, **nodes: NodeFacts
) -> Checked:
    facts = facts_of(**nodes)
    names = list(facts.nodes)
    own = {"image": OWN, "hosts": names, "replicas": len(names), **(spec or {})}
    parsed = spec_of(service_data(**{key: value for key, value in own.items() if value is not None}))
    replicas = plan_of(parsed, facts).replicas
    return Checked(
        spec=parsed,
        nodes=tuple(
            CheckedNode(
                name,
                found,
                product_of(found),
                replicas=tuple(replica for replica in replicas if replica.node == name),
            )
            for name, found in facts.nodes.items()
        ),
        network_required=network_required,
    )


def told(spec: dict[str, Any] | None = None, product: str = "a2", **changes: Any) -> list[Finding]:
    return list(versions.findings(checked(spec, node_1=node(product, **({"survey": survey()} | changes)))))


def ids(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.id, finding.severity) for finding in findings]


def test_a_healthy_node_has_nothing_to_say() -> None:
    assert told() == []


@pytest.mark.parametrize("product", ["a2", "a3", "310p"])
def test_an_official_image_that_nobody_looked_into_has_nothing_to_say(product: str) -> None:
    assert told({"image": None}, product, survey=None) == []


# Driver and CANN


def test_a_driver_that_is_too_old_for_the_image_is_refused_with_rule_and_source() -> None:
    (finding,) = told(driver_running="24.1.0", survey=survey(files=DriverFiles()))
    assert (finding.id, finding.severity) == ("version.driver_cann", "error")
    assert finding.seen == "driver 24.1.0 with CANN 8.5.1 (in the image)"
    assert "cann-8.5-needs-hdk-25.0" in finding.expected
    assert "release notes of CANN 8.5.0" in finding.expected


def test_the_driver_that_runs_counts_before_the_one_on_disk() -> None:
    assert told(driver_running="25.5.2", driver_on_disk="24.1.0") == []
    assert ids(told(driver_running="", driver_on_disk="24.1.0", survey=survey(files=DriverFiles()))) == [
        ("version.driver_cann", "error")
    ]


def test_without_a_look_into_an_official_image_its_table_counts_and_the_finding_says_so() -> None:
    (finding,) = told({"image": None, "version": "v0.17.0rc1"}, driver_running="24.1.0", survey=None)
    assert finding.id == "version.driver_cann"
    assert "CANN 8.5.1 (by the table of v0.17.0rc1; the image was not looked into)" in finding.seen


@pytest.mark.parametrize(
    "reference",
    [
        "m.daocloud.io/quay.io/ascend/vllm-ascend:v0.17.0rc1",
        "quay.nju.edu.cn/ascend/vllm-ascend:v0.17.0rc1-openeuler",
    ],
)
def test_an_official_image_from_a_mirror_is_known_too(reference: str) -> None:
    spec = {"image": reference, "version": "v0.17.0rc1"}
    assert ids(told(spec, driver_running="24.1.0", survey=None)) == [("version.driver_cann", "error")]


@pytest.mark.parametrize(
    "reference",
    [
        OWN,
        "team/vllm-ascend:v0.17.0rc1",
        "quay.io/ascend/vllm-ascend:v0.17.0rc10",
        "quay.io/ascend/vllm-ascend:nightly-main",
    ],
)
def test_of_an_image_that_is_not_official_nothing_is_guessed(reference: str) -> None:
    spec = {"image": reference, "version": "v0.17.0rc1"}
    assert told(spec, driver_running="24.1.0", survey=None) == []


def test_an_image_that_was_built_anew_is_refused_only_when_both_builds_are() -> None:
    official: dict[str, Any] = {"image": None, "version": "v0.18.0"}
    (finding,) = told(official, driver_running="24.1.0", survey=None)
    assert "CANN 8.5.1 or 9.0.0" in finding.seen
    assert told(official, driver_running="26.0.rc1", survey=None) == []  # listed for the newer of them


def test_of_two_builds_one_that_works_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    also = OfficialImages(releases=("v0.17.0rc1",), source="a test", cann=("9.1.0",))
    known = replace(compatibility(), images=(also,))
    for module in (_stack, driver_cann):
        monkeypatch.setattr(module, "compatibility", lambda: known)
    spec = {"image": None, "version": "v0.17.0rc1"}
    assert told(spec, driver_running="25.0.rc1", survey=None) == []  # refused with 9.1.0 only
    assert ids(told(spec, driver_running="24.1.0", survey=None)) == [("version.driver_cann", "error")]


def test_a_pair_in_no_table_is_a_warning_that_names_the_tables() -> None:
    (finding,) = told(driver_running="26.0.rc1")
    assert (finding.id, finding.severity) == ("version.unlisted", "warning")
    assert "25.5" in finding.expected
    assert "CANN 8.5.0" in finding.expected


def test_a_pair_that_was_seen_at_work_is_still_a_warning() -> None:
    spec = {"image": None, "version": "v0.11.0"}
    (finding,) = told(spec, driver_running="25.2.0", survey=None)
    assert (finding.id, finding.severity) == ("version.unlisted", "warning")
    assert "reported to run" in finding.seen


@pytest.mark.parametrize(
    "changes", [{"driver_running": "", "driver_on_disk": ""}, {"survey": survey(images=[image(cann="")])}]
)
def test_what_could_not_be_read_is_not_judged(changes: dict[str, Any]) -> None:
    assert told(**changes) == []


# Firmware


@pytest.mark.parametrize(
    ("driver", "firmware", "for_driver", "for_firmware", "found"),
    [
        ("25.5.2", "7.8.0.7.220", "[7.0.0,7.8.99]", "[25.5,25.5]", False),
        ("25.5.2", "7.8.99.1.220", "[7.0.0,7.8.99]", "", False),
        ("25.5.2", "7.9.0.1.220", "[7.0.0,7.8.99]", "", True),
        ("25.5.2", "6.4.12.1", "[7.0.0,7.8.99]", "", True),
        ("25.5.2", "9.0.0.1", "[7.0.0,7.8.99],[9.0.0,9.0.99]", "", False),
        # A real pair: mind-cluster's fixtures.
        ("23.0.7", "7.1.0.11.220", "[7.0.0,7.1.99]", "[23.0.rc3,23.0.rc3.],[23.0.0,23.0.0.]", False),
        ("22.0.4", "7.1.0.11.220", "", "[23.0.rc3,23.0.rc3.],[23.0.0,23.0.0.]", True),
        ("25.5.2", "7.1.0.11.220", "", "[23.0.rc3,23.0.rc3.]", False),
        ("25.5.2", "", "[7.0.0,7.8.99]", "", False),
        ("25.5.2", "7.8.0.7.220", "", "", False),
        ("25.5.2", "unknown", "[7.0.0,7.8.99]", "", False),
    ],
)
def test_driver_and_firmware_by_the_ranges_of_their_files(
    driver: str, firmware: str, for_driver: str, for_firmware: str, *, found: bool
) -> None:
    files = DriverFiles(compatible_firmware=for_driver, compatible_driver=for_firmware)
    cards = [CardFacts(npu=0, firmware_version=firmware)]
    findings = told(driver_running=driver, survey=survey(files=files, cards=cards, images=[]))
    assert ids(findings) == ([("version.firmware", "error")] if found else [])


def test_the_firmware_on_disk_counts_where_the_cards_do_not_say() -> None:
    files = FILES.model_copy(update={"firmware": "9.0.0.0.205"})
    assert ids(told(survey=survey(files=files, cards=[]))) == [("version.firmware", "error")]
    assert told(survey=survey(files=files)) == []


# The image


def test_another_cann_than_the_releases() -> None:
    (finding,) = told(survey=survey(images=[image(cann="8.5.0")]))
    assert (finding.id, finding.severity) == ("version.image_cann", "warning")
    assert "CANN 8.5.1 or 9.0.0" in finding.expected


@pytest.mark.parametrize("torch_npu", ["2.9.0.post1", "2.9.0.post1+other", "2.9.0.post2", ""])
def test_a_torch_npu_of_the_release_whatever_its_build(torch_npu: str) -> None:
    assert told(survey=survey(images=[image(torch_npu=torch_npu)])) == []


def test_another_torch_npu_than_the_releases() -> None:
    findings = told(survey=survey(images=[image(torch_npu="2.9.0")]))
    assert ids(findings) == [("version.torch_npu", "warning")]


@pytest.mark.parametrize(
    ("product", "changes", "spec"),
    [
        ("a3", {"soc_version": "ascend910b1"}, {}),
        ("a2", {"soc_version": "ascend910_9391"}, {}),
        ("a2", {"architecture": "amd64"}, {}),
    ],
)
def test_an_image_for_another_product_or_architecture(
    product: str, changes: dict[str, Any], spec: dict[str, Any]
) -> None:
    (finding,) = told(spec, product, survey=survey(images=[image(**changes)]))
    assert (finding.id, finding.severity) == ("version.product", "error")


@pytest.mark.parametrize(
    ("product", "suffix", "found"),
    [
        ("a2", "-a3", True),
        ("a2", "-310p-openeuler", True),
        ("a3", "", True),
        ("a3", "-a3-openeuler", False),
        ("a2", "-openeuler", False),
        ("a2", "-deepseek-v3.2-exp", False),
    ],
)
def test_an_official_tag_says_for_which_product_it_is(product: str, suffix: str, *, found: bool) -> None:
    spec = {"image": f"quay.io/ascend/vllm-ascend:v0.18.0{suffix}"}
    assert ids(told(spec, product, survey=None)) == ([("version.product", "error")] if found else [])


def test_the_images_own_word_counts_before_its_tag() -> None:
    reference = "quay.io/ascend/vllm-ascend:v0.18.0-a3"
    looked_at = image(reference=reference, soc_version="ascend910b1")
    assert told({"image": reference}, survey=survey(images=[looked_at])) == []


def test_a_release_from_before_the_product_had_images() -> None:
    findings = told({"image": None, "version": "v0.9.1"}, "a3", survey=None, driver_running="25.2.0")
    assert ids(findings) == [("version.product", "error")]


@pytest.mark.parametrize("architecture", ["riscv64", ""])
def test_an_architecture_that_is_not_known_is_not_judged(architecture: str) -> None:
    assert told(survey=survey(images=[image(architecture=architecture)])) == []


# Floors


@pytest.mark.parametrize(
    ("args", "version", "found"),
    [
        ({"compilation-config": {"cudagraph_mode": "FULL_AND_PIECEWISE"}}, "v0.18.0", True),
        ({"compilation_config": '{"cudagraph_mode": "FULL_AND_PIECEWISE"}'}, "v0.18.0", True),
        ({"--compilation-config.cudagraph_mode": "FULL_AND_PIECEWISE"}, "v0.18.0", True),
        ({"compilation-config": {"cudagraph_mode": "PIECEWISE"}}, "v0.21.0rc1", False),
        ({"compilation-config": "{broken"}, "v0.18.0", False),
        ({}, "v0.18.0", False),
        ({}, "v0.21.0rc1", True),
        ({"enforce-eager": True}, "v0.21.0rc1", False),
    ],
)
def test_a_graph_mode_needs_its_driver(args: dict[str, Any], version: str, *, found: bool) -> None:
    spec = {"args": args, "version": version}
    findings = told(spec, driver_running="25.2.0", survey=survey(images=[]))
    assert ids(findings) == ([("version.floor", "warning")] if found else [])
    assert told(spec, driver_running="25.5.1", survey=survey(images=[])) == []


def test_fabric_memory_needs_its_cann_on_the_product_that_has_it() -> None:
    spec = {"env": {"ASCEND_ENABLE_USE_FABRIC_MEM": 1}}
    (finding,) = told(spec, "a3")
    assert (finding.id, finding.severity) == ("version.floor", "error")
    assert "CANN 8.5.1" in finding.seen
    assert "kv_pool.md" in finding.expected
    assert told(spec, "a2") == []
    assert told({"env": {"ASCEND_ENABLE_USE_FABRIC_MEM": 0}}, "a3") == []


def test_memfabric_is_found_wherever_it_stands_in_the_transfer_config() -> None:
    inner = {
        "kv_connector": "SfaRemoteD2HConnector",
        "kv_connector_extra_config": {"transfer_backend": "memfabric"},
    }
    transfer = {"kv_connector": "MultiConnector", "kv_connector_extra_config": {"connectors": [inner]}}
    spec = {"args": {"kv-transfer-config": transfer}}
    assert ids(told(spec, "a3", driver_running="25.3.rc1")) == [("version.floor", "error")]


# The nodes of a service


def three(*, network_required: bool = False, **of_node_2: Any) -> list[Finding]:
    nodes = [node(survey=survey()), node(**({"survey": survey()} | of_node_2)), node(survey=survey())]
    named = {f"node_{number}": found for number, found in enumerate(nodes, 1)}
    return list(versions.findings(checked(None, network_required=network_required, **named)))


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("driver", {"driver_running": "25.2.0"}),
        ("firmware", {"survey": survey(cards=[CardFacts(npu=0, firmware_version="7.8.0.5.216")])}),
        ("image", {"survey": survey(images=[image(id=f"sha256:{'b' * 64}")])}),
    ],
)
@pytest.mark.parametrize(("network_required", "severity"), [(False, "warning"), (True, "error")])
def test_one_node_that_differs_is_named(
    what: str, changes: dict[str, Any], *, network_required: bool, severity: str
) -> None:
    (finding,) = three(network_required=network_required, **changes)
    assert (finding.id, finding.severity, finding.node) == ("version.nodes_differ", severity, "node-2")
    assert finding.seen.startswith(what)
    assert "as on node-1, node-3" in finding.expected


def test_of_two_nodes_the_older_driver_is_the_odd_one() -> None:
    nodes: dict[str, Any] = {
        "node_1": node(survey=survey(), driver_running="25.2.0"),
        "node_2": node(survey=survey()),
    }
    (finding,) = versions.findings(checked(**nodes))
    assert (finding.node, finding.seen) == ("node-1", "driver 25.2.0")


def test_one_cause_is_told_once() -> None:
    no_ranges = survey(files=DriverFiles())
    assert ids(three(driver_running="24.1.0", survey=no_ranges)) == [("version.driver_cann", "error")]
    assert ids(three(driver_running="26.0.rc1")) == [("version.unlisted", "warning")]
    assert ids(three(survey=survey(images=[image(id="sha256:b", soc_version="ascend950")]))) == [
        ("version.product", "error")
    ]


def test_a_warning_does_not_hide_that_nodes_differ_where_that_is_an_error() -> None:
    assert ids(three(network_required=True, driver_running="26.0.rc1")) == [
        ("version.unlisted", "warning"),
        ("version.nodes_differ", "error"),
    ]


def test_a_node_with_a_finding_is_no_measure_for_the_others() -> None:
    nodes: dict[str, Any] = {
        "node_1": node(survey=survey(), driver_running="26.0.rc1"),
        "node_2": node(survey=survey()),
    }
    assert [(f.id, f.node) for f in versions.findings(checked(**nodes))] == [("version.unlisted", "node-1")]


def test_nodes_of_other_products_and_of_other_services_are_not_compared() -> None:
    mixed = checked(
        {"image": None},
        node_1=node(survey=survey(images=[]), driver_running="25.5.2"),
        node_2=node("a3", survey=survey(images=[]), driver_running="25.5.1"),
    )
    assert list(versions.findings(mixed)) == []
    alone = checked(node_1=node(survey=survey()), node_2=node(survey=survey(), driver_running="25.2.0"))
    first, second = alone.nodes
    assert list(versions.findings(replace(alone, nodes=(first, replace(second, replicas=()))))) == []


def test_two_replicas_on_a_node_say_it_once() -> None:
    findings = told({"replicas": 4}, driver_running="24.1.0", survey=survey(files=DriverFiles()))
    assert ids(findings) == [("version.driver_cann", "error")]


def test_every_finding_says_what_to_do() -> None:
    for finding in (*told(driver_running="24.1.0"), *three(driver_running="25.2.0")):
        assert finding.remedy
        assert finding.service in {"chat", ""}
