"""TIME: ten minutes of training and ten minutes of evaluation on eight H100."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date

from auditor.findings import Finding, RuleResult, Status, Step, Witness, conclude
from auditor.record.budget_sheet import (
    EVALUATION,
    NEITHER,
    BudgetEntry,
    BudgetSheet,
    budget_sheet,
    declared_times,
)
from auditor.record.claimed_runs import claimed_runs
from auditor.record.clock import clock_contradictions
from auditor.record.declared_track import declared_non_record
from auditor.record.metadata import as_number
from auditor.record.model import Record, RunLog
from auditor.submission.model import Track
from rules.base import Evidence, Example, Precedent, Rule
from rules.example import example_folder

TRAINING_SECONDS = 600.0
EVALUATION_SECONDS = 600.0
ALLOWANCE_SECONDS = 0.5
"""Training stops after the step that crosses the cap."""
CALIBRATION_ALLOWANCE_SECONDS = 1.0
"""By which training and a calibration that was given time of its own (training stopped earlier) may exceed the budget
together: what a reserve of whole seconds misses. Accepted in #1493 and #1514 (0.7 to 0.9 s)."""
RESERVED_SECONDS = 5.0
"""Training that stops so much before its budget left room for what follows."""
USED_UP_SECONDS = 0.05
"""A clock that is read after each step stops at its limit or after it; a stop so little before it is its rounding. The
accepted records that took time off for calibration stopped 0.3 s before the limit at least."""
ACCEPTED_WITH_CALIBRATION_SECONDS = 607.0
"""More than training and Hessian collection together ever took in an accepted record; every one of them had stopped
training before the limit (#1851, #1855, #2135: 0.3 to 0.6 s, #1493, #1514: 12 s). Training alone beyond it is
plain; between it and the budget the overrun is for a person to weigh."""
WORLD_SIZE = 8
PRECOMPUTATION = "precompute_done"  # how logs name tables that are built over the validation text before scoring
_HARDWARE_KEY = re.compile(r"hardware|gpu|device|machine|accelerator", re.IGNORECASE)
_GPU_NAMES = r"(?:[ABLV]\d{2,3}S?|H200|GH200|RTX ?\d{4}|[345]0[6789]0|MI\d{3}X?|TPU|GB10)"
_OTHER_GPU = re.compile(rf"(?:\b|(?<=\d[x×])){_GPU_NAMES}\b", re.IGNORECASE)
_EIGHT_OTHERS = re.compile(rf"\b8 ?[x×] ?(?:AMD |NVIDIA )?{_GPU_NAMES}\b", re.IGNORECASE)
_LIMIT_NAMES = ("max_wallclock_seconds", "max_wallclock", "mws")  # as logs print the setting
MAX_README_CHARACTERS = 200_000
MAX_RUNS = 40
MAX_STEPS = 12
_OF_A_RUN = re.compile(r"^(?:seed \d{1,9}|[^:\s]{1,200}?)(?=[: ])")
_FIGURES = re.compile(r"\d[\d,.]{0,20}")
MAX_MOVABLE = 8  # the longest; leaving shorter ones out can only make room


def judge(evidence: Evidence) -> RuleResult:
    """Sheet every phase of every claimed run against the two budgets."""
    if evidence.submission.track is Track.NON_RECORD:
        return RuleResult("TIME", Status.NOT_APPLICABLE, "the clock binds record submissions only")
    sheets = budget_sheets(evidence.record)
    hardware = other_hardware(evidence.record)
    if declared_non_record(evidence.record) is not None:
        hardware = "the submission declares itself non-record, which the clock does not bind"
    findings = _one_of_a_kind([finding for sheet in sheets for finding in _judge_sheet(sheet, hardware)])
    findings += _judge_clocks(evidence.record)
    findings += _judge_declared(evidence.record, sheets)
    timed = [sheet for sheet in sheets if sheet.entries]
    if not timed and not findings:
        return RuleResult("TIME", Status.NOT_CHECKED, "no log of a claimed run says how long anything took")
    return conclude("TIME", findings, passed=_passed(timed))


def _one_of_a_kind(findings: Sequence[Finding]) -> list[Finding]:
    """Findings that say the same of several runs as one: the first, with the number of further runs."""
    groups: dict[tuple[Status, str], list[Finding]] = {}
    for finding in findings:
        said = _OF_A_RUN.sub("", finding.message)
        groups.setdefault((finding.status, _FIGURES.sub("#", said)), []).append(finding)
    merged = []
    for group in groups.values():
        more = len(group) - 1
        note = f"; likewise {more} more run{'s' if more > 1 else ''}" if more else ""
        steps = tuple(step for finding in group for step in finding.steps)[:MAX_STEPS]
        merged.append(replace(group[0], message=group[0].message + note, steps=steps))
    return merged


def budget_sheets(record: Record) -> tuple[BudgetSheet, ...]:
    """The sheets of the claimed runs; of all runs when none can be told."""
    claimed = [budget_sheet(run.log, run.line) for run in claimed_runs(record)]
    sheets = tuple(claimed or [budget_sheet(log) for log in record.logs])[:MAX_RUNS]
    sizes = {sheet.world_size for sheet in sheets if sheet.world_size is not None}
    if len(sizes) != 1:
        return sheets
    common = sizes.pop()  # a shortened log of the same claim need not repeat the number of GPUs
    return tuple(replace(sheet, world_size=common) for sheet in sheets)


def other_hardware(record: Record) -> str:
    """What submission.json or the README says of its hardware when that is something else than eight H100, else ""."""
    for key, value in record.statement.fields.items():
        if _HARDWARE_KEY.search(key) and isinstance(value, str):
            match = _OTHER_GPU.search(value)
            if match and "h100" not in value.lower():
                return f"on {match[0]}, says submission.json"
    match = _EIGHT_OTHERS.search(record.readme_text[:MAX_README_CHARACTERS])
    return f"on {match[0]}, says the README" if match else ""


def _judge_clocks(record: Record) -> list[Finding]:
    """Times that one clock cannot have shown."""
    logs = [run.log for run in claimed_runs(record)] or list(record.logs)
    return [
        Finding(
            Status.REVIEW,
            Witness.RECORD,
            f"{log.path.rsplit('/', 1)[-1]}: {item.message}",
            path=item.second.path,
            line=item.second.line,
            steps=(
                Step(item.first.path, item.first.line, "a time"),
                Step(item.second.path, item.second.line, "and the one that contradicts it"),
            ),
        )
        for log in logs[:MAX_RUNS]
        for item in clock_contradictions(log)
    ]


def _judge_sheet(sheet: BudgetSheet, hardware: str) -> list[Finding]:
    """Findings about one run; `hardware` says why the clock may not count, "" for eight H100 or nothing said."""
    findings = [
        *_judge_training(sheet),
        *_judge_evaluation(sheet),
        *_judge_placement(sheet),
        *_judge_neither(sheet),
    ]
    doubt = hardware
    if sheet.world_size != WORLD_SIZE:
        known = sheet.world_size is not None
        doubt = f"on {sheet.world_size} GPUs, not {WORLD_SIZE}" if known else "the log does not say on how many GPUs"
    if not doubt:
        return findings
    findings = [
        replace(finding, status=Status.REVIEW, message=f"{finding.message} ({doubt})")
        if finding.status is Status.FAIL
        else finding
        for finding in findings
    ]
    if sheet.world_size not in (None, WORLD_SIZE):
        message = f"{_name(sheet)} ran on {sheet.world_size} GPUs: its times say little about 8xH100"
        findings.append(Finding(Status.REVIEW, Witness.RECORD, message, path=sheet.log))
    return findings


def _judge_training(sheet: BudgetSheet) -> list[Finding]:
    train = next(iter(sheet.of("train")), None)
    if train is None:
        return []
    over = train.seconds - TRAINING_SECONDS
    if over > ALLOWANCE_SECONDS:
        plain = train.seconds > ACCEPTED_WITH_CALIBRATION_SECONDS and sheet.exact_stop
        message = f"{_name(sheet)} trained {train.seconds:,.3f} s, {over:,.3f} s beyond {TRAINING_SECONDS:.0f} s"
        return [_finding(Status.FAIL if plain else Status.REVIEW, message, [train])]
    calibration = [entry for entry in sheet.of("hessians") if entry.movable]
    needed = train.seconds + max((entry.seconds for entry in calibration), default=0.0)
    if calibration and needed > TRAINING_SECONDS + ALLOWANCE_SECONDS:
        message = (
            f"{_name(sheet)}: training {train.seconds:.1f} s and Hessian collection {needed - train.seconds:.1f} s "
            f"make {needed:.1f} s"
        )
        reserved = train.seconds <= TRAINING_SECONDS - RESERVED_SECONDS
        if reserved and needed <= TRAINING_SECONDS + CALIBRATION_ALLOWANCE_SECONDS:
            message += "; training stopped early to make room for it, and the overrun is what accepted records have"
            return [_finding(Status.PASS, message, [train, *calibration])]
        message += "; calibration reads training data, and its time counts as training (#609). "
        message += _what_was_accepted(train.seconds)
        return [_finding(Status.REVIEW, message, [train, *calibration])]
    return []


def _what_was_accepted(train_seconds: float) -> str:
    """How overruns by calibration were decided on: by whether training had left room for it, however little."""
    reach = f"{ACCEPTED_WITH_CALIBRATION_SECONDS:.0f} s"
    if train_seconds < TRAINING_SECONDS - USED_UP_SECONDS:
        return f"Records that, as this one, stopped training before the limit were accepted with up to {reach}"
    return (
        f"Training had used up the limit before: calibration on training data after that was refused (#606, #1028; see "
        f"TRAINDATA), and the records accepted with up to {reach} had all stopped training earlier"
    )


def own_limit(log: RunLog) -> float | None:
    """The seconds after which a run was told to stop, where they are more than the challenge allows; else None."""
    found = (as_number(log.hyperparameters.get(name)) for name in _LIMIT_NAMES)
    limit = next((seconds for seconds in found if seconds is not None), None)
    return limit if limit is not None and limit > TRAINING_SECONDS + ALLOWANCE_SECONDS else None


def reserved_seconds(log: RunLog) -> float | None:
    """The seconds of its limit that a run kept for quantization, as its log prints them."""
    if log.gptq_reserved_seconds is not None:
        return log.gptq_reserved_seconds
    return as_number(log.hyperparameters.get("gptq_reserve_seconds"))


def _judge_evaluation(sheet: BudgetSheet) -> list[Finding]:
    limit = EVALUATION_SECONDS + ALLOWANCE_SECONDS
    if sheet.claimed is not None and sheet.claimed.seconds > limit:
        message = (
            f"{_name(sheet)}: the evaluation behind the claim ({sheet.claimed.phase}) took "
            f"{sheet.claimed.seconds:,.1f} s of {EVALUATION_SECONDS:.0f} s"
        )
        return [_finding(Status.FAIL, message, [sheet.claimed])]
    if sheet.claimed is None:
        single = [entry for entry in sheet.of("eval") if entry.seconds > limit]
        if single:
            message = f"{_name(sheet)}: one evaluation ({single[0].phase}) took {single[0].seconds:,.1f} s"
            return [_finding(Status.REVIEW, message, single)]
        return []
    before = [entry for entry in sheet.entries if entry.place.line < sheet.claimed.place.line]
    prepared = [entry for entry in before if entry.kind == "eval" and entry.phase.endswith(PRECOMPUTATION)]
    adapted = [
        entry
        for entry in before
        if entry.kind == "adapt" and entry.budget == EVALUATION and entry.seconds > sheet.claimed.seconds
    ]
    needed = [*_outermost(prepared), *_outermost(adapted), sheet.claimed]
    total = sum(entry.seconds for entry in needed)
    if total > limit:
        message = f"{_name(sheet)}: evaluation {total:,.1f} s unless one pass contains the other: {_list(needed)}"
        return [_finding(Status.REVIEW, message, needed)]
    return []


def _judge_placement(sheet: BudgetSheet) -> list[Finding]:
    """Whether the movable phases fit anywhere: each goes whole into one budget."""
    train = next(iter(sheet.of("train")), None)
    adaptations = [entry for entry in sheet.entries if entry.kind == "adapt" and entry.budget == NEITHER]
    if train is None or not adaptations:
        return []
    claimed = sheet.claimed.seconds if sheet.claimed is not None else 0.0
    movable = [
        *_outermost(adaptations),
        *_outermost([entry for entry in sheet.entries if entry.movable and entry.kind != "adapt"]),
    ]
    if _fits(movable, TRAINING_SECONDS - train.seconds, EVALUATION_SECONDS - claimed):
        return []
    parts = [train, *movable, *([sheet.claimed] if sheet.claimed else [])]
    message = (
        f"{_name(sheet)}: the two budgets of {TRAINING_SECONDS:.0f} s cannot both hold, wherever the adaptation is "
        f"put: {_list(parts)}"
    )
    return [_finding(Status.FAIL, message, parts)]


def _outermost(entries: Sequence[BudgetEntry]) -> list[BudgetEntry]:
    """Of timed phases that may contain each other (one tool's lines), only the longest."""
    longest: dict[str, BudgetEntry] = {}
    for entry in entries:
        family = entry.phase.split(":", 1)[0].split(" ", 1)[0].lower()
        if family not in longest or entry.seconds > longest[family].seconds:
            longest[family] = entry
    return sorted(longest.values(), key=lambda entry: -entry.seconds)[:MAX_MOVABLE]


def _fits(entries: Sequence[BudgetEntry], training_left: float, evaluation_left: float) -> bool:
    """Whether every entry can be put into one of the two rests, with the allowance on each."""
    if not entries:
        return True
    head, rest = entries[0], entries[1:]
    if head.seconds <= training_left + ALLOWANCE_SECONDS and _fits(rest, training_left - head.seconds, evaluation_left):
        return True
    return head.seconds <= evaluation_left + ALLOWANCE_SECONDS and _fits(
        rest, training_left, evaluation_left - head.seconds
    )


def _judge_neither(sheet: BudgetSheet) -> list[Finding]:
    """Phases that the sheet finds in neither budget: adaptation is a question, packaging is worth knowing."""
    outside = [entry for entry in sheet.entries if entry.budget == NEITHER]
    adaptations = [entry for entry in outside if entry.kind == "adapt"]
    findings = []
    if adaptations:
        seconds = sum(entry.seconds for entry in _outermost(adaptations))
        message = (
            f"{_name(sheet)}: {seconds:,.1f} s of adaptation between training and quantization are in neither "
            "budget: "
            f"{_list(adaptations)}"
        )
        findings.append(_finding(Status.REVIEW, message, adaptations))
    packaging = [entry for entry in outside if entry.kind != "adapt" and entry.seconds >= 1.0]
    if packaging:
        message = f"{_name(sheet)}: counted in neither budget, as in accepted records: {_list(packaging)}"
        findings.append(_finding(Status.PASS, message, packaging))
    return findings


def _judge_declared(record: Record, sheets: Sequence[BudgetSheet]) -> list[Finding]:
    """Times that submission.json or the README declares: no measurement, so over a budget they are a question."""
    budgets = {"training": TRAINING_SECONDS, "evaluation": EVALUATION_SECONDS, "adaptation": EVALUATION_SECONDS}
    over = [item for item in declared_times(record) if item.seconds > budgets[item.what] + ALLOWANCE_SECONDS]
    findings = []
    for what in dict.fromkeys(item.what for item in over):
        items = [item for item in over if item.what == what]
        worst = max(items, key=lambda item: item.seconds)
        others = f" and {len(items) - 1} more" if len(items) > 1 else ""
        message = (
            f"{worst.place.path.rsplit('/', 1)[-1] or 'submission.json'} declares {worst.seconds:,.1f} s of {what} "
            f"({worst.key}){others}, "
            f"over {budgets[what]:.0f} s"
        )
        findings.append(Finding(Status.REVIEW, Witness.RECORD, message, path=worst.place.path, line=worst.place.line))
    return findings


def _name(sheet: BudgetSheet) -> str:
    return f"seed {sheet.seed}" if sheet.seed is not None else sheet.log.rsplit("/", 1)[-1]


def _list(entries: Iterable[BudgetEntry]) -> str:
    return ", ".join(f"{entry.phase} {entry.seconds:,.1f} s" for entry in entries)


def _finding(status: Status, message: str, entries: Sequence[BudgetEntry]) -> Finding:
    steps = tuple(
        Step(entry.place.path, entry.place.line, f"{entry.phase}: {entry.seconds:,.1f} s") for entry in entries
    )
    last = entries[-1].place
    return Finding(status, Witness.RECORD, message, path=last.path, line=last.line, steps=steps)


def _passed(sheets: Sequence[BudgetSheet]) -> str:
    trained = [entry.seconds for sheet in sheets for entry in sheet.of("train")]
    evaluated = [sheet.claimed.seconds for sheet in sheets if sheet.claimed is not None]
    parts = []
    if trained:
        parts.append(f"training at most {max(trained):,.1f} s")
    if evaluated:
        parts.append(f"the claimed evaluation at most {max(evaluated):,.1f} s")
    return ", ".join(parts) or "no phase is over its budget"


def _late_evaluation_example() -> Example:
    files = example_folder(log_lines=["ttt_adamw:done elapsed=540.0s"])
    return Example(files, "540 s of test-time training before the artifact is written, and 61 s of evaluation.")


RULE = Rule(
    code="TIME",
    title="600 seconds of training, 600 seconds of evaluation",
    text=(
        "A record submission trains for at most ten minutes on eight H100 SXM and evaluates for at most another ten. "
        "Training stops after the step that crosses the cap, so half a second over it is nothing.\n\n"
        "Every phase belongs to one budget: making the artifact is not free. Calibration for quantization reads "
        "training data and belongs to training; test-time adaptation belongs to evaluation, or, when it makes the "
        "artifact, to training. The budget sheet lists every phase that a log times, and names those that the "
        "submission puts nowhere.\n\n"
        "The non-record track keeps the size cap but not the clock."
    ),
    sources=(
        "README of the challenge: ten minutes of training on 8xH100 SXM, evaluation at most ten minutes in addition",
        "README of the challenge: non-record submissions may use unlimited compute",
        "Thread of #609: artifact creation is not untimed",
    ),
    precedents=(
        Precedent(
            date(2026, 3, 24), "#529", "valerio-oai", "616 s of evaluation; calibration after the training budget"
        ),
        Precedent(
            date(2026, 4, 30), "#1908", "community", "601.153 s of training: a fixed stop step ignores the clock"
        ),
        Precedent(date(2026, 5, 2), "#1972", "cocohearts", "about 688 s from pre-quantization training to the score"),
        Precedent(date(2026, 5, 2), "#2121", "cocohearts", "test-time training of 709 to 733 s"),
        Precedent(
            date(2026, 4, 27), "#1855", "merged", "about 100 s of compression outside both budgets not objected to"
        ),
    ),
    witnesses={Witness.RECORD: "sheets every timed phase of the claimed runs against the two budgets"},
    legal=Example(example_folder(), "599.9 s of training and 61 s of evaluation on eight GPUs."),
    illegal=_late_evaluation_example(),
    blind_spots=(
        "A log is a claim, and times what its author chose to time.",
        "Phases that no line times (compilation, loading, untimed calibration) are not on the sheet.",
        "Eight GPUs in the log need not be eight H100.",
        "Passes that contain each other cannot always be told from passes in sequence; sums of passes are reviews.",
    ),
    judge=judge,
)
