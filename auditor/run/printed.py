"""What a run printed: its validation metrics, and which of them carries the claim.

The script's own lines are the evidence of the incompressibility test, so they are read by the same reader as logs. A
label proves nothing about the procedure, but it ties a line of the toy run to the line of the submitted log with the
claimed score: that metric is judged, the others are notes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from auditor.ledger import Ledger
from auditor.record.claimed_line import claimed_lines, equal_lines
from auditor.record.logs import read_log
from auditor.record.model import MetricLine, Record
from auditor.record.template import may_print
from auditor.run.incompressibility import PrintedScore

STDOUT = "stdout of the run"
TELLING_DIGITS = 6  # decimals by which a score is known again where it is printed once more
_NUMBERS = re.compile(r"\d[\d.,_]*(?:e[-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class PrintedMetric:
    """One metric line of the run. `line` is its line number in stdout; `running` marks values inside an evaluation."""

    score: PrintedScore
    line: int
    during_training: bool
    running: bool

    @property
    def final(self) -> bool:
        return not self.during_training and not self.running


@dataclass(frozen=True, slots=True)
class Reported:
    """The metric that carries the claim, how it was found, and whether a log ties it to the claimed line."""

    metric: PrintedMetric
    why: str
    tied: bool


def printed_metrics(stdout: bytes) -> tuple[PrintedMetric, ...]:
    """All metric lines of a run's standard output, in order; hostile text is bounded by the log reader."""
    lines = [line for run in read_log(STDOUT, stdout) for line in run.metrics]
    lines.sort(key=lambda line: line.place.line)
    return tuple(
        PrintedMetric(
            PrintedScore(line.label, line.loss_text, line.bpb_text, line.raw),
            line.place.line,
            line.during_training,
            line.running,
        )
        for line in lines
    )


def reported_metric(metrics: Sequence[PrintedMetric], record: Record, source: Ledger | None) -> Reported | None:
    """The printed metric that stands where the claimed score stood; the last final one when nothing ties it."""
    claimed = claimed_lines(record)
    ties = {
        "printed by the line that carries the claim": claimed,
        "printed by a line with the same score as the claimed one": equal_lines(record, claimed),
    }
    for why, lines in ties.items():
        for metric in reversed(metrics):
            line = next((line for line in lines if _same_place(metric, line)), None)
            if line is not None:
                place = f"{line.place.path}, line {line.place.line}"
                return Reported(_with_its_loss(metric, metrics), f"{why} in {place}", tied=True)
    templates = [entry.label for entry in source.metrics if entry.reported] if source else []
    for metric in reversed(metrics):
        if any(may_print(template.split("{}"), metric.score.raw) for template in templates):
            tied = all(entry.tied for entry in source.metrics if entry.reported) if source else False
            return Reported(metric, "printed by the line that the source witness takes for the reported one", tied)
    final = [metric for metric in metrics if metric.final] or list(metrics)
    if not final:
        return None
    return Reported(final[-1], "the last metric that the run printed; no log ties a line to the claim", tied=False)


def shape(text: str) -> str:
    """A line without its figures and spaces, so that lines of different runs compare."""
    return "".join(_NUMBERS.sub("#", text).split())


def _with_its_loss(metric: PrintedMetric, metrics: Sequence[PrintedMetric]) -> PrintedMetric:
    """The same score where it is printed with its loss, from which no byte count has to be taken out again."""
    if metric.score.loss_text or len(metric.score.bpb_text.partition(".")[2]) < TELLING_DIGITS:
        return metric
    same = [other for other in metrics if other.score.loss_text and other.score.bpb_text == metric.score.bpb_text]
    return same[-1] if same else metric


def _same_place(metric: PrintedMetric, line: MetricLine) -> bool:
    """Whether both are the same figure of the same printed line; one line may print several figures."""
    label = shape(line.label)
    if label != shape(metric.score.label):
        return False
    same_kind = bool(label) and metric.during_training == line.during_training
    return same_kind or shape(metric.score.raw) == shape(line.raw)
