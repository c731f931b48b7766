"""Constant folding of wrapper scripts: what would they execute, and under which environment?

The folder walks a module's statements in order and computes what follows from its literals alone, by a closed list of
operations that have no effect outside of it: nothing of the script is ever compiled or executed. Files that the
script writes exist in a dictionary; ``exec``, ``runpy`` and imports of them are recorded, not obeyed. Whatever does
not follow from literals is unknown, and an ``exec`` of something unknown is reported as such.

Decoders are bounded in output and time, every other operation by the size of its result and the number of steps.
"""

from __future__ import annotations

import ast
import json
import posixpath
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from auditor.submission import bounds
from auditor.submission.builtin_calls import CONSTANTS, PURE_CALLS, PURE_METHODS, elements, operate
from auditor.submission.decompress import TEXT_CODES, BoundExceeded, Budget, Undecodable, decode, decompress
from auditor.submission.text import decode_source
from auditor.submission.values import (
    Arguments,
    Code,
    Decompressor,
    Environment,
    FilePath,
    Function,
    Handle,
    Loader,
    Method,
    ModuleObject,
    Namespace,
    Reference,
    Unfoldable,
)

ROOT = "/<root>/"  # where the submission's files appear to lie; no real path is involved
TEMPORARY = "/<tmp>"
_MAX_STEPS = 400_000
_MAX_CALLS = 8  # depth of the wrapper's own functions
_MAX_REPEATS = 10_000
_EXECUTORS = frozenset({"exec", "eval", "execfile"})
_RUNNERS = frozenset({"run_path", "run_module", "exec_module", "load_module", "load_source"})
_PROCESSES = frozenset(
    f"{module}.{name}"
    for module, names in {
        "subprocess": ("run", "call", "check_call", "check_output", "Popen"),
        "os": ("execv", "execve", "execvp", "execvpe", "spawnv", "spawnvp", "system", "popen"),
    }.items()
    for name in names
)
_TEMPORARIES = frozenset({"tempfile.mkdtemp", "tempfile.gettempdir", "tempfile.mktemp", "os.getcwd"})


@dataclass(frozen=True, slots=True)
class Execution:
    """A piece of source that the wrapper runs, imports or runs in another process.

    `namespace` is "__main__" or the module's name; `stored` is the file of the submission it was read from, if any;
    `decoders` how it was packed, innermost first.
    """

    source: str | bytes
    namespace: str
    how: str
    line: int
    decoders: tuple[str, ...] = ()
    stored: str = ""
    name: str = ""  # of the written file


@dataclass(slots=True)
class Folded:
    """What folding a module found out."""

    executions: list[Execution] = field(default_factory=list)
    written: dict[str, bytes] = field(default_factory=dict)  # files the wrapper writes, by their pretended path
    environment: dict[str, str] = field(default_factory=dict)
    environment_defaults: dict[str, str] = field(default_factory=dict)
    unopened: list[tuple[int, str]] = field(default_factory=list)  # line and what could not be opened there
    unexplained: list[tuple[int, str]] = field(default_factory=list)  # statements with an effect that is not known
    exceeded: str = ""  # which bound struck


def runs_code(tree: ast.AST) -> bool:
    """Whether source, a file or a module made at run time is executed anywhere in `tree`."""
    return any(_executor(node) for node in ast.walk(tree))


def _executor(node: ast.AST) -> str:
    if isinstance(node, ast.Name) and node.id in _EXECUTORS and isinstance(node.ctx, ast.Load):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) and node.attr in _RUNNERS else ""


def _dotted(node: ast.expr) -> str:
    """``module.name`` or ``name``; "" for anything deeper."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def _hidden_executor(node: ast.AST) -> str:
    """Code that is built, or reached by a computed name: ``marshal.loads``, ``getattr(builtins, x)``."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
        return ""
    function = _dotted(node.func)
    if function in ("marshal.loads", "types.CodeType", "types.FunctionType"):
        return function
    if function in ("getattr", "vars") and node.args and isinstance(node.args[0], ast.Name):
        return function if node.args[0].id in ("builtins", "__builtins__") else ""
    computed = function == "__import__" and node.args and not isinstance(node.args[0], ast.Constant)
    return function if computed else ""


def fold_module(
    tree: ast.Module, path: str, read: Callable[[str], bytes | None], budget: Budget, *, whole: bool = True
) -> Folded:
    """Fold a module. `path` is its place below the root, `read` returns a file of the submission by such a path.

    With `whole` False only those functions are entered that execute something: for scripts that are no wrapper.
    """
    folder = _Folder(path, read, budget, whole)
    try:
        folder.run(tree.body, folder.globals)
    except BoundExceeded as bound:
        folder.result.exceeded = str(bound)
    except (_Return, _Break, _Continue):
        pass
    folder.report_unopened(tree)
    return folder.result


class _Return(Exception):
    def __init__(self, value: object) -> None:
        self.value = value


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Unknown:
    """The value of a name that folding lost track of."""


_UNKNOWN = _Unknown()


class _Folder:
    def __init__(self, path: str, read: Callable[[str], bytes | None], budget: Budget, whole: bool) -> None:
        self._whole = whole
        self.result = Folded()
        self.file = ROOT + path
        self.globals: dict[str, object] = {"__file__": self.file, "__name__": "__main__"}
        self._read_stored = read
        self._budget = budget
        self._steps = 0
        self._depth = 0
        self._certain = True
        self._given_up = 0  # statements that did not fold
        self._explained: set[int] = set()
        self._made_by: dict[int, tuple[object, tuple[str, ...]]] = {}  # id -> value (kept alive), its decoders
        self._stored_source: dict[int, tuple[object, str]] = {}  # id -> text and the stored file it is the content of

    # --- statements -------------------------------------------------------------------------------------------

    def run(self, body: Iterable[ast.stmt], scope: dict[str, object]) -> None:
        for statement in body:
            self._tick()
            try:
                self._statement(statement, scope)
            except (_Return, _Break, _Continue, BoundExceeded):
                raise
            except Exception as reason:  # whatever a hostile script provokes, the statement stays unknown
                self._give_up(statement, scope, str(reason) or type(reason).__name__)

    def _statement(self, statement: ast.stmt, scope: dict[str, object]) -> None:
        handler = getattr(self, "_do_" + type(statement).__name__.lower(), None)
        if handler is None:
            raise Unfoldable(type(statement).__name__)
        handler(statement, scope)

    def _give_up(self, statement: ast.stmt, scope: dict[str, object], reason: str) -> None:
        self._given_up += 1
        for name in _bound_names(statement):
            scope[name] = _UNKNOWN
        if _has_effect(statement):
            self.result.unexplained.append((statement.lineno, reason))

    def _do_expr(self, statement: ast.Expr, scope: dict[str, object]) -> None:
        if not isinstance(statement.value, ast.Constant):
            self.value(statement.value, scope)

    def _do_assign(self, statement: ast.Assign, scope: dict[str, object]) -> None:
        value = self.value(statement.value, scope)
        for target in statement.targets:
            self._bind(target, value, scope)

    def _do_annassign(self, statement: ast.AnnAssign, scope: dict[str, object]) -> None:
        if statement.value is not None:
            self._bind(statement.target, self.value(statement.value, scope), scope)

    def _do_augassign(self, statement: ast.AugAssign, scope: dict[str, object]) -> None:
        if not isinstance(statement.target, ast.Name):
            raise Unfoldable("augmented assignment")
        old = self._name(statement.target.id, scope)
        scope[statement.target.id] = self._operate(statement.op, old, self.value(statement.value, scope))

    def _do_import(self, statement: ast.Import, scope: dict[str, object]) -> None:
        for alias in statement.names:
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            scope[alias.asname or name] = Reference(name)
            self._imported(alias.name, statement.lineno)

    def _do_importfrom(self, statement: ast.ImportFrom, scope: dict[str, object]) -> None:
        module = statement.module or ""
        for alias in statement.names:
            scope[alias.asname or alias.name] = Reference(f"{module}.{alias.name}")
        self._imported(module, statement.lineno)

    def _do_functiondef(self, statement: ast.FunctionDef, scope: dict[str, object]) -> None:
        scope[statement.name] = _UNKNOWN if statement.decorator_list else Function(statement, scope)

    def _do_classdef(self, statement: ast.ClassDef, scope: dict[str, object]) -> None:
        scope[statement.name] = _UNKNOWN

    def _do_asyncfunctiondef(self, statement: ast.AsyncFunctionDef, scope: dict[str, object]) -> None:
        scope[statement.name] = _UNKNOWN

    def _do_pass(self, statement: ast.stmt, scope: dict[str, object]) -> None:
        """Nothing happens."""

    _do_global = _do_nonlocal = _do_assert = _do_raise = _do_pass

    def _do_delete(self, statement: ast.Delete, scope: dict[str, object]) -> None:
        for target in statement.targets:
            if isinstance(target, ast.Name):
                scope.pop(target.id, None)

    def _do_return(self, statement: ast.Return, scope: dict[str, object]) -> None:
        raise _Return(self.value(statement.value, scope) if statement.value else None)

    def _do_break(self, statement: ast.Break, scope: dict[str, object]) -> None:
        if self._certain:
            raise _Break

    def _do_continue(self, statement: ast.Continue, scope: dict[str, object]) -> None:
        if self._certain:
            raise _Continue

    def _do_if(self, statement: ast.If, scope: dict[str, object]) -> None:
        if name := _environment_guard(statement.test):
            self._defaults_in(statement, name, scope)
            return
        try:
            test = bool(self.value(statement.test, scope))
        except (Unfoldable, Undecodable):
            self._maybe(statement, scope, statement.body, statement.orelse)
        else:
            self.run(statement.body if test else statement.orelse, scope)

    def _defaults_in(self, statement: ast.If, name: object, scope: dict[str, object]) -> None:
        """``if "X" not in os.environ: os.environ["X"] = ...`` is a setdefault."""
        before = dict(self.result.environment)
        self.run(statement.body, scope)
        for key in [key for key, value in self.result.environment.items() if before.get(key) != value]:
            value = self.result.environment.pop(key)
            if key in before:
                self.result.environment[key] = before[key]
            else:
                self.result.environment_defaults.setdefault(key, value)

    def _maybe(self, statement: ast.stmt, scope: dict[str, object], *bodies: list[ast.stmt]) -> None:
        """Run bodies of which it is not known whether they run: what they bind is unknown behind them."""
        certain, self._certain = self._certain, False
        try:
            for body in bodies:
                try:
                    self.run(body, scope)
                except _Return:
                    pass
        finally:
            self._certain = certain
        for name in _bound_names(statement):
            scope[name] = _UNKNOWN

    def _do_for(self, statement: ast.For, scope: dict[str, object]) -> None:
        try:
            items = elements(self.value(statement.iter, scope))
        except (Unfoldable, Undecodable):
            self._maybe(statement, scope, statement.body, statement.orelse)
            return
        for item in items:
            self._bind(statement.target, item, scope)
            try:
                self.run(statement.body, scope)
            except _Break:
                return
            except _Continue:
                continue
        self.run(statement.orelse, scope)

    def _do_while(self, statement: ast.While, scope: dict[str, object]) -> None:
        given_up = self._given_up
        for _ in range(_MAX_REPEATS):
            if self._given_up > given_up:  # the body does not fold: one pass has shown what is in it
                return
            try:
                test = bool(self.value(statement.test, scope))
            except (Unfoldable, Undecodable):
                self._maybe(statement, scope, statement.body)
                return
            if not test:
                return
            try:
                self.run(statement.body, scope)
            except _Break:
                return
            except _Continue:
                continue

    def _do_with(self, statement: ast.With, scope: dict[str, object]) -> None:
        for item in statement.items:
            try:
                value = self.value(item.context_expr, scope)
            except (Unfoldable, Undecodable):
                value = _UNKNOWN
            if item.optional_vars is not None:
                self._bind(item.optional_vars, value, scope)
        self.run(statement.body, scope)

    def _do_try(self, statement: ast.Try, scope: dict[str, object]) -> None:
        self.run([*statement.body, *statement.orelse, *statement.finalbody], scope)

    # --- names and targets ------------------------------------------------------------------------------------

    def _bind(self, target: ast.expr, value: object, scope: dict[str, object]) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            items = elements(value)
            if len(items) != len(target.elts) or any(isinstance(part, ast.Starred) for part in target.elts):
                raise Unfoldable("unpacking of unequal length")
            for part, item in zip(target.elts, items, strict=True):
                self._bind(part, item, scope)
        elif isinstance(target, ast.Subscript):
            self._bind_item(self.value(target.value, scope), self.value(target.slice, scope), value)
        elif isinstance(target, ast.Attribute):
            self._bind_attribute(self.value(target.value, scope), target.attr, value)
        else:
            raise Unfoldable("assignment target")

    def _bind_item(self, owner: object, key: object, value: object) -> None:
        if isinstance(owner, Environment):
            self._set_environment(key, value, forced=True)
        elif isinstance(owner, dict):
            try:
                owner[key] = value
            except TypeError as error:
                raise Unfoldable(str(error)) from error
        elif isinstance(owner, list) and isinstance(key, int) and -len(owner) <= key < len(owner):
            owner[key] = value
        elif isinstance(owner, Namespace) and owner.name == "__main__" and isinstance(key, str):
            self.globals[key] = value
        elif not isinstance(owner, Arguments | Namespace) and owner not in (
            Reference("sys.modules"),
            Reference("linecache.cache"),
        ):
            raise Unfoldable("assignment to an item of something unknown")

    def _bind_attribute(self, owner: object, name: str, value: object) -> None:
        if isinstance(owner, ModuleObject):
            if name == "__name__" and isinstance(value, str):
                owner.name = value
        elif not _is_setting(owner, name):
            raise Unfoldable(f"sets {name} on something outside of the wrapper")

    def _set_environment(self, key: object, value: object, *, forced: bool) -> None:
        if not isinstance(key, str) or not isinstance(value, str):
            raise Unfoldable("environment variable that is not a constant")
        if not self._certain:
            raise Unfoldable(f"sets {key} under a condition")
        if forced:
            self.result.environment[key] = value
        elif key not in self.result.environment:
            self.result.environment_defaults.setdefault(key, value)

    def _name(self, name: str, scope: dict[str, object]) -> object:
        value = scope.get(name, self.globals.get(name, Reference("builtins." + name)))
        if value is _UNKNOWN:
            raise Unfoldable(f"{name} is not a constant")
        return value

    # --- expressions ------------------------------------------------------------------------------------------

    def value(self, node: ast.expr, scope: dict[str, object]) -> object:
        """The value of an expression; raises Unfoldable, Undecodable or BoundExceeded."""
        self._tick()
        handler = getattr(self, "_of_" + type(node).__name__.lower(), None)
        if handler is None:
            raise Unfoldable(type(node).__name__)
        return handler(node, scope)

    def _of_constant(self, node: ast.Constant, scope: dict[str, object]) -> object:
        return node.value

    def _of_name(self, node: ast.Name, scope: dict[str, object]) -> object:
        return self._name(node.id, scope)

    def _of_tuple(self, node: ast.Tuple, scope: dict[str, object]) -> object:
        return tuple(self._items(node.elts, scope))

    def _of_list(self, node: ast.List, scope: dict[str, object]) -> object:
        return self._items(node.elts, scope)

    def _items(self, nodes: list[ast.expr], scope: dict[str, object]) -> list[object]:
        items: list[object] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                items.extend(elements(self.value(node.value, scope)))
            else:
                items.append(self.value(node, scope))
        return items

    def _of_dict(self, node: ast.Dict, scope: dict[str, object]) -> object:
        made: dict[object, object] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.value(item, scope)
            if key is None:
                if not isinstance(value, dict):
                    raise Unfoldable("** of something unknown")
                made.update(value)
            else:
                made[_hashable(self.value(key, scope))] = value
        return made

    def _of_joinedstr(self, node: ast.JoinedStr, scope: dict[str, object]) -> object:
        return "".join(str(self.value(part, scope)) for part in node.values)

    def _of_formattedvalue(self, node: ast.FormattedValue, scope: dict[str, object]) -> object:
        value = self.value(node.value, scope)
        if node.format_spec is not None or not isinstance(value, str | int):
            raise Unfoldable("formatted value")
        return str(value)

    def _of_ifexp(self, node: ast.IfExp, scope: dict[str, object]) -> object:
        return self.value(node.body if self.value(node.test, scope) else node.orelse, scope)

    def _of_boolop(self, node: ast.BoolOp, scope: dict[str, object]) -> object:
        value: object = None
        for part in node.values:
            value = self.value(part, scope)
            if bool(value) is isinstance(node.op, ast.Or):
                return value
        return value

    def _of_unaryop(self, node: ast.UnaryOp, scope: dict[str, object]) -> object:
        value = self.value(node.operand, scope)
        if isinstance(node.op, ast.Not):
            return not value
        if isinstance(value, int) and isinstance(node.op, ast.USub):
            return -value
        raise Unfoldable("operator")

    def _of_binop(self, node: ast.BinOp, scope: dict[str, object]) -> object:
        return self._operate(node.op, self.value(node.left, scope), self.value(node.right, scope))

    def _operate(self, operator: ast.operator, left: object, right: object) -> object:
        if isinstance(left, FilePath) and isinstance(right, str) and isinstance(operator, ast.Div):
            return FilePath(posixpath.join(left.text, right))
        return self._made(operate(operator, left, right, self._budget.bytes_left), left, right)

    def _of_compare(self, node: ast.Compare, scope: dict[str, object]) -> object:
        left = self.value(node.left, scope)
        for operator, part in zip(node.ops, node.comparators, strict=True):
            right = self.value(part, scope)
            if not _compare(operator, left, right):
                return False
            left = right
        return True

    def _of_subscript(self, node: ast.Subscript, scope: dict[str, object]) -> object:
        owner = self.value(node.value, scope)
        if isinstance(owner, Environment):
            return self._environment_value(self.value(node.slice, scope))
        if isinstance(owner, Arguments):
            if self.value(node.slice, scope) == 0:
                return self.file
            raise Unfoldable("argument of the command line")
        if isinstance(owner, Namespace) and owner.name == "__main__":
            return self._name(str(self.value(node.slice, scope)), self.globals)
        if not isinstance(owner, str | bytes | list | tuple | dict):
            raise Unfoldable("item of something unknown")
        try:
            return self._made(owner[self._index(node.slice, scope)], owner)  # type: ignore[index,call-overload]
        except (LookupError, TypeError, ValueError) as error:
            raise Unfoldable(str(error)) from error

    def _index(self, node: ast.expr, scope: dict[str, object]) -> object:
        if not isinstance(node, ast.Slice):
            return self.value(node, scope)
        ends = [self.value(part, scope) if part else None for part in (node.lower, node.upper, node.step)]
        return slice(*ends)

    def _of_lambda(self, node: ast.Lambda, scope: dict[str, object]) -> object:
        return Function(node, scope)

    def _of_namedexpr(self, node: ast.NamedExpr, scope: dict[str, object]) -> object:
        value = self.value(node.value, scope)
        self._bind(node.target, value, scope)
        return value

    def _of_listcomp(
        self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp, scope: dict[str, object]
    ) -> list[object]:
        return [self.value(node.elt, inner) for inner in self._iterations(node.generators, dict(scope))]

    _of_generatorexp = _of_setcomp = _of_listcomp

    def _of_dictcomp(self, node: ast.DictComp, scope: dict[str, object]) -> object:
        inner = self._iterations(node.generators, dict(scope))
        return {_hashable(self.value(node.key, each)): self.value(node.value, each) for each in inner}

    def _iterations(self, generators: list[ast.comprehension], scope: dict[str, object]) -> Iterable[dict[str, object]]:
        if not generators:
            yield scope
            return
        first, rest = generators[0], generators[1:]
        for item in elements(self.value(first.iter, scope)):
            self._tick()
            self._bind(first.target, item, scope)
            if all(self.value(condition, scope) for condition in first.ifs):
                yield from self._iterations(rest, scope)

    def _of_attribute(self, node: ast.Attribute, scope: dict[str, object]) -> object:
        return self._attribute(self.value(node.value, scope), node.attr)

    def _attribute(self, owner: object, name: str) -> object:
        if isinstance(owner, Reference):
            return _referenced(f"{owner.dotted}.{name}", self.file)
        if isinstance(owner, FilePath):
            return _path_attribute(owner, name)
        if isinstance(owner, ModuleObject):
            if name == "loader":
                return Loader(owner)
            if name == "__dict__":
                return Namespace(owner.name)
            if name in ("name", "__name__"):
                return owner.name
            if name == "__file__":
                return owner.path or "<module>"
            return Reference(f"<module>.{name}")
        if isinstance(
            owner, str | bytes | list | tuple | dict | Handle | Environment | Loader | Decompressor | Arguments
        ):
            return Method(owner, name)
        raise Unfoldable(f"attribute {name} of something unknown")

    # --- calls ------------------------------------------------------------------------------------------------

    def _of_call(self, node: ast.Call, scope: dict[str, object]) -> object:
        function = self.value(node.func, scope)
        if function == Reference("builtins.globals") or function == Reference("builtins.locals"):
            return Namespace("__main__")
        arguments = self._items(node.args, scope)
        keywords: dict[str, object] = {}
        for keyword in node.keywords:
            value = self.value(keyword.value, scope)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
            elif isinstance(value, dict):
                keywords.update({str(key): item for key, item in value.items()})
            else:
                raise Unfoldable("** of something unknown")
        return self._call(function, arguments, keywords, node)

    def _call(self, function: object, arguments: list[object], keywords: dict[str, object], node: ast.Call) -> object:
        if isinstance(function, Function):
            return self._call_function(function, arguments, keywords)
        if isinstance(function, Method):
            return self._call_method(function, arguments, keywords, node)
        if not isinstance(function, Reference):
            raise Unfoldable("call of something unknown")
        return self._call_reference(function.dotted.removeprefix("builtins."), arguments, keywords, node)

    def _call_function(self, function: Function, arguments: list[object], keywords: Mapping[str, object]) -> object:
        if self._depth >= _MAX_CALLS:
            raise Unfoldable("calls nested too deeply")
        if not self._whole and not runs_code(function.node):
            raise Unfoldable("calls a function of the script")
        scope = self._bound_arguments(function, arguments, keywords)
        self._depth += 1
        try:
            if isinstance(function.node, ast.Lambda):
                return self.value(function.node.body, scope)
            self.run(function.node.body, scope)
        except _Return as returned:
            return returned.value
        finally:
            self._depth -= 1
        return None

    def _bound_arguments(
        self, function: Function, arguments: list[object], keywords: Mapping[str, object]
    ) -> dict[str, object]:
        signature = function.node.args
        names = [argument.arg for argument in (*signature.posonlyargs, *signature.args)]
        scope = {} if function.scope is self.globals else dict(function.scope)
        defaults = dict(zip(reversed(names), reversed(signature.defaults), strict=False))
        keyword_defaults = zip(signature.kwonlyargs, signature.kw_defaults, strict=True)
        defaults.update({argument.arg: node for argument, node in keyword_defaults if node is not None})
        for name, node in defaults.items():
            scope[name] = self.value(node, function.scope)
        if len(arguments) > len(names) and signature.vararg is None:
            raise Unfoldable("too many arguments")
        scope.update(zip(names, arguments, strict=False))
        if signature.vararg is not None:
            scope[signature.vararg.arg] = tuple(arguments[len(names) :])
        known = {*names, *(argument.arg for argument in signature.kwonlyargs)}
        scope.update({name: value for name, value in keywords.items() if name in known})
        if signature.kwarg is not None:
            scope[signature.kwarg.arg] = {name: value for name, value in keywords.items() if name not in known}
        missing = known - scope.keys()
        if missing:
            raise Unfoldable(f"argument {min(missing)} is missing")
        return scope

    def _call_reference(
        self, name: str, arguments: list[object], keywords: dict[str, object], node: ast.Call
    ) -> object:
        if name in ("exec", "eval"):
            return self._execute(name, arguments, keywords, node)
        if name == "compile":
            return self._compile(arguments, keywords)
        module, _, function = name.rpartition(".")
        if function in ("decompress", "open", "LZMAFile", "GzipFile", "BZ2File") and module in _COMPRESSIONS:
            return self._inflated(_COMPRESSIONS[module], arguments, keywords, opened=function != "decompress")
        if name in _DECOMPRESSORS:
            return Decompressor(_DECOMPRESSORS[name], _decompressor_options(name, arguments, keywords))
        if (kind := _text_code(name)) and arguments:
            return self._decoded(kind, arguments[0], keywords)
        if name in _PROCESSES:
            return self._process(name, arguments, node)
        if name == "runpy.run_path" or name == "runpy.run_module":
            return self._run_file(name, arguments, keywords, node)
        if name == "importlib.import_module" or name == "__import__":
            return self._import(arguments, node)
        if name in ("open", "io.open", "codecs.open"):
            return self._open(arguments, keywords)
        if name in _SPECIAL_CALLS:
            return _SPECIAL_CALLS[name](self, arguments, keywords)
        if name in _HARMLESS_CALLS or name.startswith(("<module>.", "torch.backends.", "torch.set_float32")):
            return None
        if name in PURE_CALLS:
            return self._made(PURE_CALLS[name](arguments, keywords, self._budget.bytes_left), *arguments)
        raise Unfoldable(f"calls {name}")

    def _call_method(
        self, method: Method, arguments: list[object], keywords: dict[str, object], node: ast.Call
    ) -> object:
        owner, name = method.owner, method.name
        if isinstance(owner, Handle):
            return self._call_handle(owner, name, arguments)
        if isinstance(owner, FilePath):
            return self._call_path(owner, name, arguments, keywords)
        if isinstance(owner, Environment):
            return self._call_environment(name, arguments, keywords)
        if isinstance(owner, Loader):
            return self._call_loader(owner, name, node)
        if isinstance(owner, Decompressor):
            if name not in ("decompress", "process", "stream_reader"):
                return b""
            return self._inflated(owner.kind, arguments, dict(owner.options), opened=name == "stream_reader")
        if isinstance(owner, Arguments):
            return None
        if isinstance(owner, list) and name in ("append", "extend", "insert"):
            return _grow(owner, name, arguments)
        implementation = PURE_METHODS.get((type(owner), name))
        if implementation is None:
            raise Unfoldable(f"method {name}")
        return self._made(implementation(owner, arguments, keywords, self._budget.bytes_left), owner, *arguments)

    # --- decoding ---------------------------------------------------------------------------------------------

    def _inflated(self, kind: str, arguments: list[object], options: dict[str, object], *, opened: bool) -> object:
        source = arguments[0] if arguments else options.pop("fileobj", options.pop("data", None))
        data = source.content if isinstance(source, Handle) else source
        if isinstance(data, str) and opened:
            data = self._content(data)
        if not isinstance(data, bytes):
            raise Unfoldable(f"{kind} of something unknown")
        if kind == "lzma":
            options.update(zip(("format", "check" if opened else "memlimit", "filters"), arguments[1:], strict=False))
        if kind == "zlib" and len(arguments) > 1:
            options["wbits"] = arguments[1]
        plain = self._made(decompress(kind, data, self._budget, **options), source, data, added=kind)
        if not opened:
            return plain
        assert isinstance(plain, bytes)
        return Handle("", "t" in str(options.get("mode", "")), plain)

    def _decoded(self, kind: str, value: object, keywords: Mapping[str, object]) -> object:
        data = value.encode("utf-8", "replace") if isinstance(value, str) else value
        if not isinstance(data, bytes):
            raise Unfoldable(f"{kind} of something unknown")
        known = {name: item for name, item in keywords.items() if isinstance(item, bool | bytes)}
        return self._made(decode(kind, data, self._budget, **known), value, added=kind)

    def _made(self, result: object, *sources: object, added: str = "") -> object:
        """Remember how a large value was decoded: what it was made from, and by which decoder."""
        if isinstance(result, str | bytes) and len(result) > 64:
            decoders = next((self._made_by[id(source)][1] for source in sources if id(source) in self._made_by), ())
            if not decoders:
                inner = [part for source in sources if isinstance(source, list | tuple) for part in source[:4]]
                decoders = next((self._made_by[id(part)][1] for part in inner if id(part) in self._made_by), ())
            if added or decoders:
                self._made_by[id(result)] = (result, (*decoders, added) if added else decoders)
        elif isinstance(result, list | tuple | dict) and sources and id(sources[0]) in self._made_by:
            for part in result.values() if isinstance(result, dict) else result:
                if isinstance(part, str | bytes):
                    self._made_by[id(part)] = (part, self._made_by[id(sources[0])][1])
        return result

    # --- files ------------------------------------------------------------------------------------------------

    def _open(self, arguments: list[object], keywords: Mapping[str, object]) -> Handle:
        path = _path_text(arguments[0] if arguments else keywords.get("file"))
        mode = str(arguments[1] if len(arguments) > 1 else keywords.get("mode", "r"))
        if any(letter in mode for letter in "wax"):
            key = self._absolute(path)
            if "a" not in mode:
                self.result.written[key] = b""
            return Handle(key, "b" not in mode, None)
        return Handle(self._absolute(path), "b" not in mode, self._content(path))

    def _absolute(self, path: str) -> str:
        base = posixpath.dirname(self.file)
        return posixpath.normpath(posixpath.join(base, path))

    def _content(self, path: str) -> bytes:
        """The content of a file that the wrapper wrote or that the submission holds."""
        for place in (self._absolute(path), posixpath.normpath(posixpath.join(ROOT, path))):
            if place in self.result.written:
                return self.result.written[place]
            if place.startswith(ROOT) and (data := self._read_stored(place[len(ROOT) :])) is not None:
                self._stored_source[id(data)] = (data, place[len(ROOT) :])
                return data
        raise Unfoldable(f"reads {path.removeprefix(ROOT)}, which is not part of the submission")

    def _call_handle(self, handle: Handle, name: str, arguments: list[object]) -> object:
        if name == "write" and handle.content is None:
            self._write(handle.path, arguments[0] if arguments else b"", append=True)
            return None
        if name in ("read", "readlines", "getvalue") and handle.content is not None:
            return self._read(handle, name, arguments)
        if name == "seek" and arguments and isinstance(arguments[0], int) and len(arguments) == 1:
            handle.at = max(arguments[0], 0)
            return handle.at
        if name in ("close", "flush", "fileno", "writelines"):
            return None
        raise Unfoldable(f"method {name} of a file")

    def _read(self, handle: Handle, name: str, arguments: list[object]) -> object:
        assert handle.content is not None
        count = arguments[0] if arguments and name == "read" else None
        if count is not None and not isinstance(count, int):
            raise Unfoldable("reads an unknown count")
        end = len(handle.content) if count is None or count < 0 else handle.at + count
        data, handle.at = handle.content[handle.at : end], end
        if data == handle.content:
            data = handle.content  # keep its identity, by which its origin is known
        result: str | bytes = decode_source(data)[0] if handle.text else data
        if id(data) in self._stored_source:
            self._stored_source[id(result)] = (result, self._stored_source[id(data)][1])
        made = self._made(result, data)
        assert isinstance(made, str | bytes)
        return made.splitlines(keepends=True) if name == "readlines" else made

    def _write(self, path: str, value: object, *, append: bool) -> None:
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        if not isinstance(data, bytes):
            raise Unfoldable("writes something unknown to a file")
        self._budget.spend(len(data))
        if len(self.result.written) > bounds.FOLDER_FILES:
            raise BoundExceeded(f"writes more than {bounds.FOLDER_FILES:,} files")
        before = self.result.written.get(path, b"") if append else b""
        whole = before + data if before else data
        self.result.written[path] = whole
        self._made(whole, value)

    def _call_path(self, path: FilePath, name: str, arguments: list[object], keywords: Mapping[str, object]) -> object:
        if name in ("read_text", "read_bytes"):
            content = self._content(path.text)
            return self._read(Handle(path.text, name == "read_text", content), "read", [])
        if name in ("write_text", "write_bytes"):
            self._write(self._absolute(path.text), arguments[0] if arguments else b"", append=False)
            return None
        if name == "open":
            return self._open([path, *arguments], keywords)
        if name in ("exists", "is_file"):
            return self._exists(path.text)
        if name in ("mkdir", "unlink", "touch", "chmod"):
            return None
        if name in ("resolve", "absolute", "expanduser"):
            return path
        if name in ("joinpath", "with_name", "with_suffix", "as_posix") and all(
            isinstance(part, str) for part in arguments
        ):
            return _derived_path(path, name, [str(part) for part in arguments])
        raise Unfoldable(f"method {name} of a path")

    def _exists(self, path: str) -> bool:
        try:
            self._content(path)
        except Unfoldable:
            raise Unfoldable(f"whether {path} exists") from None
        return True

    # --- environment ------------------------------------------------------------------------------------------

    def _environment_value(self, key: object) -> str:
        if isinstance(key, str) and key in self.result.environment:
            return self.result.environment[key]
        raise Unfoldable(f"environment variable {key}")

    def _call_environment(self, name: str, arguments: list[object], keywords: Mapping[str, object]) -> object:
        if name == "get" and arguments:
            return self._environment_value(arguments[0])
        if name == "setdefault" and len(arguments) == 2:
            self._set_environment(arguments[0], arguments[1], forced=False)
            return _UNKNOWN
        if name == "update":
            pairs = dict(arguments[0]) if arguments and isinstance(arguments[0], dict) else {}
            if arguments and not pairs:
                raise Unfoldable("environment from something unknown")
            for key, value in {**pairs, **keywords}.items():
                self._set_environment(key, value, forced=True)
            return None
        raise Unfoldable(f"method {name} of the environment")

    # --- execution --------------------------------------------------------------------------------------------

    def _compile(self, arguments: list[object], keywords: Mapping[str, object]) -> Code:
        source = arguments[0] if arguments else keywords.get("source")
        mode = arguments[2] if len(arguments) > 2 else keywords.get("mode", "exec")
        if not isinstance(source, str | bytes) or not isinstance(mode, str):
            raise Unfoldable("compiles something unknown")
        return Code(source, mode)

    def _execute(self, how: str, arguments: list[object], keywords: Mapping[str, object], node: ast.Call) -> object:
        code = arguments[0] if arguments else None
        source = code.source if isinstance(code, Code) else code
        if not isinstance(source, str | bytes):
            raise Unfoldable(f"{how} of something unknown")
        if how == "eval" and not (isinstance(code, Code) and code.mode == "exec"):
            return self._evaluate(source, node)
        namespace = arguments[1] if len(arguments) > 1 else keywords.get("globals", Namespace("__main__"))
        self._record(source, _namespace_name(namespace), "exec", node)
        return None

    def _evaluate(self, source: str | bytes, node: ast.Call) -> object:
        text = source.decode("utf-8", "replace") if isinstance(source, bytes) else source
        if len(text) > bounds.SOURCE_BYTES:
            raise BoundExceeded("evaluates a text above the bound of a source")
        try:
            expression = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise Unfoldable(f"evaluates a text that does not parse ({error})") from error
        self._explained.add(id(node.func))
        return self.value(expression.body, self.globals)

    def _record(
        self, source: str | bytes, namespace: str, how: str, node: ast.AST, *, stored: str = "", name: str = ""
    ) -> None:
        decoders = self._made_by.get(id(source), (None, ()))[1]
        stored = stored or self._stored_source.get(id(source), (None, ""))[1]
        line = getattr(node, "lineno", 0)
        self.result.executions.append(Execution(source, namespace, how, line, decoders, stored, name))
        for part in ast.walk(node):
            self._explained.add(id(part))

    def _run_file(self, how: str, arguments: list[object], keywords: Mapping[str, object], node: ast.Call) -> object:
        target = arguments[0] if arguments else keywords.get("path_name", keywords.get("mod_name"))
        path = _path_text(target)
        if how == "runpy.run_module":
            path = path.replace(".", "/") + ".py"
        name = keywords.get("run_name", arguments[2] if len(arguments) > 2 else "")
        self._run_path(path, str(name) or "<run_path>", how, node)
        return None

    def _run_path(self, path: str, namespace: str, how: str, node: ast.AST) -> None:
        content = self._content(path)
        self._record(content, namespace, how, node, name=self._absolute(path))

    def _call_loader(self, loader: Loader, name: str, node: ast.Call) -> object:
        if name not in ("exec_module", "load_module") or not loader.module.path:
            raise Unfoldable(f"method {name} of a loader")
        self._run_path(loader.module.path, loader.module.name, "import", node)
        return loader.module

    def _import(self, arguments: list[object], node: ast.Call) -> object:
        name = arguments[0] if arguments else None
        if not isinstance(name, str):
            raise Unfoldable("imports something unknown")
        self._imported(name, node.lineno)
        self._explained.update(id(part) for part in ast.walk(node.func))
        return Reference(name)

    def _imported(self, name: str, line: int) -> None:
        """An import of a file that the wrapper wrote runs that file."""
        suffixes = ("/" + name.replace(".", "/") + ".py", "/" + name.replace(".", "/") + "/__init__.py")
        for path, content in self.result.written.items():
            if path.endswith(suffixes):
                self._record(content, name, "import", ast.Pass(lineno=line), name=path)

    def _process(self, name: str, arguments: list[object], node: ast.Call) -> object:
        command: object = arguments[1] if name.startswith("os.exec") and len(arguments) > 1 else arguments[:1]
        words: list[str] = []
        for item in elements(command[0] if isinstance(command, list) and len(command) == 1 else command):
            words.extend(shlex.split(item) if isinstance(item, str) and " " in item else [_path_text(item)])
        for word in words:
            if word.endswith(".py"):
                self._run_path(word, "__main__", name, node)
                break
        return None

    # --- bookkeeping ------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise BoundExceeded(f"takes more than {_MAX_STEPS:,} steps to fold")
        if self._steps % 256 == 0:
            self._budget.check_time()

    def report_unopened(self, tree: ast.Module) -> None:
        """Note every place that runs code which folding did not get to see."""
        for node in ast.walk(tree):
            name = _executor(node) or _hidden_executor(node)
            if name and id(node) not in self._explained:
                self.result.unopened.append((getattr(node, "lineno", 0), name))


# --- parts of the syntax -------------------------------------------------------------------------------------------


def _bound_names(statement: ast.stmt) -> set[str]:
    """Names that a statement may bind in its own scope."""
    names = {
        node.id for node in _own_nodes(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        names.add(statement.name)
    return names


def _own_nodes(statement: ast.AST) -> Iterable[ast.AST]:
    """Nodes of a statement without the bodies of functions and classes inside it."""
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def _has_effect(statement: ast.stmt) -> bool:
    """Whether a statement that could not be folded may change what other code does."""
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    sets_elsewhere = any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
    return sets_elsewhere or any(isinstance(node, ast.Call) for node in _own_nodes(statement))


def _environment_guard(test: ast.expr) -> bool:
    """Whether a test reads ``"NAME" not in os.environ``."""
    return (
        isinstance(test, ast.Compare)
        and len(test.ops) == 1
        and isinstance(test.ops[0], ast.NotIn)
        and isinstance(test.comparators[0], ast.Attribute)
        and test.comparators[0].attr == "environ"
    )


def _hashable(value: object) -> object:
    try:
        hash(value)
    except TypeError as error:
        raise Unfoldable(str(error)) from error
    return value


def _compare(operator: ast.cmpop, left: object, right: object) -> bool:
    simple = str | int | bytes | list | tuple | dict | None
    if not isinstance(left, simple) or not isinstance(right, simple):
        raise Unfoldable("comparison with something unknown")
    try:
        match operator:
            case ast.Eq():
                return left == right
            case ast.NotEq():
                return left != right
            case ast.In():
                return left in right  # type: ignore[operator]
            case ast.NotIn():
                return left not in right  # type: ignore[operator]
            case ast.Is():
                return left is right
            case ast.IsNot():
                return left is not right
            case ast.Lt():
                return left < right  # type: ignore[operator,no-any-return]
            case ast.LtE():
                return left <= right  # type: ignore[operator,no-any-return]
            case ast.Gt():
                return left > right  # type: ignore[operator,no-any-return]
            case _:
                return left >= right  # type: ignore[operator,no-any-return]
    except TypeError as error:
        raise Unfoldable(str(error)) from error


# --- names of libraries --------------------------------------------------------------------------------------------

_COMPRESSIONS = {
    "lzma": "lzma",
    "zlib": "zlib",
    "bz2": "bz2",
    "gzip": "gzip",
    "brotli": "brotli",
    "zstandard": "zstandard",
    "zstd": "zstandard",
    "compression.zstd": "zstandard",
    "pyzstd": "zstandard",
}
_DECOMPRESSORS = {
    "lzma.LZMADecompressor": "lzma",
    "zlib.decompressobj": "zlib",
    "bz2.BZ2Decompressor": "bz2",
    "brotli.Decompressor": "brotli",
    "zstandard.ZstdDecompressor": "zstandard",
    "zstandard.ZstdDecompressionObj": "zstandard",
}
_ALIASES = {"builtins.bytes.fromhex": "hex", "builtins.bytearray.fromhex": "hex"}


def _decompressor_options(
    name: str, arguments: list[object], keywords: Mapping[str, object]
) -> tuple[tuple[str, object], ...]:
    positions = {"lzma.LZMADecompressor": ("format", "memlimit", "filters"), "zlib.decompressobj": ("wbits",)}
    return (*zip(positions.get(name, ()), arguments, strict=False), *keywords.items())


def _text_code(name: str) -> str:
    """The decoder that a dotted name means: "base64.b85decode" -> "b85"."""
    module, _, function = name.rpartition(".")
    if module == "base64" and function.endswith("decode"):
        kind = function.removesuffix("decode").rstrip("_")
        return kind if kind in TEXT_CODES else ""
    if module == "binascii":
        return {"unhexlify": "hex", "a2b_hex": "hex", "a2b_base64": "b64", "a2b_qp": "quopri", "a2b_uu": "uu"}.get(
            function, ""
        )
    return "hex" if name in ("bytes.fromhex", "bytearray.fromhex") else ""


def _codecs_decode(folder: _Folder, arguments: list[object], keywords: Mapping[str, object]) -> object:
    """``codecs.decode(data, "zlib")`` and its like."""
    codec = str(arguments[1] if len(arguments) > 1 else keywords.get("encoding", "utf-8")).lower().replace("-", "_")
    codec = codec.removesuffix("_codec")
    if codec in ("zlib", "zip", "bz2"):
        return folder._inflated("bz2" if codec == "bz2" else "zlib", arguments[:1], {}, opened=False)
    known = {"hex": "hex", "base64": "b64", "base_64": "b64", "uu": "uu", "quopri": "quopri", "rot13": "rot13"}
    if codec in known or codec == "rot_13":
        decoded = folder._decoded(known.get(codec, "rot13"), arguments[0], {})
        rotated = isinstance(decoded, bytes) and codec.startswith("rot")
        return decoded.decode("latin-1") if rotated else decoded  # type: ignore[union-attr]
    data = arguments[0]
    if not isinstance(data, bytes):
        raise Unfoldable("decodes something unknown")
    return folder._made(PURE_METHODS[bytes, "decode"](data, [codec], {}, folder._budget.bytes_left), data)


def _referenced(dotted: str, file: str) -> object:
    """What an attribute of a module is: a constant, a special object, or a name to be called."""
    if dotted in CONSTANTS:
        return CONSTANTS[dotted]
    if dotted == "os.environ":
        return Environment()
    if dotted == "sys.argv":
        return Arguments()
    if dotted == "__main__.__file__":
        return file
    if dotted in ("builtins.__builtins__", "builtins.builtins"):
        return Reference("builtins")
    return Reference(dotted.replace("builtins.__builtins__.", "builtins."))


# --- paths ---------------------------------------------------------------------------------------------------------


def _path_text(value: object) -> str:
    if isinstance(value, FilePath):
        return value.text
    if isinstance(value, Handle):
        return value.path
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise Unfoldable("path that is not a constant")
    return value


def _path_attribute(path: FilePath, name: str) -> object:
    if name == "parent":
        return FilePath(posixpath.dirname(path.text))
    if name == "parents":
        parents = [path.text]
        while (above := posixpath.dirname(parents[-1])) != parents[-1] and len(parents) < bounds.FOLDER_DEPTH:
            parents.append(above)
        return tuple(map(FilePath, parents[1:]))
    base = posixpath.basename(path.text)
    stem, suffix = posixpath.splitext(base)
    parts: dict[str, object] = {"name": base, "stem": stem, "suffix": suffix}
    return parts.get(name, Method(path, name))


def _derived_path(path: FilePath, name: str, parts: list[str]) -> object:
    if name == "as_posix":
        return path.text
    if name == "joinpath":
        return FilePath(posixpath.join(path.text, *parts))
    if len(parts) != 1:
        raise Unfoldable(f"method {name} of a path")
    if name == "with_name":
        return FilePath(posixpath.join(posixpath.dirname(path.text), parts[0]))
    return FilePath(posixpath.splitext(path.text)[0] + parts[0])


def _path_call(function: Callable[..., object]) -> Callable[..., object]:
    def call(folder: _Folder, arguments: list[object], keywords: Mapping[str, object]) -> object:
        return function(*map(_path_text, arguments))

    return call


def _namespace_name(value: object) -> str:
    """The module whose globals a namespace argument stands for."""
    if isinstance(value, Namespace):
        return value.name
    if isinstance(value, dict):
        name = value.get("__name__", "__main__")
        return name if isinstance(name, str) else "?"
    return "?"


def _is_setting(owner: object, name: str) -> bool:
    """Whether an assignment changes only how python or torch run, not what the payload computes."""
    if owner == Reference("sys"):
        return name in ("argv", "path", "dont_write_bytecode")
    return isinstance(owner, Reference) and owner.dotted.startswith(("torch.backends.", "torch._dynamo.config"))


def _setattr(folder: _Folder, arguments: list[object], keywords: Mapping[str, object]) -> None:
    if len(arguments) != 3 or not isinstance(arguments[0], ModuleObject):
        raise Unfoldable("sets an attribute on something outside of the wrapper")


def _json(folder: _Folder, arguments: list[object], keywords: Mapping[str, object]) -> object:
    text = arguments[0] if arguments else None
    if isinstance(text, Handle):
        text = text.content
    if not isinstance(text, str | bytes):
        raise Unfoldable("JSON of something unknown")
    folder._budget.spend(len(text))
    try:
        return folder._made(json.loads(text), text)
    except (ValueError, RecursionError) as error:
        raise Unfoldable(f"JSON that does not parse ({error})") from error


def _grow(owner: list[object], name: str, arguments: list[object]) -> None:
    if len(owner) > _MAX_REPEATS:
        raise Unfoldable("list too long")
    if name == "append" and len(arguments) == 1:
        owner.append(arguments[0])
    elif name == "extend" and len(arguments) == 1:
        owner.extend(elements(arguments[0]))
    elif name == "insert" and len(arguments) == 2 and isinstance(arguments[0], int):
        owner.insert(arguments[0], arguments[1])
    else:
        raise Unfoldable(f"method {name}")


def _stream(folder: _Folder, arguments: list[object], keywords: Mapping[str, object]) -> Handle:
    content = arguments[0] if arguments else b""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if not isinstance(data, bytes):
        raise Unfoldable("stream over something unknown")
    folder._made(data, content)
    return Handle("", isinstance(content, str), data)


def _getattr(folder: _Folder, arguments: list[object], keywords: Mapping[str, object]) -> object:
    if len(arguments) < 2 or not isinstance(arguments[1], str):
        raise Unfoldable("attribute of something unknown")
    return folder._attribute(arguments[0], arguments[1])


def _module(folder: _Folder, arguments: list[object], keywords: Mapping[str, object]) -> ModuleObject:
    """``spec_from_file_location(name, path)``, ``SourceFileLoader(name, path)``, ``ModuleType(name)``."""
    name = arguments[0] if arguments else keywords.get("name")
    location = arguments[1] if len(arguments) > 1 else keywords.get("location", keywords.get("path", ""))
    if not isinstance(name, str):
        raise Unfoldable("module without a constant name")
    return ModuleObject(name, _path_text(location) if location else "")


def _same_module(folder: _Folder, arguments: list[object], keywords: Mapping[str, object]) -> object:
    if arguments and isinstance(arguments[0], ModuleObject):
        return arguments[0]
    raise Unfoldable("module of an unknown specification")


_SPECIAL_CALLS: dict[str, Callable[[_Folder, list[object], Mapping[str, object]], object]] = {
    "codecs.decode": _codecs_decode,
    "io.BytesIO": _stream,
    "io.StringIO": _stream,
    "getattr": _getattr,
    "setattr": _setattr,
    "json.loads": _json,
    "json.load": _json,
    "importlib.util.spec_from_file_location": _module,
    "importlib.machinery.SourceFileLoader": lambda f, a, k: Loader(_module(f, a, k)),
    "importlib.util.module_from_spec": _same_module,
    "types.ModuleType": _module,
    "imp.load_source": _module,
    "vars": lambda f, a, k: f._attribute(a[0], "__dict__") if a else Namespace("__main__"),
    "pathlib.Path": lambda f, a, k: FilePath(posixpath.join(*map(_path_text, a)) if a else "."),
    "pathlib.PurePath": lambda f, a, k: FilePath(posixpath.join(*map(_path_text, a)) if a else "."),
    "os.path.join": _path_call(posixpath.join),
    "os.path.dirname": _path_call(posixpath.dirname),
    "os.path.basename": _path_call(posixpath.basename),
    "os.path.splitext": _path_call(posixpath.splitext),
    "os.path.normpath": _path_call(posixpath.normpath),
    "os.path.abspath": lambda f, a, k: f._absolute(_path_text(a[0])),
    "os.path.realpath": lambda f, a, k: f._absolute(_path_text(a[0])),
    "os.path.exists": lambda f, a, k: f._exists(_path_text(a[0])),
    "os.path.isfile": lambda f, a, k: f._exists(_path_text(a[0])),
    "tempfile.TemporaryDirectory": lambda f, a, k: TEMPORARY,
    "tempfile.NamedTemporaryFile": lambda f, a, k: Handle(f"{TEMPORARY}/file{k.get('suffix', '')}", False, None),
    **dict.fromkeys(_TEMPORARIES, lambda f, a, k: TEMPORARY),
    "os.getcwd": lambda f, a, k: posixpath.dirname(f.file),
}
_HARMLESS_CALLS = frozenset(
    {
        *("print", "sys.path.insert", "sys.path.append", "sys.exit", "os.makedirs", "os.mkdir", "os.chmod"),
        *("os.remove", "os.unlink", "os.fsync", "os.chdir", "fcntl.flock", "sys.stdout.flush", "time.sleep"),
        *("atexit.register", "warnings.filterwarnings", "shutil.rmtree", "importlib.invalidate_caches"),
        *("linecache.checkcache", "linecache.clearcache", "gc.collect", "sys.setrecursionlimit", "os.replace"),
        *("torch.multiprocessing.set_start_method", "sys.modules.pop"),
    }
)
