"""npu-smi: the queries that a deployment asks, and the real tool's refusals of everything else.

Wordings follow published outputs of 910A, 910B and A3 hosts and the tool's open source (hicann/driver,
src/custom/dev_prod/user/npucli): which lines a product has, their order, and that a query which the
product does not support ends with 0. An unknown type's refusal is a guess in the same style.
"""

from __future__ import annotations

from npusim import chips as live
from npusim.products import SimProduct, product
from npusim.state import NotInitialisedError, State, fault_value, faults_of, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NamedTuple
else:
    from npusim.record import NamedTuple

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
_CUT_SHORT = (
    "[WARNING]The driver package may not be completely installed, "
    "which may cause function abnormal. Please reinstall it.\n"
)
_TOPO_LEGEND = """
Legend:

  X    = Self
  SYS  = Path traversing PCIe and NUMA nodes. Nodes are connected through SMP, such as QPI, UPI.
  PHB  = Path traversing PCIe and the PCIe host bridge of a CPU.
  PIX  = Path traversing a single PCIe switch
  PXB  = Path traversing multipul PCIe switches
  HCCS = Connection traversing HCCS.
  SIO  = Path traversing SIO.
  HCCS_SW = Path traversing HCCS switch.
  NA   = Unknown relationship."""
_SUPER_POD_SIZE = 384
_DUO_MEMORY_MB = 49152  # of one of its two chips


class _RefusedError(Exception):
    """The call is not one that npu-smi understands; the text is its answer."""


class _UnsupportedError(Exception):
    """The product has no answer to this query; the text is npu-smi's word for it."""


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
        import time  # noqa: PLC0415  few calls hang

        time.sleep(float(hang))
    if not state["driver"] or faults_of(state, "npu-smi-dead"):
        print(_UNUSABLE)
        return REFUSED
    try:
        print(_answer(state, arguments), end="")
    except _RefusedError as refusal:
        print(refusal)
        return REFUSED
    except _UnsupportedError as query:
        print(f"This device does not support querying {query}.")
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
    from npusim.tables import render_info  # noqa: PLC0415  few calls print it

    kind = product(state["product"])
    present = _held(state)
    rows = [chip.row(kind.chip_name) for chip in present]
    processes = [process for chip in present for process in chip.processes]
    table = render_info(kind.layout(state["driver"]), state["driver"], rows, processes)
    if faults_of(state, "npu-smi-cut"):
        return table[: table.index("| NPU     Chip")]
    return table + (_CUT_SHORT if faults_of(state, "install-broken") else "")


def _held(state: State) -> list[live.LiveChip]:
    """The chips with who holds them and what that takes: a look at every process of the node."""
    from npusim import holders  # noqa: PLC0415  few calls want it

    return live.present(state, holders.scan())


def _list(state: State) -> str:
    cards = _cards(live.present(state))
    lines = [_field("Total Count", len(cards)), ""]
    for npu, card in cards.items():
        lines += [_field("NPU ID", npu), _field("Chip Count", len(card)), ""]
    return "\n".join(lines)


def _mapping(state: State) -> str:
    kind = product(state["product"])
    by_phy = ("Chip Phy-ID",) if kind.key == "a3" else ()
    lines = [_columns("NPU ID", "Chip ID", "Chip Logic ID", *by_phy, f"{'Chip Name':<30}")]
    for npu, card in _cards(live.present(state)).items():
        for chip in card:
            phy = (chip.sim.device,) if by_phy else ()
            lines.append(_columns(npu, chip.sim.chip, chip.sim.device, *phy, kind.board_name))
        if kind.key != "310p":
            mcu = card[-1].sim.chip + 1
            lines.append(_columns(npu, mcu, "-", *(("-",) if by_phy else ()), f"{'Mcu':<30}"))
    return _text(*lines)


def _columns(*cells: object) -> str:
    return "\t" + "".join(f"{cell!s:<30} " for cell in cells[:-1]) + str(cells[-1])


def _typed(state: State, options: list[str]) -> str:
    values = _options(options)
    answer = _TYPES.get(values.get("-t", ""))
    if answer is None:
        raise _RefusedError(f"Error parameter of -t\n{_USAGE}")
    if fault_value(state, "npu-smi-fails") == values["-t"]:
        raise _RefusedError(f'Failed to query "{values["-t"]}" info.')
    kind = product(state["product"])
    present = (_held if values["-t"] in _OF_MEMORY else live.present)(state)
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


def _field(key: str, value: object, *, width: int = 30) -> str:
    return f"\t{key:<{width}} : {value}"


def _text(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def _by_chip(query: _Query, lines: Callable[[live.LiveChip], list[str]], *, width: int = 30) -> str:
    """A chip asked for by its number says its lines alone; a card says each chip's, and the chip's number after."""
    if query.chip is not None:
        return _text(*lines(query.chip))
    answer = [
        _field("NPU ID", query.npu, width=width),
        _field("Chip Count", len(query.card), width=width),
        "",
    ]
    for chip in query.card:
        answer += [*lines(chip), _field("Chip ID", chip.sim.chip, width=width), ""]
    return _text(*answer)


def _board(query: _Query) -> str:
    return _card_board(query) if query.chip is None else _chip_board(query, query.chip)


def _card_board(query: _Query) -> str:
    first = query.card[0]
    lines = [
        _field("NPU ID", query.npu),
        _field("Product Name", "NA"),
        _field("Model", "NA"),
        _field("Manufacturer", "Huawei"),
        _field("Serial Number", f"SIM{query.state['node_index']:03d}{first.sim.device:06d}"),
        _field("Software Version", query.state["driver"]),
        _field("Firmware Version", first.firmware),
        _field("Compatibility", "NOK" if any(chip.compatibility == "NOK" for chip in query.card) else "OK"),
        _field("Board ID", "0x65"),
    ]
    if query.kind.key == "a3":
        lines.append(_field("Main Board ID", "0x1c"))
    lines += [
        _field("PCB ID", "A"),
        _field("BOM ID", "1"),
        _field("PCIe Bus Info", first.sim.bus_id),
        _field("Slot ID", "0"),
        _field("Class ID", "NA"),
        _field("PCI Vendor ID", "0x19E5"),
        _field("PCI Device ID", f"0x{query.kind.pci_device.upper()}"),
        _field("Subsystem Vendor ID", "0x0200"),
        _field("Subsystem Device ID", "0x0100"),
        _field("Chip Count", len(query.card)),
    ]
    if query.kind.key == "310p":
        lines.append(_field("Chip Fault", 0))
    return _text(*lines)


def _chip_board(query: _Query, chip: live.LiveChip) -> str:
    named = ("NPU Name", query.kind.npu_name) if query.kind.npu_name else ("Chip Type", "Ascend")
    of_chip = [_field("Chip ID", chip.sim.chip), _field(*named)]
    die = f"{chip.sim.device:04X} 4A10C8D4 14CC040A D2102003"
    lines = [
        _field("NPU ID", query.npu),
        *(reversed(of_chip) if query.kind.npu_name else of_chip),
        _field("Chip Name", query.kind.chip_name),
        _field("Chip Version", "V1"),
        _field("Board ID", "0x65"),
    ]
    if query.kind.key == "310p":
        lines.append(_field("Die ID", f"51A0C001 20B0{die}"))
    else:
        lines += [
            _field("PCB ID", "NA"),
            _field("BOM ID", "1"),
            _field("VDie ID", f"51A0C001 20B0{die}"),
            _field("NDie ID", f"51A0C002 2040{die}"),
        ]
    return _text(
        *lines,
        _field("Chip Position ID", chip.sim.chip),
        _field("PCIe Bus Info", chip.sim.bus_id),
        _field("Firmware Version", chip.firmware),
    )


def _health(query: _Query) -> str:
    # Without a chip number the real tool may answer for the management controller, which knows
    # nothing of the chips: seen on a 910B2C in Alarm that was called OK.
    of_mcu = query.mcu or (query.chip is None and query.kind.key != "310p")
    health = live.Health() if of_mcu else query.chips[0].health
    if not health.codes:
        return _text(
            _field("Health Status", health.word),
            _field("Error Code", "NA"),
            _field("Error Information", "NA"),
        )
    first, *others = (live.ERROR_INFORMATION.get(code, f"simulated event {code}") for code in health.codes)
    lines = [
        _field("Health Status", health.word),
        _field("Error Code", " ".join(health.codes)),
        _field("Error Information", first),
    ]
    for information in others:
        lines += ["", _field("", information)]
    return _text(*lines)


def _usages(query: _Query) -> str:
    of_310p = query.kind.key == "310p"

    def lines(chip: live.LiveChip) -> list[str]:
        memory = (chip.sim.memory_total_mb, chip.memory_percent)
        ddr, hbm = (memory, ()) if of_310p else ((0, 0), memory)
        values: list[tuple[str, int]] = [
            ("DDR Capacity(MB)", ddr[0]),
            ("DDR Usage Rate(%)", ddr[1]),
            ("DDR Hugepages Total(page)", 0),
            ("DDR Hugepages Usage Rate(%)", 0),
            *zip(("HBM Capacity(MB)", "HBM Usage Rate(%)"), hbm, strict=False),
        ]
        before = ("Aicore", "Aicpu", "Ctrlcpu", "Vectorcore", "DDR Bandwidth")
        of_dvpp = ("DVPP VDEC", "DVPP VPC", "DVPP VENC", "DVPP JPEGE", "DVPP JPEGD")
        of_910 = ("Aicore", "Aivector", "Aicpu", "Ctrlcpu", "DDR Bandwidth", "HBM Bandwidth")
        rates = (*before, *of_dvpp) if of_310p else of_910
        values += [(f"{rate} Usage Rate(%)", 0) for rate in rates]
        if not of_310p:
            values += [("NPU Utilization(%)", 0), ("Aicube Usage Rate(%)", 0)]
        return [_field(key, value) for key, value in values]

    return _by_chip(query, lines)


def _common(query: _Query) -> str:
    of_310p = query.kind.key == "310p"
    lines = [_field("NPU ID", query.npu), _field("Chip Count", len(query.chips))]
    for chip in query.chips:
        lines += [
            "",
            _field("Chip ID", chip.sim.chip),
            _field("Memory Usage Rate(%)", chip.memory_percent if of_310p else 0),
            *([] if of_310p else [_field("HBM Usage Rate(%)", chip.memory_percent)]),
            _field("Aicore Usage Rate(%)", 0),
            _field("Aicore Freq(MHZ)", 1080 if of_310p else 1800),
            _field("Aicore curFreq(MHZ)", 960 if of_310p else 800),
            *([] if of_310p else [_field("Aicore Count", 20)]),
            _field("Temperature(C)", chip.temperature_c),
            *([] if of_310p else [_field("NPU Real-time Power(W)", chip.sim.power)]),
        ]
    lines += ["", _field("Chip Name", "mcu"), _field("Temperature(C)", 38)]
    if of_310p:  # its controller measures the card's power
        lines.append(_field("NPU Real-time Power(W)", "41.3"))
    return _text(*lines)


def _memory(query: _Query) -> str:
    def lines(chip: live.LiveChip) -> list[str]:
        if query.kind.key == "310p":
            return [
                _field("Total DDR Capacity(MB)", _DUO_MEMORY_MB),
                _field("DDR Capacity(MB)", chip.sim.memory_total_mb),
                _field("DDR Clock Speed(MHz)", 4266),
            ]
        return [
            _field("DDR Capacity(MB)", 0),
            _field("DDR Clock Speed(MHz)", 0),
            _field("HBM Capacity(MB)", chip.sim.memory_total_mb),
            _field("HBM Clock Speed(MHz)", 1600),
            _field("HBM Temperature(C)", chip.temperature_c + 6),
            _field("HBM Manufacturer ID", "0x56"),
        ]

    return _by_chip(query, lines)


def _ecc(query: _Query) -> str:
    memory = "DDR" if query.kind.key == "310p" else "HBM"
    counters = (
        "Error Count",
        "Aggregate Total Err Cnt",
        "Isolated Pages Count",
        "Next-Isolated Pages Count",
    )

    def lines(chip: live.LiveChip) -> list[str]:
        errors = chip.uncorrectable_errors
        return [
            _field(
                f"{memory} {bits} Bit {counter}",
                errors if bits == "Double" and counter != counters[-1] else 0,
                width=40,
            )
            for counter in counters
            for bits in ("Single", "Double")
        ]

    return _by_chip(query, lines, width=40)


def _proc_mem(query: _Query) -> str:
    def lines(chip: live.LiveChip) -> list[str]:
        return [
            f"\tProcess id:{row.pid:<7} Process name:{row.name:<17} Process memory(MB):{row.memory_mb}"
            for row in chip.processes
        ] or ["\tNo process in device."]

    return _by_chip(query, lines)


def _topo(query: _Query) -> str:
    if query.kind.key == "310p":
        raise _UnsupportedError("topo")
    chips = live.present(query.state)
    by_phy = query.kind.key == "a3"  # whose servers' chips have no CPU of their own
    affinities = ("144-167", "0-23", "144-167", "0-23", "96-119", "48-71", "96-119", "48-71")
    names = [f"{'Phy-ID' if by_phy else 'NPU'}{chip.sim.device}" for chip in chips]
    lines = ["\t   " + "".join(f"{name:<11}" for name in names) + ("" if by_phy else "CPU Affinity")]
    for name, chip in zip(names, chips, strict=True):
        links = "".join(f"{_link(chip, other, query.kind):<11}" for other in chips)
        affinity = "" if by_phy else affinities[chip.sim.npu % len(affinities)]
        lines.append(f"{name:<11}{links}{affinity}")
    return _text(*lines, _TOPO_LEGEND)


def _link(chip: live.LiveChip, other: live.LiveChip, kind: SimProduct) -> str:
    if chip.sim.device == other.sim.device:
        return "X"
    if kind.key == "a3":
        return "SIO" if chip.sim.npu == other.sim.npu else "HCCS_SW"
    return "HCCS"


def _spod_info(query: _Query) -> str:
    if query.kind.key != "a3":
        raise _UnsupportedError("spod-info")
    server = query.state["node_index"]

    def lines(chip: live.LiveChip) -> list[str]:
        # SDID as mind-cluster's logged values have it: server, card, chip and die in fields of 22, 18, 16.
        sdid = server << 22 | chip.sim.npu << 18 | chip.sim.chip << 16 | chip.sim.device
        return [
            _field("SDID", sdid),
            _field("Super Pod Size", _SUPER_POD_SIZE),
            _field("Super Pod ID", 0),
            _field("Server Index", server),
        ]

    return _by_chip(query, lines)


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
_OF_MEMORY = frozenset({"common", "proc-mem", "usages"})
