"""Runs of tokens are recognized wherever they are; what is not of the stream is not."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from auditor.run.inside.trace.stream import ValidationStream, intervals


@pytest.fixture
def stream() -> ValidationStream:
    return ValidationStream(np.random.default_rng(0).integers(3, 1024, 5000))


def test_a_piece_names_its_positions(stream: ValidationStream) -> None:
    found = stream.identify(stream.tokens[100:164])
    assert found is not None
    assert found.tolist() == list(range(100, 164))


def test_rows_of_a_batch_are_told_apart(stream: ValidationStream) -> None:
    rows = np.concatenate([stream.tokens[700:732], stream.tokens[100:132]])
    found = stream.identify(rows)
    assert found is not None
    assert found.tolist() == [*range(700, 732), *range(100, 132)]


def test_other_tokens_are_not_recognized(stream: ValidationStream) -> None:
    assert stream.identify(np.random.default_rng(1).integers(3, 1024, 5000)) is None
    assert stream.identify(stream.tokens[:4]) is None


def test_a_piece_among_others(stream: ValidationStream) -> None:
    values = np.random.default_rng(2).integers(3, 1024, 300)
    values[50:80] = stream.tokens[10:40]
    found = stream.identify(values)
    assert found is not None
    assert found[50:80].tolist() == list(range(10, 40))
    assert (found[:50] < 0).all()
    assert (found[80:] < 0).all()


def test_runs_that_occur_twice_are_followed_from_where_they_are_known() -> None:
    tokens = np.random.default_rng(3).integers(3, 1024, 400)
    tokens[300:320] = tokens[100:120]
    stream = ValidationStream(tokens)
    assert stream.identify(tokens[100:120]) is None
    found = stream.identify(tokens[290:330])
    assert found is not None
    assert found.tolist() == list(range(290, 330))


def test_sets_of_positions(stream: ValidationStream) -> None:
    positions = np.array([0, 5, 6, 7, 4999])
    assert stream.positions(stream.bits(positions)).tolist() == positions.tolist()
    assert intervals(positions) == [[0, 0], [5, 7], [4999, 4999]]


def test_intervals_are_bounded() -> None:
    merged = intervals(np.arange(0, 4000, 2), most=10)
    assert len(merged) == 10
    assert (merged[0][0], merged[-1][1]) == (0, 3998)


@pytest.mark.parametrize("symbols", [4, 16, 64])
def test_text_of_few_symbols_is_not_taken_for_the_stream(symbols: int) -> None:
    """Short runs of other text are in the stream by chance; the runs that count are longer."""
    stream = ValidationStream(np.random.default_rng(4).integers(3, 3 + symbols, 16_385))
    assert stream.identify(np.random.default_rng(5).integers(3, 3 + symbols, 65_536)) is None
    found = stream.identify(stream.tokens[5000:5064])
    assert found is not None
    assert found.tolist() == list(range(5000, 5064))
