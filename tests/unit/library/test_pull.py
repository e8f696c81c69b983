"""library/module_utils/npuctl_pull.py and npuctl_image.py against a Docker engine of the test's own."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.library.conftest import Engine, container

NAME = "quay.io/ascend/vllm-ascend:v0.18.0"
THROUGH = "m.example/quay.io/ascend/vllm-ascend:v0.18.0"
LOGIN = {"registry": "m.example", "username": "robot", "password": "canary-password"}
SOC = {"ascend910b": "A2", "ascend910_93": "A3"}


@pytest.fixture
def pull(module: Callable[[str], Any]) -> Any:
    return module("npuctl_pull")


@pytest.fixture
def image_module(module: Callable[[str], Any]) -> Any:
    return module("npuctl_image")


def bring(pull: Any, *logins: dict[str, str], **about: Any) -> dict[str, Any]:
    image = pull.complete({"reference": NAME, **about})
    pull.begin([image], list(logins))
    found: dict[str, Any] = pull.wait([image], 5)
    return found


def notes(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "notes/images.json"
    found: dict[str, Any] = json.loads(file.read_text())["images"] if file.exists() else {}
    return found


def test_an_image_is_pulled_through_the_mirror_and_has_its_own_name_only(
    engine: Engine, pull: Any, tmp_path: Path
) -> None:
    assert bring(pull, source=THROUGH) == {
        "done": [f"pulled {NAME} through {THROUGH}"],
        "failed": [],
        "progress": [],
    }
    assert engine.images == {NAME}
    assert notes(tmp_path)[NAME]["names"] == [NAME]
    assert stat.S_IMODE((tmp_path / "notes/images.json").stat().st_mode) == 0o600
    assert not (tmp_path / "run").exists(), "words that nobody needs any more were left"


def test_what_is_there_is_not_pulled_and_is_nobodys_but_its_owners(
    engine: Engine, pull: Any, tmp_path: Path
) -> None:
    engine.images.add(NAME)
    assert bring(pull, source=THROUGH)["done"] == []
    assert engine.changes() == []
    assert notes(tmp_path) == {}


def test_a_name_of_the_mirror_that_somebody_else_has_stays(engine: Engine, pull: Any, tmp_path: Path) -> None:
    engine.images.add(THROUGH)
    bring(pull, source=THROUGH)
    assert engine.images == {NAME, THROUGH}
    assert notes(tmp_path)[NAME]["names"] == [NAME]


def test_a_login_goes_to_its_registry_and_nowhere_else(engine: Engine, pull: Any, tmp_path: Path) -> None:
    bring(pull, LOGIN, {**LOGIN, "registry": "quay.io"}, source=THROUGH, registry="m.example")
    assert engine.logins
    assert {entry["serveraddress"] for entry in engine.logins} == {"m.example"}
    assert engine.logins[0]["password"] == "canary-password"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "canary" in path.read_text()]


def test_no_login_of_another_registry_is_sent(engine: Engine, pull: Any) -> None:
    bring(pull, LOGIN, registry="quay.io")
    assert engine.logins == []


@pytest.mark.parametrize(
    ("error", "login", "words"),
    [
        ("unauthorized: authentication required", [LOGIN], "does not take the login of robot"),
        ("denied: requested access to the resource is denied", [], "wants a login: registries"),
        ("x509: certificate signed by unknown authority", [], "mirrors.ca"),
        ("http: server gave HTTP response to HTTPS client", [], "insecure_registries"),
        ("dial tcp: lookup m.example: no such host", [], "mirrors.docker.images"),
        ("manifest unknown: manifest unknown", [], "image or version in the spec"),
        ("no matching manifest for linux/arm64/v8", [], "architecture"),
        ("write /var/lib/docker/x: no space left on device", [], "free space"),
        ("dial tcp 10.0.0.1:443: connect: connection refused", [], "does not reach m.example"),
    ],
)
def test_a_failure_says_what_to_do(
    engine: Engine, pull: Any, tmp_path: Path, error: str, login: list[dict[str, str]], words: str
) -> None:
    engine.pull_stream = [{"status": "Pulling"}, {"errorDetail": {}, "error": error}]
    (message,) = bring(pull, *login, source=THROUGH, registry="m.example")["failed"]
    assert error in message
    assert words in message
    assert NAME in message
    assert notes(tmp_path) == {}, "what did not come is not ours"


def test_what_may_pass_is_tried_again_and_what_may_not_is_not(engine: Engine, pull: Any) -> None:
    engine.pull_stream = [{"error": "unexpected EOF"}]
    bring(pull)
    assert engine.changes().count(("POST", "/images/create")) == 3
    engine.calls.clear()
    engine.pull_stream = [{"error": "manifest unknown"}]
    bring(pull)
    assert engine.changes().count(("POST", "/images/create")) == 1


def test_an_error_text_never_has_the_password(engine: Engine, pull: Any) -> None:
    plain = base64.b64encode(b"robot:canary-password").decode()
    engine.pull_stream = [
        {"error": f"denied {plain} canary-password proxyconnect https://me:canary-proxy@proxy:80"}
    ]
    (message,) = bring(pull, LOGIN, registry="m.example")["failed"]
    assert "canary" not in message
    assert plain not in message


def test_another_architecture_is_refused_before_anything_is_pulled(engine: Engine, pull: Any) -> None:
    engine.platforms[NAME] = ["amd64", "s390x"]
    (message,) = bring(pull)["failed"]
    assert "is built for amd64 and s390x, and this node is arm64" in message
    assert engine.changes() == []


def test_a_registry_that_does_not_say_is_no_obstacle(engine: Engine, pull: Any) -> None:
    engine.platforms[NAME] = ["amd64", "arm64"]
    assert bring(pull)["failed"] == []


@pytest.mark.parametrize(
    "described",
    [{"Architecture": "amd64"}, {"Config": {"Env": ["PATH=/bin", "SOC_VERSION=ascend910_9391"]}}],
)
def test_an_image_for_another_machine_is_removed_again(
    engine: Engine, pull: Any, tmp_path: Path, described: dict[str, Any]
) -> None:
    engine.described[THROUGH] = described
    (message,) = bring(pull, source=THROUGH, product="A2", soc_versions=SOC)["failed"]
    assert "it was removed again" in message
    assert engine.images == set()
    assert notes(tmp_path) == {}


def test_an_image_for_this_product_stays(engine: Engine, pull: Any) -> None:
    engine.described[NAME] = {"Config": {"Env": ["SOC_VERSION=ascend910b3"]}}
    assert bring(pull, product="A2", soc_versions=SOC)["failed"] == []


def archive(tmp_path: Path, **about: Any) -> dict[str, Any]:
    folder = tmp_path / "images"
    folder.mkdir(exist_ok=True)
    (folder / "x.tar").write_bytes(b"tar")
    own = {"archive": str(folder / "x.tar"), "archive_name": "old:1", "archive_names": ["old:1"]}
    return {**own, "id": "sha256:old:1", **about}


def test_an_archive_is_loaded_named_and_removed(engine: Engine, pull: Any, tmp_path: Path) -> None:
    engine.loads = ["old:1"]
    assert bring(pull, **archive(tmp_path))["done"] == [f"loaded {NAME} from x.tar"]
    assert not (tmp_path / "images").exists()
    assert engine.images == {NAME, "old:1"}
    assert notes(tmp_path)[NAME]["names"] == ["old:1", NAME], "all that it brought goes with it"


def test_an_archive_that_is_loaded_is_not_loaded_again(engine: Engine, pull: Any, tmp_path: Path) -> None:
    engine.loads = ["old:1"]
    bring(pull, **archive(tmp_path))
    engine.calls.clear()
    assert bring(pull, **archive(tmp_path))["done"] == []
    assert engine.changes() == []


def test_containerds_store_gives_a_loaded_image_another_id(engine: Engine, pull: Any, tmp_path: Path) -> None:
    engine.loads = ["old:1"]
    engine.described["old:1"] = {"Id": "sha256:of-the-manifest"}
    bring(pull, **archive(tmp_path, id="sha256:of-the-configuration"))
    engine.calls.clear()
    assert bring(pull, **archive(tmp_path, id="sha256:of-the-configuration"))["done"] == []
    assert engine.changes() == []


def test_another_image_of_the_same_name_is_replaced_by_the_archives(
    engine: Engine, pull: Any, tmp_path: Path
) -> None:
    engine.images.add(NAME)
    engine.loads = ["old:1"]
    assert bring(pull, **archive(tmp_path))["done"] == [f"loaded {NAME} from x.tar"]
    assert engine.described[NAME]["Id"] == "sha256:old:1"
    assert NAME not in notes(tmp_path)[NAME]["names"], "that name was there before npuctl"


def test_whoever_waits_is_told_how_far_it_is(engine: Engine, pull: Any) -> None:
    image = pull.complete({"reference": NAME})
    lock = pull.take_lock(image)  # somebody brings it
    progress = pull.Progress(image)
    for message in (
        {"status": "Pulling from ascend/x", "id": "v0.18.0"},
        {"status": "Pulling fs layer", "id": "aa"},
        {"status": "Already exists", "id": "bb"},
        {"status": "Downloading", "id": "aa", "progressDetail": {"current": 2**30, "total": 4 * 2**30}},
    ):
        progress.take(message)
    progress.say(progress.words())
    pull.begin([image], [])  # joins
    assert pull.wait([image], 0) == {
        "done": [],
        "failed": [],
        "progress": [f"{NAME}: 1.0 of 4.0 GiB, 1 of 2 layers"],
    }
    lock.close()  # it was killed
    (message,) = pull.wait([image], 0)["failed"]
    assert "the process that brought it was ended" in message
    assert engine.changes() == []


def test_words_of_an_earlier_run_are_not_taken_for_this_one(engine: Engine, pull: Any) -> None:
    image = pull.complete({"reference": NAME})
    Path(pull.FOLDER).mkdir()
    pull.write_state(image, {"state": "failed", "message": "yesterday"})
    assert bring(pull)["failed"] == []
    assert engine.images == {NAME}


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("a", {"fromImage": "a", "tag": "latest"}),
        ("host:5000/a", {"fromImage": "host:5000/a", "tag": "latest"}),
        ("host:5000/a:1", {"fromImage": "host:5000/a:1"}),
        ("a@sha256:0", {"fromImage": "a@sha256:0"}),
        ("host:5000/b/a:1@sha256:0", {"fromImage": "host:5000/b/a@sha256:0"}),
    ],
)
def test_an_image_without_a_tag_is_latest_and_not_all(pull: Any, name: str, query: dict[str, str]) -> None:
    assert pull.query_of(name) == query


def test_a_moved_tag_is_pulled_again_when_that_is_asked_for(engine: Engine, pull: Any) -> None:
    engine.images.add(NAME)
    image = pull.complete({"reference": NAME})
    pull.begin([image], [], refresh=True)
    assert pull.wait([image], 5)["done"] == [], "nothing moved"
    assert ("POST", "/images/create") in engine.changes()


# --- the module


def params(**own: Any) -> dict[str, Any]:
    return {"logins": [], "passwords": [], "refresh": False, "seconds": 5, **own}


def test_the_module_begins_waits_and_is_done(engine: Engine, image_module: Any, pull: Any) -> None:
    images = [pull.complete({"reference": NAME, "source": THROUGH, "registry": "m.example"})]
    login = {"registry": "m.example", "username": "robot"}
    given = params(logins=[login], passwords=["canary-password"])
    assert image_module.begin(images, given, check_mode=False)["changed"] is False
    assert image_module.bring(images, given, check_mode=False) == {
        "changed": True,
        "done": [f"pulled {NAME} through {THROUGH}"],
        "finished": True,
    }
    image_module.begin(images, given, check_mode=False)
    assert image_module.bring(images, given, check_mode=False)["changed"] is False
    assert engine.logins[0]["password"] == "canary-password"


def test_check_mode_says_what_would_come_and_brings_nothing(
    engine: Engine, image_module: Any, pull: Any
) -> None:
    images = [pull.complete({"reference": NAME})]
    image_module.begin(images, params(), check_mode=True)
    answer = image_module.bring(images, params(), check_mode=True)
    assert (answer["done"], answer["absent"]) == ([f"pull {NAME}"], [NAME])
    assert engine.changes() == []
    engine.images.add(NAME)
    assert image_module.bring(images, params(), check_mode=True)["changed"] is False


def test_one_failure_does_not_hide_what_was_done(engine: Engine, image_module: Any, pull: Any) -> None:
    images = [pull.complete({"reference": name}) for name in (NAME, "other:1")]
    engine.platforms["other:1"] = ["s390x"]
    image_module.begin(images, params(), check_mode=False)
    answer = image_module.bring(images, params(), check_mode=False)
    assert answer["failed"]
    assert "other:1 is built for s390x" in answer["msg"]
    assert f"pulled {NAME}" in answer["msg"]


def test_what_npuctl_brought_goes_and_nothing_else(
    engine: Engine, image_module: Any, pull: Any, tmp_path: Path
) -> None:
    engine.images.add("theirs:1")
    bring(pull)
    assert image_module.remove([], check_mode=True)["done"] == [f"removed {NAME}"]
    assert engine.images == {NAME, "theirs:1"}
    assert image_module.remove([], check_mode=False)["done"] == [f"removed {NAME}"]
    assert engine.images == {"theirs:1"}
    assert notes(tmp_path) == {}
    assert image_module.remove([], check_mode=False)["changed"] is False


def test_an_image_in_use_is_not_removed(engine: Engine, image_module: Any, pull: Any) -> None:
    bring(pull)
    engine.containers["theirs"] = container("theirs") | {"Image": f"sha256:{NAME}"}
    answer = image_module.remove([], check_mode=False)
    assert answer["failed"]
    assert "theirs uses" in answer["msg"]
    assert engine.images == {NAME}


def test_only_what_is_named_is_removed(engine: Engine, image_module: Any, pull: Any, tmp_path: Path) -> None:
    bring(pull)
    image = pull.complete({"reference": "other:1"})
    pull.begin([image], [])
    pull.wait([image], 5)
    image_module.remove(["other:1"], check_mode=False)
    assert engine.images == {NAME}
    assert set(notes(tmp_path)) == {NAME}


def test_what_was_brought_for_another_cluster_stays(
    engine: Engine, image_module: Any, pull: Any, tmp_path: Path
) -> None:
    bring(pull, cluster="prod")
    assert bring(pull, cluster="other")["done"] == []
    assert notes(tmp_path)[NAME]["cluster"] == "prod"
    for named in ([], [NAME]):
        assert image_module.remove(named, check_mode=False, cluster="other")["changed"] is False
    assert engine.images == {NAME}
    assert image_module.remove([], check_mode=False, cluster="prod")["done"] == [f"removed {NAME}"]
    assert engine.images == set()


def test_what_is_noted_for_nobody_is_whoevers_asks(engine: Engine, image_module: Any, pull: Any) -> None:
    bring(pull)
    assert image_module.remove([], check_mode=False, cluster="other")["changed"]
    assert engine.images == set()


def test_an_image_that_went_and_came_again_is_the_later_ones(
    engine: Engine, pull: Any, tmp_path: Path
) -> None:
    bring(pull, cluster="prod")
    engine.images.clear()
    bring(pull, cluster="other")
    assert notes(tmp_path)[NAME]["cluster"] == "other"
    bring(pull, cluster="prod")
    assert notes(tmp_path)[NAME]["cluster"] == "other"
