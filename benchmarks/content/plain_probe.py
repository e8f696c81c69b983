"""The plainest way to ask many nodes at once: one ssh a node over kept connections, one thread each.

Reads `[{"argv": […], "input": "…"}, …]` from the file that is its argument. The yardstick of `npuctl health`:
the same program, the same request, the same connections, and nothing around them.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def ask(call: dict[str, Any]) -> Any:
    """What one node answers."""
    done = subprocess.run(call["argv"], input=call["input"].encode(), capture_output=True, check=True)
    return json.loads(done.stdout)


def main() -> int:
    """Ask all; 0 when every replica produced a token."""
    calls = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = list(pool.map(ask, calls))
    replicas = [replica for answer in answers for replica in answer["replicas"]]
    ready = sum(1 for replica in replicas if replica.get("token", {}).get("tokens"))
    print(f"{ready} of {len(replicas)} replicas ready")
    return 0 if ready == len(replicas) else 1


if __name__ == "__main__":
    sys.exit(main())
