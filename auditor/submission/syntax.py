"""Parsing of Python source that somebody else wrote: bounded, silent, and once for all who ask.

Several parts of an audit need the same script's tree. A tree is shared: nobody may change it.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from auditor.submission.bounds import SOURCE_BYTES


@dataclass(frozen=True, slots=True)
class Parsed:
    """A syntax tree, or why there is none (`line` counts from 1, 0 where no line is to blame)."""

    tree: ast.Module | None
    problem: str = ""
    line: int = 0


FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_HOLDING_NO_CODE = frozenset(
    "arg asname attr conversion ctx id is_async kind kwd_attrs level module name op ops rest simple "
    "tag type_comment".split()
)
_WITHOUT_PARTS = (ast.Constant, ast.Global, ast.MatchSingleton, ast.Nonlocal)  # their fields hold values and names
_LEAVES = frozenset((ast.Name, *_WITHOUT_PARTS))  # half of all nodes
_WITH_GAPS = frozenset(("keys", "kw_defaults"))  # lists in which None stands for nothing


@dataclass(frozen=True, slots=True)
class Survey:
    """What several parts of an audit look for in a whole tree, found by one walk.

    `calls` and `gradients` (attributes named "grad") come with the names of the functions around them, outermost first.
    `generators` are those of the functions that yield themselves. `slices` have no step.
    """

    functions: tuple[FunctionNode, ...]
    generators: frozenset[FunctionNode]
    calls: tuple[tuple[ast.Call, tuple[str, ...]], ...]
    gradients: tuple[tuple[ast.Attribute, tuple[str, ...]], ...]
    slices: tuple[ast.Slice, ...]


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


@lru_cache(maxsize=8)
def survey(tree: ast.Module) -> Survey:
    """The functions, calls, gradients and slices of a tree, in no particular order."""
    functions: list[FunctionNode] = []
    calls: list[tuple[ast.Call, tuple[str, ...]]] = []
    gradients: list[tuple[ast.Attribute, tuple[str, ...]]] = []
    generators: set[FunctionNode] = set()
    slices: list[ast.Slice] = []
    scopes: list[tuple[ast.AST, tuple[str, ...]]] = [(tree, ())]  # each with the functions around what is in it
    while scopes:
        scope, around = scopes.pop()
        pending = parts(scope)
        while pending:
            node = pending.pop()
            if type(node) in _LEAVES:
                continue
            if isinstance(node, ast.Call):
                calls.append((node, around))
            elif isinstance(node, ast.Attribute):
                if node.attr == "grad":
                    gradients.append((node, around))
            elif isinstance(node, FunctionNode):
                functions.append(node)
                scopes.append((node, (*around, node.name)))
                continue
            elif isinstance(node, ast.Lambda | ast.ClassDef):
                scopes.append((node, around))
                continue
            elif isinstance(node, ast.Slice):
                if node.step is None:
                    slices.append(node)
            elif isinstance(node, ast.Yield | ast.YieldFrom) and isinstance(scope, FunctionNode):
                generators.add(scope)
            pending += parts(node)
    return Survey(tuple(functions), frozenset(generators), tuple(calls), tuple(gradients), tuple(slices))


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and every node below it that may hold code, in no particular order: `ast.walk`, but faster."""
    pending = [node]
    while pending:
        inner = pending.pop()
        yield inner
        if type(inner) not in _LEAVES:
            pending += parts(inner)


def parts(node: ast.AST) -> list[ast.AST]:
    """The nodes directly below `node` that may hold code: operators and contexts are left out."""
    found: list[ast.AST] = []
    for field in _holding_code[type(node)]:
        value = getattr(node, field, None)
        if value.__class__ is list:
            found += value if field not in _WITH_GAPS else filter(None, value)
        elif value is not None:
            found.append(value)
    return found


class _HoldingCode(dict[type[ast.AST], tuple[str, ...]]):
    """The fields of each kind of node that may hold code."""

    def __missing__(self, kind: type[ast.AST]) -> tuple[str, ...]:
        fields = () if issubclass(kind, _WITHOUT_PARTS) else kind._fields
        self[kind] = found = tuple(field for field in fields if field not in _HOLDING_NO_CODE)
        return found


_holding_code = _HoldingCode()
