"""The same submission gets the same report in every process: sets of strings are ordered anew in each one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir())


def report(example: str, hash_seed: str) -> str:
    """The JSON report in a process whose string hashes start from `hash_seed`."""
    command = [sys.executable, "-m", "auditor", f"examples/{example}", "--format", "json"]
    command += ["--validation-text", "examples/validation_text.json"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert finished.stdout, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_report_does_not_depend_on_the_order_of_sets(example: str) -> None:
    assert report(example, "0") == report(example, "1")
