"""The table of a sweep holds figures and codes, and no text of a pull request."""

from pathlib import Path

import pytest

from auditor.sweep.outcome import Outcome
from auditor.sweep.tables import json_line
from benchmarks.sweep.table import ResultsError, as_csv, read_results, summary

SECRET = "a sentence of somebody's README, with a name"


def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.jsonl"
    outcomes = [
        Outcome(12, "c0", "fail", {"C3": "fail", "SIZE": "review"}, {"C3": SECRET}, 2.0, 1.5, 1, claimed_bpb=1.0625),
        Outcome(7, "c1", "pass", {"C3": "pass"}, {}, 2.0, 0.5, 1, folder=SECRET, recomputed_bpb=1.5, claimed_bpb=1.5),
        Outcome(9, "c2", "", {}, {}, 2.0, 0.5, 1, error=SECRET),
    ]
    path.write_text("".join(map(json_line, outcomes)))
    return path


def test_the_table_is_facts_by_pull_request(tmp_path: Path) -> None:
    rows = read_results(results(tmp_path))
    assert as_csv(rows).splitlines()[1:] == ["7,pass,,,1.5,1.5,,", "9,not_audited,,,,,,", "12,fail,C3,SIZE,1.0625,,,"]
    told = summary(rows, "")
    assert "3 pull requests: 1 fail, 0 review, 1 pass, 1 not audited." in told
    assert "| C3 | 1 | 0 | 1 | 0 |" in told
    assert "1 claims were found" in told
    assert SECRET not in as_csv(rows) + told


def test_a_line_that_is_no_result_is_named(tmp_path: Path) -> None:
    path = results(tmp_path)
    path.write_text(path.read_text() + '{"verdict": "guilty"}\n')
    with pytest.raises(ResultsError, match="line 4"):
        read_results(path)
