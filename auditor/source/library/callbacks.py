"""Functions that the script hands to code that is not seen, or binds to arguments."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.ledger import RULES_OF_SCORING
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.values import (
    CONST,
    FUNCTION,
    METHOD,
    NOTHING,
    OBJECT,
    PARTIAL,
    UNKNOWN,
    UNSEEN,
    Atoms,
    Frame,
    Function,
    Value,
    choices,
    data,
    external,
    kinds,
    union,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


_WRAPPERS = ("torch.", "functools.", "contextlib.", "typing.", "abc.", "dataclasses.", "enum.", "triton.", "numba.",
             "numpy.", "types.", "staticmethod", "classmethod", "property", "identity")  # fmt: skip
_CALLERS = ("torch.library.", "functools.singledispatch")


def only_wraps(name: str) -> bool:
    """True for a decorator of a library whose result runs the function only where it is called."""
    return name.startswith(_WRAPPERS) and not name.startswith(_CALLERS)


MAX_CALLBACK_DEPTH = 24  # calls
CALLED_BACK = ("sys.", "gc.", "signal.", "threading.", "builtins.", "importlib.", "codecs.", "torch.library.")


def unseen_callee(run: Interpreter, name: str, values: Args, parts: list[Atoms]) -> None:
    """Code that is not seen and that gets a model together with validation tokens may train the one on the other."""
    models = any(
        (value.kind == OBJECT and value.payload.kind == "module")
        or (value.base is not None and value.base.kind == "module")
        for value in values
    )
    if models and any(atom[0] == "val" for part in parts for atom in part):
        run.cannot_see(
            f"{name}, which is not part of the submission, gets the model and validation tokens", RULES_OF_SCORING
        )


def run_callbacks(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST) -> None:
    """Run functions of the script that were handed to code that is not seen, as it may call them.

    What it hands to them is not known; to a function that learns it may hand what else it was given.
    """
    values = [*args, *kwargs.values()]
    for value in values:
        for option in choices(value):
            if option.kind == PARTIAL and option.payload[0].kind == FUNCTION:
                run.call(option, [], {}, node)
                continue
            function = _function_of(option)
            if function is None or function.is_generator or len(run.functions) >= MAX_CALLBACK_DEPTH:
                continue
            learns = run.may_learn(function.node)
            if option.kind == METHOD and not learns:
                continue
            given = union(run.atoms_of(other) for other in values if other is not value) if learns else NOTHING
            possibly = "val" in kinds(given)
            count = len(function.node.args.args) - (option.kind == METHOD)
            run.open_settings += possibly
            run.call(option, [data(UNSEEN | given if possibly else UNSEEN)] * count, {}, node)
            run.open_settings -= possibly


def _function_of(value: Value) -> Function | None:
    """The function of the script that a value is, or is the bound method of."""
    if value.kind == FUNCTION:
        return value.payload  # type: ignore[no-any-return]
    if value.kind == METHOD and value.payload[0].kind == OBJECT and value.payload[0].payload.class_ is not None:
        member = value.payload[0].payload.class_.find(value.payload[1])
        return member.payload if member is not None and member.kind == FUNCTION else None
    return None


def _identity(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args:
        return args[0]
    return next(iter(kwargs.values())) if kwargs and "model" in kwargs else external("identity")


def _partial(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return Value(PARTIAL, (args[0], tuple(args[1:]), kwargs)) if args else UNKNOWN


def _method_caller(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``operator.methodcaller(name, ...)``: what calls that method of its argument."""
    known = bool(args) and args[0].kind == CONST and isinstance(args[0].payload, str)
    return Value(PARTIAL, (external("operator.methodcaller()"), tuple(args), kwargs)) if known else UNKNOWN


def _called_method(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    *first, target = args
    return run.call(run.attribute(target, first[0].payload, node), first[1:], kwargs, node, frame) if first else UNKNOWN


CALLS: dict[str, Model] = {
    **dict.fromkeys(("iter", "torch.compile", "torch.jit.script"), _identity),
    "types.MethodType": _partial,
    "functools.partial": _partial,
    "operator.methodcaller": _method_caller,
    "operator.methodcaller()": _called_method,
}
SHORT_NAMES: dict[str, Model] = {
    **dict.fromkeys(("DistributedDataParallel", "DDP", "DataParallel"), _identity),
    "partial": _partial,
}
