"""Functions and classes where they are defined: decorators, bases, what may call them unseen."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.ledger import RULES_OF_SCORING
from auditor.source.interpreter.flow import NORMAL
from auditor.source.library import callbacks
from auditor.source.scan import (
    called_names,
    calls_something,
    changes_state,
    learns,
    overwrites_data,
    signature_annotations,
)
from auditor.source.values import (
    CHOICE,
    CLASS,
    DATA,
    EXTERNAL,
    FUNCTION,
    METHOD,
    OBJECT,
    PARTIAL,
    Class,
    Frame,
    Function,
    Value,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def note_unseen_calls(run: Interpreter) -> None:
    """Note functions that learn and that Python or a library may call where nobody sees it."""
    for class_ in run.classes:
        for member in class_.node.body:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and _runs_unseen(run, class_, member):
                text = f"{class_.name}.{member.name} may train or change parameters when Python calls it by itself"
                run.cannot_see(text, RULES_OF_SCORING, member.lineno)
    for name, node in run.handed:
        if node not in run.entered and run.may_learn(node):
            text = f"{name} may train or change parameters, and code that is not part of the submission may call it"
            run.cannot_see(text, RULES_OF_SCORING, getattr(node, "lineno", 0))


def _runs_unseen(run: Interpreter, class_: Class, method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True for a method that Python or a library calls by itself, that was not followed and that learns."""
    if class_.family == "function" and overwrites_data(method):
        return True
    special = method.name.startswith("__") and method.name.endswith("__") and method.name != "__init__"
    called = special or (class_.family != "module" and any(base.kind == EXTERNAL for base in class_.bases))
    if class_.family == "optimizer" and method.name == "step":
        return False
    return called and method not in run.entered and run.may_learn(method)


def may_learn(run: Interpreter, function: ast.AST) -> bool:
    """True when a function runs a backward pass, a step or a gradient, itself or through functions it names."""
    if learns(function):
        return True
    return not run.learners.isdisjoint(called_names(function))


def function_definition(run: Interpreter, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> int:
    value = run.make_function(node, frame)
    for decorator in reversed(node.decorator_list):
        value = _decorate(run, decorator, value, frame)
    run.bind(frame, node.name, value)
    return NORMAL


def make_function(run: Interpreter, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, frame: Frame) -> Value:
    defaults = [run.value(default, frame) for default in node.args.defaults]
    kw_defaults = [None if item is None else run.value(item, frame) for item in node.args.kw_defaults]
    for annotation in signature_annotations(node):
        if calls_something(annotation):
            run.value(annotation, frame)
    function = Function(node, frame, defaults, kw_defaults, run.path)
    function.is_generator = node in run.generators
    return Value(FUNCTION, function)


def _decorate(run: Interpreter, decorator: ast.expr, value: Value, frame: Frame) -> Value:
    if isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "deleter", "getter"):
        getter = run.value(decorator.value, frame)
        if getter.kind == FUNCTION and getter.payload.kind == "property" and value.kind == FUNCTION:
            if decorator.attr == "setter":
                getter.payload.setter = value.payload
            return getter
    applied = run.value(decorator, frame)
    function = value.payload if value.kind == FUNCTION else None
    if applied.kind in (DATA, METHOD, EXTERNAL):
        made = run.value(decorator.func, frame) if isinstance(decorator, ast.Call) else applied
        if not (made.kind == EXTERNAL and callbacks.only_wraps(made.payload)):
            run.hand_over(value)
    if applied.kind == EXTERNAL:
        short = applied.payload.rsplit(".", 1)[-1]
        if function is not None and short in ("staticmethod", "classmethod", "property", "cached_property"):
            function.kind = {"staticmethod": "static", "classmethod": "class"}.get(short, "property")
        return value
    if applied.kind in (FUNCTION, PARTIAL, CHOICE):
        result = run.call(applied, [value], {}, decorator)
        return result if result.kind in (FUNCTION, PARTIAL, CHOICE, CLASS, OBJECT) else value
    return value


def class_definition(run: Interpreter, node: ast.ClassDef, frame: Frame) -> int:
    bases = [run.value(base, frame) for base in node.bases]
    for keyword in node.keywords:
        run.value(keyword.value, frame)
    class_ = Class(node, frame, bases, _family(bases))
    body = Frame(frame, "", frame.globals_)
    body.names = class_.cells
    run.block(node.body, body)
    for member in class_.cells.values():
        if isinstance(member, Value) and member.kind == FUNCTION and member.payload.owner is None:
            member.payload.owner = class_
            member.payload.frame = frame  # names of a class body are not visible in its methods
    run.classes.append(class_)
    value = Value(CLASS, class_)
    for decorator in reversed(node.decorator_list):
        value = _decorate(run, decorator, value, frame)
    run.bind(frame, node.name, value)
    return NORMAL


def module_method(run: Interpreter, name: str) -> Value | None:
    """The state-changing method `name` of the script's modules, if just one class defines it."""
    found = [
        member
        for class_ in run.classes
        if class_.family == "module" and isinstance(member := class_.cells.get(name), Value)
    ]
    if len(found) == 1 and found[0].kind == FUNCTION and changes_state(found[0].payload.node):
        return found[0]
    return None


def global_or_nonlocal(run: Interpreter, node: ast.Global | ast.Nonlocal, frame: Frame) -> int:
    for name in node.names:
        if isinstance(node, ast.Global):
            frame.redirect[name] = frame.globals_
            continue
        outer = frame.parent
        while outer is not None and name not in outer.names:
            outer = outer.parent
        if outer is not None:
            frame.redirect[name] = outer
    return NORMAL


def hand_over(run: Interpreter, value: Value) -> None:
    """Code that is not seen got `value`, and may call what learns in it."""
    if value.kind == FUNCTION:
        run.handed.append((value.payload.name, value.payload.node))
    class_ = value.payload if value.kind == CLASS else None
    if value.kind == OBJECT and value.payload.kind == "instance":
        class_ = value.payload.class_
    if class_ is not None:
        run.handed.extend(
            (f"{class_.name}.{member.name}", member)
            for member in class_.node.body
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)
        )


def lambda_expression(run: Interpreter, node: ast.Lambda, frame: Frame) -> Value:
    return run.make_function(node, frame)


def _family(bases: list[Value]) -> str:
    for base in bases:
        if base.kind == CLASS and base.payload.family != "plain":
            return base.payload.family  # type: ignore[no-any-return]
        if base.kind == EXTERNAL:
            name = base.payload
            short = name.rsplit(".", 1)[-1]
            if short in ("Module", "ModuleList", "Sequential", "Linear", "Embedding", "Parameter") or (
                name.startswith("torch.nn.") and short[:1].isupper()
            ):
                return "module"
            if short == "Optimizer" or name.startswith("torch.optim."):
                return "optimizer"
            if short == "Function" and "autograd" in name:
                return "function"
            if short.endswith(("Error", "Exception")):
                return "exception"
    return "plain"
