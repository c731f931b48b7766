"""What a submission calls itself: the README's heading, the name in submission.json, its folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from auditor.record.model import Place, Record
from auditor.record.readme import plain

MAX_CHARACTERS = 300
_DENIALS = frozenset(("no", "without", "non", "not", "pre", "sans", "zero"))
_NAME_KEYS = ("name", "submission_name", "title", "run_name", "model_name")


@dataclass(frozen=True, slots=True)
class Title:
    """One of a submission's names and where it stands."""

    text: str
    place: Place

    def names(self, words: Sequence[str]) -> bool:
        """True when all `words` stand in the title, in one word or in pieces ("n-gram"), and none after a "no"."""
        title = [word for word in re.split(r"[^a-z0-9]+", self.text[:MAX_CHARACTERS].lower()) if word]
        if any(before in _DENIALS and after.startswith(tuple(words)) for before, after in pairwise(title)):
            return False
        whole = set(title) | {one + two for one, two in pairwise(title)}
        return all(word in whole for word in words)


def titles(record: Record, folder: str) -> list[Title]:
    """The names of the submission in `folder`."""
    return [title for title in _titles(record, folder) if title.text]


def _titles(record: Record, folder: str) -> Iterator[Title]:
    lines = enumerate(record.readme_text[:2000].splitlines(), 1)
    number, heading = next(((number, line) for number, line in lines if line.startswith("# ")), (0, ""))
    yield Title(plain(heading), Place(record.readme_path, number))
    places = record.statement.places
    yield Title(record.statement.name, next((places[key] for key in _NAME_KEYS if key in places), Place("")))
    yield Title(re.sub(r"([a-z])([A-Z])", r"\1 \2", folder.rpartition("/")[2]), Place(folder))
