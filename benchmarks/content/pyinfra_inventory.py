"""The nodes for pyinfra: the addresses, key and pinned host keys that npuctl uses, from $BENCH_EXPECTED."""

import json
import os
from pathlib import Path
from typing import Any

_expected: dict[str, Any] = json.loads(Path(os.environ["BENCH_EXPECTED"]).read_text(encoding="utf-8"))

serving = [
    (
        host,
        {
            "ssh_hostname": own["reach"]["address"],
            "ssh_user": own["reach"]["user"],
            "ssh_key": own["reach"]["key"],
            "ssh_known_hosts_file": own["reach"]["known_hosts"],
            "ssh_strict_host_key_checking": "yes",
            "ssh_config_file": os.devnull,
            "bench": own["bench"],
        },
    )
    for host, own in _expected.items()
]
