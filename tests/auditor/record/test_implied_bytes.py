"""Byte counts from printed pairs: rounding, repetitions, denominators stated in words."""

from __future__ import annotations

import math

import pytest

from auditor.record.implied_bytes import byte_readings, evaluations, half_unit, same_ratio, stated_bytes
from auditor.record.model import MetricLine, Place, Record, RunLog, Statement


def line(loss: str, bpb: str, *, label: str = "final", training: bool = False) -> MetricLine:
    return MetricLine(label, float(loss), float(bpb), loss, bpb, None, Place("a.log", 1), "", during_training=training)


def record(*lines: MetricLine, tokens: int | None = 1000, raw: tuple[str, ...] = (), path: str = "a.log") -> Record:
    return Record(Statement(), (RunLog(path, 1, None, metrics=lines, val_tokens=tokens, raw_lines=raw),))


@pytest.mark.parametrize(
    ("text", "expected"), [("1.0856", 5e-5), ("2", 0.5), ("1.2e-3", 5e-5), ("1.20E+01", 0.05), ("1,234.5", 0.05)]
)
def test_half_a_unit_of_the_last_digit(text: str, expected: float) -> None:
    assert half_unit(text) == pytest.approx(expected)


def test_the_count_follows_from_loss_bpb_and_tokens() -> None:
    (reading,) = byte_readings(record(line("2.00000000", "1.00000000")))
    assert reading.implied_bytes == pytest.approx(1000 * 2.0 / math.log(2.0))
    assert reading.uncertainty == pytest.approx(7.5e-9)


def test_a_repeated_line_is_read_once() -> None:
    assert len(byte_readings(record(line("2.0", "1.0"), line("2.0", "1.0", label="again")))) == 1


def test_a_log_without_tokens_borrows_what_all_others_print() -> None:
    logs = tuple(
        RunLog(path, 1, None, metrics=(line("2.0", "1.0"),), val_tokens=tokens)
        for path, tokens in (("a", 500), ("b", None), ("c", 500))
    )
    assert {reading.tokens for reading in byte_readings(Record(Statement(), logs))} == {500}
    mixed = (*logs, RunLog("d", 1, None, metrics=(), val_tokens=7))
    assert None in {reading.tokens for reading in byte_readings(Record(Statement(), mixed))}


def test_rounded_and_exact_lines_are_one_evaluation() -> None:
    readings = byte_readings(record(line("2.3504", "1.0433"), line("2.35043404", "1.04330173"), line("2.2", "1.0")))
    assert evaluations(readings) == 2


def test_rounding_explains_only_so_much() -> None:
    coarse = byte_readings(record(line("2.35", "1.04"), line("2.3500", "1.0433")))
    assert same_ratio(coarse, 0.0)
    fine = byte_readings(record(line("2.35000000", "1.04000000"), line("2.35000000", "1.04330000")))
    assert not same_ratio(fine, 1e-4)


def test_a_stated_denominator_is_read_with_its_line() -> None:
    score = MetricLine("final", 2.0, 1.0, "2.0", "1.0", None, Place("a.log", 40), "final val_loss:2.0 val_bpb:1.0")
    raw = ("ppm tokens=40540160 bytes=151078222 mix_bpb=1.004", "final val_loss:2.0 val_bpb:1.0")
    (found,) = stated_bytes(record(score, raw=raw))
    assert (found.tokens, found.text_bytes, found.place.line) == (40_540_160, 151_078_222, 39)


@pytest.mark.parametrize(
    "raw",
    [
        "saved_model: final.npz bytes:67212188",
        "Total submission size: 15900000 bytes",
        "ppm_progress tokens:51302 bytes:188408 mix_bpb:0.78",
        "elf.bytes=151078222 loss",
    ],
)
def test_other_counts_of_bytes_are_left_alone(raw: str) -> None:
    assert stated_bytes(record(raw=(raw,))) == ()
