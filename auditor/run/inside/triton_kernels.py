"""Triton kernels in Triton's interpreter, in fp32.

The interpreter keeps bf16 as raw 16-bit patterns and calculates on these (triton 3.7.1), which gives wrong numbers
without any error. So no value is bf16 or fp16 inside a kernel: tensors of half precision are widened to fp32 before a
launch and rounded back after it, and a cast to half precision inside rounds the value and keeps it in fp32. A cast to
the type of a pointer does not round, as that type is fp32 then: the result lacks a rounding that a GPU makes.
"""

from __future__ import annotations

import dataclasses
import math
import os
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from . import triton_lanes
from .imports import after_import
from .usage import used

_HALF = (torch.bfloat16, torch.float16)


def round_bf16(values: Any) -> Any:
    """fp32 values rounded to the nearest bf16, ties to even, as fp32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(values), np.float32(np.nan), rounded.view(np.float32))


class _Widened:
    """The tensors of one launch on the host, those of half precision as fp32; one copy for each storage and type."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._storages: dict[tuple[int, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = {}

    def host(self, value: Any) -> Any:
        """`value` for the kernel: a view of the widened storage that has the tensor's place, size and strides."""
        if isinstance(value, tuple):
            return self._interpreter._tuple_create(value, map(self.host, value))
        if isinstance(value, self._interpreter.TensorDescriptor):
            return self._interpreter.TensorDescriptor(
                self.host(value.base), value.shape, value.strides, value.block_shape, value.padding
            )
        if not isinstance(value, torch.Tensor) or value.dtype not in _HALF:
            return value.detach() if isinstance(value, torch.Tensor) else value
        key = (value.untyped_storage().data_ptr(), value.dtype)
        if key not in self._storages:
            # .data: a kernel writes by address, and autograd does not count that as a change in place
            flat = value.data.as_strided(
                (value.untyped_storage().nbytes() // value.element_size(),), (1,), storage_offset=0
            )
            self._storages[key] = (flat, flat.float())
        wide = self._storages[key][1]
        return wide.as_strided(value.size(), value.stride(), value.storage_offset())

    def restore(self) -> None:
        """Round what the kernel left back into the tensors it was given."""
        for flat, wide in self._storages.values():
            flat.copy_(wide)


def _wrap_executor(interpreter: Any) -> None:
    executor = interpreter.GridExecutor

    def to_host(self: Any, args: Any, keywords: Any) -> Any:
        used("triton")
        self._widened = _Widened(interpreter)
        host = self._widened.host
        return [host(value) for value in args], {name: host(value) for name, value in keywords.items()}

    def from_host(self: Any, *unused: Any) -> None:
        with torch.no_grad():
            self._widened.restore()

    executor._init_args_hst = to_host
    executor._restore_args_dev = from_host


def _keep_single(interpreter: Any) -> None:
    """No value of half precision arises inside a kernel: casts to it round, constants of it are fp32."""
    tl = interpreter.tl
    semantic = type(interpreter.interpreter_semantic)
    cast, full = semantic.cast, semantic.full

    def rounded_cast(self: Any, value: Any, to: Any, *args: Any, **keywords: Any) -> Any:
        scalar = to.scalar
        if scalar not in (tl.bfloat16, tl.float16):
            return cast(self, value, to, *args, **keywords)
        wide = cast(self, value, _with_scalar(tl, to), *args[:0])
        data = wide.handle.data.astype(np.float32)
        with np.errstate(over="ignore"):
            rounded = round_bf16(data) if scalar == tl.bfloat16 else data.astype(np.float16).astype(np.float32)
        data = triton_lanes.like((data,), rounded)
        return tl.tensor(interpreter.TensorHandle(data, tl.float32), wide.type)

    def single_full(self: Any, shape: Any, value: Any, dtype: Any, *args: Any, **keywords: Any) -> Any:
        return full(self, shape, value, tl.float32 if dtype in (tl.bfloat16, tl.float16) else dtype, *args, **keywords)

    semantic.cast = rounded_cast
    semantic.full = single_full
    scalar_constant = getattr(semantic, "scalar_constant", None)
    if scalar_constant is not None:
        semantic.scalar_constant = lambda self, value, dtype: scalar_constant(
            self, value, tl.float32 if dtype in (tl.bfloat16, tl.float16) else dtype
        )


def _with_scalar(tl: Any, kind: Any) -> Any:
    """The type `kind` with fp32 as its element."""
    return tl.block_type(tl.float32, kind.shape) if kind.is_block() else tl.float32


def _dot_of_anything(interpreter: Any) -> None:
    """tl.dot multiplies in fp32 whatever its operands are; its result type may be named as half precision."""
    tl = interpreter.tl
    semantic = type(interpreter.interpreter_semantic)
    dot = semantic.dot

    def single_dot(self: Any, lhs: Any, rhs: Any, acc: Any, *args: Any) -> Any:
        args = tuple(tl.float32 if value in (tl.bfloat16, tl.float16) else value for value in args)
        if lhs.dtype != rhs.dtype and lhs.dtype.is_floating() and rhs.dtype.is_floating():
            lhs, rhs = self.cast(lhs, _with_scalar(tl, lhs.type)), self.cast(rhs, _with_scalar(tl, rhs.type))
        return dot(self, lhs, rhs, acc, *args)

    semantic.dot = single_dot


def _patch_language_once(interpreter: Any) -> None:
    """The interpreter rewires triton.language before every launch and every device function: once is enough."""
    patch = interpreter._patch_lang
    done: set[int] = set()

    class Kept:
        def restore(self) -> None:
            """The language stays as the interpreter needs it."""

    def patch_once(function: Any) -> Kept:
        key = id(function.__globals__)
        if key not in done:
            done.add(key)
            patch(function)
        return Kept()

    interpreter._patch_lang = patch_once


def _without_repeated_work(interpreter: Any) -> None:
    """Leave out what the interpreter does again at each operation of each program: more than half of its time.

    Types are known by their names, which tell all that the interpreter asks of them (pointers have no hash).
    """
    builder = interpreter.interpreter_builder
    builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)  # it only asserts
    numpy_type, describe = interpreter._get_np_dtype, interpreter.tl.block_type.__init__
    types_by_name: dict[str, Any] = {}
    blocks: dict[Any, dict[str, Any]] = {}

    def numpy_type_once(kind: Any) -> Any:
        found = types_by_name.get(kind.name)
        return types_by_name.setdefault(kind.name, numpy_type(kind)) if found is None else found

    def described_once(self: Any, element_ty: Any, shape: Any) -> None:
        key = (element_ty.name, *shape)
        if key not in blocks:
            describe(self, element_ty, shape)
            blocks[key] = dict(self.__dict__)
        self.__dict__.update(blocks[key])

    interpreter._get_np_dtype = numpy_type_once
    interpreter.tl.block_type.__init__ = described_once


_EXTERN: dict[str, Callable[..., Any]] = {
    "tanh": np.tanh,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "cbrt": np.cbrt,
    "pow": np.power,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "fabs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rint": np.rint,
    "nearbyint": np.rint,
    "round": np.round,
    "fma": lambda x, y, z: x * y + z,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "fmod": np.fmod,
    "copysign": np.copysign,
    "erf": np.vectorize(math.erf, otypes=[np.float32]),
    "erfc": np.vectorize(math.erfc, otypes=[np.float32]),
    "isnan": np.isnan,
    "isinf": np.isinf,
    "fdividef": np.divide,
    "div_rn": np.divide,
}


def _supply_extern(interpreter: Any) -> None:
    """CUDA's device library by numpy, under the names __nv_tanhf, __nv_fast_expf, __nv_div_rn, ..."""
    tl = interpreter.tl

    def create(self: Any, library: Any, path: Any, symbol: str, values: Any, result: Any, pure: Any) -> Any:
        name = symbol.removeprefix("__nv_").removeprefix("fast_")
        function = _EXTERN.get(name) or _EXTERN.get(name.removesuffix("f"))
        if function is None:
            raise NotImplementedError(f"the interpreter has no {symbol}")
        data = np.asarray(function(*(value.data for value in values)))
        kind = result.scalar if hasattr(result, "scalar") else result
        return interpreter.TensorHandle(data.astype(interpreter._get_np_dtype(kind)), kind)

    interpreter.InterpreterBuilder.create_extern_elementwise = create

    def fill_libdevice(module: types.ModuleType) -> None:
        from triton.language.extra.cuda import libdevice as cuda

        for name, member in list(vars(cuda).items()):
            if tl.core.is_builtin(member):
                interpreter._patch_attr(cuda, name, member, None, interpreter._LangPatchScope())
                setattr(module, name, getattr(cuda, name))

    after_import("triton.language.extra.libdevice", fill_libdevice)


def _first_configuration(autotuner: Any) -> None:
    """Autotuning measures on a GPU; any configuration computes the same, so take the first."""

    def run(self: Any, *args: Any, **keywords: Any) -> Any:
        configuration = self.configs[0]
        self.best_config = configuration
        return self.fn.run(*args, **keywords, **configuration.all_kwargs())

    autotuner.Autotuner.run = run


class _Driver:
    """The parts of Triton's driver that scripts ask for the number of processors."""

    class utils:  # noqa: N801 - the driver's own name
        """Properties of the device."""

        @staticmethod
        def get_device_properties(device: int) -> dict[str, int]:
            """Those that kernels are sized by."""
            return {"multiprocessor_count": 132, "max_shared_mem": 232448, "max_num_regs": 65536, "warpSize": 32}

    def get_current_device(self) -> int:
        """The only one."""
        return 0

    def get_active_torch_device(self) -> torch.device:
        """Where tensors live."""
        return torch.device("cpu")

    def set_current_device(self, device: int) -> None:
        """There is no other."""

    def get_current_stream(self, device: int | None = None) -> int:
        """Nothing runs asynchronously."""
        return 0

    def get_device_interface(self) -> Any:
        """torch.cuda."""
        return torch.cuda

    def get_current_target(self) -> Any:
        """The H100."""
        return types.SimpleNamespace(backend="cuda", arch=90, warp_size=32)


def _adapt(interpreter: Any) -> None:
    import triton

    _wrap_executor(interpreter)
    _keep_single(interpreter)
    _dot_of_anything(interpreter)
    _patch_language_once(interpreter)
    _without_repeated_work(interpreter)
    _supply_extern(interpreter)
    triton_lanes.install(interpreter)
    driver: Any = triton.runtime.driver
    driver.set_active(_Driver())
    _first_configuration(triton.runtime.autotuner)


def _after_triton(triton: Any) -> None:
    import triton.runtime.interpreter as interpreter

    _adapt(interpreter)
    allocator = getattr(triton, "set_allocator", None)
    if allocator is not None:
        triton.set_allocator = lambda function: None


def install() -> None:
    """Have kernels interpreted; nothing is imported until the script imports triton."""
    os.environ["TRITON_INTERPRET"] = "1"
    after_import("triton", _after_triton)
