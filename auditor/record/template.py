"""Whether a line of a log may have been printed by a given print statement."""

from __future__ import annotations

from collections.abc import Iterable

FEWEST_CHARACTERS = 4  # of constant text that must agree


def may_print(template: Iterable[str | None], line: str) -> bool:
    """True when the constant pieces of a template occur in `line` in their order; None is a hole.

    A bracketed beginning (a time stamp, a rank) is not asked for: readers of logs take such prefixes away. Linear in
    the line's length.
    """
    parts = tuple(template)
    if parts[:2] == ("[", None) and len(parts) > 2 and (parts[2] or "").startswith("]"):
        parts = ((parts[2] or "")[1:], *parts[3:])
    position = seen = 0
    for part in parts:
        piece = (part or "").strip()
        if not piece:
            continue
        found = line.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
        seen += len(piece)
    return seen >= FEWEST_CHARACTERS
