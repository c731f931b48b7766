"""A received report as a comment under its pull request. GitHub takes 65,536 characters."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.findings import Finding, RuleResult, Status
from auditor.publish.received import Received
from auditor.report.escape import markdown, markdown_code
from auditor.report.outline import STATUS_WORDS
from rules import RULES

MARKER = "<!-- pgolf-audit -->"  # the first line; the comment is found again by it
MAX_COMMENT_LENGTH = 60_000
MESSAGE_LENGTH = 600
REASON_LENGTH = 200
SHOWN = 3  # findings of one rule
_LEFT_OUT = "\n\n*The rest is left out: a comment holds 65,536 characters.*\n"


def render_comment(received: Received) -> str:
    """The comment as Markdown; every text of the report is literal in it."""
    text = "\n".join(_parts(received)) + "\n"
    if len(text) <= MAX_COMMENT_LENGTH:
        return text
    kept = text[: MAX_COMMENT_LENGTH - len(_LEFT_OUT)]
    return kept[: kept.rfind("\n")] + _LEFT_OUT


def _parts(received: Received) -> Iterator[str]:
    yield MARKER
    yield f"## pgolf-audit: {STATUS_WORDS[received.verdict]}"
    yield ""
    claimed = "no score" if received.claimed_bpb is None else f"{received.claimed_bpb:.5f} bpb"
    logs = "" if received.recomputed_bpb is None else f", its logs say {received.recomputed_bpb:.5f}"
    yield f"{markdown_code(received.folder, limit=200)} at {received.head[:12]} claims {claimed}{logs}."
    for status in (Status.FAIL, Status.REVIEW):
        for rule in received.rules:
            if rule.status is status:
                yield from _rule(rule)
    yield ""
    yield "| rule | status | why |"
    yield "|---|---|---|"
    for rule in received.rules:
        yield f"| {rule.rule} | {STATUS_WORDS[rule.status]} | {markdown(rule.reason, limit=REASON_LENGTH)} |"
    yield ""
    yield (
        "A fail is an accusation with proof that a reviewer confirms by hand; a review needs a person. The audit ran "
        "without secrets on the pull request's own commit; this comment shows its report as data."
    )


def _rule(rule: RuleResult) -> Iterator[str]:
    yield ""
    yield f"### {STATUS_WORDS[rule.status]} {rule.rule}: {RULES[rule.rule].title}"
    findings = [finding for finding in rule.findings if finding.status is rule.status]
    if not findings:
        yield ""
        yield markdown(rule.reason, limit=MESSAGE_LENGTH)
    for finding in findings[:SHOWN]:
        yield from _finding(finding)
    if len(findings) > SHOWN:
        yield ""
        yield f"and {len(findings) - SHOWN} more; the job's report has them"


def _finding(finding: Finding) -> Iterator[str]:
    place = f"{markdown_code(_place(finding.path, finding.line), limit=200)}: " if finding.path else ""
    yield ""
    yield f"{place}{markdown(finding.message, limit=MESSAGE_LENGTH)} ({finding.witness.value})"
    if finding.steps:
        yield ""
    for number, step in enumerate(finding.steps, start=1):
        yield (
            f"{number}. {markdown_code(_place(step.path, step.line), limit=200)} "
            f"{markdown(step.message, limit=MESSAGE_LENGTH)}"
        )


def _place(path: str, line: int) -> str:
    return f"{path}:{line}" if line else path
