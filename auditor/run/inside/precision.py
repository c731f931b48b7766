"""autocast("cuda") on the CPU: the same operations run in half precision, and the same ones in single precision.

The CPU's own autocast runs losses, softmax, norms and powers in the type of their input, CUDA's runs them in fp32
(torch documentation, "CUDA Ops that can autocast to float32"). The difference shows in printed losses: bf16 rounds 6.93
to a multiple of 1/32. So CUDA's list is registered for the CPU's autocast as well.

inference_mode becomes no_grad: code written for torch.compile feeds inference tensors to autograd, which eager forbids.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._contextlib import _DecoratorContextManager

from .usage import used

# Overloads that CUDA's autocast runs in fp32 and that the CPU's passes through.
_SINGLE = (
    "exp expm1 log log10 log1p log2 logsumexp pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar reciprocal rsqrt softplus "
    "layer_norm native_layer_norm group_norm norm.Scalar norm.ScalarOpt_dim norm.ScalarOpt_dtype "
    "norm.ScalarOpt_dim_dtype linalg_vector_norm linalg_matrix_norm nll_loss nll_loss2d cross_entropy_loss kl_div "
    "l1_loss smooth_l1_loss huber_loss cosine_similarity softmax.int log_softmax.int cumsum cumprod sum "
    "sum.dim_IntList dist renorm binary_cross_entropy_with_logits acos asin cosh sinh tan erfinv"
).split()
_WITH_TYPE = {"softmax.int", "log_softmax.int", "cumsum", "cumprod", "sum", "sum.dim_IntList", "linalg_vector_norm"}
_HALF = (torch.bfloat16, torch.float16)
_BELOW = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
_library: torch.library.Library | None = None


def _single(overload: Any, has_type: bool) -> Callable[..., Any]:
    """`overload` with half-precision arguments widened; where the call names a result type, that decides."""

    def call(*args: Any, **keywords: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_BELOW):
            if has_type and keywords.get("dtype") is not None:
                return overload(*args, **keywords)
            return overload(*map(_widened, args), **keywords)

    return call


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype in _HALF else value


# Products, by the places of the operands that are cast. On a CPU without bf16 units they are 3 times as fast in fp32.
_PRODUCTS = {
    "linear": (0, 1, 2),
    "matmul": (0, 1),
    "mm": (0, 1),
    "bmm": (0, 1),
    "mv": (0, 1),
    "addmm": (0, 1, 2),
    "baddbmm": (0, 1, 2),
    "addbmm": (0, 1, 2),
}


def _product(overload: Any, places: tuple[int, ...]) -> Callable[..., Any]:
    """`overload` of operands in the half type, as a GPU does it: products and sums in fp32, the result rounded."""

    def call(*args: Any, **keywords: Any) -> Any:
        half = _half_type()
        with torch._C._ExcludeDispatchKeyGuard(_BELOW):
            if any(args[place].dtype not in _CAST for place in places if place < len(args) and args[place] is not None):
                return overload(*args, **keywords)
            wide = [
                value.to(half).float() if place in places and value is not None else value
                for place, value in enumerate(args)
            ]
            return overload(*wide, **keywords).to(half)

    return call


_CAST = (torch.float32, torch.bfloat16, torch.float16)
_autocast_type = torch.get_autocast_dtype


def _half_type() -> torch.dtype:
    return _autocast_type("cpu")


def _register_products() -> None:
    assert _library is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they replace the CPU's own kernels
        for name, places in _PRODUCTS.items():
            overload = getattr(torch.ops.aten, name).default
            _library.impl(name, _product(overload, places), "AutocastCPU", allow_override=True)


def _register_single() -> None:
    global _library
    _library = torch.library.Library("aten", "IMPL")
    for name in _SINGLE:
        operation, _, overload_name = name.partition(".")
        overload = getattr(getattr(torch.ops.aten, operation), overload_name or "default")
        # Overloads that already have a kernel for the CPU's autocast keep it.
        with contextlib.suppress(RuntimeError):
            _library.impl(name, _single(overload, name in _WITH_TYPE), "AutocastCPU")


def _wrap_autocast() -> None:
    autocast = torch.amp.autocast_mode.autocast
    original = autocast.__init__

    def __init__(  # noqa: N807 - replaces the method
        self: Any, device_type: Any, dtype: Any = None, enabled: bool = True, cache_enabled: Any = None
    ) -> None:
        used("autocast")
        if str(device_type).startswith("cuda"):
            dtype = dtype or torch.float16
        # float32 stands for "off" on CUDA as well
        if dtype is torch.float32:
            enabled, dtype = False, None
        original(self, "cpu", dtype, enabled, cache_enabled)

    autocast.__init__ = __init__  # type: ignore[method-assign]

    class CudaAutocast(autocast):  # type: ignore[misc,valid-type]
        """torch.cuda.amp.autocast."""

        def __init__(self, enabled: bool = True, dtype: Any = torch.float16, cache_enabled: bool = True) -> None:
            super().__init__("cuda", dtype, enabled, cache_enabled)

    torch.cuda.amp.autocast = CudaAutocast  # type: ignore[assignment,misc]
    torch.cuda.amp.autocast_mode.autocast = CudaAutocast  # type: ignore[assignment,misc]


def _wrap_queries() -> None:
    is_enabled, get_type = torch.is_autocast_enabled, torch.get_autocast_dtype
    set_enabled, set_type = torch.set_autocast_enabled, torch.set_autocast_dtype
    torch.is_autocast_enabled = lambda device_type="cuda": is_enabled("cpu")  # type: ignore[assignment]
    torch.get_autocast_dtype = lambda device_type="cuda": get_type("cpu")  # type: ignore[assignment]
    torch.get_autocast_gpu_dtype = lambda: get_type("cpu")
    torch.set_autocast_enabled = lambda *args: set_enabled("cpu", args[-1])  # type: ignore[assignment]
    torch.set_autocast_dtype = lambda device_type, dtype: set_type("cpu", dtype)


def _wrap_scaler() -> None:
    scaler = torch.amp.GradScaler

    class GradScaler(scaler):  # type: ignore[misc,valid-type]
        """torch.amp.GradScaler for tensors on the CPU."""

        def __init__(self, device: str = "cuda", *args: Any, **keywords: Any) -> None:
            super().__init__("cpu", *args, **keywords)

    torch.amp.GradScaler = GradScaler  # type: ignore[misc]
    torch.amp.grad_scaler.GradScaler = GradScaler  # type: ignore[misc]
    torch.GradScaler = GradScaler  # type: ignore[misc]
    torch.cuda.amp.GradScaler = lambda *args, **keywords: GradScaler("cuda", *args, **keywords)  # type: ignore[misc,assignment]


class inference_mode(_DecoratorContextManager):  # noqa: N801 - torch's own name
    """torch.inference_mode as no_grad."""

    def __new__(cls, mode: Any = True) -> Any:
        if callable(mode):
            return cls()(mode)
        return super().__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.mode = mode

    def __enter__(self) -> None:
        self._before = torch.is_grad_enabled()
        if self.mode:
            torch.set_grad_enabled(False)

    def __exit__(self, *failure: object) -> None:
        torch.set_grad_enabled(self._before)

    def clone(self) -> inference_mode:
        """A fresh one for each call of a decorated function."""
        return type(self)(self.mode)


def install() -> None:
    """Replace autocast, its queries, the gradient scaler and inference_mode."""
    _register_single()
    _register_products()
    _wrap_autocast()
    _wrap_queries()
    _wrap_scaler()
    torch.inference_mode = inference_mode  # type: ignore[assignment,misc]
    torch.autograd.grad_mode.inference_mode = inference_mode  # type: ignore[misc,assignment]
    torch.autograd.inference_mode = inference_mode  # type: ignore[attr-defined]
