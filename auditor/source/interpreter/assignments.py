"""Names and targets: what an assignment writes, and what an in-place operation reaches."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.ledger import RULES_OF_SCORING
from auditor.source import scoring
from auditor.source.interpreter.calls import call_function
from auditor.source.interpreter.flow import NORMAL
from auditor.source.interpreter.loops import deferred_generator, moved_on
from auditor.source.library import columns, containers
from auditor.source.scan import calls_something, deferred
from auditor.source.values import (
    CHOICE,
    CLASS,
    CONST,
    DATA,
    EXTERNAL,
    FUNCTION,
    METHOD,
    OBJECT,
    PARTIAL,
    TUPLE,
    Atoms,
    Frame,
    Function,
    Obj,
    Value,
    choices,
    data,
    external,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def assignment(run: Interpreter, node: ast.Assign, frame: Frame) -> int:
    later = deferred(node.value)
    value = run.value(node.value, frame) if later is None else deferred_generator(run, later, frame)
    for target in node.targets:
        moved = moved_on(run, target.id, value, frame) if isinstance(target, ast.Name) else value
        run.assign(target, moved, frame)
    return NORMAL


def annotated_assignment(run: Interpreter, node: ast.AnnAssign, frame: Frame) -> int:
    if not frame.function and calls_something(node.annotation):
        run.value(node.annotation, frame)
    if node.value is not None:
        run.assign(node.target, run.value(node.value, frame), frame)
    return NORMAL


def augmented_assignment(run: Interpreter, node: ast.AugAssign, frame: Frame) -> int:
    old = run.value(node.target, frame)
    new = run.value(node.value, frame)
    if old.kind == OBJECT and old.payload.kind == "list" and isinstance(node.op, ast.Add):
        containers.extend(run, old.payload, new)
        return NORMAL
    result = run.binary(node.op, old, new)
    if isinstance(node.op, ast.Add) and ("picked",) in run.atoms_of(new):
        run.predictors.note_sum()
    if isinstance(node.target, ast.Subscript):
        container = run.value(node.target.value, frame)
        index = run.value(node.target.slice, frame)
        run.predictors.count(container, index, result, node.target, frame)
        return NORMAL
    if old.base is not None and not isinstance(node.target, ast.Name):
        run.predictors.update(old, result.atoms, node)
        return NORMAL
    if old.base is not None or (old.kind == OBJECT and old.payload.kind in ("tensor", "module")):
        mixed = frozenset(atom for atom in result.atoms if atom[0] in ("hashed", "keyed", "scaled"))
        run.predictors.update(old, run.atoms_of(new) | mixed, node)
    else:
        if isinstance(node.target, ast.Name):
            result = moved_on(run, node.target.id, result, frame)
        run.assign(node.target, run.settle(result), frame)
    return NORMAL


def delete_statement(run: Interpreter, node: ast.Delete, frame: Frame) -> int:
    for target in node.targets:
        if isinstance(target, ast.Subscript):
            container, index = run.value(target.value, frame), run.value(target.slice, frame)
            run.predictors.part_removed(container)
            if container.kind == OBJECT and container.payload.kind == "dict":
                run.state.write(container.payload.cells, containers.CUT, True)
            class_ = container.payload.class_ if container.kind == OBJECT else None
            if class_ is not None and class_.find("__delitem__"):
                run.call_method(container, "__delitem__", [index], {}, node)
    return NORMAL


def bind(run: Interpreter, frame: Frame, name: str, value: Value) -> None:
    run.state.write(frame.redirect.get(name, frame).names, name, value)


def lookup(run: Interpreter, name: str, frame: Frame) -> Value:
    scope: Frame | None = frame.redirect.get(name, frame)
    while scope is not None:
        found = scope.names.get(name)
        if found.__class__ is Value:
            return found
        scope = scope.parent
    return external(name)


def assign(run: Interpreter, target: ast.expr, value: Value, frame: Frame) -> None:
    if isinstance(target, ast.Name):
        run.bind(frame, target.id, value)
    elif isinstance(target, ast.Tuple | ast.List):
        _unpack(run, target.elts, value, frame)
    elif isinstance(target, ast.Attribute):
        _assign_attribute(run, target, value, frame)
    elif isinstance(target, ast.Subscript):
        _assign_item(run, target, value, frame)
    elif isinstance(target, ast.Starred):
        run.assign(target.value, value, frame)


def _unpack(run: Interpreter, targets: list[ast.expr], value: Value, frame: Frame) -> None:
    parts = run.elements(value, limit=64)
    if parts is not None and len(parts) == len(targets):
        for target, part in zip(targets, parts, strict=True):
            run.assign(target, with_atoms(part, value.atoms), frame)
        return
    item = (
        run.element(value)
        if value.kind in (OBJECT, TUPLE, CHOICE)
        else data(run.atoms_of(value), value.base, value.attr)
    )
    if scoring.holds_best(value):
        item = Value(DATA, scoring.BEST, item.atoms, item.base)
    for target in targets:
        run.assign(target, item, frame)


def _assign_attribute(run: Interpreter, target: ast.Attribute, value: Value, frame: Frame) -> None:
    for owner in choices(run.value(target.value, frame)):
        if owner.kind == OBJECT and (setter := _setter(owner.payload, target.attr)):
            call_function(run, setter, [owner, value], {}, target)
        elif target.attr == "__class__" and owner.kind == OBJECT and value.kind == CLASS:
            owner.payload.class_ = value.payload
        elif target.attr in ("data", "grad") and owner.kind != EXTERNAL and (owner.base or _stored(owner)):
            run.predictors.replace(owner, target.attr, run.atoms_of(value), target)
            if target.attr == "data":
                run.predictors.share(owner, value)
        elif owner.kind == OBJECT:
            if owner.payload.kind == "module":
                run.predictors.detach(owner.payload, target.attr)
                run.predictors.attach(owner.payload, target.attr, value)
            run.state.write(owner.payload.cells, target.attr, value)
        elif owner.kind == CLASS:
            run.state.write(owner.payload.cells, target.attr, value)
        elif owner.kind == EXTERNAL:
            if value.kind in (FUNCTION, PARTIAL, METHOD):
                text = f"the script replaces {owner.payload}.{target.attr} by a function of its own"
                run.cannot_see(text, RULES_OF_SCORING)
            run.hand_over(value)
        elif owner.base is not None:
            run.predictors.attach(owner.base, owner.attr, value)
        else:
            run.hand_over(value)


def _setter(obj: Obj, name: str) -> Function | None:
    """What runs when a property of the script is assigned."""
    member = obj.class_.find(name) if obj.class_ is not None else None
    found = member.payload.setter if member is not None and member.kind == FUNCTION else None
    return found if isinstance(found, Function) else None


def _stored(value: Value) -> bool:
    return value.kind == OBJECT and value.payload.kind in ("tensor", "module")


def _assign_item(run: Interpreter, target: ast.Subscript, value: Value, frame: Frame) -> None:
    container = run.value(target.value, frame)
    index = run.value(target.slice, frame)
    for owner in choices(container):
        if owner.kind == OBJECT and owner.payload.kind in ("list", "dict"):
            containers.store_item(run, owner.payload, index, value)
        elif owner.kind == OBJECT and owner.payload.kind == "namespace" and index.kind == CONST:
            run.state.write(owner.payload.cells, index.payload, value)
        elif owner.kind == OBJECT and owner.payload.class_ and owner.payload.class_.find("__setitem__"):
            run.call_method(owner, "__setitem__", [index, value], {}, target)
        elif owner.kind == EXTERNAL and owner.payload.endswith("environ"):
            if index.kind == CONST and value.kind == CONST:
                run.overrides[str(index.payload)] = str(value.payload)
            elif index.kind == CONST:
                run.state.write(run.files.cells, f"environ {index.payload}", run.atoms_of(value))
        elif (changed := columns.overwritten(run, owner, index, value)) and isinstance(target.value, ast.Name):
            run.bind(frame, target.value.id, changed)
        else:
            run.hand_over(value)
            run.predictors.count(owner, index, value, target, frame)


def mutate(run: Interpreter, node: ast.expr, atoms: Atoms, frame: Frame) -> None:
    """An in-place operation reached the thing that `node` denotes: it is now made of `atoms` as well."""
    if isinstance(node, ast.Name):
        old = run.lookup(node.id, frame)
        if old.kind != EXTERNAL:
            run.bind(frame, node.id, run.settle(with_atoms(old, atoms)))
    elif isinstance(node, ast.Subscript):
        owner = run.value(node.value, frame)
        if owner.kind == OBJECT and owner.payload.kind in ("list", "dict"):
            containers.weaken(run, owner.payload, atoms)
        else:
            run.mutate(node.value, atoms, frame)
    elif isinstance(node, ast.Attribute):
        for owner in choices(run.value(node.value, frame)):
            if owner.kind == OBJECT:
                old = owner.payload.cells.get(node.attr)
                if isinstance(old, Value):
                    run.state.write(owner.payload.cells, node.attr, with_atoms(old, atoms))
            elif isinstance(node.value, ast.expr) and owner.kind == DATA:
                run.mutate(node.value, atoms, frame)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        run.mutate(node.func.value, atoms, frame)


def assignment_expression(run: Interpreter, node: ast.NamedExpr, frame: Frame) -> Value:
    value = run.value(node.value, frame)
    run.assign(node.target, value, frame)
    return value
