"""Branches that the reported run did not take: each prints a line, the lines around them are logged, theirs is not.

A script's default, and the README's command, may switch on what the run that made the claimed score had off. The log
settles it where nothing else explains the silence. So much is asked for:

- The branch prints a literal text whatever happens in it, long enough to be told apart.
- In the same block of statements stand a print before it and one after it, neither below a condition. Both are made by
  the same function with the same arguments, so that they go where the branch's line would have gone, and that function
  does not look at the text.
- The run's log has each of both lines once, and was read whole. A block that was left early, before the branch's line
  or behind it, has not printed the second one, and prints the first one again when it is entered again.
- Between both lines the log has nothing but lines that the other statements between both prints write themselves: a
  line that nothing explains may be the branch's, worded otherwise by an earlier state of the script.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from auditor.record.lines import strip_prefixes
from auditor.record.logs import MAX_RAW_CHARACTERS, MAX_RAW_LINES
from auditor.record.model import RunLog
from auditor.source.templates import MIN_PIECE, all_templates, fits, pieces_of, templates
from auditor.submission import syntax

MAX_NEIGHBOURS = 40  # prints tried on either side of a branch


@dataclass(frozen=True, slots=True)
class _Said:
    """A print of literal text: its constant pieces, and what decides where it goes."""

    pieces: tuple[str, ...]
    printer: str
    options: tuple[str, ...]
    at: int = 0  # position of its statement in the block

    def goes_where(self, other: _Said) -> bool:
        return (self.printer, self.options) == (other.printer, other.options)


class _Place(NamedTuple):
    """Where a branch stands: the block of its ``if``, the position there, and the other side of the ``if``."""

    block: Sequence[ast.stmt]
    at: int
    other_side: Sequence[ast.stmt]


class SilentBranches:
    """What the logs of the claimed `runs` say about the branches of `tree`."""

    def __init__(self, tree: ast.Module, runs: Sequence[RunLog]) -> None:
        self._tree = tree
        whole = all(not run.truncated and len(run.raw_lines) < MAX_RAW_LINES for run in runs)
        self._runs = [[line.strip() for line in run.raw_lines if line.strip()] for run in runs] if whole else []
        self._blocks: dict[int, tuple[list[ast.stmt], int]] | None = None
        self._printed: list[tuple[str, ...]] = []
        self._honest: dict[str, bool] = {}
        self._answers: dict[int, bool] = {}

    def skipped(self, node: ast.If, body: Sequence[ast.stmt]) -> bool:
        """True when no claimed run took `body`, a side of `node`."""
        if not self._runs or not body:
            return False
        key = id(body[0])
        if key not in self._answers:
            self._answers[key] = self._skipped(node, body)
        return self._answers[key]

    def _skipped(self, node: ast.If, body: Sequence[ast.stmt]) -> bool:
        owned = [said for said in _said(body) if self._is_told_apart(said)]
        if not owned:
            return False
        block, at = self._block(node)
        other_side = node.orelse if body is node.body else node.body
        around = [
            said
            for said in _said(block)
            if abs(said.at - at) <= MAX_NEIGHBOURS and said.at != at and self._is_told_apart(said)
        ]
        for said in owned:
            alike = [item for item in around if item.goes_where(said)]
            if all(self._lacks(run, said, alike, _Place(block, at, other_side)) for run in self._runs):
                return True
        return False

    def _lacks(self, run: Sequence[str], said: _Said, around: Sequence[_Said], place: _Place) -> bool:
        """True when a run's log has lines from before and behind the branch, and between them nothing of its own."""
        block, at, other_side = place
        if any(_may_be(said.pieces, line) for line in run):
            return False
        before = self._nearest(run, [item for item in reversed(around) if item.at < at])
        after = self._nearest(run, [item for item in around if item.at > at])
        if before is None or after is None or before[1] >= after[1]:
            return False
        stretch = block[before[0].at : after[0].at + 1]
        if _stored(stretch) & self._asked(said.printer):
            return False  # what decides whether the text is written may have changed in between
        written = templates([*block[before[0].at : at], *other_side, *block[at + 1 : after[0].at + 1]])
        between = run[before[1] + 1 : after[1]]
        return all(any(fits(pieces, line) for pieces in written) for line in between)

    def _nearest(self, run: Sequence[str], candidates: Sequence[_Said]) -> tuple[_Said, int] | None:
        """The first of the candidates whose line a run has once, and that nothing else can have printed."""
        for said in candidates:
            found = [number for number, line in enumerate(run) if fits(said.pieces, line)]
            if len(found) == 1 and sum(fits(pieces, run[found[0]]) for pieces in self._printed) == 1:
                return said, found[0]
        return None

    def _is_told_apart(self, said: _Said) -> bool:
        text = "".join(said.pieces)
        longest = max(len(piece.strip()) for piece in said.pieces)
        plain = text.isascii() and "\n" not in text.strip() and len(text) < MAX_RAW_CHARACTERS // 2
        return plain and longest >= MIN_PIECE and self._writes_whatever_it_is_given(said.printer)

    def _writes_whatever_it_is_given(self, printer: str) -> bool:
        if printer not in self._honest:
            self._honest[printer] = _writes_all(self._tree, printer)
        return self._honest[printer]

    def _asked(self, printer: str) -> set[str]:
        """The names and attributes that decide whether a function of the script writes."""
        functions = [node for node in syntax.survey(self._tree).functions if node.name == printer]
        return {name for function in functions for test in _tests(function) for name in _names(test)}

    def _block(self, node: ast.If) -> tuple[list[ast.stmt], int]:
        """The block of statements that `node` stands in, and its position there."""
        if self._blocks is None:
            self._printed = all_templates(self._tree)
            self._blocks = {
                id(statement): (block, at)
                for parent in syntax.walk(self._tree)
                for name in ("body", "orelse", "finalbody")
                if isinstance(block := getattr(parent, name, None), list)
                for at, statement in enumerate(block)
                if isinstance(statement, ast.If)
            }
        return self._blocks.get(id(node), ([], 0))


def _said(block: Sequence[ast.stmt]) -> Iterator[_Said]:
    """The prints of literal text that are made whenever a block is run to its end."""
    for at, statement in enumerate(block):
        if isinstance(statement, ast.Expr):
            said = _as_said(statement.value, at)
            if said is not None:
                yield said


def _as_said(call: ast.expr, at: int) -> _Said | None:
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and len(call.args) == 1):
        return None
    pieces = pieces_of(call.args[0])
    if not any(piece.strip() for piece in pieces):
        return None
    options = sorted(ast.dump(item) for item in call.keywords if item.arg != "flush")
    return _Said(tuple(pieces), call.func.id, tuple(options), at)


def _may_be(pieces: Sequence[str], line: str) -> bool:
    """True when `line` may be the template's, whatever a reader of logs took away in front of it."""
    return fits(["", strip_prefixes(pieces[0]), *pieces[1:]], line)


def _writes_all(tree: ast.Module, printer: str) -> bool:
    """True for ``print``, and for functions of the script that write their text whatever it says.

    Such a function may ask who it is and where to write, but not what: no condition in it reads the text or anything
    that is made in it.
    """
    definitions = [node for node in syntax.survey(tree).functions if node.name == printer]
    if any(isinstance(node, ast.Name) and node.id == printer and _stores(node) for node in syntax.walk(tree)):
        return False
    if not definitions:
        return printer == "print"
    return all(_asks_nothing_of_its_text(node) for node in definitions)


def _asks_nothing_of_its_text(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    positional = [*function.args.posonlyargs, *function.args.args]
    if not positional:
        return False
    made = {node.id for node in syntax.walk(function) if isinstance(node, ast.Name) and _stores(node)}
    made.add(positional[0].arg)
    opened = {
        item.optional_vars.id
        for node in syntax.walk(function)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name)
    }
    for node in syntax.walk(function):
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension | ast.Try | ast.Match):
            return False
    return not any(_names(test) & (made - opened) for test in _tests(function))


def _tests(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
    for node in syntax.walk(function):
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            yield node.test


def _names(node: ast.AST) -> set[str]:
    """Names and attributes read in an expression."""
    return {
        item.id if isinstance(item, ast.Name) else item.attr
        for item in syntax.walk(node)
        if isinstance(item, ast.Name | ast.Attribute)
    }


def _stored(body: Sequence[ast.stmt]) -> set[str]:
    """Names and attributes that statements assign, and those of which they assign an item."""
    found: set[str] = set()
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
                found |= _names(node)
    return found


def _stores(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
