"""Loading a submission: from a folder, from a checkout, or from the objects of a git repository."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from auditor.submission import bounds
from auditor.submission.folders import Candidate, FolderIndex, candidates, preference, record_folder, track_of
from auditor.submission.git import LINK, SUBMODULE, TREE, Blob, Change, Commit, Repository
from auditor.submission.metadata import declared_date, declared_track
from auditor.submission.model import LoadError, Problem, Role, StoredFile, Submission, Track
from auditor.submission.names import shown
from auditor.submission.roles import role_of
from auditor.submission.scripts import choose_script


def load_pull_request(git_dir: str | os.PathLike[str], number: int) -> Submission:
    """The submission of pull request `number`, read from the objects of `git_dir` (bare or a checkout).

    The pull request's head is compared with its merge base with the main branch; a merged one with what main was
    before its merge. Raises LoadError when there is no such pull request or it changes nothing.
    """
    with Repository(git_dir) as repository:
        head = repository.pull_head(number)
        return _load_range(repository, head, repository.main_branch(), f"PR {number} in {shown(str(git_dir))}", number)


def load_ref(git_dir: str | os.PathLike[str], ref: str, base: str | None = None) -> Submission:
    """The submission that `ref` adds to `base` (default: the main branch), read from git objects.

    Raises LoadError when either does not name a commit or nothing differs.
    """
    with Repository(git_dir) as repository:
        head = repository.commit(ref)
        main = repository.commit(base) if base is not None else repository.main_branch()
        for name, commit in ((ref, head), (base, main)):
            if commit is None:
                raise LoadError(f"{shown(str(git_dir))}: {shown(str(name))} does not name a commit")
        assert head is not None
        assert main is not None
        return _load_range(repository, head, main, f"{shown(ref)} in {shown(str(git_dir))}", None)


@dataclass(frozen=True, slots=True)
class _Range:
    """What a pull request changes: from `base` (None: everything is new) to `head`."""

    base: str | None
    head: str
    changes: tuple[Change, ...]
    note: str = ""


def _load_range(repository: Repository, head: str, main: str, origin: str, number: int | None) -> Submission:
    span = _own_changes(repository, head, main, number)
    if not span.changes:
        raise LoadError(f"{origin}: changes nothing against the main branch")
    chosen = _choose_folder(repository, span, number)
    folder = chosen.folder
    tree = repository.subtree(span.head, folder) if folder is not None else None
    if folder is None or tree is None:
        entries = _changed_entries(repository, span)
    else:
        entries = [(folder + b"/" + entry.name, entry.mode, entry.oid) for entry in repository.walk(tree)]
    files, problems = _read_entries(repository, entries, folder or b"")
    first = _first_commit(repository, span, folder)
    return _assemble(
        origin,
        shown(folder or b""),
        files,
        [*chosen.problems, *problems],
        read_elsewhere=_tree_reader(repository, span.head),
        other_folders=tuple(map(shown, chosen.others)),
        foreign_folders=tuple(map(shown, chosen.foreign)),
        changed_outside_records=tuple(
            shown(change.path) for change in span.changes if record_folder(change.path) is None
        ),
        pull_request=number,
        created=first.authored if first else None,
        head=span.head,
    )


def _own_changes(repository: Repository, head: str, main: str, number: int | None) -> _Range:
    base = repository.merge_base(main, head)
    if base == head:  # merged: compare with what main was before
        merge = repository.brought_in_by(head, main)
        base = repository.merge_base(merge.parents[0], head) if merge and merge.parents else None
        if merge is None:
            return _Range(head, head, ())
    changes = repository.changes(base, head)
    if not any(record_folder(change.path) and change.status != "D" for change in changes) and number is not None:
        squash = _squash_commit(repository, head, main, number)
        if squash is not None and squash.parents:
            return _Range(squash.parents[0], squash.oid, repository.changes(squash.parents[0], squash.oid))
    return _Range(base, head, changes)


def _squash_commit(repository: Repository, head: str, main: str, number: int) -> Commit | None:
    """The commit on main that says it is pull request `number`."""
    commits = repository.log("--first-parent", main)
    return next((commit for commit in commits if commit.pull_request == number), None)


@dataclass(frozen=True, slots=True)
class _Choice:
    folder: bytes | None
    others: tuple[bytes, ...] = ()
    foreign: tuple[bytes, ...] = ()
    problems: tuple[Problem, ...] = ()


def _choose_folder(repository: Repository, span: _Range, number: int | None) -> _Choice:
    touched = {folder for change in span.changes if (folder := record_folder(change.path))}
    existing = frozenset(path for path in touched if span.base and repository.subtree(span.base, path))
    found = [
        candidate
        for candidate in candidates(span.changes, existing)
        if repository.subtree(span.head, candidate.path) is not None
    ]
    if not found:
        return _Choice(None, problems=(Problem("", "adds no folder under records/; the changed files are audited"),))
    if len(found) == 1:
        return _Choice(found[0].path)
    own, foreign = _split_foreign(repository, span.head, found, number)
    pool = sorted(own or foreign, key=preference)
    others = tuple(candidate.path for candidate in reversed(pool[:-1]))
    problems = []
    if not own:
        problems.append(Problem(shown(pool[-1].path), "every folder of this pull request is in an earlier one too"))
    elif others:
        listed = ", ".join(map(shown, others[:5])) + (", ..." if len(others) > 5 else "")
        problems.append(Problem(shown(pool[-1].path), f"audited as the submission; also adds {listed}"))
    return _Choice(
        pool[-1].path,
        others if own else (),
        tuple(candidate.path for candidate in foreign if candidate.path != pool[-1].path),
        tuple(problems),
    )


def _split_foreign(
    repository: Repository, head: str, found: list[Candidate], number: int | None
) -> tuple[list[Candidate], list[Candidate]]:
    if number is None:
        return found, []
    index = FolderIndex(repository)
    own, foreign = [], []
    for candidate in found:
        tree = repository.subtree(head, candidate.path) or ""
        (own if index.owner(tree, candidate.name, number) is None else foreign).append(candidate)
    return own, foreign


def _first_commit(repository: Repository, span: _Range, folder: bytes | None) -> Commit | None:
    """The first own commit: the first that touches the folder, else the first of the range."""
    revisions = (f"{span.base}..{span.head}",) if span.base else (span.head,)
    paths = (folder,) if folder else ()
    commits = list(repository.log("--reverse", *revisions, paths=paths)) or list(
        repository.log("--reverse", *revisions)
    )
    return commits[0] if commits else None


def _changed_entries(repository: Repository, span: _Range) -> list[tuple[bytes, int, str]]:
    wanted = {change.path for change in span.changes if change.status != "D"}
    root = repository.root(span.head)
    return [(entry.name, entry.mode, entry.oid) for entry in repository.walk(root) if entry.name in wanted]


def _read_entries(
    repository: Repository, entries: list[tuple[bytes, int, str]], folder: bytes
) -> tuple[list[StoredFile], list[Problem]]:
    files, problems, budget = [], [], bounds.FOLDER_BYTES
    if len(entries) > bounds.FOLDER_FILES:
        problems.append(Problem(shown(folder), f"{len(entries):,} files; the first {bounds.FOLDER_FILES:,} are read"))
    for raw, mode, oid in entries[: bounds.FOLDER_FILES]:
        path = shown(raw)
        blob = _special(mode) or (repository.blob(oid) if budget > 0 else _over_budget())
        budget -= len(blob.head or b"") + len(blob.tail)
        inside = shown(raw[len(folder) + 1 :] if folder else raw)
        files.append(StoredFile(path, blob.size, role_of(inside, blob.head), blob.head, blob.note, blob.tail))
        if blob.note:
            problems.append(Problem(path, blob.note))
        if path.encode("utf-8", "replace") != raw:
            problems.append(Problem(path, "the name holds control characters or is not UTF-8; it is shown escaped"))
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


def _tree_reader(repository: Repository, commit: str) -> Callable[[str], bytes | None]:
    """Reads a file of the same commit by its path from the root; None when there is none."""

    def read(path: str) -> bytes | None:
        directory, _, name = path.encode("utf-8", "surrogateescape").rpartition(b"/")
        tree = repository.subtree(commit, directory)
        entry = next((item for item in repository.tree(tree) if item.name == name), None) if tree else None
        blob = repository.blob(entry.oid) if entry and entry.mode not in (TREE, LINK, SUBMODULE) else None
        return blob.head if blob and not blob.tail else None

    return read


def _assemble(
    origin: str,
    folder: str,
    files: list[StoredFile],
    problems: list[Problem],
    *,
    read_elsewhere: Callable[[str], bytes | None],
    other_folders: tuple[str, ...] = (),
    foreign_folders: tuple[str, ...] = (),
    changed_outside_records: tuple[str, ...] = (),
    pull_request: int | None = None,
    created: datetime | None = None,
    head: str = "",
) -> Submission:
    metadata = next((item for item in files if item.role is Role.METADATA and item.data), None)
    metadata_bytes = metadata.data if metadata and metadata.data else b""
    choice = choose_script(folder, files, read_elsewhere)
    files = [replace(item, role=Role.SCRIPT) if item.path == choice.stored else item for item in files]
    return Submission(
        origin=origin,
        folder=folder,
        track=track_of(folder) or declared_track(metadata_bytes) or Track.RECORD,
        files=tuple(files),
        script=choice.script,
        helpers=choice.helpers,
        other_folders=other_folders,
        foreign_folders=foreign_folders,
        changed_outside_records=changed_outside_records,
        pull_request=pull_request,
        created=created or declared_date(metadata_bytes),
        problems=(*problems, *choice.problems),
        script_reason=choice.reason,
        head=head,
    )


def sha256(data: bytes) -> str:
    """Hex digest of a file as stored."""
    return hashlib.sha256(data).hexdigest()
