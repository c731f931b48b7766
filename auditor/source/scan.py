"""Cheap syntactic questions about a piece of code, answered once a node."""

from __future__ import annotations

import ast
import re
from functools import lru_cache

from auditor.source.values import kinds
from auditor.submission import syntax

_UPDATES = frozenset(("step", "backward", "copy_", "load_state_dict", "register_forward_hook", "write", "save"))
_HARMLESS_IN_PLACE = frozenset(("requires_grad_", "masked_fill_", "clamp_", "to_", "mul_", "add_", "zero_grad"))


def is_in_place(name: str) -> bool:
    """True for the name of an operation of torch that changes its argument: ``add_``."""
    return name.endswith("_") and not name.endswith("__")


def callee(call: ast.Call) -> str:
    """The last name of what is called, "" for what has none."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def parameters(spec: ast.arguments) -> list[ast.arg]:
    """All parameters of a function, ``*args`` and ``**kwargs`` last."""
    return [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *filter(None, (spec.vararg, spec.kwarg))]


@lru_cache(maxsize=65536)
def assigned_by_update(loop: ast.For | ast.While) -> frozenset[str]:
    """Names that an iteration of the loop computes from their own former value, e.g. ``position += stride``."""
    names: set[str] = set()
    assignments: list[ast.Assign] = []
    for node in syntax.walk(ast.Module(loop.body, [])):
        if isinstance(node, ast.AugAssign):
            if isinstance(node.target, ast.Name):
                names.add(node.target.id)
        elif isinstance(node, ast.Assign):
            assignments.append(node)
            target = node.targets[0]
            if len(node.targets) == 1 and isinstance(target, ast.Name) and target.id in named(node.value):
                names.add(target.id)
    names -= _set_otherwise(assignments, names)
    if isinstance(loop, ast.While):
        tested = named(loop.test)
        for node in assignments:
            names.update(target.id for target in node.targets if isinstance(target, ast.Name) and target.id in tested)
    return frozenset(names)


@lru_cache(maxsize=65536)
def last_assigned(loop: ast.For | ast.While) -> dict[str, int]:
    """The names that the body of a loop assigns, and the last line that does."""
    lines: dict[str, int] = {}
    for node in syntax.walk(ast.Module(loop.body, [])):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            lines[node.id] = max(node.lineno, lines.get(node.id, 0))
    return lines


@lru_cache(maxsize=65536)
def handed_on(loop: ast.For | ast.While) -> frozenset[tuple[str, str]]:
    """Pairs of names of which every iteration has ``first = second``, the only assignment to `first` in the loop."""
    inner = list(syntax.walk(ast.Module(loop.body, [])))
    if any(isinstance(node, ast.Continue) for node in inner):
        return frozenset()
    stored = [node.id for node in inner if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return frozenset(
        (target.id, statement.value.id)
        for statement in loop.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name)
        for target in statement.targets
        if isinstance(target, ast.Name) and stored.count(target.id) == 1
    )


def _set_otherwise(assignments: list[ast.Assign], names: set[str]) -> set[str]:
    """Those of `names` that a loop also sets back to something else: they need not differ between iterations."""
    return {
        name
        for node in assignments
        for target in node.targets
        for name in named(target)
        if name in names and name not in named(node.value)
    }


@lru_cache(maxsize=65536)
def changes_state(function: ast.AST) -> bool:
    """True when a method of a model may do more than compute: train, write parameters, save, or call back."""
    for node in syntax.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if name in _UPDATES or (is_in_place(name) and name not in _HARMLESS_IN_PLACE):
                return True
            if name == "grad" and isinstance(node.func.value, ast.Attribute) and node.func.value.attr == "autograd":
                return True
            if name in ("zero_", "mul_", "add_") and _touches_self(node.func.value):
                return True
        elif isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Attribute) and target.attr in ("data", "grad") for target in targets):
                return True
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "exec", "print")
        ):
            return True
    return False


def _touches_self(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Attribute) for inner in syntax.walk(node))


@lru_cache(maxsize=4096)
def kept_arguments(init: ast.FunctionDef) -> frozenset[str]:
    """Parameters of a constructor that it stores on the instance as they are, not only something read from them."""
    kept: set[str] = set()
    for node in syntax.walk(init):
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Attribute) for target in node.targets):
            pending: list[ast.AST] = [node.value]
            while pending:
                inner = pending.pop()
                if isinstance(inner, ast.Name):
                    kept.add(inner.id)
                elif not isinstance(inner, ast.Attribute | ast.Subscript):
                    pending.extend(ast.iter_child_nodes(inner))
    return frozenset(kept)


@lru_cache(maxsize=65536)
def is_short(node: ast.AST, nodes: int) -> bool:
    """True for a piece of code of at most `nodes` syntax nodes, itself included."""
    return all(count < nodes for count, _ in enumerate(ast.walk(node)))


@lru_cache(maxsize=65536)
def learns(function: ast.AST) -> bool:
    """True when a function itself runs a backward pass, an optimizer step or a gradient."""
    for node in syntax.walk(function):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("backward", "step")
        ):
            return True
        if _is_autograd(node):
            return True
    return False


def _is_autograd(node: ast.AST) -> bool:
    """True for ``torch.autograd.grad``."""
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "grad"
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "autograd"
    )


@lru_cache(maxsize=65536)
def called_names(function: ast.AST) -> frozenset[str]:
    """Names of what a function calls: ``f`` of ``f(...)``, ``m`` of ``self.m(...)``."""
    names: set[str] = set()
    for node in syntax.walk(function):
        if isinstance(node, ast.Call):
            names.add(_called_name(node))
    return frozenset(names)


def learning_names(trees: list[ast.Module]) -> frozenset[str]:
    """Names of the functions of a script that learn, themselves or through others."""
    called: dict[str, set[str]] = {}  # function's name -> names of what it calls, those it encloses included
    found: set[str] = set()
    for tree in trees:
        outline = syntax.survey(tree)
        for function in outline.functions:
            called.setdefault(function.name, set())
        for call, functions in outline.calls:
            if functions:
                name = _called_name(call)
                for around in functions:
                    called[around].add(name)
                if isinstance(call.func, ast.Attribute) and call.func.attr in ("backward", "step"):
                    found.update(functions)
        for attribute, functions in outline.gradients:
            if _is_autograd(attribute):
                found.update(functions)
    while True:
        more = {name for name, names in called.items() if name not in found and not found.isdisjoint(names)}
        if not more:
            return frozenset(found - {"forward", "__init__", "step", "backward"})
        found |= more


def _called_name(call: ast.Call) -> str:
    callee = call.func
    if isinstance(callee, ast.Name):
        return callee.id
    if isinstance(callee, ast.Attribute) and getattr(callee.value, "id", "") in ("self", "cls"):
        return callee.attr
    return ""


@lru_cache(maxsize=4096)
def overwrites_data(function: ast.AST) -> bool:
    """True when a function changes a tensor's ``data`` in place, or puts another in its place."""
    for node in syntax.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            target = node.func.value
            if is_in_place(node.func.attr) and isinstance(target, ast.Attribute) and target.attr == "data":
                return True
        elif isinstance(node, ast.Attribute) and node.attr == "data" and isinstance(node.ctx, ast.Store):
            return True
    return False


@lru_cache(maxsize=65536)
def calls_something(node: ast.AST) -> bool:
    """True when evaluating an expression calls or awaits something."""
    return any(isinstance(inner, ast.Call | ast.Await) for inner in syntax.walk(node))


@lru_cache(maxsize=64)
def borders(tree: ast.Module) -> frozenset[str]:
    """What is written both as the end of ``[:border]`` and as the beginning of ``[border:]`` or ``[border:end]``."""
    ends: set[str] = set()
    beginnings: set[str] = set()
    for part in syntax.survey(tree).slices:
        if part.lower is None and part.upper is not None:
            ends.add(ast.unparse(part.upper))
        elif part.lower is not None:
            beginnings.add(ast.unparse(part.lower))
    return frozenset(ends & beginnings)


def signature_annotations(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[ast.expr]:
    """What is evaluated as annotations where a function is defined."""
    found = [arg.annotation for arg in parameters(function.args) if arg.annotation is not None]
    returned = None if isinstance(function, ast.Lambda) else function.returns
    return found if returned is None else [*found, returned]


@lru_cache(maxsize=65536)
def named(node: ast.AST) -> tuple[str, ...]:
    """The names that an expression mentions, each once."""
    return tuple(dict.fromkeys([inner.id for inner in syntax.walk(node) if isinstance(inner, ast.Name)]))


@lru_cache(maxsize=4096)
def captured(pattern: ast.pattern) -> tuple[str, ...]:
    """Names that a pattern of a ``case`` binds."""
    names = []
    for node in ast.walk(pattern):
        if isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            names.append(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            names.append(node.rest)
    return tuple(names)


def breaks(body: list[ast.stmt]) -> bool:
    """True when a loop with this body may be left by ``break``."""
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Break):
            return True
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            pending.extend(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            pending.extend(syntax.parts(node))
    return False


def _is_lazy(function: ast.expr) -> bool:
    """True for what reads its arguments only when it is read itself: ``enumerate``, ``zip``, those of itertools."""
    if isinstance(function, ast.Attribute):
        return isinstance(function.value, ast.Name) and function.value.id == "itertools"
    return isinstance(function, ast.Name) and function.id in ("enumerate", "zip", "iter", "chain", "islice", "starmap")


def _reads_later(node: ast.expr) -> bool:
    inner = node.value if isinstance(node, ast.Starred) else node
    if isinstance(inner, ast.GeneratorExp):
        return True
    if not isinstance(inner, ast.Call):
        return False
    named = isinstance(inner.func, ast.Name) and inner.func.id in ("map", "filter")
    return named or (_is_lazy(inner.func) and any(map(_reads_later, inner.args)))


@lru_cache(maxsize=4096)
def deferred(node: ast.expr) -> ast.FunctionDef | None:
    """A generator function that does what a generator expression, ``map`` or ``filter`` does when it is read.

    None for any other expression, and for one that calls nothing: then it does not matter when it is read.
    """
    if not calls_something(node):
        return None
    body: list[ast.stmt] = []
    if isinstance(node, ast.GeneratorExp):
        body = [ast.Expr(ast.Yield(node.elt))]
        for part in reversed(node.generators):
            for test in reversed(part.ifs):
                body = [ast.If(test, body, [])]
            body = [ast.For(part.target, part.iter, body, [])]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 2 and not node.keywords:
        function, iterable = node.args
        item = ast.Name("item of the iterable", ast.Load())
        result = ast.Call(function, [item], [])
        if node.func.id == "map":
            body = [ast.Expr(ast.Yield(result))]
        elif node.func.id == "filter":
            body = [ast.Expr(ast.Yield(item))]
            if not isinstance(function, ast.Constant):
                body = [ast.If(result, body, [])]
        body = [ast.For(ast.Name("item of the iterable", ast.Store()), iterable, body, [])] if body else []
    if not body and isinstance(node, ast.Call) and _is_lazy(node.func) and any(map(_reads_later, node.args)):
        body = [ast.Expr(ast.Yield(ast.Name("item of the iterable", ast.Load())))]
        body = [ast.For(ast.Name("item of the iterable", ast.Store()), node, body, [])]
    if not body:
        return None
    empty = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    made = ast.FunctionDef("<generator>", empty, body, [], type_params=[])
    for inner in ast.walk(made):
        if not hasattr(inner, "lineno"):
            ast.copy_location(inner, node)
    return made


@lru_cache(maxsize=2048)
def shifted_slices(scope: ast.AST) -> frozenset[tuple[str, str, str]]:
    """What ``tokens[start + 1 : end + 1]`` in `scope` is shifted against: ``tokens``, ``start`` and ``end``, dumped."""
    found = set()
    for node in syntax.walk(scope):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            start, end = _before_one(node.slice.lower), _before_one(node.slice.upper)
            if start is not None and end is not None:
                found.add((ast.dump(node.value), ast.dump(start), ast.dump(end)))
    return frozenset(found)


def _before_one(node: ast.expr | None) -> ast.expr | None:
    """``x`` of ``x + 1``."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        right = node.right
        return node.left if isinstance(right, ast.Constant) and right.value == 1 else None
    return None


@lru_cache(maxsize=512)
def returns_beside(function: ast.FunctionDef, flag: str, argument: str) -> bool:
    """True when ``if flag: return value`` in `function` returns a value in which `argument` has no part."""
    made_of = {argument}
    for _ in range(4):
        before = len(made_of)
        for node in ast.walk(function):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.For | ast.NamedExpr):
                source = node.iter if isinstance(node, ast.For) else node.value
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if source is not None and not made_of.isdisjoint(_names(source)):
                    made_of.update(name for target in targets for name in _names(target))
        if len(made_of) == before:
            break
    chosen = [
        inner
        for node in ast.walk(function)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == flag
        for statement in node.body
        for inner in ast.walk(statement)
        if isinstance(inner, ast.Return)
    ]
    return bool(chosen) and all(item.value is not None and made_of.isdisjoint(_names(item.value)) for item in chosen)


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


_NAME = re.compile(r"[A-Za-z_]\w*")


@lru_cache(maxsize=65536)
def text_of_key(node: ast.AST) -> str:
    """How the key of a look-up is written: ``key`` of ``table[n][key]``, ``table.get(key)``, ``take(table, key)``."""
    if isinstance(node, ast.Subscript):
        return ast.unparse(node.slice)
    arguments = node.args if isinstance(node, ast.Call) else []
    return ", ".join(ast.unparse(argument) for argument in arguments)


def key_line(function: ast.AST, line: int, key: str) -> int:
    """The last line before `line` where a name of the expression `key` gets a value by hash arithmetic; 0 for none."""
    used = frozenset(_NAME.findall(key))
    made = [
        node.lineno
        for node in syntax.walk(function)
        if isinstance(node, ast.Assign) and node.lineno < line and _hashes(node.value)
        if any(isinstance(target, ast.Name) and target.id in used for target in node.targets)
    ]
    return max(made, default=0)


def _hashes(value: ast.expr) -> bool:
    operators = (node.op for node in syntax.walk(value) if isinstance(node, ast.BinOp))
    return any(isinstance(op, ast.BitXor | ast.BitAnd | ast.Mod) for op in operators)


_ANSWERS = (
    assigned_by_update,
    last_assigned,
    handed_on,
    changes_state,
    kept_arguments,
    is_short,
    learns,
    called_names,
    overwrites_data,
    calls_something,
    named,
    captured,
    deferred,
    shifted_slices,
    text_of_key,
    borders,
    returns_beside,
    kinds,
)


def forget() -> None:
    """Let go of the scripts that were asked about: a process that reads many must not keep them all."""
    for answers in _ANSWERS:
        answers.cache_clear()
