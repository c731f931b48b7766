"""Audits of the accepted records: the submissions that no audit may accuse without a reason a person confirms."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.accuracy.labels import LabelError


def read_accepted(path: Path) -> tuple[int, ...]:
    """Numbers of the pull requests in the column "pr" of a leaderboard table, in ascending order."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        if "pr" not in (rows.fieldnames or ()):
            raise LabelError(f'{path}: has no column "pr"')
        return tuple(sorted({int(row["pr"]) for row in rows if row["pr"].strip().isdigit()}))
