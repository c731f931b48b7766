"""Score-first test-time training: every chunk is scored before anything is learned from it.

The order is the whole point. For chunk c: (1) score its tokens with the weights as they are, add to the reported sum;
(2) only then take gradient steps on those same, already scored tokens. The last chunk is scored and not trained on.
Source: the challenge's README ("tokens you've already evaluated your model on"), accepted in #549, #1413, #1493.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reference_pipeline.distributed import average_gradients, rank_and_world
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.logs import log
from reference_pipeline.scoring import ValidationData, loss_and_bpb, score_windows, sliding_windows


def chunk_sequences(val_data: ValidationData, first: int, last: int, seq_len: int) -> list[tuple[Tensor, Tensor]]:
    """(x, y) sequences, each (length,), covering targets first..last-1: x is tokens [s, e), y is tokens [s+1, e+1)."""
    tokens = val_data.read(first, last + 1)
    starts = range(0, last - first, seq_len)
    return [(tokens[start : start + seq_len + 1][:-1], tokens[start : start + seq_len + 1][1:]) for start in starts]


def train_on_chunk(
    h: Hyperparameters,
    device: torch.device,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    sequences: list[tuple[Tensor, Tensor]],
) -> None:
    """TTT_EPOCHS passes of SGD over the sequences of a chunk that has been scored."""
    rank, world_size = rank_and_world()
    full = [pair for pair in sequences if pair[0].numel() == sequences[0][0].numel()]  # a batch needs equal lengths
    for _ in range(h.ttt_epochs):
        for start in range(0, len(full), h.ttt_batch_seqs * world_size):
            mine = full[start : start + h.ttt_batch_seqs * world_size][rank::world_size]
            optimizer.zero_grad(set_to_none=True)
            if mine:
                x = torch.stack([pair[0] for pair in mine]).to(device)  # (B, T)
                y = torch.stack([pair[1] for pair in mine]).to(device)
                with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                    loss = model(x, y)
                loss.backward()
            average_gradients(model)
            torch.nn.utils.clip_grad_norm_(model.parameters(), h.ttt_grad_clip)
            optimizer.step()


def learning_rate_along_chunks(h: Hyperparameters, index: int, chunks: int) -> float:
    """TTT_LR for the update after chunk `index` of `chunks`; with TTT_COSINE_DECAY falling to zero by half a cosine."""
    return 0.5 * h.ttt_lr * (1 + math.cos(math.pi * index / max(chunks - 1, 1))) if h.ttt_cosine_decay else h.ttt_lr


def eval_val_ttt(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Sliding-window score with SGD between chunks, `model` ends adapted. (val_loss, val_bpb)."""
    chunks = [
        (first, min(first + h.ttt_chunk_tokens, val_data.targets))
        for first in range(0, val_data.targets, h.ttt_chunk_tokens)
    ]
    log(f"ttt:start chunks={len(chunks)} ttt_lr={h.ttt_lr} ttt_epochs={h.ttt_epochs}")
    for block in model.blocks[: h.ttt_freeze_blocks]:
        block.requires_grad_(False)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=h.ttt_lr, momentum=h.ttt_momentum)
    loss_sum = torch.zeros((), dtype=torch.float64)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    for index, (first, last) in enumerate(chunks):
        windows = sliding_windows(first, last, h.eval_seq_len, h.eval_stride)
        chunk_loss, chunk_tokens, chunk_bytes = score_windows(h, device, val_data, model, windows)
        loss_sum += chunk_loss
        token_count += chunk_tokens
        byte_count += chunk_bytes
        if last == val_data.targets:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_along_chunks(h, index, len(chunks))
        train_on_chunk(h, device, model, optimizer, chunk_sequences(val_data, first, last, h.train_seq_len))
    model.requires_grad_(True)
    return loss_and_bpb(loss_sum, token_count, byte_count)
