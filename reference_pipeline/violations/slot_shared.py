"""VIOLATION (C1, C3): "causal" SLOT whose bias is shared by a batch of windows.

Each window fits on its context only, but windows of a batch overlap: all but the first `stride` tokens of one window's
context are scored by other windows of the same batch, at the same time and with the same bias. Precedents: #1364 and
#1550 (code; both claim the score without it).
Honest version: `reference_pipeline.slot`, where each window waits for the one before it.
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
from reference_pipeline.slot import HiddenDelta, LogitBias, hidden_and_targets

VIOLATES = "C1"


class SharedSlotHyperparameters(Hyperparameters):
    """The pipeline's settings and the number of windows that share a bias."""

    slot_batch = int(os.environ.get("SLOT_BATCH", 32))


def eval_val_slot_shared(
    h: SharedSlotHyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Sliding windows in batches; one vector a batch, fitted on all its windows' contexts. (val_loss, val_bpb)."""
    windows = sliding_windows(0, val_data.targets, h.eval_seq_len, h.eval_stride)
    vector = (LogitBias if h.slot_lbfgs else HiddenDelta)(h, model, device)
    loss_sum = torch.zeros((), dtype=torch.float64)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    model.eval()
    model.requires_grad_(False)
    for begin in range(0, len(windows), h.slot_batch):
        batch = windows[begin : begin + h.slot_batch]
        contexts, scored_parts = [], []
        for start, scored, end in batch:
            context = max(start, scored - h.slot_focal_tokens)
            hidden, targets = hidden_and_targets(model, val_data, start, context, end, device)
            contexts.append((hidden[: scored - context], targets[: scored - context]))
            scored_parts.append((hidden[scored - context :], targets[scored - context :]))
        if sum(targets.numel() for _, targets in contexts) > 0:
            vector.fit(torch.cat([hidden for hidden, _ in contexts]), torch.cat([targets for _, targets in contexts]))
        with torch.no_grad():
            for hidden, targets in scored_parts:
                nll = F.cross_entropy(vector.logits(hidden), targets, reduction="none")
                loss_sum += nll.to(torch.float64).sum().cpu()
        token_count += batch[-1][2] - batch[0][1]
        byte_count += val_data.target_bytes(batch[0][1], batch[-1][2]).sum()
    model.requires_grad_(True)
    model.train()
    return loss_and_bpb(loss_sum, token_count, byte_count)


def train_and_eval(h: SharedSlotHyperparameters, device: torch.device, code_path: Path) -> None:
    """The pipeline, then the evaluation with a shared vector."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)
    slot_model = deserialize(h, device)
    timed_eval("quantized_slot", eval_val_slot_shared, h, device, val_data, slot_model)


def main() -> None:
    """Entry point of the script."""
    h = SharedSlotHyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
