"""The script's source inside a log, where the run printed it: between rulers, before ``Running Python``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_RULER = "=" * 100
_SOURCE_STARTS = re.compile(r'"""|\'\'\'|from \w|import \w|#|exec\(|\w{1,40}\s?=|@|def |class |_')
_MIN_LINES = 1
_LOG_LINE = re.compile(
    r"(?:seed:\d|train_loader:|val_loader:|val_bpb:enabled|model_params:\d|world_size:\d|warmup_step:\d|step:\d+/\d|"
    r"Serialized model|Total submission size|Code size: \d|stopping_early:|final_\w{1,60} val_loss:\d|peak memory|"
    r"logs/)"
)


@dataclass(frozen=True, slots=True)
class EmbeddedSource:
    """`text` of a script found in a log; `first` and `last` are line numbers from 1, both part of it.

    Two writers of one file (the script and ``tee``) overwrite each other: then log lines stand where the source began,
    and `text` is what is left of it. `damaged` says so.
    """

    text: str
    first: int
    last: int
    damaged: bool = False


def embedded_sources(lines: Sequence[tuple[int, str]]) -> list[EmbeddedSource]:
    """Every embedded source of a log, in order. `lines` are numbered raw lines."""
    found = []
    start_of_run = 0
    for index, (_, raw) in enumerate(lines):
        if not _is_ruler(raw) or index + 1 >= len(lines) or "Running Python" not in lines[index + 1][1]:
            continue
        begin = _begin(lines, start_of_run, index)
        if begin is not None and index - begin >= _MIN_LINES:
            overwritten = max((at for at in range(begin, index) if _LOG_LINE.match(lines[at][1])), default=-2)
            begin = max(begin, overwritten + 2)  # the line behind the last log line is the rest of one
            text = "\n".join(_unprefixed(raw_line) for _, raw_line in lines[begin:index])
            if begin < index and _looks_like_source(text):
                found.append(EmbeddedSource(text, lines[begin][0], lines[index - 1][0], overwritten >= 0))
        start_of_run = index + 1
    return found


def _is_ruler(raw: str) -> bool:
    return len(raw) < 160 and _unprefixed(raw).strip() == _RULER


def _unprefixed(raw: str) -> str:
    return raw.rstrip("\r")


def _begin(lines: Sequence[tuple[int, str]], start: int, ruler: int) -> int | None:
    """Index of the source's first line: behind a ``Source code:`` ruler, else the first that can begin a script."""
    for index in range(ruler - 1, start - 1, -1):
        if _is_ruler(lines[index][1]):
            if index > start and lines[index - 1][1].strip() == "Source code:":
                return index + 1
            if index > start and _is_ruler(lines[index - 1][1]):
                return index + 1
            break
    for index in range(start, ruler):
        if _SOURCE_STARTS.match(lines[index][1]):
            return index
    return None


def _looks_like_source(text: str) -> bool:
    head = text[:200_000]
    return "import " in head or "exec(" in head or "def " in head
