"""Keeps the simulated NPUs open in the engine's processes, so that the simulated npu-smi sees who holds a chip.

Imported by a .pth file when Python starts. The engine core and its workers are started by multiprocessing;
they hold the devices, and still do when the API server above them was killed. The API server does not.
"""

import contextlib
import glob
import os
import sys

if os.environ.get("NPUCTL_HOLD_DEVICES") and "--multiprocessing-fork" in sys.orig_argv:
    held = []
    for device in sorted(glob.glob("/dev/davinci[0-9]*")):  # noqa: PTH207 - pathlib costs time at every start
        with contextlib.suppress(OSError):
            held.append(os.open(device, os.O_RDWR))
