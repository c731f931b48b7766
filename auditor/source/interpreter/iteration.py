"""Members of collections and the marks of the iteration that took them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from auditor.source.library import containers, sequences
from auditor.source.values import (
    CHOICE,
    CONST,
    OBJECT,
    OF_REGIONS,
    RANGE,
    TUPLE,
    UNKNOWN,
    Atoms,
    Value,
    bounds,
    const,
    data,
    join,
    kinds,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


UNROLL = 12  # known collections up to this length are walked element by element


def elements(run: Interpreter, value: Value, limit: int = UNROLL) -> list[Value] | None:
    """The elements of a collection whose members are all known, else None."""
    if value.kind == TUPLE:
        return list(value.payload) if len(value.payload) <= limit else None
    if value.kind == CONST and isinstance(value.payload, str | bytes | tuple | list):
        return [const(item, value.atoms) for item in value.payload] if len(value.payload) <= limit else None
    if value.kind == OBJECT:
        known = containers.known_elements(run, value.payload, limit)
        return known if known is None else [with_atoms(item, value.atoms) for item in known]
    return None


def element(run: Interpreter, value: Value) -> Value:
    """A value that stands for any element of `value`."""
    if value.kind == TUPLE:
        result = value.payload[0] if value.payload else UNKNOWN
        for part in value.payload[1:]:
            result = join(result, part)
        return with_atoms(result, value.atoms)
    if value.kind == CHOICE:
        result = run.element(value.payload[0])
        for option in value.payload[1:]:
            result = join(result, run.element(option))
        return with_atoms(result, value.atoms)
    if value.kind == OBJECT:
        return with_atoms(sequences.any_element(run, value), value.atoms)
    if value.kind == CONST:
        return data(value.atoms)
    return data(value.atoms, value.base, value.attr)


def iterations(run: Interpreter, iterable: Value) -> int:
    """How many iterations stand for a loop: 0, 1 or 2."""
    if iterable.kind == OBJECT and iterable.payload.kind == "range":
        start, stop, step = iterable.payload.cells[".bounds"]
        low, high, pace = bounds(start), bounds(stop), bounds(step)
        if low and high and pace and pace[0] == pace[1] and pace[0] > 0 and low[0] == low[1]:
            if high[1] is not None and high[1] <= low[0]:
                return 0
            if high[1] is not None and high[1] <= low[0] + pace[0]:
                return 1
    return 2


def pace(run: Interpreter, iterable: Value) -> int:
    """By how much a range's variable moves from one iteration to the next; 0 where that is not known."""
    if iterable.kind == OBJECT and iterable.payload.kind == "range":
        step = bounds(iterable.payload.cells[".bounds"][2])
        if step is not None and step[0] == step[1]:
            return step[0]
    return 0


def iteration_value(run: Interpreter, iterable: Value, item: Value, k: int) -> Value:
    """The loop variable in iteration k: the first value of a range is known, a later one is larger."""
    if iterable.kind == OBJECT and iterable.payload.kind == "range":
        start, stop, step = iterable.payload.cells[".bounds"]
        low, high, pace = bounds(start), bounds(stop), bounds(step)
        atoms = sequences.members_of_a_range(run, start.atoms, stop.atoms)
        if low and pace and low[0] == low[1] and pace[0] == pace[1] and pace[0] > 0:
            if k == 0:
                return const(low[0], atoms)
            last = None if high is None or high[1] is None else high[1] - 1
            return Value(RANGE, (low[0] + pace[0], last), atoms)
        return data(atoms)
    if iterable.kind == OBJECT and iterable.payload.kind == "enumerate" and item.kind == TUPLE:
        index = const(0) if k == 0 else Value(RANGE, (1, None))
        return Value(TUPLE, (index, *item.payload[1:]), item.atoms)
    return item


def tagged(run: Interpreter, value: Value, act: int, k: int) -> Value:
    """`value` as taken by iteration k: it depends on the loop, and validation tokens in it are this iteration's."""
    if value.kind == TUPLE:
        return Value(TUPLE, tuple(run.tagged(part, act, k) for part in value.payload), value.atoms)
    found = run.marked(value, act, k)
    atoms = run.refine(found.atoms, frozenset(((act, k),)))
    return Value(value.kind, value.payload, atoms, value.base, value.attr)


def marked(run: Interpreter, value: Value, act: int, k: int) -> Value:
    """`value` as it is in iteration k, whatever iteration it was computed from."""
    if value.kind == TUPLE:
        return Value(TUPLE, tuple(run.marked(part, act, k) for part in value.payload), value.atoms)
    kept = frozenset(atom for atom in value.atoms if atom[0] != "loop" or atom[1] != act)
    return Value(value.kind, value.payload, kept | {("loop", act, k)}, value.base, value.attr)


def refine(run: Interpreter, atoms: Atoms, tags: frozenset[tuple[int, int]]) -> Atoms:
    if not tags or "val" not in kinds(atoms):
        return atoms
    return frozenset((atom[0], atom[1] | tags, *atom[2:]) if atom[0] in OF_REGIONS else atom for atom in atoms)


def index_tags(run: Interpreter, atoms: Atoms) -> frozenset[tuple[int, int]]:
    return frozenset((atom[1], atom[2]) for atom in atoms if atom[0] == "loop" and atom[1] in run.live)


def settle(run: Interpreter, value: Value) -> Value:
    """Forget loops that have ended: what they took piece by piece is now the whole."""
    if len(value.atoms) <= 10:
        return value
    kept = frozenset(_settled(run, value.atoms))
    return value if kept == value.atoms else Value(value.kind, value.payload, kept, value.base, value.attr)


def _settled(run: Interpreter, atoms: Atoms) -> Iterator[tuple[Any, ...]]:
    live = run.live
    for atom in atoms:
        if atom[0] == "loop":
            if atom[1] in live:
                yield atom
        elif atom[0] in OF_REGIONS:
            yield (atom[0], frozenset(tag for tag in atom[1] if tag[0] in live or tag[0] < 0), *atom[2:])
        else:
            yield atom
