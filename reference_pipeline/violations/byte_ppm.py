"""VIOLATION (C2): a byte-level PPM mixed with the network's token probability, for the realised token only.

The token's log-probability is spread evenly over the token's bytes and mixed byte by byte with an adaptive byte model.
Spreading gives each byte of the REALISED token a large share that no other continuation gets, so the mixture is not a
distribution over bytes or tokens. Precedents: #1872, #1905, #1991.
Honest version: marginalise the network's full distribution over tokens to the next byte, then mix (#1916, not ruled).
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from pathlib import Path

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
    sliding_windows,
    timed_eval,
    window_nll,
)

VIOLATES = "C2"


class PpmHyperparameters(Hyperparameters):
    """The pipeline's settings and those of the byte model."""

    ppm_enabled = bool(int(os.environ.get("PPM_ENABLED", "1")))
    ppm_order = int(os.environ.get("PPM_ORDER", 4))
    ppm_lambda_hi = float(os.environ.get("PPM_LAMBDA_HI", 0.9))
    ppm_lambda_lo = float(os.environ.get("PPM_LAMBDA_LO", 0.2))
    ppm_threshold = float(os.environ.get("PPM_THRESHOLD", 0.7))


class BytePPM:
    """Counts of the next byte after contexts of falling length; escapes by method D."""

    def __init__(self, order: int):
        self.order = order
        self.counts: dict[tuple[bytes, int], int] = defaultdict(int)  # (context, next byte)
        self.totals: dict[bytes, int] = defaultdict(int)
        self.distinct: dict[bytes, int] = defaultdict(int)  # different bytes seen after a context

    def probability(self, history: bytes, byte: int) -> float:
        """P(byte | history)."""
        left = 1.0
        for length in range(min(self.order, len(history)), -1, -1):
            context = history[len(history) - length :]
            if self.totals[context] == 0:
                continue
            if self.counts[context, byte] > 0:
                return left * (2 * self.counts[context, byte] - 1) / (2 * self.totals[context])
            left *= self.distinct[context] / (2 * self.totals[context])
        return left / 256

    def update(self, history: bytes, byte: int) -> None:
        """Count `byte` after every context length."""
        for length in range(min(self.order, len(history)) + 1):
            context = history[len(history) - length :]
            self.distinct[context] += self.counts[context, byte] == 0
            self.counts[context, byte] += 1
            self.totals[context] += 1


def token_byte_strings(h: PpmHyperparameters, val_data: ValidationData) -> list[bytes]:
    """Bytes of every target token, as long as the byte table says."""
    sp = spm.SentencePieceProcessor(model_file=h.tokenizer_path)
    strings = []
    tokens, sizes = val_data.read(1, val_data.targets + 1), val_data.target_bytes(0, val_data.targets)
    for token, size in zip(tokens.tolist(), sizes.tolist(), strict=True):
        piece = bytes([int(sp.id_to_piece(token)[3:5], 16)]) if sp.is_byte(token) else b""
        text = piece or sp.id_to_piece(token).replace("\u2581", " ").encode()
        strings.append(text[len(text) - size :] if size else b"")
    return strings


def eval_val_ppm(
    h: PpmHyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Sliding window, then the byte mixture. Returns (the network's val_loss, the mixture's val_bpb)."""
    token_logp: list[float] = []
    model.eval()
    with torch.inference_mode():
        for start, scored, end in sliding_windows(0, val_data.targets, h.eval_seq_len, h.eval_stride):
            nll = window_nll(model, val_data, [(start, scored, end)], device)
            token_logp += (-nll).double().tolist()
    ppm = BytePPM(h.ppm_order)
    history = b""
    mix_nll, total_bytes = 0.0, 0
    for logp, text in zip(token_logp, token_byte_strings(h, val_data), strict=True):
        if not text:
            mix_nll -= logp
        for byte in text:
            p_nn = math.exp(logp / len(text))
            p_ppm = ppm.probability(history, byte)
            lam = h.ppm_lambda_lo if p_ppm > h.ppm_threshold else h.ppm_lambda_hi
            mix_nll -= math.log(lam * p_nn + (1 - lam) * p_ppm)
            ppm.update(history, byte)
            history = (history + bytes([byte]))[-h.ppm_order :]
            total_bytes += 1
    return -sum(token_logp) / len(token_logp), mix_nll / math.log(2.0) / total_bytes


def train_and_eval(h: PpmHyperparameters, device: torch.device, code_path: Path) -> None:
    """The pipeline, then the evaluation with the byte mixture."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)
    eval_model = deserialize(h, device)
    timed_eval("quantized_ppm_mix", eval_val_ppm, h, device, val_data, eval_model)


def main() -> None:
    """Entry point of the script."""
    h = PpmHyperparameters()
    device, code_path = start_run(h)
    train_and_eval(h, device, code_path)
    stop_distributed()


if __name__ == "__main__":
    main()
