"""Images brought to a node: pulled from a registry, through a mirror and with a login, or loaded from an archive.

Docker throws away every layer of a pull whose client goes away (moby issue 26146). So a pull belongs to no
connection: a process of its own on the node talks to Docker and outlives whoever began it; whoever wants the
image waits for it, a little at a time, and says how far it is. A password is in that process's memory only.

Standard library; Python 3.8 or newer.
"""

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import time
import urllib.parse

from ansible.module_utils import npuctl_docker as docker

FOLDER = "/run/npuctl"  # how far each pull is; gone with a reboot, as the pulls are
NOTES = "/var/lib/npuctl/images.json"
PAUSES_SECONDS = (5, 20, 60)  # before another try; Docker itself tries each layer five times
SILENCE_SECONDS = 1800  # a layer of 10 GB is checked and unpacked without a word
LOOK_SECONDS = 0.3
REGISTRY_SECONDS = 30
WRITE_SECONDS = 2
DOCKER_HUB = "docker.io"
DOCKER_HUB_LOGIN = "https://index.docker.io/v1/"  # the name that Docker gives it in logins

LOGIN = "login"
REFUSED = (
    (r"x509|certificate", "ca"),
    (r"server gave HTTP response to HTTPS client", "insecure"),
    (r"no matching manifest|does not match the specified platform", "architecture"),
    (r"manifest unknown|manifest for .* not found|not found: manifest", "tag"),
    (r"unauthorized|authentication required|no basic auth|denied|forbidden|\b40[13]\b", LOGIN),
    (r"no space left", "space"),
    (r"no such host", "host"),
    (r"not found|\b404\b", "tag"),
)
UNREACHED = r"lookup|connection refused|timeout|deadline exceeded|unreachable|no route|misbehaving|reset by peer|proxyconnect"


class NotBroughtError(Exception):
    """An image could not be brought; the text is for people."""


OPTIONAL = {
    "source": "",
    "registry": "",
    "archive": "",
    "archive_name": "",
    "archive_names": [],
    "id": "",
    "product": "",
    "soc_versions": {},
    "cluster": "",
}


def complete(image, **about):
    """An image with all its keys; it needs a reference only."""
    return dict(OPTIONAL, **about, **{key: value for key, value in image.items() if value is not None})


def find(image):
    """The description of the image under its own name, or None. Pinned by digest, the mirror's name will do."""
    found = docker.image(image["reference"])
    if found is None and "@" in image["reference"] and image["source"]:
        found = docker.image(image["source"])
    return found


def name_there(image):
    """The name by which a container can be made of it; None where it is not on the node."""
    for name in [image["reference"]] + ([image["source"]] if "@" in image["reference"] else []):
        if name and docker.image(name) is not None:
            return name
    return None


def is_as_wanted(image):
    """Whether it is there; of an archive: that very image, by its own id or by what Docker made of it."""
    found = find(image)
    if found is None or not image["archive"]:
        return found is not None
    noted = read_notes().get(image["reference"], {})
    return image["id"] == found.get("Id") or (image["id"], found.get("Id")) == (
        noted.get("archive"),
        noted.get("id"),
    )


def begin(images, logins, *, refresh=False):
    """Start to bring those that are not there, and return at once; what is being brought already goes on."""
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    jobs = []
    for image in images:
        lock = take_lock(image)
        if lock is None:
            continue
        if refresh or not is_as_wanted(image):
            write_state(image, {"state": "running", "progress": "waiting"})
            jobs.append((image, lock))
        else:
            forget(image, lock)
    if jobs:
        start(jobs, logins)
    for _image, lock in jobs:
        lock.close()  # the process that was started holds it as well, and keeps it


def start(jobs, logins):
    """Work them off in a process of its own that belongs to no session, whose end nobody waits for."""
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        return
    try:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if os.fork() == 0:
            os.chdir("/")
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nothing, descriptor)
            work_off(jobs, logins)
    finally:
        os._exit(0)  # nothing that the module would do at its end is for this process to do


def work_off(jobs, logins):
    """One after the other; each lock is held until its image is there or has failed."""
    for image, lock in jobs:
        carry_out(image, next((entry for entry in logins if entry["registry"] == image["registry"]), None))
        lock.close()


def carry_out(image, login):
    """Bring one image, and leave word of how it ended."""
    try:
        done = bring(image, login, Progress(image))
        write_state(image, {"state": "done", "done": done})
    except (NotBroughtError, docker.DockerError, OSError) as error:
        with contextlib.suppress(docker.DockerError):
            note(image, [])  # what was about to be ours and did not come is not ours
        write_state(image, {"state": "failed", "message": without_secret(str(error), login)})
    except Exception as error:  # noqa: BLE001  nobody else would ever hear of it
        text = f"cannot bring {image['reference']}: a bug in npuctl: {type(error).__name__}"
        write_state(image, {"state": "failed", "message": text})


def wait(images, seconds):
    """What came of them so far: {"done": words, "failed": messages, "progress": words of what goes on}."""
    deadline = time.monotonic() + seconds
    while True:
        found = {"done": [], "failed": [], "progress": []}
        for image in images:
            look_at(image, found)
        if not found["progress"] or time.monotonic() >= deadline:
            break
        time.sleep(LOOK_SECONDS)
    if not found["progress"]:
        for image in images:
            lock = take_lock(image)
            if lock is not None:
                forget(image, lock)
    return found


def look_at(image, found):
    """Add to `found` how far one image is."""
    state = read_state(image)
    if state.get("state") == "running":
        lock = take_lock(image)
        if lock is None:
            found["progress"].append(f"{image['reference']}: {state['progress']}")
            return
        lock.close()
        state = read_state(image)  # it may have ended between the two looks
    if state.get("state") == "done":
        found["done"] += state["done"]
    elif state.get("state") == "failed":
        found["failed"].append(state["message"])
    elif not is_as_wanted(image):
        why = "the process that brought it was ended" if state else "nothing brings it"
        found["failed"].append(f"{image['reference']} is not on the node: {why}; run the same again")


def is_begun(image):
    """Whether somebody brings it, or has brought it and nobody has heard yet."""
    return bool(read_state(image))


# --- the process that brings images


class Progress:
    """How far a pull is, in words, written down now and then."""

    def __init__(self, image):
        self.image = image
        self.layers = {}
        self.written = 0.0

    def take(self, message):
        """Take one message of Docker's stream into account."""
        layer, status = message.get("id"), message.get("status", "")
        if layer and not status.startswith("Pulling from"):
            detail = message.get("progressDetail") or {}
            before = self.layers.get(layer, (0, 0, False))
            finished = status in ("Pull complete", "Already exists")
            if status == "Downloading" and detail.get("total"):
                self.layers[layer] = (detail.get("current", 0), detail["total"], False)
            elif status in ("Download complete", "Verifying Checksum", "Extracting") or finished:
                self.layers[layer] = (before[1], before[1], finished)
            elif status in ("Pulling fs layer", "Waiting"):
                self.layers.setdefault(layer, before)
        if time.monotonic() - self.written > WRITE_SECONDS:
            self.say(self.words())

    def words(self):
        """As `3.2 of 11.4 GiB, 5 of 14 layers`; Docker tells a layer's size when its turn comes."""
        got = sum(current for current, _total, _finished in self.layers.values())
        total = sum(total for _current, total, _finished in self.layers.values())
        finished = sum(1 for _current, _total, finished in self.layers.values() if finished)
        of_bytes = f"{got / 2**30:.1f} of {total / 2**30:.1f} GiB, " if total >= 2**27 else ""
        return f"{of_bytes}{finished} of {len(self.layers)} layers" if self.layers else "asking the registry"

    def say(self, text):
        """Write down how far it is."""
        self.written = time.monotonic()
        write_state(self.image, {"state": "running", "progress": text})


def bring(image, login, progress):
    """Pull or load, check, name and note; what was done, in words."""
    before = find(image)
    names = [image["reference"], *([image["source"]] if image["source"] else []), *image["archive_names"]]
    own = [name for name in dict.fromkeys(names) if docker.image(name) is None]
    note(image, own)
    if image["archive"]:
        progress.say("loading")
        name = load(image)
    else:
        pull(image, login, progress)
        name = image["source"] or image["reference"]
    made = docker.image(name)
    if made is None:
        raise NotBroughtError(
            f"{image['reference']}: Docker says it has brought {name}, and does not have it"
        )
    wrong = unfit(image, made)
    if wrong:
        drop(own)
        raise NotBroughtError(wrong)
    if "@" not in image["reference"] and name != image["reference"]:
        tag(made["Id"], image["reference"])
        drop([image["source"]] if image["source"] in own else [])
    about = {"id": made["Id"], "digests": made.get("RepoDigests") or [], "archive": image["id"]}
    note(image, own, about)
    if before is not None and before.get("Id") == made["Id"]:
        return []
    if image["archive"]:
        return [f"loaded {image['reference']} from {os.path.basename(image['archive'])}"]
    through = f" through {image['source']}" if image["source"] not in ("", image["reference"]) else ""
    return [f"pulled {image['reference']}{through}"]


def pull(image, login, progress):
    """Pull, again and again where that may help."""
    name = image["source"] or image["reference"]
    headers = authorisation(login)
    refuse_other_architecture(image, name, headers)
    for attempt in range(len(PAUSES_SECONDS) + 1):
        try:
            for message in docker.messages(
                "/images/create", query=query_of(name), timeout=SILENCE_SECONDS, headers=headers
            ):
                progress.take(message)
            break
        except docker.DockerError as error:
            text = without_secret(str(error), login)
            if kind_of(text) or attempt == len(PAUSES_SECONDS):
                raise NotBroughtError(in_words(image, text, login)) from None
            progress.say(f"{text}; trying again in {PAUSES_SECONDS[attempt]} s")
            time.sleep(PAUSES_SECONDS[attempt])


def query_of(name):
    """Name and tag as the API wants them: without a tag Docker would pull all that there are, and beside a digest it takes none."""
    if "@" in name:
        path, _, digest = name.partition("@")
        head, slash, last = path.rpartition("/")
        return {"fromImage": head + slash + last.partition(":")[0] + "@" + digest}
    query = {"fromImage": name}
    if ":" not in name.rsplit("/", 1)[-1]:
        query["tag"] = "latest"
    return query


def authorisation(login):
    """The header by which Docker is told a login for one call (Docker Engine API, section Authentication)."""
    if login is None:
        return {}
    server = DOCKER_HUB_LOGIN if login["registry"] == DOCKER_HUB else login["registry"]
    told = {"username": login["username"], "password": login["password"], "serveraddress": server}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(told).encode()).decode()}


def refuse_other_architecture(image, name, headers):
    """Ask the registry for which machines the image is; where it does not say, the pull itself will tell."""
    machine = docker.call("GET", "/version", timeout=REGISTRY_SECONDS).get("Arch", "")
    path = "/distribution/{}/json".format(urllib.parse.quote(query_of(name)["fromImage"], safe="/:@"))
    try:
        answer = docker.call("GET", path, timeout=REGISTRY_SECONDS, headers=headers)
    except docker.DockerError:
        return
    platforms = answer.get("Platforms") if isinstance(answer, dict) else None
    built_for = sorted(
        {entry["architecture"] for entry in platforms or [] if entry.get("architecture")} - {"unknown"}
    )
    if machine and built_for and machine not in built_for:
        raise NotBroughtError(
            f"{image['reference']} is built for {' and '.join(built_for)}, and this node is {machine}; "
            "name another image, nothing was pulled"
        )


def unfit(image, made):
    """Why an image that was brought is none for this node; "" where nothing speaks against it."""
    machine = docker.call("GET", "/version", timeout=REGISTRY_SECONDS).get("Arch", "")
    architecture = made.get("Architecture", "")
    if machine and architecture and machine != architecture:
        return f"{image['reference']} is built for {architecture}, and this node is {machine}; it was removed again"
    entries = (made.get("Config") or {}).get("Env") or []
    soc = dict(entry.partition("=")[::2] for entry in entries).get("SOC_VERSION", "")
    meant = [start for start in image["soc_versions"] if soc.lower().startswith(start)]
    product = image["soc_versions"][max(meant, key=len)] if meant else ""
    if product and image["product"] and product != image["product"]:
        return (
            f"{image['reference']} is for {product} (SOC_VERSION is {soc}), and this node has {image['product']}; "
            "it was removed again"
        )
    return ""


def load(image):
    """Load the archive, remove its copy from the node; the name by which Docker has the image now."""
    said = []
    try:
        with open(image["archive"], "rb") as stream:
            for message in docker.messages(
                "/images/load", query={"quiet": 1}, source=stream, timeout=SILENCE_SECONDS
            ):
                said += re.findall(r"Loaded image(?: ID)?: (\S+)", message.get("stream", ""))
    except docker.DockerError as error:
        raise NotBroughtError(in_words(image, str(error), None)) from None
    os.unlink(image["archive"])
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(image["archive"]))
    return image["archive_name"] or (said[0] if said else image["id"])


def tag(number, reference):
    """Give an image its canonical name."""
    head, slash, last = reference.rpartition("/")
    name, _, label = last.partition(":")
    query = {"repo": head + slash + name, "tag": label or "latest"}
    docker.call("POST", "/images/{}/tag".format(urllib.parse.quote(number, safe=":")), query=query)


def drop(names):
    """Take names away; the last one of an image takes the image with it."""
    for name in names:
        try:
            docker.call("DELETE", "/images/{}".format(urllib.parse.quote(name, safe="/:@")))
        except docker.DockerError as error:
            if error.status != 404:
                raise


# --- errors in words


def kind_of(text):
    """What a failure is about where trying again does not help; "" where it may."""
    return next((kind for pattern, kind in REFUSED if re.search(pattern, text, re.IGNORECASE)), "")


def in_words(image, text, login):
    """What failed, Docker's words for it, and what to write into the spec."""
    name = image["source"] or image["reference"]
    through = f" (as {name})" if name != image["reference"] else ""
    host = image["registry"]
    what = f"cannot load {image['reference']} from {image['archive']}" if image["archive"] else ""
    return f"{what or 'cannot pull ' + image['reference'] + through}: {text}{remedy(kind_of(text), text, host, login)}"


def remedy(kind, text, host, login):
    """What to do about it; "" where nothing is known."""
    if kind == LOGIN and login is not None:
        return f"; {host} does not take the login of {login['username']}: registries in the spec, its secret in the vault"
    said = {
        LOGIN: f"; the name is wrong, or {host} wants a login: registries in the spec",
        "ca": f"; name the authority that signed {host}'s certificate as mirrors.ca",
        "insecure": f"; {host} speaks plain HTTP: mirrors.docker.insecure_registries",
        "host": f"; this node does not know {host}: mirrors.docker.images names a mirror of it",
        "tag": "; the registry has no such tag: image or version in the spec",
        "architecture": "; the registry does not have it for this node's architecture",
        "space": "; free space on Docker's disk: docker system df shows what takes it",
    }
    if not kind and re.search(UNREACHED, text, re.IGNORECASE):
        return (
            f"; this node does not reach {host}: mirrors.docker.images names a mirror of it, proxy a way out"
        )
    return said.get(kind, "")


def without_secret(text, login):
    """A text without the password and without logins in addresses, whoever put them there."""
    if login is not None and login["password"]:
        told = authorisation(login)["X-Registry-Auth"]
        plain = base64.b64encode(f"{login['username']}:{login['password']}".encode()).decode()
        for secret in (told, plain, urllib.parse.quote(login["password"], safe=""), login["password"]):
            text = text.replace(secret, "***")
    return re.sub(r"(?<=://)(?:[^\s'\"/:]*:[^\s'\"]*|[^\s'\"/]+)@", "***@", text)  # as npuctl/spec/secrets.py


# --- how far it is, for those who wait


def place(image, ending):
    """Where the state of one image, or its lock, lies."""
    return os.path.join(FOLDER, hashlib.sha256(image["reference"].encode()).hexdigest()[:16] + ending)


def take_lock(image):
    """The lock of one image, None where another process has it: whoever brings it holds it to its end."""
    while True:
        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        stream = open(place(image, ".lock"), "w", encoding="utf-8")  # noqa: SIM115  held, not read
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(stream.fileno()).st_ino == os.stat(place(image, ".lock")).st_ino:
                return stream
        except BlockingIOError:
            stream.close()
            return None
        except FileNotFoundError:
            pass  # whoever held it removed it meanwhile, as nobody needs it any more: make it anew
        stream.close()


def read_state(image):
    """What was written last of one image; {} where nothing was."""
    try:
        with open(place(image, ".json"), encoding="utf-8") as stream:
            state = json.load(stream)
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(image, state):
    """Leave word; whoever reads meanwhile reads the old word or the new one."""
    write(place(image, ".json"), state)


def forget(image, lock):
    """Nobody needs the word any more; the lock is held, and goes last."""
    for ending in (".json", ".lock"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place(image, ending))
    lock.close()
    with contextlib.suppress(OSError):
        os.rmdir(FOLDER)


# --- what npuctl brought, for a teardown


def read_notes():
    """Reference → what was noted of it: names that npuctl gave, id, digests, the cluster it was brought for."""
    try:
        with open(NOTES, encoding="utf-8") as stream:
            notes = json.load(stream).get("images", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return notes if isinstance(notes, dict) else {}


def is_of(entry, cluster):
    """Whether a noted image is that cluster's to remove; one that is nobody's is whoever's asks."""
    return entry.get("cluster") in (None, cluster)


def note(image, names, about=None):
    """Note what npuctl brings: the names before, and again after, when those are left out that are not there."""
    with notes_held():
        notes = read_notes()
        entry = dict(notes.get(image["reference"], {}), **(about or {}))
        if set(entry.get("names", [])) <= set(names):  # nothing is there of what an earlier one brought
            entry.pop("cluster", None)
        if image["cluster"]:
            entry.setdefault("cluster", image["cluster"])
        noted = sorted({*entry.get("names", []), *names})
        entry["names"] = noted if names and about is None else [name for name in noted if docker.image(name)]
        notes[image["reference"]] = entry
        write_notes({reference: found for reference, found in notes.items() if found["names"]})


def write_notes(notes):
    """Write what was noted; nothing noted, no file."""
    if notes:
        write(NOTES, {"schema": 1, "images": notes})
    else:
        with contextlib.suppress(OSError):
            os.unlink(NOTES)


@contextlib.contextmanager
def notes_held():
    """Only one process at a time changes the notes."""
    folder = os.path.dirname(NOTES)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write(path, data):
    """Replace a file as a whole; only root may read it."""
    fresh = f"{path}.{os.getpid()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(data, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(fresh, path)
