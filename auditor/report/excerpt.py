"""The lines of a submission that a finding points at, with the headers of the blocks around them.

A line such as ``optimizer.step()`` proves little alone. Above it stand the ``for``, ``if`` and ``def`` that enclose
it, found by indentation: that works for scripts that no parser accepts, and costs nothing. Beside a header that reads
a setting stands the value it had in the reported run, and where that is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from auditor.configuration import RunConfiguration
from auditor.findings import Finding, Step
from auditor.submission.model import SourceText, Submission
from auditor.submission.text import decode

MAX_ENCLOSING = 6  # block headers shown above a line
MAX_HEADER_SEARCH = 3_000  # lines looked at upwards
MAX_CONTINUED = 8  # lines shown of a statement that goes on after its first
MAX_STATEMENT_LINE = 200  # characters; in longer lines (packed data, minified code) brackets tell nothing
MAX_SETTINGS = 3  # told beside one header
_SETTING = re.compile(r"(?<=\.)[A-Za-z]\w{2,60}\b|\b[A-Z][A-Z0-9_]{3,60}\b")
_CODE_SUFFIXES = (".py", "!unpacked")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an excerpt. `step` is the number of the step whose statement it belongs to, 0 for an enclosing header.

    `settings` says what the settings that the header reads were in the reported run.
    """

    number: int
    text: str
    step: int = 0
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """One numbered step of a finding and the lines that show it; no lines when the file cannot be shown."""

    step: Step
    number: int
    lines: tuple[Line, ...]


class Excerpts:
    """Cuts passages out of one submission's files; each file is decoded and split once."""

    def __init__(self, submission: Submission, configuration: RunConfiguration) -> None:
        self._submission = submission
        self._configuration = configuration
        self._sources: dict[str, SourceText] = {
            source.path: source for source in (submission.script, *submission.helpers) if source
        }
        self._stored = {item.path: item for item in submission.files}
        self._lines: dict[str, list[str]] = {}

    def passages(self, finding: Finding) -> list[Passage]:
        """One passage for each step; a finding without steps has one for its own place, if it names one."""
        steps = finding.steps or ((Step(finding.path, finding.line, ""),) if finding.path and finding.line else ())
        shown: set[tuple[str, int]] = set()
        passages = []
        for number, step in enumerate(steps, start=1):
            lines = [line for line in self._around(step, number) if line.step or (step.path, line.number) not in shown]
            shown.update((step.path, line.number) for line in lines)
            passages.append(Passage(step, number, tuple(lines)))
        return passages

    def _around(self, step: Step, number: int) -> list[Line]:
        lines = self._file(step.path)
        if not 1 <= step.line <= len(lines):
            return []
        own = Line(step.line, lines[step.line - 1], number)
        if not step.path.endswith(_CODE_SUFFIXES):
            return [own]
        headers = [replace(line, settings=self._settings(line.text)) for line in _enclosing(lines, step.line)]
        return [*headers, own, *_continued(lines, own)]

    def _settings(self, header: str) -> str:
        """The settings that a header reads as attributes or constants, e.g. "TTT_ENABLED=1 (README.md:92)"."""
        told = []
        for word in list(dict.fromkeys(_SETTING.findall(header)))[:MAX_SETTINGS]:
            name = word.upper()
            if setting := self._configuration.lookup(name):
                place = f"{self._submission.relative(setting.place.path)}:{setting.place.line}"
                told.append(f"{name}={setting.value} ({place})")
            elif (default := self._configuration.defaults.get(name)) is not None:
                told.append(f"{name}={default} (the script's default)")
        return ", ".join(told)

    def _file(self, path: str) -> list[str]:
        if path not in self._lines:
            text = self._text(path)
            self._lines[path] = text.split("\n") if text else []
        return self._lines[path]

    def _text(self, path: str) -> str:
        if source := self._sources.get(path):
            return source.text
        stored = self._stored.get(path)
        return decode(stored.data) if stored and stored.data else ""


def _enclosing(lines: list[str], number: int) -> list[Line]:
    """Headers of the blocks around line `number`, outermost first: the nearest lines above that are indented less."""
    depth = _depth(lines[number - 1])
    headers: list[Line] = []
    for above in range(number - 1, max(number - MAX_HEADER_SEARCH, 0), -1):
        text = lines[above - 1]
        if depth == 0:
            break
        if text.strip() and _depth(text) < depth and not text.lstrip().startswith(("#", ")", "]", "}")):
            depth = _depth(text)
            if text.lstrip().startswith(("else", "elif", "except", "finally")):
                depth += 1  # its "if" or "try" tells what the branch is an alternative to
            headers.append(Line(above, text))
    return headers[::-1][-MAX_ENCLOSING:]


def _continued(lines: list[str], first: Line) -> list[Line]:
    """The lines after `first` up to the one that closes its brackets: the arguments of a call, say."""
    after: list[Line] = []
    unclosed = _opened(first.text) if len(first.text) <= MAX_STATEMENT_LINE else 0
    number = first.number
    while unclosed > 0 and len(after) < MAX_CONTINUED and number < len(lines):
        number += 1
        text = lines[number - 1]
        unclosed += _opened(text)
        after.append(Line(number, text, first.step))
    return after


def _opened(text: str) -> int:
    """How many brackets a line leaves open; comments and strings are not looked into."""
    return sum(text.count(bracket) for bracket in "([{") - sum(text.count(bracket) for bracket in ")]}")


def _depth(text: str) -> int:
    expanded = text.expandtabs(8)
    return len(expanded) - len(expanded.lstrip(" "))
