"""Audit data: one draw from a source, cut into a validation stream and training shards.

Both come from one draw, so that they share what a source fixes in advance (the few symbols, the table of successors),
and validation comes first, so that its code lengths depend on nothing that a script may read elsewhere. A gap between
the two is thrown away: what training text still tells about the end of the validation text is then negligible.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auditor.run.model import Size
from auditor.run.sources import FIRST_TEXT_ID, Source, Stream, draw_stream
from auditor.run.stage.sentencepiece_model import SPECIAL

# Mean 1,240 as in the challenge's validation text; some above, some below the thresholds that scripts put on a
# document's length (256, 512, 1,024), one shorter than a sequence.
DOCUMENT_TOKENS = (1531, 257, 2113, 704, 1240, 97, 2713, 1265)
GAP_TOKENS = 4096
TRAINING_SHARDS = 2
DISTINCT_RUN = 12  # tokens after which a place of the stream should be unique


class WithoutSpecial:
    """A source over the ids that carry text: special pieces have no bytes, and scripts may leave them out."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.name

    def draw(
        self, length: int, alphabet: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """As the source draws, over the ids of `alphabet` that are text."""
        return self.source.draw(length, alphabet[alphabet >= max(len(SPECIAL), FIRST_TEXT_ID)], rng)


@dataclass(frozen=True, slots=True)
class AuditData:
    """The validation stream and the training shards, each (length,) uint16."""

    validation: Stream
    training: tuple[NDArray[np.uint16], ...]


def draw_data(source: Source, vocabulary: int, size: Size, seed: int) -> AuditData:
    """Validation of ``size.validation_tokens + 1`` tokens and training shards, from one draw with `seed`."""
    rng = np.random.default_rng(seed)
    stream_length = size.validation_tokens + 1
    shard_length = -(-size.training_tokens // TRAINING_SHARDS) + 1
    documents = [*_documents(stream_length, rng), *_documents(GAP_TOKENS, rng)]
    for _ in range(TRAINING_SHARDS):
        documents.extend(_documents(shard_length, rng))
    drawn = draw_stream(WithoutSpecial(source), sum(documents), vocabulary, rng, documents)
    first = stream_length + GAP_TOKENS
    training = tuple(
        drawn.tokens[first + shard * shard_length : first + (shard + 1) * shard_length]
        for shard in range(TRAINING_SHARDS)
    )
    validation = replace(
        drawn,
        tokens=drawn.tokens[:stream_length],
        code_length=drawn.code_length[:stream_length],
        is_bos=drawn.is_bos[:stream_length],
    )
    return AuditData(validation, training)


def swapped(stream: Stream, after: int, seed: int) -> Stream:
    """The stream with other text after position `after`: the same tokens in another order, BOS where it was.

    Its code lengths are no longer those of the draw: such a stream is for the suffix swap alone.
    """
    tokens = stream.tokens.copy()
    places = np.flatnonzero(~stream.is_bos)
    places = places[places > after]
    order = np.random.default_rng([seed, after]).permutation(len(places))
    tokens[places] = tokens[places[order]]
    return replace(stream, tokens=tokens, code_length=np.full(len(tokens), np.nan))


def _documents(length: int, rng: np.random.Generator) -> list[int]:
    """Document lengths in a drawn order that fill `length` tokens exactly; the last is cut short."""
    documents: list[int] = []
    while (missing := length - sum(documents)) > 0:
        for tokens in rng.permutation(DOCUMENT_TOKENS).tolist():
            documents.append(min(tokens, missing))
            missing -= documents[-1]
            if missing == 0:
                break
    return documents


def distinct_runs(tokens: NDArray[np.uint16], length: int = DISTINCT_RUN) -> bool:
    """Whether no run of `length` tokens occurs twice, so that content identifies a place."""
    windows = np.lib.stride_tricks.sliding_window_view(tokens, length)
    return len(np.unique(windows, axis=0)) == len(windows)
