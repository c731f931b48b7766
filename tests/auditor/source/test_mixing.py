"""What the steps of an accusation show of a mixture: the key, the look-up, the mixing, the printed score."""

from __future__ import annotations

import pytest

from auditor.source import witness
from benchmarks.evasions.cases import Case, read_corpus
from benchmarks.evasions.judging import configuration_of, record_of, submission_of

CASES = {case.name: case for case in read_corpus()}


def _shown(case: Case, rule: str) -> list[tuple[str, str]]:
    """(the line of the script, what is said of it) for each step of the first certain violation of a rule."""
    ledger = witness(submission_of(case), configuration_of(case), record_of(case))
    found = next(entry for entry in ledger.violations if entry.rule == rule and entry.definite)
    lines = case.script.splitlines()
    return [(lines[site.line - 1].strip(), text) for site, text in found.sites]


@pytest.mark.parametrize("rule", ["C1", "C2"])
def test_steps_lead_from_the_key_to_the_score(rule: str) -> None:
    shown = _shown(CASES["answer_under_the_context"], rule)
    assert [text for _, text in shown] == [
        "the key is made here",
        "a count is looked up for the realised token here",
        "the probability of the realised token is mixed here",
        "the reported score is printed",
    ]
    assert shown[0][0].startswith("pair = (key ^ tokens[j]")
    assert "both[pair]" in shown[1][0]


def test_steps_of_a_ratio_show_both_keys() -> None:
    keys = [line for line, text in _shown(CASES["two_tables_under_two_hashes"], "C1") if text == "the key is made here"]
    assert sorted(line.partition(" =")[0] for line in keys) == ["key", "pair"]


def test_entropy_is_shown_where_it_is_mixed() -> None:
    shown = _shown(CASES["rows_beside_the_entropy"], "C2")
    assert "logsumexp" in shown[0][0]


def test_spreading_over_bytes_comes_before_the_look_up() -> None:
    shown = _shown(CASES["token_spread_over_its_bytes"], "C2")
    assert "** (1 / len(" in shown[0][0]
    assert shown[0][1] == "a token's probability is spread over its bytes"
