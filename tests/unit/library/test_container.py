"""library/npuctl_container.py against a Docker engine of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.making import facts_of, node, plan_of, service_data, spec_of
from tests.unit.library.conftest import Engine, container

NAME = "npuctl-prod-chat-0"
LABELS = {"npuctl.cluster": "prod", "npuctl.config": "abc"}
Module = Callable[[str], Any]


def spec(**changes: Any) -> dict[str, Any]:
    own: dict[str, Any] = {
        "image": "quay.io/ascend/vllm-ascend:v0.18.0",
        "argv": ["/bin/bash", "-ic", 'exec "$@"', "npuctl", "vllm", "serve", "a b"],
        "env": {"B": "2", "A": "x=y"},
        "devices": ["/dev/davinci0", "/dev/davinci_manager"],
        "mounts": [],
        "shm_bytes": 2**30,
        "stop_grace_seconds": 7,
        "labels": LABELS,
    }
    return own | changes


@pytest.fixture
def act(module: Module, tmp_path: Path) -> Callable[..., list[str]]:
    """Bring the container into a state; returns what was done."""
    loaded = module("npuctl_container")

    def run(state: str, *, check: bool = False, pull_from: str = "", **changes: Any) -> list[str]:
        params = {
            "name": NAME,
            "cluster": "prod",
            "spec": spec(**changes) if state == "started" else None,
            "directory": str(tmp_path),
            "recreate": False,
            "stop_grace_seconds": 7,
            "pull_from": pull_from,
            "registry": "",
        }
        found = loaded.Container(params, check)
        {"started": found.start, "stopped": found.stop, "absent": found.remove_all}[state]()
        done: list[str] = found.done
        return done

    return run


Act = Callable[..., list[str]]


def running(engine: Engine, **changes: Any) -> None:
    engine.containers[NAME] = container(NAME, **({"labels": LABELS} | changes))
    engine.images.add(spec()["image"])


def test_what_is_absent_is_pulled_made_and_started(engine: Engine, act: Act) -> None:
    assert act("started") == ["pulled quay.io/ascend/vllm-ascend:v0.18.0", "created", "started"]
    assert engine.changes() == [
        ("POST", "/images/create"),
        ("POST", "/containers/create"),
        ("POST", f"/containers/{NAME}/start"),
    ]
    pull = next(query for _m, path, query, _b in engine.calls if path == "/images/create")
    assert pull == {"fromImage": "quay.io/ascend/vllm-ascend:v0.18.0"}
    assert engine.containers[NAME]["State"]["Status"] == "running"


def test_an_image_that_is_there_is_not_pulled(engine: Engine, act: Act) -> None:
    engine.images.add(spec()["image"])
    assert act("started") == ["created", "started"]


def test_the_body_gives_what_is_planned_and_nothing_else(module: Module) -> None:
    mounts = [{"source": "/a", "target": "/b", "read_only": True, "create": False}]
    body = module("npuctl_container").create_body(spec(mounts=mounts))
    assert body == {
        "Image": "quay.io/ascend/vllm-ascend:v0.18.0",
        "Cmd": ["/bin/bash", "-ic", 'exec "$@"', "npuctl", "vllm", "serve", "a b"],
        "Env": ["A=x=y", "B=2"],
        "Labels": LABELS,
        "StopTimeout": 7,
        "HostConfig": {
            "Init": True,
            "Privileged": False,
            "NetworkMode": "host",
            "RestartPolicy": {"Name": "always"},
            "ShmSize": 2**30,
            "Devices": [
                {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}
                for path in ("/dev/davinci0", "/dev/davinci_manager")
            ],
            "Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "500m", "max-file": "3"}},
        },
    }


def test_a_planned_container_is_a_body(module: Module) -> None:
    made = plan_of(spec_of(service_data()), facts_of(node_1=node())).replicas[0].container
    described = json.loads(json.dumps({**made.described(), "labels": made.labels}))
    body = module("npuctl_container").create_body(described)
    assert body["Cmd"] == list(made.argv)
    assert len(body["HostConfig"]["Devices"]) == len(made.devices)
    assert len(body["HostConfig"]["Mounts"]) == len(made.mounts)


def test_a_second_start_does_nothing(engine: Engine, act: Act) -> None:
    act("started")
    engine.calls.clear()
    assert act("started") == []
    assert engine.changes() == []


def test_another_configuration_is_a_new_container(engine: Engine, act: Act) -> None:
    running(engine, labels=LABELS | {"npuctl.config": "old"})
    assert act("started") == ["restart policy no", "stopped", "removed", "created", "started"]
    assert engine.containers[NAME]["Config"]["Labels"]["npuctl.config"] == "abc"


@pytest.mark.parametrize("state", ["exited", "created", "dead"])
def test_what_is_stopped_is_started(engine: Engine, act: Act, state: str) -> None:
    running(engine, state=state, policy="no")
    assert act("started") == ["restart policy always", "started"]
    assert engine.containers[NAME]["HostConfig"]["RestartPolicy"] == {"Name": "always"}


def test_what_is_paused_runs_again(engine: Engine, act: Act) -> None:
    """The plan says start; a container that stays paused would be planned for ever."""
    running(engine, state="paused")
    assert act("started")
    assert engine.containers[NAME]["State"]["Status"] == "running"


def test_a_stop_takes_the_restart_policy_away_first(engine: Engine, act: Act) -> None:
    """`always` would bring the service back when the engine or the node starts again."""
    running(engine)
    assert act("stopped") == ["restart policy no", "stopped"]
    (stop,) = [query for _m, path, query, _b in engine.calls if path.endswith("/stop")]
    assert stop == {"t": "7"}
    found = engine.containers[NAME]
    assert (found["State"]["Status"], found["HostConfig"]["RestartPolicy"]) == ("exited", {"Name": "no"})


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_what_is_absent_needs_no_stop(engine: Engine, act: Act, state: str) -> None:
    assert act(state) == []
    assert engine.changes() == []


def test_a_removal_stops_first_and_takes_the_volumes(engine: Engine, act: Act) -> None:
    running(engine)
    assert act("absent") == ["restart policy no", "stopped", "removed"]
    assert engine.containers == {}
    assert ("DELETE", f"/containers/{NAME}", {"v": "1"}, None) in engine.calls


@pytest.mark.parametrize("labels", [{}, {"npuctl.cluster": "other"}, {"a": "b"}])
@pytest.mark.parametrize("state", ["started", "stopped", "absent"])
def test_a_container_of_others_is_not_touched(
    engine: Engine, act: Act, state: str, labels: dict[str, str]
) -> None:
    running(engine, labels=labels)
    with pytest.raises(Exception, match=r"did not make for cluster prod; it was not touched"):
        act(state)
    assert engine.changes() == []


@pytest.mark.parametrize("state", ["started", "stopped", "absent"])
@pytest.mark.parametrize("there", [False, True])
def test_check_mode_changes_nothing(
    engine: Engine,
    act: Act,
    tmp_path: Path,
    state: str,
    there: bool,  # noqa: FBT001
) -> None:
    if there:
        running(engine, labels=LABELS | {"npuctl.config": "old"})
    cache = tmp_path / "cache"
    mounts = [{"source": str(cache), "target": "/root/.cache", "read_only": False, "create": True}]
    done = act(state, check=True, mounts=mounts)
    assert engine.changes() == []
    assert not cache.exists()
    assert bool(done) is (there or state == "started")


def test_a_pull_that_fails_inside_its_stream_is_a_failure(engine: Engine, act: Act) -> None:
    engine.pull_stream = [{"status": "Pulling"}, {"errorDetail": {}, "error": "manifest unknown"}]
    with pytest.raises(
        Exception, match=r"cannot pull quay\.io/ascend/vllm-ascend:v0\.18\.0: manifest unknown"
    ):
        act("started")
    assert engine.containers == {}


def test_a_mirror_stands_for_the_registry_and_leaves_no_name(engine: Engine, act: Act) -> None:
    name = spec()["image"]
    through = name.replace("quay.io", "m.example/quay.io")
    assert act("started", pull_from=through) == [f"pulled {name} through {through}", "created", "started"]
    assert engine.images == {name}
    assert engine.containers[NAME]["Config"]["Image"] == name


def test_an_image_pinned_by_digest_is_run_by_the_mirrors_name(engine: Engine, act: Act) -> None:
    """Docker gives no digest name by hand; the digest says that it is the same image."""
    name, through = "quay.io/a@sha256:0", "m.example/quay.io/a@sha256:0"
    assert act("started", pull_from=through, image=name)[0] == f"pulled {name} through {through}"
    assert engine.containers[NAME]["Config"]["Image"] == through
    engine.containers.clear()
    assert act("started", pull_from=through, image=name) == ["created", "started"]


def test_a_cache_is_made_noted_and_removed_when_empty(engine: Engine, act: Act, tmp_path: Path) -> None:
    cache = tmp_path / "deep/cache"
    mounts = [{"source": str(cache), "target": "/root/.cache", "read_only": False, "create": True}]
    assert f"made {cache}" in act("started", mounts=mounts)
    assert cache.is_dir()
    assert act("absent")[-1] == f"removed empty {cache}"
    assert not cache.exists()


def test_a_cache_that_holds_something_stays(engine: Engine, act: Act, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    mounts = [{"source": str(cache), "target": "/root/.cache", "read_only": False, "create": True}]
    act("started", mounts=mounts)
    (cache / "weights").write_text("x", encoding="utf-8")
    act("absent")
    assert (cache / "weights").is_file()


def test_a_cache_that_was_there_before_is_not_ours(engine: Engine, act: Act, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    mounts = [{"source": str(cache), "target": "/root/.cache", "read_only": False, "create": True}]
    act("started", mounts=mounts)
    act("absent")
    assert cache.is_dir()


class Ended(Exception):  # noqa: N818
    """The module's answer."""


@pytest.fixture
def main(module: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    loaded = module("npuctl_container")

    class Stub:
        def __init__(self, **_given: Any) -> None:
            self.params = {
                "name": NAME,
                "cluster": "prod",
                "spec": spec(),
                "recreate": False,
                "directory": str(tmp_path),
                "stop_grace_seconds": 7,
                "pull_from": "",
                "registry": "",
                "state": "started",
            }
            self.check_mode = False

        def exit_json(self, **answer: Any) -> None:
            raise Ended(answer)

        def fail_json(self, **answer: Any) -> None:
            raise Ended({"failed": True, **answer})

    def run() -> dict[str, Any]:
        monkeypatch.setattr(loaded, "AnsibleModule", Stub)
        with pytest.raises(Ended) as caught:
            loaded.main()
        answer: dict[str, Any] = caught.value.args[0]
        return answer

    return run


def test_as_a_module_it_says_what_it_did(engine: Engine, main: Callable[..., dict[str, Any]]) -> None:
    engine.images.add(spec()["image"])
    assert main() == {"changed": True, "done": ["created", "started"]}
    assert main() == {"changed": False, "done": []}


def test_as_a_module_it_fails_in_words(engine: Engine, main: Callable[..., dict[str, Any]]) -> None:
    engine.broken = "no space left on device"
    assert main() == {"failed": True, "msg": "no space left on device"}
