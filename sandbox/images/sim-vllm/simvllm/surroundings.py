"""What the stand-in takes from its environment: the SIM_VLLM_ knobs and where its data lies."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOME = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment of one server, read once at its start.

    Attributes:
        release: the vLLM release that is played.
        data: the folder of flags.json and model.json.
        faults: the control file of faults; may be absent.
        device_glob: which files are NPUs.
        visible: ASCEND_RT_VISIBLE_DEVICES, None when unset.
        allow_no_npu: start without any device.
        shm: where shared memory files go.
    """

    release: str
    data: Path
    faults: Path
    device_glob: str
    visible: str | None
    allow_no_npu: bool
    load_seconds: float
    seconds_per_token: float
    dead_seconds: float
    shm: Path
    toolkit: str
    api_key: str
    allow_long_context: bool

    def devices(self) -> list[str]:
        """The visible NPUs in order of rank: the device files by number, then the visible list over them."""
        matches = glob.glob(self.device_glob)  # noqa: PTH207 - pathlib takes no absolute pattern
        found = [path for path in matches if re.search(r"davinci\d+$", path)]
        found.sort(key=lambda path: int(re.sub(r".*davinci", "", path)))
        if self.visible is None:
            return found
        chosen = [int(word) for word in self.visible.split(",") if word.strip().isdigit()]
        return [found[index] for index in chosen if index < len(found)]


def surroundings(env: Mapping[str, str] = os.environ) -> Surroundings:
    """Read the environment."""
    return Surroundings(
        release=env.get("SIM_VLLM_RELEASE", "0.18.0"),
        data=Path(env.get("SIM_VLLM_DATA", _HOME)),
        faults=Path(env.get("SIM_VLLM_FAULTS", "/var/lib/npusim/engine-faults.json")),
        device_glob=env.get("SIM_VLLM_DEVICE_GLOB", "/dev/davinci[0-9]*"),
        visible=env.get("ASCEND_RT_VISIBLE_DEVICES"),
        allow_no_npu=bool(env.get("SIM_VLLM_ALLOW_NO_NPU")),
        load_seconds=float(env.get("SIM_VLLM_LOAD_SECONDS", "1.5")),
        seconds_per_token=float(env.get("SIM_VLLM_SECONDS_PER_TOKEN", "0.002")),
        # Measured on vLLM: so long the API server outlives its engine, with /health at 503.
        dead_seconds=float(env.get("SIM_VLLM_DEAD_SECONDS", "4.3")),
        shm=Path(env.get("SIM_VLLM_SHM_DIR", "/dev/shm")),  # noqa: S108 - this is where vLLM's rings are
        toolkit=env.get("ASCEND_TOOLKIT_HOME", ""),
        api_key=env.get("VLLM_API_KEY", ""),
        allow_long_context=env.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "0") not in {"", "0"},
    )
