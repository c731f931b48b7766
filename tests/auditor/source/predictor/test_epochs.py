"""Epochs over the text: which of them score decides between one broken rule and two."""

from __future__ import annotations

import pytest

from auditor.findings import Status
from benchmarks.evasions.cases import read_corpus
from benchmarks.evasions.judging import judge

CASES = {case.name: case for case in read_corpus() if case.theme == "epochs_and_passes"}


@pytest.mark.parametrize(
    "name",
    [
        "scored_in_the_last_of_known_epochs",
        "scored_in_the_last_epoch",
        "all_but_the_last_epoch_go_on_before_they_score",
        "looked_up_in_all_epochs_and_summed_in_the_last_one",
    ],
)
def test_learning_in_all_epochs_and_scoring_in_the_last_one_is_no_second_pass(name: str) -> None:
    """An organizer who reads the loop finds one score of each token, made too late: C3, and nothing else."""
    results = judge(CASES[name])
    assert results["C3"].status is Status.FAIL
    assert [rule for rule, result in results.items() if result.status is Status.FAIL] == ["C3"]


def test_scoring_in_several_epochs_is_a_second_pass() -> None:
    result = judge(CASES["scored_in_all_but_the_first_epoch"])["C4"]
    assert result.status is Status.FAIL and "more than one iteration" in result.reason
