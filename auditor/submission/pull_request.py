"""What a pull request changes, and which of the folders it touches is its own submission."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from auditor.submission.folders import Candidate, candidates, earlier_owners, preference, record_folder
from auditor.submission.git import Change, Commit, Repository
from auditor.submission.model import Problem
from auditor.submission.names import shown

_LISTED = 5  # folders named in one message
_RENAMES = 4  # of a folder that are followed back


@dataclass(frozen=True, slots=True)
class Range:
    """What a pull request changes: from commit `base` (None: everything is new) to commit `head`."""

    base: str | None
    head: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class FolderChoice:
    """The record folder to audit (None: there is none), the other own ones, copies of other people's, and remarks."""

    folder: bytes | None
    others: tuple[bytes, ...] = ()
    foreign: tuple[bytes, ...] = ()
    problems: tuple[Problem, ...] = ()


def own_changes(repository: Repository, head: str, main: str, number: int | None = None) -> Range:
    """What `head` changes against its merge base with `main`.

    The head of a merged pull request is an ancestor of main: it is compared with main before its merge. One that was
    squashed after it had taken in main shows nothing either: then the commit on main that carries its number counts.
    """
    base = repository.merge_base(main, head)
    if base == head:
        merge = repository.brought_in_by(head, main)
        if merge is None or not merge.parents:
            return Range(head, head, ())
        base = repository.merge_base(merge.parents[0], head)
    span = Range(base, head, repository.changes(base, head))
    if number is None or any(record_folder(change.path) and change.status != "D" for change in span.changes):
        return span
    squash = next((commit for commit in repository.log("--first-parent", main) if commit.pull_request == number), None)
    if squash is None or not squash.parents:
        return span
    return Range(squash.parents[0], squash.oid, repository.changes(squash.parents[0], squash.oid))


def choose_folder(repository: Repository, span: Range, number: int | None = None) -> FolderChoice:
    """The pull request's own submission among the record folders it touches.

    Folders that an earlier pull request has are copies; the search for them reads the folders of all known pull
    requests, so it is made only when there is a choice.
    """
    found = touched_folders(repository, span)
    if not found:
        return FolderChoice(
            None, problems=(Problem("", "adds no folder under records/; the changed files are audited"),)
        )
    if len(found) == 1:
        return FolderChoice(found[0].path)
    own, foreign = _split_foreign(repository, span.head, found, number)
    ranked = _ranked(repository, span, own or foreign)
    chosen = ranked[0].path
    others = tuple(candidate.path for candidate in ranked[1:]) if own else ()
    problems = []
    if not own:
        problems.append(Problem(shown(chosen), "every record folder of this pull request is in an earlier one too"))
    elif others:
        problems.append(Problem(shown(chosen), f"audited as the submission; also added: {listed(others)}"))
    copies = tuple(candidate.path for candidate in foreign if candidate.path != chosen)
    return FolderChoice(chosen, others, copies, tuple(problems))


def touched_folders(repository: Repository, span: Range) -> list[Candidate]:
    """Record folders that the range adds or changes and that are there at its head."""
    touched = {folder for change in span.changes if (folder := record_folder(change.path))}
    existing = frozenset(path for path in touched if span.base and repository.subtree(span.base, path))
    found = candidates(span.changes, existing)
    return [candidate for candidate in found if repository.subtree(span.head, candidate.path) is not None]


def first_commit(repository: Repository, span: Range, folder: bytes | None) -> Commit | None:
    """The first commit of the range that touches the folder, under this or an earlier name; else its first of all."""
    first: Commit | None = None
    for _ in range(_RENAMES):
        touching = repository.log("--reverse", *revisions(span), paths=(folder,)) if folder else iter(())
        first = min(first, next(touching, None), key=_authored)
        folder = _former_name(repository, first, folder) if first and folder else None
        if folder is None:
            break
    return first or next(repository.log("--reverse", *revisions(span)), None)


def _authored(commit: Commit | None) -> datetime:
    return commit.authored if commit else datetime.max.replace(tzinfo=UTC)


def _former_name(repository: Repository, commit: Commit, folder: bytes) -> bytes | None:
    """The record folder that `commit` moved to `folder`: one that it empties of files of the same names."""
    if not commit.parents or repository.commit(commit.parents[0]) is None:
        return None
    changes = repository.changes(commit.parents[0], commit.oid)
    added = {name(change.path) for change in changes if change.status == "A" and record_folder(change.path) == folder}
    gone = (change.path for change in changes if change.status == "D" and name(change.path) in added)
    return next((former for path in gone if (former := record_folder(path)) and former != folder), None)


def name(path: bytes) -> bytes:
    """The last component of a path."""
    return path.rsplit(b"/", 1)[-1]


def _ranked(repository: Repository, span: Range, found: list[Candidate]) -> list[Candidate]:
    """Candidates, the submission first; among equals the one that was worked on last, then the fullest."""
    best = max(map(preference, found))
    equal = [candidate for candidate in found if preference(candidate) == best]
    if len(equal) > 1:
        equal.sort(
            key=lambda candidate: (_last_touched(repository, span, candidate.path), candidate.files), reverse=True
        )
    rest = [candidate for candidate in found if preference(candidate) != best]
    return [*equal, *sorted(rest, key=preference, reverse=True)]


def _last_touched(repository: Repository, span: Range, folder: bytes) -> float:
    """When the newest commit of the range that touches the folder was made, in seconds since 1970."""
    commits = repository.log(*revisions(span), paths=(folder,), limit=1)
    return max((commit.committed.timestamp() for commit in commits), default=0.0)


def revisions(span: Range) -> tuple[str, ...]:
    """The range as git's revision arguments."""
    return (f"{span.base}..{span.head}",) if span.base else (span.head,)


def listed(folders: Iterable[bytes]) -> str:
    """Up to five folders by name, for a message."""
    names = list(map(shown, folders))
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _split_foreign(
    repository: Repository, head: str, found: list[Candidate], number: int | None
) -> tuple[list[Candidate], list[Candidate]]:
    if number is None:
        return found, []
    trees = {candidate.name: repository.subtree(head, candidate.path) or "" for candidate in found}
    owners = earlier_owners(repository, trees, number)
    own = [candidate for candidate in found if candidate.name not in owners]
    return own, [candidate for candidate in found if candidate.name in owners]
