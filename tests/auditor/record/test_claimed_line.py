"""Which lines carry the claim."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from auditor.record.claimed_line import claimed_lines, match_claim, written_tolerance
from auditor.record.logs import read_log
from auditor.record.model import Place, Record, RunLog, SeedClaim, Statement


def log(seed: int, *lines: str) -> RunLog:
    return read_log(f"train_seed{seed}.log", "\n".join((f"seed:{seed}", *lines)).encode())[0]


def scored(seed: int, bpb: float, label: str = "final") -> RunLog:
    return log(seed, f"{label} val_loss:{bpb * 2:.8f} val_bpb:{bpb:.8f}")


def record(claim: float, logs: Sequence[RunLog], *, text: str = "", seeds: Sequence[int] = ()) -> Record:
    claims = tuple(SeedClaim(seed, None, None, None, Place("submission.json")) for seed in seeds)
    return Record(Statement(val_bpb=claim, val_bpb_text=text or repr(claim), seeds=claims), tuple(logs))


THREE = [scored(42, 1.01), scored(314, 1.02), scored(999, 1.06)]


@pytest.mark.parametrize(
    ("claim", "kind", "exact"),
    [
        (1.03, "mean of all seeds", True),
        (1.01, "best seed", True),
        (1.06, "worst seed", True),
        (1.02, "median seed", True),
        (1.015, "mean of a subset", True),
        (1.0304, "mean of all seeds", False),
    ],
)
def test_what_a_claim_over_three_seeds_equals(claim: float, kind: str, exact: bool) -> None:
    match = match_claim(record(claim, THREE, text=f"{claim:.5f}"))
    assert match is not None
    assert (match.kind, match.exact) == (kind, exact)


def test_one_log() -> None:
    match = match_claim(record(1.01, THREE[:1]))
    assert match is not None and match.kind == "the only log" and match.exact


def test_runs_of_one_seed_are_not_seeds_of_a_claim() -> None:
    match = match_claim(record(1.06, [scored(7, 1.01), scored(7, 1.06)]))
    assert match is not None and match.kind == "one log"
    assert [line.val_bpb for line in claimed_lines(record(1.06, [scored(7, 1.01), scored(7, 1.06)]))] == [1.06]


def test_the_claimed_seeds_decide_which_logs_count() -> None:
    match = match_claim(record(1.015, THREE, seeds=(42, 314)))
    assert match is not None and match.kind == "mean of all seeds" and match.logs == 2


def test_the_label_does_not_decide() -> None:
    logs = [log(42, "final_exact val_loss:2.2 val_bpb:1.10000000", "diagnostic val_loss:2.0 val_bpb:1.00000000")]
    (line,) = claimed_lines(record(1.0, logs))
    assert line.label == "diagnostic"


def test_a_final_line_is_preferred_to_a_validation_during_training() -> None:
    logs = [log(42, "step:9/9 val_loss:2.0 val_bpb:1.0000 train_time:9ms", "final val_loss:2.0 val_bpb:1.0000")]
    (line,) = claimed_lines(record(1.0, logs))
    assert line.label == "final" and not line.during_training


def test_the_exact_line_is_preferred_to_the_rounded_one() -> None:
    logs = [log(42, "a val_loss:2.0 val_bpb:1.0001", "a_exact val_loss:2.0 val_bpb:1.00010000")]
    (line,) = claimed_lines(record(1.0001, logs))
    assert line.bpb_text == "1.00010000"


def test_a_claim_of_one_seed_gives_the_lines_of_all() -> None:
    assert len(claimed_lines(record(1.01, THREE))) == 3


def test_nothing_within_the_tolerance_carries_the_claim() -> None:
    assert claimed_lines(record(0.95, THREE)) == []


def test_without_claim_or_score_there_is_no_match() -> None:
    assert match_claim(Record(Statement(), tuple(THREE))) is None
    assert match_claim(record(1.0, [log(42, "nothing")])) is None


@pytest.mark.parametrize(("text", "tolerance"), [("1.0282", 1e-4), ("1.02818402", 1e-8), ("1.1", 1e-2), ("1", 1e-2)])
def test_the_digits_written_bound_the_difference(text: str, tolerance: float) -> None:
    assert written_tolerance(text) == pytest.approx(tolerance, rel=0.01)


def test_a_hundred_logs_are_no_trouble() -> None:
    logs = [scored(seed, 1 + seed / 1000) for seed in range(100)]
    match = match_claim(record(1.0495, logs))
    assert match is not None and match.kind == "mean of all seeds"


def test_seeds_that_print_their_score_under_different_labels() -> None:
    logs = [scored(42, 1.01, "submission"), scored(314, 1.03, "final")]
    claims = tuple(
        SeedClaim(seed, bpb, None, None, Place("submission.json")) for seed, bpb in ((42, 1.01), (314, 1.03))
    )
    match = match_claim(Record(Statement(val_bpb=1.02, val_bpb_text="1.02000", seeds=claims), tuple(logs)))
    assert match is not None and match.kind == "mean of all seeds" and match.exact
    assert [line.val_bpb for line in match.lines] == [1.01, 1.03]


def test_two_logs_of_one_run_are_one_seed() -> None:
    twin = read_log("launcher.log", b"seed:42\nfinal val_loss:2.02000000 val_bpb:1.01000000\n")[0]
    match = match_claim(record(1.01, [scored(42, 1.01), twin]))
    assert match is not None and match.kind == "the only log"
