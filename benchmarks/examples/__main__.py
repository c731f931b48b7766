"""Audit the folders of examples/ by reading and with a run of their scripts, and tell what each witness says.

    python -m benchmarks.examples [--python PYTHON] [--output FILE] [--table FILE] [NAME ...]

PYTHON is an interpreter with torch. Results are added to FILE as JSON lines, and what stands there is not run again.
The exit code is 1 when a legal folder is accused or questioned, or a violation passes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from auditor.audit import AuditReport, audit
from auditor.findings import Status, Witness
from auditor.run.witness import RunOptions
from auditor.submission import load_folder
from rules.base import ValidationText

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
WRONG = (Status.FAIL.value, Status.REVIEW.value)

Row = Mapping[str, object]


def main() -> int:
    """Audit what is missing, write the table."""
    options = _arguments()
    facts = json.loads((EXAMPLES / "validation_text.json").read_text(encoding="utf-8"))
    text = ValidationText(facts["name"], facts["text_bytes"], official=False)
    known = _known(options.output)
    for name in options.names or sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()):
        if name in known:
            continue
        known[name] = _row(EXAMPLES / name, text, RunOptions(python=options.python or ""))
        if options.output:
            with options.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(known[name]) + "\n")
        print(_cells(known[name]), file=sys.stderr, flush=True)
    rows = [known[name] for name in sorted(known, key=lambda name: (not name.startswith("legal_"), name))]
    missing = sorted({path.name for path in EXAMPLES.iterdir() if path.is_dir()} - known.keys())
    if options.table:
        options.table.write_text(table(rows, missing), encoding="utf-8")
    else:
        print(table(rows, missing), end="")
    return int(any(is_mistake(row) for row in rows))


def table(rows: Sequence[Row], missing: Sequence[str] = ()) -> str:
    """Markdown: how many are right, then one row a folder; `missing` are folders that were not run."""
    legal = [row for row in rows if str(row["name"]).startswith("legal_")]
    illegal = [row for row in rows if row not in legal]
    lines = [
        "# The examples, by reading and with a run",
        "",
        "`python -m benchmarks.examples`; what does not pass; log M in nats, largest of the runs.",
        "",
        f"- {sum(row['verdict'] == 'pass' for row in legal)} of {len(legal)} legal folders pass every rule with a run",
        f"- {sum(row['verdict'] == 'fail' for row in illegal)} of {len(illegal)} violations fail with a run, "
        f"{sum(row['verdict'] == 'review' for row in illegal)} need a person",
        f"- by reading alone {sum(_has(row['read'], 'fail') for row in illegal)} violations fail, "
        f"{sum(_has(row['read'], 'review') and not _has(row['read'], 'fail') for row in illegal)} need a person, and "
        f"{sum(not row['read'] for row in legal)} legal folders pass",
        *([f"- not run for this table: {', '.join(missing)}"] if missing else []),
        "",
        "| folder | by reading | by the run alone | both | log M | seconds of the run |",
        "|---|---|---|---|--:|--:|",
        *("| " + " | ".join(_cells(row)) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def is_mistake(row: Row) -> bool:
    """True when a legal folder does not pass, or a violation does."""
    return (row["verdict"] == Status.PASS.value) != str(row["name"]).startswith("legal_")


def _row(folder: Path, text: ValidationText, options: RunOptions) -> Row:
    read = audit(load_folder(folder), text=text)
    began = time.perf_counter()
    report = audit(load_folder(folder), text=text, run=options)
    seconds = time.perf_counter() - began
    runs = report.run.runs if report.run else ()
    alone = report.alone.get(Witness.RUN, {})
    return {
        "name": folder.name,
        "read": _not_passed(read),
        "run": {rule: status.value for rule, status in alone.items() if status.value in WRONG},
        "both": _not_passed(report),
        "verdict": report.verdict.status.value,
        "log_m": max((run.test.log_m for run in runs if run.test), default=None),
        "failure": next((run.failure for run in runs if run.failure), report.heard.get(Witness.RUN, "")),
        "seconds": round(seconds, 1),
    }


def _not_passed(report: AuditReport) -> dict[str, str]:
    return {item.rule: item.status.value for item in report.verdict.rules if item.status.value in WRONG}


def _cells(row: Row) -> list[str]:
    log_m = row["log_m"]
    return [
        str(row["name"]),
        _rules(row["read"]),
        _rules(row["run"]) if log_m is not None or row["run"] else str(row["failure"]) or "no score",
        _rules(row["both"]),
        f"{log_m:+,.0f}" if isinstance(log_m, int | float) else "",
        str(row["seconds"]),
    ]


def _rules(statuses: object) -> str:
    assert isinstance(statuses, dict)
    order = sorted(statuses, key=lambda rule: (statuses[rule] != Status.FAIL.value, rule))
    return ", ".join(f"{rule} {'FAIL' if statuses[rule] == 'fail' else statuses[rule]}" for rule in order) or "pass"


def _has(statuses: object, status: str) -> bool:
    return isinstance(statuses, dict) and status in statuses.values()


def _known(path: Path | None) -> dict[str, Row]:
    if path is None or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {str(row["name"]): row for row in rows}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.examples", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these folders")
    parser.add_argument("--python", help="interpreter with torch (default: this one)")
    parser.add_argument("--output", type=Path, help="JSON lines, added to")
    parser.add_argument("--table", type=Path, help="where the table goes (default: standard output)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
