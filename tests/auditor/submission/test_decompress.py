"""Decoders give the library's answer, and stop at the bound for data that would not stop by itself."""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from auditor.submission.decompress import BoundExceededError, Budget, UndecodableError, decode, decompress

RAW = {"format": lzma.FORMAT_RAW, "filters": [{"id": lzma.FILTER_LZMA2}]}
PACKERS: dict[str, tuple[str, Callable[[bytes], bytes], dict[str, object]]] = {
    "xz": ("lzma", lzma.compress, {}),
    "lzma alone": ("lzma", lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE), {}),
    "lzma raw": ("lzma", lambda data: lzma.compress(data, **RAW), RAW),
    "zlib": ("zlib", zlib.compress, {}),
    "deflate": ("zlib", lambda data: zlib.compress(data, wbits=-15), {"wbits": -15}),
    "gzip": ("gzip", gzip.compress, {}),
    "bz2": ("bz2", bz2.compress, {}),
    "brotli": ("brotli", brotli.compress, {}),
    "zstandard": ("zstandard", zstandard.compress, {}),
}
TEXT = b"print('hello')\n" * 50


@pytest.mark.parametrize("kind", PACKERS)
def test_round_trip(kind: str) -> None:
    decoder, pack, options = PACKERS[kind]
    assert decompress(decoder, pack(TEXT), Budget(), **options) == TEXT


@pytest.mark.parametrize("kind", ["xz", "gzip", "bz2"])
def test_streams_one_behind_the_other(kind: str) -> None:
    decoder, pack, options = PACKERS[kind]
    assert decompress(decoder, pack(TEXT) + pack(b"more"), Budget(), **options) == TEXT + b"more"


@pytest.mark.parametrize("kind", PACKERS)
def test_a_bomb_stops_at_the_bound(kind: str) -> None:
    decoder, pack, options = PACKERS[kind]
    bomb = pack(bytes(24 << 20))
    with pytest.raises(BoundExceededError, match="more than 1,048,576 bytes"):
        decompress(decoder, bomb, Budget(output_bytes=1 << 20), **options)


@pytest.mark.parametrize("kind", PACKERS)
def test_the_bound_is_shared_by_all_layers(kind: str) -> None:
    decoder, pack, options = PACKERS[kind]
    budget = Budget(output_bytes=2 * len(TEXT) - 1)
    decompress(decoder, pack(TEXT), budget, **options)
    with pytest.raises(BoundExceededError):
        decompress(decoder, pack(TEXT), budget, **options)


@pytest.mark.parametrize("kind", [kind for kind in PACKERS if kind not in ("lzma raw", "deflate")])
def test_damaged_data_is_an_error_of_its_own(kind: str) -> None:
    decoder, pack, options = PACKERS[kind]
    packed = pack(TEXT)
    with pytest.raises(UndecodableError):
        decompress(decoder, b"?" + packed, Budget(), **options)


@pytest.mark.parametrize("kind", ["xz", "gzip", "brotli"])
def test_data_that_ends_early(kind: str) -> None:
    decoder, pack, options = PACKERS[kind]
    with pytest.raises(UndecodableError):
        decompress(decoder, pack(TEXT)[:-12], Budget(), **options)


def test_a_filter_that_asks_for_gigabytes_of_dictionary() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 3 << 30}]
    with pytest.raises(BoundExceededError, match="dictionary"):
        decompress("lzma", b"", Budget(), format=lzma.FORMAT_RAW, filters=filters)


def test_time_is_bounded() -> None:
    with pytest.raises(BoundExceededError, match="takes more than 0 s"):
        decompress("zlib", zlib.compress(TEXT), Budget(seconds=0))


@pytest.mark.parametrize(
    ("kind", "encode"),
    [
        ("b85", base64.b85encode),
        ("a85", base64.a85encode),
        ("b64", base64.b64encode),
        ("urlsafe_b64", base64.urlsafe_b64encode),
        ("b32", base64.b32encode),
        ("b16", base64.b16encode),
        ("hex", lambda data: data.hex().encode()),
    ],
)
def test_text_codes(kind: str, encode: Callable[[bytes], bytes]) -> None:
    assert decode(kind, encode(TEXT), Budget()) == TEXT


def test_text_that_is_not_in_the_code() -> None:
    with pytest.raises(UndecodableError, match="b85"):
        decode("b85", b"\xff\xff", Budget())
