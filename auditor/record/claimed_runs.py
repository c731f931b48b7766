"""Which logged runs a claim rests on.

Folders hold ablations, superseded runs and copies beside the runs that made the score. A run carries the claim when one
of its scores is a claimed seed's score, or is among the lines that the claim as a whole equals.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from auditor.record.claimed_line import match_claim, seed_of, written_tolerance
from auditor.record.model import MetricLine, Record, RunLog, SeedClaim

MIN_DIGITS_OF_A_COPY = 7  # characters of a loss; shorter ones can be equal by chance
NEAR_BPB = 1e-3  # a claim further from every logged line is carried by none


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run, the line of it that carries the claim, and its seed."""

    log: RunLog
    line: MetricLine
    seed: int | None


def claimed_runs(record: Record) -> tuple[ClaimedRun, ...]:
    """The runs behind the claim, one for each seed where seeds are told apart; empty when none can be recognised.

    Several rules ask for the same record, so the last answer is kept.
    """
    global _last
    if _last is None or _last[0] is not record:
        _last = record, _find(record)
    return _last[1]


_last: tuple[Record, tuple[ClaimedRun, ...]] | None = None


def _find(record: Record) -> tuple[ClaimedRun, ...]:
    by_seed = _by_seed(record, [log for log in record.logs if log.final_metrics])
    match = match_claim(record)
    lines = match.lines if match is not None and abs(match.difference) <= NEAR_BPB else ()
    by_line = [run for line in lines if (run := run_of(line, record)) is not None]
    return _without_copies(by_seed if len(by_seed) >= len(by_line) else by_line)


def _without_copies(runs: Sequence[ClaimedRun]) -> tuple[ClaimedRun, ...]:
    """Of runs that print one loss and score to the last digit (train.log beside train_seed1337.log) the first stays."""
    kept: dict[tuple[str, str, str], ClaimedRun] = {}
    for run in runs:
        name = "" if len(run.line.loss_text) > MIN_DIGITS_OF_A_COPY else run.log.path
        kept.setdefault((run.line.loss_text, run.line.bpb_text, name), run)
    return tuple(kept.values())


def _by_seed(record: Record, logs: Sequence[RunLog]) -> list[ClaimedRun]:
    """One run for each claimed seed score: the nearest line that prints it, in a log of that seed if there is one."""
    found: list[ClaimedRun] = []
    names = Counter(_nameless(log) for log in logs)
    for seed in record.statement.seeds:
        if seed.val_bpb is None:
            continue
        tolerance = written_tolerance(repr(seed.val_bpb))
        lines = ((log, _line_with(log, seed.val_bpb, tolerance)) for log in logs)
        runs = [ClaimedRun(log, line, seed.seed) for log, line in lines if line is not None]
        copies = len({run.log.train_seconds for run in runs}) < 2
        nearest = min(runs, key=lambda run: _standing(run, seed, None if copies else names), default=None)
        if nearest is not None and all(nearest.log is not known.log for known in found):
            found.append(nearest)
    return found


def _standing(run: ClaimedRun, seed: SeedClaim, names: Counter[str] | None) -> tuple[float, ...]:
    """How a run ranks among those that print a seed's score; of equals that are different runs, one that is named as
    those of other seeds are comes before a side run."""
    usual = names[_nameless(run.log)] if names is not None else 0
    return (seed_of(run.log) != seed.seed, _distance(run.line, seed.val_bpb), -usual)


def _nameless(log: RunLog) -> str:
    """The log's file name without its numbers, and so without its seed."""
    return re.sub(r"\d+", "#", log.path.rpartition("/")[2])


def _line_with(log: RunLog, bpb: float, tolerance: float) -> MetricLine | None:
    """The final line that prints `bpb`: the nearest, of several equally near the one with more digits, with a loss."""
    matching = [line for line in log.final_metrics if _distance(line, bpb) <= tolerance]
    return min(
        matching,
        key=lambda line: (round(_distance(line, bpb), 5), line.val_loss is None, -len(line.bpb_text), -line.place.line),
        default=None,
    )


def _distance(line: MetricLine, bpb: float | None) -> float:
    return abs(line.val_bpb - bpb) if line.val_bpb is not None and bpb is not None else math.inf


def run_of(line: MetricLine, record: Record) -> ClaimedRun | None:
    """The run that printed `line`."""
    log = next((log for log in record.logs if any(line is known for known in log.metrics)), None)
    return ClaimedRun(log, line, seed_of(log)) if log is not None else None
