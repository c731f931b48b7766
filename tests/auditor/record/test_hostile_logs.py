"""Logs that were made to break their reader, or to slip a number past it."""

from __future__ import annotations

import pytest

from auditor.record.lines import MAX_LINE_CHARACTERS, MAX_LINES, MAX_TEXT_CHARACTERS
from auditor.record.logs import MAX_RAW_LINES, read_log, read_logs
from auditor.record.metrics import MAX_METRICS
from auditor.submission.model import Role, StoredFile

SCORE = "final val_loss:2.07269931 val_bpb:1.22757938"
TEN_MEGABYTES = 10 * 1024 * 1024


@pytest.mark.parametrize("filler", ["a", " ", "a=", "[", "1,", "val_bpb", "x:1 ", "\r", "=", "-", "0/", "((", "\x1b["])
def test_one_line_of_ten_megabytes(filler: str) -> None:
    (log,) = read_log("train.log", (filler * (TEN_MEGABYTES // len(filler)) + "\n" + SCORE + "\n").encode())
    assert log.final_metrics[-1].bpb_text == "1.22757938"
    assert all(len(line) <= MAX_LINE_CHARACTERS for line in log.raw_lines)


def test_a_file_beyond_the_bound_keeps_its_head_and_its_tail() -> None:
    text = "seed:7\n" + "x" * 999 + "\n" + ("y" * 1023 + "\n") * (MAX_TEXT_CHARACTERS // 1024 + 100) + SCORE + "\n"
    (log,) = read_log("train.log", text.encode())
    assert log.truncated
    assert (log.seed, log.final_metrics[-1].val_bpb) == (7, 1.22757938)
    assert log.final_metrics[-1].place.line == text.count("\n")


def test_more_lines_than_the_bound() -> None:
    (log,) = read_log("train.log", ("\n" * (2 * MAX_LINES) + SCORE + "\n").encode())
    assert log.truncated and log.lines == 2 * MAX_LINES + 1
    assert len(log.raw_lines) <= MAX_RAW_LINES
    assert log.final_metrics[-1].place.line == 2 * MAX_LINES + 1


def test_a_flood_of_scores_is_bounded() -> None:
    (log,) = read_log(
        "train.log", "".join(f"label{number} val_bpb:1.{number:06d}\n" for number in range(20_000)).encode()
    )
    assert len(log.metrics) <= MAX_METRICS


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 5000, b"\xff\xfe", bytes(range(256)) * 40, "\u2028\u2029\x85".encode() * 100]
)
def test_rubbish_is_an_empty_log(data: bytes) -> None:
    assert all(not run.metrics for run in read_log("train.log", data))


def test_a_number_of_ten_thousand_digits_is_no_score() -> None:
    (log,) = read_log(
        "train.log", f"final val_bpb:1.{'2' * 10_000} x\nfinal val_loss:{'9' * 400} val_bpb:1e999\n".encode()
    )
    assert all(line.val_bpb is None or line.val_bpb < 10 for line in log.metrics)


def test_line_separators_inside_a_line_do_not_move_line_numbers() -> None:
    (log,) = read_log("train.log", f"one\u2028still one\x0cstill one\n{SCORE}\n".encode())
    assert log.final_metrics[0].place.line == 2


def test_many_large_logs_share_a_budget() -> None:
    large = (b"y" * 200 + b"\n") * 60_000
    files = [StoredFile(f"log{number}.txt", len(large), Role.LOG, large + SCORE.encode()) for number in range(6)]
    runs = read_logs(files)
    assert [run.truncated for run in runs] == [False, True, True, True, True, True]
    assert all(run.final_metrics[-1].bpb_text == "1.22757938" for run in runs)
