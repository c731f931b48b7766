"""What each operator does to shadows. Everything is looked at after the operator ran, so nothing here can change it.

Most operators only spread dependences from their inputs to their outputs. The others are the ones that move tokens,
make losses, add losses up, send gradients back into a loss, or overwrite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .history import CACHE, FOREIGN_BIT, GRADIENT
from .shadow import CALL, POSITION, Losses, Shadow, covers, joined, put, shadow_of, tagged, tags_of, with_sum
from .values import LOSS_VALUES

if TYPE_CHECKING:
    from .tracer import Tracer

Tensor = torch.Tensor
Follow = Callable[["Tracer", Any, tuple[Any, ...], dict[str, Any], Any], None]

MOST_SUM = 4096  # elements of a tensor that still counts as a few sums of losses

VIEW_LIKE = {"_unsafe_view", "lift_fresh", "lift", "set_", "resize_", "detach_", "alias", "_reshape_alias", "view_as"}
MOVES = {
    "clone", "_to_copy", "cat", "stack", "index", "index_select", "gather", "masked_fill", "masked_select", "flip",
    "roll", "repeat", "constant_pad_nd", "take", "tril", "triu", "slice_scatter", "select_scatter", "contiguous",
    "where", "expand_copy", "slice_copy", "view_copy", "unbind_copy", "split_copy", "select_copy", "copy", "pin_memory",
    "_pin_memory", "unfold_copy", "narrow_copy", "diagonal_copy", "index_put", "scatter",
}  # fmt: skip
KEEP_TOKENS = {"clamp", "clamp_min", "clamp_max", "maximum", "minimum"}
ELEMENTWISE = {
    "add", "sub", "mul", "div", "neg", "exp", "log", "log1p", "expm1", "log2", "abs", "clamp", "clamp_min", "clamp_max",
    "minimum", "maximum", "fmin", "fmax", "logaddexp", "pow", "sqrt", "nan_to_num", "rsub", "addcmul", "addcdiv",
    "lerp", "true_divide", "sigmoid", "tanh", "relu",
}  # fmt: skip
SCATTERS = {"scatter_add", "index_add", "index_put", "_index_put_impl", "put", "scatter", "scatter_reduce"}
ADDITIONS = {"add", "sub", "rsub", "addcmul", "addcdiv", "lerp", "logaddexp"}
SELECTIONS = {"minimum", "maximum", "fmin", "fmax"}
SUMS = {"sum", "mean", "nansum", "nanmean", "dot", "vdot", "mv"}
OVERWRITES = {
    "zero_", "fill_", "normal_", "uniform_", "random_", "bernoulli_", "exponential_", "log_normal_", "cauchy_",
    "geometric_",
}  # fmt: skip
# outputs that hold no values of their inputs
EMPTY_LIKE = {
    "empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like", "new_empty",
    "new_zeros", "new_ones", "new_full", "new_empty_strided",
}  # fmt: skip


def choose(func: Any) -> Follow | None:
    """What to do after `func`: None for nothing."""
    name = func._schema.name.partition("::")[2]
    special = _SPECIAL.get(name)
    if special is not None:
        return special
    if func.is_view or name in VIEW_LIKE or name in EMPTY_LIKE:
        return None
    arguments = func._schema.arguments
    written = [
        i for i, argument in enumerate(arguments) if argument.alias_info is not None and argument.alias_info.is_write
    ]
    if written:
        outs = [arguments[i].name for i in written if arguments[i].kwarg_only]
        if outs:
            return _out_variant(outs)
        if name in OVERWRITES:
            return overwritten
        return _in_place(written, name)
    if not any("Tensor" in str(argument.type) for argument in arguments):
        return None
    return _functional(name)


def tensors_of(value: Any) -> list[Tensor]:
    """Tensors in an argument or an output: itself, or those of a list."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [item for entry in value for item in tensors_of(entry)]
    return []


# --- dependences -----------------------------------------------------------------------------------------------------


def _functional(name: str) -> Follow:
    base = name.rstrip("_")
    moves, elementwise, sums, scatters = base in MOVES, base in ELEMENTWISE, base in SUMS, base in SCATTERS

    def follow(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        found: Shadow | None = None
        rich = False
        for value in args:
            if isinstance(value, Tensor):
                seen = getattr(value.untyped_storage(), "_seen", None)
                if seen is not None:
                    rich = rich or seen.tags is not None or seen.sum is not None
                    found = seen if found is None else joined(found, seen)
            elif value.__class__ is list or value.__class__ is tuple:
                for item in value:
                    if isinstance(item, Tensor):
                        seen = getattr(item.untyped_storage(), "_seen", None)
                        if seen is not None:
                            rich = rich or seen.tags is not None or seen.sum is not None
                            found = seen if found is None else joined(found, seen)
        if found is None:
            return
        if rich:
            if scatters and _counted(tracer, base, args, out, shadow_of(args[0])):
                return
            if moves and _moved(tracer, func, base, args, kwargs, out, found):
                return
            if elementwise and _elementwise(tracer, base, args, out, found):
                return
            if sums and _summed(tracer, args, out, found):
                return
            found = _taken_apart(tracer, args, out, found)
            if found is None:
                return
        if base == "mul" and _times_zero(args):
            return
        spread(out, found)

    return follow


def spread_all(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """What an operator of any kind gives depends on everything that it was given."""
    found: Shadow | None = None
    for tensor in tensors_of([*args, *kwargs.values()]):
        seen = shadow_of(tensor)
        found = joined(found, seen.plain()) if seen is not None else found
    if found is not None:
        spread(out, found)


def spread(out: Any, shadow: Shadow) -> None:
    """Hang dependences on outputs; an output that shares its storage keeps what is there."""
    if isinstance(out, Tensor):
        storage: Any = out.untyped_storage()
        before = getattr(storage, "_seen", None)
        storage._seen = shadow if before is None else _added(before, shadow)
    elif isinstance(out, (list, tuple)):
        for item in out:
            spread(item, shadow)


def _added(before: Shadow, more: Shadow) -> Shadow:
    """`before` with more dependences; its tags and sums stay."""
    union = joined(before.plain(), more.plain())
    if union is None or not before.rich:
        return union or before
    return Shadow(union.inputs, union.learned, union.rows, union.perhaps, before.tags, before.sum)


def _times_zero(args: tuple[Any, ...]) -> bool:
    return len(args) > 1 and isinstance(args[1], (int, float)) and args[1] == 0


def _taken_apart(tracer: Tracer, args: tuple[Any, ...], out: Any, found: Shadow) -> Shadow | None:
    """Tokens or losses went into an operator that mixes them: what is left of them is a dependence, or a coarse sum."""
    losses: Losses | None = None
    inputs = 0
    for tensor in [item for value in args for item in tensors_of(value)]:
        shadow = shadow_of(tensor)
        if shadow is None:
            continue
        if shadow.sum is not None:
            losses = shadow.sum if losses is None else losses.join(shadow.sum)
        if shadow.tags is not None:
            tags = _flat_tags(tensor, shadow)
            if tags is None or not len(tags):
                continue
            if tags[0] >= CALL:
                losses = Losses([tags], 1, coarse=True) if losses is None else losses.join(Losses([tags], 1, True))
            else:
                inputs |= tracer.inputs_of(tensor, shadow, tags)
    result = Shadow(found.inputs | inputs, found.learned, found.rows, found.perhaps)
    if losses is not None:
        for tensor in tensors_of(out):
            if tensor.is_floating_point() and tensor.numel() <= MOST_SUM:
                put(tensor, Shadow(result.inputs, result.learned, result.rows, result.perhaps, None, losses))
            else:
                spread(tensor, result)
        return None
    return result


def _flat_tags(tensor: Tensor, shadow: Shadow | None = None) -> np.ndarray | None:
    """Tags of the tensor's elements that have one, (n,) int64."""
    tags = tags_of(tensor, shadow)
    if tags is None:
        return None
    flat = tags.reshape(-1).numpy()
    return flat[flat >= 0]


# --- tokens and losses that keep their identity ----------------------------------------------------------------------


def _moved(
    tracer: Tracer, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, found: Shadow
) -> bool:
    """Replay a movement of data on the tags. False when this was no movement of tagged values."""
    if name == "index" and _picked(tracer, args, out):
        return True
    if name == "gather" and _gathered(tracer, args, out):
        return True
    if name == "where" and len(args) != 3:
        return False
    if not isinstance(out, Tensor):
        return False
    movers = _data_arguments(name, args)
    if not any(_has_tags(tensor) for tensor in movers):
        shadows = [shadow for tensor in movers if (shadow := shadow_of(tensor)) is not None]
        losses = next((shadow.sum for shadow in shadows if shadow.sum is not None), None)
        if losses is not None and out.is_floating_point():
            put(out, Shadow(found.inputs, found.learned, found.rows, found.perhaps, None, _all_sums(shadows)))
            return True
        return False
    options = {} if name in ("_to_copy", "clone", "contiguous", "pin_memory", "_pin_memory") else dict(kwargs)
    if name in ("_to_copy", "clone", "contiguous", "pin_memory", "_pin_memory"):
        replay = tags_of(args[0])
    elif name == "where":
        replay = torch.where(args[0], _tags_or_none(args[1]), _tags_or_none(args[2]))
        replay = _chosen(tracer, name, replay, args[1], args[2])
    elif name == "constant_pad_nd":
        replay = torch.ops.aten.constant_pad_nd(_tags_or_none(args[0]), args[1], -1)
    elif name == "masked_fill":
        replay = torch.masked_fill(_tags_or_none(args[0]), args[1], -1)
    elif name == "index_put":
        replay = torch.ops.aten.index_put(_tags_or_none(args[0]), args[1], _tags_or_none(args[2]))
    elif name == "scatter":
        return False
    else:
        replay = func(
            *[_replayed(value) if i in _MOVER_PLACES.get(name, (0,)) else value for i, value in enumerate(args)],
            **options,
        )
    if replay is None or replay.shape != out.shape:
        return False
    base = found.plain()
    # tokens are what they are, wherever the index that picked them came from
    put(out, tagged(out, replay, base if out.is_floating_point() else Shadow(perhaps=base.perhaps & ~FOREIGN_BIT)))
    return True


_MOVER_PLACES = {"slice_scatter": (0, 1), "select_scatter": (0, 1), "copy": (0, 1)}


def _data_arguments(name: str, args: tuple[Any, ...]) -> list[Tensor]:
    if name == "where":
        return tensors_of(args[1:])
    if name in ("cat", "stack"):
        return tensors_of(args[0])
    if name == "index_put":
        return tensors_of([args[0], args[2]])
    return [args[i] for i in _MOVER_PLACES.get(name, (0,)) if i < len(args) and isinstance(args[i], Tensor)]


def _has_tags(tensor: Tensor) -> bool:
    shadow = shadow_of(tensor)
    return shadow is not None and shadow.tags is not None


def _tags_or_none(value: Any) -> Tensor:
    """Tags of a tensor, all -1 when it has none; a scalar's is -1."""
    if not isinstance(value, Tensor):
        return torch.tensor(-1)
    tags = tags_of(value)
    return tags if tags is not None else torch.full(value.shape, -1, dtype=torch.int64)


def _replayed(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _tags_or_none(value)
    if isinstance(value, (list, tuple)):
        return [_tags_or_none(item) if isinstance(item, Tensor) else item for item in value]
    return value


def _all_sums(shadows: Sequence[Shadow]) -> Losses | None:
    total: Losses | None = None
    for shadow in shadows:
        if shadow.sum is not None:
            total = shadow.sum if total is None else total.join(shadow.sum)
    return total


def _elementwise(tracer: Tracer, name: str, args: tuple[Any, ...], out: Any, found: Shadow) -> bool:
    """Arithmetic on per-token losses keeps their tags; a sum of losses stays one."""
    if not isinstance(out, Tensor):
        return False
    operands = [value for value in args if isinstance(value, Tensor)]
    if not out.is_floating_point():
        if name not in KEEP_TOKENS or not _has_tags(operands[0]) or operands[0].shape != out.shape:
            return False
        put(out, tagged(out, _tags_or_none(operands[0]), None))
        return True
    base = found.plain()
    if name == "mul" and _times_zero(args):
        return True
    carriers = [tensor for tensor in operands if _has_tags(tensor) and tensor.is_floating_point()]
    if carriers:
        tags = _tags_or_none(carriers[0])
        try:
            tags = tags.expand(out.shape)
        except RuntimeError:
            return False
        for other in carriers[1:]:
            mine = _tags_or_none(other)
            if mine.shape == tags.shape:
                tags = torch.where(tags < 0, mine, tags)
            if name in SELECTIONS:
                tags = _chosen(tracer, name, tags, carriers[0], other)
        if name == "mul":
            for other in operands:
                if not _has_tags(other):
                    tags = torch.where(other.detach() != 0, tags, -1)
        put(out, tagged(out, tags, base))
        return True
    losses = _all_sums([shadow for tensor in operands if (shadow := shadow_of(tensor)) is not None])
    if losses is None or out.numel() > MOST_SUM:
        return False
    if name in ADDITIONS and _unknown_addend(args):
        losses = losses.with_unknown()
    put(out, with_sum(base, losses))
    return True


def _unknown_addend(operands: Iterable[Any]) -> bool:
    """Whether something other than losses, and other than zero, is among what is added."""
    for value in operands:
        if isinstance(value, Tensor):
            shadow = shadow_of(value)
            if (shadow is None or not shadow.rich) and bool((value.detach() != 0).any()):
                return True
        elif isinstance(value, (int, float)) and value != 0:
            return True
    return False


def _chosen(tracer: Tracer, name: str, tags: Tensor, first: Any, second: Any) -> Tensor:
    """`tags`, with a choice's number where two losses of one token, of two score calls, were there to choose from."""
    if not isinstance(first, Tensor) or not isinstance(second, Tensor) or not first.is_floating_point():
        return tags
    mine, theirs = tags_of(first), tags_of(second)
    if mine is None or theirs is None or mine.shape != theirs.shape or mine.shape != tags.shape:
        return tags
    both = (mine >= CALL) & (theirs >= CALL) & ((mine & POSITION) == (theirs & POSITION)) & (mine != theirs)
    if not bool(both.any()):
        return tags
    number = tracer.selected(name, torch.cat([mine[both], theirs[both]]).numpy())
    return torch.where(both, (mine & POSITION) + number * CALL, tags)


def _summed(tracer: Tracer, args: tuple[Any, ...], out: Any, found: Shadow) -> bool:
    """Per-token losses added up: the sum remembers whose they are."""
    if not isinstance(out, Tensor) or not out.is_floating_point():
        return False
    operands = [value for value in args if isinstance(value, Tensor)]
    losses: Losses | None = None
    for tensor in operands:
        shadow = shadow_of(tensor)
        if shadow is None:
            continue
        if shadow.tags is not None and tensor.is_floating_point():
            tags = tags_of(tensor, shadow)
            if tags is None:
                continue
            if len(operands) == 2:  # a dot product with weights
                other = operands[1] if tensor is operands[0] else operands[0]
                if other.shape == tags.shape:
                    tags = torch.where(other.detach() != 0, tags, -1)
            unknown = (tags < CALL) & (tensor.detach() != 0) if len(operands) == 1 else tags < -1
            flat = tags.reshape(-1).numpy()
            mixed = bool(unknown.any()) or bool(found.perhaps & FOREIGN_BIT)
            part = Losses([flat[flat >= CALL].copy()], 1, coarse=out.numel() > 1, mixed=mixed)
            losses = part if losses is None else losses.join(part)
        elif shadow.sum is not None:
            losses = shadow.sum if losses is None else losses.join(shadow.sum)
    if losses is None or out.numel() > MOST_SUM:
        return False
    put(out, Shadow(found.inputs, found.learned, found.rows, found.perhaps, None, losses))
    return True


# --- in place --------------------------------------------------------------------------------------------------------


def _in_place(written: list[int], name: str) -> Follow:
    base = name.rstrip("_")
    lists = name.startswith(("_foreach", "_fused"))
    scatters = base in SCATTERS

    def follow(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if lists:
            _lists_in_place(tracer, base, written, args, kwargs)
            return
        target = args[written[0]]
        if base == "copy":
            _copied(tracer, target, args[1])
            return
        if _adds_nothing(base, args, kwargs):
            return
        before = shadow_of(target)
        found: Shadow | None = None
        rich = False
        for i, value in enumerate(args):
            if i == written[0]:
                continue
            for tensor in tensors_of(value):
                seen = shadow_of(tensor)
                if seen is not None:
                    rich = rich or seen.rich
                    found = seen if found is None else joined(found, seen)
        if before is None and found is None:
            return
        if scatters and rich and _counted(tracer, base, args, target, before):
            return
        if base == "mul" and _times_zero(args):
            overwritten(tracer, func, args, kwargs, out)
            return
        if base in ("masked_fill", "index_fill") and before is not None and before.tags is not None:
            flat = _tags_or_none(target).clone()
            getattr(flat, name)(*args[1:-1], -1)
            put(target, tagged(target, flat, before))
            return
        if base in ("index_put", "_index_put_impl") and (rich or (before is not None and before.tags is not None)):
            _put_at(args, kwargs, target, before, found)
            return
        if before is not None and before.sum is not None and base in ADDITIONS and _unknown_addend(args[1:2]):
            before = with_sum(before, before.sum.with_unknown())
            put(target, before)
        if found is None:
            return
        tracer.wrote(target, before, found, base)
        after = shadow_of(target)
        if rich:
            _accumulated(tracer, base, args, target, after)

    return follow


def _adds_nothing(base: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """An update whose factor is the number zero."""
    factor = kwargs.get("alpha", kwargs.get("value", 1))
    if base == "lerp" and len(args) > 2 and isinstance(args[2], (int, float)):
        factor = args[2]
    return isinstance(factor, (int, float)) and factor == 0 and base in ("add", "sub", "addcdiv", "addcmul", "lerp")


def _accumulated(tracer: Tracer, base: str, args: tuple[Any, ...], target: Tensor, before: Shadow | None) -> None:
    """Losses that were added to something in place."""
    operands = [value for value in args[1:] if isinstance(value, Tensor)]
    if not target.is_floating_point():
        return
    for tensor in operands:
        shadow = shadow_of(tensor)
        if shadow is None:
            continue
        before = shadow_of(target)
        if (
            shadow.tags is not None
            and tensor.is_floating_point()
            and tensor.shape == target.shape
            and target.numel() > 1
        ):
            mine, theirs = _tags_or_none(target), _tags_or_none(tensor)
            put(target, tagged(target, torch.where(mine < 0, theirs, mine), before))
            continue
        losses = shadow.sum
        if losses is None and shadow.tags is not None and tensor.is_floating_point():
            flat = _flat_tags(tensor, shadow)
            losses = Losses([flat[flat >= CALL].copy()], 1) if flat is not None else None
        if losses is not None and target.untyped_storage().nbytes() <= 8 * MOST_SUM:
            known = before.sum if before is not None else None
            if known is None and base in ADDITIONS and _was_something(target, tensor):
                losses = losses.with_unknown()
            total = losses if known is None else known.join(losses)
            base_shadow = before or Shadow()
            put(
                target,
                Shadow(
                    base_shadow.inputs,
                    base_shadow.learned,
                    base_shadow.rows,
                    base_shadow.perhaps,
                    base_shadow.tags,
                    total,
                ),
            )


def _was_something(target: Tensor, added: Tensor) -> bool:
    """Whether a sum was not zero before losses were added to it."""
    new, old = target.detach().double(), added.detach().double()
    return bool(((new - old).abs() > 1e-6 * old.abs() + 1e-12).any())


def _copied(tracer: Tracer, target: Tensor, source: Tensor) -> None:
    """copy_: what was there is gone where the copy covers all; tags and sums come along."""
    before, seen = shadow_of(target), shadow_of(source) if isinstance(source, Tensor) else None
    if before is None and seen is None:
        return
    whole = covers(target)
    if seen is None or seen.tags is None:
        if whole:
            put(target, None)
            if seen is not None:
                tracer.wrote(target, None, seen, "copy")
                if seen.sum is not None:
                    after = shadow_of(target) or Shadow()
                    put(target, Shadow(after.inputs, after.learned, after.rows, after.perhaps, None, seen.sum))
            return
        if before is not None:
            softened = _softened(before)
            if before.tags is not None:
                softened = tagged(target, torch.full(target.shape, -1, dtype=torch.int64), softened)
            put(target, softened)
        if seen is not None:
            tracer.wrote(target, shadow_of(target), seen, "copy")
        return
    base = None if whole else before
    tags = _tags_or_none(source)
    if tags.shape != target.shape:
        tags = tags.expand(target.shape)
    if target.is_floating_point():
        plain = seen.plain()
        base = plain if base is None else _added(base, plain)
    put(target, tagged(target, tags, base))


def _softened(shadow: Shadow) -> Shadow:
    """A part was overwritten: what the rest still depends on is not known any more."""
    if not (shadow.learned or shadow.rows):
        return shadow
    perhaps = shadow.perhaps | shadow.learned | shadow.rows
    return Shadow(shadow.inputs, 0, 0, perhaps, shadow.tags, shadow.sum)


def _put_at(
    args: tuple[Any, ...], kwargs: dict[str, Any], target: Tensor, before: Shadow | None, found: Shadow | None
) -> None:
    """index_put_: values with their tags go to some places."""
    values = args[2] if len(args) > 2 else kwargs.get("values")
    tags = _tags_or_none(target).clone()
    source = _tags_or_none(values)
    tags.index_put_([_plain_index(index) for index in args[1]], source.expand(()) if source.dim() == 0 else source)
    base = before
    if found is not None and target.is_floating_point():
        base = _added(before, found) if before is not None else found.plain()
    put(target, tagged(target, tags, base))


def _plain_index(index: Any) -> Any:
    return index.detach() if isinstance(index, Tensor) else index


def overwritten(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """zero_, fill_, normal_ and the like: nothing of what was there is left."""
    target = args[0]
    before = shadow_of(target)
    if before is None:
        return
    if covers(target):
        put(target, None)
        return
    softened = _softened(before)
    if softened.tags is not None:
        softened = tagged(target, torch.full(target.shape, -1, dtype=torch.int64), softened)
    put(target, softened)


def _lists_in_place(
    tracer: Tracer, base: str, written: list[int], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Operators over lists of tensors: entry i of each written list depends on entry i of all lists."""
    if base == "_foreach_zero":
        for target in args[0]:
            overwritten(tracer, None, (target,), {}, None)
        return
    plain = base.removeprefix("_foreach_")
    if plain == "copy":
        for target, source in zip(args[0], args[1], strict=False):
            _copied(tracer, target, source)
        return
    if _adds_nothing(plain, args, kwargs):
        return
    if plain == "mul" and _times_zero(args):
        for target in args[0]:
            overwritten(tracer, None, (target,), {}, None)
        return
    lists = [value for value in args if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor)]
    if not any(getattr(t.untyped_storage(), "_seen", None) is not None for values in lists for t in values):
        return
    common = [shadow for value in args if isinstance(value, Tensor) and (shadow := shadow_of(value)) is not None]
    for position in written:
        for i, target in enumerate(args[position]):
            found: Shadow | None = None
            for shadow in common:
                found = joined(found, shadow.plain())
            for values in lists:
                if i < len(values) and values[i] is not target:
                    seen = shadow_of(values[i])
                    found = joined(found, seen.plain()) if seen is not None else found
            if found is not None:
                tracer.wrote(target, shadow_of(target), found, plain)


def _out_variant(names: list[str]) -> Follow:
    def follow(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        found: Shadow | None = None
        targets = [target for name in names for target in tensors_of(kwargs.get(name))]
        for tensor in [item for value in args for item in tensors_of(value)]:
            seen = shadow_of(tensor)
            if seen is not None:
                found = joined(found, seen.plain())
        base = func._schema.name.partition("::")[2]
        for target in targets:
            before = shadow_of(target)
            tags = next((t for v in args for x in tensors_of(v) if (t := tags_of(x)) is not None), None)
            if tags is not None and base in SELECTIONS and len(targets) == 1:
                tags = _chosen(tracer, base, tags, args[0], args[1])
            if covers(target):
                put(target, None)
                before = None
            elif before is not None:
                before = _softened(before)
            if found is not None:
                tracer.wrote(target, before, found, base)
            if base in ELEMENTWISE and tags is not None and tags.shape == target.shape and target.is_floating_point():
                put(target, tagged(target, tags, shadow_of(target)))
            elif base in SUMS:
                _summed(tracer, args, target, found or Shadow())

    return follow


# --- losses ----------------------------------------------------------------------------------------------------------


def loss_of_targets(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """nll_loss_forward and its kin: a score call when the targets are validation tokens."""
    predictions, target = args[0], args[1]
    tags = tracer.tokens_of(target)
    if tags is None:
        seen = shadow_of(predictions)
        if seen is not None:
            spread(out, seen.plain())
        return
    reduction = args[3] if len(args) > 3 else kwargs.get("reduction", 1)
    ignored = args[4] if len(args) > 4 else kwargs.get("ignore_index", -100)
    tags = torch.where(target != ignored, tags, -1)
    flat = tags.reshape(-1).numpy()
    if not (flat >= 0).any():
        return
    call = tracer.score_call(flat, target, predictions)
    value = out[0] if isinstance(out, tuple) else out
    seen = shadow_of(predictions)
    base = seen.plain() if seen is not None else Shadow()
    named = tracer.named(tags, call)
    if LOSS_VALUES.wanted:
        rows = _rows(predictions)
        LOSS_VALUES.keep(named, _each(rows, target), rows)
    if value.shape == named.shape:
        put(value, tagged(value, named, base))
        return
    flat = named.reshape(-1).numpy()
    losses = Losses([flat[flat >= 0].copy()], 1, coarse=value.numel() > 1 or reduction == 0)
    put(value, Shadow(base.inputs, base.learned, base.rows, base.perhaps, None, losses))


def _rows(predictions: Tensor) -> Tensor:
    """Log-probabilities as nll_loss takes them, (targets, V)."""
    rows = predictions.detach().movedim(1, -1) if predictions.dim() > 2 else predictions.detach()
    return rows.reshape(-1, rows.shape[-1])


def _each(rows: Tensor, target: Tensor) -> Tensor:
    """The loss of each target by itself, (targets,), whatever the reduction; masked targets give any value."""
    return -rows.gather(1, target.reshape(-1, 1).clamp(0, rows.shape[-1] - 1)).squeeze(1)


def gradient_of_targets(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """nll_loss_backward and its kin: from here on the gradient depends on the targets that were not masked."""
    gradient, predictions, target = args[0], args[1], args[2]
    seen = joined(shadow_of(gradient), shadow_of(predictions))
    base = seen.plain() if seen is not None else Shadow()
    tags = tracer.tokens_of(target)
    if tags is None:
        if seen is not None:
            spread(out, base)
        return
    ignored = args[5] if len(args) > 5 else -100
    tags = torch.where(target != ignored, tags, -1)
    alive = gradient.detach() != 0
    tags = torch.where(alive if alive.dim() == 0 or alive.shape == tags.shape else alive.any(), tags, -1)
    put(out, tracer.with_update(base, tags.reshape(-1).numpy(), GRADIENT, target))


def _gathered(tracer: Tracer, args: tuple[Any, ...], out: Any) -> bool:
    """gather(values, dim, targets): the realised tokens' entries, one a target."""
    return _looked_up(tracer, args[0], args[2], out)


def _picked(tracer: Tracer, args: tuple[Any, ...], out: Any) -> bool:
    """values[..., targets] by advanced indexing."""
    for index in args[1]:
        if (
            isinstance(index, Tensor)
            and not index.is_floating_point()
            and index.dtype != torch.bool
            and _has_tags(index)
        ):
            if args[0].is_floating_point() and out.numel() == index.numel() and args[0].dim() > 1:
                return _looked_up(tracer, args[0], index, out)
            if args[0].is_floating_point():
                _read(tracer, args[0], index, out)
                return True
    return False


def _looked_up(tracer: Tracer, values: Tensor, index: Tensor, out: Tensor) -> bool:
    tags = tracer.tokens_of(index)
    if tags is None or not values.is_floating_point() or out.numel() != tags.numel():
        return False
    flat = tags.reshape(-1).numpy()
    call = tracer.score_call(flat, index, values)
    seen = shadow_of(values)
    named = tracer.named(tags, call).reshape(out.shape)
    LOSS_VALUES.keep(named, out)
    put(out, tagged(out, named, seen.plain() if seen is not None else None))
    return True


def embedded(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """embedding(weight, tokens): the batch's shape is learned here, and what the activations read."""
    _read(tracer, args[0], args[1], out)


def _read(tracer: Tracer, weight: Tensor, index: Tensor, out: Tensor) -> None:
    seen = shadow_of(weight)
    base = seen.plain() if seen is not None else Shadow()
    tags = tracer.tokens_of(index)
    inputs = 0
    if tags is not None:
        if weight.dim() > 1:  # a table of numbers, such as bytes of each token, is no embedding of the batch
            tracer.batch_seen(index)
        shadow = shadow_of(index) or Shadow()
        flat = tags.reshape(-1).numpy()
        inputs = tracer.inputs_of(index, shadow, flat[flat >= 0])
    else:
        shadow = shadow_of(index)
        if shadow is not None:
            inputs = shadow.inputs
            base = joined(base, Shadow(perhaps=shadow.perhaps)) or base
    if inputs or seen is not None or base.perhaps:
        put(out, Shadow(base.inputs | inputs, base.learned, base.rows, base.perhaps))


def _counted(tracer: Tracer, base: str, args: tuple[Any, ...], target: Tensor, before: Shadow | None) -> bool:
    """Values scattered to places that tokens name: the gradient of a lookup, or counts of what followed what."""
    if not target.is_floating_point() and base in ("scatter", "index_put", "_index_put_impl", "put"):
        return False
    if base in ("scatter_add", "scatter_reduce", "index_add", "scatter"):
        index, values = args[2], args[3] if len(args) > 3 else None
        indices = [index]
    elif base in ("index_put", "_index_put_impl"):
        if not (len(args) > 3 and args[3]):  # assignment, not accumulation
            return False
        indices, values = [item for item in args[1] if isinstance(item, Tensor)], args[2]
    else:
        indices, values = [args[1]], args[2]
    if base == "scatter" and target.dim() > 1:
        return False  # one-hot rows: activations, not counts
    tags: Tensor | None = None
    for index in indices:
        if isinstance(index, Tensor) and not index.is_floating_point() and _has_tags(index):
            tags = tracer.tokens_of(index)  # the last tagged index is the realised token
            chosen = index
    found = before.plain() if before is not None else Shadow()
    for tensor in [item for value in args[1:] for item in tensors_of(value)]:
        seen = shadow_of(tensor)
        if seen is not None:
            found = joined(found, seen.plain()) or found
    if tags is None:
        return False
    if isinstance(values, Tensor) and values.numel() == tags.numel():
        tags = torch.where(values.detach().reshape(tags.shape) != 0, tags, -1)
    manner = GRADIENT if tracer.in_backward() else CACHE
    if (
        manner == GRADIENT
        and target.dim() == 2
        and isinstance(values, Tensor)
        and values.dim() >= 2
        and values.numel() != tags.numel()
    ):
        put(target, found)  # the gradient of an embedding written as indexing: its inputs, not its targets
        return True
    shadow = tracer.with_update(found, tags.reshape(-1).numpy(), manner, chosen)
    if manner == CACHE and not tracer.counts_last(target):
        new = shadow.learned & ~found.learned  # perhaps no table of counts, but features of one batch
        shadow = Shadow(shadow.inputs, found.learned, shadow.rows, shadow.perhaps | new)
    if before is not None and before.tags is not None:
        shadow = Shadow(shadow.inputs, shadow.learned, shadow.rows, shadow.perhaps, before.tags, before.sum)
    put(target, shadow)
    if manner == CACHE:
        tracer.applied_now(target, shadow, CACHE)
    return True


def reduced_along(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """min, amin, max, ... along a dimension: the best of several losses of one token."""
    source = args[0]
    seen = shadow_of(source)
    if seen is None:
        return
    tags = tags_of(source, seen)
    value = out[0] if isinstance(out, (tuple, list)) else out
    if tags is not None and source.is_floating_point() and len(args) > 1 and tags.dim() > 0:
        dims = args[1] if isinstance(args[1], (list, tuple)) else [args[1]]
        if len(dims) == 1 and tags.shape[dims[0]] > 1:
            first, others = tags.select(dims[0], 0), tags
            same = ((others & POSITION) == (first & POSITION).unsqueeze(dims[0])).all(dims[0]) & (first >= CALL)
            calls = (tags // CALL).amax(dims[0]) != (tags // CALL).amin(dims[0])
            if bool((same & calls).any()):
                which = (same & calls).unsqueeze(dims[0]).expand(tags.shape)
                number = tracer.selected(func._schema.name.partition("::")[2], tags[which].numpy())
                kept = torch.where(same & calls, (first & POSITION) + number * CALL, torch.where(same, first, -1))
                kept = kept.reshape(value.shape)
                put(value, tagged(value, kept, seen.plain()))
                return
    found = _taken_apart(tracer, args, value, seen)
    if found is not None:
        spread(out, found)


def number_taken(tracer: Tracer, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """A tensor's value becomes a Python number."""
    seen = shadow_of(args[0])
    if seen is not None:
        tracer.number_left(args[0], seen, out)


_LOSSES = ("nll_loss_forward", "nll_loss2d_forward", "cross_entropy_loss", "nll_loss", "nll_loss_nd", "nll_loss2d")
_SPECIAL: dict[str, Follow] = {
    **dict.fromkeys(_LOSSES, loss_of_targets),
    **dict.fromkeys(("nll_loss_backward", "nll_loss2d_backward"), gradient_of_targets),
    **dict.fromkeys(("embedding", "_embedding_bag", "_embedding_bag_forward_only"), embedded),
    **dict.fromkeys(("min", "max", "amin", "amax", "aminmax"), reduced_along),
    "_local_scalar_dense": number_taken,
}
__all__ = ["choose", "tensors_of"]
