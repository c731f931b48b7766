"""How a statement leaves: the two sides of a branch joined, early exits kept until they are met again, ``try``."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from auditor.source.scan import calls_something
from auditor.source.values import CONST, DATA, MEASURED, NONE, Frame, Value, data, join_cells, with_atoms

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


NORMAL, RETURN, BREAK, CONTINUE, RAISE = range(5)
Writes = list[tuple[dict[Any, Any], Any, Any]]


def either(run: Interpreter, first: Callable[[], int], second: Callable[[], int], *, told: bool = False) -> int:
    """Run two alternatives from the same state and join what they leave behind.

    `told`: what decides between them is data, not a setting, so that a run may take both ways.
    """
    later = bool(run.abstract) and run.rounds.get(run.abstract[-1], 0) > 0
    run.undecided += later
    outer = run.state.begin()
    flow_one = first()
    one = run.state.undo(outer)
    outer = run.state.begin()
    flow_two = second()
    two = run.state.undo(outer)
    run.undecided -= later
    if flow_one == flow_two:
        if flow_one != RAISE or run.pending_raises:
            _join(run, one, two, told)
        return flow_one
    if flow_one == RAISE or flow_two == RAISE:
        if run.pending_raises:
            run.pending_raises[-1].append(one if flow_one == RAISE else two)
        run.state.apply(two if flow_one == RAISE else one)
        return flow_two if flow_one == RAISE else flow_one
    if flow_one != NORMAL:
        _suspend(run, flow_one, one)
        run.state.apply(two)
        return flow_two
    _suspend(run, flow_two, two)
    run.state.apply(one)
    return flow_one


def _join(run: Interpreter, one: Writes, two: Writes, told: bool = False) -> None:
    left = {(id(cells), key): (cells, key, value) for cells, key, value in one}
    right = {(id(cells), key): (cells, key, value) for cells, key, value in two}
    for where, (cells, key, value) in left.items():
        other = right[where][2] if where in right else cells.get(key)
        joined = value if other is None else join_cells(value, other)
        run.state.write(cells, key, varying(joined, value, other) if told else joined)
    for where, (cells, key, value) in right.items():
        if where not in left:
            other = cells.get(key)
            joined = value if other is None else join_cells(other, value)
            run.state.write(cells, key, varying(joined, value, other) if told else joined)


def _suspend(run: Interpreter, flow: int, writes: Writes) -> None:
    """Keep the state of a path that left early until the place where it is met again."""
    if flow == RETURN and run.pending_returns:
        run.pending_returns[-1].append(writes)
    elif flow in (BREAK, CONTINUE) and run.pending_loops:
        run.pending_loops[-1].append((flow, writes))


def return_statement(run: Interpreter, node: ast.Return, frame: Frame) -> int:
    value = run.value(node.value, frame) if node.value is not None else NONE
    if run.returns:
        run.returns[-1].append(value)
    return RETURN


def raise_statement(run: Interpreter, node: ast.Raise, frame: Frame) -> int:
    if node.exc is not None:
        run.raised = run.raised | run.atoms_of(run.value(node.exc, frame))
    if node.cause is not None:
        run.value(node.cause, frame)
    return RAISE


def assert_statement(run: Interpreter, node: ast.Assert, frame: Frame) -> int:
    """What an assertion compares decides nothing; what it calls runs."""
    if calls_something(node.test):
        known = len(run.predictors.answered)
        run.value(node.test, frame)
        del run.predictors.answered[known:]
    return NORMAL


def break_or_continue(run: Interpreter, node: ast.stmt, frame: Frame) -> int:
    return BREAK if isinstance(node, ast.Break) else CONTINUE


def try_statement(run: Interpreter, node: ast.Try, frame: Frame) -> int:
    if node.handlers:
        run.pending_raises.append([])
    flow = run.block(node.body, frame)
    for writes in run.pending_raises.pop() if node.handlers else ():
        run.state.merge(writes)
    if flow == RAISE:
        if node.handlers and node.handlers[0].name:
            run.bind(frame, node.handlers[0].name, data(run.raised))
        flow = run.block(node.handlers[0].body, frame) if node.handlers else RAISE
    else:
        if flow == NORMAL:
            flow = run.block(node.orelse, frame)
        if not any(isinstance(inner, ast.Import | ast.ImportFrom) for inner in node.body):
            for handler in node.handlers:
                if flow == NORMAL and any(isinstance(inner, ast.Call) for inner in ast.walk(handler)):
                    run.either(lambda: NORMAL, lambda handler=handler: run.block(handler.body, frame) and RAISE)  # type: ignore[misc]
    final = run.block(node.finalbody, frame)
    return final if final != NORMAL else flow


def varying(joined: Any, one: Any, two: Any) -> Any:
    """Mark a value that is now one constant, now another, as something that no setting decides."""
    constants = isinstance(one, Value) and isinstance(two, Value) and one.kind == CONST and two.kind == CONST
    if constants and isinstance(joined, Value) and joined.kind == DATA:
        return with_atoms(joined, MEASURED)
    return joined
