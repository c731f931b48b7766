"""Loading a submission: from a folder, from a checkout, or from the objects of a git repository."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from auditor.submission import bounds
from auditor.submission.checkout import Located, is_checkout, locate
from auditor.submission.disk import read_bytes, read_folder
from auditor.submission.folders import record_folder, track_of
from auditor.submission.git import Repository
from auditor.submission.git_files import read_changed, read_tree, reader
from auditor.submission.metadata import declared_date, declared_track
from auditor.submission.model import LoadError, Problem, Role, StoredFile, Submission, Track
from auditor.submission.names import shown
from auditor.submission.pull_request import choose_folder, first_commit, own_changes
from auditor.submission.scripts import choose_script


def load_folder(path: str | os.PathLike[str]) -> Submission:
    """The submission in `path`: a record folder, or a checkout in which one was added.

    Raises LoadError when it is neither, is empty, or holds several candidates.
    """
    root = _directory(path)
    if not is_checkout(root):
        return _load_record_folder(shown(os.fspath(path)), root)
    located = locate(root)
    files, problems = read_folder(root, located.folder)
    return _assemble(
        f"{shown(located.folder)} in {shown(os.fspath(path))}",
        shown(located.folder),
        files,
        problems,
        read_elsewhere=_disk_reader(root),
        located=located,
    )


def load_pull_request(git_dir: str | os.PathLike[str], number: int) -> Submission:
    """The submission of pull request `number`, read from the objects of `git_dir` (bare or a checkout).

    The pull request's head is compared with its merge base with the main branch; a merged one with what main was
    before its merge. Raises LoadError when there is no such pull request or it changes nothing.
    """
    with Repository(git_dir) as repository:
        head = repository.pull_head(number)
        origin = f"PR {number} in {shown(os.fspath(git_dir))}"
        return _load_range(repository, head, repository.main_branch(), origin, number)


def load_ref(git_dir: str | os.PathLike[str], ref: str, base: str | None = None) -> Submission:
    """The submission that `ref` adds to `base` (default: the main branch), read from git objects.

    Raises LoadError when either does not name a commit or nothing differs.
    """
    with Repository(git_dir) as repository:
        head = repository.commit(ref)
        main = repository.commit(base) if base is not None else repository.main_branch()
        if head is None or main is None:
            raise LoadError(f"{shown(os.fspath(git_dir))}: {shown(str(base if head else ref))} does not name a commit")
        return _load_range(repository, head, main, f"{shown(ref)} in {shown(os.fspath(git_dir))}", None)


def _load_range(repository: Repository, head: str, main: str, origin: str, number: int | None) -> Submission:
    span = own_changes(repository, head, main, number)
    if not span.changes:
        raise LoadError(f"{origin}: changes nothing against the main branch")
    chosen = choose_folder(repository, span, number)
    if chosen.folder is None:
        files, problems = read_changed(repository, span.changes)
    else:
        files, problems = read_tree(repository, span.head, chosen.folder)
    if len(span.changes) == bounds.CHANGED_PATHS:
        problems.append(Problem("", f"changes {bounds.CHANGED_PATHS:,} paths or more; the rest is not looked at"))
    first = first_commit(repository, span, chosen.folder)
    folder = shown(chosen.folder or b"")
    outside = (change.path for change in span.changes if record_folder(change.path) is None)
    located = Located(
        folder,
        tuple(map(shown, chosen.others)),
        tuple(map(shown, outside)),
        first.authored if first else None,
        span.head,
    )
    submission = _assemble(
        origin,
        folder,
        files,
        [*chosen.problems, *problems],
        read_elsewhere=reader(repository, span.head),
        located=located,
    )
    return replace(submission, pull_request=number, foreign_folders=tuple(map(shown, chosen.foreign)))


def _load_record_folder(origin: str, root: Path) -> Submission:
    names = [entry.name.lower() for entry in root.iterdir()]
    if not names:
        raise LoadError(f"{origin}: the folder is empty")
    if (root / "objects").is_dir() and (root / "HEAD").is_file():
        raise LoadError(f"{origin}: is a git directory; audit a pull request in it with --repo and --pr")
    if not any(name in ("train_gpt.py", "submission.json") or name.startswith("readme") for name in names):
        raise LoadError(f"{origin}: no train_gpt.py, submission.json or README in it, so it is no record folder")
    files, problems = read_folder(root)
    submission = _assemble(origin, "", files, problems, read_elsewhere=lambda _: None, located=Located(""))
    track = track_of("/".join(root.parts[-3:]))
    return replace(submission, track=track) if track else submission


def _directory(path: str | os.PathLike[str]) -> Path:
    name = shown(os.fspath(path))
    try:
        root = Path(path).resolve()
        if root.is_dir():
            return root
        raise LoadError(f"{name}: {'is not a folder' if root.exists() else 'no such folder'}")
    except (OSError, ValueError, RuntimeError) as error:
        raise LoadError(f"{name}: cannot be read ({shown(str(error))})") from error


def _disk_reader(root: Path) -> Callable[[str], bytes | None]:
    """Reads one file of the checkout by its path from the root, through no link; None when there is none."""

    def read(path: str) -> bytes | None:
        place = root / path
        if any(part in ("..", ".git") for part in place.parts) or place.resolve() != place:
            return None
        _, head, tail, _ = read_bytes(place, bounds.FILE_BYTES)
        return None if tail else head

    return read


def _assemble(
    origin: str,
    folder: str,
    files: list[StoredFile],
    problems: list[Problem],
    *,
    read_elsewhere: Callable[[str], bytes | None],
    located: Located,
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
        other_folders=located.others,
        changed_outside_records=located.changed_outside_records,
        created=located.created or declared_date(metadata_bytes),
        problems=(*problems, *choice.problems),
        script_reason=choice.reason,
        head=located.head,
    )
