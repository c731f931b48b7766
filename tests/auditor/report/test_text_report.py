"""The text report: what a reviewer sees first, last, and beside each accusation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from auditor.audit import AuditReport, Incident
from auditor.findings import Finding, RuleResult, Status, Step, Witness
from auditor.report.text import render_text

FOLDER = "records/track_10min_16mb/example"
SCRIPT = f"{FOLDER}/train_gpt.py"

ReportOf = Callable[..., AuditReport]


def test_the_verdict_is_the_first_and_the_last_line(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    lines = render_text(report_of(*results), width=200).strip().split("\n")
    assert lines[0] == ("FAIL  1 rule is broken: C3 (Score before update); 2 rules need a person: C1, C2")
    assert lines[-1] == lines[0]


def test_an_accusation_shows_its_lines_and_the_blocks_around_them(
    report_of: ReportOf, results: tuple[RuleResult, ...]
) -> None:
    shown = render_text(report_of(*results))
    assert "FAIL C3: Score before update" in shown
    step = shown.index("2. train_gpt.py:5  gradient step on all of val_tokens")
    assert [line.split("│ ")[1] for line in shown[step:].split("\n")[1:5]] == [
        "def adapt(model, val_tokens):",
        "    for epoch in range(3):",
        "        for chunk in val_tokens:",
        "            optimizer.step()",
    ]


def test_a_question_of_two_rules_is_asked_once(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    shown = render_text(report_of(*results))
    assert "REVIEW C1, C2" in shown
    assert shown.count("train_gpt.py:9: calls a C library") == 1


def test_every_rule_has_a_row_with_its_reason(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    rows = render_text(report_of(*results)).split("\n")
    assert any(row.split()[:3] == ["EVIDENCE", "not", "checked"] and row.endswith("no log") for row in rows)
    assert any(row.startswith("BYTES") and "all lines divide by the right bytes" in row for row in rows)


def test_lines_keep_within_the_width(report_of: ReportOf, accusation: Finding) -> None:
    long = replace(accusation, message="word " * 200)
    shown = render_text(report_of(RuleResult("C3", Status.FAIL, long.message, (long,)), source="x" * 5000), width=72)
    assert max(len(line) for line in shown.split("\n")) <= 72


def test_hostile_text_never_acts(report_of: ReportOf) -> None:
    hostile = "\x1b]0;owned\x07 [bold red]loud[/] [link=http://evil]x[/link] \u202e ::error::x :tada:"
    finding = Finding(
        Status.FAIL,
        Witness.SOURCE,
        hostile,
        path=SCRIPT,
        line=1,
        steps=(Step(SCRIPT, 1, hostile), Step(f"{hostile}.py", 1, hostile)),
    )
    report = report_of(
        RuleResult("C3", Status.FAIL, hostile, (finding,)),
        source=hostile,
        origin=hostile,
        incidents=(Incident(hostile, hostile),),
        problems=(hostile,),
        layers=(hostile,),
    )
    shown = render_text(report, color=False)
    assert not [character for character in shown if character != "\n" and not character.isprintable()]
    assert "[bold red]loud[/]" in shown
    assert "[link=http://evil]" in shown
    assert "\U0001f389" not in shown
    assert not any(line.strip().startswith("::") for line in shown.split("\n"))


def test_colour_adds_escape_sequences_and_nothing_else(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    plain, colored = (render_text(report_of(*results), color=color) for color in (False, True))
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored).split() == plain.split()


def test_ascii_ornaments_for_terminals_without_unicode(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    report = report_of(*results, source="x" * 5000 + "\n" * 10)
    render_text(report, unicode=False).encode("ascii")


def test_a_pass_says_how_many_rules_were_checked(report_of: ReportOf) -> None:
    shown = render_text(report_of(RuleResult("C1", Status.PASS, "fine"), RuleResult("C2", Status.NOT_CHECKED, "off")))
    assert shown.startswith("PASS  all 1 checked rules pass\n")


def test_incidents_are_told(report_of: ReportOf) -> None:
    shown = render_text(
        report_of(RuleResult("C1", Status.PASS, "fine"), incidents=(Incident("judging C1", "KeyError: 'x'"),))
    )
    assert "part of the audit failed" in shown.split("\n")[0]
    assert "internal error while judging C1: KeyError: 'x'" in shown


def test_a_rule_that_fails_lists_its_open_questions_in_one_line_each(report_of: ReportOf, accusation: Finding) -> None:
    doubt = Finding(Status.REVIEW, Witness.SOURCE, "could not be seen: exec of a string", path=SCRIPT, line=2)
    shown = render_text(report_of(RuleResult("C3", Status.FAIL, accusation.message, (accusation, doubt))))
    assert "also to review (source): could not be seen: exec of a string" in shown
