"""Token shards: the challenge's file format, written and read with validation.

A shard is 256 little-endian int32 (magic 20240520, version 1, number of tokens, zeros) followed by that many
little-endian uint16 tokens; nothing comes after them. Source: data/README.md of openai/parameter-golf.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from reference_pipeline.errors import PipelineError

SHARD_MAGIC = 20240520
SHARD_VERSION = 1
SHARD_HEADER_INTS = 256
SHARD_HEADER_BYTES = 4 * SHARD_HEADER_INTS


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` whole or not at all: a full disk leaves no half-written file behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # a parent that is no folder
            temporary.unlink(missing_ok=True)
        raise PipelineError(
            f"{path}: cannot write {len(data)} bytes ({error.strerror}); free disk space or choose another folder"
        ) from error


def write_shard(path: Path, tokens: np.ndarray) -> None:
    """Write `tokens`, shape (N,), values 0..65535, as one shard."""
    tokens = np.asarray(tokens)
    if tokens.ndim != 1:
        raise PipelineError(f"{path}: a shard holds one row of tokens, not an array of shape {tokens.shape}")
    if tokens.size and (int(tokens.min()) < 0 or int(tokens.max()) > 65535):
        raise PipelineError(f"{path}: token ids must fit uint16 (0..65535); use a smaller vocabulary")
    header = np.zeros(SHARD_HEADER_INTS, dtype="<i4")
    header[:3] = SHARD_MAGIC, SHARD_VERSION, tokens.size
    write_atomically(path, header.tobytes() + tokens.astype("<u2").tobytes())


def read_shard_length(path: Path) -> int:
    """Number of tokens in the shard at `path`, after checking header and file size."""
    if not path.is_file():
        raise PipelineError(f"{path}: no such shard; prepare the data or set DATA_PATH")
    size = path.stat().st_size
    if size < SHARD_HEADER_BYTES:
        raise PipelineError(
            f"{path}: {size} bytes are shorter than the {SHARD_HEADER_BYTES}-byte header; fetch it again"
        )
    header = np.fromfile(path, dtype="<i4", count=SHARD_HEADER_INTS)
    if header[0] != SHARD_MAGIC:
        raise PipelineError(f"{path}: magic {header[0]} is not {SHARD_MAGIC}; this is not a token shard")
    if header[1] != SHARD_VERSION:
        raise PipelineError(f"{path}: version {header[1]} is not {SHARD_VERSION}; write the shard again")
    count = int(header[2])
    expected = SHARD_HEADER_BYTES + 2 * count
    if count < 0 or size != expected:
        raise PipelineError(
            f"{path}: header promises {count} tokens ({expected} bytes) but the file has {size} bytes; fetch it again"
        )
    return count


def load_shard(path: Path, vocab_size: int | None = None) -> np.ndarray:
    """The shard's tokens, shape (N,), uint16, memory-mapped read-only.

    With `vocab_size` every token is checked against it (one pass over the file).
    """
    count = read_shard_length(path)
    if count == 0:
        return np.zeros(0, dtype="<u2")
    tokens = np.memmap(path, dtype="<u2", mode="r", offset=SHARD_HEADER_BYTES, shape=(count,))
    if vocab_size is not None and int(tokens.max()) >= vocab_size:
        raise PipelineError(
            f"{path}: token {int(tokens.max())} is outside VOCAB_SIZE={vocab_size}; "
            "the shard was made with another tokenizer: set VOCAB_SIZE and TOKENIZER_PATH to match"
        )
    return tokens


def find_shards(pattern: str) -> list[Path]:
    """Sorted paths matching the glob `pattern`; an error when there are none."""
    folder = Path(pattern).parent
    paths = sorted(folder.glob(Path(pattern).name))
    if not paths:
        raise PipelineError(f"{pattern}: no shard matches; prepare the data or set DATA_PATH")
    return paths
