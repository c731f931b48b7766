"""Which record folder is a pull request's own submission.

Forks copy other people's folders: 251 pull requests of the challenge add several. A folder is foreign when a
lower-numbered pull request has one of the same name that holds at least half of its blobs, or when the main branch
got it from another pull request.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from auditor.submission import bounds
from auditor.submission.git import Change, Repository
from auditor.submission.model import Track

_TRACK = re.compile(rb"track_(?:\d+min|non_record)\w*", re.IGNORECASE)
_CONTAINER = re.compile(rb"records?|non[_-]record|track_(?:\d+min|non_record)\w*", re.IGNORECASE)
_LOG = re.compile(rb".*\.log|.*(?:log|train|seed|run).*\.txt", re.IGNORECASE)
_DATE = re.compile(rb"20\d\d[-_]?[01]\d[-_]?[0-3]\d")
_OWN_SHARE = 0.5  # a folder is foreign from this share of blobs in common with an earlier one of the same name
_PLACES = ("records/track_10min_16mb", "records/track_non_record_16mb", "records", "records/records/track_10min_16mb")
_PULL = re.compile(r"refs/(?:pull|remotes/\w+/pull)/(\d{1,9})/head")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record folder in which a pull request adds (or only changes) files."""

    path: bytes
    added: bool  # not there before the pull request
    has_script: bool  # a train_gpt.py that the pull request adds or changes
    has_metadata: bool  # a submission.json likewise
    has_log: bool
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
            has_log=any(_LOG.fullmatch(name) for name in files),
            files=len(files),
        )
        for path, files in sorted(names.items())
    )


def preference(candidate: Candidate) -> tuple[bool | bytes, ...]:
    """Sort key: the folder that looks most like the submission comes last; equals are not told apart by names."""
    return (
        candidate.added,
        candidate.has_script or candidate.has_metadata,
        candidate.has_script,
        candidate.path.startswith(b"records/"),
        track_of(candidate.path.decode("utf-8", "replace")) is not None,
        candidate.has_metadata,
        candidate.date,
        candidate.has_log,
    )


def earlier_owners(repository: Repository, trees: Mapping[bytes, str], number: int) -> dict[bytes, int]:
    """Which folders an earlier pull request has, and which one.

    `trees` maps folder names to their tree objects. A folder belongs to an earlier pull request when that one has a
    folder of the same name with at least half of the same blobs. Reads the record folders of every earlier pull
    request that the repository knows: a tenth of a second for two thousand.
    """
    earlier = sorted(item for item in _pull_heads(repository).items() if item[0] < number)
    owners: dict[bytes, int] = {}
    blobs = {name: _blobs(repository, tree) for name, tree in trees.items()}
    compared: dict[tuple[bytes, str], bool] = {}
    found: list[tuple[int, bytes, str]] = []
    for place in _PLACES:
        contents = repository.trees_of([oid for _, oid in earlier], place)
        for (other, _), content in zip(earlier, contents, strict=False):
            found.extend(
                (other, name, oid) for name in trees if (oid := tree_entry(content, name, repository.hash_bytes))
            )
    for other, name, oid in sorted(found):
        if name not in owners:
            if (name, oid) not in compared:
                shared = len(blobs[name] & _blobs(repository, oid))
                compared[name, oid] = oid == trees[name] or 0 < len(blobs[name]) <= shared / _OWN_SHARE
            if compared[name, oid]:
                owners[name] = other
    return owners


def tree_entry(content: bytes, name: bytes, hash_bytes: int = 20) -> str:
    """The object name of the sub-tree `name` in a raw tree, "" without one."""
    mark = b"40000 " + name + b"\0"
    at = content.find(mark)
    return content[at + len(mark) : at + len(mark) + hash_bytes].hex() if at >= 0 else ""


def _pull_heads(repository: Repository) -> dict[int, str]:
    references = repository.references("refs/pull/*/head", "refs/remotes/*/pull/*/head")
    return {int(match[1]): oid for ref, oid in references.items() if (match := _PULL.fullmatch(ref))}


def _blobs(repository: Repository, tree: str) -> frozenset[str]:
    return frozenset(entry.oid for entry in islice(repository.walk(tree), bounds.FOLDER_FILES))
