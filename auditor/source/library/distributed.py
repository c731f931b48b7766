"""torch.distributed: what the processes gather and add up."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.library.containers import loosen
from auditor.source.library.environment import RANK
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.values import NONE, OBJECT, UNKNOWN, Frame, Value, choices, const

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def _gather_objects(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``dist.all_gather_object(out, obj)`` and its like: every slot of `out` may hold what any rank sent."""
    _reduced(run, [*args, *kwargs.values()], {}, node, frame)
    target = args[0] if args else kwargs.get("object_list", UNKNOWN)
    sent = args[1] if len(args) > 1 else kwargs.get("obj", UNKNOWN)
    for option in choices(target):
        if option.kind == OBJECT and option.payload.kind == "list":
            loosen(run, option.payload)
            run.state.write(option.payload.cells, ".rest", sent)
        elif option.base is not None:
            run.predictors.update(option, run.atoms_of(sent), node)
    return NONE


def _gather(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``dist.gather(tensor, gather_list)``: what was sent comes first."""
    sent = args[0] if args else kwargs.get("tensor", UNKNOWN)
    target = args[1] if len(args) > 1 else kwargs.get("gather_list", NONE)
    return _gather_objects(run, [target, sent], {}, node, frame)


def _true(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return const(True)


def _reduced(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    run.reduced = run.reduced or any(atom[0] == "share" for arg in args for atom in run.atoms_of(arg))
    return NONE


def _none(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return NONE


CALLS: dict[str, Model] = {
    **dict.fromkeys(
        ("torch.cuda.is_available", "torch.distributed.is_available", "torch.distributed.is_initialized"), _true
    ),
    "torch.distributed.gather": _gather,
    "torch.distributed.all_reduce": _reduced,
    "torch.distributed.reduce": _reduced,
    **dict.fromkeys(
        ("torch.distributed.broadcast", "torch.distributed.barrier", "torch.distributed.broadcast_object_list"), _none
    ),
    "torch.distributed.get_rank": lambda *_: const(0, RANK),
    "torch.distributed.get_world_size": lambda *_: const(8),
}
SHORT_NAMES: dict[str, Model] = {
    **dict.fromkeys(("all_gather_object", "all_gather", "all_gather_into_tensor", "gather_object"), _gather_objects),
}
