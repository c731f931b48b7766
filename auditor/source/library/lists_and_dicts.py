"""Lists, tuples, sets, queues and dicts: what makes them, and their methods."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source import scoring
from auditor.source.library.containers import (
    CUT,
    append,
    extend,
    holds_environment,
    loosen,
    new_dict,
    new_list,
    store_item,
    update_dict,
)
from auditor.source.library.copies import deep_copy
from auditor.source.library.environment import environment_variable
from auditor.source.library.items import item
from auditor.source.library.sequences import collected, next_member, run_key
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.library.unmodelled import default
from auditor.source.values import (
    CONST,
    EXTERNAL,
    FUNCTION,
    NONE,
    OBJECT,
    TUPLE,
    UNKNOWN,
    Frame,
    Obj,
    Value,
    const,
    data,
    join,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


_MAPPINGS = ("dict", "collections.defaultdict", "collections.Counter", "collections.OrderedDict")


def _default_dict(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``defaultdict(dict)``: its entries are tables that live on under other names; one stands for all of them. Other
    factories make numbers and lists, which are followed through the name of the whole."""
    made = Value(CONST, None)
    if args and args[0].kind == EXTERNAL and args[0].payload in _MAPPINGS:
        made = new_dict(run, run.line)
    elif args and args[0].kind == FUNCTION and isinstance(args[0].payload.node, ast.Lambda):
        made = run.call(args[0], [], {}, node, frame)
    if made.kind != OBJECT or made.payload.kind != "dict":
        return default(run, "collections.defaultdict", args, kwargs, node, frame)
    loosen(run, made.payload)
    whole = new_dict(run, run.line)
    loosen(run, whole.payload)
    run.state.write(whole.payload.cells, ".rest", made)
    return whole


def _as_list(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if not args:
        return new_list(run, [], run.line)
    source = args[0]
    run_key(run, source, kwargs, node, frame)
    if source.kind == OBJECT and source.payload.kind == "generator":
        return collected(run, source.payload)
    parts = run.elements(source, limit=256)
    if parts is not None:
        return new_list(run, parts, run.line)
    result = new_list(run, [run.element(source)], run.line)
    loosen(run, result.payload)
    return result


def _sorted(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    result = _as_list(run, args, kwargs, node, frame)
    scoring.mark_members(run, result)
    return result


def _as_tuple(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    parts = run.elements(args[0], limit=64) if args else []
    return Value(TUPLE, tuple(parts)) if parts is not None else _as_list(run, args, kwargs, node, frame)


def _as_dict(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    result = new_dict(run, run.line)
    if args:
        update_dict(run, result.payload, args[0])
    for name, value in kwargs.items():
        store_item(run, result.payload, const(name), value)
    return result


def _copied_environment(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return _as_dict(run, [Value(EXTERNAL, "os.environ")], {}, node, frame)


def list_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    obj: Obj = owner.payload
    if name in ("append", "add", "appendleft", "put", "put_nowait") and args:
        append(run, obj, args[0])
        return NONE
    if name in ("extend", "update") and args:
        extend(run, obj, args[0])
        return NONE
    if name == "insert" and len(args) == 2:
        append(run, obj, args[1])
        return NONE
    if name == "clear":
        run.state.write(obj.cells, ".items", ())
        run.state.write(obj.cells, ".rest", UNKNOWN)
        return NONE
    if name in ("pop", "popleft", "get", "get_nowait"):
        if run.live:
            loosen(run, obj)
        return next_member(run, [owner], {}, node, frame)
    if name in ("sort", "reverse"):
        run_key(run, owner, kwargs, node, frame)
        if name == "sort":
            scoring.mark_members(run, owner)
        return NONE
    if name == "copy":
        return deep_copy(run, [owner], {}, node, frame)
    return None


def dict_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    obj: Obj = owner.payload
    if name in ("pop", "popitem", "clear"):
        run.state.write(obj.cells, CUT, True)
    if name in ("get", "pop", "setdefault") and args:
        if holds_environment(obj) and args[0].kind == CONST and ("k", args[0].payload) not in obj.cells:
            variable = environment_variable(run, args)
            if name == "setdefault":
                store_item(run, obj, args[0], variable)
            return variable
        if name == "setdefault" and len(args) > 1:
            store_item(run, obj, args[0], args[1])
        found = item(run, owner, args[0], node)
        known = args[0].kind == CONST and ("k", args[0].payload) in obj.cells
        if known or len(args) < 2:
            return found
        return args[1] if not obj.cells.get(".loose") and args[0].kind == CONST else join(found, args[1])
    if name in ("items", "values", "keys"):
        return _dict_view(run, obj, name)
    if name == "update":
        for arg in args:
            update_dict(run, obj, arg)
        for key, value in kwargs.items():
            store_item(run, obj, const(key), value)
        return NONE
    if name == "clear":
        for entry in [entry for entry in obj.cells if isinstance(entry, tuple)]:
            run.state.write(obj.cells, entry, UNKNOWN)
        run.state.write(obj.cells, ".rest", UNKNOWN)
        loosen(run, obj)
        return NONE
    if name == "copy":
        return deep_copy(run, [owner], {}, node, frame)
    return None


def _dict_view(run: Interpreter, obj: Obj, name: str) -> Value:
    pairs = [(const(key[1]), cell) for key, cell in obj.cells.items() if isinstance(key, tuple) and key[0] == "k"]
    exact = not obj.cells.get(".loose") and len(pairs) <= 64
    if not exact:
        rest = obj.cells.get(".rest", UNKNOWN)
        pairs = [(data(), rest)]
    rows = {
        "items": [Value(TUPLE, pair) for pair in pairs],
        "values": [pair[1] for pair in pairs],
        "keys": [pair[0] for pair in pairs],
    }[name]
    result = new_list(run, rows, run.line)
    if not exact:
        loosen(run, result.payload)
    return result


CALLS: dict[str, Model] = {
    **dict.fromkeys(("list", "set", "reversed"), _as_list),
    "sorted": _sorted,
    "tuple": _as_tuple,
    "dict": _as_dict,
    "os.environ.copy": _copied_environment,
    "collections.defaultdict": _default_dict,
}
