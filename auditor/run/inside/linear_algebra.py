"""Linear algebra that toy sizes would break: Hessians from a few calibration tokens are rank deficient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .usage import used

_STEPS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the mean diagonal, added until the factorization exists


def _with_jitter(original: Callable[..., Any]) -> Callable[..., Any]:
    """`original`, tried again with a growing multiple of the mean diagonal added when a matrix is not positive."""

    def call(matrix: Any, *args: Any, **keywords: Any) -> Any:
        try:
            return original(matrix, *args, **keywords)
        except torch.linalg.LinAlgError as failure:
            if not bool(torch.isfinite(matrix).all()):
                raise
            used("cholesky with jitter")
            scale = matrix.diagonal(dim1=-2, dim2=-1).abs().mean().clamp_min(1e-8)
            unit = torch.eye(matrix.shape[-1], dtype=matrix.dtype)
            for step in _STEPS:
                try:
                    return original(matrix + step * scale * unit, *args, **keywords)
                except torch.linalg.LinAlgError:
                    continue
            raise failure

    return call


def install() -> None:
    """Replace the factorizations that GPTQ uses."""
    torch.linalg.cholesky = _with_jitter(torch.linalg.cholesky)
    torch.cholesky = _with_jitter(torch.cholesky)  # type: ignore[assignment]
    torch.Tensor.cholesky = torch.cholesky  # type: ignore[method-assign,assignment]
    torch.linalg.inv = _with_jitter(torch.linalg.inv)
    torch.cholesky_inverse = _with_jitter(torch.cholesky_inverse)  # type: ignore[assignment]
