"""Borders inside windows of tokens: what ends at `window[:seen]` does not meet what begins at `window[seen:]`."""

from __future__ import annotations

import ast

import pytest

from auditor.source.library.items import _axes_of_places
from auditor.source.predictor.borders import MOST_BORDERS, Borders
from auditor.source.scan import borders
from auditor.source.values import DATA, Value


def rounds(iteration: int) -> frozenset[tuple[int, int]]:
    return frozenset(((1, iteration),))


def test_one_value_is_one_border_and_another_value_another() -> None:
    known = Borders()
    seen, moved = Value(DATA), Value(DATA)
    assert known.number(seen, rounds(0)) == known.number(seen, rounds(0))
    assert known.number(seen, rounds(0)) != known.number(moved, rounds(0))


def test_windows_of_other_loops_have_other_borders() -> None:
    known = Borders()
    seen = Value(DATA)
    assert known.number(seen, rounds(0)) != known.number(seen, frozenset(((2, 0),)))


def test_every_iteration_begins_with_the_first_border() -> None:
    known = Borders()
    numbers = {known.number(Value(DATA), rounds(iteration)) for iteration in range(50)}
    assert len(numbers) == 1


def test_an_iteration_with_many_borders_does_not_mark_out_regions_without_end() -> None:
    known = Borders()
    numbers = [known.number(Value(DATA), rounds(0)) for _ in range(50)]
    assert len(set(numbers)) == MOST_BORDERS + 1
    assert set(numbers[MOST_BORDERS:]) == {0}


def test_a_border_has_two_sides() -> None:
    assert borders(ast.parse("fit(w[:seen])\nscore(w[seen:])\nhead = x[:n]\ntail = x[k:]")) == {"seen"}


def test_what_begins_at_a_border_may_have_an_end() -> None:
    assert borders(ast.parse("fit(w[:seen])\nscore(w[seen:length])\nhead = x[a:b]\ntail = x[:c]")) == {"seen"}


@pytest.mark.parametrize(
    ("index", "made_by_a_model", "axes"),
    [("[..., :half]", True, 0), ("[:, :, :half]", True, 2), ("[:, :seen]", True, 2), ("[..., :seen]", False, 2)],
)
def test_features_are_no_places_of_the_text(index: str, made_by_a_model: bool, axes: int) -> None:
    node = ast.parse(f"x{index}", mode="eval").body
    assert isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)
    atoms = frozenset((("val", frozenset()), *((("model",),) if made_by_a_model else ())))
    assert _axes_of_places(atoms, node.slice.elts) == axes
