"""Counting and rendering: each status lands in its column, and the table keeps nothing volatile."""

import json
from dataclasses import replace

import pytest

from auditor.sweep.outcome import Outcome
from benchmarks.accuracy.labels import Label, expectations
from benchmarks.accuracy.scoring import Score, score
from benchmarks.accuracy.table import Measurement, as_json, markdown, summary


def outcome(number: int, verdict: str = "pass", error: str = "", **statuses: str) -> Outcome:
    return Outcome(number, "c0ffee", verdict, statuses, dict.fromkeys(statuses, "because"), 1.5, 1.0, 2**20, error)


def illegal(number: int, *rules: str, tier: str = "organizer", head_may_differ: bool = False) -> Label:
    return Label(number, "c0ffee", "illegal", rules, tier, head_may_differ)


def legal(number: int, *rules: str, tier: str = "merged") -> Label:
    return Label(number, "c0ffee", "legal", rules, tier)


def scored(labels: list[Label], outcomes: list[Outcome]) -> Score:
    return score(expectations(labels), {item.pull_request: item for item in outcomes})


@pytest.mark.parametrize(
    ("status", "column"),
    [
        ("fail", "caught"),
        ("review", "review"),
        ("pass", "missed"),
        ("not_applicable", "missed"),
        ("not_checked", "not_checked"),
    ],
)
def test_each_status_of_an_illegal_submission_has_its_column(status: str, column: str) -> None:
    row = scored([illegal(1, "C3")], [outcome(1, C3=status)]).row("C3", "organizer")
    assert row.illegal == {column: (1,)}


def test_an_audit_without_a_report_is_neither_caught_nor_missed() -> None:
    result = scored([illegal(1, "C3"), legal(2)], [outcome(1, error="killed"), outcome(2, error="exit code 2")])
    assert result.row("C3", "organizer").illegal == {"not_audited": (1,)}
    assert result.row("C3", "organizer").legal_not_audited == (2,)
    assert result.row("C3", "organizer").accused == ()
    assert result.not_audited == {1: "killed", 2: "exit code 2"}


def test_a_rule_the_report_leaves_out_was_not_checked() -> None:
    assert scored([illegal(1, "C3")], [outcome(1)]).row("C3", "organizer").illegal == {"not_checked": (1,)}


def test_a_fail_under_another_rule_is_no_catch_and_no_false_fail() -> None:
    result = scored([illegal(1, "C3")], [outcome(1, "fail", C3="pass", C1="fail")])
    assert result.row("C3", "organizer").illegal == {"missed": (1,)}
    assert result.row("C1", "organizer").accused == ()
    assert result.caught_for_another_rule == (1,)


def test_a_fail_under_the_labelled_rule_is_not_listed_as_caught_for_another() -> None:
    result = scored([illegal(1, "C3", "C1")], [outcome(1, "fail", C3="pass", C1="fail")])
    assert result.caught_for_another_rule == ()


def test_false_fails_are_counted_on_accepted_and_ruled_legal() -> None:
    result = scored(
        [legal(1), legal(2, "C4", tier="organizer"), legal(3, tier="community")],
        [outcome(1, "fail", SIZE="fail"), outcome(2, "fail", C3="fail"), outcome(3, "fail", C3="fail")],
    )
    assert result.row("SIZE", "organizer").accused == (1,)
    assert result.row("C3", "organizer").accused == ()  # the verdict on 2 is limited to C4
    assert result.row("C3", "community").accused == (3,)  # an opinion: listed in a row of its own


def test_reviews_on_c1_to_c4_count_only_submissions_legal_on_all_four() -> None:
    result = scored(
        [legal(1), legal(2), legal(3, "C3", tier="organizer")],
        [outcome(1, "review", C1="review", C3="review"), outcome(2, "review", SIZE="review"), outcome(3, C3="review")],
    )
    assert result.predictor_legal == (1, 2)
    assert result.predictor_reviews == (1,)


def test_disputed_and_incomplete_are_listed_with_what_the_audit_says() -> None:
    labels = [
        Label(1, "c0ffee", "disputed", ("C3",), "community"),
        Label(2, "c0ffee", "incomplete", ("FORMAT",), "organizer"),
    ]
    result = scored(labels, [outcome(1, C3="review"), outcome(2, FORMAT="fail")])
    assert [(item.pull_request, item.status) for item in result.disputed] == [(1, "review")]
    assert [(item.pull_request, item.status) for item in result.incomplete] == [(2, "fail")]
    assert result.rules == ()


def test_only_what_was_audited_counts() -> None:
    result = scored([illegal(1, "C3"), illegal(2, "C3")], [outcome(2, C3="fail")])
    assert result.row("C3", "organizer").illegal == {"caught": (2,)}


def measurement() -> Measurement:
    labels = [illegal(1, "C3", head_may_differ=True), legal(2), legal(3, tier="community")]
    outcomes = {
        1: outcome(1, "fail", C3="fail", SIZE="review"),
        2: outcome(2, "review", C1="review"),
        3: outcome(3, error="killed after 1 s"),
    }
    return Measurement(tuple(labels), score(expectations(labels), outcomes), outcomes, accepted={2: outcomes[2]})


def test_the_table_names_every_pull_request_and_marks_changed_heads() -> None:
    text = markdown(measurement())
    assert "- fail (1): 1*" in text
    assert "| 1* | illegal C3 (organizer) | fail | C3 | SIZE |" in text
    assert "| 2 | review |  | C1 |" in text  # among the accepted records
    assert "- 3: killed after 1 s" in text


def test_the_table_is_the_same_whatever_the_run_took() -> None:
    first = measurement()
    slower = {number: replace(item, wall_seconds=9.0, cpu_seconds=8.0) for number, item in first.outcomes.items()}
    assert markdown(replace(first, outcomes=slower)) == markdown(first)


def test_the_summary_counts() -> None:
    text = summary(measurement())
    assert "| C3 | 1 | 1 | 0 | 0 | 0 | 0 | 1 | 0 |" in text
    assert "Of 1 pull requests accepted or ruled legal, 1 are left to review on any of C1 to C4 (100%)." in text
    assert "The 1 accepted records of the leaderboard: 0 pass, 1 review, 0 fail, 0 not audited." in text


def test_json_holds_the_same_and_the_times() -> None:
    fields = json.loads(json.dumps(as_json(measurement(), {"jobs": 2})))
    caught = next(row for row in fields["rules"] if (row["rule"], row["group"]) == ("C3", "organizer"))
    assert caught["illegal"] == {"caught": [1]}
    assert fields["pull_requests"][0]["wall_seconds"] == 1.5
    assert fields["about"] == {"jobs": 2}
