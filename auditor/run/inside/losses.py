"""Fused losses and norms of other packages, in plain torch."""

from __future__ import annotations


def install() -> None:
    """Register them."""
