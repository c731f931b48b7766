"""What a GitHub runner does with the steps of an action or a job, as far as this project's steps need it.

Expressions are looked up, bash steps are run with GITHUB_OUTPUT, GITHUB_STEP_SUMMARY and their environment, and what
``uses:`` another action is handed to the test. A virtual environment is this interpreter with this checkout; pip is
written down and not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")

_PYTHON = """#!/bin/sh
# python -I -m venv FOLDER
[ "$1 $2 $3" = "-I -m venv" ] || exit 99
mkdir -p "$4/bin" && cp "{tools}/venv-python" "$4/bin/python"
"""
_VENV_PYTHON = """#!/bin/sh
[ "$1 $2" = "-I -m" ] || exit 99
if [ "$3" = pip ]; then
    shift 3
    printf '%s\\n' "$@" >>"{log}"
    exit 0
fi
shift 3
exec "{python}" -I -c 'import sys; sys.path.insert(0, "{root}"); from auditor.cli import main; sys.exit(main())' "$@"
"""


@dataclass
class Job:
    """The state of a job: contexts that expressions read, and what its steps said."""

    folder: Path
    contexts: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)
    output: str = ""
    used: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    exit_code: int = 0

    @property
    def tools(self) -> Path:
        return self.folder / "tools"

    @property
    def temp(self) -> Path:
        return self.folder / "temp"

    @property
    def summary(self) -> str:
        path = self.folder / "summary"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def pip(self) -> list[str]:
        path = self.folder / "pip.log"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def commands(self) -> list[str]:
        """Lines of the log that the runner obeys: it reads a command wherever it stands at the start of a line."""
        return [line for line in self.output.split("\n") if re.match(r"\s*(::|##\[)", line)]


def new_job(folder: Path, contexts: Mapping[str, Any], **environment: str) -> Job:
    """A job with an empty temporary folder and a python of its own on the path."""
    job = Job(folder, {"steps": {}, **contexts}, dict(environment))
    for path in (job.tools, job.temp):
        path.mkdir(parents=True)
    job.contexts["runner"] = {"temp": str(job.temp)}
    add_tool(job, "python", _PYTHON.format(tools=job.tools))
    add_tool(job, "venv-python", _VENV_PYTHON.format(log=folder / "pip.log", python=sys.executable, root=ROOT))
    return job


def add_tool(job: Job, name: str, script: str) -> None:
    """Put a program on the path of the job's steps."""
    path = job.tools / name
    path.write_text(script)
    path.chmod(0o755)


def run_steps(
    job: Job, steps: Sequence[Mapping[str, Any]], uses: Callable[[str, dict[str, str]], None] = lambda name, given: None
) -> Job:
    """Run the steps one after another until one fails."""
    for step in steps:
        if "if" in step and not holds(str(step["if"]), job.contexts):
            continue
        if "uses" in step:
            given = {name: substitute(str(value), job.contexts) for name, value in step.get("with", {}).items()}
            job.used.append((step["uses"], given))
            uses(step["uses"], given)
            continue
        job.exit_code = _run(job, step)
        if job.exit_code:
            break
    return job


def _run(job: Job, step: Mapping[str, Any]) -> int:
    assert step["shell"] == "bash"
    assert "${{" not in step["run"], "an expression in a script is code that somebody else writes"
    outputs = job.folder / "outputs"
    outputs.write_text("")
    script = job.folder / "step.sh"
    script.write_text(step["run"])
    environment = {
        "PATH": f"{job.tools}:{os.environ['PATH']}",
        "HOME": str(job.folder),
        "LANG": "C.UTF-8",
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_STEP_SUMMARY": str(job.folder / "summary"),
        **job.environment,
        **{name: substitute(str(value), job.contexts) for name, value in step.get("env", {}).items()},
    }
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)]
    where = job.environment.get("GITHUB_WORKSPACE", str(job.folder))
    done = subprocess.run(command, env=environment, cwd=where, capture_output=True, timeout=300, check=False)
    job.output += (done.stdout + done.stderr).decode("utf-8", "replace")
    pairs = [line.partition("=") for line in outputs.read_text().splitlines()]
    if "id" in step:
        job.contexts["steps"][step["id"]] = {"outputs": {name: value for name, _, value in pairs}}
    return done.returncode


def substitute(text: str, contexts: Mapping[str, Any]) -> str:
    """`text` with its expressions replaced by what they name."""
    return _EXPRESSION.sub(lambda found: look_up(found[1], contexts), text)


def look_up(name: str, contexts: Mapping[str, Any]) -> str:
    """The value of ``a.b.c``; an empty text where a step was skipped, as on a runner."""
    value: Any = contexts
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            assert name.startswith("steps."), f"unknown expression {name}"
            return ""
        value = value[part]
    return {True: "true", False: "false"}.get(value, str(value))


def holds(condition: str, contexts: Mapping[str, Any]) -> bool:
    """Whether an ``if:`` holds: comparisons with a text, joined by &&."""
    return all(_holds(part.strip(), contexts) for part in condition.split("&&"))


def _holds(part: str, contexts: Mapping[str, Any]) -> bool:
    if part == "always()":
        return True
    compared = re.fullmatch(r"([\w.-]+) (==|!=) '(.*)'", part)
    if compared is None:
        return look_up(part, contexts) not in ("", "false")
    return (look_up(compared[1], contexts) == compared[3]) is (compared[2] == "==")
