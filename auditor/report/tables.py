"""Small tables beside the findings: what was counted, account by account, where a rule found something to see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from auditor.audit import AuditReport, describe
from auditor.findings import Status
from auditor.record.budget_sheet import DIAGNOSTIC
from auditor.record.size_accounts import size_accounts

MAX_COLUMNS = 5  # runs
MAX_ROWS = 14
WHOLE = "submission"  # the column of accounts that belong to no run


@dataclass(frozen=True, slots=True)
class TableView:
    """A table for any medium: a title, a header, rows of cells; the first column is text, the others figures."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(report: AuditReport) -> list[TableView]:
    """The tables that have something to show; one that cannot be made says so instead of ending the report."""
    views = []
    for code, make in _TABLES:
        if not _noticed(report, code):
            continue
        try:
            view = make(report)
        except Exception as error:
            view = TableView(f"The table for {code} could not be made: {describe(error)}", ("",), (("",),))
        if view.rows:
            views.append(view)
    return views


def size_table(report: AuditReport) -> TableView:
    """Every account of the size, a column for each run; figures over the cap are marked."""
    from rules.size import CAP_BYTES

    seeds = {log.path: log.seed for log in report.record.logs}
    cells: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for account in size_accounts(report.submission, report.record, CAP_BYTES):
        seed = seeds.get(account.run)
        column = f"seed {seed}" if seed is not None else report.submission.relative(account.run) or WHOLE
        columns.setdefault(column)
        mark = " over" if account.over(CAP_BYTES) else ""
        cells.setdefault(account.name, {}).setdefault(column, f"{account.size_bytes:,}{mark}")
    shown = list(columns)[:MAX_COLUMNS]
    rows = [(name, *(row.get(column, "") for column in shown)) for name, row in cells.items()]
    rows = [row for row in rows if any(row[1:])]
    return TableView(f"Size accounts, in bytes (cap {CAP_BYTES:,})", ("account", *shown), tuple(rows[:MAX_ROWS]))


def budget_table(report: AuditReport) -> TableView:
    """Every timed phase of the run with most time on the clock, and the budget it is put in."""
    from rules.time import EVALUATION_SECONDS, TRAINING_SECONDS, budget_sheets

    title = f"Budget sheet, in seconds (training {TRAINING_SECONDS:.0f}, evaluation {EVALUATION_SECONDS:.0f})"
    sheets = [sheet for sheet in budget_sheets(report.record) if sheet.entries]
    if not sheets:
        return TableView(title, (), ())
    sheet = max(sheets, key=lambda item: sum(entry.seconds for entry in item.entries))
    run = f"seed {sheet.seed}" if sheet.seed is not None else report.submission.relative(sheet.log)
    entries = sorted(sheet.entries, key=lambda entry: (entry.budget == DIAGNOSTIC, -entry.seconds))[:MAX_ROWS]
    entries.sort(key=lambda entry: entry.place.line)
    rows = tuple(
        (entry.phase, f"{entry.budget}{' or the other' if entry.movable else ''}", f"{entry.seconds:,.1f}")
        for entry in entries
    )
    return TableView(f"{title}: {run}", ("phase", "budget", "seconds"), rows)


def _noticed(report: AuditReport, code: str) -> bool:
    return any(rule.rule == code and rule.status in (Status.FAIL, Status.REVIEW) for rule in report.verdict.rules)


_TABLES: tuple[tuple[str, Callable[[AuditReport], TableView]], ...] = (
    ("SIZE", size_table),
    ("TIME", budget_table),
)
