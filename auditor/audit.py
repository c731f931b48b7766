"""One audit: ask the witnesses, let every rule judge what they say, and lose nothing on the way.

A witness or a rule that breaks never ends the audit. It becomes an `Incident`, the rules that needed it are
``not_checked`` with the error named, and the verdict is at best ``review``: what nobody looked at is not in order.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.configuration import RunConfiguration, derive_configuration
from auditor.findings import Claim, Finding, RuleResult, Status, Verdict, Witness, verdict_status
from auditor.garbage import seldom_collected
from auditor.ledger import RULES_OF_SCORING, Ledger
from auditor.record import read_record
from auditor.record.claimed_line import match_claim
from auditor.record.model import Record, Statement
from auditor.source import witness
from auditor.submission.model import Submission
from rules.base import FINEWEB_50K, Evidence, Rule, ValidationText

if TYPE_CHECKING:
    from auditor.rescore.model import RescoreReport
    from auditor.rescore.witness import RescoreOptions
    from auditor.run.witness import RunOptions, RunReport

NOT_ASKED = "not asked"
INTERNAL_ERROR = "internal error while"
CLAIM_FOUND_BPB = 1e-3  # a logged score further from the claim is not what was claimed
_MESSAGE_LENGTH = 200  # of an internal error's text, which may quote the submission


@dataclass(frozen=True, slots=True)
class Incident:
    """An internal error that the audit survived: what was being done, and the error in one line."""

    during: str
    error: str


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A rule on which the source witness and the run witness would decide differently, each on its own."""

    rule: str
    source: Status
    run: Status


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Everything one audit found out; the reports are views of it.

    `heard` says of each witness "" when it testified, else why it did not. `alone` holds, when source and run
    witness were both heard, the statuses that each would give on its own to the rules that both can judge.
    """

    submission: Submission
    configuration: RunConfiguration
    record: Record
    verdict: Verdict
    source: Ledger | None = None
    run: RunReport | None = None
    rescore: RescoreReport | None = None
    alone: Mapping[Witness, Mapping[str, Status]] = field(default_factory=dict)
    text: ValidationText = FINEWEB_50K
    as_of: date | None = None
    heard: Mapping[Witness, str] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()

    @property
    def disagreements(self) -> tuple[Disagreement, ...]:
        """The rules on which one witness alone accuses and the other alone acquits."""
        source, run = self.alone.get(Witness.SOURCE, {}), self.alone.get(Witness.RUN, {})
        return tuple(
            Disagreement(code, source[code], run[code])
            for code in source
            if {source[code], run[code]} == {Status.FAIL, Status.PASS}
        )


@seldom_collected()
def audit(
    submission: Submission,
    *,
    as_of: date | None = None,
    text: ValidationText = FINEWEB_50K,
    run: RunOptions | None = None,
    rescore: RescoreOptions | None = None,
) -> AuditReport:
    """Audit one loaded submission.

    `as_of` judges by what was known on a day (None: the pull request's own creation time). `text` is the validation
    text that scores refer to. `run` and `rescore` ask for the witnesses that execute the submission in a sandbox.
    """
    auditor = _Auditor(submission)
    record, configuration = auditor.read_evidence()
    source = auditor.ask_source(configuration, record)
    ran = auditor.ask_run(configuration, record, source, run) if run else None
    if not run:
        auditor.heard[Witness.RUN] = NOT_ASKED
    rescored = auditor.ask_rescore(configuration, record, text, rescore) if rescore else None
    if not rescore:
        auditor.heard[Witness.RESCORE] = NOT_ASKED
    claim = auditor.attempt("the summary of the claim", lambda: _claim(record), Claim())
    evidence = Evidence(
        submission=submission,
        configuration=configuration,
        record=record,
        source=source,
        run=ran.ledger if ran else None,
        rescore=rescored,
        text=text,
        as_of=as_of,
        claim=claim,
        not_checked={silent: why for silent, why in auditor.heard.items() if why},
    )
    results = auditor.judge(evidence, asked={Witness.RUN: run is not None, Witness.RESCORE: rescore is not None})
    return AuditReport(
        submission=submission,
        configuration=configuration,
        record=record,
        verdict=Verdict(_status(results, lost=bool(auditor.incidents) or source is None), results, claim),
        source=source,
        run=ran,
        rescore=rescored,
        alone=auditor.compare(evidence),
        text=text,
        as_of=as_of,
        heard=dict(auditor.heard),
        incidents=tuple(auditor.incidents),
    )


class _Auditor:
    """Asks witnesses and rules one after another, turning their internal errors into incidents."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.heard: dict[Witness, str] = {}
        self.incidents: list[Incident] = []

    def attempt[T](self, during: str, work: Callable[[], T], fallback: T) -> T:
        """What `work` returns, or `fallback` after noting the error; memory and recursion errors included."""
        try:
            return work()
        except Exception as error:
            self.incidents.append(Incident(during, describe(error)))
            return fallback

    def read_evidence(self) -> tuple[Record, RunConfiguration]:
        """The record and the configuration of the reported run."""
        before = len(self.incidents)
        record = self.attempt("reading README, submission.json and logs", lambda: read_record(self.submission), _EMPTY)
        configuration = self.attempt(
            "deriving the run's configuration",
            lambda: derive_configuration(self.submission, record),
            RunConfiguration(),
        )
        self.heard[Witness.RECORD] = self._internal_error(before)
        return record, configuration

    def ask_source(self, configuration: RunConfiguration, record: Record) -> Ledger | None:
        """The source witness's ledger; None where there is no script, or no configuration to read it under.

        Defaults decide what a script does. Without the configuration of the reported run the witness would judge
        code that may have been off, so it is not asked.
        """
        if self.submission.script is None:
            self.heard[Witness.SOURCE] = "there is no script to read"
            return None
        if why := self.heard[Witness.RECORD]:
            self.heard[Witness.SOURCE] = f"the run's configuration is not known: {why}"
            return None
        before = len(self.incidents)
        ledger: Ledger | None = self.attempt(
            "following the script", lambda: witness(self.submission, configuration, record), None
        )
        unread = "" if ledger else "the script does not parse as Python"
        self.heard[Witness.SOURCE] = self._internal_error(before) or unread
        return ledger

    def ask_run(
        self, configuration: RunConfiguration, record: Record, source: Ledger | None, options: RunOptions
    ) -> RunReport | None:
        """The run witness's report; None where nothing could be run."""
        if self.submission.script is None or self.heard[Witness.RECORD]:
            self.heard[Witness.RUN] = self.heard[Witness.SOURCE]
            return None
        from auditor.run.witness import NotRunError, run_witness

        before = len(self.incidents)

        def work() -> RunReport | None:
            try:
                return run_witness(self.submission, configuration, record, source, options)
            except NotRunError as error:
                self.heard[Witness.RUN] = str(error)
                return None

        self.heard[Witness.RUN] = ""
        ran: RunReport | None = self.attempt("running the script", work, None)
        self.heard[Witness.RUN] = self._internal_error(before) or self.heard[Witness.RUN]
        return ran

    def ask_rescore(
        self, configuration: RunConfiguration, record: Record, text: ValidationText, options: RescoreOptions
    ) -> RescoreReport | None:
        """The rescore witness's report; None where nothing could be evaluated."""
        if self.submission.script is None or self.heard[Witness.RECORD]:
            self.heard[Witness.RESCORE] = self.heard[Witness.SOURCE]
            return None
        from auditor.rescore.witness import NotRescoredError, rescore_witness

        before = len(self.incidents)

        def work() -> RescoreReport | None:
            try:
                return rescore_witness(self.submission, configuration, record, text, options)
            except NotRescoredError as error:
                self.heard[Witness.RESCORE] = str(error)
                return None

        self.heard[Witness.RESCORE] = ""
        rescored: RescoreReport | None = self.attempt("evaluating the artifact again", work, None)
        self.heard[Witness.RESCORE] = self._internal_error(before) or self.heard[Witness.RESCORE]
        return rescored

    def compare(self, evidence: Evidence) -> dict[Witness, dict[str, Status]]:
        """What source and run witness would say without each other, of the rules of scoring.

        Stored data and access to the outside a toy run meets by chance only, so its silence there contradicts nobody.
        """
        if evidence.source is None or evidence.run is None:
            return {}
        from rules import RULES

        both = [RULES[code] for code in RULES_OF_SCORING if code in RULES]
        alone = {Witness.SOURCE: replace(evidence, run=None), Witness.RUN: replace(evidence, source=None)}
        return {
            witness: {rule.code: self._judge_one(rule, heard).status for rule in both}
            for witness, heard in alone.items()
        }

    def judge(self, evidence: Evidence, *, asked: Mapping[Witness, bool]) -> tuple[RuleResult, ...]:
        """Every rule's result, in the order of the rulebook."""
        from rules import RULES

        results = []
        for rule in RULES.values():
            result = self._judge_one(rule, evidence)
            for silent, wanted in asked.items():
                if wanted and silent in rule.witnesses and evidence.not_checked.get(silent):
                    note = Finding(Status.NOT_CHECKED, silent, evidence.not_checked[silent])
                    result = replace(result, findings=(*result.findings, note))
            results.append(result)
        return tuple(results)

    def _judge_one(self, rule: Rule, evidence: Evidence) -> RuleResult:
        unread = evidence.not_checked.get(Witness.RECORD)
        if unread and Witness.SOURCE not in rule.witnesses:
            return RuleResult(rule.code, Status.NOT_CHECKED, unread)  # an empty record is not evidence of absence
        before = len(self.incidents)
        result = self.attempt(f"judging {rule.code}", lambda: rule.judge(evidence), None)
        return result or RuleResult(rule.code, Status.NOT_CHECKED, self._internal_error(before))

    def _internal_error(self, before: int) -> str:
        """The first incident since there were `before` of them, as a reason; "" if there is none."""
        new = self.incidents[before:]
        return f"{INTERNAL_ERROR} {new[0].during}: {new[0].error}" if new else ""


_EMPTY = Record(statement=Statement(), logs=())


def describe(error: BaseException) -> str:
    """An exception in one line: its type, its message, and the innermost place in this program."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    place = f" ({Path(frames[-1].filename).name} line {frames[-1].lineno})" if frames else ""
    message = " ".join(str(error)[:_MESSAGE_LENGTH].split())
    return f"{type(error).__name__}{f': {message}' if message else ''}{place}"


def _status(results: tuple[RuleResult, ...], *, lost: bool) -> Status:
    """The verdict. A pass needs a rule that passes, and that nothing was `lost`: no internal error, the script read."""
    status = verdict_status(results)
    if status is Status.PASS and (lost or not any(result.status is Status.PASS for result in results)):
        return Status.REVIEW
    return status


def _claim(record: Record) -> Claim:
    """What is claimed, and what the logs say of it: the mean over seeds, or the run, that the claimed score equals."""
    statement = record.statement
    match = match_claim(record)
    found = match is not None and abs(match.difference) <= CLAIM_FOUND_BPB
    return Claim(
        val_bpb=statement.val_bpb if statement.val_bpb is not None else record.readme_bpb,
        val_loss=statement.val_loss,
        recomputed_bpb=match.value if match and found else None,
        recomputed_from=f"{match.kind}, {match.label!r}" if match and found else "",
        artifact_bytes=statement.artifact_bytes,
        seeds=tuple(seed.seed for seed in statement.seeds),
    )
