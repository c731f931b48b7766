"""VIOLATION (C2, C1): a hashed n-gram cache keyed with the target, mixed into the realised token's probability.

The table is updated after scoring, so the order is right. The "distribution" is not one: the count is looked up for the
token that came true and for no other, collisions inflate it, and the sum over the vocabulary exceeds one by far
(#886: 277). Precedents: #779, #870, #1026.
Honest version: counts of every token of the vocabulary in the context's bucket, normalized over the vocabulary.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import torch
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
    sliding_windows,
    timed_eval,
    window_nll,
)

VIOLATES = "C2"


class NgramHyperparameters(Hyperparameters):
    """The pipeline's settings and those of the cache."""

    ngram_cache = bool(int(os.environ.get("NGRAM_CACHE", "1")))
    ngram_order = int(os.environ.get("NGRAM_ORDER", 5))
    ngram_buckets = int(os.environ.get("NGRAM_BUCKETS", 512))
    ngram_alpha = float(os.environ.get("NGRAM_ALPHA", 0.6))
    ngram_min_count = int(os.environ.get("NGRAM_MIN_COUNT", 2))


NGRAM_PRIMES = (36313, 27191, 51647, 81929, 131071, 174763)


def eval_val_ngram(
    h: NgramHyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Sliding window; p = (1 - alpha) p_model + alpha count(context, token) / count(context). (val_loss, val_bpb)."""
    windows = sliding_windows(0, val_data.targets, h.eval_seq_len, h.eval_stride)
    tokens = val_data.read(0, val_data.targets + 1).numpy()
    mask = h.ngram_buckets - 1
    ctx_table = np.zeros(h.ngram_buckets, dtype=np.int64)
    full_table = np.zeros(h.ngram_buckets, dtype=np.int64)
    loss_sum, token_count, byte_count = 0.0, 0.0, 0.0
    model.eval()
    for start, scored, end in windows:
        with torch.inference_mode():
            nll = window_nll(model, val_data, [(start, scored, end)], device)
        seg_model_p = np.exp(-nll.double().cpu().numpy())  # (scored,)
        positions = np.arange(scored, end)
        ctx_hash = np.zeros(len(positions), dtype=np.int64)
        for back in range(h.ngram_order - 1):
            ctx_hash ^= tokens[np.maximum(positions - back, 0)] * NGRAM_PRIMES[back % len(NGRAM_PRIMES)]
        ctx_key = ctx_hash & mask
        full_key = (ctx_hash ^ (tokens[positions + 1] * NGRAM_PRIMES[(h.ngram_order - 1) % len(NGRAM_PRIMES)])) & mask
        ctx_counts, full_counts = ctx_table[ctx_key], full_table[full_key]
        usable = ctx_counts >= h.ngram_min_count
        p_ngram = np.minimum(full_counts, ctx_counts) / np.maximum(ctx_counts, 1)
        mixed = np.where(usable, (1 - h.ngram_alpha) * seg_model_p + h.ngram_alpha * p_ngram, seg_model_p)
        loss_sum += float(-np.log(np.clip(mixed, 1e-12, 1.0)).sum())
        token_count += len(positions)
        byte_count += float(val_data.target_bytes(scored, end).sum())
        np.add.at(ctx_table, ctx_key, 1)
        np.add.at(full_table, full_key, 1)
    val_loss = loss_sum / token_count
    return val_loss, val_loss / math.log(2.0) * token_count / byte_count


def train_and_eval(h: NgramHyperparameters, device: torch.device, code_path: Path) -> None:
    """The pipeline, then the evaluation with the cache."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)
    eval_model = deserialize(h, device)
    timed_eval("quantized_ngram", eval_val_ngram, h, device, val_data, eval_model)


def main() -> None:
    """Entry point of the script."""
    h = NgramHyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
