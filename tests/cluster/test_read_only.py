"""A look changes nothing on a node: files, settings, ports of the NPU network, containers, what is left lying."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster, Node

pytestmark = pytest.mark.cluster

# Everything that a look could have changed. Files are hashed and have mode, owner and time of change beside it;
# of /proc/sys, what the kernel itself changes at every reading is left out.
_STATE = r"""
find /etc /usr/local /data /var/lib/npusim /boot /opt -xdev -type f -print0 | sort -z | xargs -0 -r sha256sum
find /etc /usr/local /data /root /home /tmp /var/tmp /dev/shm /opt -xdev -printf '%p %y %m %U:%G %s %C@\n' | sort
sha256sum /etc/hccn.conf
for chip in 0 1 2 3 4 5 6 7; do
  for query in tls ip gateway netdetect link net_health mtu; do
    /usr/local/Ascend/driver/tools/hccn_tool -i $chip -$query -g
  done
done
docker ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.State}} {{.Image}}'
docker images --no-trunc --format '{{.ID}} {{.Repository}} {{.Tag}}'
docker ps -aq | xargs -r docker inspect --format '{{.Id}} {{.State.StartedAt}} {{.RestartCount}}'
find /proc/sys -type f -readable ! -path '*random*' ! -path '*/fs/*-nr' ! -path '*/fs/*-state' ! -path '*/fs/quota/*' \
  ! -path '*/ns_last_pid' ! -path '*/netfilter/*count' ! -path '*/pty/nr' ! -path '*/ipv[46]/route/*' \
  ! -path '*/aio-nr' ! -path '*/stable_secret' ! -path '*cdrom*' ! -path '*/sched_domain/*' 2>/dev/null |
  sort | while read -r path; do printf '%s ' "$path"; cat "$path" 2>/dev/null | sha256sum; done
ls -l /dev/davinci* /dev/devmm_svm /dev/hisi_hdc
systemctl list-units --state=active --type=service --no-legend --plain | awk '{print $1}' | grep -v '^session\|^user' | sort
"""


def _state(node: Node) -> list[str]:
    return node.sh(_STATE, check=False).splitlines()


def test_inspect_and_check_change_nothing(cluster: Cluster) -> None:
    cluster.write(cluster.service(replicas=3, hosts="serving"), npu_network="required")
    cluster.run("deploy")
    with ThreadPoolExecutor(len(cluster.nodes)) as pool:
        before = list(pool.map(_state, cluster.nodes))
        assert all(len(lines) > 200 for lines in before), "the state was not read"
        assert any("hccn.conf" in line for line in before[0])
        for verb in ("inspect", "check", "plan", "health"):
            cluster.run(verb)
        cluster.run("check", "--all-pairs")
        after = list(pool.map(_state, cluster.nodes))
    for node, one, other in zip(cluster.nodes, before, after, strict=True):
        changed = sorted(set(one) ^ set(other))
        assert not changed, f"{node.name}: {changed[:10]}"


def test_the_judge_sees_changes(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    before = _state(node)
    node.sh("touch /etc/hccn.conf; touch /tmp/left-behind")
    try:
        changed = set(before) ^ set(_state(node))
    finally:
        node.sh("rm /tmp/left-behind")
    assert any("/etc/hccn.conf" in line for line in changed)
    assert any("/tmp/left-behind" in line for line in changed)
