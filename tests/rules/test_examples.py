"""Every rule page's two examples get the verdict that the page gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.audit import audit
from auditor.findings import RuleResult, Status
from auditor.submission import load_folder
from rules import CODES, RULES
from rules.base import Example


def judged(code: str, example: Example, root: Path) -> RuleResult:
    for name, text in example.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    report = audit(load_folder(root))
    assert not report.incidents
    return next(result for result in report.verdict.rules if result.rule == code)


@pytest.mark.parametrize("code", CODES)
def test_the_legal_example_is_not_accused(code: str, tmp_path: Path) -> None:
    result = judged(code, RULES[code].legal, tmp_path)
    assert result.status not in (Status.FAIL, Status.REVIEW), result.reason


@pytest.mark.parametrize("code", CODES)
def test_the_illegal_example_is_caught(code: str, tmp_path: Path) -> None:
    result = judged(code, RULES[code].illegal, tmp_path)
    assert result.status in (Status.FAIL, Status.REVIEW), result.reason


@pytest.mark.parametrize("code", CODES)
def test_a_page_is_complete(code: str) -> None:
    rule = RULES[code]
    assert rule.code == code
    assert all((rule.title, rule.text, rule.sources, rule.witnesses, rule.blind_spots))
    assert all(precedent.decision for precedent in rule.precedents)
    assert rule.legal.files != rule.illegal.files
