"""Fused operations of other packages in plain torch: Liger's norm and loss, a GEMM with an elementwise epilogue.

Liger's autograd Functions for losses are left out: the order of their arguments differs between releases, and scripts
that use them fall back to plain torch where the import fails.
"""

from __future__ import annotations

import types
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from . import imports
from .usage import used

Tensor = torch.Tensor


def _rms_norm(x: Tensor, weight: Tensor | None, epsilon: float, offset: float = 0.0, casting: str = "llama") -> Tensor:
    """x / rms(x) * (offset + weight); the mean of squares is taken in fp32."""
    used("liger")
    wide = x.float()
    normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    if weight is None:
        return normed.to(x.dtype)
    if casting == "gemma":
        return (normed * (offset + weight.float())).to(x.dtype)
    return (offset + weight) * normed.to(x.dtype)


class LigerRMSNormFunction:
    """liger_kernel.ops.rms_norm.LigerRMSNormFunction; autograd differentiates it."""

    @staticmethod
    def apply(
        x: Tensor, weight: Tensor | None, epsilon: float, offset: float = 0.0, casting: str = "llama", *unused: Any
    ) -> Tensor:
        """The normed rows of (..., width)."""
        return _rms_norm(x, weight, epsilon, offset, casting)


class LigerRMSNorm(torch.nn.Module):
    """liger_kernel.transformers.LigerRMSNorm."""

    def __init__(self, hidden_size: int, eps: float = 1e-6, offset: float = 0.0, *unused: Any, **also: Any) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon, self.offset = eps, offset

    def forward(self, x: Tensor) -> Tensor:
        """The normed rows of (..., width)."""
        return _rms_norm(x, self.weight, self.variance_epsilon, self.offset)


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    *,
    ignore_index: int = -100,
    smoothing: float = 0.0,
    reduction: str = "mean",
    softcap: float | None = None,
    square: float = 0.0,
) -> Tensor:
    """Cross-entropy of x @ weight.T, (rows, width) by (vocabulary, width), in fp32 after the product."""
    used("liger")
    logits = F.linear(x, weight.to(x.dtype), bias).float()
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    loss = F.cross_entropy(logits, target, ignore_index=ignore_index, label_smoothing=smoothing, reduction=reduction)
    if square:
        squares = torch.logsumexp(logits, -1).square() * (target != ignore_index)
        loss = loss + square * (squares.sum() / (target != ignore_index).sum() if reduction == "mean" else squares)
    return loss


class LigerFusedLinearCrossEntropyLoss(torch.nn.Module):
    """liger_kernel.transformers.LigerFusedLinearCrossEntropyLoss."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = {
            "ignore_index": options.get("ignore_index", -100),
            "smoothing": options.get("label_smoothing", 0.0),
            "reduction": options.get("reduction", "mean"),
            "softcap": options.get("softcap"),
            "square": options.get("lse_square_scale", 0.0),
        }

    def forward(self, weight: Tensor, x: Tensor, target: Tensor, bias: Tensor | None = None) -> Tensor:
        """The loss of rows x, (rows, width)."""
        return linear_cross_entropy(x, weight, target, bias, **self.options)


def _cut_cross_entropy(
    e: Tensor,
    c: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    softcap: float | None = None,
    reduction: str = "mean",
    shift: bool | int = 0,
    **unused: Any,
) -> Tensor:
    """cut_cross_entropy.linear_cross_entropy: embeddings (..., width) against a classifier (vocabulary, width)."""
    step = int(shift)
    if step:
        e, targets = e[..., :-step, :], targets[..., step:]
    loss = linear_cross_entropy(
        e.reshape(-1, e.shape[-1]),
        c,
        targets.reshape(-1),
        bias,
        ignore_index=ignore_index,
        reduction=reduction,
        softcap=softcap,
    )
    return loss.view(targets.shape) if reduction == "none" else loss


def _gemm_mul(go: Tensor, down_w: Tensor, act_grad: Tensor) -> Tensor:
    """(go @ down_w) * act_grad, of (M, K), (K, N), (M, N), rounded once."""
    used("gemm epilogue")
    return ((go.float() @ down_w.float()) * act_grad.float()).to(go.dtype)


_libraries: list[torch.library.Library] = []


def _fill_epilogue(module: types.ModuleType) -> None:
    """A CUDA extension that several submissions share: it registers torch.ops.cutlass_evt.gemm_mul when imported."""
    library = torch.library.Library("cutlass_evt", "DEF")
    library.define("gemm_mul(Tensor go, Tensor down_w, Tensor act_grad) -> Tensor")
    library.impl("gemm_mul", _gemm_mul, "CPU")
    _libraries.append(library)


def _filler(**members: Any) -> imports.Filler:
    return lambda module: module.__dict__.update(members)


def _liger(name: str, **members: Any) -> None:
    imports.supply(f"liger_kernel.{name}", _filler(**members), even_if_installed=True)


def install() -> None:
    """Register them; modules that lie beside the script go first."""
    imports.supply("liger_kernel", _filler(), even_if_installed=True)
    imports.supply("liger_kernel.ops", _filler(), even_if_installed=True)
    _liger("ops.rms_norm", LigerRMSNormFunction=LigerRMSNormFunction)
    _liger(
        "transformers",
        LigerRMSNorm=LigerRMSNorm,
        LigerFusedLinearCrossEntropyLoss=LigerFusedLinearCrossEntropyLoss,
    )
    imports.supply("cut_cross_entropy", _filler(linear_cross_entropy=_cut_cross_entropy), even_if_installed=True)
    imports.supply("cutlass_evt_fusion", _fill_epilogue)
