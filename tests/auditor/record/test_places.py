"""Line numbers of raw lines, from neighbours whose number is known."""

from __future__ import annotations

from auditor.record.logs import read_log
from auditor.record.places import RawPlaces

SOURCE = "import os\n" * 30
HEAD = "=" * 100


def test_embedded_source_shifts_what_follows() -> None:
    text = (
        f"{SOURCE}{HEAD}\nRunning Python 3.12\n{HEAD}\nseed:1\n"
        "stopping_early: wallclock_cap train_time:600138ms step:5448/20000\ngptq:calibrating\n"
        "final val_loss:2.0 val_bpb:1.0\n"
    )
    (log,) = read_log("train.log", text.encode())
    places = RawPlaces(log)
    lines = text.split("\n")
    for index, raw in enumerate(log.raw_lines):
        if raw == "gptq:calibrating":
            assert lines[places.place(index).line - 1] == raw
            break
    else:
        raise AssertionError("the line was not read")


def test_without_an_anchor_the_whole_file_is_named() -> None:
    (log,) = read_log("train.log", b"nothing known\nhere\n")
    assert RawPlaces(log).place(1).line == 0
