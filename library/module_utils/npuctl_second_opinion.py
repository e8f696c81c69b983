"""What another checker says of the node: msprechecker, where it is installed. Standard library; Python 3.8 or newer.

It runs in a folder of its own that is removed afterwards: version 0.4.0 writes into the folder that it is
started in and nowhere else, but for Python's own cache of compiled files, which is switched off.

Of its verbs only `precheck` judges a machine without a configuration of MindIE; without `--scene` it reads the
system and the driver's files. Its scenes are not asked for: they judge the environment of the process, which
here is that of an SSH session and not the engine's, and one of them asks apt and yum, which refresh their
caches.
"""

import os
import re
import shutil
import signal
import site
import subprocess
import sys
import tempfile

from ansible.module_utils import npuctl_command as command

TOOL = "msprechecker"
# The tool asks for hccn_tool by its bare name.
FOLDERS = (*command.FOLDERS, "/usr/local/Ascend/driver/tools")
# Version 0.4.0 has no __main__: `python3 -m msprechecker` does not start it.
START = "import sys; from msprechecker.cli import main; sys.argv[0] = 'msprechecker'; sys.exit(main())"
IS_THERE = "import importlib.util, sys; sys.exit(importlib.util.find_spec('msprechecker') is None)"
VERSION = "from importlib.metadata import version; print(version('msprechecker'))"
VERSION_SECONDS = 5
# In the first line, or in the second where pip had to write a path that is too long for a first line.
INTERPRETER = re.compile(r"^(?:#!|'''exec' )\s*(?:/usr/bin/env )?(\S*python[0-9.]*)", re.MULTILINE)


def collect(seconds):
    """Its answer in a list: tool, version ("" when it cannot be told), rc, stdout, stderr; empty without the tool."""
    found = find()
    if found is None:
        return []
    argv, interpreter = found
    try:
        folder = tempfile.mkdtemp(prefix="npuctl-second-opinion-")
    except OSError as error:
        return [dict(command.failure(f"no folder to run it in: {error}"), tool=TOOL, version="")]
    try:
        version = ""
        if interpreter:
            asked = run([interpreter, "-c", VERSION], VERSION_SECONDS, folder)
            version = asked["stdout"].strip() if asked["rc"] == 0 else ""
        return [dict(run([*argv, "precheck"], seconds, folder), tool=TOOL, version=version)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find():
    """(how it is started, the Python that it runs in or ""); None where it is not installed."""
    program = shutil.which(TOOL, path=search_path())
    if program:
        return [program], interpreter_of(program)
    # Whoever asks runs without site-packages (npuctl/remote/program.py); a Python of its own has them.
    python = sys.executable or "python3"
    there = run([python, "-c", IS_THERE], VERSION_SECONDS, "/")  # writes nothing
    return ([python, "-c", START], python) if there["rc"] == 0 else None


def search_path():
    """Where programs may be: the session's folders, that of `pip install --user`, the system's."""
    own = [path for path in os.environ.get("PATH", "").split(":") if path]
    return ":".join([*own, os.path.expanduser("~/.local/bin"), *FOLDERS])


def interpreter_of(program):
    """The Python that a script names in its beginning; "" where it names none."""
    try:
        with open(program, "rb") as stream:
            head = stream.read(512).decode("utf-8", "replace")
    except OSError:
        return ""
    named = INTERPRETER.search(head)
    return named.group(1) if named else ""


def run(argv, seconds, folder):
    """As npuctl_command.run, with `folder` for everything that is written; what was started ends with it."""
    environment = dict(
        os.environ,
        PATH=search_path(),
        LC_ALL="C",
        HOME=folder,
        TMPDIR=folder,
        XDG_CACHE_HOME=folder,
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONUTF8="1",
        # With HOME moved a package of `pip install --user` would not be found.
        PYTHONUSERBASE=os.environ.get("PYTHONUSERBASE") or site.getuserbase(),
    )
    try:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return command.failure(f"{argv[0]}: {error}")
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        command.bury(process)
        return command.failure(f"{os.path.basename(argv[0])} did not end within {seconds} s")
    leave_nothing(process)
    return {
        "rc": process.returncode,
        "stdout": stdout.decode("utf-8", "replace"),
        "stderr": stderr.decode("utf-8", "replace"),
    }


def leave_nothing(process):
    """End what the process left behind in its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        return
