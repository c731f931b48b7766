"""One pull request tried at toy size: load, prepare, run confined, climb the ladder of sizes."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from auditor.configuration import derive_configuration
from auditor.record import read_record
from auditor.run.model import Limits, Outcome, Size
from auditor.run.printed import PrintedMetric, printed_metrics, reported_metric
from auditor.run.sandbox import run_job
from auditor.run.sources import Source
from auditor.run.stage import Prepared, StageError, prepare
from auditor.run.stage.ladder import next_step
from auditor.submission.load import load_pull_request
from auditor.submission.model import LoadError, Submission

MAX_ATTEMPTS = 3
LAST_LINES = 5
NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run: the size's label, how it ended, and how long it took."""

    size: str
    failure: str  # "" when it reached its end
    detail: str
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one pull request.

    `ran`: the script ended by itself with a metric, or printed the line that carries the claim before a late error.
    `floor_nats` is the source's code length a predicted token, to compare printed losses with; `metrics` are the last
    metric lines.
    """

    pull_request: int
    ran: bool
    failure: str
    detail: str
    seconds: float  # of all attempts
    attempts: tuple[Attempt, ...] = ()
    metrics: tuple[str, ...] = ()
    floor_nats: float = 0.0
    vocabulary: int = 0
    stand_ins: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The trial as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Laboratory:
    """What all trials share."""

    git_dir: Path
    source: Source
    size: Size
    seed: int
    python: str
    limits: Limits
    trace: str = "none"
    keep: Path | None = None  # folder for what the last attempt printed


def try_pull_request(number: int, laboratory: Laboratory) -> Trial:
    """Run the submission of one pull request; never raises for what it contains."""
    try:
        submission = load_pull_request(laboratory.git_dir, number)
    except LoadError as error:
        return Trial(number, False, NOT_RUN, str(error), 0.0)
    if submission.script is None:
        return Trial(number, False, NOT_RUN, "no script", 0.0)
    return _climb(number, submission, laboratory)


def _climb(number: int, submission: Submission, laboratory: Laboratory) -> Trial:
    record = read_record(submission)
    configuration = derive_configuration(submission, record)
    size, began, attempts = laboratory.size, time.monotonic(), list[Attempt]()
    while True:
        work = Path(tempfile.mkdtemp(prefix="pgolf-run-"))
        try:
            prepared = prepare(
                submission,
                configuration,
                record,
                source=laboratory.source,
                size=size,
                seed=laboratory.seed,
                work=work,
                trace=laboratory.trace,
                python=laboratory.python,
                limits=laboratory.limits,
            )
            outcome = run_job(prepared.stage.job)
        except StageError as error:
            return Trial(number, False, NOT_RUN, str(error), time.monotonic() - began)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        _keep(laboratory.keep, number, outcome, prepared)
        metrics = printed_metrics(outcome.stdout)
        claimed = reported_metric(metrics, record, None)
        step = next_step(outcome, size, printed_metric=claimed is not None and claimed.tied)
        attempts.append(_attempt(size, outcome, step.failure if step else "", step.detail if step else ""))
        if step is None or step.next_size is None or len(attempts) == MAX_ATTEMPTS:
            trial = _trial(number, prepared, outcome, metrics, attempts)
            return replace(trial, seconds=round(time.monotonic() - began, 1))
        size = step.next_size


def _attempt(size: Size, outcome: Outcome, failure: str, detail: str) -> Attempt:
    return Attempt(
        size.label,
        str(failure),
        detail,
        round(outcome.seconds, 2),
        round(outcome.cpu_seconds, 2),
        outcome.peak_memory_bytes,
    )


def _trial(
    number: int,
    prepared: Prepared,
    outcome: Outcome,
    metrics: tuple[PrintedMetric, ...],
    attempts: list[Attempt],
) -> Trial:
    calls: Counter[str] = Counter()
    for item in outcome.records:
        if item.get("kind") == "standin":
            count = item.get("calls")
            calls[str(item.get("name"))] += count if isinstance(count, int) else 1
    last = attempts[-1]
    late = last.failure == "" and not outcome.completed
    return Trial(
        pull_request=number,
        ran=last.failure == "" and bool(metrics),
        failure=last.failure or ("" if metrics else "no metric printed"),
        detail=last.detail,
        seconds=0.0,
        attempts=tuple(attempts),
        metrics=tuple(metric.score.raw.strip()[:160] for metric in metrics[-LAST_LINES:]),
        floor_nats=prepared.validation.floor() / (len(prepared.validation.tokens) - 1),
        vocabulary=prepared.vocabulary,
        stand_ins=dict(calls),
        notes=(*prepared.stage.notes, *(("a late error after the final metric",) if late else ())),
    )


def _keep(folder: Path | None, number: int, outcome: Outcome, prepared: Prepared) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.out").write_bytes(outcome.stdout)
        (folder / f"{number}.err").write_bytes(outcome.stderr)
        settings = "".join(f"{name}={value}  # {why}\n" for name, (value, why) in prepared.stage.settings.items())
        (folder / f"{number}.settings").write_text(settings)
