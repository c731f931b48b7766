"""The script's source inside a log, where the run printed it: between rulers, before ``Running Python``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_RULER = "=" * 100
_SOURCE_STARTS = re.compile(r'"""|\'\'\'|from \w|import \w|#|exec\(|\w{1,40}\s?=|@|def |class |_')
_MIN_LINES = 1
_MIN_UNRULED_LINES = 30
_ANCHOR = re.compile(r"from __future__ import|import (?:os|sys|copy|glob|math|torch|argparse|base64)\b")
_CODE = re.compile(r"^(?:def|class) \w{1,80}.{0,200}:", re.MULTILINE)
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
    ruled = _between_rulers(lines)
    covered = [(source.first, source.last) for source in ruled]
    return sorted(ruled + _without_rulers(lines, covered), key=lambda source: source.first)


def _without_rulers(lines: Sequence[tuple[int, str]], covered: Sequence[tuple[int, int]]) -> list[EmbeddedSource]:
    """Sources that start with imports and end with a ``__main__`` block, at a ruler or at the first line of a log."""
    found: list[EmbeddedSource] = []
    index = 0
    while index < len(lines):
        number, raw = lines[index]
        inside = next((last for first, last in covered if first <= number <= last), 0)
        if inside or not _ANCHOR.match(raw):
            index += 1
            continue
        end = _end(lines, index, covered)
        text = "\n".join(raw_line.rstrip("\r") for _, raw_line in lines[index:end])
        if end - index >= _MIN_UNRULED_LINES and _CODE.search(text):
            found.append(EmbeddedSource(text, number, lines[end - 1][0]))
        index = max(end, index + 1)
    return found


def _end(lines: Sequence[tuple[int, str]], start: int, covered: Sequence[tuple[int, int]]) -> int:
    """Index behind the last line of the source that begins at `start`."""
    main = False
    for index in range(start, len(lines)):
        number, raw = lines[index]
        if main and raw.strip() and not raw.startswith((" ", "\t")):
            return index
        if raw.startswith("if __name__"):
            main = True
        elif _is_ruler(raw) or _LOG_LINE.match(raw) or any(first == number for first, _ in covered):
            return index
    return len(lines)


def _between_rulers(lines: Sequence[tuple[int, str]]) -> list[EmbeddedSource]:
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
