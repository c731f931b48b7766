"""VALOVERLAP: the submission's own words beside its token count are proof; counts and defaults are hints."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auditor.findings import Status
from rules.base import Evidence
from rules.valoverlap import judge

EvidenceOf = Callable[..., Evidence]

FULL, SHORT = 47_851_520, 9_662_464
PREPARE = 'parser.add_argument("--val-docs", type=int, default={default}, help="validation documents")\n'
STATEMENT = (
    "The 80 training shards match the `prepare_caseops_data.py` default `val_docs=10000` output byte for byte.\n"
)


def log(tokens: int = FULL, shards: int = 80) -> str:
    return f"seed:42\ntrain_shards: {shards}\nval_tokens: {tokens}\nfinal val_loss:2.32 val_bpb:1.0601\n"


def test_published_shards_are_not_suspected(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of({"train_seed42.log": log()})).status is Status.PASS


def test_its_own_account_of_the_training_shards_is_proof(evidence_of: EvidenceOf) -> None:
    result = judge(evidence_of({"train_seed42.log": log(), "README.md": STATEMENT}))
    assert result.status is Status.FAIL
    assert "10,000 to 49,999" in result.reason
    assert result.findings[0].path == "README.md"


def test_the_account_may_stand_in_submission_json(evidence_of: EvidenceOf) -> None:
    declared = '{"val_bpb": 1.0601, "summary": "data preparation (--val-docs=10000 train shards + 50k val eval)"}'
    assert judge(evidence_of({"train_seed42.log": log(), "submission.json": declared})).status is Status.FAIL


def test_the_same_shards_with_their_own_small_validation_set_do_not_overlap(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of({"train_seed42.log": log(SHORT), "README.md": STATEMENT})).status is Status.PASS


@pytest.mark.parametrize(
    "sentence",
    [
        "The training shards do not match the default `val_docs=10000` output.\n",
        "Others' training shards were built with the `--val-docs=10000` default, a leak we avoid.\n",
        "We changed `--val-docs=10000` to `--val-docs=50000` to prevent the train/val overlap.\n",
        "The script writes --val-docs documents; validation has 10000 windows per training shard.\n",
    ],
)
def test_speaking_of_the_mistake_is_not_making_it(evidence_of: EvidenceOf, sentence: str) -> None:
    assert judge(evidence_of({"train_seed42.log": log(), "README.md": sentence})).status is Status.PASS


def test_the_shard_count_of_a_small_split_beside_the_full_set_is_a_question(evidence_of: EvidenceOf) -> None:
    result = judge(evidence_of({"train_seed42.log": log(shards=1502)}))
    assert result.status is Status.REVIEW
    assert "80%" in result.reason


def test_the_shard_count_of_a_full_split_is_explained(evidence_of: EvidenceOf) -> None:
    result = judge(evidence_of({"train_seed42.log": log(shards=1499)}))
    assert result.status is Status.REVIEW
    assert "proves nothing by itself" in result.reason


def test_a_default_that_is_smaller_than_what_was_scored(evidence_of: EvidenceOf) -> None:
    files = {"train_seed42.log": log(shards=39), "prepare_caseops_data.py": PREPARE.format(default="10_000")}
    result = judge(evidence_of(files))
    assert result.status is Status.REVIEW
    assert "10_000" in result.reason


def test_a_default_of_all_documents_is_fine(evidence_of: EvidenceOf) -> None:
    files = {"train_seed42.log": log(shards=39), "prepare_caseops_data.py": PREPARE.format(default="50_000")}
    assert judge(evidence_of(files)).status is Status.PASS


def test_a_call_that_overrides_the_default_is_fine(evidence_of: EvidenceOf) -> None:
    files = {
        "train_seed42.log": log(shards=39),
        "prepare_caseops_data.py": PREPARE.format(default="10_000"),
        "setup.sh": "python3 prepare_caseops_data.py \\\n  --docs docs.jsonl \\\n  --val-docs 50000\n",
    }
    assert judge(evidence_of(files)).status is Status.PASS


def test_a_call_without_an_override_is_a_question(evidence_of: EvidenceOf) -> None:
    files = {
        "train_seed42.log": log(shards=39),
        "prepare_caseops_data.py": PREPARE.format(default="10_000"),
        "setup.sh": "python3 prepare_caseops_data.py --docs docs.jsonl\n",
    }
    result = judge(evidence_of(files))
    assert result.status is Status.REVIEW
    assert "without an override" in result.reason


def test_published_shards_beside_a_shipped_default_are_noted_only(evidence_of: EvidenceOf) -> None:
    files = {"train_seed42.log": log(shards=80), "prepare_caseops_data.py": PREPARE.format(default="10_000")}
    assert judge(evidence_of(files)).status is Status.PASS


def test_a_log_of_the_evaluation_alone_counts_no_shards(evidence_of: EvidenceOf) -> None:
    """The claimed log only evaluated; the training log beside it counts the published shards."""
    prepare = {"prepare_caseops_data.py": PREPARE.format(default="10_000"), "submission.json": '{"val_bpb": 1.0601}'}
    evaluation, training = log(shards=0), log(shards=80).replace("1.0601", "1.0755")
    assert judge(evidence_of({**prepare, "eval.log": evaluation, "train.log": training})).status is Status.PASS
    other = training.replace("train_shards: 80", "train_shards: 812")
    assert judge(evidence_of({**prepare, "eval.log": evaluation, "train.log": other})).status is Status.REVIEW


def test_no_log_and_no_script_is_not_a_pass(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of({"train_gpt.py": "print(1)\n"})).status is Status.NOT_CHECKED
