"""Foreign programs and slow questions on a node: never waited for in vain. Standard library; Python 3.8 or newer."""

import os
import signal
import subprocess
import threading
import time

# A process in a driver's call does not die of SIGKILL before the call returns; it is left to itself then.
BURY_SECONDS = 1
# hccn_tool holds a lock ("hccn_tool is busy, please try again."): callers take turns.
BUSY = "is busy"
BUSY_TRIES = 6
BUSY_PAUSE_SECONDS = 0.25
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def run(argv, seconds, folders=()):
    """A tool's answer: rc, stdout, stderr; rc None when it is absent or did not end in time."""
    environment = dict(os.environ, LC_ALL="C")
    own = environment.get("PATH", "").split(":")
    environment["PATH"] = ":".join([*(path for path in own if path), *folders, *FOLDERS])
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError:
        return failure(argv[0] + " is not installed")
    except OSError as error:
        return failure(f"{argv[0]}: {error}")
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        bury(process)
        return dict(failure(f"{argv[0]} did not end within {seconds} s"), hung=True)
    return {
        "rc": process.returncode,
        "stdout": stdout.decode("utf-8", "replace"),
        "stderr": stderr.decode("utf-8", "replace"),
    }


def failure(why):
    """The answer of a tool that could not be asked."""
    return {"rc": None, "stdout": "", "stderr": why}


def bury(process):
    """Kill a process and what it started; wait for its end only as long as one may."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=BURY_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return


class Tool:
    """A tool that is asked many questions: where one hung, or stayed busy, the rest is not asked.

    `about` names what the question is about, as a chip. So eight chips that hang cost one time-out, for
    they are asked side by side, and not one a question. After `budget` seconds nothing is asked any more:
    a tool that is slow everywhere must not take the rest of the look with it.
    """

    def __init__(self, name, seconds, folders=(), budget=80):
        self.name = name
        self.seconds = seconds
        self.folders = folders
        self._budget = budget
        self._ends = time.monotonic() + budget
        self._given_up = {}

    def ask(self, words, about):
        """Answer to `NAME WORDS`, after a few tries where the tool says that it is busy."""
        why = self._given_up.get(about) or self._given_up.get(None)
        if not why and time.monotonic() > self._ends:
            why = f"{self._budget} s were over"
        if why:
            return failure("not asked: " + why)
        answer = self._ask_until_free(words)
        if answer.pop("hung", False):
            self.give_up(f"{self.name} hung before", about)
        elif says_busy(answer):
            self.give_up(f"{self.name} stayed busy", about)
        return answer

    def give_up(self, why, about=None):
        """Ask it nothing more about that; about anything, without it."""
        self._given_up[about] = why

    def _ask_until_free(self, words):
        answer = run([self.name, *words], self.seconds, self.folders)
        for attempt in range(1, BUSY_TRIES):
            if not says_busy(answer):
                break
            time.sleep(BUSY_PAUSE_SECONDS * attempt)
            answer = run([self.name, *words], self.seconds, self.folders)
        return answer


def says_busy(answer):
    """Whether the tool wants to be asked again."""
    return BUSY in answer["stdout"] + answer["stderr"]


def within(seconds, question, *given):
    """(answer, "") of a question that may hang, as one to a dead file server; (None, why) when it does.

    Asked in a thread that does not keep the program from ending.
    """
    outcome = []

    def ask():
        try:
            outcome.append((question(*given), ""))
        except Exception as error:  # noqa: BLE001  whatever it was, the other questions go on
            outcome.append((None, f"{type(error).__name__}: {error}"))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else (None, f"no answer within {seconds} s")
