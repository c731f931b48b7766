"""The suffix swap: change the tokens after position t, run again, and no loss up to t may move.

A rule-abiding score of position i depends on the artifact and on tokens before i (and on x_i itself). Two runs with
the same seeds, one thread and a virtual clock are equal bit by bit up to the swap when that holds; a loss that moves
names a position whose prediction knew a later token. A third run, equal to the first in everything, tells whether the
script repeats itself at all: where it does not, nothing is concluded.

The distribution test comes with it. The first token that is changed, x_t, has the same tokens before it in both runs:
the distribution that its probability is taken from, where the tracer saw the whole of it, must be the same.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auditor.run.printed import shape

MOVED_NATS = 1e-6  # a loss that moves by less may be another order of the same sums
PROVED_POSITIONS = 2  # fewer are told, and left to a person
MOVED_MARK = 1e-3  # of a row's mark, nats: a distribution that knows its target moves by far more
SUMS_TO_ONE = 0.05  # log-probabilities in bf16 are off by as much
WHERE = 0.61  # of the stream: inside a chunk and a window, whatever their sizes

Losses = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SuffixSwap:
    """What moved. `first` is the first position before the swap whose loss moved (-1: none), `compared` how many
    positions both runs scored, `repeats` whether an equal run gave equal losses (None: it was not needed)."""

    after: int
    compared: int
    moved: int
    first: int
    largest: float
    repeats: bool | None = None
    target: int = -1  # the first position whose token was changed; -1 where its distribution was not seen in both runs
    target_moved: bool = False  # whether the distribution for it was another one

    @property
    def proves(self) -> bool:
        """Whether later tokens certainly reached earlier losses."""
        return self.repeats is True and self.moved >= PROVED_POSITIONS

    @property
    def clean(self) -> bool:
        return self.compared > 0 and self.moved == 0


def swap_position(length: int) -> int:
    """Where to swap in a stream of `length` tokens: an odd position, so that it is no boundary of anything."""
    return int(WHERE * length) | 1


def losses_of(records: Iterable[Mapping[str, object]], line: str, length: int, what: str = "values") -> Losses | None:
    """The losses, (length,) with NaN where unknown, behind the last printed line like `line`, figures aside.

    With `what` "marks": of the rows they were taken from; "mass": what these rows' probabilities sum to.
    """
    found = None
    for record in records:
        if record.get("kind") != "losses" or shape(str(record.get("line"))) != shape(line):
            continue
        text = record.get(what)
        try:
            content = base64.b64decode(text if isinstance(text, str) else "", validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(content) == 8 * length:
            found = np.frombuffer(content, "<f8")
    return found


def compare(first: Losses, second: Losses, after: int) -> SuffixSwap:
    """Losses of two runs, both (length,), whose text differs behind `after` only."""
    before = slice(1, after + 1)
    both = ~np.isnan(first[before]) & ~np.isnan(second[before])
    change = np.abs(np.where(both, first[before] - second[before], 0.0))
    moved = np.flatnonzero(change > MOVED_NATS)
    return SuffixSwap(
        after=after,
        compared=int(both.sum()),
        moved=len(moved),
        first=int(moved[0]) + 1 if len(moved) else -1,
        largest=float(change.max(initial=0.0)),
    )


def compare_target(
    found: SuffixSwap, first: Losses, second: Losses, tokens: NDArray[np.uint16], changed: NDArray[np.uint16]
) -> SuffixSwap:
    """`found` with the distribution test, from the marks of both runs and their tokens, each (length,)."""
    different = np.flatnonzero(tokens != changed)
    if not len(different) or np.isnan(first[different[0]]) or np.isnan(second[different[0]]):
        return found
    target = int(different[0])
    return replace(found, target=target, target_moved=bool(abs(first[target] - second[target]) > MOVED_MARK))


def same(first: Losses, second: Losses, after: int) -> bool:
    """Whether two equal runs agree up to `after`."""
    return compare(first, second, after).moved == 0
