"""Which edit is offered: the first that the source witness passes under the configuration of the reported run."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from auditor.audit import AuditReport, audit
from auditor.configuration import RunConfiguration
from auditor.findings import Finding, Status, Witness
from auditor.fix.edits import Edit, propose
from auditor.record.model import Record
from auditor.source import witness
from auditor.submission.model import Submission
from rules import RULES
from rules.base import Evidence

MAX_ROUNDS = 4  # an edit may bring the next illegal place to light
WATCHED = ("C1", "C2", "C3", "C4", "TRAINDATA", "PAIDPREFIX", "EXTERNAL")  # what the source witness judges
_ORDER = (Status.NOT_APPLICABLE, Status.PASS, Status.NOT_CHECKED, Status.REVIEW, Status.FAIL)

LEGAL_FORM = """\
What would be legal under C3: walk through the validation text in chunks (or documents); score a chunk with the model as
it is and add that loss to the reported sum; only then learn from the same chunk, for as many epochs as the time allows;
go on to the next chunk. What was learned before training ends must come from training shards, and a token is never
scored again after it was learned from. `pgolf-audit explain C3` has the rulings."""


class NotFixedError(Exception):
    """No patch is offered; the message says why, and what would be legal."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A patched script, and what the source witness says of it and of the script before."""

    path: str  # of the script, as findings name it
    before: str
    after: str
    edits: tuple[Edit, ...]
    statuses_before: Mapping[str, Status]
    statuses_after: Mapping[str, Status]

    def patch(self) -> str:
        """The change as a unified diff."""
        name = self.path.replace("!", "_")
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True), self.after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
        return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def propose_fix(submission: Submission, rule: str) -> Proposal:
    """A patch that mends what `rule` fails for. Raises NotFixedError."""
    report = audit(submission)
    if submission.script is None:
        raise NotFixedError(f"{submission.origin}: there is no script to patch")
    status = {result.rule: result.status for result in report.verdict.rules}[rule]
    if status is not Status.FAIL:
        raise NotFixedError(f"{rule} does not fail here ({status.value}): there is nothing to patch")
    statuses, findings = _judged(submission, report.configuration, report.record, rule)
    if not findings:
        raise NotFixedError(_not_in_the_script(report, rule))
    first = statuses
    edits: list[Edit] = []
    patched = submission
    for _ in range(MAX_ROUNDS):
        if not findings:
            break
        found = _better(patched, report, rule, statuses, findings[0])
        if found is None:
            raise NotFixedError(_not_understood(rule, findings[0]))
        edit, patched, statuses, findings = found
        edits.append(edit)
    if findings or statuses[rule] is not Status.PASS or not edits:
        raise NotFixedError(_not_understood(rule, findings[0] if findings else None))
    assert patched.script is not None
    script = submission.script
    return Proposal(script.path, script.text, patched.script.text, tuple(edits), first, statuses)


type _Found = tuple[Edit, Submission, dict[str, Status], list[Finding]]


def _better(
    submission: Submission, report: AuditReport, rule: str, before: Mapping[str, Status], finding: Finding
) -> _Found | None:
    """The first edit after which the rule passes; else the first after which this finding at least is gone."""
    assert submission.script is not None
    second: _Found | None = None
    for edit in propose(submission.script.text, finding):
        patched = replace(submission, script=replace(submission.script, text=edit.text))
        statuses, findings = _judged(patched, report.configuration, report.record, rule)
        others = [code for code in WATCHED if code != rule]
        if not statuses or any(_ORDER.index(statuses[code]) > _ORDER.index(before[code]) for code in others):
            continue
        if statuses[rule] is Status.PASS:
            return edit, patched, statuses, findings
        if second is None and findings and findings[0].message != finding.message:
            second = edit, patched, statuses, findings
    return second


def _judged(
    submission: Submission, configuration: RunConfiguration, record: Record, rule: str
) -> tuple[dict[str, Status], list[Finding]]:
    """What the source witness alone says of a script: the watched rules' statuses, and the findings that fail `rule`.

    No statuses where the script does not parse, or scores nothing any more.
    """
    ledger = witness(submission, configuration, record)
    if ledger is None or not any(score.metric.reported for score in ledger.scored):
        return {}, []
    evidence = Evidence(submission=submission, configuration=configuration, record=record, source=ledger)
    results = {code: RULES[code].judge(evidence) for code in WATCHED}
    findings = [
        item for item in results[rule].findings if item.status is Status.FAIL and item.witness is Witness.SOURCE
    ]
    return {code: result.status for code, result in results.items()}, findings


def _not_in_the_script(report: AuditReport, rule: str) -> str:
    findings = [item for result in report.verdict.rules if result.rule == rule for item in result.findings]
    failing = [f"{item.message} [{item.witness.value}]" for item in findings if item.status is Status.FAIL]
    where = f"\nWhat fails: {failing[0]}." if failing else ""
    return (
        f"no patch is offered: what fails is no order of learning and scoring within the script.{where}\n\n{LEGAL_FORM}"
    )


def _not_understood(rule: str, finding: Finding | None) -> str:
    where = f"\nWhat fails: {finding.message}." if finding else ""
    return f"no patch is offered: the shape of this adaptation is not understood.{where}\n\n{LEGAL_FORM}"
