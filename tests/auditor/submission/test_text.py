"""Whatever a log or script is encoded in, it reads as the same text, and nothing makes decoding raise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.submission.text import decode, decode_source

LINE = "step:10/100 val_loss:2.05 val_bpb:1.21 – done\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"], ids=lambda name: name
)
def test_same_text_from_every_encoding(encoding: str) -> None:
    assert decode(LINE.encode(encoding)) == LINE


def test_utf16_with_big_endian_mark() -> None:
    assert decode(b"\xfe\xff" + LINE.encode("utf-16-be")) == LINE


def test_crlf_becomes_lf_and_lone_carriage_returns_stay() -> None:
    assert decode(b"a\r\nb\rc\n") == "a\nb\rc\n"


def test_latin1_is_read_when_it_is_no_utf8() -> None:
    assert decode("Größe\nfür\n".encode("latin-1")) == "Größe\nfür\n"


@pytest.mark.parametrize("cut", [slice(None, -1), slice(1, None)], ids=["end", "start"])
def test_a_log_cut_inside_a_character_stays_utf8(cut: slice) -> None:
    text = decode("µ loss – 1.2 µ".encode()[cut])
    assert "loss – 1.2" in text


def test_nul_bytes_alone_are_no_utf16() -> None:
    assert decode(b"a\0b val_bpb:1.2 and more text here\n") == "a\0b val_bpb:1.2 and more text here\n"


@given(st.binary(max_size=300))
def test_decoding_never_raises(data: bytes) -> None:
    assert isinstance(decode(data), str)
    assert isinstance(decode_source(data)[0], str)


@given(st.text(alphabet=st.characters(blacklist_characters="\r\0\ufeff", blacklist_categories=["Cs"])))
def test_utf8_text_survives(text: str) -> None:
    assert decode(text.encode()) == text


def test_source_lines_end_in_lf_only() -> None:
    assert decode_source(b"a = 1\r\nb = 2\rc = 3\n") == ("a = 1\nb = 2\nc = 3\n", "")


def test_cookie_names_the_character_table() -> None:
    source = "# -*- coding: cp1252 -*-\nx = '€'\n".encode("cp1252")
    assert decode_source(source) == ("# -*- coding: cp1252 -*-\nx = '€'\n", "")


@pytest.mark.parametrize("cookie", ["rot13", "unicode_escape", "utf-7", "punycode", "no-such-codec"])
def test_cookies_that_rewrite_the_source_are_not_obeyed(cookie: str) -> None:
    text, problem = decode_source(f"# coding: {cookie}\nprint('x')\n".encode())
    assert "print('x')" in text
    assert cookie in problem


@pytest.mark.parametrize("source", [b"x = 1  # coding: rot13\n", b"x = 1\n\n# coding: rot13\n"])
def test_a_cookie_elsewhere_is_a_comment(source: bytes) -> None:
    assert decode_source(source) == (source.decode(), "")
