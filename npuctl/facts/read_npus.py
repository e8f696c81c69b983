"""What the tools of the NPUs answered to a thorough look → typed facts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from npuctl.facts.model import ChipFacts
from npuctl.facts.survey import CardFacts, ChipSurvey, ConfiguredPort, DriverFiles, PortFacts
from npuctl.facts.unread import Unread
from npuctl.hardware.driver_files import (
    VersionRange,
    parse_driver_version,
    parse_firmware_version,
    parse_install_info,
)
from npuctl.hardware.hccn_conf import HCCN_CONF, HccnPort, parse_hccn_conf
from npuctl.hardware.hccn_tool import (
    HccnSilentError,
    Lldp,
    Tls,
    Vnic,
    parse_gateway,
    parse_ip,
    parse_link,
    parse_lldp,
    parse_mtu,
    parse_net_health,
    parse_netdetect,
    parse_tls,
    parse_vnic,
)
from npuctl.hardware.lspci import npus, parse_lspci
from npuctl.hardware.npu_smi import parse_mapping
from npuctl.hardware.npu_smi_cards import parse_card_board, parse_super_pod
from npuctl.hardware.npu_smi_queries import parse_ecc, parse_health
from npuctl.hardware.npu_smi_query_records import ChipEcc, ChipHealth
from npuctl.hardware.npu_smi_records import NpuSmiParseError
from npuctl.hardware.unreadable import UnreadableError

DRIVER_VERSION = "/usr/local/Ascend/driver/version.info"
FIRMWARE_VERSION = "/usr/local/Ascend/firmware/version.info"
INSTALL_INFO = "/etc/ascend_install.info"
T = TypeVar("T")
_FIRST_QUESTION = "link"
_ISOLATED = "Isolated Pages Count"


def read_cards(raw: dict[str, Any], unread: Unread) -> list[CardFacts]:
    """Every card's board."""
    cards = []
    for npu, answer in raw["boards"].items():
        board = unread.answer(f"card {npu}: board", answer, parse_card_board)
        if board is not None:
            cards.append(
                CardFacts(
                    npu=int(npu),
                    driver_version=board.software_version or "",
                    firmware_version=board.firmware_version or "",
                    compatibility=board.compatibility or "",
                    product_name=board.product_name or "",
                    serial_number=board.serial_number or "",
                )
            )
    return cards


def read_chips(raw: dict[str, Any], known: Sequence[ChipFacts], unread: Unread) -> list[ChipSurvey]:
    """Every chip's answers about itself.

    Args:
        raw: what the node sent.
        known: the chips of `npu-smi info`, which say the numbers of their devices.
        unread: takes what could not be read.
    """
    if raw["mapping"]["rc"] is None or not raw["chips"]:
        unread.answer("npu-smi info -m", raw["mapping"], parse_mapping)
    ids = {(chip.npu, chip.chip): chip.id for chip in known}
    chips = []
    for entry in raw["chips"]:
        number = ids.get((entry["npu"], entry["chip"]), entry["phy"])
        if number is None:
            unread.note(f"card {entry['npu']} chip {entry['chip']}", "its device node is not known")
            continue
        answers = entry["answers"]
        health = unread.answer(f"chip {number}: health", answers["health"], _one_health)
        if health and health.health is None:
            unread.note(f"chip {number}: health", "npu-smi says NA")
        ecc = unread.answer(f"chip {number}: ecc", answers["ecc"], _one_ecc)
        pod = None
        if "spod-info" in answers:
            pod = unread.answer(f"chip {number}: spod-info", answers["spod-info"], parse_super_pod)
        chips.append(
            ChipSurvey(
                id=number,
                npu=entry["npu"],
                chip=entry["chip"],
                health=(health.health if health else None) or "",
                error_codes=list(health.error_codes) if health else [],
                error_texts=list(health.error_informations) if health else [],
                ecc_uncorrectable=ecc.uncorrectable if ecc else None,
                ecc_isolated_pages=_isolated_pages(ecc) if ecc else None,
                sdid=pod.sdid if pod else None,
                super_pod_id=pod.super_pod_id if pod else None,
            )
        )
    return chips


def _one_health(text: str) -> ChipHealth:
    return _only_chip([answer for answer in parse_health(text) if not answer.controller])


def _one_ecc(text: str) -> ChipEcc:
    return _only_chip(parse_ecc(text))


def _only_chip(answers: Sequence[T]) -> T:
    if len(answers) != 1:
        raise NpuSmiParseError(f"one chip was asked, {len(answers)} answered")
    return answers[0]


def _isolated_pages(ecc: ChipEcc) -> int:
    return sum(value for name, value in ecc.counters.items() if name.endswith(_ISOLATED))


def read_ports(raw: dict[str, Any], unread: Unread) -> list[PortFacts]:
    """Every port's state and settings, as hccn_tool says them now; chips of a 310P have none."""
    if not raw["has_hccn_tool"]:
        unread.note("hccn_tool", "hccn_tool is not installed")
    ports = [_port(int(chip), answers, unread) for chip, answers in raw["ports"].items()]
    return [
        port
        for port in ports
        if port != PortFacts(chip=port.chip) or f"chip {port.chip}: {_FIRST_QUESTION}" in unread.reasons
    ]


def _port(chip: int, answers: dict[str, Any], unread: Unread) -> PortFacts:
    def ask(word: str, parse: Any) -> Any:
        return unread.answer(f"chip {chip}: {word}", answers[word], parse) if word in answers else None

    link = ask(_FIRST_QUESTION, parse_link)
    health = ask("net_health", parse_net_health)
    ip = ask("ip", _or_nothing(parse_ip))
    gateway = ask("gateway", _or_nothing(parse_gateway))
    tls: Tls | None = ask("tls", _one_tls)
    vnic: Vnic | None = ask("vnic", _or_nothing(parse_vnic))
    lldp: Lldp | None = ask("lldp", _or_nothing(parse_lldp))
    return PortFacts(
        chip=chip,
        link=link or "",
        net_health=health.word if health else "",
        address=ip.address if ip else "",
        netmask=ip.netmask if ip else "",
        gateway=gateway.address if gateway else "",
        detect_address=ask("netdetect", _or_nothing(parse_netdetect)) or "",
        tls_switch=None if tls is None else int(tls.enabled),
        mtu=ask("mtu", parse_mtu),
        vnic_address=vnic.address if vnic else "",
        vnic_link=vnic.status if vnic else "",
        switch_port=lldp.interface if lldp else "",
    )


def _or_nothing(parse: Any) -> Any:
    """The parser of a setting, for which silence is an answer: nobody set it, or no neighbour speaks."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except HccnSilentError:
            return None

    return read


def _one_tls(text: str) -> Tls:
    answers = parse_tls(text)
    if len(answers) != 1:
        raise UnreadableError(f"one chip was asked, {len(answers)} answered")
    return answers[0]


def read_configured_ports(raw: dict[str, Any], unread: Unread) -> tuple[list[ConfiguredPort], str]:
    """The ports of /etc/hccn.conf, and why the file cannot be read; a node without a network has none."""
    read = raw["files"][HCCN_CONF]
    if "text" not in read:
        unread.note(HCCN_CONF, read["error"])
        return [], ""
    try:
        ports = parse_hccn_conf(read["text"]).ports.values()
    except UnreadableError as error:
        return [], str(error)
    return [_configured(port) for port in ports], ""


def _configured(port: HccnPort) -> ConfiguredPort:
    return ConfiguredPort(
        chip=port.phy_id,
        address=port.address or "",
        netmask=port.netmask or "",
        gateway=port.gateway or "",
        detect_address=port.netdetect or "",
        tls_switch=None if port.tls_enable is None else int(port.tls_enable),
    )


def count_on_bus(raw: dict[str, Any], unread: Unread, *, simulated: bool) -> int | None:
    """NPUs on the PCI bus; None where neither lspci nor the kernel says."""
    bus = raw["bus"]
    listed: int | None = bus["sysfs"]
    if listed is None:
        listed = unread.answer("PCI bus", bus["lspci"], lambda text: len(npus(parse_lspci(text))))
    if simulated and not listed:
        unread.note("PCI bus", "simulated NPUs are on no bus")
        return None
    return listed


def product_on_bus(raw: dict[str, Any], unread: Unread) -> str:
    """The product that the NPUs on the PCI bus belong to; "" where that is not known, or they differ."""
    if raw["bus"]["sysfs"] is not None:
        return ""
    found = unread.answer("PCI bus", raw["bus"]["lspci"], lambda text: npus(parse_lspci(text)))
    products = {device.product.lower() for device in found or () if device.product}
    return products.pop() if len(products) == 1 else ""


def read_files(raw: dict[str, Any], unread: Unread) -> DriverFiles:
    """The version files of driver and firmware."""
    files = raw["files"]
    driver = unread.file(DRIVER_VERSION, files[DRIVER_VERSION], parse_driver_version)
    firmware = unread.file(FIRMWARE_VERSION, files[FIRMWARE_VERSION], parse_firmware_version)
    install = unread.file(INSTALL_INFO, files[INSTALL_INFO], parse_install_info)
    return DriverFiles(
        driver=driver.version if driver else "",
        driver_package=(driver.package_version if driver else None) or "",
        firmware=firmware.version if firmware else "",
        firmware_package=(firmware.package_version if firmware else None) or "",
        compatible_firmware=_ranges(driver.compatible_firmware) if driver else "",
        compatible_driver=_ranges(firmware.compatible_drivers) if firmware else "",
        install_status=(install.driver_status if install else None) or "",
        install_user=(install.user_name if install else None) or "",
        install_group=(install.user_group if install else None) or "",
    )


def _ranges(ranges: Iterable[VersionRange]) -> str:
    """As the files write them."""
    return ",".join(f"[{entry.first},{entry.last}]" for entry in ranges)
