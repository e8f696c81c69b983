"""A short run of the fuzzer of tests/fuzz, always the same one; by hand it runs longer."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
HARNESS = REPOSITORY / "tests" / "fuzz" / "fuzz_npu_smi.py"
RUNS, SEED = 3000, 7


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="not run: atheris has no build for this machine"
)
def test_no_text_surprises_a_parser(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(HARNESS), f"-runs={RUNS}", f"-seed={SEED}", "-timeout=20"],
        cwd=tmp_path,  # where a text that breaks a parser would be left
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    assert re.search(rf"Done {RUNS} runs", run.stderr), run.stderr[-2000:]


def test_every_parser_of_a_text_is_fuzzed() -> None:
    spec = importlib.util.spec_from_file_location("fuzz_npu_smi", HARNESS)
    assert spec is not None
    assert spec.loader is not None
    harness = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(harness)
    fuzzed = set(harness.PARSERS.values())
    for module, function in fuzzed:
        assert callable(getattr(importlib.import_module(f"npuctl.hardware.{module}"), function))
    for path in (REPOSITORY / "npuctl" / "hardware").glob("*.py"):
        for function in re.findall(
            r"^def (parse_\w+)\(text: str\)", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            reached = path.stem.startswith("hccn_") and path.stem != "hccn_conf"  # through parse_answer
            narrower = function == "parse_card_board"  # of parse_board
            assert (path.stem, function) in fuzzed or reached or narrower, f"{path.stem}.{function}"
