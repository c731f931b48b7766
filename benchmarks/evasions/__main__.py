"""Command line: ``python -m benchmarks.evasions`` prints what the rules say of every evasion and every honest twin."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from auditor.findings import Status
from benchmarks.evasions.cases import FOLDER, Case, CorpusError, read_corpus
from benchmarks.evasions.judging import judge


@dataclass(frozen=True, slots=True)
class Row:
    """One case under one rule."""

    case: Case
    rule: str
    expected: frozenset[Status]
    got: Status
    reason: str

    @property
    def right(self) -> bool:
        return self.got in self.expected


def rows_of(case: Case) -> Iterator[Row]:
    """The rules that the case names, and for an honest case every other one that accuses it."""
    results = judge(case)
    for rule, expected in case.expected.items():
        yield Row(case, rule, expected, results[rule].status, results[rule].reason)
    for rule, result in results.items():
        if case.honest and rule not in case.expected and result.status is Status.FAIL:
            yield Row(case, rule, frozenset(Status) - {Status.FAIL}, result.status, result.reason)


def main() -> int:
    """Print the table and the totals; 0 when every case got what it should, 1 otherwise, 2 for a broken corpus."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evasions", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the files of cases")
    parser.add_argument("--theme", help="only this theme")
    parser.add_argument("--wrong", action="store_true", help="only what is not as it should be, with reasons")
    arguments = parser.parse_args()
    try:
        cases = read_corpus(arguments.folder)
    except (CorpusError, OSError) as error:
        print(f"benchmarks.evasions: {error}", file=sys.stderr)
        return 2
    rows = [row for case in cases if arguments.theme in (None, case.theme) for row in rows_of(case)]
    for row in rows:
        if not (arguments.wrong and row.right):
            print(_line(row, with_reason=arguments.wrong))
    print("\n".join(_totals(rows)))
    return 0 if all(row.right for row in rows) else 1


def _line(row: Row, *, with_reason: bool) -> str:
    kind = "twin" if row.case.honest else "evasion"
    expected = "|".join(status.value for status in Status if status in row.expected)
    mark = "" if row.right else "  <- WRONG"
    line = f"{row.case.theme:24} {row.case.name:44} {kind:8} {row.rule:10} {expected:12} {row.got.value:12}{mark}"
    return f"{line}\n    {row.reason}" if with_reason else line


def _totals(rows: list[Row]) -> Iterator[str]:
    yield ""
    for honest, kind in ((False, "evasions"), (True, "honest twins")):
        chosen = [row for row in rows if row.case.honest is honest]
        got = Counter(row.got.value for row in chosen)
        names = {row.case.name for row in chosen}
        wrong = sum(not row.right for row in chosen)
        counts = ", ".join(f"{count} {status}" for status, count in sorted(got.items()))
        yield f"{len(names)} {kind}, {len(chosen)} verdicts: {counts}; {wrong} not as they should be"


if __name__ == "__main__":
    sys.exit(main())
