"""torch.compile without compiling: the function itself."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch

from .imports import after_import
from .usage import used


def _unchanged(model: Any = None, *args: Any, **keywords: Any) -> Any:
    """torch.compile in all its spellings: compile(f), @compile, @compile(dynamic=False)."""
    used("compile")
    if model is None:
        return lambda function: _unchanged(function)
    if isinstance(model, torch.nn.Module):
        object.__setattr__(model, "_orig_mod", model)  # where a compiled module keeps what was compiled
    return model


def _decorator(function: Any = None, *args: Any, **keywords: Any) -> Any:
    """A decorator that changes nothing, with or without arguments."""
    return function if callable(function) else lambda inner: inner


def _relax_configuration(module: types.ModuleType) -> None:
    """Switches of the compiler that this version of torch does not know are of no consequence here."""
    kind = type(module)
    original = kind.__setattr__

    def __setattr__(self: Any, name: str, value: object) -> None:  # noqa: N807 - replaces the method
        try:
            original(self, name, value)
        except AttributeError:
            self.__dict__[name] = value

    kind.__setattr__ = __setattr__  # type: ignore[method-assign,assignment]


def _replace_dynamo(dynamo: Any) -> None:
    for name in ("optimize", "optimize_assert"):
        setattr(dynamo, name, lambda *args, **keywords: _decorator)
    for name in ("disable", "disallow_in_graph", "allow_in_graph", "run", "nonstrict_trace"):
        setattr(dynamo, name, _decorator)
    for name in ("mark_dynamic", "mark_static", "maybe_mark_dynamic", "mark_static_address", "graph_break", "reset"):
        setattr(dynamo, name, lambda *args, **keywords: None)


def _wrap_custom_op() -> None:
    """A custom operation for CUDA tensors serves all tensors."""
    library: Any = torch.library
    original: Callable[..., Any] = library.custom_op

    def custom_op(name: Any, function: Any = None, /, *args: Any, device_types: Any = None, **keywords: Any) -> Any:
        return original(name, function, *args, device_types=None, **keywords)

    library.custom_op = custom_op
    library.wrap_triton = lambda kernel: kernel
    library.triton_op = lambda name, function=None, /, **keywords: custom_op(name, function, **keywords)


def install() -> None:
    """Replace torch.compile and what goes with it; torch._dynamo is changed when a script imports it."""
    torch.compile = _unchanged  # type: ignore[assignment]
    torch.nn.Module.compile = lambda self, *args, **keywords: None  # type: ignore[method-assign]
    compiler: Any = torch.compiler
    compiler.compile = _unchanged
    compiler.disable = _decorator
    compiler.allow_in_graph = _decorator
    for name in ("reset", "cudagraph_mark_step_begin", "set_stance", "assume_constant_result"):
        setattr(compiler, name, _decorator if name == "assume_constant_result" else lambda *args, **keywords: None)
    _wrap_custom_op()
    after_import("torch._dynamo", _replace_dynamo)
    after_import("torch.utils._config_module", lambda module: None)
    for name in ("torch._dynamo.config", "torch._inductor.config", "torch._functorch.config"):
        after_import(name, _relax_configuration)
