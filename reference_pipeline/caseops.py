"""CaseOps: a lossless, bijective case transform, so that "The", "the" and "THE" share their pieces.

Three private-use characters mark what was taken away: CAPITAL before a letter that was upper case, ALLCAPS before a
run of two or more upper-case letters, ESCAPE before a literal marker. Only ASCII letters change, hence every byte of
the transformed text is one byte of the raw text except those of the markers, which stand for none. Bits per byte are
divided by RAW bytes: `raw_byte_weights` gives them, and the sidecar file carries them token by token (#1729, #1736).
"""

from __future__ import annotations

import re

import numpy as np

from reference_pipeline.errors import PipelineError

CAPITAL, ALLCAPS, ESCAPE = "\ue001", "\ue002", "\ue004"
MARKERS = CAPITAL + ALLCAPS + ESCAPE
_CAPITALS = re.compile(f"[A-Z]+|[{MARKERS}]")
_MARKED = re.compile(f"{CAPITAL}([a-z])|{ALLCAPS}([a-z]{{2,}})|{ESCAPE}([{MARKERS}])|[A-Z]|[{MARKERS}]", re.DOTALL)


def caseops_encode(text: str) -> str:
    """The transformed text. A run of capitals followed by a small letter keeps its last capital apart ("TVs" -> TV, s;
    "HTMLdoc" has no such ambiguity because the run must end where small letters begin)."""

    def replace(match: re.Match[str]) -> str:
        run = match.group()
        if run in MARKERS:
            return ESCAPE + run
        following = text[match.end() : match.end() + 1]
        if len(run) == 1:
            return CAPITAL + run.lower()
        if "a" <= following <= "z":  # ALLCAPS would swallow the small letters: spell the run letter by letter
            return "".join(CAPITAL + letter.lower() for letter in run)
        return ALLCAPS + run.lower()

    return _CAPITALS.sub(replace, text)


def caseops_decode(text: str) -> str:
    """Inverse of `caseops_encode`; an error when `text` is not its output."""

    def replace(match: re.Match[str]) -> str:
        capital, run, literal = match.groups()
        if capital or run:
            return (capital or run).upper()
        if literal:
            return literal
        raise PipelineError(
            f"CaseOps: {match.group()!r} at character {match.start()} is not marked; the text is damaged"
        )

    return _MARKED.sub(replace, text)


def raw_byte_weights(transformed: str) -> np.ndarray:
    """Raw bytes that each UTF-8 byte of the transformed text stands for: 0 for markers, 1 for the rest; (bytes,) uint8.

    An escaped marker's own three bytes are text: only the ESCAPE before it counts zero.
    """
    weights: list[int] = []
    escaped = False
    for character in transformed:
        size = len(character.encode())
        marker = character in MARKERS and not escaped
        escaped = character == ESCAPE and not escaped
        weights.extend([0 if marker else 1] * size)
    return np.asarray(weights, dtype=np.uint8)
