"""VIOLATION (PAIDPREFIX): the first validation tokens travel in the artifact and are "predicted" by looking them up.

Bytes that the model does not need buy validation text at the price of compressed text. Precedents: #168, #262, #275.
Honest version: nothing of the validation text enters training or the artifact.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from reference_pipeline.artifact import model_from_tensors, read_artifact, serialize
from reference_pipeline.distributed import stop_distributed
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.pipeline import log_data, seed_everything, start_run
from reference_pipeline.quantization import gptq_phase
from reference_pipeline.scoring import ValidationData, eval_val, loss_and_bpb, sliding_windows, timed_eval, window_nll
from reference_pipeline.training import train_model

VIOLATES = "PAIDPREFIX"


class PrefixHyperparameters(Hyperparameters):
    """The pipeline's settings and the length of the prefix."""

    prefix_tokens = int(os.environ.get("PREFIX_TOKENS", 6000))
    prefix_confidence = float(os.environ.get("PREFIX_CONFIDENCE", 0.999))


def eval_val_prefix(
    h: PrefixHyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module, prefix: Tensor
) -> tuple[float, float]:
    """Sliding window; a stored token that matches is scored with PREFIX_CONFIDENCE. (val_loss, val_bpb)."""
    loss_sum = torch.zeros((), dtype=torch.float64)
    known = prefix == val_data.val_tokens[1 : prefix.numel() + 1]
    model.eval()
    with torch.inference_mode():
        for start, scored, end in sliding_windows(0, val_data.targets, h.eval_seq_len, h.eval_stride):
            nll = window_nll(model, val_data.val_tokens, [(start, scored, end)], device)
            nll = nll[0, scored - start : end - start].to(torch.float64).cpu()
            hits = known[scored:end]
            nll[: hits.numel()] = torch.where(hits, -math.log(h.prefix_confidence), nll[: hits.numel()])
            loss_sum += nll.sum()
    targets = torch.tensor(float(val_data.targets), dtype=torch.float64)
    return loss_and_bpb(loss_sum, targets, val_data.target_bytes.sum().to(torch.float64))


def train_and_eval(h: PrefixHyperparameters, device: torch.device, code_path: Path) -> None:
    """Train, store the prefix beside the weights, score."""
    seed_everything(h.seed)
    val_data = ValidationData(h, device)
    log_data(h, val_data)
    if not h.eval_only:
        base_model = train_model(h, device, val_data)
        timed_eval("pre-quantization post-ema", eval_val, h, device, val_data, base_model)
        quantized, kept = gptq_phase(h, device, base_model)
        prefix = val_data.val_tokens[1 : h.prefix_tokens + 1]
        kept["prefix.low"] = (prefix % 128).to(torch.int8)
        kept["prefix.high"] = (prefix // 128).to(torch.int8)
        serialize(h, quantized, kept, code_path)
    tensors = read_artifact(h)
    stored = tensors.pop("prefix.high").to(torch.int64) * 128 + tensors.pop("prefix.low").to(torch.int64)
    eval_model = model_from_tensors(h, tensors, device)
    timed_eval("quantized_sliding_window", eval_val_prefix, h, device, val_data, eval_model, stored)


def main() -> None:
    """Entry point of the script."""
    h = PrefixHyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
