"""Sources of audit data whose conditional distribution is known exactly, and the streams drawn from them.

The law that the incompressibility test rests on: for position t of a stream, ``code_length[t] = -ln q_t(x_t)`` in
nats, where q_t is the distribution that the token at t was really drawn from, given all earlier tokens and the layout
(lengths of documents, positions of BOS), which is fixed before any token is drawn. No predictor that is causal,
normalized and made before learning x_t can beat the sum of code lengths by more than ln(1/d) except with probability
d, whatever it has learned (Ville's inequality; see `auditor.run.incompressibility`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BOS = 1  # SentencePiece's <s>, which starts each document of the challenge's shards
FIRST_TEXT_ID = 3  # 0 <unk>/<pad>, 1 <s>, 2 </s>: control ids carry no bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """Tokens of a stream, (length,) uint16, with the exact code length of each in nats, (length,) float64.

    `is_bos` marks the first token of each document. Its place is part of the layout, so q_t is 1 there and its code
    length 0: a scorer can only lose on it, and leaving it out of the score is always in the scorer's favour.
    """

    tokens: NDArray[np.uint16]
    code_length: NDArray[np.float64]
    is_bos: NDArray[np.bool_]
    source: str

    def floor(self) -> float:
        """Code length in nats of all predicted tokens: all but the first of the stream."""
        return float(self.code_length[1:].sum())


class Source(Protocol):
    """A way to draw text tokens with a known distribution. `alphabet` are the ids it may use."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def draw(
        self, length: int, alphabet: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """`length` tokens of `alphabet` and the code length of each in nats, both of shape (length,)."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every id with the same probability: nothing can be learned, so every gain over ln V is a leak."""

    name: str = "uniform"

    def draw(
        self, length: int, alphabet: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Independent draws; the code length is ln V for each."""
        return rng.choice(alphabet, length), np.full(length, np.log(len(alphabet)))


@dataclass(frozen=True, slots=True)
class FewSymbols:
    """A few ids only, uniform: contexts repeat, so caches and mixers act on nearly every token."""

    symbols: int = 16
    name: str = "few symbols"

    def draw(
        self, length: int, alphabet: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Uniform over the first `symbols` ids of a shuffled alphabet; the choice of ids is fixed before the draw."""
        chosen = rng.permutation(alphabet)[: self.symbols]
        return rng.choice(chosen, length), np.full(length, np.log(len(chosen)))


@dataclass(frozen=True, slots=True)
class NoisyCopy:
    """With probability `copied` the token `lag` places earlier, else uniform: long matches occur, as in real text."""

    copied: float = 0.7
    lag: int = 97
    name: str = "noisy copy"

    def draw(
        self, length: int, alphabet: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Runs of copies are drawn as runs (a copy is followed by a copy with probability 0.9)."""
        size = len(alphabet)
        tokens = rng.choice(alphabet, length)
        stay, enter = 0.95, 0.05 * self.copied / max(1e-9, 1 - self.copied)
        code = np.full(length, np.log(size))
        copying = False
        uniform = rng.random(length)
        belief = 0.0  # probability of being in a copying run, given the tokens so far (the filter, exact)
        for t in range(self.lag, length):
            copying = uniform[t] < (stay if copying else enter)
            if copying:
                tokens[t] = tokens[t - self.lag]
            prior = belief * stay + (1 - belief) * enter
            hit = tokens[t] == tokens[t - self.lag]
            probability = (1 - prior) / size + (prior if hit else 0.0)
            code[t] = -np.log(probability)
            belief = prior * (1.0 if hit else 0.0) / probability
        return tokens, code


@dataclass(frozen=True, slots=True)
class Markov:
    """An order-one chain: after each id one of `branching` ids, uniformly. What an honest model can learn is known."""

    branching: int = 4
    name: str = "Markov"

    def draw(
        self, length: int, alphabet: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The table of successors is part of the layout: drawn first, shared by training and validation text."""
        size = len(alphabet)
        successors = np.stack([rng.permutation(size)[: self.branching] for _ in range(size)])
        choices = rng.integers(self.branching, size=length)
        state, places = int(rng.integers(size)), np.empty(length, np.int64)
        for t in range(length):
            state = int(successors[state, choices[t]])
            places[t] = state
        code = np.full(length, np.log(self.branching))
        code[0] = 0.0
        return alphabet[places], code


def draw_stream(
    source: Source, length: int, vocabulary: int, rng: np.random.Generator, documents: Sequence[int] = ()
) -> Stream:
    """A stream of `length` tokens over ids FIRST_TEXT_ID..vocabulary-1, with BOS at the starts given by `documents`.

    `documents` are document lengths in tokens, BOS included, used in turn until the stream is full; without them the
    stream is one document. Text runs on through document boundaries: the source does not see them.
    """
    alphabet = np.arange(FIRST_TEXT_ID, vocabulary, dtype=np.int64)
    starts, position, turn = [0], 0, 0
    while documents and (position := position + documents[turn % len(documents)]) < length:
        starts.append(position)
        turn += 1
    is_bos = np.zeros(length, bool)
    is_bos[starts] = True
    text, code = source.draw(int((~is_bos).sum()), alphabet, rng)
    tokens = np.full(length, BOS, np.int64)
    code_length = np.zeros(length)
    tokens[~is_bos] = text
    code_length[~is_bos] = code
    return Stream(tokens.astype(np.uint16), code_length, is_bos, source.name)
