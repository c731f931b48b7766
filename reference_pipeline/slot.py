"""Causal SLOT: a vector on the logits or on the hidden states, fitted while scoring to tokens that are already scored.

The stream is cut into segments; each begins with a zero vector and is scored window by window: a window is scored, then
the vector is fitted on the last SLOT_FOCAL_TOKENS positions scored in the segment, then the next window is scored. No
target is scored by a vector that has seen it: windows do not share a batch. In #1364 and #1550 they do, and there the
context of one is the scored part of another, see `reference_pipeline.violations.slot_shared`.
Source: #1350, #1758 (bias by L-BFGS), #1364 (delta by AdamW). #1336 asks about it; no organizer ruled.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from reference_pipeline.distributed import rank_and_world, sum_over_ranks
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.logs import log
from reference_pipeline.scoring import ValidationData, loss_and_bpb, sliding_windows


class LogitBias:
    """A bias (V,) on the logits, the same for every position; each fit goes on from the last one."""

    def __init__(self, h: Hyperparameters, model: nn.Module, device: torch.device):
        self.h, self.model = h, model
        self.bias = torch.zeros(h.vocab_size, device=device)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden (n, C) -> logits (n, V) float32."""
        return self.model.project(hidden).float() + self.bias

    def fit(self, hidden: Tensor, targets: Tensor) -> None:
        """L-BFGS on the mean cross-entropy of targets (n,) at hidden (n, C), then clip to SLOT_DELTA_CLIP."""
        with torch.no_grad():
            plain = self.model.project(hidden).float()
        bias = self.bias.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [bias],
            max_iter=self.h.slot_lbfgs_max_iter,
            history_size=self.h.slot_lbfgs_history,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(plain + bias, targets)
            loss.backward()
            return loss

        optimizer.step(closure)
        self.bias = bias.detach().clamp(-self.h.slot_delta_clip, self.h.slot_delta_clip)


class HiddenDelta:
    """A vector (C,) on the final hidden states, the same for every position; each fit starts from zero."""

    def __init__(self, h: Hyperparameters, model: nn.Module, device: torch.device):
        self.h, self.model = h, model
        self.delta = torch.zeros(h.model_dim, device=device)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden (n, C) -> logits (n, V) float32."""
        return self.model.project(hidden + self.delta).float()

    def fit(self, hidden: Tensor, targets: Tensor) -> None:
        """SLOT_STEPS of AdamW on the mean cross-entropy of targets (n,) at hidden (n, C)."""
        delta = torch.zeros_like(self.delta).requires_grad_()
        optimizer = torch.optim.AdamW([delta], lr=self.h.slot_lr, weight_decay=1e-8, eps=1e-5)
        for _ in range(self.h.slot_steps):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(self.model.project(hidden + delta).float(), targets).backward()
            optimizer.step()
        self.delta = delta.detach()


@torch.no_grad()
def hidden_and_targets(
    model: nn.Module, val_data: ValidationData, start: int, first: int, end: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Hidden states (end - first, C) and targets (end - first,) of targets first..end-1, with context from `start`."""
    tokens = val_data.read(start, end + 1).to(device)
    return model.forward_hidden(tokens[None, :-1])[0, first - start :], tokens[first - start + 1 :]


def score_segment(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module, first: int, last: int
) -> Tensor:
    """Loss sum in nats, float64 scalar, of targets first..last-1, window after window."""
    vector = (LogitBias if h.slot_lbfgs else HiddenDelta)(h, model, device)
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    known_hidden = torch.empty(0, h.model_dim, device=device)  # of the latest scored positions, (n, C)
    known_targets = torch.empty(0, dtype=torch.int64, device=device)  # and what stood there, (n,)
    for start, scored, end in sliding_windows(first, last, h.eval_seq_len, h.eval_stride):
        hidden, targets = hidden_and_targets(model, val_data, start, scored, end, device)
        with torch.no_grad():
            nll = F.cross_entropy(vector.logits(hidden), targets, reduction="none")
        loss_sum += nll.to(torch.float64).sum()
        if end == last:
            break
        known_hidden = torch.cat((known_hidden, hidden.float()))[-h.slot_focal_tokens :]
        known_targets = torch.cat((known_targets, targets))[-h.slot_focal_tokens :]
        vector.fit(known_hidden, known_targets)
    return loss_sum


def eval_val_slot_causal(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Sliding-window score with a vector fitted to what is already scored; `model` stays as it is. (val_loss, val_bpb).

    Segments are dealt out to the ranks; their sums have their own places and are added in order.
    """
    rank, world_size = rank_and_world()
    segments = [
        (first, min(first + h.slot_segment_tokens, val_data.targets))
        for first in range(0, val_data.targets, h.slot_segment_tokens)
    ]
    log(f"slot_causal:start segments={len(segments)} focal={h.slot_focal_tokens} lbfgs={h.slot_lbfgs}")
    loss_sums = torch.zeros(len(segments), dtype=torch.float64, device=device)
    model.eval()
    model.requires_grad_(False)
    for index, (first, last) in enumerate(segments):
        if index % world_size == rank:
            with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                loss_sums[index] = score_segment(h, device, val_data, model, first, last)
    model.requires_grad_(True)
    model.train()
    sum_over_ranks(loss_sums)
    byte_count = sum(val_data.target_bytes(first, last).sum() for first, last in segments).to(torch.float64)
    return loss_and_bpb(loss_sums.sum().cpu(), torch.tensor(float(val_data.targets), dtype=torch.float64), byte_count)
