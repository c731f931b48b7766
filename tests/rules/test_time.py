"""TIME: what no placement can fit is a fail; what belongs to neither budget is named; another clock proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from auditor.findings import RuleResult, Status
from auditor.submission.model import Track
from rules.base import Evidence
from rules.time import budget_sheets, judge

EvidenceOf = Callable[..., Evidence]

FINAL = "final val_loss:2.71000000 val_bpb:1.04912545"
CLAIM = {"submission.json": '{"val_bpb": 1.04912545}'}


def log(
    *,
    train_ms: int = 599_900,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    eval_ms: int = 90_000,
    gpus: int | None = 8,
    unit: str = "",
) -> str:
    """A run: training, lines before the artifact is written, its size, lines after it, the claimed evaluation."""
    head = ["seed:42"] + ([f"world_size:{gpus}"] if gpus is not None else [])
    clock = unit or f"{train_ms}ms"
    return "\n".join(
        [
            *head,
            f"stopping_early: wallclock_cap train_time: {clock} step: 5000/20000",
            *before,
            "Serialized model quantized+brotli: 15900000 bytes",
            "Total submission size quantized+brotli: 15950000 bytes",
            *after,
            f"{FINAL} eval_time:{eval_ms}ms",
            "",
        ]
    )


def judged(evidence_of: EvidenceOf, text: str, **options: object) -> RuleResult:
    return judge(evidence_of({"train_seed42.log": text, **CLAIM}, **options))


def test_both_budgets_kept(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of, log(before=["GPTQ:collected 67 Hessians in 0.3s"]))
    assert result.status is Status.PASS
    assert "599.9" in result.reason


def test_the_clock_does_not_bind_non_record_submissions(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of, log(train_ms=3_600_000, eval_ms=900_000), track=Track.NON_RECORD)
    assert result.status is Status.NOT_APPLICABLE


def test_the_step_that_crosses_the_cap_is_allowed(evidence_of: EvidenceOf) -> None:
    assert judged(evidence_of, log(train_ms=600_365)).status is Status.PASS


@pytest.mark.parametrize("train_ms", [601_153, 604_074])
def test_a_small_overrun_is_a_question(evidence_of: EvidenceOf, train_ms) -> None:
    assert judged(evidence_of, log(train_ms=train_ms)).status is Status.REVIEW


def test_training_far_beyond_the_cap(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of, log(train_ms=899_989))
    assert result.status is Status.FAIL
    assert "899.989" in result.reason


def test_a_clock_in_tenths_of_minutes_proves_nothing(evidence_of: EvidenceOf) -> None:
    assert judged(evidence_of, log(unit="10.2m")).status is Status.REVIEW


def test_hessians_that_overrun_the_training_budget_are_a_question(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of, log(before=["GPTQ:collected 67 Hessians in 4.9s"]))
    assert result.status is Status.REVIEW
    assert "604.8" in result.reason


@pytest.mark.parametrize(
    ("train_ms", "hessians", "status"),
    [
        (588_000, "12.7", Status.PASS),  # 600.7 s: a reserve of 12 s that a calibration of 12.7 s misses
        (588_000, "14.0", Status.REVIEW),  # 602.0 s
        (599_900, "0.9", Status.REVIEW),  # 600.8 s, but the budget was used up before calibration began
    ],
)
def test_room_that_was_made_for_calibration(
    evidence_of: EvidenceOf, train_ms: int, hessians: str, status: Status
) -> None:
    text = log(train_ms=train_ms, before=[f"GPTQ:collected 67 Hessians in {hessians}s"])
    assert judged(evidence_of, text).status is status


def test_what_three_runs_have_in_common_is_said_once(evidence_of: EvidenceOf) -> None:
    files = {
        f"train_seed{seed}.log": log(train_ms=602_000 + seed)
        .replace("seed:42", f"seed:{seed}")
        .replace("1.04912545", f"1.0491254{seed}")
        for seed in (1, 2, 3)
    }
    result = judge(evidence_of({**files, "submission.json": '{"val_bpb": 1.04912542}'}))
    assert [finding.status for finding in result.findings] == [Status.REVIEW]
    assert "likewise 2 more runs" in result.reason


def test_one_evaluation_over_its_budget(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of, log(eval_ms=616_700))
    assert result.status is Status.FAIL
    assert "616.7" in result.reason


def test_a_diagnostic_pass_does_not_count(evidence_of: EvidenceOf) -> None:
    """A pass over the same text before the artifact was written is not the evaluation of the claim."""
    slow = "diagnostic quantized val_loss:2.80000000 val_bpb:1.08396726 eval_time:700000ms"
    assert judged(evidence_of, log(after=[slow])).status is Status.PASS


def test_a_pass_that_is_printed_twice_counts_once(evidence_of: EvidenceOf) -> None:
    repeated = f"{FINAL.replace('final', 'ttt:done')} elapsed:399.8s"
    assert judged(evidence_of, log(after=[repeated], eval_ms=400_000)).status is Status.PASS


def test_adaptation_that_belongs_to_neither_budget_is_named(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of, log(before=["prequant_ttt:done void=0.58 total_time=239.1s"]))
    assert result.status is Status.REVIEW
    assert "239.1 s" in result.reason
    assert "neither budget" in result.reason


def test_adaptation_inside_the_evaluation_is_not_counted_twice(evidence_of: EvidenceOf) -> None:
    assert judged(evidence_of, log(after=["ttt_adamw:done elapsed=380.0s"], eval_ms=400_000)).status is Status.PASS


def test_adaptation_that_fits_nowhere(evidence_of: EvidenceOf) -> None:
    """520 s of adaptation and 124 s of evaluation: more than 600 s together, and training has used its own."""
    text = log(train_ms=588_006, before=["prequant_ttt:done in 520.8s (8 gpus)"], eval_ms=124_518)
    result = judged(evidence_of, text)
    assert result.status is Status.FAIL
    assert "wherever the adaptation is put" in result.reason


def test_calibration_decides_where_adaptation_just_fits(evidence_of: EvidenceOf) -> None:
    adaptation = "ttt:done time=424.8s"
    generated = "gptq:generated 32 sequences in 128.2s"
    fits = judged(evidence_of, log(before=[adaptation], eval_ms=109_787))
    assert fits.status is Status.REVIEW
    bursts = judged(evidence_of, log(before=[adaptation, generated], eval_ms=109_787))
    assert bursts.status is Status.FAIL


def test_compression_is_noted_and_not_held_against_anyone(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of, log(before=["Serialize: per-group compression done in 126.6s"], eval_ms=572_386))
    assert result.status is Status.PASS
    assert any("126.6" in finding.message for finding in result.findings)


@pytest.mark.parametrize("gpus", [None, 1])
def test_another_machine_proves_nothing(evidence_of: EvidenceOf, gpus) -> None:
    assert judged(evidence_of, log(train_ms=3_600_000, eval_ms=900_000, gpus=gpus)).status is Status.REVIEW


def test_eight_other_gpus_prove_nothing(evidence_of: EvidenceOf) -> None:
    files = {"train_seed42.log": log(train_ms=3_600_000), "README.md": "Trained on 8xA100 for an hour.\n", **CLAIM}
    result = judge(evidence_of(files))
    assert result.status is Status.REVIEW
    assert "A100" in result.reason


def test_a_declared_time_over_the_budget_is_a_question(evidence_of: EvidenceOf) -> None:
    files = {"train_seed42.log": log(), "submission.json": '{"val_bpb": 1.04912545, "eval_time_ms": 1274666}'}
    result = judge(evidence_of(files))
    assert result.status is Status.REVIEW
    assert "1,274.7" in result.reason


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("- Training time: 603,111ms (10 min wallclock cap)", Status.REVIEW),
        ("- **Eval time:** 612.5 s", Status.REVIEW),
        ("- Training time: 600,111ms", Status.PASS),
        ("- Training time: 603,111 ms of the previous record", Status.PASS),
        ("Training time: 12 steps", Status.PASS),
    ],
)
def test_times_that_the_readme_declares(evidence_of: EvidenceOf, line: str, status: Status) -> None:
    files = {"train_seed42.log": log(), **CLAIM, "README.md": f"A submission.\n\n{line}\n"}
    assert judge(evidence_of(files)).status is status


def test_times_of_others_are_not_the_submission_s(evidence_of: EvidenceOf) -> None:
    declared = '{"val_bpb": 1.04912545, "vs_previous": {"pr1908_train_ms": 601153}, "max_wallclock_seconds": 6000}'
    files = {"train_seed42.log": log(), "submission.json": declared}
    assert judge(evidence_of(files)).status is Status.PASS


def test_no_time_anywhere_is_not_a_pass(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of({"train_seed42.log": f"seed:42\n{FINAL}\n", **CLAIM})).status is Status.NOT_CHECKED


def test_two_runs_in_one_file_are_two_sheets(evidence_of: EvidenceOf) -> None:
    """Two seeds appended to one file: the second run's adaptation is not added to the first one's times."""
    steps = "".join(f"step:{step}/20000 train_loss:3.0 train_time:{step * 100}ms\n" for step in (1, 100, 5000))
    second = log(before=["prequant_ttt:done total_time=200.0s"]).replace("seed:42", "seed:7")
    both = [text.replace("stopping_early", f"{steps}stopping_early") for text in (log(), second)]
    both[1] = both[1].replace(FINAL, "final val_loss:2.75000000 val_bpb:1.06461070")
    files = {"train.log": "".join(both), **CLAIM}
    sheets = budget_sheets(evidence_of(files).record)
    assert [sheet.seed for sheet in sheets] == [42]
    assert not sheets[0].of("adapt")
    assert judge(evidence_of(files)).status is Status.PASS


@pytest.mark.parametrize(
    ("train_ms", "told"),
    [
        (600_014, "calibration on training data after that was refused"),
        (599_600, "stopped training before the limit were accepted with up to 607 s"),
    ],
)
def test_what_is_said_of_an_overrun_agrees_with_traindata(evidence_of: EvidenceOf, train_ms: int, told: str) -> None:
    result = judged(evidence_of, log(train_ms=train_ms, before=["GPTQ:collected 67 Hessians in 4.3s"]))
    assert result.status is Status.REVIEW
    assert told in result.reason


def test_the_clock_only_asks_of_a_submission_that_declares_itself_non_record(evidence_of: EvidenceOf) -> None:
    files = {"train_seed42.log": log(eval_ms=650_000), **CLAIM}
    assert judge(evidence_of(files)).status is Status.FAIL
    declared = {**files, "submission.json": '{"val_bpb": 1.04912545, "submission_type": "non_record"}'}
    assert judge(evidence_of(declared)).status is Status.REVIEW
