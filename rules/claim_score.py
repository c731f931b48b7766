"""CLAIM, first part: the claimed score and the stated figures against every score that the logs print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from auditor.findings import Finding, Status, Step
from auditor.record.claimed_line import (
    MIN_TRAINING_STEPS,
    ONE_LOG,
    ClaimMatch,
    claim_logs,
    label_key,
    left_out_lines,
    match_claim,
    scored_logs,
    seed_of,
)
from auditor.record.code_match import decimals
from auditor.record.model import MetricLine, Record, RunLog
from auditor.record.seed_cells import CheckedCell, checked_cells
from auditor.submission.model import Role, Submission, Track
from rules.claim_case import Case, file_name, finding, line_steps, quoted
from rules.size import CAP_BYTES

CLAIM_TOLERANCE_BPB = 1e-3
"""A claim further from every logged line and every mean of lines is a claim that no log supports."""
ROUNDING_BPB = 5e-5
"""A claim this close is the logged score: the leaderboard shows four decimals."""
RECOMPUTED_TOLERANCE_BPB = 2e-4
"""A claim this close to a logged loss under another line's bytes per token was recomputed from it."""
CELL_TOLERANCE_BPB = 1e-3
"""A per-seed figure further from every line of that seed's log is worth a look."""
MAX_FURTHER_SEEDS = 8
SLIPS_SHARE = 0.25
"""Of the figures that the claim does not rest on, so many may be slips; with more the logs look like other runs'."""

_BEFORE_ARTIFACT = re.compile(
    r"pre[-_ ]?quant|post[-_ ]?ema|diagnostic|fp32|bf16|full[-_ ]?precision|raw model", re.IGNORECASE
)
_PRINTS_SCORE = re.compile(r"\b(?:print|log0?|write)\(.{0,200}bpb", re.IGNORECASE)
_SCORES_IN_TEXT = "{:.6f}"  # cut by two digits: authors truncate as often as they round
MAX_README_CHARACTERS = 200_000
_SCRIPT_NAME = re.compile(r"\b([\w-]{1,60}\.py)\b")
_CORRECTED = re.compile(r"\berrat(?:um|a)\b|\bcorrected (?:val_?)?bpb|\bcorrection\b|\brecomputed\b", re.IGNORECASE)


def equals(match: ClaimMatch) -> str:
    """What a match is, in words."""
    logs = f"{match.logs} logs" if match.logs != 1 else "1 log"
    if match.kind in ("the only log", ONE_LOG):
        return f"the line {quoted(match.label)} of {file_name(match.lines[0].place.path)} ({match.value:.6f})"
    if match.kind == "mean of all seeds":
        return f"the mean of {quoted(match.label)} over {logs} ({match.value:.6f})"
    if match.kind == "mean of a subset":
        return f"the mean of {quoted(match.label)} over {len(match.lines)} of {logs} ({match.value:.6f})"
    return f"the {match.kind} of {quoted(match.label)} among {logs} ({match.value:.6f})"


def score_findings(case: Case) -> list[Finding]:
    """The claim against every labelled line: what it equals, or that it equals nothing."""
    record, match = case.record, case.match
    claim = record.statement.val_bpb
    if claim is None or match is None:
        return []
    place = record.statement.val_bpb_place
    if abs(match.difference) > CLAIM_TOLERANCE_BPB:
        return [_unsupported(case, match, claim)]
    findings = []
    steps = line_steps(match.lines)
    if not match.exact:
        message = f"claims {claim:g}, which differs by {abs(match.difference):.6f} from {equals(match)}"
        rounded = abs(match.difference) <= ROUNDING_BPB
        findings.append(finding(Status.PASS if rounded else Status.REVIEW, message, place, steps))
    else:
        findings.append(finding(Status.PASS, f"the claimed {claim:g} equals {equals(match)}", place, steps))
    findings += _standing(case, match, claim)
    return findings


def _standing(case: Case, match: ClaimMatch, claim: float) -> list[Finding]:
    """What kind of line the claim equals, where that is not a final score of every seed."""
    findings = []
    place = match.lines[0].place
    if match.kind not in ("the only log", "mean of all seeds", ONE_LOG) and case.submission.track is Track.RECORD:
        lines = [line for line in case.lines if line.val_bpb is not None]
        mean = sum(line.val_bpb or 0.0 for line in lines) / len(lines) if lines else match.value
        message = f"the claimed {claim:g} is {equals(match)}; the mean over all of them is {mean:.6f}"
        open_about_it = match.kind != "mean of a subset" and _discloses(case.record, lines, mean)
        if open_about_it:
            message += ", as the submission says. EVIDENCE counts every seed"
        else:
            message += ", which neither README nor submission.json states"
        status = Status.PASS if open_about_it else Status.REVIEW
        findings.append(finding(status, message, place, line_steps(match.lines)))
    findings += _left_out(case, match)
    line = match.lines[0]
    log = next((log for log in case.record.logs if line in log.metrics), None)
    if line.during_training:
        message = f"the claimed {claim:g} equals a validation during training only, not a score of the finished model"
        findings.append(finding(Status.REVIEW, message, place, line_steps(match.lines)))
    elif line.running:
        message = f"the claimed {claim:g} equals a running value only, not a final score"
        findings.append(finding(Status.REVIEW, message, place, line_steps(match.lines)))
    elif log is not None and (later := _scored_later(log, line)) is not None and _BEFORE_ARTIFACT.search(line.label):
        message = (
            f"the claimed {claim:g} is {quoted(line.label)}, printed before the artifact was made; behind the artifact "
            f"the log prints {later.val_bpb:g} ({quoted(later.label)})"
        )
        findings.append(finding(Status.REVIEW, message, place, line_steps((line, later))))
    if log is not None:
        findings += _repeated(log, line)
    return findings


def _left_out(case: Case, match: ClaimMatch) -> list[Finding]:
    """Logged runs of further seeds: they may be worse, or of another configuration; the claim was chosen among them."""
    if case.submission.track is not Track.RECORD:
        return []
    lines = left_out_lines(case.record, match)
    if not lines or len(lines) > MAX_FURTHER_SEEDS:  # a folder full of trials
        return []
    shown = ", ".join(f"{file_name(line.place.path)} {line.bpb_text}" for line in lines[:4])
    counted = [line.val_bpb or 0.0 for line in case.lines]
    every = [*counted, *(line.val_bpb or 0.0 for line in lines)]
    message = (
        f"the claim leaves out {len(lines)} further seed{'s' if len(lines) > 1 else ''} whose log prints "
        f"{quoted(match.label)}: {shown}; over all {len(every)} the mean is {sum(every) / len(every):.6f}"
    )
    return [finding(Status.REVIEW, message, lines[0].place, line_steps(lines))]


def _discloses(record: Record, lines: Sequence[MetricLine], mean: float) -> bool:
    """Whether README or submission.json states the mean over all seeds, or every seed's score, to four decimals."""
    text = record.readme_text[:MAX_README_CHARACTERS]
    declared = [value for value in record.statement.fields.values() if isinstance(value, float)]

    def stated(score: float) -> bool:
        written = _SCORES_IN_TEXT.format(score)[:-2], f"{score:.4f}"
        return any(form in text for form in written) or any(abs(value - score) < ROUNDING_BPB for value in declared)

    return stated(mean) or all(stated(line.val_bpb) for line in lines if line.val_bpb is not None)


def _scored_later(log: RunLog, line: MetricLine) -> MetricLine | None:
    """A final score printed behind the artifact's size, when `line` stands before that."""
    sizes = [size.place.line for size in log.sizes if size.kind in ("model", "total")]
    if not sizes or line.place.line > max(sizes):
        return None
    later = [other for other in log.final_metrics if other.place.line > max(sizes) and other.val_bpb is not None]
    return later[-1] if later else None


def _repeated(log: RunLog, line: MetricLine) -> list[Finding]:
    """The label of the claim printed with different scores in one log, or above the end of training."""
    values = {other.bpb_text: other for other in log.final_metrics if label_key(other) == label_key(line)}
    findings = []
    if len({other.val_bpb for other in values.values()}) > 1 and line.label:
        shown = ", ".join(list(values)[:4])
        message = f"{file_name(log.path)} prints {quoted(line.label)} with different scores: {shown}"
        findings.append(finding(Status.REVIEW, message, line.place, line_steps(list(values.values()))))
    last = log.steps[-1].place.line if log.steps else 0
    if not line.during_training and len(log.steps) >= 10 and line.place.line < last:
        message = f"the line of the claim stands above the last training step of {file_name(log.path)}"
        findings.append(finding(Status.REVIEW, message, line.place, [Step(log.path, last, "last training step")]))
    return findings


def _unsupported(case: Case, match: ClaimMatch, claim: float) -> Finding:
    """No line and no mean is within the tolerance. A fail only where every log that could show it is there."""
    logs = scored_logs(case.record)
    message = (
        f"claims {claim:g}, but no logged line and no mean of lines is within {CLAIM_TOLERANCE_BPB:g}: the closest is "
        f"{equals(match)}, off by {abs(match.difference):.4f} ({len(logs)} logs print scores)"
    )
    steps = line_steps(match.lines)
    place = case.record.statement.val_bpb_place
    doubt = _doubt(case.record, case.submission, claim)
    if doubt:
        return finding(Status.REVIEW, f"{message}; {doubt}", place, steps)
    return finding(Status.FAIL, message, place, steps)


def _doubt(record: Record, submission: Submission, claim: float) -> str:
    """Why an unsupported claim is not a proof against it; "" when it is."""
    statement = record.statement
    if statement.val_bpb_key not in ("val_bpb", "mean_val_bpb", "val_bpb_mean", "bpb", "score"):
        return f"the claim was read from {statement.val_bpb_key or 'an unusual field'}"
    if any(log.truncated for log in record.logs) or any("not read" in problem for problem in record.problems):
        return "not every log could be read in full"
    if missing := _seeds_without_log(record):
        return f"no log of seed {', '.join(map(str, missing))} is there to compare with"
    finals = [line.val_bpb for line in _pairs(log for log in record.logs if _complete(log)) if line.val_bpb]
    if not finals:
        return "no log of a whole training run with a final score is there"
    if claim >= min(finals):
        return f"a log prints a better final score ({min(finals):g})"
    if scorer := _unlogged_scorer(record, submission):
        return f"{scorer} prints scores too, and no log of it is there"
    if scorer := _named_scorer(record, claim):
        return f"the README takes the score from {scorer}, and no log of it is there"
    if record.readme_bpb is not None and _supported(record, record.readme_bpb):
        return f"the README claims {record.readme_bpb:g}, which the logs support"
    if ratio := _recomputed(record, claim):
        return f"it follows from a logged val_loss with another line's bytes per token ({ratio:.6f} bpb per nat)"
    if _CORRECTED.search(record.readme_text):
        return "the README speaks of a correction"
    shown = f"{claim:.4f}".encode()
    for item in submission.files:
        if item.role in (Role.LOG, Role.OTHER) and item.data is not None and shown in item.data:
            return f"the figure stands in {file_name(item.path)}, not as a score line"
    return ""


def _complete(log: RunLog) -> bool:
    return len(log.steps) >= MIN_TRAINING_STEPS or log.stop is not None


def _unlogged_scorer(record: Record, submission: Submission) -> str:
    """A helper script that prints a bpb and that no log names: a score may come from a run of its own."""
    for helper in submission.helpers[:20]:
        name = file_name(helper.path.partition("!")[0])
        if _PRINTS_SCORE.search(helper.text) and not any(name in line for log in record.logs for line in log.raw_lines):
            return name
    return ""


def _named_scorer(record: Record, claim: float) -> str:
    """A script that the README names on a line with the claimed score, and that no log names."""
    lines = (line[:2_000] for line in record.readme_text[:200_000].split("\n") if f"{claim:.4f}"[:-1] in line)
    names = dict.fromkeys(name for line in lines for name in _SCRIPT_NAME.findall(line) if name != "train_gpt.py")
    for name in list(names)[:10]:
        if not any(name in text for log in record.logs for text in log.raw_lines):
            return str(name)
    return ""


def _supported(record: Record, claim: float) -> bool:
    match = match_claim(replace(record, statement=replace(record.statement, val_bpb=claim, val_bpb_text="")))
    return match is not None and abs(match.difference) <= CLAIM_TOLERANCE_BPB


def _recomputed(record: Record, claim: float) -> float | None:
    """The bpb per nat of some logged line under which a logged loss, or its mean over the logs, is the claim."""
    logs = claim_logs(record)
    ratios = {round(line.val_bpb / line.val_loss, 5) for line in _pairs(logs) if line.val_bpb and line.val_loss}
    losses: dict[str, list[float]] = {}
    for line in _pairs(logs):
        losses.setdefault(label_key(line), []).append(line.val_loss or 0.0)
    means = [sum(values) / len(values) for values in losses.values()]
    pairs = [(abs(mean * ratio - claim), ratio) for mean in means for ratio in sorted(ratios)[:50]]
    difference, ratio = min(pairs, default=(1.0, 0.0))
    return ratio if difference <= RECOMPUTED_TOLERANCE_BPB else None


def _pairs(logs: Iterable[RunLog]) -> list[MetricLine]:
    return [
        line for log in logs for line in log.final_metrics if line.val_bpb is not None and line.val_loss is not None
    ]


def _seeds_without_log(record: Record) -> list[int]:
    logged = {seed_of(log) for log in scored_logs(record)}
    return [seed.seed for seed in record.statement.seeds if seed.seed not in logged]


def cell_findings(case: Case) -> list[Finding]:
    """Per-seed figures that the seed's own log does not print: of the claimed score a question, else mostly a slip."""
    checked = checked_cells(case.record)
    if not checked:
        return []
    scores = [cell for cell in checked if cell.cell.kind in ("bpb", "loss") and cell.nearest is not None]
    sizes = [cell for cell in checked if cell.cell.kind == "bytes" and cell.nearest is not None]
    matching = sum(cell.matches for cell in checked)
    findings = [finding(Status.PASS, f"{matching} of {len(checked)} stated per-seed figures stand in their seed's log")]
    carrying = _claim_columns(case, scores)
    for group, what in (
        ([cell for cell in scores if _column(cell) in carrying], "score"),
        ([cell for cell in scores if _column(cell) not in carrying], "further score"),
    ):
        wrong = [cell for cell in group if not cell.matches and abs(cell.difference or 0.0) > CELL_TOLERANCE_BPB]
        of_one_seed = len({cell.cell.seed for cell in wrong}) == 1 < len({cell.cell.seed for cell in group})
        slip = what == "further score" and (of_one_seed or len(wrong) <= SLIPS_SHARE * len(group))
        if wrong:
            findings.append(_wrong_cells(wrong, len(group), what, Status.PASS if slip else Status.REVIEW))
    wrong = [cell for cell in sizes if not cell.matches]
    if wrong:
        over = any(max(cell.cell.value, cell.nearest or 0.0) > CAP_BYTES for cell in wrong)
        findings.append(_wrong_cells(wrong, len(sizes), "size", Status.REVIEW if over else Status.PASS))
    return findings


def _claim_columns(case: Case, scores: Sequence[CheckedCell]) -> set[tuple[str, str]]:
    """The columns that repeat the claimed line of some seed; all of them where none does."""
    claimed: dict[int | None, list[float]] = {}
    for line in case.lines:
        log = next((log for log in case.record.logs if line in log.metrics), None)
        seed = seed_of(log) if log is not None else None
        claimed.setdefault(seed, []).extend(value for value in (line.val_bpb, line.val_loss) if value is not None)
    carrying = {
        _column(cell)
        for cell in scores
        if any(abs(cell.cell.value - value) <= CELL_TOLERANCE_BPB for value in claimed.get(cell.cell.seed, ()))
    }
    return carrying or {_column(cell) for cell in scores}


def _column(cell: CheckedCell) -> tuple[str, str]:
    return cell.cell.place.path, cell.cell.name


def _wrong_cells(wrong: Sequence[CheckedCell], total: int, what: str, status: Status) -> Finding:
    worst = max(wrong, key=lambda cell: abs(cell.difference or 0.0))
    number = "{:,.0f}" if what == "size" else "{:g}"
    stated, logged = number.format(worst.cell.value), number.format(worst.nearest or 0.0)
    message = (
        f"{len(wrong)} of {total} stated per-seed {what}s are not in that seed's log: seed {worst.cell.seed} "
        f"{worst.cell.name[:40]} {stated}, the closest logged is {logged}"
    )
    steps = [
        Step(cell.cell.place.path, cell.cell.place.line, f"seed {cell.cell.seed}: {number.format(cell.cell.value)}")
        for cell in wrong[:5]
    ]
    if status is Status.PASS:
        message += ". All of these sizes are under the cap" if what == "size" else ". The claim does not rest on it"
    if worst.where:
        steps.append(Step(worst.where.path, worst.where.line, f"closest: {logged}"))
    return finding(status, message, worst.cell.place, steps)


def digit_findings(case: Case) -> list[Finding]:
    """One label printed with a different number of digits in different seeds: a number no program printed."""
    lines = case.lines
    by_digits: dict[int, list[MetricLine]] = {}
    for line in lines:
        by_digits.setdefault(decimals(line.bpb_text), []).append(line)
    if len(by_digits) <= 1:
        return []
    odd = min(by_digits.values(), key=len)
    usual = max(by_digits.values(), key=len)
    message = (
        f"{file_name(odd[0].place.path)} gives {quoted(odd[0].label)} with {decimals(odd[0].bpb_text)} decimals "
        f"({odd[0].bpb_text}), other seeds with {decimals(usual[0].bpb_text)}: no one format string prints both"
    )
    return [finding(Status.REVIEW, message, odd[0].place, line_steps((*odd, *usual)))]
