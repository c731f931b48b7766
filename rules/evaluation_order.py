"""How the rules about evaluation read ledgers: what is an accusation, what needs a person, what could not be checked.

The law, the same for every witness: a definite violation is a ``fail``; a possible one is a ``review``; what the
witness could not see through, and what it could not finish, is a ``review`` for each rule it leaves undecided. Only a
ledger that was finished and saw everything the rule asks about is a ``pass``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

from auditor.findings import Finding, RuleResult, Status, Step, Witness, conclude
from auditor.ledger import BRANCH_NOT_TAKEN, RULES_OF_SCORING, Blind, Learned, Ledger, Scored, Violation
from auditor.record.claimed_line import nothing_reported, scored_logs
from auditor.record.model import Record
from rules.as_submitted import as_submitted, share_doubt
from rules.base import Evidence
from rules.order_story import learner_key, order_finding, violation_finding

SCORE_BEFORE_UPDATE = "C3"
FAR_BPB = 0.02  # between a claim and a score that is not its own; the mean of seeds is nearer to each
MAX_PLACES = 6  # places listed for one reason


def ledgers(evidence: Evidence) -> Iterator[tuple[Witness, Ledger]]:
    """The ledgers at hand, each with its witness."""
    if evidence.source is not None:
        yield Witness.SOURCE, evidence.source
    if evidence.run is not None:
        yield Witness.RUN, evidence.run


def not_checked(code: str, evidence: Evidence) -> RuleResult | None:
    """The result when no witness of evaluation order could testify, None when one did."""
    if any(True for _ in ledgers(evidence)):
        return None
    if evidence.submission.script is None:
        problems = "; ".join(f"{problem.path}: {problem.message}" for problem in evidence.submission.problems[:1])
        reason = f"there is no script to read{f' ({problems})' if problems else ''}"
    else:
        reason = evidence.not_checked.get(Witness.SOURCE) or "the source witness was not asked"
    return RuleResult(code, Status.NOT_CHECKED, reason)


def judge_ledgers(
    code: str, evidence: Evidence, *, passed: str, in_force: date | None = None, found: Sequence[Finding] = ()
) -> RuleResult:
    """The result of rule `code` from the violations and the blind spots that the ledgers hold for it.

    `found` are findings that the rule has made itself. `passed` is the reason given when nothing was found. When the
    caller judges by the knowledge of a day before `in_force`, an accusation becomes a question.
    """
    unheard = not_checked(code, evidence)
    if unheard is not None and not found:
        return unheard
    findings = list(found)
    for witness, ledger in ledgers(evidence):
        doubt = reported_score_doubt(evidence, ledger) if code in RULES_OF_SCORING else ""
        doubt = doubt or share_doubt(code, evidence.record, ledger)
        for violation in ledger.violations:
            if violation.rule == code:
                findings.append(violation_finding(_doubted(violation, doubt), witness))
        findings += blind_findings(code, ledger, witness)
    if nothing_reported(evidence.record):
        findings = [as_submitted(finding) for finding in findings]
    if in_force and evidence.as_of and evidence.as_of < in_force:
        findings = [_before_the_ruling(finding, in_force) for finding in findings]
    untested = [finding for finding in findings if finding.status is Status.NOT_CHECKED]
    if unheard is None and evidence.source is None and untested:
        unheard = RuleResult(code, Status.NOT_CHECKED, untested[0].message)
    if unheard is not None and not any(finding.status in (Status.FAIL, Status.REVIEW) for finding in findings):
        return replace(unheard, findings=tuple(findings))
    return conclude(code, findings, passed=passed)


def reported_score_doubt(evidence: Evidence, ledger: Ledger) -> str:
    """Why the score that a ledger follows may not be the reported one; "" when there is no reason to think so.

    Where logs print scores, and none is printed by a line like the one that was followed, other code made the score.
    Without any log the script as it stands is all there is to judge.
    """
    if ledger is evidence.run and evidence.source is not None and _lacks_a_branch(evidence.source):
        return "this run took a branch that learns and that, by its log, the reported run did not take"
    reported = [metric for metric in ledger.metrics if metric.reported]
    if reported and _claims_another_score(evidence.record):
        return "every score that the logs print is far from the claimed one, so they may be of other runs"
    if not reported or any(metric.tied for metric in reported) or not scored_logs(evidence.record):
        return ""
    return "no log prints a line like the one followed here, so the reported score may come from other code"


def _lacks_a_branch(source: Ledger) -> bool:
    """Whether the reported run left out what the script does under the same settings, as far as these are known."""
    return any(text == BRANCH_NOT_TAKEN for _, text in source.notes)


def _claims_another_score(record: Record) -> bool:
    """True when the logs print scores, and none is near the claim."""
    claimed = record.statement.val_bpb
    printed = [line.val_bpb for log in record.logs for line in log.final_metrics if line.val_bpb is not None]
    return claimed is not None and bool(printed) and min(abs(score - claimed) for score in printed) > FAR_BPB


def _doubted[Event: (Scored, Violation)](event: Event, doubt: str) -> Event:
    return replace(event, definite=False, doubt=doubt) if doubt and event.definite else event


def blind_findings(code: str, ledger: Ledger, witness: Witness) -> list[Finding]:
    """One review for each reason why the witness could not see what rule `code` asks about."""
    saw_a_score = any(scored.metric.reported for scored in ledger.scored)
    places: dict[str, list[Blind]] = {}
    for blind in ledger.blind:
        # What hides the scoring itself may hide anything: then no rule about evaluation is decided.
        if code in blind.matters_for or (not saw_a_score and SCORE_BEFORE_UPDATE in blind.matters_for):
            places.setdefault(blind.reason, []).append(blind)
    findings = [_blind_finding(reason, blinds, witness) for reason, blinds in places.items()]
    findings += [
        Finding(Status.NOT_CHECKED, witness, untested.reason)
        for untested in ledger.unchecked
        if code in untested.matters_for
    ]
    if not ledger.finished:
        why = ledger.why_unfinished or "a bound was reached"
        findings.append(Finding(Status.REVIEW, witness, f"the script was not followed to its end: {why}"))
    return findings


def order_findings(evidence: Evidence) -> list[Finding]:
    """One finding for each learner whose update came before a reported score of the same tokens."""
    findings: list[Finding] = []
    for witness, ledger in ledgers(evidence):
        doubt = reported_score_doubt(evidence, ledger) or share_doubt(SCORE_BEFORE_UPDATE, evidence.record, ledger)
        for learned, scored in _by_learner(ledger):
            first = _doubted(scored[0], doubt)
            findings.append(order_finding(learned, first, len(scored) - 1, evidence.submission, witness))
    return findings


def _by_learner(ledger: Ledger) -> Iterator[tuple[list[Learned], list[Scored]]]:
    """Learning events of one learner, and the reported scores that came after it, the definite ones first."""
    learned_of: dict[tuple[object, ...], list[Learned]] = {}
    scored_of: dict[tuple[object, ...], list[Scored]] = {}
    reported = [scored for scored in ledger.scored if scored.metric.reported and scored.after]
    for scored in sorted(reported, key=lambda item: not item.definite):
        for learned in scored.after:
            key = learner_key(learned, scored)
            events = learned_of.setdefault(key, [])
            if all(event.site != learned.site for event in events):
                events.append(learned)
            scores = scored_of.setdefault(key, [])
            if all(score.site != scored.site for score in scores):
                scores.append(scored)
    for key, events in learned_of.items():
        yield events, scored_of[key]


def unscored_findings(code: str, evidence: Evidence) -> list[Finding]:
    """A review when a ledger holds no reported score and does not say why: then nothing is known about the order.

    A run proves by what it printed; where its tracer lost sight of the order it says so, and the source decides.
    """
    return [
        Finding(
            Status.REVIEW,
            witness,
            "no reported score of validation tokens was found in the script, so how they are scored is not known",
        )
        for witness, ledger in ledgers(evidence)
        if witness is not Witness.RUN
        and not any(scored.metric.reported for scored in ledger.scored)
        and not blind_findings(code, ledger, witness)
    ]


def _blind_finding(reason: str, blinds: list[Blind], witness: Witness) -> Finding:
    steps = [
        Step(blind.site.path, blind.site.line, f"in {blind.site.function or 'the script'}")
        for blind in blinds[:MAX_PLACES]
        if blind.site.line
    ]
    more = f" ({len(blinds)} places)" if len(blinds) > MAX_PLACES else ""
    first = blinds[0].site
    message = f"could not be seen: {reason}{more}"
    return Finding(Status.REVIEW, witness, message, path=first.path, line=first.line, steps=tuple(steps))


def _before_the_ruling(finding: Finding, in_force: date) -> Finding:
    if finding.status is not Status.FAIL:
        return finding
    message = f"{finding.message} (the rule was stated on {in_force.isoformat()}, after the day asked about)"
    return replace(finding, status=Status.REVIEW, message=message)
