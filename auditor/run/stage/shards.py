"""The challenge's shard format: 256 little-endian int32 (magic, version, count), then that many uint16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC, VERSION, HEADER_INTS = 20240520, 1, 256


def write_shard(path: Path, values: NDArray[np.uint16]) -> None:
    """Write tokens, or the byte counts of a sidecar, (length,) uint16, as one shard."""
    header = np.zeros(HEADER_INTS, "<i4")
    header[:3] = MAGIC, VERSION, len(values)
    path.write_bytes(header.tobytes() + values.astype("<u2").tobytes())
