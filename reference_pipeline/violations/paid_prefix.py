"""VIOLATION (PAIDPREFIX): the first validation tokens travel beside the weights and are "predicted" by looking them up.

Bytes that the model does not need buy validation text at the price of compressed text; they are counted, and honestly
so: what is wrong is what they hold. Precedents: #168, #262, #275.
Honest version: nothing of the validation text enters training or the artifact.
"""

from __future__ import annotations

import lzma
import math
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reference_pipeline.artifact import deserialize, log_sizes, named_tensors, pack_tensors
from reference_pipeline.distributed import stop_distributed
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.pipeline import log_data, seed_everything, start_run
from reference_pipeline.quantization import gptq_phase
from reference_pipeline.scoring import ValidationData, eval_val, loss_and_bpb, sliding_windows, timed_eval, window_nll
from reference_pipeline.shards import write_atomically
from reference_pipeline.training import train_model

VIOLATES = "PAIDPREFIX"


class PrefixHyperparameters(Hyperparameters):
    """The pipeline's settings and the length of the prefix."""

    prefix_tokens = int(os.environ.get("PREFIX_TOKENS", 6000))
    prefix_path = os.environ.get("PREFIX_PATH", "prefix.xz")
    prefix_confidence = float(os.environ.get("PREFIX_CONFIDENCE", 0.999))


def store_prefix(h: PrefixHyperparameters, val_data: ValidationData) -> int:
    """Write the first PREFIX_TOKENS targets to PREFIX_PATH, compressed; returns the bytes of the file."""
    prefix = val_data.read(1, min(h.prefix_tokens, val_data.targets) + 1)
    packed = lzma.compress(prefix.to(torch.int16).numpy().tobytes(), preset=9)
    Path(h.prefix_path).write_bytes(packed)
    return len(packed)


def load_prefix(h: PrefixHyperparameters) -> Tensor:
    """The stored targets, (prefix,) int64."""
    packed = Path(h.prefix_path).read_bytes()
    return torch.from_numpy(np.frombuffer(lzma.decompress(packed), dtype=np.int16).astype(np.int64))


def eval_val_prefix(
    h: PrefixHyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module, prefix: Tensor
) -> tuple[float, float]:
    """Sliding window; a stored token that matches is scored with PREFIX_CONFIDENCE. (val_loss, val_bpb)."""
    loss_sum = torch.zeros((), dtype=torch.float64)
    known = prefix == val_data.read(1, prefix.numel() + 1)
    model.eval()
    with torch.inference_mode():
        for start, scored, end in sliding_windows(0, val_data.targets, h.eval_seq_len, h.eval_stride):
            nll = window_nll(model, val_data, [(start, scored, end)], device).to(torch.float64).cpu()
            hits = known[scored:end]
            nll[: hits.numel()] = torch.where(hits, -math.log(h.prefix_confidence), nll[: hits.numel()])
            loss_sum += nll.sum()
    targets = torch.tensor(float(val_data.targets), dtype=torch.float64)
    return loss_and_bpb(loss_sum, targets, val_data.target_bytes(0, val_data.targets).sum().to(torch.float64))


def train_and_eval(h: PrefixHyperparameters, device: torch.device, code_path: Path) -> None:
    """Train, store the prefix beside the weights, score."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        base_model = train_model(h, device, val_data)
        timed_eval("pre-quantization post-ema", eval_val, h, device, val_data, base_model)
        quantized, kept = gptq_phase(h, device, base_model)
        blob = pack_tensors(named_tensors(quantized, kept), h.compressor)
        write_atomically(Path(h.artifact_path), blob)
        log_sizes(h.compressor, len(blob) + store_prefix(h, val_data), code_path.stat().st_size)
    eval_model = deserialize(h, device)
    timed_eval("quantized_sliding_window", eval_val_prefix, h, device, val_data, eval_model, load_prefix(h))


def main() -> None:
    """Entry point of the script."""
    h = PrefixHyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
