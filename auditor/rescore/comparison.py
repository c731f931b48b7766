"""The replay's printed scores beside those of the log, line by line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from auditor.record.claimed_line import claimed_lines
from auditor.record.model import MetricLine, Record, RunLog
from auditor.run.printed import PrintedMetric, shape


def behind_artifact(log: RunLog) -> list[MetricLine]:
    """The final scores that a log prints once the artifact is made; all final scores where it does not say when."""
    sizes = [size.place.line for size in log.sizes if size.kind in ("model", "total")]
    made = min(sizes, default=0)
    return [line for line in log.final_metrics if line.place.line > made]


def paired(
    metrics: Sequence[PrintedMetric], log: RunLog, record: Record
) -> tuple[list[tuple[MetricLine, PrintedMetric, bool]], list[MetricLine]]:
    """(logged line, replayed line, whether it carries the claim) by equal labels in order, and lines without a partner.

    A label printed several times is paired in order from the last, because what comes behind the artifact comes last.
    """
    replayed = _by_label((metric.score.label, metric) for metric in metrics if metric.final)
    logged = _by_label((line.label, line) for line in behind_artifact(log))
    carriers = {(line.place.path, line.place.line) for line in claimed_lines(record)}
    pairs, missing = [], []
    for label, lines in logged.items():
        partners = list(replayed.get(label, ()))
        for line in reversed(lines):
            carries = (line.place.path, line.place.line) in carriers
            if partners:
                pairs.append((line, partners.pop(), carries))
            else:
                missing.append(line)
    pairs.sort(key=lambda pair: pair[0].place.line)
    return pairs, sorted(missing, key=lambda line: line.place.line)


def _by_label[T](entries: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for label, entry in entries:
        groups[shape(label)].append(entry)
    return groups
