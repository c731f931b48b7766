"""Verdicts of people on pull requests, and what they say about each rule.

A label is one verdict of one source. What it covers is narrow: a pull request ruled illegal for C3 may well be fine,
or not, under C1. A legal verdict may be limited to some rules; without a limit an acceptance covers every rule, while
a participant's "looks clean" covers only the order of evaluation, which is what such reviews looked at.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import rules

RULES = rules.CODES
EVALUATION_ORDER_RULES = ("C1", "C2", "C3", "C4", "TRAINDATA", "PAIDPREFIX")

VERDICTS = ("illegal", "legal", "disputed", "incomplete")

# How far a verdict can be trusted, best first: rulings and acceptances are ground truth, the others are opinions.
GROUPS = ("organizer", "community", "self")
GROUP_OF_TIER = {
    "organizer": "organizer",
    "merged": "organizer",
    "ruling-list": "organizer",
    "community": "community",
    "self": "self",
}


class LabelError(Exception):
    """The labels cannot be used; the message names file, line and what is wrong."""


@dataclass(frozen=True, slots=True)
class Label:
    """One verdict of one source on one pull request."""

    pull_request: int
    head: str  # commit that was looked at
    verdict: str
    rules: tuple[str, ...]  # on a legal verdict: the verdict is limited to these
    tier: str
    head_may_differ: bool = False  # the head was changed after the verdict

    @property
    def group(self) -> str:
        return GROUP_OF_TIER[self.tier]

    @property
    def covered(self) -> tuple[str, ...]:
        """The rules this verdict says something about."""
        if self.rules or self.verdict != "legal":
            return self.rules
        return RULES if self.group == "organizer" else EVALUATION_ORDER_RULES


def read_labels(path: Path) -> tuple[Label, ...]:
    """Labels of a JSON-lines file. Raises LabelError on the first line that is not a usable label."""
    labels = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            labels.append(_label(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise LabelError(f"{path}, line {number}: not a usable label: {error!r}") from error
    if not labels:
        raise LabelError(f"{path}: holds no labels")
    return tuple(labels)


def _label(fields: Mapping[str, object]) -> Label:
    verdict, tier, codes = fields["verdict"], fields["tier"], fields["rules"]
    if verdict not in VERDICTS:
        raise ValueError(f"verdict {verdict!r} is none of {', '.join(VERDICTS)}")
    if tier not in GROUP_OF_TIER:
        raise ValueError(f"tier {tier!r} is none of {', '.join(GROUP_OF_TIER)}")
    if not isinstance(codes, list) or not set(codes) <= set(RULES):
        raise ValueError(f"rules {codes!r} are not all known")
    return Label(
        pull_request=int(str(fields["pr"])),
        head=str(fields["head"]),
        verdict=str(verdict),
        rules=tuple(codes),
        tier=str(tier),
        head_may_differ=bool(fields.get("head_may_differ")),
    )


@dataclass(frozen=True, slots=True)
class Expectation:
    """What people said about one rule on one pull request, from the most trusted group that said anything."""

    pull_request: int
    rule: str
    verdict: str  # "illegal", "legal", "disputed" or "incomplete"
    group: str
    head_may_differ: bool


@dataclass(frozen=True, slots=True)
class Expectations:
    """One expectation per pull request, rule and kind of statement, contradictions resolved."""

    illegal: tuple[Expectation, ...] = ()
    legal: tuple[Expectation, ...] = ()
    disputed: tuple[Expectation, ...] = ()
    incomplete: tuple[Expectation, ...] = ()
    pull_requests: tuple[int, ...] = field(default=())


def expectations(labels: Iterable[Label]) -> Expectations:
    """What to compare an audit with.

    On one rule of one pull request a more trusted group overrules a less trusted one. Within a group a doubt outweighs
    a clearance: "illegal" before "disputed" before "legal". "incomplete" says nothing about legality and stands apart.
    """
    labels = tuple(labels)
    statements: dict[tuple[int, str], list[Label]] = defaultdict(list)
    for label in labels:
        for rule in label.covered:
            statements[label.pull_request, rule].append(label)
    chosen: dict[str, list[Expectation]] = {verdict: [] for verdict in VERDICTS}
    for (pull_request, rule), said in sorted(
        statements.items(), key=lambda item: (item[0][0], RULES.index(item[0][1]))
    ):
        about_legality = [label for label in said if label.verdict != "incomplete"]
        gaps = [label for label in said if label.verdict == "incomplete"]
        for candidates in (about_legality, gaps):
            if candidates:
                label = min(candidates, key=_precedence)
                chosen[label.verdict].append(
                    Expectation(pull_request, rule, label.verdict, label.group, label.head_may_differ)
                )
    return Expectations(
        illegal=tuple(chosen["illegal"]),
        legal=tuple(chosen["legal"]),
        disputed=tuple(chosen["disputed"]),
        incomplete=tuple(chosen["incomplete"]),
        pull_requests=tuple(sorted({label.pull_request for label in labels})),
    )


def _precedence(label: Label) -> tuple[int, int]:
    return GROUPS.index(label.group), ("illegal", "disputed", "legal", "incomplete").index(label.verdict)
