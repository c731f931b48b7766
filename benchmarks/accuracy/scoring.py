"""Statuses of audits set against what people said: caught, left to review, missed, accused wrongly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from auditor.sweep.outcome import Outcome
from benchmarks.accuracy.labels import GROUPS, RULES, Expectation, Expectations

# What an audit's status means for a pull request that people call illegal under the rule.
CATCHES = {
    "fail": "caught",
    "review": "review",
    "pass": "missed",
    "not_applicable": "missed",
    "not_checked": "not_checked",
    "not_audited": "not_audited",
}
CATCH_COLUMNS = ("caught", "review", "missed", "not_checked", "not_audited")
PREDICTOR_RULES = ("C1", "C2", "C3", "C4")


@dataclass(frozen=True, slots=True)
class RuleScore:
    """One rule against the labels of one group; fields other than these two hold pull requests, ascending."""

    rule: str
    group: str
    illegal: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # by the columns of CATCH_COLUMNS
    legal: tuple[int, ...] = ()
    accused: tuple[int, ...] = ()  # legal, and the audit says fail
    legal_review: tuple[int, ...] = ()  # legal, and the audit says review
    legal_not_audited: tuple[int, ...] = ()

    @property
    def illegal_count(self) -> int:
        return sum(map(len, self.illegal.values()))


@dataclass(frozen=True, slots=True)
class Remark:
    """A pull request that is listed, not counted: what was said, and what the audit says."""

    pull_request: int
    rule: str
    group: str
    status: str


@dataclass(frozen=True, slots=True)
class Score:
    """The whole comparison. `rules` has a row for each rule and group that any label speaks about."""

    rules: tuple[RuleScore, ...]
    disputed: tuple[Remark, ...]
    incomplete: tuple[Remark, ...]
    caught_for_another_rule: tuple[int, ...]  # ruled illegal, no labelled rule fails, but some other rule does
    predictor_reviews: tuple[int, ...]  # accepted or ruled legal, and review on any of C1 to C4
    predictor_legal: tuple[int, ...]  # accepted or ruled legal on all of C1 to C4
    head_may_differ: tuple[int, ...]
    not_audited: Mapping[int, str]  # pull request -> why

    def row(self, rule: str, group: str) -> RuleScore:
        """The row of `rule` and `group`; an empty one when no label speaks about it."""
        return next((row for row in self.rules if (row.rule, row.group) == (rule, group)), RuleScore(rule, group))


def score(expected: Expectations, outcomes: Mapping[int, Outcome]) -> Score:
    """Compare. Only pull requests in `outcomes` count: an interrupted or narrowed run is scored on what it has."""
    known = Expectations(
        illegal=_having(expected.illegal, outcomes),
        legal=_having(expected.legal, outcomes),
        disputed=_having(expected.disputed, outcomes),
        incomplete=_having(expected.incomplete, outcomes),
    )
    rows = (_rule_score(rule, group, known, outcomes) for rule in RULES for group in GROUPS)
    everything = known.illegal + known.legal + known.disputed + known.incomplete
    predictor_legal = _legal_on_all(known.legal, PREDICTOR_RULES)
    return Score(
        rules=tuple(row for row in rows if row.illegal_count or row.legal),
        disputed=_remarks(known.disputed, outcomes),
        incomplete=_remarks(known.incomplete, outcomes),
        caught_for_another_rule=_caught_for_another_rule(known.illegal, outcomes),
        predictor_reviews=tuple(
            number
            for number in predictor_legal
            if any(outcomes[number].status(rule) == "review" for rule in PREDICTOR_RULES)
        ),
        predictor_legal=predictor_legal,
        head_may_differ=tuple(sorted({item.pull_request for item in everything if item.head_may_differ})),
        not_audited={number: outcome.error for number, outcome in sorted(outcomes.items()) if outcome.error},
    )


def _having(expected: Iterable[Expectation], outcomes: Mapping[int, Outcome]) -> tuple[Expectation, ...]:
    return tuple(item for item in expected if item.pull_request in outcomes)


def _rule_score(rule: str, group: str, known: Expectations, outcomes: Mapping[int, Outcome]) -> RuleScore:
    def statuses(expected: Iterable[Expectation]) -> dict[int, str]:
        return {
            item.pull_request: outcomes[item.pull_request].status(rule)
            for item in expected
            if (item.rule, item.group) == (rule, group)
        }

    illegal: dict[str, list[int]] = defaultdict(list)
    for number, status in statuses(known.illegal).items():
        illegal[CATCHES[status]].append(number)
    legal = statuses(known.legal)
    return RuleScore(
        rule=rule,
        group=group,
        illegal={column: tuple(illegal[column]) for column in CATCH_COLUMNS if illegal[column]},
        legal=tuple(legal),
        accused=tuple(number for number, status in legal.items() if status == "fail"),
        legal_review=tuple(number for number, status in legal.items() if status == "review"),
        legal_not_audited=tuple(number for number, status in legal.items() if status == "not_audited"),
    )


def _remarks(expected: Iterable[Expectation], outcomes: Mapping[int, Outcome]) -> tuple[Remark, ...]:
    return tuple(
        Remark(item.pull_request, item.rule, item.group, outcomes[item.pull_request].status(item.rule))
        for item in expected
    )


def _legal_on_all(legal: Iterable[Expectation], rules: tuple[str, ...]) -> tuple[int, ...]:
    cleared: dict[int, set[str]] = defaultdict(set)
    for item in legal:
        if item.group == "organizer":
            cleared[item.pull_request].add(item.rule)
    return tuple(sorted(number for number, covered in cleared.items() if covered.issuperset(rules)))


def _caught_for_another_rule(illegal: Iterable[Expectation], outcomes: Mapping[int, Outcome]) -> tuple[int, ...]:
    labelled: dict[int, set[str]] = defaultdict(set)
    for item in illegal:
        if item.group == "organizer":
            labelled[item.pull_request].add(item.rule)
    return tuple(
        number
        for number, rules in sorted(labelled.items())
        if outcomes[number].verdict == "fail" and not any(outcomes[number].status(rule) == "fail" for rule in rules)
    )
