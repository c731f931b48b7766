"""Audit data: lengths, documents, and what training text may tell about validation text."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.run.model import Size
from auditor.run.sources import BOS, FewSymbols, Markov, NoisyCopy, Source, Uniform
from auditor.run.stage.audit_data import DOCUMENT_TOKENS, distinct_runs, draw_data

SOURCES: tuple[Source, ...] = (Uniform(), FewSymbols(), NoisyCopy(), Markov())
SIZE = Size(validation_tokens=4096, training_tokens=8192)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_stream_predicts_exactly_as_many_tokens_as_asked(source: Source) -> None:
    data = draw_data(source, 1024, SIZE, seed=3)
    assert len(data.validation.tokens) == SIZE.validation_tokens + 1
    assert data.validation.source == source.name
    assert sum(len(shard) for shard in data.training) >= SIZE.training_tokens


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_text_holds_no_special_piece_and_each_document_begins_with_bos(source: Source) -> None:
    data = draw_data(source, 1024, SIZE, seed=3)
    for tokens in (data.validation.tokens, *data.training):
        assert tokens[0] == BOS
        assert (tokens[tokens != BOS] >= 4).all()
        assert tokens.max() < 1024
    assert ((data.validation.tokens == BOS) == data.validation.is_bos).all()


def test_documents_reach_over_and_stay_under_the_thresholds_of_scripts() -> None:
    starts = np.flatnonzero(draw_data(Uniform(), 1024, Size(), seed=1).validation.is_bos)
    lengths = set(np.diff(starts).tolist())
    assert lengths <= set(DOCUMENT_TOKENS)
    assert min(lengths) < 256 < 1024 < max(lengths)
    assert np.mean(DOCUMENT_TOKENS) == 1240


def test_every_seed_draws_other_text() -> None:
    first, second = (draw_data(Uniform(), 1024, SIZE, seed).validation.tokens for seed in (1, 2))
    assert (first == second).mean() < 0.05


def test_training_and_validation_share_the_source_but_not_the_text() -> None:
    data = draw_data(FewSymbols(), 1024, SIZE, seed=5)
    validation, training = set(data.validation.tokens.tolist()), set(np.concatenate(data.training).tolist())
    assert validation == training  # the same few symbols
    assert (data.validation.tokens[:4096] == data.training[0][:4096]).mean() < 0.2


def test_uniform_text_has_no_run_of_twelve_tokens_twice() -> None:
    assert distinct_runs(draw_data(Uniform(), 1024, Size(), seed=1).validation.tokens)


def test_a_run_that_occurs_twice_is_noticed() -> None:
    tokens = np.arange(100, dtype=np.uint16)
    assert distinct_runs(tokens)
    assert not distinct_runs(np.concatenate([tokens, tokens[:12]]))


def test_the_floor_of_uniform_text_is_the_log_of_the_alphabet_for_each_text_token() -> None:
    stream = draw_data(Uniform(), 1024, SIZE, seed=1).validation
    text = int((~stream.is_bos[1:]).sum())
    assert stream.floor() == pytest.approx(text * np.log(1020))
