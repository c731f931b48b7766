"""Outcomes of earlier sweeps, so that an interrupted one goes on where it stopped and nothing is audited twice.

Outcomes are kept by the state of the auditor and its options, and within it by what an audit reads: the changed paths
with their blobs, the tree they are compared with, and when the commits were written. A pull request whose commits were
only reworded is not audited again; a changed rule starts everything afresh.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from dataclasses import asdict, replace
from pathlib import Path

from auditor.submission.git import Repository
from auditor.submission.model import LoadError
from auditor.submission.pull_request import own_changes, revisions, touched_folders
from auditor.sweep.outcome import Outcome
from auditor.sweep.targets import Target

KEPT_STATES = 4  # of the auditor; older ones are forgotten


class Cache:
    """Outcomes of one state of the auditor, one JSON file each, and which commits they stand for."""

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder = folder / digest[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        os.utime(self._folder)
        self._forget_old(folder)

    @staticmethod
    def default_folder() -> Path:
        """The user's cache folder for these outcomes."""
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "pgolf-audit" / "sweep"

    def get(self, key: str) -> Outcome | None:
        """The remembered outcome, or None."""
        try:
            return Outcome(**json.loads(self._path(key).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, key: str, outcome: Outcome) -> None:
        """Remember `outcome`; a half-written file never counts."""
        self._write(self._path(key), json.dumps(asdict(outcome)))

    def known_key(self, label: str) -> str | None:
        """The key that `put_key` remembered under `label`, or None: saves reading the repository again."""
        try:
            return self._label_path(label).read_text(encoding="ascii").strip() or None
        except (OSError, ValueError):
            return None

    def put_key(self, label: str, key: str) -> None:
        """Remember which key the commits named by `label` lead to."""
        self._write(self._label_path(label), key)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _label_path(self, label: str) -> Path:
        return self._folder / f"{hashlib.sha256(label.encode()).hexdigest()[:32]}.key"

    @staticmethod
    def _write(path: Path, text: str) -> None:
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)

    @staticmethod
    def _forget_old(folder: Path) -> None:
        states = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for state in states[:-KEPT_STATES]:
            shutil.rmtree(state, ignore_errors=True)


class Surroundings:
    """What an audit depends on beside its own commit: the main branch, and the other pull requests."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._main = repository.main_branch()
        others = sorted(repository.references("refs/pull/", "refs/remotes/").items())
        self._others = hashlib.sha256(repr(others).encode()).hexdigest()

    def label(self, target: Target) -> str:
        """Names everything that the key of `target` is computed from, without reading objects."""
        return f"{target.name} {target.commit} {self._main} {self._others}"

    def key(self, target: Target) -> str:
        """The key of the outcome of `target`: a digest over what an audit of it reads."""
        try:
            return self._content_key(target)
        except (LoadError, ValueError, RecursionError):  # the audit itself will say what is wrong
            return hashlib.sha256(self.label(target).encode()).hexdigest()

    def _content_key(self, target: Target) -> str:
        repository = self._repository
        span = own_changes(repository, target.commit, self._main, target.pull_request)
        parts: list[object] = [target.name, repository.root(span.base) if span.base else "", span.changes]
        parts.append([commit.authored.timestamp() for commit in repository.log(*revisions(span))])
        if len(touched_folders(repository, span)) > 1:  # which is its own depends on the other pull requests
            parts += [span.head, self._others]
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


def from_cache(outcome: Outcome, target: Target) -> Outcome:
    """A remembered outcome as that of `target`, whose commit may have been written anew."""
    return replace(outcome, head=target.commit, reference=target.reference)
