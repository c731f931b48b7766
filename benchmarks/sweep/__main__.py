"""Command line: ``python -m benchmarks.sweep RESULTS --table CSV --summary MD``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.sweep.table import ResultsError, as_csv, read_results, summary


def main() -> int:
    """Write the table and the summary; 2 when the results cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument("results", type=Path, help="results.jsonl of a sweep")
    parser.add_argument("--table", type=Path, default=Path(__file__).with_name("table.csv"), metavar="CSV")
    parser.add_argument("--summary", type=Path, default=Path(__file__).with_name("summary.md"), metavar="MD")
    parser.add_argument("--made", default="", metavar="TEXT", help="how the sweep was made: time, cores, version")
    arguments = parser.parse_args()
    try:
        rows = read_results(arguments.results)
    except (ResultsError, OSError) as error:
        print(f"benchmarks.sweep: {error}", file=sys.stderr)
        return 2
    heading = "# Sweep of the challenge's pull requests\n\nWritten by `python -m benchmarks.sweep`; do not edit.\n\n"
    arguments.table.write_text(as_csv(rows), encoding="ascii")
    arguments.summary.write_text(heading + summary(rows, arguments.made), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
