"""The incompressibility test: legal scorers stay above the floor, what has seen the text does not, rounding is mild."""

import itertools
import math

import numpy as np
import pytest

from auditor.run.incompressibility import (
    FAIL_PROBABILITY,
    Accounting,
    NullTest,
    PrintedScore,
    combined_evidence,
    in_words,
    null_test,
    rounded_up,
    unknown_accounting,
)
from auditor.run.sources import BOS, FewSymbols, Markov, NoisyCopy, Uniform, draw_stream

VOCABULARY = 259
SOURCES = (Uniform(), FewSymbols(), NoisyCopy(), Markov())


def full_accounting(stream):
    """Each token but the first was predicted once."""
    return Accounting(len(stream.tokens) - 1, stream.floor())


def stream_of(source, seed=0, length=4097):
    return draw_stream(source, length, VOCABULARY, np.random.default_rng(seed), documents=(400, 90, 1500))


def printed(mean, digits=8):
    return PrintedScore("final", loss_text=f"{mean:.{digits}f}")


def adaptive_loss(tokens):
    """Mean loss of a legal order-0 and order-1 counting mixture that learns each token after it predicted it."""
    unigram = np.ones(VOCABULARY)
    bigram = np.full((VOCABULARY, VOCABULARY), 1.0 / VOCABULARY)
    total = 0.0
    for earlier, token in itertools.pairwise(tokens):
        mixture = 0.3 * unigram / unigram.sum() + 0.7 * bigram[earlier] / bigram[earlier].sum()
        total -= math.log(mixture[token])
        unigram[token] += 1
        bigram[earlier, token] += 1
    return total / (len(tokens) - 1)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_source_itself_is_never_accused_and_cannot_be_beaten(source):
    stream = stream_of(source)
    own = stream.floor() / (len(stream.tokens) - 1)
    test = null_test(stream, printed(own), full_accounting(stream))
    assert not test.proves
    assert test.log_m == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@pytest.mark.parametrize("seed", range(3))
def test_a_legal_adaptive_scorer_is_not_accused(source, seed):
    stream = stream_of(source, seed)
    test = null_test(stream, printed(adaptive_loss(stream.tokens.astype(int))), full_accounting(stream))
    assert test.evidence < -math.log(FAIL_PROBABILITY)


def test_a_scorer_that_has_seen_the_text_is_proved_guilty():
    stream = stream_of(Uniform())
    once = adaptive_loss(stream.tokens.astype(int))
    counts = np.bincount(stream.tokens[1:], minlength=VOCABULARY) / (len(stream.tokens) - 1)
    seen_before = -np.log(counts[stream.tokens[1:]]).mean()  # unigram statistics of the text itself
    assert seen_before < once
    test = null_test(stream, printed(seen_before), full_accounting(stream))
    assert test.proves
    assert test.waste < 0


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_code_lengths_are_those_of_the_draw(source):
    """Over many draws 1/q(x) must average what a sum over the alphabet says: each q is normalized."""
    rng = np.random.default_rng(5)
    alphabet = np.arange(3, 11)
    weights = []
    for _ in range(4000):
        tokens, code = source.draw(3, alphabet, rng)
        assert set(tokens) <= set(alphabet)
        weights.append(math.exp(code[1:].sum()) / len(alphabet) ** 2)
    support = np.mean(weights)  # E[1/q] over supports of size <= V^2, relative to V^2
    assert support <= 1.0 + 0.1


def test_noisy_copy_knows_its_own_copies():
    tokens, code = NoisyCopy(copied=0.9, lag=10).draw(5000, np.arange(3, 259), np.random.default_rng(1))
    repeats = np.zeros(5000, bool)
    repeats[10:] = tokens[10:] == tokens[:-10]
    assert code[repeats][50:].mean() < 1.0
    assert code[~repeats].mean() > math.log(256) - 0.01


def test_documents_start_with_a_bos_that_costs_nothing():
    stream = stream_of(Uniform())
    assert stream.is_bos.sum() == 7
    assert (stream.tokens[stream.is_bos] == BOS).all()
    assert (stream.tokens[~stream.is_bos] > 2).all()
    assert (stream.code_length[stream.is_bos] == 0).all()


def test_leaving_bos_out_of_a_mean_accuses_nobody():
    stream = stream_of(Uniform())
    text_only = math.log(VOCABULARY - 3)  # the mean over text tokens of the best legal scorer
    assert not null_test(stream, printed(text_only), full_accounting(stream)).proves


def test_rounding_is_read_in_the_scorers_favour():
    assert rounded_up("6.93") == pytest.approx(6.935)
    assert rounded_up("6.93e0") == pytest.approx(6.935)
    assert rounded_up("7") == pytest.approx(7.5)
    stream = stream_of(Uniform())
    own = stream.floor() / (len(stream.tokens) - 1)
    down = PrintedScore("final", loss_text=f"{math.floor(own * 100) / 100:.2f}")
    assert not null_test(stream, down, full_accounting(stream)).proves


def test_an_unknown_accounting_never_gives_more_evidence_than_the_exact_one():
    stream = stream_of(Uniform())
    for mean in (5.0, 5.3, 5.5, 5.6):
        exact = null_test(stream, printed(mean), full_accounting(stream))
        unknown = null_test(stream, printed(mean), unknown_accounting(stream))
        assert unknown.evidence < max(exact.evidence, 0)


def test_scoring_a_token_in_several_windows_needs_more_evidence():
    stream = stream_of(Uniform())
    once = full_accounting(stream)
    often = Accounting(once.predictions, once.code_length, multiplicity=4)
    mean = (once.code_length - 40) / once.predictions
    assert null_test(stream, printed(mean), once).proves
    assert not null_test(stream, printed(mean), often).proves


def test_bpb_alone_is_tested_with_a_margin_for_miscounted_bytes():
    stream = stream_of(Uniform())
    text_bytes = 10_000
    bpb = stream.floor() / math.log(2) / text_bytes
    accounting = full_accounting(stream)
    miscounted = PrintedScore("final", bpb_text=f"{bpb / 1.2:.6f}")
    assert not null_test(stream, miscounted, accounting, text_bytes).proves
    assert null_test(stream, PrintedScore("final", bpb_text=f"{bpb / 2:.6f}"), accounting, text_bytes).proves
    assert null_test(stream, PrintedScore("final", bpb_text="1.0"), accounting) is None


@pytest.mark.parametrize("text", ["nan", "inf"])
def test_a_loss_that_is_no_number_is_no_evidence(text):
    stream = stream_of(Uniform())
    assert null_test(stream, PrintedScore("final", loss_text=text), full_accounting(stream)) is None


def test_power_is_the_leak_that_would_have_been_proved():
    stream = stream_of(Uniform(), length=16_385)
    own = stream.floor() / (len(stream.tokens) - 1)
    close = null_test(stream, printed(own + 0.01), full_accounting(stream))
    far = null_test(stream, printed(own + 1.0), full_accounting(stream))
    assert close.has_power and not far.has_power
    leaked = null_test(stream, printed(own + 0.01 - close.detectable - 1e-5), full_accounting(stream))
    assert leaked.proves


def test_averaging_over_sources_costs_at_most_their_number():
    tests = [
        NullTest("a", printed(1.0), Accounting(10, 100.0), 40.0),
        NullTest("b", printed(1.0), Accounting(10, 100.0), 500.0),
    ]
    assert combined_evidence(tests) == pytest.approx(60.0 - math.log(2))
    assert combined_evidence([]) == -math.inf


def test_in_words():
    assert in_words(2072.4) == "below 1 in 10^900"
    assert in_words(-3.0) == "no evidence against it"
