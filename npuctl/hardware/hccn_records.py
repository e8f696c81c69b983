"""What hccn_tool says, as records; and the errors for when it says something else.

Wordings and their causes: hicann/driver, src/custom/network/hccn (the tool's own source).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from npuctl.hardware.unreadable import UnreadableError


class HccnError(UnreadableError):
    """hccn_tool ran and refused, or failed; the text is as it should be."""


class HccnBusyError(HccnError):
    """Another call holds the tool's lock: ask again."""


class HccnNoDeviceError(HccnError):
    """No chip has this physical id."""


class HccnDeniedError(HccnError):
    """The caller may not ask; most queries want root."""


class HccnNotSupportedError(HccnError):
    """This product has no such network, or no such query."""


class HccnNotSetError(HccnError):
    """What was asked for was never set."""


class HccnFailedError(HccnError):
    """The tool, or the chip it asked, failed; or the call was not one the tool takes."""


class HccnSilentError(HccnError):
    """The tool said nothing at all: no address was set, or no neighbour sends LLDP."""


LinkStatus = Literal["UP", "DOWN", "PARTIAL LINK"]
Duplex = Literal["Full", "Half"]
CertificateState = Literal["normal", "near expiration", "has expired"]


@dataclass(frozen=True, slots=True)
class NetHealth:
    """`-net_health`: whether the detect address answered.

    Attributes:
        word: as the tool said it.
        healthy: None for "Init": no detect address was set, or nothing was tried yet.
        known: False for a word that is in no source; such a port is not called healthy.
    """

    word: str
    healthy: bool | None
    known: bool


@dataclass(frozen=True, slots=True)
class IpConfig:
    """`-ip`."""

    address: str
    netmask: str


@dataclass(frozen=True, slots=True)
class Gateway:
    """`-gateway`: the default gateway and the chip's own interface."""

    address: str
    interface: str


@dataclass(frozen=True, slots=True)
class Vnic:
    """`-vnic`: a chip's network inside a super pod."""

    status: Literal["UP", "DOWN"]
    address: str
    netmask: str


@dataclass(frozen=True, slots=True)
class Route:
    """One row of `-route`.

    Attributes:
        destination: an address; 0.0.0.0 for the default route.
        gateway: None for a network that is reached directly.
    """

    destination: str
    gateway: str | None
    netmask: str
    flags: str
    metric: int
    interface: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of `-tls`.

    Attributes:
        name: such as "pub cert", "ca1 cert" or "crl".
        state: None when it was not said; that of an expired one goes to another stream.
    """

    name: str
    subject: str | None
    issuer: str | None
    start: str | None
    end: str | None
    state: CertificateState | None


@dataclass(frozen=True, slots=True)
class Tls:
    """`-tls` of one chip.

    Attributes:
        preconfigured: None where the driver does not say it.
    """

    device: int
    enabled: bool
    preconfigured: bool | None
    alarm_days: int
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class LinkChange:
    """One record of `-link_stat`, by the chip's clock, which has no zone."""

    time: datetime
    up: bool


@dataclass(frozen=True, slots=True)
class LinkStat:
    """`-link_stat`.

    Attributes:
        device: None when the lines have no mark.
        now: of the chip's clock.
        link_downs: None where the driver does not count them.
        changes: the newest first; the chip keeps the last ones only.
    """

    device: int | None
    now: datetime
    link_ups: int
    link_downs: int | None
    changes: tuple[LinkChange, ...]

    @property
    def up(self) -> bool | None:
        """What the newest record says; None without any record."""
        return self.changes[0].up if self.changes else None


@dataclass(frozen=True, slots=True)
class Lldp:
    """`-lldp`: the switch at the other end.

    Attributes:
        interface: the switch's port.
        complete: the text ends as it should, and nothing was left out.
    """

    interface: str
    system_name: str | None
    complete: bool


@dataclass(frozen=True, slots=True)
class EthStatus:
    """`-status`: what ethtool says of the chip's interface.

    Attributes:
        speed_mbps: None when it is unknown, as on a link that is down, or was left out.
        link_detected: None when that line was left out.
        complete: nothing was left out.
    """

    interface: str
    speed_mbps: int | None
    duplex: Duplex | None
    link_detected: bool | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """`-bandwidth`, in megabytes a second."""

    tx_mb_per_second: float
    rx_mb_per_second: float


@dataclass(frozen=True, slots=True)
class Ping:
    """`-ping` and `-hccs_ping`.

    Attributes:
        device, address: None when the heading was left out.
        times_ms: of the packets that came back, where the lines are there.
        unreachable: None where packets were lost and no line says how.
        timeouts: packets that nothing came back for, or that could not be checked; None likewise.
    """

    device: int | None
    address: str | None
    transmitted: int
    received: int
    loss_percent: float
    times_ms: tuple[float, ...]
    unreachable: int | None
    timeouts: int | None

    @property
    def lossless(self) -> bool:
        """Every packet came back, and there was one."""
        return 0 < self.transmitted == self.received


@dataclass(frozen=True, slots=True)
class OpticalLane:
    """One lane of an optical module; None for what it does not measure."""

    tx_power_mw: float | None
    rx_power_mw: float | None
    tx_bias_ma: float | None
    host_snr_db: float | None
    media_snr_db: float | None


@dataclass(frozen=True, slots=True)
class OpticalLimits:
    """The module's own alarm thresholds; None for what it does not say."""

    vcc_high_mv: float | None
    vcc_low_mv: float | None
    temperature_high_c: int | None
    temperature_low_c: int | None
    tx_power_high_mw: float | None
    tx_power_low_mw: float | None
    rx_power_high_mw: float | None
    rx_power_low_mw: float | None


@dataclass(frozen=True, slots=True)
class Optical:
    """`-optical`.

    Attributes:
        lanes: empty when nothing was measured, as without a module.
        tx_los, rx_los, tx_lol, rx_lol: one bit a lane that has no signal or no lock.
    """

    present: bool
    temperature_c: int | None
    vendor: str | None
    part_number: str | None
    serial_number: str | None
    wavelength_nm: int | None
    vcc_mv: float | None
    lanes: tuple[OpticalLane, ...]
    limits: OpticalLimits
    tx_los: int | None
    rx_los: int | None
    tx_lol: int | None
    rx_lol: int | None
