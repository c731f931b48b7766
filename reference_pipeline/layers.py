"""The small parts that the transformer is made of: norms, matrices, rotary positions, gates, hashed embeddings.

Shapes: B batch, T sequence, C model width, H heads, D head width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from reference_pipeline.grid import fake_quantize


def rms_norm(x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
    """x (..., C) divided by its root mean square over C, times `gain` (broadcast over (..., 1)).

    One pass that reads x and one that scales it: on a CPU twice as fast as F.rms_norm and a product. The mean is taken
    in float32, and in bfloat16 the result is float32, too.
    """
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return x * (gain * torch.rsqrt(norm.square() / x.size(-1) + torch.finfo(torch.float32).eps))


class Linear(nn.Linear):
    """Matrix kept in float32 for the optimizer, cast to the activations' type on use.

    While `fake_bits` is set, training sees the matrix as it will be once it is quantized.
    """

    fake_bits, clip_sigmas = 0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        weight = self.weight
        if self.fake_bits and self.training:
            weight = fake_quantize(weight, self.fake_bits, self.clip_sigmas)
        return F.linear(x, weight.to(x.dtype))


class Rotary(nn.Module):
    """Rotary positions on the first `rope_dims` of D head dimensions (16 of 64); the rest carries no position.

    Beyond `train_length` positions (0: never) the base grows with the length, so that the slowest pair turns no
    further than in training (NTK-aware scaling).
    """

    def __init__(self, rope_dims: int, base: float, train_length: int = 0):
        super().__init__()
        self.base, self.train_length = base, train_length
        frequencies = base ** (-torch.arange(0, rope_dims, 2, dtype=torch.float32) / rope_dims)
        self.register_buffer("frequencies", frequencies, persistent=False)  # (rope_dims / 2,)

    def table(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine of every position, (length, 1, rope_dims) each; all layers share them."""
        positions = torch.arange(length, device=self.frequencies.device, dtype=torch.float32)
        frequencies = self.frequencies
        if 0 < self.train_length < length:
            pairs = frequencies.numel()
            stretch = torch.arange(pairs, device=frequencies.device) / max(pairs - 1, 1)
            frequencies = frequencies * (length / self.train_length) ** -stretch
        angles = (positions[:, None] * frequencies)[:, None]  # (length, 1, rope_dims / 2)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat((cos, cos), dim=-1), torch.cat((sin, -sin), dim=-1)


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """x (B, T, H, D) with its first dimensions turned by the angles of their positions -> (B, T, H, D)."""
    cos, sin = table
    turning, rest = x[..., : cos.size(-1)], x[..., cos.size(-1) :]
    turned = torch.addcmul(turning * cos.to(x.dtype), turning.roll(cos.size(-1) // 2, dims=-1), sin.to(x.dtype))
    return torch.cat((turned, rest), dim=-1) if rest.size(-1) else turned


class SmearGate(nn.Module):
    """Mix a little of the previous position into each one; never across BOS, where another document ends."""

    def __init__(self, dim: int):
        super().__init__()
        self.gate = nn.Parameter(torch.full((dim,), -3.0))

    def forward(self, x: Tensor, is_bos: Tensor) -> Tensor:
        """x (B, T, C), is_bos (B, T) bool -> (B, T, C)."""
        previous = F.pad(x, (0, 0, 1, 0))[:, :-1]
        previous = previous.masked_fill(is_bos.unsqueeze(-1), 0.0)
        return x + torch.sigmoid(self.gate).to(x.dtype) * previous


class BigramHash(nn.Module):
    """An embedding of the hash of the current and the previous INPUT token: a causal feature, not a prediction.

    With `trigram` the hash of the last three tokens is looked up in the same table and added.
    """

    def __init__(self, buckets: int, dim: int, model_dim: int, trigram: bool = False):
        super().__init__()
        self.buckets, self.trigram = buckets, trigram
        self.embed = nn.Embedding(buckets, dim)
        self.proj = Linear(dim, model_dim, bias=False)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, input_ids: Tensor, is_bos: Tensor) -> Tensor:
        """input_ids (B, T), is_bos (B, T) -> (B, T, C); at BOS the previous token counts as zero."""
        previous = F.pad(input_ids, (1, 0))[:, :-1].masked_fill(is_bos, 0)
        hashed = input_ids * 36313 + previous * 27191
        features = self.embed(hashed % self.buckets)
        if self.trigram:
            before = F.pad(previous, (1, 0))[:, :-1].masked_fill(is_bos, 0)  # zero, too, just after BOS
            features = features + self.embed((hashed + before * 51497) % self.buckets)
        return self.proj(features)


class SigmoidGate(nn.Module):
    """`outputs` numbers in 0..1 for every position, read off its vector; at first sigmoid(`bias`) everywhere."""

    def __init__(self, dim: int, outputs: int, bias: float):
        super().__init__()
        self.reading = nn.Parameter(torch.zeros(outputs, dim))
        self.bias = nn.Parameter(torch.full((outputs,), bias))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, outputs)."""
        return torch.sigmoid(F.linear(x, self.reading.to(x.dtype), self.bias.to(x.dtype)))
