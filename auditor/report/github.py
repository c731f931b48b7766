"""The report for a GitHub Actions job: annotations as workflow commands, and a job summary in Markdown.

GitHub shows at most 10 errors and 10 warnings of a step and takes at most 1 MiB of summary. What is beyond is counted
in the last annotation shown, never dropped in silence. Text of the submission is escaped twice: so that it acts
nowhere, and as the commands' syntax asks (``%``, line ends; in properties also ``:`` and ``,``).
"""

from __future__ import annotations

from collections.abc import Iterator

from auditor.audit import AuditReport
from auditor.findings import Finding, Status
from auditor.report.escape import visible
from auditor.report.markdown import render_markdown
from auditor.report.outline import STATUS_WORDS, headline, place, rule_titles, sections

MAX_ANNOTATIONS = 10  # of each level, a step
MAX_SUMMARY_BYTES = 1 << 20
MESSAGE_LENGTH = 1_500
_COMMANDS = {Status.FAIL: "error", Status.REVIEW: "warning"}
_LEFT_OUT = "\n\n*The rest of this report is left out: a job summary holds 1 MiB.*\n"


def render_github(report: AuditReport) -> str:
    """Workflow commands, one a line: annotations, then the verdict as a notice."""
    lines = [line for status in _COMMANDS for line in _annotations(report, status)]
    verdict = f"{STATUS_WORDS[report.verdict.status]}: {headline(report)}"
    lines.append(_command("notice", {"title": "pgolf-audit"}, verdict))
    return "\n".join(lines) + "\n"


def render_summary(report: AuditReport) -> str:
    """The Markdown report, cut at a line so that it fits a job summary."""
    text = render_markdown(report)
    if len(text.encode()) <= MAX_SUMMARY_BYTES:
        return text
    room = MAX_SUMMARY_BYTES - len(_LEFT_OUT.encode())
    kept = text.encode()[:room].decode(errors="ignore")
    kept = kept[: kept.rfind("\n")]
    fence = "\n```" if kept.count("\n```") % 2 else ""
    return kept[: len(kept) - len(fence)] + fence + _LEFT_OUT


def _annotations(report: AuditReport, status: Status) -> Iterator[str]:
    found = [
        (code, finding)
        for section in sections(report, status)
        for finding in (*section.findings, *section.similar)
        for code in section.codes[:1]
    ]
    beyond = max(0, len(found) - MAX_ANNOTATIONS)
    shown = found[: MAX_ANNOTATIONS - 1] if beyond else found
    for code, finding in shown:
        yield _annotation(report, status, code, finding)
    if beyond:
        codes = ", ".join(dict.fromkeys(code for code, _ in found[len(shown) :]))
        yield _command(
            _COMMANDS[status],
            {"title": "pgolf-audit"},
            f"{len(found) - len(shown)} more findings ({codes}); the job summary has them",
        )


def _annotation(report: AuditReport, status: Status, code: str, finding: Finding) -> str:
    path, line = finding.path, finding.line
    if not path and finding.steps:
        path, line = finding.steps[0].path, finding.steps[0].line
    stored, _, hidden = path.partition("!")
    properties = {"title": f"{code}: {rule_titles().get(code, '')}"}
    if stored:
        properties["file"] = stored
        if line and not hidden:
            properties["line"] = str(line)
            if finding.end_line > line:
                properties["endLine"] = str(finding.end_line)
    told = [f"{place(report, step.path, step.line)} {step.message}" for step in finding.steps]
    where = f"{place(report, path, line)}: " if hidden else ""
    return _command(_COMMANDS[status], properties, "\n".join([f"{where}{finding.message}", *told]))


def _command(name: str, properties: dict[str, str], message: str) -> str:
    written = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    shown = "\n".join(visible(line) for line in message[:MESSAGE_LENGTH].split("\n"))
    return f"::{name} {written}::{_data(shown)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(visible(text)).replace(":", "%3A").replace(",", "%2C")
