"""Comparisons: of constants, of ranges, of losses, of the clock with a limit."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from auditor.source import native, scaling
from auditor.source.interpreter import limits
from auditor.source.library import containers, tensors
from auditor.source.predictor import mixing
from auditor.source.values import (
    CLASS,
    CONST,
    FORMAT,
    FUNCTION,
    NOTHING,
    OBJECT,
    RANGE,
    TUPLE,
    Frame,
    Value,
    bounds,
    const,
    data,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def comparison(run: Interpreter, node: ast.Compare, frame: Frame) -> Value:
    left = run.value(node.left, frame)
    outcome: bool | None = True
    atoms = NOTHING
    for op, right_node in zip(node.ops, node.comparators, strict=True):
        right = run.value(right_node, frame)
        decided = _compare_one(run, op, left, right)
        if decided is False or native.never_above(left, op, right):
            return const(False, left.atoms | right.atoms)
        if decided is None:
            outcome = None
        one, two = run.atoms_of(left), run.atoms_of(right)
        atoms |= native.compared(left, right, one | two) | limits.asked(run, op, left, right)
        if run.live and ("clock",) in one | two:
            _note_time_limit(run, left, right)
        elif run.live and right.kind == CONST and type(right.payload) is int:
            for act in {atom[1] for atom in one if atom[0] == "loop" and atom[1] in run.live}:
                run.predictors.step_limits.setdefault(act, set()).add(right.payload)
        if isinstance(op, ast.Eq | ast.NotEq) and run.predictors.stored_answers(one, two):
            atoms |= {("answers", run.predictors.site_number())}
        if isinstance(op, ast.Eq | ast.NotEq):
            mixing.note_guess(run, one, two)
        if CONST in (left.kind, right.kind) or isinstance(op, ast.In | ast.NotIn):
            mixing.note_gate(run, one | two)
        if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) and ("picked",) in one and ("picked",) in two:
            piecewise = any(atom[0] == "val" and any(tag[0] in run.live for tag in atom[1]) for atom in one | two)
            atoms |= {("ranked", run.predictors.site_number(), piecewise)}
        left = right
    if outcome is True:
        return const(True, atoms)
    return data(tensors.positions(run.predictors.compared(scaling.without(atoms))))


def _note_time_limit(run: Interpreter, left: Value, right: Value) -> None:
    """Note a time that a loop compares its clock with: a known number of seconds or milliseconds, else None."""
    limit = next((side for side in (left, right) if ("clock",) not in run.atoms_of(side)), None)
    if limit is None:
        return
    known = limit.kind == CONST and isinstance(limit.payload, int | float)
    number = float(limit.payload) if known else None
    for act in run.live:
        run.predictors.time_limits.setdefault(act, set()).add(number)


def _compare_one(run: Interpreter, op: ast.cmpop, left: Value, right: Value) -> bool | None:
    if isinstance(op, ast.In | ast.NotIn):
        inside = containers.contains(run, right, left)
        return None if inside is None else inside == isinstance(op, ast.In)
    if isinstance(op, ast.Is | ast.IsNot):
        same_thing = _identical(left, right)
        return None if same_thing is None else same_thing == isinstance(op, ast.Is)
    if left.kind == CONST and right.kind == CONST:
        try:
            return bool(_COMPARISONS[type(op)](left.payload, right.payload))
        except Exception:
            return None
    one, two = bounds(left), bounds(right)
    if one is None or two is None:
        return None
    return _compare_ranges(op, one, two)


def _identical(left: Value, right: Value) -> bool | None:
    if left.kind == CONST and right.kind == CONST:
        return left.payload is right.payload or left.payload == right.payload
    for one, two in ((left, right), (right, left)):
        if one.kind == CONST and one.payload is None and two.kind in (OBJECT, FUNCTION, CLASS, TUPLE, FORMAT, RANGE):
            return False
    if left.kind == OBJECT and right.kind == OBJECT:
        return left.payload is right.payload
    return None


_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _compare_ranges(op: ast.cmpop, one: tuple[int, int | None], two: tuple[int, int | None]) -> bool | None:
    below = one[1] is not None and one[1] < two[0]
    above = two[1] is not None and two[1] < one[0]
    not_above = one[1] is not None and one[1] <= two[0]
    not_below = two[1] is not None and two[1] <= one[0]
    if isinstance(op, ast.Eq):
        return False if below or above else None
    if isinstance(op, ast.NotEq):
        return True if below or above else None
    if isinstance(op, ast.Lt):
        return True if below else (False if not_below else None)
    if isinstance(op, ast.LtE):
        return True if not_above else (False if above else None)
    if isinstance(op, ast.Gt):
        return True if above else (False if not_above else None)
    if isinstance(op, ast.GtE):
        return True if not_below else (False if below else None)
    return None
