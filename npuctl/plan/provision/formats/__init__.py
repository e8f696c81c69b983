"""File formats in which npuctl sets single values and leaves every other character as it stands. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath

from npuctl.plan.provision.formats._contract import ABSENT, Absent, Format
from npuctl.plan.provision.formats.env_file import ENV_FILE
from npuctl.plan.provision.formats.git_file import GIT_FILE
from npuctl.plan.provision.formats.ini_file import PIP_CONF, YUM_REPO
from npuctl.plan.provision.formats.json_file import JSON_FILE, json_key
from npuctl.plan.provision.formats.sources_file import APT_LIST, APT_SOURCES
from npuctl.plan.provision.formats.whole import WHOLE

__all__ = ["ABSENT", "Absent", "Format", "format_of", "json_key"]

_BY_NAME: dict[str, Format] = {
    "daemon.json": JSON_FILE,
    "pip.conf": PIP_CONF,
    "gitconfig": GIT_FILE,
    ".gitconfig": GIT_FILE,
    "environment": ENV_FILE,
}
_BY_ENDING: dict[str, Format] = {
    ".list": APT_LIST,
    ".sources": APT_SOURCES,
    ".repo": YUM_REPO,
}


def format_of(path: str) -> Format:
    """The format of a file, by its name; a file of no known format is set as a whole, with the key ""."""
    name = PurePosixPath(path)
    return _BY_NAME.get(name.name) or _BY_ENDING.get(name.suffix, WHOLE)
