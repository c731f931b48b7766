"""Loading data in the process itself, in one order; threads of arithmetic as the audit sets them; any pickle."""

from __future__ import annotations

import contextlib
import os
import random
from typing import Any

import numpy as np
import torch
import torch.utils.data

from .usage import used


def _wrap_loader() -> None:
    loader: Any = torch.utils.data.DataLoader
    original = loader.__init__

    def __init__(self: Any, *args: Any, **keywords: Any) -> None:  # noqa: N807 - replaces the method
        used("DataLoader")
        for name in ("prefetch_factor", "persistent_workers", "pin_memory", "multiprocessing_context", "timeout"):
            keywords.pop(name, None)
        keywords["num_workers"] = 0
        original(self, *args[:5], **keywords)

    loader.__init__ = __init__


def seed(number: int) -> None:
    """Start every generator of random numbers from `number`; the script's own seeds come after."""
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def set_threads(count: int) -> None:
    """Use `count` threads for arithmetic and keep it so: sums over threads depend on their number."""
    torch.set_num_threads(count)
    with contextlib.suppress(RuntimeError):  # set before
        torch.set_num_interop_threads(count)
    torch.set_num_threads = lambda count: None  # type: ignore[assignment]
    torch.set_num_interop_threads = lambda count: None  # type: ignore[assignment]


def install() -> None:
    """Replace DataLoader's workers. torch.load takes what the script saved, as it did before torch 2.6: the sandbox is
    what confines a pickle here."""
    _wrap_loader()
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
