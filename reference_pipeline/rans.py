"""rANS: an entropy coder for bytes whose neighbours tell nothing of one another, as rounded weights are.

Asymmetric numeral systems (Duda, 2013, arXiv 1311.2540): a state takes in a symbol of frequency f out of 2^16 and grows
by the factor 2^16 / f, so a symbol costs -log2(f / 2^16) bits, fractions included. A state that would reach 2^63 first
hands its low 32 bits to the stream. Byte i belongs to state i mod `lanes`; all states move together, in numpy. Encoding
runs backwards, so that decoding runs forwards. Every block has a frequency table of its own, so that matrices,
embeddings and scales need not share one; how long blocks are is chosen for the data.

Layout: uint32 bytes of data, uint16 lanes, uint8 log2 of a block's bytes, a table a block (bitmap of the bytes that
occur, then their frequencies as uint16, 2^16 written as 0), `lanes` states as uint64, and the stream of uint32 words in
the order of reading.
"""

from __future__ import annotations

import numpy as np

from reference_pipeline.errors import PipelineError

TOTAL_BITS = 16  # frequencies add up to 2^16
LOWEST = np.uint64(1 << 31)  # states are kept in [2^31, 2^63)
WORD = np.uint64(32)
MAX_LANES = 256  # each costs 8 bytes
BLOCK_BITS = (11, 13, 15, 17, 19)  # log2 of the bytes a block may have


def frequency_table(block: np.ndarray) -> np.ndarray:
    """Frequencies (256,) int64 of the bytes `block` (n,), adding up to 2^16; what occurs has at least 1."""
    counts = np.bincount(block, minlength=256)
    table = np.where(counts > 0, np.maximum((counts << TOTAL_BITS) // counts.sum(), 1), 0)
    table[table.argmax()] += (1 << TOTAL_BITS) - table.sum()  # the largest has 256 or more, the sum is off by less
    return table


def pack_table(table: np.ndarray) -> bytes:
    """A frequency table (256,) as bytes."""
    return np.packbits(table > 0).tobytes() + table[table > 0].astype("<u2").tobytes()


def unpack_table(data: bytes, position: int) -> tuple[np.ndarray, int]:
    """(the frequency table (256,) uint64 that lies at `position`, the position after it)."""
    occurs = np.unpackbits(np.frombuffer(data, np.uint8, 32, position)).astype(bool)
    frequencies = np.frombuffer(data, "<u2", int(occurs.sum()), position + 32).astype(np.uint64)
    table = np.zeros(256, np.uint64)
    table[occurs] = np.where(frequencies == 0, 1 << TOTAL_BITS, frequencies)
    return table, position + 32 + 2 * len(frequencies)


def block_bits(symbols: np.ndarray) -> int:
    """log2 of the block length, of BLOCK_BITS, with which the bytes `symbols` (n,) and their tables cost least."""

    def cost_bytes(bits: int) -> float:
        total = 0.0
        for first in range(0, len(symbols), 1 << bits):
            counts = np.bincount(symbols[first : first + (1 << bits)], minlength=256)
            counts = counts[counts > 0]
            total += 32 + 2 * len(counts) - (counts * np.log2(counts / counts.sum())).sum() / 8
        return total

    return min(BLOCK_BITS, key=cost_bytes)


def starts_of(table: np.ndarray) -> np.ndarray:
    """Where the slots of each byte begin in 0..2^16, (256,) uint64."""
    return (np.cumsum(table) - table).astype(np.uint64)


def rans_compress(data: bytes) -> bytes:
    """`data` by rANS, at most 4 GiB."""
    lanes = min(MAX_LANES, 1 + len(data) // 4096)
    symbols = np.frombuffer(data, np.uint8)
    bits = block_bits(symbols)
    head = np.array([len(data)], "<u4").tobytes() + np.array([lanes], "<u2").tobytes() + bytes([bits])
    if not data:
        return head
    rows = -(-len(data) // lanes)
    symbols = np.concatenate((symbols, np.repeat(symbols[-1:], rows * lanes - len(data)))).reshape(rows, lanes)
    rows_per_block = -(-(1 << bits) // lanes)
    states = np.full(lanes, LOWEST)
    tables, words = [], []
    for first in reversed(range(0, rows, rows_per_block)):
        block = symbols[first : first + rows_per_block]
        table = frequency_table(block.ravel())
        tables.append(pack_table(table))
        frequencies, starts = table.astype(np.uint64)[block], starts_of(table)[block]
        limits = frequencies << np.uint64(63 - TOTAL_BITS)
        for row in reversed(range(len(block))):
            full = states >= limits[row]
            words.append(states[full].astype("<u4"))
            states[full] >>= WORD
            quotients, remainders = np.divmod(states, frequencies[row])
            states = (quotients << np.uint64(TOTAL_BITS)) + remainders + starts[row]
    stream = np.concatenate(words[::-1]).tobytes()
    return head + b"".join(tables[::-1]) + states.astype("<u8").tobytes() + stream


def rans_decompress(data: bytes) -> bytes:
    """Inverse of `rans_compress`; data that no encoder wrote raise PipelineError."""
    try:
        return _decompress(data)
    except (ValueError, IndexError) as error:
        raise PipelineError(f"rANS data are truncated or damaged ({error}); write them again") from error


def _decompress(data: bytes) -> bytes:
    size, lanes, bits = int(np.frombuffer(data, "<u4", 1)[0]), int(np.frombuffer(data, "<u2", 1, 4)[0]), data[6]
    if size == 0:
        return b""
    if lanes == 0 or bits > 32:
        raise ValueError("no lanes, or a block longer than any data")
    rows, rows_per_block = -(-size // lanes), -(-(1 << bits) // lanes)
    position, tables = 7, []
    for _ in range(0, rows, rows_per_block):
        table, position = unpack_table(data, position)
        if table.sum() != 1 << TOTAL_BITS:
            raise ValueError("frequencies do not add up")
        tables.append(table)
    states = np.frombuffer(data, "<u8", lanes, position).astype(np.uint64)
    words = np.frombuffer(data, "<u4", offset=position + 8 * lanes).astype(np.uint64)
    symbols = np.empty((rows, lanes), np.uint8)
    taken, slot_mask = 0, np.uint64((1 << TOTAL_BITS) - 1)
    for block, table in enumerate(tables):
        symbol_of_slot, starts = np.repeat(np.arange(256, dtype=np.uint8), table.astype(np.int64)), starts_of(table)
        for row in range(block * rows_per_block, min((block + 1) * rows_per_block, rows)):
            slots = states & slot_mask
            symbols[row] = found = symbol_of_slot[slots]
            states = table[found] * (states >> np.uint64(TOTAL_BITS)) + slots - starts[found]
            empty = np.flatnonzero(states < LOWEST)
            states[empty] = (states[empty] << WORD) | words[taken : taken + len(empty)]
            taken += len(empty)
    if taken != len(words) or (states != LOWEST).any():
        raise ValueError("the states do not end where encoding began")
    return symbols.tobytes()[:size]
