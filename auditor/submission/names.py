"""Paths of a submission as text that can be shown: no control characters, no surrogates, no bidirectional marks."""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")


ODD_NAME = "the name holds control characters or is not UTF-8; it is shown escaped"


def shown(name: bytes | str) -> str:
    """`name` with unprintable characters and undecodable bytes written as escapes."""
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as os.fsdecode carries it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
