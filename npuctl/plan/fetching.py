"""Where an engine container fetches packages, models and repositories from: the same mirrors as its node. Pure.

Variables, by their programs' documentation: pip (user guide, configuration), git (git(1), GIT_CONFIG_COUNT, since
2.31), huggingface_hub (HF_ENDPOINT). modelscope reads MODELSCOPE_DOMAIN and puts https:// before it (modelscope 1.15
to 1.40, hub/utils/utils.py); modelscope_hub, on which later releases stand, reads MODELSCOPE_ENDPOINT first, a whole
address (0.5.1, config.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from npuctl.engines._contract import Launch
from npuctl.plan.model import Mount
from npuctl.spec.machines import Mirrors, Proxy
from npuctl.spec.mirrors import effective_mirrors
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parts import SecretRef

# On a node with a certificate of ours (plan/provision/trust.py): everything that the node trusts, in one file.
CA_BUNDLE = "/var/lib/npuctl/ca-bundle.pem"
_CA_IN_CONTAINER = "/run/npuctl/ca-bundle.pem"
# Each takes the place of the program's own bundle, so the file holds both.
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO")
# What must never go through a proxy, whatever the spec says.
_HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Environment:
    """Variables: `plain` with their values, `secret` with the names of theirs in the vault."""

    plain: dict[str, str]
    secret: dict[str, str]


@dataclass(frozen=True, slots=True)
class Fetching:
    """What a container is given for it."""

    environment: Environment
    mounts: tuple[Mount, ...]


def fetching_of(spec: ClusterSpec, launch: Launch) -> Fetching:
    """What the container of this launch is given; what the service or its engine sets goes before."""
    mirrors = effective_mirrors(spec)
    proxy = proxy_environment(spec.proxy, both_cases=True)
    wanted = {**_pip(mirrors), **_git(mirrors), **hub_environment(mirrors), **proxy.plain}
    wanted |= dict.fromkeys(_CA_VARIABLES, _CA_IN_CONTAINER) if mirrors.ca else {}
    taken = {_decides(name) for name in (*launch.env, *launch.secret_env)}
    plain = {name: value for name, value in wanted.items() if _decides(name) not in taken}
    secret = {name: value for name, value in proxy.secret.items() if _decides(name) not in taken}
    mounts = (Mount(CA_BUNDLE, _CA_IN_CONTAINER, read_only=True),) if mirrors.ca else ()
    return Fetching(Environment(plain, secret), mounts)


def hub_environment(mirrors: Mirrors) -> dict[str, str]:
    """Where models come from."""
    env: dict[str, str] = {}
    if mirrors.huggingface:
        env["HF_ENDPOINT"] = mirrors.huggingface
    if mirrors.modelscope:
        env["MODELSCOPE_ENDPOINT"] = mirrors.modelscope
        scheme, _, rest = mirrors.modelscope.partition("://")
        if scheme == "https":
            env["MODELSCOPE_DOMAIN"] = rest.rstrip("/")
    return env


def proxy_environment(proxy: Proxy | None, *, both_cases: bool = False) -> Environment:
    """HTTP_PROXY and so on; with `both_cases` http_proxy as well, for curl reads that one alone."""
    plain: dict[str, str] = {}
    secret: dict[str, str] = {}
    given = {"HTTP_PROXY": proxy.http, "HTTPS_PROXY": proxy.https} if proxy else {}
    for name, value in given.items():
        for spelled in (name, name.lower()) if both_cases else (name,):
            if isinstance(value, SecretRef):
                secret[spelled] = value.secret
            elif value:
                plain[spelled] = value
    if proxy and (plain or secret):
        direct = ",".join(dict.fromkeys([*_HERE, *proxy.no_proxy]))
        plain |= dict.fromkeys(("NO_PROXY", "no_proxy") if both_cases else ("NO_PROXY",), direct)
    return Environment(plain, secret)


def _pip(mirrors: Mirrors) -> dict[str, str]:
    pip = mirrors.pip
    if pip is None:
        return {}
    found: Mapping[str, str] = {
        "PIP_INDEX_URL": pip.index or "",
        "PIP_EXTRA_INDEX_URL": " ".join(pip.extra_index),
        "PIP_TRUSTED_HOST": " ".join(pip.trusted_hosts),
    }
    return {name: value for name, value in found.items() if value}


def _git(mirrors: Mirrors) -> dict[str, str]:
    pairs = sorted((mirrors.git or {}).items())
    env = {"GIT_CONFIG_COUNT": str(len(pairs))} if pairs else {}
    for number, (address, instead) in enumerate(pairs):
        env[f"GIT_CONFIG_KEY_{number}"] = f"url.{instead}.insteadOf"
        env[f"GIT_CONFIG_VALUE_{number}"] = address
    return env


def _decides(name: str) -> str:
    """What a variable is about: several may be about one thing, and are set by one side only."""
    if name.startswith("GIT_CONFIG_"):
        return "git"
    return "modelscope" if name in {"MODELSCOPE_DOMAIN", "MODELSCOPE_ENDPOINT"} else name.upper()
