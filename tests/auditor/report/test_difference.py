"""The comparison of two reports tells what got worse, and is not fooled by moved figures or hostile text."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.audit import AuditReport
from auditor.cli import EXIT_FAIL, EXIT_NOT_DONE, EXIT_PASS, main
from auditor.findings import Claim, Finding, RuleResult, Status
from auditor.report.json import render_json

ReportOf = Callable[..., AuditReport]


def written(path: Path, report: AuditReport) -> str:
    path.write_text(render_json(report))
    return str(path)


def test_the_same_findings_at_other_lines_are_no_change(
    tmp_path: Path, report_of: ReportOf, accusation: Finding, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = replace(accusation, message=accusation.message.replace("line 8", "line 120"), line=117)
    old = written(tmp_path / "old.json", report_of(RuleResult("C3", Status.FAIL, "", (accusation,))))
    new = written(tmp_path / "new.json", report_of(RuleResult("C3", Status.FAIL, "", (moved,))))
    assert main(["diff", old, new]) == EXIT_PASS
    assert capsys.readouterr().out == "nothing changed\n"


def test_what_got_worse_and_what_went_away(
    tmp_path: Path,
    report_of: ReportOf,
    results: tuple[RuleResult, ...],
    accusation: Finding,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clean = report_of(RuleResult("C3", Status.PASS, "in order"), claim=Claim(val_bpb=1.2))
    dirty = report_of(RuleResult("C3", Status.FAIL, "", (accusation,)), claim=Claim(val_bpb=1.1))
    old, new = written(tmp_path / "old.json", clean), written(tmp_path / "new.json", dirty)
    assert main(["diff", old, new]) == EXIT_FAIL
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["verdict: pass -> fail", "claimed bpb: 1.20000 -> 1.10000", "C3: pass -> fail"]
    assert lines[3].startswith("+ C3 fail [source]: adapt (lines 1-5)")
    assert main(["diff", new, old]) == EXIT_PASS
    assert "- C3 fail [source]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema": "other"}', "[" * 100_000, '{"schema": "pgolf-audit/1", "rules": 3}']
)
def test_a_file_that_is_no_report(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text(content)
    code = main(["diff", str(tmp_path / "x.json"), str(tmp_path / "x.json")])
    told = capsys.readouterr()
    assert (code, told.out) in ((EXIT_NOT_DONE, ""), (EXIT_PASS, "nothing changed\n"))
    assert len(told.err.splitlines()) <= 1


def test_text_of_a_report_does_not_act(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = {
        "schema": "pgolf-audit/1",
        "verdict": "fail\x1b[31m",
        "rules": [
            {
                "rule": "::error::x",
                "status": "fail",
                "findings": [{"status": "fail", "message": "\x1b]0;x\x07\n::error::y"}],
            }
        ],
    }
    (tmp_path / "new.json").write_text(json.dumps(hostile))
    (tmp_path / "old.json").write_text(json.dumps({"schema": "pgolf-audit/1", "rules": []}))
    main(["diff", str(tmp_path / "old.json"), str(tmp_path / "new.json")])
    told = capsys.readouterr().out
    assert "\x1b" not in told and not [line for line in told.splitlines() if line.startswith("::")]
