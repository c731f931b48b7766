"""The corpus of evasions: annotated source, several cases a file, one file a theme.

A file of cases reads from top to bottom as Python. A case begins at ``# case: name`` and ends at the next one; what
stands before the first case is common to the file. The script of a case is the prelude, the file's common part and the
case's own lines. The comment lines that follow ``# case:`` say what is expected of it::

    # case: adapts_before_scoring
    # expect: C3 fail|review          rule and the statuses it may get; repeatable
    # twin of: other_case, another    this case is honest, and looks like those evasions; repeatable
    # setting: TTT_ENABLED=1          the reported run's environment; repeatable
    # logged: adapting on 3 shards    another line of the log; repeatable
    # log: final val_loss:2.05 val_bpb:1.21     the logged line with the claimed score, where it is not the usual one
    # xfail: C3 why the witness gets it wrong today; repeatable

Inside a case ``# file: name.py`` begins another Python file of the submission's folder. Any other comment among the
header lines explains the case.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auditor.findings import Status

FOLDER = Path(__file__).parents[2] / "tests" / "auditor" / "source" / "cases"
PRELUDE = "prelude.py"
SOURCE_RULES = ("C1", "C2", "C3", "C4", "TRAINDATA", "PAIDPREFIX", "EXTERNAL")  # what the source witness speaks to
USUAL_LINE = "final val_loss:2.05000000 val_bpb:1.21412547"

_CASE = re.compile(r"# case: (\w+)$")
_FIELD = re.compile(r"# (expect|twin of|setting|logged|log|xfail): (.+)$")
_FILE = re.compile(r"# file: (\w+\.py)$")
_SCORE = re.compile(r"[:= ](\d+\.\d+)")


class CorpusError(Exception):
    """A file of cases is not written as it should be; the message names the file, the line and the remedy."""


@dataclass(slots=True)
class Case:
    """One script and what the rules should say of it. `line` is where it begins in the file of its theme."""

    name: str
    theme: str
    line: int
    expected: dict[str, frozenset[Status]] = field(default_factory=dict)
    twin_of: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    log_line: str = USUAL_LINE
    logged: tuple[str, ...] = ()
    known_failures: dict[str, str] = field(default_factory=dict)  # rule -> why it is wrong today
    script: str = ""
    helpers: dict[str, str] = field(default_factory=dict)

    @property
    def honest(self) -> bool:
        """Whether the case is an honest twin."""
        return bool(self.twin_of)

    @property
    def claimed_bpb(self) -> float:
        """The score of the claimed log line: its last number."""
        return float(_SCORE.findall(self.log_line)[-1])


def read_corpus(folder: Path = FOLDER) -> tuple[Case, ...]:
    """All cases, in the order of themes and files. Raises CorpusError where a file cannot be read as cases."""
    prelude = (folder / PRELUDE).read_text(encoding="utf-8")
    cases = [
        case
        for path in sorted(folder.glob("*.py"))
        if path.name != PRELUDE
        for case in read_theme(path.stem, path.read_text(encoding="utf-8"), prelude)
    ]
    _check(cases)
    return tuple(cases)


def read_theme(theme: str, text: str, prelude: str = "") -> list[Case]:
    """The cases of one file. Raises CorpusError for a header it cannot read and for a script that is not Python."""
    common, *parts = _split(text.splitlines())
    shared = prelude + "\n\n" + "\n".join(line for _, line in common) + "\n"
    return [_case(theme, part, shared) for part in parts]


def _split(lines: Sequence[str]) -> list[list[tuple[int, str]]]:
    """Numbered lines: first those before any case, then those of each case."""
    parts: list[list[tuple[int, str]]] = [[]]
    for number, line in enumerate(lines, 1):
        if _CASE.match(line):
            parts.append([])
        parts[-1].append((number, line))
    return parts


def _case(theme: str, lines: Sequence[tuple[int, str]], shared: str) -> Case:
    number, first = lines[0]
    match = _CASE.match(first)
    assert match is not None
    case = Case(match.group(1), theme, number)
    rest = list(lines[1:])
    while rest and rest[0][1].startswith("#") and not _FILE.match(rest[0][1]):
        number, line = rest.pop(0)
        found = _FIELD.match(line)
        if found is not None:
            try:
                _read_field(case, *found.groups())
            except ValueError as error:
                raise CorpusError(f"{theme}.py line {number}: {error}") from None
    files = dict(_files(line for _, line in rest))
    case.script = shared + files.pop("")
    case.helpers = files
    for name, text in ((f"case {case.name}", case.script), *files.items()):
        try:
            ast.parse(text)
        except SyntaxError as error:
            raise CorpusError(f"{theme}.py line {case.line}: {name} is not Python ({error.msg})") from None
    return case


def _files(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """The script, named "", and the other files of a case."""
    name, text = "", ""
    for line in lines:
        found = _FILE.match(line)
        if found is None:
            text += line + "\n"
            continue
        yield name, text
        name, text = found.group(1), ""
    yield name, text


def _read_field(case: Case, key: str, text: str) -> None:
    if key == "expect":
        rule, _, statuses = text.partition(" ")
        if rule not in SOURCE_RULES:
            raise ValueError(f"no such rule of the source witness: {rule}")
        case.expected[rule] = frozenset(Status(status) for status in statuses.split("|"))
    elif key == "twin of":
        case.twin_of += tuple(name.strip() for name in text.split(","))
    elif key == "setting":
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError("a setting is written NAME=VALUE")
        case.settings[name] = value
    elif key == "logged":
        case.logged += (text,)
    elif key == "log":
        case.log_line = text
        if not _SCORE.findall(text):
            raise ValueError("the log line holds no score")
    else:
        rule, _, why = text.partition(" ")
        if rule not in SOURCE_RULES or not why:
            raise ValueError("an xfail names a rule and a reason")
        case.known_failures[rule] = why


def _check(cases: Sequence[Case]) -> None:
    """The corpus keeps its own promises: unique names, a twin beside every evasion, no evasion that may pass."""
    names: dict[str, Case] = {}
    for case in cases:
        where = f"{case.theme}.py line {case.line}: {case.name}"
        if case.name in names:
            raise CorpusError(f"{where} has the name of another case")
        names[case.name] = case
        if not case.expected:
            raise CorpusError(f"{where} expects nothing")
        wrong = Status.FAIL if case.honest else Status.PASS
        if any(wrong in statuses for statuses in case.expected.values()):
            raise CorpusError(f"{where} may not end in {wrong.value}")
    twinned = {name for case in cases for name in case.twin_of}
    for case in cases:
        if not case.honest and case.name not in twinned:
            raise CorpusError(f"{case.theme}.py line {case.line}: {case.name} has no honest twin")
    for name in sorted(twinned - {case.name for case in cases if not case.honest}):
        raise CorpusError(f"a twin names the evasion {name}, which does not exist")
