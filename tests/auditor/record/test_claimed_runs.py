"""Which runs a claim rests on, among ablations, superseded runs and copies."""

from __future__ import annotations

from dataclasses import replace

from auditor.record.claimed_runs import claimed_runs
from auditor.record.model import MetricLine, Place, Record, RunLog, SeedClaim, Statement


def log(path: str, bpb: float, *, seed: int | None = None, loss: float | None = None, label: str = "final") -> RunLog:
    loss_value = bpb / 0.387131163 if loss is None else loss
    line = MetricLine(label, loss_value, bpb, f"{loss_value:.8f}", f"{bpb:.8f}", None, Place(path, 9), "")
    return RunLog(path, seed, None, metrics=(line,))


def seeds(**scores: float) -> tuple[SeedClaim, ...]:
    return tuple(SeedClaim(int(name[1:]), bpb, None, None, Place("submission.json", 1)) for name, bpb in scores.items())


def paths(record: Record) -> list[str]:
    return [run.log.path for run in claimed_runs(record)]


def test_the_mean_of_one_label() -> None:
    logs = (log("a.log", 1.06, seed=1), log("b.log", 1.08, seed=2))
    assert paths(Record(Statement(val_bpb=1.07), logs)) == ["a.log", "b.log"]


def test_superseded_runs_beside_the_claimed_one() -> None:
    logs = (log("old.log", 1.0143, seed=1), log("fixed.log", 1.35172182, seed=2))
    assert paths(Record(Statement(val_bpb=1.35172182), logs)) == ["fixed.log"]


def test_each_seed_finds_its_own_log() -> None:
    logs = (log("x.log", 1.0512, seed=7), log("y.log", 1.0534, seed=8), log("z.log", 1.2, seed=9))
    record = Record(Statement(val_bpb=1.0523, seeds=seeds(s7=1.0512, s8=1.0534)), logs)
    assert paths(record) == ["x.log", "y.log"]


def test_of_equal_runs_one_named_like_those_of_other_seeds() -> None:
    side = replace(log("train_d832_seed1.log", 1.0600, seed=1), train_seconds=598.0)
    own = replace(log("train_seed1.log", 1.0600, seed=1), train_seconds=600.0)
    other = replace(log("train_seed2.log", 1.0800, seed=2), train_seconds=600.0)
    record = Record(Statement(val_bpb=1.07, seeds=seeds(s1=1.06, s2=1.08)), (side, own, other))
    assert paths(record) == ["train_seed1.log", "train_seed2.log"]


def test_the_nearer_of_two_runs_of_a_seed() -> None:
    logs = (log("first.log", 1.06443847, seed=42), log("second.log", 1.06400238, seed=42))
    record = Record(Statement(val_bpb=1.064, seeds=seeds(s42=1.0640)), logs)
    assert paths(record) == ["second.log"]


def test_a_copy_counts_once() -> None:
    copy = (
        log("train.log", 1.0600, seed=1),
        log("train_seed1.log", 1.0600, seed=1),
        log("train_seed2.log", 1.0800, seed=2),
    )
    record = Record(Statement(val_bpb=1.07, seeds=seeds(s1=1.06, s2=1.08)), copy)
    assert paths(record) == ["train.log", "train_seed2.log"]


def test_a_claim_that_no_log_prints_rests_on_none() -> None:
    assert paths(Record(Statement(val_bpb=0.95), (log("a.log", 1.06, seed=1),))) == []


def test_another_record_gets_its_own_answer() -> None:
    first = Record(Statement(val_bpb=1.06), (log("a.log", 1.06, seed=1),))
    second = Record(Statement(val_bpb=1.08), (log("b.log", 1.08, seed=1),))
    assert [paths(first), paths(second), paths(first)] == [["a.log"], ["b.log"], ["a.log"]]
