"""The model on a sandbox's nodes: a true folder of safetensors, small, and the same bytes at every making.

Nobody computes with it: the stand-in engine reads config.json only. Its files are complete, so that whatever
looks at models (index, headers, sizes) finds a whole one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from npuctl.sandbox.images import File, Files

_CONTEXT = 4096
_HIDDEN, _INTERMEDIATE, _LAYERS, _HEADS, _VOCABULARY = 128, 256, 2, 16, 1024
_BYTES_A_NUMBER = 2  # BF16
_END, _TURN_BEGIN, _TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "torch_dtype": "bfloat16",
    "hidden_size": _HIDDEN,
    "intermediate_size": _INTERMEDIATE,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": _HEADS,
    "num_key_value_heads": _HEADS,
    "max_position_embeddings": _CONTEXT,
    "vocab_size": _VOCABULARY,
    "tie_word_embeddings": True,
}
_GENERATION = {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "eos_token_id": 2}

Shapes = dict[str, tuple[int, ...]]


def tiny_model() -> Files:
    """The files of the folder, by name."""
    parts = [_embedding() | _layer(0), _layer(1) | {"model.norm.weight": (_HIDDEN,)}]
    names = [f"model-{number:05}-of-{len(parts):05}.safetensors" for number in range(1, len(parts) + 1)]
    weight_map = {tensor: name for name, shapes in zip(names, parts, strict=True) for tensor in shapes}
    index = {"metadata": {"total_size": sum(map(_size, parts))}, "weight_map": weight_map}
    texts: dict[str, object] = {
        "config.json": CONFIG,
        "generation_config.json": _GENERATION,
        "model.safetensors.index.json": index,
        "tokenizer.json": _tokenizer(),
        "tokenizer_config.json": {"model_max_length": _CONTEXT, "eos_token": _TURN_END, "pad_token": _END},
    }
    files = {name: File((json.dumps(text, indent=2) + "\n").encode()) for name, text in texts.items()}
    return files | {name: File(_shard(shapes)) for name, shapes in zip(names, parts, strict=True)}


def _embedding() -> Shapes:
    return {"model.embed_tokens.weight": (_VOCABULARY, _HIDDEN)}


def _layer(number: int) -> Shapes:
    own: Shapes = {"input_layernorm.weight": (_HIDDEN,), "post_attention_layernorm.weight": (_HIDDEN,)}
    own |= {f"self_attn.{letter}_proj.weight": (_HIDDEN, _HIDDEN) for letter in "qkvo"}
    own |= {f"self_attn.{letter}_proj.bias": (_HIDDEN,) for letter in "qkv"}
    own |= {f"mlp.{name}_proj.weight": (_INTERMEDIATE, _HIDDEN) for name in ("gate", "up")}
    own |= {"mlp.down_proj.weight": (_HIDDEN, _INTERMEDIATE)}
    return {f"model.layers.{number}.{name}": shape for name, shape in own.items()}


def _numbers(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def _size(shapes: Shapes) -> int:
    return sum(_numbers(shape) for shape in shapes.values()) * _BYTES_A_NUMBER


def _shard(shapes: Shapes) -> bytes:
    """One file: the header's length, the header, the tensors (all zeros) one after the other."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, shape in shapes.items():
        end = start + _numbers(shape) * _BYTES_A_NUMBER
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(start)


def _tokenizer() -> dict[str, object]:
    """A tokenizer of single bytes."""
    special = [_END, _TURN_BEGIN, _TURN_END]
    vocabulary = {token: number for number, token in enumerate([*special, *_byte_letters()])}
    added = [
        {"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False}
        | {"normalized": False, "special": True}
        for number, token in enumerate(special)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def _byte_letters() -> Iterator[str]:
    """The letter that byte-level BPE writes for each byte: itself where it can be seen, else one above 255."""
    above = 256
    for byte in range(256):
        letter = chr(byte)
        if letter.isprintable() and not letter.isspace() and byte != 0xAD:  # noqa: PLR2004  soft hyphen
            yield letter
        else:
            yield chr(above)
            above += 1
