"""The grid that a row of weights is rounded to, and training that already sees the rounded weights (QAT)."""

from __future__ import annotations

import torch
from torch import Tensor


def row_scale(weight: Tensor, bits: int, clip_sigmas: float) -> Tensor:
    """SDClip grid step of each row, (rows,) float16, never zero: clip_sigmas standard deviations / largest integer."""
    largest = 2 ** (bits - 1) - 1
    return (clip_sigmas * weight.float().std(dim=1, correction=0) / largest).clamp_min(1e-5).to(torch.float16)


def percentile_scales(weight: Tensor, bits: int) -> list[Tensor]:
    """Grid steps (rows,) float16 that clip each row of weight (rows, columns) at one of five percentiles of its
    magnitudes, the last one clipping nothing."""
    largest, magnitudes = 2 ** (bits - 1) - 1, weight.float().abs()
    clips = [torch.quantile(magnitudes, share, dim=1) for share in (0.999, 0.9995, 0.9999, 0.99999, 1.0)]
    return [(clip / largest).clamp_min(1e-5).to(torch.float16) for clip in clips]


def nearest_integers(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """The grid point nearest to each entry of weight (rows, columns), in steps of scale (rows,); float32."""
    largest = 2 ** (bits - 1) - 1
    return torch.round(weight.float() / scale.float()[:, None]).clamp(-largest, largest)


def fake_quantize(weight: Tensor, bits: int, clip_sigmas: float) -> Tensor:
    """weight (rows, columns) rounded to its grid; the gradient passes as if it were not (straight through)."""
    with torch.no_grad():
        scale = row_scale(weight, bits, clip_sigmas)
        error = nearest_integers(weight, scale, bits) * scale.float()[:, None] - weight
    return weight + error
