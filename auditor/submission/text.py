"""Bytes of a submission as text: byte-order marks, UTF-16 logs, CRLF, Latin-1 leftovers, PEP 263 cookies.

Split what these functions return with ``text.split("\\n")``: ``str.splitlines`` also breaks at form feeds and at
U+2028, which Python's tokenizer and every editor count differently, and line numbers would drift.
"""

from __future__ import annotations

import codecs
import re

_MARKS = (  # the longer mark first: UTF-32-LE begins with UTF-16-LE's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE_BYTES = 4096
_UTF16_NULS = 0.4  # share of NUL bytes at one parity in a sample of mostly ASCII text stored as UTF-16
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263's own expression
_BLANK = re.compile(rb"^[ \t\f]*(?:[#\r\n]|$)")
_PLAIN_CODECS = re.compile(
    r"utf-8|ascii|iso8859-\d+|latin-1|cp\d+|koi8-[rtu]|mac-\w+|gbk|gb2312|gb18030|big5|euc[_-]\w+|shift_jis\w*"
)


def decode(data: bytes) -> str:
    """`data` as text, whatever its encoding; never raises.

    A byte-order mark decides; without one, UTF-16 is told by its NUL bytes, then UTF-8 is tried, and what is not
    UTF-8 is Latin-1. Damage of a few bytes (a log cut inside a character) becomes U+FFFD. CRLF becomes LF; a lone
    carriage return stays, since logs use it inside a line.
    """
    return _decode(data).replace("\r\n", "\n")


def decode_source(data: bytes) -> tuple[str, str]:
    """Python source as text with LF line ends, and a problem ("" when there is none).

    Follows PEP 263: a byte-order mark, else the cookie of the first two lines, else UTF-8. Cookies that name a codec
    which is more than a character table (``rot13``, ``unicode_escape``, ``utf-7``) are not obeyed: the problem says
    so, because what Python would run is then not what a reader sees.
    """
    text, problem = _decode_by_cookie(data)
    return text.replace("\r\n", "\n").replace("\r", "\n"), problem


def _decode_by_cookie(data: bytes) -> tuple[str, str]:
    cookie = "" if data.startswith(tuple(mark for mark, _ in _MARKS)) else _cookie(data)
    if not cookie:
        return _decode(data), _refused_as_utf8(data)
    try:
        codec = codecs.lookup(cookie).name
    except (LookupError, ValueError):
        return _decode(data), f"declares the unknown encoding {cookie!r}"
    if codec == "utf-8":
        return _decode(data), _refused_as_utf8(data)
    if not _PLAIN_CODECS.fullmatch(codec):
        return _decode(data), f"declares the encoding {cookie!r}, which rewrites the source before Python reads it"
    try:
        return data.decode(codec), ""
    except UnicodeDecodeError:
        return _decode(data), f"declares the encoding {cookie!r} but is not valid in it"


def _refused_as_utf8(data: bytes) -> str:
    """Why Python does not run `data` as UTF-8 source; a reader may still make sense of it."""
    if b"\0" in data:
        return "holds null bytes, with which Python does not run it"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"is not valid UTF-8 (byte {error.start:,}), so Python does not run it"
    return ""


def _cookie(data: bytes) -> str:
    for line in re.split(rb"\r\n|\r|\n", data[:_SAMPLE_BYTES], maxsplit=2)[:2]:
        if match := _COOKIE.match(line[:256]):
            return match.group(1).decode("ascii", "replace")
        if not _BLANK.match(line):
            return ""
    return ""


def _decode(data: bytes) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    sample = data[:_SAMPLE_BYTES]
    if b"\0" in sample and (name := _utf16_without_mark(sample)):
        return data.decode(name, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _damaged_utf8_or_latin1(data)


def _utf16_without_mark(sample: bytes) -> str:
    half = max(len(sample) // 2, 1)
    even, odd = sample[0::2].count(0) / half, sample[1::2].count(0) / half
    if odd >= _UTF16_NULS > even:
        return "utf-16-le"
    return "utf-16-be" if even >= _UTF16_NULS > odd else ""


def _damaged_utf8_or_latin1(data: bytes) -> str:
    """UTF-8 with replacement characters when most of the non-ASCII bytes are well-formed, else Latin-1."""
    text = data.decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    intact = sum(map(len, re.findall(rb"[\x80-\xff]+", data))) - damaged
    cut_at_an_end = damaged <= 2 and (text[0] == "\ufffd" or text[-1] == "\ufffd")
    return text if cut_at_an_end or damaged * 4 <= intact else data.decode("latin-1")
