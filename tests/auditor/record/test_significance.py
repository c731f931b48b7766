"""The t-tests against scipy, and the record to beat against the order of pull requests."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from auditor.record.significance import (
    AcceptedRow,
    SeedScore,
    accepted_rows,
    compare,
    listed_record,
    p_mean_exceeds,
    p_welch_less,
    record_to_beat,
    student_t_upper,
)

samples = st.lists(st.floats(0.9, 1.3), min_size=2, max_size=12).filter(lambda values: max(values) - min(values) > 1e-6)


@given(st.floats(-50, 50), st.floats(0.5, 300))
def test_student_t_agrees_with_scipy(statistic: float, freedom: float) -> None:
    assert student_t_upper(statistic, freedom) == pytest.approx(stats.t.sf(statistic, freedom), rel=1e-8, abs=1e-300)


@given(samples, st.floats(0.9, 1.3))
def test_one_sample_test_agrees_with_scipy(values: list[float], threshold: float) -> None:
    expected = stats.ttest_1samp(values, threshold, alternative="greater").pvalue
    assert p_mean_exceeds(values, threshold) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(samples, samples)
def test_welch_agrees_with_scipy(first: list[float], second: list[float]) -> None:
    expected = stats.ttest_ind(first, second, equal_var=False, alternative="less").pvalue
    assert p_welch_less(first, second) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_one_value_or_no_spread_gives_no_p_value() -> None:
    assert p_mean_exceeds([1.0], 0.5) is None
    assert p_mean_exceeds([1.0, 1.0], 0.5) is None
    assert p_welch_less([1.0], [1.0, 1.1]) is None


def row(number: int | None, day: int, score: float) -> AcceptedRow:
    return AcceptedRow(number, datetime(2026, 4, day, tzinfo=UTC), score, f"row {number}", ())


ROWS = (row(None, 1, 1.22), row(10, 2, 1.20), row(20, 3, 1.25), row(30, 9, 1.10))


def test_the_best_earlier_row_is_to_beat_not_the_latest() -> None:
    found = record_to_beat(ROWS, datetime(2026, 4, 5, tzinfo=UTC), None, None)
    assert found is not None
    assert found.pull_request == 10


def test_a_number_decides_before_a_date() -> None:
    found = record_to_beat(ROWS, datetime(2026, 4, 30, tzinfo=UTC), None, 25)
    assert found is not None
    assert found.pull_request == 10


def test_a_day_in_the_past_hides_what_came_later() -> None:
    found = record_to_beat(ROWS, None, date(2026, 4, 2), None)
    assert found is not None
    assert found.pull_request == 10


def test_a_time_without_a_zone_is_taken_as_utc() -> None:
    assert record_to_beat(ROWS, datetime(2026, 4, 5), None, None) == ROWS[1]


def test_what_the_leaderboard_showed_is_a_matter_of_its_updates() -> None:
    rows = accepted_rows()
    noon = datetime(2026, 3, 22, 12, tzinfo=UTC)
    shown, frontier = listed_record(rows, noon), record_to_beat(rows, noon, None, None)
    assert shown is not None
    assert frontier is not None
    assert (shown.pull_request, frontier.pull_request) == (180, 414)
    assert listed_record(rows, None) is None


def test_the_gain_is_counted_in_tokens_of_the_submission() -> None:
    """A gain of 0.01 bpb is 0.0259 nats per token of an 8,192-token vocabulary, 0.0169 of a 1,024-token one."""
    large = [SeedScore(seed, 1.09 / 0.387131163, 1.09) for seed in (1, 2)]
    small = [SeedScore(seed, 1.09 / 0.592256327, 1.09) for seed in (1, 2)]
    assert compare(large, ROWS[3], 0.005).delta_nats_per_token == pytest.approx(0.01 / 0.387131163)
    assert compare(small, ROWS[3], 0.005).delta_nats_per_token == pytest.approx(0.01 / 0.592256327)


def test_accepted_rows_are_in_order_and_plausible() -> None:
    rows = accepted_rows()
    assert [item.created for item in rows] == sorted(item.created for item in rows)
    assert all(1.0 < item.score < 1.3 for item in rows)
    numbers = [item.pull_request for item in rows if item.pull_request is not None]
    assert numbers == sorted(numbers)  # numbers rise with creation: `record_to_beat` rests on it
    assert all(item.listed is not None and item.listed >= item.created for item in rows)
    for item in rows:
        for seed in item.seeds:
            assert 0.35 < seed.val_bpb / seed.val_loss < 0.6
