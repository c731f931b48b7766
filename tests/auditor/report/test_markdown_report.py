"""The Markdown report: a comment that a reviewer can paste, and that a submission cannot abuse."""

from __future__ import annotations

import re
from collections.abc import Callable

from auditor.audit import AuditReport, Incident
from auditor.findings import Finding, RuleResult, Status, Step, Witness
from auditor.report.markdown import render_markdown

FOLDER = "records/track_10min_16mb/example"
SCRIPT = f"{FOLDER}/train_gpt.py"

ReportOf = Callable[..., AuditReport]


def test_the_accusation_with_steps_code_and_rulings(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    shown = render_markdown(report_of(*results))
    assert shown.startswith("## pgolf-audit: FAIL\n\n1 rule is broken: C3 (Score before update);")
    assert "### C3: Score before update" in shown
    assert "1. `train_gpt.py:8` the script calls adapt" in shown
    assert "```python\n# train_gpt.py\n" in shown
    assert re.search(r"^ \[2\] +5  +optimizer\.step\(\)$", shown, re.MULTILINE)
    assert "openai/parameter-golf#462" in shown


def test_questions_are_listed_once_with_their_place(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    shown = render_markdown(report_of(*results))
    assert "### For a person to decide" in shown
    assert "- **C1, C2** (source): `train_gpt.py:9`: calls a C library." in shown


def test_all_rules_are_in_the_table(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    shown = render_markdown(report_of(*results))
    assert "| BYTES | PASS | all lines divide by the right bytes |" in shown
    assert "| EVIDENCE | not checked | no log |" in shown


def test_hostile_text_stays_text(report_of: ReportOf) -> None:
    hostile = "<img src=x> </details> ![a](http://evil) @openai #12 `` ` `` ```\n::error::x | \x1b[1m"
    finding = Finding(
        Status.FAIL,
        Witness.SOURCE,
        hostile,
        path=SCRIPT,
        line=1,
        steps=(Step(SCRIPT, 2, hostile), Step(f"{hostile}.py", 1, hostile)),
    )
    report = report_of(
        RuleResult("C3", Status.FAIL, hostile, (finding,)),
        RuleResult(
            "C4", Status.REVIEW, hostile, (Finding(Status.REVIEW, Witness.RECORD, hostile, path=hostile, line=3),)
        ),
        source="# ok\n````` @openai <b>\n",
        origin=hostile,
        incidents=(Incident(hostile, hostile),),
        problems=(hostile,),
        layers=(hostile,),
    )
    shown = render_markdown(report)
    assert "\x1b" not in shown
    prose = without_code(shown)
    assert "<img" not in prose
    assert prose.count("</details>") == 1
    assert not re.search(r"@\w", prose)
    assert not re.search(r"(?<!parameter-golf)(?<!&)#\d", prose)
    assert "http://" not in prose
    assert not re.search(r"(?m)^\s*::", shown)


def without_code(shown: str) -> str:
    """The report without fenced blocks and code spans, read as CommonMark reads them."""
    prose = re.sub(r"(?ms)^(`{3,})[a-z]*\n.*?^\1$", "", shown)
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", prose)
