"""What the order rules say about a ledger: which accusation, in which words, and when only a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest

from auditor.configuration import RunConfiguration
from auditor.findings import Status, Witness
from auditor.ledger import (
    BRANCH_NOT_TAKEN,
    Blind,
    Learned,
    Ledger,
    Manner,
    Metric,
    Region,
    Scored,
    Site,
    Unchecked,
    Violation,
)
from auditor.record.model import MetricLine, Place, Record, RunLog, Statement
from auditor.submission.model import Problem, SourceText, Submission, Track
from rules import RULES
from rules.base import Evidence

SCRIPT = """\
def ttt_adapt(model, val_tokens):
    for epoch in range(3):
        loss = model(val_tokens)
        loss.backward()
        optimizer.step()


def evaluate(model, val_tokens):
    total = 0.0
    for chunk in val_tokens:
        total += model(chunk)
        optimizer.step()
    return total


def main():
    ttt_adapt(model, val_tokens)
    loss = evaluate(model, val_tokens)
    print(f"final val_loss:{loss}")
"""
LINES = {text.strip(): number for number, text in enumerate(SCRIPT.split("\n"), start=1)}


def site(line: int, function: str, path: str = "train_gpt.py") -> Site:
    return Site(path, line, function)


MAIN_CALLS_ADAPT = site(17, "main")
MAIN_CALLS_EVALUATE = site(18, "main")
PRINTS = site(19, "main")
REPORTED = Metric("final val_loss:", PRINTS, reported=True, why="equals the claimed 1.07")
ADAPTED = Learned(
    Region("all of val_tokens"), "model", Manner.GRADIENT, site(5, "ttt_adapt"), calls=(MAIN_CALLS_ADAPT,)
)
SCORED = Scored(Region("chunk of val_tokens"), REPORTED, site(11, "evaluate"), calls=(MAIN_CALLS_EVALUATE,))


def evidence(source: Ledger | None, *, as_of: date | None = None, helpers: Sequence[SourceText] = ()) -> Evidence:
    script = SourceText("train_gpt.py", SCRIPT, sha256="0" * 64)
    submission = Submission("folder", "", Track.RECORD, files=(), script=script, helpers=tuple(helpers))
    return Evidence(submission, RunConfiguration(), Record(Statement(val_bpb=1.07), ()), source=source, as_of=as_of)


def judge(code: str, ledger: Ledger | None, as_of: date | None = None) -> tuple[Status, str]:
    result = RULES[code].judge(evidence(ledger, as_of=as_of))
    return result.status, result.reason


def test_adaptation_before_evaluation_is_told_as_a_maintainer_would() -> None:
    ledger = Ledger(metrics=(REPORTED,), scored=(replace(SCORED, after=(ADAPTED,)),), learned=(ADAPTED,))
    result = RULES["C3"].judge(evidence(ledger))
    assert result.status is Status.FAIL
    assert result.reason == (
        "ttt_adapt (lines 1-5) steps the optimizer on all of val_tokens; it is called at line 17, "
        "before the evaluation at line 18 that gives the reported score"
    )
    (finding,) = result.findings
    assert (finding.path, finding.line, finding.end_line) == ("train_gpt.py", 5, 5)
    assert [step.line for step in finding.steps] == [17, 5, 18, 11, 19]
    assert "equals the claimed 1.07" in finding.steps[-1].message


def test_scoring_first_passes_and_says_what_learns() -> None:
    after_scoring = replace(ADAPTED, site=site(12, "evaluate"), calls=(MAIN_CALLS_EVALUATE,))
    ledger = Ledger(metrics=(REPORTED,), scored=(SCORED,), learned=(after_scoring,))
    assert judge("C3", ledger) == (
        Status.PASS,
        "no reported score was seen to come after learning from its tokens (gradient step in evaluate line 12)",
    )


def test_one_learner_is_one_accusation_however_many_places_it_spoils() -> None:
    also_averages = replace(ADAPTED, site=site(4, "ttt_adapt"), manner=Manner.ARITHMETIC)
    elsewhere = replace(SCORED, site=site(13, "evaluate"))
    ledger = Ledger(
        metrics=(REPORTED,),
        scored=(replace(SCORED, after=(ADAPTED, also_averages)), replace(elsewhere, after=(ADAPTED,))),
    )
    result = RULES["C3"].judge(evidence(ledger))
    assert len(result.findings) == 1
    assert "and 1 more scoring place after it" in " ".join(step.message for step in result.findings[0].steps)


def test_two_learners_are_two_accusations() -> None:
    second = replace(ADAPTED, site=site(12, "evaluate"), calls=(site(20, "main"),))
    ledger = Ledger(metrics=(REPORTED,), scored=(replace(SCORED, after=(ADAPTED, second)),))
    assert len(RULES["C3"].judge(evidence(ledger)).findings) == 2


def test_learning_inside_the_scoring_loop_names_both_lines() -> None:
    inside = replace(ADAPTED, site=site(12, "evaluate"), calls=(MAIN_CALLS_EVALUATE,))
    ledger = Ledger(metrics=(REPORTED,), scored=(replace(SCORED, after=(inside,)),))
    status, reason = judge("C3", ledger)
    assert status is Status.FAIL
    assert "evaluate (lines 8-13), at line 12, steps the optimizer on all of val_tokens" in reason
    assert "later scores chunk of val_tokens again at line 11" in reason


def test_possible_order_is_a_question_with_its_doubt() -> None:
    doubtful = replace(SCORED, after=(ADAPTED,), definite=False, doubt="the two loops may take different halves")
    status, reason = judge("C3", Ledger(metrics=(REPORTED,), scored=(doubtful,)))
    assert status is Status.REVIEW
    assert reason.startswith("Possibly ttt_adapt")
    assert "not proved: the two loops may take different halves" in reason


def test_a_definite_place_outweighs_a_doubtful_one_of_the_same_learner() -> None:
    doubtful = replace(SCORED, site=site(13, "evaluate"), after=(ADAPTED,), definite=False)
    ledger = Ledger(metrics=(REPORTED,), scored=(doubtful, replace(SCORED, after=(ADAPTED,))))
    assert judge("C3", ledger)[0] is Status.FAIL


def test_a_score_that_is_not_reported_accuses_nobody() -> None:
    diagnostic = replace(REPORTED, reported=False, label="diagnostic")
    ledger = Ledger(
        metrics=(REPORTED, diagnostic),
        scored=(SCORED, replace(SCORED, metric=diagnostic, after=(ADAPTED,))),
        learned=(ADAPTED,),
    )
    assert judge("C3", ledger)[0] is Status.PASS


def with_log(evidence: Evidence) -> Evidence:
    line = MetricLine("other", 2.0, 1.2, "2.0", "1.2", None, Place("train.log", 1), "other val_loss:2.0 val_bpb:1.2")
    return replace(evidence, record=Record(Statement(), (RunLog("train.log", 42, None, metrics=(line,)),)))


@pytest.mark.parametrize("tied", [True, False])
def test_a_score_that_no_log_prints_accuses_only_where_there_is_no_log(tied: bool) -> None:
    followed = replace(REPORTED, tied=tied)
    ledger = Ledger(
        metrics=(followed,),
        scored=(replace(SCORED, metric=followed, after=(ADAPTED,)),),
        violations=(Violation("C1", "reads the answer", ((site(11, "evaluate"), "here"),), definite=True),),
    )
    for code in ("C1", "C3"):
        logged = RULES[code].judge(with_log(evidence(ledger)))
        assert logged.status is (Status.FAIL if tied else Status.REVIEW)
        assert ("other code" in logged.reason) is not tied
        assert RULES[code].judge(evidence(ledger)).status is Status.FAIL


@pytest.mark.parametrize("code", ["C1", "C2", "C4", "TRAINDATA", "PAIDPREFIX", "EXTERNAL"])
@pytest.mark.parametrize(("definite", "status"), [(True, Status.FAIL), (False, Status.REVIEW)])
def test_a_violation_counts_for_its_own_rule(code: str, definite: bool, status: Status) -> None:
    violation = Violation(code, "reads the answer", ((site(11, "evaluate"), "here"),), definite, doubt="may be off")
    ledger = Ledger(metrics=(REPORTED,), scored=(SCORED,), violations=(violation,))
    assert judge(code, ledger)[0] is status
    assert judge("C3", ledger)[0] is Status.PASS


def test_a_blind_spot_is_a_question_for_the_rules_it_matters_for() -> None:
    blind = Blind("calls a C library through ctypes", site(11, "evaluate"), matters_for=("C1", "C2"))
    ledger = Ledger(metrics=(REPORTED,), scored=(SCORED,), blind=(blind, replace(blind, site=site(12, "evaluate"))))
    result = RULES["C1"].judge(evidence(ledger))
    assert result.status is Status.REVIEW
    assert len(result.findings) == 1
    assert [step.line for step in result.findings[0].steps] == [11, 12]
    assert judge("C3", ledger)[0] is Status.PASS


@pytest.mark.parametrize("code", ["TRAINDATA", "PAIDPREFIX", "EXTERNAL"])
def test_what_hides_the_scoring_hides_everything(code: str) -> None:
    blind = Blind("runs code that it decodes", site(11, "evaluate"), matters_for=("C1", "C2", "C3", "C4"))
    assert judge(code, Ledger(blind=(blind,)))[0] is Status.REVIEW
    assert judge(code, Ledger(metrics=(REPORTED,), scored=(SCORED,), blind=(blind,)))[0] is Status.PASS


@pytest.mark.parametrize("code", ["C1", "C2", "C3", "C4", "TRAINDATA", "PAIDPREFIX", "EXTERNAL"])
def test_an_unfinished_ledger_passes_nothing(code: str) -> None:
    ledger = Ledger(metrics=(REPORTED,), scored=(SCORED,), finished=False, why_unfinished="the bound of 10 s")
    status, reason = judge(code, ledger)
    assert status is Status.REVIEW
    assert "the bound of 10 s" in reason


@pytest.mark.parametrize("code", ["C1", "C2", "C3", "C4"])
def test_a_ledger_without_a_score_passes_no_rule_about_scores(code: str) -> None:
    external = Blind("reads a path from the network", site(3, "main"), matters_for=("EXTERNAL",))
    assert judge(code, Ledger())[0] is Status.REVIEW
    assert judge(code, Ledger(blind=(external,)))[0] is Status.REVIEW


@pytest.mark.parametrize("code", ["C1", "C2", "C3", "C4", "TRAINDATA", "PAIDPREFIX", "EXTERNAL"])
def test_without_a_witness_a_rule_is_not_checked(code: str) -> None:
    unheard = replace(evidence(None), not_checked={Witness.SOURCE: "internal error while following the script"})
    assert RULES[code].judge(unheard).status is Status.NOT_CHECKED
    assert "internal error" in RULES[code].judge(unheard).reason
    submission = replace(unheard.submission, script=None, problems=(Problem("train_gpt.py", "missing"),))
    result = RULES[code].judge(replace(unheard, submission=submission))
    assert result.status is Status.NOT_CHECKED
    assert "train_gpt.py: missing" in result.reason


def test_a_day_before_the_ruling_turns_the_accusation_into_a_question() -> None:
    ledger = Ledger(metrics=(REPORTED,), scored=(replace(SCORED, after=(ADAPTED,)),))
    assert judge("C3", ledger, as_of=date(2026, 3, 19))[0] is Status.REVIEW
    assert judge("C3", ledger, as_of=date(2026, 3, 20))[0] is Status.FAIL


def test_what_is_present_and_off_is_a_note() -> None:
    note = (site(1, "ttt_adapt"), "test-time training is present, off in the reported run")
    result = RULES["C3"].judge(evidence(Ledger(metrics=(REPORTED,), scored=(SCORED,), notes=(note,))))
    assert result.status is Status.PASS
    assert [finding.message for finding in result.findings] == [note[1]]


def test_the_run_witness_is_judged_by_the_same_law() -> None:
    ledger = Ledger(metrics=(REPORTED,), scored=(replace(SCORED, after=(ADAPTED,)),))
    honest = Ledger(metrics=(REPORTED,), scored=(SCORED,))
    result = RULES["C3"].judge(replace(evidence(honest), run=ledger))
    assert result.status is Status.FAIL
    assert result.findings[0].witness is Witness.RUN


def test_what_the_run_alone_could_not_test_is_no_acquittal_whatever_its_notes_say() -> None:
    """Its own word, which is compared with the source witness's: a pass would be a contradiction that is none."""
    lost = Unchecked("the tracer lost sight of the order", matters_for=("C3",))
    ledger = Ledger(metrics=(REPORTED,), notes=((site(1, "ttt_adapt"), "1,024 tokens were read"),), unchecked=(lost,))
    alone = replace(evidence(None), run=ledger)
    assert RULES["C3"].judge(alone).status is Status.NOT_CHECKED
    assert RULES["C3"].judge(replace(alone, run=replace(ledger, unchecked=()))).status is Status.PASS
    honest = Ledger(metrics=(REPORTED,), scored=(SCORED,))
    assert RULES["C3"].judge(replace(evidence(honest), run=ledger)).status is Status.PASS


def test_run_that_takes_a_branch_which_the_reported_run_left_out_proves_nothing_of_that() -> None:
    """The settings switch it on, the log of the claimed run shows that it was off: this is not the reported run."""
    proved = Ledger(metrics=(REPORTED,), scored=(replace(SCORED, after=(ADAPTED,)),), learned=(ADAPTED,))
    honest = Ledger(metrics=(REPORTED,), scored=(SCORED,))
    silent = replace(honest, notes=((MAIN_CALLS_ADAPT, BRANCH_NOT_TAKEN),))
    assert RULES["C3"].judge(replace(evidence(honest), run=proved)).status is Status.FAIL
    assert RULES["C3"].judge(replace(evidence(silent), run=proved)).status is Status.REVIEW
    assert judge("C3", replace(proved, notes=silent.notes))[0] is Status.FAIL  # what the source witness itself proves
