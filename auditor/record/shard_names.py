"""Validation shards that lie under the names of training shards.

A script cannot tell which tokens a file holds. What the README's commands or a shell script of the folder lay under a
training name, and which data folder the claimed runs say that they trained on, can.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from auditor.configuration import RunConfiguration
from auditor.record.claimed_runs import claimed_runs
from auditor.record.model import Place, Record
from auditor.record.places import RawPlaces
from auditor.submission.model import Role, Submission
from auditor.submission.text import decode

MAX_LINES = 4000  # of one file
_LAID = re.compile(
    r"\b(?:ln|cp|mv|rsync|install|copy|link|symlink|rename|copyfile|move)\b[^\n]{0,200}?"
    r"fineweb_val_[\w*]{0,40}\.bin[\"')]{0,3},?\s{1,8}(?P<target>[^\s,;&|]{0,300}fineweb_train_[\w*]{0,40}\.bin)"
)
_FOLDER = re.compile(r"([^/\s\"']{1,120})/fineweb_train_[\w*]{0,40}\.bin$")
_TRAINED_ON = re.compile(r"^train_loader:dataset:(\S{1,200})")
_SAYS_VALIDATION = re.compile(r"(?:^|[_.-])val(?:idation)?(?:[_-]?only)?(?:$|[_.-])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LaidShard:
    """A command that lays a validation shard under a training shard's name, and the folder that gets it."""

    text: str
    folder: str
    place: Place


@dataclass(frozen=True, slots=True)
class TrainingFolder:
    """The name of the folder that a run's training shards came from."""

    name: str
    place: Place

    @property
    def says_validation(self) -> bool:
        """True for a name that speaks of validation data."""
        return _SAYS_VALIDATION.search(self.name) is not None


def laid_shards(submission: Submission, record: Record) -> tuple[LaidShard, ...]:
    """Commands of the README and of shell scripts; at most one for each file."""
    found = []
    for path, text in _texts(submission, record):
        for number, line in enumerate(text.split("\n", MAX_LINES)[:MAX_LINES], 1):
            if "fineweb_val_" not in line or "fineweb_train_" not in line or len(line) > 2000:
                continue
            match = _LAID.search(line)
            if match:
                folder = _FOLDER.search(match["target"])
                found.append(LaidShard(line.strip()[:200], folder[1] if folder else "", Place(path, number)))
                break
    return tuple(found)


def _texts(submission: Submission, record: Record) -> Iterator[tuple[str, str]]:
    yield record.readme_path, record.readme_text
    for item in submission.by_role(Role.SHELL)[:20]:
        if item.data is not None and len(item.data) < 200_000:
            yield item.path, decode(item.data)


def training_folders(record: Record, configuration: RunConfiguration) -> tuple[TrainingFolder, ...]:
    """Folders that the claimed runs' logs, or failing that the run's settings, name."""
    found = []
    for log in [run.log for run in claimed_runs(record)] or list(record.logs):
        places = RawPlaces(log)
        for index, line in enumerate(log.raw_lines):
            if match := _TRAINED_ON.match(line):
                found.append(TrainingFolder(match[1], places.place(index)))
                break
    setting = configuration.lookup("DATA_PATH")
    if not found and setting is not None:
        found.append(TrainingFolder(setting.value.rstrip("/").rpartition("/")[2], setting.place))
    return tuple({item.name: item for item in found}.values())
