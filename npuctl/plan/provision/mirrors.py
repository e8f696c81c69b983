"""Where a node fetches things from: pip, git, hubs of models, Docker, its package manager; and whom it trusts. Pure.

Who sees the hubs' variables: /etc/environment is read by PAM for logins, commands over ssh, su and cron; a login shell
that PAM gives nothing (sudo -i, a shell in a container) reads /etc/profile.d. A systemd service reads neither:
Docker and the engine containers are told by npuctl itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from npuctl.hardware.unreadable import UnreadableError
from npuctl.plan.fetching import hub_environment
from npuctl.plan.provision import proxy, trust
from npuctl.plan.provision._contract import DAEMON_FILE, Node, Questions, Wish, Work
from npuctl.plan.provision.formats import format_of
from npuctl.plan.provision.settings import RECORD, Noted, Setting, read_record
from npuctl.spec.machines import Mirrors
from npuctl.spec.mirrors import effective_mirrors
from npuctl.spec.parse import Problem

ENVIRONMENT = "/etc/environment"
PROFILE = "/etc/profile.d/npuctl-mirrors.sh"
_APT = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/")
_YUM = ("/etc/yum.repos.d/",)
_NO_DOCKER = "Docker is not here: its mirrors and its proxy are not set (container_engine: {} installs it)"


def questions(wish: Wish) -> Questions:
    """What to look at; what was set before is looked at by its record."""
    mirrors = _mirrors(wish)
    files = {proxy.ENVIRONMENT_FILE, proxy.DROP_IN, *trust.files(wish)}
    for user in wish.users.values() or ("root",):
        files |= {_pip_file(mirrors, user)} if mirrors.pip else set()
        files |= {_git_file(mirrors, user)} if mirrors.git else set()
    files |= {ENVIRONMENT, PROFILE} if hub_environment(mirrors) else set()
    files |= {DAEMON_FILE} if mirrors.docker else set()
    files |= set(_APT) if mirrors.apt else set()
    files |= set(_YUM) if mirrors.yum else set()
    return Questions(
        files=frozenset(files),
        programs=frozenset({"dockerd"}) | trust.PROGRAMS,
        records=frozenset({RECORD, trust.RECORD}),
    )


def problems(wish: Wish) -> list[Problem]:
    """What is wrong whatever the nodes are like."""
    return trust.problems(wish)


def settings(wish: Wish, node: Node) -> list[Setting]:
    """Everything of this stage that is one value in a file."""
    mirrors = _mirrors(wish)
    user = wish.users.get(node.name, "root")
    return [
        *_pip(mirrors, user),
        *_git(mirrors, user),
        *_hubs(mirrors),
        *(_docker(mirrors) if _has_docker(wish, node) else ()),
        *_sources(mirrors.apt, _APT, node),
        *_sources(mirrors.yum, _YUM, node),
        *trust.settings(wish, node),
        *proxy.settings(wish, node),
    ]


def work(wish: Wish, nodes: Sequence[Node]) -> list[Work]:
    """The store of certificates, and what there is to say."""
    found: list[Work] = []
    for node in nodes:
        store = trust.work(wish, node)
        found += [store] if store else []
        notes = tuple(_notes(wish, node))
        found += [Work(node.name, "mirrors", "package_mirror", notes=notes)] if notes else []
    return found


def _mirrors(wish: Wish) -> Mirrors:
    return Mirrors() if wish.removing else effective_mirrors(wish.spec)


def _has_docker(wish: Wish, node: Node) -> bool:
    return bool(node.setup.programs.get("dockerd")) or wish.spec.container_engine is not None


def _pip_file(mirrors: Mirrors, user: str) -> str:
    return f"~{user}/.config/pip/pip.conf" if mirrors.scope == "user" else "/etc/pip.conf"


def _git_file(mirrors: Mirrors, user: str) -> str:
    return f"~{user}/.gitconfig" if mirrors.scope == "user" else "/etc/gitconfig"


def _pip(mirrors: Mirrors, user: str) -> Iterator[Setting]:
    pip, file = mirrors.pip, _pip_file(mirrors, user)
    if pip is None:
        return
    if pip.index:
        yield Setting(file, "global.index-url", pip.index)
    for address in pip.extra_index:
        yield Setting(file, "global.extra-index-url", address, item=True)
    for host in pip.trusted_hosts:
        yield Setting(file, "global.trusted-host", host, item=True)


def _git(mirrors: Mirrors, user: str) -> Iterator[Setting]:
    for address, instead in (mirrors.git or {}).items():
        yield Setting(_git_file(mirrors, user), f"url.{instead}.insteadof", address, item=True)


def _hubs(mirrors: Mirrors) -> Iterator[Setting]:
    variables = hub_environment(mirrors)
    for name, value in variables.items():
        yield Setting(ENVIRONMENT, name, value)
    if variables:
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        yield Setting(PROFILE, "", "# Written by npuctl (mirrors).\n" + "".join(lines))


def _docker(mirrors: Mirrors) -> Iterator[Setting]:
    docker = mirrors.docker
    for address in docker.registry_mirrors if docker else ():
        yield Setting(DAEMON_FILE, "registry-mirrors", address, item=True)
    for registry in docker.insecure_registries if docker else ():
        yield Setting(DAEMON_FILE, "insecure-registries", registry, item=True)


def _sources(prefixes: Mapping[str, str] | None, places: Sequence[str], node: Node) -> Iterator[Setting]:
    """The addresses of package sources that begin with one of the prefixes, with what takes its place.

    An address that npuctl has set before counts as the one that stood there first.
    """
    noted = read_record(node.setup.records.get(RECORD, {}))
    for path in _source_files(places, node) if prefixes else ():
        values = _values(path, node)
        for key, value in values.items():
            option = key.rpartition(".")[2]
            if path.endswith(".repo") and option not in {"baseurl", "mirrorlist", "metalink", "gpgkey"}:
                continue
            fresh = _rewritten(_original(noted, path, key, value), prefixes or {})
            if fresh is not None:
                yield Setting(path, key, fresh)
            if fresh is not None and option == "baseurl" and path.endswith(".repo"):
                yield from _without_lists(path, key.removesuffix("baseurl"), values, prefixes or {}, noted)


def _without_lists(
    path: str,
    section: str,
    values: Mapping[str, JsonValue],
    prefixes: Mapping[str, str],
    noted: Sequence[Noted],
) -> Iterator[Setting]:
    """Dnf asks a metalink or a mirror list before the base address (libdnf, repo/Repo.cpp): they are emptied."""
    for option in ("metalink", "mirrorlist"):
        value = values.get(section + option, "")
        original = _original(noted, path, section + option, value)
        if original and _rewritten(original, prefixes) is None:
            yield Setting(path, section + option, "")


def _original(noted: Sequence[Noted], path: str, key: str, value: JsonValue) -> JsonValue:
    for entry in noted:
        if (entry.file, entry.key) == (path, key) and value in entry.ours:
            before: JsonValue = entry.before
            return before
    return value


def _rewritten(value: JsonValue, prefixes: Mapping[str, str]) -> JsonValue:
    """The addresses of a value with their mirrors; None where none has one. The longest prefix decides."""
    texts = value if isinstance(value, list) else [value]
    fresh: list[JsonValue] = []
    for text in texts:
        words = [_mirrored(word, prefixes) for word in str(text).split(" ")]
        fresh.append(" ".join(words))
    if fresh == texts:
        return None
    return fresh if isinstance(value, list) else fresh[0]


def _mirrored(address: str, prefixes: Mapping[str, str]) -> str:
    found = [prefix for prefix in prefixes if address.startswith(prefix)]
    prefix = max(found, key=len, default="")
    return prefixes[prefix] + address.removeprefix(prefix) if prefix else address


def _source_files(places: Sequence[str], node: Node) -> list[str]:
    files = sorted(node.setup.files)
    return [path for path in files if path in places or path.rpartition("/")[0] + "/" in places]


def _values(path: str, node: Node) -> Mapping[str, JsonValue]:
    file = node.setup.files.get(path)
    if file is None or file.error:
        return {}
    try:
        return {key: value for key, value in format_of(path).read(file.text).items() if key}
    except UnreadableError:  # told by whoever writes it (settings.py)
        return {}


def _notes(wish: Wish, node: Node) -> Iterator[str]:
    mirrors = _mirrors(wish)
    docker = mirrors.docker
    wants = bool(docker and (docker.registry_mirrors or docker.insecure_registries))
    wants = wants or (wish.spec.proxy is not None and not wish.removing)
    if wants and not _has_docker(wish, node):
        yield _NO_DOCKER
    if mirrors.modelscope and not mirrors.modelscope.startswith("https://"):
        yield f"mirrors.modelscope: {mirrors.modelscope} is taken by the package modelscope_hub only; before it https is"
    for name, prefixes, places in (("apt", mirrors.apt, _APT), ("yum", mirrors.yum, _YUM)):
        own = node.setup.packages_by.replace("dnf", "yum") == name
        for prefix in prefixes or {} if own else ():
            if not list(_sources({prefix: "-"}, places, node)):
                yield f"mirrors.{name}: no source of this node begins with {prefix}"
    yield from _rivals(mirrors, wish.users.get(node.name, "root"), node)


def _rivals(mirrors: Mirrors, user: str, node: Node) -> Iterator[str]:
    """Git takes one of two rewritings of the same address: the one it reads first."""
    file = _git_file(mirrors, user)
    for address, instead in (mirrors.git or {}).items():
        for key, values in _values(file, node).items():
            listed = values if isinstance(values, list) else []
            if key.endswith(".insteadof") and key != f"url.{instead}.insteadof" and address in listed:
                other = key.removeprefix("url.").removesuffix(".insteadof")
                yield f"{file}: {address} is rewritten to {other} as well"
