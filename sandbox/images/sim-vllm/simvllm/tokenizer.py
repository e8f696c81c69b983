"""Text to tokens and back: whole words where the training text had them, bytes for all else.

Token ids: the special tokens first, then the 256 bytes, then the learned pieces. Any UTF-8 text survives
encode and decode, because what is not a piece is spelled out in bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
END, TURN_BEGIN, TURN_END = range(len(SPECIALS))
FIRST_BYTE = len(SPECIALS)
FIRST_PIECE = FIRST_BYTE + 256
_WORDS = re.compile(r" ?[A-Za-z]+| ?[0-9]+| ?[\u4e00-\u9fff]| ?[^\sA-Za-z0-9\u4e00-\u9fff]|\s")


class Tokenizer:
    """A closed vocabulary of special tokens, bytes and learned pieces."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = tuple(pieces)
        self._bytes = [b""] * FIRST_BYTE + [bytes([value]) for value in range(256)]
        self._bytes += [piece.encode() for piece in self.pieces]
        self._ids = {piece: FIRST_PIECE + place for place, piece in enumerate(self.pieces)}

    def __len__(self) -> int:
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text; text that looks like a special token is only text."""
        found: list[int] = []
        for match in _WORDS.finditer(text):
            known = self._ids.get(match[0])
            if known is None:
                found.extend(FIRST_BYTE + value for value in match[0].encode("utf-8", "replace"))
            else:
                found.append(known)
        return found

    def raw(self, token: int) -> bytes:
        """The bytes that a token adds to the text; none for a special token."""
        return self._bytes[token]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; broken UTF-8 becomes the replacement character."""
        return b"".join(self._bytes[token] for token in tokens).decode("utf-8", "replace")

    def decode_with_specials(self, tokens: Iterable[int]) -> str:
        """As decode, with special tokens written out."""
        parts = (SPECIALS[token].encode() if token < FIRST_BYTE else self._bytes[token] for token in tokens)
        return b"".join(parts).decode("utf-8", "replace")

    def label(self, token: int) -> str:
        """A token as logprobs name it: its text, `<0xE4>` for half a character; different for every token."""
        if token < FIRST_BYTE:
            return SPECIALS[token]
        raw = self._bytes[token]
        return f"<0x{raw[0]:02X}>" if len(raw) == 1 and raw[0] > 0x7F else raw.decode()  # noqa: PLR2004 - end of ASCII


def learn_pieces(texts: Iterable[str]) -> list[str]:
    """The pieces of the training text that are more than one byte, most frequent first."""
    counts = Counter(match[0] for text in texts for match in _WORDS.finditer(text))
    pieces = [piece for piece in counts if len(piece.encode()) > 1]
    return sorted(pieces, key=lambda piece: (-counts[piece], piece))
