"""Tensors that ask for a CUDA device live on the CPU and say that they are on a GPU.

Functions that take a device are wrapped, instead of pushing a TorchFunctionMode: a mode costs time in every torch
call and holds for one thread only, and scripts load data in threads.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from .usage import used

_Device = torch.device
_CPU = _Device("cpu")
_on_host = WeakIdKeyDictionary()  # tensors that .cpu() made: the only ones that deny being on the GPU

_FACTORIES = (
    "arange asarray as_tensor bartlett_window blackman_window empty empty_like empty_permuted empty_strided eye "
    "frombuffer full full_like hamming_window hann_window kaiser_window linspace logspace normal ones ones_like rand "
    "rand_like randint randint_like randn randn_like randperm range scalar_tensor sparse_coo_tensor sparse_csr_tensor "
    "tensor tril_indices triu_indices zeros zeros_like"
).split()
_NEW = "new_empty new_empty_strided new_full new_ones new_tensor new_zeros".split()


def on_cpu(place: Any) -> Any:
    """`place` as given to a `device` argument; CUDA devices, in whatever spelling, become the CPU."""
    if isinstance(place, str):
        return "cpu" if place.startswith("cuda") else place
    if isinstance(place, _Device):
        return _CPU if place.type == "cuda" else place
    return "cpu" if isinstance(place, int) and not isinstance(place, bool) else place


class _DeviceType(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _Device)


class device(metaclass=_DeviceType):  # noqa: N801 - torch's own name
    """torch.device; makes real device objects, the CPU for every CUDA device."""

    def __new__(cls, type: Any = "cuda", index: Any = None) -> Any:
        if isinstance(type, str) and not type.startswith("cuda"):
            return _Device(type) if index is None else _Device(type, index)
        used("device")
        return on_cpu(type) if isinstance(type, _Device) else _CPU


def _placed(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with its keyword arguments `device` and `pin_memory` made to fit a machine without a GPU."""

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        if "device" in keywords:
            keywords["device"] = on_cpu(keywords["device"])
        keywords.pop("pin_memory", None)
        return function(*args, **keywords)

    return call


def _wrap_tensor_methods() -> None:
    original_to = torch.Tensor.to
    tensor = torch.Tensor

    def to(self: Any, *args: Any, **keywords: Any) -> Any:
        if args:
            place = args[0]
            if isinstance(place, (str, _Device, int)):
                moved = original_to(self, on_cpu(place), *args[1:], **_without_memory(keywords))
                return _host_copy(moved) if moved is self and place == "cpu" and isinstance(place, str) else moved
        if "device" in keywords:
            keywords["device"] = on_cpu(keywords["device"])
        return original_to(self, *args, **keywords)

    def cuda(self: Any, *args: Any, **keywords: Any) -> Any:
        used("device")
        return self

    def cpu(self: Any, *args: Any, **keywords: Any) -> Any:
        return _host_copy(self)

    tensor.to = to  # type: ignore[method-assign]
    tensor.cuda = cuda  # type: ignore[method-assign]
    tensor.cpu = cpu  # type: ignore[method-assign]
    tensor.pin_memory = lambda self, *args, **keywords: self  # type: ignore[method-assign]
    tensor.is_pinned = lambda self, *args, **keywords: False  # type: ignore[method-assign]
    tensor.is_cuda = property(lambda self: self not in _on_host)  # type: ignore[assignment,method-assign]
    tensor.get_device = lambda self: 0  # type: ignore[method-assign]
    tensor.record_stream = lambda self, stream: None  # type: ignore[method-assign]
    for name in _NEW:
        setattr(tensor, name, _placed(getattr(tensor, name)))


def _without_memory(keywords: dict[str, Any]) -> dict[str, Any]:
    keywords.pop("non_blocking", None)
    return keywords


def _host_copy(value: Any) -> Any:
    """What moving a CUDA tensor to the host gives: a copy that later changes of the original do not reach."""
    copy = value.clone()
    _on_host[copy] = True
    return copy


def _wrap_modules() -> None:
    module = torch.nn.Module
    original_to = module.to

    def to(self: Any, *args: Any, **keywords: Any) -> Any:
        if args and isinstance(args[0], (str, _Device, int)):
            args = (on_cpu(args[0]), *args[1:])
        if "device" in keywords:
            keywords["device"] = on_cpu(keywords["device"])
        return original_to(self, *args, **keywords)

    module.to = to  # type: ignore[method-assign]
    module.cpu = lambda self: self  # type: ignore[method-assign]
    module.cuda = lambda self, *args, **keywords: self  # type: ignore[method-assign]


def _wrap_load() -> None:
    original = torch.load

    @functools.wraps(original)
    def load(f: Any, map_location: Any = None, *args: Any, **keywords: Any) -> Any:
        return original(f, map_location if callable(map_location) else "cpu", *args, **keywords)

    torch.load = load


class _Generator(_DeviceType):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _RealGenerator)


_RealGenerator = torch.Generator


class Generator(metaclass=_Generator):
    """torch.Generator on the CPU, whatever device was asked for."""

    def __new__(cls, device: Any = "cpu") -> Any:
        return _RealGenerator(device=on_cpu(device))


def install() -> None:
    """Replace the functions, methods and types of torch that name a device."""
    for name in _FACTORIES:
        setattr(torch, name, _placed(getattr(torch, name)))
    _wrap_tensor_methods()
    _wrap_modules()
    _wrap_load()
    torch.device = device  # type: ignore[assignment,misc]
    torch.Generator = Generator  # type: ignore[assignment,misc]
    copyreg.pickle(_Device, lambda value: (device, (str(value),)))  # type: ignore[arg-type]
    torch.set_default_device = lambda device=None: None
