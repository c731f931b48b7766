"""Functions that the script hands to code that is not seen, or binds to arguments."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.ledger import RULES_OF_SCORING
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.values import CONST, FUNCTION, OBJECT, PARTIAL, UNKNOWN, Atoms, Frame, Value, choices, external

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


_WRAPPERS = ("torch.", "functools.", "contextlib.", "typing.", "abc.", "dataclasses.", "enum.", "triton.", "numba.",
             "numpy.", "types.", "staticmethod", "classmethod", "property", "identity")  # fmt: skip
_CALLERS = ("torch.library.", "functools.singledispatch")


def only_wraps(name: str) -> bool:
    """True for a decorator of a library whose result runs the function only where it is called."""
    return name.startswith(_WRAPPERS) and not name.startswith(_CALLERS)


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
    """Run functions of the script that were handed to code that is not seen, as it may call them."""
    for value in (*args, *kwargs.values()):
        for option in choices(value):
            if option.kind == FUNCTION and not option.payload.is_generator and len(run.functions) < 24:
                count = len(option.payload.node.args.args)
                run.call(option, [UNKNOWN] * count, {}, node)
            elif option.kind == PARTIAL and option.payload[0].kind == FUNCTION:
                run.call(option, [], {}, node)


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
