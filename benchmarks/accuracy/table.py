"""The comparison as Markdown and as JSON.

The Markdown holds nothing that changes from run to run (times, paths, commits of the auditor), so that a change of the
auditor shows in its difference as what it is: which pull requests moved, under which rule, in which direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from auditor.sweep.outcome import Outcome
from benchmarks.accuracy.labels import GROUPS, RULES, Label
from benchmarks.accuracy.scoring import CATCH_COLUMNS, Remark, RuleScore, Score

EVERY_PULL_REQUEST = "## Every labelled pull request"

COLUMN_TITLES = {
    "caught": "fail",
    "review": "review",
    "missed": "missed",
    "not_checked": "not checked",
    "not_audited": "not audited",
}
GROUP_TITLES = {
    "organizer": "ruled by an organizer, accepted, or on the list of the sweep of 2026-03-27",
    "community": "a participant's review",
    "self": "the author's own word",
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """All that one run of the benchmark found out."""

    labels: tuple[Label, ...]
    score: Score
    outcomes: Mapping[int, Outcome]  # of the labelled pull requests
    accepted: Mapping[int, Outcome]  # of the accepted records; empty when they were not asked for


def markdown(measurement: Measurement) -> str:
    """The whole table, with pull request numbers."""
    score = measurement.score
    parts = [
        "# Accuracy on labelled pull requests",
        "Written by `python -m benchmarks.accuracy`; do not edit. `*`: the head was changed after the verdict.",
        "## Summary",
        summary(measurement),
        "## By rule",
        *(_rule_section(row, score) for row in score.rules),
        "## Accepted or ruled legal, left to review on any of C1 to C4",
        _numbers(score.predictor_reviews, score) or "none",
        "## Ruled illegal, no labelled rule fails, another rule does",
        _numbers(score.caught_for_another_rule, score) or "none",
        "## Disputed: listed, not counted",
        _remarks(score.disputed, score),
        "## Incomplete (logs, seeds, form): listed, not counted",
        _remarks(score.incomplete, score),
        "## Not audited",
        "\n".join(f"- {number}: {error}" for number, error in score.not_audited.items()) or "none",
    ]
    if measurement.accepted:
        parts += ["## Accepted records", accepted_table(measurement.accepted)]
    parts += [EVERY_PULL_REQUEST, _pull_requests(measurement)]
    return "\n\n".join(parts) + "\n"


def summary(measurement: Measurement) -> str:
    """Counts only: what the README shows."""
    score = measurement.score
    legal, reviews = len(score.predictor_legal), len(score.predictor_reviews)
    lines = [
        f"{len(measurement.outcomes)} pull requests carry {len(measurement.labels)} verdicts of people. Ruled by an "
        "organizer, accepted, or on the organizers' list of 2026-03-27:",
        "",
        _table(
            ["rule", "ruled illegal", *COLUMN_TITLES.values(), "legal", "of these fail"],
            [
                [row.rule, row.illegal_count, *_catches(row), len(row.legal), len(row.accused)]
                for row in score.rules
                if row.group == "organizer"
            ],
        ),
        "",
        f"Of {legal} pull requests accepted or ruled legal, {reviews} are left to review on any of C1 to C4"
        f"{f' ({reviews / legal:.0%})' if legal else ''}.",
        "",
        "Participants' reviews and authors' own words:",
        "",
        _table(
            ["rule", "said by", "called illegal", *COLUMN_TITLES.values(), "called legal", "of these fail"],
            [
                [row.rule, row.group, row.illegal_count, *_catches(row), len(row.legal), len(row.accused)]
                for row in score.rules
                if row.group != "organizer" and (row.illegal_count or row.accused)
            ],
        ),
    ]
    if measurement.accepted:
        outcomes = measurement.accepted.values()
        count = {verdict: sum(item.verdict == verdict for item in outcomes) for verdict in ("pass", "review", "fail")}
        not_audited = sum(bool(item.error) for item in outcomes)
        lines += [
            "",
            f"The {len(measurement.accepted)} accepted records of the leaderboard: {count['pass']} pass, "
            f"{count['review']} review, {count['fail']} fail, {not_audited} not audited.",
        ]
    return "\n".join(lines)


def _catches(row: RuleScore) -> list[int]:
    return [len(row.illegal.get(column, ())) for column in CATCH_COLUMNS]


def _rule_section(row: RuleScore, score: Score) -> str:
    lines = [f"### {row.rule}: {GROUP_TITLES[row.group]}"]
    if row.illegal_count:
        lines += ["", f"Illegal: {row.illegal_count}", ""]
        for column in CATCH_COLUMNS:
            if numbers := row.illegal.get(column):
                lines.append(f"- {COLUMN_TITLES[column]} ({len(numbers)}): {_numbers(numbers, score)}")
    if row.legal:
        accusation = "FALSE FAIL" if row.group == "organizer" else "fail, to be read by hand"
        lines += ["", f"Legal: {len(row.legal)}", ""]
        lines.append(f"- {accusation} ({len(row.accused)}): {_numbers(row.accused, score) or 'none'}")
        lines.append(f"- review ({len(row.legal_review)}): {_numbers(row.legal_review, score) or 'none'}")
        if row.legal_not_audited:
            lines.append(f"- not audited ({len(row.legal_not_audited)}): {_numbers(row.legal_not_audited, score)}")
    return "\n".join(lines)


def _numbers(numbers: Iterable[int], score: Score) -> str:
    return ", ".join(f"{number}*" if number in score.head_may_differ else str(number) for number in numbers)


def _remarks(remarks: Sequence[Remark], score: Score) -> str:
    rows = [[_numbers([item.pull_request], score), item.rule, item.group, _words(item.status)] for item in remarks]
    return _table(["PR", "rule", "said by", "audit"], rows) if rows else "none"


def accepted_table(outcomes: Mapping[int, Outcome]) -> str:
    """Every accepted record: its verdict, and the rules that fail or need a person."""
    return _table(
        ["PR", "verdict", "fail", "review"],
        [
            [number, outcome.verdict or "not audited", _rules_with(outcome, "fail"), _rules_with(outcome, "review")]
            for number, outcome in outcomes.items()
        ],
    )


def _pull_requests(measurement: Measurement) -> str:
    verdicts: dict[int, list[str]] = {}
    for label in measurement.labels:
        said = f"{label.verdict}{' ' if label.rules else ''}{'+'.join(label.rules)} ({label.tier})"
        verdicts.setdefault(label.pull_request, []).append(said)
    rows = []
    for number, outcome in measurement.outcomes.items():
        rows.append(
            [
                _numbers([number], measurement.score),
                "; ".join(dict.fromkeys(verdicts.get(number, ()))),
                outcome.verdict or "not audited",
                _rules_with(outcome, "fail"),
                _rules_with(outcome, "review"),
            ]
        )
    return _table(["PR", "people say", "verdict", "fail", "review"], rows)


def _rules_with(outcome: Outcome, status: str) -> str:
    return " ".join(rule for rule in RULES if outcome.statuses.get(rule) == status)


def _words(status: str) -> str:
    return status.replace("_", " ")


def _table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; every row on a line of its own, not padded, so that one change touches one line."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def as_json(measurement: Measurement, about: Mapping[str, object]) -> dict[str, object]:
    """Everything, times included. `about` says what was measured on what."""
    score = measurement.score
    return {
        "schema": "pgolf-audit-accuracy/1",
        "about": dict(about),
        "rules": [{**asdict(row), "illegal_count": row.illegal_count} for row in score.rules],
        "legal_on_c1_to_c4": score.predictor_legal,
        "legal_left_to_review_on_c1_to_c4": score.predictor_reviews,
        "caught_for_another_rule": score.caught_for_another_rule,
        "disputed": [asdict(item) for item in score.disputed],
        "incomplete": [asdict(item) for item in score.incomplete],
        "head_may_differ": score.head_may_differ,
        "not_audited": dict(score.not_audited),
        "pull_requests": [asdict(outcome) for outcome in measurement.outcomes.values()],
        "accepted": [asdict(outcome) for outcome in measurement.accepted.values()],
        "groups": list(GROUPS),
    }
