"""Scoring: bits per byte of the whole validation text, every token scored exactly once.

The stream has N + 1 tokens, its first one BOS; target i (0..N-1) is token i + 1, predicted from tokens up to i. It is
read from the shards piece by piece and scored block by block, so memory does not grow with N. Sums are float64 and
added batch by batch in a fixed order, so that the result does not depend on the number of ranks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path

import sentencepiece as spm
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from reference_pipeline.byte_table import build_sentencepiece_luts, token_bytes
from reference_pipeline.distributed import rank_and_world, sum_over_ranks, wait_for_device
from reference_pipeline.errors import PipelineError
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.loaders import TokenStream
from reference_pipeline.logs import log
from reference_pipeline.shards import find_shards

BLOCK_TOKENS = 1 << 20  # targets whose windows are laid out together; memory is bounded by one block
DOCUMENT_GROUP = 256  # documents whose windows are laid out together
FIRST_BYTE_ID = 4  # of the byte tokenizer: ids below are control tokens


def open_validation_stream(pattern: str, vocab_size: int) -> TokenStream:
    """The validation tokens in file order, N + 1 of them. Byte sidecars match the same glob and are left out."""
    stream = TokenStream([path for path in find_shards(pattern) if "_bytes_" not in path.name], vocab_size)
    if len(stream) < 2:
        raise PipelineError(f"{pattern}: fewer than two validation tokens; prepare the data again")
    return stream


def open_byte_sidecar(pattern: str, tokens: int) -> TokenStream | None:
    """Raw bytes of each token, N + 1 numbers, when a sidecar lies beside the shards."""
    if not list(Path(pattern).parent.glob(Path(pattern).name)):
        return None
    sizes = TokenStream(find_shards(pattern))
    if len(sizes) != tokens:
        raise PipelineError(
            f"{pattern}: {len(sizes)} byte counts for {tokens} tokens; make sidecar and shards together"
        )
    return sizes


def load_byte_table(h: Hyperparameters) -> tuple[Tensor, Tensor, Tensor]:
    """The tokenizer's byte table, checked against VOCAB_SIZE."""
    if not Path(h.tokenizer_path).is_file():
        raise PipelineError(f"{h.tokenizer_path}: no such tokenizer; set TOKENIZER_PATH")
    try:
        sp = spm.SentencePieceProcessor(model_file=h.tokenizer_path)
    except (RuntimeError, OSError) as error:
        raise PipelineError(
            f"{h.tokenizer_path}: not a sentencepiece model; set TOKENIZER_PATH to the one the shards were made with"
        ) from error
    return build_sentencepiece_luts(sp, h.vocab_size, torch.device("cpu"))


class ValidationData:
    """The validation stream and the bytes of text of every target, both read from the shards piece by piece."""

    def __init__(self, h: Hyperparameters):
        self.stream = open_validation_stream(h.val_files, h.vocab_size)
        self.targets = len(self.stream) - 1
        self.sidecar = open_byte_sidecar(h.val_bytes_files, len(self.stream))
        plain_bytes = self.sidecar is not None or h.tokenizer_path == "bytes"
        self.byte_table = None if plain_bytes else load_byte_table(h)

    def read(self, first: int, last: int) -> Tensor:
        """Tokens [first, last) of the stream, (last - first,) int64."""
        return torch.from_numpy(self.stream.read(first, last))

    def target_bytes(self, first: int, last: int) -> Tensor:
        """Bytes of text of targets [first, last), (last - first,) int64."""
        if self.sidecar is not None:
            return torch.from_numpy(self.sidecar.read(first + 1, last + 1))
        tokens = self.read(first, last + 1)
        if self.byte_table is None:
            return (tokens[1:] >= FIRST_BYTE_ID).to(torch.int64)
        return token_bytes(self.byte_table, tokens[:-1], tokens[1:])


def loss_and_bpb(loss_sum: Tensor, token_count: Tensor, byte_count: Tensor) -> tuple[float, float]:
    """(nats per token, bits per byte) from float64 sums."""
    val_loss = (loss_sum / token_count).item()
    return val_loss, val_loss / math.log(2.0) * (token_count.item() / byte_count.item())


def stream_blocks(targets: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Spans of targets [first, last) that cover the stream; all but the last are multiples of `multiple` long."""
    size = max(BLOCK_TOKENS // multiple, 1) * multiple
    return [(first, min(first + size, targets)) for first in range(0, targets, size)]


def full_windows(first: int, last: int, seq_len: int) -> list[tuple[int, int, int]]:
    """Windows of `seq_len` targets one after the other, each scored whole."""
    return [(start, start, min(start + seq_len, last)) for start in range(first, last, seq_len)]


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


def window_nll(
    model: nn.Module, val_data: ValidationData, windows: list[tuple[int, int, int]], device: torch.device
) -> Tensor:
    """Negative log-likelihood of the scored targets of `windows`, in their order, (scored,) float32.

    Windows are padded on the right, where a causal model cannot look. Logits are made for scored targets only.
    """
    longest = max(end - start for start, _, end in windows)
    x = torch.zeros(len(windows), longest, dtype=torch.int64)
    y, places = [], []
    for row, (start, scored, end) in enumerate(windows):
        tokens = val_data.read(start, end + 1)
        x[row, : end - start] = tokens[:-1]
        y.append(tokens[scored - start + 1 :])
        places.append(torch.arange(scored - start, end - start) + row * longest)
    with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        logits = model.forward_logits(x.to(device), places=torch.cat(places).to(device))
    return F.cross_entropy(logits.float(), torch.cat(y).to(device), reduction="none")


def score_windows(
    h: Hyperparameters,
    device: torch.device,
    val_data: ValidationData,
    model: nn.Module,
    windows: list[tuple[int, int, int]],
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss sum in nats, tokens, bytes), float64 scalars, over the scored part of `windows`; each goes on where the one
    before it ended.

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
            token_count += batch[-1][2] - batch[0][1]
            byte_count += val_data.target_bytes(batch[0][1], batch[-1][2]).sum()
            if index % world_size != rank:
                continue
            loss_sums[index] = window_nll(model, val_data, batch, device).to(torch.float64).sum()
    sum_over_ranks(loss_sums)
    model.train()
    return loss_sums.sum().cpu(), token_count, byte_count


def total(parts: Iterable[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """(loss sum in nats, tokens, bytes) of all parts together."""
    loss_sum = torch.zeros((), dtype=torch.float64)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    for part_loss, part_tokens, part_bytes in parts:
        loss_sum += part_loss
        token_count += part_tokens
        byte_count += part_bytes
    return loss_sum, token_count, byte_count


def eval_val(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Full evaluation: consecutive windows of EVAL_SEQ_LEN, context starting anew in each. (val_loss, val_bpb)."""
    parts = (
        score_windows(h, device, val_data, model, full_windows(first, last, h.eval_seq_len))
        for first, last in stream_blocks(val_data.targets, h.eval_seq_len)
    )
    return loss_and_bpb(*total(parts))


def eval_val_sliding(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Sliding window: each token once, with EVAL_SEQ_LEN - EVAL_STRIDE tokens of context or more."""
    parts = (
        score_windows(h, device, val_data, model, sliding_windows(first, last, h.eval_seq_len, h.eval_stride))
        for first, last in stream_blocks(val_data.targets, h.eval_stride)
    )
    return loss_and_bpb(*total(parts))


def document_spans(val_data: ValidationData, bos_id: int) -> list[tuple[int, int]]:
    """Targets [first, last) of each document: a document owns its tokens after BOS and the BOS that ends it."""
    starts: list[int] = []
    for first, last in stream_blocks(val_data.targets):
        starts += (first + (val_data.read(first, last) == bos_id).nonzero().flatten()).tolist()
    if not starts or starts[0] != 0:
        starts = [0, *starts]
    return list(zip(starts, [*starts[1:], val_data.targets], strict=True))


def document_windows(spans: list[tuple[int, int]], seq_len: int, stride: int) -> list[tuple[int, int, int]]:
    """Windows that slide within each document and never reach into the one before it."""
    return [
        (first + start, first + scored, first + end)
        for first, last in spans
        for start, scored, end in sliding_windows(0, last - first, seq_len, stride)
    ]


def eval_val_documents(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Document-wise: windows slide within a document and never see another one. (val_loss, val_bpb)."""
    spans = document_spans(val_data, h.bos_id)
    parts = (
        score_windows(h, device, val_data, model, document_windows(group, h.eval_seq_len, h.eval_stride))
        for group in (spans[i : i + DOCUMENT_GROUP] for i in range(0, len(spans), DOCUMENT_GROUP))
    )
    return loss_and_bpb(*total(parts))


def timed_eval(label: str, fn, *args) -> tuple[float, float]:
    """Run an evaluation and log its score and time."""
    device = args[1]
    wait_for_device(device)
    began = time.perf_counter()
    val_loss, val_bpb = fn(*args)
    wait_for_device(device)
    log(f"{label} val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f} eval_time:{1000 * (time.perf_counter() - began):.0f}ms")
    return val_loss, val_bpb
