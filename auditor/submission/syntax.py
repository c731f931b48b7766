"""Parsing of Python source that somebody else wrote: bounded, silent, and once for all who ask.

Several parts of an audit need the same script's tree. A tree is shared: nobody may change it.
"""

from __future__ import annotations

import ast
import sys
import warnings
from dataclasses import dataclass
from functools import lru_cache

from auditor.submission.bounds import SOURCE_BYTES


@dataclass(frozen=True, slots=True)
class Parsed:
    """A syntax tree, or why there is none (`line` counts from 1, 0 where no line is to blame)."""

    tree: ast.Module | None
    problem: str = ""
    line: int = 0


@lru_cache(maxsize=8)
def parse(text: str) -> Parsed:
    """The tree of a whole file. Never raises for what the text holds."""
    return parse_part(text)


def parse_part(text: str) -> Parsed:
    """Like `parse`, for text that nobody will ask for again."""
    if len(text) > SOURCE_BYTES:
        return Parsed(None, f"not parsed: {len(text):,} characters exceed {SOURCE_BYTES:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the audited text are not ours to report
            return Parsed(ast.parse(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")))
    except SyntaxError as error:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        line = error.lineno or 0
        return Parsed(None, f"does not parse as Python {version}: line {line}: {error.msg}", line)
    except (ValueError, RecursionError, MemoryError) as error:
        return Parsed(None, f"does not parse: {error or type(error).__name__}")
