"""Writes what the README shows of the program: the excerpt, the table of rules, the accuracy figures.

``python -m benchmarks.readme`` replaces the three blocks between their markers; a test compares them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from auditor import cli
from rules import RULES

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ("examples/illegal_prequant_ttt", "--validation-text", "examples/validation_text.json")
FIRST_STEPS = 2  # of an accusation; its last step is shown, too
FIRST_RULES = 4  # lines of the closing list of rules


def excerpt(output: str) -> str:
    """The parts of a text report that show what it is like; "..." stands for what is left out."""
    lines = output.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("FAIL C3"))
    end = lines.index("", start)
    accusation = lines[start:end]
    steps = [number for number, line in enumerate(accusation) if line.lstrip().split(".")[0].isdigit()]
    closing = max(number for number, line in enumerate(lines) if line.startswith("C1 "))
    shown = [*lines[:3], "", *accusation[: steps[FIRST_STEPS]], "...", *accusation[steps[-1] :], "..."]
    return "\n".join(["```", *shown, *lines[closing : closing + FIRST_RULES], "...", "", lines[-1], "```"])


def example_output() -> str:
    """The text report of the example that the README shows."""
    command = [sys.executable, "-m", "auditor", *EXAMPLE]
    environment = {**os.environ, "COLUMNS": str(cli.DEFAULT_WIDTH)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False).stdout


def rules_table() -> str:
    """Every rule with its title and the witnesses that can say something about it."""
    rows = [
        f"| [`{code}`](rules/{code.lower()}.py) | {rule.title} | {', '.join(rule.witnesses)} |"
        for code, rule in RULES.items()
    ]
    return "\n".join(["| code | rule | witnesses |", "|---|---|---|", *rows])


def accuracy_summary() -> str:
    """The summary of the accuracy table as it was last measured."""
    table = (ROOT / "benchmarks" / "accuracy" / "table.md").read_text(encoding="utf-8")
    return table.partition("## Summary\n")[2].partition("## By rule\n")[0].strip()


def replace_block(text: str, name: str, block: str) -> str:
    """`text` with what stands between the markers of `name` replaced. Raises ValueError when they are not there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f'the markers "{begin}" and "{end}" are not both there')
    return f"{before}{begin}\n{block}\n{end}{after}"


def regenerated(text: str) -> str:
    """The README `text` with all its blocks as the program would write them now."""
    blocks = {"excerpt": excerpt(example_output()), "rules": rules_table(), "accuracy": accuracy_summary()}
    for name, block in blocks.items():
        text = replace_block(text, name, block)
    return text


def main() -> None:
    """Rewrite README.md in place."""
    path = ROOT / "README.md"
    path.write_text(regenerated(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
