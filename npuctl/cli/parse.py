"""npuctl parse: what a vendor tool's output says, as JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuctl.hardware.npu_smi_records import NpuSmiInfo

HELP = "Read the saved output of a vendor's tool and print what it says as JSON; asks no node."
EXAMPLE = """npuctl parse npu-smi collected/npu-smi-info.txt
         ssh node-3 npu-smi info | npuctl parse npu-smi -"""

KINDS = ("npu-smi", "hccn_tool", "hccn-conf", "version-info", "install-info", "daemon-json", "lspci")

# Above the longest output of any of these tools by far: a wrong file must not fill the memory.
_MOST_BYTES = 16 * 1024 * 1024
# What a list of records is of, by the query; else of chips.
_LISTS = {"help": "types", "current-fault-event": "events"}
_NOT_ENDED = "add the missing line end"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "kind",
        choices=KINDS,
        help=(
            "what the text is; which query npu-smi or hccn_tool was asked is seen in it: one answer a text, or"
            " several of hccn_tool with the call above each"
        ),
    )
    parser.add_argument(
        "file",
        help=(
            "file with the text as it was printed or stood there, with its last line end; prompts, colours and"
            " marks of a quotation are passed over; - for standard input"
        ),
    )


def run(options: argparse.Namespace) -> int:
    """Print one JSON object; a text that cannot be read is a UsageError and prints nothing."""
    from npuctl.errors import UsageError
    from npuctl.hardware.unreadable import UnreadableError

    name = "standard input" if options.file == "-" else options.file
    text = _text(options.file, name)
    try:
        answer = _readers()[options.kind](text)
    except UnreadableError as error:
        raise UsageError(f"cannot read {name}: {error}", hint=_hint(error)) from error
    answer = {"schema": 1, "kind": options.kind, **answer}
    print(json.dumps(answer, ensure_ascii=False, indent=1, default=str))
    return 0


def _text(file: str, name: str) -> str:
    import codecs
    import sys

    from npuctl.errors import UsageError

    try:
        if file == "-":
            content = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"cannot read {name}: longer than any tool's output")
        # PowerShell's ">" writes UTF-16.
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if utf_16 else "utf-8-sig")
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else "not text in UTF-8"
        raise UsageError(f"cannot read {name}: {what}") from error
    if "\0" in text:
        raise UsageError(f"cannot read {name}: not text, it has NUL characters")
    return text


def _readers() -> dict[str, Callable[[str], dict[str, Any]]]:
    from npuctl.hardware.daemon_json import parse_daemon_json
    from npuctl.hardware.hccn_conf import parse_hccn_conf
    from npuctl.hardware.lines import whole_lines
    from npuctl.hardware.lspci import parse_lspci

    def whole(text: str) -> str:
        return whole_lines(text) if text else text  # no line is cut in a text without any

    return {
        "npu-smi": _npu_smi,
        "hccn_tool": lambda text: _hccn_tool(whole(text)),
        "hccn-conf": lambda text: _fields(parse_hccn_conf(whole(text))),
        "version-info": lambda text: _version_info(whole(text)),
        "install-info": lambda text: _install_info(whole(text)),
        "daemon-json": lambda text: _fields(parse_daemon_json(text)),
        "lspci": lambda text: {"devices": _plain(parse_lspci(whole(text)))},
    }


def _hccn_tool(text: str) -> dict[str, Any]:
    from npuctl.hardware.hccn_tool import is_collected, split_collected
    from npuctl.hardware.unreadable import UnreadableError

    if not is_collected(text):
        return _hccn_answer(text)
    answers = []
    for call in split_collected(text):
        try:
            answers.append({"phy_id": call.phy_id, **_hccn_answer(call.text)})
        except UnreadableError as error:
            what = f"chip {call.phy_id}, -{call.query}: {error.reason}"
            raise UnreadableError(what, line=error.line) from error
    return {"answers": answers}


def _hccn_answer(text: str) -> dict[str, Any]:
    from dataclasses import is_dataclass

    from npuctl.hardware.hccn_tool import HccnNotSetError, parse_answer

    try:
        query, record = parse_answer(text)
    except HccnNotSetError as answer:
        return {"set": False, "words": answer.line.strip()}  # an answer: nothing is wrong with the tool
    return {"query": query, **(_fields(record) if is_dataclass(record) else {"value": _plain(record)})}


def _version_info(text: str) -> dict[str, Any]:
    from npuctl.hardware.driver_files import parse_driver_version, parse_firmware_version

    if _has_key(text, "firmware_version", "compatible_version_drv"):
        return {"of": "firmware", **_fields(parse_firmware_version(text))}
    return {"of": "driver", **_fields(parse_driver_version(text))}


def _install_info(text: str) -> dict[str, Any]:
    from npuctl.hardware.driver_files import parse_install_info, parse_toolkit_info

    if _has_key(text, "package_name"):
        return {"of": "toolkit", **_fields(parse_toolkit_info(text))}
    return {"of": "driver", **_fields(parse_install_info(text))}


def _has_key(text: str, *keys: str) -> bool:
    return any(line.partition("=")[0].strip() in keys for line in text.split("\n"))


def _npu_smi(text: str) -> dict[str, Any]:
    from npuctl.hardware.npu_smi import NpuSmiInfo
    from npuctl.hardware.npu_smi_answer import parse_answer
    from npuctl.hardware.npu_smi_query_records import Unsupported

    query, record = parse_answer(text)
    if isinstance(record, NpuSmiInfo):
        return {"query": query, **_info(record)}
    if isinstance(record, Unsupported):
        return {"query": query, "supported": False}
    if isinstance(record, tuple):
        return {"query": query, _LISTS.get(query, "chips"): _plain(record)}
    return {"query": query, **_fields(record)}


def _info(info: NpuSmiInfo) -> dict[str, Any]:
    # A 310P has no Phy-ID; its Device is the number of /dev/davinciN, as the Phy-ID is elsewhere.
    chips = [
        {**_fields(chip), "phy_id": chip.device if chip.phy_id is None else chip.phy_id}
        for chip in info.chips
    ]
    return {
        "version": info.driver_version,
        "tool_version": info.version,
        "complete": info.complete,
        "npus": list(info.npus),
        "chips": chips,
        "processes": _plain(info.processes),
    }


def _plain(value: Any) -> Any:
    """Records as dictionaries, with what they compute from their fields."""
    from collections.abc import Mapping
    from dataclasses import is_dataclass

    if is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _fields(record: Any) -> dict[str, Any]:
    """A record's fields, then its properties."""
    from dataclasses import fields

    names = [field.name for field in fields(record)]
    names += [name for name, value in vars(type(record)).items() if isinstance(value, property)]
    return {name: _plain(getattr(record, name)) for name in names}


def _hint(error: Exception) -> str:
    from npuctl.hardware.npu_smi_query_records import CardGoneError, NotSupportedError
    from npuctl.hardware.npu_smi_records import DriverUnusableError

    if isinstance(error, DriverUnusableError):
        return (
            "npu-smi itself failed: run it as root, see that the device nodes are there, that no other container"
            " holds the chips, and reboot if driver or firmware were changed"
        )
    if isinstance(error, NotSupportedError):
        return "this product or its driver has no such query"
    if isinstance(error, CardGoneError):
        return "take the ids from `npu-smi info -m`; a card that was there before has dropped off the bus"
    if _NOT_ENDED in str(error):
        return "a last newline shows that no end of a number was lost; an editor, or echo >> FILE, adds one"
    return ""
