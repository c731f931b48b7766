"""``with``."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.scan import callee
from auditor.source.values import OBJECT, UNKNOWN, Frame, Value

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def with_statement(run: Interpreter, node: ast.With, frame: Frame) -> int:
    for item in node.items:
        value = run.value(item.context_expr, frame)
        if value.kind == OBJECT and value.payload.class_ and value.payload.class_.find("__enter__"):
            value = run.call_method(value, "__enter__", [], {}, node)
        elif value.kind == OBJECT and value.payload.kind == "generator":
            found: list[Value] = []
            run.run_generator(value.payload, found.append)
            value = found[0] if found else UNKNOWN
        if item.optional_vars is not None:
            run.assign(item.optional_vars, value, frame)
    still = sum(_stops_gradients(item.context_expr) for item in node.items)
    run.no_gradient += still
    flow = run.block(node.body, frame)
    run.no_gradient -= still
    return flow


def _stops_gradients(context: ast.expr) -> bool:
    """True for ``torch.no_grad()`` and ``torch.inference_mode()``."""
    return isinstance(context, ast.Call) and callee(context) in ("no_grad", "inference_mode")
