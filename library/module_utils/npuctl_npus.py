"""Every question about every NPU of a node: chips, ports, bus, version files. Read-only; returns what tools printed.

Chips are asked side by side, the questions about one chip one after the other: that is how the vendor's own
pre-check (msprechecker) asks, and a tool that hangs on one chip does not keep the others waiting.
"""

import concurrent.futures
import glob
import os
import re

from ansible.module_utils import npuctl_command as command
from ansible.module_utils import npuctl_files as files

NPU_SMI_SECONDS = 20  # the driver's own collector (npu_log_collect.sh) gives `npu-smi info` 20 s
HCCN_TOOL_SECONDS = 10  # and every call of hccn_tool 10 s
HCCN_TOOL_FOLDER = "/usr/local/Ascend/driver/tools"
AT_ONCE = 16
DEVICE = re.compile(r"/dev/davinci(\d+)$")
PORT_QUESTIONS = ("link", "net_health", "ip", "gateway", "netdetect", "tls", "mtu", "lldp")
CHIP_QUESTIONS = ("health", "ecc")
NO_PORT = "not supported on this product"  # said to every question where chips have no port, as on a 310P
# Only products with super pods (A3, 950) have a column for the physical id in `npu-smi info -m`.
SUPER_POD_COLUMN = "Chip Phy-ID"
SUPER_POD_PORT_QUESTIONS = ("vnic",)
SUPER_POD_CHIP_QUESTIONS = ("spod-info",)
FILES = (
    "/etc/hccn.conf",
    "/usr/local/Ascend/driver/version.info",
    "/usr/local/Ascend/firmware/version.info",
    "/etc/ascend_install.info",
    "/etc/docker/daemon.json",
)
PCI_DEVICES = "/sys/bus/pci/devices/*"
HUAWEI = "0x19e5"
PROCESSING_ACCELERATOR = "0x1200"  # PCI class 12 00, as lspci words it


def collect(info):
    """Ask everything; `info` is the answer to `npu-smi info`, which decides whether npu-smi is asked again."""
    smi = command.Tool("npu-smi", NPU_SMI_SECONDS)
    hccn = command.Tool("hccn_tool", HCCN_TOOL_SECONDS, [HCCN_TOOL_FOLDER])
    if info["rc"] is None:
        smi.give_up(info["stderr"])
    mapping = smi.ask(["info", "-m"], "the mapping")
    chips, listing = mapped_chips(mapping["stdout"]), None
    if mapping["rc"] is None:
        smi.give_up(mapping["stderr"])
    elif not chips:
        listing = smi.ask(["info", "-l"], "the list")
        chips = listed_chips(listing["stdout"])
    super_pod = SUPER_POD_COLUMN in mapping["stdout"]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [pool.submit(ask_chip, smi, chip, super_pod) for chip in chips]
        boards = {
            str(npu): pool.submit(smi.ask, ["info", "-t", "board", "-i", str(npu)], f"board {npu}")
            for npu in sorted({chip["npu"] for chip in chips})
        }
        ports = sorted({chip["phy"] for chip in chips if chip["phy"] is not None} | set(device_numbers()))
        has_network = hccn_tool_is_there()
        answers = {
            str(port): pool.submit(ask_port, hccn, port, super_pod) for port in (ports if has_network else [])
        }
        return {
            "mapping": mapping,
            "listing": listing,
            "chips": [chip.result() for chip in asked],
            "boards": {npu: board.result() for npu, board in boards.items()},
            "has_hccn_tool": has_network,
            "ports": {port: answer.result() for port, answer in answers.items()},
            "bus": read_bus(),
            "files": {path: files.text_or_reason(path) for path in FILES},
        }


def nothing():
    """The answer where NPUs were not to be asked: the version files alone, which cost nothing."""
    unasked = command.failure("not asked")
    return {
        "mapping": unasked,
        "listing": None,
        "chips": [],
        "boards": {},
        "has_hccn_tool": False,
        "ports": {},
        "bus": read_bus(),
        "files": {path: files.text_or_reason(path) for path in FILES},
    }


def ask_chip(smi, chip, super_pod):
    """Health, ECC and, in a super pod, the place of one chip."""
    seat = ["-i", str(chip["npu"]), "-c", str(chip["chip"])]
    about = "{npu} {chip}".format(**chip)
    queries = CHIP_QUESTIONS + (SUPER_POD_CHIP_QUESTIONS if super_pod else ())
    answers = {query: smi.ask(["info", "-t", query, *seat], about) for query in queries}
    return {"npu": chip["npu"], "chip": chip["chip"], "phy": chip["phy"], "answers": answers}


def ask_port(hccn, port, super_pod):
    """Every setting and state of one chip's port."""
    answers = {}
    for word in PORT_QUESTIONS + (SUPER_POD_PORT_QUESTIONS if super_pod else ()):
        answers[word] = hccn.ask(["-i", str(port), "-" + word, "-g"], port)
        if word == PORT_QUESTIONS[0] and NO_PORT in answers[word]["stdout"] + answers[word]["stderr"]:
            break
    return answers


def hccn_tool_is_there():
    """Whether the node has hccn_tool."""
    folders = [HCCN_TOOL_FOLDER, *os.environ.get("PATH", "").split(":"), *command.FOLDERS]
    return any(os.access(os.path.join(folder, "hccn_tool"), os.X_OK) for folder in folders if folder)


def mapped_chips(text):
    """npu, chip, logic and phy of each chip of `npu-smi info -m`; management controllers are left out.

    Only for asking further: npuctl's parser reads the same text again, and is strict.
    """
    heading, chips = [], []
    for line in text.splitlines():
        cells = re.split(r"\s{2,}|\t+", line.strip())
        if "NPU ID" in cells and "Chip ID" in cells:
            heading = cells
        elif heading and len(cells) == len(heading):
            row = dict(zip(heading, cells))  # noqa: B905  Python 3.8 has no strict
            if row.get("Chip Name", "").lower() == "mcu" or not row["NPU ID"].isdigit():
                continue
            chips.append(
                {
                    "npu": int(row["NPU ID"]),
                    "chip": int(row["Chip ID"]),
                    "logic": whole(row.get("Chip Logic ID")),
                    "phy": whole(row.get("Chip Phy-ID")),
                }
            )
    return with_physical_ids([chip for chip in chips if chip["chip"] is not None])


def listed_chips(text):
    """The same of `npu-smi info -l`, which counts the chips of a card and does not number them."""
    chips = []
    for npu, count in re.findall(
        r"NPU ID\s*:\s*(\d+)(?:\s*\n\s*(?!NPU ID)\S[^\n]*)*?\s*Chip Count\s*:\s*(\d+)", text
    ):
        chips += [{"npu": int(npu), "chip": chip, "logic": None, "phy": None} for chip in range(int(count))]
    for number, chip in enumerate(chips):
        chip["logic"] = number
    return with_physical_ids(chips)


def with_physical_ids(chips):
    """Fill in the physical id, N of /dev/davinciN, where the tool has no column for it.

    A card of one chip has the number of its card (910A, 910B: NPU ID = device); a 310P's cards have numbers
    far above its devices', which follow the logic id.
    """
    devices = set(device_numbers())
    alone = all(chip["chip"] == 0 for chip in chips)
    for chip in chips:
        if chip["phy"] is None:
            chip["phy"] = chip["npu"] if alone and chip["npu"] in devices else chip["logic"]
    return chips


def whole(cell):
    """A cell as a number; None where there is none."""
    return int(cell) if (cell or "").isdigit() else None


def device_numbers():
    """N of every /dev/davinciN."""
    found = (DEVICE.match(path) for path in glob.glob("/dev/davinci*"))
    return sorted(int(match.group(1)) for match in found if match)


def read_bus():
    """NPUs on the PCI bus: what lspci prints, else the kernel's own list."""
    lspci = command.run(["lspci", "-n", "-d", "19e5:"], HCCN_TOOL_SECONDS)
    if lspci["rc"] == 0:
        return {"lspci": lspci, "sysfs": None}
    found = 0
    for folder in glob.glob(PCI_DEVICES):
        vendor, kind = files.text(folder + "/vendor").strip(), files.text(folder + "/class").strip()
        found += vendor == HUAWEI and kind.startswith(PROCESSING_ACCELERATOR)
    return {"lspci": lspci, "sysfs": found}
