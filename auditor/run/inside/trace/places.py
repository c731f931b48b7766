"""Which line of the submission is executing: the innermost frame that is the submission's own, and the way to it."""

from __future__ import annotations

import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import FrameType

MOST_CALLS = 12
Place = tuple[str, int, str]  # path as the interpreter knows it, line, qualified function ("" at module level)

_LIBRARIES = tuple(
    dict.fromkeys(
        str(Path(path)) + "/"
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
        if (path := sysconfig.get_paths().get(name))
    )
)
_OWN = str(Path(__file__).resolve().parent.parent) + "/"


@lru_cache(maxsize=4096)
def is_submission(filename: str) -> bool:
    """Whether a code object of this file belongs to the submission: not a library, not the auditor's own."""
    if filename.startswith(("<frozen", "<__array_function__", "<attrs", "<torch")):
        return False
    return not filename.startswith((_OWN, *_LIBRARIES)) and "/site-packages/" not in filename


@lru_cache(maxsize=4096)
def _function(qualified: str) -> str:
    return "" if qualified == "<module>" else qualified.replace("<locals>.", "")


def _place(frame: FrameType) -> Place:
    code = frame.f_code
    return (code.co_filename, frame.f_lineno or 0, _function(code.co_qualname))


def here(depth: int = 1) -> tuple[Place, tuple[Place, ...]]:
    """The innermost place of the submission and the call path to it, outermost first (at most MOST_CALLS)."""
    frame: FrameType | None = sys._getframe(depth)
    found: list[Place] = []
    while frame is not None:
        if is_submission(frame.f_code.co_filename):
            found.append(_place(frame))
        frame = frame.f_back
    if not found:
        return ("", 0, ""), ()
    outer = found[:0:-1]
    if len(outer) > MOST_CALLS:
        outer = outer[: MOST_CALLS // 2] + outer[-MOST_CALLS // 2 :]
    return found[0], tuple(outer)


def library_frames(depth: int = 1) -> list[FrameType]:
    """Frames of libraries between the tracer and the innermost frame of the submission."""
    frame: FrameType | None = sys._getframe(depth)
    found: list[FrameType] = []
    while frame is not None and not is_submission(frame.f_code.co_filename):
        found.append(frame)
        frame = frame.f_back
    if frame is not None:
        found.append(frame)
    return found
