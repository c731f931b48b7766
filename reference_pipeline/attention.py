"""Causal grouped-query attention through one interface: flash-attn 3 or 2 on a GPU that has it, else torch SDPA."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

try:
    from flash_attn_interface import flash_attn_func
except ImportError:
    try:
        from flash_attn import flash_attn_func
    except ImportError:
        flash_attn_func = None


def sdpa_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q (B, T, H, D), k and v (B, T, Hkv, D) -> (B, T, H, D), by torch."""
    y = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True, enable_gqa=q.size(2) != k.size(2)
    )
    return y.transpose(1, 2)


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q (B, T, H, D), k and v (B, T, Hkv, D) -> (B, T, H, D); position t sees positions up to t."""
    q, k = q.to(v.dtype), k.to(v.dtype)  # under autocast the normalisations return float32
    if flash_attn_func is not None and q.is_cuda and q.dtype in (torch.float16, torch.bfloat16):
        y = flash_attn_func(q, k, v, causal=True)
        return y[0] if isinstance(y, tuple) else y  # flash-attn 3 also returns the log-sum-exp
    return sdpa_attention(q, k, v)
