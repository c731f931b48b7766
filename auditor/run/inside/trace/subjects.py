"""Which tensors last: parameters and buffers of modules, tensors that optimizers hold. And what to call them."""

from __future__ import annotations

import weakref
from typing import Any

import torch

_PATIENCE = 64  # unknown tensors between two walks through the modules


class Subjects:
    """Remembers modules and optimizer groups as they are made; names storages on demand."""

    def __init__(self) -> None:
        self.modules: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
        self._unknown = 0
        self._known = -1

    def optimizer_group(self, group: dict[str, Any]) -> None:
        """A parameter group was handed to an optimizer."""
        parameters = group.get("params", ())
        for parameter in [parameters] if isinstance(parameters, torch.Tensor) else parameters:
            tensor = parameter[1] if isinstance(parameter, tuple) else parameter
            if isinstance(tensor, torch.Tensor):
                storage: Any = tensor.untyped_storage()
                if getattr(storage, "_subject", None) is None:
                    storage._subject = ""

    def name(self, tensor: torch.Tensor) -> str | None:
        """What a lasting tensor is called ("Block.attn.weight (64, 64)"); None for one that is not known to last."""
        storage: Any = tensor.untyped_storage()
        known = getattr(storage, "_subject", None)
        if known:
            return str(known)
        lasting = known == "" or isinstance(tensor, torch.nn.Parameter) or (tensor.requires_grad and tensor.is_leaf)
        if not lasting:
            if known is False:
                return None
            self._unknown += 1
            if len(self.modules) == self._known and self._unknown < _PATIENCE:
                return None
        self._walk()
        known = getattr(storage, "_subject", None)
        if known:
            return str(known)
        if lasting:
            storage._subject = f"tensor {tuple(tensor.shape)}"
            return str(storage._subject)
        return None

    def _walk(self) -> None:
        self._unknown = 0
        self._known = len(self.modules)
        for module in list(self.modules):
            kind = type(module).__name__
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        storage: Any = tensor.untyped_storage()
                        if not getattr(storage, "_subject", None):
                            storage._subject = f"{kind}.{name} {tuple(tensor.shape)}"
