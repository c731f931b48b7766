"""Optimizers and gradients: what they update, ``step``, ``backward``, ``autograd.grad``."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.library.containers import loosen, new_dict, new_list
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.values import (
    CONST,
    FUNCTION,
    NONE,
    OBJECT,
    PARTIAL,
    SOME,
    TUPLE,
    UNKNOWN,
    Class,
    Frame,
    Obj,
    Value,
    data,
    union,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def new_optimizer(
    run: Interpreter, name: str, args: Args, kwargs: Kwargs, line: int, class_: Class | None = None
) -> Value:
    obj = run.predictors.allocate("optimizer", line, name, class_)
    atoms = union((*map(run.atoms_of, args), *map(run.atoms_of, kwargs.values())))
    rate = kwargs.get("lr", args[1] if len(args) > 1 else None)
    still = rate is not None and rate.kind == CONST and rate.payload == 0 and type(rate.payload) in (int, float)
    params = frozenset(atom[1] for atom in atoms if atom[0] == "par")
    obj.cells[".params"] = frozenset() if still else params
    obj.cells[".some"] = _choice([*args[:1], *kwargs.values()])
    group = data()
    if still:
        group = new_dict(run, line)
        group.payload.cells[".still"] = (obj, params)
    obj.cells["param_groups"] = new_list(run, [group], line)
    loosen(run, obj.cells["param_groups"].payload)
    return Value(OBJECT, obj)


def _choice(values: list[Value]) -> str:
    """The choice of a model's parameters that an optimizer gets; none where it may get them all."""
    found = _chosen(values, 4)
    if not found or not all(attr.startswith(SOME) for attr in found):
        return ""
    return found.pop() if len(found) == 1 else SOME


def _chosen(values: list[Value], depth: int) -> set[str]:
    found = {value.attr for value in values if value.base is not None}
    for value in values:
        if depth and (value.kind == TUPLE or (value.kind == OBJECT and value.payload.kind in ("list", "dict"))):
            found |= _chosen(_members(value), depth - 1)
    return found


def _members(value: Value) -> list[Value]:
    if value.kind == TUPLE:
        return list(value.payload)
    return [
        cell
        for cell in (*value.payload.cells.values(), *value.payload.cells.get(".items", ()))
        if isinstance(cell, Value)
    ]


OPTIMIZERS = frozenset(("AdamW", "Adam", "SGD", "LBFGS", "Muon", "RMSprop", "AdamW8bit"))


def _autograd(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    loss = args[0] if args else kwargs.get("outputs", UNKNOWN)
    return run.predictors.gradient(run.atoms_of(loss))


def _backward_call(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    run.predictors.backward(union(map(run.atoms_of, args)))
    return NONE


def _clip_grad(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return UNKNOWN


def optimizer_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    obj: Obj = owner.payload
    if name == "step":
        result = run.call(args[0], [], {}, node, frame) if args and args[0].kind in (FUNCTION, PARTIAL) else UNKNOWN
        closure = kwargs.get("closure")
        if closure is not None and closure.kind in (FUNCTION, PARTIAL):
            result = run.call(closure, [], {}, node, frame)
        run.line = getattr(node, "lineno", run.line)
        run.predictors.step(obj)
        return result
    if name == "zero_grad":
        run.predictors.clear_gradient([run.predictors.objects[number] for number in obj.cells.get(".params", ())])
        return NONE
    if name == "add_param_group" and args:
        new = frozenset(atom[1] for atom in run.atoms_of(args[0]) if atom[0] == "par")
        run.state.write(obj.cells, ".params", obj.cells.get(".params", frozenset()) | new)
        run.state.write(obj.cells, ".some", "")
        return NONE
    return UNKNOWN


CALLS: dict[str, Model] = {
    "torch.autograd.grad": _autograd,
    "torch.autograd.backward": _backward_call,
    "torch.nn.utils.clip_grad_norm_": _clip_grad,
}
SHORT_NAMES: dict[str, Model] = {
    "clip_grad_norm_": _clip_grad,
}
