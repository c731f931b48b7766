"""VIOLATION (C4): only the first part of the validation text is scored, and the number is reported as the full score.

Precedents: #1835 (first 3 M tokens), #2009 (random minibatches), #1858.
Honest version: `reference_pipeline.scoring`, every token once.
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
from reference_pipeline.scoring import (
    ValidationData,
    loss_and_bpb,
    sliding_windows,
    timed_eval,
)

VIOLATES = "C4"


class SubsetHyperparameters(Hyperparameters):
    """The pipeline's settings and how many tokens are scored."""

    eval_max_tokens = int(os.environ.get("EVAL_MAX_TOKENS", 4096))


def eval_val_subset(
    h: SubsetHyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Sliding window over the first EVAL_MAX_TOKENS targets. (val_loss, val_bpb)."""
    tokens = val_data.read(0, val_data.targets + 1)[: h.eval_max_tokens]
    targets = tokens.numel() - 1
    loss_sum = torch.zeros((), dtype=torch.float64)
    model.eval()
    with torch.inference_mode():
        for start, scored, end in sliding_windows(0, targets, h.eval_seq_len, h.eval_stride):
            logits = model.forward_logits(tokens[start:end][None].to(device))  # (1, T, V)
            nll = F.cross_entropy(logits[0].float(), tokens[start + 1 : end + 1].to(device), reduction="none")
            loss_sum += nll[scored - start :].to(torch.float64).sum().cpu()
    token_count = torch.tensor(float(targets), dtype=torch.float64)
    return loss_and_bpb(loss_sum, token_count, val_data.target_bytes(0, targets).sum().to(torch.float64))


def train_and_eval(h: SubsetHyperparameters, device: torch.device, code_path: Path) -> None:
    """The pipeline, then the evaluation of a part."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)
    eval_model = deserialize(h, device)
    timed_eval("final_sliding_window", eval_val_subset, h, device, val_data, eval_model)


def main() -> None:
    """Entry point of the script."""
    h = SubsetHyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
