"""Literals, f-strings, printed lines, and the methods of text."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from auditor.source.library.containers import new_list
from auditor.source.library.shard_paths import path_atoms
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.values import CONST, FORMAT, NONE, NOTHING, Atoms, Frame, Value, const, data, union

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def constant(value: Any) -> Value:
    """A literal; text that names shard files is a path to them."""
    return Value(CONST, value, path_atoms(value)) if isinstance(value, str) else Value(CONST, value)


def text(parts: list[str | Value], atoms: Atoms) -> Value:
    """An f-string: constant when it has no holes. Adjacent pieces of text are joined."""
    merged: list[str | Value] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    for part in merged:
        if isinstance(part, str):
            atoms = atoms | path_atoms(part)
    if all(isinstance(part, str) for part in merged):
        return Value(CONST, "".join(map(str, merged)), atoms)
    return Value(FORMAT, tuple(merged), atoms)


def formatted(value: Value, spec: ast.expr | None) -> str | None:
    """The text of a known value in an f-string; None where it is not known."""
    if value.kind != CONST or isinstance(value.payload, bytes | slice):
        return None
    layout = ""
    if isinstance(spec, ast.JoinedStr):
        if not all(isinstance(part, ast.Constant) for part in spec.values):
            return None
        layout = "".join(str(part.value) for part in spec.values if isinstance(part, ast.Constant))
    if len(layout) > 8 or any(value.atoms):
        return None if any(atom[0] in ("loop", "val") for atom in value.atoms) else str(value.payload)
    try:
        return format(value.payload, layout)
    except (TypeError, ValueError):
        return None


def print_line(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    template: list[str | None] = []
    atoms = NOTHING
    for position, arg in enumerate(args):
        if position:
            template.append(" ")
        atoms |= run.atoms_of(arg)
        if arg.kind == CONST and isinstance(arg.payload, str):
            template.append(arg.payload)
        elif arg.kind == FORMAT:
            template.extend(part if isinstance(part, str) else None for part in arg.payload)
        else:
            template.append(None)
    run.predictors.print(tuple(template), atoms)
    return NONE


def _dump(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return data(union(map(run.atoms_of, args)))


def _format_call(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args:
        known = formatted(args[0], None) if len(args) == 1 else None
        return const(known, args[0].atoms) if known is not None else Value(FORMAT, (args[0],))
    return const("")


def text_method(run: Interpreter, owner: Value, name: str, args: Args) -> Value:
    atoms = union((owner.atoms, *map(run.atoms_of, args)))
    if name == "join" and isinstance(owner.payload, str) and len(args) == 1:
        parts = run.elements(args[0], limit=64) or []
        if parts and all(part.kind == CONST and isinstance(part.payload, str) for part in parts):
            joined = owner.payload.join(part.payload for part in parts)
            return Value(CONST, joined, atoms | path_atoms(joined))
    known = isinstance(owner.payload, str | bytes | int | float) and all(arg.kind == CONST for arg in args)
    if not known or name not in _SAFE_METHODS or len(str(owner.payload)) > 65536:
        return data(atoms)
    try:
        result = getattr(owner.payload, name)(*(arg.payload for arg in args))
    except Exception:
        return data(atoms)
    if isinstance(result, list):
        return new_list(run, [const(item, owner.atoms) for item in result[:256]], run.line)
    return Value(CONST, result, atoms | (path_atoms(result) if isinstance(result, str) else NOTHING))


_SAFE_METHODS = frozenset(
    "split rsplit strip lstrip rstrip lower upper startswith endswith replace encode decode join isdigit "
    "splitlines title capitalize removeprefix removesuffix find count zfill partition rpartition is_integer "
    "bit_length".split()
)


def has_text(args: Args) -> bool:
    return bool(args) and (args[0].kind == FORMAT or (args[0].kind == CONST and isinstance(args[0].payload, str)))


CALLS: dict[str, Model] = {
    "str": _format_call,
    "print": print_line,
    "compile": _dump,
    "json.dumps": _dump,
}
