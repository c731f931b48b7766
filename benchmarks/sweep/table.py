"""Results of a sweep as CSV, and in a few counts."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from auditor.sweep.tables import VERDICTS
from rules import CODES

COLUMNS = ("pr", "verdict", "fail", "review", "claimed_bpb", "recomputed_bpb", "artifact_bytes", "track")
Row = Mapping[str, Any]


class ResultsError(Exception):
    """The results cannot be used; the message says where."""


def read_results(path: Path) -> list[Row]:
    """Rows of a results.jsonl, by pull request. Raises ResultsError on a line that is none."""
    rows: list[Row] = []
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), start=1):
        try:
            row = json.loads(line)
            assert row["verdict"] in VERDICTS
            rows.append(row)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise ResultsError(f"{path}, line {number}: no result of a sweep") from error
    return sorted(rows, key=lambda row: row["pull_request"] or 0)


def as_csv(rows: Sequence[Row]) -> str:
    """One line a pull request: numbers and codes only."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            [
                row["pull_request"],
                row["verdict"],
                " ".join(code for code in CODES if row[code] == "fail"),
                " ".join(code for code in CODES if row[code] == "review"),
                _figure(row["claimed_bpb"]),
                _figure(row["recomputed_bpb"]),
                row["artifact_bytes"] if row["artifact_bytes"] is not None else "",
                row["track"],
            ]
        )
    return text.getvalue()


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def summary(rows: Sequence[Row], sweep: str) -> str:
    """Counts by verdict and rule, as Markdown. `sweep`: how the sweep was made, in its own words."""
    verdicts = Counter(row["verdict"] for row in rows)
    counted = ", ".join(f"{verdicts[name]:,} {name.replace('_', ' ')}" for name in VERDICTS)
    cpu_seconds = sorted(row["cpu_seconds"] for row in rows)
    lines = [
        f"{len(rows):,} pull requests: {counted}.",
        "",
        *([sweep, ""] if sweep else []),
        f"One audit takes {cpu_seconds[len(cpu_seconds) // 2]:.2f} s of CPU in the median, "
        f"{cpu_seconds[-1]:.1f} s at most, {sum(cpu_seconds) / 60:.0f} min for all.",
        "",
        "| rule | fail | review | pass | not checked or not applicable |",
        "| --- | --- | --- | --- | --- |",
    ]
    for code in CODES:
        found = Counter(row[code] for row in rows if row[code] is not None)
        rest = found["not_checked"] + found["not_applicable"]
        lines.append(f"| {code} | {found['fail']} | {found['review']} | {found['pass']} | {rest} |")
    compared = [row for row in rows if row["claimed_bpb"] is not None and row["recomputed_bpb"] is not None]
    lines += ["", f"{len(compared):,} claims were found in the submission's own logs."]
    return "\n".join(lines) + "\n"
