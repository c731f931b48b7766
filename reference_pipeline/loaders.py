"""Training batches from memory-mapped shards, in three orders, and document boundaries.

Every loader has `next_batch() -> (x, y)`, both (batch, sequence) int64, y being x shifted by one token. The order is a
function of the seed alone, and rank r of `world_size` takes every `world_size`-th sequence, so that the union over the
ranks is the same whatever their number.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reference_pipeline.errors import PipelineError
from reference_pipeline.shards import find_shards, load_shard


class TokenStream:
    """Several shards read as one long row of tokens; slices are copied, shards stay on disk."""

    def __init__(self, paths: list[Path], vocab_size: int | None = None):
        self.shards = [load_shard(path, vocab_size) for path in paths]
        ends = np.cumsum([len(shard) for shard in self.shards]).tolist()
        self.starts, self.tokens = [0, *ends[:-1]], ends[-1]

    def __len__(self) -> int:
        return int(self.tokens)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Tokens [start, stop), shape (stop - start,), int64."""
        parts = [
            shard[max(start - first, 0) : max(stop - first, 0)]
            for first, shard in zip(self.starts, self.shards, strict=True)
        ]
        return np.concatenate(parts).astype(np.int64)


def document_starts(tokens: np.ndarray, bos_id: int) -> np.ndarray:
    """Positions of BOS in `tokens` (N,); the first document starts at 0 whether or not a BOS stands there."""
    starts = np.flatnonzero(np.asarray(tokens) == bos_id)
    return starts if len(starts) and starts[0] == 0 else np.concatenate([np.zeros(1, dtype=np.int64), starts])


class SequentialLoader:
    """Sequences in the order of the file, wrapping round at the end."""

    def __init__(
        self,
        pattern: str,
        batch: int,
        seq_len: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        vocab_size: int | None = None,
    ):
        self.stream = TokenStream(find_shards(pattern), vocab_size)
        self.batch, self.seq_len, self.rank, self.world_size = batch, seq_len, rank, world_size
        self.sequences = (len(self.stream) - 1) // seq_len
        if self.sequences < 1:
            raise PipelineError(
                f"{pattern}: {len(self.stream)} tokens are fewer than TRAIN_SEQ_LEN={seq_len}; lower it"
            )
        self.generator = np.random.default_rng(seed)
        self.taken = 0  # sequences handed out so far, by all ranks

    def order(self, index: int) -> int:
        """Which sequence stands at place `index` of the endless order."""
        return index % self.sequences

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """(x, y), each (batch, seq_len) int64."""
        rows = []
        for row in range(self.batch):
            start = self.order(self.taken + row * self.world_size + self.rank) * self.seq_len
            rows.append(self.stream.read(start, start + self.seq_len + 1))
        self.taken += self.batch * self.world_size
        window = torch.from_numpy(np.stack(rows))  # (batch, seq_len + 1)
        return window[:, :-1].contiguous(), window[:, 1:].contiguous()

    def state(self) -> dict[str, int]:
        """What a checkpoint needs to go on where this loader stands."""
        return {"taken": self.taken}

    def restore(self, state: dict[str, int]) -> None:
        """Go on where `state` was taken."""
        self.taken = state["taken"]


class ShuffledLoader(SequentialLoader):
    """A fresh seeded permutation of all sequences in every epoch."""

    def __init__(
        self,
        pattern: str,
        batch: int,
        seq_len: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        vocab_size: int | None = None,
    ):
        super().__init__(pattern, batch, seq_len, seed, rank, world_size, vocab_size)
        self.seed, self.epoch = seed, -1
        self.permutation = np.zeros(0, dtype=np.int64)

    def order(self, index: int) -> int:
        """Place `index` within its epoch's permutation."""
        epoch, place = divmod(index, self.sequences)
        if epoch != self.epoch:
            self.epoch = epoch
            self.permutation = np.random.default_rng((self.seed, epoch)).permutation(self.sequences)
        return int(self.permutation[place])


class CoprimeStrideLoader(SequentialLoader):
    """Jumps of a stride coprime to the number of sequences: scattered like a shuffle, every sequence once an epoch,
    and no permutation in memory."""

    def __init__(
        self,
        pattern: str,
        batch: int,
        seq_len: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        vocab_size: int | None = None,
    ):
        super().__init__(pattern, batch, seq_len, seed, rank, world_size, vocab_size)
        self.stride = max(1, int(self.sequences * 0.618))  # near the golden section: neighbours fall far apart
        while math.gcd(self.stride, self.sequences) != 1:
            self.stride += 1
        self.offset = int(self.generator.integers(self.sequences))

    def order(self, index: int) -> int:
        """offset + index * stride modulo the number of sequences."""
        return (self.offset + index * self.stride) % self.sequences


LOADERS = {"sequential": SequentialLoader, "shuffled": ShuffledLoader, "coprime": CoprimeStrideLoader}


def make_loader(
    name: str,
    pattern: str,
    batch: int,
    seq_len: int,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    vocab_size: int | None = None,
) -> SequentialLoader:
    """The loader called `name` over the shards matching `pattern`."""
    if name not in LOADERS:
        raise PipelineError(f"LOADER={name}: unknown order; choose one of {', '.join(sorted(LOADERS))}")
    return LOADERS[name](pattern, batch, seq_len, seed, rank, world_size, vocab_size)
