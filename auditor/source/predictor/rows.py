"""A row for each window of a batch, fitted to a part of that window alone that a mask leaves.

A delta that all windows of a batch share is fitted to what is scored in some of them; one with a row for each window is
fitted to each window by itself. Whether the mask hides what is scored is not followed.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from auditor.source.predictor.borders import has_two_sides
from auditor.source.predictor.model import PREFIX
from auditor.source.values import CONST, NOTHING, TUPLE, Atoms, Obj, Tags, Value

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter

MASKED = ("masked",)


def one_for_each_window(shape: Sequence[Value]) -> bool:
    """True for the shape ``(windows, 1, features)`` where the number of windows is no constant."""
    sizes = shape[0].payload if shape and shape[0].kind == TUPLE else shape
    return len(sizes) >= 3 and sizes[0].kind != CONST and sizes[1].kind == CONST and sizes[1].payload == 1


def masked(run: Interpreter, target: ast.expr, value: Value) -> Atoms:
    """A mark for ``mask[i, :seen] = True`` where `seen` is a border in the window or something less than its length."""
    if value.kind != CONST or value.payload not in (True, 1):
        return NOTHING
    index = target.slice if isinstance(target, ast.Subscript) else None
    part = index.elts[-1] if isinstance(index, ast.Tuple) and index.elts else index
    if not isinstance(part, ast.Slice) or part.lower is not None or part.upper is None:
        return NOTHING
    less = any(isinstance(inner, ast.Sub) for inner in ast.walk(part.upper))
    return frozenset((MASKED,)) if less or has_two_sides(run, ast.unparse(part.upper)) else NOTHING


def hidden(subject: Obj, atoms: Atoms) -> Tags:
    """A tag for what rows are fitted to under a mask: a part of which it is not known what it shares with others."""
    return frozenset(((PREFIX, 0),)) if MASKED in atoms and subject.cells.get(".rows") else frozenset()
