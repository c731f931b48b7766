"""Loops over the validation text that are left before its end: by the clock, or at a constant number of pieces."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.scan import calls_something
from auditor.source.values import CONST, DATA, NOTHING, RANGE, Atoms, Frame, Value, kinds, regions, with_atoms

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter

# Tokens; every tokenizer's full validation text has more, and no count of windows or documents reaches as far.
_LARGEST = 36_000_000
_OF_COUNTS = frozenset("loop index measure rank pos setting clock".split())  # kinds of what counts pieces of a text
_BEYOND: dict[type[ast.cmpop], bool] = {
    ast.Gt: True, ast.GtE: True, ast.Eq: True, ast.Lt: False, ast.LtE: False,
}  # fmt: skip


def asked(run: Interpreter, op: ast.cmpop, left: Value, right: Value) -> Atoms:
    """A mark where the count of a loop under way is compared with a constant; it says which side of it is asked for."""
    beyond = _BEYOND.get(type(op))
    if beyond is None or not run.live:
        return NOTHING
    if left.kind == CONST and not isinstance(op, ast.Eq):
        left, right, beyond = right, left, not beyond
    known = right.kind == CONST and type(right.payload) in (int, float) and 2 <= right.payload < _LARGEST
    if not known or left.kind not in (DATA, RANGE):
        return NOTHING
    counted = run.atoms_of(left)
    if not kinds(counted) <= _OF_COUNTS:
        return NOTHING
    acts = {atom[1] for atom in counted if atom[0] in ("loop", "index")}
    act = next((act for act in reversed(run.live) if act in acts), None)
    if act is None or (isinstance(op, ast.Eq) and run.predictors.step_limits.get(act)):
        return NOTHING  # ``i == n - 1`` of ``range(n)`` is the last one
    return frozenset((("limit", act, beyond),))


def left_at(run: Interpreter, node: ast.If, test: Value, frame: Frame) -> int | None:
    """The loop under way that a branch leaves, by the clock or at a constant count; None where it does not."""
    if not run.live or not isinstance(node.body[-1], ast.Break | ast.Return):
        return None
    if ("clock",) not in test.atoms and not any(atom[0] == "limit" and atom[2] for atom in test.atoms):
        return None
    if run.logged.silent_on(_taken(run, node.body, frame)):
        return None  # the line that it prints is in no log: the reported run did not leave here
    return next(reversed(run.live))


def _taken(run: Interpreter, body: list[ast.stmt], frame: Frame) -> list[ast.stmt]:
    """The statements of a block that run wherever it does, those under ``if rank == 0`` among them."""
    found: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.If) and not calls_something(node.test) and run.truth(run.value(node.test, frame)):
            found += node.body
        else:
            found.append(node)
    return found


def bounded(run: Interpreter, act: int, test: Value) -> None:
    """Note a loop whose own condition ends it at a constant count: ``while seen < 1_000_000 and start < end``."""
    if any(atom[0] == "limit" and atom[1] == act and not atom[2] for atom in test.atoms):
        run.cut_short.setdefault(act, run.predictors.site_number())


def mark_sums(run: Interpreter, act: int, frame: Frame, updated: frozenset[str]) -> None:
    """The sums of losses that a loop made which may have been left before the end of the text are of a part of it."""
    site = run.cut_short.get(act)
    if site is None:
        return
    mark: Atoms = frozenset((("subset", site),))
    for name in sorted(updated):
        value = frame.names.get(name)
        if not isinstance(value, Value):
            continue
        made_of = run.atoms_of(value)
        if ("picked",) not in made_of or not any(tag[0] == act for region in regions(made_of) for tag in region):
            continue
        if value.base is not None and value.base.kind == "tensor":
            run.state.write(value.base.cells, ".atoms", value.base.cells.get(".atoms", NOTHING) | mark)
        else:
            run.state.write(frame.names, name, with_atoms(value, mark))
