"""The HTML report: one file that needs nothing else, with no script in it.

The verdict first, then each broken rule with its numbered steps and the lines that show them, then the questions, the
pictures and all rules. Text of the submission is escaped twice over: what acts in a terminal becomes visible, and
what acts in HTML becomes text; a content security policy forbids everything but the page's own style.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files

from auditor import __version__
from auditor.audit import AuditReport
from auditor.findings import Finding, Status
from auditor.report.escape import terminal, visible
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
from auditor.report.pictures import Picture, budget_picture, size_picture, timeline_picture
from auditor.report.run_section import all_tables, remarks
from auditor.report.tables import TableView

MESSAGE_LENGTH = 2_000
LINE_LENGTH = 400  # characters of a source line
CELL_LENGTH = 300
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render_html(report: AuditReport) -> str:
    """The report as one HTML document, UTF-8 text."""
    page = _Page(report)
    title = f"{STATUS_WORDS[report.verdict.status]}: {report.submission.folder or report.submission.origin}"
    body = "\n".join(page.parts())
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{page.text(title, 160)}</title>\n<style>\n{_style()}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


@cache
def _style() -> str:
    return files("auditor.report").joinpath("data/report.css").read_text(encoding="utf-8")


class _Page:
    def __init__(self, report: AuditReport) -> None:
        self.report = report
        self.excerpts = Excerpts(report.submission, report.configuration, report.record)

    def parts(self) -> Iterator[str]:
        """The page's parts from top to bottom."""
        report = self.report
        status = report.verdict.status
        yield f"<header><h1>{self._word(status)} {self.text(headline(report))}</h1>"
        yield f'<p class="subject"><strong>{self.text(report.submission.origin)}</strong><br>'
        yield f"{self.text(subject(report))}</p></header>"
        for section in sections(report, Status.FAIL):
            yield from self._section(section, Status.FAIL)
        reviews = sections(report, Status.REVIEW)
        if reviews:
            yield "<h2>For a person to decide</h2>"
            for section in reviews:
                yield from self._section(section, Status.REVIEW)
        yield "<h2>All rules</h2>"
        yield self._rules()
        yield from self._pictures()
        yield from self._tables()
        yield from self._notes()
        yield f"<footer>Made by pgolf-audit {__version__} from the submission's files; {executed(report)}.</footer>"

    def text(self, text: str, limit: int = MESSAGE_LENGTH) -> str:
        """One line of any text, escaped for HTML."""
        return escape(terminal(short(self.report, text), limit=limit))

    def _word(self, status: Status) -> str:
        return f'<span class="status {status.value}">{STATUS_WORDS[status]}</span>'

    def _rules(self) -> str:
        titles = rule_titles()
        rows = "".join(
            f"<tr><td><strong>{self.text(rule.rule)}</strong></td><td>{self._word(rule.status)}</td>"
            f'<td><span class="title">{self.text(titles.get(rule.rule, ""))}</span><br>'
            f"{self.text(rule.reason, 400)}</td></tr>"
            for rule in self.report.verdict.rules
        )
        return f'<table class="grid rules"><tbody>{rows}</tbody></table>'

    def _section(self, section: Section, status: Status) -> Iterator[str]:
        heading = "h2" if status is Status.FAIL else "h3"
        title = rule_titles().get(section.codes[0], "") if len(section.codes) == 1 else ""
        codes = self.text(", ".join(section.codes))
        yield f"<{heading}>{self._word(status)} {codes}{': ' + self.text(title) if title else ''}</{heading}>"
        for finding in section.findings:
            yield from self._finding(finding)
        if section.similar:
            rows = "".join(f"<li>{self.text(finding.message, 300)}</li>" for finding in section.similar)
            yield f"<details><summary>{len(section.similar)} more like this</summary><ul>{rows}</ul></details>"
        if section.left_out:
            yield f'<p class="aside">and {section.left_out} more; the JSON report has all of them</p>'
        for finding in lesser_findings(self.report, section.codes, status):
            yield f'<p class="aside">Also to review ({finding.witness.value}): {self.text(finding.message)}</p>'

    def _finding(self, finding: Finding) -> Iterator[str]:
        where = f"{self.text(place(self.report, finding.path, finding.line))}: " if finding.path else ""
        if finding.steps or finding.message.startswith(place(self.report, finding.path, 0)):
            where = ""  # the steps, or the message itself, say it
        yield f'<p>{where}{self.text(finding.message)} <span class="aside">[{finding.witness.value}]</span></p>'
        passages = self.excerpts.passages(finding)
        told = [passage for passage in passages if passage.step.message]
        if told:
            steps = "".join(
                f'<li value="{item.number}"><code>'
                f"{self.text(place(self.report, item.step.path, item.step.line))}</code> "
                f"{self.text(item.step.message)}</li>"
                for item in told
            )
            yield f'<ol class="steps">{steps}</ol>'
        rows = "".join(self._source_rows(passages))
        if rows:
            yield f'<div class="scroll"><table class="source"><tbody>{rows}</tbody></table></div>'

    def _source_rows(self, passages: list[Passage]) -> Iterator[str]:
        path = ""
        for passage in passages:
            if passage.lines and passage.step.path != path:
                path = passage.step.path
                yield f'<tr class="file"><td></td><td></td><td>{self.text(place(self.report, path, 0))}</td></tr>'
            for line in passage.lines:
                own = line.number == passage.step.line and line.step
                mark = str(line.step) if own and len(passages) > 1 else ""
                settings = f'   <span class="set">{self.text(line.settings)}</span>' if line.settings else ""
                code = escape(visible(line.text[:LINE_LENGTH])) + ("…" if len(line.text) > LINE_LENGTH else "")
                look = ' class="step"' if own else ""
                yield (
                    f'<tr{look}><td class="k">{mark}</td><td class="n">{line.number}</td><td>{code}{settings}</td></tr>'
                )

    def _pictures(self) -> Iterator[str]:
        if timeline := timeline_picture(self.report):
            yield f"<h2>Token timeline</h2>{self._figure(timeline)}"
        drawn = [picture for picture in (size_picture(self.report), budget_picture(self.report)) if picture]
        if drawn:
            yield "<h2>Size and time</h2>"
        yield from map(self._figure, drawn)

    def _figure(self, picture: Picture) -> str:
        return f"<figure>{picture.svg}<figcaption>{self.text(picture.caption)}</figcaption></figure>"

    def _tables(self) -> Iterator[str]:
        for view in all_tables(self.report):
            yield f"<h3>{self.text(view.title)}</h3>{self._table(view)}"

    def _table(self, view: TableView) -> str:
        def cells(row: tuple[str, ...], tag: str) -> str:
            return "".join(
                f"<{tag}{' class=figure' if index else ''}>{self.text(cell, CELL_LENGTH)}</{tag}>"
                for index, cell in enumerate(row)
            )

        head = f"<thead><tr>{cells(view.header, 'th')}</tr></thead>"
        body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in view.rows)
        return f'<div class="scroll"><table class="grid">{head}<tbody>{body}</tbody></table></div>'

    def _notes(self) -> Iterator[str]:
        items = "".join(f"<li>{self.text(line)}</li>" for line in remarks(self.report))
        if items:
            yield f"<details open><summary>Notes</summary><ul>{items}</ul></details>"
