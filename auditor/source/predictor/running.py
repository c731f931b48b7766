"""Boundaries that run through the text with a loop: ``tokens[done:end]``, and ``done = end`` before the next iteration.

What is taken so is a part of its own in each iteration, if every iteration moves the boundary on. How it lies to what
the iterations take by other means is not followed: where it ends may be the end of what the iteration has scored, its
beginning, or ahead of it.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.predictor.model import RUNNING
from auditor.source.scan import handed_on, last_assigned, named
from auditor.source.values import EXTERNAL, TUPLE, Tags, Value

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


class Running:
    """Numbers of running boundaries, and the loop activations that they run with."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, str], int] = {}
        self.loops: dict[int, int] = {}

    def number(self, act: int, name: str) -> int:
        """The number of the boundary that is kept under `name` from one iteration of `act` to the next.

        "" is any boundary that may stay where it is: no two parts are known to be of the same one.
        """
        number = self._numbers.setdefault((act, name), len(self._numbers) + 1)
        self.loops[number] = act
        return number

    def is_known(self, number: int) -> bool:
        """Whether every iteration moves a boundary on, from where it stopped."""
        return self._numbers.get((self.loops[number], "")) != number


def boundary(run: Interpreter, index: Value, node: ast.AST) -> Tags:
    """Tags for ``tokens[done:end]``: the iteration that takes it, and the boundary that runs; none for other parts."""
    if index.kind != TUPLE or len(index.payload) != 4 or index.payload[0].kind != EXTERNAL:
        return frozenset()
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice) or node.slice.lower is None:
        return frozenset()
    for loop in reversed(run.moving):
        body = loop.node.body
        now = ("loop", loop.act, run.rounds.get(loop.act, 0))
        if not body[0].lineno <= node.lineno <= (body[-1].end_lineno or 0):
            continue
        if now in run.atoms_of(index.payload[1]) or now not in run.atoms_of(index.payload[2]):
            continue
        lines = last_assigned(loop.node)
        kept = [name for name in named(node.slice.lower) if lines.get(name, 0) > node.lineno]
        if kept:
            ends = named(node.slice.upper) if node.slice.upper is not None else ()
            moved = len(kept) == 1 and any((kept[0], end) in handed_on(loop.node) for end in ends)
            return frozenset((now[1:], (RUNNING, run.running.number(loop.act, kept[0] if moved else ""))))
    return frozenset()


def apart(run: Interpreter, one: Tags, two: Tags) -> set[int]:
    """The live loops that take both of two parts, with a boundary that is not known to have taken both."""
    running = {(act, number) for act, number in one | two if act == RUNNING and run.running.loops[number] in run.live}
    unknown = {
        run.running.loops[number]
        for act, number in running
        if not ((act, number) in one and (act, number) in two and run.running.is_known(number))
    }
    return {act for act in unknown if all(any(tag[0] == act for tag in tags) for tags in (one, two))}


def present(run: Interpreter, tags: Tags) -> Tags:
    """Tags without the boundaries that ran with loops that have ended: what they took is the whole now."""
    return frozenset(tag for tag in tags if tag[0] != RUNNING or run.running.loops[tag[1]] in run.live)
