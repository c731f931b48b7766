"""The leaderboard table names the accepted records."""

from pathlib import Path

import pytest

from benchmarks.accuracy.accepted import read_accepted
from benchmarks.accuracy.labels import LabelError


def test_numbers_are_read_once_each_and_rows_without_one_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.csv"
    path.write_text("created,pr,score\n2026-03-18,,1.2244\n2026-03-19,42,1.2\n2026-03-19,39,1.2\n2026-03-20,42,1.1\n")
    assert read_accepted(path) == (39, 42)


def test_a_table_without_the_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.csv"
    path.write_text("number,score\n1,2\n")
    with pytest.raises(LabelError, match='no column "pr"'):
        read_accepted(path)
