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
    """Count one call of the stand-in `name`. The first is reported at once, the others at the end of the run."""
    _calls[name] += 1
    if _calls[name] == 1 and _reporter is not None:
        report("standin", name=name, calls=1)


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
    """The calls after the first of each stand-in, one record each: the sum over a name's records is its count."""
    for name, count in calls().items():
        if count > 1:
            report("standin", name=name, calls=count - 1)
