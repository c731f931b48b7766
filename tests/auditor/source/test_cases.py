"""Scripts that hide a violation never pass, and their honest twins are never accused."""

from __future__ import annotations

from functools import cache

import pytest

from auditor.findings import RuleResult, Status
from benchmarks.evasions.cases import Case, CorpusError, read_corpus, read_theme
from benchmarks.evasions.judging import judge

CASES = {case.name: case for case in read_corpus()}


@cache
def judged(name: str) -> dict[str, RuleResult]:
    return judge(CASES[name])


def expectations() -> list[object]:
    return [
        pytest.param(case, rule, id=f"{case.theme}-{case.name}-{rule}", marks=known_failure(case, rule))
        for case in CASES.values()
        for rule in case.expected
    ]


def known_failure(case: Case, rule: str) -> list[pytest.MarkDecorator]:
    why = case.known_failures.get(rule)
    return [pytest.mark.xfail(reason=why, strict=True)] if why else []


@pytest.mark.parametrize(("case", "rule"), expectations())
def test_verdict(case: Case, rule: str) -> None:
    result = judged(case.name)[rule]
    assert result.status in case.expected[rule], result.reason


def twins() -> list[object]:
    """Honest cases. One whose accusation is known stands among the verdicts with its reason."""
    return [pytest.param(case, id=f"{case.theme}-{case.name}") for case in CASES.values() if case.honest]


@pytest.mark.parametrize("case", twins())
def test_an_honest_script_is_accused_of_nothing(case: Case) -> None:
    accused = {
        rule: result.reason
        for rule, result in judged(case.name).items()
        if result.status is Status.FAIL and rule not in case.known_failures
    }
    assert not accused


def test_the_corpus_is_large() -> None:
    assert sum(not case.honest for case in CASES.values()) >= 200


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("# expect: C9 fail", "no such rule"),
        ("# expect: C3 perhaps", "perhaps"),
        ("# setting: TTT_ENABLED", "NAME=VALUE"),
        ("# xfail: C3", "a rule and a reason"),
    ],
)
def test_a_header_that_cannot_be_read_is_an_error(header: str, complaint: str) -> None:
    with pytest.raises(CorpusError, match=f"theme.py line 2: .*{complaint}"):
        read_theme("theme", f"# case: one\n{header}\npass\n")


def test_a_case_continues_the_common_part_and_may_hold_other_files() -> None:
    text = (
        "shared = 1\n# case: one\n# expect: C3 fail\n# file: other.py\nx = 2\n# case: two\n# expect: C3 fail\ny = 3\n"
    )
    one, two = read_theme("theme", text, prelude="start = 0")
    assert one.script.split() == ["start", "=", "0", "shared", "=", "1"]
    assert one.helpers == {"other.py": "x = 2\n"}
    assert two.script.split() == ["start", "=", "0", "shared", "=", "1", "y", "=", "3"]
    assert (one.line, two.line) == (2, 6)
