"""Which file of the folder is the artifact, and which logged run it came from. The file is not opened here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from auditor.record.claimed_line import claim_logs, seed_of
from auditor.record.model import Record, RunLog
from auditor.record.size_accounts import last_size
from auditor.rescore.model import Artifact
from auditor.run.stage.settings import sources_of
from auditor.submission.model import Role, StoredFile, Submission

_WEIGHTS = re.compile(r".*\.(?:ptz|pt|pth|bin|npz|safetensors|pkl|zst|zstd|xz|lzma|br|zlib|gz)", re.IGNORECASE)
_NAMED = re.compile(r"[\"']([\w./{}-]{1,80}\.(?:ptz|pt|pth|bin|npz|safetensors|pkl|zst|zstd|xz|lzma|br))[\"']")
_NOT_WEIGHTS = re.compile(r"fineweb|token|vocab|table|dict|ngram|prefix|meta|_val_|_train_", re.IGNORECASE)
_SEED = re.compile(r"(?:seed|s)[_-]?(\d{1,6})", re.IGNORECASE)


def names_in(submission: Submission) -> tuple[str, ...]:
    """Names of weight files that the script's text spells out, in order of appearance."""
    found = [name for source in sources_of(submission) for name in _NAMED.findall(source.text)]
    plain = (name for name in found if "{" not in name and not _NOT_WEIGHTS.search(name))
    return tuple(dict.fromkeys(plain))


def find_artifact(submission: Submission, record: Record) -> Artifact | None:
    """The artifact to evaluate; None where the folder has none. Of several the one a claimed log prints the size of."""
    candidates = list(_candidates(submission))
    if not candidates:
        return None
    logs = claim_logs(record) or list(record.logs)
    for file in candidates:
        own = [log for log in logs if _model_bytes(log) == file.size]
        if own:
            return _artifact(submission, file, own[0], by_size=len(own) == 1)
    file = candidates[0]
    return _artifact(submission, file, _by_name(file, logs), by_size=False)


def _candidates(submission: Submission) -> Iterator[StoredFile]:
    """Complete weight files, those first whose names the script spells out."""
    names = [PurePosixPath(name).name for name in names_in(submission)]
    files = [
        file
        for file in submission.by_role(Role.ARTIFACT)
        if file.complete
        and file.size > 0
        and _WEIGHTS.fullmatch(file.path)
        and not _NOT_WEIGHTS.search(PurePosixPath(file.path).name)
    ]
    known = {name: place for place, name in reversed(list(enumerate(names)))}
    yield from sorted(files, key=lambda file: known.get(PurePosixPath(file.path).name, len(names)))


def _by_name(file: StoredFile, logs: Sequence[RunLog]) -> RunLog | None:
    """The log of the seed that the file's name gives; the only log there is."""
    if match := _SEED.search(PurePosixPath(file.path).name):
        return next((log for log in logs if seed_of(log) == int(match[1])), None)
    return logs[0] if len(logs) == 1 else None


def _model_bytes(log: RunLog) -> int | None:
    size = last_size(log, "model")
    return size.size_bytes if size is not None else None


def _artifact(submission: Submission, file: StoredFile, log: RunLog | None, *, by_size: bool) -> Artifact:
    return artifact_of(file, submission.relative(file.path), log, by_size=by_size)


def artifact_of(file: StoredFile, path: str, log: RunLog | None = None, *, by_size: bool = False) -> Artifact:
    """A file as the artifact of the run with this log; `path` is relative to the record folder."""
    return Artifact(
        file=file,
        path=path,
        sha256=hashlib.sha256(file.data or b"").hexdigest(),
        log=log,
        seed=seed_of(log) if log is not None else None,
        logged_bytes=_model_bytes(log) if log is not None else None,
        by_size=by_size,
    )
