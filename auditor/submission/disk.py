"""Reading a folder of the file system: regular files only, no link followed, everything within bounds."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from auditor.submission import bounds
from auditor.submission.model import Problem, StoredFile
from auditor.submission.names import ODD_NAME, shown
from auditor.submission.roles import role_of

_SKIPPED_FOLDERS = frozenset({".git"})
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class Found:
    """Something below a folder: its path relative to the root, and why it is not read ("" when it is)."""

    path: str
    note: str = ""


def read_folder(root: Path, folder: str = "") -> tuple[list[StoredFile], list[Problem]]:
    """Every file below `root`/`folder`, paths relative to `root`, and one problem for each that was not read."""
    files: list[StoredFile] = []
    problems: list[Problem] = []
    budget = bounds.FOLDER_BYTES
    for found in walk(root, folder):
        if len(files) == bounds.FOLDER_FILES:
            problems.append(Problem(shown(folder), f"more than {bounds.FOLDER_FILES:,} files; the rest is not read"))
            break
        stored = _read(root, folder, found, budget)
        budget -= len(stored.data or b"") + len(stored.tail)
        files.append(stored)
        if stored.note:
            problems.append(Problem(stored.path, stored.note))
        if stored.path != found.path:
            problems.append(Problem(stored.path, ODD_NAME))
    return files, problems


def walk(root: Path, folder: str = "", depth: int = 0) -> Iterator[Found]:
    """Files below a folder in path order; links and special files with the reason why they are not read."""
    try:
        with os.scandir(root / folder) as listing:
            entries = sorted(_at_most(listing, bounds.FOLDER_FILES + 1), key=lambda entry: entry.name)
    except OSError as error:
        yield Found(folder, f"cannot be listed: {error.strerror or error}")
        return
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_symlink():
            yield Found(path, "symbolic link, not followed")
        elif not entry.is_dir(follow_symlinks=False):
            yield Found(path)
        elif depth + 1 >= bounds.FOLDER_DEPTH:
            yield Found(path, f"folder more than {bounds.FOLDER_DEPTH} deep, not read")
        elif entry.name not in _SKIPPED_FOLDERS:
            yield from walk(root, path, depth + 1)


def read_bytes(path: Path, limit: int) -> tuple[int, bytes | None, bytes, str]:
    """Size, head, tail and note of one regular file; the tail only when the file exceeds `bounds.FILE_BYTES`."""
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        return 0, None, b"", f"cannot be read: {error.strerror or error}"
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return 0, None, b"", "not a regular file, not read"
        size = status.st_size
        if min(size, bounds.FILE_BYTES) > limit:
            return size, None, b"", f"not read: the folder exceeds the bound of {bounds.FOLDER_BYTES:,} bytes"
        if size <= bounds.FILE_BYTES:
            return size, os.pread(descriptor, size, 0), b"", ""
        head = os.pread(descriptor, bounds.HEAD_BYTES, 0)
        tail = os.pread(descriptor, bounds.TAIL_BYTES, size - bounds.TAIL_BYTES)
        return size, head, tail, ""
    except OSError as error:
        return 0, None, b"", f"cannot be read: {error.strerror or error}"
    finally:
        os.close(descriptor)


def _read(root: Path, folder: str, found: Found, budget: int) -> StoredFile:
    size, head, tail, note = (0, None, b"", found.note) if found.note else read_bytes(root / found.path, budget)
    inside = found.path[len(folder) + 1 :] if folder else found.path
    return StoredFile(shown(found.path), size, role_of(shown(inside), head), head, note, tail)


def _at_most(listing: Iterator[os.DirEntry[str]], count: int) -> Iterator[os.DirEntry[str]]:
    for _, entry in zip(range(count), listing, strict=False):
        yield entry
