"""One call of a module's method: what outlives it, and what its result is made of.

The text is walked in the order of evaluation, along both sides of a branch and without values. Sizes, devices and types
are not what a tensor holds.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from auditor.source.scan import callee, is_in_place, parameters
from auditor.source.values import FUNCTION, Class, Frame, Value
from auditor.submission import syntax

_DEPTH = 6  # of calls that are followed into the script's own functions
_STEPS = 20_000  # of expressions in one question; the longest of 230 real scripts takes 7,234
_ABOUT_IT = frozenset("device dtype is_cuda itemsize layout ndim requires_grad shape training".split())
_SIZES = frozenset("dim get_device is_contiguous is_floating_point ndimension numel size stride".split())
_FRESH = frozenset(
    "arange empty empty_like eye hasattr isinstance len linspace new_empty new_ones new_zeros ones ones_like range "
    "type zeros zeros_like".split()
)
_SHAPED = frozenset("expand expand_as reshape to type_as view view_as".split())  # arguments say how, not what
_SIZED = frozenset("arange empty expand eye new_empty new_ones new_zeros ones range reshape to view zeros".split())
_SIZE_KEYWORDS = frozenset(("device", "dtype", "layout"))
COLLECTS = frozenset("add append appendleft extend insert setdefault update".split())
ASKING_MODE = frozenset(("is_grad_enabled", "training"))
_OVERWRITES = frozenset("clear copy_ fill_ normal_ uniform_ zero_".split())
_VIEWS = frozenset("detach view reshape flatten unsqueeze squeeze get setdefault".split())

Lookup = Callable[[str, Frame], Value]
Origins = frozenset[str]  # what a value is made of: the pass's arguments, and places as they were before it
NOTHING: Origins = frozenset()
ARGUMENTS: Origins = frozenset(("",))


class Mode(NamedTuple):
    """How a module is called."""

    training: bool  # not after eval()
    gradients: bool  # not under no_grad() or inference_mode()


class TooLongError(Exception):
    """The code behind a question is longer than it may be."""


@dataclass(slots=True)
class _Scope:
    """The names of one function: what they hold, and the places that they are other names of."""

    self_name: str
    frame: Frame
    local: frozenset[str]
    holds: dict[str, Origins] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    returned: Origins = NOTHING


class OnePass:
    """A walk through a method and what it calls.

    Places are named "x" for ``self.x``, "x.y" for ``self.x.y``, "*.y" for any other object's ``y``, ":n" for globals.
    """

    def __init__(
        self, class_: Class, lookup: Lookup, mode: Mode, *, keepers: Origins = NOTHING, with_sizes: bool = True
    ) -> None:
        self.class_ = class_
        self.lookup = lookup
        self.mode = mode
        self.keepers = keepers  # parts that keep something in other objects, such as the whole
        self.with_sizes = with_sizes  # whether arguments that are but sizes are told from others
        self.written: set[str] = set()  # overwritten so far, whatever branch was taken
        self.held: dict[str, Origins] = {}  # what places took in this pass
        self.returned: Origins = NOTHING
        self.control: Origins = NOTHING  # what decided that the present statement runs
        self.called: set[str] = set()  # parts and local names that were called
        self.reset: set[str] = set()  # overwritten before any of the keepers was called
        self.calls: list[ast.AST] = []
        self.steps = 0

    def enter(self, method: ast.FunctionDef) -> None:
        """Walk a method that code outside of the class calls, the first or one after another."""
        self.written.clear()
        self.called.clear()
        self_name, *rest = _parameters(method) or [""]
        scope = _Scope(self_name, self.class_.frame, _locals(method))
        sizes = self.sizes(method, scope) if self.with_sizes else ()
        scope.holds.update((name, ARGUMENTS) for name in rest if name not in sizes)
        self.calls = [method]
        self.body(method.body, scope)
        self.returned |= scope.returned

    def sizes(self, method: ast.FunctionDef, scope: _Scope, depth: int = 2) -> frozenset[str]:
        """Parameters that a method takes for a size, a device or a type, or hands to a function that does."""
        found = set(_size_parameters(method))
        for call in _calls_in(method) if depth else ():
            body = self.function(call.func, scope)
            if body is not None and body is not method:
                names = _parameters(body)
                inner = _Scope(next(iter(names), ""), scope.frame, _locals(body))
                sizes = self.sizes(body, inner, depth - 1)
                given = zip(names[isinstance(call.func, ast.Attribute) :], call.args, strict=False)
                found.update(node.id for name, node in given if name in sizes and isinstance(node, ast.Name))
        return frozenset(found)

    def kept(self) -> frozenset[str]:
        """Places that take what is made of the arguments, by themselves or from another place that does."""
        found: set[str] = set()
        while True:
            more = {place for place, origins in self.held.items() if "" in origins or not found.isdisjoint(origins)}
            if more <= found:
                return frozenset(found)
            found |= more

    # Statements.

    def body(self, statements: Iterable[ast.stmt], scope: _Scope) -> None:
        for statement in statements:
            self.statement(statement, scope)

    def statement(self, node: ast.stmt, scope: _Scope) -> None:
        if isinstance(node, ast.Assign):
            self.assign(node.targets, node.value, scope)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self.assign([node.target], node.value, scope)
        elif isinstance(node, ast.AugAssign):
            self.augment(node, scope)
        elif isinstance(node, ast.Return):
            scope.returned |= self.value(node.value, scope) | self.control
        elif isinstance(node, ast.If):
            self.branch(node, scope)
        elif isinstance(node, ast.For | ast.AsyncFor):
            self.loop(node, scope)
        elif isinstance(node, ast.While):
            self.under(self.value(node.test, scope), lambda: self.repeated(node.body, scope))
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                origins = self.value(item.context_expr, scope)
                if item.optional_vars is not None:
                    self.store(item.optional_vars, origins, None, scope)
            self.body(node.body, scope)
        elif isinstance(node, ast.Try):
            self.body(node.body, scope)
            for handler in node.handlers:
                self.uncertain(handler.body, scope)
            self.uncertain(node.orelse, scope)
            self.body(node.finalbody, scope)
        elif isinstance(node, syntax.FunctionNode):
            self.uncertain(node.body, scope)
        elif not isinstance(node, ast.ClassDef):
            for part in ast.iter_child_nodes(node):
                if isinstance(part, ast.expr):
                    self.value(part, scope)

    def under(self, test: Origins, walk: Callable[[], None]) -> None:
        """Walk what runs or not by a test: where it goes tells of what was tested."""
        outer = self.control
        self.control = outer | (test - ARGUMENTS)
        walk()
        self.control = outer

    def loop(self, node: ast.For | ast.AsyncFor, scope: _Scope) -> None:
        origins = self.value(node.iter, scope)
        self.store(node.target, origins, node.iter, scope)
        self.under(origins, lambda: self.repeated(node.body, scope))
        self.body(node.orelse, scope)

    def branch(self, node: ast.If, scope: _Scope) -> None:
        taken = self.truth(node.test, scope)
        if taken is not None:
            self.body(node.body if taken else node.orelse, scope)
            return
        self.under(self.value(node.test, scope), lambda: self.sides(node, scope))

    def sides(self, node: ast.If, scope: _Scope) -> None:
        before, names = set(self.written), dict(scope.holds)
        self.body(node.body, scope)
        after, self.written = self.written, before
        other, scope.holds = scope.holds, names
        self.body(node.orelse, scope)
        for name, origins in other.items():
            scope.holds[name] = scope.holds.get(name, NOTHING) | origins
        if not _leaves(node.body):
            self.written = after if _leaves(node.orelse) else self.written & after

    def truth(self, test: ast.expr, scope: _Scope) -> bool | None:
        """What a test on the mode of the call says, None for any other test."""
        if isinstance(test, ast.Attribute) and test.attr == "training" and _is_name(test.value, scope.self_name):
            return self.mode.training
        if isinstance(test, ast.Call) and callee(test) == "is_grad_enabled":
            return self.mode.gradients
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            said = self.truth(test.operand, scope)
            return None if said is None else not said
        if isinstance(test, ast.BoolOp):
            deciding = isinstance(test.op, ast.Or)
            return deciding if deciding in [self.truth(part, scope) for part in test.values] else None
        return None

    def uncertain(self, statements: Iterable[ast.stmt], scope: _Scope) -> None:
        """Walk what may or may not run."""
        before = set(self.written)
        self.body(statements, scope)
        self.written = before

    def repeated(self, statements: list[ast.stmt], scope: _Scope) -> None:
        self.uncertain(statements, scope)
        self.uncertain(statements, scope)  # what names hold at the end of the loop is there at its beginning

    def assign(self, targets: list[ast.expr], value: ast.expr, scope: _Scope) -> None:
        origins = self.value(value, scope)
        for target in targets:
            self.store(target, origins, value, scope)

    def augment(self, node: ast.AugAssign, scope: _Scope) -> None:
        origins = self.value(node.value, scope)
        if isinstance(node.target, ast.Name) and node.target.id in scope.local:
            old = scope.holds.get(node.target.id, NOTHING)
            scope.holds[node.target.id] = old | origins | self.control
        place = self.place(node.target, scope)
        if place is not None:
            self.write(place, origins | self.index(node.target, scope), whole=False)

    def store(self, target: ast.expr, origins: Origins, value: ast.expr | None, scope: _Scope) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self.store(part, origins, None, scope)
        elif isinstance(target, ast.Starred):
            self.store(target.value, origins, None, scope)
        elif isinstance(target, ast.Name) and target.id in scope.local:
            scope.holds[target.id] = origins | self.control
            place = self.place(value, scope) if value is not None and is_view(value) else None
            scope.places.pop(target.id, None)
            if place is not None:
                scope.places[target.id] = place
        else:
            place = self.place(target, scope)
            if place is not None:
                self.write(place, origins | self.index(target, scope), whole=not _is_part(target))

    def index(self, target: ast.expr, scope: _Scope) -> Origins:
        return self.value(target.slice, scope) if isinstance(target, ast.Subscript) else NOTHING

    def write(self, place: str, origins: Origins, *, whole: bool) -> None:
        self.held[place] = self.held.get(place, NOTHING) | origins | self.control
        if whole:
            self.written.add(place)
            if self.called.isdisjoint(self.keepers):
                self.reset.add(place)

    # Expressions.

    def value(self, node: ast.expr | None, scope: _Scope) -> Origins:
        """What an expression is made of. It is walked in the order of evaluation, once."""
        if node is None or isinstance(node, ast.Constant):
            return NOTHING
        self.steps += 1
        if self.steps > _STEPS:
            raise TooLongError
        if isinstance(node, ast.Name):
            return scope.holds.get(node.id, NOTHING) if node.id in scope.local else self.read(f":{node.id}")
        if isinstance(node, ast.Attribute):
            return self.attribute(node, scope)
        if isinstance(node, ast.Call):
            return self.call(node, scope)
        if isinstance(node, ast.NamedExpr):
            origins = self.value(node.value, scope)
            self.store(node.target, origins, node.value, scope)
            return origins
        if isinstance(node, ast.Lambda):
            return self.value(node.body, scope)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            return self.comprehension(node, scope)
        found = NOTHING
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr):
                found |= self.value(part, scope)
        return found

    def read(self, place: str) -> Origins:
        if place in self.written:
            return self.held[place]
        return self.held.get(place, NOTHING) | {place}

    def attribute(self, node: ast.Attribute, scope: _Scope) -> Origins:
        if _is_name(node.value, scope.self_name):
            member = self.class_.find(node.attr)
            if member is not None and member.kind == FUNCTION and member.payload.kind == "property":
                return self.inside(member.payload.node, [NOTHING], {}, [None], scope)
            return self.read(node.attr)
        inner = self.value(node.value, scope)
        if node.attr in _ABOUT_IT:
            return NOTHING
        place = self.place(node, scope)
        if place is not None and "." in place:
            inner |= self.read(place)
        if not self.was_called(node.value, scope):
            inner |= {f"*.{node.attr}"}
        return inner

    def was_called(self, node: ast.expr, scope: _Scope) -> bool:
        """Whether the part that an expression is of has been called in this pass."""
        while isinstance(node, ast.Subscript | ast.Attribute):
            if isinstance(node, ast.Attribute) and _is_name(node.value, scope.self_name):
                return node.attr in self.called
            node = node.value
        if not isinstance(node, ast.Name):
            return False
        return f":{node.id}" in self.called or scope.places.get(node.id, "").partition(".")[0] in self.called

    def comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: _Scope
    ) -> Origins:
        found = NOTHING
        for generator in node.generators:
            origins = self.value(generator.iter, scope)
            self.store(generator.target, origins, generator.iter, scope)
            for test in generator.ifs:
                found |= self.value(test, scope)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            found |= self.value(part, scope)
        return found

    def call(self, node: ast.Call, scope: _Scope) -> Origins:
        func = node.func
        name = callee(node)
        receiver = self.value(func.value, scope) if isinstance(func, ast.Attribute) else NOTHING
        given = [self.value(argument, scope) for argument in node.args]
        options = {keyword.arg: self.value(keyword.value, scope) for keyword in node.keywords}
        taken = NOTHING.union(*given, *(part for key, part in options.items() if key not in _SIZE_KEYWORDS))
        target = self.place(func.value, scope) if isinstance(func, ast.Attribute) else None
        if target is not None and isinstance(func, ast.Attribute) and (is_in_place(name) or name in COLLECTS):
            self.write(target, taken, whole=name in _OVERWRITES and not _is_part(func.value))
            return receiver | taken
        known = self.handed(node, name, taken, scope)
        if known is not None:
            return known
        body = self.function(func, scope)
        if body is not None:
            places = [self.place(argument, scope) for argument in node.args]
            if isinstance(func, ast.Attribute):  # a method, whose first parameter is the module
                given, places = [NOTHING, *given], [None, *places]
            return self.inside(body, given, options, places, scope)
        self.note_call(func, scope)
        if name in _SIZES or name in _FRESH:
            return NOTHING
        if isinstance(func, ast.Name) and func.id in scope.local:
            receiver = scope.holds.get(func.id, NOTHING)
        return receiver if name in _SHAPED else receiver | taken

    def note_call(self, func: ast.expr, scope: _Scope) -> None:
        place = self.place(func, scope)
        if place is not None:
            self.called.add(place.partition(".")[0])
        while isinstance(func, ast.Attribute | ast.Subscript):
            func = func.value
        if isinstance(func, ast.Name) and func.id != scope.self_name:
            self.called.add(f":{func.id}")

    def handed(self, node: ast.Call, name: str, taken: Origins, scope: _Scope) -> Origins | None:
        """What a call of a built-in or library's function reads or writes of the places that it is given."""
        on_self = len(node.args) >= 2 and _is_name(node.args[0], scope.self_name)
        attr = node.args[1] if on_self else None
        if name == "setattr" and isinstance(attr, ast.Constant):
            self.write(str(attr.value), taken, whole=True)
            return NOTHING
        if name == "getattr" and isinstance(attr, ast.Constant):
            return self.read(str(attr.value))
        into = [keyword.value for keyword in node.keywords if keyword.arg == "out"]
        into += node.args[:1] if is_in_place(name) else []
        for place in filter(None, (self.place(argument, scope) for argument in into)):
            self.write(place, taken, whole=False)
        return None

    def function(self, func: ast.expr, scope: _Scope) -> ast.FunctionDef | None:
        """The body of a method of this class, or of a function of the script, that a call runs."""
        found: Value | None = None
        if isinstance(func, ast.Attribute) and _is_name(func.value, scope.self_name):
            found = self.class_.find(func.attr)
        elif isinstance(func, ast.Name) and func.id not in scope.local:
            found = self.lookup(func.id, scope.frame)
        if found is None or found.kind != FUNCTION or not isinstance(found.payload.node, ast.FunctionDef):
            return None
        body: ast.FunctionDef = found.payload.node
        static = isinstance(func, ast.Attribute) and found.payload.kind == "static"
        return None if static or body in self.calls or len(self.calls) > _DEPTH else body

    def inside(
        self,
        function: ast.FunctionDef,
        given: list[Origins],
        options: dict[str | None, Origins],
        places: Sequence[str | None],
        scope: _Scope,
    ) -> Origins:
        """Walk a called function, and say what its result is made of."""
        names = _parameters(function)
        is_method = bool(given) and self.class_.find(function.name) is not None
        inner = _Scope(names[0] if is_method and names else "", scope.frame, _locals(function))
        inner.holds.update(zip(names, given, strict=False))
        inner.holds.update((name, origins) for name, origins in options.items() if name)
        inner.places.update((name, place) for name, place in zip(names, places, strict=False) if place is not None)
        self.calls.append(function)
        self.body(function.body, inner)
        self.calls.pop()
        return inner.returned

    def place(self, node: ast.expr, scope: _Scope) -> str | None:
        """The place that an expression is, is a part of, or is a view of."""
        names: list[str] = []
        while True:
            if isinstance(node, ast.Attribute):
                if node.attr != "data":
                    names.append(node.attr)
                node = node.value
            elif isinstance(node, ast.Subscript):
                names.clear()
                node = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_view(node):
                node = node.func.value
            else:
                break
        if not isinstance(node, ast.Name):
            return None
        if node.id == scope.self_name:
            return ".".join(reversed(names[-2:])) if names else None
        if node.id in scope.places:
            return scope.places[node.id]
        return None if node.id in scope.local else f":{node.id}"


def _is_name(node: ast.expr, name: str) -> bool:
    return bool(name) and isinstance(node, ast.Name) and node.id == name


def _is_part(target: ast.expr) -> bool:
    """True for ``x[i]``, but not for ``x[:]``."""
    if not isinstance(target, ast.Subscript):
        return False
    index = target.slice
    return not (isinstance(index, ast.Slice) and index.lower is None and index.upper is None)


def is_view(node: ast.expr) -> bool:
    """True for an expression that may be the storage that it names, or a part of it."""
    if isinstance(node, ast.Call):
        return callee(node) in _VIEWS
    return isinstance(node, ast.Attribute | ast.Subscript | ast.Name)


def _leaves(statements: list[ast.stmt]) -> bool:
    return bool(statements) and isinstance(statements[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)


def _parameters(function: ast.FunctionDef) -> list[str]:
    return [arg.arg for arg in parameters(function.args)]


@lru_cache(maxsize=4096)
def _locals(function: ast.FunctionDef) -> frozenset[str]:
    names = set(_parameters(function))
    outer: set[str] = set()
    for node in syntax.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Global):
            outer.update(node.names)
        elif isinstance(node, ast.FunctionDef | ast.Lambda) and node is not function:
            names.update(arg.arg for arg in node.args.args)
    return frozenset(names - outer)


@lru_cache(maxsize=4096)
def _size_parameters(function: ast.FunctionDef) -> frozenset[str]:
    """Parameters that a function takes for a size, a device or a type: a tensor of several numbers would not do."""
    found: set[str] = set(_numbered(function))
    other_names: dict[str, str] = {}
    for node in syntax.walk(function):
        given: list[ast.expr | None] = []
        if isinstance(node, ast.Call):
            given += node.args if callee(node) in _SIZED else []
            given += [keyword.value for keyword in node.keywords if keyword.arg in _SIZE_KEYWORDS]
        elif isinstance(node, ast.Slice):
            given += [node.lower, node.upper, node.step]
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            other_names.update((target.id, node.value.id) for target in node.targets if isinstance(target, ast.Name))
        for part in given:
            found.update(_operands(part))
    return frozenset(found | {other_names[name] for name in found if name in other_names})


def _numbered(function: ast.FunctionDef) -> Iterator[str]:
    """Parameters with a number or a text for a default."""
    spec = function.args
    names = [arg.arg for arg in (*spec.posonlyargs, *spec.args)]
    pairs = [*zip(reversed(names), reversed(spec.defaults), strict=False)]
    pairs += [(arg.arg, default) for arg, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if default]
    for name, default in pairs:
        if isinstance(default, ast.Constant) and default.value is not None:
            yield name


@lru_cache(maxsize=4096)
def _calls_in(function: ast.FunctionDef) -> tuple[ast.Call, ...]:
    return tuple(node for node in syntax.walk(function) if isinstance(node, ast.Call))


def _operands(node: ast.expr | None) -> Iterator[str]:
    """Names that are numbers if an expression is one: of arithmetic and tuples, not of calls and attributes."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.BinOp | ast.UnaryOp | ast.Tuple):
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr):
                yield from _operands(part)


def forget() -> None:
    """Let go of the scripts that were asked about."""
    for answers in (_calls_in, _locals, _size_parameters):
        answers.cache_clear()
