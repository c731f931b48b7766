"""Which logged runs a claim rests on.

Folders hold ablations, superseded runs and copies beside the runs that made the score. A run carries the claim when one
of its final scores is the claimed score, a claimed seed's score, or enters a mean over seeds that is the claimed score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from auditor.record.model import MetricLine, Record, RunLog

CLAIM_DIGITS = 6e-5  # bpb: claims are written with four digits and more
MAX_RUNS_IN_A_MEAN = 8


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run and the line of it that carries the claim (None when no single line does)."""

    log: RunLog
    line: MetricLine | None
    seed: int | None


def claimed_runs(record: Record) -> tuple[ClaimedRun, ...]:
    """The runs behind the claim, one for each seed where seeds are told apart; empty when none can be recognised."""
    logs = [log for log in record.logs if any(line.val_bpb is not None for line in log.final_metrics)]
    found = _by_seed(record, logs) or _by_mean(record, logs) or _by_score(record, logs)
    return tuple(found)


def run_seed(log: RunLog) -> int | None:
    """The seed a log prints, else the one its name says."""
    return log.seed if log.seed is not None else log.seed_in_name


def _by_seed(record: Record, logs: Sequence[RunLog]) -> list[ClaimedRun]:
    """One run for each claimed seed score: the last line of a log that prints it, logs of that seed first."""
    found: list[ClaimedRun] = []
    for seed in record.statement.seeds:
        if seed.val_bpb is None:
            continue
        ranked = sorted(logs, key=lambda log: run_seed(log) != seed.seed)
        run = next(
            (ClaimedRun(log, line, seed.seed) for log in ranked if (line := _line_with(log, seed.val_bpb))), None
        )
        if run is not None and all(run.log is not known.log for known in found):
            found.append(run)
    return found


def _line_with(log: RunLog, bpb: float) -> MetricLine | None:
    matching = [
        line for line in log.final_metrics if line.val_bpb is not None and abs(line.val_bpb - bpb) <= CLAIM_DIGITS
    ]
    return max(
        matching, key=lambda line: (line.val_loss is not None, len(line.bpb_text), line.place.line), default=None
    )


def _by_mean(record: Record, logs: Sequence[RunLog]) -> list[ClaimedRun]:
    """Runs whose scores under one label average to the claim: all that print the label, else a subset of them."""
    claim = record.statement.val_bpb
    if claim is None:
        return []
    by_label: dict[str, list[ClaimedRun]] = {}
    for log in logs:
        last = {stem(line.label): line for line in log.final_metrics if line.val_bpb is not None}
        for label, line in last.items():
            by_label.setdefault(label, []).append(ClaimedRun(log, line, run_seed(log)))
    groups = [_without_repeated_scores(runs) for runs in by_label.values()]
    groups.sort(key=len, reverse=True)
    for runs in groups:
        if len(runs) >= 2 and _mean_is(runs, claim):
            return runs
    for runs in groups:
        if 3 <= len(runs) <= MAX_RUNS_IN_A_MEAN:
            for size in range(len(runs) - 1, 1, -1):
                for subset in combinations(runs, size):
                    if _mean_is(subset, claim):
                        return list(subset)
    return []


def stem(label: str) -> str:
    """A label without the suffix that marks the unrounded repetition of a line."""
    return label.removesuffix("_exact").removesuffix(" exact").strip()


def _without_repeated_scores(runs: Sequence[ClaimedRun]) -> list[ClaimedRun]:
    return list({run.line.val_bpb: run for run in runs if run.line is not None}.values())


def _mean_is(runs: Sequence[ClaimedRun], claim: float) -> bool:
    values = [run.line.val_bpb for run in runs if run.line is not None and run.line.val_bpb is not None]
    return abs(math.fsum(values) / len(values) - claim) <= CLAIM_DIGITS


def _by_score(record: Record, logs: Sequence[RunLog]) -> list[ClaimedRun]:
    for claim in (record.statement.val_bpb, record.readme_bpb):
        if claim is None:
            continue
        for log in logs:
            line = _line_with(log, claim)
            if line is not None:
                return [ClaimedRun(log, line, run_seed(log))]
    return []
