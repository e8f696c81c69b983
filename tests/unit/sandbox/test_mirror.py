"""A sandbox with a mirror, decided without an engine: its inventory, its faults, its command line."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
import yaml
from sandboxmirror import faults as served_faults
from sandboxmirror import place, registry

from npuctl.errors import UsageError
from npuctl.paths import content_root
from npuctl.sandbox import images, inventory, mirror, mirror_faults, model
from npuctl.sandbox.apt import Mirrors
from npuctl.sandbox.inventory import Inventory
from npuctl.sandbox.mirror import Mirror
from npuctl.sandbox.model import Sandbox
from npuctl.sandbox.tiny_model import tiny_model
from npuctl.spec.machines import RegistryLogin
from npuctl.spec.parse import parse_cluster

if TYPE_CHECKING:
    from pathlib import Path

    from npuctl.spec.models import ClusterSpec

TWO = Sandbox("lab", 2, "a2", "10.77.3.0/24")
MIRROR = Mirror("10.77.3.250", "-----CERTIFICATE-----\n", "puller-1", "it's secret", "hf_token")
DEBIAN = Mirrors("http://deb.debian.org/debian", "http://deb.debian.org/debian-security")


def written(engine: str = "sim", archive: Mirrors = DEBIAN) -> ClusterSpec:
    """The cluster.yml of a sandbox with a mirror, as npuctl reads it."""
    text = inventory.cluster_yaml(
        TWO,
        engine=engine,
        image=mirror.image_name("sim", "a2"),
        version="v0.18.0",
        mirror=inventory.mirror_yaml(MIRROR, archive),
    )
    return parse_cluster(text, file="cluster.yml")


def test_the_mirror_lies_beside_the_nodes_and_is_none_of_them() -> None:
    assert TWO.mirror_address == "10.77.3.250"
    assert TWO.mirror_container == "npuctl-lab-mirror"
    most = Sandbox("x", model.MOST_NODES, "a2", "10.77.0.0/24")
    assert most.mirror_address not in {node.address for node in most.members}
    assert model.MIRROR not in {node.name for node in most.members}


@pytest.mark.parametrize("engine", ["sim", "cpu", "none"])
def test_the_spec_points_at_the_mirror_in_every_respect(engine: str) -> None:
    spec = written(engine)
    mirrors = spec.mirrors
    assert mirrors
    assert mirrors.pip
    assert mirrors.docker
    assert mirrors.pip.index == "https://mirror.sandbox/pypi/simple"
    assert mirrors.git == {"https://github.com/": "https://mirror.sandbox/git/github.com/"}
    assert mirrors.docker.images["quay.io"] == "mirror.sandbox:5000/quay.io"
    assert mirrors.apt == {
        "http://deb.debian.org/debian": "https://mirror.sandbox/debian",
        "http://deb.debian.org/debian-security": "https://mirror.sandbox/debian-security",
    }
    # npuctl downloads models on this machine, which does not know the mirror's name.
    assert mirrors.huggingface == "https://10.77.3.250/huggingface"
    assert mirrors.modelscope == "https://10.77.3.250/modelscope"
    assert mirrors.ca == ".mirror/ca.pem"
    (login,) = spec.registries.values()
    assert isinstance(login, RegistryLogin)
    assert login.username == "puller-1"


def test_the_weights_come_from_the_hub_and_the_image_from_the_registry() -> None:
    (service,) = written().services
    assert (service.model.source, service.model.path) == ("huggingface", model.MODEL_PATH)
    assert service.image == "quay.io/ascend/vllm-ascend:v0.18.0"
    assert mirror.image_name("sim", "a3") == "quay.io/ascend/vllm-ascend:v0.18.0-a3"


def test_a_machine_without_a_security_archive_has_no_mirror_of_one() -> None:
    mirrors = written(archive=Mirrors("http://m.example/debian", "")).mirrors
    assert mirrors
    assert mirrors.apt == {"http://m.example/debian": "https://mirror.sandbox/debian"}


def test_secrets_stand_in_the_vault_alone_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    inventory_place = Inventory(tmp_path)
    inventory.ensure_key(inventory_place)
    assert inventory.write_mirror(inventory_place, MIRROR, force=False)
    assert stat.S_IMODE(inventory_place.vault.stat().st_mode) == 0o600
    secrets = yaml.safe_load(inventory_place.vault.read_text())["npuctl_secrets"]
    assert sorted(secrets.values()) == ["hf_token", "it's secret"]
    text = inventory.mirror_yaml(MIRROR, DEBIAN)
    assert "secret: mirror_registry_password" in text
    assert MIRROR.password not in text
    assert MIRROR.token not in text
    wanted = {login.password.secret for login in written().registries.values()}
    assert wanted <= set(secrets)
    assert inventory_place.ca.read_text() == MIRROR.ca
    assert inventory_place.ca == tmp_path / ".mirror/ca.pem"


def test_a_vault_of_the_users_own_is_kept_unless_forced(tmp_path: Path) -> None:
    inventory_place = Inventory(tmp_path)
    inventory.ensure_key(inventory_place)
    inventory_place.vault.parent.mkdir(parents=True)
    inventory_place.vault.write_text("npuctl_secrets: {mine: x}\n")
    assert not inventory.write_mirror(inventory_place, MIRROR, force=False)
    assert "mine" in inventory_place.vault.read_text()
    assert inventory.write_mirror(inventory_place, MIRROR, force=True)
    assert "mine" not in inventory_place.vault.read_text()


def test_a_vault_of_an_earlier_mirror_follows_the_new_one(tmp_path: Path) -> None:
    inventory_place = Inventory(tmp_path)
    inventory.ensure_key(inventory_place)
    inventory.write_mirror(inventory_place, MIRROR, force=False)
    newer = Mirror(MIRROR.address, MIRROR.ca, MIRROR.user, "another", MIRROR.token)
    assert inventory.write_mirror(inventory_place, newer, force=False)
    assert "another" in inventory_place.vault.read_text()


@pytest.mark.parametrize(
    ("mebibytes", "told"), [(0, "1 to 16384 MiB"), (20000, "1 to 16384 MiB"), (-1, "MiB")]
)
def test_a_model_of_no_size_or_too_large_is_refused(mebibytes: int, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        model.check_mirror_model(mebibytes, mirror=True)


def test_a_model_of_a_mirror_without_a_mirror_is_refused() -> None:
    with pytest.raises(UsageError, match="goes with --mirror"):
        model.check_mirror_model(10, mirror=False)


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The mirror's file of faults."""
    kept: dict[str, object] = {}

    def write(_sandbox: Sandbox, _name: str, value: dict[str, object]) -> None:
        kept.clear()
        kept.update(value)

    monkeypatch.setattr(mirror, "read_state", lambda _sandbox, _name: dict(kept))
    monkeypatch.setattr(mirror, "write_state", write)
    return kept


@pytest.mark.parametrize("name", mirror_faults.FAULTS)
def test_every_fault_is_put_as_the_mirror_reads_it_and_taken_off(
    name: str, state: dict[str, object], tmp_path: Path
) -> None:
    mirror_faults.put(TWO, name, None, clear=False)
    file = tmp_path / "faults.json"
    file.write_text(json.dumps(state))
    assert served_faults.read(file) != served_faults.Faults()
    mirror_faults.put(TWO, name, None, clear=True)
    assert state == {}


def test_faults_of_the_mirror_stand_side_by_side(state: dict[str, object]) -> None:
    mirror_faults.put(TWO, "download-cut", "500", clear=False)
    mirror_faults.put(TWO, "download-slow", "7", clear=False)
    assert state == {"cut": 500, "slow": 7}
    mirror_faults.put(TWO, "all", None, clear=True)
    assert state == {}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("engine-hang", None, "the mirror has no fault 'engine-hang'"),
        ("download-cut", "0", "not a whole number"),
        ("download-cut", "-3", "not a whole number"),
        ("download-slow", "fast", "not a whole number"),
        ("download-slow", "9" * 5000, "not a whole number"),
        ("download-wrong", "3", "takes no value"),
        ("all", None, "the mirror has no fault 'all'"),
    ],
)
def test_faults_that_do_not_fit_are_refused(
    name: str, value: str | None, told: str, state: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match=told):
        mirror_faults.put(TWO, name, value, clear=False)
    assert state == {}


def test_the_hubs_serve_every_kind_of_model() -> None:
    files = mirror._models(tiny_model())
    folders = {name.removeprefix("srv/mirror/models/").rpartition("/")[0] for name in files}
    assert folders == {
        "public/npuctl/tiny",
        "public/npuctl/tiny@v1",
        "public/npuctl/mindspore",
        "gated/npuctl/gated",
    }
    assert not [name for name in files if "mindspore" in name and name.endswith(".safetensors")]


def test_both_sides_mean_the_same_places() -> None:
    where = place.Place()
    assert str(where.state) == mirror._STATE
    assert str(where.models).lstrip("/") == mirror._MODELS
    assert where.faults.name == mirror_faults._FILE
    assert mirror.REGISTRY.rpartition(":")[2] == "5000"
    assert registry.OPEN_PORT != registry.LOGIN_PORT


def test_the_shipped_mirror_folder_has_every_input() -> None:
    tree = images.read_tree(content_root() / "sandbox" / "mirror")
    assert tree["install-packages"].mode == 0o755
    assert "docker-registry" in tree["packages.txt"].content.decode().split()
    assert {"docker.io", "chrony"} <= set(tree["served-packages.txt"].content.decode().split())
    assert "sandboxmirror/__main__.py" in tree
