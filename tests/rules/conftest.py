"""Evidence from small made-up folders: what the record rules see when they read files, not objects built by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest

from auditor.configuration import RunConfiguration
from auditor.record import read_record
from auditor.submission import load_folder
from auditor.submission.model import Track
from rules.base import FINEWEB_50K, Evidence, ValidationText

EvidenceOf = Callable[..., Evidence]


@pytest.fixture
def evidence_of(tmp_path: Path) -> EvidenceOf:
    """Writes a folder and reads it as the auditor does."""

    def build(
        files: Mapping[str, str],
        *,
        track: Track = Track.RECORD,
        created: datetime | None = None,
        pull_request: int | None = None,
        as_of: date | None = None,
        text: ValidationText = FINEWEB_50K,
        **changes: object,
    ) -> Evidence:
        for name, content in {"README.md": "A submission.\n", **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        submission = replace(
            load_folder(tmp_path),
            track=track,
            created=created,
            pull_request=pull_request,
            **changes,  # type: ignore[arg-type]
        )
        return Evidence(submission, RunConfiguration(), read_record(submission), text=text, as_of=as_of)

    return build
