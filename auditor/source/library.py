"""Models of the language's built-ins and of the libraries that training scripts use.

Each model says what a call's result is made of and which storage it changes. A call without a model returns a value
made of all its arguments, applies predictors among them to tokens among them, and runs functions handed to it.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable
from fnmatch import fnmatch, fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from auditor.ledger import RULES_OF_SCORING, Manner
from auditor.source import scoring
from auditor.source.predictor import PREFIX, without_index
from auditor.source.scan import kept_arguments
from auditor.source.values import (
    CHOICE,
    CLASS,
    CONST,
    DATA,
    EXTERNAL,
    FORMAT,
    FUNCTION,
    MEASURE,
    MEASURED,
    METHOD,
    NONE,
    NOTHING,
    OBJECT,
    PARTIAL,
    RANGE,
    TUPLE,
    UNKNOWN,
    Atoms,
    Class,
    Frame,
    Obj,
    Tags,
    Value,
    choices,
    const,
    data,
    external,
    join,
    regions,
    union,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter

Args = list[Value]
Kwargs = dict[str, Value]

VAL_FILES, TRAIN_FILES = "fineweb_val", "fineweb_train"  # the shard names of the challenge's data
DOCUMENTS = "docs_selected"
_VAL_PATH, _TRAIN_PATH = ("path", "val"), ("path", "train")


# ---- constants and text ------------------------------------------------------------------------------------------


def constant(value: Any) -> Value:
    """A literal; text that names shard files is a path to them."""
    return Value(CONST, value, _path_atoms(value)) if isinstance(value, str) else Value(CONST, value)


def _path_atoms(text: str) -> Atoms:
    val, train = text.rfind(VAL_FILES), text.rfind(TRAIN_FILES)
    if max(val, train) < 0 and DOCUMENTS in text:
        return frozenset((_VAL_PATH, _TRAIN_PATH, ("doubt",)))  # the text that the shards of both splits are made of
    if max(val, train) < 0:
        pattern = text.rpartition("/")[2]
        if "*" in pattern and pattern.startswith("fineweb_") and fnmatch(VAL_FILES + "_000000.bin", pattern):
            return frozenset((_VAL_PATH, _TRAIN_PATH))  # a pattern that takes the files of both splits
        return NOTHING
    return frozenset((_VAL_PATH if val > train else _TRAIN_PATH,))  # the file's name stands behind its folder's


def text(parts: list[str | Value], atoms: Atoms) -> Value:
    """An f-string: constant when it has no holes. Adjacent pieces of text are joined."""
    merged: list[str | Value] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    for part in merged:
        if isinstance(part, str):
            atoms = atoms | _path_atoms(part)
    if all(isinstance(part, str) for part in merged):
        return Value(CONST, "".join(map(str, merged)), atoms)
    return Value(FORMAT, tuple(merged), atoms)


def formatted(value: Value, spec: ast.expr | None) -> str | None:
    """The text of a known value in an f-string; None where it is not known."""
    if value.kind != CONST or isinstance(value.payload, bytes | slice):
        return None
    layout = ""
    if isinstance(spec, ast.JoinedStr):
        if not all(isinstance(part, ast.Constant) for part in spec.values):
            return None
        layout = "".join(str(part.value) for part in spec.values if isinstance(part, ast.Constant))
    if len(layout) > 8 or any(value.atoms):
        return None if any(atom[0] in ("loop", "val") for atom in value.atoms) else str(value.payload)
    try:
        return format(value.payload, layout)
    except (TypeError, ValueError):
        return None


def concatenate(run: Interpreter, left: Value, right: Value) -> Value | None:
    """``left + right`` for text, tuples and lists; None where neither is one."""
    if left.kind == FORMAT or right.kind == FORMAT:
        parts: list[str | Value] = []
        for side in (left, right):
            if side.kind == FORMAT:
                parts.extend(side.payload)
            elif side.kind == CONST and isinstance(side.payload, str):
                parts.append(side.payload)
            else:
                parts.append(side)
        return text(parts, left.atoms | right.atoms)
    if left.kind == TUPLE and right.kind == TUPLE:
        return Value(TUPLE, left.payload + right.payload, left.atoms | right.atoms)
    if left.kind == OBJECT and left.payload.kind == "list":
        result = new_list(run, list(known_elements(run, left.payload, 256) or []), run.line)
        if known_elements(run, left.payload, 256) is None:
            loosen(run, result.payload)
            _add_rest(run, result.payload, any_element(run, left))
        extend(run, result.payload, right)
        return result
    return None


def positions(atoms: Atoms) -> Atoms:
    """What a comparison of tokens leaves: where something is, not which tokens."""
    if not any(atom[0] == "val" for atom in atoms):
        return atoms
    return frozenset(atom for atom in atoms if atom[0] != "val") | {("pos",)}


# ---- lists and dicts ---------------------------------------------------------------------------------------------


def new_list(run: Interpreter, items: list[Value], line: int) -> Value:
    obj = Obj("list", line, "list")
    obj.cells["items"] = tuple(items)
    obj.cells["born"] = len(run.loops)
    if items:
        rest = items[0]
        for item in items[1:]:
            rest = join(rest, item)
        obj.cells["rest"] = rest
    return Value(OBJECT, obj)


def new_dict(run: Interpreter, line: int) -> Value:
    obj = Obj("dict", line, "dict")
    obj.cells["born"] = len(run.loops)
    return Value(OBJECT, obj)


def loosen(run: Interpreter, obj: Obj) -> None:
    """From here on the collection's length and members are not known one by one."""
    if not obj.cells.get("loose"):
        run.state.write(obj.cells, "loose", True)


def _is_loose(run: Interpreter, obj: Obj) -> bool:
    return bool(obj.cells.get("loose"))


def _add_rest(run: Interpreter, obj: Obj, value: Value) -> None:
    old = obj.cells.get("rest")
    run.state.write(obj.cells, "rest", run.settle(value if old is None else join(old, value)))


def append(run: Interpreter, obj: Obj, value: Value) -> None:
    if run.abstract and run.abstract[-1] > obj.cells.get("born", 0):
        loosen(run, obj)
    if not obj.cells.get("loose"):
        items = obj.cells.get("items", ())
        if len(items) < 256:
            run.state.write(obj.cells, "items", (*items, value))
        else:
            loosen(run, obj)
    _add_rest(run, obj, value)


def extend(run: Interpreter, obj: Obj, value: Value) -> None:
    parts = run.elements(value, limit=256)
    if parts is None:
        loosen(run, obj)
        _add_rest(run, obj, run.element(value))
        return
    for part in parts:
        append(run, obj, part)


def repeated(run: Interpreter, value: Value) -> Value:
    """``[item] * count``."""
    result = new_list(run, [any_element(run, value)], run.line)
    loosen(run, result.payload)
    result.payload.cells["repeats"] = True
    return result


def weaken(run: Interpreter, obj: Obj, atoms: Atoms) -> None:
    """Members of the collection may now also be made of `atoms`."""
    old = obj.cells.get("rest", UNKNOWN)
    loosen(run, obj)
    run.state.write(obj.cells, "rest", run.settle(with_atoms(old, atoms)))


def store_item(run: Interpreter, obj: Obj, index: Value, value: Value) -> None:
    """``obj[index] = value``. A key made of validation tokens makes the collection a count of them."""
    key = run.atoms_of(index)
    if regions(key) and not run.predictors.names_parts(key):
        kept = frozenset(atom for atom in value.atoms if atom[0] != "val")
        events = {("state", run.predictors.event(obj, "*", region, Manner.CACHE)) for region in regions(key)}
        value = Value(value.kind, value.payload, kept | events, value.base, value.attr)
    if obj.kind == "dict" and index.kind == CONST and _hashable(index.payload):
        if index.payload == "lr" and "still" in obj.cells and not (value.kind == CONST and value.payload == 0):
            optimizer, params = obj.cells["still"]
            run.state.write(optimizer.cells, "params", params)
        run.state.write(obj.cells, ("k", index.payload), value)
        old = obj.cells.get("rest")
        run.state.write(obj.cells, "rest", value if old is None else run.settle(join(old, value)))
        return
    if obj.kind == "list" and index.kind == CONST and isinstance(index.payload, int) and not obj.cells.get("loose"):
        items = obj.cells.get("items", ())
        if -len(items) <= index.payload < len(items):
            changed = list(items)
            changed[index.payload] = value
            run.state.write(obj.cells, "items", tuple(changed))
            _add_rest(run, obj, value)
            return
    loosen(run, obj)
    _add_rest(run, obj, value)


_MAPPINGS = ("dict", "collections.defaultdict", "collections.Counter", "collections.OrderedDict")


def _default_dict(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``defaultdict(dict)``: its entries are tables that live on under other names; one stands for all of them. Other
    factories make numbers and lists, which are followed through the name of the whole."""
    made = Value(CONST, None)
    if args and args[0].kind == EXTERNAL and args[0].payload in _MAPPINGS:
        made = new_dict(run, run.line)
    elif args and args[0].kind == FUNCTION and isinstance(args[0].payload.node, ast.Lambda):
        made = run.call(args[0], [], {}, node, frame)
    if made.kind != OBJECT or made.payload.kind != "dict":
        return default(run, "collections.defaultdict", args, kwargs, node, frame)
    loosen(run, made.payload)
    whole = new_dict(run, run.line)
    loosen(run, whole.payload)
    run.state.write(whole.payload.cells, "rest", made)
    return whole


def update_dict(run: Interpreter, obj: Obj, value: Value) -> None:
    if value.kind == OBJECT and value.payload.kind == "dict":
        for key, cell in list(value.payload.cells.items()):
            if isinstance(key, tuple) and key[0] == "k":
                store_item(run, obj, const(key[1]), cell)
        if value.payload.cells.get("loose"):
            loosen(run, obj)
            _add_rest(run, obj, value.payload.cells.get("rest", UNKNOWN))
        return
    loosen(run, obj)
    _add_rest(run, obj, data(run.atoms_of(value), value.base))


def known_keywords(value: Value) -> Kwargs:
    """The keyword arguments that ``**value`` passes, as far as they are known."""
    if value.kind != OBJECT or value.payload.kind != "dict":
        return {}
    return {
        key[1]: cell
        for key, cell in value.payload.cells.items()
        if isinstance(key, tuple) and key[0] == "k" and isinstance(key[1], str)
    }


def _hashable(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | bytes | type(None))


def known_elements(run: Interpreter, obj: Obj, limit: int) -> list[Value] | None:
    if obj.kind == "list":
        if obj.cells.get("loose"):
            return None
        items = obj.cells.get("items", ())
        return list(items) if len(items) <= limit else None
    if obj.kind == "dict" and not obj.cells.get("loose"):
        keys = [key[1] for key in obj.cells if isinstance(key, tuple) and key[0] == "k"]
        return [const(key) for key in keys] if len(keys) <= limit else None
    return None


def any_element(run: Interpreter, value: Value) -> Value:
    """A value that stands for any element met when iterating over a heap object."""
    obj: Obj = value.payload
    if obj.kind == "range":
        start, stop, _ = obj.cells["bounds"]
        return data(members_of_a_range(run, start.atoms, stop.atoms))
    if obj.kind in ("list", "enumerate"):
        return obj.cells.get("rest", UNKNOWN)  # type: ignore[no-any-return]
    if obj.kind == "dict":
        return data(value.atoms)
    if obj.kind == "generator":
        return any_element(run, collected(run, obj))
    if obj.kind == "module":
        return data(NOTHING, obj)
    if obj.kind == "file":
        return data(read_file(run, obj.cells["path"]))
    if obj.class_ is not None and obj.class_.find("__iter__"):
        produced = run.call_method(value, "__iter__", [], {}, ast.Pass())
        return run.element(produced) if produced.kind != OBJECT or produced.payload is not obj else UNKNOWN
    return data(run.atoms_of(value))


def members_of_a_range(run: Interpreter, start: Atoms, stop: Atoms) -> Atoms:
    """What the members of a range depend on. One that ends where a later iteration begins ends before it."""
    rounds = run.rounds
    return start | {
        ("loop", atom[1], atom[2] - 1) if atom[0] == "loop" and atom[2] > rounds.get(atom[1], atom[2]) else atom
        for atom in stop
    }


def collected(run: Interpreter, generator: Obj) -> Value:
    """The list of what a generator yields when it is run to its end."""
    found: list[Value] = []
    run.run_generator(generator, found.append)
    result = new_list(run, found, run.line)
    loosen(run, result.payload)
    return result


def object_truth(obj: Obj) -> bool | None:
    if obj.kind == "list" and not obj.cells.get("loose"):
        return bool(obj.cells.get("items"))
    if obj.kind in ("instance", "module", "optimizer", "namespace", "file"):
        return True
    return None


def contains(run: Interpreter, container: Value, item: Value) -> bool | None:
    """``item in container`` where both are known."""
    if item.kind == CONST and isinstance(item.payload, str) and container.kind == EXTERNAL:
        if container.payload == "os.environ":
            return run.environment(item.payload) is not None or None
        return None
    if container.kind == CONST and item.kind == CONST:
        try:
            return bool(item.payload in container.payload)
        except TypeError:
            return None
    parts = run.elements(container, limit=64)
    if parts is None or item.kind != CONST:
        return None
    if any(part.kind == CONST and part.payload == item.payload for part in parts):
        return True
    return False if all(part.kind == CONST for part in parts) else None


# ---- items and attributes ----------------------------------------------------------------------------------------


def item(run: Interpreter, container: Value, index: Value, node: ast.AST) -> Value:
    """``container[index]``."""
    index_atoms = scoring.unasked(without_index(_selecting(run, index)))
    if container.kind == EXTERNAL:
        if container.payload == "sys.modules" and index.kind == CONST and index.payload == "__main__":
            return _own_names(run, run.present[0])
        if container.payload == "os.environ" and index.kind == CONST:
            return _environment(run, [index])
        if index.kind == CONST and isinstance(index.payload, str):
            return external(f"{container.payload}.{index.payload}")
        return external(container.payload)
    if container.kind == TUPLE or (container.kind == OBJECT and container.payload.kind == "list"):
        return _list_item(run, container, index, index_atoms, node)
    if container.kind == CONST and index.kind == CONST:
        try:
            return const(container.payload[index.payload], container.atoms | index.atoms)
        except Exception:
            return data(container.atoms | index.atoms)
    if container.kind == OBJECT:
        return _object_item(run, container, index, index_atoms, node)
    return _slice_data(run, container, index_atoms, index, node)


def _selecting(run: Interpreter, index: Value) -> Atoms:
    """What decides which part an index selects. Of a slice with a start: where it starts, not how long it is."""
    if index.kind == TUPLE:
        parts = index.payload
        if len(parts) == 4 and parts[0].kind == EXTERNAL and parts[0].payload == "slice":
            if parts[1].kind != CONST or parts[1].payload is not None:
                loops = frozenset(atom for atom in run.atoms_of(parts[2]) if atom[0] not in ("loop", "index"))
                return run.atoms_of(parts[1]) | loops
            return run.atoms_of(index)
        return union((index.atoms, *(_selecting(run, part) for part in parts)))
    return run.atoms_of(index)


def _part(run: Interpreter, index: Value) -> frozenset[tuple[int, int]]:
    """A tag for a constant slice of a part of the stream; none for the shift by one between inputs and targets."""
    slices = index.payload if index.kind == TUPLE else (index,)
    texts = []
    for item in slices:
        if item.kind == CONST and isinstance(item.payload, slice) and not any(a[0] == "loop" for a in item.atoms):
            bounds = (item.payload.start, item.payload.stop)
            if bounds not in ((None, None), (None, -1), (1, None)):
                texts.append(str(bounds))
    if not texts:
        return frozenset()
    return frozenset(((-1, run.parts.setdefault("|".join(texts), len(run.parts))),))


MIN_SUBSET, MAX_SUBSET = 1024, 36_000_000  # tokens; every tokenizer's full validation text has more


def _subset_size(index: Value) -> int:
    """N of ``tokens[:N]`` where N is known, or at most a known number, and smaller than any full text; else 0."""
    if index.kind == TUPLE and len(index.payload) == 4 and index.payload[0].kind == EXTERNAL:
        start, stop = index.payload[1:3]
        from_start = start.kind == CONST and start.payload in (None, 0)
        return stop.payload[1] if from_start and _is_cut_short(stop) else 0
    if index.kind != CONST or not isinstance(index.payload, slice):
        return 0
    stop = index.payload.stop
    known = isinstance(stop, int) and MIN_SUBSET <= stop <= MAX_SUBSET
    return stop if known and not any(a[0] == "loop" for a in index.atoms) else 0


def _before_the_share(run: Interpreter, index: Value) -> Tags:
    """A tag for ``tokens[:start]`` where the end depends on this process's number: what others score, not all."""
    if index.kind == TUPLE and len(index.payload) == 4 and index.payload[0].kind == EXTERNAL:
        start, stop = index.payload[1:3]
        if start.kind == CONST and start.payload in (None, 0) and run.atoms_of(stop) >= RANK:
            return frozenset(((PREFIX, 0),))
    return frozenset()


def _is_cut_short(stop: Value) -> bool:
    """True for an end that is at most a known number, smaller than any full text: ``min(2_000_000, n)``."""
    if stop.kind != RANGE or stop.payload[1] is None or any(atom[0] == "loop" for atom in stop.atoms):
        return False
    return bool(stop.payload[0] <= MIN_SUBSET <= stop.payload[1] <= MAX_SUBSET)


def _is_whole(run: Interpreter, region: Tags) -> bool:
    """True for what may be the whole text: no iteration under way and no constant slice took a part of it."""
    return not any(act in run.live or act < 0 for act, _ in region)


def _slice_data(run: Interpreter, container: Value, index_atoms: Atoms, index: Value, node: ast.AST) -> Value:
    """A part of a tensor. Of validation tokens: the part that the live loops in the index select."""
    atoms = run.atoms_of(container)
    if index.kind == CONST and index.payload == slice(None, 0):
        return UNKNOWN  # nothing is taken
    if container.kind == DATA and container.payload == scoring.ROW_TOTAL and _only_new_axes(index):
        return container
    by_token = any(atom[0] == "val" for atom in index_atoms)
    if by_token and ("model",) not in atoms:
        atoms = scoring.unasked(atoms)
    if by_token and ("model",) in atoms:
        kept = frozenset(atom for atom in index_atoms if atom[0] in ("val", "loop")) | scoring.marks(index_atoms)
        if ("picked",) not in atoms:  # losses may be told apart by their tokens
            kept |= scoring.peeked(run, atoms, index_atoms)
        return data(run.predictors.picked(run.predictors.applied(atoms | kept)))
    if any(atom[0] == "val" for atom in atoms):
        tags = run.index_tags(index_atoms) | _part(run, index) | _before_the_share(run, index)
        if (size := _subset_size(index)) and any(_is_whole(run, region) for region in regions(atoms)):
            site = run.predictors.site_number()
            run.predictors.part_sizes[site] = max(size, run.predictors.part_sizes.get(site, 0))
            atoms = atoms | {("subset", site)}
        kept = frozenset(atom for atom in index_atoms if atom[0] in ("state", "under", "clash"))
        kept |= scoring.marks(index_atoms)
        if ("picked",) in atoms and ("picked",) in index_atoms:
            kept |= scoring.chosen(run, atoms)  # some of the losses, by what they are
        if ("model",) in atoms:
            kept = run.predictors.compared(kept)
        if run.predictors.counted(atoms) and ("hashed",) in index_atoms:
            kept |= {("hashed",)}
        refined = run.refine(atoms, tags)
        if ("model",) not in atoms:
            refined |= _place_of_tokens(run, refined, node, index, index_atoms)
        found = run.predictors.looked_up(refined | kept)
        return data(found | (scoring.asked(run, found, index_atoms) if by_token else NOTHING))
    if container.base is not None:
        partial = container.base.kind == "tensor" or index.kind == CONST
        attr = "" if partial else container.attr
        if by_token or any(atom[0] == "state" for atom in atoms):
            found = run.predictors.looked_up(atoms | index_atoms) if by_token else atoms | index_atoms
            found |= scoring.asked(run, found, index_atoms) if by_token else NOTHING
            keeps = run.predictors.is_predictor(container.base)
            return data(found, container.base if keeps else None, attr)
        return data(container.atoms | index_atoms, container.base, attr)
    if not by_token and not any(atom[0] == "loop" for atom in index_atoms):
        return data(run.predictors.applied(atoms | index_atoms))  # a part of a table, not an entry of it
    found = run.predictors.looked_up(atoms | index_atoms)
    whole_row = container.kind == DATA and container.payload in (scoring.PROBABILITIES, scoring.LOG_PROBABILITIES)
    return data(found if whole_row else found | scoring.asked(run, found, index_atoms))


def _only_new_axes(index: Value) -> bool:
    """True for ``[:, None]``."""
    parts = index.payload if index.kind == TUPLE else (index,)
    return all(part.kind == CONST and part.payload in (None, slice(None), ...) for part in parts)


def _place_of_tokens(run: Interpreter, atoms: Atoms, node: ast.AST, index: Value, index_atoms: Atoms) -> Atoms:
    """Marks of validation tokens taken from others: the next at each place, those before it, or single ones."""
    if scoring.shifted(node, index) or ("next",) in index_atoms:
        return scoring.targets(atoms)
    fixed = index.kind == CONST and not any(atom[0] == "loop" for atom in index.atoms)
    if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice | ast.Tuple) and not fixed:
        return frozenset((("entry",),))
    return frozenset((("context",),)) if scoring.context(run, node) else NOTHING


def _list_item(run: Interpreter, container: Value, index: Value, index_atoms: Atoms, node: ast.AST) -> Value:
    parts = run.elements(container, limit=256)
    if parts is not None and index.kind == CONST:
        try:
            found = parts[index.payload]
        except (IndexError, TypeError):
            return UNKNOWN
        if isinstance(found, list):
            return Value(TUPLE, tuple(found)) if container.kind == TUPLE else new_list(run, found, run.line)
        return with_atoms(found, container.atoms)
    any_one = run.element(container)
    any_one = with_atoms(any_one, scoring.part_of_the_text(run, run.atoms_of(any_one), node))
    if ("rank",) in index.atoms and isinstance(index.payload, slice) and index.payload.step not in (None, 1):
        any_one = with_atoms(any_one, frozenset((("share", run.predictors.site_number()),)))
    tags = run.index_tags(index_atoms)
    tokens = any(atom[0] == "val" for atom in run.atoms_of(any_one))
    marks = frozenset(
        atom for atom in index_atoms if atom[0] in ("loop", "rank") or (not tokens and atom[0] in ("val", "hashed"))
    ) | scoring.marks(index_atoms)
    atoms = run.refine(any_one.atoms, tags) | marks
    if not tokens and any(atom[0] == "val" for atom in index_atoms):
        atoms = run.predictors.looked_up(scoring.unasked(atoms))
        atoms |= scoring.asked(run, atoms, index_atoms)
    found_one = Value(any_one.kind, any_one.payload, atoms, any_one.base, any_one.attr)
    if index.kind == TUPLE or (index.kind == CONST and isinstance(index.payload, slice)):
        result = new_list(run, [found_one], run.line)
        loosen(run, result.payload)
        return result
    return found_one


def _object_item(run: Interpreter, container: Value, index: Value, index_atoms: Atoms, node: ast.AST) -> Value:
    obj: Obj = container.payload
    if obj.kind == "dict":
        if index.kind == CONST and _hashable(index.payload):
            found = obj.cells.get(("k", index.payload))
            if isinstance(found, Value):
                return with_atoms(found, container.atoms)
        rest = with_atoms(obj.cells.get("rest", UNKNOWN), container.atoms)
        if any(atom[0] in ("val", "loop") for atom in index_atoms):
            tags = run.index_tags(index_atoms)
            tokens = frozenset(atom for atom in index_atoms if atom[0] in ("val", "loop", "hashed"))
            atoms = run.predictors.looked_up(run.refine(scoring.unasked(rest.atoms), tags) | tokens)
            atoms |= scoring.asked(run, atoms, index_atoms)
            return Value(rest.kind, rest.payload, atoms, rest.base, rest.attr)
        atoms = run.predictors.looked_up(rest.atoms)
        return Value(rest.kind, rest.payload, atoms, rest.base, rest.attr)
    if obj.kind == "namespace":
        if index.kind == CONST:
            found = obj.cells.get(index.payload)
            return found if isinstance(found, Value) else UNKNOWN
        run.cannot_see("the script looks up its own functions by names that it computes", _ORDER)
        return UNKNOWN
    if obj.class_ is not None and obj.class_.find("__getitem__"):
        return run.call_method(container, "__getitem__", [index], {}, node)
    if obj.kind == "module":
        return data(NOTHING, obj)
    return _slice_data(run, container, index_atoms, index, node)


METADATA = frozenset(
    "shape size numel dtype device ndim dim nbytes element_size itemsize is_cuda requires_grad is_contiguous "
    "stride is_floating_point __len__ st_size stat layout names".split()
)
_VIEWS = frozenset(
    "data detach view reshape flatten transpose permute T mT squeeze unsqueeze expand contiguous weight bias "
    "numpy data_ptr untyped_storage storage grad_fn "
    "parameters buffers named_parameters named_buffers modules named_modules children named_children "
    "state_dict items values keys narrow chunk split unbind select view_as expand_as param_groups module "
    "_orig_mod".split()
)
_SELF = frozenset(
    "eval train to cuda cpu half bfloat16 float double requires_grad_ zero_grad apply compile share_memory "
    "to_empty type".split()
)


def data_attribute(run: Interpreter, owner: Value, name: str) -> Value:
    """``owner.name`` for a value that is not a known object."""
    if name in ("shape", "dtype", "device", "ndim", "nbytes", "itemsize", "is_cuda", "requires_grad", "st_size"):
        return MEASURE
    if name == "grad" and owner.base is not None:
        return data(owner.base.cells.get("grad", NOTHING), owner.base, "grad")
    if name in ("T", "mT", "data", "real", "imag", "flat"):
        return owner if name != "data" else data(owner.atoms, owner.base, owner.attr)
    return Value(METHOD, (owner, name), NOTHING, owner.base, owner.attr)


def object_attribute(run: Interpreter, owner: Value, name: str) -> Value:
    """``owner.name`` for a heap object whose class does not define it."""
    obj: Obj = owner.payload
    if obj.kind == "module":
        if obj.class_ is not None and obj.class_.find("__getattr__") is None and name in obj.cells.get("attrs", ()):
            return Value(METHOD, (data(NOTHING, obj, name), name), NOTHING, obj, name)
        return Value(METHOD, (owner, name), NOTHING, obj, name if name in obj.cells.get("attrs", ()) else "")
    if obj.kind == "namespace":
        return Value(METHOD, (owner, name)) if obj.name == "globals" else UNKNOWN
    if name == "__class__" and obj.class_ is not None:
        return Value(CLASS, obj.class_)
    if name == "__dict__":
        return owner
    return Value(METHOD, (owner, name))


# ---- construction ------------------------------------------------------------------------------------------------


def construct(run: Interpreter, class_: Class, args: Args, kwargs: Kwargs, node: ast.AST) -> Value:
    """Instantiate a class of the script."""
    line = getattr(node, "lineno", run.line)
    if class_.family == "module":
        return run.predictors.module(class_.name, line, _kept(class_, args, kwargs), class_)
    if class_.family == "optimizer":
        return _optimizer(run, class_.name, args, kwargs, line, class_)
    obj = run.predictors.allocate("instance", line, class_.name, class_)
    value = Value(OBJECT, obj)
    init = class_.find("__init__")
    if init is not None and init.kind == FUNCTION:
        run.call(init, [value, *args], kwargs, node)
        return value
    fields = _fields(class_)
    for name in fields:
        default_value = class_.find(name)
        if default_value is not None and _is_field(default_value):
            made = default_value.payload[2].get("default_factory")
            obj.cells[name] = (
                run.call(made, [], {}, node) if made is not None else default_value.payload[2].get("default", UNKNOWN)
            )
    for name, arg in (*zip(fields, args, strict=False), *kwargs.items()):
        obj.cells[name] = arg
    after = class_.find("__post_init__")
    if after is not None and after.kind == FUNCTION:
        run.call(after, [value], {}, node)
    return value


_FIELD = "dataclasses.field"


def _is_field(value: Value) -> bool:
    return value.kind == PARTIAL and value.payload[0].kind == EXTERNAL and value.payload[0].payload == _FIELD


def _fields(class_: Class) -> list[str]:
    """Names of a data class's fields, those of its bases first."""
    names: list[str] = []
    for base in class_.bases:
        if base.kind == CLASS:
            names.extend(_fields(base.payload))
    for item in class_.node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            names.append(item.target.id)
    return list(dict.fromkeys(names))


def _field(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return Value(PARTIAL, (external(_FIELD), (), kwargs))


def _kept(class_: Class, args: Args, kwargs: Kwargs) -> Args:
    """The constructor arguments that become parts of a module of the script."""
    init = class_.find("__init__")
    if init is None or init.kind != FUNCTION or not isinstance(init.payload.node, ast.FunctionDef):
        return [*args, *kwargs.values()]
    node = init.payload.node
    kept = kept_arguments(node)
    names = [arg.arg for arg in node.args.args[1:]]
    given = [*zip(names, args, strict=False), *kwargs.items()]
    rest = list(args[len(names) :]) if node.args.vararg else []
    return [value for name, value in given if name in kept] + rest


def _optimizer(
    run: Interpreter, name: str, args: Args, kwargs: Kwargs, line: int, class_: Class | None = None
) -> Value:
    obj = run.predictors.allocate("optimizer", line, name, class_)
    atoms = union((*map(run.atoms_of, args), *map(run.atoms_of, kwargs.values())))
    rate = kwargs.get("lr", args[1] if len(args) > 1 else None)
    still = rate is not None and rate.kind == CONST and rate.payload == 0 and type(rate.payload) in (int, float)
    params = frozenset(atom[1] for atom in atoms if atom[0] == "par")
    obj.cells["params"] = frozenset() if still else params
    group = data()
    if still:
        group = new_dict(run, line)
        group.payload.cells["still"] = (obj, params)
    obj.cells["param_groups"] = new_list(run, [group], line)
    loosen(run, obj.cells["param_groups"].payload)
    return Value(OBJECT, obj)


# ---- calls of external names -------------------------------------------------------------------------------------


def call(run: Interpreter, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """Call the library function `name` (its dotted name as imported)."""
    handler = _CALLS.get(name)
    if handler is not None:
        return handler(run, args, kwargs, node, frame)
    args = [_read_to_its_end(run, arg) for arg in args]
    if name.endswith(".step") and args and args[0].kind == OBJECT and args[0].payload.kind == "optimizer":
        run.predictors.step(args[0].payload)
        return UNKNOWN
    if run.extensions and name.startswith((EXTENSION, "torch.ops.")):
        return _hidden_code(run, args, kwargs, node, frame)
    outside = outside_access(run, name, args)
    if outside:
        run.predictors.outside.append((run.predictors.site_number(), outside))
    if name.startswith("namedtuple:"):
        fields = name.partition(":")[2].split(",")
        return _namespace(run, [], {**dict(zip(fields, args, strict=False)), **kwargs}, node, frame)
    if name.startswith(("torch.Tensor.", "torch.nn.Module.")) and args:
        return run.call_method(args[0], name.rsplit(".", 1)[-1], args[1:], kwargs, node, frame)
    short = name.rsplit(".", 1)[-1]
    handler = _SHORT.get(short)
    if handler is not None and "." in name:
        return handler(run, args, kwargs, node, frame)
    optimizer = name.startswith("torch.optim.") or short in _OPTIMIZERS
    if optimizer and "lr_scheduler" not in name and short[:1].isupper():
        return _optimizer(run, short, args, kwargs, run.line)
    if name.startswith("torch.nn.") and short[:1].isupper() and short not in ("Parameter", "DataParallel"):
        return run.predictors.module(short, run.line, [*args, *kwargs.values()])
    if name.startswith("torch.nn.init."):
        return _initialise(run, args, kwargs, node, frame)
    return default(run, name, args, kwargs, node, frame)


_OPTIMIZERS = frozenset(("AdamW", "Adam", "SGD", "LBFGS", "Muon", "RMSprop", "AdamW8bit"))
_NETWORK = ("urllib.request.", "requests.", "httpx.", "socket.", "http.client.", "ftplib.", "huggingface_hub.", "wget.",
            "gdown.", "boto3.", "torch.hub.", "datasets.load_dataset", "paramiko.", "smtplib.")  # fmt: skip
_COMMANDS = ("os.system", "os.popen", "subprocess.", "asyncio.create_subprocess")
_COMPILERS = ("gcc", "g++", "cc", "clang", "clang++", "nvcc", "cl", "rustc", "go", "make", "cmake")
_FETCHING = ("pip install", "pip3 install", "curl ", "wget ", "git clone", "apt-get ", "apt install", "conda install",
             "uv pip")  # fmt: skip


def outside_access(run: Interpreter, name: str, args: Args) -> str:
    """What a call reaches outside the submission and its data, in words; empty for harmless calls."""
    if name.startswith(_NETWORK) and name != "socket.gethostname":
        return f"{name} reaches the network"
    if name.endswith(".from_pretrained") and name.partition(".")[0] not in run.helpers:
        return f"{name} fetches a model by its name"
    if name.startswith(_COMMANDS) and args:
        words = run.elements(args[0], limit=64) if args[0].kind != CONST else [args[0]]
        command = " ".join(str(word.payload) for word in words or [] if word.kind == CONST)
        found = next((item for item in _FETCHING if item in command + " "), "")
        found = found or next((item for item in _COMPILERS if command.split(" ")[0] == item), "")
        if found:
            return f"{name} runs {found.strip()!r}"
        parts = run.elements(args[0], limit=64) or []
        if "python" in command or ".py" in command or any(part.payload == "sys.executable" for part in parts):
            run.cannot_see(f"{name} starts another Python program", _ORDER)
    return ""


def _short_name(callee: Value) -> str:
    if callee.kind == METHOD:
        return str(callee.payload[1])
    return str(callee.payload).rpartition(".")[2] if callee.kind == EXTERNAL else ""


def starts_a_task(callee: Value) -> bool:
    """True for what only has a coroutine run later."""
    return _short_name(callee) in ("create_task", "ensure_future")


def waits_for_one(callee: Value) -> bool:
    """True for what runs a coroutine to its end and returns what that returns."""
    return _short_name(callee) in ("run", "run_until_complete", "wait_for", "shield")


def _read_to_its_end(run: Interpreter, value: Value) -> Value:
    """What a library's function gets from a generator: everything it yields."""
    generator = value.kind == OBJECT and value.payload.kind == "generator"
    return collected(run, value.payload) if generator else value


def default(
    run: Interpreter, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None = None
) -> Value:
    """A call without a model."""
    parts = _operands(run, [*args, *kwargs.values()])
    atoms = run.predictors.combined(parts)
    if name.partition(".")[0] not in _KNOWN_LIBRARIES:
        unseen_callee(run, name, [*args, *kwargs.values()], parts)
    if _VAL_PATH in atoms or _TRAIN_PATH in atoms:
        atoms = _through_path(run, name, atoms)
    run_callbacks(run, args, kwargs, node)
    if name.startswith(_CALLED_BACK):
        for value in (*args, *kwargs.values()):
            run.hand_over(value)
    out = kwargs.get("out")
    if out is not None and out.base is not None:
        run.predictors.update(out, atoms, node)
    short = name.rsplit(".", 1)[-1]
    if short in ("listdir", "scandir", "walk") and args and "fineweb" in str(args[0].payload):
        return data(atoms | {_VAL_PATH, _TRAIN_PATH, ("doubt",)})  # every file of the data's folder, or some of them
    _in_place_call(run, name, short, args, node)
    if node is run.dropped and not name.startswith(_WITHOUT_EFFECT) and isinstance(node, ast.Call):
        side_effect(run, [*args, *kwargs.values()], [*node.args, *(item.value for item in node.keywords)], node, frame)
    if short == "arange" and scoring.next_positions(node):
        atoms = atoms | {("next",)}
    if short in ("frombuffer", "fromfile", "memmap", "from_numpy") and ("file",) in atoms:
        atoms = atoms | {("array",)}
    atoms |= scoring.sample(run, name, args, atoms)
    if short in ("equal", "array_equal", "isin", "eq") and len(parts) == 2 and run.predictors.stored_answers(*parts):
        run.predictors.answered.append(run.predictors.site_number())
    if short in _RANKING:
        atoms |= scoring.chosen(run, atoms if short != "maximum" else frozenset.intersection(*parts[:2] or [atoms]))
    if short in _PICKS:
        if len(parts) > 1:
            atoms |= scoring.peeked(run, parts[0], union(parts[1:]))
            atoms |= _entry_of_row(run, args[0], atoms, union(parts[1:]))
        atoms = scoring.graded(run, short, args[0] if args else UNKNOWN, atoms)
        if short not in _AT or not run.predictors.counted(union(parts[1:])):
            atoms = run.predictors.picked(atoms)
    elif (
        short in ("cat", "concat", "stack", "hstack")
        and args
        and any(map(scoring.holds_best, run.elements(args[0], limit=64) or []))
    ) or (short == "topk" and ("model",) in atoms):
        return Value(DATA, scoring.BEST, atoms)
    elif short in scoring.NORMALIZERS:
        part = scoring.over_a_part(run, short, args[0], NOTHING) if args else NOTHING
        return with_atoms(scoring.normalized(short, atoms), part)
    elif short in ("exp", "log", "sigmoid", "maximum", "logsumexp") and args:
        return scoring.transformed(run, short, args, atoms)
    elif short in _HASHES and any(atom[0] == "val" for atom in atoms):
        atoms = atoms | {("hashed",)}
    return data(atoms)


_KNOWN_LIBRARIES = (
    frozenset(sys.stdlib_module_names)
    | frozenset(dir(builtins))
    | frozenset(
        "torch numpy np scipy sklearn pandas tqdm einops triton flash_attn flash_attn_interface sentencepiece "
        "tokenizers transformers numba identity namedtuple slice".split()
    )
)


_WRAPPERS = ("torch.", "functools.", "contextlib.", "typing.", "abc.", "dataclasses.", "enum.", "triton.", "numba.",
             "numpy.", "types.", "staticmethod", "classmethod", "property", "identity")  # fmt: skip
_CALLERS = ("torch.library.", "functools.singledispatch")


def only_wraps(name: str) -> bool:
    """True for a decorator of a library whose result runs the function only where it is called."""
    return name.startswith(_WRAPPERS) and not name.startswith(_CALLERS)


_CALLED_BACK = ("sys.", "gc.", "signal.", "threading.", "builtins.", "importlib.", "codecs.", "torch.library.")


def unseen_callee(run: Interpreter, name: str, values: Args, parts: list[Atoms]) -> None:
    """Code that is not seen and that gets a model together with validation tokens may train the one on the other."""
    models = any(
        (value.kind == OBJECT and value.payload.kind == "module")
        or (value.base is not None and value.base.kind == "module")
        for value in values
    )
    if models and any(atom[0] == "val" for part in parts for atom in part):
        run.cannot_see(f"{name}, which is not part of the submission, gets the model and validation tokens", _ORDER)


_ORDER = RULES_OF_SCORING


def _in_place_call(run: Interpreter, name: str, short: str, args: Args, node: ast.AST) -> None:
    """Functions that change an argument, such as ``torch._foreach_add_``, ``operator.isub``, ``numpy.copyto``."""
    if len(args) < 2:
        return
    target, rest = args[0], args[1:]
    if short == "vector_to_parameters":
        target, rest = args[1], args[:1]
    elif not (
        (short.endswith("_") and not short.endswith("__"))
        or (
            name.startswith("operator.i") and short not in ("index", "invert", "is_", "is_not", "indexOf", "itemgetter")
        )
        or short in ("copyto", "copy_to")
    ):
        return
    found = run.element(target) if target.kind in (OBJECT, TUPLE) else target
    if found.base is not None:
        run.predictors.update(found, union(map(run.atoms_of, rest)), node)


_WITHOUT_EFFECT = ("torch.cuda.", "torch.distributed.", "torch.backends.", "gc.", "logging.", "warnings.", "wandb.",
                   "time.", "os.", "sys.", "print", "random.seed", "assert")  # fmt: skip
_CARRIED = frozenset("val state under clash train file picked path".split())


def side_effect(run: Interpreter, values: Args, nodes: list[ast.expr], node: ast.AST, frame: Frame | None) -> None:
    """A call without a model whose result is dropped can only matter by what it changes: any of its arguments may now
    be made of the others."""
    parts = [frozenset(atom for atom in run.atoms_of(value) if atom[0] in _CARRIED) for value in values]
    for index, value in enumerate(values):
        others = union((*parts[:index], *parts[index + 1 :])) - parts[index]
        if not others:
            continue
        target = run.element(value) if value.kind == TUPLE else value
        if target.kind == OBJECT and target.payload.kind in ("list", "dict"):
            inner = any_element(run, target) if target.payload.kind == "list" else target
            if inner.base is not None:
                run.predictors.may_change(inner, others)
            else:
                weaken(run, target.payload, others)
        elif target.base is not None or (target.kind == OBJECT and target.payload.kind in ("tensor", "module")):
            run.predictors.may_change(target, others)
        elif target.kind == DATA and frame is not None and index < len(nodes):
            run.mutate(nodes[index], others, frame)


_RANKING = frozenset(
    "min max amin amax topk sort kthvalue quantile argmin argmax median maximum fmax".split()
)  # what takes some of several numbers by their size
_PICKS = frozenset(("cross_entropy", "nll_loss", "gather", "take_along_axis", "take_along_dim", "index_select"))
_AT = _PICKS - {"cross_entropy", "nll_loss"}  # those that look up what they are told to
_HASHES = frozenset(("bitwise_xor", "bitwise_and", "mod", "remainder", "hash", "crc32", "blake2b", "md5", "fmod"))


def _operands(run: Interpreter, values: Args) -> list[Atoms]:
    """What each argument is made of; the members of a list or tuple count as arguments of their own."""
    parts: list[Atoms] = []
    for value in values:
        listed = value.kind == TUPLE or (value.kind == OBJECT and value.payload.kind == "list")
        members = run.elements(value) if listed else None
        parts.extend(map(run.atoms_of, members) if members else [run.atoms_of(value)])
    return parts


def _smaller(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) < 2:
        return default(run, "minimum", args, kwargs, node)
    return data(run.predictors.chosen([run.atoms_of(arg) for arg in args[:2]]))


_PATH_WORDS = frozenset(
    "glob sorted Path str join list abspath basename dirname exists iglob realpath rglob resolve with_name isfile "
    "fspath expanduser format strip replace listdir getsize stat parent name repr PurePath tuple print reversed "
    "set iterdir split is_file as_posix with_suffix startswith endswith is_dir isdir joinpath normpath len "
    "natsorted lower upper encode".split()
)


def narrowed(value: Value, tests: list[ast.expr]) -> Value:
    """A file's name that may be of either split, behind tests that ask for one of them."""
    if not {_VAL_PATH, _TRAIN_PATH} <= value.atoms:
        return value
    words = " ".join(
        inner.value
        for test in tests
        for inner in ast.walk(test)
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    )
    asked = [path for word, path in (("val", _VAL_PATH), ("train", _TRAIN_PATH)) if word in words]
    if len(asked) != 1:
        return value
    kept = value.atoms - {_VAL_PATH, _TRAIN_PATH, ("doubt",)} | {asked[0]}
    return Value(value.kind, value.payload, kept, value.base, value.attr)


def _through_path(run: Interpreter, name: str, atoms: Atoms) -> Atoms:
    """Reading the files at a path gives their tokens; handling the path gives a path."""
    if name.rsplit(".", 1)[-1] in _PATH_WORDS:
        return atoms
    new = set(atoms)
    if _VAL_PATH in atoms:
        new.discard(_VAL_PATH)
        new.add(("val", frozenset()))
    if _TRAIN_PATH in atoms:
        new.discard(_TRAIN_PATH)
        new.add(("train",))
        new |= run.files.cells.get(_TRAIN_PATH, NOTHING)  # files that the script itself put among the shards
    return frozenset(new)


def run_callbacks(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST) -> None:
    """Run functions of the script that were handed to code that is not seen, as it may call them."""
    for value in (*args, *kwargs.values()):
        for option in choices(value):
            if option.kind == FUNCTION and not option.payload.is_generator and len(run.functions) < 24:
                count = len(option.payload.node.args.args)
                run.call(option, [UNKNOWN] * count, {}, node)
            elif option.kind == PARTIAL and option.payload[0].kind == FUNCTION:
                run.call(option, [], {}, node)


def _environment(run: Interpreter, args: Args) -> Value:
    name = args[0].payload if args and args[0].kind == CONST else None
    if isinstance(name, str):
        stored = run.files.cells.get(f"environ {name}")
        if stored is not None:
            return data(stored)
        found = run.overrides.get(name) or run.environment(name)
        if found is not None:
            value = constant(found)
            return with_atoms(value, RANK) if name in ("RANK", "LOCAL_RANK") else value
    default_value = args[1] if len(args) > 1 else NONE
    if run.open_switches and default_value.kind == CONST and str(default_value.payload).lower() in _OFF:
        return data(frozenset((("setting",),)))
    return default_value


RANK: Atoms = frozenset((("rank",),))  # of the number of this process among the eight
_OFF = frozenset(("0", "false", "no", "off", "none", ""))


def _env_get(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return _environment(run, [*args, *([kwargs["default"]] if "default" in kwargs else [])])


def _identity(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args:
        return args[0]
    return next(iter(kwargs.values())) if kwargs and "model" in kwargs else external("identity")


def _range(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    obj = Obj("range", run.line, "range")
    if len(args) == 1:
        parts = (const(0), args[0], const(1))
    else:
        parts = (args[0], args[1], args[2] if len(args) > 2 else const(1)) if args else (UNKNOWN, UNKNOWN, const(1))
    if all(part.kind == CONST and isinstance(part.payload, int) for part in parts):
        numbers = range(*(part.payload for part in parts)) if parts[2].payload else range(0)
        if len(numbers) <= 1:
            return Value(TUPLE, tuple(const(number) for number in numbers))
    if parts[0].kind == CONST and parts[0].payload == 0 and _is_cut_short(parts[1]):
        parts = (parts[0], with_atoms(parts[1], frozenset((("subset", run.predictors.site_number()),))), parts[2])
    obj.cells["bounds"] = parts
    return Value(OBJECT, obj)


def _len(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args:
        parts = run.elements(args[0], limit=100_000)
        if parts is not None:
            return const(len(parts))
    return Value(RANGE, (0, None), MEASURED)


def _pure(function: Callable[..., Any]) -> Callable[[Interpreter, Args, Kwargs, ast.AST, Frame | None], Value]:
    def model(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
        if args and not kwargs and all(arg.kind == CONST and _short(arg.payload) for arg in args):
            try:
                return const(function(*(arg.payload for arg in args)), union(arg.atoms for arg in args))
            except Exception:
                return data(union(arg.atoms for arg in args))
        if function in (int, abs) and len(args) == 1 and args[0].kind == RANGE:
            return args[0]
        return data(run.predictors.combined([run.atoms_of(arg) for arg in args]))

    return model


def _short(value: Any) -> bool:
    return not isinstance(value, str | bytes) or len(value) <= 4096


def _extreme(function: Callable[..., Any]) -> Callable[[Interpreter, Args, Kwargs, ast.AST, Frame | None], Value]:
    plain = _pure(function)

    def of_members(run: Interpreter, args: Args, kwargs: Kwargs) -> Value:
        atoms = run.atoms_of(args[0]) | (run.atoms_of(kwargs["key"]) if "key" in kwargs else NOTHING)
        if args[0].kind == OBJECT and args[0].payload.kind == "dict":
            atoms |= run.atoms_of(args[0].payload.cells.get("rest", UNKNOWN))
        found = data(atoms | run.atoms_of(run.element(args[0])))
        return with_atoms(found, scoring.chosen(run, found.atoms, again=True))

    def model(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
        if function is max and len(args) == 2:
            for one, two in (args, args[::-1]):
                if one.kind == CONST and type(one.payload) is int and one.payload >= 0 and two.kind != CONST:
                    return Value(RANGE, (one.payload, None), one.atoms | run.atoms_of(two))
        if len(args) == 1 and args[0].kind != CONST and ("picked",) in run.atoms_of(args[0]):
            return of_members(run, args, kwargs)
        key = kwargs.get("key")
        if len(args) == 1 and key is not None and key.kind in (FUNCTION, PARTIAL):
            item = run.element(args[0])
            judged = run.atoms_of(run.call(key, [item], {}, node, frame))
            if ("picked",) in judged:
                return with_atoms(data(run.atoms_of(item)), scoring.chosen(run, judged, again=True))
        if function is min and len(args) == 2:
            for one, two in (args, args[::-1]):
                if one.kind == CONST and type(one.payload) is int and one.payload > 0 and _is_size(run, two):
                    return Value(RANGE, (0, one.payload), one.atoms | run.atoms_of(two))
        if function is min and len(args) >= 2 and any(arg.kind == DATA for arg in args):
            return data(run.predictors.chosen([run.atoms_of(arg) for arg in args]))
        return plain(run, args, kwargs, node, frame)

    return model


def _is_size(run: Interpreter, value: Value) -> bool:
    """True for a number that is a size of data and nothing else."""
    return value.kind in (DATA, RANGE) and run.atoms_of(value) == MEASURED


def _print(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    template: list[str | None] = []
    atoms = NOTHING
    for position, arg in enumerate(args):
        if position:
            template.append(" ")
        atoms |= run.atoms_of(arg)
        if arg.kind == CONST and isinstance(arg.payload, str):
            template.append(arg.payload)
        elif arg.kind == FORMAT:
            template.extend(part if isinstance(part, str) else None for part in arg.payload)
        else:
            template.append(None)
    run.predictors.print(tuple(template), atoms)
    return NONE


def _open(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    obj = Obj("file", run.line, "file")
    obj.cells["path"] = args[0] if args else UNKNOWN
    return Value(OBJECT, obj)


UNKNOWN_FILE = "*"
MAX_HOLES = 3  # in the name of a file


def _file_key(path: Value) -> str:
    """The name of a file, with a star for every part of it that is not known."""
    parts = _name_parts(path, 3)
    return "".join(parts) if parts.count(UNKNOWN_FILE) <= MAX_HOLES and len(parts) < 64 else UNKNOWN_FILE


def _name_parts(path: Value, depth: int) -> list[str]:
    if path.kind == CONST and isinstance(path.payload, str):
        return [path.payload]
    if path.kind != FORMAT or depth == 0:
        return [UNKNOWN_FILE]
    return [
        piece for part in path.payload for piece in ([part] if isinstance(part, str) else _name_parts(part, depth - 1))
    ]


def _may_be_named(key: str, other: str) -> bool:
    """True unless two names, of which one may have unknown parts, are certainly different."""
    if UNKNOWN_FILE in key and UNKNOWN_FILE in other:
        return True
    known, pattern = (other, key) if UNKNOWN_FILE in key else (key, other)
    return fnmatchcase(PurePosixPath(known).name, PurePosixPath(pattern).name.replace("[", "[[]"))


def _path(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``pathlib.Path(name)``: a name that has a path's methods, not those of a text."""
    if len(args) == 1 and args[0].kind == CONST and isinstance(args[0].payload, str) and not args[0].atoms:
        return Value(FORMAT, (args[0].payload,))
    if len(args) == 1 and args[0].kind == FORMAT and not args[0].atoms:
        return args[0]
    return default(run, "pathlib.Path", args, kwargs, node, frame)


def write_file(run: Interpreter, path: Value, atoms: Atoms, *, more: bool = False) -> None:
    """A file now holds what `atoms` say, `more`: beside what it held; a file whose name is not known is one place for
    all of them."""
    key = _file_key(path)
    told = ("model",) not in atoms or run.predictors.counted(atoms)
    if told and (any(atom[0] == "val" for atom in atoms) or run.predictors.counted(atoms)):
        atoms = atoms | {("stored", run.predictors.site_number())}
    if path.kind == OBJECT and path.payload.kind == "buffer":
        run.state.write(path.payload.cells, "atoms", atoms)
        return
    old = run.files.cells.get(key, NOTHING) if UNKNOWN_FILE in key or more else NOTHING
    run.state.write(run.files.cells, key, old | atoms)
    if _TRAIN_PATH in run.atoms_of(path):
        run.state.write(run.files.cells, _TRAIN_PATH, run.files.cells.get(_TRAIN_PATH, NOTHING) | atoms)


def read_file(run: Interpreter, path: Value) -> Atoms:
    if path.kind == OBJECT and path.payload.kind == "buffer":
        return path.payload.cells.get("atoms", NOTHING)  # type: ignore[no-any-return]
    path_atoms = run.atoms_of(path)
    if _VAL_PATH in path_atoms or _TRAIN_PATH in path_atoms:
        return _through_path(run, "read", path_atoms)
    key = _file_key(path)
    if key in run.files.cells:
        others = [name for name in run.files.cells if isinstance(name, str) and UNKNOWN_FILE in name]
        found = union(run.files.cells[name] for name in (key, *others) if _may_be_named(key, name))
        found = found | scoring.marks(path_atoms)  # a file that was chosen by a score
    else:
        found = union((path_atoms, *(cell for cell in run.files.cells.values() if isinstance(cell, frozenset))))
    found = found | {("file",)}
    return frozenset(atom for atom in found if atom[0] != "train")  # what passed through a file is in the artifact


def _rename(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """What one file holds is found under another name afterwards."""
    if len(args) >= 2:
        write_file(run, args[1], read_file(run, args[0]))
    return args[1] if len(args) >= 2 else UNKNOWN


def _save(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) >= 2:
        write_file(run, args[1], run.atoms_of(args[0]))
    return NONE


def _np_save(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args:
        write_file(run, args[0], union((*map(run.atoms_of, args[1:]), *map(run.atoms_of, kwargs.values()))))
    return NONE


HEADER_INTEGERS = 256  # at the head of every shard of the challenge


def _from_file(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``np.fromfile``: of a file that the script has written, what it wrote; the head of a shard holds sizes alone."""
    count = kwargs.get("count")
    whole = args and args[0].kind != OBJECT and "offset" not in kwargs and len(args) == 1
    if whole and count is not None and count.kind == CONST and count.payload == HEADER_INTEGERS:
        return MEASURE
    if args and args[0].kind == CONST and _file_key(args[0]) in run.files.cells:
        return data(read_file(run, args[0]))
    return default(run, "numpy.fromfile", args, kwargs, node, frame)


def _memory_map(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``np.memmap``: maps of one file share what it holds; shards of the data are read."""
    if not args or args[0].kind != CONST or {_VAL_PATH, _TRAIN_PATH} & args[0].atoms:
        return default(run, "numpy.memmap", args, kwargs, node, frame)
    key = _file_key(args[0])
    if key not in run.maps:
        run.maps[key] = run.predictors.tensor(run.files.cells.get(key, NOTHING), run.line, name=key)
    return run.maps[key]


def _glob(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``glob.glob``: a pattern without wildcards is the file itself."""
    if args and args[0].kind == CONST and not set("*?[") & set(str(args[0].payload)):
        return new_list(run, [args[0]], run.line)
    return default(run, "glob.glob", args, kwargs, node, frame)


def _shared_memory(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    run.cannot_see("memory that is shared under a name", _ORDER)
    return UNKNOWN


def _chain(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``itertools.chain``: one after the other; the same collection twice gives its members twice."""
    result = new_list(run, [run.element(arg) for arg in args], run.line)
    loosen(run, result.payload)
    objects = [arg.payload for arg in args if arg.kind == OBJECT]
    if len(objects) != len(set(objects)):
        result.payload.cells["repeats"] = True
    return result


_OUTSIDE = ("/root/", "/home/", "/mnt/", "/tmp/", "/opt/", "~/")


def outside_file(run: Interpreter, args: Args) -> None:
    """Weights read from a fixed place of one machine, which the script itself has not written."""
    path = args[0].payload if args and args[0].kind == CONST else None
    if isinstance(path, str) and path.startswith(_OUTSIDE) and path not in run.files.cells:
        run.predictors.outside.append((run.predictors.site_number(), f"{path!r} is read"))


def _load(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    outside_file(run, args)
    return data(read_file(run, args[0])) if args else UNKNOWN


def _buffer(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    obj = Obj("buffer", run.line, "buffer")
    obj.cells["atoms"] = union(map(run.atoms_of, args))
    return Value(OBJECT, obj)


def _allocate(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    grad = kwargs.get("requires_grad")
    wants = grad is not None and run.truth(grad) is not False
    atoms = union(frozenset(a for a in run.atoms_of(arg) if a[0] != "loop") for arg in args)
    return run.predictors.tensor(atoms, run.line, differentiable=wants)


def _like(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    grad = kwargs.get("requires_grad")
    return run.predictors.tensor(NOTHING, run.line, differentiable=grad is not None and run.truth(grad) is not False)


def _parameter(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return run.predictors.tensor(union(map(run.atoms_of, args[:1])), run.line, differentiable=True, name="parameter")


def _autograd(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    loss = args[0] if args else kwargs.get("outputs", UNKNOWN)
    return run.predictors.gradient(run.atoms_of(loss))


def _backward_call(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    run.predictors.backward(union(map(run.atoms_of, args)))
    return NONE


def _deepcopy(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return _copied(run, args[0], {}) if args else UNKNOWN


def _copied(run: Interpreter, value: Value, seen: dict[int, Obj]) -> Value:
    if value.kind == OBJECT:
        old: Obj = value.payload
        if old.number in seen:
            return Value(OBJECT, seen[old.number], value.atoms)
        new = run.predictors.allocate(old.kind, run.line, old.name, old.class_)
        seen[old.number] = new
        for key, cell in old.cells.items():
            new.cells[key] = _copied(run, cell, seen) if isinstance(cell, Value) else cell
        if old.cells.get("children"):
            new.cells["children"] = tuple(
                _copied(run, Value(OBJECT, child), seen).payload for child in old.cells["children"]
            )
        return Value(OBJECT, new, value.atoms)
    if value.kind == TUPLE:
        return Value(TUPLE, tuple(_copied(run, part, seen) for part in value.payload), value.atoms)
    return data(run.atoms_of(value)) if value.base is not None else value


def _initialise(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args:
        run.predictors.replace(args[0], "data", union(map(run.atoms_of, args[1:])), node)
        return args[0]
    return UNKNOWN


def _partial(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return Value(PARTIAL, (args[0], tuple(args[1:]), kwargs)) if args else UNKNOWN


def _method_caller(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``operator.methodcaller(name, ...)``: what calls that method of its argument."""
    known = bool(args) and args[0].kind == CONST and isinstance(args[0].payload, str)
    return Value(PARTIAL, (external("operator.methodcaller()"), tuple(args), kwargs)) if known else UNKNOWN


def _called_method(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    *first, target = args
    return run.call(run.attribute(target, first[0].payload, node), first[1:], kwargs, node, frame) if first else UNKNOWN


def _seed(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """Random numbers from a seed that was chosen by a score are chosen by it too."""
    given = union((*map(run.atoms_of, args), *map(run.atoms_of, kwargs.values())))
    run.seeded = frozenset(atom for atom in given if atom[0] == "choice")
    return NONE


def _getattr(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) >= 2 and args[1].kind == CONST and isinstance(args[1].payload, str):
        found = run.attribute(args[0], args[1].payload, node)
        missing = args[0].kind == OBJECT and args[0].payload.kind == "instance" and found.kind == METHOD
        return args[2] if missing and len(args) > 2 else found
    if args and args[0].kind == EXTERNAL and args[0].payload in ("builtins", "__builtins__", "sys.modules"):
        return _hidden_code(run, args, kwargs, node, frame)
    if args and args[0].kind == OBJECT and args[0].payload.kind == "module":
        return data(NOTHING, args[0].payload)
    return data(union(map(run.atoms_of, args)), args[0].base if args else None)


def _setattr(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) == 3 and args[0].base is not None:
        run.predictors.attach(args[0].base, args[0].attr, args[2])
    if len(args) == 3 and args[0].kind in (OBJECT, CLASS):
        key = args[1].payload if args[1].kind == CONST else "?"
        run.state.write(args[0].payload.cells, key, args[2])
        if args[0].kind == OBJECT and args[0].payload.kind == "module":
            run.predictors.attach(args[0].payload, str(key), args[2])
    return NONE


def _hasattr(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) == 2 and args[0].kind == OBJECT and args[1].kind == CONST:
        obj = args[0].payload
        if isinstance(obj.cells.get(args[1].payload), Value):
            return const(True)
        if obj.class_ is not None and obj.class_.find(str(args[1].payload)) is not None:
            return const(True)
    return UNKNOWN


def _zip(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    columns = [run.elements(arg) for arg in args]
    if columns and all(column is not None for column in columns):
        rows = [Value(TUPLE, row) for row in zip(*(column or [] for column in columns), strict=False)]
        return new_list(run, rows, run.line)
    result = new_list(run, [Value(TUPLE, tuple(run.element(arg) for arg in args))], run.line)
    loosen(run, result.payload)
    return result


def _enumerate(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    parts = run.elements(args[0]) if args else None
    if parts is not None:
        rows = [Value(TUPLE, (const(index), part)) for index, part in enumerate(parts)]
        return new_list(run, rows, run.line)
    obj = Obj("enumerate", run.line, "enumerate")
    obj.cells["rest"] = Value(TUPLE, (UNKNOWN, run.element(args[0]) if args else UNKNOWN))
    if args and args[0].kind == OBJECT and args[0].payload.cells.get("repeats"):
        obj.cells["repeats"] = True
    return Value(OBJECT, obj)


def _as_list(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if not args:
        return new_list(run, [], run.line)
    source = args[0]
    _run_key(run, source, kwargs, node, frame)
    if source.kind == OBJECT and source.payload.kind == "generator":
        return collected(run, source.payload)
    parts = run.elements(source, limit=256)
    if parts is not None:
        return new_list(run, parts, run.line)
    result = new_list(run, [run.element(source)], run.line)
    loosen(run, result.payload)
    return result


def _sorted(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    result = _as_list(run, args, kwargs, node, frame)
    scoring.mark_members(run, result)
    return result


def _run_key(run: Interpreter, source: Value, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> None:
    """``key=`` of a sort is called on the elements."""
    key = kwargs.get("key")
    if key is not None and key.kind in (FUNCTION, PARTIAL, METHOD):
        run.call(key, [run.element(source)], {}, node, frame)


def _as_tuple(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    parts = run.elements(args[0], limit=64) if args else []
    return Value(TUPLE, tuple(parts)) if parts is not None else _as_list(run, args, kwargs, node, frame)


def _as_dict(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    result = new_dict(run, run.line)
    if args:
        update_dict(run, result.payload, args[0])
    for name, value in kwargs.items():
        store_item(run, result.payload, const(name), value)
    return result


def _map(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) < 2:
        return UNKNOWN
    parts = run.elements(args[1])
    if parts is not None and len(args) == 2:
        return new_list(run, [run.call(args[0], [part], {}, node, frame) for part in parts], run.line)
    result = new_list(run, [run.call(args[0], [run.element(arg) for arg in args[1:]], {}, node, frame)], run.line)
    loosen(run, result.payload)
    return result


def _next(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if not args:
        return UNKNOWN
    found = run.element(args[0])
    for act in run.live:
        found = run.tagged(found, act, _current(run, act))
    return found


def _current(run: Interpreter, act: int) -> int:
    return run.rounds.get(act, 0)


def _thread(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    target = kwargs.get("target", kwargs.get("function", args[1] if len(args) > 1 else NONE))
    given = kwargs.get("args")
    inner = run.elements(given, limit=64) if given is not None else []
    return Value(PARTIAL, (target, tuple(inner or ()), known_keywords(kwargs["kwargs"]) if "kwargs" in kwargs else {}))


def _spawn(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``spawn(f, args)`` runs ``f(rank, *args)`` in every process."""
    given = kwargs.get("args", args[1] if len(args) > 1 else Value(TUPLE, ()))
    if args:
        run.call(args[0], [const(0), *(run.elements(given, limit=64) or [])], {}, node, frame)
    return NONE


def _settings(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """Values read from a settings file are not known."""
    return data(union(map(run.atoms_of, args)) | {("setting",)})


def _vars(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if not args:
        return _globals(run, args, kwargs, node, frame)
    if args[0].kind == EXTERNAL:
        return args[0]
    result = new_dict(run, run.line)
    if args and args[0].kind in (OBJECT, CLASS):
        for key, cell in list(args[0].payload.cells.items()):
            if isinstance(key, str) and isinstance(cell, Value):
                store_item(run, result.payload, const(key), cell)
    loosen(run, result.payload)
    return result


def _globals(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """The script's own names as a mapping."""
    return UNKNOWN if frame is None else _own_names(run, frame.globals_)


def _own_names(run: Interpreter, frame: Frame) -> Value:
    space = Obj("namespace", run.line, "globals")
    space.cells = frame.names
    return Value(OBJECT, space)


def _namespace_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    """Methods of ``globals()``."""
    cells = owner.payload.cells
    if name == "update":
        for key, value in (*known_keywords(args[0]).items(), *kwargs.items()) if args else kwargs.items():
            run.state.write(cells, key, value)
        return NONE
    if name in ("__setitem__", "setdefault") and len(args) == 2 and args[0].kind == CONST:
        run.state.write(cells, args[0].payload, args[1])
        return args[1]
    if name in ("get", "__getitem__") and args and args[0].kind == CONST:
        found = cells.get(args[0].payload)
        return found if isinstance(found, Value) else (args[1] if len(args) > 1 else UNKNOWN)
    return None


def _hidden_code(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    run.cannot_see("code that is built or loaded while the script runs", RULES_OF_SCORING)
    return data(union(map(run.atoms_of, args)))


EXTENSION = "native extension"


def _extension(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """A native extension of torch: what its operators do is only seen to matter where the run comes to call them."""
    run.extensions = True
    return external(EXTENSION)


def _native(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    run.cannot_see("native code called through ctypes", RULES_OF_SCORING)
    return UNKNOWN


def _count_at(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) >= 2 and isinstance(node, ast.Call) and frame is not None:
        run.predictors.count(args[0], args[1], args[2] if len(args) > 2 else UNKNOWN, node.args[0], frame)
    return NONE


def _statistic(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    atoms = union(map(run.atoms_of, args))
    subject = run.predictors.allocate("tensor", run.line, "counts")
    kept = frozenset(atom for atom in atoms if atom[0] != "val")
    events = {("state", run.predictors.event(subject, "*", region, Manner.STATISTICS)) for region in regions(atoms)}
    return data(kept | events)


def _nonzero(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    parts = [run.atoms_of(arg) for arg in args]
    if len(args) == 1:
        return data(positions(union(parts)))
    atoms = run.predictors.combined(parts)
    if any(atom[0] == "ranked" for atom in parts[0]) if parts else False:
        atoms |= scoring.chosen(run, atoms, again=False)
    return data(atoms)


def _fresh(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return UNKNOWN


def _clock(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return data(MEASURED | {("clock",)})


def _import_module(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args and args[0].kind == CONST and isinstance(args[0].payload, str):
        found = run.import_helper(args[0].payload)
        return found if found is not None else external(args[0].payload)
    return _hidden_code(run, args, kwargs, node, frame)


def _dump(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return data(union(map(run.atoms_of, args)))


def _clip_grad(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return UNKNOWN


def _format_call(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args:
        known = formatted(args[0], None) if len(args) == 1 else None
        return const(known, args[0].atoms) if known is not None else Value(FORMAT, (args[0],))
    return const("")


def _isinstance(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) == 2 and args[1].kind == EXTERNAL and args[1].payload in ("dict", "list", "tuple", "str", "int"):
        value = args[0]
        if value.kind == TUPLE:
            return const(args[1].payload == "tuple")
        if value.kind == OBJECT and value.payload.kind in ("list", "dict"):
            return const(args[1].payload == value.payload.kind)
        if value.kind == CONST:
            return const(type(value.payload).__name__ == args[1].payload)
    return UNKNOWN


def _namespace(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    obj = run.predictors.allocate("instance", run.line, "namespace")
    obj.cells.update(kwargs)
    return Value(OBJECT, obj)


def _parser(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return Value(OBJECT, Obj("parser", run.line, "parser"))


def _parser_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    """``argparse``: the defaults are taken, since the command's arguments are rarely known."""
    cells = owner.payload.cells
    if name == "add_argument" and args:
        flag = next((str(arg.payload) for arg in args if arg.kind == CONST and str(arg.payload).startswith("--")), "")
        flag = flag or str(args[0].payload)
        dest = str(kwargs["dest"].payload) if "dest" in kwargs else flag.lstrip("-").replace("-", "_")
        action = kwargs["action"].payload if "action" in kwargs and kwargs["action"].kind == CONST else ""
        switch = {"store_true": const(False), "store_false": const(True)}.get(action, NONE)
        value = kwargs.get("default", switch)
        if value.kind == CONST and isinstance(value.payload, str) and "type" in kwargs:
            value = run.call(kwargs["type"], [value], {}, node, frame)
        run.state.write(cells, ("option", dest), value)
        return UNKNOWN
    if name == "set_defaults":
        for key, value in kwargs.items():
            run.state.write(cells, ("option", key), value)
        return NONE
    if name in ("parse_args", "parse_known_args"):
        options = {key[1]: value for key, value in cells.items() if isinstance(key, tuple) and key[0] == "option"}
        parsed = _namespace(run, [], options, node, frame)
        return parsed if name == "parse_args" else Value(TUPLE, (parsed, UNKNOWN))
    return owner if name in ("add_argument_group", "add_mutually_exclusive_group") else UNKNOWN


def _named_tuple(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``namedtuple(name, fields)``: a constructor of instances with these fields."""
    fields: list[str] = []
    if len(args) > 1:
        if args[1].kind == CONST and isinstance(args[1].payload, str):
            fields = args[1].payload.replace(",", " ").split()
        else:
            known = run.elements(args[1], limit=64) or []
            fields = [str(item.payload) for item in known if item.kind == CONST]
    return Value(PARTIAL, (external("namedtuple:" + ",".join(fields)), (), {}))


def _gather_objects(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``dist.all_gather_object(out, obj)`` and its like: every slot of `out` may hold what any rank sent."""
    _reduced(run, [*args, *kwargs.values()], {}, node, frame)
    target = args[0] if args else kwargs.get("object_list", UNKNOWN)
    sent = args[1] if len(args) > 1 else kwargs.get("obj", UNKNOWN)
    for option in choices(target):
        if option.kind == OBJECT and option.payload.kind == "list":
            loosen(run, option.payload)
            run.state.write(option.payload.cells, "rest", sent)
        elif option.base is not None:
            run.predictors.update(option, run.atoms_of(sent), node)
    return NONE


def _gather(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``dist.gather(tensor, gather_list)``: what was sent comes first."""
    sent = args[0] if args else kwargs.get("tensor", UNKNOWN)
    target = args[1] if len(args) > 1 else kwargs.get("gather_list", NONE)
    return _gather_objects(run, [target, sent], {}, node, frame)


def _true(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return const(True)


def _reduced(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    run.reduced = run.reduced or any(atom[0] == "share" for arg in args for atom in run.atoms_of(arg))
    return NONE


def _none(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return NONE


Model = Callable[["Interpreter", Args, Kwargs, ast.AST, "Frame | None"], Value]
_CALLS: dict[str, Model] = {
    "pathlib.Path": _path,
    "os.environ.get": _env_get,
    "os.getenv": _env_get,
    "environ.get": _env_get,
    "os.environ.setdefault": _env_get,
    "range": _range,
    "len": _len,
    "int": _pure(int),
    "float": _pure(float),
    "bool": _pure(bool),
    "abs": _pure(abs),
    "round": _pure(round),
    "math.ceil": _pure(__import__("math").ceil),
    "math.floor": _pure(__import__("math").floor),
    "math.log": _pure(__import__("math").log),
    "math.sqrt": _pure(__import__("math").sqrt),
    "min": _extreme(min),
    "max": _extreme(max),
    "str": _format_call,
    "isinstance": _isinstance,
    "print": _print,
    **dict.fromkeys(
        ("open", "io.open", "lzma.open", "gzip.open", "bz2.open", "zipfile.ZipFile", "tarfile.open"), _open
    ),
    **dict.fromkeys(
        (
            "os.replace",
            "os.rename",
            "shutil.move",
            "shutil.copy",
            "shutil.copy2",
            "shutil.copyfile",
            "os.link",
            "os.symlink",
        ),
        _rename,
    ),
    "getattr": _getattr,
    "setattr": _setattr,
    "hasattr": _hasattr,
    "zip": _zip,
    "enumerate": _enumerate,
    "list": _as_list,
    "set": _as_list,
    "sorted": _sorted,
    "reversed": _as_list,
    "iter": _identity,
    "tuple": _as_tuple,
    "dict": _as_dict,
    "map": _map,
    "next": _next,
    "vars": _vars,
    "globals": _globals,
    "super": _fresh,
    "type": _fresh,
    "id": _fresh,
    "exec": _hidden_code,
    "eval": _hidden_code,
    "compile": _dump,
    "__import__": _import_module,
    "importlib.import_module": _import_module,
    "runpy.run_path": _hidden_code,
    "runpy.run_module": _hidden_code,
    "ctypes.CDLL": _native,
    "ctypes.cdll.LoadLibrary": _native,
    "torch.compile": _identity,
    "torch.jit.script": _identity,
    "torch.save": _save,
    "np.save": _np_save,
    "numpy.save": _np_save,
    "numpy.savez": _np_save,
    "torch.load": _load,
    "numpy.load": _load,
    "numpy.fromfile": _from_file,
    "numpy.savez_compressed": _np_save,
    "glob.glob": _glob,
    "numpy.memmap": _memory_map,
    "itertools.chain": _chain,
    "multiprocessing.shared_memory.SharedMemory": _shared_memory,
    "pickle.dump": _save,
    "pickle.load": _load,
    "io.BytesIO": _buffer,
    "torch.autograd.grad": _autograd,
    "torch.func.grad": _hidden_code,
    "torch.autograd.backward": _backward_call,
    "argparse.ArgumentParser": _parser,
    **dict.fromkeys(
        (
            "builtins.exec",
            "builtins.eval",
            "marshal.loads",
            "types.FunctionType",
            "types.CodeType",
            "code.interact",
            "importlib.util.spec_from_file_location",
            "importlib.machinery.SourceFileLoader",
            "cffi.FFI",
            "dill.load",
            "cloudpickle.load",
        ),
        _hidden_code,
    ),
    **dict.fromkeys(
        ("torch.utils.cpp_extension.load", "torch.utils.cpp_extension.load_inline", "torch.ops.load_library"),
        _extension,
    ),
    "dataclasses.field": _field,
    "types.MethodType": _partial,
    "operator.methodcaller": _method_caller,
    "operator.methodcaller()": _called_method,
    **dict.fromkeys(("torch.manual_seed", "random.seed", "numpy.random.seed", "torch.cuda.manual_seed_all"), _seed),
    "types.SimpleNamespace": _namespace,
    "argparse.Namespace": _namespace,
    "collections.namedtuple": _named_tuple,
    "copy.deepcopy": _deepcopy,
    "copy.copy": _deepcopy,
    "functools.partial": _partial,
    **dict.fromkeys(
        ("threading.Thread", "multiprocessing.Process", "torch.multiprocessing.Process", "threading.Timer"), _thread
    ),
    **dict.fromkeys(("torch.multiprocessing.spawn", "torch.multiprocessing.start_processes"), _spawn),
    **dict.fromkeys(
        ("json.load", "json.loads", "yaml.safe_load", "yaml.load", "tomllib.load", "tomllib.loads"), _settings
    ),
    "torch.nn.Parameter": _parameter,
    "numpy.add.at": _count_at,
    "numpy.bincount": _statistic,
    "torch.bincount": _statistic,
    "numpy.unique": _statistic,
    "collections.Counter": _statistic,
    "collections.defaultdict": _default_dict,
    "numpy.where": _nonzero,
    "torch.where": _nonzero,
    "numpy.flatnonzero": _nonzero,
    "torch.nonzero": _nonzero,
    **dict.fromkeys(("time.perf_counter", "time.time", "time.monotonic", "time.process_time"), _clock),
    "json.dumps": _dump,
    "torch.nn.utils.clip_grad_norm_": _clip_grad,
    **dict.fromkeys(("torch.minimum", "numpy.minimum", "numpy.fmin", "torch.fmin", "torch.min"), _smaller),
    "torch.cuda.is_available": _true,
    "torch.distributed.is_available": _true,
    "torch.distributed.is_initialized": _true,
    "torch.distributed.gather": _gather,
    "torch.distributed.all_reduce": _reduced,
    "torch.distributed.reduce": _reduced,
    "torch.distributed.broadcast": _none,
    "torch.distributed.barrier": _none,
    "torch.distributed.broadcast_object_list": _none,
    "torch.distributed.get_rank": lambda *_: const(0, RANK),
    "torch.distributed.get_world_size": lambda *_: const(8),
}
_SHORT: dict[str, Model] = {
    **dict.fromkeys(("all_gather_object", "all_gather", "all_gather_into_tensor", "gather_object"), _gather_objects),
    "DistributedDataParallel": _identity,
    "DDP": _identity,
    "DataParallel": _identity,
    "deepcopy": _deepcopy,
    "partial": _partial,
    "Parameter": _parameter,
    "clip_grad_norm_": _clip_grad,
    **dict.fromkeys(("zeros", "empty", "ones", "full", "tensor", "as_tensor", "array", "rand", "randn"), _allocate),
    **dict.fromkeys(("zeros_like", "empty_like", "ones_like", "full_like", "rand_like", "randn_like"), _like),
}


# ---- methods -----------------------------------------------------------------------------------------------------


def call_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value:
    """``owner.name(*args)`` where the script does not define the method."""
    if owner.kind == CONST:
        return _constant_method(run, owner, name, args)
    if owner.kind == OBJECT:
        handler = _OBJECT_METHODS.get(owner.payload.kind)
        found: Value | None = handler(run, owner, name, args, kwargs, node, frame) if handler else None
        if found is not None:
            return found
    return _data_method(run, owner, name, args, kwargs, node, frame)


def _constant_method(run: Interpreter, owner: Value, name: str, args: Args) -> Value:
    atoms = union((owner.atoms, *map(run.atoms_of, args)))
    if name == "join" and isinstance(owner.payload, str) and len(args) == 1:
        parts = run.elements(args[0], limit=64) or []
        if parts and all(part.kind == CONST and isinstance(part.payload, str) for part in parts):
            joined = owner.payload.join(part.payload for part in parts)
            return Value(CONST, joined, atoms | _path_atoms(joined))
    known = isinstance(owner.payload, str | bytes | int | float) and all(arg.kind == CONST for arg in args)
    if not known or name not in _SAFE_METHODS or len(str(owner.payload)) > 65536:
        return data(atoms)
    try:
        result = getattr(owner.payload, name)(*(arg.payload for arg in args))
    except Exception:
        return data(atoms)
    if isinstance(result, list):
        return new_list(run, [const(item, owner.atoms) for item in result[:256]], run.line)
    return Value(CONST, result, atoms | (_path_atoms(result) if isinstance(result, str) else NOTHING))


_SAFE_METHODS = frozenset(
    "split rsplit strip lstrip rstrip lower upper startswith endswith replace encode decode join isdigit "
    "splitlines title capitalize removeprefix removesuffix find count zfill partition rpartition is_integer "
    "bit_length".split()
)


def _list_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    obj: Obj = owner.payload
    if name in ("append", "add", "appendleft", "put", "put_nowait") and args:
        append(run, obj, args[0])
        return NONE
    if name in ("extend", "update") and args:
        extend(run, obj, args[0])
        return NONE
    if name == "insert" and len(args) == 2:
        append(run, obj, args[1])
        return NONE
    if name == "clear":
        run.state.write(obj.cells, "items", ())
        run.state.write(obj.cells, "rest", UNKNOWN)
        return NONE
    if name in ("pop", "popleft", "get", "get_nowait"):
        if run.live:
            loosen(run, obj)
        return _next(run, [owner], {}, node, frame)
    if name in ("sort", "reverse"):
        _run_key(run, owner, kwargs, node, frame)
        if name == "sort":
            scoring.mark_members(run, owner)
        return NONE
    if name == "copy":
        return _deepcopy(run, [owner], {}, node, frame)
    return None


def _dict_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    obj: Obj = owner.payload
    if name in ("get", "pop", "setdefault") and args:
        if name == "setdefault" and len(args) > 1:
            store_item(run, obj, args[0], args[1])
        found = item(run, owner, args[0], node)
        known = args[0].kind == CONST and ("k", args[0].payload) in obj.cells
        if known or len(args) < 2:
            return found
        return args[1] if not obj.cells.get("loose") and args[0].kind == CONST else join(found, args[1])
    if name in ("items", "values", "keys"):
        return _dict_view(run, obj, name)
    if name == "update":
        for arg in args:
            update_dict(run, obj, arg)
        for key, value in kwargs.items():
            store_item(run, obj, const(key), value)
        return NONE
    if name == "clear":
        for entry in [entry for entry in obj.cells if isinstance(entry, tuple)]:
            run.state.write(obj.cells, entry, UNKNOWN)
        run.state.write(obj.cells, "rest", UNKNOWN)
        loosen(run, obj)
        return NONE
    if name == "copy":
        return _deepcopy(run, [owner], {}, node, frame)
    return None


def _dict_view(run: Interpreter, obj: Obj, name: str) -> Value:
    pairs = [(const(key[1]), cell) for key, cell in obj.cells.items() if isinstance(key, tuple) and key[0] == "k"]
    exact = not obj.cells.get("loose") and len(pairs) <= 64
    if not exact:
        rest = obj.cells.get("rest", UNKNOWN)
        pairs = [(data(), rest)]
    rows = {
        "items": [Value(TUPLE, pair) for pair in pairs],
        "values": [pair[1] for pair in pairs],
        "keys": [pair[0] for pair in pairs],
    }[name]
    result = new_list(run, rows, run.line)
    if not exact:
        loosen(run, result.payload)
    return result


def _module_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    obj: Obj = owner.payload
    if name == "load_state_dict" and args:
        run.predictors.load(obj, run.atoms_of(args[0]))
        return UNKNOWN
    if name in ("train", "eval"):
        still = name == "eval" or (bool(args) and run.truth(args[0]) is False)
        run.state.write(obj.cells, "still", still)
        return owner
    if name == "zero_grad":
        run.predictors.clear_gradient([obj, *obj.cells.get("children", ())])
        return NONE
    if name == "apply" and args:
        run.call(args[0], [owner], {}, node, frame)
        return owner
    if name in _SELF:
        return owner
    if name in ("get_submodule", "get_parameter", "get_buffer"):
        return data(NOTHING, obj)
    if name in ("parameters", "named_parameters", "buffers", "named_buffers", "state_dict", "modules", "named_modules",
                "children", "named_children"):  # fmt: skip
        return data(NOTHING, obj)
    if name in _FORWARD_HOOKS:
        hooks = tuple(arg for arg in args if arg.kind in (FUNCTION, PARTIAL, METHOD))
        run.state.write(obj.cells, "hooks", obj.cells.get("hooks", ()) + hooks)
        return UNKNOWN
    if name in ("register_buffer", "register_parameter", "add_module") and len(args) >= 2:
        run.state.write(obj.cells, args[0].payload if args[0].kind == CONST else "?", args[1])
        run.predictors.attach(obj, "*", args[1])
        return NONE
    if name in ("append", "extend", "insert"):
        run.predictors.attach(obj, "*", args[-1] if args else UNKNOWN)
        return NONE
    return run.predictors.predict(owner, args, kwargs)


def _optimizer_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    obj: Obj = owner.payload
    if name == "step":
        result = run.call(args[0], [], {}, node, frame) if args and args[0].kind in (FUNCTION, PARTIAL) else UNKNOWN
        closure = kwargs.get("closure")
        if closure is not None and closure.kind in (FUNCTION, PARTIAL):
            result = run.call(closure, [], {}, node, frame)
        run.line = getattr(node, "lineno", run.line)
        run.predictors.step(obj)
        return result
    if name == "zero_grad":
        run.predictors.clear_gradient([run.predictors.objects[number] for number in obj.cells.get("params", ())])
        return NONE
    if name == "add_param_group" and args:
        new = frozenset(atom[1] for atom in run.atoms_of(args[0]) if atom[0] == "par")
        run.state.write(obj.cells, "params", obj.cells.get("params", frozenset()) | new)
        return NONE
    return UNKNOWN


def _file_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    path = owner.payload.cells["path"]
    if name in ("write", "writelines") and args:
        if _VAL_PATH in args[0].atoms:
            write_file(run, path, _through_path(run, "read", args[0].atoms))  # a file put into an archive
        elif args[0].kind in (FORMAT, CONST) and not (args[0].kind == CONST and isinstance(args[0].payload, bytes)):
            _print(run, [args[0]], {}, node, frame)
        else:
            write_file(run, path, run.atoms_of(args[0]), more=bool(owner.payload.cells.get("written")))
            run.state.write(owner.payload.cells, "written", True)
        return UNKNOWN
    if name == "readinto" and args and isinstance(node, ast.Call) and frame is not None:
        run.mutate(node.args[0], read_file(run, path), frame)
        return MEASURE
    if name in ("read", "readlines", "readline"):
        found = data(read_file(run, path))
        for act in run.live:  # a file read again in a later iteration (a shared counter) has moved on
            found = run.marked(found, act, _current(run, act))
        return found
    return None


def _buffer_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    cells = owner.payload.cells
    if name == "write" and args:
        run.state.write(cells, "atoms", cells.get("atoms", NOTHING) | run.atoms_of(args[0]))
        return UNKNOWN
    if name in ("getvalue", "read", "getbuffer"):
        return data(cells.get("atoms", NOTHING))
    return UNKNOWN


_OBJECT_METHODS: dict[str, Any] = {
    "parser": _parser_method,
    "list": _list_method,
    "dict": _dict_method,
    "module": _module_method,
    "optimizer": _optimizer_method,
    "file": _file_method,
    "buffer": _buffer_method,
    "namespace": _namespace_method,
}

_OVERWRITES = frozenset(
    "zero_ fill_ copy_ normal_ uniform_ trunc_normal_ constant_ set_ kaiming_uniform_ random_ orthogonal_".split()
)
_IN_PLACE_OPERATORS = frozenset(
    "__iadd__ __isub__ __imul__ __itruediv__ __ifloordiv__ __ipow__ __imatmul__ __ior__ __iand__ __ixor__".split()
)
_COUNTS = frozenset(["scatter_add_", "index_add_", "scatter_", "index_fill_", "scatter_reduce_"])
_READS_PATH = frozenset(("read_bytes", "read_text", "open"))


def _data_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value:
    if name in METADATA:
        return MEASURE
    own = run.atoms_of(owner)
    rest = union((*map(run.atoms_of, args), *map(run.atoms_of, kwargs.values())))
    if name == "backward":
        run.predictors.backward(own)
        return NONE
    if name in ("start", "submit", "apply_async", "run") and owner.kind in (PARTIAL, FUNCTION):
        run.call(owner, [], {}, node, frame)
        return UNKNOWN
    if name == "use_artifact":
        run.predictors.outside.append((run.predictors.site_number(), "an artifact of an experiment tracker is fetched"))
    if name in _FORWARD_HOOKS and owner.base is not None and owner.base.kind == "module":
        hooks = tuple(arg for arg in args if arg.kind in (FUNCTION, PARTIAL, METHOD))
        run.state.write(owner.base.cells, "hooks", owner.base.cells.get("hooks", ()) + hooks)
        return UNKNOWN
    if name == "submit" and args:
        return run.call(args[0], args[1:], kwargs, node, frame)
    if name == "map" and len(args) >= 2 and args[0].kind in (FUNCTION, METHOD, PARTIAL):
        return _map(run, args, kwargs, node, frame)
    if name in ("result", "join") and not args:
        return owner
    if name == "requires_grad_":
        return _require_gradient(run, owner)
    if name in ("info", "warning", "debug", "log", "write") and owner.kind != OBJECT and _has_text(args):
        return _print(run, args, kwargs, node, frame)
    if name in _READS_PATH and (_VAL_PATH in own or _TRAIN_PATH in own):
        return data(_through_path(run, name, own | rest))
    if name == "open":
        return _open(run, [owner, *args], kwargs, node, frame)
    if name in ("rename", "replace") and len(args) == 1:  # of a path; a text's replace takes two
        return _rename(run, [owner, *args], kwargs, node, frame)
    if name == "with_name" and len(args) == 1 and args[0].kind in (CONST, FORMAT):
        return _path(run, args, {}, node, frame)
    if name in ("write_bytes", "write_text") and args:
        write_file(run, owner, rest)
        return UNKNOWN
    if name in ("read_bytes", "read_text"):
        return data(read_file(run, owner))
    if name in ("format",) and owner.kind in (CONST, FORMAT):
        return Value(FORMAT, (owner, *args), own | rest)
    if name in ("nonzero", "argwhere"):
        return data(positions(own))
    if name in ("bincount", "unique", "histc"):
        return _statistic(run, [data(own)], {}, node, frame)
    if name == "step" and args and args[0].kind == OBJECT and args[0].payload.kind == "optimizer":
        run.predictors.step(args[0].payload)  # GradScaler.step(optimizer)
        return UNKNOWN
    if name in ("register_hook", "register_post_accumulate_grad_hook") and owner.base is not None and args:
        hooks = owner.base.cells.get("gradient_hooks", ())
        hook = (args[0], name != "register_hook")
        run.state.write(owner.base.cells, "gradient_hooks", (*hooks, hook))
        return UNKNOWN
    if name in ("index_put_", "put_") and frame is not None and isinstance(node, ast.Call) and args:
        value = args[1] if len(args) > 1 else UNKNOWN
        run.predictors.count(owner, args[0], value, _receiver(node), frame)
        return owner
    if name in _COUNTS and frame is not None and isinstance(node, ast.Call) and len(args) >= 2:
        run.predictors.count(owner, args[1], args[2] if len(args) > 2 else UNKNOWN, _receiver(node), frame)
        return owner
    if name in _OVERWRITES:
        return _overwrite(run, owner, rest, node, frame)
    if (name.endswith("_") and not name.endswith("__")) or name in _IN_PLACE_OPERATORS:
        return _in_place(run, owner, rest, node, frame)
    run_callbacks(run, args, kwargs, node)
    defined = _script_method(run, owner, name)
    if defined is not None:
        return run.call(defined, [owner, *args], kwargs, node, frame)
    silent = name not in _TALK and (owner.kind != METHOD or owner.base is not None)
    if silent and args and node is run.dropped and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        side_effect(run, [owner, *args], [node.func.value, *node.args], node, frame)
    if owner.base is not None and name in _VIEWS:
        return data(owner.atoms | rest, owner.base, owner.attr)
    if owner.base is not None and name in _SELF and owner.base.kind == "module":
        return owner
    if name in ("minimum", "fmin") and args:
        return data(run.predictors.chosen([own, rest]))
    operands = _operands(run, [*args, *kwargs.values()])
    atoms = run.predictors.combined([own, *operands]) | scoring.cut_off(run, name, own, args, kwargs)
    if name in _RANKING and (args or kwargs):
        atoms |= scoring.chosen(run, own)
    if name in _PICKS:
        atoms |= scoring.peeked(run, own, union(operands)) | _entry_of_row(run, owner, atoms, union(operands))
        atoms = scoring.graded(run, name, owner, atoms)
        if name in _AT and run.predictors.counted(union(operands)):
            return Value(DATA, owner.payload, atoms)  # the probability of a token that counts hint at
        return Value(DATA, owner.payload, run.predictors.picked(atoms))
    if name in ("logsumexp", "softmax", "log_softmax"):
        part = scoring.over_a_part(run, name, owner, NOTHING)
        if part:
            return data(atoms | part)
    if name == "topk" and ("model",) in atoms and ("picked",) not in atoms:
        return Value(DATA, scoring.BEST, atoms)
    if owner.kind == DATA and name in scoring.NORMALIZERS:
        return scoring.normalized(name, atoms)
    if name == "sum" and (args or kwargs) and ("model",) not in own and run.predictors.counted(own):
        return Value(DATA, scoring.ROW_TOTAL, atoms)
    if owner.kind == DATA and name in ("exp", "log", "sigmoid", "maximum", "logsumexp"):
        return scoring.transformed(run, name, [owner, *args], atoms)
    keeps = name in scoring.SHAPES or (owner.payload == scoring.ROW_TOTAL and name.startswith("clamp"))
    return Value(DATA, owner.payload if owner.kind == DATA and keeps else None, atoms)


def _entry_of_row(run: Interpreter, row: Value, found: Atoms, key: Atoms) -> Atoms:
    """Of a distribution over the vocabulary any entry may be taken; of other counts it is asked for."""
    if row.kind == DATA and row.payload in (scoring.PROBABILITIES, scoring.LOG_PROBABILITIES):
        return NOTHING
    return scoring.asked(run, found, key) if ("model",) not in found else NOTHING


_FORWARD_HOOKS = frozenset(("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"))
_TALK = frozenset(
    "info debug warning error log set_postfix set_description add_scalar close flush wait synchronize".split()
)


def _has_text(args: Args) -> bool:
    return bool(args) and (args[0].kind == FORMAT or (args[0].kind == CONST and isinstance(args[0].payload, str)))


def _receiver(node: ast.Call) -> ast.expr:
    return node.func.value if isinstance(node.func, ast.Attribute) else node.func


def _script_method(run: Interpreter, owner: Value, name: str) -> Value | None:
    """The one state-changing method of this name among the script's modules, for parts of a model."""
    if owner.base is None or owner.base.kind != "module":
        return None
    return run.module_method(name)


def _require_gradient(run: Interpreter, owner: Value) -> Value:
    if owner.base is not None and owner.base.kind == "tensor":
        if not owner.base.cells.get("differentiable"):
            run.state.write(owner.base.cells, "differentiable", True)
        return owner
    if owner.base is not None:
        return owner
    return run.predictors.tensor(run.atoms_of(owner), run.line, differentiable=True)


def _overwrite(run: Interpreter, owner: Value, atoms: Atoms, node: ast.AST, frame: Frame | None) -> Value:
    if owner.base is not None:
        run.predictors.replace(owner, "data", atoms, node)
    elif frame is not None and isinstance(node, ast.Call) and atoms:
        run.mutate(_receiver(node), atoms, frame)
    return owner


def _in_place(run: Interpreter, owner: Value, atoms: Atoms, node: ast.AST, frame: Frame | None) -> Value:
    if owner.base is not None:
        run.predictors.update(owner, atoms, node)
    elif frame is not None and isinstance(node, ast.Call) and atoms:
        run.mutate(_receiver(node), atoms, frame)
        return data(run.predictors.applied(run.atoms_of(owner) | atoms))
    return owner


_ = (CHOICE, DATA)
