"""Differences of bpb that are called nats.

The challenge asks for 0.005 nats per token; a nat per token is 1.7 to 2.6 times as much bpb, depending on the
tokenizer, so the two must not be mixed up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from auditor.record.model import Place, Record
from auditor.record.readme import plain

MAX_LINES = 1_000
MAX_NUMBERS = 10  # a line
MAX_FOUND = 20
_NATS = re.compile(r"(?<![\d.])[-−–+~]?\s?(0\.\d{3,8})\s{0,2}nats\b(?!\s?/\s?byte|\s+per\s+byte)", re.IGNORECASE)
_SCORE = re.compile(r"(?<![\d.])([012]\.\d{3,10})(?![\d.])")
_LOSS_OVER_BPB = 1.5  # a loss in nats per token is 1.69 times the bpb with 1,024 tokens, more with larger vocabularies
_THRESHOLDS = (0.005,)


@dataclass(frozen=True, slots=True)
class MisnamedNats:
    """`text` nats, at `place`, is the difference of the bpbs `higher` and `lower`."""

    text: str
    higher: float
    lower: float
    place: Place


def bpb_called_nats(record: Record) -> list[MisnamedNats]:
    """Numbers the README calls nats that equal, to all their digits, a difference of two bpbs beside them.

    Beside means on the same line, or the claimed bpb and another one of the same line. A line that also names a loss
    with that difference is not one of them.
    """
    return list(islice(_found(record), MAX_FOUND))


def _found(record: Record) -> Iterator[MisnamedNats]:
    claim = record.statement.val_bpb
    losses = [line.val_loss for log in record.logs for line in log.final_metrics if line.val_loss is not None]
    for number, raw in enumerate(record.readme_text.split("\n")[:MAX_LINES], 1):
        if "nats" not in raw.lower():
            continue
        line = plain(raw[:2_000])
        for match in islice(_NATS.finditer(line), MAX_NUMBERS):
            value = float(match[1])
            if value in _THRESHOLDS:
                continue
            scores = [float(text) for text in _SCORE.findall(line) if not text.startswith("0.0")]
            if claim is not None:
                scores.append(claim)
            pair = _pair(value, len(match[1]) - 2, [score for score in scores if not _is_loss(score, claim)])
            if pair and not any(abs(score - loss) < 5e-4 for score in pair for loss in losses):
                yield MisnamedNats(match[1], *pair, Place(record.readme_path, number))


def _is_loss(score: float, claim: float | None) -> bool:
    """A number that is far above the claimed bpb is a loss in nats per token."""
    return claim is not None and score > _LOSS_OVER_BPB * claim


def _pair(value: float, decimals: int, scores: list[float]) -> tuple[float, float] | None:
    tolerance = 0.6 * 10.0**-decimals
    for higher in scores[:40]:
        for lower in scores[:40]:
            if higher > lower and abs(higher - lower - value) <= tolerance:
                return higher, lower
    return None
