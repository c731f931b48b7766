"""The byte table of a tokenizer file, read without the sentencepiece package.

A .model file is a protocol buffer; of it only the pieces and their types are needed. The tokenizer comes with the data
that the auditor's user gives, not with the submission; it is read with bounds all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from auditor.run.stage.sentencepiece_model import SPACE, ByteTables

MAX_MODEL_BYTES = 64 * 1024 * 1024
BYTE_LEVEL_SPECIAL = 4  # of the challenge's byte tokenizer: ids below are control tokens, the others one byte each

# Fields of sentencepiece_model.proto, and values of SentencePiece.Type that are no text of their own.
_PIECES, _TEXT, _TYPE = 1, 1, 3
_UNKNOWN, _CONTROL, _UNUSED, _BYTE = 2, 3, 5, 6


class TokenizerError(Exception):
    """The file is no tokenizer that can be read. The message is one line."""


def read_tables(path: Path) -> ByteTables:
    """The byte tables of a SentencePiece model. Raises TokenizerError."""
    try:
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise TokenizerError(f"{path.name}: larger than {MAX_MODEL_BYTES:,} bytes")
        pieces = [_piece(value) for number, value in _fields(path.read_bytes()) if number == _PIECES]
    except (OSError, ValueError, IndexError) as error:
        raise TokenizerError(f"{path.name}: not a SentencePiece model ({error})") from None
    if not pieces:
        raise TokenizerError(f"{path.name}: a SentencePiece model without pieces")
    return _tables(pieces)


def byte_level_tables(vocabulary: int) -> ByteTables:
    """The tables of a tokenizer whose tokens are bytes behind four control tokens."""
    base = np.ones(vocabulary, np.int64)
    base[:BYTE_LEVEL_SPECIAL] = 0
    return ByteTables(
        tuple(f"<{token}>" for token in range(vocabulary)),
        base,
        np.zeros(vocabulary, bool),
        base == 0,
    )


def _tables(pieces: list[tuple[str, int]]) -> ByteTables:
    base = np.zeros(len(pieces), np.int64)
    leading = np.zeros(len(pieces), bool)
    boundary = np.zeros(len(pieces), bool)
    for token, (text, kind) in enumerate(pieces):
        if kind in (_UNKNOWN, _CONTROL, _UNUSED):
            boundary[token] = True
        elif kind == _BYTE:
            base[token] = 1
        else:
            leading[token] = text.startswith(SPACE)
            base[token] = len(text.removeprefix(SPACE).replace(SPACE, " ").encode())
    return ByteTables(tuple(text for text, _ in pieces), base, leading, boundary)


def _piece(message: object) -> tuple[str, int]:
    text, kind = "", 1
    if not isinstance(message, bytes):
        raise ValueError("a piece that is no message")
    for number, value in _fields(message):
        if number == _TEXT and isinstance(value, bytes):
            text = value.decode("utf-8", "surrogateescape")
        elif number == _TYPE and isinstance(value, int):
            kind = value
    return text, kind


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of every field: an int for a varint, the raw bytes for everything else."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == 2:
            length, position = _varint(message, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(message):
            raise ValueError("a field beyond the end")
        yield number, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
