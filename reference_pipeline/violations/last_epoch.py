"""VIOLATION (C3): several epochs per document, and the loss of the last one is reported.

Within an epoch the order looks right (score a chunk, then learn from it); but every epoch after the first scores tokens
the LoRA has already learned from. Precedents: #568, #611, #713.
Honest version: `reference_pipeline.lora`, where a document is passed through once.
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
from reference_pipeline.lora import DocumentLoRA, chunk_batch
from reference_pipeline.pipeline import (
    evaluate_artifact,
    log_data,
    produce_artifact,
    seed_everything,
    start_run,
)
from reference_pipeline.scoring import ValidationData, document_spans, loss_and_bpb, timed_eval

VIOLATES = "C3"


class EpochHyperparameters(Hyperparameters):
    """The pipeline's settings and the number of epochs."""

    lora_epochs = int(os.environ.get("TTT_LORA_EPOCHS", 6))


def eval_val_lora_epochs(
    h: EpochHyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Per document: TTT_LORA_EPOCHS passes of score and update; sums start anew with each pass. (val_loss, val_bpb)."""
    spans = sorted(document_spans(val_data, h.bos_id), key=lambda span: span[1] - span[0])
    loss_sum = torch.zeros((), dtype=torch.float64)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for begin in range(0, len(spans), h.ttt_doc_batch):
        batch = spans[begin : begin + h.ttt_doc_batch]
        lora = DocumentLoRA(len(batch), model, h.ttt_lora_rank).to(device)
        optimizer = torch.optim.Adam(lora.parameters(), lr=h.ttt_lora_lr, betas=(0.9, 0.95))
        chunks = -(-max(last - first for first, last in batch) // h.ttt_lora_chunk)
        for _ in range(h.lora_epochs):
            batch_loss = torch.zeros((), dtype=torch.float64)
            for chunk in range(chunks):
                x, y, mask = chunk_batch(val_data, batch, chunk, h.ttt_lora_chunk, h.eval_seq_len, device)
                logits = model.forward_logits(x, lora)
                nll = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none").view_as(y)
                batch_loss += (nll.detach().to(torch.float64) * mask).sum().cpu()
                optimizer.zero_grad(set_to_none=True)
                ((nll * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)).sum().backward()
                optimizer.step()
        loss_sum += batch_loss
        token_count += sum(last - first for first, last in batch)
        byte_count += sum(val_data.target_bytes(first, last).sum() for first, last in batch)
    return loss_and_bpb(loss_sum, token_count, byte_count)


def train_and_eval(h: EpochHyperparameters, device: torch.device, code_path: Path) -> None:
    """The pipeline, then the evaluation in epochs."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)
    ttt_model = deserialize(h, device)
    timed_eval("quantized_lora_ttt", eval_val_lora_epochs, h, device, val_data, ttt_model)


def main() -> None:
    """Entry point of the script."""
    h = EpochHyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
