"""Lines that two logs share."""

from __future__ import annotations

from auditor.record.copied_lines import overlaps
from auditor.record.logs import read_log
from auditor.record.model import RunLog


def run(seed: int, *, steps: int = 60, start: int = 0, offset: int = 0) -> RunLog:
    lines = [f"seed:{seed}"] + [
        f"step:{step}/20000 train_loss:2.{step + offset:05d} train_time:{step * 46 + offset}ms step_avg:46.00ms"
        for step in range(start, start + steps * 100, 100)
    ]
    return read_log(f"train_seed{seed}.log", "\n".join(lines).encode())[0]


def test_a_copy_is_found_with_a_place_in_each_log() -> None:
    (found,) = overlaps([run(1), run(2)])
    assert found.share == 1.0
    assert (found.first.path, found.second.path) == ("train_seed1.log", "train_seed2.log")
    assert found.first.line == found.second.line > 1


def test_separate_runs_share_nothing() -> None:
    assert overlaps([run(1), run(2, offset=3)]) == []


def test_part_of_a_run() -> None:
    (found,) = overlaps([run(1), run(2, start=3000)])
    assert 0.3 < found.share < 0.6


def test_lines_without_a_measured_time_prove_nothing() -> None:
    text = "".join(f"step:{step}/9 train_loss:2.5\n" for step in range(20, 900))
    assert overlaps([read_log(f"{name}.log", text.encode())[0] for name in "ab"]) == []


def test_a_few_lines_prove_nothing() -> None:
    assert overlaps([run(1, steps=10), run(2, steps=10)]) == []
