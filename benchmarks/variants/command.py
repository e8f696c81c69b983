"""One command to measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.measure import Sample, run
from benchmarks.scene import Scene


class WrongRunError(Exception):
    """A command did not do what is measured; its figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        key: its name in the JSON.
        complaint: given exit code and output, why the run does not count; empty when it does.
        environment: on top of the scene's.
        cold: every kept connection is closed before each run.
    """

    key: str
    argv: tuple[str, ...]
    complaint: Callable[[int, str], str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cold: bool = False

    def once(self, scene: Scene) -> Sample:
        """Run it.

        Raises:
            WrongRunError: it failed, or changed something.
        """
        if self.cold:
            scene.close_connections()
        log = scene.work / f"{self.key}.log"
        done = run(self.argv, log, scene.meters, environment={**scene.environment, **self.environment})
        complaint = self.complaint(done.code, done.output)
        if complaint:
            raise WrongRunError(f"{self.key}: {complaint}\n{done.output[-4000:]}")
        return done.sample
