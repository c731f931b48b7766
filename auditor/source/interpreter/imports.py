"""Modules: the script's own files are interpreted once, others are names of libraries."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.interpreter.flow import NORMAL
from auditor.source.values import OBJECT, UNKNOWN, Frame, Obj, Value, const, external

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def run_module(run: Interpreter, tree: ast.Module, frame: Frame) -> None:
    run.present.append(frame)
    run.returns.append([])
    run.pending_returns.append([])
    run.block(tree.body, frame)
    run.pending_returns.pop()
    run.returns.pop()
    run.present.pop()


def import_helper(run: Interpreter, name: str) -> Value | None:
    """The namespace of a Python file of the folder, interpreted once."""
    if name not in run.helpers:
        return None
    if name not in run.modules:
        path, tree = run.helpers[name]
        space = Obj("namespace", 1, name)
        run.modules[name] = Value(OBJECT, space)
        frame = Frame(None)
        frame.names = space.cells
        frame.names["__name__"] = const(name)
        frame.names["__file__"] = const(path)
        outer, run.path = run.path, path
        run_module(run, tree, frame)
        run.path = outer
    return run.modules[name]


def import_statement(run: Interpreter, node: ast.Import, frame: Frame) -> int:
    for alias in node.names:
        helper = run.import_helper(alias.name)
        if helper is not None:
            run.bind(frame, alias.asname or alias.name, helper)
        elif alias.asname:
            run.bind(frame, alias.asname, external(alias.name))
        else:
            top = alias.name.split(".")[0]
            run.bind(frame, top, external(top))
    return NORMAL


def from_import(run: Interpreter, node: ast.ImportFrom, frame: Frame) -> int:
    module = node.module or ""
    helper = run.import_helper(module)
    for alias in node.names:
        if helper is not None and alias.name == "*":
            for name, value in list(helper.payload.cells.items()):
                if isinstance(value, Value):
                    run.bind(frame, name, value)
        elif helper is not None:
            run.bind(frame, alias.asname or alias.name, helper.payload.cells.get(alias.name, UNKNOWN))
        else:
            run.bind(frame, alias.asname or alias.name, external(f"{module}.{alias.name}"))
    return NORMAL
