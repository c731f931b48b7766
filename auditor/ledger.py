"""The ledger: what happened to validation tokens, and in which order.

Its law: every claim about evaluation order is a statement about events on regions of the validation stream. A region
was *scored* (its loss entered a reported sum), *learned from* (a gradient, count or statistic of it changed something
that later predictions depend on), or only *read*. The source witness writes ledgers with symbolic regions ("the part
that iteration i of the loop at line 412 takes"), the run witness with intervals of positions; rules read both alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

RULES_OF_SCORING = ("C1", "C2", "C3", "C4")  # codes of the rules that are judged by what a printed score was made of


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the audited source: path, line from 1, the enclosing function's name ("" at module level)."""

    path: str
    line: int
    function: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the validation stream, for a reader: "all of val_tokens", "chunk ci of the loop at 412"."""

    text: str


class Manner(StrEnum):
    """How a predictor came to depend on validation tokens."""

    GRADIENT = "gradient step"
    ARITHMETIC = "direct parameter update"
    CACHE = "counts or cache"
    STATISTICS = "statistics"
    SELECTION = "selection by validation score"
    CALIBRATION = "calibration"


@dataclass(frozen=True, slots=True)
class Learned:
    """A predictor (`subject`, e.g. "base_model") changed through `region`.

    `calls` is the call path from the script's entry point to `site`, outermost first.
    """

    region: Region
    subject: str
    manner: Manner
    site: Site
    calls: tuple[Site, ...] = ()
    text: str = ""  # the source line


@dataclass(frozen=True, slots=True)
class Metric:
    """A printed validation metric: the template of its line, where it is printed, whether it carries the claim.

    `tied` is False for a reported metric that was guessed: no log prints a line like it. `breaks` holds the codes of
    the rules that the score certainly breaks, None where nobody asked, and for values during training.
    """

    label: str
    site: Site
    calls: tuple[Site, ...] = ()
    reported: bool = False
    why: str = ""  # how it was found to be (or not to be) the reported one
    tied: bool = True
    breaks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """A prediction for `region` entered `metric`. `after` lists what its predictor had learned from overlapping regions
    before the prediction was made: for a rule-abiding submission it is empty."""

    region: Region
    metric: Metric
    site: Site
    calls: tuple[Site, ...] = ()
    after: tuple[Learned, ...] = ()
    definite: bool = True  # False: the overlap or the order is possible, not proved
    doubt: str = ""  # why it is not definite


@dataclass(frozen=True, slots=True)
class Violation:
    """Something else a witness saw that a rule forbids, in the rule's own terms (`rule` is its code)."""

    rule: str
    message: str
    sites: tuple[tuple[Site, str], ...]  # in the order to read them, each with what happens there
    definite: bool
    doubt: str = ""
    kind: str = ""  # of violations that a rule treats apart


PART_OF_THE_TEXT = "part of the text"
LOOKS_AHEAD = "looks ahead"  # a model's own code, whatever the switches of the evaluation are
BRANCH_NOT_TAKEN = (  # a note: what learns in that branch did not learn in the reported run
    "the settings switch this branch on, but the run behind the claim did not take it: its log has lines printed "
    "before and behind the branch, and none of the branch's own"
)


@dataclass(frozen=True, slots=True)
class LateRead:
    """The model reads training tokens at `site` after its last training step, and learns nothing by a gradient.

    `stop_seconds` is the time at which the training loop stops by its own clock, `step_limit` the number of steps after
    which it stops in any case; None where the script does not tell.
    """

    site: Site
    calls: tuple[Site, ...] = ()
    stop_seconds: float | None = None
    step_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Blind:
    """Something the witness could not see through, and why; `matters_for` are rule codes it leaves undecided."""

    reason: str
    site: Site
    matters_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Something the witness could not test, and why; it decides nothing, so other witnesses' word stands."""

    reason: str
    matters_for: tuple[str, ...] = ()  # rule codes


@dataclass(frozen=True, slots=True)
class Ledger:
    """One witness's history of one run. `finished` is False when a bound struck before the end."""

    metrics: tuple[Metric, ...] = ()
    scored: tuple[Scored, ...] = ()
    learned: tuple[Learned, ...] = ()
    violations: tuple[Violation, ...] = ()
    blind: tuple[Blind, ...] = ()
    late_reads: tuple[LateRead, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    notes: tuple[tuple[Site, str], ...] = ()  # e.g. "test-time training is present, off in the reported run"
    finished: bool = True
    why_unfinished: str = ""
