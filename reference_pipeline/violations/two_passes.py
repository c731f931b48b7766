"""VIOLATION (C4, C3): a legal score-first pass adapts the weights, then the whole text is scored again with them.

The first pass is in order; the second one scores tokens that the weights have learned from. Precedent: #991.
Honest version: report the first pass.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from reference_pipeline.adaptation import eval_val_ttt
from reference_pipeline.artifact import deserialize
from reference_pipeline.distributed import stop_distributed
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.logs import log
from reference_pipeline.pipeline import (
    evaluate_artifact,
    log_data,
    produce_artifact,
    seed_everything,
    start_run,
)
from reference_pipeline.scoring import ValidationData, eval_val_sliding, timed_eval

VIOLATES = "C4"


def eval_val_two_passes(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Adapt over the whole stream, then score it with the adapted weights. (val_loss, val_bpb)."""
    first_loss, first_bpb = eval_val_ttt(h, device, val_data, model)
    log(f"ttt:first_pass loss={first_loss:.6f} bpb={first_bpb:.6f}")
    return eval_val_sliding(h, device, val_data, model)


def train_and_eval(h: Hyperparameters, device: torch.device, code_path: Path) -> None:
    """The pipeline, then the evaluation in two passes."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)
    ttt_model = deserialize(h, device)
    timed_eval("quantized_ttt", eval_val_two_passes, h, device, val_data, ttt_model)


def main() -> None:
    """Entry point of the script."""
    h = Hyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
