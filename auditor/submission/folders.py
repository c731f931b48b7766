"""Which record folder is a pull request's own submission.

Forks copy other people's folders: 251 pull requests of the challenge add several. A folder is foreign when a
lower-numbered pull request has one of the same name that holds at least half of its blobs, or when the main branch
got it from another pull request.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from auditor.submission.git import TREE, Change, Repository
from auditor.submission.model import Track

_TRACK = re.compile(rb"track_(?:\d+min|non_record)\w*", re.IGNORECASE)
_CONTAINER = re.compile(rb"records?|non[_-]record|track_(?:\d+min|non_record)\w*", re.IGNORECASE)
_DATE = re.compile(rb"20\d\d[-_]?[01]\d[-_]?[0-3]\d")
_OWN_SHARE = 0.5  # a folder is foreign from this share of blobs in common with an earlier one of the same name
_PULL = re.compile(r"refs/(?:pull|remotes/\w+/pull)/(\d{1,9})/head")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record folder in which a pull request adds (or only changes) files."""

    path: bytes
    added: bool  # not there before the pull request
    has_script: bool  # a train_gpt.py that the pull request adds or changes
    has_metadata: bool  # a submission.json likewise
    files: int  # added or changed ones

    @property
    def name(self) -> bytes:
        return self.path.rsplit(b"/", 1)[-1]

    @property
    def date(self) -> bytes:
        """The date in the folder's name as digits, b"" without one."""
        match = _DATE.search(self.name)
        return re.sub(rb"\D", b"", match.group()) if match else b""


def record_folder(path: bytes) -> bytes | None:
    """The record folder a path lies in: one component below ``records/track_*/``, ``records/records/`` etc."""
    parts = path.split(b"/")
    at = next((i for i, part in enumerate(parts) if part == b"records" or _TRACK.fullmatch(part)), None)
    if at is None:
        return None
    while at < len(parts) and _CONTAINER.fullmatch(parts[at]):
        at += 1
    return b"/".join(parts[: at + 1]) if at + 1 < len(parts) else None


def track_of(folder: str) -> Track | None:
    """The track a folder's path names, None when it names none."""
    lowered = folder.lower()
    if "track_non_record" in lowered or "/non_record/" in lowered or "/non-record/" in lowered:
        return Track.NON_RECORD
    return Track.RECORD if "track_10min" in lowered else None


def candidates(changes: Iterable[Change], existing: frozenset[bytes] = frozenset()) -> tuple[Candidate, ...]:
    """Record folders with added or changed files, by path; `existing` are those that were there before."""
    names: dict[bytes, list[bytes]] = defaultdict(list)
    for change in changes:
        if change.status != "D" and (folder := record_folder(change.path)):
            names[folder].append(change.path.rsplit(b"/", 1)[-1])
    return tuple(
        Candidate(
            path,
            added=path not in existing,
            has_script=b"train_gpt.py" in files,
            has_metadata=b"submission.json" in files,
            files=len(files),
        )
        for path, files in sorted(names.items())
    )


def preference(candidate: Candidate) -> tuple[bool | bytes | int, ...]:
    """Sort key: the folder that looks most like the submission comes last."""
    return (
        candidate.added,
        candidate.has_script or candidate.has_metadata,
        candidate.has_script,
        candidate.path.startswith(b"records/"),
        track_of(candidate.path.decode("utf-8", "replace")) is not None,
        candidate.has_metadata,
        candidate.date,
        candidate.files,
        candidate.path,
    )


class FolderIndex:
    """Record folders of every pull request known to a repository, by folder name; built on first use."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._by_name: Mapping[bytes, list[tuple[int, str]]] | None = None
        self._blobs: dict[str, frozenset[str]] = {}

    def owner(self, tree: str, name: bytes, number: int) -> int | None:
        """The lowest-numbered earlier pull request that has this folder, None when it is the first."""
        own = self.blobs(tree)
        for earlier, other in self._folders().get(name, ()):
            if earlier >= number:
                return None
            if other == tree or (own and len(own & self.blobs(other)) >= _OWN_SHARE * len(own)):
                return earlier
        return None

    def blobs(self, tree: str) -> frozenset[str]:
        """Names of all blobs below a tree."""
        if tree not in self._blobs:
            self._blobs[tree] = frozenset(entry.oid for entry in self._repository.walk(tree))
        return self._blobs[tree]

    def _folders(self) -> Mapping[bytes, list[tuple[int, str]]]:
        if self._by_name is None:
            found: dict[bytes, list[tuple[int, str]]] = defaultdict(list)
            references = self._repository.references("refs/pull/*/head", "refs/remotes/*/pull/*/head")
            heads = [(int(match[1]), oid) for ref, oid in references.items() if (match := _PULL.fullmatch(ref))]
            for number, oid in sorted(heads):
                for name, tree in self._record_folders(oid):
                    found[name].append((number, tree))
            self._by_name = found
        return self._by_name

    def _record_folders(self, commit: str) -> Iterator[tuple[bytes, str]]:
        """Folders below ``records/`` and its containers, without reading their contents."""
        pending = [(entry.name, entry.oid) for entry in self._repository.tree(self._repository.root(commit))]
        pending = [(name, oid) for name, oid in pending if _CONTAINER.fullmatch(name)]
        for _ in range(64):  # containers in containers: a bound, not a limit anyone meets
            if not pending:
                return
            _, tree = pending.pop()
            for entry in self._repository.tree(tree):
                if entry.mode == TREE and _CONTAINER.fullmatch(entry.name):
                    pending.append((entry.name, entry.oid))
                elif entry.mode == TREE:
                    yield entry.name, entry.oid
