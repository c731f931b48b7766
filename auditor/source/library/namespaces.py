"""``globals()``, ``vars()``, argparse's and SimpleNamespace's objects."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.library.containers import known_keywords, loosen, new_dict, store_item
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.values import CLASS, CONST, EXTERNAL, NONE, NOTHING, OBJECT, UNKNOWN, Frame, Obj, Value, const, data

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def _vars(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if not args:
        return _globals(run, args, kwargs, node, frame)
    if args[0].kind == EXTERNAL:
        return args[0]
    if args[0].base is not None:
        return data(NOTHING, args[0].base, args[0].attr)
    if args[0].kind == OBJECT and args[0].payload.kind == "module":
        return data(NOTHING, args[0].payload)
    result = new_dict(run, run.line)
    if args and args[0].kind in (OBJECT, CLASS):
        for key, cell in list(args[0].payload.cells.items()):
            if isinstance(key, str) and not key.startswith(".") and isinstance(cell, Value):
                store_item(run, result.payload, const(key), cell)
    if args[0].kind != OBJECT or "?" in args[0].payload.cells:  # an attribute was set whose name is not known
        loosen(run, result.payload)
    return result


def _globals(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """The script's own names as a mapping."""
    return UNKNOWN if frame is None else own_names(run, frame.globals_)


def own_names(run: Interpreter, frame: Frame) -> Value:
    space = Obj("namespace", run.line, "globals")
    space.cells = frame.names
    return Value(OBJECT, space)


def namespace_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    """Methods of ``globals()``."""
    cells = owner.payload.cells
    if name == "update":
        for key, value in (*known_keywords(args[0]).items(), *kwargs.items()) if args else kwargs.items():
            run.state.write(cells, key, value)
        return NONE
    if name in ("__setitem__", "setdefault") and len(args) == 2 and args[0].kind == CONST:
        run.state.write(cells, args[0].payload, args[1])
        return args[1]
    if name in ("get", "__getitem__") and args and args[0].kind == CONST:
        found = cells.get(args[0].payload)
        return found if isinstance(found, Value) else (args[1] if len(args) > 1 else UNKNOWN)
    return None


def new_namespace(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    obj = run.predictors.allocate("instance", run.line, "namespace")
    obj.cells.update(kwargs)
    return Value(OBJECT, obj)


CALLS: dict[str, Model] = {
    "vars": _vars,
    "globals": _globals,
    "types.SimpleNamespace": new_namespace,
    "argparse.Namespace": new_namespace,
}
