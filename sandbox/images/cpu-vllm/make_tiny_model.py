"""Make a tiny Qwen2 model with random weights and a byte-level BPE tokenizer trained here: nothing is downloaded.

    python make_tiny_model.py FOLDER

Two layers and less than half a million parameters: it says nothing sensible, but vLLM loads and runs it as
it would a real one. The same versions of torch and transformers make the same bytes.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

END_OF_TEXT, TURN_BEGIN, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CONTEXT = 2048
SUBJECTS = (
    "The cluster",
    "Every node",
    "A replica",
    "The scheduler",
    "This request",
    "节点",
    "推理服务",
    "这个模型",
)
VERBS = ("starts", "stops", "reports", "waits for", "answers", "启动", "停止", "等待")
OBJECTS = (
    "eight chips",
    "the next token",
    "its health check",
    "a long prompt",
    "four workers",
    "显存",
    "权重",
    "下一个词元",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def main(folder: Path) -> None:
    """Write tokenizer, configuration and weights to the folder."""
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"{folder}: {len(tokenizer)} tokens, {sum(p.numel() for p in model.parameters())} parameters")


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: any text survives encode and decode."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=[END_OF_TEXT, TURN_BEGIN, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_sentences(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=TURN_END, pad_token=END_OF_TEXT, model_max_length=CONTEXT
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """A Qwen2 of two layers with weights from a fixed seed."""
    torch.manual_seed(20)
    config = Qwen2Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="bfloat16",
    )
    model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _sentences() -> list[str]:
    made = [f"{a} {b} {c}." for a, b, c in itertools.product(SUBJECTS, VERBS, OBJECTS)]
    sums = [f"{a} + {b} = {a + b}\n{a} * {b} = {a * b}" for a in range(30) for b in range(0, 100, 7)]
    return made + sums


if __name__ == "__main__":
    main(Path(sys.argv[1]))
