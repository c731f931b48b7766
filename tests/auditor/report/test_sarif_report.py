"""The SARIF report is valid, tells the steps as a code flow, and keeps a result's identity when lines move."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sarif_pydantic import Sarif

from auditor.audit import AuditReport, Incident
from auditor.findings import Finding, RuleResult, Status, Step, Witness
from auditor.report.sarif import FINGERPRINT, render_sarif
from rules import RULES

ReportOf = Callable[..., AuditReport]
SCRIPT = "records/track_10min_16mb/example/train_gpt.py"


def run_of(report: AuditReport) -> dict[str, Any]:
    text = render_sarif(report)
    assert text.isascii()
    Sarif.model_validate_json(text)
    return json.loads(text)["runs"][0]  # type: ignore[no-any-return]


def test_failing_and_open_findings_are_results(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    run = run_of(report_of(*results))
    assert [(item["ruleId"], item["level"]) for item in run["results"]] == [
        ("C1", "warning"),
        ("C2", "warning"),
        ("C3", "error"),
    ]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(RULES)
    for item in run["results"]:
        assert run["tool"]["driver"]["rules"][item["ruleIndex"]]["id"] == item["ruleId"]


def test_steps_are_a_code_flow(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    (accused,) = [item for item in run_of(report_of(*results))["results"] if item["level"] == "error"]
    flow = accused["codeFlows"][0]["threadFlows"][0]["locations"]
    assert [entry["location"]["physicalLocation"]["region"]["startLine"] for entry in flow] == [8, 5, 9]
    assert flow[0]["location"]["message"]["text"] == "the script calls adapt"
    assert accused["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == SCRIPT


def test_lines_of_an_unpacked_text_are_not_lines_of_the_stored_file(report_of: ReportOf) -> None:
    path = SCRIPT + "!unpacked"
    finding = Finding(Status.FAIL, Witness.SOURCE, "it learns", path=path, line=417, steps=(Step(path, 417, "here"),))
    run = run_of(report_of(RuleResult("C3", Status.FAIL, "it learns", (finding,)), layers=("exec(lzma(b85))",)))
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": SCRIPT, "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 1},
    }
    flow = run["results"][0]["codeFlows"][0]["threadFlows"][0]["locations"][0]["location"]
    assert "train_gpt.py!unpacked:417" in flow["message"]["text"]


def fingerprint(report: AuditReport) -> str:
    return run_of(report)["results"][0]["partialFingerprints"][FINGERPRINT]  # type: ignore[no-any-return]


def test_a_fingerprint_survives_moved_lines_and_not_another_finding(report_of: ReportOf, accusation: Finding) -> None:
    source = "def adapt(model, val_tokens):\n    for epoch in range(3):\n        step()\n\n\n\n\nadapt()\nprint()\n"
    moved = replace(
        accusation,
        message=accusation.message.replace("line 8", "line 10"),
        line=7,
        steps=tuple(replace(step, line=step.line + 2) for step in accusation.steps),
    )
    before = fingerprint(report_of(RuleResult("C3", Status.FAIL, "", (accusation,)), source=source))
    after = fingerprint(report_of(RuleResult("C3", Status.FAIL, "", (moved,)), source="\n\n" + source))
    other = replace(accusation, message="something else")
    assert before == after
    assert before != fingerprint(report_of(RuleResult("C3", Status.FAIL, "", (other,)), source=source))


@pytest.mark.parametrize("path", ["a b.py", "x/../../y", "https://evil.example/x", "é\udc80.py", "%2e%2e/x"])
def test_a_path_is_a_relative_reference(report_of: ReportOf, path: str) -> None:
    finding = Finding(Status.FAIL, Witness.SOURCE, "m", path=path, line=1)
    run = run_of(report_of(RuleResult("C3", Status.FAIL, "m", (finding,))))
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.isascii() and " " not in uri and ":" not in uri and "%2e%2e" not in uri


def test_a_result_without_a_place_points_at_the_script(report_of: ReportOf) -> None:
    run = run_of(report_of(RuleResult("SIZE", Status.FAIL, "too large", (Finding(Status.FAIL, Witness.RECORD, "m"),))))
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == SCRIPT


def test_internal_errors_are_notifications(report_of: ReportOf) -> None:
    report = report_of(incidents=(Incident("judging C3", "ValueError: \x1b[31m"),))
    (invocation,) = run_of(report)["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "\\x1b" in invocation["toolExecutionNotifications"][0]["message"]["text"]
