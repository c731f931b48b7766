"""Parts of the whole stream of which a number of tokens is known that they end before, or begin behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.source.predictor.model import FROM, UP_TO
from auditor.source.values import CONST, EXTERNAL, TUPLE, Tags, Value, bounds, const, with_atoms

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter

FEWEST, MOST = 1024, 36_000_000  # tokens; every tokenizer's full validation text has more


def begun(value: Value) -> Value:
    """A place that a loop moves on, as it is before the loop: where that may be far into the stream, it is noted."""
    known = bounds(value)
    if known is None or known[1] is None or not FEWEST <= known[1] <= MOST:
        return value
    return with_atoms(value, frozenset((("after", known[1]),)))


def extent(run: Interpreter, index: Value) -> Tags:
    """Tags for a slice of the whole stream with known ends: constants, or set by a loop whose own end is known."""
    if index.kind == CONST and isinstance(index.payload, slice):
        start, stop = const(index.payload.start, index.atoms), const(index.payload.stop, index.atoms)
    elif index.kind == TUPLE and len(index.payload) == 4 and index.payload[0].kind == EXTERNAL:
        start, stop = index.payload[1:3]
    else:
        return frozenset()
    found = set()
    last = bounds(stop)
    loops = {atom[1] for atom in stop.atoms if atom[0] == "loop"}
    known = all(run.predictors.step_limits.get(act) for act in loops)
    if known and last is not None and last[0] >= 0 and last[1] is not None and last[1] <= MOST:
        found.add((UP_TO, last[1]))
    places = {atom[1] for atom in run.atoms_of(start) if atom[0] == "after"}
    if not places and start.kind == CONST and not any(atom[0] == "loop" for atom in start.atoms):
        places = {atom[1] for atom in begun(start).atoms if atom[0] == "after"}
    if places:
        found.add((FROM, min(places)))
    return frozenset(found)


def ends_before(learned: Tags, region: Tags) -> bool:
    """True where what was learned from ends before a region begins, as far as the numbers tell."""
    ends = [number for kind, number in learned if kind == UP_TO]
    begins = [number for kind, number in region if kind == FROM]
    return bool(ends) and bool(begins) and max(ends) <= min(begins) + 1
