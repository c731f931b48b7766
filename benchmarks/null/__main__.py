"""How often the incompressibility test would accuse a legal scorer: simulated runs against the bound d.

    python -m benchmarks.null [--runs 10000] [--tokens 512] [--seed 1]

Each run draws a fresh stream from each source and scores it with each member of a family of legal scorers (adaptive
counts, caches, fixed and learned mixtures, bettors near the source), all runs at once in NumPy. The table gives the
runs whose evidence reached ln(1/d) at any time, beside the d * runs that Ville's inequality allows.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from auditor.run.incompressibility import FAIL_PROBABILITY

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]
SYMBOLS = 8
LEVELS = (0.5, 0.1, 0.01, 0.001, FAIL_PROBABILITY)


def uniform_source(rng: np.random.Generator, runs: int, length: int) -> tuple[Tokens, Floats]:
    """Independent uniform symbols, (runs, length), and their code lengths in nats, same shape."""
    return rng.integers(SYMBOLS, size=(runs, length)), np.full((runs, length), math.log(SYMBOLS))


def markov_source(rng: np.random.Generator, runs: int, length: int) -> tuple[Tokens, Floats]:
    """An order-one chain that stays with probability 0.6, else moves to another symbol."""
    stays = rng.random((runs, length)) < 0.6
    moves = rng.integers(1, SYMBOLS, size=(runs, length))
    tokens = (rng.integers(SYMBOLS, size=(runs, 1)) + np.cumsum(np.where(stays, 0, moves), axis=1)) % SYMBOLS
    code = np.where(stays, -math.log(0.6), -math.log(0.4 / (SYMBOLS - 1)))
    code[:, 0] = math.log(SYMBOLS)
    return tokens, code


def copy_source(rng: np.random.Generator, runs: int, length: int, lag: int = 16) -> tuple[Tokens, Floats]:
    """A symbol is that of `lag` places earlier with probability 0.5, else uniform."""
    tokens = rng.integers(SYMBOLS, size=(runs, length))
    copied = rng.random((runs, length)) < 0.5
    code = np.full((runs, length), math.log(SYMBOLS))
    for t in range(lag, length):
        tokens[:, t] = np.where(copied[:, t], tokens[:, t - lag], tokens[:, t])
        hit = tokens[:, t] == tokens[:, t - lag]
        code[:, t] = -np.log(0.5 * hit + 0.5 / SYMBOLS)
    return tokens, code


class Scorer:
    """A legal scorer of all runs at once: `predict` before the token is shown, `learn` after."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.counts = np.full((runs, SYMBOLS), 0.5)
        self.pairs = np.full((runs, SYMBOLS, SYMBOLS), 0.5)
        self.recent = np.full((runs, SYMBOLS), 1.0 / SYMBOLS)
        self.weight = np.full((runs, 3), 1.0 / 3)
        self.last = np.zeros(runs, np.int64)
        self.rows = np.arange(runs)

    def experts(self) -> Floats:
        """(runs, 3, SYMBOLS): order 0, order 1 and recency, each normalized."""
        pairs = self.pairs[self.rows, self.last]
        parts = (self.counts, pairs, self.recent + 1e-3)
        return np.stack([part / part.sum(1, keepdims=True) for part in parts], axis=1)

    def learn(self, tokens: Tokens, experts: Floats) -> None:
        """Counts, cache and mixture weights see `tokens`, (runs,)."""
        hit = experts[self.rows, :, tokens]
        self.weight = self.weight * hit
        self.weight /= self.weight.sum(1, keepdims=True)
        self.counts[self.rows, tokens] += 1
        self.pairs[self.rows, self.last, tokens] += 1
        self.recent *= 0.9
        self.recent[self.rows, tokens] += 0.1
        self.last = tokens


def sharpened(distribution: Floats) -> Floats:
    """Overconfident: squared and normalized again."""
    power = distribution**2
    return np.asarray(power / power.sum(-1, keepdims=True))


FAMILY: dict[str, Callable[[Scorer, Floats], Floats]] = {
    "adaptive counts": lambda _, experts: experts[:, 0],
    "order-1 cache": lambda _, experts: experts[:, 1],
    "recency cache": lambda _, experts: experts[:, 2],
    "fixed mixture": lambda _, experts: experts.mean(1),
    "learned mixture": lambda scorer, experts: (scorer.weight[:, :, None] * experts).sum(1),
    "overconfident": lambda _, experts: sharpened(experts[:, 1]),
    "cautious bettor": lambda _, experts: 0.8 / SYMBOLS + 0.2 * experts[:, 2],
    "bold bettor": lambda _, experts: 0.5 / SYMBOLS + 0.5 * experts[:, 2],
}
SOURCES = {"uniform": uniform_source, "Markov": markov_source, "copies": copy_source}


def evidence(name: str, seed: int, runs: int, length: int) -> dict[str, Floats]:
    """The highest log M on the way, of each member of the family on source `name`; each of shape (runs,).

    Ville's bound holds for the maximum over time, so a scorer that stops where it looks best is covered too.
    """
    tokens, code = SOURCES[name](np.random.default_rng([seed, len(name)]), runs, length)
    scorer = Scorer(runs)
    found = {member: np.zeros(runs) for member in FAMILY}
    highest = {member: np.full(runs, -np.inf) for member in FAMILY}
    for t in range(length):
        experts = scorer.experts()
        for member, predict in FAMILY.items():
            found[member] += code[:, t] + np.log(predict(scorer, experts)[scorer.rows, tokens[:, t]])
            highest[member] = np.maximum(highest[member], found[member])
        scorer.learn(tokens[:, t], experts)
    return highest


def table(runs: int, length: int, seed: int) -> str:
    """The runs above each level, beside what the bound allows."""
    rows = [
        f"{'source':8} {'legal scorer':16} {'max log M':>10} " + " ".join(f"{'d=' + format(d, 'g'):>9}" for d in LEVELS)
    ]
    for name in SOURCES:
        for member, values in evidence(name, seed, runs, length).items():
            reached = " ".join(f"{int((values >= -math.log(d)).sum()):9,}" for d in LEVELS)
            rows.append(f"{name:8} {member:16} {values.max():10.2f} {reached}")
    rows.append(f"{'':8} {'allowed (mean)':16} {'':10} " + " ".join(f"{d * runs:9,.5g}" for d in LEVELS))
    return "\n".join(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{options.runs:,} runs of {options.tokens} tokens over {SYMBOLS} symbols, seed {options.seed}")
    print(table(options.runs, options.tokens, options.seed))


if __name__ == "__main__":
    main()
