"""Values of per-token losses, for the suffix swap: what each position's loss was, bit by bit.

Kept only when a run's spec asks for them ("losses": true). A value is known by its tag, which names the call that
computed it and the position it is a loss of, so that a printed number's own losses can be told from those of other
evaluations.
"""

from __future__ import annotations

import base64

import numpy as np
import torch

MOST_VALUES = 4_000_000


class LossValues:
    """Losses by tag. Values are those of the tensors that the script computed, in float64 exactly."""

    def __init__(self) -> None:
        self.start(False)

    def start(self, wanted: bool) -> None:
        """Begin anew; nothing is kept unless it is wanted."""
        self.wanted = wanted
        self._tags: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._count = 0

    def keep(self, tags: torch.Tensor, values: torch.Tensor) -> None:
        """`values` (any shape, n elements in the order of `tags`) belong to `tags` (-1: to none)."""
        if not self.wanted or self._count >= MOST_VALUES:
            return
        flat = tags.reshape(-1).numpy()
        known = flat >= 0
        self._tags.append(flat[known].copy())
        self._values.append(values.detach().to(torch.float64).reshape(-1).numpy()[known].copy())
        self._count += int(known.sum())

    def of(self, tags: np.ndarray, length: int, position_mask: int) -> np.ndarray:
        """(length,) float64: the value of each position among `tags`, NaN where there is none."""
        found = np.full(length, np.nan)
        if self._tags:
            if len(self._tags) > 1:
                self._tags, self._values = [np.concatenate(self._tags)], [np.concatenate(self._values)]
                order = np.argsort(self._tags[0], kind="stable")
                self._tags[0], self._values[0] = self._tags[0][order], self._values[0][order]
            known, values = self._tags[0], self._values[0]
            places = np.searchsorted(known, tags)
            places[places == len(known)] = 0
            hits = known[places] == tags
            found[tags[hits] & position_mask] = values[places[hits]]
        return found


def as_text(values: np.ndarray) -> str:
    """The exact bits of float64 values, in base64."""
    return base64.b64encode(np.ascontiguousarray(values, "<f8").tobytes()).decode()


LOSS_VALUES = LossValues()
