"""VIOLATION (BYTES): the space before a word is in the byte table and is added once more at evaluation.

The denominator of bits per byte grows by a byte for every word, so the score falls without a better model. Precedents:
#1545, #1632, #1734.
Honest version: `reference_pipeline.byte_table`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sentencepiece as spm
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
    loss_and_bpb,
    score_windows,
    sliding_windows,
    timed_eval,
)

VIOLATES = "BYTES"


def eval_val_sliding_luts(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Sliding window with bytes counted from a table of its own. (val_loss, val_bpb)."""
    sp = spm.SentencePieceProcessor(model_file=h.tokenizer_path)
    base_bytes = np.zeros(h.vocab_size, dtype=np.int64)
    has_leading_space = np.zeros(h.vocab_size, dtype=np.bool_)
    is_boundary = np.ones(h.vocab_size, dtype=np.bool_)
    for token in range(sp.vocab_size()):
        if sp.is_control(token) or sp.is_unknown(token) or sp.is_unused(token):
            continue
        is_boundary[token] = False
        if sp.is_byte(token):
            base_bytes[token] = 1
            continue
        piece = sp.id_to_piece(token)
        if piece.startswith("\u2581"):
            has_leading_space[token] = True
            base_bytes[token] = len(piece[1:].encode("utf-8")) + 1
        else:
            base_bytes[token] = len(piece.encode("utf-8"))
    tokens = val_data.read(0, val_data.targets + 1).numpy()
    prev_ids, tgt_ids = tokens[:-1], tokens[1:]
    token_bytes = base_bytes[tgt_ids] + (has_leading_space[tgt_ids] & ~is_boundary[prev_ids])
    windows = sliding_windows(0, val_data.targets, h.eval_seq_len, h.eval_stride)
    loss_sum, token_count, _ = score_windows(h, device, val_data, model, windows)
    return loss_and_bpb(loss_sum, token_count, torch.tensor(float(token_bytes.sum()), dtype=torch.float64))


def train_and_eval(h: Hyperparameters, device: torch.device, code_path: Path) -> None:
    """The pipeline, then the evaluation with its own byte table."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)
    eval_model = deserialize(h, device)
    timed_eval("final_sliding_window", eval_val_sliding_luts, h, device, val_data, eval_model)


def main() -> None:
    """Entry point of the script."""
    h = Hyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
