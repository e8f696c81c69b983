"""npuctl parse: one JSON object of what a tool's output says, or a refusal that names the line."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from npuctl.__main__ import main
from npuctl.cli.parse import KINDS
from tests.making import REPOSITORY

SAMPLES = REPOSITORY / "tests" / "unit" / "hardware" / "samples"


def call(capsys: pytest.CaptureFixture[str], kind: str, file: str | Path) -> tuple[int, str, str]:
    code = main(["parse", kind, str(file)])
    out, err = capsys.readouterr()
    return code, out, err


def parsed(capsys: pytest.CaptureFixture[str], kind: str, file: str | Path) -> dict[str, Any]:
    code, out, err = call(capsys, kind, file)
    assert (code, err) == (0, "")
    answer: dict[str, Any] = json.loads(out)
    assert (answer["schema"], answer["kind"]) == (1, kind)
    return answer


def written(tmp_path: Path, content: str | bytes) -> Path:
    file = tmp_path / "saved.txt"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_a_table_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    answer = parsed(capsys, "npu-smi", SAMPLES / "a2_container_gap_in_ids.txt")
    assert (answer["query"], answer["version"], answer["tool_version"]) == ("info", "25.3.rc1", "25.2.0")
    assert answer["npus"] == [0, 1, 3, 4]
    assert answer["chips"][2]["health"] == "Alarm"
    assert answer["processes"][1] == {"npu": 0, "chip": 0, "pid": 7002, "name": "", "memory_mb": 129}
    chip = parsed(capsys, "npu-smi", SAMPLES / "a3_26_wide.txt")["chips"][1]
    assert list(chip) == [
        "npu",
        "chip",
        "phy_id",
        "name",
        "health",
        "temperature_c",
        "power_w",
        "bus_id",
        "aicore_percent",
        "memory_used_mb",
        "memory_total_mb",
        "device",
        "ddr_used_mb",
        "ddr_total_mb",
        "hugepages_used",
        "hugepages_total",
    ]
    assert (chip["phy_id"], chip["power_w"]) == (1, None)


def test_the_device_of_a_310p_is_its_physical_id(capsys: pytest.CaptureFixture[str]) -> None:
    chips = parsed(capsys, "npu-smi", SAMPLES / "310p_duo.txt")["chips"]
    assert [chip["phy_id"] for chip in chips] == [0, 1, 2, 3]
    assert [chip["device"] for chip in chips] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "query", "expected"),
    [
        ("queries/list_a3", "list", {"total": 3, "complete": True}),
        ("queries/board_card_a2", "board", {"npu": 3, "software_version": "25.3.rc1"}),
        ("queries/board_chip_a3", "board", {"chip": 1, "soc_version": "Ascend910_9392"}),
        ("queries/common_a2", "common", {"npu": 3, "card_power_w": None}),
        ("queries/spod_a3", "spod-info", {"place": {"server": 3, "npu": 6, "chip": 1, "die": 13}}),
        ("queries/topo_a2", "topo", {"devices": ["NPU0", "NPU1", "NPU5"]}),
        ("queries/topo_unsupported", "topo", {"supported": False}),
        ("queries/fault_events_none", "current-fault-event", {"events": []}),
        (
            "queries/help",
            "help",
            {"types": ["board", "usages", "mac-addr", "i2c_check", "spod-info", "topo"]},
        ),
    ],
)
def test_the_query_is_seen_in_the_text(
    name: str, query: str, expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answer = parsed(capsys, "npu-smi", SAMPLES / f"{name}.txt")
    assert answer["query"] == query
    assert {key: answer[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "query", "values"),
    [
        ("queries/usages_a3", "usages", {"chip": 1, "hbm_usage_percent": 78}),
        ("queries/ecc_a3", "ecc", {"chip": 1, "uncorrectable": 0}),
        ("queries/health_two_codes", "health", {"chip": None, "error_codes": ["80E01801", "A8028801"]}),
        ("queries/memory_a2", "memory", {"hbm_clock_mhz": 1600}),
        ("queries/proc_mem_one_chip", "proc-mem", {"npu": None}),
        ("mapping_a3", "mapping", {"phy_id": 1}),
    ],
)
def test_answers_of_several_chips(
    name: str, query: str, values: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answer = parsed(capsys, "npu-smi", SAMPLES / f"{name}.txt")
    assert answer["query"] == query
    assert {key: answer["chips"][-1][key] for key in values} == values


def test_every_other_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = {
        "hccn_tool": ("ipaddr:10.1.2.3\nnetmask:255.255.255.0\n", {"query": "ip", "address": "10.1.2.3"}),
        "hccn-conf": ("address_0=10.1.2.3\nnetmask_0=255.255.255.0\n", {}),
        "version-info": (
            "Version=25.2.0\nascendhal_version=7.35.23\n",
            {"of": "driver", "version": "25.2.0"},
        ),
        "install-info": ("UserName=HwHiAiUser\nUserGroup=HwHiAiUser\n", {"of": "driver"}),
        "daemon-json": ('{"default-runtime": "ascend"}', {"default_runtime": "ascend"}),
        "lspci": (
            "c1:00.0 Processing accelerators: Huawei Technologies Co., Ltd. Device d802 (rev 20)\n",
            {},
        ),
    }
    assert {"npu-smi", *cases} == set(KINDS)
    for kind, (text, expected) in cases.items():
        answer = parsed(capsys, kind, written(tmp_path, text))
        assert {key: answer[key] for key in expected} == expected
    assert parsed(capsys, "hccn-conf", written(tmp_path, cases["hccn-conf"][0]))["ports"]["0"]["phy_id"] == 0
    assert parsed(capsys, "lspci", written(tmp_path, ""))["devices"] == []


def test_a_firmware_and_a_toolkit_are_told_from_a_driver(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    firmware = written(tmp_path, "Version=7.7.0.1.231\nfirmware_version=1.0\npackage_version=25.0.rc1\n")
    assert parsed(capsys, "version-info", firmware)["of"] == "firmware"
    toolkit = written(
        tmp_path,
        "package_name=Ascend-cann-toolkit\nversion=8.2.RC1\narch=aarch64\npath=/usr/local/Ascend/x\n",
    )
    assert parsed(capsys, "install-info", toolkit)["of"] == "toolkit"


def test_collected_answers_of_hccn_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = "".join(
        f"/usr/local/Ascend/driver/tools/hccn_tool -i {chip} -ip -g\nipaddr:10.1.2.{chip}\nnetmask:255.255.0.0\n"
        for chip in (0, 3)
    )
    answers = parsed(capsys, "hccn_tool", written(tmp_path, calls))["answers"]
    assert [(one["phy_id"], one["address"]) for one in answers] == [(0, "10.1.2.0"), (3, "10.1.2.3")]
    code, out, err = call(capsys, "hccn_tool", written(tmp_path, calls.replace("10.1.2.3", "10.1.2.x")))
    assert (code, out) == (2, "")
    assert "chip 3, -ip" in err


def test_what_was_never_set_is_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "Get gateway failed, because no gateway was preset there!\n"
    answer = parsed(capsys, "hccn_tool", written(tmp_path, text))
    assert (answer["set"], answer["words"]) == (False, text.strip())


def test_what_cannot_be_read_is_named_by_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (SAMPLES / "a2_idle.txt").read_text(encoding="utf-8").replace("3401 /", "34O1 /")
    file = written(tmp_path, text)
    code, out, err = call(capsys, "npu-smi", file)
    assert (code, out) == (2, "")
    assert err.startswith(f"npuctl: cannot read {file}: line 11: cannot read usage")
    assert "34O1 / 65536" in err


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ((SAMPLES / "driver_unusable.txt").read_text(encoding="utf-8"), "ret is -8005", "as root"),
        ("This device does not support querying spod-info.\n", "refused the query", "no such query"),
        ("Invalid card id.\n", "refused the query", "off the bus"),
        (
            "\tSDID : 4\n\tSuper Pod Size : 1\n\tSuper Pod ID : 0\n\tServer Index : 1",
            "without a newline",
            "newline",
        ),
    ],
)
def test_a_refusal_has_a_hint(
    text: str, words: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "npu-smi", written(tmp_path, text))
    assert (code, out) == (2, "")
    assert words in err.splitlines()[0]
    assert hint in err.split("hint: ")[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x7fELF\x02\x01\x01\x00\xff\xfe", "not text in UTF-8"),
        (b"\xff\xfe|\x00 ", "not text in UTF-8"),
        (b"| 0\x00 |\n", "NUL"),
        (b"", "no output of npu-smi"),
        (b"x" * (16 * 1024 * 1024 + 1), "longer than"),
    ],
)
def test_what_is_not_text_is_refused(
    content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "npu-smi", written(tmp_path, content))
    assert (code, out) == (2, "")
    assert words in err


def test_a_file_that_is_not_there_and_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file, words in ((tmp_path / "none.txt", "No such file"), (tmp_path, "directory")):
        code, out, err = call(capsys, "npu-smi", file)
        assert (code, out) == (2, "")
        assert f"cannot read {file}: " in err
        assert words in err


def test_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"\xef\xbb\xbf" + (SAMPLES / "a2_idle.txt").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert len(parsed(capsys, "npu-smi", "-")["chips"]) == 8
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\x00")))
    code, out, err = call(capsys, "npu-smi", "-")
    assert (code, out) == (2, "")
    assert "cannot read standard input: " in err


def test_what_powershell_saves_is_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (SAMPLES / "a2_idle.txt").read_text(encoding="utf-8").replace("\n", "\r\n")
    for encoding in ("utf-16", "utf-16-be"):
        content = ("\ufeff" if encoding == "utf-16-be" else "") + text
        assert len(parsed(capsys, "npu-smi", written(tmp_path, content.encode(encoding)))["chips"]) == 8


def test_texts_as_editors_save_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = {
        "hccn_tool": "[root@node-1 ~]# hccn_tool -i 2 -link -g\nlink status: UP\n[root@node-1 ~]# ",
        "hccn-conf": "# cat /etc/hccn.conf\naddress_0=10.1.2.3\nnetmask_0=255.255.255.0",
        "install-info": "UserName=a\nUserGroup=a\nDriver_Install_Status=complete",
        "lspci": "$ lspci -n -d 19e5:\nc1:00.0 1200: 19e5:d802 (rev 20)",
    }
    for kind, text in cases.items():
        parsed(capsys, kind, written(tmp_path, text))
    cut = {
        "hccn_tool": "default gateway:10.1.2.1, Iface:eth1",
        "hccn-conf": "address_0=10.1.2.3\nnetmask_0=255.255.255.0\ngateway_0=10.1.2.1",
        "version-info": "ascendhal_version=7.35.23\nVersion=25.2.0",
    }
    for kind, text in cut.items():
        code, out, err = call(capsys, kind, written(tmp_path, text))
        assert (code, out) == (2, "")
        assert "add the missing line end if the text is whole" in err
        assert text.splitlines()[-1] in err


def test_an_unknown_kind_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["parse", "nvidia-smi", os.devnull])
    assert end.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_expectations_of_the_corpus(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads((corpus / "npu" / "expected.json").read_text(encoding="utf-8"))
    for name, table in expected.items():
        answer = parsed(capsys, "npu-smi", corpus / "npu" / name)
        assert (answer["version"], answer["npus"]) == (table["version"], table["npus"])
        assert [(chip["phy_id"], chip["memory_used_mb"], chip["health"]) for chip in answer["chips"]] == [
            (chip["phy"], chip["mem"][0], chip["health"]) for chip in table["chips"]
        ]
        assert len(answer["processes"]) == len(table["processes"])
