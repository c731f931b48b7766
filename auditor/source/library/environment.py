"""Environment variables, command-line options and settings files."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.library.namespaces import new_namespace
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.library.text import constant
from auditor.source.values import (
    CONST,
    NONE,
    OBJECT,
    TUPLE,
    UNKNOWN,
    Atoms,
    Frame,
    Obj,
    Value,
    const,
    data,
    union,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def environment_variable(run: Interpreter, args: Args) -> Value:
    name = args[0].payload if args and args[0].kind == CONST else None
    if isinstance(name, str):
        stored = run.files.cells.get(f"environ {name}")
        if stored is not None:
            return data(stored)
        found = run.overrides.get(name) or run.environment(name)
        if found is not None:
            value = constant(found)
            return with_atoms(value, RANK) if name in ("RANK", "LOCAL_RANK") else value
    default_value = args[1] if len(args) > 1 else NONE
    if run.open_switches and default_value.kind == CONST and str(default_value.payload).lower() in _OFF:
        return data(frozenset((("setting",),)))
    return default_value


RANK: Atoms = frozenset((("rank",),))  # of the number of this process among the eight
_OFF = frozenset(("0", "false", "no", "off", "none", ""))


def _env_get(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return environment_variable(run, [*args, *([kwargs["default"]] if "default" in kwargs else [])])


def _settings(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """Values read from a settings file are not known."""
    return data(union(map(run.atoms_of, args)) | {("setting",)})


def _parser(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return Value(OBJECT, Obj("parser", run.line, "parser"))


def parser_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    """``argparse``: the defaults are taken, since the command's arguments are rarely known."""
    cells = owner.payload.cells
    if name == "add_argument" and args:
        flag = next((str(arg.payload) for arg in args if arg.kind == CONST and str(arg.payload).startswith("--")), "")
        flag = flag or str(args[0].payload)
        dest = str(kwargs["dest"].payload) if "dest" in kwargs else flag.lstrip("-").replace("-", "_")
        action = kwargs["action"].payload if "action" in kwargs and kwargs["action"].kind == CONST else ""
        switch = {"store_true": const(False), "store_false": const(True)}.get(action, NONE)
        value = kwargs.get("default", switch)
        if value.kind == CONST and isinstance(value.payload, str) and "type" in kwargs:
            value = run.call(kwargs["type"], [value], {}, node, frame)
        run.state.write(cells, ("option", dest), value)
        return UNKNOWN
    if name == "set_defaults":
        for key, value in kwargs.items():
            run.state.write(cells, ("option", key), value)
        return NONE
    if name in ("parse_args", "parse_known_args"):
        options = {key[1]: value for key, value in cells.items() if isinstance(key, tuple) and key[0] == "option"}
        parsed = new_namespace(run, [], options, node, frame)
        return parsed if name == "parse_args" else Value(TUPLE, (parsed, UNKNOWN))
    return owner if name in ("add_argument_group", "add_mutually_exclusive_group") else UNKNOWN


CALLS: dict[str, Model] = {
    **dict.fromkeys(("os.environ.get", "os.getenv", "environ.get", "os.environ.setdefault"), _env_get),
    "argparse.ArgumentParser": _parser,
    **dict.fromkeys(
        ("json.load", "json.loads", "yaml.safe_load", "yaml.load", "tomllib.load", "tomllib.loads"), _settings
    ),
}
