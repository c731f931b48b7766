"""The validation stream as the tracer knows it: its tokens, and where a run of tokens comes from.

Identity by content is the law here: a run of tokens that occurs once in the stream names its positions, whatever path
it took (numpy, C, threads, files). Runs are so long that even shorter ones hardly repeat by chance. Positions count
from 0 at the stream's first token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

GRAMS = (8, 12, 16, 24)  # lengths of runs to choose from; the longest where text repeats itself whatever is taken
SPARE = 4  # a run is longer by so much than the longest that repeats, so that other text does not have it by chance
HEADER_WORDS = 256
MAGIC = 20240520
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class ValidationStream:
    """Tokens of all validation files in path order, (length,), and an index of the runs that occur once."""

    def __init__(self, tokens: np.ndarray, bos: int = 1) -> None:
        self.tokens = np.asarray(tokens, np.int64).reshape(-1)
        self.length = len(self.tokens)
        self.accusable = self._bits(self.tokens != bos)  # a BOS says where a document starts, which all may know
        self.gram = next((gram for gram in GRAMS[:-1] if _all_differ(self.tokens, gram - SPARE)), GRAMS[-1])
        hashes = _gram_hashes(self.tokens, self.gram)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        once = np.ones(len(ordered), bool)
        if len(ordered) > 1:
            same = ordered[1:] == ordered[:-1]
            once[1:] &= ~same
            once[:-1] &= ~same
        self._hashes, self._starts = ordered[once], order[once]
        self._repeats = not bool(once.all())

    @classmethod
    def read(cls, paths: Iterable[str], bos: int = 1) -> ValidationStream:
        """From shards in the challenge's format; byte sidecars and unreadable files are left out."""
        # one file may be named by several paths; each content counts once
        shards = {part.tobytes(): part for path in sorted(paths) if (part := _shard(Path(path))) is not None}
        parts = list(shards.values())
        return cls(np.concatenate(parts) if parts else np.zeros(0, np.int64), bos)

    def identify(self, values: np.ndarray) -> np.ndarray | None:
        """Positions of integer `values` (n,) in the stream, (n,) int64 with -1 where unknown; None when all are."""
        count = len(values)
        if count < self.gram or not len(self._hashes):
            return None
        hashes = _gram_hashes(values, self.gram)
        places = np.searchsorted(self._hashes, hashes)
        places[places == len(self._hashes)] = 0
        hits = np.flatnonzero(self._hashes[places] == hashes)
        if not len(hits):
            return None
        starts = self._starts[places[hits]]
        positions = np.full(count, -1, np.int64)
        for offset in range(self.gram):
            positions[hits + offset] = starts + offset
        if self._repeats:
            self._extend(np.asarray(values, np.int64), positions)
        return positions

    def _extend(self, values: np.ndarray, positions: np.ndarray) -> None:
        """Follow identified runs forward and backward, token by token, into runs that occur more than once."""
        for step in (1, -1):
            order = range(1, len(values)) if step == 1 else range(len(values) - 2, -1, -1)
            for i in order:
                before = positions[i - step]
                if positions[i] < 0 <= before:
                    candidate = before + step
                    if 0 <= candidate < self.length and self.tokens[candidate] == values[i]:
                        positions[i] = candidate

    def bits(self, positions: np.ndarray) -> int:
        """A set of positions as an integer: bit p stands for position p. Negative positions are left out."""
        mark = np.zeros(self.length, bool)
        mark[positions[(positions >= 0) & (positions < self.length)]] = True
        return self._bits(mark)

    def positions(self, bits: int) -> np.ndarray:
        """The sorted positions in a set."""
        raw = np.frombuffer(bits.to_bytes(self.length // 8 + 1, "little"), np.uint8)
        return np.flatnonzero(np.unpackbits(raw, bitorder="little"))

    @staticmethod
    def _bits(mark: np.ndarray) -> int:
        return int.from_bytes(np.packbits(mark, bitorder="little").tobytes(), "little")


def intervals(positions: Sequence[int] | np.ndarray, most: int = 64) -> list[list[int]]:
    """Sorted positions as at most `most` closed intervals [first, last]; the nearest are merged when there are more."""
    array = np.unique(np.asarray(positions, np.int64))
    if not len(array):
        return []
    cuts = np.flatnonzero(np.diff(array) > 1)
    if len(cuts) >= most:
        gaps = array[cuts + 1] - array[cuts]
        cuts = np.sort(cuts[np.argsort(gaps, kind="stable")[len(cuts) - most + 1 :]])
    firsts = array[np.concatenate(([0], cuts + 1))]
    lasts = array[np.concatenate((cuts, [len(array) - 1]))]
    return [[int(first), int(last)] for first, last in zip(firsts, lasts, strict=True)]


def _all_differ(tokens: np.ndarray, gram: int) -> bool:
    """Whether no run of `gram` tokens occurs twice."""
    hashes = np.sort(_gram_hashes(tokens, gram))
    return not bool((hashes[1:] == hashes[:-1]).any())


def _gram_hashes(values: np.ndarray, gram: int) -> np.ndarray:
    """A 64-bit hash of each run of `gram` values, (n - gram + 1,)."""
    words = np.asarray(values).astype(np.int64).view(np.uint64)
    count = len(words) - gram + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    total = np.zeros(count, np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(gram):
            total = (total + words[offset : offset + count] + np.uint64(1)) * _MULTIPLIER
            total ^= total >> np.uint64(29)
    return total


def _shard(path: Path) -> np.ndarray | None:
    if path.suffix != ".bin" or "bytes" in path.name:
        return None
    try:
        header = np.fromfile(path, "<i4", HEADER_WORDS)
        if len(header) < HEADER_WORDS or header[0] != MAGIC:
            return None
        return np.fromfile(path, "<u2", offset=4 * HEADER_WORDS).astype(np.int64)
    except OSError:
        return None
