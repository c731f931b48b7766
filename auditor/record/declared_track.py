"""Whether a submission calls itself non-record, wherever its folder stands.

The clock binds record submissions only. A folder below the record track that declares itself non-record is in the wrong
place, but its author does not ask for what the clock is a condition of.
"""

from __future__ import annotations

import re

from auditor.record.model import Place, Record

_KEY = re.compile(r"(?:is_)?non_?record(?:_submission)?", re.IGNORECASE)
_SHORT = ("submission_type", "type", "category", "status", "track", "name", "submission_name", "title")
_LONG = ("notes", "note", "blurb", "description", "summary", "comment", "comments", "technique_summary")
_WORD = re.compile(r"(?<![A-Za-z])(?<!not )(?<!not a )non[-_ ]?record(?![A-Za-z])", re.IGNORECASE)
_SENTENCE = re.compile(r"(?:^|[.!?;]\s{1,3}|\b(?:as|is) an? )\W{0,4}non[-_ ]?record\b", re.IGNORECASE)
_LABELLED = re.compile(
    r"\W{0,6}(?:track|status|category|type|submission type)\W{1,6}[^.|]{0,40}?non[-_ ]?record\b", re.I
)
_LEADING = re.compile(r"\W{0,6}non[-_ ]?record (?:\w{1,12}[ -]){0,2}(?:submission|entry|track)\b", re.IGNORECASE)
_HEADING = re.compile(r"#{1,6}\s")
_README_LINES = 40  # its head


def declared_non_record(record: Record) -> Place | None:
    """Where submission.json or the README says so; None where neither does."""
    return _in_statement(record) or _in_readme(record)


def _in_statement(record: Record) -> Place | None:
    for key, value in record.statement.fields.items():
        name = key.rpartition(".")[2].lower()
        if (
            (value is True and _KEY.fullmatch(name))
            or (isinstance(value, str) and name in _SHORT and _WORD.search(value[:300]))
            or (isinstance(value, str) and name in _LONG and _SENTENCE.search(value[:4_000]))
        ):
            return record.statement.places.get(key, Place("submission.json"))
    return None


def _in_readme(record: Record) -> Place | None:
    """The title, a line such as "Track: non-record", or one that begins with the words, in the README's head."""
    title = True
    for number, line in enumerate(record.readme_text[:20_000].split("\n")[:_README_LINES], 1):
        heading = _HEADING.match(line)
        if (heading and title and _WORD.search(line[:300])) or _LABELLED.match(line) or _LEADING.match(line):
            return Place(record.readme_path, number)
        title = title and not heading
    return None
