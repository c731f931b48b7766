"""Lists, tuples, dicts, f-strings and comprehensions."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from auditor.source import scoring
from auditor.source.library import containers, sequences, shard_paths, text
from auditor.source.scan import calls_something
from auditor.source.values import FORMAT, NOTHING, OBJECT, TUPLE, UNKNOWN, Frame, Obj, Value, some_of, union, with_atoms

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def tuple_display(run: Interpreter, node: ast.Tuple, frame: Frame) -> Value:
    return Value(TUPLE, tuple(_spread(run, node.elts, frame)[0]))


def list_display(run: Interpreter, node: ast.List | ast.Set, frame: Frame) -> Value:
    items, exact = _spread(run, node.elts, frame)
    found = containers.new_list(run, items, node.lineno)
    if not exact:
        containers.loosen(run, found.payload)
    return found


def _spread(run: Interpreter, nodes: list[ast.expr], frame: Frame) -> tuple[list[Value], bool]:
    """The values of a display, and whether they are all of them: of ``*rest`` the number may not be known."""
    items: list[Value] = []
    exact = True
    for node in nodes:
        if isinstance(node, ast.Starred):
            inner = run.value(node.value, frame)
            known = run.elements(inner, limit=256)
            items.extend([run.element(inner)] if known is None else known)
            exact = exact and known is not None
        else:
            items.append(run.value(node, frame))
    return items, exact


def dict_display(run: Interpreter, node: ast.Dict, frame: Frame) -> Value:
    result = containers.new_dict(run, node.lineno)
    for key, item in zip(node.keys, node.values, strict=True):
        value = run.value(item, frame)
        if key is None:
            containers.update_dict(run, result.payload, value)
        else:
            containers.store_item(run, result.payload, run.value(key, frame), value)
    return result


def f_string(run: Interpreter, node: ast.JoinedStr, frame: Frame) -> Value:
    parts: list[str | Value] = []
    atoms = NOTHING
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
            continue
        value = run.value(part.value, frame) if isinstance(part, ast.FormattedValue) else UNKNOWN
        spec = part.format_spec if isinstance(part, ast.FormattedValue) else None
        if spec is not None and calls_something(spec):
            run.value(spec, frame)
        known = text.formatted(value, spec)
        if known is not None:
            parts.append(known)
            atoms |= value.atoms
        elif value.kind == FORMAT:
            parts.extend(value.payload)
            atoms |= value.atoms
        else:
            parts.append(value)
    return text.text(parts, atoms)


def comprehension(
    run: Interpreter, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, frame: Frame
) -> Value:
    scope = Frame(frame, frame.function, frame.globals_)
    items: list[Value] = []
    keys: list[Value] = []

    def produce() -> None:
        if isinstance(node, ast.DictComp):
            keys.append(run.value(node.key, scope))
            items.append(run.value(node.value, scope))
        else:
            items.append(run.value(node.elt, scope))

    exact = _generate(run, node.generators, scope, produce)
    if isinstance(node, ast.DictComp):
        result = containers.new_dict(run, node.lineno)
        for key, item in zip(keys, items, strict=True):
            containers.store_item(run, result.payload, key, item)
        if not exact:
            containers.loosen(run, result.payload)
        model = _of_all_parameters(run, node, keys, scope)
        if model is not None:
            run.state.write(result.payload.cells, containers.WHOLE, model)
        return result
    result = containers.new_list(run, items, node.lineno)
    if not exact:
        containers.loosen(run, result.payload)
    return result


def _of_all_parameters(run: Interpreter, node: ast.DictComp, keys: list[Value], scope: Frame) -> Obj | None:
    """The model of ``{name: ... for name, p in model.named_parameters()}``: nothing is left out."""
    head = node.generators[0]
    target = head.target.elts[0] if isinstance(head.target, ast.Tuple) else head.target
    named = isinstance(node.key, ast.Name) and isinstance(target, ast.Name) and node.key.id == target.id
    if len(node.generators) > 1 or head.ifs or not named or not keys:
        return None
    key = keys[0]
    return key.base if key.base is not None and key.base.kind == "module" and key.attr == "*" else None


def _only_some(target: ast.expr, scope: Frame) -> None:
    """A test that is not decided lets only some of the parameters through."""
    place = f" at {target.lineno}:{target.col_offset}"
    for name in [inner.id for inner in ast.walk(target) if isinstance(inner, ast.Name)]:
        if isinstance(found := scope.names.get(name), Value):
            scope.names[name] = some_of(found, place)


def _asks_whether_it_learns(test: ast.expr) -> bool:
    """True for ``p.requires_grad``: what it leaves out learns nothing."""
    return isinstance(test, ast.Attribute) and test.attr == "requires_grad"


def _generate(run: Interpreter, generators: list[ast.comprehension], scope: Frame, produce: Callable[[], None]) -> bool:
    if not generators:
        produce()
        return True
    head, *rest = generators
    iterable = run.value(head.iter, scope)
    if iterable.kind == OBJECT and iterable.payload.kind == "generator":
        iterable = sequences.collected(run, iterable.payload)
    elements = run.elements(iterable)
    exact = elements is not None
    item = UNKNOWN if exact else run.element(iterable)
    count = len(elements) if elements is not None else min(1, run.iterations(iterable))
    act = len(run.loops) + 1
    run.loops[act] = run.live[act] = (ast.unparse(head.target), head.target.lineno)
    if elements is None:
        run.abstract.append(act)
    for k in range(count):
        run.rounds[act] = k
        value = elements[k] if elements is not None else item
        if head.ifs:
            value = shard_paths.narrowed(value, head.ifs)
        run.assign(head.target, run.tagged(value, act, k), scope)
        decided = [run.truth(run.value(test, scope)) for test in head.ifs]
        if False in decided:
            continue
        if None in decided:
            exact = False
            if not all(map(_asks_whether_it_learns, head.ifs)):
                _only_some(head.target, scope)
        tested = union(run.atoms_of(run.value(test, scope)) for test in head.ifs if not _asks_identity(test))
        if ("picked",) in tested:
            for name in [inner.id for inner in ast.walk(head.target) if isinstance(inner, ast.Name)]:
                kept = scoring.chosen(run, run.atoms_of(run.lookup(name, scope)), again=True)
                scope.names[name] = with_atoms(run.lookup(name, scope), kept)
        exact = _generate(run, rest, scope, produce) and exact
    if elements is None:
        run.abstract.pop()
    del run.live[act]
    return exact


def _asks_identity(test: ast.expr) -> bool:
    """True for ``x is not None``, which asks whether there is a value and not how large it is."""
    return isinstance(test, ast.Compare) and all(isinstance(op, ast.Is | ast.IsNot) for op in test.ops)
