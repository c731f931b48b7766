"""What happened so far: gradients taken from validation targets, losses computed for them, in one order.

An `Update` is a thing that can be learned: one backward pass through the loss of known targets, or one addition to a
table of counts. It counts from the moment a tensor that depends on it takes part in a prediction. A `Call` is one
computation of per-token losses, with what its predictor had learned at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .places import Place
from .shadow import POSITION, Shadow
from .stream import ValidationStream

MOST_EVENTS = 60_000

GRADIENT, ARITHMETIC, CACHE, STATISTICS = "gradient step", "direct update", "counts or cache", "statistics"
FOREIGN = "foreign"
FOREIGN_BIT = 1


@dataclass(slots=True, eq=False)
class Applied:
    """Where an update entered a tensor that lasts."""

    order: int
    site: Place
    calls: tuple[Place, ...]
    subject: str
    manner: str


@dataclass(slots=True, eq=False)
class Update:
    """Positions as a bit set; `rows_of` has one bit set for each row of the batch, when it is known."""

    number: int
    order: int
    site: Place
    calls: tuple[Place, ...]
    bits: int
    batch: int
    manner: str
    row_bits: tuple[int, ...] | None = None
    applied: list[Applied] = field(default_factory=list)
    row_tags: np.ndarray | None = None


@dataclass(slots=True, eq=False)
class Call:
    """One computation of per-token losses. `after` maps an update's number to (positions proved, positions possible)."""

    number: int
    order: int
    site: Place
    calls: tuple[Place, ...]
    bits: int
    gradients: bool
    after: dict[int, tuple[int, int]] = field(default_factory=dict)
    foreign: bool = False  # the predictor took in values made outside torch after tokens had left it


class History:
    """Events in order. `order` counts all of them."""

    def __init__(self, stream: ValidationStream) -> None:
        self.stream = stream
        self.order = 0
        # update 0 stands for values of unknown origin: made outside torch after validation tokens had left it
        self.updates: list[Update] = [Update(0, 0, ("", 0, ""), (), 0, 1, FOREIGN)]
        self.calls: list[Call | None] = [None]  # call 0 is no call: tags of tokens
        self.input_positions: list[int] = [0]
        self._learned: tuple[int, int] = (0, 0)
        self._perhaps: tuple[int, int] = (0, 0)
        self._rows: tuple[int, int] = (0, 0)
        self._rows_cache: dict[int, tuple[int, ...] | None] = {}

    def tick(self) -> int:
        """The next place in the order."""
        self.order += 1
        return self.order

    def new_inputs(self, positions: np.ndarray) -> int:
        """A bit for one reading of tokens at `positions`."""
        if len(self.input_positions) >= MOST_EVENTS:
            self.input_positions[-1] |= self.stream.bits(positions)
        else:
            self.input_positions.append(self.stream.bits(positions))
        return 1 << (len(self.input_positions) - 1)

    def positions_of_inputs(self, inputs: int) -> int:
        """All positions read by a set of readings, as bits."""
        total, left = 0, inputs
        while left:
            low = left & -left
            total |= self.input_positions[low.bit_length() - 1]
            left ^= low
        return total

    def new_update(
        self, tags: np.ndarray, batch: int, manner: str, site: Place, calls: tuple[Place, ...], bits: int | None = None
    ) -> int:
        """A bit for something learnable from tokens with these tags (any shape, in batch-major order)."""
        flat = tags.reshape(-1)
        if bits is None:
            bits = self.stream.bits(flat[flat >= 0] & POSITION)
        bits &= self.stream.accusable
        if len(self.updates) >= MOST_EVENTS:
            last = self.updates[-1]
            last.bits |= bits
            last.row_tags = None
            return 1 << last.number
        keep = flat.copy() if batch > 1 and flat.size and flat.size % batch == 0 else None
        self.updates.append(Update(len(self.updates), self.tick(), site, calls, bits, batch, manner, row_tags=keep))
        return 1 << (len(self.updates) - 1)

    def new_call(
        self,
        tags: np.ndarray,
        batch: int,
        predictor: Shadow | None,
        gradients: bool,
        site: Place,
        calls: tuple[Place, ...],
    ) -> Call:
        """A score call for tokens with `tags`; what the predictor had learned is looked up now."""
        flat = tags.reshape(-1)
        positions = flat[flat >= 0] & POSITION
        bits = self.stream.bits(positions)
        call = Call(len(self.calls), self.tick(), site, calls, bits, gradients)
        self.calls.append(call)
        if predictor is not None and (predictor.learned or predictor.rows or predictor.perhaps):
            self._look_back(call, flat, batch, predictor)
        return call

    def _look_back(self, call: Call, flat: np.ndarray, batch: int, predictor: Shadow) -> None:
        asked = call.bits & self.stream.accusable
        call.foreign = bool(predictor.perhaps & 1)
        self._learned = self._positions(predictor.learned, self._learned)
        if self._learned[1] & asked:
            for update in self._set(predictor.learned):
                shared = update.bits & asked
                if shared and not update.applied and update.batch > 1:
                    self._by_rows(call, update, flat, batch, shared)
                elif shared:
                    self._note(call, update, shared, 0)
        self._rows = self._positions(predictor.rows, self._rows)
        if self._rows[1] & asked:
            for update in self._set(predictor.rows & ~predictor.learned):
                if shared := update.bits & asked:
                    self._by_rows(call, update, flat, batch, shared)
        self._perhaps = self._positions(predictor.perhaps, self._perhaps)
        if self._perhaps[1] & asked:
            for update in self._set(predictor.perhaps & ~predictor.learned):
                if shared := update.bits & asked:
                    self._note(call, update, 0, shared)

    def _by_rows(self, call: Call, update: Update, flat: np.ndarray, batch: int, shared: int) -> None:
        """Row i of the batch was scored with row i of the tensor, which learned from row i of the update's batch."""
        proved = 0
        if update.row_tags is not None and batch == update.batch and flat.size % batch == 0:
            scored, learned = flat.reshape(batch, -1), update.row_tags.reshape(batch, -1)
            for mine, theirs in zip(scored, learned, strict=True):
                both = np.intersect1d(mine[mine >= 0] & POSITION, theirs[theirs >= 0] & POSITION)
                if len(both):
                    proved |= self.stream.bits(both)
        elif batch == update.batch == 1:
            proved = shared
        proved &= shared
        self._note(call, update, proved, shared & ~proved)

    @staticmethod
    def _note(call: Call, update: Update, proved: int, possible: int) -> None:
        before = call.after.get(update.number, (0, 0))
        call.after[update.number] = (before[0] | proved, before[1] | possible)

    def _set(self, bits: int) -> list[Update]:
        found = []
        while bits:
            low = bits & -bits
            found.append(self.updates[low.bit_length() - 1])
            bits ^= low
        return found

    def _positions(self, members: int, known: tuple[int, int]) -> tuple[int, int]:
        """(members, positions of all of them): continued from what was known, since sets mostly grow."""
        if known[0] & ~members:
            known = (0, 0)
        total = known[1]
        for update in self._set(members & ~known[0]):
            total |= update.bits
        return members, total
