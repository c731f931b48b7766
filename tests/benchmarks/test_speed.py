"""The arithmetic of the speed benchmark."""

import time
from pathlib import Path

import pytest

from benchmarks.speed import witnesses
from benchmarks.speed.witnesses import Timing, distinct_scripts, growth, quantile, time_witnesses


def test_growth_recovers_a_power_law() -> None:
    lines = [100, 500, 1500, 4000]
    exponent, at_thousand = growth(lines, [0.2 * (n / 1000) ** 1.3 for n in lines])
    assert exponent == pytest.approx(1.3)
    assert at_thousand == pytest.approx(0.2)


def test_growth_needs_two_lengths() -> None:
    with pytest.raises(ValueError, match="two different lengths"):
        growth([100, 100], [0.1, 0.2])


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
