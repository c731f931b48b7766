"""What every report says, before it is dressed for a medium: the headline, the findings in order, the rows of rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from auditor.audit import INTERNAL_ERROR, NOT_ASKED, AuditReport
from auditor.findings import Finding, Status, Witness
from auditor.record.declared_track import declared_non_record
from auditor.submission.model import Track

if TYPE_CHECKING:
    from auditor.run.model import Confinement

# Findings shown in full for one rule; the JSON report holds all.
MAX_FINDINGS = {Status.FAIL: 6, Status.REVIEW: 3}
MAX_SIMILAR = 6  # in a line each
MAX_LESSER = 3

_FIGURES = re.compile(r"\d[\d,.]*")

STATUS_WORDS = {
    Status.FAIL: "FAIL",
    Status.REVIEW: "REVIEW",
    Status.PASS: "PASS",
    Status.NOT_CHECKED: "not checked",
    Status.NOT_APPLICABLE: "not applicable",
}


@dataclass(frozen=True, slots=True)
class Section:
    """Findings of one status for one rule, or for several rules that share them all.

    `similar` differ from one of `findings` in figures only (the same for another seed or line), or are beyond what a
    reader takes in; they are given in a line each. `left_out` are not given at all.
    """

    codes: tuple[str, ...]
    findings: tuple[Finding, ...]
    similar: tuple[Finding, ...]
    left_out: int


def without_figures(text: str) -> str:
    """`text` with every figure written as 0: what repeats itself for another seed or line reads the same."""
    return _FIGURES.sub("0", text)


def headline(report: AuditReport) -> str:
    """The verdict in one sentence, without the word that states it."""
    titles = rule_titles()
    codes = {status: [rule.rule for rule in report.verdict.rules if rule.status is status] for status in Status}
    failed, review, passed = codes[Status.FAIL], codes[Status.REVIEW], codes[Status.PASS]
    parts = []
    if failed:
        named = ", ".join(f"{code} ({titles.get(code, code)})" for code in failed)
        parts.append(f"{_counted(len(failed), 'rule is', 'rules are')} broken: {named}")
    if review:
        start = "" if failed else "no rule is shown to be broken; "
        parts.append(f"{start}{_counted(len(review), 'rule needs', 'rules need')} a person: {', '.join(review)}")
    if not failed and not review:
        parts.append(f"all {len(passed)} checked rules pass" if passed else "no rule could be checked")
    if report.incidents:
        parts.append("part of the audit failed, see below")
    elif report.source is None:
        parts.append(f"the script was not read ({report.heard.get(Witness.SOURCE) or 'no reason known'})")
    return "; ".join(parts)


def subject(report: AuditReport) -> str:
    """What was audited, in one line: origin, track, script and claim."""
    submission, claim = report.submission, report.verdict.claim
    parts = [f"{submission.track.value.replace('_', '-')} track"]
    if submission.track is Track.RECORD and declared_non_record(report.record) is not None:
        parts[0] += " (declares itself non-record)"
    if submission.script is None:
        parts.append("no script")
    else:
        layers = f" (packed: {', '.join(submission.script.layers)})" if submission.script.packed else ""
        parts.append(f"{submission.relative(submission.script.path.split('!')[0])}{layers}")
    if claim.val_bpb is not None:
        parts.append(f"claims {claim.val_bpb:.5f} bpb")
    return ", ".join(parts)


def sections(report: AuditReport, status: Status) -> list[Section]:
    """The findings that make rules `status` (fail or review), in the rulebook's order.

    A finding made for several rules appears once, under all their codes. A rule without a finding of that status is
    represented by its reason.
    """
    merged: dict[Finding, list[str]] = {}
    for rule in report.verdict.rules:
        if rule.status is not status:
            continue
        own = [finding for finding in told_once(rule.findings) if finding.status is status]
        for finding in own or [Finding(status, Witness.RECORD, rule.reason)]:
            merged.setdefault(finding, []).append(rule.rule)
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding, codes in merged.items():
        groups.setdefault(tuple(codes), []).append(finding)
    return [_section(codes, group, MAX_FINDINGS[status]) for codes, group in groups.items()]


def told_once(findings: Sequence[Finding]) -> list[Finding]:
    """The findings of a rule, with what the source witness proves as the run witness does told in a sentence.

    The run's account stands whole, for it is of what happened; of the source's, the steps at other places are left.
    """
    proved = [finding for finding in findings if _proved(finding, Witness.RUN)]
    told: list[Finding] = []
    for finding in findings:
        same = next((other for other in proved if _same_account(finding, other)), None)
        if same is None:
            told.append(finding)
            continue
        known = {(step.path, step.line) for step in same.steps}
        others = tuple(step for step in finding.steps if (step.path, step.line) not in known)
        where = f", {len(others)} of them at other places" if others else ""
        message = f"the source witness proves the same by {_counted(len(finding.steps), 'step', 'steps')}{where}"
        told.append(replace(finding, message=message, path="", line=0, end_line=0, steps=others))
    return sorted(told, key=lambda item: not _proved(item, Witness.RUN)) if proved else told


def _proved(finding: Finding, witness: Witness) -> bool:
    return finding.status is Status.FAIL and finding.witness is witness and bool(finding.steps)


def _same_account(source: Finding, run: Finding) -> bool:
    """Whether both point at the same acts: at two places or more, or at the same first one."""
    if not _proved(source, Witness.SOURCE):
        return False
    common = {(step.path, step.line) for step in source.steps} & {(step.path, step.line) for step in run.steps}
    return len(common) >= 2 or (source.line > 0 and (source.path, source.line) == (run.path, run.line))


def _section(codes: tuple[str, ...], findings: list[Finding], most: int) -> Section:
    distinct: dict[str, Finding] = {}
    similar = []
    for finding in findings:
        if distinct.setdefault(without_figures(finding.message), finding) is not finding:
            similar.append(finding)
    shown = tuple(distinct.values())
    brief = (*shown[most:], *similar)
    return Section(codes, shown[:most], brief[:MAX_SIMILAR], max(len(brief) - MAX_SIMILAR, 0))


def lesser_findings(report: AuditReport, codes: tuple[str, ...], status: Status) -> list[Finding]:
    """Open questions about a rule that fails already: worth a line each, no more."""
    if status is not Status.FAIL or len(codes) != 1:
        return []
    rule = next(rule for rule in report.verdict.rules if rule.rule == codes[0])
    distinct: dict[str, Finding] = {}
    for finding in rule.findings:
        if finding.status is Status.REVIEW:
            distinct.setdefault(without_figures(finding.message), finding)
    return list(distinct.values())[:MAX_LESSER]


def notes(report: AuditReport) -> list[str]:
    """What was looked at and found in order or worth knowing, a line each; repeats with other figures are counted."""
    first: dict[tuple[str, str], Finding] = {}
    count: dict[tuple[str, str], int] = {}
    for rule in report.verdict.rules:
        for finding in rule.findings:
            if finding.status is Status.PASS:
                key = (rule.rule, without_figures(finding.message))
                first.setdefault(key, finding)
                count[key] = count.get(key, 0) + 1
    return [_note(report, key[0], finding, count[key] - 1) for key, finding in first.items()]


def _note(report: AuditReport, code: str, finding: Finding, repeats: int) -> str:
    where = f" ({place(report, finding.path, finding.line)})" if finding.path else ""
    more = f"; {_counted(repeats, 'more', 'more')} like this" if repeats else ""
    return f"{code}: {finding.message}{where}{more}"


def unpacking(report: AuditReport) -> str:
    """How to see the text that line numbers of a packed script refer to; "" for a plain one."""
    script = report.submission.script
    if script is None or not script.packed:
        return ""
    path = report.submission.relative(script.path)
    return f"lines of {path} are those of its unpacked text; pgolf-audit unpack writes it"


def executed(report: AuditReport) -> str:
    """What of the submission this audit executed, for the line that says who made a report."""
    return "nothing was executed" if report.run is None else "its script was run at toy size, confined"


def problems(report: AuditReport) -> list[str]:
    """What could not be loaded or parsed, a line each."""
    loaded = [f"{item.path}: {item.message}" if item.path else item.message for item in report.submission.problems]
    return [*loaded, *report.record.problems]


def unheard(report: AuditReport) -> list[str]:
    """Witnesses that were asked, or should have testified, and did not, each with the reason.

    Internal errors are left out: `AuditReport.incidents` has them.
    """
    return [
        f"{witness.value}: {why}"
        for witness, why in report.heard.items()
        if why and why != NOT_ASKED and not why.startswith(INTERNAL_ERROR)
    ]


def rule_titles() -> dict[str, str]:
    """Code -> title of every rule."""
    from rules import RULES

    return {code: rule.title for code, rule in RULES.items()}


def short(report: AuditReport, text: str) -> str:
    """`text` with paths inside the record folder written relative to it."""
    folder = report.submission.folder
    return text.replace(f"{folder}/", "") if folder else text


def place(report: AuditReport, path: str, line: int) -> str:
    """ "train_gpt.py:1417", relative to the record folder."""
    shown = report.submission.relative(path)
    return f"{shown}:{line}" if line else shown


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def confinement_entries(confinement: Confinement) -> dict[str, object]:
    """Name of the sandbox, what it covered and what it did not, for the JSON report."""
    return {
        "confinement": confinement.name,
        "covered": list(confinement.covers),
        "not_covered": list(confinement.not_covered),
    }
