"""torch.nn.Module: its methods, parameters, hooks and initialisation."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.library.containers import holds_all
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.library.views import RETURNING_SELF
from auditor.source.values import (
    CONST,
    FUNCTION,
    METHOD,
    NONE,
    NOTHING,
    OBJECT,
    PARTIAL,
    SOME,
    UNKNOWN,
    Frame,
    Obj,
    Value,
    data,
    union,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def _parameter(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    made = run.predictors.tensor(union(map(run.atoms_of, args[:1])), run.line, differentiable=True, name="parameter")
    if made.base is not None and any(arg.base is not None and arg.base.cells.get(".rows") for arg in args[:1]):
        made.base.cells[".rows"] = True
    return made


def initialise(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args:
        run.predictors.replace(args[0], "data", union(map(run.atoms_of, args[1:])), node)
        return args[0]
    return UNKNOWN


def module_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    obj: Obj = owner.payload
    if name == "load_state_dict" and args:
        run.predictors.load(obj, run.atoms_of(args[0]), whole=_is_whole(run, obj, args, kwargs))
        return UNKNOWN
    if name in ("train", "eval"):
        still = name == "eval" or (bool(args) and run.truth(args[0]) is False)
        run.state.write(obj.cells, ".still", still)
        return owner
    if name == "zero_grad":
        run.predictors.clear_gradient([obj, *obj.cells.get(".children", ())])
        return NONE
    if name == "apply" and args:
        run.call(args[0], [owner], {}, node, frame)
        return owner
    if name in RETURNING_SELF:
        return owner
    if name in ("get_submodule", "get_parameter", "get_buffer"):
        return data(NOTHING, obj, SOME)
    if name in ("parameters", "named_parameters", "buffers", "named_buffers", "state_dict", "modules", "named_modules",
                "children", "named_children"):  # fmt: skip
        return data(NOTHING, obj)
    if name in FORWARD_HOOKS:
        hooks = tuple(arg for arg in args if arg.kind in (FUNCTION, PARTIAL, METHOD))
        run.state.write(obj.cells, ".hooks", obj.cells.get(".hooks", ()) + hooks)
        return UNKNOWN
    if name in ("register_buffer", "register_parameter", "add_module") and len(args) >= 2:
        run.state.write(obj.cells, args[0].payload if args[0].kind == CONST else "?", args[1])
        run.predictors.attach(obj, "*", args[1])
        return NONE
    if name in ("append", "extend", "insert"):
        run.predictors.attach(obj, "*", args[-1] if args else UNKNOWN)
        return NONE
    return run.predictors.predict(owner, args, kwargs, name)


def _is_whole(run: Interpreter, obj: Obj, args: Args, kwargs: Kwargs) -> bool:
    """False for a state that may lack parameters: without being strict, loading it leaves those as they were."""
    strict = args[1] if len(args) > 1 else kwargs.get("strict")
    if strict is None or run.truth(strict) is True:
        return True
    state = args[0]
    if state.kind == OBJECT:
        return holds_all(state.payload, obj)
    return state.base is not None and state.base.kind == "module" and state.attr == "*"


FORWARD_HOOKS = frozenset(("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"))


def script_method(run: Interpreter, owner: Value, name: str) -> Value | None:
    """The one state-changing method of this name among the script's modules, for parts of a model."""
    if owner.base is None or owner.base.kind != "module":
        return None
    return run.module_method(name)


CALLS: dict[str, Model] = {
    "torch.nn.Parameter": _parameter,
}
SHORT_NAMES: dict[str, Model] = {
    "Parameter": _parameter,
}
