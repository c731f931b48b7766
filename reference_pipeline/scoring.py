"""Scoring: bits per byte of the whole validation text, every token scored exactly once.

The stream is val_tokens (N + 1,), its first token BOS; target i (1..N) is predicted from tokens before it. Sums are
float64 and added batch by batch in a fixed order, so that the result does not depend on the number of ranks.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import sentencepiece as spm
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from reference_pipeline.byte_table import build_sentencepiece_luts, token_bytes
from reference_pipeline.distributed import rank_and_world, sum_over_ranks, wait_for_device
from reference_pipeline.errors import PipelineError
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.logs import log
from reference_pipeline.shards import find_shards, load_shard


def load_validation_tokens(pattern: str, vocab_size: int) -> Tensor:
    """All validation tokens in file order, (N + 1,) int64. Byte sidecars match the same glob and are left out."""
    paths = [path for path in find_shards(pattern) if "_bytes_" not in path.name]
    tokens = torch.from_numpy(np.concatenate([load_shard(path, vocab_size) for path in paths]).astype(np.int64))
    if tokens.numel() < 2:
        raise PipelineError(f"{pattern}: fewer than two validation tokens; prepare the data again")
    return tokens


def load_byte_sidecar(pattern: str, tokens: int) -> Tensor | None:
    """Raw bytes of each token, (N + 1,) int64, when a sidecar lies beside the shards."""
    folder = Path(pattern).parent
    if not list(folder.glob(Path(pattern).name)):
        return None
    sizes = torch.from_numpy(np.concatenate([load_shard(path) for path in find_shards(pattern)]).astype(np.int64))
    if sizes.numel() != tokens:
        raise PipelineError(
            f"{pattern}: {sizes.numel()} byte counts for {tokens} tokens; make sidecar and shards together"
        )
    return sizes


class ValidationData:
    """The validation stream and the bytes of text of every target."""

    def __init__(self, h: Hyperparameters, device: torch.device):
        self.val_tokens = load_validation_tokens(h.val_files, h.vocab_size)
        sidecar = load_byte_sidecar(h.val_bytes_files, self.val_tokens.numel())
        if sidecar is not None:
            self.target_bytes = sidecar[1:]  # (N,) raw bytes of target i at i - 1
        elif h.tokenizer_path == "bytes":
            self.target_bytes = (self.val_tokens[1:] >= 4).to(torch.int64)
        else:
            if not Path(h.tokenizer_path).is_file():
                raise PipelineError(f"{h.tokenizer_path}: no such tokenizer; set TOKENIZER_PATH")
            sp = spm.SentencePieceProcessor(model_file=h.tokenizer_path)
            luts = build_sentencepiece_luts(sp, h.vocab_size, torch.device("cpu"))
            self.target_bytes = token_bytes(luts, self.val_tokens[:-1], self.val_tokens[1:])
        self.targets = self.val_tokens.numel() - 1


def loss_and_bpb(loss_sum: Tensor, token_count: Tensor, byte_count: Tensor) -> tuple[float, float]:
    """(nats per token, bits per byte) from float64 sums."""
    val_loss = (loss_sum / token_count).item()
    return val_loss, val_loss / math.log(2.0) * (token_count.item() / byte_count.item())


def sliding_windows(first: int, last: int, seq_len: int, stride: int) -> list[tuple[int, int, int]]:
    """Windows scoring targets first..last-1 (0-based) once each: (context start, first scored, end).

    A window holds targets [context start, end) and scores [first scored, end); context may reach back before `first`.
    """
    if not 0 < stride <= seq_len:
        raise PipelineError(f"EVAL_STRIDE={stride}: must be 1..EVAL_SEQ_LEN={seq_len}, or tokens would be left out")
    windows = []
    scored = first
    while scored < last:
        end = min(scored + (seq_len if scored == 0 else stride), last)
        windows.append((max(0, end - seq_len), scored, end))
        scored = end
    return windows


def window_nll(model: nn.Module, tokens: Tensor, windows: list[tuple[int, int, int]], device: torch.device) -> Tensor:
    """Negative log-likelihood of a batch of windows, (windows, longest) float32; junk beyond a window's end.

    Windows are padded on the right, where a causal model cannot look.
    """
    longest = max(end - start for start, _, end in windows)
    x = torch.zeros(len(windows), longest, dtype=torch.int64)
    y = torch.zeros(len(windows), longest, dtype=torch.int64)
    for row, (start, _, end) in enumerate(windows):
        x[row, : end - start] = tokens[start:end]
        y[row, : end - start] = tokens[start + 1 : end + 1]
    with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        logits = model.forward_logits(x.to(device))
    nll = F.cross_entropy(logits.float().flatten(0, 1), y.to(device).flatten(), reduction="none")
    return nll.view(len(windows), longest)


def score_windows(
    h: Hyperparameters,
    device: torch.device,
    val_data: ValidationData,
    model: nn.Module,
    windows: list[tuple[int, int, int]],
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss sum in nats, tokens, bytes), float64 scalars, over the scored part of `windows`.

    Batches are dealt out to the ranks; each batch's sum has its own place, and places are added in order.
    """
    rank, world_size = rank_and_world()
    batch_windows = max(1, h.val_batch_size // h.eval_seq_len)
    batches = [windows[i : i + batch_windows] for i in range(0, len(windows), batch_windows)]
    loss_sums = torch.zeros(len(batches), dtype=torch.float64, device=device)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    model.eval()
    with torch.inference_mode():
        for index, batch in enumerate(batches):
            token_count += sum(end - scored for _, scored, end in batch)
            byte_count += sum(val_data.target_bytes[scored:end].sum() for _, scored, end in batch)
            if index % world_size != rank:
                continue
            nll = window_nll(model, val_data.val_tokens, batch, device)
            for row, (start, scored, end) in enumerate(batch):
                loss_sums[index] += nll[row, scored - start : end - start].to(torch.float64).sum()
    sum_over_ranks(loss_sums)
    model.train()
    return loss_sums.sum().cpu(), token_count, byte_count


def eval_val(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Full evaluation: consecutive windows of EVAL_SEQ_LEN, context starting anew in each. (val_loss, val_bpb)."""
    windows = [
        (start, start, min(start + h.eval_seq_len, val_data.targets))
        for start in range(0, val_data.targets, h.eval_seq_len)
    ]
    return loss_and_bpb(*score_windows(h, device, val_data, model, windows))


def eval_val_sliding(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Sliding window: each token once, with EVAL_SEQ_LEN - EVAL_STRIDE tokens of context or more."""
    windows = sliding_windows(0, val_data.targets, h.eval_seq_len, h.eval_stride)
    return loss_and_bpb(*score_windows(h, device, val_data, model, windows))


def document_spans(val_tokens: Tensor, bos_id: int) -> list[tuple[int, int]]:
    """Targets [first, last) of each document: a document owns its tokens after BOS and the BOS that ends it."""
    starts = (val_tokens[:-1] == bos_id).nonzero().flatten().tolist()
    if not starts or starts[0] != 0:
        starts = [0, *starts]
    return list(zip(starts, [*starts[1:], val_tokens.numel() - 1], strict=True))


def eval_val_documents(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Document-wise: windows slide within a document and never see another one. (val_loss, val_bpb)."""
    windows = []
    for first, last in document_spans(val_data.val_tokens, h.bos_id):
        shifted = sliding_windows(0, last - first, h.eval_seq_len, h.eval_stride)
        windows += [(first + start, first + scored, first + end) for start, scored, end in shifted]
    return loss_and_bpb(*score_windows(h, device, val_data, model, windows))


def timed_eval(label: str, fn, *args) -> tuple[float, float]:
    """Run an evaluation and log its score and time."""
    device = args[1]
    wait_for_device(device)
    began = time.perf_counter()
    val_loss, val_bpb = fn(*args)
    wait_for_device(device)
    log(f"{label} val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f} eval_time:{1000 * (time.perf_counter() - began):.0f}ms")
    return val_loss, val_bpb
