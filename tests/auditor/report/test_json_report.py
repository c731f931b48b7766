"""The JSON report keeps the contract "pgolf-audit/1" whatever the submission says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from auditor.audit import AuditReport
from auditor.findings import Claim, Finding, RuleResult, Status, Step, Witness
from auditor.report.json import render_json

FOLDER = "records/track_10min_16mb/example"
SCRIPT = f"{FOLDER}/train_gpt.py"

ReportOf = Callable[..., AuditReport]


def loaded(report_of: ReportOf, *results: RuleResult, **options: Any) -> dict[str, Any]:
    text = render_json(report_of(*results, **options))
    assert text.isascii()
    return json.loads(text, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))  # type: ignore[no-any-return]


def test_the_contract(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    report = loaded(report_of, *results, layers=("exec(lzma(b85))",))
    assert report["schema"] == "pgolf-audit/1"
    assert report["verdict"] == "fail"
    assert {key: report["submission"][key] for key in ("path", "track", "script", "script_sha256", "packed")} == {
        "path": FOLDER,
        "track": "record",
        "script": SCRIPT,
        "script_sha256": "0" * 64,
        "packed": True,
    }
    rules = {rule["rule"]: rule for rule in report["rules"]}
    assert rules["EVIDENCE"] == {"rule": "EVIDENCE", "status": "not_checked", "reason": "no log", "findings": []}
    (finding,) = rules["C3"]["findings"]
    assert finding["witness"] == "source"
    assert finding["path"] == SCRIPT
    assert finding["line"] == 5
    assert finding["steps"][0] == {"path": SCRIPT, "line": 8, "message": "the script calls adapt"}
    assert report["claim"]["val_bpb"] == 1.21
    assert set(report["claim"]) >= {"val_bpb", "recomputed_bpb", "artifact_bytes"}


def test_numbers_and_text_that_json_cannot_hold(report_of: ReportOf) -> None:
    finding = Finding(Status.REVIEW, Witness.RECORD, "lone \udc80 \x1b[31m", steps=(Step("a\ud800.log", 1, "\x00"),))
    report = loaded(
        report_of,
        RuleResult("CLAIM", Status.REVIEW, "nan", (finding,)),
        claim=Claim(val_bpb=float("nan"), recomputed_bpb=float("inf")),
        origin="\udcff",
    )
    assert report["claim"]["val_bpb"] is None
    assert report["claim"]["recomputed_bpb"] is None
    assert report["rules"][0]["findings"][0]["message"] == "lone \\udc80 \x1b[31m"
    assert report["rules"][0]["findings"][0]["steps"][0]["path"] == "a\\ud800.log"
