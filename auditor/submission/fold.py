"""Constant folding of wrapper scripts: what would they execute, and under which environment?

The folder walks a module's statements in order and computes what follows from its literals alone, by a closed list of
operations that have no effect outside of it: nothing of the script is ever compiled or executed. Files that the
script writes exist in a dictionary; ``exec``, ``runpy`` and imports of them are recorded, not obeyed. Whatever does
not follow from literals is unknown, and an ``exec`` of something unknown is reported as such.

Decoders are bounded in output and time, every other operation by the size of its result and the number of steps.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Any

from auditor.submission import syntax
from auditor.submission.builtin_calls import PURE_CALLS, PURE_METHODS, elements, operate
from auditor.submission.decompress import BoundExceededError, Budget, UndecodableError
from auditor.submission.effects import Effects, Folded
from auditor.submission.executors import Executor, executing_functions, never_called
from auditor.submission.library import attribute, call_method, call_reference, is_setting
from auditor.submission.values import (
    UNKNOWN,
    Call,
    Code,
    CommandLine,
    Environment,
    FilePath,
    Function,
    Method,
    ModuleObject,
    Namespace,
    Reference,
    UnfoldableError,
)

_MAX_STEPS = 400_000
_MAX_CALLS = 8  # depth of the wrapper's own functions
_MAX_REPEATS = 10_000  # of a while loop
_SHOWN_REPEATS = 64  # of a for loop whose body does not fold
_PURE_METHOD_NAMES = frozenset(name for kind, name in PURE_METHODS if kind in (str, bytes)) | {
    "format",
    "items",
    "keys",
}
_BOOKKEEPING = frozenset({Reference("sys.modules"), Reference("linecache.cache")})

_UNKNOWABLE = (UnfoldableError, UndecodableError, LookupError, TypeError, ValueError)

_Scope = dict[str, object]


class _End(Enum):
    """How a body of statements ended before its last one."""

    BREAK = auto()
    CONTINUE = auto()
    RETURN = auto()


def fold_module(
    tree: ast.Module,
    path: str,
    read: Callable[[str], bytes | None],
    budget: Budget,
    executors: Sequence[Executor],
    *,
    whole: bool = True,
) -> Folded:
    """Fold a module. `path` is its place below the root, `read` returns a file of the submission by such a path.

    `executors` are the module's, as `executors.survey` finds them. With `whole` False only those functions are entered
    that lead to an execution: for scripts that are no wrapper. Never raises for what the module holds.
    """
    effects = Effects(path, read, budget)
    try:
        _Folder(effects, None if whole else executing_functions(tree, executors)).run(tree.body, None)
    except BoundExceededError as bound:
        effects.folded.exceeded = str(bound)
    closed = [executor for executor in executors if id(executor.node) not in effects.explained]
    dead = never_called(tree) if closed else frozenset()
    effects.folded.unopened.extend((item.line, item.name) for item in closed if item.function not in dead)
    return effects.folded


class _Folder:
    """Folds one module. Handlers of statements return how the body ended, those of expressions the value."""

    def __init__(self, effects: Effects, entered: frozenset[str] | None) -> None:
        self.effects = effects
        self._entered = entered  # names of functions whose calls are followed; None: all
        self._globals: _Scope = {"__file__": effects.file, "__name__": "__main__"}
        self._returned: object = None
        self._steps = 0
        self._depth = 0
        self._given_up = 0  # statements that did not fold

    # --- statements -------------------------------------------------------------------------------------------

    def run(self, body: Iterable[ast.stmt], scope: _Scope | None) -> _End | None:
        """Fold statements in order; what one of them leaves unknown stays unknown."""
        scope = self._globals if scope is None else scope
        for statement in body:
            self._tick()
            try:
                handler = getattr(self, f"_do_{type(statement).__name__.lower()}", self._do_unknown)
                end: _End | None = handler(statement, scope)
            except BoundExceededError:
                raise
            except Exception as reason:  # whatever a hostile script provokes, the statement stays unknown
                self._give_up(statement, scope, str(reason) or type(reason).__name__)
                continue
            if end is not None:
                return end
        return None

    def _give_up(self, statement: ast.stmt, scope: _Scope, reason: str) -> None:
        self._given_up += 1
        for name in _bound_names(statement):
            scope[name] = UNKNOWN
        if _has_effect(statement) and not _sets_command_line(statement):
            self.effects.folded.unexplained.append((statement.lineno, reason))

    def _do_unknown(self, statement: ast.stmt, scope: _Scope) -> None:
        raise UnfoldableError(type(statement).__name__)

    def _do_expr(self, statement: ast.Expr, scope: _Scope) -> None:
        if not isinstance(statement.value, ast.Constant):
            self.value(statement.value, scope)

    def _do_assign(self, statement: ast.Assign, scope: _Scope) -> None:
        value = self.value(statement.value, scope)
        for target in statement.targets:
            self._bind(target, value, scope)

    def _do_annassign(self, statement: ast.AnnAssign, scope: _Scope) -> None:
        if statement.value is not None:
            self._bind(statement.target, self.value(statement.value, scope), scope)

    def _do_augassign(self, statement: ast.AugAssign, scope: _Scope) -> None:
        if not isinstance(statement.target, ast.Name):
            raise UnfoldableError("augmented assignment to something unknown")
        old = self._name(statement.target.id, scope)
        scope[statement.target.id] = self._operate(statement.op, old, self.value(statement.value, scope))

    def _do_import(self, statement: ast.Import, scope: _Scope) -> None:
        for alias in statement.names:
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            scope[alias.asname or name] = Reference(name)
            self.effects.import_module(alias.name, statement.lineno)

    def _do_importfrom(self, statement: ast.ImportFrom, scope: _Scope) -> None:
        module = statement.module or ""
        for alias in statement.names:
            scope[alias.asname or alias.name] = attribute(self.effects, Reference(module), alias.name)
        self.effects.import_module(module, statement.lineno)

    def _do_functiondef(self, statement: ast.FunctionDef, scope: _Scope) -> None:
        scope[statement.name] = UNKNOWN if statement.decorator_list else Function(statement, scope)

    def _do_classdef(self, statement: ast.ClassDef | ast.AsyncFunctionDef, scope: _Scope) -> None:
        scope[statement.name] = UNKNOWN

    _do_asyncfunctiondef = _do_classdef

    def _do_pass(self, statement: ast.stmt, scope: _Scope) -> None:
        """Nothing happens."""

    _do_global = _do_nonlocal = _do_assert = _do_raise = _do_pass

    def _do_delete(self, statement: ast.Delete, scope: _Scope) -> None:
        for target in statement.targets:
            if isinstance(target, ast.Name):
                scope.pop(target.id, None)

    def _do_return(self, statement: ast.Return, scope: _Scope) -> _End:
        self._returned = UNKNOWN
        if statement.value is None:
            self._returned = None
        else:
            self._returned = self.value(statement.value, scope)
        return _End.RETURN

    def _do_break(self, statement: ast.Break, scope: _Scope) -> _End:
        return _End.BREAK

    def _do_continue(self, statement: ast.Continue, scope: _Scope) -> _End:
        return _End.CONTINUE

    def _do_if(self, statement: ast.If, scope: _Scope) -> _End | None:
        if _is_environment_guard(statement.test):
            return self._defaults_in(statement, scope)
        try:
            test = bool(self.value(statement.test, scope))
        except _UNKNOWABLE:
            self._maybe(statement, scope, statement.body, statement.orelse)
            return None
        return self.run(statement.body if test else statement.orelse, scope)

    def _defaults_in(self, statement: ast.If, scope: _Scope) -> _End | None:
        """``if "X" not in os.environ: os.environ["X"] = ...`` is a setdefault."""
        folded = self.effects.folded
        before = dict(folded.environment)
        end = self.run(statement.body, scope)
        changed = {name: value for name, value in folded.environment.items() if before.get(name) != value}
        folded.environment = before
        for name, value in changed.items():
            self.effects.set_variable(name, value, forced=False)
        return end

    def _maybe(self, statement: ast.stmt, scope: _Scope, *bodies: list[ast.stmt]) -> None:
        """Fold bodies of which it is not known whether they run: what they bind is unknown behind them."""
        certain, self.effects.certain = self.effects.certain, False
        try:
            for body in bodies:
                self.run(body, scope)
        finally:
            self.effects.certain = certain
        for name in _bound_names(statement):
            scope[name] = UNKNOWN

    def _do_for(self, statement: ast.For, scope: _Scope) -> _End | None:
        try:
            items = elements(self.value(statement.iter, scope))
        except _UNKNOWABLE:
            self._maybe(statement, scope, statement.body, statement.orelse)
            return None
        given_up = self._given_up
        for count, item in enumerate(items):
            if count >= _SHOWN_REPEATS and self._given_up > given_up:
                self._maybe(statement, scope)
                return None
            self._bind(statement.target, item, scope)
            end = self.run(statement.body, scope)
            if end is _End.RETURN:
                return end
            if end is _End.BREAK:
                return None
        return self.run(statement.orelse, scope)

    def _do_while(self, statement: ast.While, scope: _Scope) -> _End | None:
        given_up = self._given_up
        for _ in range(_MAX_REPEATS):
            if self._given_up > given_up:  # the body does not fold: one pass has shown what is in it
                return None
            try:
                test = bool(self.value(statement.test, scope))
            except _UNKNOWABLE:
                self._maybe(statement, scope, statement.body)
                return None
            end = self.run(statement.body, scope) if test else _End.BREAK
            if end is _End.RETURN:
                return end
            if end is _End.BREAK:
                return None
        return None

    def _do_with(self, statement: ast.With, scope: _Scope) -> _End | None:
        for item in statement.items:
            try:
                value = self.value(item.context_expr, scope)
            except _UNKNOWABLE:
                value = UNKNOWN
            if item.optional_vars is not None:
                self._bind(item.optional_vars, value, scope)
        return self.run(statement.body, scope)

    def _do_try(self, statement: ast.Try, scope: _Scope) -> _End | None:
        return self.run([*statement.body, *statement.orelse, *statement.finalbody], scope)

    # --- names and targets ------------------------------------------------------------------------------------

    def _bind(self, target: ast.expr, value: object, scope: _Scope) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            items: list[object] = [UNKNOWN] * len(target.elts) if value is UNKNOWN else elements(value)
            if len(items) != len(target.elts) or any(isinstance(part, ast.Starred) for part in target.elts):
                raise UnfoldableError("unpacking of unequal length")
            for part, item in zip(target.elts, items, strict=True):
                self._bind(part, item, scope)
        elif isinstance(target, ast.Subscript):
            self._bind_item(self.value(target.value, scope), self.value(target.slice, scope), value)
        elif isinstance(target, ast.Attribute):
            self._bind_attribute(self.value(target.value, scope), target.attr, value)
        else:
            raise UnfoldableError("an unknown assignment target")

    def _bind_item(self, owner: object, key: object, value: object) -> None:
        if isinstance(owner, Environment):
            self.effects.set_variable(key, value, forced=True)
        elif isinstance(owner, dict | list):
            _store(owner, key, value)
        elif isinstance(owner, Namespace) and owner.name == "__main__" and isinstance(key, str):
            self._globals[key] = value
        elif not isinstance(owner, CommandLine | Namespace) and owner not in _BOOKKEEPING:
            raise UnfoldableError("sets an item of something outside of the wrapper")

    def _bind_attribute(self, owner: object, name: str, value: object) -> None:
        if isinstance(owner, ModuleObject):
            if name == "__name__" and isinstance(value, str):
                owner.name = value
        elif not is_setting(owner, name):
            raise UnfoldableError(f"sets {name} on something outside of the wrapper")

    def _name(self, name: str, scope: _Scope) -> object:
        value = scope.get(name, self._globals.get(name, Reference("builtins." + name)))
        if value is UNKNOWN:
            raise UnfoldableError(f"{name} is not a constant")
        return Reference("builtins") if value == Reference("builtins.__builtins__") else value

    # --- expressions ------------------------------------------------------------------------------------------

    def value(self, node: ast.expr, scope: _Scope) -> object:
        """The value of an expression; raises UnfoldableError when it does not follow from literals."""
        self._tick()
        handler = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        if handler is None:
            raise UnfoldableError(f"{type(node).__name__} is not folded")
        return handler(node, scope)

    def _of_constant(self, node: ast.Constant, scope: _Scope) -> object:
        return node.value

    def _of_name(self, node: ast.Name, scope: _Scope) -> object:
        return self._name(node.id, scope)

    def _of_attribute(self, node: ast.Attribute, scope: _Scope) -> object:
        return attribute(self.effects, self.value(node.value, scope), node.attr)

    def _of_tuple(self, node: ast.Tuple, scope: _Scope) -> object:
        return tuple(self._items(node.elts, scope))

    def _of_list(self, node: ast.List, scope: _Scope) -> object:
        return self._items(node.elts, scope)

    def _items(self, nodes: list[ast.expr], scope: _Scope) -> list[object]:
        items: list[object] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                items.extend(elements(self.value(node.value, scope)))
            else:
                items.append(self.value(node, scope))
        return items

    def _of_dict(self, node: ast.Dict, scope: _Scope) -> object:
        made: dict[object, object] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.value(item, scope)
            if key is not None:
                made[self.value(key, scope)] = value
            elif isinstance(value, dict):
                made.update(value)
            else:
                raise UnfoldableError("** of something unknown")
        return made

    def _of_joinedstr(self, node: ast.JoinedStr, scope: _Scope) -> object:
        parts = [str(self.value(part, scope)) for part in node.values]
        if sum(map(len, parts)) > self.effects.budget.bytes_left:
            raise UnfoldableError("formats to too much")
        return self.effects.made("".join(parts), parts)

    def _of_formattedvalue(self, node: ast.FormattedValue, scope: _Scope) -> object:
        value = self.value(node.value, scope)
        if node.format_spec is not None or not isinstance(value, str | int | float | FilePath):
            raise UnfoldableError("formats something unknown")
        return value.text if isinstance(value, FilePath) else str(value)

    def _of_ifexp(self, node: ast.IfExp, scope: _Scope) -> object:
        return self.value(node.body if self.value(node.test, scope) else node.orelse, scope)

    def _of_boolop(self, node: ast.BoolOp, scope: _Scope) -> object:
        value: object = None
        for part in node.values:
            value = self.value(part, scope)
            if bool(value) is isinstance(node.op, ast.Or):
                return value
        return value

    def _of_unaryop(self, node: ast.UnaryOp, scope: _Scope) -> object:
        value = self.value(node.operand, scope)
        if isinstance(node.op, ast.Not):
            return not value
        if isinstance(value, int | float) and isinstance(node.op, ast.USub):
            return -value
        raise UnfoldableError("an unknown operator")

    def _of_binop(self, node: ast.BinOp, scope: _Scope) -> object:
        return self._operate(node.op, self.value(node.left, scope), self.value(node.right, scope))

    def _operate(self, operator: ast.operator, left: object, right: object) -> object:
        if isinstance(left, FilePath) and isinstance(right, str) and isinstance(operator, ast.Div):
            return FilePath(posixpath.join(left.text, right))
        return self.effects.made(operate(operator, left, right, self.effects.budget.bytes_left), left, right)

    def _of_compare(self, node: ast.Compare, scope: _Scope) -> object:
        left = self.value(node.left, scope)
        for operator, part in zip(node.ops, node.comparators, strict=True):
            right = self.value(part, scope)
            if not _holds(operator, left, right):
                return False
            left = right
        return True

    def _of_subscript(self, node: ast.Subscript, scope: _Scope) -> object:
        owner = self.value(node.value, scope)
        key = self._key(node.slice, scope)
        if isinstance(owner, Environment):
            return self.effects.variable(key)
        if isinstance(owner, CommandLine) and (key == 0 or isinstance(key, slice)):
            return self.effects.file if key == 0 else owner
        if isinstance(owner, Namespace) and owner.name == "__main__" and isinstance(key, str):
            return self._name(key, self._globals)
        if isinstance(owner, dict):
            return owner[key]
        if isinstance(owner, str | bytes | list | tuple) and isinstance(key, int | slice):
            return self.effects.made(owner[key], owner)
        raise UnfoldableError("an item of something unknown")

    def _key(self, node: ast.expr, scope: _Scope) -> object:
        if not isinstance(node, ast.Slice):
            return self.value(node, scope)
        return slice(*(self.value(part, scope) if part else None for part in (node.lower, node.upper, node.step)))

    def _of_lambda(self, node: ast.Lambda, scope: _Scope) -> object:
        return Function(node, scope)

    def _of_namedexpr(self, node: ast.NamedExpr, scope: _Scope) -> object:
        value = self.value(node.value, scope)
        self._bind(node.target, value, scope)
        return value

    def _of_listcomp(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp, scope: _Scope) -> object:
        return [self.value(node.elt, inner) for inner in self._iterations(node.generators, dict(scope))]

    _of_generatorexp = _of_setcomp = _of_listcomp

    def _of_dictcomp(self, node: ast.DictComp, scope: _Scope) -> object:
        inner = self._iterations(node.generators, dict(scope))
        return {self.value(node.key, each): self.value(node.value, each) for each in inner}

    def _iterations(self, generators: list[ast.comprehension], scope: _Scope) -> Iterator[_Scope]:
        if not generators:
            yield scope
            return
        first, rest = generators[0], generators[1:]
        for item in elements(self.value(first.iter, scope)):
            self._tick()
            self._bind(first.target, item, scope)
            if all(self.value(condition, scope) for condition in first.ifs):
                yield from self._iterations(rest, scope)

    # --- calls ------------------------------------------------------------------------------------------------

    def _of_call(self, node: ast.Call, scope: _Scope) -> object:
        function = self.value(node.func, scope)
        call = Call(self._items(node.args, scope), self._keywords(node, scope), node)
        if isinstance(function, Function):
            return self._call_function(function, call)
        if isinstance(function, Method):
            return call_method(self.effects, function, call)
        if not isinstance(function, Reference):
            raise UnfoldableError("calls something unknown")
        if function.dotted == "builtins.eval":
            return self._evaluate(call)
        return call_reference(self.effects, function.dotted, call)

    def _keywords(self, node: ast.Call, scope: _Scope) -> dict[str, object]:
        keywords: dict[str, object] = {}
        for keyword in node.keywords:
            value = self.value(keyword.value, scope)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
            elif isinstance(value, dict):
                keywords.update({str(name): item for name, item in value.items()})
            else:
                raise UnfoldableError("** of something unknown")
        return keywords

    def _call_function(self, function: Function, call: Call) -> object:
        if self._depth >= _MAX_CALLS:
            raise UnfoldableError("calls nested too deeply")
        followed = self._entered is None or getattr(function.node, "name", "") in self._entered
        if not followed:
            raise UnfoldableError("calls a function of the script")
        scope = self._arguments(function, call)
        self._depth += 1
        try:
            if isinstance(function.node, ast.Lambda):
                return self.value(function.node.body, scope)
            self._returned = None
            self.run(function.node.body, scope)
            returned, self._returned = self._returned, None
            return returned
        finally:
            self._depth -= 1

    def _arguments(self, function: Function, call: Call) -> _Scope:
        signature = function.node.args
        names = [argument.arg for argument in (*signature.posonlyargs, *signature.args)]
        known = {*names, *(argument.arg for argument in signature.kwonlyargs)}
        scope = {} if function.scope is self._globals else dict(function.scope)
        given = self._defaults(function, names)
        given.update(zip(names, call.positional, strict=False))
        given.update({name: value for name, value in call.keywords.items() if name in known})
        surplus = tuple(call.positional[len(names) :])
        if (surplus and signature.vararg is None) or known - given.keys():
            raise UnfoldableError("calls a function with other arguments than it takes")
        if signature.vararg is not None:
            given[signature.vararg.arg] = surplus
        if signature.kwarg is not None:
            given[signature.kwarg.arg] = {name: value for name, value in call.keywords.items() if name not in known}
        return {**scope, **given}

    def _defaults(self, function: Function, names: list[str]) -> dict[str, object]:
        signature = function.node.args
        nodes: dict[str, ast.expr] = dict(zip(reversed(names), reversed(signature.defaults), strict=False))
        for argument, node in zip(signature.kwonlyargs, signature.kw_defaults, strict=True):
            if node is not None:
                nodes[argument.arg] = node
        return {name: self.value(node, function.scope) for name, node in nodes.items()}

    def _evaluate(self, call: Call) -> object:
        code = call.argument(0)
        if isinstance(code, Code) and code.mode == "exec":
            return call_reference(self.effects, "exec", call)
        source = code.source if isinstance(code, Code) else code
        text = source.decode("utf-8", "replace") if isinstance(source, bytes) else source
        if not isinstance(text, str):
            raise UnfoldableError("eval of something unknown")
        tree = syntax.parse_part(text.strip()).tree
        if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
            raise UnfoldableError("eval of what is no expression")
        value = self.value(tree.body[0].value, self._globals)
        self.effects.explained.update(id(part) for part in ast.walk(call.node))
        return value

    def _tick(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise BoundExceededError(f"takes more than {_MAX_STEPS:,} steps to fold")
        if self._steps % 256 == 0:
            self.effects.budget.check_time()


def _bound_names(statement: ast.stmt) -> set[str]:
    """Names that a statement may bind in its own scope."""
    stored = (node for node in _own_nodes(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return {node.id for node in stored}


def _own_nodes(statement: ast.AST) -> Iterator[ast.AST]:
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
    return sets_elsewhere or any(isinstance(node, ast.Call) and not _is_pure(node) for node in _own_nodes(statement))


def _is_pure(call: ast.Call) -> bool:
    """Whether a call by this name changes nothing, whatever it is called on."""
    if isinstance(call.func, ast.Name):
        return call.func.id in PURE_CALLS or call.func.id == "print"
    return isinstance(call.func, ast.Attribute) and call.func.attr in _PURE_METHOD_NAMES


def _sets_command_line(statement: ast.stmt) -> bool:
    """``sys.argv = ...``: what a wrapper passes on is not part of the payload's source."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(isinstance(target, ast.Attribute) and target.attr == "argv" for target in targets)


def _is_environment_guard(test: ast.expr) -> bool:
    """Whether a test reads ``"NAME" not in os.environ``."""
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.NotIn)
        and len(test.ops) == 1
        and isinstance(test.comparators[0], ast.Attribute)
        and test.comparators[0].attr == "environ"
    )


def _store(owner: Any, key: object, value: object) -> None:
    owner[key] = value


def _contains(container: object, item: object) -> bool:
    if isinstance(container, str) and isinstance(item, str):
        return item in container
    if isinstance(container, bytes) and isinstance(item, bytes | int):
        return item in container
    return item in elements(container)


_COMPARABLE = (str, int, float, bytes, list, tuple, dict, range, type(None))
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda left, right: left == right,
    ast.NotEq: lambda left, right: left != right,
    ast.In: lambda left, right: _contains(right, left),
    ast.NotIn: lambda left, right: not _contains(right, left),
    ast.Is: lambda left, right: left is right,
    ast.IsNot: lambda left, right: left is not right,
    ast.Lt: lambda left, right: left < right,
    ast.LtE: lambda left, right: left <= right,
    ast.Gt: lambda left, right: left > right,
    ast.GtE: lambda left, right: left >= right,
}


def _holds(operator: ast.cmpop, left: object, right: object) -> bool:
    """The truth of a comparison between plain values; an identity test against None works on everything known."""
    identity = isinstance(operator, ast.Is | ast.IsNot) and (left is None or right is None)
    simple = all(
        isinstance(value, str | int | float | bytes | list | tuple | dict | range | None) for value in (left, right)
    )
    if not (identity or simple):
        raise UnfoldableError("compares something unknown")
    return bool(_COMPARISONS[type(operator)](left, right))
