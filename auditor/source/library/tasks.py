"""Threads, processes and coroutines."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.library.containers import known_keywords
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.values import EXTERNAL, METHOD, NONE, PARTIAL, TUPLE, Frame, Value, const

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def _short_name(callee: Value) -> str:
    if callee.kind == METHOD:
        return str(callee.payload[1])
    return str(callee.payload).rpartition(".")[2] if callee.kind == EXTERNAL else ""


def starts_a_task(callee: Value) -> bool:
    """True for what only has a coroutine run later."""
    return _short_name(callee) in ("create_task", "ensure_future")


def waits_for_one(callee: Value) -> bool:
    """True for what runs a coroutine to its end and returns what that returns."""
    return _short_name(callee) in ("run", "run_until_complete", "wait_for", "shield")


def _thread(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    target = kwargs.get("target", kwargs.get("function", args[1] if len(args) > 1 else NONE))
    given = kwargs.get("args")
    inner = run.elements(given, limit=64) if given is not None else []
    return Value(PARTIAL, (target, tuple(inner or ()), known_keywords(kwargs["kwargs"]) if "kwargs" in kwargs else {}))


def _spawn(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``spawn(f, args)`` runs ``f(rank, *args)`` in every process."""
    given = kwargs.get("args", args[1] if len(args) > 1 else Value(TUPLE, ()))
    if args:
        run.call(args[0], [const(0), *(run.elements(given, limit=64) or [])], {}, node, frame)
    return NONE


CALLS: dict[str, Model] = {
    **dict.fromkeys(
        ("threading.Thread", "multiprocessing.Process", "torch.multiprocessing.Process", "threading.Timer"), _thread
    ),
    "torch.multiprocessing.spawn": _spawn,
    "torch.multiprocessing.start_processes": _spawn,
}
