"""Leaves out of a script what happens before its artifact is read, so that its own evaluation starts there.

The place where the artifact is read is found by the names of its file, the way to it by the calls that lead there from
the script's entry. In each function on that way the statements before it fall into two parts. Up to where training
begins the set-up runs as written, but for what trains or writes the artifact. From there to the reading only
definitions run that something later needs. From the reading on everything runs.

Nothing of this decides over a verdict by itself: the lines left out and those that run are shown, and a script that
stumbles over what is missing ends with an error, which is reported as such.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from auditor.rescore.artifact import names_in
from auditor.rescore.model import Artifact, Cut, Span
from auditor.submission import syntax
from auditor.submission.model import Submission

MAX_DEPTH = 12  # calls on the way to the artifact
MAX_ROUNDS = 8  # of following names that hold the artifact's path
_DEFINITIONS = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Global,
    ast.Nonlocal,
)
_READERS = ("read_bytes", "load", "load_file", "fromfile", "memmap", "read_artifact")
_WRITERS = ("write_bytes", "save", "save_file", "dump", "tofile", "write_atomically")


def cut_out(submission: Submission, artifact: Artifact) -> Cut | None:
    """The cut that makes the script start at its artifact; None where the way to it is not understood.

    A script that trains nowhere is cut nowhere: it starts at an artifact as it is.
    """
    script = submission.script
    if script is None:
        return None
    tree = syntax.parse(script.text).tree
    if tree is None:
        return None
    suffix = PurePosixPath(artifact.path).suffix.lower()
    files = {PurePosixPath(name).name for name in names_in(submission) if PurePosixPath(name).suffix.lower() == suffix}
    files.add(PurePosixPath(artifact.path).name)
    effects = _Effects(tree, files)
    cutter = _Cutter(effects)
    if not cutter.follow(tree.body, 0):
        return None
    trains = any(effects.does(statement, "train") for statement in tree.body if not isinstance(statement, _DEFINITIONS))
    if trains and not any(span.why == TRAINS for span in cutter.spans):
        return None  # what was read is no artifact: training comes behind it
    return Cut(
        path=submission.relative(script.path),
        spans=tuple(cutter.spans),
        reading=tuple(cutter.reading),
        running=tuple(cutter.running),
    )


class _Effects:
    """What statements do, calls included: train, read the artifact, write it."""

    def __init__(self, tree: ast.Module, files: set[str]) -> None:
        self.functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        self._scope = {id(part): node for node in self.functions.values() for part in ast.walk(node)}
        self._paths = _names_of_paths(tree, files, self._scope)
        self._files = files
        self._cache: dict[tuple[str, str], bool] = {}

    def does(self, node: ast.AST, effect: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether executing `node` can have the effect: "train", "read" or "write"."""
        for call in _calls(node):
            if self._direct(call, effect):
                return True
            name = _name(call.func)
            if name in self.functions and name not in seen and self._function(name, effect, seen):
                return True
            handed = {node.id for node in call.args if isinstance(node, ast.Name)}  # timed_eval(label, fn, ...)
            if any(self._function(other, effect, seen) for other in handed & self.functions.keys() - seen):
                return True
        return False

    def _function(self, name: str, effect: str, seen: frozenset[str]) -> bool:
        key = (name, effect)
        if key not in self._cache:
            self._cache[key] = False
            body = self.functions[name].body
            self._cache[key] = any(self.does(statement, effect, seen | {name}) for statement in body)
        return self._cache[key]

    def _direct(self, call: ast.Call, effect: str) -> bool:
        name = _name(call.func)
        if effect == "train":
            return name in ("backward", "grad") and isinstance(call.func, ast.Attribute)
        owner = [call.func.value] if isinstance(call.func, ast.Attribute) else []
        if not any(self._is_path(part) for part in (*owner, *call.args)):
            return False
        if name == "open":
            mode = _mode(call)
            return ("w" in mode or "a" in mode) if effect == "write" else not ("w" in mode or "a" in mode)
        return name in (_WRITERS if effect == "write" else _READERS)

    def _is_path(self, node: ast.AST) -> bool:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                if PurePosixPath(part.value).name in self._files:
                    return True
            elif _keys(part, self._scope) & self._paths:
                return True
        return False


# Where a name means something: (the function's name, a local name), or ("", an attribute or a global name).
Key = tuple[str, str]
Scope = dict[int, ast.FunctionDef]


def _keys(node: ast.AST, scope: Scope) -> set[Key]:
    """The keys under which a name or an attribute may have been assigned."""
    if isinstance(node, ast.Attribute):
        return {("", node.attr)}
    if isinstance(node, ast.Name):
        function = scope.get(id(node))
        return {("", node.id)} | ({(function.name, node.id)} if function else set())
    return set()


def _names_of_paths(tree: ast.Module, files: set[str], scope: Scope) -> set[Key]:
    """Names and attributes that hold the artifact's path: assigned from its file name, directly or through others."""
    assigned: list[tuple[Key, ast.expr]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                function = scope.get(id(target)) if isinstance(target, ast.Name) else None
                assigned.append(((function.name if function else "", _name(target)), node.value))
    found: set[Key] = set()
    for _ in range(MAX_ROUNDS):
        more = {key for key, value in assigned if key[1] and key not in found and _holds(value, files, found, scope)}
        if not more:
            break
        found |= more
    return found


def _holds(value: ast.expr, files: set[str], known: set[Key], scope: Scope) -> bool:
    """Whether an expression is a path to one of `files`; what is computed from its content is not."""
    for call in _calls(value):
        if _name(call.func) in (*_READERS, "open", "getsize", "stat", "exists", "is_file"):
            return False
    for part in ast.walk(value):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and PurePosixPath(part.value).name in files:
            return True
        if _keys(part, scope) & known:
            return True
    return False


@dataclass
class _Cutter:
    """Walks from the entry to the reading of the artifact and collects what is left out on the way."""

    effects: _Effects
    spans: list[Span] = field(default_factory=list)
    reading: list[int] = field(default_factory=list)
    running: list[tuple[int, int]] = field(default_factory=list)
    trained: bool = False  # whether training has begun on the way

    def follow(self, block: Sequence[ast.stmt], depth: int) -> bool:
        """Cut the statements of `block` before the one that reads the artifact; whether there is one."""
        at = self._reading(block)
        if at is None or depth > MAX_DEPTH:
            return False
        statement = block[at]
        self.reading.append(statement.lineno)
        inner = self._inside(statement)
        if inner is None:
            self.running.append((statement.lineno, block[-1].end_lineno or block[-1].lineno))
        elif block[at + 1 :]:
            self.running.append((block[at + 1].lineno, block[-1].end_lineno or block[-1].lineno))
        self._cut(block[:at], block[at:])
        return True if inner is None else self.follow(inner, depth + 1)

    def _reading(self, block: Sequence[ast.stmt]) -> int | None:
        """The statement that reads the artifact after it was last written; definitions read nothing themselves."""
        acting = [index for index, node in enumerate(block) if not isinstance(node, _DEFINITIONS)]
        reads = [index for index in acting if self.effects.does(block[index], "read")]
        writes = [index for index in acting if self.effects.does(block[index], "write")]
        if not reads:
            return None
        last = max(writes, default=-1)
        return next((index for index in reads if index > last), last if last in reads else reads[-1])

    def _inside(self, statement: ast.stmt) -> list[ast.stmt] | None:
        """The block to go on in: of a compound statement, or of the function called; None where reading starts here."""
        before = self.effects.does(statement, "write")
        for name in ("body", "orelse", "finalbody"):
            block = getattr(statement, name, None)
            if block and any(self.effects.does(inner, "read") for inner in block):
                only_reads = not before and not isinstance(statement, ast.If | ast.With | ast.Try)
                return None if only_reads else list(block)
        if not before:
            return None
        for call in _calls(statement):
            function = self.effects.functions.get(_name(call.func))
            if function is not None and any(self.effects.does(inner, "read") for inner in function.body):
                return list(function.body)
        return None

    def _cut(self, before: Sequence[ast.stmt], later: Sequence[ast.stmt]) -> None:
        kept: list[ast.stmt] = []
        needed = _uses(later)
        missing: set[str] = set()
        for statement in before:
            why = self._why_left_out(statement, missing)
            if why:
                self.spans.append(Span(*_lines(statement), why, statement.col_offset))
                missing |= _defines([statement]) - _defines(kept)
            else:
                kept.append(statement)
        # what was left out after training began, and is needed later, comes back with all that it needs itself
        needed |= _uses(statement for statement in kept if not isinstance(statement, _DEFINITIONS))
        for statement in reversed(before):
            place = (*_lines(statement), statement.col_offset)
            span = next((span for span in self.spans if (span.first, span.last, span.column) == place), None)
            if span is None or span.why != _BETWEEN or not _defines([statement]) & needed & missing:
                continue
            self.spans.remove(span)
            missing -= _defines([statement])
            needed |= _uses([statement])

    def _why_left_out(self, statement: ast.stmt, missing: set[str]) -> str:
        if isinstance(statement, _DEFINITIONS):
            return ""
        if self.effects.does(statement, "train"):
            self.trained = True
            return TRAINS
        if self.effects.does(statement, "write"):
            return "writes the artifact"
        if self.trained:
            return _BETWEEN
        return "needs what is left out" if _uses([statement]) & missing else ""


TRAINS, _BETWEEN = "trains", "between training and artifact"


def _lines(statement: ast.stmt) -> tuple[int, int]:
    return statement.lineno, statement.end_lineno or statement.lineno


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """The calls that executing `node` makes; bodies of functions defined in it are not executed by it."""
    stack = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, ast.Call):
            yield part
        if part is not node and isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        stack.extend(ast.iter_child_nodes(part))


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _mode(call: ast.Call) -> str:
    """The mode of an `open`: the second argument, the first of a path's own method, or the keyword."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    own = isinstance(call.func, ast.Attribute)
    given += call.args[0 if own else 1 : 2]
    return next((node.value for node in given if isinstance(node, ast.Constant) and isinstance(node.value, str)), "r")


def _uses(statements: Iterable[ast.stmt]) -> set[str]:
    return {
        node.id
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _defines(statements: Iterable[ast.stmt]) -> set[str]:
    names: set[str] = set()
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.alias):
                names.add((node.asname or node.name).partition(".")[0])
    return names
