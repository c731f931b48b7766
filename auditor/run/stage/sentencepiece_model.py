"""A SentencePiece model made for the audit: exactly V pieces, and a known number of bytes for each.

The official tokenizers of the challenge put <pad>, <s>, </s>, <unk> at ids 0 to 3 and the 256 byte pieces behind them.
The audit's model does the same; its text pieces differ in length, in script (one to four bytes a character) and in
whether they begin with U+2581, so that a script which counts bytes wrongly cannot be right by accident.

The file is a protocol buffer (sentencepiece_model.proto); the few fields that are needed are written by hand, so that
the core does without the package.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import numpy as np
from numpy.typing import NDArray

from auditor.run.sources import BOS

PAD, EOS, UNKNOWN = 0, 2, 3
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
SPACE = "\u2581"
BYTE_PIECES = 256

# Fields of sentencepiece_model.proto and values of SentencePiece.Type.
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_MODEL_PIECES, _MODEL_TRAINER, _MODEL_NORMALIZER = 1, 2, 3
_PIECE_TEXT, _PIECE_SCORE, _PIECE_TYPE = 1, 2, 3
_TRAINER_MODEL_TYPE, _TRAINER_VOCABULARY, _TRAINER_BYTE_FALLBACK = 3, 4, 35
_TRAINER_UNKNOWN, _TRAINER_BOS, _TRAINER_EOS, _TRAINER_PAD = 40, 41, 42, 43
_TRAINER_PAD_PIECE = 48
_NORMALIZER_NAME, _NORMALIZER_DUMMY_PREFIX, _NORMALIZER_EXTRA_SPACES, _NORMALIZER_ESCAPE = 1, 3, 4, 5
_BPE = 2

_SYLLABLES = (
    *"etaoinshrdlcumwfgypbvkjxqzETAOINSHRDLC0123456789",
    *("th", "ing", "ment", "qu", "tion", "ther", "an", "er"),
    *("ó", "ß", "ра", "語", "😀", "é", "—", "あ"),
)


@dataclass(frozen=True, slots=True)
class ByteTables:
    """What each token of a vocabulary is worth in bytes, as the challenge's README counts.

    `pieces` (V,) texts; `base_bytes` (V,) int64, UTF-8 bytes without a leading U+2581; `leading_space` (V,) bool;
    `boundary` (V,) bool, tokens after which a leading space is not text (controls and <unk>).
    """

    pieces: tuple[str, ...]
    base_bytes: NDArray[np.int64]
    leading_space: NDArray[np.bool_]
    boundary: NDArray[np.bool_]

    def token_bytes(self, tokens: NDArray[np.uint16]) -> NDArray[np.int64]:
        """Bytes of each token of a stream, (length,); the first has nothing before it and counts no leading space."""
        counted = self.base_bytes[tokens]
        counted[1:] += self.leading_space[tokens[1:]] & ~self.boundary[tokens[:-1]]
        return counted

    def text_bytes(self, tokens: NDArray[np.uint16]) -> int:
        """Bytes of the predicted tokens: all but the first of the stream."""
        return int(self.token_bytes(tokens)[1:].sum())


@lru_cache(maxsize=8)
def byte_tables(vocabulary: int) -> ByteTables:
    """The audit's vocabulary of `vocabulary` pieces. Below 260 there is no room for byte pieces, and text stands in."""
    if vocabulary <= len(SPECIAL):
        raise ValueError(f"a vocabulary of {vocabulary} tokens has no room for text")
    byte_pieces = _byte_pieces(vocabulary)
    texts = list(_texts(vocabulary - len(SPECIAL) - byte_pieces))
    pieces = (*SPECIAL, *(f"<0x{value:02X}>" for value in range(byte_pieces)), *texts)
    base = [0] * len(SPECIAL) + [1] * byte_pieces + [len(text.removeprefix(SPACE).encode()) for text in texts]
    leading = [False] * (len(SPECIAL) + byte_pieces) + [text.startswith(SPACE) for text in texts]
    boundary = np.zeros(vocabulary, bool)
    boundary[: len(SPECIAL)] = True
    return ByteTables(pieces, np.array(base, np.int64), np.array(leading), boundary)


@lru_cache(maxsize=8)
def model_bytes(vocabulary: int) -> bytes:
    """The .model file of the audit's vocabulary."""
    tables, byte_pieces = byte_tables(vocabulary), _byte_pieces(vocabulary)
    pieces = (
        _field(_MODEL_PIECES, _piece(text, -float(index), _type(index, byte_pieces)))
        for index, text in enumerate(tables.pieces)
    )
    trainer = b"".join(
        (
            _field(_TRAINER_MODEL_TYPE, _BPE),
            _field(_TRAINER_VOCABULARY, vocabulary),
            _field(_TRAINER_BYTE_FALLBACK, int(byte_pieces > 0)),
            _field(_TRAINER_UNKNOWN, UNKNOWN),
            _field(_TRAINER_BOS, BOS),
            _field(_TRAINER_EOS, EOS),
            _field(_TRAINER_PAD, PAD),
            _field(_TRAINER_PAD_PIECE, SPECIAL[PAD].encode()),
        )
    )
    normalizer = b"".join(
        (
            _field(_NORMALIZER_NAME, b"identity"),
            _field(_NORMALIZER_DUMMY_PREFIX, 0),
            _field(_NORMALIZER_EXTRA_SPACES, 0),
            _field(_NORMALIZER_ESCAPE, 1),
        )
    )
    return b"".join((*pieces, _field(_MODEL_TRAINER, trainer), _field(_MODEL_NORMALIZER, normalizer)))


def _byte_pieces(vocabulary: int) -> int:
    return BYTE_PIECES if vocabulary >= len(SPECIAL) + BYTE_PIECES else 0


def _texts(number: int) -> Iterator[str]:
    """`number` different texts: U+2581 alone, then combinations of syllables, every other one with a leading space."""
    if number:
        yield SPACE
    made = 1
    seen = {SPACE}
    for index in count():
        if made >= number:
            return
        word, rest = "", index // 2
        while True:
            word += _SYLLABLES[rest % len(_SYLLABLES)]
            rest = rest // len(_SYLLABLES) - 1
            if rest < 0:
                break
        text = SPACE + word if index % 2 else word
        if text not in seen:  # "s" + "in" and a syllable "sin" would read alike
            seen.add(text)
            made += 1
            yield text


def _type(index: int, byte_pieces: int) -> int:
    if index == UNKNOWN:
        return _UNKNOWN
    if index < len(SPECIAL):
        return _CONTROL
    return _BYTE if index < len(SPECIAL) + byte_pieces else _NORMAL


def _piece(text: str, score: float, kind: int) -> bytes:
    score_field = _varint(_PIECE_SCORE << 3 | 5) + struct.pack("<f", score)
    return _field(_PIECE_TEXT, text.encode()) + score_field + _field(_PIECE_TYPE, kind)


def _field(number: int, value: int | bytes) -> bytes:
    """One field: a varint, or a length-delimited string or message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
