"""The tables beside the findings appear where a rule found something, and say what was counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from auditor.audit import AuditReport
from auditor.findings import RuleResult, Status
from auditor.record import read_record
from auditor.report.markdown import render_markdown
from auditor.report.tables import tables
from auditor.report.text import render_text

ReportOf = Callable[..., AuditReport]

LOG = """\
seed:42
world_size:8
step:1000/20000 train_loss:2.1 train_time:500000ms step_avg:46.02ms
stopping_early: wallclock_cap train_time:599942ms step:13041/20000
Serialized model int8+zlib: 15990000 bytes
Code size: 20000 bytes
Total submission size int8+zlib: 16010000 bytes
final val_loss:2.05000000 val_bpb:1.21412547 eval_time:61042ms
"""


def report_with(report_of: ReportOf, status: Status) -> AuditReport:
    report = report_of(RuleResult("SIZE", status, "size"), RuleResult("TIME", status, "time"), log=LOG)
    return replace(report, record=read_record(report.submission))


def test_size_accounts_and_budget_sheet(report_of: ReportOf) -> None:
    size, budget = tables(report_with(report_of, Status.REVIEW))
    assert size.header == ("account", "seed 42")
    assert ("total that the log prints", "16,010,000 over") in size.rows
    assert "seed 42" in budget.title
    assert ("training", "training", "599.9") in budget.rows
    assert ("final", "evaluation", "61.0") in budget.rows


def test_nothing_to_see_shows_no_table(report_of: ReportOf) -> None:
    assert tables(report_with(report_of, Status.PASS)) == []


def test_both_reports_show_them(report_of: ReportOf) -> None:
    report = report_with(report_of, Status.FAIL)
    assert "16,010,000 over" in render_text(report)
    assert "| total that the log prints | 16,010,000 over |" in render_markdown(report)


def test_a_table_that_cannot_be_made_says_so(report_of: ReportOf, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("bad record")

    monkeypatch.setattr("auditor.report.tables.size_accounts", fail)
    shown = render_text(report_with(report_of, Status.REVIEW))
    assert "could not be made: ValueError: bad record" in shown
    assert "Budget sheet" in shown
