"""Log text as clean, bounded lines, and the numbers that stand in them behind a key.

A hostile log can be one line of 10 MB or ten million lines of one character. Everything here is linear in what it
reads, and what it reads is bounded: the head and the tail of the text, the head and the tail of each line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from auditor.record.model import Place

MAX_TEXT_CHARACTERS = 16 * 1024 * 1024  # ten times the largest log of the challenge
MAX_LINES = 120_000
MAX_LINE_CHARACTERS = 4_000
_HEAD_SHARE = 0.75  # of a bound that is spent on the beginning; the rest goes to the end, where the results are

_ESCAPES = re.compile(r"\x1b\[[0-9;?]{0,16}[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PREFIX = re.compile(
    r"\s{0,40}(?:"
    r"\[?(?:default|rank|Rank)\s?\d{1,4}\]?:\s?"  # [rank0]:  [default0]:  rank 0:
    r"|\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?\]?[ \t:|-]{0,4}"
    r"|\[?\d\d:\d\d:\d\d(?:[.,]\d{1,9})?\]?[ \t:|-]{1,4}"
    r"|\d{10}(?:\.\d{1,6})?[ \t]+(?=\S)"  # seconds of the epoch
    r"|\[(?:modal|local|run|train|stdout|stderr|worker|out|err|remote|pod|log|\d{1,3})\]\s?"
    r"|\((?:\w{1,40} )?pid=\d{1,9}(?:, ip=[\d.]{1,20})?\)\s?"
    r"|(?:INFO|DEBUG|WARNING)(?::[\w.]{0,40})?:?\s|\d{1,3}:\s(?=\S)"
    r")"
)

_WHOLE = r"(?:\d{1,3}(?:,\d{3}){1,6}(?!\d)|\d{1,30}(?:_\d{3}){0,6})"  # 16000000, 16,000,000 or 16_000_000
NUMBER = rf"[-+]?(?:{_WHOLE}(?:\.\d{{0,30}})?|\.\d{{1,30}})(?:[eE][-+]?\d{{1,3}})?|[-+]?(?:nan|inf)\b"
_KEYED = re.compile(
    rf"(?<![\w./-])(?P<key>[A-Za-z][\w./-]{{0,60}})\"?\s{{0,16}}[:=]\s{{0,40}}(?P<number>{NUMBER})(?P<unit>[A-Za-z%]{{0,6}})",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Line:
    """One visible line of a log: `text` without prefixes, `number` from 1 in the file."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Keyed:
    """``key:number unit`` inside a line; `start` and `end` are offsets into its text."""

    key: str
    text: str
    unit: str
    start: int
    end: int

    @property
    def value(self) -> float:
        return float(self.text.replace(",", "").replace("_", ""))


def bounded_lines(text: str, limit: int = MAX_TEXT_CHARACTERS) -> tuple[list[tuple[int, str]], int, bool]:
    """``(line number, raw line)`` of what is read, the file's number of lines, and whether something was left out."""
    cut = False
    if len(text) > limit:
        head = int(limit * _HEAD_SHARE)
        tail_start = len(text) - (limit - head)
        skipped = text.count("\n", head, tail_start)
        first, last = text[:head].split("\n"), text[tail_start:].split("\n")
        numbered = list(enumerate(first, 1)) + list(enumerate(last, len(first) + skipped))
        total, cut = numbered[-1][0], True
    else:
        numbered = list(enumerate(text.split("\n"), 1))
        total = len(numbered)
        if total > 1 and not numbered[-1][1]:
            numbered.pop()
            total -= 1
    if len(numbered) > MAX_LINES:
        head = int(MAX_LINES * _HEAD_SHARE)
        numbered, cut = numbered[:head] + numbered[head - MAX_LINES :], True
    return numbered, total, cut


def clean(raw: str) -> list[str]:
    """The visible texts of one raw line: split where a carriage return overwrote it, escapes and prefixes removed."""
    if len(raw) > MAX_LINE_CHARACTERS * 4:
        raw = raw[: MAX_LINE_CHARACTERS * 2] + "\r" + raw[-MAX_LINE_CHARACTERS * 2 :]
    pieces = raw.split("\r") if "\r" in raw else [raw]
    if len(pieces) > 16:  # a progress bar: its beginning and its last states
        pieces = pieces[:8] + pieces[-8:]
    return [cleaned for piece in pieces if (cleaned := _clean_piece(piece)) or len(pieces) == 1]


def _clean_piece(piece: str) -> str:
    if len(piece) > MAX_LINE_CHARACTERS:
        head = int(MAX_LINE_CHARACTERS * _HEAD_SHARE)
        piece = piece[:head] + " ... " + piece[head - MAX_LINE_CHARACTERS :]
    if not piece.isprintable():
        piece = _ESCAPES.sub("", piece).replace("\t", " ")
    return strip_prefixes(piece).rstrip()


def strip_prefixes(text: str) -> str:
    """`text` without rank marks, timestamps and log levels in front (at most four of them)."""
    for _ in range(4):
        match = _PREFIX.match(text)
        if not match:
            break
        text = text[match.end() :]
    return text


def keyed_numbers(text: str) -> Iterator[Keyed]:
    """Every ``key:number`` of a line, in order."""
    for match in _KEYED.finditer(text):
        yield Keyed(match["key"], match["number"], match["unit"].lower(), match.start(), match.end())


def number(text: str) -> float | None:
    """The number that `text` spells, with thousands separators; None when it is none."""
    cleaned = text.strip().replace(",", "").replace("_", "")
    if not re.fullmatch(NUMBER, cleaned, re.IGNORECASE):
        return None
    return float(cleaned)


def seconds(value: float, unit: str) -> float | None:
    """A duration in seconds; None for a unit that is none."""
    factor = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "secs": 1.0, "seconds": 1.0, "second": 1.0, "m": 60.0, "min": 60.0}.get(
        unit
    )
    return None if factor is None else round(value * factor, 9)


def place(path: str, line: Line) -> Place:
    """Where `line` of the file at `path` stands."""
    return Place(path, line.number)
