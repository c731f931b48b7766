"""Values of per-token losses, for the suffix swap: what each position's loss was, bit by bit.

Kept only when a run's spec asks for them ("losses": true). A value is known by its tag, which names the call that
computed it and the position it is a loss of, so that a printed number's own losses can be told from those of other
evaluations. Where the whole row that a loss was taken from was at hand, a mark of the row is kept with it, which tells
whether the distribution is the same in another run, and for log-probabilities their mass, which has to be one.
"""

from __future__ import annotations

import base64

import numpy as np
import torch

MOST_VALUES = 4_000_000
LOWEST = 1e4  # entries of a row are cut here: a masked one is -inf


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

    def keep(self, tags: torch.Tensor, values: torch.Tensor, rows: torch.Tensor | None = None) -> None:
        """`values` (any shape, n elements in the order of `tags`) belong to `tags` (-1: to none).

        `rows`, (n, V), are the log-probabilities or scores that they were taken from, where these are at hand.
        """
        if not self.wanted or self._count >= MOST_VALUES:
            return
        flat = tags.reshape(-1).numpy()
        known = flat >= 0
        kept = np.full((int(known.sum()), 3), np.nan)
        kept[:, 0] = values.detach().to(torch.float64).reshape(-1).numpy()[known]
        if rows is not None and len(rows) == len(flat):
            wide = rows.detach()[torch.from_numpy(known)].to(torch.float64)
            kept[:, 1] = (wide.clamp(-LOWEST, LOWEST) @ _mark(wide.shape[-1])).numpy()
            kept[:, 2] = wide.exp().sum(-1).numpy()
        self._tags.append(flat[known].copy())
        self._values.append(kept)
        self._count += len(kept)

    def of(self, tags: np.ndarray, length: int, position_mask: int) -> np.ndarray:
        """(length, 3) float64: loss, mark and mass of each position among `tags`, NaN where there is none."""
        found = np.full((length, 3), np.nan)
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


def _mark(vocabulary: int) -> torch.Tensor:
    """(V,) fixed weights, so that rows which differ in any entry differ in their product with them."""
    return torch.cos(torch.arange(1, vocabulary + 1, dtype=torch.float64))


def as_text(values: np.ndarray) -> str:
    """The exact bits of float64 values, in base64."""
    return base64.b64encode(np.ascontiguousarray(values, "<f8").tobytes()).decode()


LOSS_VALUES = LossValues()
