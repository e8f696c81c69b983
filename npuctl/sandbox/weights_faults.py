"""Faults of the model's folder on a node: what a cut download, another revision or a bad disk leaves.

Each damages one file and keeps the whole one aside for the undoing.
"""

from __future__ import annotations

from npuctl.sandbox.fault_scripts import Script
from npuctl.sandbox.model import MODEL_PATH

_KEPT = "/var/lib/npuctl-sandbox/kept"
_LAST_SHARD = "*.safetensors"


def _damage(name: str, explanation: str, *, file: str, command: str) -> Script:
    """A fault that runs `command` on the last file of the model that matches `file` ("$file")."""
    return Script(
        explanation,
        put=f"""
[ ! -d {_KEPT}/{name} ] || exit 0
file=$(find {MODEL_PATH} -maxdepth 1 -name '{file}' | sort | tail -n 1)
[ -n "$file" ] || {{ echo "{MODEL_PATH} holds no {file}" >&2; exit 1; }}
mkdir -p {_KEPT}/{name}
cp -p "$file" {_KEPT}/{name}/
{command}
""",
        clear=f"""
[ -d {_KEPT}/{name} ] || exit 0
cp -p {_KEPT}/{name}/* {MODEL_PATH}/
rm -r {_KEPT}/{name}
""",
    )


_PARTIAL = f"{MODEL_PATH}/model-00003-of-00003.safetensors.incomplete"

SCRIPTS: dict[str, Script] = {
    "weights-missing-shard": _damage(
        "weights-missing-shard",
        "a shard that the model's index names is gone",
        file=_LAST_SHARD,
        command='rm "$file"',
    ),
    "weights-truncated": _damage(
        "weights-truncated",
        "the last shard of the model ends too early, as a download that was cut off",
        file=_LAST_SHARD,
        command='truncate -s -1000 "$file"',
    ),
    "weights-zeroed": _damage(
        "weights-zeroed",
        "the header of the model's last shard is all zeros",
        file=_LAST_SHARD,
        command='dd if=/dev/zero of="$file" bs=64 count=1 conv=notrunc 2>/dev/null',
    ),
    "weights-differ": _damage(
        "weights-differ",
        "the last shard is whole, but of another revision than on the other nodes",
        file=_LAST_SHARD,
        command="""LC_ALL=C sed -i 's/"format":"pt"/"format":"np"/' "$file" """,
    ),
    "weights-config": _damage(
        "weights-config",
        "config.json of the model is cut off",
        file="config.json",
        command="""printf '{"architectures": [' > "$file" """,
    ),
    "generation-differs": _damage(
        "generation-differs",
        "generation_config.json is not what the other nodes have",
        file="generation_config.json",
        command="""printf '{"temperature": 0.1}\\n' > "$file" """,
    ),
    "weights-partial": Script(
        "an unfinished download lies beside the model's shards",
        put=f"head -c 1000 /dev/zero > {_PARTIAL}",
        clear=f"rm -f {_PARTIAL}",
    ),
}
