"""What the guard inside noticed, in the words of `Outcome.seen`. The records are evidence from a hostile place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

MAX_SEEN = 200
MAX_CHARACTERS = 300


def noticed_in(
    records: Iterable[Mapping[str, object]], kinds: Collection[str] = ("guard", "network")
) -> tuple[str, ...]:
    """One line for each kind of attempt, with its place in the script and how often it happened, printable only."""
    lines: dict[str, int] = {}
    for record in records:
        if record.get("kind") not in kinds:
            continue
        count = record.get("count")
        line = _printable(str(record.get("what", ""))) + _place(record.get("site"))
        if line in lines or len(lines) < MAX_SEEN:
            lines[line] = max(lines.get(line, 0), count if isinstance(count, int) else 1)
    return tuple(f"{line} ({count} times)" if count > 1 else line for line, count in lines.items())


def _place(site: object) -> str:
    if isinstance(site, list) and len(site) == 2:
        return f" at {_printable(str(site[0]))}:{_printable(str(site[1]))}"
    return ""


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_CHARACTERS])
