"""rANS gives back any bytes, comes near their entropy, and tells damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_pipeline import rans
from reference_pipeline.errors import PipelineError
from reference_pipeline.rans import (
    block_bits,
    frequency_table,
    pack_table,
    rans_compress,
    rans_decompress,
    unpack_table,
)


@given(st.binary(max_size=3000))
@settings(max_examples=150, deadline=None)
def test_any_bytes_come_back(data):
    assert rans_decompress(rans_compress(data)) == data


@given(st.binary(min_size=1, max_size=40), st.integers(1, 2000), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_skewed_bytes_in_many_lanes_and_blocks_come_back(alphabet, size, seed):
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.full(len(alphabet), 0.1))
    data = generator.choice(np.frombuffer(alphabet, np.uint8), size * 9, p=shares).tobytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rans, "BLOCK_BITS", (9,))
        assert rans_decompress(rans_compress(data)) == data


def rounded_weights(count: int) -> np.ndarray:
    """int8 as GPTQ leaves them: a bell of about 2.4 steps."""
    return np.clip(np.round(2.4 * np.random.default_rng(0).normal(size=count)), -31, 31).astype(np.int8)


def test_rounded_weights_cost_their_entropy_and_half_a_percent():
    weights = rounded_weights(300_000)
    shares = np.bincount(weights.view(np.uint8)) / len(weights)
    entropy_bytes = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum() * len(weights) / 8
    assert entropy_bytes < len(rans_compress(weights.tobytes())) < 1.005 * entropy_bytes


def test_unlike_halves_do_not_share_a_table():
    halves = np.repeat(np.array([3, 200], np.uint8), 1 << 18).tobytes()
    assert len(rans_compress(halves)) < 3000  # one bit a byte would be 65,536
    assert rans_decompress(rans_compress(halves)) == halves


def test_blocks_are_short_where_the_data_change_and_long_where_they_do_not():
    generator = np.random.default_rng(0)
    changing = np.concatenate([generator.integers(8 * k, 8 * k + 8, 2048) for k in range(20)]).astype(np.uint8)
    assert block_bits(changing) == min(rans.BLOCK_BITS)
    assert block_bits(rounded_weights(300_000).view(np.uint8)) == max(rans.BLOCK_BITS)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=600))
@settings(max_examples=80, deadline=None)
def test_a_table_adds_up_keeps_what_occurs_and_comes_back(values):
    table = frequency_table(np.array(values, np.uint8))
    assert table.sum() == 1 << 16
    assert set(np.flatnonzero(table)) == set(values)
    again, position = unpack_table(b"xx" + pack_table(table), 2)
    assert position == 2 + len(pack_table(table))
    assert (again == table).all()


@pytest.mark.parametrize("cut", [0, 3, 6, 20, 60, -4])
def test_cut_data_are_told(cut):
    with pytest.raises(PipelineError, match="truncated or damaged"):
        rans_decompress(rans_compress(rounded_weights(5000).tobytes())[:cut])


def test_a_flipped_bit_is_told_or_harmless():
    whole, data = rans_compress(rounded_weights(5000).tobytes()), rounded_weights(5000).tobytes()
    told = 0
    for place in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        try:
            assert rans_decompress(bytes(damaged)) != data
        except PipelineError:
            told += 1
    assert told > 0.9 * len(range(0, len(whole), 97))
