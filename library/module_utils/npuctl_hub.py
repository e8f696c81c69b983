"""Models on Hugging Face and ModelScope, and mirrors of them: what they hold, and downloads that can be continued.

Standard library; Python 3.8 or newer. What the hubs answer, as their own clients read it (huggingface_hub
hf_api.py, modelscope hub/api.py and hub/file_download.py):
  Hugging Face  /api/models/ID/revision/REV {"sha"}; /api/models/ID/tree/SHA?recursive=true, pages by `Link`;
                an entry has path, size, oid (git's SHA-1 of a blob) and for large files lfs.oid (SHA-256);
                files at /ID/resolve/SHA/PATH
  ModelScope    /api/v1/models/ID/repo/files?Revision=&Recursive=true {"Code": 200, "Data": {"Files": [...]}}; an
                entry has Path, Type, Size, Sha256, Revision; files at /api/v1/models/ID/repo?Revision=&FilePath=
"""

import contextlib
import hashlib
import http.client
import ipaddress
import json
import os
import re
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from ansible.module_utils import npuctl_store as store

HUGGINGFACE = "huggingface"
ENDPOINTS = {HUGGINGFACE: "https://huggingface.co", "modelscope": "https://www.modelscope.cn"}
BRANCHES = {HUGGINGFACE: "main", "modelscope": "master"}
NAMES = {HUGGINGFACE: "Hugging Face", "modelscope": "ModelScope"}
SECONDS = 30  # without a byte
TRIES = 6  # in a row without a new byte: pauses of 1, 2, 4, 8, 16 s
PAUSE_SECONDS = 1.0
AT_ONCE = 4
LONGEST_PAUSE = 30.0
BLOCK = 2**20
MOST_PAGES = 200
MOST_ANSWER_BYTES = 64 * 2**20
AGENT = "npuctl"
# Worth another try: the hub is busy, or a gateway before it.
PASSING = (408, 425, 429, 500, 502, 503, 504)


class HubError(Exception):
    """What a hub refused, in words; `hint` says what to do about it."""

    def __init__(self, message, hint=""):
        super().__init__(message)
        self.hint = hint


class SameHostOnly(urllib.request.HTTPRedirectHandler):
    """A token follows a redirect on the same host only: files lie on servers of others."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """The next request, with the token where it may have it."""
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and place(request.full_url) == place(req.full_url):
            for name, value in req.unredirected_hdrs.items():
                request.add_unredirected_header(name, value)
        return request


class Proxies(urllib.request.ProxyHandler):
    """The proxies that the spec names; unlike urllib, which reads names only, with networks that need none."""

    def __init__(self, named):
        self.direct = [entry.strip() for entry in named.get("no_proxy", "").split(",") if entry.strip()]
        kinds = {"http": named.get("http_proxy"), "https": named.get("https_proxy")}
        super().__init__({kind: proxy for kind, proxy in kinds.items() if proxy})

    def proxy_open(self, req, proxy, type):  # noqa: A002  urllib's own name
        """Go through the proxy, or not."""
        host = urllib.parse.urlsplit("//" + req.host).hostname or ""
        return None if is_direct(host, self.direct) else super().proxy_open(req, proxy, type)


def is_direct(host, entries):
    """Whether a host is reached without a proxy: named, in a domain or in a network of `entries`, or this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        names = [entry.lstrip(".").lower() for entry in entries]
        return host == "localhost" or any(name in ("*", host) or host.endswith("." + name) for name in names)
    return address.is_loopback or any(address in network for network in networks(entries))


def networks(entries):
    """The entries that are addresses or networks."""
    for entry in entries:
        with contextlib.suppress(ValueError):
            yield ipaddress.ip_network(entry, strict=False)


def place(address):
    """Scheme, host and port of an address."""
    parts = urllib.parse.urlsplit(address)
    return (parts.scheme, parts.hostname, parts.port)


class Hub:
    """One model of one hub."""

    def __init__(self, request):
        self.kind = request["hub"]
        self.model = request["model"]
        self.asked = request.get("revision") or BRANCHES[self.kind]
        self.endpoint = (request.get("endpoint") or ENDPOINTS[self.kind]).rstrip("/")
        self.token = request.get("token") or ""
        self.pause = request.get("pause_seconds", PAUSE_SECONDS)
        context = ssl.create_default_context()
        if request.get("ca"):
            context.load_verify_locations(cadata=request["ca"])
        handlers = [SameHostOnly(), urllib.request.HTTPSHandler(context=context)]
        if request.get("proxies"):
            handlers.append(Proxies(request["proxies"]))
        self.opener = urllib.request.build_opener(*handlers)

    def call(self, address, offset=0):
        """Open an address, from a byte on."""
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
        request = urllib.request.Request(address, headers=headers)  # noqa: S310  spec and endpoints are https?://
        if offset:
            request.add_header("Range", f"bytes={offset}-")
        if self.token:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
            if self.kind != HUGGINGFACE:
                request.add_unredirected_header("Cookie", f"m_session_id={self.token}")
        return self.opener.open(request, timeout=SECONDS)

    def ask(self, address):
        """(JSON, headers) of an address; passing troubles are tried again.

        Raises:
            HubError: the hub refused, or could not be reached.
        """
        tries = 0
        while True:
            try:
                with self.call(address) as answer:
                    return json.loads(answer.read(MOST_ANSWER_BYTES).decode("utf-8")), answer.headers
            except urllib.error.HTTPError as error:
                refused = self.refusal(error, self.model)
                error.close()
                if error.code not in PASSING:
                    raise refused from None
            except (OSError, http.client.HTTPException) as error:
                refused = self.unreachable(error)
            except ValueError:
                refused = HubError(
                    f"{self.endpoint} answered what is no JSON: it is no mirror of {NAMES[self.kind]}",
                    f"check mirrors.{self.kind}",
                )
            tries += 1
            if tries == TRIES:
                raise refused
            time.sleep(min(self.pause * 2 ** (tries - 1), LONGEST_PAUSE))

    def refusal(self, error, what):
        """What an HTTP status means here."""
        where = f"{self.endpoint} answered {error.code} for {what}"
        if error.code in (401, 403):
            if self.token:
                return HubError(
                    f"{where}: the token is not let in",
                    f"is hub_tokens.{self.kind} still valid, and has its account been granted the model?",
                )
            return HubError(
                f"{where}: it wants a token",
                f"set hub_tokens.{self.kind} to a secret of the vault; Hugging Face says so for a wrong name too",
            )
        if error.code == 404:
            return HubError(
                f"{where}: there is no such model, file or revision {self.asked!r}",
                "check the model's id (or `from`) and revision, and that the source is the right hub",
            )
        return HubError(where, "" if error.code not in PASSING else "the hub is busy; run it again later")

    def unreachable(self, error):
        """Why nothing came, and what to look at."""
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLCertVerificationError):
            return HubError(f"{self.endpoint}: its certificate is not trusted here", "set mirrors.ca")
        return HubError(
            f"{self.endpoint} cannot be reached: {reason}",
            f"set proxy, or mirrors.{self.kind}, or another download_on",
        )

    def listing(self):
        """{"revision": commit, "files": {name: {"size", "sha256", "git"}}}: what the hub holds.

        Raises:
            HubError: it does not hold it, or its list makes no sense.
        """
        found = self.huggingface_listing() if self.kind == HUGGINGFACE else self.modelscope_listing()
        if not found["files"]:
            raise HubError(f"{self.endpoint}: {self.model} holds no file in revision {self.asked!r}")
        return found

    def huggingface_listing(self):
        """Pinned to the commit that the revision has now."""
        base = f"{self.endpoint}/api/models/{quoted(self.model)}"
        answer, _headers = self.ask(f"{base}/revision/{quoted(self.asked, '')}")
        commit = answer.get("sha") if isinstance(answer, dict) else None
        if not isinstance(commit, str) or not re.match(r"^[0-9a-f]{7,64}$", commit):
            raise HubError(f"{self.endpoint} names no commit for revision {self.asked!r} of {self.model}")
        files, address = {}, f"{base}/tree/{commit}?recursive=true"
        for _page in range(MOST_PAGES):
            entries, headers = self.ask(address)
            for entry in entries if isinstance(entries, list) else []:
                if entry.get("type") == "file":
                    lfs = entry.get("lfs") or {}
                    add(
                        files,
                        entry.get("path"),
                        lfs.get("size", entry.get("size")),
                        lfs.get("oid"),
                        entry.get("oid"),
                    )
            following = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', headers.get("Link") or "")
            if not following:
                break
            address = urllib.parse.urljoin(address, following.group(1))
            if place(address) != place(base):  # a mirror that passes on the hub's own addresses
                address = base + "/tree/" + address.partition("/tree/")[2]
        return {"revision": commit, "files": files}

    def modelscope_listing(self):
        """Pinned by the files' hashes; asked by a commit the hub tells none."""
        address = (
            f"{self.endpoint}/api/v1/models/{quoted(self.model)}/repo/files"
            f"?Revision={quoted(self.asked, '')}&Recursive=true"
        )
        answer, _headers = self.ask(address)
        data = answer.get("Data") if isinstance(answer, dict) else None
        if not isinstance(data, dict) or answer.get("Code") != 200:
            told = answer.get("Message") if isinstance(answer, dict) else ""
            raise HubError(f"{self.endpoint} refused {self.model}: {told or 'its answer has no Data'}")
        files, newest = {}, (0, "")
        for entry in data.get("Files") or []:
            if entry.get("Type") != "tree":
                add(files, entry.get("Path"), entry.get("Size"), entry.get("Sha256"), None)
                dated = (entry.get("CommittedDate") or 0, entry.get("Revision") or "")
                newest = max(newest, dated, key=lambda pair: pair[0])
        return {"revision": newest[1] or self.asked, "files": files}

    def address(self, name, revision):
        """Where a file is."""
        if self.kind == HUGGINGFACE:
            return f"{self.endpoint}/{quoted(self.model)}/resolve/{quoted(revision, '')}/{quoted(name)}"
        # By the branch or tag: hashes decide whether it is still the same file.
        return (
            f"{self.endpoint}/api/v1/models/{quoted(self.model)}/repo"
            f"?Revision={quoted(self.asked, '')}&FilePath={quoted(name, '')}"
        )

    def download(self, name, entry, path, revision, tell):
        """Fetch a file, from where an earlier try stopped; its sha256.

        Args:
            name: of the file on the hub.
            entry: size, and sha256 or git where the hub told them.
            path: where to put it.
            revision: the commit.
            tell: takes the number of bytes of each block, negative where some were discarded.

        Raises:
            HubError: the hub refused, or what came is not what it had promised.
            OSError: it cannot be written.
        """
        address, size, tries, whole = self.address(name, revision), entry["size"], 0, 0
        with open(path, "ab") as stream:
            while True:
                offset = stream.tell()
                if offset > size:
                    stream.truncate(0)
                    offset = 0
                trouble = self.receive(address, stream, offset, size, tell) if offset < size else ""
                if stream.tell() == size and not trouble:
                    digest, fault = checked(path, stream, entry)
                    if not fault:
                        return digest
                    tell(-size)
                    stream.truncate(0)
                    stream.seek(0)
                    whole += 1
                    if whole == 2:
                        raise HubError(
                            f"{name}: {fault}, twice",
                            "the mirror holds another file than it lists; take another mirror or hub",
                        )
                    continue
                if stream.tell() > offset:
                    tries = 0
                tries += 1
                if tries == TRIES:
                    raise trouble
                time.sleep(min(self.pause * 2 ** (tries - 1), LONGEST_PAUSE))

    def receive(self, address, stream, offset, size, tell):
        """Append what comes; why it ended early, None when it did not."""
        try:
            with self.call(address, offset) as answer:
                if offset and answer.status != 206:
                    tell(-offset)  # a server that knows no ranges sends all of it anew
                    stream.truncate(0)
                    stream.seek(0)
                    offset = 0
                while offset < size:
                    block = answer.read(min(BLOCK, size - offset))
                    if not block:
                        break
                    stream.write(block)
                    offset += len(block)
                    tell(len(block))
        except urllib.error.HTTPError as error:
            refused = self.refusal(error, address.partition("?")[0])
            error.close()
            if error.code not in PASSING:
                raise refused from None
            return refused
        except (http.client.HTTPException, urllib.error.URLError, ConnectionError, TimeoutError) as error:
            stream.flush()
            return self.unreachable(error)
        except OSError as error:
            if error.errno is not None:
                raise  # of the file: no space, no right
            stream.flush()
            return self.unreachable(error)
        stream.flush()
        return (
            None
            if offset == size
            else HubError(f"{self.endpoint} ends the connection before the end of {address}")
        )


def quoted(text, safe="/"):
    """The text as part of an address."""
    return urllib.parse.quote(text, safe=safe)


def add(files, name, size, sha256, git):
    """One file of a hub's list; what cannot be a file in a model's folder is left out."""
    if not store.is_name(name) or not isinstance(size, int) or size < 0:
        return
    hexadecimal = isinstance(sha256, str) and re.match(r"^[0-9a-fA-F]{64}$", sha256)
    blob = isinstance(git, str) and re.match(r"^[0-9a-f]{40}$", git) and not hexadecimal
    files[name] = {"size": size, "sha256": sha256.lower() if hexadecimal else "", "git": git if blob else ""}


def checked(path, stream, entry):
    """(sha256, "") of a file that is what the hub told, or ("", why it is not)."""
    if stream.writable():
        stream.flush()
    digest = hashlib.sha256()
    # What git calls the content: it finds a broken copy, and protects from nobody.
    blob = hashlib.new("sha1", f"blob {entry['size']}\0".encode())  # noqa: S324
    with open(path, "rb") as received:
        while True:
            block = received.read(store.BLOCK)
            if not block:
                break
            digest.update(block)
            if entry.get("git"):
                blob.update(block)
    found = digest.hexdigest()
    if entry["sha256"] and found != entry["sha256"]:
        return "", f"its sha256 is {found} instead of {entry['sha256']}"
    if entry.get("git") and blob.hexdigest() != entry["git"]:
        return "", f"git's hash of it is {blob.hexdigest()} instead of {entry['git']}"
    return found, ""


def already(root, name, entry, hashes):
    """sha256 of a file that is there under its final name and is what the hub has; "" where it is not."""
    path = os.path.join(root, name)
    if not os.path.isfile(path) or os.path.getsize(path) != entry["size"]:
        return ""
    if entry["sha256"]:
        return entry["sha256"] if store.known_or_hashed(path, hashes) == entry["sha256"] else ""
    with open(path, "rb") as stream:
        return checked(path, stream, entry)[0] if entry.get("git") else ""


class Download:
    """Files of one model on their way into the unfinished copy of a folder, several at once."""

    def __init__(self, hub, request, emit):
        self.hub = hub
        self.request = request
        self.emit = emit
        self.folder = store.own_folder(store.partial_path(request["path"]))
        self.hashes = store.Hashes(store.hashes_path(request["path"]))
        self.waiting = sorted(request["files"].items())
        self.lock = threading.Lock()
        self.got = 0
        self.found = {}
        self.troubles = []

    def tell(self, count):
        """So many bytes came; negative where some were discarded."""
        with self.lock:
            self.got += count

    def work(self):
        """Fetch one file after the other until none is left or one cannot be had."""
        while not self.troubles:
            with self.lock:
                if not self.waiting:
                    return
                name, entry = self.waiting.pop(0)
            try:
                self.found[name] = self.fetch(name, entry)
                self.emit({"event": "verified", "file": name})
            except Exception as error:  # noqa: BLE001  told to whoever started us, whatever it is
                self.troubles.append(error)

    def fetch(self, name, entry):
        """sha256 of a file, which is then here."""
        known = already(self.request["path"], name, entry, self.hashes)
        if known:
            self.tell(entry["size"])
            return known
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        there = os.path.getsize(path) if os.path.exists(path) else 0
        self.tell(min(there, entry["size"]))
        known = self.hashes.get(os.stat(path)) if there == entry["size"] else ""
        if not known or known != (entry["sha256"] or known):
            known = self.hub.download(name, entry, path, self.request["commit"], self.tell)
            self.hashes.put(path, known)
        return known


def download_all(hub, request, emit):
    """Fetch every file of request["files"] into the unfinished copy of request["path"]; name → sha256.

    `emit` takes a dictionary: progress every second, each file that is whole.

    Raises:
        HubError, OSError: the first trouble; what has arrived stays and is continued next time.
    """
    going = Download(hub, request, emit)
    workers = [threading.Thread(target=going.work, daemon=True) for _ in range(AT_ONCE)]
    for worker in workers:
        worker.start()
    total = sum(entry["size"] for entry in request["files"].values())
    told = 0.0
    while any(worker.is_alive() for worker in workers) and not going.troubles:
        time.sleep(0.05)
        if time.monotonic() - told >= 1:
            told = time.monotonic()
            emit({"event": "progress", "bytes": going.got, "size": total})
    if going.troubles:
        raise going.troubles[0]
    return going.found
