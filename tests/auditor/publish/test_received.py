"""Reports from an untrusted job: a real one is shown, a made-up one can say something false and do nothing."""

from __future__ import annotations

import copy
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sarif_pydantic.sarif import Sarif

from auditor.cli import main
from auditor.publish.comment import MARKER, MAX_COMMENT_LENGTH, render_comment
from auditor.publish.received import MAX_FINDINGS, MAX_REPORT_BYTES, Received, ReceivedError, read_received
from auditor.publish.sarif import render_received_sarif
from rules import RULES

HEAD = "c0ffee" * 6 + "beef"
HOSTILE = (
    "x\n\n# forged\n<img src=x onerror=alert(1)><script>y</script> [link](http://e.example) @somebody #1 ```\n"
    "::error::z\x1b[31m\u202e| a | b |\nhttps://evil.example <!-- pgolf-audit -->"
)


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A report that this program wrote about an illegal folder, as if it had been audited at `HEAD`."""
    folder = tmp_path_factory.mktemp("record")
    for name, content in RULES["C3"].illegal.files.items():
        (folder / name).write_text(content)
    target = folder.parent / "report.json"
    main([str(folder), "--format", "json", "--output", str(target)])
    report: dict[str, Any] = json.loads(target.read_text())
    report["submission"]["head"] = HEAD
    return report


def received(report: object, tmp_path: Path) -> Received:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    return read_received(path, HEAD)


def test_a_genuine_report_is_shown_with_its_steps(genuine: dict[str, Any], tmp_path: Path) -> None:
    comment = render_comment(received(genuine, tmp_path))
    assert comment.startswith(f"{MARKER}\n## pgolf-audit: FAIL\n")
    assert "### FAIL C3: Score before update" in comment
    assert re.search(r"^1\. `train_gpt\.py:\d+`", comment, re.MULTILINE)
    for rule in genuine["rules"]:
        assert f"| {rule['rule']} | " in comment


def test_the_archive_of_an_artifact_is_read(genuine: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../../escape", "x")
        archive.writestr("report.json", json.dumps(genuine))
    assert read_received(path, HEAD).head == HEAD
    assert [item.name for item in tmp_path.iterdir()] == ["artifact.zip"]


def hostile(report: dict[str, Any]) -> dict[str, Any]:
    """`report` with every text that a job can choose replaced by one that would act."""
    made = copy.deepcopy(report)
    made["submission"]["path"] = HOSTILE
    made["summary"] = HOSTILE
    for rule in made["rules"]:
        rule["reason"] = HOSTILE
        for finding in rule["findings"]:
            finding.update(message=HOSTILE, path=f"../../{HOSTILE}", line=-5, end_line=10**30)
            finding["steps"] = [{"path": HOSTILE, "line": "1", "message": HOSTILE}] * 3
    return made


def test_text_that_would_act_is_shown_and_does_not_act(genuine: dict[str, Any], tmp_path: Path) -> None:
    comment = render_comment(received(hostile(genuine), tmp_path))
    outside = re.sub(r"(`+).*?\1", "", comment)  # what stands in code spans is literal
    assert outside.count("<!--") == 1
    assert not re.search(r"<(img|script|a)\b", outside)
    assert not re.search(r"@somebody|#1\b|(?<!\\)\]\(http|https://", outside)
    assert "\x1b" not in comment
    assert "\u202e" not in comment
    assert not re.search(r"^(# forged|::)", comment, re.MULTILINE)


def test_its_sarif_is_valid_and_stays_in_the_repository(genuine: dict[str, Any], tmp_path: Path) -> None:
    text = render_received_sarif(received(hostile(genuine), tmp_path))
    log = Sarif.model_validate_json(text)
    results = log.runs[0].results or []
    assert {result.rule_id for result in results} >= {"C3"}
    uris = set(re.findall(r'"uri": "([^"]*)"', text))
    assert uris
    assert not [uri for uri in uris if uri.startswith("/") or ".." in uri.split("/") or ":" in uri]
    assert render_received_sarif(received(genuine, tmp_path)).isascii()


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda report: report.update(schema="other/1"), "schema"),
        (lambda report: report.update(verdict="pass"), "contradicts"),
        (lambda report: report.update(verdict="review"), "contradicts"),
        (lambda report: report.update(verdict="<b>"), "no known status"),
        (lambda report: report.update(rules={}), "rules"),
        (lambda report: report.update(rules=report["rules"] * 2), "rules"),
        (lambda report: report["rules"].__setitem__(1, report["rules"][0]), "twice"),
        (lambda report: report["rules"][0].update(rule=HOSTILE), "rulebook"),
        (lambda report: report["rules"][0].update(rule=["C1"]), "rulebook"),
        (lambda report: report["rules"][0].update(findings="x"), "findings"),
        (lambda report: report["rules"][0].update(findings=[{"steps": 3}]), "steps"),
        (lambda report: report["rules"][0].update(findings=[{"steps": [], "witness": "me"}]), "witness"),
        (lambda report: report["submission"].update(head="0" * 40), "another commit"),
        (lambda report: report["submission"].update(head="$(touch x)"), "not a commit"),
        (lambda report: report.pop("claim"), "claim"),
    ],
)
def test_what_is_no_report_is_refused(genuine: dict[str, Any], tmp_path: Path, change: Change, complaint: str) -> None:
    report = copy.deepcopy(genuine)
    change(report)
    with pytest.raises(ReceivedError, match=complaint) as refused:
        received(report, tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"PK\x03\x04nonsense", b"\xff\xfe", b"3", b"null"])
def test_what_is_no_json_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(data)
    with pytest.raises(ReceivedError):
        read_received(path, HEAD)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.json", b" " * (MAX_REPORT_BYTES + 1))
    path = tmp_path / "artifact.zip"
    path.write_bytes(content.getvalue())
    with pytest.raises(ReceivedError, match="larger than"):
        read_received(path, HEAD)


def test_a_report_that_goes_on_and_on_is_cut(genuine: dict[str, Any], tmp_path: Path) -> None:
    report = hostile(genuine)
    for rule in report["rules"]:
        rule["findings"] = [
            {"status": rule["status"], "witness": "source", "message": "m" * 2_500, "path": "p" * 900, "line": 1,
             "end_line": 0, "steps": [{"path": "s", "line": 1, "message": "t" * 50}] * 50}
        ] * 50  # fmt: skip
    checked = received(report, tmp_path)
    assert checked.left_out == len(report["rules"]) * (50 - MAX_FINDINGS)
    assert len(render_comment(checked)) <= MAX_COMMENT_LENGTH


def test_numbers_that_are_none_are_left_out(genuine: dict[str, Any], tmp_path: Path) -> None:
    report = copy.deepcopy(genuine)
    for value in (True, "1.0", 10**400, float("nan"), None, [1]):
        report["claim"]["val_bpb"] = value
        assert received(report, tmp_path).claimed_bpb is None


def test_the_command_line_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    path.write_text("{}")
    assert main(["publish", str(path), "--head", HEAD]) == 2
    assert capsys.readouterr().err.count("\n") == 1
