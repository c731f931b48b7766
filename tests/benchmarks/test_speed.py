"""The arithmetic of the speed benchmark."""

import time
from pathlib import Path

import pytest

from benchmarks.speed import witnesses
from benchmarks.speed.table import table
from benchmarks.speed.witnesses import Timing, distinct_scripts, growth, line_fit, quantile, time_witnesses


def test_growth_recovers_a_power_law() -> None:
    lines = [100, 500, 1500, 4000]
    exponent, at_thousand = growth(lines, [0.2 * (n / 1000) ** 1.3 for n in lines])
    assert exponent == pytest.approx(1.3)
    assert at_thousand == pytest.approx(0.2)


def test_growth_needs_two_lengths() -> None:
    with pytest.raises(ValueError, match="two different lengths"):
        growth([100, 100], [0.1, 0.2])


def test_the_line_fit_recovers_a_line_and_says_how_well() -> None:
    lines = [500, 1500, 4000]
    assert line_fit(lines, [0.1 + n / 10_000 for n in lines]) == pytest.approx((0.1, 1e-4, 1.0))
    assert line_fit([1, 2, 3, 4], [1.0, 2.0, 2.0, 1.0])[2] == pytest.approx(0.0)
    with pytest.raises(ValueError, match="two different lengths"):
        line_fit([100, 100], [0.1, 0.2])


def test_the_table_tells_ratio_bound_and_memory() -> None:
    first = Timing(7, "aa", 1000, 0.02, 0.03, 0.04, 0.12, 60 << 20)
    timings = [first, Timing(8, "bb", 600, 0.01, 0.02, 0.02, 0.06)]
    text = table(timings, {}, 0.05, 90.0)
    assert "| source + record | 0.24 | 6,667 | 8.00 |" in text
    assert "at most 0.160 s of a bound of 90 s. The slowest: #7" in text
    assert "at most 60 MiB" in text


def test_a_script_counts_once_and_errors_do_not() -> None:
    timings = [
        Timing(3, "aa", 10, 0.1),
        Timing(1, "aa", 10, 0.2),
        Timing(2, "bb", 20, 0.3),
        Timing(4, "cc", 30, error="stopped"),
    ]
    assert [timing.pull_request for timing in distinct_scripts(timings)] == [1, 2]


def test_quantile_is_a_measured_value() -> None:
    assert quantile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0, 4.0], 0.95) == 4.0
    assert quantile([1.0], 0.0) == 1.0


def test_a_reader_that_swallows_its_errors_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stubborn(*_: object) -> Timing:
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue

    monkeypatch.setattr(witnesses, "_time_witnesses", stubborn)
    assert time_witnesses(tmp_path, 7, 0.2).error == "stopped after 0.2 s"


def test_a_reader_that_breaks_does_not_end_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Timing:
        raise KeyError("lost")

    monkeypatch.setattr(witnesses, "_time_witnesses", broken)
    assert time_witnesses(tmp_path, 7, 5.0).error == "KeyError: 'lost'"
