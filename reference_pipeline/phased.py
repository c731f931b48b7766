"""Phased adaptation: per-document LoRA, and at a few pauses SGD on the model itself over documents already scored.

The list `scored` is the proof of order: documents enter it after their score is in the sum, and the global update reads
nothing else. A document is learned from once, at the first pause after its score. Source: #1626, #1736, #1855.
"""

from __future__ import annotations

import torch
from torch import nn

from reference_pipeline.adaptation import chunk_sequences
from reference_pipeline.distributed import average_gradients, rank_and_world
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.logs import log
from reference_pipeline.lora import score_documents_with_lora
from reference_pipeline.scoring import ValidationData, document_spans, loss_and_bpb


def train_on_documents(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module, scored: list[tuple[int, int]]
) -> None:
    """GLOBAL_TTT_EPOCHS passes of SGD over documents (spans of targets) that have been scored."""
    rank, world_size = rank_and_world()
    sequences = [pair for first, last in scored for pair in chunk_sequences(val_data, first, last, h.train_seq_len)]
    optimizer = torch.optim.SGD(model.parameters(), lr=h.global_ttt_lr, momentum=h.ttt_momentum)
    for _ in range(h.global_ttt_epochs):
        for start in range(0, len(sequences), h.ttt_batch_seqs * world_size):
            mine = sequences[start : start + h.ttt_batch_seqs * world_size][rank::world_size]
            tokens = sum(y.numel() for _, y in mine)
            optimizer.zero_grad(set_to_none=True)
            for x, y in mine:  # documents differ in length: one at a time, weighted by their tokens
                with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                    loss = model(x[None].to(device), y[None].to(device))
                (loss * y.numel() / tokens).backward()
            average_gradients(model)
            torch.nn.utils.clip_grad_norm_(model.parameters(), h.ttt_grad_clip)
            optimizer.step()


def eval_val_phased(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Score the documents in PHASED_TTT_NUM_PHASES phases, learning between phases. (val_loss, val_bpb)."""
    spans = document_spans(val_data, h.bos_id)
    size = -(-len(spans) // h.phased_ttt_num_phases)
    phases = [spans[i : i + size] for i in range(0, len(spans), size)]
    log(f"ttt_phased:start documents:{len(spans)} phases:{len(phases)} global_lr:{h.global_ttt_lr}")
    loss_sum = torch.zeros((), dtype=torch.float64)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    for index, phase in enumerate(phases):
        scored: list[tuple[int, int]] = []
        for begin in range(0, len(phase), h.ttt_doc_batch):
            batch = phase[begin : begin + h.ttt_doc_batch]
            batch_loss, batch_tokens, batch_bytes = score_documents_with_lora(h, device, val_data, model, batch)
            loss_sum += batch_loss
            token_count += batch_tokens
            byte_count += batch_bytes
            scored.extend(batch)
        log(f"ttt_phased:phase {index + 1}/{len(phases)} scored_documents:{len(scored)}")
        if index == len(phases) - 1:
            break
        train_on_documents(h, device, val_data, model, scored)
    return loss_and_bpb(loss_sum, token_count, byte_count)
