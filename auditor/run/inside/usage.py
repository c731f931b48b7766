"""Which stand-ins a run used, and how often: the report names each of them once.

A stand-in replaces a part of the machine that is not here (a GPU, a kernel, a clock that must not decide anything). It
never replaces a decision of the script: what it computes agrees with the original up to rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

_calls: Counter[str] = Counter()
_reporter: Callable[[dict[str, object]], None] | None = None
_said: set[str] = set()


def used(name: str) -> None:
    """Count one call of the stand-in `name`."""
    _calls[name] += 1


def calls() -> dict[str, int]:
    """How often each stand-in was used so far, by name."""
    return dict(sorted(_calls.items()))


def connect(reporter: Callable[[dict[str, object]], None] | None) -> None:
    """Send records through `reporter` from here on; None drops them."""
    global _reporter
    _reporter = reporter


def report(kind: str, **fields: object) -> None:
    """One record on the report channel, where there is one."""
    if _reporter is not None:
        _reporter({"kind": kind, **fields})


def note(text: str) -> None:
    """A remark for the reader of the report, made once."""
    if text not in _said:
        _said.add(text)
        report("note", text=text)


def forbidden(what: str) -> None:
    """An attempt at something that a submission may not do, such as a download."""
    if what not in _said:
        _said.add(what)
        report("guard", what=what)


def report_calls() -> None:
    """One record for each stand-in that was used; counting starts again."""
    for name, count in calls().items():
        report("standin", name=name, calls=count)
    _calls.clear()
