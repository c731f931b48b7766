"""The lines of a submission that a finding points at, with the headers of the blocks around them.

A line such as ``optimizer.step()`` proves little alone. Above it stand the ``for``, ``if`` and ``def`` that enclose
it, found by indentation: that works for scripts that no parser accepts, and costs nothing. Beside a header that reads
a setting stands the value it had in the reported run, and where that is said; or the line of the log that shows that
the run was there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from auditor.configuration import RunConfiguration
from auditor.findings import Finding, Step
from auditor.record.model import Record
from auditor.source.switches import LoggedLines, logged_lines
from auditor.submission import syntax
from auditor.submission.model import SourceText, Submission
from auditor.submission.text import decode

MAX_ENCLOSING = 6  # block headers shown above a line
MAX_HEADER_SEARCH = 3_000  # lines looked at upwards
MAX_CONTINUED = 8  # lines shown of a statement that goes on after its first
MAX_STATEMENT_LINE = 200  # characters; in longer lines (packed data, minified code) brackets tell nothing
MAX_SETTINGS = 3  # told beside one header
_SETTING = re.compile(r"(?<=\.)[A-Za-z]\w{2,60}\b|\b[A-Z][A-Z0-9_]{3,60}\b")
_ALTERNATIVES = ("else", "elif", "except", "finally")
_OFF = frozenset(("0", "false", "off", "no", ""))
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


@dataclass(frozen=True, slots=True)
class _Told:
    """What a header's setting was. `source`: "" for the script's default."""

    text: str
    value: str
    source: str = ""

    @property
    def certain(self) -> bool:
        """Whether nothing but the log can say it better."""
        return self.source == "log" or (bool(self.source) and self.value.lower() not in _OFF)


@dataclass(frozen=True, slots=True)
class _Test:
    """The body of an ``if``."""

    body: Sequence[ast.stmt]

    def leads_to(self, line: int) -> bool:
        """Whether `line` stands in the body."""
        return self.body[0].lineno <= line <= (self.body[-1].end_lineno or self.body[-1].lineno)


@dataclass(frozen=True, slots=True)
class _Outline:
    """The lines of a script at which blocks begin, and those of its ``if`` and ``elif``."""

    headers: frozenset[int]
    tests: Mapping[int, _Test]
    statements: Sequence[tuple[int, int]]  # first and last line of each

    def begin(self, line: int) -> int:
        """The first line of the innermost statement around `line`."""
        return max((first for first, last in self.statements if first <= line <= last), default=line)


def _outline(tree: ast.Module) -> _Outline:
    blocks = [node for node in syntax.walk(tree) if isinstance(getattr(node, "body", None), list)]
    headers = frozenset(node.lineno for node in blocks if isinstance(node, ast.stmt | ast.excepthandler))
    tests = {node.lineno: _Test(node.body) for node in blocks if isinstance(node, ast.If)}
    statements = [
        (node.lineno, node.end_lineno or node.lineno) for node in syntax.walk(tree) if isinstance(node, ast.stmt)
    ]
    return _Outline(headers, tests, statements)


class Excerpts:
    """Cuts passages out of one submission's files; each file is decoded and split once."""

    def __init__(self, submission: Submission, configuration: RunConfiguration, record: Record | None = None) -> None:
        self._submission = submission
        self._configuration = configuration
        self._record = record
        self._outlines: dict[str, _Outline | None] = {}
        self._logged: LoggedLines | None = None
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
        outline = self._outline(step.path)
        headers = _enclosing(lines, step.line, outline)
        told = [replace(line, settings=self._why(line, step.line, outline)) for line in headers]
        return [*told, own, *_continued(lines, own)]

    def _why(self, header: Line, line: int, outline: _Outline | None) -> str:
        """Why the run came through a header to `line`: the settings that it reads, and what the log shows of it.

        Where the log has a line of the branch, no default is told: the run may have had another value.
        """
        told = self._settings(header.text)
        test = outline.tests.get(header.number) if outline else None
        if test is None or not test.leads_to(line) or (told and all(item.certain for item in told)):
            return ", ".join(item.text for item in told)
        place = self._lines_of_logs().place_of(test.body)
        if place is None:
            return ", ".join(item.text for item in told)
        where = f"{self._submission.relative(place.path)}:{place.line}" if place.line else place.path
        kept = [item.text for item in told if item.source and item.value.lower() not in _OFF]
        return ", ".join([*kept, f"the log has its line, {where}"])

    def _settings(self, header: str) -> list[_Told]:
        """The settings that a header reads as attributes or constants, e.g. "TTT_ENABLED=1 (README.md:92)"."""
        told = []
        for name in list(dict.fromkeys(word.upper() for word in _SETTING.findall(header)))[:MAX_SETTINGS]:
            if setting := self._configuration.lookup(name):
                path = self._submission.relative(setting.place.path)
                place = f"{path}:{setting.place.line}" if setting.place.line else path
                told.append(_Told(f"{name}={setting.value} ({place})", setting.value, setting.source))
            elif (default := self._configuration.defaults.get(name)) is not None:
                told.append(_Told(f"{name}={default} (the script's default)", default))
        return told

    def _outline(self, path: str) -> _Outline | None:
        """The blocks of a script that parses."""
        if path not in self._outlines:
            source = self._sources.get(path)
            tree = syntax.parse(source.text).tree if source else None
            self._outlines[path] = None if tree is None else _outline(tree)
        return self._outlines[path]

    def _lines_of_logs(self) -> LoggedLines:
        if self._logged is None:
            script = self._submission.script
            tree = syntax.parse(script.text).tree if script else None
            self._logged = logged_lines(tree, self._record) if tree and self._record else LoggedLines()
        return self._logged

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


def _enclosing(lines: list[str], number: int, outline: _Outline | None) -> list[Line]:
    """Headers of the blocks around line `number`, outermost first: the nearest lines above that are indented less.

    Where it is known at which lines blocks and statements begin, no other lines count: those of a call's arguments may
    stand further to the left than the blocks around the call, or to the right of a block that ended before.
    """
    number = outline.begin(number) if outline else number
    depth = _depth(lines[number - 1])
    headers: list[Line] = []
    for above in range(number - 1, max(number - MAX_HEADER_SEARCH, 0), -1):
        text = lines[above - 1]
        if depth == 0:
            break
        alternative = text.lstrip().startswith(_ALTERNATIVES)
        begins = outline is None or above in outline.headers or alternative
        if text.strip() and begins and _depth(text) < depth and not text.lstrip().startswith(("#", ")", "]", "}")):
            depth = _depth(text)
            if alternative:
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
