"""The figures of the studies say what their page says, and their plots can be drawn again from them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from reference_pipeline.errors import PipelineError
from reference_pipeline.studies.__main__ import STUDIES
from reference_pipeline.studies.adaptation import NORMAL_VOID, VOID_ALARM
from reference_pipeline.studies.bench import number_or_text, read_rows, write_rows

RESULTS = Path(__file__).resolve().parents[2] / "reference_pipeline" / "studies" / "results"
FLOOR_BPB = 1.0699836512876777


def rows_of(name):
    return read_rows(RESULTS / f"{name}.csv", STUDIES[name].columns)


@pytest.mark.parametrize("name", STUDIES)
def test_plots_are_drawn_from_the_figures_alone(name):
    bench = SimpleNamespace(toy=SimpleNamespace(entropy_floor_bpb=FLOOR_BPB), draw_floor=lambda axes: None)
    figure = STUDIES[name].draw(bench, rows_of(name))
    assert all(axes.get_title() for axes in figure.axes)
    assert figure.axes[-1].get_xlabel()


def test_score_first_gains_little_and_scoring_last_goes_through_the_floor():
    rows = rows_of("epochs")
    legal, again, last, fresh = ([row[column] for row in rows] for column in (1, 2, 4, 5))
    assert 0 < legal[0] - min(legal) < 0.01
    assert min(legal) > FLOOR_BPB > min(last)
    assert last == sorted(last, reverse=True)
    assert fresh == sorted(fresh)
    assert all(second < first for first, second in zip(legal[1:], again[1:], strict=True))


def test_freezing_hurts_the_scored_text_and_helps_the_fresh_one():
    (*_, fresh_before), *sweep = rows_of("learning_rate")
    for rate in {row[1] for row in sweep}:
        scored = [row[2] for row in sorted(sweep) if row[1] == rate]
        assert scored == sorted(scored)
        if rate >= 0.002:
            fresh = [row[3] for row in sorted(sweep) if row[1] == rate]
            assert fresh == sorted(fresh, reverse=True)
            assert min(fresh) > fresh_before


def test_the_void_fraction_stays_where_random_numbers_are_while_a_text_is_memorized():
    rows = rows_of("void")
    assert rows[-1][2] < FLOOR_BPB / 4
    assert all(abs(row[1] - NORMAL_VOID) < 0.01 < row[1] - VOID_ALARM for row in rows)
    assert math.isclose(NORMAL_VOID, 0.575, abs_tol=5e-4)


def test_only_violations_are_below_the_floor_and_they_are_those_the_page_counts():
    rows = rows_of("floor")
    below = [row for row in rows if row[3] > 0]
    assert {row[1] for row in below} == {"violation"}
    assert len(below) == 5
    assert sum(row[1] == "violation" for row in rows) == 12
    assert all((row[2] < FLOOR_BPB) == (row[3] > 0) for row in rows)


def test_every_figure_of_the_page_is_one_of_the_tables():
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    cells = {number_or_text(cell) for name in STUDIES for row in rows_of(name) for cell in map(str, row)}
    numbers = [cell for cell in cells if isinstance(cell, float)]
    for text in re.findall(r"(?<![#\d.,])\d\.\d{3,4}(?!\d)", page):
        digits = len(text.partition(".")[2])
        derived = {"0.574", "0.581", "0.575", "1.070"}  # of the void study's range; the normal law; the text itself
        known = any(round(number, digits) == float(text) for number in numbers) or text in derived
        assert known or text in {"0.003", "0.054"}, text  # differences, told as such


def test_figures_of_another_study_are_refused(tmp_path):
    write_rows(tmp_path / "x.csv", ("a", "b"), [("name", 1.5), ("other", 2)])
    assert read_rows(tmp_path / "x.csv", ("a", "b")) == [("name", 1.5), ("other", 2.0)]
    with pytest.raises(PipelineError, match="run it without --redraw"):
        read_rows(tmp_path / "x.csv", ("a", "c"))
    with pytest.raises(PipelineError, match="run the study without --redraw first"):
        read_rows(tmp_path / "y.csv", ("a",))
