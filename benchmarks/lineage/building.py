"""From labelled pull requests to fingerprints of the functions that their rulings are about.

A ruling is about a submission, a fingerprint about one function of it, so the step between must be careful:

- Of a submission ruled illegal only those functions count that the source witness names as the cause, under a rule
  that the ruling names. A rejected submission's other functions may be copies of accepted ones.
- Of an accepted submission every function counts that learned from or scored validation tokens.
- A function that any submission called legal has, by whomever and wherever in its scripts, or that a record of the
  leaderboard has, is never one that was ruled out: what a ruling closes is often a second call of an innocent
  function. One that any submission called illegal breaks a rule with is never one that was accepted.
"""

from __future__ import annotations

import ast
import signal
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from auditor.configuration import derive_configuration
from auditor.ledger import Ledger, Scored, Site
from auditor.record import read_record
from auditor.source import witness
from auditor.source.lineage import Precedent, evaluation_sites, fingerprint, functions_around
from auditor.submission import syntax
from auditor.submission.load import load_pull_request
from auditor.submission.model import SourceText
from benchmarks.accuracy.labels import Label

ORDER_RULES = ("C1", "C2", "C3", "C4")
_BY_ORDER = ("C3", "C4")  # broken by what was learned before it was scored


@dataclass(frozen=True, slots=True)
class Ruling:
    """What people said about one pull request. `weight`: "ruling" by organizers, else "opinion"."""

    pull_request: int
    legal: bool
    weight: str
    rules: tuple[str, ...]
    day: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A function of one submission. `causes`: rules that the witness sees broken through it."""

    fingerprint: str
    scores: bool
    causes: frozenset[str]


def rulings(labels: Iterable[Label], days: Mapping[tuple[int, str], str]) -> list[Ruling]:
    """One ruling for each pull request that has a usable label; `days`: (number, verdict) -> ISO date.

    Labels whose code was changed afterwards say nothing about the code at hand; a pull request with verdicts of both
    kinds counts by the organizers'.
    """
    said: dict[int, list[Label]] = {}
    for label in labels:
        if label.verdict in ("illegal", "legal") and not label.head_may_differ:
            said.setdefault(label.pull_request, []).append(label)
    found = []
    for number, verdicts in sorted(said.items()):
        weighty = [label for label in verdicts if label.group == "organizer"]
        chosen = weighty or verdicts
        illegal = [label for label in chosen if label.verdict == "illegal"]
        limited = any(label.rules for label in chosen) and not illegal
        broken = {rule for label in illegal for rule in label.rules}
        rules = tuple(rule for rule in ORDER_RULES if rule in broken)
        if (illegal and not rules) or limited:
            continue
        day = days.get((number, "illegal" if illegal else "legal"), "")
        found.append(Ruling(number, not illegal, "ruling" if weighty else "opinion", rules, day))
    return found


def occurrences(script: SourceText, ledger: Ledger) -> list[Occurrence]:
    """The functions of `script` that learn from or score validation tokens, with the rules broken through them."""
    try:
        tree = ast.parse(script.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    causes: dict[Site, set[str]] = {}
    for scored in ledger.scored:
        if scored.metric.reported and scored.definite:
            for site in _cause_sites(scored):
                causes.setdefault(site, set()).update(_BY_ORDER)
    for violation in ledger.violations:
        for site, _ in violation.sites:
            causes.setdefault(site, set()).add(violation.rule)
    learned = {site for event in ledger.learned for site in (*event.calls, event.site)}
    found: dict[str, Occurrence] = {}
    for site in evaluation_sites(ledger):
        for function in functions_around(tree, [site]) if site.path == script.path and site.function else ():
            mark = fingerprint(function)
            old = found.get(mark, Occurrence(mark, True, frozenset()))
            scores = old.scores and site not in learned
            if mark:
                found[mark] = Occurrence(mark, scores, old.causes | causes.get(site, set()))
    return list(found.values())


def fingerprints(sources: Iterable[SourceText]) -> frozenset[str]:
    """Those of all functions in `sources`, called or not."""
    trees = (syntax.parse(source.text).tree for source in sources)
    functions = (node for tree in trees if tree is not None for node in syntax.survey(tree).functions)
    return frozenset(map(fingerprint, functions)) - {""}


def _cause_sites(scored: Scored) -> list[Site]:
    """Where learning before scoring comes from: from the function in which the two call paths part, inwards."""
    sites: list[Site] = []
    for learned in scored.after:
        shared = 0
        for one, other in zip(learned.calls, scored.calls, strict=False):
            if (one.path, one.line) != (other.path, other.line):
                break
            shared += 1
        path = [*learned.calls, learned.site]
        sites += path[max(shared, 2) :] or path[-1:]
    return sites


def build(
    rulings: Sequence[Ruling],
    occurrences: Mapping[int, Sequence[Occurrence]],
    innocent: Collection[str] = (),
) -> dict[str, Precedent]:
    """The table: for each function that was ruled on one way only, its earliest ruling.

    `occurrences`: pull request -> functions. Opinions give no entry but keep ambiguous functions out. `innocent` are
    the fingerprints of all functions in accepted scripts and in those called legal.
    """
    accepted: set[str] = set(innocent)
    ruled_out: set[str] = set()
    first: dict[tuple[str, bool], tuple[str, int, Precedent]] = {}
    for ruling in rulings:
        for item in occurrences.get(ruling.pull_request, ()):
            broken = tuple(rule for rule in ruling.rules if rule in item.causes)
            if not ruling.legal and not broken:
                continue
            (accepted if ruling.legal else ruled_out).add(item.fingerprint)
            if ruling.weight != "ruling" or (ruling.legal and item.causes):
                continue
            entry = Precedent(ruling.pull_request, ruling.day, broken, ruling.legal, item.scores)
            candidate = (ruling.day or "9999", ruling.pull_request, entry)
            key = (item.fingerprint, ruling.legal)
            if key not in first or candidate[:2] < first[key][:2]:
                first[key] = candidate
    return {
        mark: entry
        for (mark, legal), (_, _, entry) in sorted(first.items())
        if mark not in (ruled_out if legal else accepted)
    }


def stored(table: Mapping[str, Precedent]) -> dict[str, object]:
    """The table as it is written: hashes, numbers, dates and codes, no text of anybody's."""
    return {
        "schema": "pgolf-audit-lineage/1",
        "functions": {
            mark: [entry.pull_request, entry.day, " ".join(entry.rules), int(entry.legal), int(entry.scores)]
            for mark, entry in sorted(table.items())
        },
    }


class _OutOfTimeError(BaseException):
    """Not an Exception: a witness that survives its own errors must not survive this one."""


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of one pull request: those at its evaluation, and the fingerprints of all.

    `missing` is why there are none at its evaluation ("" otherwise).
    """

    pull_request: int
    at_evaluation: Sequence[Occurrence] = ()
    everywhere: frozenset[str] = frozenset()
    missing: str = ""


def read_functions(git_dir: Path, pull_request: int, limit_seconds: float) -> Functions:
    """The functions of one pull request, in this process."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _OutOfTimeError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_seconds)
    try:
        return _read(git_dir, pull_request)
    except _OutOfTimeError:
        return Functions(pull_request, missing=f"stopped after {limit_seconds:g} s")
    except Exception as error:  # one submission that breaks the auditor must not end the build
        return Functions(pull_request, missing=f"{type(error).__name__}: {error}"[:200])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


def _read(git_dir: Path, pull_request: int) -> Functions:
    submission = load_pull_request(git_dir, pull_request)
    if submission.script is None:
        return Functions(pull_request, missing="no script")
    everywhere = fingerprints((submission.script, *submission.helpers))
    record = read_record(submission)
    ledger = witness(submission, derive_configuration(submission, record), record)
    if ledger is None:
        return Functions(pull_request, (), everywhere, "the script does not parse")
    found = occurrences(submission.script, ledger)
    why = "" if found else "no function learns from or scores validation tokens"
    return Functions(pull_request, found, everywhere, why)
