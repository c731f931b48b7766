"""Doctored copies change what they say they change, and lies that agree with themselves pass a reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.findings import Status
from auditor.submission import load_folder
from benchmarks.rescore.doctoring import ARTIFACT, CLAIM, DOCTORINGS, LOG, README, Doctoring
from rules.base import ValidationText

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "legal_sliding_window"
OTHERS = {"other": b"another artifact" * 3_000}
CHANGED = (
    {CLAIM},
    {CLAIM},
    {README},
    {CLAIM},
    {ARTIFACT},
    {ARTIFACT},
    {ARTIFACT, LOG, CLAIM},
    {LOG, README, CLAIM},
    {LOG, README, CLAIM},
)


def honest() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in EXAMPLE.iterdir()}


@pytest.mark.parametrize(("doctoring", "changed"), list(zip(DOCTORINGS, CHANGED, strict=True)))
def test_only_what_is_said_is_changed(doctoring: Doctoring, changed: set[str]) -> None:
    before = honest()
    after = doctoring.change(dict(before), OTHERS)
    assert {name for name in before if before[name] != after[name]} == changed
    assert before.keys() == after.keys()


@pytest.mark.parametrize("doctoring", DOCTORINGS[-2:])
def test_a_lie_told_everywhere_is_not_seen_by_reading(doctoring: Doctoring, tmp_path: Path) -> None:
    from auditor.audit import audit

    for name, content in doctoring.change(honest(), OTHERS).items():
        (tmp_path / name).write_bytes(content)
    report = audit(load_folder(str(tmp_path)), text=ValidationText("toy", 8_180, official=False))
    claim = next(result for result in report.verdict.rules if result.rule == "CLAIM")
    assert claim.status is Status.PASS, claim.reason
