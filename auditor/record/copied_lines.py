"""Lines that stand verbatim in the logs of two seeds, measured milliseconds included.

Two runs never share their times, whatever they share otherwise: honest logs of two seeds have at most 9 % of their
metric lines in common (first steps, rounded times), copies begin at 84 %.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from auditor.record.model import Place, RunLog

MIN_LINES = 20  # fewer lines prove nothing
MAX_LOGS = 24
_MEASURED = re.compile(r"\d\s?ms\b|tok/s|train_time|\btt:|step_avg|\d\.\d+\s?s\b")
_PROGRESS = re.compile(r"loss|bpb|\bvl:|\btl:")


@dataclass(frozen=True, slots=True)
class Overlap:
    """`shared` of `lines` measured metric lines stand in both logs; `first` and `second` show one of them."""

    first_log: RunLog
    second_log: RunLog
    shared: int
    lines: int
    first: Place
    second: Place

    @property
    def share(self) -> float:
        return self.shared / self.lines


def overlaps(logs: Sequence[RunLog]) -> list[Overlap]:
    """The overlap of every pair of logs that both hold enough measured lines, the largest first."""
    tables = [(log, _measured_lines(log)) for log in logs[:MAX_LOGS]]
    found = []
    for (first, left), (second, right) in combinations(tables, 2):
        lines = min(len(left), len(right))
        if lines < MIN_LINES:
            continue
        shared = left.keys() & right.keys()
        if shared:
            example = max(shared, key=lambda text: left[text])
            found.append(
                Overlap(
                    first,
                    second,
                    len(shared),
                    lines,
                    Place(first.path, left[example]),
                    Place(second.path, right[example]),
                )
            )
    return sorted(found, key=lambda item: -item.share)


def _measured_lines(log: RunLog) -> dict[str, int]:
    """Progress lines that carry a measured time or rate, with their line numbers."""
    lines: dict[str, int] = {}
    for step in log.steps:
        if step.text and _MEASURED.search(step.text) and step.step > 10:
            lines.setdefault(step.text, step.place.line)
    for metric in log.metrics:
        measured = _MEASURED.search(metric.raw) and _PROGRESS.search(metric.raw)
        if measured and (metric.step is None or metric.step > 10):
            lines.setdefault(metric.raw, metric.place.line)
    return lines
