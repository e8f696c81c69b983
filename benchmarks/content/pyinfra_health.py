"""What `npuctl health` asks, as pyinfra facts."""

import json
import shlex

from pyinfra import host
from pyinfra.api.exceptions import DeployError
from pyinfra.facts.server import Command

bench = host.data.bench
server = f"http://127.0.0.1:{bench['port']}"
state = host.get_fact(
    Command, command=f"docker container inspect --format '{{{{.State.Status}}}}' {bench['container']}"
)
if state.strip() != "running":
    raise DeployError(f"the container is {state}")
host.get_fact(Command, command=f"curl -fsS {server}{bench['alive_path']}")
token = host.get_fact(
    Command,
    command=(
        f"curl -fsS -H 'Content-Type: application/json' -H 'Authorization: Bearer {bench['api_key']}'"
        f" -d {shlex.quote(json.dumps(bench['body']))} {server}{bench['token_path']}"
    ),
)
if json.loads(token)["usage"]["completion_tokens"] < 1:
    raise DeployError("no token came out")
