"""Scripts that hide a violation never pass, and their honest twins are never accused.

The scripts stand in `cases`, one file a theme; `benchmarks.evasions.cases` says how they are written.
"""

from __future__ import annotations

from functools import cache

import pytest

from auditor.findings import RuleResult, Status
from benchmarks.evasions.cases import Case, read_corpus
from benchmarks.evasions.judging import judge

CASES = {case.name: case for case in read_corpus()}
HONEST = [pytest.param(case, id=f"{case.theme}-{case.name}") for case in CASES.values() if case.honest]


@cache
def judged(name: str) -> dict[str, RuleResult]:
    return judge(CASES[name])


def known_failure(case: Case, rule: str) -> list[pytest.MarkDecorator]:
    why = case.known_failures.get(rule)
    return [pytest.mark.xfail(reason=why, strict=True)] if why else []


@pytest.mark.parametrize(
    ("case", "rule"),
    [
        pytest.param(case, rule, id=f"{case.theme}-{case.name}-{rule}", marks=known_failure(case, rule))
        for case in CASES.values()
        for rule in case.expected
    ],
)
def test_verdict(case: Case, rule: str) -> None:
    result = judged(case.name)[rule]
    assert result.status in case.expected[rule], result.reason


@pytest.mark.parametrize("case", HONEST)
def test_an_honest_script_is_accused_of_nothing(case: Case) -> None:
    """No rule of the source witness accuses a twin, those not named in its header included (known failures aside)."""
    accused = {
        rule: result.reason
        for rule, result in judged(case.name).items()
        if result.status is Status.FAIL and rule not in case.known_failures
    }
    assert not accused


def test_the_corpus_is_large() -> None:
    assert sum(not case.honest for case in CASES.values()) >= 200
