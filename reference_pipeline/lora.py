"""Per-document adaptation: a small LoRA for each document, learned from the part of it that is already scored.

Documents stand side by side in a batch, each with its own matrices, which start from zero effect at every document and
never see another one. Chunk by chunk: one forward pass, its loss is added to the reported sum, and the same pass's
gradient then updates the LoRA that the NEXT chunk is scored with. Source: #77, #1530.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from reference_pipeline.distributed import rank_and_world, sum_over_ranks
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.scoring import ValidationData, document_spans, loss_and_bpb


class BatchedLinearLoRA(nn.Module):
    """A low-rank addition to a matrix for each of `batch` documents."""

    def __init__(self, batch: int, in_features: int, out_features: int, rank: int):
        super().__init__()
        self.down = nn.Parameter(torch.empty(batch, rank, in_features))
        self.up = nn.Parameter(torch.empty(batch, out_features, rank))
        self.reset()

    def reset(self) -> None:
        """Back to no effect."""
        with torch.no_grad():
            nn.init.normal_(self.down, std=self.down.size(2) ** -0.5)
            self.up.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, T, in) -> (batch, T, out)."""
        return x @ self.down.to(x.dtype).transpose(1, 2) @ self.up.to(x.dtype).transpose(1, 2)


class LayerLoRA(nn.Module):
    """Additions to one layer's query and value matrices."""

    def __init__(self, batch: int, attn: nn.Module, rank: int):
        super().__init__()
        self.q = BatchedLinearLoRA(batch, attn.c_q.in_features, attn.c_q.out_features, rank)
        self.v = BatchedLinearLoRA(batch, attn.c_v.in_features, attn.c_v.out_features, rank)


class DocumentLoRA(nn.Module):
    """Additions to every layer and to the output matrix, for a batch of documents."""

    def __init__(self, batch: int, model: nn.Module, rank: int):
        super().__init__()
        self.layers = nn.ModuleList(LayerLoRA(batch, block.attn, rank) for block in model.blocks)
        self.head = BatchedLinearLoRA(batch, model.model_dim, model.tok_emb.num_embeddings, rank)


def chunk_batch(
    val_data: ValidationData,
    spans: list[tuple[int, int]],
    chunk: int,
    chunk_tokens: int,
    seq_len: int,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs x, targets y and the mask of targets in chunk number `chunk` of each document, all (B, T).

    A document's context reaches back at most `seq_len` tokens and never before its own BOS. Rows whose document has
    ended are empty (mask all false).
    """
    windows = []
    for first, last in spans:
        start = min(first + chunk * chunk_tokens, last)
        end = min(start + chunk_tokens, last)
        windows.append((max(first, end - seq_len), start, end))
    longest = max(end - context for context, _, end in windows)
    x = torch.zeros(len(spans), longest, dtype=torch.int64)
    y = torch.zeros(len(spans), longest, dtype=torch.int64)
    mask = torch.zeros(len(spans), longest, dtype=torch.bool)
    for row, (context, start, end) in enumerate(windows):
        tokens = val_data.read(context, end + 1)
        x[row, : end - context] = tokens[:-1]
        y[row, : end - context] = tokens[1:]
        mask[row, start - context : end - context] = True
    return x.to(device), y.to(device), mask.to(device)


def score_documents_with_lora(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module, spans: list[tuple[int, int]]
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss sum in nats, tokens, bytes), float64 scalars, over the documents `spans`; `model` itself stays as it is."""
    rank, world_size = rank_and_world()
    by_length = sorted(spans, key=lambda span: span[1] - span[0])
    batches = [by_length[i : i + h.ttt_doc_batch] for i in range(0, len(by_length), h.ttt_doc_batch)]
    loss_sums = torch.zeros(len(batches), dtype=torch.float64, device=device)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for index, batch in enumerate(batches):
        token_count += sum(last - first for first, last in batch)
        byte_count += sum(val_data.target_bytes(first, last).sum() for first, last in batch)
        if index % world_size != rank:
            continue
        torch.manual_seed(h.seed + index)
        lora = DocumentLoRA(len(batch), model, h.ttt_lora_rank).to(device)
        optimizer = torch.optim.Adam(lora.parameters(), lr=h.ttt_lora_lr, betas=(0.9, 0.95))
        longest = max(last - first for first, last in batch)
        chunks = -(-longest // h.ttt_lora_chunk)
        for chunk in range(chunks):
            x, y, mask = chunk_batch(val_data, batch, chunk, h.ttt_lora_chunk, h.eval_seq_len, device)
            with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                logits = model.forward_logits(x, lora)
            nll = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none").view_as(y)
            loss_sums[index] += (nll.detach().to(torch.float64) * mask).sum()
            if chunk == chunks - 1:
                break
            per_document = (nll * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
            optimizer.zero_grad(set_to_none=True)
            per_document.sum().backward()
            optimizer.step()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    model.train()
    sum_over_ranks(loss_sums)
    return loss_sums.sum().cpu(), token_count, byte_count


def eval_val_document_lora(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    """Document-wise score with a fresh LoRA for every document. (val_loss, val_bpb)."""
    spans = document_spans(val_data, h.bos_id)
    return loss_and_bpb(*score_documents_with_lora(h, device, val_data, model, spans))
