"""npu-smi: the queries that a deployment asks, and the real tool's refusals of everything else.

Wordings follow published outputs of 910A, 910B and A3 hosts. Where none was published (an unknown
type, a chip id out of range, the A3's topology), the text here is a guess in the same style; the
exit code is never 0.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

from npusim import chips as live
from npusim.products import SimProduct, product
from npusim.state import NotInitialisedError, State, fault_value, faults_of, load
from npusim.tables import render_info

REFUSED = 1
_UNUSABLE = "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005"
_USAGE = "Usage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]"
_INFO_HELP = f"""{_USAGE}

Commands:
       -h, --help     Show this help text and exit
       -m             Show all device's mapping information
       -l             Show all device's topology information
       -t type        Show information for type
                      type: board, common, ecc, health, memory, proc-mem, spod-info, topo, usages.

Options:
       -i %d          Card ID
       -c %d          Chip ID
"""
_HELP = """Usage: npu-smi <command> [Options...]

Commands:
       info           Show information of devices
       -v, --version  Show npu-smi version
       -h, --help     Show this help text and exit
"""
_FIRMWARE = "7.8.0.7.220"
_TOPO_LEGEND = """
Legend:

  X    = Self
  SYS  = Path traversing PCIe and NUMA nodes. Nodes are connected through SMP, such as QPI, UPI.
  PHB  = Path traversing PCIe and the PCIe host bridge of a CPU.
  PIX  = Path traversing a single PCIe switch
  PXB  = Path traversing multipul PCIe switches
  HCCS = Connection traversing HCCS.
  NA   = Unknown relationship."""
_SUPER_POD_SIZE = 384


class _RefusedError(Exception):
    """The call is not one that npu-smi understands; the text is its answer."""


class _Query(NamedTuple):
    """A `-t` query after its arguments were found good."""

    state: State
    kind: SimProduct
    card: list[live.LiveChip]
    chip: live.LiveChip | None
    mcu: bool

    @property
    def chips(self) -> list[live.LiveChip]:
        """The chip asked for, or all of the card."""
        return self.card if self.chip is None else [self.chip]

    @property
    def npu(self) -> int:
        """The card's id."""
        return self.card[0].sim.npu


def main(arguments: list[str]) -> int:
    """Answer one call; returns the exit code."""
    try:
        state = load()
    except NotInitialisedError:
        print(_UNUSABLE)
        return REFUSED
    hang = fault_value(state, "npu-smi-hang")
    if hang is not None:
        time.sleep(float(hang))
    if faults_of(state, "npu-smi-dead"):
        print(_UNUSABLE)
        return REFUSED
    try:
        print(_answer(state, arguments), end="")
    except _RefusedError as refusal:
        print(refusal)
        return REFUSED
    sys.stdout.flush()
    return 0


def _answer(state: State, arguments: list[str]) -> str:
    if not arguments or arguments in (["-h"], ["--help"]):
        return _HELP
    if arguments in (["-v"], ["--version"]):
        return f"npu-smi version: {state['driver']}\n"
    if arguments[0] != "info":
        raise _RefusedError(f"Error command: {arguments[0]}\n{_HELP}".rstrip())
    options = arguments[1:]
    plain = {(): _table, ("-l",): _list, ("-m",): _mapping}.get(tuple(options))
    if plain:
        return plain(state)
    return _INFO_HELP if options in (["-h"], ["--help"]) else _typed(state, options)


def _table(state: State) -> str:
    kind = product(state["product"])
    present = live.present(state)
    rows = [chip.row(kind.chip_name) for chip in present]
    processes = [process for chip in present for process in chip.processes]
    return render_info(kind.layout(state["driver"]), state["driver"], rows, processes)


def _list(state: State) -> str:
    cards = _cards(live.present(state))
    lines = [_field("Total Count", len(cards)), ""]
    for npu, card in cards.items():
        lines += [_field("NPU ID", npu), _field("Chip Count", len(card)), ""]
    return "\n".join(lines)


def _mapping(state: State) -> str:
    kind = product(state["product"])
    by_phy = kind.key == "a3"
    columns = ["NPU ID", "Chip ID", "Chip Logic ID", *(["Chip Phy-ID"] if by_phy else []), "Chip Name"]
    rows = [columns]
    for npu, card in _cards(live.present(state)).items():
        for chip in card:
            numbers = [npu, chip.sim.chip, chip.sim.device, *([chip.sim.device] if by_phy else [])]
            rows.append([*map(str, numbers), kind.board_name])
        if kind.key != "310p":
            mcu = card[-1].sim.chip + 1
            rows.append([str(npu), str(mcu), "-", *(["-"] if by_phy else []), "Mcu"])
    return "".join("\t" + "".join(f"{cell:<31}" for cell in row).rstrip() + "\n" for row in rows)


def _typed(state: State, options: list[str]) -> str:
    values = _options(options)
    answer = _TYPES.get(values.get("-t", ""))
    if answer is None:
        raise _RefusedError(f"Error parameter of -t\n{_USAGE}")
    kind = product(state["product"])
    present = live.present(state)
    if "-i" not in values:
        if values["-t"] == "topo" and "-c" not in values:
            return _topo(_Query(state, kind, present, None, mcu=False))
        raise _RefusedError(f"Error parameter of -i\n{_USAGE}")
    card = _cards(present).get(_number(values["-i"]))
    if card is None:
        raise _RefusedError(f"Invalid card id.\nError parameter of -i\n{_USAGE}")
    if "-c" not in values:
        return answer(_Query(state, kind, card, None, mcu=False))
    number = _number(values["-c"])
    for chip in card:
        if chip.sim.chip == number:
            return answer(_Query(state, kind, card, chip, mcu=False))
    last = max(chip.chip for chip in kind.chips if chip.npu == card[0].sim.npu)
    if values["-t"] == "health" and kind.key != "310p" and number == last + 1:
        return answer(_Query(state, kind, card, None, mcu=True))
    raise _RefusedError(f"Invalid chip id.\nError parameter of -c\n{_USAGE}")


def _options(options: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for position in range(0, len(options), 2):
        option = options[position]
        if option not in {"-t", "-i", "-c"} or option in values or position + 1 == len(options):
            raise _RefusedError(f"Error parameter of {option}\n{_USAGE}")
        values[option] = options[position + 1]
    return values


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 6 else -1  # noqa: PLR2004  no card id is longer


def _cards(chips: list[live.LiveChip]) -> dict[int, list[live.LiveChip]]:
    cards: dict[int, list[live.LiveChip]] = {}
    for chip in chips:
        cards.setdefault(chip.sim.npu, []).append(chip)
    return cards


def _field(key: str, value: object, *, width: int = 31) -> str:
    return f"\t{key:<{width}}: {value}"


def _text(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def _board(query: _Query) -> str:
    if query.chip is None:
        sim = query.card[0].sim
        return _text(
            _field("NPU ID", query.npu),
            _field("Product Name", "NA"),
            _field("Model", "NA"),
            _field("Manufacturer", "Huawei"),
            _field("Serial Number", f"SIM{query.state['node_index']:03d}{sim.device:06d}"),
            _field("Software Version", query.state["driver"]),
            _field("Firmware Version", _FIRMWARE),
            _field("Compatibility", "OK"),
            _field("Board ID", "0x65"),
            _field("PCB ID", "A"),
            _field("BOM ID", "1"),
            _field("PCIe Bus Info", sim.bus_id),
            _field("Slot ID", "0"),
            _field("Class ID", "NA"),
            _field("PCI Vendor ID", "0x19E5"),
            _field("PCI Device ID", "0xD802"),
            _field("Subsystem Vendor ID", "0x0200"),
            _field("Subsystem Device ID", "0x0100"),
            _field("Chip Count", len(query.card)),
        )
    return _text(
        _field("NPU ID", query.npu),
        _field("Chip ID", query.chip.sim.chip),
        _field("Chip Type", "Ascend"),
        _field("Chip Name", query.kind.chip_name),
        _field("Chip Version", "V1"),
        _field("Board ID", "0x65"),
        _field("PCB ID", "NA"),
        _field("BOM ID", "1"),
        _field("VDie ID", f"51A0C001 20B0{query.chip.sim.device:04X} 4A10C8D4 14CC040A D2102003"),
        _field("NDie ID", f"51A0C002 2040{query.chip.sim.device:04X} 4E10C8D4 14CC040A A4102003"),
        _field("Chip Position ID", query.chip.sim.chip),
        _field("PCIe Bus Info", query.chip.sim.bus_id),
        _field("Firmware Version", _FIRMWARE),
    )


def _health(query: _Query) -> str:
    # Without a chip number the real tool may answer for the management controller, which knows
    # nothing of the chips: seen on a 910B2C in Alarm that was called OK.
    of_mcu = query.mcu or (query.chip is None and query.kind.key != "310p")
    health = "OK" if of_mcu or not query.chips else query.chips[0].health
    code, information = live.HEALTH_REPORTS[health]
    return _text(
        _field("Health Status", health), _field("Error Code", code), _field("Error Information", information)
    )


def _usages(query: _Query) -> str:
    lines = [_field("NPU ID", query.npu), _field("Chip Count", len(query.chips)), ""]
    for chip in query.chips:
        memory = [("Capacity(MB)", chip.sim.memory_total_mb), ("Usage Rate(%)", chip.memory_percent)]
        if query.kind.key == "310p":
            lines += [_field(f"DDR {key}", value) for key, value in memory]
            lines += [_field("DDR Hugepages Total(page)", 0), _field("DDR Hugepages Usage Rate(%)", 0)]
            rates: tuple[str, ...] = ("Aicore", "Vectorcore", "Aicpu", "Ctrlcpu", "DDR Bandwidth")
        else:
            lines += [_field("DDR Capacity(MB)", 0), _field("DDR Usage Rate(%)", 0)]
            lines += [_field("DDR Hugepages Total(page)", 0), _field("DDR Hugepages Usage Rate(%)", 0)]
            lines += [_field(f"HBM {key}", value) for key, value in memory]
            rates = ("Aicore", "Aivector", "Aicpu", "Ctrlcpu", "DDR Bandwidth", "HBM Bandwidth")
        lines += [_field(f"{rate} Usage Rate(%)", 0) for rate in rates]
        lines += [_field("Chip ID", chip.sim.chip), ""]  # the block ends with its id
    return _text(*lines[:-1])


def _common(query: _Query) -> str:
    lines = [_field("NPU ID", query.npu), _field("Chip Count", len(query.chips))]
    for chip in query.chips:
        lines += [
            "",
            _field("Chip ID", chip.sim.chip),
            _field("Memory Usage Rate(%)", 0 if query.kind.key != "310p" else chip.memory_percent),
        ]
        if query.kind.key != "310p":
            lines.append(_field("HBM Usage Rate(%)", chip.memory_percent))
        lines += [
            _field("Aicore Usage Rate(%)", 0),
            _field("Aicore Freq(MHZ)", 1800),
            _field("Aicore curFreq(MHZ)", 800),
            _field("Aicore Count", 20),
            _field("Temperature(C)", chip.temperature_c),
            _field("NPU Real-time Power(W)", chip.sim.power),
        ]
    if query.kind.key != "310p":
        lines += ["", _field("Chip Name", "mcu"), _field("Temperature(C)", 38)]
    return _text(*lines)


def _memory(query: _Query) -> str:
    lines = [_field("NPU ID", query.npu), _field("Chip Count", len(query.chips)), ""]
    for chip in query.chips:
        if query.kind.key == "310p":
            lines += [
                _field("DDR Capacity(MB)", chip.sim.memory_total_mb),
                _field("DDR Clock Speed(MHz)", 4266),
            ]
        else:
            lines += [
                _field("DDR Capacity(MB)", 0),
                _field("DDR Clock Speed(MHz)", 0),
                _field("HBM Capacity(MB)", chip.sim.memory_total_mb),
                _field("HBM Clock Speed(MHz)", 1600),
                _field("HBM Temperature(C)", chip.temperature_c + 6),
                _field("HBM Manufacturer ID", "0x56"),
            ]
        lines += [_field("Chip ID", chip.sim.chip), ""]
    return _text(*lines[:-1])


def _ecc(query: _Query) -> str:
    lines = [_field("NPU ID", query.npu, width=41), _field("Chip Count", len(query.chips), width=41), ""]
    for chip in query.chips:
        for memory in ("DDR", "HBM"):
            lines += [
                _field(f"{memory} {bits} Bit {what}", 0, width=41)
                for what in ("Error Count", "Aggregate Total Err Cnt", "Isolated Pages Count")
                for bits in ("Single", "Double")
            ]
        lines += [_field("Chip ID", chip.sim.chip, width=41), ""]
    return _text(*lines[:-1])


def _proc_mem(query: _Query) -> str:
    lines = [_field("NPU ID", query.npu)]
    for chip in query.chips:
        lines += [
            f"\tProcess id:{row.pid} Process name:{row.name:<18}Process memory(MB):{row.memory_mb}"
            for row in chip.processes
        ]
        lines.append(_field("Chip ID", chip.sim.chip))
    return _text(*lines)


def _topo(query: _Query) -> str:
    if query.kind.key == "310p":
        raise _RefusedError("This device does not support querying topo.")
    chips = live.present(query.state)
    affinities = ("144-167", "0-23", "144-167", "0-23", "96-119", "48-71", "96-119", "48-71")
    names = [f"NPU{chip.sim.device}" for chip in chips]
    lines = ["\t   " + "".join(f"{name:<11}" for name in names) + "CPU Affinity"]
    for row, chip in enumerate(chips):
        links = "".join(f"{'X' if row == column else 'HCCS':<11}" for column in range(len(chips)))
        lines.append(f"{names[row]:<11}{links}{affinities[chip.sim.npu % len(affinities)]}")
    return _text(*lines, _TOPO_LEGEND)


def _spod_info(query: _Query) -> str:
    if query.kind.key != "a3":
        raise _RefusedError("This device does not support querying spod-info.")
    if query.chip is None:
        raise _RefusedError(f"Error parameter of -c\n{_USAGE}")
    sim, server = query.chip.sim, query.state["node_index"]
    # SDID as mind-cluster's logged values have it: server, card, chip and die in fields of 22, 18, 16.
    sdid = server << 22 | sim.npu << 18 | sim.chip << 16 | sim.device
    return _text(
        _field("SDID", sdid),
        _field("Super Pod Size", _SUPER_POD_SIZE),
        _field("Super Pod ID", 0),
        _field("Server Index", server),
    )


_TYPES = {
    "board": _board,
    "common": _common,
    "ecc": _ecc,
    "health": _health,
    "memory": _memory,
    "proc-mem": _proc_mem,
    "spod-info": _spod_info,
    "topo": _topo,
    "usages": _usages,
}
