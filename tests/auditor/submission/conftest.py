"""Fixtures: a synthetic repository, and folders on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.auditor.submission.repositories import GitBuilder, record


@pytest.fixture
def git(tmp_path: Path) -> GitBuilder:
    """A builder whose main branch has one record folder and a root script."""
    builder = GitBuilder(tmp_path / "repo.git")
    builder.commit("refs/heads/main", {"README.md": "golf\n", **record("2026-03-01_Baseline")}, message="launch")
    return builder


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes files (name -> content) below a new folder and returns it."""

    def write(files: Mapping[str, str | bytes], name: str = "record") -> Path:
        root = tmp_path / name
        for path, content in files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return write
