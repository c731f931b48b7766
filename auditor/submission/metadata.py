"""The two things that loading needs from submission.json, track and date; it is often not JSON, so text is searched."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from auditor.submission.model import Track
from auditor.submission.text import decode

_READ_BYTES = 1 << 20
_TRACK = re.compile(r'"track"\s*:\s*"([^"\n]{0,200})"')
_NON_RECORD = re.compile(r"non[-_ ]?record|unlimited|notable", re.IGNORECASE)
_RECORD = re.compile(r"record|10[-_ ]?min", re.IGNORECASE)
_DATE = re.compile(
    r'"(?:date|created_at|submission_date|timestamp)"\s*:\s*'
    r'"(20\d\d-[01]\d-[0-3]\d(?:[T ][\d:.]{5,15}(?:Z|[+-]\d\d:?\d\d)?)?)'
)


def declared_track(metadata: bytes) -> Track | None:
    """The track that submission.json declares, None when it does not say."""
    match = _TRACK.search(decode(metadata[:_READ_BYTES]))
    if match is None:
        return None
    if _NON_RECORD.search(match[1]):
        return Track.NON_RECORD
    return Track.RECORD if _RECORD.search(match[1]) else None


def declared_date(metadata: bytes) -> datetime | None:
    """The date that submission.json declares, timezone-aware (UTC when it names no zone), None without one."""
    match = _DATE.search(decode(metadata[:_READ_BYTES]))
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(match[1])
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
