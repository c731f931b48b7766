"""The text report: the verdict first and last, between them one line a finding with the lines that prove it."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

from rich.cells import chop_cells
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from auditor.audit import AuditReport
from auditor.findings import Finding, Status
from auditor.report.escape import terminal, visible
from auditor.report.excerpt import Excerpts, Passage
from auditor.report.outline import (
    STATUS_WORDS,
    Section,
    headline,
    lesser_findings,
    place,
    rule_titles,
    sections,
    short,
    subject,
)
from auditor.report.run_section import all_tables, remarks

MAX_FOLDS = 3  # terminal lines that one long source line may take
MESSAGE_LENGTH = 600  # characters of a finding's message
CELL_LENGTH = 80  # characters of a table's cell
MIN_WIDTH = 60

_ASCII_ORNAMENTS = str.maketrans({"│": "|", "…": "~"})

_STYLES = {
    Status.FAIL: "bold red",
    Status.REVIEW: "bold yellow",
    Status.PASS: "green",
    Status.NOT_CHECKED: "dim",
    Status.NOT_APPLICABLE: "dim",
}


def render_text(report: AuditReport, *, width: int = 100, color: bool = False, unicode: bool = True) -> str:
    """The report for a terminal `width` cells wide; plain ASCII ornaments unless `unicode`."""
    sheet = StringIO()
    console = Console(
        file=sheet,
        width=max(width, MIN_WIDTH),
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
        _environ={},
    )
    _TextReport(report, console).write()
    shown = "\n".join(line.rstrip() for line in sheet.getvalue().split("\n"))
    return shown if unicode else shown.translate(_ASCII_ORNAMENTS)


class _TextReport:
    def __init__(self, report: AuditReport, console: Console) -> None:
        self.report = report
        self.console = console
        self.excerpts = Excerpts(report.submission, report.configuration, report.record)

    def write(self) -> None:
        self._verdict()
        self._line(self.report.submission.origin, style="bold")
        self._line(subject(self.report))
        for status in (Status.FAIL, Status.REVIEW):
            for section in sections(self.report, status):
                self._section(section, status)
        self._tables()
        self._remarks()
        self._rules()
        self.console.print()
        self._verdict()

    def _verdict(self) -> None:
        status = self.report.verdict.status
        text = Text(f"{STATUS_WORDS[status]}  ", style=_STYLES[status])
        text.append(terminal(headline(self.report)), style="bold")
        self.console.print(text)

    def _section(self, section: Section, status: Status) -> None:
        self.console.print()
        codes = section.codes
        title = f": {rule_titles().get(codes[0], '')}" if len(codes) == 1 else ""
        heading = Text(f"{STATUS_WORDS[status]} ", style=_STYLES[status])
        heading.append(f"{', '.join(codes)}{title}", style="bold")
        self.console.print(heading)
        for finding in section.findings:
            self._finding(finding)
        if section.similar:
            self._line("Likewise:", indent=2)
            for finding in section.similar:
                where = f"{place(self.report, finding.path, finding.line)}: " if finding.path else ""
                self._line(f"{where}{finding.message}", indent=4, limit=self.console.width - 4)
        if section.left_out:
            self._line(f"and {section.left_out} more (all of them: --format json)", indent=2)
        for finding in lesser_findings(self.report, codes, status):
            self._line(f"also to review ({finding.witness.value}): {finding.message}", indent=2)

    def _finding(self, finding: Finding) -> None:
        where = f"{place(self.report, finding.path, finding.line)}: " if finding.path and not finding.steps else ""
        self._line(f"{where}{finding.message} [{finding.witness.value}]", indent=2)
        for passage in self.excerpts.passages(finding):
            self._passage(passage)

    def _passage(self, passage: Passage) -> None:
        step = passage.step
        if step.message:
            grid = Table.grid(padding=(0, 1))
            told = f"{place(self.report, step.path, step.line)}  {short(self.report, step.message)}"
            grid.add_row(
                Text(f"{passage.number:>5}.", style="bold"), Text(terminal(told, limit=MESSAGE_LENGTH), overflow="fold")
            )
            self.console.print(grid)
        for line in passage.lines:
            for row in self._source_rows(line.number, line.text):
                self.console.print(Text(row, style="" if line.step else "dim", no_wrap=True, overflow="crop"))
            if line.settings:
                self._line(f"<- {line.settings}", indent=13)

    def _source_rows(self, number: int, text: str) -> Iterator[str]:
        """A source line as rows behind a gutter, so that nothing of it stands at the beginning of a terminal line."""
        room = self.console.width - 15
        rows = chop_cells(visible(text[: room * (MAX_FOLDS + 1)]), room) or [""]
        for index, row in enumerate(rows[:MAX_FOLDS]):
            end = "…" if index == MAX_FOLDS - 1 and len(rows) > MAX_FOLDS else ""
            yield f"{number if index == 0 else '':>10} │ {row}{end}"

    def _tables(self) -> None:
        for view in all_tables(self.report):
            self.console.print()
            self.console.print(Text(terminal(view.title), style="bold"))
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
            for index, title in enumerate(view.header):
                table.add_column(Text(terminal(title, limit=CELL_LENGTH)), justify="left" if index == 0 else "right")
            for row in view.rows:
                table.add_row(*(Text(terminal(cell, limit=CELL_LENGTH)) for cell in row))
            self.console.print(Padding(table, (0, 0, 0, 2)))

    def _remarks(self) -> None:
        lines = remarks(self.report)
        if lines:
            self.console.print()
            self.console.print(Text("Notes", style="bold"))
        for line in lines:
            self._line(line, indent=2)

    def _rules(self) -> None:
        self.console.print()
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for rule in self.report.verdict.rules:
            word = Text(STATUS_WORDS[rule.status], style=_STYLES[rule.status])
            table.add_row(
                Text(rule.rule, style="bold"),
                word,
                Text(terminal(short(self.report, rule.reason), limit=MESSAGE_LENGTH)),
            )
        self.console.print(table)

    def _line(self, text: str, *, indent: int = 0, style: str = "", limit: int = MESSAGE_LENGTH) -> None:
        shown = Text(terminal(short(self.report, text), limit=limit), style=style)
        self.console.print(Padding(shown, (0, 0, 0, indent)) if indent else shown)
