"""What a module's forward pass keeps for the next one.

A model that keeps what it has seen takes it from one evaluation into the next: does something that outlives a pass take
what is made of the arguments, and is what a pass returns made of what it held before?
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from auditor.source.predictor.one_pass import (
    ASKING_MODE,
    COLLECTS,
    NOTHING,
    Lookup,
    Mode,
    OnePass,
    Origins,
    TooLongError,
    callee,
    is_in_place,
    is_view,
)
from auditor.source.scan import called_names, named
from auditor.source.values import CLASS, FUNCTION, Class, Value
from auditor.submission import syntax


def carries(class_: Class, method: str, lookup: Lookup, mode: Mode) -> bool:
    """True when what `method` of a module keeps of its arguments takes part in what a later pass returns."""
    return _kept(class_, method, lookup, mode)[0]


def _kept(class_: Class, method: str, lookup: Lookup, mode: Mode) -> tuple[bool, frozenset[str]]:
    """Whether a class carries something over, and the attributes that it or a part of it keeps."""
    if method == "__call__" or class_.find(method) is None:
        method = "forward"
    key = (".carries", method, mode)
    known: tuple[bool, frozenset[str]] | None = class_.cells.get(key)
    if known is None:
        class_.cells[key] = (False, NOTHING)  # for classes that make each other
        parts = [_kept(part, "forward", lookup, mode) for part in _made_by(class_, lookup)]
        below = NOTHING.union(*(names for _, names in parts))
        own, names = _own(class_, method, lookup, mode, below)
        known = (own or any(carries for carries, _ in parts), below | names)
        class_.cells[key] = known
    return known


def _own(class_: Class, method: str, lookup: Lookup, mode: Mode, below: frozenset[str]) -> tuple[bool, Origins]:
    member = class_.find(method)
    if member is None or member.kind != FUNCTION:
        return False, NOTHING
    functions = _reached(class_, member.payload.node, lookup)
    outlines = [_outline(function) for function in functions]
    if not any(outline.stores or not below.isdisjoint(outline.attributes) for outline in outlines):
        return False, NOTHING
    if all(outline.attributes.isdisjoint(ASKING_MODE) for outline in outlines):
        mode = Mode(training=False, gradients=False)
    key = (".own", method, mode, below)
    if key not in class_.cells:
        class_.cells[key] = _walked(class_, method, lookup, mode, below)
    known: tuple[bool, Origins] = class_.cells[key]
    return known


def _walked(class_: Class, method: str, lookup: Lookup, mode: Mode, below: frozenset[str]) -> tuple[bool, Origins]:
    carried, names = False, NOTHING
    for with_sizes in (False, True):  # which arguments are but sizes matters where something is kept: seldom
        walk = OnePass(class_, lookup, mode, with_sizes=with_sizes)
        try:
            _walk(walk, class_, method)
        except TooLongError:
            return False, NOTHING
        kept = walk.kept()
        names = frozenset(place.rpartition(".")[2] for place in kept)
        foreign = {place[2:] for place in walk.returned if place.startswith("*.")}
        carried = not (kept.isdisjoint(walk.returned) and below.isdisjoint(foreign))
        if not (names or carried):
            break
    return carried, names


def _walk(walk: OnePass, class_: Class, method: str) -> None:
    """The method, and after a method that keeps something the forward pass that may read it."""
    for name in (method, "forward"):
        member = class_.find(name)
        if member is not None and member.kind == FUNCTION:
            walk.enter(member.payload.node)
        if name == "forward" or not walk.held:
            break


def _reached(class_: Class, method: ast.AST, lookup: Lookup) -> list[ast.AST]:
    """A method, and the methods of its class and functions of the script that it may call."""
    found = [method]
    for function in found:
        for name in called_names(function):
            for called in (class_.find(name), lookup(name, class_.frame)):
                if called is not None and called.kind == FUNCTION and called.payload.node not in found:
                    found.append(called.payload.node)
    return found


class _Outline(NamedTuple):
    """What a function names, and whether it may write to an attribute, a global name, or what an argument may be."""

    stores: bool
    attributes: frozenset[str]


@lru_cache(maxsize=4096)
def _outline(function: ast.AST) -> _Outline:
    attributes: set[str] = set()
    new: set[str] = set()  # names that are given new objects
    other: set[str] = set()
    stores = False
    changed: list[ast.AST] = []
    for node in syntax.walk(function):
        if isinstance(node, ast.Attribute):
            attributes.add(node.attr)
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            (other if is_view(node.value) else new).update(names)
        elif isinstance(node, ast.Global):
            stores = True
        changed += _changed(node)
    made = new - other
    return _Outline(stores or any(_root(node) not in made for node in changed), frozenset(attributes))


def _changed(node: ast.AST) -> Sequence[ast.AST]:
    """Expressions whose objects a piece of code may change."""
    if isinstance(node, ast.Attribute | ast.Subscript):
        return [node] if isinstance(node.ctx, ast.Store) else ()
    if not isinstance(node, ast.Call):
        return ()
    name = callee(node)
    if isinstance(node.func, ast.Attribute) and (is_in_place(name) or name in COLLECTS):
        return [node.func]
    given = [keyword.value for keyword in node.keywords if keyword.arg == "out"]
    return [*given, *node.args[:1]] if name == "setattr" or is_in_place(name) else given


def _root(node: ast.AST) -> str:
    """The name that an expression starts from, "" for none."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _made_by(class_: Class, lookup: Lookup) -> Iterator[Class]:
    """The modules of the script that the constructors of a class and of its bases name."""
    for base in class_.bases:
        if base.kind == CLASS:
            yield from _made_by(base.payload, lookup)
    init = class_.cells.get("__init__")
    if isinstance(init, Value) and init.kind == FUNCTION:
        for name in named(init.payload.node):
            made = lookup(name, class_.frame)
            if made.kind == CLASS and made.payload.family == "module" and made.payload is not class_:
                yield made.payload


def forget() -> None:
    """Let go of the scripts that were asked about."""
    _outline.cache_clear()
