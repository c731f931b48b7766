"""Averages of the weights along training: exponential (EMA), over the last, cold steps (tight SWA), over the latest
snapshots (LAWA)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reference_pipeline.hyperparameters import Hyperparameters


class WeightAverage:
    """AVERAGING "ema": decay per step. "swa": plain mean of every SWA_EVERY-th state once SWA_START_FRAC is passed.
    "lawa": plain mean of the last LAWA_K states taken every LAWA_FREQ steps."""

    def __init__(self, h: Hyperparameters, model: nn.Module):
        self.h, self.kind = h, h.averaging
        self.taken = 0
        self.average: dict[str, Tensor] = {name: t.detach().float().clone() for name, t in model.state_dict().items()}
        self.snapshots: list[dict[str, Tensor]] = []

    @torch.no_grad()
    def update(self, model: nn.Module, step: int, fraction: float) -> None:
        """Take in the weights after `step`; `fraction` of training is over."""
        if self.kind == "ema":
            # short memory while the weights still move far
            self.blend(model, 1 - min(self.h.ema_decay, (step + 1) / (step + 10)))
        elif self.kind == "swa" and fraction >= self.h.swa_start_frac and step % self.h.swa_every == 0:
            self.blend(model, 1 / (self.taken + 1))
        elif self.kind == "lawa" and step % self.h.lawa_freq == 0:
            self.snapshots.append({name: t.detach().float().clone() for name, t in model.state_dict().items()})
            self.snapshots = self.snapshots[-self.h.lawa_k :]

    def blend(self, model: nn.Module, weight: float) -> None:
        """Move the average towards the weights by the share `weight`."""
        self.taken += 1
        for name, tensor in model.state_dict().items():
            self.average[name].lerp_(tensor.float(), weight)

    def apply(self, model: nn.Module) -> None:
        """Load the average into `model`; without a single update the weights stay as they are."""
        if self.snapshots:
            mean = {name: sum(s[name] for s in self.snapshots) / len(self.snapshots) for name in self.average}
        elif self.taken:
            mean = self.average
        else:
            return
        current = model.state_dict()
        model.load_state_dict({name: t.to(current[name].dtype) for name, t in mean.items()})

    def state(self) -> dict:
        """What a checkpoint needs to go on averaging."""
        return {"average": self.average, "taken": self.taken, "snapshots": self.snapshots}

    def restore(self, state: dict) -> None:
        """Take up `state`."""
        self.average, self.taken, self.snapshots = state["average"], state["taken"], state["snapshots"]
