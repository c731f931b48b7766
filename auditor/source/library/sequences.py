"""Things to iterate over: ranges, generators, zip, enumerate, map, sorted, chain; what a member of them is."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.library.containers import add_rest, extend, known_elements, loosen, new_list
from auditor.source.library.file_contents import read_file
from auditor.source.library.items import is_cut_short
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.library.text import text
from auditor.source.values import (
    CONST,
    FORMAT,
    FUNCTION,
    MEASURED,
    METHOD,
    NOTHING,
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
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def concatenate(run: Interpreter, left: Value, right: Value) -> Value | None:
    """``left + right`` for text, tuples and lists; None where neither is one."""
    if left.kind == FORMAT or right.kind == FORMAT:
        parts: list[str | Value] = []
        for side in (left, right):
            if side.kind == FORMAT:
                parts.extend(side.payload)
            elif side.kind == CONST and isinstance(side.payload, str):
                parts.append(side.payload)
            else:
                parts.append(side)
        return text(parts, left.atoms | right.atoms)
    if left.kind == TUPLE and right.kind == TUPLE:
        return Value(TUPLE, left.payload + right.payload, left.atoms | right.atoms)
    if left.kind == OBJECT and left.payload.kind == "list":
        result = new_list(run, list(known_elements(run, left.payload, 256) or []), run.line)
        if known_elements(run, left.payload, 256) is None:
            loosen(run, result.payload)
            add_rest(run, result.payload, any_element(run, left))
        extend(run, result.payload, right)
        return result
    return None


def repeated(run: Interpreter, value: Value) -> Value:
    """``[item] * count``."""
    result = new_list(run, [any_element(run, value)], run.line)
    loosen(run, result.payload)
    result.payload.cells[".repeats"] = True
    return result


def any_element(run: Interpreter, value: Value) -> Value:
    """A value that stands for any element met when iterating over a heap object."""
    obj: Obj = value.payload
    if obj.kind == "range":
        start, stop, _ = obj.cells[".bounds"]
        return data(members_of_a_range(run, start.atoms, stop.atoms))
    if obj.kind in ("list", "enumerate"):
        return obj.cells.get(".rest", UNKNOWN)  # type: ignore[no-any-return]
    if obj.kind == "dict":
        return data(value.atoms)
    if obj.kind == "generator":
        return any_element(run, collected(run, obj))
    if obj.kind == "module":
        return data(NOTHING, obj)
    if obj.kind == "file":
        return data(read_file(run, obj.cells[".path"]))
    if obj.class_ is not None and obj.class_.find("__iter__"):
        produced = run.call_method(value, "__iter__", [], {}, ast.Pass())
        return run.element(produced) if produced.kind != OBJECT or produced.payload is not obj else UNKNOWN
    return data(run.atoms_of(value))


def members_of_a_range(run: Interpreter, start: Atoms, stop: Atoms) -> Atoms:
    """What the members of a range depend on. One that ends where a later iteration begins ends before it."""
    rounds = run.rounds
    return start | {
        ("loop", atom[1], atom[2] - 1) if atom[0] == "loop" and atom[2] > rounds.get(atom[1], atom[2]) else atom
        for atom in stop
    }


def collected(run: Interpreter, generator: Obj) -> Value:
    """The list of what a generator yields when it is run to its end."""
    found: list[Value] = []
    run.run_generator(generator, found.append)
    result = new_list(run, found, run.line)
    loosen(run, result.payload)
    return result


def read_to_its_end(run: Interpreter, value: Value) -> Value:
    """What a library's function gets from a generator: everything it yields."""
    generator = value.kind == OBJECT and value.payload.kind == "generator"
    return collected(run, value.payload) if generator else value


def _range(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    obj = Obj("range", run.line, "range")
    if len(args) == 1:
        parts = (const(0), args[0], const(1))
    else:
        parts = (args[0], args[1], args[2] if len(args) > 2 else const(1)) if args else (UNKNOWN, UNKNOWN, const(1))
    if all(part.kind == CONST and isinstance(part.payload, int) for part in parts):
        numbers = range(*(part.payload for part in parts)) if parts[2].payload else range(0)
        if len(numbers) <= 1:
            return Value(TUPLE, tuple(const(number) for number in numbers))
    if parts[0].kind == CONST and parts[0].payload == 0 and is_cut_short(parts[1]):
        parts = (parts[0], with_atoms(parts[1], frozenset((("subset", run.predictors.site_number()),))), parts[2])
    obj.cells[".bounds"] = parts
    return Value(OBJECT, obj)


def _len(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args:
        parts = run.elements(args[0], limit=100_000)
        if parts is not None:
            return const(len(parts))
    return Value(RANGE, (0, None), MEASURED)


def _chain(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``itertools.chain``: one after the other; the same collection twice gives its members twice."""
    result = new_list(run, [run.element(arg) for arg in args], run.line)
    loosen(run, result.payload)
    objects = [arg.payload for arg in args if arg.kind == OBJECT]
    if len(objects) != len(set(objects)):
        result.payload.cells[".repeats"] = True
    return result


def _zip(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    columns = [run.elements(arg) for arg in args]
    if columns and all(column is not None for column in columns):
        rows = [Value(TUPLE, row) for row in zip(*(column or [] for column in columns), strict=False)]
        return new_list(run, rows, run.line)
    result = new_list(run, [Value(TUPLE, tuple(run.element(arg) for arg in args))], run.line)
    loosen(run, result.payload)
    return result


def _enumerate(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    parts = run.elements(args[0]) if args else None
    if parts is not None:
        rows = [Value(TUPLE, (const(index), part)) for index, part in enumerate(parts)]
        return new_list(run, rows, run.line)
    obj = Obj("enumerate", run.line, "enumerate")
    obj.cells[".rest"] = Value(TUPLE, (UNKNOWN, run.element(args[0]) if args else UNKNOWN))
    if args and args[0].kind == OBJECT and args[0].payload.cells.get(".repeats"):
        obj.cells[".repeats"] = True
    return Value(OBJECT, obj)


def run_key(run: Interpreter, source: Value, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> None:
    """``key=`` of a sort is called on the elements."""
    key = kwargs.get("key")
    if key is not None and key.kind in (FUNCTION, PARTIAL, METHOD):
        run.call(key, [run.element(source)], {}, node, frame)


def map_over(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) < 2:
        return UNKNOWN
    parts = run.elements(args[1])
    if parts is not None and len(args) == 2:
        return new_list(run, [run.call(args[0], [part], {}, node, frame) for part in parts], run.line)
    result = new_list(run, [run.call(args[0], [run.element(arg) for arg in args[1:]], {}, node, frame)], run.line)
    loosen(run, result.payload)
    return result


def next_member(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if not args:
        return UNKNOWN
    found = run.element(args[0])
    for act in run.live:
        found = run.tagged(found, act, run.rounds.get(act, 0))
    return found


CALLS: dict[str, Model] = {
    "range": _range,
    "len": _len,
    "zip": _zip,
    "enumerate": _enumerate,
    "map": map_over,
    "next": next_member,
    "itertools.chain": _chain,
}
