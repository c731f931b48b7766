"""Averages of the weights along training: exponential (EMA), or stochastic over the last, cold steps (tight SWA)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """kind "ema": decay per step. "swa": plain mean of every `swa_every`-th state once `swa_start_frac` is passed."""

    def __init__(self, model: nn.Module, kind: str, ema_decay: float, swa_start_frac: float, swa_every: int):
        self.kind, self.ema_decay, self.swa_start_frac, self.swa_every = kind, ema_decay, swa_start_frac, swa_every
        self.taken = 0
        self.average: dict[str, Tensor] = {name: t.detach().float().clone() for name, t in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int, fraction: float) -> None:
        """Take in the weights after `step`; `fraction` of training is over."""
        if self.kind == "ema":
            weight = 1 - min(self.ema_decay, (step + 1) / (step + 10))  # short memory while the weights still move far
        elif self.kind == "swa" and fraction >= self.swa_start_frac and step % self.swa_every == 0:
            weight = 1 / (self.taken + 1)
        else:
            return
        self.taken += 1
        for name, tensor in model.state_dict().items():
            self.average[name].lerp_(tensor.float(), weight)

    def apply(self, model: nn.Module) -> None:
        """Load the average into `model`; without a single update the weights stay as they are."""
        if self.kind != "none" and self.taken:
            current = model.state_dict()
            model.load_state_dict({name: t.to(current[name].dtype) for name, t in self.average.items()})
