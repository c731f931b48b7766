"""The shape of a rule: the page a reader needs, and the judgement over the evidence.

One module a rule. A module holds `RULE` (its text in plain words, sources, dated precedents, what each witness can
say, blind spots, a legal and an illegal example, which are its tests), its thresholds, and
``judge(evidence: Evidence) -> RuleResult``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from auditor.findings import Claim, RuleResult, Witness

if TYPE_CHECKING:
    from auditor.configuration import RunConfiguration
    from auditor.ledger import Ledger
    from auditor.record.model import Record
    from auditor.rescore.model import RescoreReport
    from auditor.submission.model import Submission


@dataclass(frozen=True, slots=True)
class Precedent:
    """A ruling: when, where ("#568"), by whom, and what was decided, in our own words."""

    day: date
    reference: str
    ruled_by: str
    decision: str


@dataclass(frozen=True, slots=True)
class ValidationText:
    """The text that scores are computed on. The challenge's own is `FINEWEB_50K`; toy examples bring another one."""

    name: str
    text_bytes: int  # UTF-8 bytes of the whole validation text
    official: bool


FINEWEB_50K = ValidationText("FineWeb validation split, 50,000 documents", 151_080_891, official=True)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the witnesses found out about one submission. A witness that was not asked, or could not, is None."""

    submission: Submission
    configuration: RunConfiguration
    record: Record
    source: Ledger | None = None
    run: Ledger | None = None
    rescore: RescoreReport | None = None
    text: ValidationText = FINEWEB_50K
    as_of: date | None = None  # judge by what was known on this day; None: the PR's creation time, else today
    claim: Claim = field(default_factory=Claim)
    not_checked: Mapping[Witness, str] = field(default_factory=dict)  # why a witness is None


@dataclass(frozen=True, slots=True)
class Example:
    """A minimal submission folder, file name -> content, and the configuration-free verdict it must get."""

    files: Mapping[str, str]
    explanation: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule's page."""

    code: str
    title: str
    text: str  # the rule in plain words, paragraphs separated by blank lines
    sources: tuple[str, ...]
    precedents: tuple[Precedent, ...]
    witnesses: Mapping[Witness, str]  # what each witness can say about it
    legal: Example
    illegal: Example
    blind_spots: tuple[str, ...]
    judge: Callable[[Evidence], RuleResult]
    in_force: date | None = None  # the first ruling that states it; None: from the start of the challenge
