"""cluster.yml → spec: every kind of mistake, where it stands, what was found, what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from npuctl.spec.parse import Problem, SpecError, dotted, parse_cluster
from tests.making import cluster_text, service_data

FILE = "inventories/x/group_vars/all/cluster.yml"
GOOD = """\
npuctl_cluster:
  name: prod
  services:
    - name: chat
      engine: vllm
      version: v0.18.0
      model: {id: Qwen/Qwen3-0.6B, path: /data/m}
      hosts: serving
"""


def problems_of(text: str) -> list[Problem]:
    with pytest.raises(SpecError) as caught:
        parse_cluster(text, file=FILE)
    return caught.value.problems


def only_problem(text: str) -> Problem:
    problems = problems_of(text)
    assert len(problems) == 1, problems
    return problems[0]


def test_fifteen_lines_are_a_cluster() -> None:
    spec = parse_cluster(GOOD, file=FILE)
    assert (spec.name, spec.services[0].port, spec.services[0].replicas) == ("prod", 8000, 1)
    assert spec.services[0].topology.chips == 1


def test_the_spec_cannot_be_changed() -> None:
    spec = parse_cluster(GOOD, file=FILE)
    with pytest.raises(ValueError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("more", "where", "message", "hint"),
    [
        ("      prot: 1", ":9: npuctl_cluster.services[0].prot", "unknown key", "did you mean port?"),
        ("      port: 99999", ":9: npuctl_cluster.services[0].port", "(found 99999)", ""),
        ("      port: '8000'", ":9: npuctl_cluster.services[0].port", "integer (found '8000')", ""),
        ("      port: 8000.0", ":9: npuctl_cluster.services[0].port", "integer (found 8000.0)", ""),
        ("      replicas: 0", ":9: npuctl_cluster.services[0].replicas", "greater than or equal to 1", ""),
        ("      replicas: true", ":9: npuctl_cluster.services[0].replicas", "integer", ""),
        ("      cache: rel/ative", ":9: npuctl_cluster.services[0].cache", "absolute path", ""),
        ("      cache: /a/../b", ":9: npuctl_cluster.services[0].cache", "without '..'", ""),
        ("      cache: '/a,b'", ":9: npuctl_cluster.services[0].cache", "cannot stand in a path", ""),
        ("      mounts: [/a]", ":9: npuctl_cluster.services[0].mounts[0]", "SOURCE:TARGET", ""),
        ("      mounts: ['/a:/b:rx']", ":9: npuctl_cluster.services[0].mounts[0]", "SOURCE:TARGET", ""),
        ("      mounts: ['/a:b']", ":9: npuctl_cluster.services[0].mounts[0]", "absolute path", ""),
        ('      env: {A: "x\\ty"}', ":9: npuctl_cluster.services[0].env.A", "control characters", ""),
        ("      env: {A-B: x}", ":9: npuctl_cluster.services[0].env.A-B", "does not fit", "it must match"),
        ("      topology: {tensor_parallel: 0}", ".topology.tensor_parallel", "greater than", ""),
        ("      topology: {tensor_paralel: 2}", ".topology.tensor_paralel", "unknown key", "did you mean tensor_parallel?"),
        ("      chips: [0, 0]", "npuctl_cluster.services[0]", "names a chip twice", ""),
        ("      chips: [0, -1]", ":9: npuctl_cluster.services[0].chips[1]", "(found -1)", ""),
        ("      api_key: {secret: 'a b'}", ".api_key.secret", "does not fit", "it must match"),
        ("      api_key: {key: a}", ".api_key", "", ""),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_line_key_value_and_hint(
    more: str, where: str, message: str, hint: str
) -> None:
    problem = problems_of(GOOD + more + "\n")[0]
    assert where in problem.where
    assert problem.where.startswith(FILE + ":")
    assert message in problem.message
    assert hint in problem.hint


def test_chips_must_be_a_multiple_of_what_a_replica_needs() -> None:
    problem = only_problem(GOOD + "      topology: {tensor_parallel: 2}\n      chips: [0, 1, 2]\n")
    assert "a replica needs 2" in problem.message


def test_all_mistakes_come_at_once() -> None:
    text = (
        GOOD.replace("name: prod", "name: Prod").replace("hosts: serving", "host: serving")
        + "      port: 0\n"
    )
    where = " ".join(problem.where for problem in problems_of(text))
    for key in ("name", "services[0].host", "services[0].hosts", "services[0].port"):
        assert f"npuctl_cluster.{key}" in where


def test_the_error_counts_and_lists() -> None:
    error = SpecError([Problem("f:1: a", "is wrong", "write b"), Problem("f:2: c", "is missing")])
    assert str(error).splitlines() == [
        "the cluster spec has 2 problems; no node was touched",
        "  f:1: a: is wrong",
        "    hint: write b",
        "  f:2: c: is missing",
    ]
    assert error.exit_code == 2
    assert error.as_data()["code"] == "SpecError"
    assert error.as_data()["problems"] == [
        {"where": "f:1: a", "message": "is wrong", "hint": "write b"},
        {"where": "f:2: c", "message": "is missing", "hint": ""},
    ]


def test_a_missing_key_is_named_at_its_parent() -> None:
    problem = only_problem(GOOD.replace("      engine: vllm\n", ""))
    assert problem.where.endswith(":4: npuctl_cluster.services[0].engine")
    assert problem.message == "this key is missing"


def test_an_unknown_key_far_from_all_gets_the_list() -> None:
    problem = only_problem(GOOD + "      zzzzzz: 1\n")
    assert problem.hint.startswith("known keys: ")
    assert "tensor_parallel" not in problem.hint
    assert "shm_gib" in problem.hint


@pytest.mark.parametrize("value", ["[1, {a: b}]", "{bad: {}}"])
def test_a_value_that_could_be_several_things_is_one_problem(value: str) -> None:
    problem = only_problem(GOOD + f"      env: {{A: {value}}}\n")
    assert problem.where.endswith("services[0].env.A")
    assert " or " in problem.message


def test_hosts_of_a_wrong_kind_are_one_problem() -> None:
    problem = only_problem(GOOD.replace("hosts: serving", "hosts: 5"))
    assert problem.where.endswith(":8: npuctl_cluster.services[0].hosts")


@pytest.mark.parametrize("group", ["serving", "npu_nodes", "npu-nodes", "A2", "rack_1.b"])
def test_hosts_may_be_any_group_name_that_ansible_takes(group: str) -> None:
    assert (
        parse_cluster(GOOD.replace("hosts: serving", f"hosts: {group}"), file=FILE).services[0].hosts == group
    )


def test_a_key_that_stands_twice_is_refused() -> None:
    problem = only_problem(GOOD + "      port: 1\n      port: 2\n")
    assert problem.where == f"{FILE}:10: npuctl_cluster.services[0].port"
    assert problem.message == "this key stands twice"


@pytest.mark.parametrize("text", ["{{ x }}", "{% if x %}", "{# no #}"])
def test_a_template_is_refused_wherever_it_stands(text: str) -> None:
    problem = only_problem(GOOD + f"      args: {{chat-template: '{text}'}}\n")
    assert problem.where == f"{FILE}:9: npuctl_cluster.services[0].args.chat-template"
    assert "templates are not read" in problem.message
    assert text in problem.message


def test_a_template_in_a_key_is_refused() -> None:
    """It would become text of the command line, which Ansible would read as a template."""
    text = GOOD + "      args: {additional-config: {'{{ lookup(1) }}': 1}}\n"
    assert "templates are not read" in problems_of(text)[0].message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("npuctl_cluster: [", "not valid YAML"),
        ("npuctl_cluster:\n\t- x", "not valid YAML"),
        ("a: &x 1\nb: *y", "not valid YAML"),
        ("%!", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("--- 1\n--- 2\n", "not valid YAML"),
        ("npuctl_cluster: !!python/object:os.system {}", "not valid YAML"),
        ("", "the key npuctl_cluster is missing"),
        ("[]", "the key npuctl_cluster is missing"),
        ("cluster: {}", "the key npuctl_cluster is missing"),
    ],
)
def test_a_text_that_is_no_cluster_is_refused(text: str, message: str) -> None:
    problem = problems_of(text)[0]
    assert message in problem.message
    assert problem.where.startswith(FILE)


@pytest.mark.parametrize(
    "value",
    [
        "2024-13-45",
        "0b_",
        "0x_",
        "!!int abc",
        "!!bool perhaps",
        "!!timestamp soon",
        "!!float wide",
        "9" * 5000,
        "[" * 3000,
        "&a [*a]",
        "&a {b: *a}",
    ],
    ids=lambda value: value[:12],
)
def test_a_scalar_or_nesting_that_yaml_stumbles_over_is_the_specs_problem(value: str) -> None:
    assert problems_of(f"npuctl_cluster: {{name: {value}")
    assert problems_of(f"npuctl_cluster:\n  name: {value}\n")


def test_a_broken_yaml_is_named_with_its_line() -> None:
    assert problems_of("npuctl_cluster:\n  name: [1\n  x: 2\n")[0].where == f"{FILE}:3"


def test_another_key_beside_ours_is_refused() -> None:
    problem = only_problem(GOOD + "other: 1\n")
    assert problem.where == f"{FILE}:9: other"
    assert "only npuctl_cluster" in problem.hint


def test_two_services_of_one_name_are_refused() -> None:
    text = cluster_text(service_data("a"), service_data("a", port=9000))
    assert "two services are called a" in only_problem(text).message


def test_a_model_needs_a_path_or_a_hub() -> None:
    text = cluster_text(service_data(model={"id": "m"}))
    assert "give a path, or a source" in only_problem(text).message
    parse_cluster(cluster_text(service_data(model={"id": "m", "source": "huggingface"})), file=FILE)


@pytest.mark.parametrize("value", ["2024-01-01", "!!binary aGk=", "!!set {a}"])
def test_a_json_argument_holds_only_what_json_holds(value: str) -> None:
    """Anything else would end the planner later, without a line."""
    text = GOOD + f"      args: {{additional-config: {{when: {value}}}}}\n"
    assert "args" in problems_of(text)[0].where


def test_a_path_is_written_as_people_write_it() -> None:
    assert dotted(("npuctl_cluster", "services", 0, "model", "id")) == "npuctl_cluster.services[0].model.id"


@pytest.mark.parametrize(
    "folder", sorted((Path(__file__).parents[3] / "inventories").glob("example-*")), ids=lambda p: p.name
)
def test_the_examples_are_read(folder: Path) -> None:
    file = folder / "group_vars/all/cluster.yml"
    assert parse_cluster(file.read_text(encoding="utf-8"), file=str(file)).name == folder.name
