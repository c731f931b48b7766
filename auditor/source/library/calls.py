"""Calls of library functions by their dotted names."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source import scaling
from auditor.source.library import (
    attributes,
    callbacks,
    classes,
    copies,
    distributed,
    environment,
    files,
    hidden_code,
    lists_and_dicts,
    modules,
    namespaces,
    numbers,
    optimizers,
    sequences,
    tasks,
    tensors,
    text,
)
from auditor.source.library.hidden_code import EXTENSION, unseen_code
from auditor.source.library.modules import initialise
from auditor.source.library.namespaces import new_namespace
from auditor.source.library.optimizers import OPTIMIZERS, new_optimizer
from auditor.source.library.outside import outside_access
from auditor.source.library.sequences import read_to_its_end
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.library.unmodelled import default
from auditor.source.values import OBJECT, UNKNOWN, Frame, Value

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


_CALLS: dict[str, Model] = {
    **text.CALLS,
    **lists_and_dicts.CALLS,
    **sequences.CALLS,
    **attributes.CALLS,
    **namespaces.CALLS,
    **classes.CALLS,
    **optimizers.CALLS,
    **modules.CALLS,
    **tasks.CALLS,
    **callbacks.CALLS,
    **environment.CALLS,
    **numbers.CALLS,
    **files.CALLS,
    **tensors.CALLS,
    **copies.CALLS,
    **hidden_code.CALLS,
    **distributed.CALLS,
}
_SHORT_NAMES: dict[str, Model] = {  # of functions, whatever package they were imported from
    **optimizers.SHORT_NAMES,
    **modules.SHORT_NAMES,
    **callbacks.SHORT_NAMES,
    **tensors.SHORT_NAMES,
    **copies.SHORT_NAMES,
    **distributed.SHORT_NAMES,
}


def call(run: Interpreter, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """Call the library function `name` (its dotted name as imported)."""
    return scaling.bent(name.rpartition(".")[2], _call(run, name, args, kwargs, node, frame))


def _call(run: Interpreter, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    handler = _CALLS.get(name)
    if handler is not None:
        return handler(run, args, kwargs, node, frame)
    args = [read_to_its_end(run, arg) for arg in args]
    if name.endswith(".step") and args and args[0].kind == OBJECT and args[0].payload.kind == "optimizer":
        run.predictors.step(args[0].payload)
        return UNKNOWN
    if run.extensions and name.startswith((EXTENSION, "torch.ops.")):
        return unseen_code(run, args, kwargs, node, frame)
    outside = outside_access(run, name, args)
    if outside:
        run.predictors.outside.append((run.predictors.site_number(), outside))
    if name.startswith("namedtuple:"):
        fields = name.partition(":")[2].split(",")
        return new_namespace(run, [], {**dict(zip(fields, args, strict=False)), **kwargs}, node, frame)
    if name.startswith(("torch.Tensor.", "torch.nn.Module.")) and args:
        return run.call_method(args[0], name.rsplit(".", 1)[-1], args[1:], kwargs, node, frame)
    short = name.rsplit(".", 1)[-1]
    handler = _SHORT_NAMES.get(short)
    if handler is not None and "." in name:
        return handler(run, args, kwargs, node, frame)
    optimizer = name.startswith("torch.optim.") or short in OPTIMIZERS
    if optimizer and "lr_scheduler" not in name and short[:1].isupper():
        return new_optimizer(run, short, args, kwargs, run.line)
    if name.startswith("torch.nn.") and short[:1].isupper() and short not in ("Parameter", "DataParallel"):
        return run.predictors.module(short, run.line, [*args, *kwargs.values()])
    if name.startswith("torch.nn.init."):
        return initialise(run, args, kwargs, node, frame)
    return default(run, name, args, kwargs, node, frame)
