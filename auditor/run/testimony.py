"""From toy runs to a ledger: what the printed scores, the byte counts and the traced events prove.

The incompressibility test proves that one of C1 to C4 is broken, not which. It is entered under the rules for which
another observation (the source witness, the traced order) names the place; where nothing names one, under C1, whose
text covers it: a prediction is a function of the artifact and of the earlier tokens alone. The proof needs the number
of tokens in the printed mean. Where the tracer counted them it stands alone; where it could not, a second witness is
asked for, since a mean over part of the tokens divided by all of them is low without any leak.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from auditor.ledger import RULES_OF_SCORING, Blind, Ledger, Metric, Scored, Site, Unchecked, Violation
from auditor.run.byte_test import ByteCount, count_bytes
from auditor.run.events import PrintedNumber, Trace, ledger_of
from auditor.run.incompressibility import (
    EXACT_BYTES,
    FAIL_PROBABILITY,
    UNKNOWN_BYTES,
    Accounting,
    NullTest,
    combined_evidence,
    in_words,
    null_test,
    tail_left_out,
    unknown_accounting,
)
from auditor.run.model import Outcome, Size, Stage
from auditor.run.printed import PrintedMetric, Reported
from auditor.run.sandbox.noticed import noticed_in
from auditor.run.sources import Stream
from auditor.run.suffix_swap import PROVED_POSITIONS, SUMS_TO_ONE, Losses, SuffixSwap, losses_of

DEFAULT_RULE = "C1"
UNCOUNTED = (
    "which tokens its sum holds could not be counted, and nothing else speaks against it: a sum over part of the "
    "tokens, divided by all of them, would look the same"
)

ANOTHER_UNIT = "whether the printed loss is in nats a token is not known, and nothing else speaks against it"
TELLING_LENGTH = 3  # times the shorter stream: then a tail of the same length is a small part of the longer one
LEAST_BYTES = 0.8  # of the text's bytes, by a printed pair: below that the loss beside the bpb is no mean over tokens
SAME_MEAN = 1e-3  # relative, of the losses' mean and the printed one: half precision moves it by less
BPB_ONLY = "the score is printed in bits per byte only, and its byte count could be wrong instead"


def counted_accounting(stream: Stream, number: PrintedNumber) -> Accounting | None:
    """The accounting of a number that the tracer followed to its losses; None where it may be made of others.

    A position that is in the sum more than once counts twice, the fewest: more terms would be more evidence.
    """
    if number.coarse or number.tie not in ("flow", "one value"):
        return None
    times = np.ones(len(stream.tokens))
    times[0] = 0
    for intervals, count in ((number.repeated, 2.0), (number.missing, 0.0)):
        for first, last in intervals:
            times[max(first, 0) : last + 1] = count
    return Accounting(int(times.sum()), float(times @ stream.code_length), max(1, number.most))


@dataclass(frozen=True, slots=True)
class ToyRun:
    """One run of the script on one source, with what it printed and what the tracer saw.

    `text_bytes` is the exact byte count of the predicted text, `byte_mistakes` the counts that known mistakes give.
    `trace` is what the tracer reported, None for an untraced run.
    """

    stage: Stage
    stream: Stream
    outcome: Outcome
    metrics: tuple[PrintedMetric, ...]
    reported: Reported | None
    text_bytes: int = 0
    byte_mistakes: Mapping[str, int] = field(default_factory=dict)
    trace: Trace | None = None
    size: Size | None = None
    failure: str = ""  # why the run printed no final metric, classed

    @property
    def ledger(self) -> Ledger | None:
        """The traced order of scoring and learning."""
        if self.trace is None:
            return None
        raw = self.reported.metric.score.raw if self.reported else ""
        return ledger_of(self.trace, raw, self.reported.metric.score.label if self.reported else "")

    @property
    def losses(self) -> Losses | None:
        """The loss of each position behind the reported number; None where nobody asked, or sight was lost."""
        if self.reported is None:
            return None
        return losses_of(self.outcome.records, self.reported.metric.score.raw, len(self.stream.tokens))

    @property
    def marks(self) -> Losses | None:
        """A mark of the distribution behind each loss, (length,), NaN where the tracer did not see the whole of it."""
        if self.reported is None:
            return None
        return losses_of(self.outcome.records, self.reported.metric.score.raw, len(self.stream.tokens), "marks")

    @property
    def mass(self) -> Losses | None:
        """What the probabilities behind each loss sum to, (length,), NaN as for `marks`."""
        if self.reported is None:
            return None
        found = losses_of(self.outcome.records, self.reported.metric.score.raw, len(self.stream.tokens), "mass")
        return None if found is None or np.isnan(found).all() else found

    @property
    def loss_is_a_mean(self) -> bool:
        """Whether the reported loss is known to be in nats a token: a loss per byte would lie below every floor.

        Known by the bpb beside it, which fits the tokens and bytes of the text, or by the losses that the tracer saw.
        """
        if self.reported is None:
            return False
        score = self.reported.metric.score
        if not score.loss_text:
            return True  # bits per byte have no other unit
        count = count_bytes(score, len(self.stream.tokens) - 1, self.text_bytes)
        if count is not None:
            return LEAST_BYTES < count.factor < UNKNOWN_BYTES
        losses = self.losses
        if losses is None or not (~np.isnan(losses)).any() or not score.val_loss:
            return False
        return abs(float(np.nanmean(losses)) / score.val_loss - 1) < SAME_MEAN

    @property
    def accounting(self) -> Accounting | None:
        """The tracer's count of what the reported metric sums; None where it lost sight."""
        if self.trace is None or self.reported is None or not self.loss_is_a_mean:
            return None
        number = self.trace.number_of(self.reported.metric.score.raw)
        return counted_accounting(self.stream, number) if number else None

    @property
    def test(self) -> NullTest | None:
        """The incompressibility test of the reported metric."""
        return self.test_of(self.reported.metric) if self.reported else None

    def test_of(self, metric: PrintedMetric) -> NullTest | None:
        """The test of any printed metric, with the reported one's accounting where that was counted."""
        known = self.accounting if self.reported and metric == self.reported.metric else None
        accounting = known or unknown_accounting(self.stream)
        return null_test(self.stream, metric.score, accounting, self.text_bytes, self.byte_margin)

    @property
    def byte_margin(self) -> float:
        """How far the denominator of a bpb without a loss may be off: little where a pair of the run shows it exact."""
        count = self.byte_count
        return EXACT_BYTES if count is not None and abs(count.factor - 1) < EXACT_BYTES - 1 else UNKNOWN_BYTES

    @property
    def byte_count(self) -> ByteCount | None:
        """What the last metric that prints both a loss and a bpb says of the byte count."""
        predictions = len(self.stream.tokens) - 1
        own = [self.reported.metric] if self.reported else []
        for metric in (*own, *reversed(self.metrics)):
            count = count_bytes(metric.score, predictions, self.text_bytes, self.byte_mistakes)
            if count is not None:
                return count
        return None


def testify(
    runs: Sequence[ToyRun], source: Ledger | None, swap: SuffixSwap | None = None, left_out: Sequence[str] = ()
) -> Ledger:
    """The run witness's ledger.

    `source` is the source witness's, which may name the place; `left_out` names runs that were not made for lack of
    time.
    """
    traced = _traced(runs)
    finished = [run for run in runs if run.reported]
    if not finished:
        why = next((run.failure for run in runs if run.failure), "it printed no validation score")
        unfinished = (*traced.unchecked, Unchecked(why, RULES_OF_SCORING))
        return replace(traced, metrics=(), scored=(), notes=(), unchecked=unfinished)  # half an order is none
    metric = _metric(finished[0], source)
    if _adaptation_missing(finished, source):
        why = "the source witness sees learning from validation tokens that did not act in the run"
        traced = replace(traced, unchecked=(*traced.unchecked, Unchecked(why, RULES_OF_SCORING)))
    violations = [*traced.violations, *_null_violations(finished, traced, source, metric)]
    violations += _byte_violations(finished[0], metric)
    violations += _outward_violations(finished[0])
    violations += _swap_violations(swap, finished[0], metric)
    violations += _mass_violations(finished[0], metric)
    traced = replace(traced, scored=tuple(_under(entry, metric) for entry in traced.scored if entry.metric.reported))
    return replace(
        traced,
        metrics=(metric,),
        violations=tuple(violations),
        blind=(*traced.blind, *_untrusted(finished)),
        unchecked=(*traced.unchecked, *_powerless(finished)),
        notes=(
            *traced.notes,
            *_notes(finished, metric),
            *_swap_notes(swap, metric),
            *_mass_notes(finished[0], metric),
            *_left_out_notes(finished[0], left_out, metric),
        ),
    )


def _traced(runs: Sequence[ToyRun]) -> Ledger:
    """The first traced ledger. Where the tracer lost sight the order is untested, not suspicious."""
    ledger = next((run.ledger for run in runs if run.ledger), None)
    if ledger is None:
        return Ledger()
    unseen = [Unchecked(f"the tracer lost sight: {blind.reason}", blind.matters_for) for blind in ledger.blind]
    if not ledger.finished:
        unseen.append(Unchecked(f"the trace is not complete: {ledger.why_unfinished}", RULES_OF_SCORING))
    unchecked = (*ledger.unchecked, *dict.fromkeys(unseen))
    return replace(ledger, blind=(), finished=True, why_unfinished="", unchecked=unchecked)


def _metric(run: ToyRun, source: Ledger | None) -> Metric:
    assert run.reported is not None
    printed = [entry for entry in source.metrics if entry.reported] if source else []
    script = Site(run.stage.script, 0)
    site, calls = (printed[0].site, printed[0].calls) if printed else (script, ())
    label = run.reported.metric.score.label or "the printed score"
    return Metric(label, site, calls, reported=True, why=run.reported.why, tied=run.reported.tied)


def _under(entry: Scored, metric: Metric) -> Scored:
    """A traced score of the reported number, under the metric as it is tied to the claim."""
    return replace(entry, metric=replace(entry.metric, reported=True, tied=metric.tied, why=metric.why))


def _null_violations(
    runs: Sequence[ToyRun], traced: Ledger, source: Ledger | None, metric: Metric
) -> Iterable[Violation]:
    tests = [run.test for run in runs if run.test]
    evidence = combined_evidence(tests)
    if evidence < -math.log(FAIL_PROBABILITY):
        return
    best = max(tests, key=lambda test: test.evidence)
    message = (
        f"{_result(best)}: log M = {best.log_m:+,.0f} nats. A rule-abiding scorer prints this or less with a "
        f"probability {in_words(evidence)}, whatever its model"
    )
    rules = _named_rules(traced, source)
    if not rules:
        message += "; which of C1 to C4 is broken, this test does not say"
    doubt = "" if rules or best.accounting.exact or proved_without_a_count(runs) else UNCOUNTED
    if not rules and not best.score.loss_text:
        doubt = doubt or BPB_ONLY
    if doubt and not any(run.loss_is_a_mean for run in runs):
        doubt = ANOTHER_UNIT
    sites = ((metric.site, "the score of the run is printed"),)
    for rule in rules or (DEFAULT_RULE,):
        yield Violation(rule, message, sites, not doubt, doubt)


def proved_without_a_count(runs: Sequence[ToyRun]) -> bool:
    """Whether a longer run proves a leak even if its mean left out a tail that it was divided by nevertheless."""
    tried = [run for run in runs if run.reported and run.loss_is_a_mean]
    if not tried:
        return False
    shorter = min(tried, key=lambda run: len(run.stream.tokens))
    longer = max(tried, key=lambda run: len(run.stream.tokens))
    if len(longer.stream.tokens) < TELLING_LENGTH * len(shorter.stream.tokens):
        return False
    accounting = tail_left_out(longer.stream, shorter.stream)
    assert longer.reported is not None
    score = longer.reported.metric.score
    test = null_test(longer.stream, score, accounting, longer.text_bytes, longer.byte_margin)
    return test is not None and test.proves


def _result(test: NullTest) -> str:
    score = test.score
    value = f"val_loss {score.loss_text}" if score.loss_text else f"val_bpb {score.bpb_text}"
    mean = test.accounting.code_length / max(1, test.accounting.predictions)
    return (
        f"on {test.accounting.predictions:,} tokens drawn for this audit (source: {test.source}, {mean:.4f} nats a "
        f"token by construction) the script printed {value}"
    )


def _named_rules(traced: Ledger, source: Ledger | None) -> tuple[str, ...]:
    """The rules of scoring that another observation says are broken: the certain ones, else the first possible one."""
    for definite in (True, False):
        found = {
            violation.rule
            for ledger in (traced, source)
            if ledger
            for violation in ledger.violations
            if violation.rule in RULES_OF_SCORING and violation.definite is definite
        }
        found |= {
            "C3"
            for ledger in (traced, source)
            if ledger
            for scored in ledger.scored
            if scored.metric.reported and scored.after and scored.definite is definite
        }
        if found:
            return tuple(sorted(found)) if definite else tuple(sorted(found)[:1])
    return ()


def _byte_violations(run: ToyRun, metric: Metric) -> Iterable[Violation]:
    count = run.byte_count
    if count is None or count.correct or not count.favours_the_score:
        return
    message = (
        f"the printed pair val_loss {count.score.loss_text}, val_bpb {count.score.bpb_text} divides by "
        f"{count.implied_bytes:,.0f} bytes; the text of the run has {count.true_bytes:,} (factor {count.factor:.4f})"
    )
    sites = ((metric.site, "the pair is printed"),)
    if count.mistake:
        yield Violation("BYTES", f"{message}: {count.mistake}", sites, definite=True)
    else:
        yield Violation("BYTES", message, sites, definite=False, doubt="no known mistake gives exactly this count")


def _swap_violations(swap: SuffixSwap | None, run: ToyRun, metric: Metric) -> Iterable[Violation]:
    """Later tokens that reached earlier losses: learning before scoring where the trace shows it, else C1."""
    if swap is None or swap.repeats is not True:
        return
    sites = ((metric.site, "the score of the run is printed"),)
    if swap.target_moved:
        message = (
            f"the token at position {swap.target:,} was changed, with those after it and none before, and the script "
            "run again: the distribution that its probability is taken from is another one; an unchanged run repeats it"
        )
        yield Violation("C1", message, sites, False, "one position only")
    if not swap.moved:
        return
    ledger = run.ledger
    after = any(scored.after for scored in ledger.scored if scored.metric.reported) if ledger else False
    message = (
        f"the tokens after position {swap.after:,} were changed and the script run again: {swap.moved:,} of "
        f"{swap.compared:,} earlier losses moved, the first at position {swap.first:,}, by up to {swap.largest:.3g} "
        "nats; an unchanged run repeats every one of them"
    )
    yield Violation("C3" if after else "C1", message, sites, swap.proves, "" if swap.proves else "one position only")


def _left_out_notes(run: ToyRun, left_out: Sequence[str], metric: Metric) -> Iterable[tuple[Site, str]]:
    if left_out:
        took = f"the first run took {run.outcome.seconds:.0f} s; --run-seconds gives more time"
        yield metric.site, f"not made for lack of time: {', '.join(left_out)} ({took})"


def _swap_notes(swap: SuffixSwap | None, metric: Metric) -> Iterable[tuple[Site, str]]:
    if swap is None:
        return
    if swap.clean:
        yield (
            metric.site,
            f"the tokens after position {swap.after:,} were changed and the script run again: none of "
            f"{swap.compared:,} earlier losses moved",
        )
        if swap.target >= 0 and not swap.target_moved:
            yield (
                metric.site,
                f"the distribution for position {swap.target:,} stayed the same when its token was changed",
            )
    elif swap.repeats is False:
        yield metric.site, "the script does not repeat its own losses in equal runs, so a suffix swap shows nothing"


def _mass_violations(run: ToyRun, metric: Metric) -> Iterable[Violation]:
    """Log-probabilities handed to a loss that do not sum to one over the vocabulary."""
    mass = run.mass
    if mass is None:
        return
    above = np.flatnonzero(mass > 1 + SUMS_TO_ONE)
    if len(above) < PROVED_POSITIONS:
        return
    message = (
        f"the probabilities behind {len(above):,} of {int((~np.isnan(mass)).sum()):,} losses sum to more than 1 over "
        f"the vocabulary, up to {float(np.nanmax(mass)):.4g}, the first at position {int(above[0]):,}"
    )
    doubt = "whether something normalises them after the loss was taken, the tracer did not follow"
    yield Violation("C2", message, ((metric.site, "the score of the run is printed"),), False, doubt)


def _mass_notes(run: ToyRun, metric: Metric) -> Iterable[tuple[Site, str]]:
    mass = run.mass
    if mass is None or float(np.nanmax(mass)) > 1 + SUMS_TO_ONE:
        return
    yield (
        metric.site,
        f"the probabilities behind {int((~np.isnan(mass)).sum()):,} losses sum to 1 over the vocabulary "
        f"({float(np.nanmin(mass)):.4f} to {float(np.nanmax(mass)):.4f})",
    )


def _untrusted(runs: Sequence[ToyRun]) -> Iterable[Blind]:
    """What makes the run's own statements doubtful: a broken report chain, tampering that the guard saw."""
    for run in runs:
        outward = _reached_out(run)
        for reason in (run.outcome.broken_chain, *run.outcome.seen):
            if reason and reason not in outward:
                yield Blind(f"the run interfered with its audit: {reason}", Site(run.stage.script, 0), RULES_OF_SCORING)


def _reached_out(run: ToyRun) -> tuple[str, ...]:
    return noticed_in(run.outcome.records, ("network",))


def _outward_violations(run: ToyRun) -> Iterable[Violation]:
    """Attempts to reach the network. A run does not tell evaluation from preparation, so a person has to."""
    for attempt in _reached_out(run):
        yield Violation(
            "EXTERNAL",
            f"the run tried to reach a network, where there is none: {attempt}",
            ((Site(run.stage.script, 0), "tried by the script or by what it imports"),),
            definite=False,
            doubt="whether evaluation needs it, the run does not tell",
        )


def _powerless(runs: Sequence[ToyRun]) -> Iterable[Unchecked]:
    tests = [run.test for run in runs]
    heard = [test for test in tests if test]
    if not heard:
        yield Unchecked("the run's reported line prints no number that can be tested", RULES_OF_SCORING)
    elif not any(test.has_power or test.proves for test in heard):
        least = min(test.detectable for test in heard)
        why = f"the run has no power: only a leak of {least:.3f} nats a token or more would have shown"
        yield Unchecked(why, RULES_OF_SCORING)


def _adaptation_missing(runs: Sequence[ToyRun], source: Ledger | None) -> bool:
    """Whether something learns from validation tokens by the source's account, and no traced run saw it happen."""
    if source is None or not source.learned:
        return False
    traces = [run.trace for run in runs if run.trace is not None]
    return bool(traces) and all(trace.adapted is False for trace in traces)


def _notes(runs: Sequence[ToyRun], metric: Metric) -> Iterable[tuple[Site, str]]:
    for run in runs:
        test = run.test
        if test is None or test.proves:
            continue
        yield (
            metric.site,
            f"{_result(test)}: log M = {test.log_m:+,.0f} nats, no sign of a leak; one of {test.detectable:.3f} nats a "
            "token would have been a proof",
        )
        for other in run.metrics:
            found = run.test_of(other) if other.final and run.reported and other != run.reported.metric else None
            if found and found.proves:
                what = other.score.label or "an unlabelled metric"
                yield metric.site, f"another metric of the run, {what}, shows a leak (log M = {found.log_m:+,.0f} nats)"
