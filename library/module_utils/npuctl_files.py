"""Files of a node: read when they can be, and nothing else. Standard library; Python 3.8 or newer."""

import grp
import os
import pwd


def text(path):
    """A file's text; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def text_or_reason(path):
    """{"text": …} of a file, or {"error": …}: "absent" when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return {"text": stream.read()}
    except FileNotFoundError:
        return {"error": "absent"}
    except OSError as error:
        return {"error": error.strerror or str(error)}


def names(folder):
    """Names in a folder; none when it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def owner(info):
    """user:group by name, by number where there is no name."""
    try:
        user = pwd.getpwuid(info.st_uid).pw_name
    except KeyError:
        user = str(info.st_uid)
    try:
        group = grp.getgrgid(info.st_gid).gr_name
    except KeyError:
        group = str(info.st_gid)
    return user + ":" + group


def release():
    """Key → value of os-release(5), without its quotes."""
    lines = (line.partition("=") for line in text("/etc/os-release").splitlines())
    return {key.strip(): value.strip().strip("\"'") for key, equals, value in lines if equals}


def nearest_folder(path):
    """The path, or its nearest folder that exists."""
    while path not in ("/", "") and not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
