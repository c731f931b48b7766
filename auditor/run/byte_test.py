"""The byte test: a printed bpb and loss must differ by the exact tokens and bytes of the generated text.

``bpb = loss / ln 2 * tokens / bytes`` for every correct evaluation of the whole stream. The stream was made for the
audit, so its byte count is known exactly, and so are the counts that known mistakes give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from auditor.run.incompressibility import PrintedScore, rounded_up

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
