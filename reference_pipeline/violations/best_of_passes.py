"""VIOLATION (C4, C1): two passes over every chunk, and for each token the better of its two losses is reported.

The scorer is chosen after the answer is known, and the second pass comes from weights that learned from the chunk.
Precedents: #573, #611, #614, #685.
Honest version: `reference_pipeline.adaptation`, one pass.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from reference_pipeline.adaptation import chunk_sequences, train_on_chunk
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
    window_nll,
)

VIOLATES = "C4"


def chunk_nll(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module, first: int, last: int
) -> Tensor:
    """Loss of every target in [first, last), (last - first,) float64."""
    parts = []
    with torch.inference_mode():
        for start, scored, end in sliding_windows(first, last, h.eval_seq_len, h.eval_stride):
            nll = window_nll(model, val_data, [(start, scored, end)], device)
            parts.append(nll.to(torch.float64).cpu())
    return torch.cat(parts)


def eval_val_best(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Chunk by chunk: score, train, score again, keep the minimum. (val_loss, val_bpb)."""
    optimizer = torch.optim.SGD(model.parameters(), lr=h.ttt_lr, momentum=h.ttt_momentum)
    loss_sum = torch.zeros((), dtype=torch.float64)
    for first in range(0, val_data.targets, h.ttt_chunk_tokens):
        last = min(first + h.ttt_chunk_tokens, val_data.targets)
        before = chunk_nll(h, device, val_data, model, first, last)
        sequences = chunk_sequences(val_data, first, last, h.train_seq_len)
        train_on_chunk(h, device, model, optimizer, sequences)
        after = chunk_nll(h, device, val_data, model, first, last)
        loss_sum += torch.minimum(before, after).sum()
    targets = torch.tensor(float(val_data.targets), dtype=torch.float64)
    return loss_and_bpb(loss_sum, targets, val_data.target_bytes(0, val_data.targets).sum().to(torch.float64))


def train_and_eval(h: Hyperparameters, device: torch.device, code_path: Path) -> None:
    """The pipeline, then the evaluation in two passes."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)
    ttt_model = deserialize(h, device)
    timed_eval("quantized_ttt", eval_val_best, h, device, val_data, ttt_model)


def main() -> None:
    """Entry point of the script."""
    h = Hyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
