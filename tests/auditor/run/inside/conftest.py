"""Scripts run by the stand-ins in a process of their own: what is installed would reach every other test's torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import auditor.run.inside

START = Path(next(iter(auditor.run.inside.__path__))) / "start.py"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_script(tmp_path: Path) -> Run:
    """`run_script(text, files={}, environment={}, **spec)` runs `text` as train_gpt.py with start.py; never raises."""
    pytest.importorskip("torch")

    def run(
        text: str,
        files: Mapping[str, str] = {},
        environment: Mapping[str, str] = {},
        **spec: Any,
    ) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "submission"
        folder.mkdir(exist_ok=True)
        for name, content in {"train_gpt.py": text, **files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(textwrap.dedent(content))
        spec_file = tmp_path / "spec.json"
        spec_file.write_text(json.dumps({"script": "train_gpt.py", "seed": 1, "threads": 1, **spec}))
        return subprocess.run(
            [sys.executable, "-P", "-s", "-B", str(START), str(spec_file)],
            cwd=folder,
            env={"PATH": os.defpath, "HOME": str(tmp_path), "PYTHONHASHSEED": "0", **environment},
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )

    return run


@pytest.fixture
def passes(run_script: Run) -> Run:
    """As `run_script`, for a script full of assertions: fails with what it printed unless it ends with exit code 0."""

    def run(text: str, **arguments: Any) -> subprocess.CompletedProcess[str]:
        done = run_script(text, **arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run
