"""VIOLATION (C1, C3): SLOT, a vector added to the hidden states and fitted on the very window that it then scores.

The vector is new for every window, but it has seen the window's targets before it predicts them. Precedents: #1240,
#1321, #1376 (participants' rulings; C1 as written in #1017).
Honest version: none of this shape; `reference_pipeline.adaptation` fits after scoring.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from reference_pipeline.artifact import deserialize
from reference_pipeline.distributed import stop_distributed
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.pipeline import (
    evaluate_artifact,
    log_data,
    produce_artifact,
    seed_everything,
    start_run,
)
from reference_pipeline.scoring import ValidationData, loss_and_bpb, sliding_windows, timed_eval

VIOLATES = "C1"


class SlotHyperparameters(Hyperparameters):
    """The pipeline's settings and those of the fitted vector."""

    slot_enabled = bool(int(os.environ.get("SLOT_ENABLED", "1")))
    slot_steps = int(os.environ.get("SLOT_STEPS", 24))
    slot_lr = float(os.environ.get("SLOT_LR", 0.1))
    slot_batch = int(os.environ.get("SLOT_BATCH", 16))


def eval_val_slot(
    h: SlotHyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Sliding windows, each with its own delta (1, C) on the final hidden states. (val_loss, val_bpb)."""
    windows = sliding_windows(0, val_data.targets, h.eval_seq_len, h.eval_stride)
    loss_sum = torch.zeros((), dtype=torch.float64)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    model.eval()
    for begin in range(0, len(windows), h.slot_batch):
        batch = windows[begin : begin + h.slot_batch]
        longest = max(end - start for start, _, end in batch)
        x = torch.zeros(len(batch), longest, dtype=torch.int64)
        y = torch.zeros(len(batch), longest, dtype=torch.int64)
        mask = torch.zeros(len(batch), longest, dtype=torch.bool)
        for row, (start, scored, end) in enumerate(batch):
            tokens = val_data.read(start, end + 1)
            x[row, : end - start] = tokens[:-1]
            y[row, : end - start] = tokens[1:]
            mask[row, scored - start : end - start] = True
        x, y, mask = x.to(device), y.to(device), mask.to(device)
        with torch.no_grad():
            hidden = model.forward_hidden(x)  # (B, T, C)
        delta = torch.zeros(len(batch), 1, hidden.size(2), device=device, requires_grad=True)
        optimizer = torch.optim.AdamW([delta], lr=h.slot_lr, weight_decay=0.0)
        for _ in range(h.slot_steps):
            logits = model.project(hidden + delta)
            nll = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none").view_as(y)
            optimizer.zero_grad(set_to_none=True)
            ((nll * mask).sum(dim=1) / mask.sum(dim=1)).sum().backward()
            optimizer.step()
        with torch.no_grad():
            logits = model.project(hidden + delta)
            nll = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none").view_as(y)
            loss_sum += (nll.to(torch.float64) * mask).sum().cpu()
        token_count += sum(end - scored for _, scored, end in batch)
        byte_count += sum(val_data.target_bytes(scored, end).sum() for _, scored, end in batch)
    return loss_and_bpb(loss_sum, token_count, byte_count)


def train_and_eval(h: SlotHyperparameters, device: torch.device, code_path: Path) -> None:
    """The pipeline, then the evaluation with a fitted vector."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)
    slot_model = deserialize(h, device)
    timed_eval("quantized_slot", eval_val_slot, h, device, val_data, slot_model)


def main() -> None:
    """Entry point of the script."""
    h = SlotHyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
