"""What an audit says: findings, the status of each rule, the verdict.

Status and witness are two axes. `Status` says how bad it is; `Witness` says who saw it. A finding with status
``FAIL`` is an accusation: it must carry its proof in `message`, `path`/`line` and `steps`, so that a reviewer can
confirm it by hand. What is suspicious without proof is ``REVIEW``. What was looked at and found in order, or is worth
knowing, is a note: status ``PASS``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """Status of a finding, a rule or a whole audit, from worst to most harmless."""

    FAIL = "fail"
    REVIEW = "review"
    PASS = "pass"
    NOT_CHECKED = "not_checked"
    NOT_APPLICABLE = "not_applicable"


class Witness(StrEnum):
    """Where a finding comes from."""

    SOURCE = "source"  # the script's syntax tree and data flow
    RUN = "run"  # a sandboxed execution
    RECORD = "record"  # README, submission.json, logs, sizes, times
    RESCORE = "rescore"  # evaluation run again from the artifact


@dataclass(frozen=True, slots=True)
class Step:
    """One place on the way to a conclusion, in the order in which it matters.

    `path` is relative to the audited folder (POSIX separators); `line` counts from 1, 0 means "the whole file".
    """

    path: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation, by one witness, about one rule."""

    status: Status  # FAIL, REVIEW, or PASS for a note
    witness: Witness
    message: str
    path: str = ""
    line: int = 0
    end_line: int = 0
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What the audit says about one rule. `reason` is one sentence a reviewer reads first."""

    rule: str
    status: Status
    reason: str
    findings: tuple[Finding, ...] = ()


def worst(statuses: list[Status]) -> Status:
    """The status that decides: fail before review before pass before not_checked before not_applicable."""
    order = (Status.FAIL, Status.REVIEW, Status.PASS, Status.NOT_CHECKED, Status.NOT_APPLICABLE)
    return min(statuses, key=order.index, default=Status.NOT_CHECKED)


def conclude(rule: str, findings: list[Finding], *, passed: str) -> RuleResult:
    """Fold findings into a rule's result: the worst finding decides and its message is the reason.

    `passed` is the reason given when nothing worse than a note was found. What one witness could not test is a note
    too: the others' word stands.
    """
    heard: list[Status] = [finding.status for finding in findings if finding.status is not Status.NOT_CHECKED]
    status = worst(heard or [Status.PASS])
    if status is Status.PASS:
        return RuleResult(rule, status, passed, tuple(findings))
    ranked = sorted(findings, key=lambda finding: list(Status).index(finding.status))
    return RuleResult(rule, status, ranked[0].message, tuple(ranked))


@dataclass(frozen=True, slots=True)
class Claim:
    """The score the submission claims and what the audit could recompute about it."""

    val_bpb: float | None = None
    val_loss: float | None = None  # nats per token
    recomputed_bpb: float | None = None  # from the submission's own logs, or by the rescore witness
    recomputed_from: str = ""  # which line, mean or run it comes from
    artifact_bytes: int | None = None
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one audit: `status` is FAIL, REVIEW or PASS."""

    status: Status
    rules: tuple[RuleResult, ...]
    claim: Claim = field(default_factory=Claim)


def verdict_status(rules: tuple[RuleResult, ...]) -> Status:
    """Any fail decides, then any review; otherwise every checked rule passes."""
    statuses = {rule.status for rule in rules}
    for decisive in (Status.FAIL, Status.REVIEW):
        if decisive in statuses:
            return decisive
    return Status.PASS
