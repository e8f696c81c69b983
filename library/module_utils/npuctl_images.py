"""What is inside container images, read from their layers on disk; no container is started.

Standard library; Python 3.8 or newer.
"""

import glob
import os
import re
import stat
import urllib.parse

from ansible.module_utils import npuctl_docker as docker
from ansible.module_utils import npuctl_files as files

DOCKER_SECONDS = 30
MOST_IMAGES = 32
MOST_BYTES = 65536  # of a version file
WORDS = ("ascend", "cann")  # in the names of images that are worth a look, beside the engines' own names
TORCH_NPU = "torch_npu"
ASCEND_FOLDERS = ("usr/local/Ascend", "home/*/Ascend", "opt/Ascend")
# Up to CANN 8.3 ascend-toolkit/VERSION/ARCH-linux, since 8.5 cann-VERSION/ARCH-linux.
CANN_FILES = (
    "ascend-toolkit/*/*-linux/ascend_toolkit_install.info",
    "ascend-toolkit/*/ascend_toolkit_install.info",
    "cann*/*-linux/ascend_*install.info",
    "cann*/ascend_*install.info",
    "cann*/*/version.info",
    "cann*/version.info",
)
PYTHON_FOLDERS = (
    "usr/local/python3*/lib/python3*/site-packages",
    "usr/local/lib/python3*/*-packages",
    "usr/local/lib64/python3*/site-packages",
    "usr/lib/python3*/*-packages",
    "usr/lib64/python3*/site-packages",
    "opt/*/lib/python3*/site-packages",
    "opt/*/envs/*/lib/python3*/site-packages",
    "root/*conda*/lib/python3*/site-packages",
    "root/*conda*/envs/*/lib/python3*/site-packages",
    "home/*/*conda*/lib/python3*/site-packages",
    "home/*/*conda*/envs/*/lib/python3*/site-packages",
)
PACKAGE = re.compile(r"([^-]+)-([^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info$")


def collect(request):
    """Describe the planned images that are there, and every other that looks like an engine's.

    `request` may have images (references), engines (names) and packages (whose versions are wanted).
    """
    planned = request.get("images") or []
    words = list(WORDS) + (request.get("engines") or [])
    packages = [TORCH_NPU] + (request.get("packages") or [])
    try:
        listed = docker.call("GET", "/images/json", timeout=DOCKER_SECONDS)
        there = sorted({tag for image in listed for tag in image.get("RepoTags") or []} - {"<none>:<none>"})
        likely = [tag for tag in there if tag not in planned and any(word in tag.lower() for word in words)]
        wanted = ([tag for tag in there if tag in planned] + likely)[:MOST_IMAGES]
        return {"error": "", "images": describe(wanted, packages)}
    except docker.DockerError as error:
        return {"error": str(error), "images": []}


def local(references):
    """Reference → id and architecture of those images that are there; none where Docker does not answer."""
    found = {}
    try:
        for reference in references:
            image = docker.image(reference)
            if image is not None:
                found[reference] = {
                    "id": image.get("Id", ""),
                    "architecture": image.get("Architecture", ""),
                }
    except docker.DockerError:
        return {}
    return found


def describe(references, packages):
    """Each image by the engine's description, and by its layers: those of one id are looked into once."""
    contents, layers, described = {}, {}, []
    for reference in references:
        path = "/images/{}/json".format(urllib.parse.quote(reference, safe="/:"))
        image = docker.call("GET", path, timeout=DOCKER_SECONDS)
        number = image.get("Id", "")
        if number not in contents:
            contents[number] = look_into(image.get("GraphDriver") or {}, packages, layers)
        described.append(
            {
                "reference": reference,
                "id": number,
                "architecture": image.get("Architecture", ""),
                "size_bytes": image.get("Size", 0),
                "soc_version": environment(image).get("SOC_VERSION", ""),
                "contents": contents[number],
            }
        )
    return described


def environment(image):
    """What the image sets; only what is asked for goes on: there may be a secret among it."""
    entries = (image.get("Config") or {}).get("Env") or []
    return dict(entry.partition("=")[::2] for entry in entries)


def look_into(graph, packages, known):
    """Version files and packages of an image, by its layers from the top; `known` keeps what layers hold."""
    data = graph.get("Data") or {}
    folders = [data.get("UpperDir", ""), *data.get("LowerDir", "").split(":")]
    folders = [folder for folder in folders if folder]
    if not folders:
        why = "the storage driver {} shows no folders".format(graph.get("Name") or "of this engine")
        return {"error": why, "cann": [], "packages": []}
    unreadable = [folder for folder in folders if not os.access(folder, os.R_OK | os.X_OK)]
    if unreadable:
        return {"error": unreadable[0] + " cannot be read", "cann": [], "packages": []}
    found = {"error": "", "cann": [], "packages": []}
    for position, folder in enumerate(folders):
        if folder not in known:
            known[folder] = read_layer(folder, packages)
        above = folders[:position]
        for kind in ("cann", "packages"):
            found[kind] += [
                entry for entry in known[folder][kind] if not is_hidden(entry["path"], above, found[kind])
            ]
    return found


def read_layer(folder, wanted):
    """Version files of CANN and wanted packages that one layer holds; paths without the layer's folder."""
    cann = [
        {"path": path, "text": head(os.path.join(folder, path))}
        for root in ASCEND_FOLDERS
        for pattern in CANN_FILES
        for path in matches(folder, f"{root}/{pattern}")
    ]
    packages = []
    for pattern in PYTHON_FOLDERS:
        for path in matches(folder, pattern):
            for name in sorted(files.names(os.path.join(folder, path))):
                package = PACKAGE.match(name)
                if (
                    package
                    and package.group(1) in wanted
                    and not is_removed(os.path.join(folder, path, name))
                ):
                    own = {"path": f"{path}/{name}", "name": package.group(1), "version": package.group(2)}
                    packages.append(own)
    return {"cann": cann, "packages": packages}


def matches(folder, pattern):
    """Paths in a layer that match; a link that leads out of the layer would lead into the node's own files."""
    inside = os.path.realpath(folder) + "/"
    found = sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))
    return [path[len(folder) + 1 :] for path in found if os.path.realpath(path).startswith(inside)]


def head(path):
    """The beginning of a file; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(MOST_BYTES)
    except OSError:
        return ""


def is_hidden(path, above, seen):
    """Whether a layer above has the same path, removed it, or replaced a folder above it as a whole."""
    if any(entry["path"] == path for entry in seen):
        return True
    parts = path.split("/")
    return any(
        is_removed(place) or is_opaque(place)
        for layer in above
        for place in (os.path.join(layer, *parts[: length + 1]) for length in range(len(parts)))
    )


def is_removed(path):
    """Whether overlayfs marks a removed file here: a character device 0/0."""
    try:
        info = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(path):
    """Whether overlayfs shows nothing of the layers below this folder."""
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False
