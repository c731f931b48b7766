"""Numbers: rounding, the smaller and the larger of them, seeds, the clock."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from auditor.source import scoring
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.library.unmodelled import default
from auditor.source.values import (
    CONST,
    DATA,
    FUNCTION,
    MEASURED,
    NONE,
    NOTHING,
    OBJECT,
    PARTIAL,
    RANGE,
    UNKNOWN,
    Frame,
    Value,
    const,
    data,
    union,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def _smaller(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) < 2:
        return default(run, "minimum", args, kwargs, node)
    return data(run.predictors.chosen([run.atoms_of(arg) for arg in args[:2]]))


def _pure(function: Callable[..., Any]) -> Callable[[Interpreter, Args, Kwargs, ast.AST, Frame | None], Value]:
    def model(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
        if args and not kwargs and all(arg.kind == CONST and _short(arg.payload) for arg in args):
            try:
                return const(function(*(arg.payload for arg in args)), union(arg.atoms for arg in args))
            except Exception:
                return data(union(arg.atoms for arg in args))
        if function in (int, abs) and len(args) == 1 and args[0].kind == RANGE:
            return args[0]
        return data(run.predictors.combined([run.atoms_of(arg) for arg in args]))

    return model


def _short(value: Any) -> bool:
    return not isinstance(value, str | bytes) or len(value) <= 4096


def _extreme(function: Callable[..., Any]) -> Callable[[Interpreter, Args, Kwargs, ast.AST, Frame | None], Value]:
    plain = _pure(function)

    def of_members(run: Interpreter, args: Args, kwargs: Kwargs) -> Value:
        atoms = run.atoms_of(args[0]) | (run.atoms_of(kwargs["key"]) if "key" in kwargs else NOTHING)
        if args[0].kind == OBJECT and args[0].payload.kind == "dict":
            atoms |= run.atoms_of(args[0].payload.cells.get(".rest", UNKNOWN))
        found = data(atoms | run.atoms_of(run.element(args[0])))
        return with_atoms(found, scoring.chosen(run, found.atoms, again=True))

    def model(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
        if function is max and len(args) == 2:
            for one, two in (args, args[::-1]):
                if one.kind == CONST and type(one.payload) is int and one.payload >= 0 and two.kind != CONST:
                    return Value(RANGE, (one.payload, None), one.atoms | run.atoms_of(two))
        if len(args) == 1 and args[0].kind != CONST and ("picked",) in run.atoms_of(args[0]):
            return of_members(run, args, kwargs)
        key = kwargs.get("key")
        if len(args) == 1 and key is not None and key.kind in (FUNCTION, PARTIAL):
            item = run.element(args[0])
            judged = run.atoms_of(run.call(key, [item], {}, node, frame))
            if ("picked",) in judged:
                return with_atoms(data(run.atoms_of(item)), scoring.chosen(run, judged, again=True))
        if function is min and len(args) == 2:
            for one, two in (args, args[::-1]):
                if one.kind == CONST and type(one.payload) is int and one.payload > 0 and _is_size(run, two):
                    return Value(RANGE, (0, one.payload), one.atoms | run.atoms_of(two))
        if function is min and len(args) >= 2 and any(arg.kind == DATA for arg in args):
            return data(run.predictors.chosen([run.atoms_of(arg) for arg in args]))
        return plain(run, args, kwargs, node, frame)

    return model


def _is_size(run: Interpreter, value: Value) -> bool:
    """True for a number that is a size of data and nothing else."""
    return value.kind in (DATA, RANGE) and run.atoms_of(value) == MEASURED


def _seed(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """Random numbers from a seed that was chosen by a score are chosen by it too."""
    given = union((*map(run.atoms_of, args), *map(run.atoms_of, kwargs.values())))
    run.seeded = frozenset(atom for atom in given if atom[0] == "choice")
    return NONE


def _clock(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return data(MEASURED | {("clock",)})


CALLS: dict[str, Model] = {
    "int": _pure(int),
    **dict.fromkeys(("float", "numpy.float32", "numpy.float64"), _pure(float)),
    "bool": _pure(bool),
    "abs": _pure(abs),
    "round": _pure(round),
    "math.ceil": _pure(__import__("math").ceil),
    "math.floor": _pure(__import__("math").floor),
    "math.log": _pure(__import__("math").log),
    "math.sqrt": _pure(__import__("math").sqrt),
    "min": _extreme(min),
    "max": _extreme(max),
    **dict.fromkeys(("torch.manual_seed", "random.seed", "numpy.random.seed", "torch.cuda.manual_seed_all"), _seed),
    **dict.fromkeys(("time.perf_counter", "time.time", "time.monotonic", "time.process_time"), _clock),
    **dict.fromkeys(("torch.minimum", "numpy.minimum", "numpy.fmin", "torch.fmin", "torch.min"), _smaller),
}
