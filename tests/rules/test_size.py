"""SIZE: over the cap by every figure of the submission is a fail; where its own figures disagree, a person decides."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from auditor.findings import Status
from auditor.submission.model import Track
from rules.base import Evidence
from rules.size import CAP_BYTES, judge

EvidenceOf = Callable[..., Evidence]

CODE = "import os\n"


def raw_script(size_bytes: int) -> str:
    """A script of this size that compresses well."""
    line = "x = 'the same line again'\n"
    return (line * (size_bytes // len(line) + 1))[:size_bytes]


def log(model: int, code: int, *, seed: int = 42, total: int | None = None, bpb: float = 1.05, extra: str = "") -> str:
    return (
        f"seed:{seed}\nSerialized model: 135431033 bytes\nCode size: {code} bytes\n"
        f"Serialized model quantized+brotli: {model} bytes\n"
        f"Total submission size quantized+brotli: {total if total is not None else model + code} bytes\n{extra}"
        f"final val_loss:{bpb / 0.387131163:.8f} val_bpb:{bpb:.8f}\n"
    )


def folder(model: int, code: str = CODE, *, counted: int | None = None, **declared: object) -> dict[str, str]:
    counted_code = len(code) if counted is None else counted
    return {
        "train_gpt.py": code,
        "train_seed42.log": log(model, counted_code),
        "submission.json": json.dumps({"val_bpb": 1.05, **declared}),
    }


def test_below_the_cap_by_every_account(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of(folder(15_900_000, bytes_total=15_900_010))).status is Status.PASS


@pytest.mark.parametrize("track", [Track.RECORD, Track.NON_RECORD])
def test_over_the_cap_by_every_account(evidence_of: EvidenceOf, track) -> None:
    result = judge(evidence_of(folder(16_020_000, bytes_total=16_020_010), track=track))
    assert result.status is Status.FAIL
    assert "16,020,010" in result.reason


def test_exactly_the_cap_fits(evidence_of: EvidenceOf) -> None:
    fits = folder(CAP_BYTES - len(CODE))
    assert judge(evidence_of(fits)).status is Status.PASS


def test_one_byte_more_does_not_fit(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of(folder(CAP_BYTES - len(CODE) + 1))).status is Status.FAIL


def test_code_that_the_log_counts_compressed_may_stand_raw_in_the_folder(evidence_of: EvidenceOf) -> None:
    """The log counts 18 kB of compressed code; the folder holds 100 kB of script, which compress that far."""
    result = judge(evidence_of(folder(15_950_000, raw_script(100_000), counted=18_000, bytes_total=15_968_000)))
    assert result.status is Status.PASS
    (note,) = [finding for finding in result.findings if "compressed" in finding.message]
    assert "16,050,000" in note.message
    assert "15,968,000" in note.message


def test_a_script_that_grew_after_the_run_is_a_question(evidence_of: EvidenceOf) -> None:
    """80 kB of the 100 kB are what the log counts: that is no compressed count of the same script."""
    result = judge(evidence_of(folder(15_915_000, raw_script(100_000), counted=80_000, bytes_total=15_995_000)))
    assert result.status is Status.REVIEW


def test_code_that_does_not_compress_as_far_as_the_log_counts_is_a_question(evidence_of: EvidenceOf) -> None:
    generator = random.Random(1)
    dense = "".join(f"x{number} = {generator.getrandbits(200)}\n" for number in range(1_500))
    result = judge(evidence_of(folder(15_985_000, dense, counted=9_000, bytes_total=15_994_000)))
    assert result.status is Status.REVIEW
    assert "how the code is counted" in result.reason


def test_raw_code_that_would_fit_if_compressed_does_not_undo_the_figures(evidence_of: EvidenceOf) -> None:
    """Log, file and submission.json all count the raw script; compressing it is said, not done."""
    result = judge(evidence_of(folder(15_950_000, raw_script(100_000), bytes_total=16_050_000)))
    assert result.status is Status.FAIL
    assert "compressed (LZMA)" in result.reason


def test_code_that_the_author_declares_compressed_is_a_question(evidence_of: EvidenceOf) -> None:
    files = folder(15_970_000, raw_script(64_000), bytes_total=15_989_811, bytes_code=19_811)
    assert judge(evidence_of(files)).status is Status.REVIEW


def test_the_model_alone_is_no_total(evidence_of: EvidenceOf) -> None:
    files = folder(15_990_000, raw_script(30_000), bytes_total=15_990_000)
    result = judge(evidence_of(files))
    assert result.status is Status.FAIL
    assert any("the model alone" in finding.message for finding in result.findings)


def test_mebibytes_are_shown_beside_an_overrun(evidence_of: EvidenceOf) -> None:
    result = judge(evidence_of(folder(16_265_000, bytes_total=16_265_010)))
    assert result.status is Status.FAIL
    assert "15.51 MiB" in result.reason


def test_a_contradicted_flag_is_quoted(evidence_of: EvidenceOf) -> None:
    files = folder(16_020_000, bytes_total=16_020_010, compliance={"artifact_under_16mb": True})
    assert "artifact_under_16mb: true" in judge(evidence_of(files)).reason


def test_one_seed_over_decides(evidence_of: EvidenceOf) -> None:
    files = {
        "train_gpt.py": CODE,
        "train_seed1.log": log(15_900_000, len(CODE), seed=1, bpb=1.0500),
        "train_seed2.log": log(16_100_000, len(CODE), seed=2, bpb=1.0520),
        "submission.json": json.dumps({"val_bpb": 1.0510, "bytes_total": 15_900_010}),
    }
    result = judge(evidence_of(files))
    assert result.status is Status.FAIL
    assert "seed 2" in result.reason


def test_a_run_that_the_claim_does_not_use_is_not_judged(evidence_of: EvidenceOf) -> None:
    files = {
        "train_gpt.py": CODE,
        "train_seed1.log": log(15_900_000, len(CODE), seed=1, bpb=1.0500),
        "ablation.log": log(18_000_000, len(CODE), seed=1, bpb=1.2000),
        "submission.json": json.dumps({"val_bpb": 1.0500, "bytes_total": 15_900_010}),
    }
    assert judge(evidence_of(files)).status is Status.PASS


def test_without_a_recognised_claim_other_runs_leave_a_question(evidence_of: EvidenceOf) -> None:
    files = {
        "train_gpt.py": CODE,
        "a.log": log(15_900_000, len(CODE), seed=1, bpb=1.0500),
        "b.log": log(18_000_000, len(CODE), seed=2, bpb=1.2000),
        "submission.json": json.dumps({"val_bpb": 0.9}),
    }
    assert judge(evidence_of(files)).status is Status.REVIEW


def test_a_stray_log_without_a_claim_is_a_question(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of({"train.log": log(16_127_834, 58_666), "README.md": "A trial.\n"})).status is Status.REVIEW


def test_a_part_beside_the_model_is_counted(evidence_of: EvidenceOf) -> None:
    """The logged total holds four megabytes that are neither model nor code: model + code alone is no account."""
    files = folder(12_200_000, CODE)
    files["train_seed42.log"] = log(12_200_000, len(CODE), total=16_500_000)
    assert judge(evidence_of(files)).status is Status.FAIL


def test_a_declared_total_alone_decides(evidence_of: EvidenceOf) -> None:
    declared = {"train_gpt.py": CODE, "submission.json": json.dumps({"val_bpb": 1.1, "bytes_total": 16_155_425})}
    assert judge(evidence_of(declared)).status is Status.FAIL


def test_a_table_of_trials_in_the_readme_is_a_question(evidence_of: EvidenceOf) -> None:
    trials = "| Trial | Seed | Artifact |\n|---|---|---|\n| wide | 42 | 16,215,286 |\n| narrow | 42 | 15,215,286 |\n"
    files = {"train_gpt.py": CODE, "README.md": trials, "submission.json": json.dumps({"val_bpb": 1.05})}
    assert judge(evidence_of(files)).status is Status.REVIEW


def test_a_seed_of_the_claim_that_is_declared_over_the_cap(evidence_of: EvidenceOf) -> None:
    seeds = {
        "42": {"val_bpb": 1.05, "artifact_bytes": 15_990_000},
        "314": {"val_bpb": 1.06, "artifact_bytes": 16_000_246},
    }
    files = {
        "train_gpt.py": CODE,
        "train_seed42.log": log(15_989_000, 1_000),
        "submission.json": json.dumps({"val_bpb": 1.055, "seeds": seeds}),
    }
    result = judge(evidence_of(files))
    assert result.status is Status.FAIL
    assert "16,000,246" in result.reason


def test_no_size_anywhere_is_not_a_pass(evidence_of: EvidenceOf) -> None:
    files = {"train_gpt.py": CODE, "submission.json": json.dumps({"val_bpb": 1.05})}
    assert judge(evidence_of(files)).status is Status.NOT_CHECKED


def test_a_packed_script_counts_as_it_is_stored(evidence_of: EvidenceOf) -> None:
    """Random text does not compress: the file's own size is the only account of it."""
    generator = random.Random(1)
    packed = "x = '" + "".join(generator.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(20_000)) + "'\n"
    files = folder(15_985_000, packed, counted=80_000)
    result = judge(evidence_of(files))
    assert result.status is Status.FAIL
    assert "16,005,007" in result.reason
