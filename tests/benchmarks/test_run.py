"""The benchmark of runs: what is remembered is not run again, and totals count what ran."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.run import __main__ as command
from benchmarks.run.trial import NOT_RUN, Laboratory, Trial


def trial(number: int, *, ran: bool = True, failure: str = "", seconds: float = 10.0) -> Trial:
    return Trial(number, ran, failure, "", seconds)


def run(monkeypatch: pytest.MonkeyPatch, arguments: list[str], results: dict[int, Trial]) -> list[int]:
    """Run the command line with trials made up; the pull requests that were tried."""
    tried: list[int] = []

    def try_pull_request(number: int, laboratory: Laboratory) -> Trial:
        tried.append(number)
        return results[number]

    monkeypatch.setattr(command, "try_pull_request", try_pull_request)
    monkeypatch.setattr("sys.argv", ["run", "repo.git", *arguments])
    assert command.main() == 0
    return tried


def test_totals_leave_out_what_has_nothing_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = {
        1: trial(1, seconds=30),
        2: trial(2, ran=False, failure="module missing"),
        3: Trial(3, False, NOT_RUN, "", 0),
    }
    run(monkeypatch, ["labels.jsonl", "1", "2", "3"], results)
    printed = capsys.readouterr().out
    assert "1 of 2 ran to a final metric (1 have nothing to run)" in printed
    assert "median 30.0" in printed
    assert "1  module missing" in printed


def test_what_is_in_the_output_is_not_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = tmp_path / "runs.jsonl"
    arguments = ["labels.jsonl", "--output", str(output)]
    results = {1: trial(1), 2: trial(2)}
    assert run(monkeypatch, [*arguments, "1"], results) == [1]
    assert run(monkeypatch, [*arguments, "1", "2"], results) == [2]
    assert [json.loads(line)["pull_request"] for line in output.read_text().splitlines()] == [1, 2]


def test_the_same_seed_draws_the_same_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    line = {"head": "0" * 40, "verdict": "legal", "rules": [], "tier": "merged"}
    labels.write_text("".join(json.dumps({"pr": number, **line}) + "\n" for number in range(50)))
    results = {number: trial(number) for number in range(50)}
    first, second, other = (
        run(monkeypatch, [str(labels), "--sample", "10", "--seed", seed], results) for seed in ("1", "1", "2")
    )
    assert first == second != other
    assert len(set(first)) == 10
