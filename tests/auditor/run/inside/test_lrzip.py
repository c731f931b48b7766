"""The lrzip stand-in gives back what it was given, with the options that scripts use."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from auditor.run import inside

LRZIP = Path(inside.__file__).parent / "bin/lrzip"


@pytest.mark.parametrize("data", [b"", b"weights" * 1000, os.urandom(2000)])
def test_a_round_trip_changes_nothing(data: bytes, tmp_path: Path) -> None:
    source, packed, opened = (tmp_path / name for name in ("in.bin", "in.lrz", "out.bin"))
    source.write_bytes(data)
    subprocess.run([LRZIP, "-z", "-L", "9", "-o", packed, source], check=True, capture_output=True)
    subprocess.run([LRZIP, "-d", "-f", "-o", opened, packed], check=True, capture_output=True)
    assert opened.read_bytes() == data


def test_without_a_name_the_file_gets_its_usual_one(tmp_path: Path) -> None:
    source = tmp_path / "blob.bin"
    source.write_bytes(b"weights" * 1000)
    subprocess.run([LRZIP, "-z", source], check=True, capture_output=True)
    packed = tmp_path / "blob.bin.lrz"
    assert packed.stat().st_size < source.stat().st_size
    source.unlink()
    subprocess.run([LRZIP, "-d", packed], check=True, capture_output=True)
    assert source.read_bytes() == b"weights" * 1000
