"""Binary operators: constants are folded, loop variables are moved to other iterations."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from auditor.source import native, scaling, scoring
from auditor.source.library import sequences
from auditor.source.predictor import mixing
from auditor.source.values import (
    CLASS,
    CONST,
    DATA,
    FORMAT,
    MEASURED,
    OBJECT,
    RANGE,
    UNKNOWN,
    Frame,
    Value,
    bounds,
    const,
    kinds,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


_OF_NUMBERS = ast.Sub | ast.Mult | ast.FloorDiv | ast.Pow  # no path of a file is the result of these


def binary_operation(run: Interpreter, node: ast.BinOp, frame: Frame) -> Value:
    if isinstance(node.left, ast.Subscript) and _is_rotation(node):
        whole = run.value(node.left.value, frame)
        if whole.kind == OBJECT and whole.payload.kind == "list":
            return whole
    left = run.value(node.left, frame)
    right = run.value(node.right, frame)
    run.line = node.lineno
    return run.binary(node.op, left, right)


def binary(run: Interpreter, op: ast.operator, left: Value, right: Value) -> Value:
    """``left op right``. A loop variable moved by whole steps belongs to another iteration."""
    for value in (left, right):
        if value.atoms and "index" in kinds(value.atoms):
            left, right = _shifted(run, op, left, right)
            break
    result = _binary(run, op, left, right)
    if isinstance(op, ast.Mod) and "loop" in kinds(result.atoms):
        kept = frozenset(atom for atom in result.atoms if atom[0] != "loop")  # different iterations may meet
        return Value(result.kind, result.payload, kept, result.base, result.attr)
    if ("next",) in result.atoms:  # places moved from there are others
        result = Value(result.kind, result.payload, result.atoms - {("next",)}, result.base, result.attr)
    if isinstance(op, ast.Sub) and result.atoms:
        shared = {atom[1] for atom in left.atoms if atom[0] == "loop"}
        shared &= {atom[1] for atom in right.atoms if atom[0] == "loop"}
        if shared:  # a distance between two places of one iteration is a length
            kept = frozenset(atom for atom in result.atoms if atom[0] != "loop" or atom[1] not in shared)
            return Value(result.kind, result.payload, kept | MEASURED, result.base, result.attr)
    return result


def _shifted(run: Interpreter, op: ast.operator, left: Value, right: Value) -> tuple[Value, Value]:
    """The operands of an operation on a loop variable, with the iteration that the result belongs to."""
    moved = []
    for value, other in ((left, right), (right, left)):
        marks = [atom for atom in value.atoms if atom[0] == "index"]
        if not marks:
            moved.append(value)
            continue
        atoms = value.atoms.difference(marks)
        by = other.payload if other.kind == CONST and type(other.payload) is int else None
        additive = isinstance(op, ast.Add) or (isinstance(op, ast.Sub) and value is left)
        if additive and by is not None and len(marks) == 1 and by % marks[0][2] == 0:
            _, act, pace = marks[0]
            steps = by // pace if isinstance(op, ast.Add) else -(by // pace)
            atoms = frozenset(
                ("loop", act, atom[2] + steps) if atom[0] == "loop" and atom[1] == act else atom for atom in atoms
            ) | {marks[0]}
        moved.append(Value(value.kind, value.payload, atoms, value.base, value.attr))
    return moved[0], moved[1]


def _binary(run: Interpreter, op: ast.operator, left: Value, right: Value) -> Value:
    if left.kind == CONST and right.kind == CONST:
        folded = _fold(op, left.payload, right.payload)
        if folded is not None:
            return const(folded, left.atoms | right.atoms)
    if isinstance(op, ast.Add):
        joined = sequences.concatenate(run, left, right)
        if joined is not None:
            return joined
    if isinstance(op, ast.Mult) and left.kind == OBJECT and left.payload.kind == "list":
        return sequences.repeated(run, left)
    if left.kind == CLASS or right.kind == CLASS:
        return UNKNOWN
    if isinstance(op, ast.Div) and (path := native.joined_path(left, right)) is not None:
        return path
    if isinstance(op, ast.BitAnd) and any(side.kind == CONST and side.payload is False for side in (left, right)):
        return const(False)
    one, two = bounds(left), bounds(right)
    if one is not None and two is not None:
        ranged = _range_arithmetic(op, one, two)
        if ranged is not None:
            return Value(RANGE, ranged, left.atoms | right.atoms)
    if isinstance(op, ast.Mod) and left.kind == CONST and isinstance(left.payload, str):
        return Value(FORMAT, (left.payload, right), left.atoms)
    operands = [run.atoms_of(left), run.atoms_of(right)]
    atoms = run.predictors.combined(operands, op)
    atoms = mixing.spread(run.predictors, op, atoms, *operands)
    if isinstance(op, ast.Div) and right.kind != CONST:
        atoms = mixing.divided(run.predictors, atoms, *operands)
    if isinstance(op, _OF_NUMBERS):
        atoms = frozenset(atom for atom in atoms if atom[0] != "path")
    masked = isinstance(op, ast.BitAnd) and (left.kind == CONST or right.kind == CONST)
    if (masked or isinstance(op, ast.BitXor | ast.Mod)) and "val" in kinds(atoms):
        atoms = mixing.hashed(atoms)
    atoms = scaling.changed(run, op, left, right, atoms)
    return Value(DATA, scoring.combination(op, left, right), atoms)


def _is_rotation(node: ast.BinOp) -> bool:
    """True for ``x[k:] + x[:k]``: all of x, beginning elsewhere."""
    left, right = node.left, node.right
    if not (
        isinstance(node.op, ast.Add)
        and isinstance(left, ast.Subscript)
        and isinstance(right, ast.Subscript)
        and isinstance(left.slice, ast.Slice)
        and isinstance(right.slice, ast.Slice)
        and left.slice.lower is not None
        and right.slice.upper is not None
    ):
        return False
    ends = (left.slice.upper, left.slice.step, right.slice.lower, right.slice.step)
    return (
        ends == (None, None, None, None)
        and ast.dump(left.value) == ast.dump(right.value)
        and ast.dump(left.slice.lower) == ast.dump(right.slice.upper)
    )


_MAX_TEXT = 1 << 16
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}


def _fold(op: ast.operator, left: Any, right: Any) -> Any:
    """The constant result of `left op right`; None where it is not a constant, or too large to be worth it."""
    function = _OPERATORS.get(type(op))
    if function is None:
        return None
    if isinstance(op, ast.Pow | ast.LShift) and not (
        isinstance(right, int | float) and abs(right) <= 128 and isinstance(left, int | float) and abs(left) <= 1e9
    ):
        return None
    if isinstance(op, ast.Mult) and (isinstance(left, str | bytes | tuple) or isinstance(right, str | bytes | tuple)):
        count = right if isinstance(right, int) else left
        size = len(left) if not isinstance(left, int | float) else len(right)
        if not isinstance(count, int) or count * size > _MAX_TEXT:
            return None
    try:
        result = function(left, right)
    except Exception:
        return None
    if isinstance(result, int) and result.bit_length() > 4096:
        return None
    return result


def _range_arithmetic(
    op: ast.operator, one: tuple[int, int | None], two: tuple[int, int | None]
) -> tuple[int, int | None] | None:
    if isinstance(op, ast.Add):
        return one[0] + two[0], None if one[1] is None or two[1] is None else one[1] + two[1]
    if isinstance(op, ast.Sub) and two[1] is not None:
        return one[0] - two[1], None if one[1] is None else one[1] - two[0]
    if isinstance(op, ast.Mult) and one[0] >= 0 and two[0] >= 0:
        return one[0] * two[0], None if one[1] is None or two[1] is None else one[1] * two[1]
    return None
