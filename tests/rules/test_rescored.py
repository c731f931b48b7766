"""What evaluating an artifact again proves against a claim, and what it does not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from auditor.configuration import RunConfiguration
from auditor.findings import Finding, RuleResult, Status
from auditor.ledger import Learned, Ledger, Manner, Metric, Region, Scored, Site
from auditor.record.model import MetricLine, Place, Record, RunLog, SeedClaim, Statement
from auditor.rescore.model import Artifact, Independent, Pair, Replay, RescoreReport, Score, Text, Way
from auditor.run.incompressibility import PrintedScore
from auditor.run.model import Confinement, Outcome
from auditor.run.printed import PrintedMetric
from auditor.submission.model import Role, StoredFile, Submission, Track
from rules.base import Evidence
from rules.rescored import (
    NOISE_BPB,
    PROOF_BPB,
    bytes_findings,
    claim_findings,
    size_findings,
    training_data_findings,
    with_rescored,
)

SEED, TARGETS, BYTES = 42, 4_000, 9_000
BPB = 2.5
LABEL = "final val_loss"
ARTIFACT = StoredFile("a/final_model.ptz", 48_000, Role.ARTIFACT, b"x" * 48_000)
DONE = Outcome(0, None, "", 1.0, 1.0, 1, b"", b"")


def loss_of(bpb: float, text_bytes: int = BYTES) -> float:
    return bpb * math.log(2) * text_bytes / TARGETS


def line(bpb: float) -> MetricLine:
    loss = loss_of(bpb)
    text, bits = f"{loss:.8f}", f"{bpb:.8f}"
    return MetricLine(
        "final", loss, bpb, text, bits, None, Place("a/train.log", 9), f"final val_loss:{text} val_bpb:{bits}"
    )


def printed(bpb: float, text_bytes: int = BYTES, label: str = "final") -> PrintedMetric:
    text, bits = f"{loss_of(bpb, text_bytes):.8f}", f"{bpb:.8f}"
    return PrintedMetric(PrintedScore(label, text, bits, f"{label} val_loss:{text} val_bpb:{bits}"), 1, False, False)


LOG = RunLog("a/train.log", SEED, SEED, metrics=(line(BPB),))
FOUND = Artifact(ARTIFACT, "final_model.ptz", "0" * 64, LOG, SEED, ARTIFACT.size, by_size=True)
TEXT = Text("toy", TARGETS, BYTES, "1" * 64, canonical=True, drawn=False)


def replay_of(replayed: float, logged: float = BPB, **changes: object) -> Replay:
    metric = printed(replayed)
    made = Replay(
        artifact=FOUND,
        way=Way.SWITCH,
        switches={"EVAL_ONLY": "1"},
        cut=None,
        outcome=DONE,
        metrics=(metric,),
        pairs=(Pair(line(logged), metric, carries_claim=True),),
        missing=(),
        failure="",
        standing_in=False,
        artifact_read=True,
        steady=True,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def report_of(replay: Replay, independent: Independent | None = None, **changes: object) -> RescoreReport:
    made = RescoreReport(
        text=TEXT,
        confinement=Confinement("bubblewrap", (), ()),
        artifact=FOUND,
        code_bytes=70_000,
        replay=replay,
        independent=independent,
        claim_on_cpu=True,
        settings_known=True,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def evidence_of(report: RescoreReport, source: Ledger | None = None, *seeds: SeedClaim) -> Evidence:
    submission = Submission("test", "a", Track.NON_RECORD, (ARTIFACT,), None)
    record = Record(Statement(val_bpb=BPB, seeds=seeds), (LOG,))
    return Evidence(submission, RunConfiguration(), record, source=source, rescore=report)


def statuses(findings: list[Finding]) -> set[Status]:
    return {finding.status for finding in findings}


def test_without_rescoring_nothing_is_said() -> None:
    evidence = replace(evidence_of(report_of(replay_of(BPB))), rescore=None)
    assert not [*claim_findings(evidence), *size_findings(evidence), *bytes_findings(evidence)]


def test_a_score_that_repeats_is_confirmed_to_the_last_digit() -> None:
    findings = claim_findings(evidence_of(report_of(replay_of(BPB))))
    assert Status.PASS in statuses(findings)
    assert "to the last digit" in findings[0].message
    assert not statuses(findings) & {Status.FAIL, Status.REVIEW}


@pytest.mark.parametrize("difference", [NOISE_BPB * 0.9, -NOISE_BPB * 0.9])
def test_rounding_of_another_machine_is_no_difference(difference: float) -> None:
    findings = claim_findings(evidence_of(report_of(replay_of(BPB + difference))))
    assert statuses(findings) & {Status.FAIL, Status.REVIEW} == set()


def test_a_claim_far_better_than_its_artifact_fails() -> None:
    findings = claim_findings(evidence_of(report_of(replay_of(BPB + 2 * PROOF_BPB))))
    assert Status.FAIL in statuses(findings)
    accusation = next(finding for finding in findings if finding.status is Status.FAIL)
    assert "final_model.ptz gives 2.52000000" in accusation.message
    assert accusation.steps[0].path == "a/train.log"


@pytest.mark.parametrize(
    ("replay", "changes"),
    [
        (replay_of(BPB + PROOF_BPB / 2), {}),  # between noise and proof
        (replay_of(BPB - 2 * PROOF_BPB), {}),  # the artifact is better than the claim
        (replay_of(BPB + 2 * PROOF_BPB, standing_in=True), {}),  # another kind of machine
        (replay_of(BPB + 2 * PROOF_BPB, steady=False), {}),  # chance decides over the score
        (replay_of(BPB + 2 * PROOF_BPB), {"claim_on_cpu": False}),
        (replay_of(BPB + 2 * PROOF_BPB), {"settings_known": False}),
        (replay_of(BPB + 2 * PROOF_BPB), {"artifact": replace(FOUND, log=None)}),
    ],
)
def test_what_something_else_can_explain_is_for_a_person(replay: Replay, changes: dict[str, object]) -> None:
    findings = claim_findings(evidence_of(report_of(replay, **changes)))
    assert Status.FAIL not in statuses(findings)
    assert Status.REVIEW in statuses(findings)


def test_on_another_text_nothing_is_confirmed_and_nobody_accused() -> None:
    text = replace(TEXT, canonical=False, why="no validation text was given")
    findings = claim_findings(evidence_of(report_of(replay_of(BPB + 1.0), text=text)))
    assert statuses(findings) == {Status.NOT_CHECKED}


def test_a_seed_s_own_claim_is_compared_where_no_line_carries_it() -> None:
    replay = replay_of(BPB)
    unclaimed = replace(replay, pairs=(replace(replay.pairs[0], carries_claim=False),))
    honest = SeedClaim(SEED, BPB, None, None, Place("a/submission.json", 3))
    lied = replace(honest, val_bpb=BPB - 2 * PROOF_BPB)
    assert Status.FAIL not in statuses(claim_findings(evidence_of(report_of(unclaimed), None, honest)))
    findings = claim_findings(evidence_of(report_of(unclaimed), None, lied))
    assert [finding.path for finding in findings if finding.status is Status.FAIL] == ["a/submission.json"]


def test_an_artifact_that_does_not_load_is_for_a_person_a_missing_module_for_nobody() -> None:
    damaged = replay_of(BPB, failure="script broken by itself: checksum differs", pairs=())
    lacking = replay_of(BPB, failure="module missing: flash_attn", pairs=())
    assert statuses(claim_findings(evidence_of(report_of(damaged)))) == {Status.REVIEW}
    assert statuses(claim_findings(evidence_of(report_of(lacking)))) == {Status.NOT_CHECKED}


def independent(bpb: float, targets: int = TARGETS, future: float = 0.0) -> Independent:
    return Independent((Score("sliding window", loss_of(bpb), bpb, targets),), "forward_logits", "", future)


def test_the_reference_scorer_agrees() -> None:
    findings = claim_findings(evidence_of(report_of(replay_of(BPB), independent(BPB))))
    assert statuses(findings) == {Status.PASS}


def test_a_better_score_than_the_reference_s_is_asked_about() -> None:
    report = report_of(replay_of(BPB), independent(BPB + 0.2))
    findings = claim_findings(evidence_of(report))
    assert Status.REVIEW in statuses(findings)
    assert "0.200000 come from the evaluation" in next(f.message for f in findings if f.status is Status.REVIEW)


def test_adaptation_that_the_source_witness_finds_legal_explains_it() -> None:
    site = Site("train_gpt.py", 3)
    learned = Learned(Region("scored chunks"), "model", Manner.GRADIENT, site)
    legal = Ledger(learned=(learned,))
    broken = replace(
        legal, scored=(Scored(Region("all"), Metric("final", site, reported=True), site, after=(learned,)),)
    )
    report = report_of(replay_of(BPB), independent(BPB + 0.2))
    assert Status.REVIEW not in statuses(claim_findings(evidence_of(report, legal)))
    assert Status.REVIEW in statuses(claim_findings(evidence_of(report, broken)))


def test_part_of_the_text_gives_no_independent_score() -> None:
    report = report_of(replay_of(BPB), independent(BPB + 0.2, targets=TARGETS // 2))
    assert Status.REVIEW not in statuses(claim_findings(evidence_of(report)))


def test_a_model_that_looks_ahead_is_asked_about() -> None:
    assert Status.REVIEW in statuses(
        claim_findings(evidence_of(report_of(replay_of(BPB), independent(BPB, future=3.0))))
    )


def test_the_artifact_is_measured() -> None:
    honest = report_of(replay_of(BPB))
    assert statuses(size_findings(evidence_of(honest))) == {Status.PASS}
    other = replace(honest, artifact=replace(FOUND, logged_bytes=47_000))
    assert statuses(size_findings(evidence_of(other))) == {Status.REVIEW}
    huge = replace(honest, artifact=replace(FOUND, file=replace(ARTIFACT, size=16_000_001)))
    assert statuses(size_findings(evidence_of(huge))) == {Status.FAIL}


def test_bytes_claimed_for_the_seed_are_compared_with_the_files() -> None:
    right = SeedClaim(SEED, BPB, None, ARTIFACT.size + 70_000, Place("a/submission.json", 4))
    report = report_of(replay_of(BPB))
    assert statuses(size_findings(evidence_of(report, None, right))) == {Status.PASS}
    wrong = replace(right, artifact_bytes=ARTIFACT.size + 60_000)
    assert statuses(size_findings(evidence_of(report, None, wrong))) == {Status.REVIEW}


def test_a_denominator_that_a_known_mistake_explains_fails() -> None:
    text = replace(TEXT, byte_mistakes={"the space is counted twice": 10_400})
    wrong = replay_of(BPB, metrics=(printed(BPB, 10_400),))
    assert statuses(bytes_findings(evidence_of(report_of(replay_of(BPB), text=text)))) == {Status.PASS}
    assert statuses(bytes_findings(evidence_of(report_of(wrong, text=text)))) == {Status.FAIL}
    assert statuses(bytes_findings(evidence_of(report_of(wrong)))) == {Status.REVIEW}


def test_training_data_opened_by_the_evaluation_is_asked_about() -> None:
    opened = {"kind": "rescore", "event": "training data opened", "path": "/audit/data/x/fineweb_train_000000.bin"}
    evidence = evidence_of(report_of(replay_of(BPB, outcome=replace(DONE, records=(opened,)))))
    assert statuses(training_data_findings(evidence)) == {Status.REVIEW}
    assert not training_data_findings(evidence_of(report_of(replay_of(BPB))))


def test_the_worst_finding_decides_and_what_was_not_checked_does_not() -> None:
    passed = RuleResult("CLAIM", Status.PASS, "fine")
    failed = claim_findings(evidence_of(report_of(replay_of(BPB + 2 * PROOF_BPB))))
    assert with_rescored(passed, failed).status is Status.FAIL
    assert "gives 2.52000000" in with_rescored(passed, failed).reason
    unsure = claim_findings(evidence_of(report_of(replay_of(BPB), text=replace(TEXT, canonical=False))))
    assert with_rescored(passed, unsure).status is Status.PASS
    assert with_rescored(passed, unsure).reason == "fine"
