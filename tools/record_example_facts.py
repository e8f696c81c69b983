"""Record the facts of the example clusters on a sandbox: `plan --facts` then works where no node can run.

Simulated NPUs throughout, and the files say so. For each example: the fresh nodes; for the A2 example
also a cluster that runs older settings and one in trouble. They lie in inventories/facts/, for what lies
in an inventory folder Ansible reads as an inventory.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
NPUCTL = str(Path(sys.executable).parent / "npuctl")
FACTS = ROOT / "inventories" / "facts"
SANDBOX = "record"
EPHEMERAL = 10000  # ports above change at every start
EXAMPLES = {"example-a2": ("a2", 2), "example-a3": ("a3", 1), "example-310p": ("310p", 1)}


def npuctl(*words: str, accept: frozenset[int] = frozenset({0})) -> None:
    """Run npuctl; its own messages go to the screen."""
    code = subprocess.run([NPUCTL, *words], check=False, stdout=subprocess.DEVNULL).returncode
    if code not in accept:
        raise SystemExit(f"npuctl {' '.join(words)} ended with {code}")


def on_node(node: str, script: str) -> None:
    """Run a shell script on a node of the recording sandbox."""
    subprocess.run(["docker", "exec", f"npuctl-{SANDBOX}-{node}", "sh", "-euc", script], check=True)


def record(example: str, product: str, count: int, work: Path) -> None:
    """Bring up a sandbox of that product, make it look like the example's machines, and write the facts."""
    inventory = work / example
    npuctl(
        *("sandbox", "up", "--name", SANDBOX, "--product", product, "--nodes", str(count)),
        *("--inventory", str(inventory)),
    )
    spec_file = inventory / "group_vars/all/cluster.yml"
    made = yaml.safe_load(spec_file.read_text(encoding="utf-8"))
    sim_image = made["npuctl_cluster"]["services"][0]["image"]
    spec = yaml.safe_load((ROOT / "inventories" / example / "group_vars/all/cluster.yml").read_text("utf-8"))
    services = spec["npuctl_cluster"]["services"]
    for node in [f"node-{number}" for number in range(1, count + 1)]:
        for service in services:
            if service["model"].get("path"):
                on_node(node, f"mkdir -p /data/models; cp -rn /data/models/tiny {service['model']['path']}")
            suffix = {"a2": "", "a3": "-a3", "310p": "-310p"}[product]
            image = service.get("image", f"quay.io/ascend/vllm-ascend:{service['version']}{suffix}")
            on_node(node, f"docker tag {sim_image} {image}")
    spec_file.write_text(yaml.safe_dump(spec), encoding="utf-8")
    save(inventory, FACTS / f"{example}.json")
    if example == "example-a2":
        record_running_and_trouble(inventory, spec_file, spec)
    npuctl("sandbox", "down", "--name", SANDBOX)


def record_running_and_trouble(inventory: Path, spec_file: Path, spec: dict[str, object]) -> None:
    """The A2 example with older settings running, and with faults."""
    older = json.loads(json.dumps(spec))
    older["npuctl_cluster"]["services"][0]["args"] = {"max-model-len": 4096, "max-num-seqs": 16}
    older["npuctl_cluster"]["services"][0]["env"] = {}
    spec_file.write_text(yaml.safe_dump(older), encoding="utf-8")
    npuctl("deploy", str(inventory))
    save(inventory, FACTS / "example-a2-running.json")
    npuctl("teardown", str(inventory), "--yes")
    for fault in (
        ("health", "--chip", "3", "--value", "Alarm"),
        ("port-taken", "--value", "8100"),
        ("model-missing",),
    ):
        npuctl("sandbox", "fault", "node-2", *fault, "--name", SANDBOX)
    on_node("node-2", "mv /data/models/Qwen3-32B /data/models/elsewhere")
    save(inventory, FACTS / "example-a2-trouble.json")


def save(inventory: Path, target: Path) -> None:
    """Inspect and write the facts, without what only says something of the machine that recorded them."""
    raw = inventory.parent / "facts.json"
    npuctl("inspect", str(inventory), "--save", str(raw))
    facts = json.loads(raw.read_text(encoding="utf-8"))
    for node in facts["nodes"].values():
        node.update(kernel="sandbox", boot_id="", memory_total_mb=1048576, memory_available_mb=1000000)
        node["free_bytes"] = dict.fromkeys(node["free_bytes"], 10**12)
        node["listeners"] = [entry for entry in node["listeners"] if entry["port"] < EPHEMERAL]
    target.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Record all examples."""
    work = Path(tempfile.mkdtemp())
    try:
        for example, (product, count) in EXAMPLES.items():
            record(example, product, count, work)
    finally:
        shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
