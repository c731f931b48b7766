"""The Markdown report: a review comment, ready to paste under the pull request."""

from __future__ import annotations

from auditor import __version__
from auditor.audit import AuditReport
from auditor.findings import Finding, Status
from auditor.report.escape import markdown, markdown_block, markdown_code
from auditor.report.excerpt import Excerpts, Passage
from auditor.report.outline import (
    STATUS_WORDS,
    Section,
    executed,
    headline,
    lesser_findings,
    place,
    rule_titles,
    sections,
    short,
    subject,
)
from auditor.report.run_section import all_tables, remarks
from auditor.report.tables import TableView
from rules.base import Precedent

REPOSITORY = "openai/parameter-golf"
MESSAGE_LENGTH = 600
REASON_LENGTH = 200  # in the table of rules
SIMILAR_LENGTH = 120  # of a finding that repeats another with other figures
LINE_LENGTH = 240  # characters of a source line
MAX_PRECEDENTS = 4


def render_markdown(report: AuditReport) -> str:
    """The report as GitHub-flavoured Markdown, ending with a newline."""
    return "\n\n".join(block for block in _MarkdownReport(report).blocks() if block) + "\n"


class _MarkdownReport:
    def __init__(self, report: AuditReport) -> None:
        self.report = report
        self.excerpts = Excerpts(report.submission, report.configuration, report.record)

    def blocks(self) -> list[str]:
        """Paragraphs, lists and tables, in order."""
        report = self.report
        blocks = [
            f"## pgolf-audit: {STATUS_WORDS[report.verdict.status]}",
            self._text(headline(report)[:1].upper() + headline(report)[1:]) + ".",
            f"{markdown_code(report.submission.folder or report.submission.origin)}: {self._text(subject(report))}.",
        ]
        for section in sections(report, Status.FAIL):
            blocks += self._accusation(section)
        reviews = sections(report, Status.REVIEW)
        if reviews:
            blocks.append("### For a person to decide")
            blocks.append("\n".join(self._question(section) for section in reviews))
        blocks += self._tables()
        blocks.append(self._details())
        blocks.append(self._footer())
        return blocks

    def _accusation(self, section: Section) -> list[str]:
        code = section.codes[0]
        title = (
            f"{', '.join(section.codes)}: {rule_titles()[code]}"
            if len(section.codes) == 1
            else ", ".join(section.codes)
        )
        blocks = [f"### {title}"]
        for finding in section.findings:
            blocks += self._finding(finding)
        blocks.append("\n".join(self._similar(section)))
        lesser = lesser_findings(self.report, section.codes, Status.FAIL)
        blocks += [f"Also to review ({finding.witness.value}): {self._text(finding.message)}" for finding in lesser]
        blocks.append(_precedents(code))
        return blocks

    def _finding(self, finding: Finding) -> list[str]:
        blocks = [f"{self._where(finding)}{self._sentence(finding.message)}"]
        passages = self.excerpts.passages(finding)
        told = [passage for passage in passages if passage.step.message]
        if told:
            blocks.append("\n".join(f"{item.number}. {self._told(item)}" for item in told))
        return [*blocks, self._code(passages)]

    def _told(self, passage: Passage) -> str:
        where = markdown_code(place(self.report, passage.step.path, passage.step.line))
        return f"{where} {self._text(passage.step.message)}"

    def _code(self, passages: list[Passage]) -> str:
        """All passages in one block: file, line numbers, and the number of the step at its line."""
        rows: list[str] = []
        path = ""
        for passage in passages:
            if passage.lines and passage.step.path != path:
                path = passage.step.path
                rows.append(f"# {self.report.submission.relative(path)}")
            for line in passage.lines:
                marked = line.number == passage.step.line and line.step and len(passages) > 1
                mark = f"[{line.step}]" if marked else ""
                settings = f"   <- {line.settings}" if line.settings else ""
                rows.append(f"{mark:>4} {line.number:>5}  {line.text[:LINE_LENGTH]}{settings}")
        return markdown_block(rows, "python" if path.endswith((".py", "!unpacked")) else "text") if rows else ""

    def _question(self, section: Section) -> str:
        lines = []
        for finding in section.findings:
            where = self._where(finding) or self._steps_where(finding)
            lines.append(
                f"- **{', '.join(section.codes)}** ({finding.witness.value}): {where}{self._sentence(finding.message)}"
            )
        lines += self._similar(section)
        return "\n".join(lines)

    def _similar(self, section: Section) -> list[str]:
        codes = ", ".join(section.codes)
        lines = [f"- {codes}, likewise: {self._text(finding.message, SIMILAR_LENGTH)}" for finding in section.similar]
        if section.left_out:
            lines.append(f"- and {section.left_out} more like these")
        return lines

    def _where(self, finding: Finding) -> str:
        if not finding.path or finding.steps:
            return ""
        return f"{markdown_code(place(self.report, finding.path, finding.line))}: "

    def _steps_where(self, finding: Finding) -> str:
        places = dict.fromkeys(place(self.report, step.path, step.line) for step in finding.steps)
        return f"{', '.join(markdown_code(item) for item in list(places)[:4])}: " if places else ""

    def _tables(self) -> list[str]:
        return [self._table(view) for view in all_tables(self.report)]

    def _table(self, view: TableView) -> str:
        rows = [" | ".join(self._text(cell, REASON_LENGTH) for cell in row) for row in (view.header, *view.rows)]
        rule = "|".join(["---", *["--:"] * (len(view.header) - 1)])
        body = "\n".join([f"| {rows[0]} |", f"|{rule}|", *(f"| {row} |" for row in rows[1:])])
        return f"**{self._text(view.title)}**\n\n{body}"

    def _details(self) -> str:
        rows = ["| rule | status | reason |", "|---|---|---|"]
        for rule in self.report.verdict.rules:
            rows.append(f"| {rule.rule} | {STATUS_WORDS[rule.status]} | {self._text(rule.reason, REASON_LENGTH)} |")
        told = [f"- {self._text(remark)}" for remark in remarks(self.report)]
        body = "\n".join(rows) + ("\n\n" + "\n".join(told) if told else "")
        return f"<details><summary>All rules and notes</summary>\n\n{body}\n\n</details>"

    def _text(self, text: str, limit: int = MESSAGE_LENGTH) -> str:
        return markdown(short(self.report, text), limit=limit)

    def _sentence(self, message: str) -> str:
        shown = self._text(message)
        return shown if shown.endswith((".", "!", "?")) else shown + "."

    def _footer(self) -> str:
        return (
            f"<sub>Made by pgolf-audit {__version__} from the submission's files; {executed(self.report)}. "
            "A fail states its proof; everything else is for a person to decide.</sub>"
        )


def _ruled(precedent: Precedent) -> bool:
    """Whether an organizer decided, rather than an author or a reviewer of the community."""
    return not any(other in precedent.ruled_by for other in ("community", "author"))


def _precedents(code: str) -> str:
    """The rule's rulings, linked; this text is the rulebook's own."""
    from rules import RULES

    rule = RULES[code]
    rulings = [item for item in rule.precedents if item.reference.startswith("#") and _ruled(item)][:MAX_PRECEDENTS]
    if not rulings:
        return f"Rule: {rule.sources[0]}."
    cited = "; ".join(f"{REPOSITORY}{item.reference} ({item.day.isoformat()}, {item.ruled_by})" for item in rulings)
    return f"Rule: {rule.sources[0]}. Rulings: {cited}."
