"""Per-seed figures that README and submission.json state, against the log of that seed, cell by cell."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from auditor.record.claimed_line import seed_of, written_tolerance
from auditor.record.model import Place, ReadmeTable, Record, RunLog
from auditor.record.readme import cell_number

MAX_CELLS = 2_000
_SCORE = re.compile(r"bpb|bits per byte", re.IGNORECASE)
_LOSS = re.compile(r"val[_ ]?loss|\bloss\b|\bnats\b|\bnll\b", re.IGNORECASE)
_SIZE = re.compile(r"artifact|total.*bytes|bytes.*total|submission size|\bsize\b", re.IGNORECASE)
_CHANGE = re.compile(
    r"Δ|delta|gain|std|vs\b|diff|improve|gap|before|prior|previous|sota"
    r"|baseline|\bpr ?#?\d|#\d|parent|corrected|projected|-\s*$|reduction",
    re.IGNORECASE,
)
_SEED = re.compile(r"(?:seed\s{0,4}[=:#]?\s{0,4})?(\d{1,6})(?:\s{0,4}\([^)]{0,40}\))?$", re.IGNORECASE)
_SEED_HEAD = re.compile(r"(?:random )?seeds?|run|run \(seed\)|seed #", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cell:
    """A stated figure of one seed. kind: "bpb", "loss", "bytes". `text` is as written."""

    seed: int
    kind: str
    name: str
    value: float
    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class CheckedCell:
    """A cell beside the closest figure of that seed's logs; `nearest` is None where they print none of the kind."""

    cell: Cell
    nearest: float | None
    where: Place | None

    @property
    def difference(self) -> float | None:
        return None if self.nearest is None else self.cell.value - self.nearest

    @property
    def matches(self) -> bool:
        tolerance = _rounding(self.cell.value) if self.cell.kind == "bytes" else written_tolerance(self.cell.text)
        return self.difference is not None and abs(self.difference) <= tolerance


def _rounding(size: float) -> float:
    """15,300,000 bytes stands for anything within 100,000."""
    digits = f"{size:.0f}"
    return float(10 ** (len(digits) - len(digits.rstrip("0")))) if digits.strip("0") else 0.5


def checked_cells(record: Record) -> list[CheckedCell]:
    """Every stated per-seed figure whose seed has a log, beside the closest logged one."""
    by_seed: dict[int, list[RunLog]] = {}
    for log in record.logs:
        seed = seed_of(log)
        if seed is not None:
            by_seed.setdefault(seed, []).append(log)
    figures: dict[tuple[int, str], list[tuple[float, Place]]] = {}
    checked: list[CheckedCell] = []
    for cell in islice(stated_cells(record), MAX_CELLS):
        if logs := by_seed.get(cell.seed):
            key = cell.seed, cell.kind
            if key not in figures:
                figures[key] = sorted(_figures(logs, cell.kind), key=lambda item: item[0])
            checked.append(CheckedCell(cell, *_nearest(figures[key], cell.value)))
    return checked


def _nearest(figures: Sequence[tuple[float, Place]], value: float) -> tuple[float, Place] | tuple[None, None]:
    """The figure closest to `value` among ascending `figures`."""
    at = bisect_left(figures, value, key=lambda item: item[0])
    return min(figures[max(at - 1, 0) : at + 1], key=lambda item: abs(item[0] - value), default=(None, None))


def _figures(logs: Iterable[RunLog], kind: str) -> Iterator[tuple[float, Place]]:
    for log in logs:
        if kind == "bytes":
            yield from ((float(size.size_bytes), size.place) for size in log.sizes)
            continue
        for line in log.metrics:
            value = line.val_bpb if kind == "bpb" else line.val_loss
            if value is not None:
                yield value, line.place


def stated_cells(record: Record) -> Iterator[Cell]:
    """Per-seed figures of submission.json, then of the README's seed tables."""
    for claim in record.statement.seeds:
        if claim.place.path == record.readme_path:
            continue
        if claim.val_bpb is not None:
            yield Cell(claim.seed, "bpb", "val_bpb", claim.val_bpb, repr(claim.val_bpb), claim.place)
        if claim.val_loss is not None and claim.val_loss != claim.val_bpb:
            yield Cell(claim.seed, "loss", "val_loss", claim.val_loss, repr(claim.val_loss), claim.place)
        if claim.artifact_bytes is not None:
            yield Cell(claim.seed, "bytes", "artifact bytes", float(claim.artifact_bytes), "", claim.place)
    for table in record.tables:
        yield from _table_cells(table)


def _table_cells(table: ReadmeTable) -> Iterator[Cell]:
    if not table.header or not _SEED_HEAD.fullmatch(table.header[0].strip()):
        return
    kinds = [_kind(head) for head in table.header]
    for index, row in enumerate(table.rows):
        match = _SEED.match(row[0]) if row else None
        if not match:
            continue
        line = table.lines[index] if index < len(table.lines) else table.place.line
        for head, kind, text in list(zip(table.header, kinds, row, strict=False))[1:]:
            value = cell_number(text)
            if kind and value is not None and _plausible(kind, value):
                yield Cell(int(match[1]), kind, head, value, _digits(text), Place(table.place.path, line))


def _kind(head: str) -> str:
    if _CHANGE.search(head):
        return ""
    if _SCORE.search(head):
        return "bpb"
    if _LOSS.search(head) and "train" not in head.lower():
        return "loss"
    return "bytes" if _SIZE.search(head) else ""


def _plausible(kind: str, value: float) -> bool:
    return value >= 100_000 if kind == "bytes" else 0.0 < value < 20.0


def _digits(text: str) -> str:
    match = re.search(r"\d{1,12}(?:\.\d{1,15})?", text.replace(",", ""))
    return match[0] if match else text
