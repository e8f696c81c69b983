"""What provisioning has to do as a second inventory source: each node with its roles and their variables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from npuctl.plan.provision._contract import RECORDS, StageName, Work
from npuctl.plan.provision.build import ProvisionPlan, record_texts
from npuctl.plan.provision.settings import RECORD
from npuctl.runner.hostvars import GROUP, literal

PLAYBOOK = "provision.yml"


def provision_source(plan: ProvisionPlan, stages: Sequence[StageName]) -> dict[str, Any]:
    """The source for one play of these stages; a node without work in them is not in it."""
    hosts: dict[str, dict[str, Any]] = {}
    for work in plan.of(*stages):
        host = hosts.setdefault(work.node, {"npuctl_parts": []})
        host["npuctl_parts"].append({"role": work.role, "entry": work.entry})
        host |= literal(dict(work.variables)) | secret_templates(work)
    for node, host in hosts.items():
        before, after = record_texts(plan, node, stages)
        if before["entries"] or after["entries"]:
            host["node_record_path"] = f"{RECORDS}/{RECORD}.json"
            host["node_record_before"] = literal(_text(before))
            host["node_record_after"] = literal(_text(after))
    return {"all": {"children": {GROUP: {"hosts": dict(sorted(hosts.items()))}}}}


def secret_templates(work: Work) -> dict[str, str]:
    """The role's secret variables as templates: the value comes from the vault on the way to the node."""
    return {name: f"{{{{ npuctl_secrets['{secret}'] }}}}" for name, secret in work.secret_variables.items()}


def _text(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"
