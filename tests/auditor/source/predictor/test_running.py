"""Boundaries that run with a loop, known numbers of tokens, rows for the windows of a batch."""

from __future__ import annotations

import ast

import pytest

from auditor.source.predictor.extent import begun, ends_before
from auditor.source.predictor.model import FROM, UP_TO
from auditor.source.predictor.rows import one_for_each_window
from auditor.source.predictor.running import Running
from auditor.source.scan import handed_on, last_assigned
from auditor.source.values import MEASURE, RANGE, Value, const


def loop(body: str) -> ast.For:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    node = ast.parse(f"for end in ends:\n{lines}").body[0]
    assert isinstance(node, ast.For)
    return node


@pytest.mark.parametrize(
    ("body", "pairs"),
    [
        ("score(t[done:end])\ndone = end", {("done", "end")}),
        ("if long:\n    done = end", set()),
        ("if short:\n    continue\ndone = end", set()),
        ("done = end\ndone = 0", set()),
        ("done = end + 1", set()),
    ],
)
def test_a_boundary_is_handed_on_by_every_iteration_or_not_at_all(body: str, pairs: set[tuple[str, str]]) -> None:
    assert handed_on(loop(body)) == pairs


def test_the_last_line_that_assigns_a_name() -> None:
    assert last_assigned(loop("done = 0\nscore(done)\nif long:\n    done = end")) == {"done": 5}


def test_a_boundary_that_may_stay_is_never_known_to_be_the_same() -> None:
    running = Running()
    assert running.number(1, "done") == running.number(1, "done") != running.number(2, "done")
    assert running.is_known(running.number(1, "done")) and not running.is_known(running.number(1, ""))


@pytest.mark.parametrize(("end", "begin", "before"), [(4096, 4096, True), (4097, 4096, True), (8192, 4096, False)])
def test_what_ends_before_the_scored_part(end: int, begin: int, before: bool) -> None:
    assert ends_before(frozenset(((UP_TO, end),)), frozenset(((FROM, begin),))) is before


def test_without_a_known_end_nothing_ends_before() -> None:
    assert not ends_before(frozenset(), frozenset(((FROM, 4096),)))
    assert not ends_before(frozenset(((UP_TO, 4096),)), frozenset())


@pytest.mark.parametrize(
    ("value", "marked"), [(const(4096), True), (const(0), False), (Value(RANGE, (0, None)), False)]
)
def test_a_place_far_into_the_stream_is_noted(value: Value, marked: bool) -> None:
    assert bool(begun(value).atoms) is marked


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((MEASURE, const(1), const(512)), True),
        ((const(1), const(1), const(512)), False),
        ((MEASURE, MEASURE, const(512)), False),
        ((MEASURE, const(1)), False),
    ],
)
def test_a_row_for_each_window(shape: tuple[Value, ...], rows: bool) -> None:
    assert one_for_each_window(shape) is rows
