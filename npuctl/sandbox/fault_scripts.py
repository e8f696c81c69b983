"""Faults that are put on and taken off by a few lines of shell inside the node.

Each text is constant; a value reaches it as "$1" and is checked before. Putting one on twice, or taking
off what is not there, changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from npuctl.sandbox.model import MODEL_PATH


@dataclass(frozen=True, slots=True)
class Script:
    """What a fault does, and the shell texts that put it on a node and take it off.

    `takes_port`: it needs a port as its value. `value_pattern`: what a value must look like where it may be
    given; without one the script has a value of its own.
    """

    explanation: str
    put: str
    clear: str
    takes_port: bool = False
    value_pattern: str = ""


_KEYS = "/root/.ssh/authorized_keys /home/ops/.ssh/authorized_keys"
_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"

SCRIPTS: dict[str, Script] = {
    "docker-stopped": Script(
        "the node's Docker engine does not run",
        put="systemctl stop docker.socket docker.service",
        # A bare node has none.
        clear="! systemctl -q is-enabled docker.service 2>/dev/null || systemctl start docker.socket docker.service",
    ),
    "ssh-refused": Script(
        "the node refuses the key: permission denied",
        put=f'for f in {_KEYS}; do [ ! -e "$f" ] || mv "$f" "$f.away"; done',
        clear=f'for f in {_KEYS}; do [ ! -e "$f.away" ] || mv "$f.away" "$f"; done',
    ),
    "host-key-changed": Script(
        "the node shows another host key than the pinned one",
        put=f"""
[ ! -e {_HOST_KEY}.before ] || exit 0
mv {_HOST_KEY} {_HOST_KEY}.before
mv {_HOST_KEY}.pub {_HOST_KEY}.pub.before
ssh-keygen -q -t ed25519 -N '' -f {_HOST_KEY}
systemctl restart ssh
""",
        clear=f"""
[ -e {_HOST_KEY}.before ] || exit 0
mv {_HOST_KEY}.before {_HOST_KEY}
mv {_HOST_KEY}.pub.before {_HOST_KEY}.pub
systemctl restart ssh
""",
    ),
    "disk-full": Script(
        "no space left below /etc/npuctl",
        put="""
! mountpoint -q /etc/npuctl || exit 0
mkdir -p /run/npuctl-full
[ -d /etc/npuctl ] || { mkdir /etc/npuctl; touch /run/npuctl-full.made; }
mount -t tmpfs -o size=1m,mode=755 full /run/npuctl-full
cp -a /etc/npuctl/. /run/npuctl-full
dd if=/dev/zero of=/run/npuctl-full/.full bs=4k 2>/dev/null || true
mount --bind /run/npuctl-full /etc/npuctl
""",
        clear="""
! mountpoint -q /etc/npuctl || umount /etc/npuctl
! mountpoint -q /run/npuctl-full || umount /run/npuctl-full
[ ! -e /run/npuctl-full.made ] || rmdir --ignore-fail-on-non-empty /etc/npuctl
rm -f /run/npuctl-full.made
""",
    ),
    "port-taken": Script(
        "a foreign program listens; --value PORT",
        put="""
! systemctl -q is-active "npusim-port-$1" || exit 0
systemd-run --quiet --collect --unit "npusim-port-$1" python3 -m http.server "$1"
for _ in 1 2 3 4 5 6 7 8 9 10; do
  ss -Hltn "sport = :$1" | grep -q . && exit 0
  sleep 0.3
done
echo "nothing listens on port $1 after 3 s" >&2
exit 1
""",
        clear='systemctl stop "npusim-port-${1:-*}.service"',
        takes_port=True,
    ),
    "model-missing": Script(
        "the model's folder is gone",
        put=f"[ ! -e {MODEL_PATH} ] || {{ rm -rf {MODEL_PATH}.away; mv {MODEL_PATH} {MODEL_PATH}.away; }}",
        clear=f"[ ! -e {MODEL_PATH}.away ] || {{ rm -rf {MODEL_PATH}; mv {MODEL_PATH}.away {MODEL_PATH}; }}",
    ),
}
