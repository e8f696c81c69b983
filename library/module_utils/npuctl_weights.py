"""Folders of models, read without their tensors: names, sizes, configuration, headers. Read-only.

A header of safetensors is 8 bytes of length (little-endian), that many bytes of JSON, and the tensors' bytes;
"data_offsets" count from the header's end, and the tensors follow each other without holes
(github.com/huggingface/safetensors, README). Standard library; Python 3.8 or newer.
"""

import collections
import concurrent.futures
import hashlib
import json
import os

AT_ONCE = 8
MOST_FILES = 20000
MOST_HEADER_BYTES = 100_000_000  # the format's own limit
MOST_JSON_BYTES = 64 * 2**20  # an index, a quantisation's description: some MB for the largest models
SHARD = ".safetensors"
INDEX = ".safetensors.index.json"
CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
# msModelSlim names it so, or with the kind in it: quant_model_description_w8a8.json
QUANTIZATION = "quant_model_description"


def read_folder(path):
    """Everything that can be known of a model without reading its tensors."""
    if not os.path.isdir(path):
        return {"path": path, "exists": False}
    sizes = list_files(path)
    shards = sorted(name for name in sizes if name.endswith(SHARD))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        headers = pool.map(lambda name: read_shard(os.path.join(path, name), sizes[name]), shards)
        found = {
            "path": path,
            "exists": True,
            "other_files": {name: size for name, size in sizes.items() if name not in shards},
        }
        found.update(read_config(path, sizes))
        found.update(read_index(path, sizes))
        found["shards"] = dict(zip(shards, headers))  # noqa: B905  Python 3.8 has no strict
    return found


def list_files(path):
    """Name → size of the files in a folder; links are followed, as hubs keep weights behind links."""
    sizes = {}
    with os.scandir(path) as entries:
        for entry in entries:
            if len(sizes) == MOST_FILES:
                break
            try:
                if entry.is_file():
                    sizes[entry.name] = entry.stat().st_size
                elif entry.is_symlink():
                    sizes[entry.name] = 0  # it leads nowhere
            except OSError:
                continue
    return {name: size for name, size in sizes.items() if is_text(name)}


def is_text(name):
    """Whether this can be sent as JSON: names of files are bytes, and texts of JSON may have halves of pairs."""
    try:
        name.encode("utf-8")
    except UnicodeError:
        return False
    return True


def read_config(path, sizes):
    """config.json, the hash of generation_config.json, and the kind of quantisation."""
    found = {"config": None, "config_error": "", "config_sha256": "", "generation_config_sha256": ""}
    raw, found["config_error"] = read_bytes(path, CONFIG, sizes)
    if raw is not None:
        found["config_sha256"] = hashlib.sha256(raw).hexdigest()
        found["config"], found["config_error"] = json_object(raw)
        if not is_text(json.dumps(found["config"], ensure_ascii=False)):
            found["config"], found["config_error"] = None, "its text is no Unicode"
    raw, _ = read_bytes(path, GENERATION_CONFIG, sizes)
    if raw is not None:
        found["generation_config_sha256"] = hashlib.sha256(raw).hexdigest()
    found["quantization"] = read_quantization(path, sizes)
    return found


def read_quantization(path, sizes):
    """The kind that a quantisation's description file says; empty without such a file."""
    for name in sorted(sizes):
        if name.startswith(QUANTIZATION) and name.endswith(".json"):
            raw, _ = read_bytes(path, name, sizes)
            description, _ = json_object(raw or b"")
            return kind_of_quantization(description or {}) or "unknown"
    return ""


def kind_of_quantization(description):
    """model_quant_type, else the kind that most tensors have; FLOAT is none."""
    told = description.get("model_quant_type")
    if isinstance(told, str) and told:
        return told
    kinds = [kind for kind in description.values() if isinstance(kind, str) and kind.startswith("W")]
    return collections.Counter(kinds).most_common(1)[0][0] if kinds else ""


def read_index(path, sizes):
    """Shards and total size that the index names; None without an index."""
    found = {"index_shards": None, "index_bytes": None, "index_error": ""}
    names = sorted(name for name in sizes if name.endswith(INDEX))
    if not names:
        return found
    raw, found["index_error"] = read_bytes(path, names[0], sizes)
    if raw is None:
        return found
    index, found["index_error"] = json_object(raw)
    if index is None:
        return found
    weight_map, metadata = index.get("weight_map"), index.get("metadata")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        found["index_error"] = names[0] + " has no weight_map"
        return found
    found["index_shards"] = sorted(set(weight_map.values()))
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    found["index_bytes"] = int(total) if isinstance(total, (int, float)) else None
    return found


def read_bytes(path, name, sizes):
    """(bytes, "") of a file of JSON, or (None, why)."""
    if name not in sizes:
        return None, name + " is not there"
    if sizes[name] > MOST_JSON_BYTES:
        return None, f"{name} has {sizes[name]} bytes"
    try:
        with open(os.path.join(path, name), "rb") as stream:
            return stream.read(), ""
    except OSError as error:
        return None, f"{name}: {error.strerror or error}"


def json_object(raw):
    """(dictionary, "") of a JSON text, or (None, why)."""
    try:
        value = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return None, f"not JSON: {error}"
    return (value, "") if isinstance(value, dict) else (None, "not a JSON object")


def read_shard(path, size):
    """What one shard's header promises, against the size of its file."""
    found = {"size_bytes": size, "error": ""}
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > MOST_HEADER_BYTES or length + 8 > size:
                found["error"] = f"a header of {length} bytes in a file of {size}"
                return found
            header = stream.read(length)
    except OSError as error:
        found["error"] = error.strerror or str(error)
        return found
    tensors, found["error"] = json_object(header)
    if tensors is None:
        return found
    found["header_sha256"] = hashlib.sha256(header).hexdigest()
    tensors.pop("__metadata__", None)
    found.update(measure(tensors, 8 + length))
    return found


def measure(tensors, start):
    """Bytes that a header promises, in all and by data type."""
    dtypes, end = collections.Counter(), 0
    try:
        for tensor in tensors.values():
            first, last = tensor["data_offsets"]
            dtypes[str(tensor["dtype"])] += last - first
            end = max(end, last)
    except (TypeError, KeyError, ValueError):
        return {"error": "a tensor without data_offsets or dtype"}
    total = sum(dtypes.values())
    return {
        "error": "" if total == end else f"tensors of {total} bytes in {end}: they overlap, or leave holes",
        "data_bytes": start + end,
        "tensor_bytes": total,
        "dtypes": dict(dtypes),
    }
