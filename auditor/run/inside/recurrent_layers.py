"""Layers of fla that submissions build models of, in plain torch: parameters and results are the library's.

Source: gated DeltaNet (arXiv 2412.06464), `fla.layers.GatedDeltaNet` of flash-linear-attention 0.4. A layer that is
only named here says that it has no stand-in as soon as one is made: importing its name is no reason to stop a script.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from . import recurrences
from .usage import used

Tensor = torch.Tensor


class ShortConvolution(nn.Conv1d):
    """Depthwise causal convolution over time, then an activation; x (batch, time, channels)."""

    def __init__(
        self, hidden_size: int, kernel_size: int, bias: bool = False, activation: str | None = "silu", **unused: Any
    ) -> None:
        super().__init__(hidden_size, hidden_size, kernel_size, groups=hidden_size, bias=bias, padding=kernel_size - 1)
        self.hidden_size, self.activation = hidden_size, activation

    def forward(  # type: ignore[override]
        self, x: Tensor, residual: Tensor | None = None, mask: Tensor | None = None, cache: Any = None, **options: Any
    ) -> tuple[Tensor, None]:
        """The convolved x and no cache."""
        if mask is not None or cache is not None or options.get("cu_seqlens") is not None:
            raise NotImplementedError("packed and cached sequences have no stand-in")
        y = recurrences.causal_conv1d_fn(x.mT, self.weight[:, 0], self.bias, activation=self.activation).mT
        return (y if residual is None else y + residual), None


class RMSNorm(nn.Module):
    """Root mean square norm with a gain, in float32; gated by silu(g) where `gate` is given."""

    def __init__(self, hidden_size: int, elementwise_affine: bool = True, eps: float = 1e-5, **unused: Any) -> None:
        super().__init__()
        self.hidden_size, self.eps = hidden_size, eps
        self.weight = nn.Parameter(torch.ones(hidden_size)) if elementwise_affine else None

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """x (..., width) -> (..., width)."""
        gain = None if self.weight is None else self.weight.float()
        normed = F.rms_norm(x.float(), (x.shape[-1],), gain, self.eps)
        return (normed if gate is None else normed * F.silu(gate.float())).to(x.dtype)


class GatedDeltaNet(nn.Module):
    """Short convolutions, the gated delta rule per head, a gated norm; x (batch, time, width)."""

    def __init__(
        self,
        hidden_size: int = 2048,
        expand_v: float = 2,
        head_dim: int = 256,
        num_heads: int = 6,
        num_v_heads: int | None = None,
        mode: str = "chunk",
        use_gate: bool = True,
        use_short_conv: bool = True,
        allow_neg_eigval: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        layer_idx: int | None = None,
        norm_eps: float = 1e-5,
        **unused: Any,
    ) -> None:
        super().__init__()
        used("gated DeltaNet layer")
        self.mode, self.layer_idx, self.hidden_size, self.expand_v = mode, layer_idx, hidden_size, expand_v
        self.use_gate, self.use_short_conv, self.allow_neg_eigval = use_gate, use_short_conv, allow_neg_eigval
        self.head_dim, self.num_heads, self.num_v_heads = head_dim, num_heads, num_v_heads or num_heads
        self.head_k_dim, self.head_v_dim = head_dim, int(head_dim * expand_v)
        self.key_dim, self.value_dim = num_heads * head_dim, self.num_v_heads * self.head_v_dim
        if self.num_v_heads % num_heads or not math.isclose(head_dim * expand_v, self.head_v_dim):
            raise ValueError(f"expand_v={expand_v}, num_v_heads={num_v_heads} do not fit the heads")
        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        self.a_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        self.b_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        self.A_log = nn.Parameter(torch.empty(self.num_v_heads).uniform_(0, 16).log())
        rate = torch.empty(self.num_v_heads).uniform_(math.log(0.001), math.log(0.1)).exp()
        self.dt_bias = nn.Parameter(rate + torch.log(-torch.expm1(-rate)))  # softplus of it is the rate
        if use_short_conv:
            self.q_conv1d = ShortConvolution(self.key_dim, conv_size, conv_bias)
            self.k_conv1d = ShortConvolution(self.key_dim, conv_size, conv_bias)
            self.v_conv1d = ShortConvolution(self.value_dim, conv_size, conv_bias)
        if use_gate:
            self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        self.o_norm = RMSNorm(self.head_v_dim, eps=norm_eps)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = False,
        output_attentions: bool | None = False,
        **options: Any,
    ) -> tuple[Tensor, None, Any]:
        """The layer's output, no attention weights, no cache."""
        if attention_mask is not None or past_key_values is not None or options.get("cu_seqlens") is not None:
            raise NotImplementedError("packed and cached sequences have no stand-in")
        q, k, v = (self._mixed(name, hidden_states) for name in "qkv")
        beta = self.b_proj(hidden_states).sigmoid() * (2 if self.allow_neg_eigval else 1)
        decay = -self.A_log.float().exp() * F.softplus(self.a_proj(hidden_states).float() + self.dt_bias)
        out, _ = recurrences.chunk_gated_delta_rule(q, k, v, decay, beta, use_qk_l2norm_in_kernel=True)
        gate = self.g_proj(hidden_states).unflatten(-1, (-1, self.head_v_dim)) if self.use_gate else None
        return self.o_proj(self.o_norm(out, gate).flatten(-2)), None, past_key_values

    def _mixed(self, name: str, x: Tensor) -> Tensor:
        """Queries, keys or values, (batch, time, heads, width)."""
        projected = getattr(self, f"{name}_proj")(x)
        mixed = getattr(self, f"{name}_conv1d")(projected)[0] if self.use_short_conv else F.silu(projected)
        return mixed.unflatten(-1, (-1, self.head_v_dim if name == "v" else self.head_k_dim))


def _without(name: str) -> type[nn.Module]:
    """A layer that can be imported and not be made."""

    def refuse(self: nn.Module, *args: Any, **keywords: Any) -> None:
        raise NotImplementedError(f"fla.layers.{name} has no stand-in")

    return type(name, (nn.Module,), {"__init__": refuse})


def install() -> None:
    """Register the layers under the names that the library gives them."""
    layers: dict[str, Any] = {
        name: _without(name) for name in ("DeltaNet", "GatedDeltaProduct", "Mamba2", "RWKV7Attention")
    }
    layers["GatedDeltaNet"] = GatedDeltaNet
    files = {"gated_deltanet": "GatedDeltaNet", "gated_deltaproduct": "GatedDeltaProduct", "mamba2": "Mamba2",
             "delta_net": "DeltaNet", "rwkv7": "RWKV7Attention"}  # fmt: skip
    recurrences.supply("fla.layers", **layers)
    for file, name in files.items():
        recurrences.supply(f"fla.layers.{file}", **{name: layers[name]})
    recurrences.supply("fla.modules", ShortConvolution=ShortConvolution, RMSNorm=RMSNorm, FusedRMSNormGated=RMSNorm)
