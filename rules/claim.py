"""CLAIM: the claimed score is what the logs print, and logs, README, submission.json and script belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date

from auditor.configuration import Contradiction, RunConfiguration
from auditor.findings import Finding, RuleResult, Status, Step, Witness, conclude
from auditor.record.claimed_line import (
    ONE_LOG,
    ClaimMatch,
    claim_logs,
    claimed_lines,
    label_key,
    match_claim,
    scored_logs,
    seed_of,
)
from auditor.record.code_match import (
    BYTE_TABLE,
    SourceDifference,
    counts_compressed_code,
    decimals,
    logged_code_size,
    missing_settings,
    prints_label,
    source_difference,
)
from auditor.record.copied_lines import Overlap, overlaps
from auditor.record.model import MetricLine, Place, Record, RunLog
from auditor.record.seed_cells import CheckedCell, checked_cells
from auditor.record.units import bpb_called_nats
from auditor.submission.model import Role, Submission, Track
from rules.base import Evidence, Example, Precedent, Rule
from rules.example import example_folder

CLAIM_TOLERANCE_BPB = 1e-3
"""A claim further from every logged line and every mean of lines is a claim that no log supports."""
RECOMPUTED_TOLERANCE_BPB = 2e-4
"""A claim this close to a logged loss under another line's bytes per token was recomputed from it."""
CELL_TOLERANCE_BPB = 1e-3
"""A per-seed figure further from every line of that seed's log is worth a look."""
COPIED_SHARE = 0.25
"""Share of measured metric lines that two seeds' logs may have in common; honest ones have at most 0.09."""
UNUSUAL_SHARE = 0.09
TRAIN_CAP_SECONDS = 600.5
"""The cap, and the step that crosses it."""
EVAL_CAP_SECONDS = 600.0
SIZE_CAP_BYTES = 16_000_000
MAX_COMPARED_LOGS = 30
MIN_TRAINING_STEPS = 10
"""Progress lines from which a log is that of a training run."""

_NOTE_IN_LOG = re.compile(
    r"^(?:#{1,3}\s?)?(?:NOTE|N\.B\.)\b.{0,200}(?:append|reconstruct|recover|transcri|polling|pod died|lost|copied|"
    r"by hand|manual)|"
    r"^#.{0,200}\b(?:appended|reconstructed|recovered|transcribed|copied|typed) (?:from|by|after|in)\b|"
    r"\bthis log (?:was|is) (?:reconstructed|recovered|transcribed|written|assembled)\b",
    re.IGNORECASE,
)
_BEFORE_ARTIFACT = re.compile(
    r"pre[-_ ]?quant|post[-_ ]?ema|diagnostic|fp32|bf16|full[-_ ]?precision|raw model", re.IGNORECASE
)
_DECISIVE = re.compile(
    r"TTT|SLOT|EVAL|NGRAM|PPM|STRIDE|GPTQ|MAX_WALLCLOCK|ADAPT|CACHE|MIXER|LORA|VAL_|TOKENIZER|ETLB|TILT|BIAS|HEDGE",
    re.IGNORECASE,
)
_PRINTS_SCORE = re.compile(r"\b(?:print|log0?|write)\(.{0,200}bpb", re.IGNORECASE)
_SCRIPT_NAME = re.compile(r"\b([\w-]{1,60}\.py)\b")
_CORRECTED = re.compile(r"\berrat(?:um|a)\b|\bcorrected (?:val_?)?bpb|\bcorrection\b|\brecomputed\b", re.IGNORECASE)
_ALL_DEFAULTS = re.compile(
    r"(?:all )?(?:the )?defaults? (?:values? |settings? )?(?:match|reproduce|are|give|correspond)", re.IGNORECASE
)


def judge(evidence: Evidence) -> RuleResult:
    """Compare the claim with every logged line, then logs, tables, settings and script with each other."""
    record, submission = evidence.record, evidence.submission
    match = match_claim(record)
    findings = [
        *_against_logs(record, submission, match),
        *_statement_against_readme(record),
        *_cells(record),
        *_source(record, submission),
        *_code_sizes(record, submission),
        *_other_code(record, submission, match),
        *_numbers(record),
        *_copies(record),
        *_seed_names(record),
        *_notes_in_logs(record),
        *_settings(evidence.configuration, record),
        *_compliance(record, evidence.configuration),
        *_units(record),
    ]
    if match is None and not any(finding.status in (Status.FAIL, Status.REVIEW) for finding in findings):
        reason = "no log prints a score" if record.statement.val_bpb is not None else "no score is claimed"
        return RuleResult("CLAIM", Status.NOT_CHECKED, f"{reason}, so there is nothing to compare", tuple(findings))
    return conclude("CLAIM", findings, passed=_passed(match))


def _passed(match: ClaimMatch | None) -> str:
    if match is None:
        return "nothing contradicts"
    return f"the claim equals {_equals(match)}; nothing contradicts"


def _finding(status: Status, message: str, place: Place | None = None, steps: Iterable[Step] = ()) -> Finding:
    path, line = (place.path, place.line) if place else ("", 0)
    return Finding(status, Witness.RECORD, message, path, line, steps=tuple(steps))


def _file(path: str) -> str:
    return path.rpartition("/")[2]


def _label(text: str) -> str:
    return f"'{text}'" if text else "(no label)"


def _equals(match: ClaimMatch) -> str:
    logs = f"{match.logs} logs" if match.logs != 1 else "1 log"
    if match.kind in ("the only log", ONE_LOG):
        return f"the line {_label(match.label)} of {_file(match.lines[0].place.path)} ({match.value:.6f})"
    if match.kind == "mean of all seeds":
        return f"the mean of {_label(match.label)} over {logs} ({match.value:.6f})"
    if match.kind == "mean of a subset":
        return f"the mean of {_label(match.label)} over {len(match.lines)} of {logs} ({match.value:.6f})"
    return f"the {match.kind} of {_label(match.label)} among {logs} ({match.value:.6f})"


def _line_steps(lines: Sequence[MetricLine]) -> list[Step]:
    return [Step(line.place.path, line.place.line, line.raw[:160]) for line in lines[:6]]


def _against_logs(record: Record, submission: Submission, match: ClaimMatch | None) -> list[Finding]:
    """The claim against every labelled line: what it equals, or that it equals nothing."""
    claim = record.statement.val_bpb
    if claim is None or match is None:
        return []
    place = record.statement.val_bpb_place
    if abs(match.difference) > CLAIM_TOLERANCE_BPB:
        return [_unsupported(record, submission, match, claim)]
    findings = []
    steps = _line_steps(match.lines)
    if not match.exact:
        message = f"claims {claim:g}, which differs by {abs(match.difference):.6f} from {_equals(match)}"
        findings.append(_finding(Status.REVIEW, message, place, steps))
    else:
        findings.append(_finding(Status.PASS, f"the claimed {claim:g} equals {_equals(match)}", place, steps))
    findings += _standing(record, submission, match, claim)
    return findings


def _standing(record: Record, submission: Submission, match: ClaimMatch, claim: float) -> list[Finding]:
    """What kind of line the claim equals, where that is not a final score of every seed."""
    findings = []
    place = match.lines[0].place
    if match.kind not in ("the only log", "mean of all seeds", ONE_LOG) and submission.track is Track.RECORD:
        lines = [line for line in claimed_lines(record) if line.val_bpb is not None]
        mean = sum(line.val_bpb or 0.0 for line in lines) / len(lines) if lines else match.value
        message = f"the claimed {claim:g} is {_equals(match)}; the mean over all of them is {mean:.6f}"
        findings.append(_finding(Status.REVIEW, message, place, _line_steps(match.lines)))
    line = match.lines[0]
    log = next((log for log in record.logs if line in log.metrics), None)
    if line.during_training:
        message = f"the claimed {claim:g} equals a validation during training only, not a score of the finished model"
        findings.append(_finding(Status.REVIEW, message, place, _line_steps(match.lines)))
    elif line.running:
        message = f"the claimed {claim:g} equals a running value only, not a final score"
        findings.append(_finding(Status.REVIEW, message, place, _line_steps(match.lines)))
    elif log is not None and (later := _scored_later(log, line)) is not None and _BEFORE_ARTIFACT.search(line.label):
        message = (
            f"the claimed {claim:g} is {_label(line.label)}, printed before the artifact was made; behind the artifact "
            f"the log prints {later.val_bpb:g} ({_label(later.label)})"
        )
        findings.append(_finding(Status.REVIEW, message, place, _line_steps((line, later))))
    if log is not None:
        findings += _repeated(log, line)
    return findings


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
        message = f"{_file(log.path)} prints {_label(line.label)} with different scores: {shown}"
        findings.append(_finding(Status.REVIEW, message, line.place, _line_steps(list(values.values()))))
    last = log.steps[-1].place.line if log.steps else 0
    if not line.during_training and len(log.steps) >= 10 and line.place.line < last:
        message = f"the line of the claim stands above the last training step of {_file(log.path)}"
        findings.append(_finding(Status.REVIEW, message, line.place, [Step(log.path, last, "last training step")]))
    return findings


def _unsupported(record: Record, submission: Submission, match: ClaimMatch, claim: float) -> Finding:
    """No line and no mean is within the tolerance. A fail only where every log that could show it is there."""
    logs = scored_logs(record)
    message = (
        f"claims {claim:g}, but no logged line and no mean of lines is within {CLAIM_TOLERANCE_BPB:g}: the closest is "
        f"{_equals(match)}, off by {abs(match.difference):.4f} ({len(logs)} logs print scores)"
    )
    steps = _line_steps(match.lines)
    place = record.statement.val_bpb_place
    doubt = _doubt(record, submission, claim)
    if doubt:
        return _finding(Status.REVIEW, f"{message}; {doubt}", place, steps)
    return _finding(Status.FAIL, message, place, steps)


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
            return f"the figure stands in {_file(item.path)}, not as a score line"
    return ""


def _complete(log: RunLog) -> bool:
    return len(log.steps) >= MIN_TRAINING_STEPS or log.stop is not None


def _unlogged_scorer(record: Record, submission: Submission) -> str:
    """A helper script that prints a bpb and that no log names: a score may come from a run of its own."""
    for helper in submission.helpers[:20]:
        name = _file(helper.path.partition("!")[0])
        if _PRINTS_SCORE.search(helper.text) and not any(name in line for log in record.logs for line in log.raw_lines):
            return name
    return ""


def _named_scorer(record: Record, claim: float) -> str:
    """A script that the README names on a line with the claimed score, and that no log names."""
    for line in record.readme_text[:200_000].split("\n"):
        if f"{claim:.4f}"[:-1] in line:
            for name in _SCRIPT_NAME.findall(line[:2_000]):
                logged = any(name in text for log in record.logs for text in log.raw_lines)
                if name != "train_gpt.py" and not logged:
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


def _statement_against_readme(record: Record) -> list[Finding]:
    """A README that claims another score and mentions the one of submission.json nowhere."""
    claim, readme = record.statement.val_bpb, record.readme_bpb
    if claim is None or readme is None or record.statement.val_bpb_key == "README":
        return []
    if abs(claim - readme) <= CLAIM_TOLERANCE_BPB or _mentions(record.readme_text, claim):
        return []
    message = f"submission.json claims {claim:g}, the README {readme:g}"
    steps = [Step(record.readme_path, record.readme_bpb_place.line if record.readme_bpb_place else 0, f"{readme:g}")]
    return [_finding(Status.REVIEW, message, record.statement.val_bpb_place, steps)]


def _mentions(text: str, claim: float) -> bool:
    """Whether `text` holds the score to four decimals, rounded or (outside tables) cut, or written with three."""
    prose = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("|"))
    three = re.compile(rf"(?<!\d){re.escape(f'{claim:.3f}')}(?!\d)")
    return f"{claim:.4f}" in text or f"{claim:.8f}"[:-4] in prose or bool(three.search(prose))


def _cells(record: Record) -> list[Finding]:
    """Per-seed figures that the seed's own log does not print."""
    checked = checked_cells(record)
    if not checked:
        return []
    scores = [cell for cell in checked if cell.cell.kind in ("bpb", "loss") and cell.nearest is not None]
    wrong = [cell for cell in scores if not cell.matches and abs(cell.difference or 0.0) > CELL_TOLERANCE_BPB]
    sizes = [cell for cell in checked if cell.cell.kind == "bytes" and cell.nearest is not None and not cell.matches]
    matching = sum(cell.matches for cell in checked)
    message = f"{matching} of {len(checked)} stated per-seed figures stand in their seed's log"
    findings = [_finding(Status.PASS, message)]
    if wrong:
        findings.append(_wrong_cells(wrong, len(scores), "score"))
    if sizes:
        findings.append(_wrong_cells(sizes, sum(cell.cell.kind == "bytes" for cell in checked), "size"))
    return findings


def _wrong_cells(wrong: Sequence[CheckedCell], total: int, what: str) -> Finding:
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
    if worst.where:
        steps.append(Step(worst.where.path, worst.where.line, f"closest: {logged}"))
    return _finding(Status.REVIEW, message, worst.cell.place, steps)


def _carriers(record: Record) -> list[RunLog]:
    """The logs that carry the claim, else all that print scores."""
    paths = {line.place.path for line in claimed_lines(record)}
    return [log for log in record.logs if log.path in paths] or claim_logs(record) or list(record.logs)


def _source(record: Record, submission: Submission) -> list[Finding]:
    """Source that logs embed, against the submitted script. Of logs without the claim only the byte table matters."""
    carriers = {log.path for log in _carriers(record)}
    differences = [item for log in record.logs[:MAX_COMPARED_LOGS] if (item := source_difference(log, submission))]
    findings = []
    same = [item for item in differences if not item.changed]
    if same:
        message = f"the source printed in {', '.join(_file(item.log) for item in same[:6])} is the submitted script"
        findings.append(_finding(Status.PASS, message, same[0].place))
    changed = [item for item in differences if item.changed]
    claimed = [item for item in changed if item.log in carriers]
    others = [item for item in changed if item.log not in carriers and BYTE_TABLE in item.subjects]
    for group, whose in ((claimed, "a log of the claim"), (others, "a log beside the claim's")):
        if group:
            findings.append(_other_source(group, whose, submission))
    return findings


def _other_source(group: Sequence[SourceDifference], whose: str, submission: Submission) -> Finding:
    item = max(group, key=lambda each: (BYTE_TABLE in each.subjects, each.only_in_log + each.only_submitted))
    subjects = f"; the differing lines speak of {', '.join(item.subjects)}" if item.subjects else ""
    more = f", and {len(group) - 1} more logs differ" if len(group) > 1 else ""
    message = (
        f"{whose} was written by another script than the submitted one: {item.only_in_log} lines stand only in the "
        f"source printed in {_file(item.log)} ({item.log_lines} lines), {item.only_submitted} only in the submitted "
        f"script ({item.submitted_lines} lines){subjects}{more}"
    )
    steps = [Step(each.log, each.place.line if each.place else 0, "source in the log") for each in group[:6]]
    if item.first and submission.script:
        steps.append(Step(submission.script.path, item.first, "first line that the source in the log does not have"))
    return _finding(Status.REVIEW, message, item.place, steps)


def _code_sizes(record: Record, submission: Submission) -> list[Finding]:
    """Code size as logged against the submitted script, and between the seeds of the claim."""
    logs = _carriers(record)
    sizes = [size for log in logs if (size := logged_code_size(log, submission)) is not None]
    comparable = [
        size
        for size, log in ((size, log) for size in sizes for log in logs if log.path == size.log)
        if not counts_compressed_code(log, size)
    ]
    findings = []
    other = [size for size in comparable if not size.same]
    if other:
        size = max(other, key=lambda each: abs(each.difference))
        message = (
            f"{len(other)} of {len(comparable)} logs count other code than the submitted one: {_file(size.log)} "
            f"says {size.line.size_bytes:,} bytes, {size.submitted_as} has {size.submitted_bytes:,} "
            f"({abs(size.difference):,} {'fewer' if size.difference > 0 else 'more'})"
        )
        steps = [Step(each.log, each.line.place.line, f"{each.line.size_bytes:,} bytes of code") for each in other[:6]]
        findings.append(_finding(Status.REVIEW, message, size.line.place, steps))
    elif comparable:
        message = (
            f"the logged code size is that of {comparable[0].submitted_as} ({comparable[0].submitted_bytes:,} bytes)"
        )
        findings.append(_finding(Status.PASS, message, comparable[0].line.place))
    counts = {size.line.size_bytes for size in sizes}
    if len(counts) > 1:
        shown = ", ".join(f"{_file(size.log)} {size.line.size_bytes:,}" for size in sizes[:6])
        message = f"the seeds of the claim ran different code: {shown} bytes"
        steps = [Step(size.log, size.line.place.line, f"{size.line.size_bytes:,} bytes of code") for size in sizes[:6]]
        findings.append(_finding(Status.REVIEW, message, sizes[0].line.place, steps))
    return findings


def _other_code(record: Record, submission: Submission, match: ClaimMatch | None) -> list[Finding]:
    """Settings and labels in the logs that the submitted code does not have."""
    findings = []
    for log in _carriers(record):
        names = missing_settings(log, submission)
        if names:
            message = (
                f"{_file(log.path)} logs {len(names)} settings that the submitted code does not have: "
                f"{', '.join(names[:6])}{' ...' if len(names) > 6 else ''}"
            )
            findings.append(_finding(Status.REVIEW, message, log.hyperparameter_places.get(names[0])))
            break
    if match is not None and abs(match.difference) <= CLAIM_TOLERANCE_BPB:
        line = match.lines[0]
        if prints_label(line, submission) is False:
            message = f"the line of the claim, {_label(line.label)}, is printed nowhere in the submitted code"
            findings.append(_finding(Status.REVIEW, message, line.place, _line_steps((line,))))
    return findings


def _numbers(record: Record) -> list[Finding]:
    """One label printed with a different number of digits in different seeds: a number no program printed."""
    lines = claimed_lines(record)
    by_digits: dict[int, list[MetricLine]] = {}
    for line in lines:
        by_digits.setdefault(decimals(line.bpb_text), []).append(line)
    if len(by_digits) <= 1:
        return []
    odd = min(by_digits.values(), key=len)
    usual = max(by_digits.values(), key=len)
    message = (
        f"{_file(odd[0].place.path)} gives {_label(odd[0].label)} with {decimals(odd[0].bpb_text)} decimals "
        f"({odd[0].bpb_text}), other seeds with {decimals(usual[0].bpb_text)}: no one format string prints both"
    )
    return [_finding(Status.REVIEW, message, odd[0].place, _line_steps((*odd, *usual)))]


def _copies(record: Record) -> list[Finding]:
    """Logs of different seeds that share measured lines, times included."""
    logs = [log for log in _carriers(record) if log.steps or log.metrics]
    findings = []
    for overlap in overlaps(logs):
        if overlap.share <= UNUSUAL_SHARE or _one_run(overlap):
            continue
        names = f"{_file(overlap.first_log.path)} and {_file(overlap.second_log.path)}"
        message = (
            f"{names} share {overlap.shared} of {overlap.lines} measured metric lines verbatim ({overlap.share:.0%}), "
            f"times included: they are not separate runs"
        )
        steps = [
            Step(overlap.first.path, overlap.first.line, "stands here"),
            Step(overlap.second.path, overlap.second.line, "and here"),
        ]
        proved = overlap.share > COPIED_SHARE
        if overlap.share <= COPIED_SHARE:
            message = message.replace(": they are not separate runs", "; separate runs share at most 9 %")
        findings.append(_finding(Status.FAIL if proved else Status.REVIEW, message, overlap.first, steps))
    return findings[:6]


def _one_run(overlap: Overlap) -> bool:
    """Whether two logs are copies of one run and say so: nothing in them or their names claims different seeds."""
    first, second = overlap.first_log, overlap.second_log
    printed = first.seed is not None and second.seed is not None and first.seed != second.seed
    named = None not in (first.seed_in_name, second.seed_in_name) and first.seed_in_name != second.seed_in_name
    return not printed and not named


def _seed_names(record: Record) -> list[Finding]:
    """A log named for one seed with another seed inside."""
    return [
        _finding(
            Status.REVIEW,
            f"{_file(log.path)} is named for seed {log.seed_in_name}, but the run inside printed seed {log.seed}",
            Place(log.path),
        )
        for log in record.logs
        if log.seed is not None and log.seed_in_name is not None and log.seed != log.seed_in_name
    ][:6]


def _notes_in_logs(record: Record) -> list[Finding]:
    """Lines in a log of the claim that somebody wrote by hand."""
    findings = []
    for log in _carriers(record):
        for number, text in enumerate(log.raw_lines):
            if _NOTE_IN_LOG.search(text[:300]):
                where = log.raw_line_numbers[number] if number < len(log.raw_line_numbers) else 0
                message = f"{_file(log.path)} holds a line that no program printed: {text[:140]!r}"
                findings.append(_finding(Status.REVIEW, message, Place(log.path, where)))
                break
    return findings[:3]


def _settings(configuration: RunConfiguration, record: Record) -> list[Finding]:
    """README command, logs and defaults that disagree about a setting."""
    findings = []
    stated = [item for item in configuration.contradictions if item.second.source != "default"]
    promised = bool(_ALL_DEFAULTS.search(record.readme_text))
    for source, title in (
        ("log", "logs of the claim ran under different settings"),
        ("readme", "the README's command is not the logged run"),
        ("readme text", "the README describes another run than the submitted code gives"),
        ("shell script", "the folder's shell script is not the logged run"),
        ("submission.json", "submission.json lists other settings than the log"),
    ):
        group = [item for item in stated if item.second.source == source]
        if group:
            certain = source != "readme text" or promised
            message = f"{title}: {_named(group)}"
            place, steps = group[0].second.place, _setting_steps(group)
            findings.append(_finding(Status.REVIEW if certain else Status.PASS, message, place, steps))
    implied = [item for item in configuration.contradictions if item.second.source == "default"]
    if implied:
        decisive = promised or any(_DECISIVE.search(item.name) for item in implied)
        but = "the README says that the defaults are the submission, but " if promised else ""
        message = (
            f"{but}the log has settings that neither the README's command nor the script's defaults give: "
            f"{_named(implied)}"
        )
        place, steps = implied[0].first.place, _setting_steps(implied)
        findings.append(_finding(Status.REVIEW if decisive else Status.PASS, message, place, steps))
    return findings


def _named(group: Sequence[Contradiction]) -> str:
    ranked = sorted(group, key=lambda item: not _DECISIVE.search(item.name))
    named = list(
        dict.fromkeys(f"{item.name} {item.first.printed[:40]} against {item.second.printed[:40]}" for item in ranked)
    )
    rest = len(named) - 4
    return ", ".join(named[:4]) + (f" and {rest} more" if rest > 0 else "")


def _setting_steps(group: Sequence[Contradiction]) -> list[Step]:
    return [
        Step(setting.place.path, setting.place.line, f"{item.name} = {setting.printed[:80]} ({setting.source})")
        for item in group[:4]
        for setting in (item.first, item.second)
    ]


_NO_FEATURE = re.compile(r"no_(ttt|slot|etlb|prequant_ttt|pre_quant_ttt|ngram\w*|ppm|eval_time_adaptation)$")
_FEATURE_SETTINGS = {
    "ttt": ("ttt_enabled",),
    "slot": ("slot_enabled",),
    "etlb": ("etlb_enabled",),
    "prequant_ttt": ("prequant_ttt_enabled",),
    "pre_quant_ttt": ("prequant_ttt_enabled",),
    "eval_time_adaptation": ("ttt_enabled", "slot_enabled", "etlb_enabled"),
    "ppm": ("ppm_enabled",),
}


def _compliance(record: Record, configuration: RunConfiguration) -> list[Finding]:
    """Self-declared booleans that the numbers beside them contradict."""
    findings = []
    for name, declared in record.statement.compliance.items():
        reason = _contradicted(name.lower(), record, configuration) if declared else ""
        if reason:
            place = record.statement.places.get(f"compliance.{name}") or record.statement.places.get(name)
            findings.append(_finding(Status.REVIEW, f"submission.json declares {name[:60]}, but {reason}", place))
    return findings


def _contradicted(name: str, record: Record, configuration: RunConfiguration) -> str:
    logs = _carriers(record)
    if re.search(r"under_16|16mb|artifact_(?:under|within)|size_(?:ok|under)", name):
        totals = [size.size_bytes for log in logs for size in log.sizes if size.kind == "total"]
        totals += [record.statement.artifact_bytes] if record.statement.artifact_bytes else []
        if totals and max(totals) > SIZE_CAP_BYTES:
            return f"{max(totals):,} bytes are stated"
    if re.search(r"train\w*_(?:under|within)_(?:600|10)", name):
        seconds = [log.train_seconds for log in logs if log.train_seconds is not None]
        if seconds and max(seconds) > TRAIN_CAP_SECONDS:
            return f"a log trained for {max(seconds):.1f} s"
    if re.search(r"eval\w*_(?:under|within)_(?:600|10)", name):
        evaluations = [phase.seconds for log in logs for phase in log.phases if phase.kind == "eval"]
        if evaluations and max(evaluations) > EVAL_CAP_SECONDS:
            return f"a log's evaluation took {max(evaluations):.1f} s"
    if name in ("three_seeds", "3_seeds", "multi_seed") and 0 < len(scored_logs(record)) < 3:
        return f"{len(scored_logs(record))} logs print scores"
    if name == "score_first_ttt" and _is_off(configuration, "ttt_enabled"):
        return "the log says that test-time training was off"
    if match := _NO_FEATURE.fullmatch(name):
        for setting in _FEATURE_SETTINGS.get(match[1], ()):
            logged = configuration.logged.get(setting)
            if logged is not None and logged.value == "1":
                return f"the log says {setting}: {logged.printed}"
    return ""


def _is_off(configuration: RunConfiguration, name: str) -> bool:
    setting = configuration.logged.get(name)
    return setting is not None and setting.value == "0"


def _units(record: Record) -> list[Finding]:
    """Differences of bpb that the README calls nats."""
    found = bpb_called_nats(record)
    if not found:
        return []
    item = found[0]
    message = (
        f"the README calls {item.text} nats what is a difference of bpb ({item.higher:g} - {item.lower:g}); the rule's "
        "0.005 is meant in nats per token"
    )
    return [_finding(Status.REVIEW, message, item.place)]


def _other_score_example() -> Example:
    files = example_folder()
    claim = re.search(r'"val_bpb": (\d\.\d+)', files["submission.json"])
    assert claim is not None
    files["submission.json"] = files["submission.json"].replace(claim[1], "1.19000000")
    files["README.md"] = re.sub(r"val_bpb: \d\.\d+", "val_bpb: 1.1900", files["README.md"])
    return Example(files, "1.19 is claimed; the logs print 1.2139 to 1.2145 and nothing else.")


RULE = Rule(
    code="CLAIM",
    title="The claimed score is what the logs print, and everything belongs together",
    text=(
        "The score that a submission claims is the one that its logs print: the mean of one labelled line over its "
        "seeds. README, submission.json, logs and script speak of the same runs of the same code.\n\n"
        "The claim is compared with every labelled line of every log, because labels prove nothing: the baseline's "
        "final_int8_zlib_roundtrip_exact often prints a sliding-window or an adapted score. What the claim equals is "
        "named: the mean, the best seed, the mean of a subset, a validation during training. A claim that no line and "
        "no mean is within 0.001 of breaks the rule, if every log that could show it is there. So do logs of different "
        "seeds that share more than a quarter of their measured lines, times included: one run is no two seeds.\n\n"
        "All else is for a person to look at: a log that embeds another source than the submitted script, counts other "
        "code, prints settings or labels that the script does not have; tables whose cells no log prints; a README "
        "whose command is not the logged run; numbers with other digits than the format prints; declared booleans that "
        "the figures beside them contradict; bpb called nats. Much of this is carelessness, and accepted records hold "
        "nearly all of it somewhere."
    ),
    sources=(
        "README of the challenge: a submission holds README, submission.json, logs and the script that produced them",
        "Issues and reviews ask for logs of the very script (#8, #15)",
    ),
    precedents=(
        Precedent(date(2026, 3, 18), "#8", "0hq", "a submission needs a training log and a val_bpb, record or not"),
        Precedent(date(2026, 3, 18), "#15", "0hq", "no training log: to be submitted again"),
        Precedent(date(2026, 3, 19), "#61", "0hq", "asked why the title says 1.1574 and the README 1.2154; merged"),
        Precedent(date(2026, 5, 2), "#2124", "cocohearts", "the third seed comes from another configuration"),
        Precedent(
            date(2026, 4, 18), "#1698", "author", "artifact_under_16mb: true beside 16.47 to 16.60 million bytes"
        ),
    ),
    witnesses={
        Witness.RECORD: "compares claim, tables, settings, sizes and sources of all evidence files with each other",
        Witness.RESCORE: "replaces the logged score by one that it measures",
    },
    legal=Example(
        example_folder(), "The claim is the mean of 'final' over three seeds, and the table repeats the logs."
    ),
    illegal=_other_score_example(),
    blind_spots=(
        "A log is a claim: one that was edited throughout and consistently agrees with itself.",
        "Logs without embedded source and with compressed code sizes do not say which code wrote them.",
        "Whether the script can print the label is judged by its words, not by running it.",
    ),
    judge=judge,
)
