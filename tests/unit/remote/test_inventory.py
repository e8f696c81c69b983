"""The inventory folder as Ansible reads it: hosts, groups, ways to reach them, secrets, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from npuctl.errors import UsageError
from npuctl.remote.inventory import NO_INVENTORY, Inventory, find_folder, load_inventory
from npuctl.spec.parse import SpecError
from tests.making import REPOSITORY, cluster_text, service_data

PASSWORD = "open sesame"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)
    write(tmp_path, {"serving": {"hosts": {"node-1": {}}}})
    return tmp_path


def write(folder: Path, hosts: Any, spec: str | None = None) -> None:
    everything = folder / "group_vars/all"
    everything.mkdir(parents=True, exist_ok=True)
    (everything / "cluster.yml").write_text(spec or cluster_text(service_data()), encoding="utf-8")
    (folder / "hosts.yml").write_text(
        hosts if isinstance(hosts, str) else yaml.safe_dump(hosts), encoding="utf-8"
    )


def with_vars(folder: Path, **variables: Any) -> Inventory:
    write(folder, {"serving": {"hosts": {"node-1": variables}}})
    return load_inventory(folder)


def encrypt(text: str, password: str = PASSWORD) -> str:
    from ansible.parsing.vault import VaultLib, VaultSecret  # noqa: PLC0415

    secret = VaultSecret(password.encode())
    encrypted: bytes = VaultLib([("default", secret)]).encrypt(text, secret)
    return encrypted.decode()


@pytest.fixture
def vault(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = "npuctl_secrets: {key: s3cret}\nansible_become_password: hunter2\n"
    (folder / "group_vars/all/vault.yml").write_text(encrypt(text), encoding="utf-8")
    password = tmp_path / "password.txt"
    password.write_text(PASSWORD + "\n", encoding="utf-8")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    return password


def test_groups_and_ranges(folder: Path) -> None:
    hosts = {
        "a2": {"hosts": {"node-[1:3]": {}}},
        "serving": {"children": {"a2": None}},
        "spare": {"hosts": {"x": {}}},
    }
    write(folder, hosts)
    found = load_inventory(folder)
    assert sorted(found.hosts) == ["node-1", "node-2", "node-3", "x"]
    assert found.groups["serving"] == found.groups["a2"] == ["node-1", "node-2", "node-3"]
    assert sorted(found.groups["all"]) == ["node-1", "node-2", "node-3", "x"]
    assert found.spec.name == "prod"


def test_an_ini_file_does_as_well(folder: Path) -> None:
    (folder / "hosts.yml").unlink()
    (folder / "hosts").write_text(
        "[serving]\nnode-1 ansible_host=192.0.2.1 ansible_port=2222\n", encoding="utf-8"
    )
    host = load_inventory(folder).hosts["node-1"]
    assert (host.address, host.port) == ("192.0.2.1", 2222)


def test_how_to_reach_a_host(folder: Path) -> None:
    host = with_vars(
        folder,
        ansible_host="192.0.2.1",
        ansible_port=2222,
        ansible_user="admin",
        ansible_ssh_private_key_file="/k",
        ansible_python_interpreter="/usr/bin/python3.9",
        ansible_become=True,
        ansible_become_user="boss",
        ansible_become_password="pw",
        ansible_ssh_common_args="-o ProxyJump=gate",
        ansible_ssh_extra_args="-v",
    ).hosts["node-1"]
    assert (host.address, host.port, host.user, host.key_file) == ("192.0.2.1", 2222, "admin", "/k")
    assert (host.python, host.become, host.become_user, host.become_password) == (
        "/usr/bin/python3.9",
        True,
        "boss",
        "pw",
    )
    assert host.ssh_args == ("-o", "ProxyJump=gate", "-v")
    assert host.connection == "ssh"


def test_what_is_not_said_has_defaults(folder: Path) -> None:
    host = with_vars(folder).hosts["node-1"]
    assert (host.address, host.port, host.user, host.python) == ("node-1", None, "", "python3")
    assert (host.become, host.become_user, host.become_password) == (False, "root", "")


def test_variables_of_groups_and_templates_are_ansibles_own(folder: Path) -> None:
    variables = {"gate": "jump.example", "ansible_ssh_common_args": "-o ProxyJump={{ gate }}"}
    write(folder, {"serving": {"hosts": {"node-1": {}}, "vars": variables}})
    assert load_inventory(folder).hosts["node-1"].ssh_args == ("-o", "ProxyJump=jump.example")


@pytest.mark.parametrize("value", ["auto", "auto_silent", "auto_legacy"])
def test_a_python_to_be_discovered_is_python3(folder: Path, value: str) -> None:
    assert with_vars(folder, ansible_python_interpreter=value).hosts["node-1"].python == "python3"


@pytest.mark.parametrize(
    ("value", "truth"), [("yes", True), ("true", True), (True, True), ("no", False), (0, False)]
)
def test_become_in_all_its_spellings(folder: Path, value: object, truth: bool) -> None:  # noqa: FBT001
    assert with_vars(folder, ansible_become=value).hosts["node-1"].become is truth


def test_a_local_connection(folder: Path) -> None:
    assert with_vars(folder, ansible_connection="local").hosts["node-1"].connection == "local"
    assert with_vars(folder, ansible_connection="smart").hosts["node-1"].connection == "ssh"


def test_another_connection_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="ansible_connection is 'docker'"):
        with_vars(folder, ansible_connection="docker")


@pytest.mark.parametrize(
    "args",
    [
        "-o StrictHostKeyChecking=no",
        "-o stricthostkeychecking=accept-new",
        "-oStrictHostKeyChecking=no",
        "-o 'StrictHostKeyChecking no'",
        "-o UserKnownHostsFile=/dev/null",
        "-o GlobalKnownHostsFile=/x",
        "-o ProxyCommand='ssh -o StrictHostKeyChecking=no gate'",
    ],
)
@pytest.mark.parametrize(
    "variable", ["ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"]
)
def test_nothing_turns_the_check_of_host_keys_off(folder: Path, variable: str, args: str) -> None:
    """ansible_ssh_args too: in a play it takes the place of the options that npuctl gives."""
    with pytest.raises(UsageError, match="host keys"):
        with_vars(folder, **{variable: args})


@pytest.mark.parametrize("variable", ["ansible_host_key_checking", "ansible_ssh_host_key_checking"])
def test_ansibles_own_switch_for_host_keys_is_refused(folder: Path, variable: str) -> None:
    with pytest.raises(UsageError, match="host keys"):
        with_vars(folder, **{variable: False})


def test_a_key_command_is_refused(folder: Path) -> None:
    """KnownHostsCommand names keys that stand in no known_hosts."""
    with pytest.raises(UsageError, match="host keys"):
        with_vars(folder, ansible_ssh_common_args="-o KnownHostsCommand=/bin/x")


def test_secrets_come_from_the_vault(vault: Path, folder: Path) -> None:
    found = load_inventory(folder)
    assert found.secrets == {"key": "s3cret"}
    assert found.hosts["node-1"].become_password == "hunter2"
    assert "s3cret" not in repr(found)
    assert "hunter2" not in repr(found)


def test_a_single_encrypted_value(vault: Path, folder: Path) -> None:
    lines = "\n".join(f"    {line}" for line in encrypt("v4lue").splitlines())
    text = f"npuctl_secrets:\n  token: !vault |\n{lines}\n"
    (folder / "group_vars/all/vault.yml").write_text(text, encoding="utf-8")
    assert load_inventory(folder).secrets == {"token": "v4lue"}


def test_a_number_as_secret_is_text(folder: Path) -> None:
    (folder / "group_vars/all/vault.yml").write_text("npuctl_secrets: {pin: 1234}\n", encoding="utf-8")
    assert load_inventory(folder).secrets == {"pin": "1234"}


def test_a_vault_with_the_wrong_password_is_refused(vault: Path, folder: Path) -> None:
    vault.write_text("wrong\n", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot read the inventory") as caught:
        load_inventory(folder)
    assert "ANSIBLE_VAULT_PASSWORD_FILE" in caught.value.hint


def test_a_vault_without_a_password_is_refused(
    vault: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE")
    with pytest.raises(UsageError, match="cannot read the inventory") as caught:
        load_inventory(folder)
    assert "ANSIBLE_VAULT_PASSWORD_FILE" in caught.value.hint


def test_a_password_file_that_is_not_there_is_refused(
    vault: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", "/nowhere/password")
    with pytest.raises(UsageError, match="/nowhere/password"):
        load_inventory(folder)


def test_secrets_that_are_no_mapping_are_refused(folder: Path) -> None:
    (folder / "group_vars/all/vault.yml").write_text("npuctl_secrets: [a]\n", encoding="utf-8")
    with pytest.raises(UsageError, match="must be a mapping"):
        load_inventory(folder)


@pytest.mark.parametrize("hosts", ["---\n", "serving: [", "serving: {hosts: {}}"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_inventory_without_hosts_is_refused(folder: Path, hosts: str) -> None:
    write(folder, hosts)
    with pytest.raises(UsageError):
        load_inventory(folder)


def test_a_broken_spec_is_the_specs_error_before_ansible_is_asked(folder: Path) -> None:
    write(folder, "serving: [", spec="npuctl_cluster: {}")
    with pytest.raises(SpecError):
        load_inventory(folder)


def test_a_spec_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "group_vars/all/cluster.yml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="cannot read"):
        load_inventory(folder)


@pytest.mark.parametrize("name", ["example-a2", "example-a3", "example-310p"])
def test_the_examples_are_whole(name: str) -> None:
    found = load_inventory(REPOSITORY / "inventories" / name)
    assert found.spec.name == name
    assert found.groups["serving"]


def test_state_and_keys_lie_in_the_folder(folder: Path) -> None:
    found = load_inventory(folder)
    assert found.state == folder.resolve() / ".npuctl"
    assert found.known_hosts == folder.resolve() / ".ssh/known_hosts"


def test_the_folder_is_found(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NPUCTL_INVENTORY", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    with pytest.raises(UsageError, match="none"):
        find_folder(None)
    write(work / "inventories/one", {})
    assert find_folder(None) == Path("inventories/one")
    write(work / "inventories/two", {})
    with pytest.raises(UsageError, match=r"inventories/one, inventories/two") as caught:
        find_folder(None)
    assert "NPUCTL_INVENTORY" in caught.value.hint
    monkeypatch.setenv("NPUCTL_INVENTORY", "inventories/two")
    assert find_folder(None) == Path("inventories/two")
    assert find_folder("inventories/one") == Path("inventories/one")


def test_a_folder_that_is_not_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no inventory folder"):
        find_folder(str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match=r"has no group_vars/all/cluster\.yml"):
        find_folder(str(tmp_path))


def test_an_installer_beside_the_hosts_is_not_run_to_ask_it_for_hosts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ansible runs every executable file of the folder: its `script` plugin takes them for inventories."""
    # As where npuctl is called outside of its checkout, whose ansible.cfg says the same.
    monkeypatch.setattr("ansible.inventory.manager.IGNORED_PATTERNS", [])
    package = folder / "packages/Ascend-hdk-910b-npu-driver_25.5.2_linux-aarch64.run"
    package.parent.mkdir()
    package.write_text(f"#!/bin/sh\ntouch {folder}/was-run\necho '{{}}'\n", encoding="utf-8")
    package.chmod(0o755)
    assert list(load_inventory(folder).hosts) == ["node-1"]
    assert not (folder / "was-run").exists()


def test_plays_leave_the_same_files_alone() -> None:
    assert f"ignore_patterns = {NO_INVENTORY}\n" in (REPOSITORY / "ansible.cfg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        'npuctl_secrets:\n  a: canary-1\n  b: "canary-2\n  c: d: canary-3\n',
        'npuctl_secrets:\n  a: "canary-{{ nobody }}"\n',
        'npuctl_secrets:\n  a: "canary-{{ cut"\n',
        'npuctl_secrets:\n  a: "canary-{% odd"\n',
        "npuctl_secrets: canary-4\n",
        "npuctl_secrets: [canary-4]\n",
        "npuctl_secrets:\n  a: !unknown canary-6\n",
        "npuctl_secrets:\n  canary-7\n  a: 1\n",
        "canary-8\n",
    ],
)
def test_secrets_that_cannot_be_read_are_not_repeated(folder: Path, text: str) -> None:
    (folder / "group_vars/all/vault.yml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_inventory(folder)
    assert "canary" not in f"{caught.value} {caught.value.as_data()}"


def test_a_folder_of_packages_is_not_tried_as_an_inventory(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = {"version": "25.5.2", "packages": "packages"}
    write(folder, {"serving": {"hosts": {"node-1": {}}}}, cluster_text(service_data(), driver=driver))
    (folder / "packages").mkdir()
    (folder / "packages/README").write_text("not [an inventory", encoding="utf-8")
    assert list(load_inventory(folder).hosts) == ["node-1"]
    assert "WARNING" not in "".join(capsys.readouterr())
