"""A small client of the Docker Engine API on the node's own socket; standard library only.

The docker command costs 30 to 50 ms of CPU a call and the Python SDK must be installed on every node;
the API over the local socket needs neither. API version 1.40 = Docker 19.03.
"""

import http.client
import json
import os
import socket
import urllib.parse

SOCKET = "/var/run/docker.sock"
API = "/v1.40"


class DockerError(Exception):
    """The engine refused, or is not there; the text is for people."""

    def __init__(self, message, status=0):
        super().__init__(message)
        self.status = status


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def call(method, path, query=None, body=None, timeout=60, headers=None, socket_path=SOCKET):
    """One request; returns the decoded JSON, or raw bytes where the answer is not JSON."""
    connection = _Connection(socket_path, timeout)
    payload = None if body is None else json.dumps(body)
    own = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, _target(path, query), payload, dict(own, **(headers or {})))
        response = connection.getresponse()
        raw = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise DockerError(f"the Docker engine does not answer on {socket_path}: {error}") from error
    finally:
        connection.close()
    if response.status >= 400:
        raise DockerError(_message(raw), response.status)
    if response.getheader("Content-Type", "").startswith("application/json") and raw:
        try:
            return json.loads(raw)
        except ValueError:
            return raw
    return raw


def messages(path, query=None, source=None, timeout=60, headers=None, socket_path=SOCKET):
    """POST; the messages of a stream of JSON lines, as they come. `source`: an open file that is sent.

    Raises DockerError as soon as a message of the stream tells of an error: the status was 200 by then.
    """
    connection = _Connection(socket_path, timeout)
    own = {}
    if source is not None:
        own = {"Content-Type": "application/x-tar", "Content-Length": str(os.fstat(source.fileno()).st_size)}
    try:
        connection.request("POST", _target(path, query), source, dict(own, **(headers or {})))
        response = connection.getresponse()
        if response.status >= 400:
            raise DockerError(_message(response.read()), response.status)
        for line in iter(response.readline, b""):
            message = json.loads(line) if line.strip() else {}
            if "error" in message:
                raise DockerError(str(message["error"]))
            yield message
    except (OSError, http.client.HTTPException) as error:
        raise DockerError(f"the Docker engine does not answer on {socket_path}: {error}") from error
    finally:
        connection.close()


def _target(path, query):
    return API + path + ("?" + urllib.parse.urlencode(query) if query else "")


def _message(raw):
    try:
        return json.loads(raw)["message"]
    except (ValueError, KeyError, TypeError):
        return raw.decode("utf-8", "replace").strip()


def image(reference):
    """The image's description, or None when there is none of that name."""
    try:
        return call("GET", "/images/{}/json".format(urllib.parse.quote(reference, safe="/:@")))
    except DockerError as error:
        if error.status == 404:
            return None
        raise


def inspect(name):
    """The container's description, or None when there is none of that name."""
    try:
        return call("GET", "/containers/{}/json".format(urllib.parse.quote(name, safe="")))
    except DockerError as error:
        if error.status == 404:
            return None
        raise


def log_tail(name, lines):
    """The container's last log lines, standard output and error together."""
    query = {"stdout": 1, "stderr": 1, "tail": lines}
    raw = call("GET", "/containers/{}/logs".format(urllib.parse.quote(name, safe="")), query)
    if not isinstance(raw, bytes):
        raw = json.dumps(raw).encode()
    return demultiplex(raw).decode("utf-8", "replace").splitlines()


def demultiplex(raw):
    """Take the 8-byte frame headers out of a log stream (Docker Engine API, container attach)."""
    parts = []
    at = 0
    while at + 8 <= len(raw) and raw[at] in (0, 1, 2) and raw[at + 1 : at + 4] == b"\0\0\0":
        size = int.from_bytes(raw[at + 4 : at + 8], "big")
        parts.append(raw[at + 8 : at + 8 + size])
        at += 8 + size
    return b"".join(parts) if parts else raw
