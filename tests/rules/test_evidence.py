"""EVIDENCE: what no log backs is refused; a thin gain is for the organizers to weigh."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

import pytest

from auditor.findings import Status
from auditor.submission.model import Track
from rules.base import Evidence
from rules.evidence import judge
from rules.evidence_gain import comparison
from rules.example import example_folder

EvidenceOf = Callable[..., Evidence]

RATIO = 0.592256327  # bpb per nat
BEATING = {42: 1.7500, 314: 1.7506, 999: 1.7497}
AT_THE_END = {"created": datetime(2026, 5, 3, tzinfo=UTC)}


def log(
    seed: int, loss: float, *, drift: float = 0.0, settings: Mapping[str, str] | None = None, name: str = "final"
) -> str:
    block = "Hyperparameters:\n" + "".join(f"  {key}: {value}\n" for key, value in (settings or {"lr": "0.02"}).items())
    steps = "".join(
        f"step:{step}/5000 train_loss:{3 - step / 5000 + drift:.4f} train_time:{step * 100 + int(drift * 1e4)}ms\n"
        for step in range(100, 4000, 100)
    )
    return f"seed:{seed}\n{block}\n{steps}final val_loss:{loss:.8f} val_bpb:{loss * RATIO:.8f}\n"


def folder(losses: Mapping[int, float], **declared: object) -> dict[str, str]:
    mean = sum(losses.values()) / len(losses) * RATIO
    files = {f"train_seed{seed}.log": log(seed, loss, drift=seed / 5000) for seed, loss in losses.items()}
    files["submission.json"] = json.dumps({"val_bpb": round(mean, 8), **declared})
    files["train_gpt.py"] = "print(1)\n"
    return files


def test_three_seeds_with_logs_and_a_clear_gain(evidence_of: EvidenceOf) -> None:
    result = judge(evidence_of(folder(BEATING), **AT_THE_END))
    assert result.status is Status.PASS
    assert "nats per token" in result.reason


def test_a_claim_without_any_log(evidence_of: EvidenceOf) -> None:
    files = {"submission.json": '{"val_bpb": 1.05}', "train_gpt.py": "print(1)\n"}
    assert judge(evidence_of(files)).status is Status.FAIL


@pytest.mark.parametrize(
    "files",
    [
        {"train_gpt.py": "print(1)\n"},  # nothing is claimed
        {
            "submission.json": '{"val_bpb": 1.05}',
            "results.tsv": "run\tval_bpb\na\t1.05\n",
        },  # a file that may be the log
        {"submission.json": '{"val_bpb": 1.05}', "train.log": "seed:1\nbpb so far 1.05, a form nobody knows\n"},
        {"submission.json": '{"val_bpb": 1.05}', "train.log": "a line\n" * 700_000},  # may be read to its bound only
    ],
)
def test_what_may_be_incomplete_is_a_question(evidence_of: EvidenceOf, files: Mapping[str, str]) -> None:
    assert judge(evidence_of(files)).status is Status.REVIEW


@pytest.mark.parametrize(
    "elsewhere",
    [{"changed_outside_records": ("seed42.log",)}, {"other_folders": ("records/track_10min_16mb/2026-04-01_other",)}],
)
def test_logs_that_may_stand_elsewhere_are_a_question(evidence_of: EvidenceOf, elsewhere: Mapping[str, object]) -> None:
    files = {"submission.json": '{"val_bpb": 1.05}', "train_gpt.py": "print(1)\n"}
    assert judge(evidence_of(files, **elsewhere)).status is Status.REVIEW


def test_a_study_off_the_record_track_without_logs_is_a_question(evidence_of: EvidenceOf) -> None:
    files = {"submission.json": '{"val_bpb": 2.3876}', "train_gpt.py": "print(1)\n"}
    assert judge(evidence_of(files, track=Track.NON_RECORD)).status is Status.REVIEW


def test_significance_is_not_asked_of_non_record_submissions(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of(folder({42: 2.5}), track=Track.NON_RECORD)).status is Status.PASS


def seeds_of(losses: Mapping[int, float]) -> dict[str, dict[str, float]]:
    return {str(seed): {"val_bpb": round(loss * RATIO, 5)} for seed, loss in losses.items()}


def test_seeds_in_the_mean_that_have_no_log(evidence_of: EvidenceOf) -> None:
    files = folder(BEATING, seeds=seeds_of(BEATING))
    del files["train_seed314.log"]
    result = judge(evidence_of(files, **AT_THE_END))
    assert result.status is Status.FAIL
    assert "314" in result.reason


def test_a_log_may_cover_a_seed_under_another_name(evidence_of: EvidenceOf) -> None:
    files = folder(BEATING, seeds=seeds_of(BEATING))
    files["run_b.txt"] = files.pop("train_seed314.log").replace("seed:314\n", "")
    assert judge(evidence_of(files, **AT_THE_END)).status is Status.PASS


def test_a_list_of_seeds_without_results_is_a_question(evidence_of: EvidenceOf) -> None:
    files = folder({42: 1.75}, seeds=[42, 314, 999])
    result = judge(evidence_of(files, **AT_THE_END))
    assert result.status is Status.REVIEW
    assert "314, 999" in result.reason


def test_seeds_left_out_of_the_mean_are_asked_about(evidence_of: EvidenceOf) -> None:
    files = folder(BEATING, seeds=seeds_of({**BEATING, 7: 1.79, 9999: 1.80}))
    result = judge(evidence_of(files, **AT_THE_END))
    assert result.status is Status.REVIEW
    assert "chosen among more runs" in result.reason


def test_a_copy_of_a_log_beside_it_is_no_second_seed(evidence_of: EvidenceOf) -> None:
    files = folder(BEATING)
    files["train.log"] = files["train_seed42.log"]
    assert judge(evidence_of(files, **AT_THE_END)).status is Status.PASS


def test_seeds_of_different_settings(evidence_of: EvidenceOf) -> None:
    files = folder(BEATING)
    files["train_seed999.log"] = log(999, BEATING[999], drift=0.3, settings={"lr": "0.03", "run_id": "b"})
    result = judge(evidence_of(files, **AT_THE_END))
    assert result.status is Status.REVIEW
    assert "lr 0.02 / 0.03" in result.reason
    assert "run_id" not in result.reason


def losses_at(mean_bpb: float, spread_bpb: float) -> dict[int, float]:
    return {seed: (mean_bpb + shift * spread_bpb) / RATIO for seed, shift in ((1, 0.0), (2, 1.0), (3, -1.0))}


def test_a_gain_that_seeds_do_not_show_is_a_question_never_a_fail(evidence_of: EvidenceOf) -> None:
    """0.0003 bpb better than #2135 (1.0565), with seeds that differ by ten times as much."""
    result = judge(evidence_of(folder(losses_at(1.0562, 0.003)), **AT_THE_END))
    assert result.status is Status.REVIEW
    assert "less than 0.005" in result.reason
    assert "not below 0.25 either" in result.reason


def test_a_small_gain_that_the_seeds_do_show_is_what_the_organizers_went_by(evidence_of: EvidenceOf) -> None:
    result = judge(evidence_of(folder(losses_at(1.0560, 0.0001)), **AT_THE_END))
    assert result.status is Status.PASS
    assert "#1902" in result.reason
    assert "0.005 nats at p < 0.01 are not shown" in result.reason


def test_before_the_progression_a_small_gain_needs_a_listed_record_far_behind(evidence_of: EvidenceOf) -> None:
    """Both better than #315 (1.1248, listed on 03-23) by less than 0.005 nats; the first could not know of it."""
    small = folder(losses_at(1.1235, 0.0001))
    made = {"created": datetime(2026, 3, 21, 12, tzinfo=UTC), "pull_request": 320}
    unlisted = judge(evidence_of(small, **made))
    assert unlisted.status is Status.PASS
    assert "on 2026-03-21 the leaderboard showed 1.1428 (#180)" in unlisted.reason
    listed = judge(evidence_of(small, **made, as_of=date(2026, 3, 23)))
    assert listed.status is Status.REVIEW
    assert "not yet enough" in listed.reason


@pytest.mark.parametrize(
    ("bpb", "status", "word"),
    [
        (1.0450, Status.PASS, "assuming that seeds differ no more"),  # 0.0194 nats per token better than 1.0565
        (1.0530, Status.REVIEW, "too few for a test"),  # 0.0059: within the spread of accepted records' seeds
        (1.0100, Status.REVIEW, "a larger step than any accepted record made"),
    ],
)
def test_a_single_run(evidence_of: EvidenceOf, bpb: float, status: Status, word: str) -> None:
    result = judge(evidence_of(folder({42: bpb / RATIO}), **AT_THE_END))
    assert result.status is status
    assert word in result.reason


def test_seeds_that_are_equal_to_the_last_digit_show_nothing(evidence_of: EvidenceOf) -> None:
    """Three logs that print one and the same score are one run, or typed."""
    result = judge(evidence_of(folder(dict.fromkeys((1, 2, 3), 1.0000 / RATIO)), **AT_THE_END))
    assert result.status is Status.REVIEW


def test_a_later_record_is_named_with_the_one_that_was_listed(evidence_of: EvidenceOf) -> None:
    result = judge(evidence_of(folder(losses_at(1.2100, 0.0002)), created=datetime(2026, 3, 19, 8, tzinfo=UTC)))
    assert result.status is Status.REVIEW
    assert "does not beat" in result.reason
    assert "on 2026-03-19 the leaderboard showed 1.2244 (Naive Baseline), which it beats" in result.reason


def test_the_record_of_the_day_decides(evidence_of: EvidenceOf) -> None:
    """1.21 bpb beat the baseline on the first day and nothing afterwards."""
    early = {seed: 1.2050 / RATIO + shift for seed, shift in ((1, 0.0), (2, 0.0004), (3, -0.0004))}
    first_day = evidence_of(folder(early), created=datetime(2026, 3, 18, 12, tzinfo=UTC))
    assert judge(first_day).status is Status.PASS
    later = evidence_of(folder(early), created=datetime(2026, 4, 1, tzinfo=UTC))
    assert "does not beat" in judge(later).reason


def test_the_number_of_the_pull_request_outweighs_a_late_commit(evidence_of: EvidenceOf) -> None:
    result = comparison(evidence_of(folder(BEATING), created=datetime(2026, 5, 3, tzinfo=UTC), pull_request=1493))
    assert result is not None
    assert result.record.pull_request == 1477


def test_a_row_is_not_its_own_predecessor(evidence_of: EvidenceOf) -> None:
    result = comparison(evidence_of(folder(BEATING), pull_request=2135))
    assert result is not None
    assert result.record.pull_request == 2014


def test_as_of_hides_later_rows(evidence_of: EvidenceOf) -> None:
    result = comparison(evidence_of(folder(BEATING), as_of=date(2026, 4, 9), **AT_THE_END))
    assert result is not None
    assert result.record.pull_request == 1514


def test_the_example_folder_can_be_compared(evidence_of: EvidenceOf) -> None:
    result = comparison(evidence_of(example_folder(), **AT_THE_END))
    assert result is not None
    assert result.seeds == 3
    assert result.delta_bpb < 0
