"""Names, constants, attributes, items, ``not``, ``and``, ``or``; what a value is made of, and whether it is true."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source import scoring
from auditor.source.interpreter.flow import NORMAL
from auditor.source.library import attributes, columns, containers, items, shard_paths, text, views
from auditor.source.predictor import mixing
from auditor.source.values import (
    CHOICE,
    CLASS,
    CONST,
    EXTERNAL,
    FORMAT,
    FUNCTION,
    MEASURED,
    METHOD,
    NONE,
    OBJECT,
    PARTIAL,
    RANGE,
    TUPLE,
    UNKNOWN,
    Atoms,
    Frame,
    Obj,
    Value,
    const,
    data,
    external,
    join,
    union,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def expression_statement(run: Interpreter, node: ast.Expr, frame: Frame) -> int:
    outer, run.dropped = run.dropped, node.value
    run.value(node.value, frame)
    run.dropped = outer
    return NORMAL


def atoms_of(run: Interpreter, value: Value, depth: int = 5) -> Atoms:
    """Everything `value` is made of now, the contents of containers and of shared storage included."""
    atoms = value.atoms
    if value.base is not None:
        atoms = atoms | run.predictors.content(value.base, value.attr)
    if value.kind == TUPLE or value.kind == CHOICE:
        return union((atoms, *(run.atoms_of(part, depth) for part in value.payload)))
    if value.kind == OBJECT and depth > 0:
        return atoms | run.predictors.content(value.payload, "*", depth - 1)
    if value.kind == FORMAT:
        return union((atoms, *(run.atoms_of(part, 1) for part in value.payload if isinstance(part, Value))))
    if value.kind == METHOD:
        if value.payload[1] in views.METADATA:
            return MEASURED
        return atoms | run.atoms_of(value.payload[0], depth)
    if value.kind == PARTIAL:
        return union((atoms, *(run.atoms_of(part, depth) for part in value.payload[1])))
    return atoms


def truth(run: Interpreter, value: Value) -> bool | None:
    """Whether the value is true, None where that is not known."""
    if value.kind == CONST:
        return bool(value.payload)
    if value.kind == RANGE:
        low, high = value.payload
        return True if low > 0 else (False if high == 0 == low else None)
    if value.kind == TUPLE:
        return bool(value.payload)
    if value.kind in (FUNCTION, CLASS, PARTIAL):
        return True
    if value.kind == METHOD:
        owner, name = value.payload
        known = owner.kind == OBJECT and owner.payload.class_ is not None and owner.payload.class_.find(name)
        return True if known else None
    if value.kind == OBJECT:
        return containers.object_truth(value.payload)
    mixing.note_gate(run, value.atoms)
    if value.kind == CHOICE:
        truths = {run.truth(option) for option in value.payload}
        return truths.pop() if len(truths) == 1 else None
    if value.kind == FORMAT and any(isinstance(part, str) and part for part in value.payload):
        return True
    return None


def constant(run: Interpreter, node: ast.Constant, frame: Frame) -> Value:
    value = text.constant(node.value)
    if value.atoms and shard_paths.of_both_splits(value.atoms):
        run.predictors.both_splits.add(run.predictors.site_number())
    return value


def name(run: Interpreter, node: ast.Name, frame: Frame) -> Value:
    return run.lookup(node.id, frame)


def attribute_access(run: Interpreter, node: ast.Attribute, frame: Frame) -> Value:
    return run.attribute(run.value(node.value, frame), node.attr, node)


def attribute(run: Interpreter, owner: Value, name: str, node: ast.AST) -> Value:
    if owner.kind == EXTERNAL:
        return external(f"{owner.payload}.{name}")
    if owner.kind == FUNCTION and name.startswith("__"):
        kept = [cell for cell in owner.payload.frame.names.values() if isinstance(cell, Value)]
        return data(union(run.atoms_of(cell, 1) for cell in kept if cell.kind != FUNCTION))
    if owner.kind == CHOICE:
        found = [run.attribute(option, name, node) for option in owner.payload if option is not NONE]
        result = found[0] if found else UNKNOWN
        for other in found[1:]:
            result = join(result, other)
        return with_atoms(result, owner.atoms)
    if owner.kind == OBJECT:
        return _object_attribute(run, owner, name, node)
    if owner.kind == CLASS:
        member = owner.payload.find(name)
        if member is not None and member.kind == FUNCTION and member.payload.kind == "class":
            return Value(PARTIAL, (member, (owner,), {}))
        if member is not None:
            return member  # type: ignore[no-any-return]
        return const(owner.payload.name) if name == "__name__" else Value(METHOD, (owner, name))
    return attributes.data_attribute(run, owner, name)


def _object_attribute(run: Interpreter, owner: Value, name: str, node: ast.AST) -> Value:
    obj: Obj = owner.payload
    found = obj.cells.get(name)
    if isinstance(found, Value):
        return with_atoms(found, owner.atoms)
    if obj.class_ is not None:
        member = obj.class_.find(name)
        if member is not None:
            if member.kind == FUNCTION and member.payload.kind == "property":
                return run.call(member, [owner], {}, node)
            if member.kind == FUNCTION and member.payload.kind == "static":
                return member
            return Value(METHOD, (owner, name)) if member.kind == FUNCTION else member
    return attributes.object_attribute(run, owner, name)


def subscription(run: Interpreter, node: ast.Subscript, frame: Frame) -> Value:
    container = run.value(node.value, frame)
    index = run.value(node.slice, frame)
    return run.subscript(container, index, node)


def subscript(run: Interpreter, container: Value, index: Value, node: ast.AST) -> Value:
    if container.kind == CHOICE:
        result = run.subscript(container.payload[0], index, node)
        for option in container.payload[1:]:
            result = join(result, run.subscript(option, index, node))
        return with_atoms(result, container.atoms)
    return items.item(run, container, index, node)


def slice_expression(run: Interpreter, node: ast.Slice, frame: Frame) -> Value:
    parts = [NONE if part is None else run.value(part, frame) for part in (node.lower, node.upper, node.step)]
    if all(part.kind == CONST and isinstance(part.payload, int | None) for part in parts):
        deciding = parts[:1] if parts[0] is not NONE and node.lower is not None else parts
        return const(slice(*(part.payload for part in parts)), union(part.atoms for part in deciding))
    return Value(TUPLE, (external("slice"), *parts), union(run.atoms_of(part) for part in parts))


def unary_operation(run: Interpreter, node: ast.UnaryOp, frame: Frame) -> Value:
    operand = run.value(node.operand, frame)
    if isinstance(node.op, ast.Not):
        decided = run.truth(operand)
        return const(not decided, operand.atoms) if decided is not None else data(run.atoms_of(operand))
    if operand.kind == CONST and isinstance(operand.payload, int | float):
        if isinstance(node.op, ast.USub):
            return const(-operand.payload, operand.atoms)
        if isinstance(node.op, ast.Invert) and isinstance(operand.payload, int):
            return const(~operand.payload, operand.atoms)
        return operand
    if isinstance(node.op, ast.USub) and operand.kind == EXTERNAL and operand.payload in _INFINITY:
        return const(float("-inf"))
    inverted = columns.inverted(run, operand) if isinstance(node.op, ast.Invert) else None
    if operand.payload in (scoring.PLOGP, scoring.ENTROPY):
        return operand
    return inverted or data(run.atoms_of(operand))


_INFINITY = frozenset(("numpy.inf", "math.inf", "torch.inf"))


def boolean_operation(run: Interpreter, node: ast.BoolOp, frame: Frame) -> Value:
    stops = isinstance(node.op, ast.Or)
    result: Value | None = None
    outer = run.open_settings
    for part in node.values:
        value = run.value(part, frame)
        decided = run.truth(value)
        if decided is stops:
            run.open_settings = outer
            return value if result is None else join(result, value)
        if decided is None:
            result = value if result is None else join(result, value)
            run.open_settings += run.left_open(value)
        last = value
    run.open_settings = outer
    if result is None:
        return last
    return join(result, last) if run.truth(last) is not None else result


def starred(run: Interpreter, node: ast.Starred, frame: Frame) -> Value:
    return run.value(node.value, frame)
