"""The audit of the example folders by reading alone: no legal one is accused, violations are told by their rule."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from auditor.audit import audit
from auditor.findings import Status
from auditor.submission import load_folder
from rules.base import ValidationText

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
LEGAL = sorted(path.name for path in EXAMPLES.glob("legal_*"))

PROVED = {  # example: a rule that reading proves broken
    "illegal_best_of_passes": "C1",
    "illegal_byte_ppm": "C2",
    "illegal_last_epoch": "C3",
    "illegal_ngram_cache": "C2",
    "illegal_oversize": "SIZE",
    "illegal_paid_prefix": "PAIDPREFIX",
    "illegal_prequant_ttt": "C3",
    "illegal_slot": "C3",
    "illegal_slot_shared": "C3",
    "illegal_space_twice": "BYTES",
    "illegal_train_data_at_eval": "TRAINDATA",
    "illegal_two_passes": "C3",
}
ASKED = {  # example: a rule on which reading has at least a question
    "illegal_validation_calibration": "C3",
    "illegal_validation_subset": "C4",
}


@cache
def statuses(example: str) -> dict[str, Status]:
    """The status of each rule."""
    facts = json.loads((EXAMPLES / "validation_text.json").read_text())
    text = ValidationText(facts["name"], facts["text_bytes"], official=False)
    report = audit(load_folder(EXAMPLES / example), text=text)
    return {result.rule: result.status for result in report.verdict.rules}


def test_every_example_is_expected_to_show_something():
    illegal = {path.name for path in EXAMPLES.glob("illegal_*")}
    assert illegal == set(PROVED) | set(ASKED)
    assert len(LEGAL) == 11


@pytest.mark.parametrize("example", LEGAL)
def test_a_legal_example_keeps_every_rule(example):
    found = statuses(example).items()
    assert {rule: status for rule, status in found if status in (Status.FAIL, Status.REVIEW)} == {}


@pytest.mark.parametrize(("example", "rule"), PROVED.items())
def test_a_violation_that_reading_proves_fails_its_rule(example, rule):
    assert statuses(example)[rule] is Status.FAIL


@pytest.mark.parametrize(("example", "rule"), ASKED.items())
def test_a_violation_that_reading_suspects_does_not_pass_its_rule(example, rule):
    assert statuses(example)[rule] in (Status.FAIL, Status.REVIEW)
