"""The time sheet: which budget a phase belongs to, and which evaluation made the claim."""

from __future__ import annotations

import pytest

from auditor.record.budget_sheet import (
    DIAGNOSTIC,
    EVALUATION,
    NEITHER,
    TRAINING,
    budget_sheet,
    declared_times,
    late_calibration,
)
from auditor.record.logs import read_log
from auditor.record.model import Place, Record, RunLog, Statement

LOG = """\
seed:42
world_size:8
stopping_early: wallclock_cap train_time: 588014ms step: 4582/20000
pre-quantization post-ema val_loss:2.81057098 val_bpb:1.08805961 eval_time:5710ms
prequant_ttt:epoch 1/21 loss=2.841412 time=31.1s
prequant_ttt:done void=0.5807 total_time=189.8s
GPTQ:collecting Hessians from calibration data...
GPTQ:collected 67 Hessians in 12.6s
Serialize: per-group compression done in 97.8s
Serialized model quantized+brotli: 15972485 bytes
Total submission size quantized+brotli: 15990432 bytes
quantized val_loss:2.65602009 val_bpb:1.02822815 eval_time:7035ms
quantized_sliding_window val_loss:2.64195703 val_bpb:1.02278390 eval_time:90902ms
"""


def run(text: str = LOG) -> RunLog:
    (log,) = read_log("train.log", text.encode())
    return log


def test_every_phase_has_a_budget() -> None:
    log = run()
    sheet = budget_sheet(log, log.final_metrics[-1])
    budgets = {entry.phase.split()[0]: entry.budget for entry in sheet.entries}
    assert budgets["training"] == TRAINING
    assert budgets["GPTQ:collected"] == TRAINING
    assert budgets["prequant_ttt:done"] == NEITHER
    assert budgets["Serialize:"] == NEITHER
    assert budgets["quantized"] == DIAGNOSTIC
    assert budgets["pre-quantization"] == DIAGNOSTIC
    assert sheet.claimed is not None
    assert sheet.claimed.seconds == pytest.approx(90.902)
    assert sheet.total(EVALUATION) == pytest.approx(90.902)
    assert sheet.exact_stop


def test_the_claim_decides_which_pass_is_the_evaluation() -> None:
    log = run()
    sheet = budget_sheet(log, next(line for line in log.final_metrics if line.label == "quantized"))
    assert sheet.total(EVALUATION) == pytest.approx(7.035)


def test_a_claimed_line_without_a_time_borrows_the_line_with_the_same_score() -> None:
    log = run(LOG + "final_exact val_loss:2.64195703 val_bpb:1.02278390\n")
    sheet = budget_sheet(log, log.final_metrics[-1])
    assert sheet.claimed is not None
    assert sheet.claimed.phase == "quantized_sliding_window"


def test_without_a_claim_every_pass_over_the_artifact_is_evaluation() -> None:
    assert budget_sheet(run()).total(EVALUATION) == pytest.approx(90.902 + 7.035)


@pytest.mark.parametrize(
    ("stop", "calibration", "data"),
    [
        ("600138ms", "gptq:collecting hessians from training data (256 batches)...", "training"),
        ("600138ms", "gptq:collecting hessians from autoregressive data...", "generated"),
        ("600138ms", "GPTQ:collecting Hessians from calibration data...", "unstated"),
    ],
)
def test_calibration_after_the_budget_is_found_with_what_it_reads(stop: str, calibration: str, data: str) -> None:
    text = f"seed:1\nstopping_early: wallclock_cap train_time:{stop} step:5448/20000\n{calibration}\n"
    found = late_calibration(run(text), 600.0, 0.5)
    assert found is not None
    assert (found.data, found.seconds, found.place.line) == (data, None, 3)


@pytest.mark.parametrize(
    "text",
    [
        LOG.replace("588014ms", "586000ms"),  # 12.6 s fit into what training left
        "stopping_early: wallclock_cap train_time:588000ms step:1/2\ngptq:collecting hessians from training data\n",
        "gptq:reserving 12s, effective=588000ms\nstopping_early: wallclock_cap train_time:600138ms step:1/2\n",
        "gptq:calibrated 68 layers in 3.4s\nstopping_early: wallclock_cap train_time:600138ms step:1/2\n",
    ],
)
def test_calibration_inside_the_budget_is_not_late(text: str) -> None:
    assert late_calibration(run(text), 600.0, 0.5) is None


def test_timed_calibration_is_late_when_it_overruns() -> None:
    found = late_calibration(run(LOG.replace("588014ms", "599600ms")), 600.0, 0.5)
    assert found is not None
    assert found.seconds == pytest.approx(12.6)


def statement(**fields: object) -> Record:
    places = {key: Place("submission.json", 1) for key in fields}
    return Record(Statement(fields=fields, places=places), ())


def test_declared_times_in_every_unit() -> None:
    record = statement(
        **{"eval_time_ms": 616_000, "seeds.42.train_time_s": 599.9, "wallclock_minutes": 20, "ttt_process_real_s": 733}
    )
    assert {item.key: (item.what, item.seconds) for item in declared_times(record)} == {
        "eval_time_ms": ("evaluation", 616.0),
        "seeds.42.train_time_s": ("training", 599.9),
        "wallclock_minutes": ("training", 1200.0),
        "ttt_process_real_s": ("adaptation", 733.0),
    }


@pytest.mark.parametrize(
    "key",
    [
        "vs_pr1908.pr1908_train_ms",
        "max_wallclock_seconds",
        "baseline.eval_time_s",
        "phased_ttt_prefix_docs",
        "gptq_reserve_seconds",
    ],
)
def test_settings_and_other_people_s_times_are_left_alone(key: str) -> None:
    assert declared_times(statement(**{key: 3_600})) == ()
