"""Decoders that stop at a bound: a bomb of gigabytes costs a few megabytes and one line."""

from __future__ import annotations

import base64
import binascii
import bz2
import codecs
import io
import lzma
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from auditor.submission import bounds

_STEP_BYTES = 1 << 20
_LZMA_MEMORY_BYTES = 128 * bounds.MIB  # preset 9 needs 65 MiB; a raw filter may ask for 4 GiB of dictionary


class BoundExceededError(Exception):
    """Unpacking would cost more than it may; the message names the bound."""


class UndecodableError(Exception):
    """The data is not what the decoder expects."""


class Budget:
    """What all layers of one script may cost together: bytes of output and seconds of this thread's processor time."""

    def __init__(self, output_bytes: int = bounds.UNPACK_BYTES, seconds: float = bounds.UNPACK_SECONDS) -> None:
        self.bytes_left = output_bytes
        self._total_bytes = output_bytes
        self._seconds = seconds
        self._deadline = time.thread_time() + seconds

    def spend(self, count: int) -> None:
        """Account for `count` bytes of output; raises BoundExceededError."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise BoundExceededError(f"unpacks to more than {self._total_bytes:,} bytes")
        self.check_time()

    def check_time(self) -> None:
        """Raises BoundExceededError when the time is up."""
        if time.thread_time() > self._deadline:
            raise BoundExceededError(f"takes more than {self._seconds:g} s to unpack")


def decompress(kind: str, data: bytes, budget: Budget, **options: object) -> bytes:
    """`data` decompressed by "lzma", "zlib", "bz2", "gzip", "brotli" or "zstandard".

    `options` are those of the module's own ``decompress``. Raises UndecodableError and BoundExceededError.
    """
    try:
        return b"".join(_bounded(_STREAMS[kind](data, options), budget))
    except BoundExceededError:
        raise
    except Exception as error:  # each library has its own errors, and hostile options raise still others
        raise UndecodableError(f"{kind}: {error}") from error


def decode(kind: str, data: bytes, budget: Budget, **options: object) -> bytes:
    """`data` decoded by "b16", "b32", "b64", "b85", "a85", "hex", "urlsafe_b64" ...; raises UndecodableError."""
    budget.spend(len(data))
    try:
        return TEXT_CODES[kind](data, **options)
    except Exception as error:
        raise UndecodableError(f"{kind}: {error}") from error


def _bounded(pieces: Iterator[bytes], budget: Budget) -> Iterator[bytes]:
    for piece in pieces:
        budget.spend(len(piece))
        yield piece


def _lzma_stream(data: bytes, options: Mapping[str, object]) -> Iterator[bytes]:
    chosen = int(str(options.get("format", lzma.FORMAT_AUTO)))
    filters = _lzma_filters(options.get("filters"))
    first = True
    while data or first:
        memory = None if chosen == lzma.FORMAT_RAW else _LZMA_MEMORY_BYTES
        stream = lzma.LZMADecompressor(format=chosen, memlimit=memory, filters=filters)
        try:
            yield stream.decompress(data, _STEP_BYTES)
            while not stream.eof and not stream.needs_input:
                yield stream.decompress(b"", _STEP_BYTES)
        except lzma.LZMAError:
            if first:
                raise
            return  # trailing garbage, which the library ignores too
        if not stream.eof and chosen != lzma.FORMAT_RAW:
            raise UndecodableError("the data ends before its end-of-stream marker")
        data, first = stream.unused_data if stream.eof else b"", False


def _lzma_filters(value: object) -> list[dict[str, object]] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or not all(isinstance(item, dict) for item in value):
        raise UndecodableError("filters that are no list of dictionaries")
    filters = [dict(item) for item in value]
    for item in filters:
        size = item.get("dict_size", 0)
        if not isinstance(size, int) or size > _LZMA_MEMORY_BYTES:
            raise BoundExceededError(f"asks for an LZMA dictionary above {_LZMA_MEMORY_BYTES:,} bytes")
    return filters


def _zlib_stream(data: bytes, options: Mapping[str, object]) -> Iterator[bytes]:
    stream = zlib.decompressobj(int(str(options.get("wbits", zlib.MAX_WBITS))))
    yield stream.decompress(data, _STEP_BYTES)
    while stream.unconsumed_tail:
        yield stream.decompress(stream.unconsumed_tail, _STEP_BYTES)
    yield stream.flush(_STEP_BYTES)


def _gzip_stream(data: bytes, options: Mapping[str, object]) -> Iterator[bytes]:
    while data.strip(b"\0"):
        stream = zlib.decompressobj(wbits=31)
        yield stream.decompress(data, _STEP_BYTES)
        while stream.unconsumed_tail:
            yield stream.decompress(stream.unconsumed_tail, _STEP_BYTES)
        if not stream.eof:
            raise UndecodableError("the data ends before its end-of-stream marker")
        data = stream.unused_data


def _bz2_stream(data: bytes, options: Mapping[str, object]) -> Iterator[bytes]:
    while data:
        stream = bz2.BZ2Decompressor()
        yield stream.decompress(data, _STEP_BYTES)
        while not stream.eof and not stream.needs_input:
            yield stream.decompress(b"", _STEP_BYTES)
        data = stream.unused_data if stream.eof else b""


def _brotli_stream(data: bytes, options: Mapping[str, object]) -> Iterator[bytes]:
    import brotli

    stream = brotli.Decompressor()
    yield stream.process(data, output_buffer_limit=_STEP_BYTES)
    while not stream.is_finished():
        piece = stream.process(b"", output_buffer_limit=_STEP_BYTES)
        if not piece:
            raise UndecodableError("the data ends before its end-of-stream marker")
        yield piece


def _zstandard_stream(data: bytes, options: Mapping[str, object]) -> Iterator[bytes]:
    import zstandard

    stream = zstandard.ZstdDecompressor(max_window_size=_LZMA_MEMORY_BYTES).stream_reader(
        io.BytesIO(data), read_across_frames=True
    )
    while piece := stream.read(_STEP_BYTES):
        yield piece


_STREAMS: dict[str, Callable[[bytes, Mapping[str, object]], Iterator[bytes]]] = {
    "lzma": _lzma_stream,
    "zlib": _zlib_stream,
    "gzip": _gzip_stream,
    "bz2": _bz2_stream,
    "brotli": _brotli_stream,
    "zstandard": _zstandard_stream,
}
TEXT_CODES: dict[str, Callable[..., bytes]] = {
    "b16": base64.b16decode,
    "b32": base64.b32decode,
    "b32hex": base64.b32hexdecode,
    "b64": base64.b64decode,
    "standard_b64": base64.standard_b64decode,
    "urlsafe_b64": base64.urlsafe_b64decode,
    "b85": base64.b85decode,
    "a85": base64.a85decode,
    "hex": binascii.unhexlify,
    "quopri": binascii.a2b_qp,
    "uu": lambda data: b"".join(binascii.a2b_uu(line) for line in data.splitlines() if line),
    "rot13": lambda data: codecs.encode(data.decode("latin-1"), "rot13").encode("latin-1"),
}
