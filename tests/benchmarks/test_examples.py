"""The table of the examples counts what is right, and the command ends with 1 when something is wrong."""

from __future__ import annotations

import pytest

from benchmarks.examples.__main__ import is_mistake, table


def row(name: str, verdict: str, read: dict[str, str] | None = None, run: dict[str, str] | None = None) -> dict:
    return {
        "name": name, "verdict": verdict, "read": read or {}, "run": run or {}, "both": {**(read or {}), **(run or {})},
        "log_m": -250.4, "failure": "", "seconds": 12.0,
    }  # fmt: skip


ROWS = [
    row("legal_a", "pass"),
    row("legal_b", "review", run={"C4": "review"}),
    row("illegal_a", "fail", read={"C3": "review"}, run={"C1": "fail"}),
    row("illegal_b", "review", read={"BYTES": "review"}),
    row("illegal_c", "fail", read={"SIZE": "fail", "C4": "review"}),
]


def test_the_head_counts_what_reading_and_running_decide():
    text = table(ROWS)
    assert "1 of 2 legal folders pass every rule with a run" in text
    assert "2 of 3 violations fail with a run, 1 need a person" in text
    assert "by reading alone 1 violations fail, 2 need a person, and 2 legal folders pass" in text


def test_folders_that_were_not_run_are_named():
    assert "- not run for this table: illegal_d, legal_c" in table(ROWS, ["illegal_d", "legal_c"])
    assert "not run" not in table(ROWS)


def test_a_row_says_what_does_not_pass_accusations_first():
    lines = table(ROWS).splitlines()
    assert "| illegal_a | C3 review | C1 FAIL | C1 FAIL, C3 review | -250 | 12.0 |" in lines
    assert "| legal_a | pass | pass | pass | -250 | 12.0 |" in lines


def test_a_run_without_a_score_says_why():
    without = row("legal_a", "pass") | {"log_m": None, "failure": "TIMEOUT: 300 s"}
    assert "| legal_a | pass | TIMEOUT: 300 s | pass |  | 12.0 |" in table([without])


@pytest.mark.parametrize(
    ("name", "verdict", "wrong"),
    [
        ("legal_a", "pass", False),
        ("legal_a", "review", True),
        ("legal_a", "fail", True),
        ("illegal_a", "pass", True),
        ("illegal_a", "review", False),
        ("illegal_a", "fail", False),
    ],
)
def test_what_counts_as_a_mistake(name, verdict, wrong):
    assert is_mistake(row(name, verdict)) is wrong
