"""The time sheet of a run: every timed phase its log names, and the budget it belongs to.

Training has ten minutes and evaluation another ten. What a log times beyond the two - adaptation between training and
quantization, calibration after the clock, compression - belongs to neither unless somebody puts it there. Nothing is
judged here; rules/time.py holds the budgets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.record.model import MetricLine, Phase, Place, Record, RunLog
from auditor.record.places import RawPlaces

TRAINING = "training"
EVALUATION = "evaluation"
DIAGNOSTIC = "diagnostic"  # a printed pass that the claim does not need
NEITHER = "neither"

SAME_SCORE = 1e-4  # bpb; lines closer than this print one pass
SAME_PASS_SECONDS = 2.0  # by which an adaptation may fall short of the evaluation that contains it

_PACKAGING = re.compile(r"compress|serializ|\bsort\b|brotli|lzma|zstd|zlib|\bans\b|\bprun", re.IGNORECASE)
_CALIBRATION = re.compile(r"collect\w* +hessians|hessians? collect|calibrat\w+", re.IGNORECASE)
_ANNOUNCED = re.compile(r"reserv|cache|_batches|enabled|^ {0,8}\w+: \S+$", re.IGNORECASE)
_GENERATED = re.compile(r"autoregress|self-?gen|generat|\bAR\b|synthetic", re.IGNORECASE)
_TRAINING_DATA = re.compile(r"train(?:ing)?[ _](?:data|set|shard|token|loader)", re.IGNORECASE)
_VALIDATION_DATA = re.compile(r"\bval(?:idation)?[ _](?:data|set|token)", re.IGNORECASE)
_EXACT_STOP = re.compile(r"train_time\s?[:=]\s{0,4}\d{1,9}(?:\.\d{1,6})?\s?ms\b")


_DECLARED = re.compile(
    r"(?:^|[._])(?P<what>train|training|wallclock|eval|evaluation|ttt)(?:_(?:time|wallclock|process|real|ops|total|clock))*"
    r"_?(?P<unit>ms|seconds|secs|sec|s|minutes|min)(?:_(?:max|mean|total))?$",
    re.IGNORECASE,
)
_DECLARED_WHAT = {
    "train": "training",
    "training": "training",
    "wallclock": "training",
    "eval": "evaluation",
    "evaluation": "evaluation",
    "ttt": "adaptation",
}
_UNIT_SECONDS = {"ms": 1e-3, "seconds": 1.0, "secs": 1.0, "sec": 1.0, "s": 1.0, "minutes": 60.0, "min": 60.0}
_README_TIME = re.compile(
    r"\s{0,8}[-*+]?\s{0,4}\**(?P<what>training|train|evaluation|eval) (?:wall-?clock )?time\**\s?:\**\s{0,4}"
    r"(?P<value>\d{1,3}(?:,\d{3}){1,3}|\d{1,8}(?:\.\d{1,4})?)\s?(?P<unit>ms|seconds|secs|sec|s)\b",
    re.IGNORECASE,
)
_OF_OTHERS = re.compile(r"previous|baseline|prior|parent|\bpr ?#?\d|average|per step", re.IGNORECASE)
_MAX_README_LINES = 2_000
_NOT_ITS_OWN = re.compile(
    r"\bvs_|previous|baseline|prior|parent|compar|reference|\bpr_?\d|limit|cap\b|budget|max_wallclock|reserve|per_step|avg",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class BudgetEntry:
    """One timed phase. `movable` phases fit the rules in either budget; where the submission puts them is not said."""

    phase: str
    kind: str  # as in `Phase`: "train", "hessians", "quantize", "adapt", "eval", "other"
    seconds: float
    budget: str
    place: Place
    movable: bool = False


@dataclass(frozen=True, slots=True)
class BudgetSheet:
    """The sheet of one run. `claimed` is the evaluation pass that made the claim, None when its time is not printed."""

    log: str
    seed: int | None
    world_size: int | None
    entries: tuple[BudgetEntry, ...]
    claimed: BudgetEntry | None
    exact_stop: bool  # the training clock is printed in milliseconds: no tenth of a minute, no wall clock with start-up

    def total(self, budget: str) -> float:
        """Seconds in a budget."""
        return sum(entry.seconds for entry in self.entries if entry.budget == budget)

    def of(self, *kinds: str) -> tuple[BudgetEntry, ...]:
        """Entries of these kinds, in log order."""
        return tuple(entry for entry in self.entries if entry.kind in kinds)


def budget_sheet(log: RunLog, claimed_line: MetricLine | None = None) -> BudgetSheet:
    """The sheet of `log`; `claimed_line` is the score the claim rests on, where that is known."""
    artifact_line = _artifact_line(log)
    evaluations = [phase for phase in log.phases if phase.kind == "eval" and not _before(phase, artifact_line)]
    claimed = _claimed_pass(log, claimed_line)
    entries: list[BudgetEntry] = []
    if log.train_seconds is not None:
        place = log.stop or (log.steps[-1].place if log.steps else Place(log.path))
        entries.append(BudgetEntry("training", "train", log.train_seconds, TRAINING, place))
    for phase in sorted(log.phases, key=lambda item: item.place.line):
        entries.append(_entry(phase, artifact_line, evaluations, claimed))
    claimed_entry = next(
        (entry for entry in entries if claimed and entry.place == claimed.place and entry.kind == "eval"), None
    )
    return BudgetSheet(
        log=log.path,
        seed=log.seed if log.seed is not None else log.seed_in_name,
        world_size=log.world_size,
        entries=tuple(entries),
        claimed=claimed_entry,
        exact_stop=bool(_EXACT_STOP.search(log.stop_text)),
    )


def _artifact_line(log: RunLog) -> int | None:
    """The line that says how large the finished artifact is; what stands before it made the artifact."""
    return max((item.place.line for item in log.sizes if item.kind in ("model", "total")), default=None)


def _before(phase: Phase, line: int | None) -> bool:
    return line is not None and phase.place.line < line


def _claimed_pass(log: RunLog, claimed_line: MetricLine | None) -> Phase | None:
    """The timed evaluation pass behind a score: its own time, else that of the line that prints the same score."""
    passes = {phase.place: phase for phase in log.phases if phase.kind == "eval"}
    if claimed_line is None or claimed_line.val_bpb is None:
        return None
    if claimed_line.place in passes:
        return passes[claimed_line.place]
    same = [
        passes[line.place]
        for line in log.final_metrics
        if line.place in passes and line.val_bpb is not None and abs(line.val_bpb - claimed_line.val_bpb) <= SAME_SCORE
    ]
    return min(same, key=lambda phase: abs(phase.place.line - claimed_line.place.line), default=None)


def _entry(phase: Phase, artifact_line: int | None, evaluations: Sequence[Phase], claimed: Phase | None) -> BudgetEntry:
    budget, movable = _budget(phase, artifact_line, evaluations, claimed)
    return BudgetEntry(phase.label or phase.kind, phase.kind, phase.seconds, budget, phase.place, movable)


def _budget(
    phase: Phase, artifact_line: int | None, evaluations: Sequence[Phase], claimed: Phase | None
) -> tuple[str, bool]:
    """The budget of a phase, and whether it could be put into the other one."""
    early = _before(phase, artifact_line)
    if phase.kind == "eval":
        if claimed is not None and phase.place == claimed.place:
            return EVALUATION, False
        return (DIAGNOSTIC, False) if early or claimed is not None else (EVALUATION, False)
    if phase.kind == "adapt":
        if early:
            return NEITHER, True
        inside = any(
            later.place.line >= phase.place.line and later.seconds >= phase.seconds - SAME_PASS_SECONDS
            for later in evaluations
        )
        return (DIAGNOSTIC if inside else EVALUATION), False
    if phase.kind in ("hessians", "quantize") and early and not _PACKAGING.search(phase.label):
        return TRAINING, True
    if phase.kind == "train":
        return DIAGNOSTIC, False
    return NEITHER, False


@dataclass(frozen=True, slots=True)
class DeclaredTime:
    """A duration that submission.json declares. what: "training", "evaluation", "adaptation"."""

    key: str
    what: str
    seconds: float
    place: Place


def declared_times(record: Record) -> tuple[DeclaredTime, ...]:
    """Durations of training, evaluation and adaptation that submission.json, or a line of the README, declares."""
    found = list(_readme_times(record))
    for key, value in record.statement.fields.items():
        match = _DECLARED.search(key)
        if match is None or isinstance(value, bool) or not isinstance(value, (int, float)) or _NOT_ITS_OWN.search(key):
            continue
        seconds = value * _UNIT_SECONDS[match["unit"].lower()]
        if math.isfinite(seconds) and seconds > 0.0:
            place = record.statement.places.get(key, Place(""))
            found.append(DeclaredTime(key, _DECLARED_WHAT[match["what"].lower()], seconds, place))
    return tuple(found)


def _readme_times(record: Record) -> Iterator[DeclaredTime]:
    """ "Training time: 603,111ms", on a line of its own and to the second at least."""
    for number, line in enumerate(record.readme_text.split("\n")[:_MAX_README_LINES], 1):
        match = _README_TIME.match(line[:200])
        if match is None or _OF_OTHERS.search(line[:200]):
            continue
        seconds = float(match["value"].replace(",", "")) * _UNIT_SECONDS[match["unit"].lower()]
        yield DeclaredTime(
            match["what"], _DECLARED_WHAT[match["what"].lower()], seconds, Place(record.readme_path, number)
        )


@dataclass(frozen=True, slots=True)
class LateCalibration:
    """Calibration for quantization that a log reports after training had used up its budget.

    data: "training" (the log says so), "generated" (by the model itself), "validation", "unstated". `seconds` is None
    where the log does not time it.
    """

    train_seconds: float
    seconds: float | None
    data: str
    place: Place
    text: str  # the log's line


def late_calibration(log: RunLog, budget_seconds: float, allowance_seconds: float) -> LateCalibration | None:
    """GPTQ or Hessian calibration after the training budget was used up, or None.

    It counts as late when training and calibration together exceed the budget by more than the allowance, or, where
    the calibration is not timed, when training alone came within the allowance of the budget.
    """
    if log.train_seconds is None or log.stop is None:
        return None
    announced = _calibration_lines(log)
    timed = [phase for phase in log.phases if phase.kind == "hessians" and phase.place.line >= log.stop.line]
    if not announced and not timed:
        return None
    seconds = max((phase.seconds for phase in timed), default=None)
    used = log.train_seconds + (seconds if seconds is not None else allowance_seconds)
    late = used > budget_seconds + allowance_seconds if seconds is not None else used >= budget_seconds
    if not late:
        return None
    text = " / ".join(text for text, _ in announced)
    place = announced[0][1] if announced else timed[0].place
    return LateCalibration(log.train_seconds, seconds, _calibration_data(text), place, text[:200])


def _calibration_lines(log: RunLog) -> list[tuple[str, Place]]:
    """Raw lines after the stop that report calibration as done or being done."""
    found: list[tuple[str, Place]] = []
    places = None
    stopped = False
    for index, text in enumerate(log.raw_lines):
        stopped = stopped or (bool(log.stop_text) and text.startswith(log.stop_text[:200]))
        if stopped and len(text) < 300 and _CALIBRATION.search(text) and not _ANNOUNCED.search(text):
            places = places or RawPlaces(log)
            found.append((text.strip(), places.place(index)))
    return found[:4]


def _calibration_data(text: str) -> str:
    if _GENERATED.search(text):
        return "generated"
    if _VALIDATION_DATA.search(text):
        return "validation"
    return "training" if _TRAINING_DATA.search(text) else "unstated"
