"""Statuses of one pull request's script before and after renaming, under one and the same run configuration.

Settings are looked up by environment variable, which renaming leaves alone; so logs that print the attributes of a
hyperparameter block go on deciding the same switches.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from auditor.configuration import RunConfiguration, derive_configuration
from auditor.findings import Witness
from auditor.ledger import Ledger
from auditor.record import read_record
from auditor.record.model import Record
from auditor.source import witness
from auditor.submission.load import load_pull_request
from auditor.submission.model import SourceText, Submission
from benchmarks.renaming.renamer import Disguise, Renamed, rename, unparsed
from rules import RULES as RULEBOOK
from rules.base import Evidence

RULES = ("C1", "C2", "C3", "C4", "TRAINDATA", "PAIDPREFIX", "EXTERNAL")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one text of the script led to. `shape` counts the ledger's entries of each kind."""

    statuses: Mapping[str, str]
    reasons: Mapping[str, str]
    shape: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """A rule whose status changed. `layout`: it changes without renaming too, by comments, docstrings or layout."""

    rule: str
    before: str
    after: str
    reason_before: str
    reason_after: str
    layout: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One pull request. `error`: why it was not compared ("" if it was)."""

    pull_request: int
    statuses: Mapping[str, str] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    shape_before: Mapping[str, int] = field(default_factory=dict)
    shape_after: Mapping[str, int] = field(default_factory=dict)
    renamed: int = 0  # names that changed
    kept: int = 0  # own names that stayed
    error: str = ""


class _OutOfTimeError(BaseException):
    """Not an Exception: a witness that survives its own errors must not survive this one."""


def compare(git_dir: Path, pull_request: int, disguise: Disguise, limit_seconds: float = 120.0) -> Comparison:
    """Read, rename and read again, in this process. Stops after `limit_seconds` of wall-clock time."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _OutOfTimeError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_seconds)
    try:
        return _compare(git_dir, pull_request, disguise)
    except _OutOfTimeError:
        return Comparison(pull_request, error=f"stopped after {limit_seconds:g} s")
    except Exception as error:  # one submission that breaks the auditor must not end the comparison
        return Comparison(pull_request, error=f"{type(error).__name__}: {error}"[:200])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


def _compare(git_dir: Path, pull_request: int, disguise: Disguise) -> Comparison:
    submission = load_pull_request(git_dir, pull_request)
    if submission.script is None:
        return Comparison(pull_request, error="no script")
    record = read_record(submission)
    configuration = derive_configuration(submission, record)
    sources = parsable(submission)
    if submission.script.path not in sources:
        return Comparison(pull_request, error="the script does not parse")
    renamed = deep(lambda: rename(sources, disguise))
    before = read(submission, configuration, record)
    after = read(rewritten(submission, renamed.sources), configuration, record)
    changed = [rule for rule in before.statuses if before.statuses[rule] != after.statuses[rule]]
    plain = read(rewritten(submission, deep(lambda: unparsed(sources))), configuration, record) if changed else before
    return Comparison(
        pull_request,
        before.statuses,
        tuple(_difference(rule, before, after, plain) for rule in changed),
        before.shape,
        after.shape,
        len(renamed.names),
        _kept(renamed),
    )


def _difference(rule: str, before: Reading, after: Reading, plain: Reading) -> Difference:
    return Difference(
        rule,
        before.statuses[rule],
        after.statuses[rule],
        before.reasons[rule],
        after.reasons[rule],
        plain.statuses[rule] == after.statuses[rule],
    )


def _kept(renamed: Renamed) -> int:
    return sum(not (name.startswith("__") and name.endswith("__")) for name in renamed.kept)


def parsable(submission: Submission) -> dict[str, str]:
    """The submission's Python texts that parse, by path."""
    texts: dict[str, str] = {}
    for source in (submission.script, *submission.helpers):
        if source is not None and _parses(source.text):
            texts.setdefault(source.path, source.text)
    return texts


def _parses(text: str) -> bool:
    try:
        compile(text, "script", "exec", flags=0x400, dont_inherit=True)  # ast.PyCF_ONLY_AST: parsed, never run
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def rewritten(submission: Submission, texts: Mapping[str, str]) -> Submission:
    """The same submission with other Python texts."""

    def swap(source: SourceText) -> SourceText:
        return replace(source, text=texts.get(source.path, source.text))

    script = swap(submission.script) if submission.script is not None else None
    files = tuple(
        replace(item, data=texts[item.path].encode("utf-8", "replace"), tail=b"") if item.path in texts else item
        for item in submission.files
    )
    return replace(submission, script=script, helpers=tuple(map(swap, submission.helpers)), files=files)


def read(submission: Submission, configuration: RunConfiguration, record: Record) -> Reading:
    """What the order rules say about one text of the script."""
    ledger = witness(submission, configuration, record)
    silent = {} if ledger else {Witness.SOURCE: "the script does not parse as Python"}
    evidence = Evidence(submission, configuration, record, ledger, not_checked=silent)
    results = {code: RULEBOOK[code].judge(evidence) for code in RULES if code in RULEBOOK}
    return Reading(
        {code: str(result.status) for code, result in results.items()},
        {code: result.reason for code, result in results.items()},
        shape_of(ledger) if ledger else {},
    )


def shape_of(ledger: Ledger) -> dict[str, int]:
    """How many entries of each kind a ledger has: the same history has the same shape, whatever its names."""
    shape = {
        "metrics": len(ledger.metrics),
        "scored": len(ledger.scored),
        "scored after learning": sum(bool(item.after) for item in ledger.scored),
        "learned": len(ledger.learned),
        "blind": len(ledger.blind),
        "finished": int(ledger.finished),
    }
    for violation in ledger.violations:
        shape[f"violations {violation.rule}"] = shape.get(f"violations {violation.rule}", 0) + 1
    return shape


def deep[T](work: Callable[[], T], depth: int = 12_000) -> T:
    """Run `work` with room for deeply nested syntax trees."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, depth))
    try:
        return work()
    finally:
        sys.setrecursionlimit(limit)
