"""Checkpoints: what decides how training goes on, written whole or not at all, read without running code."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from reference_pipeline.errors import PipelineError
from reference_pipeline.shards import write_atomically


def save_checkpoint(path: Path, state: dict) -> None:
    """Write `state` (tensors, numbers, lists, dicts) to `path` atomically."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict:
    """Read what `save_checkpoint` wrote; `weights_only` refuses anything that would run code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise PipelineError(
            f"{path}: not a whole checkpoint ({type(error).__name__}); delete it to start anew"
        ) from error
