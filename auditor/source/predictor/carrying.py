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
    TooLongError,
    is_view,
)
from auditor.source.scan import called_names, callee, is_in_place, named
from auditor.source.values import CLASS, FUNCTION, Class, Function, Value
from auditor.submission import syntax

SCORING = Mode(training=False, gradients=False)


class _Kept(NamedTuple):
    """What calls of a class's method leave: what a later pass is made of, all that is kept, what is reset at first.

    `over` are places (see `OnePass`), `names` and `reset` names of attributes, those of parts among `names`.
    """

    over: frozenset[str] = NOTHING
    names: frozenset[str] = NOTHING
    reset: frozenset[str] = NOTHING


def carries(class_: Class, method: str, lookup: Lookup, mode: Mode) -> bool:
    """True when what `method` of a module keeps of its arguments takes part in what a later pass returns."""
    return bool(_kept(class_, method, lookup, mode).over)


def _kept(class_: Class, method: str, lookup: Lookup, mode: Mode) -> _Kept:
    """What the class and its parts keep."""
    if method == "__call__" or class_.find(method) is None:
        method = "forward"
    key = (".carries", method, mode)
    known: _Kept | None = class_.cells.get(key)
    if known is None:
        class_.cells[key] = _Kept()  # for classes that make each other
        made = {name: _kept(part, "forward", lookup, mode) for name, part in _made_by(class_, lookup)}
        below = NOTHING.union(*(part.names for part in made.values()))
        elsewhere = {name for name, part in made.items() if any("." in place for place in part.over)}
        keepers = _filled_with(class_, elsewhere) if elsewhere else NOTHING
        own = _own(class_, method, lookup, mode, below, keepers)
        left = {place for part in made.values() for place in part.over if not _is_reset(place, own.reset)}
        known = _Kept(own.over | left, own.names | below, own.reset)
        class_.cells[key] = known
    return known


def _is_reset(place: str, reset: frozenset[str]) -> bool:
    """Whether a part's place in another object is one that the whole overwrites before it calls its parts."""
    return place.partition(".")[2] in reset


def _own(
    class_: Class, method: str, lookup: Lookup, mode: Mode, below: frozenset[str], keepers: frozenset[str]
) -> _Kept:
    """What the class itself keeps. `below` is what its parts keep, `keepers` those that keep it in other objects."""
    member = class_.find(method)
    if member is None or member.kind != FUNCTION:
        return _Kept()
    outlines = [_outline(function.node) for function in reached(class_, member.payload, lookup)]
    if not any(outline.stores or not below.isdisjoint(outline.attributes) for outline in outlines):
        return _Kept()
    if all(outline.attributes.isdisjoint(ASKING_MODE) for outline in outlines):
        mode = SCORING
    key = (".own", method, mode, below, keepers)
    if key not in class_.cells:
        class_.cells[key] = _walked(class_, method, lookup, mode, below, keepers)
    known: _Kept = class_.cells[key]
    return known


def _walked(
    class_: Class, method: str, lookup: Lookup, mode: Mode, below: frozenset[str], keepers: frozenset[str]
) -> _Kept:
    found = _Kept()
    for with_sizes in (False, True):  # which arguments are but sizes matters where something is kept: seldom
        walk = OnePass(class_, lookup, mode, keepers=keepers, with_sizes=with_sizes)
        scoring = OnePass(class_, lookup, SCORING, keepers=keepers, with_sizes=with_sizes)
        try:
            _walk(walk, class_, method)
            kept = walk.kept()
            if kept and mode != SCORING:  # what a pass in training leaves, a score may be made of
                _walk(scoring, class_, "forward")
        except TooLongError:
            return _Kept(over=frozenset(("?",)))  # not read to its end: it may
        returned = walk.returned | scoring.returned
        foreign = {place for place in returned if place.startswith("*.") and place[2:] in below}
        names = frozenset(place.rpartition(".")[2] for place in kept)
        found = _Kept(kept & returned | foreign, names, frozenset(walk.reset))
        if not (found.over or found.names):
            break
    return found


def _walk(walk: OnePass, class_: Class, method: str) -> None:
    """The method, and after a method that keeps something the forward pass that may read it."""
    for name in (method, "forward"):
        member = class_.find(name)
        if member is not None and member.kind == FUNCTION:
            walk.enter(member.payload.node)
        if name == "forward" or not walk.held:
            break


def reached(class_: Class, method: Function, lookup: Lookup) -> list[Function]:
    """A method, and the methods of its class and functions of the script that it may call."""
    found = {method.node: method}
    waiting = [method]
    for function in waiting:
        for name in called_names(function.node):
            for called in (class_.find(name), lookup(name, class_.frame)):
                if called is not None and called.kind == FUNCTION and called.payload.node not in found:
                    found[called.payload.node] = called.payload
                    waiting.append(called.payload)
    return waiting


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


def _made_by(class_: Class, lookup: Lookup) -> Iterator[tuple[str, Class]]:
    """The modules of the script that the constructors of a class and of its bases name, by those names."""
    for base in class_.bases:
        if base.kind == CLASS:
            yield from _made_by(base.payload, lookup)
    init = class_.cells.get("__init__")
    if isinstance(init, Value) and init.kind == FUNCTION:
        for name in named(init.payload.node):
            made = lookup(name, class_.frame)
            if made.kind == CLASS and made.payload.family == "module" and made.payload is not class_:
                yield name, made.payload


def _filled_with(class_: Class, names: set[str]) -> frozenset[str]:
    """Attributes to which the constructor of a class assigns what it makes of the named classes."""
    init = class_.cells.get("__init__")
    if not isinstance(init, Value) or init.kind != FUNCTION:
        return NOTHING
    assigned = [node for node in syntax.walk(init.payload.node) if isinstance(node, ast.Assign)]
    return frozenset(
        target.attr
        for node in assigned
        for target in node.targets
        if isinstance(target, ast.Attribute) and not names.isdisjoint(named(node.value))
    )


def forget() -> None:
    """Let go of the scripts that were asked about."""
    _outline.cache_clear()
