"""One call of hccn_tool: the chip, the command, its words; and the refusals of words that do not fit."""

from __future__ import annotations

from npusim import network
from npusim.products import SimProduct
from npusim.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from npusim.record import NamedTuple

SUCCESS = "Cmd executed successfully!"


class FailedError(Exception):
    """The tool's refusal: text, exit code, and whether the text goes to stdout."""

    def __init__(self, text: str, code: int, *, to_stdout: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.to_stdout = to_stdout


class Call(NamedTuple):
    """One command on one chip.

    Attributes:
        help: what the tool says about this command.
        words: what follows the command, or its -g or -s where that is known.
    """

    state: State
    kind: SimProduct
    device: int
    command: str
    help: str
    words: list[str]

    @property
    def port(self) -> network.Port:
        """The chip's running settings."""
        port: network.Port = self.state["ports"][str(self.device)]
        return port

    @property
    def link_is_up(self) -> bool:
        """Neither shut down by a command nor broken by a fault."""
        return network.link_is_up(self.state, self.device)

    @property
    def needs(self) -> str:
        """The command's help, as it stands below a refusal."""
        return f"[ hccn_tool -i devid {self.command} ] needs the following parameters:\n{self.help}"

    def wrong_count(self) -> FailedError:
        """The refusal of too few or too many words."""
        return FailedError(f"The total count of input parameters is wrong!\n{self.needs}", 4)

    def invalid_parameters(self) -> FailedError:
        """The refusal of words that the command does not know."""
        return FailedError(f"Get invalid parameters!\n{self.needs}", 1)

    def value_of(self, name: str) -> str:
        """The word after that name, in a command that has just this one pair."""
        if len(self.words) != 2:  # noqa: PLR2004  a name and its value
            raise self.wrong_count()
        if self.words[0] != name:
            raise self.invalid_parameters()
        return self.words[1]

    def pairs(self, known: dict[str, tuple[int, int] | None]) -> dict[str, str]:
        """The words as names and values; a name with bounds has a whole number within them."""
        if len(self.words) % 2:
            raise self.wrong_count()
        given = dict(zip(self.words[::2], self.words[1::2], strict=True))
        for name, value in given.items():
            bounds = known.get(name)
            digits = len(str(bounds[1])) if bounds else 0
            good = bounds is None or (
                value.isdecimal() and len(value) <= digits and bounds[0] <= int(value) <= bounds[1]
            )
            if name not in known or not good:
                raise self.invalid_parameters()
        return given


def address_of(text: str) -> str:
    """The same text, when it is an IPv4 address."""
    parts = text.split(".")
    good = len(parts) == 4 and all(  # noqa: PLR2004  bytes of an address
        part.isascii() and part.isdecimal() and len(part) <= 3 and int(part) <= 255  # noqa: PLR2004
        for part in parts
    )
    if not good:
        raise FailedError("The ip address you configured is invalid!", 6)
    return text
