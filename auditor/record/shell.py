"""Shell commands as READMEs, scripts and logs write them: which script they run, under which environment.

A small reader for what such commands look like (assignments in front, ``export``, ``env``, continuations, loops over
seeds); it is no shell, expands nothing and runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from auditor.record.model import Place, ReadmeCommand

MAX_COMMANDS = 300
MAX_COMMAND_CHARACTERS = 8_000
_ASSIGNMENT = re.compile(r"(?<![\w./${-])([A-Za-z_]\w{0,60})=(\"[^\"\n]{0,400}\"|'[^'\n]{0,400}'|[^\s;|&)\"'`]{0,400})")
_RUNNER = re.compile(r"(?<![\w/.-])(?:torchrun|python3?(?:\.\d{1,2})?|uv run|accelerate launch|modal run)(?![\w-])")
_SCRIPT = re.compile(r"(?<![\w/.-])([\w./${}-]{1,200}\.py)\b")
_PROMPT = re.compile(r"^\s{0,12}(?:\$|>|#|\+{1,3})\s{1,4}(?=\S)")
_VARIABLE = re.compile(r"\$(?:\{[^}]{0,400}\}|\w{1,60}|\()")
_DEFAULTED = re.compile(r"^\$\{(\w{1,60}):?-([^}$]{0,400})\}$")


@dataclass(slots=True)
class _Scope:
    """Variables that earlier lines of one block exported."""

    exported: dict[str, str] = field(default_factory=dict)


def commands_in(lines: Sequence[tuple[int, str]], path: str, *, heading: str = "") -> Iterator[ReadmeCommand]:
    """The commands of one code block or script. `lines` are numbered; exports reach the commands below them."""
    scope = _Scope()
    found = False
    settings: dict[str, str] = {}
    first = lines[0][0] if lines else 0
    for number, text in _joined(lines):
        runner = _RUNNER.search(text)
        script = _SCRIPT.search(text, runner.end()) if runner else None
        before = text[: runner.start()] if runner else text
        assigned = _assignments(before)
        if runner and script and not re.search(r"\bpip\b|\binstall\b", text[: script.start()]):
            found = True
            yield ReadmeCommand(
                {**scope.exported, **assigned},
                text[:MAX_COMMAND_CHARACTERS],
                script[1].rsplit("/", 1)[-1],
                Place(path, number),
                heading,
            )
        elif re.match(r"\s{0,12}export\b", text) or (assigned and _only_assignments(text)):
            scope.exported.update(assigned)
            settings.update(assigned)
    if not found and settings and all(name.isupper() or "_" in name for name in settings):
        yield ReadmeCommand(settings, "", None, Place(path, first), heading)


def _joined(lines: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Lines with their continuations (a backslash, or a line that only assigns and ends in one) put together."""
    parts: list[str] = []
    start = 0
    for number, raw in lines:
        raw = raw.replace("\\_", "_")  # Markdown's escape, where a command was not put into code
        text = _PROMPT.sub("", raw.rstrip()) if not parts else raw.strip()
        if not parts:
            start = number
            if text.lstrip().startswith("#"):
                continue
        goes_on = text.endswith(("\\", "^", "`")) and not text.endswith("``")
        parts.append(re.sub(r"\s#\s.*$", "", text.rstrip("\\^`")) if not goes_on else text[:-1])
        if goes_on and sum(map(len, parts)) < MAX_COMMAND_CHARACTERS:
            continue
        yield start, " ".join(part.strip() for part in parts)
        parts = []
    if parts:
        yield start, " ".join(part.strip() for part in parts)


def _assignments(text: str) -> dict[str, str]:
    """``NAME=value`` words. Values that refer to other variables are unknown, unless they carry a default."""
    settings = {}
    for match in _ASSIGNMENT.finditer(text):
        value = match[2].strip("\"'").rstrip(",")
        if default := _DEFAULTED.match(value):
            value = default[2]
        if not _VARIABLE.search(value):
            settings[match[1]] = value
    return settings


def _only_assignments(text: str) -> bool:
    return not re.sub(r"^\s{0,12}(?:export|env|set|declare -x)\b", "", _ASSIGNMENT.sub(" ", text)).strip(" ;&\t")
