"""The Docker command line, as functions; nothing else in the package starts docker."""

from __future__ import annotations

import select
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, TypeVar

from npuctl.errors import PlayFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_Item = TypeVar("_Item")
_LAST_LINES = 8
_WORDS, _WORD = 8, 60  # how much of a failed command a message shows


class DockerError(PlayFailedError):
    """A docker command failed; the message holds the command's own last lines."""


def run(*arguments: str, stdin: bytes | None = None, timeout: float | None = None) -> str:
    """Run `docker ARGUMENTS` and return its stdout.

    Raises:
        DockerError: it failed, or did not end within `timeout` seconds.
    """
    done = attempt(*arguments, stdin=stdin, timeout=timeout)
    if done.returncode != 0:
        raise DockerError(f"{_shown(arguments)} failed: {_tail(done.stderr or done.stdout)}")
    return done.stdout.decode(errors="replace")


def attempt(
    *arguments: str, stdin: bytes | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run `docker ARGUMENTS` and return how it ended, good or bad."""
    source: dict[str, object] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            ["docker", *arguments], capture_output=True, timeout=timeout, check=False, **source
        )
    except subprocess.TimeoutExpired as error:
        raise DockerError(f"{_shown(arguments)} did not end within {timeout:.0f} s") from error


def succeeds(*arguments: str, timeout: float | None = None) -> bool:
    """Tell whether `docker ARGUMENTS` exits 0 in time."""
    try:
        return attempt(*arguments, timeout=timeout).returncode == 0
    except DockerError:
        return False


def lines(*arguments: str, timeout: float | None = None) -> list[str]:
    """Run `docker ARGUMENTS` and return the lines of its stdout that are not empty."""
    return [line for line in run(*arguments, timeout=timeout).splitlines() if line.strip()]


def pipe(producer: list[str], consumer: list[str]) -> None:
    """Run `docker PRODUCER | docker CONSUMER`.

    Raises:
        DockerError: either side failed.
    """
    with subprocess.Popen(["docker", *producer], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source:
        sink = attempt_stream(consumer, source.stdout)
        _, complaint = source.communicate()
    if source.returncode != 0:
        raise DockerError(f"{_shown(producer)} failed: {_tail(complaint)}")
    if sink.returncode != 0:
        raise DockerError(f"{_shown(consumer)} failed: {_tail(sink.stderr)}")


def attempt_stream(arguments: list[str], stream: IO[bytes] | None) -> subprocess.CompletedProcess[bytes]:
    """Run `docker ARGUMENTS` with `stream` (an open file) as its stdin."""
    return subprocess.run(["docker", *arguments], stdin=stream, capture_output=True, check=False)


def feed(arguments: list[str], path: Path) -> None:
    """Run `docker ARGUMENTS` with the file as its stdin.

    Raises:
        DockerError: it failed.
    """
    with path.open("rb") as source:
        done = attempt_stream(arguments, source)
    if done.returncode != 0:
        raise DockerError(f"{_shown(arguments)} failed: {_tail(done.stderr)}")


def pull(reference: str, *, answers_within: float, done_within: float) -> bool:
    """Pull an image if its registry answers in time; tell whether it is here.

    The engine's own `pull` is asked, not the registry: it knows the engine's mirrors and proxies. Its
    first line comes when the registry has answered.
    """
    command = ["docker", "pull", reference]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            streams = [process.stdout] if process.stdout else []
            if not select.select(streams, [], [], answers_within)[0]:
                return False
            process.communicate(timeout=done_within)
        except subprocess.TimeoutExpired:
            return False
        finally:
            process.kill()
    return process.returncode == 0


def image_id(reference: str) -> str:
    """Return the id of a local image, "" if there is none."""
    done = attempt("image", "inspect", "--format", "{{.Id}}", reference)
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def in_parallel(work: Callable[[_Item], None], items: Iterable[_Item], *, at_once: int) -> None:
    """Call `work` on every item, a few at once; after an error or Ctrl-C none begins any more."""
    stopped = threading.Event()

    def begin(item: _Item) -> None:
        if stopped.is_set():
            return
        try:
            work(item)
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        futures = [pool.submit(begin, item) for item in items]
        try:
            for future in futures:
                future.result()
        finally:
            stopped.set()


def _shown(arguments: Iterable[str]) -> str:
    words = [word if len(word) <= _WORD and "\n" not in word else "…" for word in arguments]
    return " ".join(["docker", *words[:_WORDS]]) + (" …" if len(words) > _WORDS else "")


def _tail(output: bytes) -> str:
    text = output.decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
    return "\n  ".join(text) or "it said nothing"
