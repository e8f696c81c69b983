"""What library/module_utils/npuctl_survey.py returned → Survey. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npuctl.facts.model import ChipFacts
from npuctl.facts.read_host import read_host
from npuctl.facts.read_images import read_images
from npuctl.facts.read_npus import (
    count_on_bus,
    product_on_bus,
    read_cards,
    read_chips,
    read_configured_ports,
    read_files,
    read_ports,
)
from npuctl.facts.read_second_opinion import read_second_opinions
from npuctl.facts.read_weights import read_weights
from npuctl.facts.survey import Survey
from npuctl.facts.unread import Unread
from npuctl.hardware.daemon_json import parse_daemon_json

DAEMON_JSON = "/etc/docker/daemon.json"


def read_survey(raw: dict[str, Any], chips: Sequence[ChipFacts], *, simulated: bool) -> Survey:
    """Type one node's thorough look.

    Args:
        raw: what the node sent.
        chips: those of `npu-smi info`.
        simulated: the node's NPUs are simulated.
    """
    unread = Unread()
    npus = raw["npus"]
    configured, hccn_conf_error = read_configured_ports(npus, unread)
    if npus["files"][DAEMON_JSON].get("error") != "absent":  # Docker needs none
        unread.file(DAEMON_JSON, npus["files"][DAEMON_JSON], parse_daemon_json)
    return Survey(
        cards=read_cards(npus, unread),
        chips=read_chips(npus, chips, unread),
        ports=read_ports(npus, unread),
        configured_ports=configured,
        hccn_conf_error=hccn_conf_error,
        pci_chips=count_on_bus(npus, unread, simulated=simulated),
        pci_product=product_on_bus(npus, unread),
        files=read_files(npus, unread),
        images=read_images(raw["images"], unread),
        host=read_host(raw["host"], raw["engine"], unread),
        weights=read_weights(raw["weights"], unread),
        second_opinions=read_second_opinions(raw["second_opinions"], unread),
        seconds=round(raw["seconds"], 3),
        unread=unread.reasons,
    )
