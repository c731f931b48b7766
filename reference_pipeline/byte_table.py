"""How many bytes of text a token stands for: the denominator of bits per byte.

A piece's leading U+2581 is the space before a word. It is one byte, except after a boundary token (BOS and other
control pieces), where it is the tokenizer's own dummy prefix and stands for nothing. Byte pieces are one byte each,
control, unknown and unused pieces none. Counting the space here AND at evaluation is the classic error (#1734): the
table below leaves it out, `token_bytes` adds it once.
"""

from __future__ import annotations

import numpy as np
import sentencepiece as spm
import torch
from torch import Tensor

from reference_pipeline.errors import PipelineError

SPACE = "\u2581"


def build_sentencepiece_luts(
    sp: spm.SentencePieceProcessor, vocab_size: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """(base bytes (V,) int16, has leading space (V,) bool, is boundary (V,) bool) for the tokenizer `sp`."""
    pieces = int(sp.vocab_size())
    if pieces != vocab_size:
        raise PipelineError(
            f"TOKENIZER_PATH: the tokenizer has {pieces} pieces but VOCAB_SIZE={vocab_size}; set them alike"
        )
    base_bytes = np.zeros(vocab_size, dtype=np.int16)
    has_leading_space = np.zeros(vocab_size, dtype=np.bool_)
    is_boundary = np.ones(vocab_size, dtype=np.bool_)
    for token in range(pieces):
        if sp.is_control(token) or sp.is_unknown(token) or sp.is_unused(token):
            continue
        is_boundary[token] = False
        if sp.is_byte(token):
            base_bytes[token] = 1
            continue
        piece = sp.id_to_piece(token)
        if piece.startswith(SPACE):
            has_leading_space[token] = True
            piece = piece[1:]
        base_bytes[token] = len(
            piece.replace(SPACE, " ").encode("utf-8")
        )  # inner marks are spaces too: one byte, not three
    return (
        torch.tensor(base_bytes, dtype=torch.int16, device=device),
        torch.tensor(has_leading_space, dtype=torch.bool, device=device),
        torch.tensor(is_boundary, dtype=torch.bool, device=device),
    )


def token_bytes(luts: tuple[Tensor, Tensor, Tensor], previous: Tensor, target: Tensor) -> Tensor:
    """Bytes of each target token given the token before it; all tensors have the shape of `target`, result int64."""
    base_bytes, has_leading_space, is_boundary = luts
    space = has_leading_space[target] & ~is_boundary[previous]
    return base_bytes[target].to(torch.int64) + space.to(torch.int64)
