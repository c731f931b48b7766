"""Logged progress of the evaluation that gave the claimed score: whether it stopped before the end of the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from auditor.findings import Finding, Status, Step, Witness
from auditor.record.claimed_line import claimed_lines
from auditor.record.model import RunLog
from auditor.record.places import RawPlaces
from rules.base import Evidence

_COUNT = re.compile(r"([^\d\n]{3,60}?)(\d{1,9})\s?/\s?(\d{1,9})\b")
_SCORE = re.compile(r"(?:bpb|loss|nll)\W{0,3}\d", re.I)
_TRAINS = re.compile(r"train|step|iter|\blr\b", re.I)
_NEAR = 3  # lines between the last line of progress and the claimed one
_FEWEST_LINES = 5
_SMALLEST_STEP = 10
_SURELY_SHORT = 0.9  # of what was to be scored
_MOST_LINES = 20_000


def stopped_early(evidence: Evidence) -> list[Finding]:
    """A review where evenly spaced lines of progress, such as "seq:500/39591", end long before what they count to.

    Only lines directly before the claimed one: others may be of training, or of another evaluation.
    """
    claimed = {line.place.path: line.raw for line in claimed_lines(evidence.record)}
    for log in evidence.record.logs:
        found = _last_count(log, claimed[log.path]) if claimed.get(log.path) else None
        if found is not None:
            index, count, whole = found
            place = RawPlaces(log).place(index)
            message = f"the progress logged before the claimed score ends at {count:,} of {whole:,}"
            step = Step(place.path, place.line, "the last line of progress before the claimed score")
            return [Finding(Status.REVIEW, Witness.RECORD, message, path=place.path, line=place.line, steps=(step,))]
    return []


def _last_count(log: RunLog, claimed: str) -> tuple[int, int, int] | None:
    """Where the last line of progress stands, its count and what it counts to, if that is far from the end."""
    lines = log.raw_lines[:_MOST_LINES]
    at = next((index for index, text in enumerate(lines) if claimed in text), 0)
    last = next((index for index in range(at - 1, max(at - 1 - _NEAR, -1), -1) if _progress(lines[index])), None)
    if last is None:
        return None
    label, _, whole = _progress(lines[last]) or ("", 0, 0)
    counts = _counts(lines[: last + 1], label, whole)
    steps = {two - one for one, two in pairwise(counts)}
    if len(counts) < _FEWEST_LINES or len(steps) != 1 or min(steps) < _SMALLEST_STEP:
        return None
    ended = counts[-1] + 2 * min(steps) >= _SURELY_SHORT * whole
    return None if ended else (last, counts[-1], whole)


def _progress(text: str) -> tuple[str, int, int] | None:
    """Label, count and whole of a line of progress with a score that is not one of training."""
    match = _COUNT.match(text.strip())
    if match is None or not _SCORE.search(text) or _TRAINS.search(text):
        return None
    return match[1], int(match[2]), int(match[3])


def _counts(lines: Sequence[str], label: str, whole: int) -> list[int]:
    found = [_progress(text) for text in lines]
    return [item[1] for item in found if item is not None and (item[0], item[2]) == (label, whole)]
