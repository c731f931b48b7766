"""VIOLATION (TRAINDATA): after the artifact is read back, the model trains on training shards, on evaluation time.

What the artifact lost by quantization is bought back with data that is not in it. Precedents: #529, #606, #1028 (in the
form of GPTQ calibration after the clock).
Honest version: everything that reads training data runs before the artifact is written, inside the training budget.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from reference_pipeline.artifact import deserialize
from reference_pipeline.distributed import average_gradients, rank_and_world, stop_distributed
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.loaders import make_loader
from reference_pipeline.logs import log
from reference_pipeline.pipeline import (
    evaluate_artifact,
    log_data,
    produce_artifact,
    seed_everything,
    start_run,
)
from reference_pipeline.scoring import ValidationData, eval_val_sliding, timed_eval
from reference_pipeline.training import gradient_step

VIOLATES = "TRAINDATA"


class RefreshHyperparameters(Hyperparameters):
    """The pipeline's settings and those of the refresh."""

    refresh_steps = int(os.environ.get("REFRESH_STEPS", 60))
    refresh_lr = float(os.environ.get("REFRESH_LR", 0.002))


def eval_val_refreshed(
    h: RefreshHyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """REFRESH_STEPS steps of AdamW on training batches, then the sliding window. (val_loss, val_bpb)."""
    rank, world_size = rank_and_world()
    batch = max(1, h.train_batch_tokens // (h.train_seq_len * world_size))
    loader = make_loader("shuffled", h.train_files, batch, h.train_seq_len, h.seed + 7, rank, world_size, h.vocab_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=h.refresh_lr, weight_decay=0.0)
    model.train()
    for _ in range(h.refresh_steps):
        loss = gradient_step(model, [loader.next_batch()], device)
        average_gradients(model)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    log(f"refresh:steps={h.refresh_steps} loss={loss.item():.4f}")
    return eval_val_sliding(h, device, val_data, model)


def train_and_eval(h: RefreshHyperparameters, device: torch.device, code_path: Path) -> None:
    """The pipeline, then training data again, then the evaluation."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)
    eval_model = deserialize(h, device)
    timed_eval("quantized_refreshed", eval_val_refreshed, h, device, val_data, eval_model)


def main() -> None:
    """Entry point of the script."""
    h = RefreshHyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
