"""VIOLATION (C3): several epochs of training on the validation text before it is quantized and scored.

Score before update is turned round: every token is learned from, many times, and then "scored". The score falls below
the source's entropy, which no model that has not seen the text can do. Precedents: #1376, #1485, #1972.
Honest version: `reference_pipeline.adaptation`, which learns only from chunks already scored.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import torch
from torch import nn

from reference_pipeline.artifact import serialize
from reference_pipeline.distributed import average_gradients, average_parameters, rank_and_world, stop_distributed
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.logs import log
from reference_pipeline.pipeline import evaluate_artifact, log_data, seed_everything, start_run
from reference_pipeline.quantization import gptq_phase
from reference_pipeline.scoring import ValidationData, eval_val, timed_eval
from reference_pipeline.training import train_model

VIOLATES = "C3"


class PrequantHyperparameters(Hyperparameters):
    """The pipeline's settings and those of the adaptation."""

    prequant_ttt_enabled = bool(int(os.environ.get("PREQUANT_TTT_ENABLED", "1")))
    prequant_ttt_lr = float(os.environ.get("PREQUANT_TTT_LR", 0.002))
    prequant_ttt_min_lr = float(os.environ.get("PREQUANT_TTT_MIN_LR", 0.0002))
    prequant_ttt_epochs = int(os.environ.get("PREQUANT_TTT_EPOCHS", 20))
    prequant_ttt_freeze_blocks = int(os.environ.get("PREQUANT_TTT_FREEZE_BLOCKS", 0))
    prequant_ttt_batch_seqs = int(os.environ.get("PREQUANT_TTT_BATCH_SEQS", 8))
    prequant_ttt_wd = float(os.environ.get("PREQUANT_TTT_WD", 0.0))
    ttt_ema_enabled = bool(int(os.environ.get("TTT_EMA_ENABLED", "0")))
    ttt_ema_decay = float(os.environ.get("TTT_EMA_DECAY", 0.7))  # per epoch
    prequant_ttt_void_stop = float(os.environ.get("PREQUANT_TTT_VOID_STOP", 0.25))  # #1852's alarm
    prequant_ttt_grad_clip = float(os.environ.get("PREQUANT_TTT_GRAD_CLIP", 1.0))


def void_fraction(model: nn.Module) -> float:
    """Share of matrix entries not larger than their matrix's mean magnitude."""
    small, total = 0, 0
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                small += int((parameter.abs() <= parameter.abs().mean()).sum())
                total += parameter.numel()
    return small / max(total, 1)


def prequant_ttt(
    h: PrequantHyperparameters, device: torch.device, val_data: ValidationData, base_model: nn.Module
) -> None:
    """AdamW over all validation sequences for several epochs, cosine learning rate, first blocks frozen."""
    rank, world_size = rank_and_world()
    frozen = tuple(f"blocks.{index}." for index in range(h.prequant_ttt_freeze_blocks))
    for name, parameter in base_model.named_parameters():
        parameter.requires_grad_(not (frozen and (name.startswith(frozen) or name == "tok_emb.weight")))
    trainable = [parameter for parameter in base_model.parameters() if parameter.requires_grad]
    log(
        f"prequant_ttt:start epochs={h.prequant_ttt_epochs} lr={h.prequant_ttt_lr} "
        f"trainable={sum(p.numel() for p in trainable)}"
    )
    model = torch.compile(base_model, dynamic=False) if h.compile_model and device.type == "cuda" else base_model
    optimizer = torch.optim.AdamW(trainable, lr=h.prequant_ttt_lr, weight_decay=h.prequant_ttt_wd)
    average = [parameter.detach().clone() for parameter in trainable]
    tokens, seq_len = val_data.read(0, val_data.targets + 1), h.train_seq_len
    began = time.perf_counter()
    model.train()
    for epoch in range(h.prequant_ttt_epochs):
        cosine = 0.5 * (1 + math.cos(math.pi * epoch / max(h.prequant_ttt_epochs - 1, 1)))
        for group in optimizer.param_groups:
            group["lr"] = h.prequant_ttt_min_lr + (h.prequant_ttt_lr - h.prequant_ttt_min_lr) * cosine
        generator = torch.Generator().manual_seed(h.seed + epoch)
        phase = int(torch.randint(seq_len, (1,), generator=generator))  # other cuts in every epoch
        order = torch.randperm((val_data.targets - phase) // seq_len, generator=generator)
        sequences = order.numel()
        epoch_loss, batches = 0.0, 0
        for start in range(0, sequences, h.prequant_ttt_batch_seqs * world_size):
            rows = order[start : start + h.prequant_ttt_batch_seqs * world_size][rank::world_size].tolist()
            starts = [phase + row * seq_len for row in rows]
            optimizer.zero_grad(set_to_none=True)
            if starts:
                x = torch.stack([tokens[s : s + seq_len] for s in starts]).to(device)  # (B, T)
                y = torch.stack([tokens[s + 1 : s + seq_len + 1] for s in starts]).to(device)
                with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                    loss = model(x, y)
                loss.backward()
                epoch_loss += loss.item()
                batches += 1
            average_gradients(base_model)
            torch.nn.utils.clip_grad_norm_(trainable, h.prequant_ttt_grad_clip)
            optimizer.step()
        average_parameters(base_model)
        for mean, parameter in zip(average, trainable, strict=True):
            mean.lerp_(parameter.detach(), 1 - h.ttt_ema_decay)
        void = void_fraction(base_model)
        log(
            f"prequant_ttt:epoch {epoch + 1}/{h.prequant_ttt_epochs} loss={epoch_loss / max(batches, 1):.6f} "
            f"void={void:.4f} time={time.perf_counter() - began:.1f}s"
        )
        if void < h.prequant_ttt_void_stop:
            log(f"prequant_ttt:stop void={void:.4f}")
            break
    if h.ttt_ema_enabled:
        with torch.no_grad():
            for mean, parameter in zip(average, trainable, strict=True):
                parameter.copy_(mean)
        log(f"ttt_ema:loaded decay={h.ttt_ema_decay}")
    for parameter in base_model.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None


def train_and_eval(h: PrequantHyperparameters, device: torch.device, code_path: Path) -> None:
    """Train, adapt on the validation tokens, quantize, score."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        base_model = train_model(h, device, val_data)
        timed_eval("pre-quantization post-ema", eval_val, h, device, val_data, base_model)
        if h.prequant_ttt_enabled:
            prequant_ttt(h, device, val_data, base_model)
            timed_eval("post-prequant-ttt", eval_val, h, device, val_data, base_model)
        quantized, kept = gptq_phase(h, device, base_model)
        serialize(h, quantized, kept, code_path)
    evaluate_artifact(h, device, val_data)


def main() -> None:
    """Entry point of the script."""
    h = PrequantHyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
