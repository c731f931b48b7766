"""Finding the submission in a checkout: the record folder that a pull request added to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from auditor.submission import bounds
from auditor.submission.disk import walk
from auditor.submission.folders import Candidate, candidates, preference, record_folder
from auditor.submission.git import Change, Repository
from auditor.submission.model import LoadError
from auditor.submission.names import shown
from auditor.submission.pull_request import Range, first_commit, listed, own_changes, touched_folders

_NAME_IT = "name the one to audit"


@dataclass(frozen=True, slots=True)
class Located:
    """The record folder below the checkout's root, and what git knows about it."""

    folder: str
    others: tuple[str, ...] = ()
    changed_outside_records: tuple[str, ...] = ()
    created: datetime | None = None
    head: str = ""


def is_checkout(path: Path) -> bool:
    """Whether `path` is a checkout (or a copy of one) instead of a record folder."""
    if (path / "submission.json").is_file():
        return False
    return (path / "records").is_dir() or (path / ".git").exists()


def locate(root: Path) -> Located:
    """The record folder that was added to the checkout `root`.

    With git history: what HEAD and the working tree add to the merge base with the main branch. Without: the only
    folder, else the newest by the date in its name. Raises LoadError naming the candidates when this does not decide.
    """
    if not (root / ".git").exists():
        return _only_or_newest(root)
    with Repository(root) as repository:
        span = _own_range(repository)
        return _only_or_newest(root) if span is None else _added(root, repository, span)


def _own_range(repository: Repository) -> Range | None:
    """What HEAD changes; None when the history does not say (no commit, a shallow clone without the main branch)."""
    head = repository.commit("HEAD")
    if head is None:
        return None
    main = repository.main_branch()
    if main != head:
        return own_changes(repository, head, main)
    commit = next(repository.log(head, limit=1), None)
    if commit is None or len(commit.parents) < 2:
        return Range(head, head, ())
    before = repository.commit(commit.parents[0])  # HEAD may be the merge commit that CI checks out
    return own_changes(repository, head, before) if before else None


def _added(root: Path, repository: Repository, span: Range) -> Located:
    found = {candidate.path: candidate for candidate in touched_folders(repository, span)}
    for candidate in _folders_on_disk(root):
        if candidate.path not in found and repository.subtree(span.head, candidate.path) is None:
            found[candidate.path] = candidate  # not committed yet
    present = [candidate for candidate in found.values() if (root / os.fsdecode(candidate.path)).is_dir()]
    if not present:
        raise LoadError(
            f"{shown(str(root))}: HEAD adds no record folder to the main branch; {_NAME_IT}, "
            "or fetch the challenge's main branch as upstream/main"
        )
    chosen = _decide(root, present)
    first = first_commit(repository, span, chosen.path) if span.changes else None
    return Located(
        os.fsdecode(chosen.path),
        tuple(shown(candidate.path) for candidate in present if candidate is not chosen),
        tuple(shown(change.path) for change in span.changes if record_folder(change.path) is None),
        first.authored if first else None,
        span.head,
    )


def _decide(root: Path, present: list[Candidate]) -> Candidate:
    ranked = sorted(present, key=preference, reverse=True)
    complete = [candidate for candidate in ranked if candidate.has_script and candidate.added]
    if len(complete) > 1:
        names = listed(candidate.path for candidate in complete)
        raise LoadError(f"{shown(str(root))}: several record folders were added; {_NAME_IT}: {names}")
    return complete[0] if complete else ranked[0]


def _only_or_newest(root: Path) -> Located:
    found = _folders_on_disk(root)
    if not found:
        raise LoadError(f"{shown(str(root))}: no folder under records/ to audit")
    newest = max(candidate.date for candidate in found)
    latest = [candidate for candidate in found if candidate.date == newest]
    if len(found) > 1 and (len(latest) > 1 or not newest):
        raise LoadError(
            f"{shown(str(root))}: cannot tell which record folder was added without the history of the main branch; "
            f"{_NAME_IT}: {listed(candidate.path for candidate in latest)}"
        )
    return Located(os.fsdecode(latest[0].path))


def _folders_on_disk(root: Path) -> tuple[Candidate, ...]:
    """Record folders of the working tree, whether git knows them or not."""
    below = (found for found in walk(root, "records") if not found.note) if (root / "records").is_dir() else ()
    paths = islice((os.fsencode(found.path) for found in below), bounds.CHANGED_PATHS)
    return candidates(Change("A", path) for path in paths)
