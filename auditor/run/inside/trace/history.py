"""What happened so far: gradients taken from validation targets, losses computed for them, in one order.

An `Update` is a thing that can be learned: one backward pass through the loss of known targets, or one addition to a
table of counts. It counts from the moment a tensor that depends on it takes part in a prediction. A `Call` is one
computation of per-token losses, with what its predictor had learned at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .places import Place
from .shadow import CALL, POSITION, Shadow
from .stream import ValidationStream

MOST_EVENTS = 60_000
MOST_LOOKED_AT = 1000  # updates that one score call is compared with

GRADIENT, ARITHMETIC, CACHE, STATISTICS = "gradient step", "direct parameter update", "counts or cache", "statistics"
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
    """`bits` are positions; `row_tags` the tags of its targets, batch-major, where the batch had rows."""

    number: int
    order: int
    site: Place
    calls: tuple[Place, ...]
    bits: int
    batch: int
    manner: str
    applied: list[Applied] = field(default_factory=list)
    row_tags: np.ndarray | None = None


@dataclass(slots=True, eq=False)
class Call:
    """One computation of per-token losses. `after`: for an update's number (positions proved, positions possible)."""

    number: int
    order: int
    site: Place
    calls: tuple[Place, ...]
    bits: int
    gradients: bool
    after: dict[int, tuple[int, int]] = field(default_factory=dict)
    rows: int = 1  # numbers that this call has, its own included: one for each row of the batch
    selected: bool = False  # no computation of losses: one of several was kept for each token
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
        self.of_batch: dict[int, int] = {}  # updates by the rows of their batch, where these are more than one
        self._learned: tuple[int, int] = (0, 0)
        self._perhaps: tuple[int, int] = (0, 0)
        self._rows: tuple[int, int] = (0, 0)

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
        bit = 1 << (len(self.updates) - 1)
        if batch > 1:
            self.of_batch[batch] = self.of_batch.get(batch, 0) | bit
        return bit

    def new_call(
        self,
        tags: np.ndarray,
        batch: int,
        predictor: Shadow | None,
        gradients: bool,
        site: Place,
        calls: tuple[Place, ...],
    ) -> int:
        """A score call for tokens with `tags`; what the predictor had learned is looked up now.

        Returns the call's number. Where rows of the batch may have learned different things each row is a call of its
        own: the next `rows_of_call(number) - 1` numbers are those of the other rows.
        """
        flat = tags.reshape(-1)
        learned = predictor is not None and (predictor.learned or predictor.rows or predictor.perhaps)
        rows = flat.reshape(batch, -1) if learned and batch > 1 and flat.size % batch == 0 else flat.reshape(1, -1)
        number = len(self.calls)
        order = self.tick()
        for index, row in enumerate(rows):
            bits = self.stream.bits(row[row >= 0] & POSITION)
            call = Call(len(self.calls), order, site, calls, bits, gradients, rows=len(rows) if not index else 1)
            self.calls.append(call)
            if learned and predictor is not None:
                self._look_back(call, row, index, len(rows), predictor)
        return number

    def rows_of_call(self, number: int) -> int:
        """How many numbers a call has: one for each row of its batch, or one."""
        call = self.calls[number]
        return call.rows if call is not None else 1

    def new_choice(self, tags: np.ndarray, site: Place, calls: tuple[Place, ...]) -> Call:
        """A call that stands for keeping one of several losses of each token; it knows what all of them had learned."""
        bits = self.stream.bits(tags & POSITION)
        choice = Call(len(self.calls), self.tick(), site, calls, bits, False, selected=True)
        self.calls.append(choice)
        for number in np.unique(tags // CALL).tolist():
            call = self.calls[number]
            for update, (proved, possible) in (call.after if call is not None else {}).items():
                self._note(choice, self.updates[update], 0, (proved | possible) & bits)
        return choice

    def learned_positions(self, shadow: Shadow) -> int:
        """All positions that a tensor has certainly learned from, as bits."""
        total = 0
        for update in self.members(shadow.learned | shadow.rows):
            total |= update.bits
        return total

    def _look_back(self, call: Call, row: np.ndarray, index: int, batch: int, predictor: Shadow) -> None:
        asked = call.bits & self.stream.accusable
        call.foreign = bool(predictor.perhaps & FOREIGN_BIT)
        self._learned = self._positions(predictor.learned, self._learned)
        if self._learned[1] & asked:
            for update in self.newest(predictor.learned):
                shared = update.bits & asked
                if shared and not update.applied and update.batch > 1:
                    self._by_row(call, update, row, index, batch, shared)
                elif shared:
                    self._note(call, update, shared, 0)
        self._rows = self._positions(predictor.rows, self._rows)
        if self._rows[1] & asked:
            for update in self.newest(predictor.rows & ~predictor.learned):
                if shared := update.bits & asked:
                    self._by_row(call, update, row, index, batch, shared)
        self._perhaps = self._positions(predictor.perhaps, self._perhaps)
        if self._perhaps[1] & asked:
            for update in self.newest(predictor.perhaps & ~predictor.learned):
                if shared := update.bits & asked:
                    self._note(call, update, 0, shared)

    def _by_row(self, call: Call, update: Update, row: np.ndarray, index: int, batch: int, shared: int) -> None:
        """Row i of the batch was scored with row i of the tensor, which learned from row i of the update's batch."""
        proved = 0
        if update.batch == batch and batch > 1 and update.row_tags is not None:
            theirs = update.row_tags.reshape(batch, -1)[index]
            both = np.intersect1d(row[row >= 0] & POSITION, theirs[theirs >= 0] & POSITION)
            proved = self.stream.bits(both) & shared
        self._note(call, update, proved, shared & ~proved)

    @staticmethod
    def _note(call: Call, update: Update, proved: int, possible: int) -> None:
        before = call.after.get(update.number, (0, 0))
        call.after[update.number] = (before[0] | proved, before[1] | possible)

    def learned_before(self, tags: np.ndarray) -> tuple[int, int]:
        """How many of these losses were certainly, and how many perhaps, computed after learning from their targets."""
        sure = unsure = 0
        for number in np.unique(tags // CALL).tolist():
            call = self.calls[number]
            if call is None or not call.after:
                continue
            mine = self.stream.bits(tags[tags // CALL == number] & POSITION)
            proved = possible = 0
            for some, others in call.after.values():
                proved |= some
                possible |= others
            sure += (proved & mine).bit_count()
            unsure += (possible & ~proved & mine).bit_count()
        return sure, unsure

    def newest(self, bits: int) -> list[Update]:
        """The newest updates of a set, at most MOST_LOOKED_AT."""
        if bits.bit_count() <= MOST_LOOKED_AT:
            return self.members(bits)
        found = []
        while len(found) < MOST_LOOKED_AT:
            high = bits.bit_length() - 1
            found.append(self.updates[high])
            bits ^= 1 << high
        return found

    def members(self, bits: int) -> list[Update]:
        """The updates in a set."""
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
        for update in self.members(members & ~known[0]):
            total |= update.bits
        return members, total
