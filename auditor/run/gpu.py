"""A run on the machine's own graphics card, where `--device cuda` asks for it.

The script then uses the real CUDA: what stands in for it, and for Triton's compiler, stays away. Written after NVIDIA's
documentation of the driver's device files; the authors had no card to try it on, and the report says so.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from auditor.run.model import Confinement

DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia0")  # of the driver, and of the first card
NEEDED = ("nvidiactl", "nvidia0")
REPLACED_BY_CARD = frozenset(("device", "cuda", "autocast", "triton"))
ENVIRONMENT: Mapping[str, str] = {"CUDA_VISIBLE_DEVICES": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
_NOT_COVERED = "the driver of the graphics card, which the script reaches, and the card's memory, which nothing limits"
NOTE = (
    "on the machine's own graphics card, a way of running that its authors could not try; the sandbox does not cover "
    f"{_NOT_COVERED}"
)


class NoCardError(Exception):
    """The machine shows no graphics card. The message is one line."""


def card_devices(folder: Path = Path("/dev")) -> tuple[str, ...]:
    """The device files that a CUDA program opens on this machine, below `folder`. Raises NoCardError without a card."""
    found = [folder / name for name in DEVICES if _is_device(folder / name)]
    missing = [name for name in NEEDED if folder / name not in found]
    if missing:
        raise NoCardError(f"--device cuda: this machine has no NVIDIA card ({folder / missing[0]} is missing)")
    return tuple(map(str, found))


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False


def with_card(confinement: Confinement) -> Confinement:
    """The description of a confinement that lets the card through."""
    return replace(confinement, not_covered=(*confinement.not_covered, _NOT_COVERED))
