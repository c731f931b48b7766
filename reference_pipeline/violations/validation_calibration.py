"""VIOLATION (C3): the Hessians of GPTQ come from validation tokens, before any of them is scored.

The artifact then holds a statistic of the validation text. The gain is small; the rule is broken all the same.
Precedent: #728.
Honest version: `reference_pipeline.quantization.calibration_batches`, training data or text the model wrote itself.
"""

from __future__ import annotations

from pathlib import Path

import torch

from reference_pipeline.artifact import serialize
from reference_pipeline.distributed import stop_distributed
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.logs import log
from reference_pipeline.pipeline import evaluate_artifact, log_data, seed_everything, start_run
from reference_pipeline.quantization import collect_hessians, quantize_model
from reference_pipeline.scoring import ValidationData, eval_val, timed_eval
from reference_pipeline.training import train_model

VIOLATES = "C3"


def train_and_eval(h: Hyperparameters, device: torch.device, code_path: Path) -> None:
    """Train, calibrate on the evaluation distribution, quantize, score."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        base_model = train_model(h, device, val_data)
        timed_eval("pre-quantization post-ema", eval_val, h, device, val_data, base_model)
        usable = val_data.targets // h.train_seq_len * h.train_seq_len
        rows = val_data.read(0, usable).view(-1, h.train_seq_len)  # (sequences, T)
        hessians = collect_hessians(base_model, list(rows.split(16)), device)
        log(f"GPTQ:collected {len(hessians)} Hessians from {rows.size(0)} sequences")
        quantized, kept = quantize_model(h, base_model, hessians)
        serialize(h, quantized, kept, code_path)
    evaluate_artifact(h, device, val_data)


def main() -> None:
    """Entry point of the script."""
    h = Hyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
