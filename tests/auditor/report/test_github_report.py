"""The GitHub report stays within the documented limits, and nothing of a submission becomes a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.audit import AuditReport
from auditor.findings import Finding, RuleResult, Status, Step, Witness
from auditor.report.github import MAX_SUMMARY_BYTES, render_github, render_summary

ReportOf = Callable[..., AuditReport]
SCRIPT = "records/track_10min_16mb/example/train_gpt.py"


def commands(report: AuditReport) -> list[str]:
    return render_github(report).splitlines()


def finding(message: str, status: Status = Status.FAIL, **place: object) -> Finding:
    return Finding(status, Witness.SOURCE, message, **place)  # type: ignore[arg-type]


def test_findings_become_annotations_at_their_lines(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    lines = commands(report_of(*results))
    assert lines[0].startswith(f"::error title=C3%3A Score before update,file={SCRIPT},line=5::adapt (lines 1-5)")
    assert "%0Atrain_gpt.py:8 the script calls adapt" in lines[0]
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::warning", "::notice"]


def test_no_more_than_ten_of_a_level_and_the_rest_is_counted(report_of: ReportOf) -> None:
    rules = [
        RuleResult(code, Status.FAIL, "x", tuple(finding(f"{word} {code}") for word in ("one", "two", "three", "four")))
        for code in ("C1", "C2", "C3", "C4", "SIZE")
    ]
    errors = [line for line in commands(report_of(*rules)) if line.startswith("::error")]
    assert len(errors) == 10
    assert "11 more findings" in errors[-1]


@pytest.mark.parametrize(
    "hostile", ["x\n::set-env name=A::b", "%0A::error::x", "a\r::error::b", "::stop-commands::x", "\x1b]0;t\x07"]
)
def test_text_of_a_submission_is_never_a_command(report_of: ReportOf, hostile: str) -> None:
    rule = RuleResult(
        "C3",
        Status.FAIL,
        hostile,
        (finding(hostile, path=f"a,line=1::{hostile}", line=3, steps=(Step(hostile, 1, hostile),)),),
    )
    lines = render_github(report_of(rule, origin=hostile)).split("\n")
    assert len(lines) == 3 and lines[-1] == ""
    assert lines[0].startswith("::error title=C3%3A") and lines[1].startswith("::notice title=pgolf-audit::")
    properties = lines[0].removeprefix("::error ").partition("::")[0]
    assert properties.count(",") == 2 and "\x1b" not in lines[0]


def test_lines_of_an_unpacked_text_are_named_in_the_message(report_of: ReportOf) -> None:
    rule = RuleResult("C3", Status.FAIL, "m", (finding("it learns", path=SCRIPT + "!unpacked", line=417),))
    (line, _) = commands(report_of(rule, layers=("exec(lzma(b85))",)))
    assert f"file={SCRIPT}::train_gpt.py!unpacked:417: it learns" in line


def test_a_summary_fits_and_says_what_is_left_out(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    short = render_summary(report_of(*results))
    assert "left out" not in short
    many = tuple(finding(f"{number:x} " + "é" * 550, Status.PASS) for number in range(1500))
    letters = [Finding(Status.PASS, Witness.RECORD, chr(0x4E00 + n) * 500) for n in range(1500)]
    long = render_summary(report_of(RuleResult("C3", Status.PASS, "m", (*many, *letters))))
    assert len(long.encode()) <= MAX_SUMMARY_BYTES
    assert "left out" in long


def test_the_command_line_writes_the_summary_where_the_runner_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from auditor.cli import main

    folder = tmp_path / "records" / "track_10min_16mb" / "x"
    folder.mkdir(parents=True)
    (folder / "train_gpt.py").write_text("print('val_bpb: 1.0')\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    main([str(folder), "--format", "github"])
    assert "## pgolf-audit" in (tmp_path / "summary.md").read_text()
    assert "::notice title=pgolf-audit::" in capsys.readouterr().out
