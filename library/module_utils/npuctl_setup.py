"""How a machine is set up: files, kernel values, packages, units, programs, npuctl's own notes. Read-only.

Standard library; Python 3.8 or newer.
"""

import concurrent.futures
import glob
import json
import os
import shutil
import stat

from ansible.module_utils import npuctl_command as command
from ansible.module_utils import npuctl_engine_setup as engine
from ansible.module_utils import npuctl_files as files
from ansible.module_utils import npuctl_images as images
from ansible.module_utils import npuctl_store as store

RECORDS = "/var/lib/npuctl"
KERNEL = ("/proc/", "/sys/")
MOST_BYTES = 1024 * 1024  # of a file that people write by hand
PACKAGES_SECONDS = 20
UNITS_SECONDS = 10
UPGRADE_TOOL = "/usr/local/Ascend/driver/tools/upgrade-tool"
STORE_SECONDS = 60  # a file server that is far away; one that is dead is waited for no longer
BOOT_STATUS_SECONDS = 20  # the driver's own installer waits as long


def collect(wanted):
    """Answer everything that request["setup"] asks for; its keys are the fields of plan's Questions."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        packages = pool.submit(read_packages, wanted.get("packages") or [])
        units = pool.submit(read_units, wanted.get("units") or [])
        running = pool.submit(engine.read)
        there = pool.submit(images.local, wanted.get("images") or [])
        stores = pool.submit(read_stores, wanted.get("stores") or [])
        booted = pool.submit(read_boot_status) if wanted.get("boot_status") else None
        found = read_release()
        found["records"] = read_records(wanted.get("records") or [])
        found["notes"] = sorted(files.names(RECORDS))
        noted = noted_files(found["records"])
        values = [path for path in noted if path.startswith(KERNEL)]
        found["files"] = read_files([*(wanted.get("files") or []), *(set(noted) - set(values))])
        found["values"] = read_values([*(wanted.get("values") or []), *values])
        found["programs"] = {name: find(name) for name in wanted.get("programs") or []}
        found["packages"] = packages.result()
        found["units"] = units.result()
        found["engine"] = running.result()
        found["images"] = there.result()
        found["stores"] = stores.result()
        found["boot_status"] = booted.result() if booted else None
    return found


def read_stores(folders):
    """Folder of a model → what the model store knows of it."""
    found = {}
    for folder in folders:
        answer, why = command.within(STORE_SECONDS, store.read, folder)
        found[folder] = answer or {"path": folder, "error": why}
    return found


def read_release():
    """What os-release says, and the package manager that is there."""
    release = files.release()
    managers = [
        name for name, program in (("apt", "apt-get"), ("dnf", "dnf"), ("yum", "yum")) if find(program)
    ]
    return {
        "os_id": release.get("ID", ""),
        "os_like": release.get("ID_LIKE", "").split(),
        "os_version": release.get("VERSION_ID", ""),
        "packages_by": managers[0] if managers else "",
    }


def read_files(asked):
    """Asked path → the file, None where there is none. `~USER/…` is resolved; FOLDER/ means every file in it."""
    found = {}
    for path in asked:
        if path.endswith("/"):
            inside = sorted(
                os.path.join(path, name) for name in files.names(path) if not name.startswith(".")
            )
            found.update({entry: read_file(entry) for entry in inside if os.path.isfile(entry)})
        else:
            found[path] = read_file(os.path.expanduser(path), in_home=path.startswith("~"))
    return found


def read_file(path, *, in_home=False):
    """Text, mode and owner of a file; where a link leads is what is read, and would be written."""
    real = os.path.realpath(path)
    answer = {"path": real}
    try:
        with open(real, "rb") as stream:
            info = os.fstat(stream.fileno())
            answer["mode"] = f"{stat.S_IMODE(info.st_mode):04o}"
            answer["owner"] = files.owner(info)
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            answer["error"] = f"larger than {MOST_BYTES} bytes"
        else:
            answer["text"] = content.decode("utf-8")
    except FileNotFoundError:
        # In a home folder a file that is made anew belongs to whom the folder belongs.
        return absent(real) if in_home or real != path else None
    except UnicodeDecodeError:
        answer["error"] = "not UTF-8"
    except OSError as error:
        answer["error"] = error.strerror or str(error)
    return answer


def absent(path):
    """A file that is not there yet, with the owner it would have."""
    folder = files.nearest_folder(os.path.dirname(path))
    return {"path": path, "absent": True, "mode": "0644", "owner": files.owner(os.stat(folder))}


def read_values(asked):
    """Path of a kernel value → its text, or why there is none; `*` in a path stands for all that match."""
    found = {}
    for pattern in asked:
        paths = sorted(glob.glob(pattern)) if "*" in pattern else [pattern]
        for path in paths:
            answer = files.text_or_reason(path)
            found[path] = {"text": answer["text"]} if "text" in answer else answer
            if "text" in answer and not writable(path):
                found[path]["read_only"] = True
    return found


def writable(path):
    """Whether a kernel value could be set: root may write to every mode, but not to a read-only mount."""
    try:
        return not os.statvfs(path).f_flag & os.ST_RDONLY
    except OSError:
        return False


def find(program):
    """Where a program is; "" where it is not on the node."""
    return shutil.which(program, path=":".join(command.FOLDERS)) or ""


def read_records(asked):
    """What npuctl noted on this node, by name; a note that cannot be read says so under "error"."""
    found = {}
    for name in asked:
        answer = files.text_or_reason(os.path.join(RECORDS, name + ".json"))
        if answer.get("error") == "absent":
            continue
        try:
            record = json.loads(answer["text"]) if "text" in answer else {"error": answer["error"]}
        except ValueError as error:
            record = {"error": f"no JSON: {error}"}
        found[name] = record if isinstance(record, dict) else {"error": "no JSON object"}
    return found


def noted_files(records):
    """The files that the record of settings names: what was set once is looked at, wanted or not."""
    entries = records.get("settings", {}).get("entries")
    named = (
        [entry.get("file") for entry in entries if isinstance(entry, dict)]
        if isinstance(entries, list)
        else []
    )
    return sorted({file for file in named if isinstance(file, str)})


def read_boot_status():
    """What the driver's tool says of how far the chips have come up."""
    return command.run([UPGRADE_TOOL, "--device_index", "-1", "--boot_status"], BOOT_STATUS_SECONDS)


def read_packages(names):
    """Name → version of those that are installed."""
    if not names:
        return {}
    if find("dpkg-query"):
        argv = ["dpkg-query", "-W", "-f", "${db:Status-Status}\\t${Package}\\t${Version}\\n", *names]
        lines = [line.split("\t") for line in command.run(argv, PACKAGES_SECONDS)["stdout"].splitlines()]
        return {line[1]: line[2] for line in lines if len(line) == 3 and line[0] == "installed"}
    if find("rpm"):
        argv = ["rpm", "-q", "--qf", "installed\\t%{NAME}\\t%{VERSION}-%{RELEASE}\\n", *names]
        lines = [line.split("\t") for line in command.run(argv, PACKAGES_SECONDS)["stdout"].splitlines()]
        return {line[1]: line[2] for line in lines if len(line) == 3 and line[0] == "installed"}
    return {}


def read_units(names):
    """Unit → active, inactive, failed …; not-found where systemd does not know it."""
    if not names:
        return {}
    argv = ["systemctl", "show", "--property=Id,LoadState,ActiveState", *names]
    found = {}
    for block in command.run(argv, UNITS_SECONDS)["stdout"].split("\n\n"):
        entry = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if entry.get("Id"):
            state = entry.get("ActiveState", "")
            found[entry["Id"]] = "not-found" if entry.get("LoadState") == "not-found" else state
    return found
