"""What source and run witness both prove is told once in reports for people, and kept whole in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from auditor.audit import AuditReport
from auditor.findings import Finding, RuleResult, Status, Step, Witness
from auditor.report.github import render_github
from auditor.report.html import render_html
from auditor.report.json import render_json
from auditor.report.markdown import render_markdown
from auditor.report.sarif import render_sarif
from auditor.report.text import render_text

ReportOf = Callable[..., AuditReport]
Render = Callable[[AuditReport], str]

SCRIPT = "records/track_10min_16mb/example/train_gpt.py"
CALLED, LEARNED = Step(SCRIPT, 9, "adapt is called"), Step(SCRIPT, 5, "gradient step on the tokens")
SCORED, PRINTED = Step(SCRIPT, 8, "the tokens are scored"), Step(SCRIPT, 2, "the score is printed")
RUN = Finding(Status.FAIL, Witness.RUN, "the run learned first", SCRIPT, 5, steps=(CALLED, LEARNED, SCORED))
SOURCE = Finding(Status.FAIL, Witness.SOURCE, "adapt learns first", SCRIPT, 5, steps=(CALLED, LEARNED, SCORED, PRINTED))
FOR_PEOPLE = [render_text, render_markdown, render_html, render_github, render_sarif]


def report(report_of: ReportOf, *findings: Finding) -> AuditReport:
    return report_of(RuleResult("C3", Status.FAIL, findings[0].message, findings))


@pytest.mark.parametrize("render", FOR_PEOPLE)
def test_steps_that_both_witnesses_name_are_shown_once(render: Render, report_of: ReportOf) -> None:
    shown = render(report(report_of, SOURCE, RUN))
    assert shown.count(LEARNED.message) == render(report(report_of, RUN)).count(LEARNED.message)
    assert "the source witness proves the same by 4 steps, 1 of them at other places" in " ".join(shown.split())
    assert PRINTED.message in shown


@pytest.mark.parametrize("render", FOR_PEOPLE)
def test_an_account_of_other_acts_stays_whole(render: Render, report_of: ReportOf) -> None:
    other = replace(SOURCE, line=1, message="stats are taken first", steps=(Step(SCRIPT, 1, "statistics"), SCORED))
    shown = render(report(report_of, other, RUN))
    assert "statistics" in shown
    assert other.message in shown
    assert "proves the same" not in shown


def test_a_suspicion_of_the_source_is_no_proof_of_the_same(report_of: ReportOf) -> None:
    possible = replace(SOURCE, status=Status.REVIEW)
    assert "proves the same" not in render_text(report(report_of, possible, RUN))


def test_the_json_report_keeps_both_accounts(report_of: ReportOf) -> None:
    rule = json.loads(render_json(report(report_of, SOURCE, RUN)))["rules"][0]
    assert [len(finding["steps"]) for finding in rule["findings"]] == [4, 3]
