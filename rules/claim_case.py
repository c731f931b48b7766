"""What the parts of CLAIM share: one submission's evidence with the claim looked up once, and how findings are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from auditor.configuration import RunConfiguration
from auditor.findings import Finding, Status, Step, Witness
from auditor.record.claimed_line import ClaimMatch, claim_logs, claimed_lines, match_claim
from auditor.record.model import MetricLine, Place, Record, RunLog
from auditor.submission.model import Submission
from rules.base import Evidence

MAX_SHOWN_STEPS = 6


@dataclass(frozen=True, slots=True)
class Case:
    """`match` is what the claim equals best, `lines` the logged lines that carry it, `carriers` their logs (without a
    match: the logs that could)."""

    submission: Submission
    record: Record
    configuration: RunConfiguration
    match: ClaimMatch | None
    lines: tuple[MetricLine, ...]
    carriers: tuple[RunLog, ...]


def case_of(evidence: Evidence) -> Case:
    """The case that `evidence` makes."""
    record = evidence.record
    match = match_claim(record)
    lines = claimed_lines(record, match)
    paths = {line.place.path for line in lines}
    carriers = [log for log in record.logs if log.path in paths] or claim_logs(record) or list(record.logs)
    return Case(evidence.submission, record, evidence.configuration, match, tuple(lines), tuple(carriers))


def finding(status: Status, message: str, place: Place | None = None, steps: Iterable[Step] = ()) -> Finding:
    """A finding of the record witness at `place`."""
    path, line = (place.path, place.line) if place else ("", 0)
    return Finding(status, Witness.RECORD, message, path, line, steps=tuple(steps))


def file_name(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def quoted(label: str) -> str:
    """A label as messages show it."""
    return f"'{label}'" if label else "(no label)"


def line_steps(lines: Sequence[MetricLine]) -> list[Step]:
    """The first of some logged lines as steps."""
    return [Step(line.place.path, line.place.line, line.raw[:160]) for line in lines[:MAX_SHOWN_STEPS]]
