"""Records of learning and of printed lines, and the constants of tags."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.ledger import Manner, Site
from auditor.source.values import Atoms, Obj, Tags

MAX_PART_DEPTH = 4  # modules within modules that are objects of their own
PREFIX = -2  # stands for one in the tag of what stands before this process's share
PART = -1  # stands for a loop activation in tags that name a constant slice of a part of the stream
SLICES = (PART, PREFIX)  # tags of these say that a slice took a part of the stream
BORDER = -3  # in tags of what stands before a computed border (its number) and of what begins there (less its number)
RUNNING = -4  # in tags of what is taken from where the last iteration stopped (see `running`)
UP_TO, FROM = -5, -6  # in tags of what is taken of the whole stream before and from a known number of tokens on
PICKED, MODEL, HASHED = ("picked",), ("model",), ("hashed",)


@dataclass(frozen=True, slots=True)
class Learning:
    """One way in which `subject` came to depend on validation tokens; `tags` name the part of the stream."""

    subject: Obj
    attr: str
    tags: Tags
    manner: Manner
    site: Site
    calls: tuple[Site, ...]
    order: int
    live: frozenset[int]  # loops under way
    possible: bool  # only if a setting that nothing tells is on
    some: str = ""  # the choice of parameters that were changed; none where all of them were


@dataclass(frozen=True, slots=True)
class Printed:
    """A printed line: its template (None for a hole), what went into its holes, and where it was printed."""

    template: tuple[str | None, ...]
    atoms: Atoms
    site: Site
    calls: tuple[Site, ...]
    order: int
    sure: bool  # False: printed on a condition that only some iterations of a loop may meet
    open: bool = False  # printed on a condition that a setting may decide which nothing tells
