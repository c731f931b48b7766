"""The publishing job's steps, run as a runner would, with a stand-in for GitHub's own command line."""

from __future__ import annotations

import base64
import gzip
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditor.cli import main
from rules import RULES
from tests.ci.runner import ROOT, Job, add_tool, new_job, run_steps

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())
STEPS = WORKFLOW["jobs"]["publish"]["steps"]
HEAD = "c0ffee" * 6 + "beef"
BRANCH = 'main"; touch somebody-was-here; $(touch somebody-was-here)'

# Answers what a test put beside it, and writes down what is asked and posted.
GH = """#!/bin/bash
printf '%s\\n' "$*" >>"$GH_FOLDER/asked"
for argument in "$@"; do
    case $argument in
    *artifacts/*/zip) cat "$GH_FOLDER/artifact.zip"; exit ;;
    */pulls) cat "$GH_FOLDER/pulls"; exit ;;
    */artifacts) cat "$GH_FOLDER/artifacts"; exit ;;
    */files*) cat "$GH_FOLDER/files"; exit ;;
    */comments\\?*) cat "$GH_FOLDER/comments"; exit ;;
    body=@*) cp "${argument#body=@}" "$GH_FOLDER/posted" ;;
    sarif=@*) cp "${argument#sarif=@}" "$GH_FOLDER/sarif" ;;
    esac
done
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("record")
    for name, content in RULES["C3"].illegal.files.items():
        (folder / name).write_text(content)
    target = folder.parent / "report.json"
    main([str(folder), "--format", "json", "--output", str(target)])
    written: dict[str, Any] = json.loads(target.read_text())
    written["submission"]["head"] = HEAD
    return written


def published(tmp_path: Path, report: object, **answers: str) -> tuple[Job, Path]:
    """The job after its steps, and the folder with what was asked and posted."""
    run = {
        "id": 99,
        "event": "pull_request",
        "head_sha": HEAD,
        "head_branch": BRANCH,
        "head_repository": {"owner": {"login": "somebody"}},
    }
    github = {
        "repository": "o/r",
        "token": "t",
        "workspace": str(tmp_path),
        "event": {"workflow_run": run},
    }
    inputs = {"auditor": "o/pgolf-audit", "auditor-ref": "0" * 40}
    (tmp_path / "auditor").mkdir()
    gh = tmp_path / "gh"
    gh.mkdir()
    job = new_job(tmp_path / "job", {"github": github, "inputs": inputs}, GH_FOLDER=str(gh))
    add_tool(job, "gh", GH)
    files = '"records/track_10min_16mb/x/train_gpt.py"\n'
    for name, text in {"pulls": "7\n", "artifacts": "5\n", "files": files, "comments": "", **answers}.items():
        (gh / name).write_text(text)
    with zipfile.ZipFile(gh / "artifact.zip", "w") as archive:
        archive.writestr("report.json", json.dumps(report))
    run_steps(job, STEPS)
    assert not list(tmp_path.rglob("somebody-was-here"))
    return job, gh


def test_a_report_becomes_a_comment_a_summary_and_sarif(tmp_path: Path, report: dict[str, Any]) -> None:
    job, gh = published(tmp_path, report)
    assert job.exit_code == 0, job.output
    comment = (gh / "posted").read_text()
    assert comment.startswith("<!-- pgolf-audit -->\n## pgolf-audit: FAIL")
    assert job.summary == comment
    asked = (gh / "asked").read_text()
    assert "--method POST repos/o/r/issues/7/comments" in asked
    assert f"-f commit_sha={HEAD} -f ref=refs/pull/7/head" in asked
    log = json.loads(gzip.decompress(base64.b64decode((gh / "sarif").read_text())))
    assert {"C3"} <= {result["ruleId"] for result in log["runs"][0]["results"]}


def test_an_earlier_comment_is_replaced(tmp_path: Path, report: dict[str, Any]) -> None:
    _, gh = published(tmp_path, report, comments="1234\n5678\n")
    asked = (gh / "asked").read_text()
    assert "--method PATCH repos/o/r/issues/comments/1234" in asked
    assert "--method POST repos/o/r/issues" not in asked


@pytest.mark.parametrize(
    "files",
    ['"records/x"\n".github/workflows/audit.yml"\n', "".join(f'"records/{number}"\n' for number in range(3000))],
)
def test_a_pull_request_that_changes_workflows_gets_no_verdict(
    tmp_path: Path, report: dict[str, Any], files: str
) -> None:
    """Forbidden: a report that the pull request could have made up itself is shown as this program's."""
    job, gh = published(tmp_path, report, files=files)
    assert job.exit_code == 0
    assert "not shown" in (gh / "posted").read_text()
    assert "FAIL" not in (gh / "posted").read_text()
    assert not (gh / "sarif").exists()
    assert "/zip" not in (gh / "asked").read_text()


@pytest.mark.parametrize("answers", [{"pulls": ""}, {"pulls": "7; x\n"}, {"artifacts": ""}])
def test_without_a_pull_request_or_a_report_nothing_is_posted(
    tmp_path: Path, report: dict[str, Any], answers: dict[str, str]
) -> None:
    job, gh = published(tmp_path, report, **answers)
    assert job.exit_code == 0
    assert not (gh / "posted").exists()
    assert not job.used


@pytest.mark.parametrize("made_up", [[], {"schema": "pgolf-audit/1"}, "PK", {"verdict": "pass"}])
def test_a_made_up_report_is_not_published(tmp_path: Path, made_up: object) -> None:
    job, gh = published(tmp_path, made_up)
    assert job.exit_code == 2
    assert not (gh / "posted").exists()


def test_a_report_about_another_commit_is_not_published(tmp_path: Path, report: dict[str, Any]) -> None:
    other = {**report, "submission": {**report["submission"], "head": "0" * 40}}
    job, gh = published(tmp_path, other)
    assert job.exit_code == 2
    assert not (gh / "posted").exists()


def test_commands_to_the_runner_do_not_pass_through(tmp_path: Path, report: dict[str, Any]) -> None:
    acting = "\n::error::x\n::set-output name=number::1\n##[group]y\n"
    hostile = json.loads(json.dumps(report))
    for rule in hostile["rules"]:
        rule["reason"] = acting
        for finding in rule["findings"]:
            finding["message"] = acting
    job, gh = published(tmp_path, hostile)
    assert job.exit_code == 0
    assert not job.commands
    assert not re.search(r"^\s*(::|##\[)", (gh / "posted").read_text(), re.MULTILINE)


def test_nothing_of_the_pull_request_is_checked_out(tmp_path: Path, report: dict[str, Any]) -> None:
    job, _ = published(tmp_path, report)
    checkouts = [given for name, given in job.used if name.startswith("actions/checkout@")]
    assert [given["repository"] for given in checkouts] == ["o/pgolf-audit"]
    assert WORKFLOW["permissions"] == {}
    assert "contents: write" not in (ROOT / ".github" / "workflows" / "publish.yml").read_text()
