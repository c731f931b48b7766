"""The incompressibility test: a rule-abiding scorer cannot print a loss below the entropy of what it scores.

The law. Let the validation stream be drawn from a source with known conditional distribution q_t. If each p_t is made
from the artifact and the tokens before t and sums to at most one, then M = prod_t p_t(x_t)/q_t(x_t) is a non-negative
supermartingale that starts at 1, so P(M >= 1/d) <= d whatever the model, the adaptation or the cache (Ville 1939;
Shafer and Vovk 2019). ``log M = sum of code lengths - total NLL`` needs nothing but the printed mean loss. A large
log M proves that C1, C2, C3 or C4 is broken, not which of them.

Everything that is not known exactly is read in the scorer's favour:

- the printed number may have been rounded down by half a unit of its last digit;
- BOS costs nothing under q (its places are part of the layout), so leaving it out of the sum changes nothing, and the
  sum is taken to run over the largest number of tokens that the mean may have been divided by;
- where coverage is not known, the smallest part that a legal scorer would have scored is taken (`Accounting`);
- tokens that are scored in up to K windows give K sums, each of which obeys the law; their total beats the floor by
  more than K ln(K/d) with probability at most d (union bound).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from auditor.run.sources import Stream

FAIL_PROBABILITY = 1e-9  # the greatest chance of accusing a legal scorer
USEFUL_LEAK_NATS = 0.05  # per token: a test that would miss a leak of this size says nothing
UNKNOWN_COVERAGE = 0.9  # of the stream, at the least, where the tracer could not count
UNKNOWN_MULTIPLICITY = 4  # windows that score one token, at the most, where the tracer could not count
UNKNOWN_BYTES = 1.25  # the denominator of a bpb printed alone may be miscounted by so much; BYTES judges that
EXACT_BYTES = 1.003  # the same where another line of the run prints a pair whose byte count is right to this


@dataclass(frozen=True, slots=True)
class Accounting:
    """How a mean was formed: predictions in the sum, and windows that score one token at the most.

    `exact` is True when the tracer counted them. `code_length` is the floor in nats over these predictions.
    """

    predictions: int
    code_length: float
    multiplicity: int = 1
    exact: bool = True


def unknown_accounting(stream: Stream) -> Accounting:
    """What is assumed of a legal scorer when nothing was counted: the accounting that favours it most."""
    predictions = len(stream.tokens) - 1
    covered = math.floor(UNKNOWN_COVERAGE * predictions)
    longest = float(stream.code_length.max(initial=0.0))
    dropped = (predictions - covered) * longest
    return Accounting(covered, max(0.0, stream.floor() - dropped), UNKNOWN_MULTIPLICITY, exact=False)


def tail_left_out(stream: Stream, shorter: Stream) -> Accounting:
    """A sum that leaves out a tail and is divided by all tokens nevertheless, which lowers the mean without a leak.

    The tail is as long as the part of a `shorter` stream that nothing was known of (windows and batches do not grow
    with the text), so on a longer stream little of the floor is given away.
    """
    predictions = len(stream.tokens) - 1
    tail = math.ceil((1 - UNKNOWN_COVERAGE) * (len(shorter.tokens) - 1))
    longest = float(stream.code_length.max(initial=0.0))
    return Accounting(predictions, max(0.0, stream.floor() - tail * longest), UNKNOWN_MULTIPLICITY, exact=False)


@dataclass(frozen=True, slots=True)
class PrintedScore:
    """A printed metric: mean loss in nats a token and/or bits per byte, with the digits as printed."""

    label: str
    loss_text: str = ""
    bpb_text: str = ""
    raw: str = ""

    @property
    def val_loss(self) -> float | None:
        return float(self.loss_text) if self.loss_text else None

    @property
    def val_bpb(self) -> float | None:
        return float(self.bpb_text) if self.bpb_text else None


def rounded_up(text: str) -> float:
    """The largest number that prints as `text`: half a unit of the last digit more."""
    mantissa, _, exponent = text.strip().lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(text) + 0.5 * 10.0 ** (int(exponent or 0) - decimals)


@dataclass(frozen=True, slots=True)
class NullTest:
    """The evidence that one printed metric gives on one source.

    `log_m` is in nats; the chance that a legal scorer prints this or better is at most ``exp(-evidence)`` with
    `evidence` as below. `waste` is what the scorer lost against the source, nats a token (negative for a leak).
    """

    source: str
    score: PrintedScore
    accounting: Accounting
    total_nats: float

    @property
    def log_m(self) -> float:
        return self.accounting.code_length - self.total_nats

    @property
    def evidence(self) -> float:
        """-ln of the bound on the chance of accusing a legal scorer: log M shared among K sums, less ln K."""
        k = self.accounting.multiplicity
        return self.log_m / k - math.log(k)

    @property
    def waste(self) -> float:
        return -self.log_m / max(1, self.accounting.predictions)

    @property
    def detectable(self) -> float:
        """The smallest leak, in nats a token over the whole stream, that would have been a proof in this run."""
        k = self.accounting.multiplicity
        needed = k * (-math.log(FAIL_PROBABILITY) + math.log(k))
        return max(0.0, self.waste) + needed / max(1, self.accounting.predictions)

    @property
    def has_power(self) -> bool:
        return self.detectable <= USEFUL_LEAK_NATS

    @property
    def proves(self) -> bool:
        return self.evidence >= -math.log(FAIL_PROBABILITY)


def null_test(
    stream: Stream,
    score: PrintedScore,
    accounting: Accounting,
    text_bytes: int = 0,
    byte_margin: float = UNKNOWN_BYTES,
) -> NullTest | None:
    """The test of one printed metric, from its loss where it prints one, else from its bpb; None when it has neither.

    `text_bytes` is the exact number of bytes of the scored text, needed for a bpb without a loss; `byte_margin` is the
    factor by which the script may have counted more.
    """
    if score.loss_text and math.isfinite(rounded_up(score.loss_text)):
        total = rounded_up(score.loss_text) * accounting.predictions
    elif score.bpb_text and text_bytes and math.isfinite(rounded_up(score.bpb_text)):
        share = accounting.predictions / max(1, len(stream.tokens) - 1)
        total = rounded_up(score.bpb_text) * math.log(2) * text_bytes * share * byte_margin
    else:
        return None
    return NullTest(stream.source, score, accounting, total)


def combined_evidence(tests: Sequence[NullTest]) -> float:
    """Evidence of a battery in nats: the e-values of the sources, averaged with equal weights.

    An average of e-values is an e-value whatever their dependence, so no correction for trying several sources is due.
    """
    if not tests:
        return -math.inf
    peak = max(test.evidence for test in tests)
    if peak == -math.inf:
        return peak
    return peak + math.log(sum(math.exp(test.evidence - peak) for test in tests) / len(tests))


def in_words(evidence: float) -> str:
    """The bound on the chance of accusing a legal scorer, in words: "below 1 in 10^900"."""
    if evidence <= 0:
        return "no evidence against it"
    return f"below 1 in 10^{math.floor(evidence / math.log(10))}"
