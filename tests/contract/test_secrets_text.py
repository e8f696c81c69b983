"""The text of a file of secrets: the role's template makes what the plan's hash is made of."""

from __future__ import annotations

from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from hypothesis import given, settings
from hypothesis import strategies as st

from npuctl.plan.build import secrets_text
from tests.making import REPOSITORY

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


def template() -> str:
    tasks = yaml.safe_load((REPOSITORY / "roles/npu_container/tasks/start.yml").read_text(encoding="utf-8"))
    (task,) = [task for task in tasks if "npuctl_secrets" in str(task.get("ansible.builtin.copy"))]
    return str(task["ansible.builtin.copy"]["content"])


TEMPLATE = trust_as_template(template())


def rendered(secret_env: dict[str, str], secrets: dict[str, Any]) -> str:
    variables = {"__npu_container_file": {"secret_env": secret_env}, "npuctl_secrets": secrets}
    return str(Templar(loader=DataLoader(), variables=variables).template(TEMPLATE))


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_the_role_writes_what_the_plan_hashed(values: dict[str, str]) -> None:
    secret_env = {name: f"key_{name}" for name in values}
    secrets = {f"key_{name}": value for name, value in values.items()}
    assert rendered(secret_env, secrets) == secrets_text(secret_env, secrets)


def test_values_that_shells_and_templates_stumble_over() -> None:
    values = [
        "",
        " ",
        "'",
        '"',
        "$HOME",
        "`id`",
        "a\nb",
        "\\",
        "#x",
        "ü",
        "{{ 1 }}",
        "!",
        "a=b",
        "\ttab",
        "\n",
    ]
    secret_env = {f"N{index}": f"k{index}" for index in range(len(values))}
    secrets = {f"k{index}": value for index, value in enumerate(values)}
    assert rendered(secret_env, secrets) == secrets_text(secret_env, secrets)


def test_a_number_is_text_in_both() -> None:
    assert rendered({"A": "k"}, {"k": 1234}) == secrets_text({"A": "k"}, {"k": "1234"})


def test_names_are_sorted_alike() -> None:
    names = dict.fromkeys(("b", "A", "_c", "B", "a", "A_", "A1"), "k")
    assert rendered(names, {"k": "v"}) == secrets_text(names, {"k": "v"})


def test_each_registrys_login_gets_its_own_password() -> None:
    """The module takes logins and passwords as two lists in one order; only the second one is secret."""
    text = (REPOSITORY / "roles/container_image/tasks/main.yml").read_text(encoding="utf-8")
    (task,) = [task for task in yaml.safe_load(text) if "npuctl_secrets" in str(task)]
    assert task["no_log"] is True
    logins = [{"registry": name, "username": "me", "secret": f"of_{name}"} for name in ("b", "a", "c")]
    secrets = {"of_a": "first", "of_b": "'\"$(id)\\", "of_c": "", "other": "unused"}
    variables = {"container_image_logins": logins, "npuctl_secrets": secrets}
    given = trust_as_template(task["npuctl_image"]["passwords"])
    made = Templar(loader=DataLoader(), variables=variables).template(given)
    assert list(made) == [secrets["of_b"], secrets["of_a"], secrets["of_c"]]


def test_no_other_task_of_any_role_sees_a_registrys_password() -> None:
    for file in sorted((REPOSITORY / "roles").glob("*/tasks/*.yml")):
        for task in yaml.safe_load(file.read_text(encoding="utf-8")):
            if "passwords" in task.get("npuctl_image", {}):
                assert task["no_log"] is True
                assert task["npuctl_image"]["state"] == "begun", "the others say what they did"
