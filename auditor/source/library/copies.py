"""Deep copies."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.values import OBJECT, TUPLE, UNKNOWN, Frame, Obj, Value, data

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def deep_copy(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return _copied(run, args[0], {}) if args else UNKNOWN


def _copied(run: Interpreter, value: Value, seen: dict[int, Obj]) -> Value:
    if value.kind == OBJECT:
        old: Obj = value.payload
        if old.number in seen:
            return Value(OBJECT, seen[old.number], value.atoms)
        new = run.predictors.allocate(old.kind, run.line, old.name, old.class_)
        seen[old.number] = new
        for key, cell in old.cells.items():
            new.cells[key] = _copied(run, cell, seen) if isinstance(cell, Value) else cell
        if old.cells.get(".children"):
            new.cells[".children"] = tuple(
                _copied(run, Value(OBJECT, child), seen).payload for child in old.cells[".children"]
            )
        return Value(OBJECT, new, value.atoms)
    if value.kind == TUPLE:
        return Value(TUPLE, tuple(_copied(run, part, seen) for part in value.payload), value.atoms)
    return data(run.atoms_of(value)) if value.base is not None else value


CALLS: dict[str, Model] = {
    "copy.deepcopy": deep_copy,
    "copy.copy": deep_copy,
}
SHORT_NAMES: dict[str, Model] = {
    "deepcopy": deep_copy,
}
