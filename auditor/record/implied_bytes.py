"""How many bytes of text a printed loss and bpb imply.

``val_bpb = val_loss / ln 2 * tokens / bytes``, so a line that prints both, in a log that says how many tokens were
scored, says how many bytes its score was divided by - whatever the tokenizer. Nothing is judged here: rules/bytes.py
knows what the counts mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from auditor.record.model import MetricLine, Place, Record
from auditor.record.places import RawPlaces

LN2 = math.log(2.0)
SAME_LOSS = 1e-3  # two lines whose losses differ by less print one evaluation twice (rounded and exact)
MAX_READINGS_OF_A_LOG = 500  # final scores first
MAX_STATED = 50  # a log
MIN_RATIO = 1e-6  # bpb per nat below which, or above whose inverse, a pair of numbers is no score
MIN_STATED_TOKENS = 100_000  # "tokens=.. bytes=.." of fewer tokens is a progress line, not a denominator

_STATED_TOKENS = re.compile(r"\btokens\s{0,4}[=:]\s{0,4}(\d[\d,]{4,14})")
_STATED_BYTES = re.compile(r"(?<![\w.-])bytes\s{0,4}[=:]\s{0,4}(\d[\d,]{4,14})")
_STATED_SCORE = re.compile(r"bpb|loss|NN_byte", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteReading:
    """What one metric line says about bytes.

    `ratio` is bpb per nat; `uncertainty` its relative error from the printed digits alone; `tokens` the validation
    tokens its log prints (None where no log does); `implied_bytes` the denominator that follows.
    """

    line: MetricLine
    log: str
    loss: float
    bpb: float
    ratio: float
    uncertainty: float
    tokens: int | None

    @property
    def implied_bytes(self) -> float | None:
        return None if self.tokens is None else self.tokens / (self.ratio * LN2)


@dataclass(frozen=True, slots=True)
class StatedBytes:
    """A line that states its own denominator: ``tokens=47851520 bytes=151074309`` beside a score."""

    tokens: int | None
    text_bytes: int
    log: str
    place: Place
    raw: str


def half_unit(text: str) -> float:
    """Half a unit of the last digit of a printed number ("1.0856" -> 0.00005, "1.2e-3" -> 0.00005)."""
    mantissa, _, exponent = text.strip().lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    scale = int(exponent) if exponent.lstrip("+-").isdigit() and len(exponent) <= 4 else 0
    return 0.5 * 10.0 ** (scale - decimals)


def byte_readings(record: Record) -> tuple[ByteReading, ...]:
    """Every line of every log that prints a loss and a bpb, final ones first, repetitions left out.

    A log that does not print its number of validation tokens borrows it from the other logs when those agree.
    """
    printed = {log.val_tokens for log in record.logs if log.val_tokens}
    common = printed.pop() if len(printed) == 1 else None
    readings: list[ByteReading] = []
    for log in record.logs:
        seen: set[tuple[str, str, bool]] = set()
        for line in (*log.final_metrics, *(line for line in log.metrics if line.during_training or line.running)):
            if len(seen) >= MAX_READINGS_OF_A_LOG:
                break
            key = (line.loss_text, line.bpb_text, line.during_training)
            reading = _reading(log.path, line, log.val_tokens or common)
            if reading is not None and key not in seen:
                seen.add(key)
                readings.append(reading)
    return tuple(readings)


def declared_readings(record: Record) -> tuple[ByteReading, ...]:
    """The same from the losses and scores that submission.json or the README declare, seed by seed."""
    statement = record.statement
    pairs = [(seed.val_loss, seed.val_bpb, seed.place) for seed in statement.seeds]
    pairs.append((statement.val_loss, statement.val_bpb, statement.val_bpb_place or Place("")))
    lines = [
        MetricLine("declared", loss, bpb, repr(loss), repr(bpb), None, place, "")
        for loss, bpb, place in pairs
        if loss is not None and bpb is not None
    ]
    return tuple(reading for line in lines if (reading := _reading(line.place.path, line, None)))


def _reading(log: str, line: MetricLine, tokens: int | None) -> ByteReading | None:
    loss, bpb = line.val_loss, line.val_bpb
    if loss is None or bpb is None or not (math.isfinite(loss) and math.isfinite(bpb)) or loss <= 0 or bpb <= 0:
        return None
    if not MIN_RATIO < bpb / loss < 1 / MIN_RATIO:
        return None
    uncertainty = half_unit(line.loss_text) / loss + half_unit(line.bpb_text) / bpb
    return ByteReading(line, log, loss, bpb, bpb / loss, uncertainty, tokens)


def evaluations(readings: Iterable[ByteReading]) -> int:
    """How many different evaluations stand behind `readings`.

    Lines of one log that repeat one loss (rounded and exact) count once, and so do copies of a line in several logs.
    """
    by_log: dict[str, list[ByteReading]] = {}
    for reading in readings:
        by_log.setdefault(reading.log, []).append(reading)
    seen: set[str] = set()
    for lines in by_log.values():
        last = -math.inf
        for reading in sorted(lines, key=lambda item: (item.loss, -len(item.line.loss_text))):
            if reading.loss - last > SAME_LOSS:
                seen.add(reading.line.loss_text)
                last = reading.loss
    return len(seen)


def same_ratio(readings: Sequence[ByteReading], tolerance: float) -> bool:
    """Whether one ratio explains all `readings`: relative spread within `tolerance` plus what rounding explains."""
    if not readings:
        return True
    low = max(reading.ratio * (1 - reading.uncertainty) for reading in readings)
    high = min(reading.ratio * (1 + reading.uncertainty) for reading in readings)
    return low <= high * (1 + tolerance)


def stated_bytes(record: Record) -> tuple[StatedBytes, ...]:
    """Lines that state the bytes that a score was divided by, in log order."""
    found = []
    for log in record.logs:
        places, stated = None, 0
        for index, text in enumerate(log.raw_lines):
            if "bytes" not in text or not _STATED_SCORE.search(text):
                continue
            counted = _STATED_BYTES.search(text)
            if not counted:
                continue
            scored = _STATED_TOKENS.search(text)
            tokens = int(scored[1].replace(",", "")) if scored else None
            if tokens is not None and tokens < MIN_STATED_TOKENS:
                continue
            text_bytes = int(counted[1].replace(",", ""))
            places, stated = places or RawPlaces(log), stated + 1
            if stated > MAX_STATED:
                break
            found.append(StatedBytes(tokens, text_bytes, log.path, places.place(index), text[:300]))
    return tuple(found)
