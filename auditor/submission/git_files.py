"""Files of a commit as stored files, within the same bounds as files of a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from auditor.submission import bounds
from auditor.submission.git import LINK, SUBMODULE, TREE, Blob, Change, Entry, Repository
from auditor.submission.model import Problem, StoredFile
from auditor.submission.names import ODD_NAME, shown
from auditor.submission.roles import role_of


def read_tree(repository: Repository, commit: str, folder: bytes) -> tuple[list[StoredFile], list[Problem]]:
    """Every file below `folder` of a commit, and one problem for each that was not read."""
    tree = repository.subtree(commit, folder)
    entries = repository.walk(tree, folder + b"/") if tree else iter(())
    return _read(repository, entries, folder)


def read_changed(repository: Repository, changes: Iterable[Change]) -> tuple[list[StoredFile], list[Problem]]:
    """The files that a pull request without a record folder adds or changes."""
    present = sorted((change for change in changes if change.status != "D"), key=lambda change: change.path)
    return _read(repository, (Entry(change.path, change.mode, change.oid) for change in present), b"")


def reader(repository: Repository, commit: str) -> Callable[[str], bytes | None]:
    """Reads one file of a commit by its path from the root; None when there is none or it is too large."""

    def read(path: str) -> bytes | None:
        directory, _, name = path.encode("utf-8", "surrogateescape").rpartition(b"/")
        tree = repository.subtree(commit, directory)
        entry = next((item for item in repository.tree(tree) if item.name == name), None) if tree else None
        blob = repository.blob(entry.oid) if entry and entry.mode not in (TREE, LINK, SUBMODULE) else None
        return blob.head if blob and not blob.tail else None

    return read


def _read(repository: Repository, entries: Iterable[Entry], folder: bytes) -> tuple[list[StoredFile], list[Problem]]:
    files: list[StoredFile] = []
    problems: list[Problem] = []
    budget = bounds.FOLDER_BYTES
    entries = iter(entries)
    for entry in islice(entries, bounds.FOLDER_FILES):
        path = shown(entry.name)
        blob = _special(entry.mode) or (repository.blob(entry.oid) if budget > 0 else _over_budget())
        budget -= len(blob.head or b"") + len(blob.tail)
        inside = shown(entry.name[len(folder) + 1 :] if folder else entry.name)
        files.append(StoredFile(path, blob.size, role_of(inside, blob.head), blob.head, blob.note, blob.tail))
        if blob.note:
            problems.append(Problem(path, blob.note))
        if path.encode("utf-8", "replace") != entry.name:
            problems.append(Problem(path, ODD_NAME))
    if next(entries, None) is not None:
        problems.append(Problem(shown(folder), f"more than {bounds.FOLDER_FILES:,} files; the rest is not read"))
    return files, problems


def _special(mode: int) -> Blob | None:
    notes = {
        LINK: "symbolic link, not followed",
        SUBMODULE: "submodule, not read",
        TREE: f"folder more than {bounds.FOLDER_DEPTH} deep, not read",
    }
    return Blob(0, None, note=notes[mode]) if mode in notes else None


def _over_budget() -> Blob:
    return Blob(0, None, note=f"not read: the folder exceeds the bound of {bounds.FOLDER_BYTES:,} bytes")
