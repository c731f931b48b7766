"""Orchestration: a witness or a rule that breaks is told, never hidden in a pass, and never ends the audit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import pytest

import rules
from auditor.audit import Disagreement, audit
from auditor.configuration import RunConfiguration
from auditor.findings import RuleResult, Status, Witness
from auditor.ledger import Ledger, Metric, Region, Scored, Site, Violation
from auditor.rescore.witness import NotRescoredError, RescoreOptions
from auditor.run.model import Confinement
from auditor.run.witness import NotRunError, RunOptions, RunReport
from auditor.submission.model import Role, SourceText, StoredFile, Submission, Track
from rules.base import Evidence
from rules.example import HONEST_SCRIPT, example_folder


@pytest.fixture
def submission() -> Submission:
    roles = {"README.md": Role.README, "submission.json": Role.METADATA, "train_gpt.py": Role.SCRIPT}
    files = tuple(
        StoredFile(name, len(text.encode()), roles.get(name, Role.LOG), text.encode())
        for name, text in example_folder().items()
    )
    script = SourceText("train_gpt.py", HONEST_SCRIPT, sha256="0" * 64)
    return Submission("folder", "", Track.RECORD, files, script)


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


def status_of(results: tuple[RuleResult, ...], code: str) -> Status:
    return next(result.status for result in results if result.rule == code)


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError("deep"), MemoryError(), AssertionError()])
def test_a_broken_source_witness_leaves_its_rules_unchecked_and_the_rest_judged(
    monkeypatch: pytest.MonkeyPatch, submission: Submission, error: Exception
) -> None:
    monkeypatch.setattr("auditor.audit.witness", raising(error))
    report = audit(submission)
    for code in ("C1", "C2", "C3", "C4", "EXTERNAL"):
        assert status_of(report.verdict.rules, code) is Status.NOT_CHECKED
    result = next(result for result in report.verdict.rules if result.rule == "C3")
    assert f"internal error while following the script: {type(error).__name__}" in result.reason
    assert status_of(report.verdict.rules, "BYTES") is Status.PASS
    assert report.verdict.status is not Status.PASS
    assert len(report.incidents) == 1


def test_a_broken_record_reader_accuses_nobody_of_missing_evidence(
    monkeypatch: pytest.MonkeyPatch, submission: Submission
) -> None:
    monkeypatch.setattr("auditor.audit.read_record", raising(ValueError("bad")))
    report = audit(submission)
    assert not [result for result in report.verdict.rules if result.status is Status.FAIL]
    assert status_of(report.verdict.rules, "EVIDENCE") is Status.NOT_CHECKED
    assert report.verdict.status is Status.REVIEW


def test_without_the_runs_configuration_the_script_is_not_judged(
    monkeypatch: pytest.MonkeyPatch, submission: Submission
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("auditor.audit.derive_configuration", raising(ValueError("bad")))
    monkeypatch.setattr("auditor.audit.witness", lambda *arguments: asked.append(arguments))
    report = audit(submission)
    assert not asked
    assert "configuration" in report.heard[Witness.SOURCE]
    assert status_of(report.verdict.rules, "C3") is Status.NOT_CHECKED


def test_a_broken_rule_is_not_checked_and_named(monkeypatch: pytest.MonkeyPatch, submission: Submission) -> None:
    broken = dict(rules.RULES)
    broken["SIZE"] = replace(broken["SIZE"], judge=raising(ZeroDivisionError("by zero")))
    monkeypatch.setattr(rules, "RULES", broken)
    report = audit(submission)
    result = next(result for result in report.verdict.rules if result.rule == "SIZE")
    assert result.status is Status.NOT_CHECKED
    assert "judging SIZE: ZeroDivisionError: by zero" in result.reason
    assert [result.rule for result in report.verdict.rules] == list(rules.CODES)


def test_an_interrupt_is_not_swallowed(monkeypatch: pytest.MonkeyPatch, submission: Submission) -> None:
    monkeypatch.setattr("auditor.audit.witness", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        audit(submission)


def test_everything_passing_is_a_pass_only_if_the_script_was_read(
    monkeypatch: pytest.MonkeyPatch, submission: Submission
) -> None:
    def passes(evidence: Evidence) -> RuleResult:
        return RuleResult("SIZE", Status.PASS, "fine")

    monkeypatch.setattr(rules, "RULES", {"SIZE": replace(rules.RULES["SIZE"], judge=passes)})
    monkeypatch.setattr("auditor.audit.witness", lambda *_: Ledger())
    assert audit(submission).verdict.status is Status.PASS
    monkeypatch.setattr("auditor.audit.witness", lambda *_: None)
    report = audit(submission)
    assert report.verdict.status is Status.REVIEW
    assert "does not parse" in report.heard[Witness.SOURCE]


def test_a_witness_that_was_not_asked_is_told(monkeypatch: pytest.MonkeyPatch, submission: Submission) -> None:
    monkeypatch.setattr("auditor.audit.witness", lambda *_: Ledger())
    assert audit(submission).heard[Witness.RESCORE] == "not asked"


def test_an_evaluation_that_is_not_possible_says_why(monkeypatch: pytest.MonkeyPatch, submission: Submission) -> None:
    def refuse(*_: object) -> None:
        raise NotRescoredError("no artifact here")

    monkeypatch.setattr("auditor.audit.witness", lambda *_: Ledger())
    monkeypatch.setattr("auditor.rescore.witness.rescore_witness", refuse)
    report = audit(submission, rescore=RescoreOptions())
    assert report.heard[Witness.RESCORE] == "no artifact here"
    assert not report.incidents
    claim = next(result for result in report.verdict.rules if result.rule == "CLAIM")
    assert "no artifact here" in [finding.message for finding in claim.findings]


def test_a_run_that_is_not_possible_says_why_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, submission: Submission
) -> None:
    def refuse(*_: object) -> None:
        raise NotRunError("no sandbox here")

    monkeypatch.setattr("auditor.audit.witness", lambda *_: Ledger())
    monkeypatch.setattr("auditor.run.witness.run_witness", refuse)
    report = audit(submission, run=RunOptions())
    assert report.heard[Witness.RUN] == "no sandbox here"
    assert not report.incidents
    c3 = next(result for result in report.verdict.rules if result.rule == "C3")
    assert [finding.message for finding in c3.findings if finding.status is Status.NOT_CHECKED] == ["no sandbox here"]


def test_what_a_run_proves_is_judged_and_a_disagreement_is_told(
    monkeypatch: pytest.MonkeyPatch, submission: Submission
) -> None:
    metric = Metric("final", Site("train_gpt.py", 1), reported=True)
    scored = Scored(Region("all"), metric, metric.site)
    proof = Violation("C3", "it learned first", ((metric.site, "printed"),), definite=True)
    monkeypatch.setattr("auditor.audit.witness", lambda *_: Ledger(metrics=(metric,), scored=(scored,)))
    ran = RunReport((), Ledger(metrics=(metric,), violations=(proof,)), 1, Confinement("none", (), ()))
    monkeypatch.setattr("auditor.run.witness.run_witness", lambda *_: ran)
    report = audit(submission, run=RunOptions(seed=1))
    c3 = next(result for result in report.verdict.rules if result.rule == "C3")
    assert c3.status is Status.FAIL
    assert report.disagreements == (Disagreement("C3", Status.PASS, Status.FAIL),)
    assert report.heard[Witness.RUN] == ""


def test_rules_see_the_evidence_the_witnesses_gave(monkeypatch: pytest.MonkeyPatch, submission: Submission) -> None:
    seen: list[Evidence] = []

    def look(evidence: Evidence) -> RuleResult:
        seen.append(evidence)
        return RuleResult("SIZE", Status.PASS, "fine")

    ledger = Ledger()
    monkeypatch.setattr(rules, "RULES", {"SIZE": replace(rules.RULES["SIZE"], judge=look)})
    monkeypatch.setattr("auditor.audit.witness", lambda *_: ledger)
    monkeypatch.setattr("auditor.audit.derive_configuration", lambda *_: RunConfiguration())
    audit(submission)
    (evidence,) = seen
    assert evidence.source is ledger
    assert evidence.record.statement.val_bpb == pytest.approx(1.2141847)
    assert evidence.claim.val_bpb == evidence.record.statement.val_bpb
    assert len(evidence.record.logs) == 3
