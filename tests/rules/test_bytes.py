"""BYTES: wrong denominators are named, mixtures and subsets are not called wrong denominators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from auditor.findings import Status
from rules.base import Evidence, ValidationText
from rules.bytes import judge

EvidenceOf = Callable[..., Evidence]

LN2 = math.log(2.0)
TOKENS = {"sp1024": 62_021_632, "sp8192": 40_540_160, "caseops": 47_851_520}
TEXT_BYTES = 151_078_222


def bpb(loss: float, tokens: int, text_bytes: float) -> float:
    return loss / LN2 * tokens / text_bytes


def log(
    tokens: int | None,
    lines: Sequence[tuple[str, float, float]],
    *,
    seed: int = 42,
    digits: int = 8,
    extra: Sequence[str] = (),
) -> str:
    """A log with ``label val_loss:.. val_bpb:..`` lines; each line is (label, loss, bpb)."""
    head = [f"seed:{seed}", "world_size:8"]
    if tokens is not None:
        head.append(f"val_tokens: {tokens}")
    body = [f"{label} val_loss:{loss:.{digits}f} val_bpb:{score:.{digits}f}" for label, loss, score in lines]
    return "\n".join([*head, *body, *extra]) + "\n"


def run(tokens: int, text_bytes: float, *, seed: int = 42, shift: float = 0.0, **options: object) -> str:
    """Two evaluations of one run, both divided by `text_bytes`."""
    losses = (("quantized", 2.80 + shift), ("quantized_sliding_window", 2.75 + shift))
    lines = [(label, loss, bpb(loss, tokens, text_bytes)) for label, loss in losses]
    return log(tokens, lines, seed=seed, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("digits", [4, 8])
def test_the_official_text_passes_whatever_the_tokenizer(evidence_of: EvidenceOf, name, digits) -> None:
    result = judge(evidence_of({"train.log": run(TOKENS[name], TEXT_BYTES, digits=digits)}))
    assert result.status is Status.PASS


@pytest.mark.parametrize(
    ("tokens", "text_bytes", "cause"),
    [
        (TOKENS["sp1024"], 201_583_912, "U+2581"),
        (TOKENS["sp8192"], 177_825_403, "leading space"),
        (TOKENS["sp1024"], 177_827_960, "leading space"),
        (TOKENS["caseops"], 164_594_398, "CaseOps"),
        (62_363_648, 182_809_485, "piece lengths"),
    ],
)
@pytest.mark.parametrize("digits", [4, 8])
def test_a_known_wrong_count_is_called_by_its_name(evidence_of: EvidenceOf, tokens, text_bytes, cause, digits) -> None:
    result = judge(evidence_of({"train.log": run(tokens, text_bytes, digits=digits)}))
    assert result.status is Status.FAIL
    assert cause in result.reason
    assert f"{text_bytes:,}"[:4] in result.reason


def test_a_wrong_count_is_recognised_by_its_ratio_when_no_log_prints_tokens(evidence_of: EvidenceOf) -> None:
    lines = [("final", loss, bpb(loss, TOKENS["sp8192"], 177_825_403)) for loss in (3.09, 3.07)]
    assert judge(evidence_of({"train.log": log(None, lines)})).status is Status.FAIL


def test_one_line_is_not_enough_to_accuse(evidence_of: EvidenceOf) -> None:
    lines = [("final", 3.07, bpb(3.07, TOKENS["sp8192"], 177_825_403))]
    result = judge(evidence_of({"train.log": log(TOKENS["sp8192"], lines)}))
    assert result.status is Status.REVIEW


def test_the_same_line_copied_into_two_logs_is_still_one_line(evidence_of: EvidenceOf) -> None:
    text = log(TOKENS["sp8192"], [("final", 3.07, bpb(3.07, TOKENS["sp8192"], 177_825_403))])
    assert judge(evidence_of({"a.log": text, "b.log": text})).status is Status.REVIEW


def test_wrong_logs_are_named_although_the_claim_comes_from_a_right_one(evidence_of: EvidenceOf) -> None:
    wrong = run(TOKENS["sp1024"], 201_583_912, seed=1)
    right = run(TOKENS["sp1024"], 151_080_363, seed=2, shift=0.01)
    claim = bpb(2.76, TOKENS["sp1024"], 151_080_363)
    result = judge(
        evidence_of(
            {"train_seed1.log": wrong, "train_seed2.log": right, "submission.json": f'{{"val_bpb": {claim:.8f}}}'}
        )
    )
    assert result.status is Status.FAIL
    assert "is not one of these lines" in result.reason


def test_more_bytes_than_the_text_has_is_a_fail_without_a_known_cause(evidence_of: EvidenceOf) -> None:
    losses = (6.9, 2.80, 2.76, 2.75)
    lines = [(f"stage{i}", loss, bpb(loss, TOKENS["sp8192"], 160_900_000)) for i, loss in enumerate(losses)]
    claim = f'{{"val_bpb": {lines[-1][2]:.8f}}}'
    result = judge(evidence_of({"train.log": log(TOKENS["sp8192"], lines), "submission.json": claim}))
    assert result.status is Status.FAIL
    assert "more than the whole validation text" in result.reason


def test_an_unexplained_count_that_the_claim_does_not_use_is_a_question(evidence_of: EvidenceOf) -> None:
    lines = [(f"stage{i}", loss, bpb(loss, TOKENS["sp8192"], 160_900_000)) for i, loss in enumerate((6.9, 2.8, 2.7))]
    files = {"ablation.log": log(TOKENS["sp8192"], lines), "submission.json": '{"val_bpb": 1.0000}'}
    assert judge(evidence_of(files)).status is Status.REVIEW


def test_a_prefix_that_prints_the_full_token_count_is_a_question(evidence_of: EvidenceOf) -> None:
    """The first million tokens divide differently by about one percent: a subset, not a wrong table."""
    lines = [(f"stage{i}", loss, loss * 0.5998) for i, loss in enumerate((6.9, 2.8, 2.7))]
    claim = f'{{"val_bpb": {lines[-1][2]:.8f}}}'
    result = judge(evidence_of({"train.log": log(TOKENS["sp1024"], lines), "submission.json": claim}))
    assert result.status is Status.REVIEW
    assert "subset" in result.reason


def test_ten_thousand_documents_are_named(evidence_of: EvidenceOf) -> None:
    result = judge(evidence_of({"train.log": run(9_662_464, 29_961_109)}))
    assert result.status is Status.REVIEW
    assert "10,000 documents" in result.reason


def test_a_mixture_line_is_no_denominator_error(evidence_of: EvidenceOf) -> None:
    """A mixed score beside the network's loss: the log's other lines divide by the right bytes."""
    tokens = TOKENS["sp8192"]
    right = [("quantized", 2.80, bpb(2.80, tokens, TEXT_BYTES))]
    files = {
        f"train_seed{seed}.log": log(tokens, [*right, ("ppm_sliding", 2.75 + seed / 1e3, 0.95 + seed / 2e3)], seed=seed)
        for seed in (1, 2, 3)
    }
    result = judge(evidence_of(files))
    assert result.status is Status.PASS
    assert any("mixture" in finding.message for finding in result.findings)


def test_a_claim_that_rests_on_a_mixture_cannot_be_confirmed(evidence_of: EvidenceOf) -> None:
    tokens = TOKENS["sp8192"]
    lines = [("quantized", 2.80, bpb(2.80, tokens, TEXT_BYTES)), ("ppm_sliding", 2.75, 0.951)]
    files = {"train.log": log(tokens, lines), "submission.json": '{"val_bpb": 0.951}'}
    result = judge(evidence_of(files))
    assert result.status is Status.REVIEW
    assert "mixture" in result.reason


def test_a_stated_denominator_against_the_rest_of_its_log(evidence_of: EvidenceOf) -> None:
    tokens = TOKENS["caseops"]
    lines = [(label, loss, bpb(loss, tokens, 151_074_499)) for label, loss in (("quantized", 2.40), ("sliding", 2.35))]
    stated = f"cond_ppm tokens={tokens} bytes=164594398 cond_mix_bpb=0.979491"
    result = judge(evidence_of({"train.log": log(tokens, lines, extra=[stated])}))
    assert result.status is Status.FAIL
    assert "164,594,398" in result.reason
    assert result.findings[0].line == 6


def test_a_stated_denominator_that_is_right_is_not_mentioned(evidence_of: EvidenceOf) -> None:
    tokens = TOKENS["caseops"]
    lines = [(label, loss, bpb(loss, tokens, 151_074_499)) for label, loss in (("quantized", 2.40), ("sliding", 2.35))]
    stated = f"cond_ppm tokens={tokens} bytes=151074309 cond_mix_bpb=1.067"
    result = judge(evidence_of({"train.log": log(tokens, lines, extra=[stated])}))
    assert result.status is Status.PASS


def test_a_mixture_over_part_of_the_text_is_a_question(evidence_of: EvidenceOf) -> None:
    tokens = TOKENS["sp8192"]
    text = run(tokens, TEXT_BYTES, extra=["ppm_mix bytes=10982035 mix_bpb=1.000307"])
    result = judge(evidence_of({"train.log": text}))
    assert result.status is Status.REVIEW
    assert "7.3%" in result.reason


def test_sizes_of_files_are_no_denominators(evidence_of: EvidenceOf) -> None:
    text = run(
        TOKENS["sp8192"], TEXT_BYTES, extra=["saved_model:final.npz bytes:67212188", "category:mlp bytes:15769600"]
    )
    assert judge(evidence_of({"train.log": text})).status is Status.PASS


def test_bits_per_byte_losses_need_no_tokens(evidence_of: EvidenceOf) -> None:
    lines = [("final", loss, loss / LN2) for loss in (0.90, 0.85)]
    assert judge(evidence_of({"train.log": log(62_021_846, lines)})).status is Status.PASS


def test_nothing_to_divide_is_not_a_pass(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of({"train.log": "seed:1\nfinal val_bpb:1.05\n"})).status is Status.NOT_CHECKED


def test_a_declared_pair_alone_is_only_a_question(evidence_of: EvidenceOf) -> None:
    files = {"submission.json": '{"val_loss": 3.07015, "val_bpb": 1.00978}', "train_gpt.py": "print(1)\n"}
    assert judge(evidence_of(files)).status is Status.REVIEW


def test_a_toy_text_is_checked_for_consistency(evidence_of: EvidenceOf) -> None:
    toy = ValidationText("toy text", 100_000, official=False)
    steady = log(20_000, [("a", 2.0, 2.0 * 0.4), ("b", 1.8, 1.8 * 0.4)])
    assert judge(evidence_of({"train.log": steady}, text=toy)).status is Status.PASS
    torn = log(20_000, [("a", 2.0, 2.0 * 0.4), ("b", 1.8, 1.8 * 0.5)])
    assert judge(evidence_of({"train.log": torn}, text=toy)).status is Status.REVIEW


def test_a_claim_divided_by_more_than_a_known_text_has_is_refuted(evidence_of: EvidenceOf) -> None:
    toy = ValidationText("toy text", 100_000, official=False)
    true, inflated = bpb(1.0, 40_000, 100_000), bpb(1.0, 40_000, 116_000)
    losses = {1: 1.80, 2: 1.83, 3: 1.85}

    def files(claimed: float) -> dict[str, str]:
        logs = {
            f"train_seed{seed}.log": log(
                40_000, [("full", loss, loss * true), ("own", loss, loss * inflated)], seed=seed
            )
            for seed, loss in ((1, 1.80), (2, 1.83), (3, 1.85))
        }
        return logs | {"submission.json": f'{{"val_bpb": {claimed:.8f}}}'}

    mean = sum(losses.values()) / 3
    refuted = judge(evidence_of(files(mean * inflated), text=toy))
    assert refuted.status is Status.FAIL
    assert "116,000 bytes" in refuted.reason
    assert judge(evidence_of(files(mean * true), text=toy)).status is Status.REVIEW  # the other line is not claimed


def test_a_mixture_on_a_known_text_is_no_wrong_denominator(evidence_of: EvidenceOf) -> None:
    toy = ValidationText("toy text", 100_000, official=False)
    logs = {
        f"train_seed{seed}.log": log(40_000, [("mixed", loss, mixed)], seed=seed)
        for seed, loss, mixed in ((1, 1.80, 0.80), (2, 1.83, 0.82), (3, 1.85, 0.85))
    }
    claim = {"submission.json": '{"val_bpb": 0.82333333}'}
    assert judge(evidence_of(logs | claim, text=toy)).status is not Status.FAIL


@pytest.mark.parametrize("text", ["nan", "inf", "1e-300", "0", "-1"])
def test_hostile_numbers_do_not_stop_the_judgement(evidence_of: EvidenceOf, text) -> None:
    lines = f"seed:1\nval_tokens: 40540160\nfinal val_loss:{text} val_bpb:1e308\nother val_loss:1e308 val_bpb:{text}\n"
    assert judge(evidence_of({"train.log": lines})).status in (Status.NOT_CHECKED, Status.PASS, Status.REVIEW)


def test_thousands_of_different_ratios_end_quickly(evidence_of: EvidenceOf) -> None:
    lines = [(f"line{i}", 2.0 + i / 1000, 0.5 + i / 700) for i in range(4_000)]
    assert judge(evidence_of({"train.log": log(TOKENS["sp8192"], lines)})).status is Status.REVIEW
