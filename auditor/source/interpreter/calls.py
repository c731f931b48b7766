"""Calls: of the script's functions, methods and classes, with their arguments bound; of everything else by models."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.interpreter.flow import NORMAL
from auditor.source.library import callbacks, classes, containers, tasks
from auditor.source.library import calls as library_calls
from auditor.source.library import methods as library_methods
from auditor.source.scan import changes_state
from auditor.source.values import (
    CHOICE,
    CLASS,
    CONST,
    DATA,
    EXTERNAL,
    FUNCTION,
    METHOD,
    NONE,
    OBJECT,
    PARTIAL,
    TUPLE,
    UNKNOWN,
    Frame,
    Function,
    Obj,
    Value,
    const,
    data,
    join,
    union,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


MAX_DEPTH = 48  # calls


def await_expression(run: Interpreter, node: ast.Await, frame: Frame) -> Value:
    value = run.value(node.value, frame)
    pending, run.tasks = run.tasks, []
    for task in pending:
        run.awaited(task, node)
    return run.awaited(value, node)


def call_expression(run: Interpreter, node: ast.Call, frame: Frame) -> Value:
    callee = _super(run, node, frame) or run.value(node.func, frame)
    args: list[Value] = []
    for arg in node.args:
        if isinstance(arg, ast.Starred):
            inner = run.value(arg.value, frame)
            args.extend(run.elements(inner, limit=256) or [run.element(inner)] * 4)
        else:
            args.append(run.value(arg, frame))
    kwargs: dict[str, Value] = {}
    for keyword in node.keywords:
        value = run.value(keyword.value, frame)
        if keyword.arg is not None:
            kwargs[keyword.arg] = value
        else:
            kwargs.update(containers.known_keywords(value))
            if value.kind != OBJECT or value.payload.cells.get(".loose"):
                kwargs["**"] = data(run.atoms_of(value))
    run.line = node.lineno
    return run.call(callee, args, kwargs, node, frame)


def _super(run: Interpreter, node: ast.Call, frame: Frame) -> Value | None:
    """``super().method`` bound to the present instance, where a class of the script defines it."""
    function = node.func
    if not (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Call)
        and isinstance(function.value.func, ast.Name)
        and function.value.func.id == "super"
    ):
        return None
    here = run.functions[-1] if run.functions else None
    if here is None or here.owner is None or not here.node.args.args:
        return None
    for base in here.owner.bases:
        member = base.payload.find(function.attr) if base.kind == CLASS else None
        if member is not None and member.kind == FUNCTION:
            receiver = run.lookup(here.node.args.args[0].arg, frame)
            return Value(PARTIAL, (member, (receiver,), {}))
    return UNKNOWN


def call(
    run: Interpreter,
    callee: Value,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.AST,
    frame: Frame | None = None,
) -> Value:
    if run.coroutines and any(arg.kind == OBJECT and arg.payload.kind == "coroutine" for arg in args):
        if tasks.starts_a_task(callee):
            run.tasks.extend(args[:1])
            return args[0]
        if callee.kind in (EXTERNAL, METHOD, DATA):
            args = [run.awaited(arg, node) for arg in args]
            if tasks.waits_for_one(callee):
                return args[0]
    kind = callee.kind
    if kind == FUNCTION:
        return call_function(run, callee.payload, args, kwargs, node)
    if kind == METHOD:
        return run.call_method(callee.payload[0], callee.payload[1], args, kwargs, node, frame)
    if kind == CLASS:
        return classes.construct(run, callee.payload, args, kwargs, node)
    if kind == EXTERNAL:
        return library_calls.call(run, callee.payload, args, kwargs, node, frame)
    if kind == PARTIAL:
        inner, first, keywords = callee.payload
        return run.call(inner, [*first, *args], {**keywords, **kwargs}, node, frame)
    if kind == CHOICE:
        return _call_choice(run, callee, args, kwargs, node, frame)
    if kind == OBJECT:
        return run.call_method(callee, "__call__", args, kwargs, node, frame)
    atoms = union((run.atoms_of(callee), *map(run.atoms_of, args), *map(run.atoms_of, kwargs.values())))
    callbacks.run_callbacks(run, args, kwargs, node)
    values = [*args, *kwargs.values()]
    callbacks.unseen_callee(run, "code that could not be followed", values, [run.atoms_of(arg) for arg in values])
    return data(run.predictors.applied(atoms))


def _call_choice(
    run: Interpreter, callee: Value, args: list[Value], kwargs: dict[str, Value], node: ast.AST, frame: Frame | None
) -> Value:
    options = [option for option in callee.payload if option.kind != CONST]
    results: list[Value] = []

    def attempt(index: int) -> int:
        if index < len(options):
            results.append(run.call(options[index], args, kwargs, node, frame))
        return NORMAL

    if len(options) == 1:
        attempt(0)
    for index in range(0, len(options) if len(options) > 1 else 0, 2):
        run.either(lambda index=index: attempt(index), lambda index=index: attempt(index + 1))  # type: ignore[misc]
    result = results[0] if results else UNKNOWN
    for other in results[1:]:
        result = join(result, other)
    return result


def call_method(
    run: Interpreter,
    owner: Value,
    name: str,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.AST,
    frame: Frame | None = None,
) -> Value:
    if owner.kind == OBJECT:
        obj: Obj = owner.payload
        if obj.kind == "coroutine":
            return run.awaited(owner, node)
        member = obj.class_.find(name) if obj.class_ is not None else None
        if name == "__call__" and obj.kind == "module":
            member = obj.class_.find("forward") if obj.class_ is not None else None
            own = obj.cells.get("forward")
            if isinstance(own, Value) and (body := _body_of(own)) and (changes_state(body) or run.may_learn(body)):
                return run.call(own, args, kwargs, node, frame)
        if obj.kind == "optimizer" and name in ("step", "zero_grad", "add_param_group"):
            member = None
        if member is not None and member.kind == FUNCTION:
            function: Function = member.payload
            first = Value(CLASS, obj.class_) if function.kind == "class" else owner
            if obj.kind == "optimizer" and changes_state(function.node) and name != "__init__":
                result = call_function(run, function, [first, *args], kwargs, node)
                run.predictors.step(obj)
                return result
            if obj.kind == "module" and not (changes_state(function.node) or run.may_learn(function.node)):
                return run.predictors.predict(owner, args, kwargs, name)
            result = call_function(run, function, [first, *args], kwargs, node)
            if obj.kind != "module":
                return result
            given = union(run.atoms_of(value) for value in (*args, *kwargs.values()))
            return with_atoms(result, run.predictors.ahead(obj, name, given))
    if owner.kind == CLASS:
        member = owner.payload.find(name)
        if member is not None and member.kind == FUNCTION:
            first_args = [owner, *args] if member.payload.kind == "class" else args
            return call_function(run, member.payload, first_args, kwargs, node)
    return library_methods.call_method(run, owner, name, args, kwargs, node, frame)


def call_function(
    run: Interpreter, function: Function, args: list[Value], kwargs: dict[str, Value], node: ast.AST
) -> Value:
    if function.is_generator:
        generator = Obj("generator", getattr(node, "lineno", 0), function.name)
        generator.cells[".call"] = (function, args, kwargs)
        return Value(OBJECT, generator)
    if isinstance(function.node, ast.AsyncFunctionDef):
        coroutine = Obj("coroutine", getattr(node, "lineno", 0), function.name)
        coroutine.cells[".call"] = (function, args, kwargs)
        run.coroutines = True
        run.handed.append((function.name, function.node))
        return Value(OBJECT, coroutine)
    return _run_function(run, function, args, kwargs, node)


def awaited(run: Interpreter, value: Value, node: ast.AST) -> Value:
    """What a coroutine returns, run where it is first waited for; any other value as it is."""
    if value.kind != OBJECT or value.payload.kind != "coroutine":
        return value
    cells = value.payload.cells
    if ".result" not in cells:
        function, args, kwargs = cells[".call"]
        run.state.write(cells, ".result", UNKNOWN)
        run.state.write(cells, ".result", _run_function(run, function, args, kwargs, node))
    return cells[".result"]  # type: ignore[no-any-return]


def _run_function(
    run: Interpreter, function: Function, args: list[Value], kwargs: dict[str, Value], node: ast.AST
) -> Value:
    if len(run.functions) >= MAX_DEPTH or run.functions.count(function) >= 2:
        atoms = union((*map(run.atoms_of, args), *map(run.atoms_of, kwargs.values())))
        return data(run.predictors.applied(atoms))
    run.calls.append(run.site(getattr(node, "lineno", 0)))
    result = run.enter(function, args, kwargs)
    run.calls.pop()
    return result


def enter(run: Interpreter, function: Function, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """Run a function's body with its arguments bound; the value it returns."""
    run.entered.add(function.node)
    frame = Frame(function.frame, function.name, function.frame.globals_)
    _bind_arguments(run, function, args, kwargs, frame)
    line, path = run.line, run.path
    run.path = function.path
    run.functions.append(function)
    if isinstance(function.node, ast.Lambda):
        result = run.value(function.node.body, frame)
    else:
        result = _body(run, function.node, frame)
    run.functions.pop()
    run.line, run.path = line, path
    return result


def _body(run: Interpreter, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> Value:
    run.returns.append([])
    run.pending_returns.append([])
    loops, run.pending_loops = run.pending_loops, []
    run.block(node.body, frame)
    run.pending_loops = loops
    for writes in run.pending_returns.pop():
        run.state.merge(writes)
    returned = run.returns.pop()
    if not returned:
        return NONE
    result = returned[0]
    for other in returned[1:]:
        result = join(result, other)
    return result


def _bind_arguments(
    run: Interpreter, function: Function, args: list[Value], kwargs: dict[str, Value], frame: Frame
) -> None:
    spec = function.node.args
    names = [arg.arg for arg in (*spec.posonlyargs, *spec.args)]
    bound = frame.names
    for name, default in zip(reversed(names), reversed(function.defaults), strict=False):
        bound[name] = default
    for arg, default_value in zip(spec.kwonlyargs, function.kw_defaults, strict=True):
        if default_value is not None:
            bound[arg.arg] = default_value
    for name, value in zip(names, args, strict=False):
        bound[name] = value
    if spec.vararg is not None:
        bound[spec.vararg.arg] = Value(TUPLE, tuple(args[len(names) :]))
    extra: dict[str, Value] = {}
    known = {*names, *(arg.arg for arg in spec.kwonlyargs)}
    for name, value in kwargs.items():
        (bound if name in known else extra)[name] = value
    if spec.kwarg is not None:
        holder = containers.new_dict(run, function.node.lineno)
        for name, value in extra.items():
            containers.store_item(run, holder.payload, const(name), value)
        bound[spec.kwarg.arg] = holder
    for name in known:
        bound.setdefault(name, UNKNOWN)


def _body_of(value: Value) -> ast.AST | None:
    """The syntax of a function of the script, bound or partial; None for anything else."""
    if value.kind == PARTIAL:
        return _body_of(value.payload[0])
    if value.kind == METHOD and value.payload[0].kind == OBJECT and value.payload[0].payload.class_ is not None:
        member = value.payload[0].payload.class_.find(value.payload[1])
        return _body_of(member) if member is not None else None
    return value.payload.node if value.kind == FUNCTION else None
