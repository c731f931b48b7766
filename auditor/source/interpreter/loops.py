"""``for`` and ``while``: the iterations that stand for all; generators, whose consumer runs at each yield."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from auditor.source.interpreter import limits
from auditor.source.interpreter.calls import call_function
from auditor.source.interpreter.flow import BREAK, CONTINUE, NORMAL, RAISE, RETURN, Writes
from auditor.source.predictor.extent import begun
from auditor.source.scan import assigned_by_update, breaks, is_short
from auditor.source.values import (
    CONST,
    DATA,
    NONE,
    NOTHING,
    OBJECT,
    RANGE,
    UNKNOWN,
    Atoms,
    Frame,
    Function,
    Obj,
    Value,
    bounds,
    data,
    kinds,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


class Moving(NamedTuple):
    """A loop under way: its activation, the names that each iteration computes from the last one's, their frame."""

    act: int
    node: ast.For | ast.While
    updated: frozenset[str]
    frame: Frame


SMALL_LOOP = 600  # nodes; such a loop runs a third iteration


def deferred_generator(run: Interpreter, node: ast.FunctionDef, frame: Frame) -> Value:
    """A generator that runs the statements of `node` in this scope when it is read."""
    function = Function(node, frame, [], [], run.path)
    function.is_generator = True
    return call_function(run, function, [], {}, node)


def for_statement(run: Interpreter, node: ast.For, frame: Frame) -> int:
    iterable = run.value(node.iter, frame)
    if iterable.kind == OBJECT and iterable.payload.kind == "generator":
        return _consume(run, node, iterable.payload, frame)
    elements = run.elements(iterable)
    if elements is not None and not elements:
        return run.block(node.orelse, frame)
    name = ast.unparse(node.target) if isinstance(node.target, ast.Name | ast.Tuple) else "item"
    exact = elements is not None
    count = len(elements) if elements is not None else run.iterations(iterable)
    if count == 0:
        return run.block(node.orelse, frame)
    if count == 2 and not exact and len(run.abstract) < 2 and is_short(node, SMALL_LOOP):
        count = 3  # the first iteration often does nothing but start a table
    updated = assigned_by_update(node)
    item = None if exact else run.element(iterable)

    alike = ("rank",) not in run.atoms_of(iterable)
    before = _ends_at_the_share(run, iterable)
    begins = _beginning(iterable)

    def bind(act: int, k: int) -> None:
        if alike:
            run.alike.add(act)
        if before:
            run.before_share.add(act)
        if elements is not None:
            value = elements[k]
        else:
            assert item is not None
            value = with_atoms(run.iteration_value(iterable, item, k), begins)
        repeats = iterable.kind == OBJECT and iterable.payload.cells.get(".repeats")
        if repeats:
            run.assign(node.target, value, frame)
            return
        if pace and value.kind in (CONST, RANGE, DATA):
            value = with_atoms(value, frozenset((("index", act, pace),)))
        run.assign(node.target, run.tagged(value, act, k), frame)

    pace = run.pace(iterable)
    open_count = not exact and _count_left_open(run, iterable)
    limit = _length(run, iterable)
    flow = _loop(run, node, frame, name, count, exact, updated, bind, open_count, limit)
    return _loop_else(run, node, flow, frame)


def _length(run: Interpreter, iterable: Value) -> int:
    """The end of a range that is known, else 0."""
    if iterable.kind == OBJECT and iterable.payload.kind == "range":
        stop = bounds(iterable.payload.cells[".bounds"][1])
        return stop[1] or 0 if stop is not None and stop[0] == stop[1] else 0
    return 0


def _beginning(iterable: Value) -> Atoms:
    """A mark for the places of ``range(begin, end)`` where `begin` is known to be far into the stream."""
    if iterable.kind != OBJECT or iterable.payload.kind != "range":
        return NOTHING
    return frozenset(atom for atom in begun(iterable.payload.cells[".bounds"][0]).atoms if atom[0] == "after")


def _ends_at_the_share(run: Interpreter, iterable: Value) -> bool:
    """True for ``range(0, mine[0])``, where `mine` is this process's share of the places."""
    if iterable.kind != OBJECT or iterable.payload.kind != "range":
        return False
    start, stop, _ = iterable.payload.cells[".bounds"]
    return start.kind == CONST and start.payload == 0 and ("first",) in run.atoms_of(stop)


def _count_left_open(run: Interpreter, iterable: Value) -> bool:
    """True for ``range(n)`` whose `n` may be a setting that nothing tells: it may run just once."""
    if iterable.kind != OBJECT or iterable.payload.kind != "range":
        return False
    start, stop, _ = iterable.payload.cells[".bounds"]
    return bounds(stop) is None and run.left_open(data(run.atoms_of(start) | run.atoms_of(stop)))


def while_statement(run: Interpreter, node: ast.While, frame: Frame) -> int:
    if run.truth(run.value(node.test, frame)) is False:
        return run.block(node.orelse, frame)

    def bind(act: int, k: int) -> None:
        if k:
            limits.bounded(run, act, run.value(node.test, frame))

    updated = assigned_by_update(node)
    return _loop_else(run, node, _loop(run, node, frame, "", 2, False, updated, bind), frame)


def _loop_else(run: Interpreter, node: ast.For | ast.While, flow: int, frame: Frame) -> int:
    """The ``else`` of a loop runs unless the loop was left by ``break``."""
    if flow != NORMAL or not node.orelse:
        return flow
    if not breaks(node.body):
        return run.block(node.orelse, frame)
    return run.either(lambda: run.block(node.orelse, frame), lambda: NORMAL, told=True)


def _loop(
    run: Interpreter,
    node: ast.For | ast.While,
    frame: Frame,
    name: str,
    count: int,
    exact: bool,
    updated: frozenset[str],
    bind: Callable[[int, int], None],
    open_count: bool = False,
    limit: int = 0,
) -> int:
    act = len(run.loops) + 1
    run.loops[act] = run.live[act] = (name, node.lineno)
    if limit:
        run.predictors.step_limits[act] = {limit}
    if not exact:
        run.abstract.append(act)
    broken: list[Writes] = []
    run.pending_loops.append([])
    run.moving.append(Moving(act, node, updated, frame))
    flow = NORMAL
    chosen = run.chosen
    for k in range(count):
        run.rounds[act], run.chosen = k, chosen
        for variable in updated:
            old = frame.names.get(variable)
            if isinstance(old, Value):
                if not exact and not k:
                    old = begun(old)
                elif not exact and old.kind == CONST:
                    old = data(old.atoms)
                run.state.write(frame.names, variable, run.marked(old, act, k))
        bind(act, k)
        again = open_count and k > 0
        run.open_settings += again
        flow = run.block(node.body, frame)
        run.open_settings -= again
        for kind, writes in run.pending_loops[-1]:
            if kind == CONTINUE:
                run.state.merge(writes)
            else:
                broken.append(writes)
        run.pending_loops[-1].clear()
        if flow in (BREAK, RETURN, RAISE):
            break
    run.pending_loops.pop()
    run.moving.pop()
    run.chosen = chosen
    for writes in broken:
        run.state.merge(writes)
    limits.mark_sums(run, act, frame, updated)
    if not exact:
        run.abstract.pop()
    del run.live[act]
    return flow if flow in (RETURN, RAISE) and not broken else NORMAL


def moved_on(run: Interpreter, name: str, value: Value, frame: Frame) -> Value:
    """A position after ``position += stride``: what is taken there is the next iteration's, or still this one's.

    Which of the two it is depends on whether it is taken from there on or up to there.
    """
    act = next((loop.act for loop in reversed(run.moving) if loop.frame is frame and name in loop.updated), 0)
    here = ("loop", act, run.rounds.get(act, 0))
    if here not in value.atoms or not kinds(value.atoms).isdisjoint(("val", "model")):
        return value
    return with_atoms(value, frozenset((("loop", act, here[2] + 1),)))


def _consume(run: Interpreter, node: ast.For, generator: Obj, frame: Frame) -> int:
    """A for loop over a generator: its body runs at each yield, inside the generator's own loops."""

    def consumer(value: Value) -> None:
        run.pending_loops.append([])
        run.assign(node.target, value, frame)
        run.block(node.body, frame)
        for _, writes in run.pending_loops.pop():
            run.state.merge(writes)

    run.run_generator(generator, consumer)
    return NORMAL


def run_generator(run: Interpreter, generator: Obj, consumer: Callable[[Value], None]) -> None:
    function, args, kwargs = generator.cells[".call"]
    run.consumers.append(consumer)
    run.enter(function, args, kwargs)
    run.consumers.pop()


def yield_expression(run: Interpreter, node: ast.Yield | ast.YieldFrom, frame: Frame) -> Value:
    value = run.value(node.value, frame) if node.value is not None else NONE
    if isinstance(node, ast.YieldFrom):
        value = run.element(value)
    if run.consumers:
        consumer = run.consumers.pop()
        consumer(value)
        run.consumers.append(consumer)
    return UNKNOWN
