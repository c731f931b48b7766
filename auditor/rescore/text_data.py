"""The text to score: validation shards and tokenizer, and whether they are the text that scores refer to.

The shards come from whoever runs the audit (``--data DIR``), never from the submission: DIR/datasets/NAME holds
fineweb_val_*.bin as the challenge's own data folder does, DIR/tokenizers the tokenizers; a folder with the shards
themselves will do as well. What identifies the text is its length: all correct tokenizations of one text have the same
number of bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from auditor.rescore.piece_table import TokenizerError, byte_level_tables, read_tables
from auditor.run.byte_test import known_mistakes
from auditor.run.stage.sentencepiece_model import ByteTables
from auditor.run.stage.shards import HEADER_INTS, MAGIC, VERSION

HEADER_BYTES = 4 * HEADER_INTS
SIDECAR = "fineweb_val_bytes_*.bin"
SHARDS = "fineweb_val_*.bin"
BYTE_LEVEL = "bytes"  # what TOKENIZER_PATH says of a byte-level vocabulary
BYTE_LEVEL_VOCABULARIES = (256, 260)
MAX_SHARD_BYTES = 4 << 30
BLOCK = 1 << 22  # tokens counted at a time
IDENTIFIED_WITHIN = 1e-4  # relative; exports of one text differ by a truncated tail


class DataError(Exception):
    """The data cannot be used. The message is one line."""


@dataclass(frozen=True)
class TextData:
    """One tokenization of a validation text, as it lies in a folder of the auditor's machine.

    `tokens` is the stream, (targets + 1,) uint16; `tables` is None for text that a sidecar counts and for which no
    tokenizer is there. `tokenizer` is None for byte-level tokens. `drawn` marks data made for the audit.
    """

    name: str
    folder: Path
    tokenizer: Path | None
    tokens: NDArray[np.uint16] = field(repr=False)
    token_bytes: NDArray[np.int64] = field(repr=False)  # of each token, (targets + 1,)
    tables: ByteTables | None = field(repr=False)
    sidecar: bool
    sha256: str  # of the shards' tokens, in order
    drawn: bool = False

    @property
    def targets(self) -> int:
        """Predicted tokens: all but the first."""
        return len(self.tokens) - 1

    @cached_property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the predicted tokens, counted officially."""
        return int(self.token_bytes[1:].sum())

    @cached_property
    def mistakes(self) -> dict[str, int]:
        """Byte counts that known mistakes give for this text, by their name."""
        if self.tables is None or self.sidecar or not self.tables.leading_space.any():
            return {}
        return known_mistakes(self.tables, self.tokens)

    def is_text_of(self, text_bytes: int) -> bool:
        """Whether this is a text of `text_bytes` bytes, less a truncated tail."""
        return not self.drawn and abs(self.text_bytes / text_bytes - 1) <= IDENTIFIED_WITHIN


def find_text(
    root: Path, wanted: Sequence[str], tokenizers: Sequence[str], vocabulary: int, *, drawn: bool = False
) -> TextData:
    """The data set below `root` that a run used: by one of the names `wanted`, else the only one that fits.

    `tokenizers` are names of tokenizer files, as the run's settings spell them. Raises DataError.
    """
    folder = _folder(root, [PurePosixPath(name).name for name in wanted], vocabulary)
    shards = sorted(path for path in folder.glob(SHARDS) if "_bytes_" not in path.name)
    tokens = np.concatenate([read_shard(path) for path in shards])
    if len(tokens) < 2:
        raise DataError(f"{folder}: fewer than two validation tokens")
    if int(tokens.max()) >= vocabulary:
        raise DataError(f"{folder}: token {int(tokens.max())} is outside the run's vocabulary of {vocabulary}")
    sidecars = sorted(folder.glob(SIDECAR))
    tokenizer = _tokenizer(root, folder, tokenizers, vocabulary)
    byte_level = tokenizer is None and (BYTE_LEVEL in tokenizers or vocabulary in BYTE_LEVEL_VOCABULARIES)
    try:
        tables = byte_level_tables(vocabulary) if byte_level else read_tables(tokenizer) if tokenizer else None
    except TokenizerError as error:
        raise DataError(str(error)) from None
    if sidecars:
        counted = np.concatenate([read_shard(path) for path in sidecars]).astype(np.int64)
        if len(counted) != len(tokens):
            raise DataError(f"{sidecars[0]}: {len(counted):,} byte counts for {len(tokens):,} tokens")
    elif tables is None:
        raise DataError(f"{root}: no tokenizer for {folder.name}, so its bytes cannot be counted")
    elif len(tables.base_bytes) < vocabulary:
        raise DataError(f"{tokenizer}: {len(tables.base_bytes)} pieces, the run's vocabulary has {vocabulary}")
    else:
        counted = count_bytes(tables, tokens)
    digest = hashlib.sha256(tokens.astype("<u2").tobytes()).hexdigest()
    return TextData(folder.name, folder, tokenizer, tokens, counted, tables, bool(sidecars), digest, drawn)


def count_bytes(tables: ByteTables, tokens: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Bytes of each token of a stream, block by block."""
    counted = np.empty(len(tokens), np.int64)
    for first in range(0, len(tokens), BLOCK):
        before = max(first - 1, 0)  # the token before decides over a leading space
        counted[first : first + BLOCK] = tables.token_bytes(tokens[before : first + BLOCK])[first - before :]
    return counted


def read_shard(path: Path) -> NDArray[np.uint16]:
    """The tokens of one shard, (length,), memory-mapped. Raises DataError."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = np.frombuffer(file.read(HEADER_BYTES), "<i4")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None
    if size > MAX_SHARD_BYTES or len(header) < HEADER_INTS or (int(header[0]), int(header[1])) != (MAGIC, VERSION):
        raise DataError(f"{path}: not a token shard")
    length = int(header[2])
    if length < 0 or size != HEADER_BYTES + 2 * length:
        raise DataError(f"{path}: the header promises {length:,} tokens, the file has {size:,} bytes")
    if length == 0:
        return np.zeros(0, np.uint16)
    return np.memmap(path, "<u2", "r", HEADER_BYTES, (length,))


def _folder(root: Path, wanted: Iterable[str], vocabulary: int) -> Path:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    found = sorted(
        {path.parent for pattern in (SHARDS, f"*/{SHARDS}", f"datasets/*/{SHARDS}") for path in root.glob(pattern)}
    )
    if not found:
        raise DataError(f"{root}: no {SHARDS} there, nor in its folder datasets")
    for name in wanted:
        for folder in found:
            if folder.name == name:
                return folder
    by_vocabulary = [folder for folder in found if _vocabulary_in(folder.name) == vocabulary]
    for candidates in (by_vocabulary, found):
        if len(candidates) == 1:
            return candidates[0]
    names = ", ".join(folder.name for folder in found[:8])
    raise DataError(f"{root}: which of {names} the run used is not known; give that folder itself")


def _vocabulary_in(name: str) -> int | None:
    digits = "".join(c if c.isdigit() else " " for c in name).split()
    return next((int(number) for number in reversed(digits) if 200 <= int(number) <= 65_536), None)


def _tokenizer(root: Path, folder: Path, wanted: Sequence[str], vocabulary: int) -> Path | None:
    """The tokenizer that the run names, else the one named as the data set, else the only one of that vocabulary."""
    places = [
        place for place in (root / "tokenizers", folder.parent.parent / "tokenizers", root, folder) if place.is_dir()
    ]
    models = list(dict.fromkeys(path for place in places for path in sorted(place.glob("*.model"))))
    if BYTE_LEVEL in wanted:
        return None
    names = [PurePosixPath(name).name for name in wanted] + [f"{folder.name}.model"]
    for name in names:
        for path in models:
            if path.name == name:
                return path
    fitting = [path for path in models if _vocabulary_in(path.stem) == vocabulary]
    return fitting[0] if len(fitting) == 1 else None
