"""Weights on their way through a node: received and handed on at the same time, as long as somebody holds our stdin.

Not a module: npuctl/remote/transfer.py starts `run(request)` over SSH, writes commands to standard input and reads
events, one JSON object a line, from standard output. When standard input ends (npuctl is done, or was killed), so
does the process: nothing of ours is left on the node but the unfinished copy. Standard library; Python 3.8 or newer.

Between nodes: GET /NUMBER with `Range: bytes=N-` and the run's token; the body is blocks of four bytes of length
(big-endian) and so many bytes. A block of length 0 says that the node is alive and waits for bytes itself: without
it, one node that hangs would look to every node after it as if its own predecessor did.
"""

import hashlib
import hmac
import http.client
import http.server
import json
import os
import socket
import socketserver
import struct
import sys
import threading
import time

from ansible.module_utils import npuctl_store as store

# Each node of a chain takes a whole block before it hands it on: 16 nodes of 400 Mbit/s lose 80 ms in all.
BLOCK = 256 * 2**10
SMALLEST_BLOCK = 16 * 2**10
LENGTH = struct.Struct("!I")
ALIVE_SECONDS = 2.0
SILENT_SECONDS = 10.0  # without a block, not even an empty one: the node before is gone
CONNECT_SECONDS = 5.0
SEND_SECONDS = 60.0
AGAIN_SECONDS = 20.0  # an upstream that could not be reached is left alone so long
BIND_TRIES = 20  # the port of a run that was just killed
TELL_SECONDS = 1.0
TRIES = 3  # of one file whose bytes were wrong, beyond one for each upstream


class GoneError(Exception):
    """An upstream that does not deliver, and why."""


class Bucket:
    """So many bytes a second over all connections together; 0 for no limit."""

    def __init__(self, bytes_per_second):
        self.rate = bytes_per_second
        # Two blocks a second at least: a slow node is no silent one.
        self.block = min(BLOCK, max(SMALLEST_BLOCK, bytes_per_second // 2)) if bytes_per_second else BLOCK
        self.lock = threading.Lock()
        self.due = 0.0

    def take(self, count):
        """Wait until so many bytes may be sent."""
        if not self.rate:
            return
        with self.lock:
            self.due = max(self.due, time.monotonic()) + count / self.rate
            pause = self.due - time.monotonic()
        if pause > 0:
            time.sleep(pause)


class Item:
    """One file on its way. `had` bytes of it can be read; `round` counts how often it began anew."""

    def __init__(self, number, name, size, sha256):
        self.number = number
        self.name = name
        self.size = size
        self.sha256 = sha256
        self.had = 0
        self.round = 0
        self.whole = False
        self.failed = ""
        self.path = ""
        self.digest = None
        self.stream = None


class Relay:
    """All files of one model on this node."""

    def __init__(self, request, emit):
        self.path = request["path"].rstrip("/")
        self.partial = store.partial_path(self.path)
        self.token = request["token"].encode()
        self.upstreams = []
        self.ours = set(request.get("ours") or [])
        self.stopped = False
        self.emit = emit
        self.bucket = Bucket(request.get("bytes_per_second") or 0)
        self.changed = threading.Condition()
        self.hashes = store.Hashes(store.hashes_path(self.path))
        self.left_alone = {}
        self.received = 0
        files = sorted(request["files"].items())
        self.items = [
            Item(number, name, entry["size"], entry["sha256"]) for number, (name, entry) in enumerate(files)
        ]

    def final(self, item):
        """Where a file will be seen."""
        return os.path.join(self.path, item.name)

    def arriving(self, item):
        """Where a file is until then."""
        return os.path.join(self.partial, item.name)

    def work(self, upstreams):
        """Bring every file here, in the same order on every node; then go on handing them on."""
        self.upstreams = [tuple(entry) for entry in upstreams]
        try:
            for item in self.items:
                if not self.stopped:
                    self.look(item)
            self.emit({"event": "looked"})
            for item in self.items:
                if not self.stopped and not item.whole:
                    self.bring(item)
            if not self.stopped:
                self.emit({"event": "whole", "received": self.received})
        except store.StoreError as error:
            self.fail(str(error))
        except OSError as error:
            self.fail(f"{error.filename or self.partial}: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001  told to whoever started us, whatever it is
            self.fail(f"{type(error).__name__}: {error}")

    def fail(self, why):
        """Nothing more arrives here; what is whole is still handed on."""
        with self.changed:
            self.stopped = True
            for item in self.items:
                item.failed = "" if item.whole else why
            self.changed.notify_all()
        self.emit({"event": "failed", "error": why})

    def look(self, item):
        """What is here of a file already: under its final name, or on its way."""
        final = self.final(item)
        fits = os.path.isfile(final) and os.path.getsize(final) == item.size
        if fits and store.known_or_hashed(final, self.hashes) == item.sha256:
            self.is_whole(item, final)
            return
        if os.path.lexists(final) and item.name not in self.ours:
            self.fail(
                f"{final} is there, npuctl did not put it there, and it differs; nothing was overwritten"
            )
            return
        arriving = self.arriving(item)
        if not os.path.isfile(arriving):
            return
        there = os.path.getsize(arriving)
        if there == item.size and store.known_or_hashed(arriving, self.hashes) == item.sha256:
            self.is_whole(item, arriving)
        elif there < item.size:
            self.had(item, there)

    def is_whole(self, item, path):
        """The file is here and is right."""
        with self.changed:
            item.had, item.whole, item.path = item.size, True, path
            self.changed.notify_all()
        self.emit({"event": "verified", "file": item.name})

    def had(self, item, count):
        """So many bytes of the file can be handed on."""
        with self.changed:
            item.had = count
            self.changed.notify_all()

    def open(self, item):
        """Begin to write where an earlier run stopped, with the hash of what is there."""
        store.own_folder(self.partial)
        path = self.arriving(item)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        item.digest, item.path = hashlib.sha256(), path
        item.stream = open(path, "ab+")  # noqa: SIM115  closed when the file is whole
        item.stream.seek(0)
        left = item.had
        while left:
            block = item.stream.read(min(store.BLOCK, left))
            if not block:
                break
            item.digest.update(block)
            left -= len(block)
        item.stream.truncate(item.had - left)
        item.stream.seek(0, os.SEEK_END)
        self.had(item, item.stream.tell())

    def begin_anew(self, item):
        """What arrived is wrong: whoever reads it from us has to begin anew too."""
        with self.changed:
            item.had = 0
            item.round += 1
            item.digest = hashlib.sha256()
            item.stream.truncate(0)
            self.changed.notify_all()

    def append(self, item, block):
        """Take the next bytes of a file."""
        try:
            item.stream.write(block)
            item.stream.flush()
        except OSError as error:
            raise store.StoreError(f"{item.path}: {error.strerror or error}") from None
        item.digest.update(block)
        self.received += len(block)
        self.had(item, item.had + len(block))

    def bring(self, item):
        """One file, from the nearest upstream that delivers; from npuctl itself where none does."""
        self.open(item)
        doubted, tries = set(), 0
        try:
            while True:
                used = self.pull(item, doubted) if item.had < item.size else None
                if item.had < item.size:
                    self.want(item)
                    used = None
                if self.stopped:
                    return
                if item.digest.hexdigest() == item.sha256:
                    break
                self.emit({"event": "wrong", "file": item.name, "source": used[2] if used else ""})
                tries += used is None
                if tries == TRIES:
                    self.fail(
                        f"{item.name}: what npuctl sends has another sha256 than the manifest, {TRIES} times"
                    )
                    return
                if used:
                    doubted.add(used)
                self.begin_anew(item)
            self.hashes.put(item.path, item.sha256)
            self.is_whole(item, item.path)
        finally:
            item.stream.close()

    def pull(self, item, doubted):
        """Take bytes from upstreams as far as they go; the last one that gave any."""
        used, reasons = None, {}
        for upstream in self.upstreams:
            if upstream in doubted or self.left_alone.get(upstream, 0) > time.monotonic():
                continue
            before = item.had
            try:
                self.pull_from(upstream, item)
            except GoneError as gone:
                reasons[upstream[2]] = str(gone)
                self.left_alone[upstream] = time.monotonic() + AGAIN_SECONDS
                self.emit({"event": "gone", "node": upstream[2], "error": str(gone), "file": item.name})
            if item.had > before:
                used = upstream
            if item.had == item.size:
                return used
        return used

    def pull_from(self, upstream, item):
        """Take bytes from one upstream.

        Raises:
            GoneError: it cannot be reached, fell silent or has not got the file.
        """
        host, port, _node = upstream
        connection = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        try:
            connection.request(
                "GET",
                f"/{item.number}",
                headers={"Authorization": self.token.decode(), "Range": f"bytes={item.had}-"},
            )
            connection.sock.settimeout(SILENT_SECONDS)
            answer = connection.getresponse()
            if answer.status != 206:
                raise GoneError(f"it answers {answer.status}")
            while item.had < item.size:
                (length,) = LENGTH.unpack(exactly(answer, LENGTH.size))
                if length > item.size - item.had or length > BLOCK:
                    raise GoneError("it sends what is no block")
                if length:
                    self.append(item, exactly(answer, length))
        except (OSError, http.client.HTTPException) as error:
            raise GoneError(str(error) or type(error).__name__) from None
        finally:
            connection.close()

    def want(self, item):
        """Ask npuctl itself for the rest of a file, and wait for it."""
        with self.changed:
            self.emit({"event": "want", "number": item.number, "offset": item.had})
            while item.had < item.size and not item.failed:
                self.changed.wait()

    def fed(self, number, block):
        """Bytes of a file that npuctl sent."""
        try:
            if not self.stopped:
                self.append(self.items[number], block)
        except store.StoreError as error:
            self.fail(str(error))

    def send(self, item, offset, write):
        """Hand a file on from a byte on, as it comes; ends early when it begins anew or fails."""
        began = item.round
        with open(item.path, "rb") as stream:
            while offset < item.size:
                with self.changed:
                    if item.had <= offset:
                        self.changed.wait(ALIVE_SECONDS)
                    if item.round != began or item.failed:
                        return
                    ready = item.had - offset
                if ready <= 0:
                    write(LENGTH.pack(0))
                    continue
                block = os.pread(stream.fileno(), min(self.bucket.block, ready), offset)
                if not block:
                    return
                self.bucket.take(len(block))
                write(LENGTH.pack(len(block)) + block)
                offset += len(block)

    def wait_for(self, item, write):
        """Say that we are alive until a file has begun to arrive; False when it will not come."""
        while True:
            with self.changed:
                if item.failed:
                    return False
                if item.path:
                    return True
                self.changed.wait(ALIVE_SECONDS)
                if item.path:
                    return True
            write(LENGTH.pack(0))

    def progress(self):
        """Tell how far it is, every second in which something came."""
        total, told = sum(item.size for item in self.items), None
        while True:
            now = sum(item.had for item in self.items)
            if now != told:
                told = now
                self.emit({"event": "progress", "bytes": now, "size": total})
            time.sleep(TELL_SECONDS)


def exactly(answer, count):
    """So many bytes.

    Raises:
        GoneError: the connection ended before.
    """
    parts = []
    while count:
        part = answer.read(count)
        if not part:
            raise GoneError("it ended the connection")
        parts.append(part)
        count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def handler_for(relay):
    """The request handler of a relay's server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        """GET /NUMBER for whoever knows the token."""

        timeout = SEND_SECONDS

        def do_GET(self):
            """Hand one file on."""
            given = self.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, relay.token):
                self.answer(403)
                return
            number = self.path.lstrip("/")
            start = self.headers.get("Range", "bytes=0-")[len("bytes=") : -1]
            if not number.isdigit() or int(number) >= len(relay.items) or not start.isdigit():
                self.answer(404)
                return
            item = relay.items[int(number)]
            if item.failed:
                self.answer(503)
                return
            self.answer(206)
            try:
                if relay.wait_for(item, self.wfile.write):
                    relay.send(item, int(start), self.wfile.write)
            except OSError:
                return  # whoever asked is gone

        def answer(self, status):
            """The head of an answer."""
            self.send_response(status)
            self.send_header("Connection", "close")
            self.end_headers()

        def log_message(self, *_given):
            """Nobody reads it."""

    return Handler


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves every connection in a thread of its own."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def server_bind(self):
        """Without HTTPServer's question for the host's name, which may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, _request, _client_address):
        """A connection that broke is the other side's affair."""


def listen(relay, address, port):
    """Serve; (port, "") or (0, why nobody can take files from here)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(BIND_TRIES):
        try:
            server = type("Bound", (Server,), {"address_family": family})((address, port), handler_for(relay))
        except OSError as error:
            why = error.strerror or str(error)
            time.sleep(0.25)
            continue
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1], ""
    return 0, why


class Output:
    """Standard output: events of several threads, each a line."""

    def __init__(self, stream):
        self.stream = stream
        self.lock = threading.Lock()

    def __call__(self, event, block=b""):
        """Write an event, and bytes that belong to it."""
        line = json.dumps(event).encode() + b"\n"
        with self.lock:
            try:
                self.stream.write(line + block)
                self.stream.flush()
            except OSError:
                os._exit(1)  # nobody listens any more


def run(request):
    """Do what the request says until standard input ends. Its "work" is one of WORKS."""
    emit = Output(sys.stdout.buffer)
    held = threading.Thread(target=end_with_stdin, daemon=True)
    try:
        if request["work"] not in COMMANDED:
            held.start()
        WORKS[request["work"]](request, emit)
    except Exception as error:  # noqa: BLE001  told to whoever started us, whatever it is
        foreseen = isinstance(error, (store.StoreError, OSError)) or hasattr(error, "hint")
        told = str(error) if foreseen else f"{type(error).__name__}: {error}"
        emit({"event": "failed", "error": told, "hint": getattr(error, "hint", "")})
    if held.is_alive():
        held.join()
    end_with_stdin()


def end_with_stdin():
    """Wait for the end of standard input, and end."""
    while sys.stdin.buffer.read(BLOCK):
        continue
    os._exit(0)


def commands():
    """The commands on standard input, each with the bytes that follow it."""
    stream = sys.stdin.buffer
    while True:
        line = stream.readline()
        if not line:
            return
        told = json.loads(line.decode("utf-8"))
        yield told, stream.read(told["length"]) if told.get("length") else b""


def relay_files(request, emit):
    """Take part in a chain."""
    relay = Relay(request, emit)
    port, why = listen(relay, request["address"], request["port"])
    emit({"event": "ready", "port": port, "error": why})
    for told, block in commands():
        if told["command"] == "block":
            relay.fed(told["number"], block)
        elif told["command"] == "give_up":
            relay.fail(told["error"])
        elif told["command"] == "go":
            threading.Thread(target=relay.work, args=[told["upstreams"]], daemon=True).start()
            threading.Thread(target=relay.progress, daemon=True).start()
    os._exit(0)


def read_files(request, emit):
    """Hand files out over standard output: {"command": "read", "name", "offset"}."""
    roots = [request["path"], store.partial_path(request["path"])]
    emit({"event": "ready"})
    for told, _block in commands():
        if not store.is_name(told["name"]):
            raise store.StoreError(f"{told['name']!r} is no name of a file")
        path = next((p for p in (os.path.join(r, told["name"]) for r in roots) if os.path.isfile(p)), None)
        if path is None:
            raise store.StoreError(f"{told['name']} is not in {request['path']}")
        with open(path, "rb") as stream:
            stream.seek(told["offset"])
            while True:
                block = stream.read(BLOCK)
                emit({"event": "block", "length": len(block)}, block)
                if not block:
                    break
    os._exit(0)


def list_folder(request, emit):
    """Names, sizes and times of the files of a folder."""
    if not os.path.isdir(request["path"]):
        raise store.StoreError(f"{request['path']} is no folder")
    found = {
        name: {"size": info.st_size, "mtime": int(info.st_mtime)}
        for name, info in store.list_files(request["path"]).items()
    }
    room = os.statvfs(request["path"])
    emit({"event": "done", "files": found, "free_bytes": room.f_bavail * room.f_frsize})


def hash_folder(request, emit):
    """sha256 of files of a folder; those that are known are not read."""
    if request["hashes"]:
        os.makedirs(os.path.dirname(request["hashes"]), mode=0o700, exist_ok=True)
    hashes = store.Hashes(request["hashes"])
    total, done, found, told = sum(request["files"].values()), [0], {}, [0.0]

    def tell(count):
        done[0] += count
        if time.monotonic() - told[0] >= TELL_SECONDS:
            told[0] = time.monotonic()
            emit({"event": "progress", "bytes": done[0], "size": total})

    for name in sorted(request["files"]):
        path = os.path.join(request["path"], name)
        size = os.path.getsize(path)
        wrong = store.header_error(path, size)
        if wrong:
            raise store.StoreError(f"{path}: {wrong}")
        found[name] = {"size": size, "sha256": store.known_or_hashed(path, hashes, tell)}
    emit({"event": "done", "files": found})


def room(request, emit):
    """Free bytes where a folder is, or would be made, and what of it is there."""
    answer = store.read(request["path"])
    there = sum(answer["partial"].values()) + sum(entry["size"] for entry in answer["files"].values())
    emit({"event": "done", "free_bytes": answer["free_bytes"], "there_bytes": there})


def list_hub(request, emit):
    """What a hub holds of a model."""
    from ansible.module_utils import npuctl_hub as hub

    emit(dict(hub.Hub(request).listing(), event="done"))


def download(request, emit):
    """Fetch files from a hub into the unfinished copy of a folder."""
    from ansible.module_utils import npuctl_hub as hub

    found = hub.download_all(hub.Hub(request), request, emit)
    emit({"event": "done", "files": found})


def publish(request, emit):
    """Give a finished copy its final name, as ourselves."""
    done = store.Folder(request["path"], request["manifest"]).publish((os.geteuid(), os.getegid()), False)
    emit({"event": "done", "done": done})


COMMANDED = ("relay", "read")  # they read commands from standard input themselves
WORKS = {
    "relay": relay_files,
    "read": read_files,
    "list": list_folder,
    "hash": hash_folder,
    "room": room,
    "list_hub": list_hub,
    "download": download,
    "publish": publish,
}
