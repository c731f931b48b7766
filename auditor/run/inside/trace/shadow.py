"""What the tracer knows about the values in a tensor's storage.

A `Shadow` hangs on the storage object itself, so that every view sees it and it dies with the storage. Its sets are
integers, bit i for event i of the `History`:

    inputs   embedding lookups and the like that the values depend on
    learned  gradients (or counts) of validation targets the values depend on, through whatever arithmetic
    rows     the same, but held by a tensor with one row a sequence of the batch: row i may depend on row i only
    perhaps  the same, where the tracer cannot prove the dependence
    tags     for each element of the storage the validation token it stands for: -1, or a score call's number times
             2**32 plus the position. Token ids carry call 0; per-token losses the call that made them
    sum      the per-token losses that were added up into these values
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

CALL = 1 << 32  # factor of the score call's number in a tag
POSITION = CALL - 1


class Losses:
    """A growing list of per-token losses that were added up: arrays of tags. Joining is append-only and cheap."""

    __slots__ = ("coarse", "count", "mixed", "parts")

    def __init__(self, parts: list[np.ndarray], count: int, coarse: bool = False, mixed: bool = False) -> None:
        self.parts = parts
        self.count = count
        self.coarse = coarse  # more may be listed than was added: the sum was taken apart again
        self.mixed = mixed  # something was added, too, that is not followed

    def join(self, other: Losses) -> Losses:
        """Both; `self`'s list is shared when nothing else has grown it meanwhile."""
        parts = self.parts if len(self.parts) == self.count else self.parts[: self.count]
        addition = other.parts[: other.count]
        parts.extend(addition)
        return Losses(parts, self.count + len(addition), self.coarse or other.coarse, self.mixed or other.mixed)

    def with_unknown(self) -> Losses:
        """The same with something added that is not followed."""
        return self if self.mixed else Losses(self.parts[: self.count], self.count, self.coarse, mixed=True)

    def tags(self) -> np.ndarray:
        """All tags, (n,) int64; a loss that was added twice is there twice."""
        parts = self.parts[: self.count]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


@dataclass(slots=True, eq=False)
class Shadow:
    """See the module's text. Never changed after it was made: storages share them."""

    inputs: int = 0
    learned: int = 0
    rows: int = 0
    perhaps: int = 0
    tags: torch.Tensor | None = None  # flat over the storage, int64
    sum: Losses | None = None

    @property
    def rich(self) -> bool:
        """Whether the values stand for tokens or losses one by one or as a sum."""
        return self.tags is not None or self.sum is not None

    def plain(self) -> Shadow:
        """The dependences alone."""
        return Shadow(self.inputs, self.learned, self.rows, self.perhaps) if self.rich else self


def joined(first: Shadow | None, second: Shadow | None) -> Shadow | None:
    """The dependences of both, without tags and sums unless one side has nothing to add."""
    if first is None or second is None or first is second:
        return first or second
    inputs, learned = first.inputs | second.inputs, first.learned | second.learned
    rows, perhaps = first.rows | second.rows, first.perhaps | second.perhaps
    if not first.rich and (inputs, learned, rows, perhaps) == (
        first.inputs,
        first.learned,
        first.rows,
        first.perhaps,
    ):
        return first
    return Shadow(inputs, learned, rows, perhaps)


def shadow_of(tensor: torch.Tensor) -> Shadow | None:
    """The shadow of the tensor's storage, None when nothing of validation data is known to be in it."""
    return getattr(tensor.untyped_storage(), "_seen", None)


def with_sum(shadow: Shadow, losses: Losses | None) -> Shadow:
    """A shadow with another sum."""
    return Shadow(shadow.inputs, shadow.learned, shadow.rows, shadow.perhaps, shadow.tags, losses)


def put(tensor: torch.Tensor, shadow: Shadow | None) -> None:
    """Hang a shadow on the tensor's storage, or take it away."""
    storage: Any = tensor.untyped_storage()
    if shadow is not None:
        storage._seen = shadow
    elif getattr(storage, "_seen", None) is not None:
        storage._seen = None


def tags_of(tensor: torch.Tensor, shadow: Shadow | None = None) -> torch.Tensor | None:
    """The tags of the tensor's elements, in its shape, as a view into the storage's tags."""
    shadow = shadow or shadow_of(tensor)
    if shadow is None or shadow.tags is None:
        return None
    tags, offset = shadow.tags, tensor.storage_offset()
    if _last_index(tensor) >= tags.numel():  # the storage is now seen with another element size
        return None
    return torch.as_strided(tags, tensor.size(), tensor.stride(), offset)


def tagged(tensor: torch.Tensor, tags: torch.Tensor, shadow: Shadow | None) -> Shadow:
    """A shadow like `shadow` in which the tensor's elements have `tags`; others of its storage keep theirs."""
    flat = shadow.tags if shadow is not None else None
    size = tensor.untyped_storage().nbytes() // max(1, tensor.element_size())
    if flat is None or flat.numel() < size:
        if tensor.is_contiguous() and tensor.storage_offset() == 0 and tensor.numel() == size:
            flat = tags.reshape(-1).clone()
            return _with_tags(shadow, flat)
        flat = torch.full((size,), -1, dtype=torch.int64)
    else:
        flat = flat.clone()
    torch.as_strided(flat, tensor.size(), tensor.stride(), tensor.storage_offset()).copy_(tags)
    return _with_tags(shadow, flat)


def covers(tensor: torch.Tensor) -> bool:
    """Whether the tensor is all of its storage, so that overwriting it leaves nothing of what was there."""
    return tensor.numel() * tensor.element_size() >= tensor.untyped_storage().nbytes()


def _with_tags(shadow: Shadow | None, flat: torch.Tensor) -> Shadow:
    if shadow is None:
        return Shadow(tags=flat)
    return Shadow(shadow.inputs, shadow.learned, shadow.rows, shadow.perhaps, flat, shadow.sum)


def _last_index(tensor: torch.Tensor) -> int:
    if tensor.numel() == 0:
        return -1
    steps = zip(tensor.size(), tensor.stride(), strict=True)
    return tensor.storage_offset() + sum((size - 1) * stride for size, stride in steps)
