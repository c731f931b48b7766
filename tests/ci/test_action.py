"""The action's steps, run as a runner would, on a clone with a pull request's branch."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from rules import RULES
from tests.auditor.submission.repositories import GitBuilder, record
from tests.ci.runner import ROOT, Job, look_up, new_job, run_steps, substitute

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
HEAD = "refs/pull/7/head"
FOLDER = "records/track_10min_16mb/2026-04-02_Try"
MARKER = "somebody-was-here"
TOUCH = f"open('{MARKER}', 'w').close()\n"


def pull_request(tmp_path: Path, files: Mapping[str, str | bytes]) -> Path:
    """A clone, checked out at the head of pull request 7, which adds `files`."""
    git = GitBuilder(tmp_path / "repo.git")
    git.commit("refs/heads/main", {"README.md": "golf\n", **record("2026-03-01_Baseline")}, message="launch")
    git.commit(HEAD, files, start="refs/heads/main")
    git.write()
    return git.checkout(HEAD, tmp_path / "clone")


def illegal() -> dict[str, str | bytes]:
    return {f"{FOLDER}/{name}": content for name, content in RULES["C3"].illegal.files.items()}


def commit(clone: Path, name: str) -> str:
    command = ["git", "-C", str(clone), "rev-parse", name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def job_of(tmp_path: Path, clone: Path, **inputs: str) -> Job:
    """A job whose event is the pull request's, with a branch name that a shell would obey."""
    event = {"pull_request": {"base": {"sha": commit(clone, "origin/main")}, "head": {"sha": commit(clone, "HEAD")}}}
    github = {"workspace": str(clone), "event": event, "action_path": str(ROOT), "head_ref": f"$(touch {MARKER})"}
    job = new_job(
        tmp_path / "job",
        {"github": github},
        GITHUB_WORKSPACE=str(clone),
        GITHUB_HEAD_REF=f"x; touch {MARKER}; $(touch {MARKER})",
        GITHUB_ACTIONS="true",
    )
    job.contexts["inputs"] = {
        name: inputs.get(name.replace("-", "_"), substitute(str(given.get("default", "")), job.contexts))
        for name, given in ACTION["inputs"].items()
    }
    return job


def run(tmp_path: Path, clone: Path, **inputs: str) -> Job:
    job = run_steps(job_of(tmp_path, clone, **inputs), ACTION["runs"]["steps"])
    assert not list(tmp_path.rglob(MARKER)), "something of the pull request was executed"
    return job


def output(job: Job, name: str) -> str:
    return substitute(ACTION["outputs"][name]["value"], job.contexts)


def statuses(job: Job) -> dict[str, str]:
    report = json.loads((Path(output(job, "reports")) / "report.json").read_text())
    return {rule["rule"]: rule["status"] for rule in report["rules"]}


def test_an_illegal_record_is_annotated_summarised_and_fails(tmp_path: Path) -> None:
    job = run(tmp_path, pull_request(tmp_path, illegal()))
    assert job.exit_code == 1
    errors = [line for line in job.commands if line.startswith("::error ")]
    assert any(f"file={FOLDER}/train_gpt.py" in line and "title=C3%3A" in line for line in errors)
    assert "C3" in job.summary
    assert output(job, "verdict") == "fail"
    reports = Path(output(job, "reports"))
    report = json.loads((reports / "report.json").read_text())
    assert report["verdict"] == "fail"
    sarif = json.loads((reports / "report.sarif").read_text())
    assert {"C3"} <= {result["ruleId"] for result in sarif["runs"][0]["results"]}
    assert (reports / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert "C3" in (reports / "report.md").read_text()


@pytest.mark.parametrize(("fail_on", "exit_code"), [("fail", 0), ("review", 1), ("never", 0)])
def test_what_needs_a_person_fails_only_when_asked(tmp_path: Path, fail_on: str, exit_code: int) -> None:
    files = {f"{FOLDER}/{name}": content for name, content in RULES["C3"].legal.files.items()}
    job = run(tmp_path, pull_request(tmp_path, files), fail_on=fail_on)
    assert output(job, "verdict") == "review"
    assert job.exit_code == exit_code


def test_a_pull_request_without_records_is_not_audited(tmp_path: Path) -> None:
    job = run(tmp_path, pull_request(tmp_path, {"train_gpt.py": "print(1)\n"}))
    assert job.exit_code == 0
    assert job.pip == []
    assert output(job, "verdict") == ""
    assert "nothing under records/ changed" in job.output


@pytest.mark.parametrize(
    "inputs",
    [
        {"base": "--output=x"},
        {"head": "$(touch x)"},
        {"head": "0" * 40},
        {"fail_on": "fail; touch x"},
        {"run": "yes"},
    ],
)
def test_inputs_that_are_not_what_they_should_be_end_the_action(tmp_path: Path, inputs: dict[str, str]) -> None:
    job = run(tmp_path, pull_request(tmp_path, illegal()), **inputs)
    assert job.exit_code == 2
    assert [line for line in job.commands if line.startswith("::error ")]
    assert output(job, "verdict") == ""


def test_names_and_texts_that_act_do_not_act(tmp_path: Path) -> None:
    """Forbidden: a file name or a text of the pull request becomes a command to the runner, or to the shell."""
    acting = "\n::error title=forged::x\n::set-output name=verdict::pass\n##[add-mask]C3\n"
    files: dict[str, str | bytes] = {
        **illegal(),
        f"{FOLDER}/a{acting}b.py": "x = 1\n",
        f"{FOLDER}/$(touch {MARKER}).py": "x = 1\n",
        f"{FOLDER}/`touch {MARKER}`; touch {MARKER} #.log": acting,
        f"{FOLDER}/submission.json": json.dumps({"name": acting, "val_bpb": acting, "author": acting}),
        f"{FOLDER}/README.md": acting,
    }
    job = run(tmp_path, pull_request(tmp_path, files))
    assert job.exit_code == 1
    assert output(job, "verdict") == "fail"
    for line in job.commands:
        assert re.match(r"::(error|warning|notice) (title|file)=", line), line
        assert "title=forged" not in line.split("::")[1]
    assert not re.search(r"^\s*(::|##\[)", job.summary, re.MULTILINE)


def test_a_pull_request_cannot_bring_its_own_auditor(tmp_path: Path) -> None:
    """Forbidden: code, configuration or hooks of the pull request take part in the audit."""
    takes_over = {
        "auditor/__init__.py": TOUCH + "raise SystemExit(0)\n",
        "auditor/__main__.py": TOUCH + "raise SystemExit(0)\n",
        "rules/__init__.py": TOUCH,
        "sitecustomize.py": TOUCH,
        "usercustomize.py": TOUCH,
        "pip.conf": "[global]\nindex-url = http://localhost:1/\n",
        "pyproject.toml": "[tool.pgolf-audit]\nfail-on = 'never'\n",
        "constraints.txt": "brotli==0\n",
        "action.yml": "runs: {using: composite, steps: []}\n",
        ".github/workflows/audit.yml": "on: push\n",
        ".gitattributes": "* filter=x diff=x\nrecords export-ignore\n",
        ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ext::sh -c touch%20x\n',
        f"{FOLDER}/sitecustomize.py": TOUCH,
    }
    honest, other = tmp_path / "honest", tmp_path / "other"
    honest.mkdir()
    other.mkdir()
    plain = run(honest, pull_request(honest, illegal()))
    clone = pull_request(other, {**illegal(), **takes_over})
    job = run(other, clone)
    assert job.exit_code == plain.exit_code == 1
    # It changes more than records, and that is said; nothing else differs.
    assert statuses(job) | {"FORMAT": ""} == statuses(plain) | {"FORMAT": ""}
    installed = [item for item in job.pip if item.startswith("/")]
    assert installed == [str(ROOT / "constraints.txt"), str(ROOT)]


def test_what_is_installed_exists(tmp_path: Path) -> None:
    job = run_steps(job_of(tmp_path, pull_request(tmp_path, illegal()), run="true"), ACTION["runs"]["steps"][:3])
    assert job.pip[-1] == f"{ROOT}[run]"
    assert "run" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert Path(job.pip[job.pip.index("--constraint") + 1]).is_file()


def steps_of(path: Path) -> list[dict[str, Any]]:
    content = yaml.safe_load(path.read_text())
    if "runs" in content:
        return list(content["runs"]["steps"])
    return [step for job in content["jobs"].values() for step in job["steps"]]


FILES = [ROOT / "action.yml", *sorted((ROOT / ".github" / "workflows").glob("*.yml"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_other_peoples_actions_are_pinned_and_scripts_hold_no_expressions(path: Path) -> None:
    for step in steps_of(path):
        used = step.get("uses", "./")
        assert used.startswith("./") or re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", used)
        assert "${{" not in step.get("run", "")
        if used.startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_the_analysis_has_no_secrets_and_may_only_read() -> None:
    text = (ROOT / ".github" / "workflows" / "analyse.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["permissions"] == {"contents": "read"} for job in workflow["jobs"].values())
    assert not re.search(r"\$\{\{[^}]*(secrets|token)", text)
    assert "pull_request_target" not in text


def test_the_workflow_hands_the_action_what_it_takes() -> None:
    [step] = [
        step for step in steps_of(ROOT / ".github" / "workflows" / "analyse.yml") if step.get("uses") == "./auditor"
    ]
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert look_up("inputs.run", {"inputs": {"run": True}}) == "true"
