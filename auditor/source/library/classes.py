"""Instances of the script's classes: constructors, data classes, named tuples."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.library.optimizers import new_optimizer
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.scan import kept_arguments
from auditor.source.values import (
    CLASS,
    CONST,
    EXTERNAL,
    FUNCTION,
    OBJECT,
    PARTIAL,
    UNKNOWN,
    Class,
    Frame,
    Value,
    external,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def construct(run: Interpreter, class_: Class, args: Args, kwargs: Kwargs, node: ast.AST) -> Value:
    """Instantiate a class of the script."""
    line = getattr(node, "lineno", run.line)
    if class_.family == "module":
        return run.predictors.module(class_.name, line, _kept(class_, args, kwargs), class_)
    if class_.family == "optimizer":
        return new_optimizer(run, class_.name, args, kwargs, line, class_)
    obj = run.predictors.allocate("instance", line, class_.name, class_)
    value = Value(OBJECT, obj)
    init = class_.find("__init__")
    if init is not None and init.kind == FUNCTION:
        run.call(init, [value, *args], kwargs, node)
        return value
    fields = _fields(class_)
    for name in fields:
        default_value = class_.find(name)
        if default_value is not None and _is_field(default_value):
            made = default_value.payload[2].get("default_factory")
            obj.cells[name] = (
                run.call(made, [], {}, node) if made is not None else default_value.payload[2].get("default", UNKNOWN)
            )
    for name, arg in (*zip(fields, args, strict=False), *kwargs.items()):
        obj.cells[name] = arg
    after = class_.find("__post_init__")
    if after is not None and after.kind == FUNCTION:
        run.call(after, [value], {}, node)
    return value


_FIELD = "dataclasses.field"


def _is_field(value: Value) -> bool:
    return value.kind == PARTIAL and value.payload[0].kind == EXTERNAL and value.payload[0].payload == _FIELD


def _fields(class_: Class) -> list[str]:
    """Names of a data class's fields, those of its bases first."""
    names: list[str] = []
    for base in class_.bases:
        if base.kind == CLASS:
            names.extend(_fields(base.payload))
    for item in class_.node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            names.append(item.target.id)
    return list(dict.fromkeys(names))


def _field(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return Value(PARTIAL, (external(_FIELD), (), kwargs))


def _kept(class_: Class, args: Args, kwargs: Kwargs) -> Args:
    """The constructor arguments that become parts of a module of the script."""
    init = class_.find("__init__")
    if init is None or init.kind != FUNCTION or not isinstance(init.payload.node, ast.FunctionDef):
        return [*args, *kwargs.values()]
    node = init.payload.node
    kept = kept_arguments(node)
    names = [arg.arg for arg in node.args.args[1:]]
    given = [*zip(names, args, strict=False), *kwargs.items()]
    rest = list(args[len(names) :]) if node.args.vararg else []
    return [value for name, value in given if name in kept] + rest


def _named_tuple(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``namedtuple(name, fields)``: a constructor of instances with these fields."""
    fields: list[str] = []
    if len(args) > 1:
        if args[1].kind == CONST and isinstance(args[1].payload, str):
            fields = args[1].payload.replace(",", " ").split()
        else:
            known = run.elements(args[1], limit=64) or []
            fields = [str(item.payload) for item in known if item.kind == CONST]
    return Value(PARTIAL, (external("namedtuple:" + ",".join(fields)), (), {}))


CALLS: dict[str, Model] = {
    "dataclasses.field": _field,
    "collections.namedtuple": _named_tuple,
}
