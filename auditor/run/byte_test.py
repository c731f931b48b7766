"""The byte test: a printed bpb and loss must differ by the exact tokens and bytes of the generated text.

``bpb = loss / ln 2 * tokens / bytes`` for every correct evaluation of the whole stream. The stream was made for the
audit, so its byte count is known exactly, and so are the counts that known mistakes give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.run.incompressibility import PrintedScore, rounded_up
from auditor.run.stage.sentencepiece_model import ByteTables

MARKER_AS_BYTES = "the word marker U+2581 is counted as its own three UTF-8 bytes"
SPACE_TWICE = "the leading space is counted in the piece table and added again"

CORRECT_WITHIN = 0.01  # relative: boundaries between windows and a dropped tail move the count by less
NAMED_WITHIN = 0.003  # relative: how closely a known mistake must explain the factor
FAVOURS = 1.02  # counts above the truth by less are not worth a reviewer's time


@dataclass(frozen=True, slots=True)
class ByteCount:
    """The bytes that a printed pair implies, beside the truth.

    `factor` is implied/true; `mistake` names the known wrong count that explains it ("" when none does).
    """

    score: PrintedScore
    implied_bytes: float
    true_bytes: int
    mistake: str = ""

    @property
    def factor(self) -> float:
        return self.implied_bytes / self.true_bytes

    @property
    def correct(self) -> bool:
        return abs(self.factor - 1) <= CORRECT_WITHIN

    @property
    def favours_the_score(self) -> bool:
        return self.factor >= FAVOURS


def count_bytes(
    score: PrintedScore, predictions: int, true_bytes: int, mistakes: Mapping[str, int] = {}
) -> ByteCount | None:
    """What a printed pair says of the byte count; None when it prints only one of both, or too few digits.

    `predictions` is the number of scored tokens, `mistakes` maps known mistakes to the byte count each gives for the
    same text.
    """
    loss, bpb = score.val_loss, score.val_bpb
    if not loss or not bpb or loss <= 0 or bpb <= 0 or not true_bytes:
        return None
    rounding = (rounded_up(score.loss_text) - loss) / loss + (rounded_up(score.bpb_text) - bpb) / bpb
    if not math.isfinite(rounding) or rounding > NAMED_WITHIN:
        return None
    implied = loss * predictions / (bpb * math.log(2))
    named = [name for name, count in mistakes.items() if abs(implied / count - 1) <= NAMED_WITHIN + rounding]
    return ByteCount(score, implied, true_bytes, named[0] if named else "")


def known_mistakes(tables: ByteTables, tokens: NDArray[np.uint16]) -> dict[str, int]:
    """The byte counts that mistakes found in submissions give for the predicted tokens of a stream (all but the first).

    Both were made by real submissions (#144, #1734): see the rule's page.
    """
    predicted, before = tokens[1:], tokens[:-1]
    base = int(tables.base_bytes[predicted].sum())
    marked = int(tables.leading_space[predicted].sum())
    spaces = int((tables.leading_space[predicted] & ~tables.boundary[before]).sum())
    return {MARKER_AS_BYTES: base + 3 * marked, SPACE_TWICE: base + marked + spaces}
