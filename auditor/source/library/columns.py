"""Arrays put together of columns, so that a choice among columns forgets those that it never takes.

``stack((a, b, c), axis=1)`` of gains, of which one is minus infinity throughout because its gate never opens, and
``argmax`` over them: what is then picked from a second stack by that index is never of the closed column. Only stacks
of which a column is a constant, or was made by native code, are kept apart; all others are plain data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.source.values import CONST, DATA, TUPLE, Atoms, Value, const, data, join, union

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter

MAX_COLUMNS = 16
_LOWEST = float("-inf")
_KEEPING = frozenset(("copy", "astype", "clone", "to"))  # methods after which the columns are still the same


@dataclass(frozen=True, eq=False, slots=True)
class Columns:
    """The payload of an array whose last axis goes over `parts`."""

    parts: tuple[Value, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Picks:
    """The payload of an array of numbers of columns: one of `candidates` at each place."""

    candidates: tuple[int, ...]


def _array(run: Interpreter, parts: tuple[Value, ...]) -> Value:
    return Value(DATA, Columns(parts), union(map(run.atoms_of, parts)))


def is_columns(value: Value) -> bool:
    return value.kind == DATA and isinstance(value.payload, Columns)


def stacked(run: Interpreter, args: list[Value], kwargs: dict[str, Value]) -> Value | None:
    """``stack((a, b), axis=1)``; None for a stack whose columns need not be told apart."""
    axis = kwargs.get("axis", kwargs.get("dim", args[1] if len(args) > 1 else None))
    if axis is None or axis.kind != CONST or axis.payload not in (1, -1) or not args:
        return None
    parts = run.elements(args[0], limit=MAX_COLUMNS) or []
    native = any(atom[0] == "hint" for part in parts for atom in run.atoms_of(part))
    return _array(run, tuple(parts)) if len(parts) > 1 and native else None


def _over_columns(args: list[Value], kwargs: dict[str, Value]) -> bool:
    axis = kwargs.get("axis", kwargs.get("dim", args[1] if len(args) > 1 else None))
    return bool(args) and is_columns(args[0]) and axis is not None and axis.kind == CONST and axis.payload in (1, -1)


def _alive(columns: Columns) -> tuple[int, ...]:
    """Columns that a maximum may be in; where all are minus infinity it is the first."""
    return tuple(n for n, part in enumerate(columns.parts) if n == 0 or not _is_lowest(part))


def _is_lowest(part: Value) -> bool:
    return part.kind == CONST and part.payload == _LOWEST


def largest(run: Interpreter, name: str, args: list[Value], kwargs: dict[str, Value]) -> Value | None:
    """``argmax(columns, axis=1)`` and ``max(columns, axis=1)``; None for other arguments."""
    if not _over_columns(args, kwargs):
        return None
    columns: Columns = args[0].payload
    alive = _alive(columns)
    atoms = union(run.atoms_of(columns.parts[n]) for n in alive)
    return Value(DATA, Picks(alive) if name == "argmax" else None, atoms)


def where(run: Interpreter, args: list[Value]) -> Value | None:
    """``where(test, a, b)`` of which one side is never taken, or of which both sides are the same constant."""
    if len(args) != 3:
        return None
    test, one, two = args
    if test.kind == CONST and type(test.payload) is bool:
        return one if test.payload else two
    same = one.kind == two.kind == CONST and type(one.payload) is type(two.payload) and one.payload == two.payload
    return const(one.payload) if same and any(atom[0] == "hint" for atom in run.atoms_of(test)) else None


def inverted(run: Interpreter, value: Value) -> Value | None:
    """``~columns``."""
    if not is_columns(value):
        return None
    parts = [
        const(not part.payload) if part.kind == CONST and type(part.payload) is bool else data(run.atoms_of(part))
        for part in value.payload.parts
    ]
    return _array(run, tuple(parts))


def kept(value: Value, name: str, atoms: Atoms) -> Value | None:
    """The result of a method after which the columns are the same."""
    if value.kind == DATA and isinstance(value.payload, Columns | Picks) and name in _KEEPING:
        return Value(DATA, value.payload, atoms)
    return None


def item(run: Interpreter, container: Value, index: Value, found: Value) -> Value:
    """``container[index]``, which is `found` but for what the columns say."""
    if container.kind != DATA:
        return found
    if isinstance(container.payload, Picks) and found.kind == DATA:
        return Value(DATA, container.payload, found.atoms, found.base, found.attr)
    last = index.payload[-1] if index.kind == TUPLE and index.payload else index
    if isinstance(container.payload, Columns) and last.kind == DATA and isinstance(last.payload, Picks):
        parts = container.payload.parts
        chosen = union(run.atoms_of(parts[n]) for n in last.payload.candidates if n < len(parts))
        return data(chosen | run.atoms_of(index))
    return found


def overwritten(run: Interpreter, container: Value, index: Value, value: Value) -> Value | None:
    """``columns[mask] = constant`` where the mask has the same columns: what the container is afterwards."""
    if not (is_columns(container) and is_columns(index)) or value.kind != CONST:
        return None
    parts, masks = container.payload.parts, index.payload.parts
    if len(parts) != len(masks):
        return None
    new = []
    for part, mask in zip(parts, masks, strict=True):
        decided = mask.payload if mask.kind == CONST and type(mask.payload) is bool else None
        either = join(part, data(run.atoms_of(value) | run.atoms_of(mask)))
        new.append(value if decided else part if decided is False else either)
    return _array(run, tuple(new))
