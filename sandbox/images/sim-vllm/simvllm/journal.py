"""Log lines in vLLM's shape, and the tracebacks with which it ends."""

from __future__ import annotations

import os
import sys
import time


class Journal:
    """Writes as one process of the engine: `(EngineCore_DP0 pid=7) INFO 11-20 06:00:00 [core.py:77] …`."""

    def __init__(self, process: str) -> None:
        self.process = process

    def line(self, level: str, place: str, text: str) -> None:
        """One log line on stdout; of several lines of text each gets the prefix, as vLLM's formatter does."""
        prefix = f"({self.process} pid={os.getpid()}) {level} {time.strftime('%m-%d %H:%M:%S')} [{place}] "
        _write(sys.stdout, "".join(f"{prefix}{part}\n" for part in text.splitlines()))

    def info(self, place: str, text: str) -> None:
        """An INFO line."""
        self.line("INFO", place, text)

    def error(self, place: str, text: str) -> None:
        """An ERROR line."""
        self.line("ERROR", place, text)

    def traceback(self, text: str) -> None:
        """The end of a Python program that raised: a traceback whose last line is the text, on stderr."""
        lines = (
            "Traceback (most recent call last):",
            '  File "/usr/local/bin/vllm", line 8, in <module>',
            "    sys.exit(main())",
            '  File "/vllm-workspace/vllm/vllm/entrypoints/cli/main.py", line 73, in main',
            "    args.dispatch_function(args)",
            text,
        )
        _write(sys.stderr, "".join(f"({self.process} pid={os.getpid()}) {line}\n" for line in lines))


def uvicorn(text: str) -> None:
    """A line of uvicorn's own log, on stderr."""
    _write(sys.stderr, f"INFO:     {text}\n")


def access(client: str, request: str, status: str) -> None:
    """A line of uvicorn's access log, on stdout."""
    _write(sys.stdout, f'INFO:     {client} - "{request}" {status}\n')


def _write(stream: object, text: str) -> None:
    """Write at once in one call, so that lines of several processes and threads do not mix."""
    number = 2 if stream is sys.stderr else 1
    data = text.encode("utf-8", "replace")
    try:
        os.write(number, data)
    except OSError:
        return
