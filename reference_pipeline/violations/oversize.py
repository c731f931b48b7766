"""VIOLATION (SIZE): code and model together exceed 16,000,000 bytes, and nothing refuses them.

The cap is decimal; 16 MiB are 16,777,216 bytes. Precedents: #861, #1041, #1959.
Honest version: `reference_pipeline.artifact.serialize`, which refuses.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from reference_pipeline.artifact import log_sizes, named_tensors, pack_tensors
from reference_pipeline.distributed import stop_distributed
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.logs import log
from reference_pipeline.pipeline import evaluate_artifact, log_data, seed_everything, start_run
from reference_pipeline.quantization import QuantizedMatrix, gptq_phase
from reference_pipeline.scoring import ValidationData, eval_val, timed_eval
from reference_pipeline.shards import write_atomically
from reference_pipeline.training import train_model

VIOLATES = "SIZE"


class LargeHyperparameters(Hyperparameters):
    """The pipeline's settings with a hash table far too large."""

    bigram_buckets = int(os.environ.get("BIGRAM_BUCKETS", 1_300_000))
    embed_clip_sigmas = float(os.environ.get("EMBED_CLIP_SIGMAS", 6.0))
    compressor = os.environ.get("COMPRESSOR", "zstd")


def write_artifact(
    h: LargeHyperparameters, quantized: dict[str, QuantizedMatrix], kept: dict[str, Tensor], code_path: Path
) -> None:
    """Write the artifact and log its size, also in MiB."""
    blob = pack_tensors(named_tensors(quantized, kept), h.compressor)
    total = log_sizes(h.compressor, len(blob), code_path.stat().st_size)
    log(f"artifact: {total / 2**20:.2f} MB")
    write_atomically(Path(h.artifact_path), blob)


def train_and_eval(h: LargeHyperparameters, device: torch.device, code_path: Path) -> None:
    """The pipeline with a writer that has no limit."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        base_model = train_model(h, device, val_data)
        timed_eval("pre-quantization post-ema", eval_val, h, device, val_data, base_model)
        quantized, kept = gptq_phase(h, device, base_model)
        write_artifact(h, quantized, kept, code_path)
    evaluate_artifact(h, device, val_data)


def main() -> None:
    """Entry point of the script."""
    h = LargeHyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
