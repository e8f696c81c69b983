"""Coverage-guided fuzzing of every parser of npuctl.hardware: a text is read or refused, nothing else.

By hand: python tests/fuzz/fuzz_npu_smi.py -runs=20000
Options are libFuzzer's; ONLY=NAME in front fuzzes one parser of PARSERS alone. A text that breaks the
rule is kept as crash-…, in the folder that it was started in: make a test of it. New parsers are a line here.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = REPOSITORY / "tests" / "unit" / "hardware" / "samples"
LONGEST = 12000  # characters; the longest table of 16 chips has 8000

# name → module of npuctl.hardware, function
PARSERS = {
    "info": ("npu_smi", "parse_info"),
    "mapping": ("npu_smi", "parse_mapping"),
    "boot-status": ("boot_status", "parse_boot_status"),
    "answer": ("npu_smi_answer", "parse_answer"),
    "list": ("npu_smi_cards", "parse_list"),
    "board": ("npu_smi_cards", "parse_board"),
    "super-pod": ("npu_smi_cards", "parse_super_pod"),
    "topology": ("npu_smi_cards", "parse_topology"),
    "types": ("npu_smi_cards", "parse_types"),
    "health": ("npu_smi_queries", "parse_health"),
    "usages": ("npu_smi_queries", "parse_usages"),
    "common": ("npu_smi_queries", "parse_common"),
    "memory": ("npu_smi_queries", "parse_memory"),
    "ecc": ("npu_smi_queries", "parse_ecc"),
    "processes": ("npu_smi_events", "parse_processes"),
    "fault-events": ("npu_smi_events", "parse_fault_events"),
    "hccn": ("hccn_tool", "parse_answer"),
    "hccn-collected": ("hccn_tool", "split_collected"),
    "hccn-conf": ("hccn_conf", "parse_hccn_conf"),
    "driver-version": ("driver_files", "parse_driver_version"),
    "firmware-version": ("driver_files", "parse_firmware_version"),
    "install-info": ("driver_files", "parse_install_info"),
    "toolkit-info": ("driver_files", "parse_toolkit_info"),
    "daemon-json": ("daemon_json", "parse_daemon_json"),
    "lspci": ("lspci", "parse_lspci"),
    "release": ("versions", "release_key"),
}


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer's limits are reached; ends the process."""
    atheris = importlib.import_module("atheris")
    only = os.environ.get("ONLY")
    with atheris.instrument_imports(include=["npuctl.hardware"]):
        unreadable = importlib.import_module("npuctl.hardware.unreadable").UnreadableError
        parsers = [
            getattr(importlib.import_module(f"npuctl.hardware.{module}"), function)
            for name, (module, function) in PARSERS.items()
            if only in {None, name}
        ]
    # As seeds, not as a folder: libFuzzer writes what it finds into the folders that it is given.
    seeds = ",".join(str(path) for path in sorted(SAMPLES.rglob("*.txt")))
    atheris.Setup([*arguments, f"-max_len={LONGEST}", f"-seed_inputs={seeds}"], target(parsers, unreadable))
    atheris.Fuzz()


def target(parsers: list[Callable[[str], object]], refusal: type[Exception]) -> Callable[[bytes], None]:
    """One run: the bytes as text, as the tools' output is decoded, through every parser."""

    def run(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        for parse in parsers:
            with contextlib.suppress(refusal):
                parse(text)

    return run


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    main(sys.argv)
