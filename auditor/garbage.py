"""How often Python looks for cyclic garbage while a witness reads.

A syntax tree and what is known about it are many live objects and few dead cycles. At its usual pace the collector
walks through them every few hundred allocations and takes about a seventh of a witness's time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS = 20_000  # between two looks at the youngest objects; a few MB


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for garbage seldom within the block, or within the function that this decorates, and as before after it."""
    youngest, *older = gc.get_threshold()
    gc.set_threshold(max(youngest, _ALLOCATIONS) if youngest else 0, *older)  # 0: switched off by the caller
    try:
        yield
    finally:
        gc.set_threshold(youngest, *older)
