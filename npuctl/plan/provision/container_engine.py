"""Docker and the Ascend Docker Runtime: installed where missing, daemon.json merged, never restarted unsaid. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import JsonValue

from npuctl.facts.setup import Setup
from npuctl.plan.model import Finding
from npuctl.plan.provision import proxy
from npuctl.plan.provision._contract import DAEMON_FILE, Change, LocalFile, Node, Questions, Wish, Work
from npuctl.plan.provision.formats.json_file import json_key
from npuctl.plan.provision.os_families import family_of, packages_of_all, unknown_family
from npuctl.plan.provision.settings import Reconciled, Setting
from npuctl.plan.wording import several
from npuctl.spec.machines import ContainerEngine, RuntimePackage

DROP_INS = "/etc/systemd/system/docker.service.d/"
RECORD = "container_engine"
# As library/npuctl_docker_daemon.py leaves them where it is ended in the middle of a reload.
RELOAD_RECORD = "container_engine_reload"
MEANT_FILE = f"{DAEMON_FILE}.npuctl-meant"
RUNTIME_RECORD = "ascend_runtime"

# What Docker takes up at a reload: moby, daemon/reload.go and cmd/dockerd (authorization-plugins); the same list
# stands in the reference of dockerd. Everything else waits for a restart.
RELOADED = frozenset(
    {
        *(
            "allow-nondistributable-artifacts",
            "authorization-plugins",
            "debug",
            "default-runtime",
            "features",
        ),
        *("insecure-registries", "labels", "live-restore", "max-concurrent-downloads"),
        *(
            "max-concurrent-uploads",
            "max-download-attempts",
            "registry-mirrors",
            "runtimes",
            "shutdown-timeout",
        ),
    }
)
# Lists that other stages and people add to, entry by entry.
_SHARED_LISTS = frozenset({"insecure-registries", "registry-mirrors"})
_EFFECTS = ("none", "reload", "restart")
_UNIT = "docker.service"
_RUNTIME_FOLDER = "/usr/local/Ascend/Ascend-Docker-Runtime"
_RUNTIME_PROGRAM = f"{_RUNTIME_FOLDER}/ascend-docker-runtime"
_RUNTIME_INFO = f"{_RUNTIME_FOLDER}/ascend_docker_runtime_install.info"
_MOST_NAMES = 5


def questions(wish: Wish) -> Questions:
    """What to look at; of a teardown too, for daemon.json may have to be given back."""
    return Questions(
        files=frozenset({DAEMON_FILE, MEANT_FILE, DROP_INS, proxy.ENVIRONMENT_FILE, _RUNTIME_INFO}),
        packages=packages_of_all("docker") if wish.spec.container_engine else frozenset(),
        units=frozenset({_UNIT}),
        programs=frozenset({"dockerd"}),
        records=frozenset({RECORD, RELOAD_RECORD, RUNTIME_RECORD}),
    )


def settings(wish: Wish, node: Node) -> list[Setting]:  # noqa: ARG001 - as every stage of settings
    """Keys of daemon.json: what the spec writes goes before what follows from its other keys."""
    engine = _engine(wish)
    if engine is None:
        return []
    wanted: list[Setting] = []
    if engine.ascend_runtime is not None:
        wanted.append(Setting(DAEMON_FILE, json_key("runtimes", "ascend", "path"), _RUNTIME_PROGRAM))
    if engine.default_runtime:
        wanted.append(Setting(DAEMON_FILE, "default-runtime", "ascend"))
    written = list(_written(engine.daemon, ()))
    keys = {setting.key for setting in written}
    return [setting for setting in wanted if setting.key not in keys] + written


def _written(values: Mapping[str, JsonValue], names: tuple[str, ...]) -> Iterator[Setting]:
    """Objects are merged key by key, so that what others have set in them stays."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _written(value, (*names, name))
        elif not names and name in _SHARED_LISTS and isinstance(value, list):
            yield from (Setting(DAEMON_FILE, json_key(name), entry, item=True) for entry in value)
        else:
            yield Setting(DAEMON_FILE, json_key(*names, name), value)


def as_meant(setup: Setup) -> Setup:
    """The node with the daemon.json that a reload was to end with, where it was ended in the middle.

    For a moment a reload gives Docker another file, with the defaults of keys that go; left behind, it would read
    as somebody else's change. The role's module puts the meant one in its place first.
    """
    told = setup.records.get(RELOAD_RECORD, {}).get("told")
    there = setup.files.get(DAEMON_FILE)
    if there is None or not told or told != _digest(setup, DAEMON_FILE):
        return setup
    meant = setup.files.get(MEANT_FILE)
    absent = meant is None or meant.absent
    file = there.model_copy(update={"text": meant.text if meant else "", "absent": absent})
    return setup.model_copy(update={"files": {**setup.files, DAEMON_FILE: file}})


def work(wish: Wish, nodes: Sequence[Node]) -> list[Work]:
    """What is to be installed, and what a run that was killed left to be done."""
    engine = _engine(wish)
    return [_work(wish, engine, node) for node in nodes]


def _work(wish: Wish, engine: ContainerEngine | None, node: Node) -> Work:
    work = Work(node.name, "container_engine", "container_engine")
    owed = _owed(node.setup)
    if owed != "none":
        what = {"reload": "reloaded", "restart": "restarted"}[owed]
        work = replace(
            work,
            variables={"container_engine_effect": owed},
            changes=(Change("Docker", "has not taken its configuration up yet", what),),
        )
    if engine is None:
        return work
    if not node.setup.programs.get("dockerd"):
        work = _with_docker(work, wish, engine, node)
    elif node.setup.units.get(_UNIT) not in {"active", "activating", "reloading"}:
        state = node.setup.units.get(_UNIT, "unknown")
        work = replace(work, changes=(*work.changes, Change(_UNIT, state, "active")))
    if engine.ascend_runtime is not None:
        work = _with_runtime(work, wish, engine.ascend_runtime, node)
    return work


def after_settings(wish: Wish, node: Node, reconciled: Reconciled) -> list[Work]:
    """What Docker needs to take its changed files up, and whether that may be.

    Args:
        wish: what was written.
        node: the node.
        reconciled: of all stages' settings: the files that will be written.
    """
    changed = {path: write.text for path, write in reconciled.writes.items() if _is_dockers(path)}
    ways_out = proxy.environment_file(wish, node)
    effects = [_effect(path, text, node.setup) for path, text in changed.items()]
    effect = _most(_owed(node.setup), *effects, "restart" if ways_out else "none")
    if effect == "none" and not changed:
        return []
    engine, installed = _engine(wish), bool(node.setup.programs.get("dockerd"))
    knows_ascend = engine is not None and engine.ascend_runtime is not None
    variables = {
        "container_engine_present": installed or engine is not None,
        "container_engine_effect": effect if installed else "restart",
        "container_engine_seen": {path: _digest(node.setup, path) for path in sorted(changed)},
        "container_engine_runtimes": ["ascend"] if knows_ascend else [],
    }
    work = Work(node.name, "container_engine", "container_engine", variables=variables)
    if ways_out:
        changed[ways_out.path] = ""
        work = _with_way_out(work, ways_out, node)
    running = node.setup.engine.running
    if effect == "restart" and running and not node.setup.engine.live_restore and not wish.allow_restart:
        work = replace(work, findings=(_restart_refused(node.name, running, changed, node.setup),))
    return [work]


def _with_way_out(work: Work, wanted: proxy.EnvironmentFile, node: Node) -> Work:
    """The proxy's variables: their texts may be secrets, and are put together on the way to the node."""
    there = node.setup.files.get(wanted.path)
    was = "absent" if there is None or there.absent else "other variables"
    plain = dict(wanted.environment.plain) if wanted.environment else {}
    secret = dict(wanted.environment.secret) if wanted.environment else {}
    names = ", ".join(sorted({*plain, *secret}))
    return replace(
        work,
        variables={
            **work.variables,
            "container_engine_environment_path": wanted.path,
            "container_engine_environment": {name: plain[name] for name in plain if name not in secret},
        },
        secret_variables={f"container_engine_{name.lower()}": key for name, key in secret.items()},
        changes=(Change(wanted.path, was, names or "absent"),),
    )


def _restart_refused(
    node: str, running: Sequence[str], changed: Mapping[str, str | None], setup: Setup
) -> Finding:
    causes = [
        path if not keys else f"{path} ({', '.join(keys)})"
        for path, text in sorted(changed.items())
        if _effect(path, text, setup) == "restart"
        for keys in [_keys_for_restart(path, text, setup)]
    ]
    return Finding(
        id="provision.docker_restart",
        severity="error",
        node=node,
        seen=f"containers run: {several(running, _MOST_NAMES)}; Docker takes"
        f" {' and '.join(causes) or 'its changed configuration'} up at a restart only, which ends them",
        expected="no container running while Docker is restarted, or your leave",
        remedy="stop them (npuctl stop for npuctl's own), or allow it: npuctl provision --allow-restart",
    )


def _engine(wish: Wish) -> ContainerEngine | None:
    return None if wish.removing else wish.spec.container_engine


def _owed(setup: Setup) -> str:
    owed = str(setup.records.get(RECORD, {}).get("owed", "none"))
    return owed if owed in _EFFECTS else "none"


def _most(*effects: str) -> str:
    return max(("none", *effects), key=_EFFECTS.index)


def _is_dockers(path: str) -> bool:
    return path.startswith(("/etc/docker/", DROP_INS))


def _effect(path: str, text: str | None, setup: Setup) -> str:
    """What a changed file needs; certificates below /etc/docker/certs.d are read at each pull."""
    if path.startswith(DROP_INS) or path == proxy.ENVIRONMENT_FILE:
        return "restart"
    if path != DAEMON_FILE:
        return "none"
    keys = _changed_keys(_text(setup, path), text or "")
    return _most(*("reload" if key in RELOADED else "restart" for key in keys))


def _keys_for_restart(path: str, text: str | None, setup: Setup) -> list[str]:
    if path != DAEMON_FILE:
        return []
    return sorted(_changed_keys(_text(setup, path), text or "") - RELOADED)


def _changed_keys(before: str, after: str) -> set[str]:
    old, new = _object(before), _object(after)
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text or "{}")
    except ValueError:  # it is not written then (settings.py)
        return {}
    return data if isinstance(data, dict) else {}


def _text(setup: Setup, path: str) -> str:
    file = setup.files.get(path)
    return file.text if file else ""


def _digest(setup: Setup, path: str) -> str:
    """As the role's module reckons it: "" where there is no file."""
    file = setup.files.get(path)
    return "" if file is None or file.absent else hashlib.sha256(file.text.encode()).hexdigest()


def _with_docker(work: Work, wish: Wish, engine: ContainerEngine, node: Node) -> Work:
    """Docker from the given files, else from the distribution."""
    variables, changes = dict(work.variables), [Change("Docker", "not installed", "installed")]
    if engine.packages:
        files, missing = _here(wish, engine.packages, node)
        if missing:
            return _refused(work, _no_file(node, missing, "container_engine.packages"))
        variables["container_engine_package_files"] = [file.resolved for file in files]
        changes += [Change(file.path.rpartition("/")[2], "", "installed") for file in files]
        return replace(work, variables=variables, changes=(*work.changes, *changes))
    family = family_of(node.setup)
    if family is None:
        return _refused(work, unknown_family(node, "Docker"))
    packages = list(family.packages_for("docker"))
    if not packages:
        return _refused(work, _no_package(node))
    variables |= {"container_engine_packages": packages, "container_engine_unit": family.docker_unit}
    changes += [Change(name, "not installed", "installed") for name in packages]
    return replace(work, variables=variables, changes=(*work.changes, *changes))


def _with_runtime(work: Work, wish: Wish, package: RuntimePackage, node: Node) -> Work:
    files, missing = _here(wish, [package.package], node)
    if missing:
        return _refused(work, _no_file(node, missing, "container_engine.ascend_runtime.package"))
    (file,) = files
    name = file.path.rpartition("/")[2]
    wanted = package.sha256.get(name, "") if isinstance(package.sha256, dict) else package.sha256 or ""
    if wanted and wanted != file.sha256:
        return _refused(work, _wrong_file(node, file, wanted))
    there = _installed_release(node.setup)
    if _has_runtime(node.setup, file):
        return work
    runtime = {
        "source": file.resolved,
        "sha256": file.sha256,
        "upgrade": bool(there),
        "accept_eula": package.accept_eula,
    }
    was = f"release {there}" if there else "not installed"
    change = Change("Ascend Docker Runtime", was, f"installed from {name}")
    return replace(
        work,
        variables={**work.variables, "container_engine_runtime": runtime},
        changes=(*work.changes, change),
    )


def _has_runtime(setup: Setup, file: LocalFile) -> bool:
    """Whether this package was installed: by its record, or by the release that its name and the node tell."""
    release = _installed_release(setup)
    record = setup.records.get(RUNTIME_RECORD, {})
    ours = record.get("identity") == file.sha256 and record.get("rc") == 0
    named = re.search(r"[-_]v?([0-9][0-9A-Za-z.]*)[-_]linux", file.path)
    return bool(release) and (ours or (named is not None and named[1].lower() == release.lower()))


def _installed_release(setup: Setup) -> str:
    """As 7.3.0, from the installer's own note; "" where it has left none."""
    found = re.search(r"^version=v?(\S+)", _text(setup, _RUNTIME_INFO), re.MULTILINE)
    return found[1] if found else ""


def _here(wish: Wish, paths: Iterable[str], node: Node) -> tuple[list[LocalFile], list[str]]:
    """The files for the node's architecture, and those that are missing."""
    spelled = [path.replace("{arch}", node.facts.architecture) for path in paths]
    return [wish.local[path] for path in spelled if path in wish.local], [
        path for path in spelled if path not in wish.local
    ]


def _refused(work: Work, finding: Finding) -> Work:
    return replace(work, findings=(*work.findings, finding))


def _no_file(node: Node, missing: Sequence[str], key: str) -> Finding:
    return Finding(
        id="provision.engine_file",
        severity="error",
        node=node.name,
        seen=f"no file {', '.join(missing)} here, for {node.facts.architecture or 'an unknown architecture'}",
        expected=f"the files of {key} for the architecture of every node",
        remedy="fetch them; paths are those of this machine, beside hosts.yml unless absolute",
    )


def _wrong_file(node: Node, file: LocalFile, wanted: str) -> Finding:
    return Finding(
        id="provision.engine_file",
        severity="error",
        node=node.name,
        seen=f"{file.path} has sha256 {file.sha256}",
        expected=f"sha256 {wanted}, as container_engine.ascend_runtime.sha256 says",
        remedy="fetch the file from the vendor's page again, or correct the sha256",
    )


def _no_package(node: Node) -> Finding:
    setup = node.setup
    return Finding(
        id="provision.docker_package",
        severity="error",
        node=node.name,
        seen=f"Docker is not installed, and {setup.os_id} {setup.os_version} has no Docker of 18.09 or newer itself",
        expected="Docker on the node, or packages to install it from",
        remedy="name package files of docker-ce and containerd.io in container_engine.packages, or install Docker"
        " by hand",
    )
