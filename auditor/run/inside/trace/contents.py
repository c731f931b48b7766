"""What went out of torch into files, and comes back from them: recognized by the bytes of each tensor.

Whatever compresses, encrypts or moves the bytes in between, a tensor that comes back bit for bit is the one that left.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

from .shadow import Shadow, joined

MOST_BYTES = 1 << 28  # of one tensor
MOST_CLEAN = 100_000
FEWEST_BYTES = 64  # smaller tensors are too often equal by chance


class Contents:
    """Shadows by content."""

    def __init__(self) -> None:
        self._shadows: dict[bytes, Shadow] = {}
        self._clean: set[bytes] = set()
        self.gone: Shadow | None = None  # everything that left: what an unrecognized return may depend on

    def remember(self, tensor: torch.Tensor | torch.UntypedStorage, shadow: Shadow | None) -> None:
        """A tensor with this shadow was written out.

        Bytes that were also written by a tensor without dependences prove nothing, whichever came first.
        """
        if shadow is None or not (shadow.learned or shadow.rows or shadow.perhaps):
            key = _digest(tensor)
            if key is not None and len(self._clean) < MOST_CLEAN:
                self._clean.add(key)
            return
        kept = Shadow(0, shadow.learned, shadow.rows, shadow.perhaps)
        self.gone = joined(self.gone, Shadow(perhaps=shadow.learned | shadow.rows | shadow.perhaps))
        key = _digest(tensor)
        if key is not None and key not in self._clean:
            known = self._shadows.get(key)
            self._shadows[key] = kept if known is None else joined(known, kept) or kept

    def recall(self, tensor: torch.Tensor | torch.UntypedStorage) -> Shadow | None:
        """The shadow of what left with the same bytes."""
        if not self._shadows:
            return None
        key = _digest(tensor)
        return self._shadows.get(key) if key is not None and key not in self._clean else None

    def known(self, tensor: torch.Tensor) -> bool:
        """Whether the same bytes left before."""
        key = _digest(tensor)
        return key is not None and (key in self._clean or key in self._shadows)


def _digest(value: torch.Tensor | torch.UntypedStorage) -> bytes | None:
    """A hash of the bytes; None for what is too small, too large or all the same byte."""
    data = _bytes(value)
    if data is None or not FEWEST_BYTES <= data.nbytes <= MOST_BYTES or bool((data == data[0]).all()):
        return None
    return hashlib.blake2b(data.tobytes(), digest_size=16).digest()


def _bytes(value: torch.Tensor | torch.UntypedStorage) -> np.ndarray[Any, Any] | None:
    try:
        if isinstance(value, torch.Tensor):
            flat = value.detach().contiguous().reshape(-1)
            return flat.view(torch.uint8).numpy()
        return torch.tensor([], dtype=torch.uint8).set_(value).numpy()  # type: ignore[arg-type]
    except (RuntimeError, TypeError, ValueError):
        return None


def tensors_in(value: Any, depth: int = 8, most: int = 20_000) -> list[Any]:
    """Tensors and storages anywhere in nested containers and in state dicts of modules, at most `most`."""
    found: list[Any] = []
    _collect(value, depth, most, found, set())
    return found


def _collect(value: Any, depth: int, most: int, found: list[Any], seen: set[int]) -> None:
    if depth < 0 or len(found) >= most or id(value) in seen:
        return
    if isinstance(value, (torch.Tensor, torch.UntypedStorage)):
        found.append(value)
        return
    if isinstance(value, torch.storage.TypedStorage):
        found.append(value._untyped_storage)
        return
    if isinstance(value, torch.nn.Module):
        value = {**dict(value.named_parameters()), **dict(value.named_buffers())}
    if isinstance(value, dict):
        seen.add(id(value))
        for item in value.values():
            _collect(item, depth - 1, most, found, seen)
    elif isinstance(value, (list, tuple, set)):
        seen.add(id(value))
        for item in value:
            _collect(item, depth - 1, most, found, seen)
