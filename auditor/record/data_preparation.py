"""How the data of a run was prepared: the script that splits documents, how it is called, what is said about it.

A local build writes the first `val_docs` documents to the validation shards and the rest to the training shards. Train
on a build with one split and validate on another, and documents between the two splits are in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from auditor.record.model import Place, Record
from auditor.submission.model import StoredFile, Submission

MAX_FILE_BYTES = 1024 * 1024
MAX_STATEMENTS = 8

_DEFAULT = re.compile(
    rb"add_argument\(\s{0,40}[\"']--val[-_]docs[\"'][^)\n]{0,200}?\bdefault\s{0,4}=\s{0,4}([\d_]{1,12})"
)
_ARGUMENT = re.compile(r"--val[-_]docs[= ]\s{0,4}([\d_,]{1,12})")
_PREPARES = re.compile(r"prepare\w{0,60}\.py")
_CONTINUED = re.compile(r"\\\n")
_ROUND = r"10[_,]?000"
_SAID = (
    re.compile(rf"val[-_]docs\s?[= ]\s?`?{_ROUND}`?\s{{0,3}}(?:train|training)\s{{1,3}}shards", re.IGNORECASE),
    re.compile(
        r"(?:train|training)\s{1,3}shards\b.{0,120}?\b(?:match|verified|identical|produced|built|generated|prepared|made)"
        rf".{{0,160}}?val[-_]docs`?\s?[= ]\s?`?{_ROUND}`?\s{{0,3}}(?:output|build|split|path|default)",
        re.IGNORECASE,
    ),
)
_DENIED = re.compile(
    r"\bnot\b|n't\b|\bnever\b|\bavoid|\binstead\b|\bbug\b|\bleak|\boverlap|contamina|\bwrong\b|\bunlike\b|"
    r"\brather than\b|\bprevent|\bpreviously\b|\bearlier version\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SplitScript:
    """A shipped script that splits documents into validation and training; `default_val_docs` as its argument says."""

    place: Place
    default_val_docs: int


@dataclass(frozen=True, slots=True)
class SplitCall:
    """A shipped call of such a script; `val_docs` is None where it leaves the default."""

    place: Place
    val_docs: int | None


@dataclass(frozen=True, slots=True)
class SplitStatement:
    """A sentence that says the training shards come from a build with 10,000 validation documents."""

    place: Place
    text: str


def split_scripts(submission: Submission) -> tuple[SplitScript, ...]:
    """Shipped preparation scripts with a ``--val-docs`` argument."""
    found = []
    for item in submission.files:
        if item.data is None or not item.path.endswith(".py") or b"val" not in item.data[:MAX_FILE_BYTES]:
            continue
        match = _DEFAULT.search(item.data[:MAX_FILE_BYTES])
        digits = match[1].replace(b"_", b"") if match else b""
        if match and digits:
            line = item.data.count(b"\n", 0, match.start()) + 1
            found.append(SplitScript(Place(item.path, line), int(digits)))
    return tuple(found)


def split_calls(submission: Submission, record: Record) -> tuple[SplitCall, ...]:
    """Calls of a preparation script in the README's commands and in shell scripts."""
    calls = []
    for command in record.commands:
        if _PREPARES.search(command.command):
            calls.append(SplitCall(command.place, _val_docs(command.command)))
    for path, text in _texts(submission, (".sh",)):
        joined = _CONTINUED.sub(" ", text)
        for number, line in enumerate(joined.split("\n"), 1):
            if len(line) < 2_000 and _PREPARES.search(line) and not line.lstrip().startswith("#"):
                calls.append(SplitCall(Place(path, number), _val_docs(line)))
    return tuple(calls)


def _val_docs(command: str) -> int | None:
    match = _ARGUMENT.search(command)
    digits = re.sub(r"[_,]", "", match[1]) if match else ""
    return int(digits) if digits else None


def split_statements(submission: Submission, record: Record) -> tuple[SplitStatement, ...]:
    """Sentences of Markdown files and submission.json on training shards built with 10,000 validation documents."""
    found: list[SplitStatement] = []
    for path, number, line in _lines(submission, record):
        for expression in _SAID:
            match = expression.search(line[:4_000])
            if match and not _DENIED.search(line[max(match.start() - 80, 0) : match.end() + 40]):
                found.append(SplitStatement(Place(path, number), match[0][:240]))
                break
        if len(found) >= MAX_STATEMENTS:
            break
    return tuple(found)


def _lines(submission: Submission, record: Record) -> Iterator[tuple[str, int, str]]:
    for path, text in _texts(submission, (".md", ".txt")):
        for number, line in enumerate(text.split("\n"), 1):
            if "val" in line and "docs" in line:
                yield path, number, line
    for key, value in record.statement.fields.items():
        if isinstance(value, str) and "docs" in value:
            place = record.statement.places.get(key, Place(""))
            yield place.path, place.line, value


def _texts(submission: Submission, suffixes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for item in submission.files:
        if item.data is not None and item.path.lower().endswith(suffixes) and len(item.data) <= MAX_FILE_BYTES:
            yield item.path, _decoded(item)


def _decoded(item: StoredFile) -> str:
    return (item.data or b"").decode("utf-8", "replace").replace("\r\n", "\n")
