"""A stand-in for the auditor: packages whose command line does what a test says, and a repository of pull requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from auditor.sweep.code_state import PACKAGES
from auditor.sweep.one_audit import Request
from tests.auditor.submission.repositories import GitBuilder, record

Repository = Callable[..., str]


def report(verdict: str, status: str, claim: dict[str, float] | None = None) -> str:
    """A small JSON report."""
    return json.dumps(
        {
            "schema": "pgolf-audit/1",
            "submission": {"path": "records/x", "track": "record"},
            "verdict": verdict,
            "rules": [{"rule": "C3", "status": status, "reason": "why"}],
            "claim": claim or {},
        }
    )


def reporting(verdict: str, status: str, exit_code: int) -> str:
    """A body that writes a report and ends with `exit_code`."""
    return f"open(sys.argv[-1], 'w').write({report(verdict, status)!r})\nreturn {exit_code}"


def stand_in(folder: Path, body: str) -> Path:
    """A folder with packages `auditor` and `rules` whose command line runs `body` (argv: --repo ... --output FILE)."""
    for package in PACKAGES:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("")
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    (folder / "auditor" / "cli.py").write_text(f"import os, signal, sys, time\ndef main():\n{indented}\n")
    return folder


def repository(folder: Path, count: int) -> str:
    """A bare repository with pull requests 1 to `count`, each adding a record of its own."""
    git = GitBuilder(folder / "repo.git")
    git.commit("refs/heads/main", {"README.md": "golf\n", **record("2026-03-01_Baseline")}, message="launch")
    for number in range(1, count + 1):
        git.commit(f"refs/pull/{number}/head", record(f"2026-04-{number:02}_Try"), start="refs/heads/main")
    return str(git.write())


def request(git_dir: str, root: Path, limit_seconds: float = 60.0) -> Request:
    return Request(git_dir, limit_seconds, str(root))
