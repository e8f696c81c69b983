"""Observe replicas on their own node: the container, then the port, then one token. Read-only.

Asked on the node, so that a firewall between controller and node does not look like a dead engine. Returns
observations; npuctl/health/verdict.py judges them. Standard library only; Python 3.8 or newer.
"""

import calendar
import concurrent.futures
import http.client
import json
import os
import time

from ansible.module_utils import npuctl_docker as docker

ALIVE_SECONDS = 5
LOG_LINES = 25
# What an interactive bash without a terminal says before it becomes the engine (npuctl/plan/build.py).
NOISE = ("bash: cannot set terminal process group", "bash: no job control in this shell")


def observe_all(replicas):
    """Observe every replica, all at once; the observations in the order of `replicas`."""
    with concurrent.futures.ThreadPoolExecutor(max(1, len(replicas))) as pool:
        return list(pool.map(observe, replicas))


def observe(replica):
    """Container first, then the port, then a token; stops at the first that says no."""
    seen = {"name": replica["name"], "deployed": os.path.isdir(replica["directory"]), "container": None}
    try:
        container = docker.inspect(replica["container"])
    except docker.DockerError as error:
        seen["engine_error"] = str(error)
        return seen
    if container is None:
        return seen
    seen["container"] = describe(container)
    if seen["container"]["state"] == "running":
        seen["alive"] = request_once(replica, "GET", replica["alive_path"], None, ALIVE_SECONDS)
        if seen["alive"]["status"] == 200:
            seen["token"] = request_once(
                replica, "POST", replica["token_path"], replica["body"], replica["seconds"]
            )
            if tokens(seen["token"]):
                return seen
    try:
        lines = docker.log_tail(replica["container"], LOG_LINES)
        seen["log"] = [line for line in lines if not line.startswith(NOISE)]
    except docker.DockerError as error:
        seen["log"] = [str(error)]
    return seen


def describe(container):
    """State, exit code, restarts, and for how long it has been up."""
    state = container["State"]
    started = state.get("StartedAt", "")[:19]
    try:
        up = max(0.0, time.time() - calendar.timegm(time.strptime(started, "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        up = 0.0
    return {
        "state": state["Status"],
        "exit_code": state.get("ExitCode", 0),
        "restarts": container.get("RestartCount", 0),
        "restart_policy": container["HostConfig"]["RestartPolicy"]["Name"],
        "up_seconds": up,
    }


def request_once(replica, method, path, body, seconds):
    """One HTTP request to the replica; status None when there was no answer, with the error."""
    began = time.monotonic()
    headers = {"Content-Type": "application/json"}
    if replica.get("api_key"):
        headers["Authorization"] = ("Bearer " + replica["api_key"]).encode("utf-8")
    connection = http.client.HTTPConnection("127.0.0.1", replica["port"], timeout=seconds)
    answer = {"status": None, "error": "", "body": ""}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        answer["status"] = response.status
        answer["body"] = response.read(65536).decode("utf-8", "replace")
    except TimeoutError:
        answer["error"] = "time-out"
    except (OSError, http.client.HTTPException) as error:
        # socket.timeout is its own class before Python 3.10
        answer["error"] = "time-out" if "timed out" in str(error) else str(error) or type(error).__name__
    finally:
        connection.close()
    answer["seconds"] = time.monotonic() - began
    return answer


def tokens(answer):
    """How many tokens came out; recorded in the answer, whose body is then dropped when there are some."""
    answer["tokens"] = 0
    if answer["status"] == 200:
        try:
            answer["tokens"] = int(json.loads(answer["body"])["usage"]["completion_tokens"])
        except (ValueError, KeyError, TypeError):
            return 0
    return answer["tokens"]
