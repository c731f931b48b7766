"""The state of the auditor that a sweep was made with: a digest that outcomes are kept under, and a copy that stays."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the folder that holds the packages, installed or not
PACKAGES = ("auditor", "rules")  # all that an audit's outcome depends on


@contextmanager
def snapshot(root: Path = ROOT, *, committed: bool = False) -> Iterator[Path]:
    """A copy of the auditor and the rules that stays the same while somebody goes on editing.

    Of the working tree, or with `committed` of the last commit.
    """
    with tempfile.TemporaryDirectory(prefix="pgolf-sweep-") as scratch:
        if committed:
            command = ["git", "-C", str(root), "archive", "--format=tar", "HEAD", *PACKAGES]
            archive = subprocess.run(command, capture_output=True, check=True).stdout
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(scratch, filter="data")
        else:
            for package in PACKAGES:
                shutil.copytree(root / package, Path(scratch) / package, ignore=shutil.ignore_patterns("__pycache__"))
        yield Path(scratch)


def auditor_digest(root: Path = ROOT) -> str:
    """SHA-256 over every source and data file of the auditor and the rules, and the Python version."""
    digest = hashlib.sha256(sys.version.encode())
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
