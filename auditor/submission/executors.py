"""Where a module executes source that is not its own: found by one walk over its syntax tree."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_BUILTINS = frozenset({"exec", "eval", "execfile"})
_RUNNERS = frozenset({"run_path", "run_module", "exec_module", "load_module", "load_source"})
_BUILDERS = frozenset({"marshal.loads", "types.CodeType", "types.FunctionType"})
_BY_NAME = frozenset({"globals", "locals", "vars()", "eval", "__import__", "__builtins__", "sys.modules"})
_LONG_LITERAL = 200  # characters; longer ones are data, not code


@dataclass(frozen=True, slots=True)
class Executor:
    """A place that executes source; `function` is the module-level function around it, "" outside of one."""

    node: ast.AST
    name: str
    function: str

    @property
    def line(self) -> int:
        return getattr(self.node, "lineno", 0)


@dataclass(frozen=True, slots=True)
class Survey:
    """What executes something in a module, and how many bytes of its text are code instead of long literals."""

    executors: tuple[Executor, ...]
    code_bytes: int


def survey(text: str, tree: ast.Module) -> Survey:
    """Survey a module's `text` and its syntax tree."""
    starts = [0]
    for line in text.encode("utf-8", "surrogatepass").split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    found: list[Executor] = []
    code_bytes = starts[-1]
    for statement in tree.body:
        function = statement.name if isinstance(statement, ast.FunctionDef) else ""
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant):
                code_bytes -= _long_literal_bytes(node, starts)
            elif name := _executor(node):
                found.append(Executor(node, name, function))
    return Survey(tuple(found), code_bytes)


def executing_functions(tree: ast.Module, executors: Sequence[Executor]) -> frozenset[str]:
    """Names of the module's functions that execute something, or that call one which does."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    names = {function.name: set(_names(function)) for function in functions}
    found = {executor.function for executor in executors}
    while fresh := {name for name in names.keys() - found if names[name] & found}:
        found |= fresh
    return frozenset(found)


def never_called(tree: ast.Module) -> frozenset[str]:
    """Functions of the module that nothing outside of them names; none where names may be computed."""
    named: Counter[str] = Counter()
    defined: set[str] = set()
    for statement in tree.body:
        names = list(_names(statement))
        if _BY_NAME.intersection(names):
            return frozenset()
        if isinstance(statement, ast.FunctionDef):
            defined.add(statement.name)
            names = [name for name in names if name != statement.name]
        named.update(names)
    return frozenset(defined - named.keys())


def _names(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement uses, with ``sys.modules`` and a bare ``vars()`` among them."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Call) and _dotted(node.func) == "vars" and not node.args:
            yield "vars()"
        elif isinstance(node, ast.Attribute) and _dotted(node) == "sys.modules":
            yield "sys.modules"


def _executor(node: ast.AST) -> str:
    """What executes source at this node: a builtin, a runner, code built or reached by a computed name; else ""."""
    if isinstance(node, ast.Name):
        return node.id if node.id in _BUILTINS and isinstance(node.ctx, ast.Load) else ""
    if isinstance(node, ast.Attribute):
        return node.attr if node.attr in _RUNNERS else ""
    if not isinstance(node, ast.Call):
        return ""
    function = _dotted(node.func)
    first = node.args[0] if node.args else None
    of_builtins = isinstance(first, ast.Name) and first.id in ("builtins", "__builtins__")
    computed_import = function == "__import__" and not isinstance(first, ast.Constant)
    hidden = function in _BUILDERS or computed_import or (function in ("getattr", "vars") and of_builtins)
    return function if hidden else ""


def _dotted(node: ast.expr) -> str:
    """``module.name`` or ``name``; "" for anything deeper."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def _long_literal_bytes(node: ast.Constant, starts: list[int]) -> int:
    if not isinstance(node.value, str | bytes) or len(node.value) <= _LONG_LITERAL:
        return 0
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
    return starts[end_line - 1] + end_column - starts[node.lineno - 1] - node.col_offset
