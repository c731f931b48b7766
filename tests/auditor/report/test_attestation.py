"""The attestation names exactly the bytes that were judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from auditor.audit import AuditReport
from auditor.cli import main
from auditor.findings import RuleResult
from auditor.report.attestation import render_attestation, rulebook_digest, statement
from rules.example import HONEST_SCRIPT, example_folder

ReportOf = Callable[..., AuditReport]


def test_subjects_are_the_digests_of_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "records" / "track_10min_16mb" / "x"
    folder.mkdir(parents=True)
    for name, content in example_folder(HONEST_SCRIPT).items():
        (folder / Path(name).name).write_text(content)
    target = tmp_path / "statement.json"
    main([str(folder), "--format", "json", "--output", str(tmp_path / "report.json"), "--attest", str(target)])
    attested = json.loads(target.read_text())
    assert attested["_type"] == "https://in-toto.io/Statement/v1"
    digests = {Path(item["name"]).name: item["digest"]["sha256"] for item in attested["subject"]}
    assert digests == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    report = json.loads((tmp_path / "report.json").read_text())
    assert attested["predicate"]["verdict"] == report["verdict"]
    assert attested["predicate"]["rules"] == {rule["rule"]: rule["status"] for rule in report["rules"]}
    assert len(attested["predicate"]["rulebook"]["sha256"]) == 64


def test_bytes_that_nobody_read_are_not_attested(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    from dataclasses import replace

    from auditor.submission.model import Role, StoredFile

    report = report_of(*results)
    large = StoredFile("huge.bin", 1 << 30, Role.ARTIFACT, b"beginning", tail=b"end")
    unread = StoredFile("gone.bin", 1 << 40, Role.OTHER, None)
    report = replace(report, submission=replace(report.submission, files=(*report.submission.files, large, unread)))
    attested = statement(report)
    assert json.loads(render_attestation(report))["predicate"]["notReadWhole"] == ["gone.bin", "huge.bin"]
    assert "huge.bin" not in json.dumps(attested["subject"])


def test_the_rulebooks_version_does_not_depend_on_where_it_lies() -> None:
    assert rulebook_digest() == rulebook_digest()
