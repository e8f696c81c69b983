"""The trained pair of tokenizer and n-gram model: training, and model.json.

Usage: python -m simvllm.language CORPUS.txt MODEL.json
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from simvllm.ngram import NGram, dump, load
from simvllm.tokenizer import END, SPECIALS, TURN_BEGIN, TURN_END, Tokenizer, learn_pieces

# Five: `2 + 2 =` are four tokens, and the fifth must depend on all of them.
ORDER = 5
SUMS, PRODUCTS = 21, 13


@dataclass(frozen=True, slots=True)
class Language:
    """What the server needs to read and to write text."""

    tokenizer: Tokenizer
    model: NGram

    def turns(self, messages: list[tuple[str, str]], *, ask: bool) -> list[int]:
        """The tokens of a conversation, with the beginning of an answer when one is asked for."""
        tokens: list[int] = []
        for role, content in messages:
            tokens += [TURN_BEGIN, *self.tokenizer.encode(f"{role}\n{content}"), TURN_END]
            tokens += self.tokenizer.encode("\n")
        return [*tokens, TURN_BEGIN, *self.tokenizer.encode("assistant\n")] if ask else tokens


def train(lines: list[str]) -> Language:
    """Learn from lines of text, each also as an answer in a conversation, and from arithmetic."""
    sums = [f"{a} + {b} = {a + b}" for a in range(SUMS) for b in range(SUMS)]
    sums += [f"{a} * {b} = {a * b}" for a in range(PRODUCTS) for b in range(PRODUCTS)]
    texts = lines + sums + [f"Question: {text}" for text in sums]
    tokenizer = Tokenizer(learn_pieces([*texts, "user\n", "assistant\n", "system\n"]))
    model = NGram(ORDER, len(tokenizer))
    for text in texts:
        model.learn([END, *tokenizer.encode(text), END])
    language = Language(tokenizer, model)
    for text in lines:
        model.learn([*language.turns([], ask=True), *tokenizer.encode(text), TURN_END])
    return language


def save_language(language: Language, path: Path) -> None:
    """Write model.json."""
    data = {
        "order": language.model.order,
        "pieces": language.tokenizer.pieces,
        "counts": dump(language.model),
    }
    path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def load_language(path: Path) -> Language:
    """Read model.json."""
    data = json.loads(path.read_text(encoding="utf-8"))
    tokenizer = Tokenizer(data["pieces"])
    return Language(tokenizer, load(data["order"], len(tokenizer), data["counts"]))


def corpus(path: Path) -> list[str]:
    """The lines of a training text; empty ones and those that start with # do not count."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def main() -> None:
    """Train on the corpus named first and write the model named second."""
    source, target = (Path(word) for word in sys.argv[1:3])
    language = train(corpus(source))
    save_language(language, target)
    size = target.stat().st_size // 1024
    print(f"{target}: {len(language.tokenizer)} tokens ({len(SPECIALS)} special), order {ORDER}, {size} KiB")


if __name__ == "__main__":
    main()
