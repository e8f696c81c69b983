"""The vendor's .run packages: verified, and run so that no broken connection stops one half-way.

A package runs in a session of its own. What becomes of it stands in two files of the folder, NAME.json and
NAME.log, and whoever asks again for the same identity waits for the one that runs, or reads how it ended.
Standard library; Python 3.8 or newer.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
import time

from ansible.module_utils import npuctl_command as command

FOLDER = "/var/lib/npuctl"
CHECK_SECONDS = 300  # a driver package of 200 MB is unpacked nowhere, but read twice
PAUSE_SECONDS = 0.5
TOLD_LINES = 15
CHUNK = 1024 * 1024
DONE, OWED = 0, 2
# Exit codes and texts: hicann/driver, scripts/package (driver_install.sh, run_driver_install.sh).
OWED_TEXTS = (
    "reboot needed for installation/upgrade to take effect",
    "kernel modules can not be removed, reboot needed",
    "please check after reboot",
)


class PackageError(Exception):
    """The package cannot be used or its run cannot be followed; the text says what, where and what to do."""


def sha256_of(path):
    """The file's sha256, in hexadecimal digits."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for chunk in iter(lambda: stream.read(CHUNK), b""):
                digest.update(chunk)
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror or error}") from None
    return digest.hexdigest()


def verify(path, sha256="", seconds=CHECK_SECONDS):
    """Raise PackageError unless the file has that sha256 and passes the check that it carries itself."""
    found = sha256_of(path)
    if sha256 and found != sha256:
        raise PackageError(
            f"{path} has sha256 {found}, not {sha256}; it was damaged on the way or is another file: "
            "take it from the vendor's page again"
        )
    # In the root folder: started from within a folder that it replaces, an installer fails at getcwd.
    answer = command.run(["/bin/sh", "-c", 'cd / && exec "$0" "$@"', path, "--check"], seconds)
    if answer["rc"] != 0:
        said = last_lines(answer["stdout"] + "\n" + answer["stderr"], 3) or "nothing"
        how = "did not end" if answer["rc"] is None else f"ended with {answer['rc']}"
        raise PackageError(f"{path} --check {how} and said: {said}; the package is broken, fetch it anew")


def run(path, arguments, name, identity, seconds, folder=FOLDER, answer=""):
    """Run a package once for this identity, and wait for its end.

    Where one with the same identity runs already it is waited for; where it has ended, nothing is run.
    `answer` is what it reads where it asks a question; nothing, and it goes on as if nobody were there.

    Returns: rc, reboot_owed, lines (the last ones of its output), and started: whether this call began it.

    Raises PackageError when it does not end in time (it goes on, and may be asked for again), or when its
    end is unknown because it was killed.
    """
    job = Job(folder, name)
    found = job.read()
    mine = found.get("identity") == identity
    started = False
    if not (mine and found.get("state") == "ended"):
        if found.get("state") == "ended":
            job.forget_lock()
        lock = job.try_lock()
        if lock is None and not mine:
            raise PackageError(
                f"another installation runs here: {found.get('path', 'unknown')}; wait for its end"
            )
        if lock is not None:
            started = True
            job.start(lock, path, arguments, identity, answer)
        job.wait(identity, seconds)
    found = job.read()
    return {
        "rc": found["rc"],
        "reboot_owed": found["reboot_owed"],
        "lines": last_lines(job.text(), TOLD_LINES),
        "started": started,
    }


def last_lines(text, count):
    """The last lines that say something, as one text."""
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-count:])


def says_reboot(rc, text):
    """Whether an installation that ended so wants a reboot before it is in effect."""
    lowered = text.lower()
    return rc == OWED or (rc == DONE and any(words in lowered for words in OWED_TEXTS))


class Job:
    """One kind of package on this node: what runs, or how the last one ended.

    The lock is held by the process that watches the package and by the package itself, for as long as one of
    them lives: the kernel knows better than a process id whether something runs.
    """

    def __init__(self, folder, name):
        self.folder = folder
        self.record = os.path.join(folder, name + ".json")
        self.log = os.path.join(folder, name + ".log")
        self.lock = os.path.join(folder, name + ".lock")

    def read(self):
        """The record; empty where nothing was ever run."""
        try:
            with open(self.record, encoding="utf-8") as stream:
                return json.load(stream)
        except (OSError, ValueError):
            return {}

    def text(self):
        """What the package has printed."""
        try:
            with open(self.log, encoding="utf-8", errors="replace") as stream:
                return stream.read()
        except OSError:
            return ""

    def try_lock(self):
        """A descriptor that holds the lock; None where something runs."""
        try:
            os.makedirs(self.folder, 0o700, exist_ok=True)
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PackageError(f"{self.folder} cannot be written: {error.strerror or error}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def forget_lock(self):
        """What has ended needs none; a service that the package started may hold it for ever."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.lock)

    def start(self, lock, path, arguments, identity, answer=""):
        """Begin, in a process that outlives this one and its connection."""
        about = {"identity": identity, "path": path, "arguments": list(arguments), "boot_id": boot_id()}
        self.write(dict(about, state="running"))
        child = os.fork()
        if child == 0:
            # The middle process ends at once, so that init is the parent and reaps what comes after.
            with contextlib.suppress(BaseException):
                os.setsid()
                if os.fork() == 0:
                    self.watch(lock, path, arguments, about, answer)
            os._exit(0)
        os.waitpid(child, 0)
        os.close(lock)

    def watch(self, lock, path, arguments, about, answer=""):
        """In the process that stays: run the package, and note how it ended."""
        detach(lock)
        rc, why = None, ""
        # Not O_CLOEXEC any more: the package holds the lock too, should this process be killed.
        os.set_inheritable(lock, True)
        try:
            opened = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(opened, "wb") as log, tempfile.TemporaryFile() as said:
                said.write(answer.encode())
                said.seek(0)
                rc = subprocess.call(
                    [path, *arguments],
                    cwd="/",
                    stdin=said,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(lock,),
                    env={"PATH": ":".join(command.FOLDERS), "LC_ALL": "C", "HOME": "/root"},
                )
        except OSError as error:
            why = f"{path} cannot be started: {error.strerror or error}"
        text = self.text()
        self.write(dict(about, state="ended", rc=rc, reboot_owed=says_reboot(rc, text), why=why))

    def write(self, record):
        """Replace the record whole, and on the disk: it is read after a crash."""
        fresh = self.record + ".new"
        with open(
            os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as stream:
            json.dump(record, stream, indent=1, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(fresh, self.record)

    def wait(self, identity, seconds):
        """Until the record says how it ended."""
        deadline = time.monotonic() + seconds
        while True:
            # First the lock, then the record: the record is written before the lock is let go.
            lock = self.try_lock()
            found = self.read()
            if lock is not None:
                os.close(lock)
            if found.get("identity") != identity:
                raise PackageError(f"{self.record} was written by another installation meanwhile")
            if found.get("state") == "ended":
                if found.get("rc") is None:
                    raise PackageError(found.get("why") or "it did not run")
                return
            if lock is not None:
                raise PackageError(
                    f"{found['path']} was ended before its end; its last words: "
                    f"{last_lines(self.text(), 3) or 'none'} ({self.log}); run the same again"
                )
            if time.monotonic() > deadline:
                raise PackageError(
                    f"{found['path']} still runs after {seconds} s; it goes on by itself and writes to {self.log}: "
                    "run the same again to wait on"
                )
            time.sleep(PAUSE_SECONDS)


def detach(lock):
    """Let go of everything that ties this process to who started it, but for the lock."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    most = os.sysconf("SC_OPEN_MAX")
    os.closerange(3, lock)
    os.closerange(lock + 1, min(most if most > 0 else 4096, 65536))


def boot_id():
    """The kernel's name for this boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as stream:
            return stream.read().strip()
    except OSError:
        return ""
