"""Small submissions for the tests of staging, built in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from auditor.configuration import RunConfiguration, Setting
from auditor.record.model import Place
from auditor.submission.model import Role, SourceText, StoredFile, Submission, Track

FOLDER = "records/track_10min_16mb/2026-04-01_Example"


def submission(
    text: str, files: Mapping[str, tuple[Role, bytes]] | None = None, helpers: Mapping[str, str] | None = None
) -> Submission:
    """A record folder with `text` as train_gpt.py and further files by path relative to it."""
    stored = [StoredFile(f"{FOLDER}/train_gpt.py", len(text), Role.SCRIPT, text.encode())]
    for name, (role, data) in (files or {}).items():
        stored.append(StoredFile(f"{FOLDER}/{name}", len(data), role, data))
    others = []
    for name, source in (helpers or {}).items():
        stored.append(StoredFile(f"{FOLDER}/{name}", len(source), Role.HELPER, source.encode()))
        others.append(SourceText(f"{FOLDER}/{name}", source, "", ()))
    script = SourceText(f"{FOLDER}/train_gpt.py", text, hashlib.sha256(text.encode()).hexdigest())
    return Submission("test", FOLDER, Track.RECORD, tuple(stored), script, tuple(others))


def configuration(**environment: str) -> RunConfiguration:
    """A configuration whose settings all come from the log."""
    return RunConfiguration(
        {name: Setting(name, value, "log", Place("train.log", 1)) for name, value in environment.items()}
    )
