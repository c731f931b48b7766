"""What the README shows is what the program does: its tables and its excerpt are compared with the real thing."""

import subprocess
import sys
from pathlib import Path

from auditor import cli
from benchmarks.accuracy.table import BEGIN, END
from rules import RULES

ROOT = Path(__file__).resolve().parents[1]


def block(text: str, begin: str, end: str) -> str:
    """What stands between two markers, each of which must be there once."""
    assert text.count(begin) == 1
    assert text.count(end) == 1
    return text.partition(begin)[2].partition(end)[0].strip()


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_rules_are_all_there_with_their_titles() -> None:
    rows = block(readme(), "<!-- rules: begin -->", "<!-- rules: end -->").splitlines()[2:]
    assert rows == [
        f"| [`{code}`](rules/{code.lower()}.py) | {rule.title} | {', '.join(rule.witnesses)} |"
        for code, rule in RULES.items()
    ]


def test_the_excerpt_is_the_examples_real_output() -> None:
    excerpt = block(readme(), "<!-- excerpt: begin -->", "<!-- excerpt: end -->").strip("`\n")
    command = [sys.executable, "-m", "auditor", "examples/illegal_prequant_ttt"]
    command += ["--validation-text", "examples/validation_text.json"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == cli.EXIT_FAIL
    real = iter(finished.stdout.splitlines())
    shown = [line for line in excerpt.splitlines() if line.strip() != "..."]
    assert len(shown) > 5
    for line in shown:
        assert any(line.rstrip() == other.rstrip() for other in real), (
            f"not in the output, or not in this order: {line}"
        )


def test_the_accuracy_figures_are_those_of_the_committed_table() -> None:
    table = (ROOT / "benchmarks" / "accuracy" / "table.md").read_text(encoding="utf-8")
    summary = block(table, "## Summary\n", "## By rule\n")
    assert block(readme(), BEGIN, END) == summary


def test_exit_codes_are_explained_as_the_program_has_them() -> None:
    codes = [cli.EXIT_PASS, cli.EXIT_FAIL, cli.EXIT_NOT_DONE, cli.EXIT_REVIEW]
    rows = [line for line in readme().splitlines() if line[:3] in {f"| {code}" for code in codes}]
    assert [int(row[2]) for row in rows] == sorted(codes)
