"""CLAIM, second part: whether the submitted script wrote the logs, and whether the logs are separate runs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from auditor.findings import Finding, Status, Step
from auditor.record.code_match import (
    BYTE_TABLE,
    SourceDifference,
    counts_compressed_code,
    logged_code_size,
    missing_settings,
    prints_label,
    source_difference,
)
from auditor.record.copied_lines import Overlap, overlaps
from auditor.record.model import Place
from auditor.submission.model import Submission
from rules.claim_case import Case, file_name, finding, line_steps, quoted

COPIED_SHARE = 0.25
"""Share of measured metric lines that two seeds' logs may have in common; honest ones have at most 0.09."""
UNUSUAL_SHARE = 0.09
MAX_COMPARED_LOGS = 30
SMALL_CODE_CHANGE = 0.005
"""Share of a script's bytes by which its logged size may differ: some lines of comment, a path, a default."""
FEW_LINES = 2
"""Differing lines that are worth no question when they speak of none of the subjects that matter."""

_NOTE_IN_LOG = re.compile(
    r"^(?:#{1,3}\s?)?(?:NOTE|N\.B\.)\b.{0,200}(?:append|reconstruct|recover|transcri|polling|pod died|lost|copied|"
    r"by hand|manual)|"
    r"^#.{0,200}\b(?:appended|reconstructed|recovered|transcribed|copied|typed) (?:from|by|after|in)\b|"
    r"\bthis log (?:was|is) (?:reconstructed|recovered|transcribed|written|assembled)\b",
    re.IGNORECASE,
)


def source_findings(case: Case) -> list[Finding]:
    """Source that logs embed, against the submitted script. Of logs without the claim only the byte table matters."""
    submission = case.submission
    carriers = {log.path for log in case.carriers}
    differences = [item for log in case.record.logs[:MAX_COMPARED_LOGS] if (item := source_difference(log, submission))]
    findings = []
    same = [item for item in differences if not item.changed]
    if same:
        message = f"the source printed in {', '.join(file_name(item.log) for item in same[:6])} is the submitted script"
        findings.append(finding(Status.PASS, message, same[0].place))
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
    name = file_name(item.log)
    message = (
        f"{whose} was written by another script than the submitted one: {item.only_in_log} lines stand only in the "
        f"source printed in {name} ({item.log_lines} lines), {item.only_submitted} only in the submitted "
        f"script ({item.submitted_lines} lines){subjects}{more}"
    )
    steps = [Step(each.log, each.place.line if each.place else 0, "source in the log") for each in group[:6]]
    if item.first and submission.script:
        steps.append(Step(submission.script.path, item.first, "first line that the source in the log does not have"))
    few = all(each.only_in_log + each.only_submitted <= FEW_LINES and not each.subjects for each in group)
    return finding(Status.PASS if few else Status.REVIEW, message, item.place, steps)


def code_size_findings(case: Case) -> list[Finding]:
    """Code size as logged against the submitted script, and between the seeds of the claim."""
    logs = case.carriers[:MAX_COMPARED_LOGS]
    sizes = [size for log in logs if (size := logged_code_size(log, case.submission)) is not None]
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
            f"{len(other)} of {len(comparable)} logs count other code than the submitted one: {file_name(size.log)} "
            f"says {size.line.size_bytes:,} bytes, {size.submitted_as} has {size.submitted_bytes:,} "
            f"({abs(size.difference):,} {'fewer' if size.difference > 0 else 'more'})"
        )
        steps = [Step(each.log, each.line.place.line, f"{each.line.size_bytes:,} bytes of code") for each in other[:6]]
        small = abs(size.difference) <= SMALL_CODE_CHANGE * size.submitted_bytes
        findings.append(finding(_small_change(small), message + _SMALL * small, size.line.place, steps))
    elif comparable:
        message = (
            f"the logged code size is that of {comparable[0].submitted_as} ({comparable[0].submitted_bytes:,} bytes)"
        )
        findings.append(finding(Status.PASS, message, comparable[0].line.place))
    counts = {size.line.size_bytes for size in sizes}
    if len(counts) > 1:
        shown = ", ".join(f"{file_name(size.log)} {size.line.size_bytes:,}" for size in sizes[:6])
        message = f"the seeds of the claim ran different code: {shown} bytes"
        steps = [Step(size.log, size.line.place.line, f"{size.line.size_bytes:,} bytes of code") for size in sizes[:6]]
        small = max(counts) - min(counts) <= SMALL_CODE_CHANGE * max(counts)
        findings.append(finding(_small_change(small), message + _SMALL * small, sizes[0].line.place, steps))
    return findings


_SMALL = f". That is less than {SMALL_CODE_CHANGE:.1%} of it and says nothing about what changed"


def _small_change(small: bool) -> Status:
    return Status.PASS if small else Status.REVIEW


def foreign_code_findings(case: Case) -> list[Finding]:
    """Settings and labels in the logs that the submitted code does not have."""
    findings = []
    for log in case.carriers[:MAX_COMPARED_LOGS]:
        names = missing_settings(log, case.submission)
        if names:
            message = (
                f"{file_name(log.path)} logs {len(names)} settings that the submitted code does not have: "
                f"{', '.join(names[:6])}{' ...' if len(names) > 6 else ''}"
            )
            findings.append(finding(Status.REVIEW, message, log.hyperparameter_places.get(names[0])))
            break
    if case.lines:
        line = case.lines[0]
        if prints_label(line, case.submission) is False:
            message = f"the line of the claim, {quoted(line.label)}, is printed nowhere in the submitted code"
            findings.append(finding(Status.REVIEW, message, line.place, line_steps((line,))))
    return findings


def copied_run_findings(case: Case) -> list[Finding]:
    """Logs of different seeds that share measured lines, times included."""
    logs = [log for log in case.carriers if log.steps or log.metrics]
    findings = []
    for overlap in overlaps(logs):
        if overlap.share <= UNUSUAL_SHARE or _one_run(overlap):
            continue
        names = f"{file_name(overlap.first_log.path)} and {file_name(overlap.second_log.path)}"
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
        findings.append(finding(Status.FAIL if proved else Status.REVIEW, message, overlap.first, steps))
    return findings[:6]


def _one_run(overlap: Overlap) -> bool:
    """Whether two logs are copies of one run and say so: nothing in them or their names claims different seeds."""
    first, second = overlap.first_log, overlap.second_log
    printed = first.seed is not None and second.seed is not None and first.seed != second.seed
    named = None not in (first.seed_in_name, second.seed_in_name) and first.seed_in_name != second.seed_in_name
    return not printed and not named


def seed_name_findings(case: Case) -> list[Finding]:
    """A log named for one seed with another seed inside."""
    return [
        finding(
            Status.REVIEW,
            f"{file_name(log.path)} is named for seed {log.seed_in_name}, but the run inside printed seed {log.seed}",
            Place(log.path),
        )
        for log in case.record.logs
        if log.seed is not None and log.seed_in_name is not None and log.seed != log.seed_in_name
    ][:6]


def note_findings(case: Case) -> list[Finding]:
    """Lines in a log of the claim that somebody wrote by hand."""
    findings = []
    for log in case.carriers[:MAX_COMPARED_LOGS]:
        for number, text in enumerate(log.raw_lines):
            if _NOTE_IN_LOG.search(text[:300]):
                where = log.raw_line_numbers[number] if number < len(log.raw_line_numbers) else 0
                message = f"{file_name(log.path)} holds a line that no program printed: {text[:140]!r}"
                findings.append(finding(Status.REVIEW, message, Place(log.path, where)))
                break
    return findings[:3]
