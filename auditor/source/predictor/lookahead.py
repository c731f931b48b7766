"""What in a model's forward pass may look at later tokens: attention without a causal mask, windows on both sides.

A language model that sees the whole window sees the token that it predicts: it is the next one of its input. The code
of the modules that are in use is read, not run: what a mask holds is not followed, only that there is one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from auditor.ledger import Site
from auditor.source.predictor.carrying import reached
from auditor.source.predictor.one_pass import Lookup
from auditor.source.scan import callee, named, parameters
from auditor.source.values import CLASS, EXTERNAL, FUNCTION, Class, Function, Obj, Value
from auditor.submission import syntax

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter

UNMASKED = "attention without a causal mask"
BOTH_SIDES = "a convolution that reaches to both sides"
BACKWARDS = "a recurrent layer that runs in both directions"
FIRST_ROW = "attention whose first row is one finite number throughout, so that later places weigh as much as earlier"
POOLED = "numbers taken together over groups of neighbouring places, so that the first place of a group knows the last"

_MOST_PLACES = 4
_MASK_PLACE = {"scaled_dot_product_attention": 3, "flex_attention": 3}  # of the argument that may hide later tokens
_CAUSAL_PLACE = {"scaled_dot_product_attention": 5, "flash_attn_func": 5}
_CAUSAL_NAME = {"scaled_dot_product_attention": "is_causal"}
_MASK_NAMES = frozenset(("attn_mask", "block_mask", "score_mod", "window_size", "attn_bias"))
_KEYWORDS = _MASK_NAMES | frozenset(
    "causal cu_seqlens cu_seqlens_k cu_seqlens_q deterministic dropout_p enable_gqa is_causal k key max_seqlen "
    "max_seqlen_k max_seqlen_q q qkv query return_attn_probs scale softcap softmax_scale v value".split()
)
_HIDES = frozenset("masked_fill masked_fill_ tril tril_ triu triu_ where".split())
_READS_SETTINGS = frozenset(("bool", "float", "get", "getenv", "int", "str"))
_RECURRENT = frozenset(("GRU", "LSTM", "RNN"))


class Ahead(NamedTuple):
    """A place of code that may look ahead, and how."""

    site: Site
    what: str


def looks_ahead(run: Interpreter, module: Obj, method: str) -> tuple[Ahead, ...]:
    """Places in the code of `method` of a module, and of the forward passes of its parts, that may see later tokens."""
    found: dict[Ahead, None] = {}
    if module.class_ is not None:
        found.update(dict.fromkeys(_of_class(module.class_, method, run.lookup)))
    for class_ in _parts(run, module):
        found.update(dict.fromkeys(_of_class(class_, "forward", run.lookup)))
    return tuple(found)[:_MOST_PLACES]


def _parts(run: Interpreter, module: Obj) -> list[Class]:
    """The script's classes of what a module is built of: of parts that were met, and of those constructors make."""
    objects = [module]
    for part in objects:
        objects += [child for child in part.cells.get(".children", ()) if child not in objects]
    waiting = list(dict.fromkeys(part.class_ for part in objects if part.class_ is not None))
    for class_ in waiting:
        waiting += [made for made in _made(run, class_) if made not in waiting]
    return [class_ for class_ in waiting if class_ is not module.class_]


def _made(run: Interpreter, class_: Class) -> tuple[Class, ...]:
    """Modules of the script that the constructors make; not those that a setting which is known leaves out."""
    key = ".made"
    known: tuple[Class, ...] | None = class_.cells.get(key)
    if known is None:
        found: dict[Class, None] = {}
        for init in _constructors(class_):
            local = {arg.arg for arg in parameters(init.node.args)}
            pending: list[ast.AST] = syntax.parts(init.node)
            while pending:
                part = pending.pop()
                if isinstance(part, ast.Name):
                    made = run.lookup(part.id, class_.frame)
                    if made.kind == CLASS and made.payload.family == "module":
                        found[made.payload] = None
                elif isinstance(part, ast.If | ast.IfExp):
                    pending += _sides(part, _settled(run, part.test, class_, local))
                else:
                    pending += syntax.parts(part)
        known = class_.cells[key] = tuple(found)
    return known


def _constructors(class_: Class) -> list[Function]:
    """The constructor of a class and those of its bases."""
    own = class_.cells.get("__init__")
    found = [own.payload] if isinstance(own, Value) and own.kind == FUNCTION else []
    for base in class_.bases:
        found += _constructors(base.payload) if base.kind == CLASS else []
    return found


def _sides(node: ast.If | ast.IfExp, taken: bool | None) -> list[ast.AST]:
    """The sides of a branch that may run."""
    sides = (node.body, node.orelse) if taken is None else (node.body if taken else node.orelse,)
    return [part for side in sides for part in (side if isinstance(side, list) else [side])]


def _settled(run: Interpreter, test: ast.expr, class_: Class, local: set[str]) -> bool | None:
    """What a condition comes to that asks for settings alone, None for any other."""
    calls = [node for node in syntax.walk(test) if isinstance(node, ast.Call)]
    if not local.isdisjoint(named(test)) or any(callee(call) not in _READS_SETTINGS for call in calls):
        return None
    return run.truth(run.value(test, class_.frame))


def _of_class(class_: Class, method: str, lookup: Lookup) -> tuple[Ahead, ...]:
    method = "forward" if method == "__call__" or class_.find(method) is None else method
    key = (".ahead", method)
    known: tuple[Ahead, ...] | None = class_.cells.get(key)
    if known is None:
        member = class_.find(method)
        known = tuple(_read(class_, member.payload, lookup)) if member is not None and member.kind == FUNCTION else ()
        class_.cells[key] = known
    return known


def _read(class_: Class, method: Function, lookup: Lookup) -> Iterator[Ahead]:
    attributes: set[str] = set()
    for function in reached(class_, method, lookup):
        if not isinstance(function.node, syntax.FunctionNode):
            continue
        calls = [node for node in syntax.walk(function.node) if isinstance(node, ast.Call)]
        attributes.update(node.attr for node in syntax.walk(function.node) if isinstance(node, ast.Attribute))
        lines = [(call.lineno, UNMASKED) for call in calls if _is_unmasked(call, _library_name(call, class_, lookup))]
        lines += [(line, UNMASKED) for line in _unmasked_softmax(function.node, calls, class_, lookup)]
        lines += [(line, FIRST_ROW) for line in _empty_first_row(calls)]
        lines += [(line, POOLED) for line in _pooled_groups(function.node, calls)]
        yield from (Ahead(Site(function.path, line, function.name), what) for line, what in lines)
    for init in _constructors(class_):
        for line, what in _layers(init.node, attributes):
            yield Ahead(Site(init.path, line, f"{class_.name}.__init__"), what)


def _library_name(call: ast.Call, class_: Class, lookup: Lookup) -> str:
    """The last name of what is called, as the library has it: ``from flash_attn import flash_attn_func as attend``."""
    if isinstance(call.func, ast.Name):
        value: Value = lookup(call.func.id, class_.frame)
        if value.kind == EXTERNAL:
            return str(value.payload).rpartition(".")[2]
    return callee(call)


def _is_unmasked(call: ast.Call, name: str) -> bool:
    """True for a call of a library's attention that certainly hides nothing."""
    if name not in _MASK_PLACE and not (name.startswith("flash_attn") and name.endswith("func")):
        return False
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if not given.keys() <= _KEYWORDS or any(isinstance(arg, ast.Starred) for arg in call.args):
        return False  # of a function of the script's own, or given as a mapping
    masks = [value for key, value in given.items() if key in _MASK_NAMES]
    masks += call.args[_MASK_PLACE[name] : _MASK_PLACE[name] + 1] if name in _MASK_PLACE else []
    causal = given.get(_CAUSAL_NAME.get(name, "causal"))
    place = _CAUSAL_PLACE.get(name, len(call.args))
    asked = [causal] if causal is not None else call.args[place : place + 1]
    return all(_is(mask, None) for mask in masks) and all(_is(value, False) for value in asked)


def _is(node: ast.expr, constant: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is constant


def _equals(node: ast.expr, constant: str | int) -> bool:
    return isinstance(node, ast.Constant) and node.value == constant


def _unmasked_softmax(
    function: syntax.FunctionNode, calls: list[ast.Call], class_: Class, lookup: Lookup
) -> Iterator[int]:
    """The lines of a softmax over the product of two tensors of the same text, in a function that hides nothing."""
    if any(callee(call) in _HIDES for call in calls):
        return
    made = _assigned(function)
    for call in calls:
        if callee(call) != "softmax" or not isinstance(call.func, ast.Attribute):
            continue
        owner = call.func.value
        score = owner
        if isinstance(owner, ast.Name) and owner.id not in made and call.args:
            score = call.args[0] if lookup(owner.id, class_.frame).kind == EXTERNAL else owner
        if _is_product_of_places(score, made):
            yield call.lineno


def _assigned(function: ast.AST) -> dict[str, ast.expr]:
    """The last value that each local name of a function is given."""
    return {name: values[-1] for name, values in _given(function).items()}


def _is_product_of_places(score: ast.expr, made: dict[str, ast.expr], depth: int = 4) -> bool:
    """True for ``q @ k.transpose(-2, -1)``, scaled or not, of two tensors that are no parameters."""
    if isinstance(score, ast.Name) and score.id in made and depth:
        return _is_product_of_places(made[score.id], made, depth - 1)
    if isinstance(score, ast.BinOp) and isinstance(score.op, ast.Mult | ast.Div):
        return _is_product_of_places(score.left, made, depth) or _is_product_of_places(score.right, made, depth)
    if isinstance(score, ast.BinOp) and isinstance(score.op, ast.MatMult):
        return _is_computed(score.left) and _is_turned(score.right)
    if isinstance(score, ast.Call) and callee(score) in ("matmul", "bmm") and len(score.args) >= 2:
        return _is_computed(score.args[-2]) and _is_turned(score.args[-1])
    return False


def _is_turned(node: ast.expr) -> bool:
    """True for the last two axes of a computed tensor in the other order."""
    if isinstance(node, ast.Call) and callee(node) in ("transpose", "permute") and isinstance(node.func, ast.Attribute):
        return _is_computed(node.func.value)
    return isinstance(node, ast.Attribute) and node.attr == "mT" and _is_computed(node.value)


def _is_computed(node: ast.expr) -> bool:
    return isinstance(node, ast.Name)


def _empty_first_row(calls: list[ast.Call]) -> Iterator[int]:
    """The lines where a diagonal is filled with the finite number that later places were filled with before.

    The first place is then left with equal numbers alone, which a softmax takes for all places alike.
    """
    finite = {_finite(call.args[-1]) for call in calls if call.args and callee(call) in ("masked_fill", "masked_fill_")}
    finite.discard(None)
    for call in calls:
        if not call.args or not isinstance(call.func, ast.Attribute):
            continue
        inner = call.func.value
        on_diagonal = callee(call) == "fill_" and isinstance(inner, ast.Call) and callee(inner) == "diagonal"
        if (on_diagonal or callee(call) == "fill_diagonal_") and _finite(call.args[0]) in finite:
            yield call.lineno


def _finite(node: ast.expr) -> float | None:
    """A large negative number written in the code, None for anything else."""
    number = _written(node)
    return float(number) if isinstance(number, int | float) and -1e30 < number < -100 else None


def _written(node: ast.expr) -> object:
    """The constant that an expression is written as, None for anything else."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


_POOLING = frozenset("mean sum amax amin max logsumexp median prod".split())
_POOLS = frozenset("avg_pool1d max_pool1d adaptive_avg_pool1d".split())
_REPEATS = frozenset(("repeat_interleave", "interpolate"))
_OF_PLACES = (1, -2)  # axes of (batch, places, features)


def _pooled_groups(function: syntax.FunctionNode, calls: list[ast.Call]) -> Iterator[int]:
    """The lines where groups of neighbouring places are averaged: ``x.view(b, t // 2, 2, d).mean(dim=2)``.

    Not where the averages are moved on by one group: then a place sees those of earlier groups.
    """
    made = _given(function)
    found: list[ast.Call] = []
    for call in calls:
        if callee(call) in _POOLING and isinstance(call.func, ast.Attribute):
            axis = _axis_of_group(call.func.value, made)
            if axis is not None and _goes_over(call, axis):
                found.append(call)
        elif callee(call) in _POOLS and not _by_one(call) and any(callee(other) in _REPEATS for other in calls):
            found.append(call)
    moved = [node.value for node in syntax.walk(function) if isinstance(node, ast.Subscript) and _leaves_out_last(node)]
    for call in found:
        if not any(call in _steps(value, made) for value in moved):
            yield call.lineno


def _given(function: ast.AST) -> dict[str, list[ast.expr]]:
    """All values that each local name of a function is given."""
    found: dict[str, list[ast.expr]] = {}
    for node in syntax.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
    return found


def _axis_of_group(node: ast.expr, made: dict[str, list[ast.expr]]) -> tuple[int, int] | None:
    """The axis that counts the places within a group, from the front and from the back; None where there is none."""
    for part in _steps(node, made):
        if not isinstance(part, ast.Call):
            continue
        if callee(part) == "unfold" and len(part.args) == 3:
            number = _whole(part.args[0])
            same = ast.dump(part.args[1]) == ast.dump(part.args[2])
            if same and number in _OF_PLACES and not _equals(part.args[1], 1):
                return (3, -1)
        if callee(part) in ("view", "reshape", "unflatten"):
            shape = part.args[0].elts if len(part.args) == 1 and isinstance(part.args[0], ast.Tuple) else part.args
            if len(shape) == 4 and _divides(shape[1], shape[2], made):
                return (2, -2)
    return None


def _divides(count: ast.expr, size: ast.expr, made: dict[str, list[ast.expr]]) -> bool:
    """True for ``t // k`` and ``k``: the number of groups and the size of one."""
    written = made.get(count.id, []) if isinstance(count, ast.Name) else [count]
    divisors = [part.right for part in written if isinstance(part, ast.BinOp) and isinstance(part.op, ast.FloorDiv)]
    return not _equals(size, 1) and any(ast.dump(divisor) == ast.dump(size) for divisor in divisors)


def _steps(node: ast.expr, made: dict[str, list[ast.expr]], most: int = 24) -> list[ast.expr]:
    """An expression and what it is computed from, one after the other, through methods, operators and names."""
    found: list[ast.expr] = []
    pending, seen = [node], set[str]()
    while pending and len(found) < most:
        part = pending.pop(0)
        found.append(part)
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            pending.append(part.func.value)
            pending += part.args[:1] if isinstance(part.func.value, ast.Name) else []
        elif isinstance(part, ast.BinOp):
            pending += [part.left, part.right]
        elif isinstance(part, ast.Subscript):
            pending.append(part.value)
        elif isinstance(part, ast.Name) and part.id in made and part.id not in seen:
            seen.add(part.id)
            pending += made[part.id]
    return found


def _whole(node: ast.expr) -> int | None:
    """A whole number that is written in the code."""
    number = _written(node)
    return number if type(number) is int else None


def _goes_over(call: ast.Call, axis: tuple[int, int]) -> bool:
    """Whether a sum or an average is taken over an axis."""
    given = [keyword.value for keyword in call.keywords if keyword.arg in ("dim", "axis")] or call.args[:1]
    return bool(given) and _whole(given[0]) in axis


def _by_one(call: ast.Call) -> bool:
    """True for a pool that moves on by one place, as one that looks back alone does."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "stride"] or call.args[2:3]
    return bool(given) and _equals(given[0], 1)


def _leaves_out_last(node: ast.Subscript) -> bool:
    """True for ``groups[:, :-1]``."""
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return any(
        isinstance(part, ast.Slice) and part.lower is None and part.upper is not None and _whole(part.upper) == -1
        for part in parts
    )


def _layers(init: ast.AST, attributes: set[str]) -> Iterator[tuple[int, str]]:
    """Layers made in a constructor, and used, that see both sides of a place: line and what."""
    made = _assigned(init)
    for node in syntax.walk(init):
        if not isinstance(node, ast.Assign) or not any(
            isinstance(target, ast.Attribute) and target.attr in attributes for target in node.targets
        ):
            continue
        for call in (inner for inner in syntax.walk(node.value) if isinstance(inner, ast.Call)):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            if callee(call) == "Conv1d" and _is_centred(given.get("padding"), given.get("kernel_size"), made):
                yield call.lineno, BOTH_SIDES
            elif callee(call) in _RECURRENT and "bidirectional" in given and _is(given["bidirectional"], True):
                yield call.lineno, BACKWARDS


def _is_centred(padding: ast.expr | None, kernel: ast.expr | None, made: dict[str, ast.expr]) -> bool:
    """True for as much padding on each side as keeps the length of the text: a half of what the window needs."""
    if isinstance(padding, ast.Name) and padding.id in made:
        padding = made[padding.id]
    if padding is None or isinstance(padding, ast.Tuple):
        return False
    if _equals(padding, "same"):
        return True
    if isinstance(padding, ast.Constant) and isinstance(kernel, ast.Constant):
        size, width = padding.value, kernel.value
        return isinstance(size, int) and isinstance(width, int) and 0 < 2 * size == width - 1
    halves = [
        node for node in syntax.walk(padding) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv)
    ]
    return any(_equals(node.right, 2) for node in halves)
