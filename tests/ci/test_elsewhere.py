"""The pre-commit hook and the container file. Neither tool is here: what they rely on is checked instead."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from rules import RULES
from tests.auditor.submission.repositories import GitBuilder, record
from tests.ci.runner import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
[HOOK] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
CONTAINER = (ROOT / "Containerfile").read_text().replace("\\\n", " ")


@pytest.mark.parametrize(("example", "stops"), [("illegal", True), ("legal", False)])
def test_the_hook_stops_what_fails_and_nothing_else(tmp_path: Path, example: str, stops: bool) -> None:
    git = GitBuilder(tmp_path / "repo.git")
    git.commit("refs/heads/main", {"README.md": "golf\n", **record("2026-03-01_Baseline")})
    files = getattr(RULES["C3"], example).files
    folder = "records/track_10min_16mb/2026-04-02_Try"
    git.commit("refs/pull/7/head", {f"{folder}/{name}": text for name, text in files.items()}, start="refs/heads/main")
    git.write()
    clone = git.checkout("refs/pull/7/head", tmp_path / "clone")
    tools = tmp_path / "tools"
    tools.mkdir()
    program = tools / "pgolf-audit"
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -I -c \'import sys; sys.path.insert(0, "{ROOT}"); '
        'from auditor.cli import main; sys.exit(main())\' "$@"\n'
    )
    program.chmod(0o755)
    done = subprocess.run(
        shlex.split(HOOK["entry"]), cwd=clone, env={"PATH": f"{tools}:/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert (done.returncode != 0) is stops
    assert folder.encode() in done.stdout


def test_the_hook_names_a_program_that_the_project_installs() -> None:
    assert HOOK["id"] in PROJECT["scripts"]
    assert HOOK["language"] == "python"
    assert re.match(HOOK["files"], "records/track_10min_16mb/x/train_gpt.py")


def stages() -> dict[str, str]:
    parts = re.split(r"^FROM (\S+)(?: AS (\S+))?$", CONTAINER, flags=re.MULTILINE)[1:]
    return {name or "final": f"FROM {base}{body}" for base, name, body in zip(*[iter(parts)] * 3, strict=True)}


def test_the_container_copies_what_there_is_and_installs_what_is_declared() -> None:
    for line in re.findall(r"^COPY (.+)$", CONTAINER, flags=re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
    packages = re.search(r"include = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert packages is not None
    for package in re.findall(r'"(\w+)\*"', packages[1]):
        assert f"COPY {package} /opt/pgolf-audit/{package}" in CONTAINER
    for extra in re.findall(r"/opt/pgolf-audit\[(\w+)\]", CONTAINER):
        assert extra in PROJECT["optional-dependencies"]
    for line in re.findall(r"pip install .*", CONTAINER):
        assert "--constraint /opt/pgolf-audit/constraints.txt" in line


def test_the_light_target_has_no_torch_and_is_the_default() -> None:
    light, run = stages()["light"], stages()["run"]
    assert light.startswith("FROM docker.io/library/debian:")
    assert "[run]" not in light
    assert "[run]" in run
    assert "bubblewrap" in run
    assert CONTAINER.rstrip().endswith("FROM light")
    assert "USER auditor" in light
    assert run.rstrip().endswith("USER auditor")
