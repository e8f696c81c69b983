"""A model's folder as the model store keeps it: manifest, hashes, unfinished copies.

Beside the folder /data/models/Qwen3 stand /data/models/.Qwen3.npuctl-manifest.json (what should be in it),
.Qwen3.npuctl-hashes.json (hashes by inode, size and time, so that nothing is read twice) and, while a copy goes
on, .Qwen3.npuctl-partial/ (on the same file system: publishing is renaming). Standard library; Python 3.8 or newer.
"""

import hashlib
import json
import os
import stat
import threading

from ansible.module_utils import npuctl_files as files
from ansible.module_utils import npuctl_weights as weights

MOST_FILES = 20000
MOST_JSON_BYTES = 16 * 2**20
BLOCK = 4 * 2**20
# File systems that several nodes mount: by the kernel's names (proc(5) mountinfo); `dpc` is the client of
# Huawei's OceanStor Pacific.
SHARED = ("nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "gpfs", "beegfs", "9p", "virtiofs", "dpc")
SHARED_BY_PROGRAM = ("fuse.ceph", "fuse.glusterfs", "fuse.juicefs", "fuse.sshfs", "fuse.dpc")


class StoreError(Exception):
    """What cannot be done with a folder, in words."""


def beside(path, what):
    """The path of something of ours beside a model's folder."""
    folder, name = os.path.split(path.rstrip("/"))
    return os.path.join(folder, f".{name}.npuctl-{what}")


def manifest_path(path):
    """What should be in the folder."""
    return beside(path, "manifest.json")


def hashes_path(path):
    """Hashes that are known."""
    return beside(path, "hashes.json")


def partial_path(path):
    """Files that are on their way."""
    return beside(path, "partial")


def is_name(name):
    """Whether this is a file below a model's folder: relative, visible, nothing that leads out of it."""
    if not isinstance(name, str) or not 0 < len(name) <= 1024 or not weights.is_text(name):
        return False
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return False
    return all(part and not part.startswith(".") for part in name.split("/"))


def list_files(root):
    """Relative name → os.stat_result of the visible files below a folder; links to files are followed."""
    found = {}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in inside:
            name = os.path.join(folder, entry.name)
            if not is_name(name) or len(found) >= MOST_FILES:
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
                elif entry.is_file():
                    found[name] = entry.stat()
            except OSError:
                continue
    return dict(sorted(found.items()))


class Hashes:
    """Hashes of files that were read once; an entry counts while inode, size and time of the file are the same.

    Without a file they are forgotten at the end.
    """

    def __init__(self, file):
        self.file = file
        self.lock = threading.Lock()
        self.known = {}
        loaded = load(file) or {} if file else {}
        entries = loaded.get("sha256")
        if isinstance(entries, dict):
            self.known = {key: value for key, value in entries.items() if isinstance(value, str)}

    @staticmethod
    def key(info):
        """What a file is recognised by; renaming does not change it."""
        return f"{info.st_ino}:{info.st_size}:{info.st_mtime_ns}"

    def get(self, info):
        """The hash of a file, "" when it is not known."""
        return self.known.get(self.key(info), "")

    def put(self, path, sha256):
        """Note the hash of a file and keep it."""
        with self.lock:
            self.known[self.key(os.stat(path))] = sha256
            self.save()

    def keep_only(self, infos):
        """Forget files that are gone."""
        with self.lock:
            there = {self.key(info) for info in infos}
            gone = set(self.known) - there
            if gone:
                self.known = {key: value for key, value in self.known.items() if key in there}
                self.save()

    def save(self):
        """Write the file, whole or not at all; nothing where they are not to be kept."""
        if self.file:
            write_json(self.file, {"schema": 1, "sha256": self.known})


def load(path):
    """A JSON object of ours; None when there is none that can be read."""
    try:
        if os.path.getsize(path) > MOST_JSON_BYTES:
            return None
        with open(path, "rb") as stream:
            return weights.json_object(stream.read())[0]
    except OSError:
        return None


def write_json(path, value):
    """Write a file of ours; whoever reads it meanwhile sees the old one or the new one."""
    fresh = f"{path}.{os.getpid()}.{threading.get_ident()}"
    with open(fresh, "w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1, sort_keys=True)
    os.chmod(fresh, 0o644)
    os.replace(fresh, path)


def hash_file(path, tell=None):
    """sha256 of a file; `tell` takes the number of bytes of each block read."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while True:
            block = stream.read(BLOCK)
            if not block:
                return digest.hexdigest()
            digest.update(block)
            if tell:
                tell(len(block))


def known_or_hashed(path, hashes, tell=None):
    """sha256 of a file, read only when it is not known."""
    info = os.stat(path)
    found = hashes.get(info)
    if not found:
        found = hash_file(path, tell)
        after = os.stat(path)
        if hashes.key(after) != hashes.key(info):
            raise StoreError(f"{path} changed while it was read")
        hashes.put(path, found)
    return found


def header_error(path, size):
    """Why a shard cannot be what its header says; "" for a whole one and for files that are no shards."""
    if not path.endswith(weights.SHARD):
        return ""
    shard = weights.read_shard(path, size)
    if shard["error"]:
        return f"no readable header: {shard['error']}"
    if shard["data_bytes"] != size:
        return f"{size} bytes, and {shard['data_bytes']} as its header says"
    return ""


def read(path):
    """A folder as facts: manifest, files with the hashes that are known, what is on its way, room. Reads no tensors."""
    hashes = Hashes(hashes_path(path))
    parent = files.nearest_folder(path)
    answer = {"path": path, "manifest": load(manifest_path(path)), "error": ""}
    if os.path.lexists(path) and not os.path.isdir(path):
        answer["error"] = "it is there and is no folder"
    answer["files"] = {
        name: {"size": info.st_size, "sha256": hashes.get(info)} for name, info in list_files(path).items()
    }
    answer["partial"] = {name: info.st_size for name, info in list_files(partial_path(path)).items()}
    answer["filesystem"] = shared_filesystem(path)
    room = os.statvfs(parent)
    answer["free_bytes"] = room.f_bavail * room.f_frsize
    return answer


def shared_filesystem(path, mountinfo="/proc/self/mountinfo"):
    """What names a folder on a file system that nodes share, "nfs:HOST:/EXPORT/FOLDER"; "" on a disk of the node."""
    real = os.path.realpath(path)
    best = None
    for line in files.text(mountinfo).splitlines():
        left, _, right = line.partition(" - ")
        fields, source = left.split(), right.split()
        if len(fields) < 5 or len(source) < 2:
            continue
        # proc(5): blanks and the like are written as octal numbers
        point = fields[4].encode().decode("unicode_escape")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and (best is None or len(point) >= len(best[0])):
            best = (point, fields[3], source[0], source[1])
    if best is None:
        return ""
    point, root, kind, source = best
    if kind not in SHARED and kind not in SHARED_BY_PROGRAM:
        return ""
    below = os.path.relpath(real, point)
    within = os.path.normpath(os.path.join(root, below)).lstrip("/")
    return f"{kind}:{source.rstrip('/')}/{within}"


def own_folder(path):
    """Make a folder that only we can look into; refuse one that somebody else made.

    Raises:
        StoreError: it is a link, a file, or somebody else's.
    """
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        info = os.lstat(path)
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
            raise StoreError(f"{path} is there and is no folder of npuctl's; remove it") from None
    return path


class Folder:
    """A model's folder on this machine against a manifest."""

    def __init__(self, path, manifest, cluster=""):
        self.path = path.rstrip("/")
        self.cluster = cluster
        self.wanted = manifest["files"]
        bad = [name for name in self.wanted if not is_name(name)]
        if bad:
            raise StoreError(f"the manifest names {bad[0]!r}, which is no name of a file in a model's folder")
        self.manifest = manifest
        self.hashes = Hashes(hashes_path(self.path))
        self.partial = partial_path(self.path)
        self.noted = load(manifest_path(self.path))

    @property
    def placed(self):
        """The files that npuctl put there."""
        names = (self.noted or {}).get("placed")
        return {name for name in names if is_name(name)} if isinstance(names, list) else set()

    def fault(self, root, name):
        """What is wrong with a file below a root: "" for nothing, "missing", or what differs."""
        entry, path = self.wanted[name], os.path.join(root, name)
        try:
            size = os.stat(path).st_size
        except OSError:
            return "missing"
        if size != entry["size"]:
            return f"{size} bytes instead of {entry['size']}"
        wrong = header_error(path, size)
        if wrong:
            return wrong
        return "" if known_or_hashed(path, self.hashes) == entry["sha256"] else "another sha256"

    def faults(self, root):
        """File → what is wrong with it, for those that are not as they should be."""
        found = {name: self.fault(root, name) for name in self.wanted}
        return {name: fault for name, fault in found.items() if fault}

    def publish(self, owner, check_mode):
        """Put what has arrived under its final name; what was done, in words.

        Raises:
            StoreError: something is missing or wrong, or would overwrite what npuctl did not put there.
        """
        wrong = self.faults(self.path)
        self.refuse_theirs(wrong)
        if not check_mode:
            self.refuse_incomplete(wrong)
        done = [f"put {len(wrong)} of {len(self.wanted)} files in {self.path}"] if wrong else []
        done += self.remove_stale(check_mode)
        if self.noted != self.as_noted(wrong):
            done += [] if done else [f"noted the manifest of {self.path}"]
            # Noted first: were npuctl killed in between, the files would count as somebody else's.
            if not check_mode:
                self.note(wrong)
        if not check_mode:
            if wrong:
                self.settle(owner)
                self.move(wrong)
            if os.path.isdir(self.partial):
                remove_tree(self.partial)
            self.hashes.keep_only(list_files(self.path).values())
        return done

    def refuse_theirs(self, wrong):
        """Raise where a file that npuctl did not put there would be overwritten."""
        theirs = sorted(
            name for name, fault in wrong.items() if fault != "missing" and name not in self.placed
        )
        if theirs:
            raise StoreError(
                f"{self.path} holds files that npuctl did not put there and that differ: {theirs[0]}: "
                f"{wrong[theirs[0]]}; nothing was overwritten: move the folder away, or give the model another path"
            )

    def refuse_incomplete(self, wrong):
        """Raise where not everything has arrived."""
        arrived = {name: self.fault(self.partial, name) for name in wrong}
        late = sorted(name for name, fault in arrived.items() if fault)
        if late:
            raise StoreError(
                f"{self.path}: {late[0]} is {arrived[late[0]]}; run npuctl provision again: it sends what is missing"
            )

    def move(self, names):
        """Rename what has arrived: the whole folder where there is none, else file by file."""
        if not os.path.isdir(self.path):
            for name in list_files(self.partial):
                if name not in self.wanted:
                    os.unlink(os.path.join(self.partial, name))
            os.rename(self.partial, self.path)
            return
        for name in sorted(names):
            os.makedirs(os.path.dirname(os.path.join(self.path, name)), mode=0o755, exist_ok=True)
            os.replace(os.path.join(self.partial, name), os.path.join(self.path, name))

    def settle(self, owner):
        """Owner and modes of what has arrived: for everybody to read."""
        uid, gid = owner
        for folder, _names, names in os.walk(self.partial):
            os.chown(folder, uid, gid)
            os.chmod(folder, 0o755)  # noqa: S103  engines run as other users
            for name in names:
                os.chown(os.path.join(folder, name), uid, gid)
                os.chmod(os.path.join(folder, name), 0o644)

    def remove_stale(self, check_mode):
        """Remove files of ours that only an earlier manifest had: an engine might load them."""
        stale = sorted(
            name for name in self.placed - set(self.wanted) if os.path.lexists(os.path.join(self.path, name))
        )
        for name in [] if check_mode else stale:
            os.unlink(os.path.join(self.path, name))
        return [f"removed {name}, which the model has no more" for name in stale]

    def as_noted(self, taken):
        """The manifest with the names of the files that npuctl put there, and the cluster for which it first did."""
        noted = dict(self.manifest, placed=sorted((self.placed | set(taken)) & set(self.wanted)))
        owner = owner_of(self.noted) if self.is_there() else ""
        return dict(noted, cluster=owner or self.cluster) if owner or self.cluster else noted

    def is_there(self):
        """Whether any file is left of what was noted."""
        files_ = (self.noted or {}).get("files")
        return any(os.path.lexists(os.path.join(self.path, name)) for name in files_ or {} if is_name(name))

    def note(self, taken):
        """Keep the manifest beside the folder."""
        self.noted = self.as_noted(taken)
        write_json(manifest_path(self.path), self.noted)


def owner_of(noted):
    """The cluster that a manifest was noted for; "" for none."""
    owner = (noted or {}).get("cluster")
    return owner if isinstance(owner, str) else ""


def remove(path, check_mode, cluster=""):
    """Take away what npuctl put there, and its notes; what else is in the folder stays. What was done, in words.

    What was noted for another cluster than this one stays as well.
    """
    noted, done = load(manifest_path(path)), []
    if owner_of(noted) not in ("", cluster):
        return done
    names = (noted or {}).get("placed")
    placed = [name for name in names if is_name(name)] if isinstance(names, list) else []
    there = [name for name in placed if os.path.lexists(os.path.join(path, name))]
    if there:
        done.append(f"removed {len(there)} files from {path}")
    ours = [file for file in (manifest_path(path), hashes_path(path)) if os.path.lexists(file)]
    partial = partial_path(path)
    if ours or os.path.lexists(partial):
        done.append(f"removed npuctl's notes of {path}")
    if check_mode:
        return done
    for name in there:
        os.unlink(os.path.join(path, name))
    if os.path.isdir(partial):
        remove_tree(partial)
    remove_empty(path)
    for file in ours:
        os.unlink(file)
    return done


def remove_tree(root):
    """Remove a folder with all that is in it; links are not followed."""
    for folder, names, inside in os.walk(root, topdown=False):
        for name in inside:
            os.unlink(os.path.join(folder, name))
        for name in names:
            whole = os.path.join(folder, name)
            os.unlink(whole) if os.path.islink(whole) else os.rmdir(whole)
    os.rmdir(root)


def remove_empty(root):
    """Remove a folder and those below it as far as they hold nothing."""
    for folder, _names, _inside in os.walk(root, topdown=False):
        if not os.listdir(folder):
            os.rmdir(folder)
