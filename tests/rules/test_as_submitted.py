"""Nothing is claimed and nothing logged: what is said is said of the code, and of all that it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.audit import AuditReport, audit
from auditor.findings import Status
from auditor.submission import load_folder
from rules import RULES
from rules.example import HONEST_SCRIPT

ILLEGAL = RULES["C3"].illegal.files["train_gpt.py"]
EARLIER = """\
    first = evaluate(args, model, val_tokens)
    print(f"LABEL val_loss:{first:.8f} val_bpb:{bits_per_byte(args, first, val_tokens):.8f}")
"""
ADAPTS = "    adapt(args, model, val_tokens)\n"
NO_CLAIM = "# X\n\nval_bpb: TBD\n"
COMMAND = "# X\n\n## Run\n\n```bash\nADAPT=1 torchrun train_gpt.py\n```\n"


def report(folder: Path, script: str, *, claim: float | None = None, readme: str = NO_CLAIM) -> AuditReport:
    folder.joinpath("train_gpt.py").write_text(script, encoding="utf-8")
    folder.joinpath("README.md").write_text(readme, encoding="utf-8")
    folder.joinpath("submission.json").write_text(json.dumps({"name": "x", "val_bpb": claim}), encoding="utf-8")
    return audit(load_folder(folder))


def c3(found: AuditReport) -> tuple[Status, str]:
    result = next(rule for rule in found.verdict.rules if rule.rule == "C3")
    return result.status, result.reason


def with_an_earlier_score(label: str) -> str:
    """The script that learns before it scores, with another score printed right after training."""
    assert ADAPTS in ILLEGAL
    return ILLEGAL.replace(ADAPTS, EARLIER.replace("LABEL", label) + ADAPTS)


def test_what_every_printed_score_has_is_a_fact_about_the_code(tmp_path: Path) -> None:
    status, reason = c3(report(tmp_path, ILLEGAL))
    assert status is Status.FAIL
    assert "no score is reported: this is what the code as submitted would do" in reason
    assert "the reported score" not in reason


def test_what_only_some_printed_scores_have_is_for_a_person(tmp_path: Path) -> None:
    status, reason = c3(report(tmp_path, with_an_earlier_score("before")))
    assert status is Status.REVIEW
    assert "no score is claimed; 1 of the 2 scores that the script prints have it" in reason


def test_a_score_during_training_is_not_counted(tmp_path: Path) -> None:
    assert c3(report(tmp_path, with_an_earlier_score("step:1/20000")))[0] is Status.FAIL


@pytest.mark.parametrize("script", [ILLEGAL, with_an_earlier_score("before")])
def test_a_claim_says_which_score_is_meant(tmp_path: Path, script: str) -> None:
    status, reason = c3(report(tmp_path, script, claim=1.07))
    assert status is Status.FAIL
    assert "the reported score" in reason


def test_an_honest_script_stays_honest(tmp_path: Path) -> None:
    assert c3(report(tmp_path, HONEST_SCRIPT))[0] is Status.PASS


@pytest.mark.parametrize(("default", "status"), [("0", Status.REVIEW), ("1", Status.FAIL)])
def test_what_only_a_readme_switches_on_was_not_submitted_as_such(tmp_path: Path, default: str, status: Status) -> None:
    switch = f"    if os.environ.get('ADAPT', '{default}') == '1':\n    "
    script = "import os\n" + ILLEGAL.replace(ADAPTS, switch + ADAPTS)
    assert c3(report(tmp_path, script, readme=COMMAND))[0] is status
    assert c3(report(tmp_path, script, readme=COMMAND, claim=1.07))[0] is Status.FAIL
