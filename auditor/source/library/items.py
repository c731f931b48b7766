"""Items and slices: which part of the validation text an index takes, what a table is asked for."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.ledger import RULES_OF_SCORING
from auditor.source import native, scoring
from auditor.source.library import columns
from auditor.source.library.containers import hashable, holds_environment, loosen, new_list
from auditor.source.library.environment import RANK, environment_variable
from auditor.source.library.namespaces import own_names
from auditor.source.predictor import mixing, running
from auditor.source.predictor.applying import without_index
from auditor.source.predictor.borders import has_two_sides
from auditor.source.predictor.extent import extent
from auditor.source.predictor.model import BORDER, PART, PREFIX, SLICES
from auditor.source.values import (
    CONST,
    DATA,
    EXTERNAL,
    NOTHING,
    OBJECT,
    RANGE,
    SOME,
    TUPLE,
    UNKNOWN,
    Atoms,
    Obj,
    Tags,
    Value,
    const,
    data,
    external,
    kinds,
    regions,
    some_of,
    union,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def item(run: Interpreter, container: Value, index: Value, node: ast.AST) -> Value:
    """``container[index]``."""
    index_atoms = mixing.unasked(without_index(_selecting(run, index)))
    if container.kind == DATA and container.base is None:
        return columns.item(run, container, index, _slice_data(run, container, index_atoms, index, node))
    if container.kind == EXTERNAL:
        if container.payload == "sys.modules" and index.kind == CONST and index.payload == "__main__":
            return own_names(run, run.present[0])
        if container.payload == "os.environ" and index.kind == CONST:
            return environment_variable(run, [index])
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
    return frozenset(((PART, run.parts.setdefault("|".join(texts), len(run.parts))),))


def _borders(run: Interpreter, atoms: Atoms, index: Value, node: ast.AST) -> Tags:
    """Tags for ``window[:seen]`` and ``window[seen:]``: what is before a border and what begins there do not meet.

    ``window[seen:end]`` begins there, too; what is taken of the whole stream with two ends is the window itself. A
    border that has a name is known by its value, so that one that moved in between is another; one that is computed on
    the spot is known by how that is written. It says nothing once the loops have ended that took the window.
    """
    if not isinstance(node, ast.Subscript):
        return frozenset()
    written = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    values = index.payload if isinstance(node.slice, ast.Tuple) and index.kind == TUPLE else (index,)
    loops = {act for region in regions(atoms) for act, _ in region if act in run.live}
    rounds = frozenset((act, run.rounds.get(act, 0)) for act in loops)
    found = set()
    for part, value in list(zip(written, values, strict=False))[: _axes_of_places(atoms, written)]:
        if not isinstance(part, ast.Slice) or part.step is not None:
            continue
        two_ends = part.lower is not None and part.upper is not None
        if two_ends and not loops:
            continue
        border, place = (part.upper, 2) if part.lower is None else (part.lower, 1)
        if border is None or value.kind != TUPLE or len(value.payload) != 4:  # a constant slice
            continue
        text = ast.unparse(border)
        if has_two_sides(run, text):
            known = value.payload[place]
            number = run.borders.number(known if isinstance(border, ast.Name) else text, rounds)
            if number:
                found.add((BORDER, number if part.lower is None else -number))
            elif not two_ends:
                found.add((PREFIX, 0))  # a part of which it is not known what it shares with others
    return frozenset(found)


def _axes_of_places(atoms: Atoms, written: list[ast.expr]) -> int:
    """How many of the first axes may count places of the text: what a model makes has features on the last ones."""
    if ("model",) not in atoms:
        return len(written)
    before = [isinstance(part, ast.Constant) and part.value is ... for part in written]
    return min(2, before.index(True) if True in before else 2)


MIN_SUBSET, MAX_SUBSET = 1024, 36_000_000  # tokens; every tokenizer's full validation text has more


def _subset_size(index: Value) -> int:
    """N of ``tokens[:N]`` where N is known, or at most a known number, and smaller than any full text; else 0."""
    if index.kind == TUPLE and len(index.payload) == 4 and index.payload[0].kind == EXTERNAL:
        start, stop = index.payload[1:3]
        from_start = start.kind == CONST and start.payload in (None, 0)
        return stop.payload[1] if from_start and is_cut_short(stop) else 0
    if index.kind != CONST or not isinstance(index.payload, slice):
        return 0
    stop = index.payload.stop
    known = isinstance(stop, int) and MIN_SUBSET <= stop <= MAX_SUBSET
    return stop if known and not any(a[0] == "loop" for a in index.atoms) else 0


def _before_the_share(run: Interpreter, index: Value, index_atoms: Atoms) -> Tags:
    """A tag for ``tokens[:start]`` where the end depends on this process's number: what others score, not all.

    The same for ``tokens[places]`` where the places depend on that number, and not by a loop over this process's share,
    and for what a loop takes that ends where the share begins.
    """
    if any(atom[0] == "loop" and atom[1] in run.before_share for atom in index_atoms):
        return frozenset(((PREFIX, 0),))
    if index.kind == DATA and index.atoms >= RANK:
        over_share = any(atom[0] == "loop" and atom[1] not in run.alike for atom in index.atoms)
        return frozenset() if over_share else frozenset(((PREFIX, 0),))
    if index.kind == TUPLE and len(index.payload) == 4 and index.payload[0].kind == EXTERNAL:
        start, stop = index.payload[1:3]
        if start.kind == CONST and start.payload in (None, 0) and run.atoms_of(stop) >= RANK:
            return frozenset(((PREFIX, 0),))
    return frozenset()


def is_cut_short(stop: Value) -> bool:
    """True for an end that is at most a known number, smaller than any full text: ``min(2_000_000, n)``."""
    if stop.kind != RANGE or stop.payload[1] is None or any(atom[0] == "loop" for atom in stop.atoms):
        return False
    return bool(stop.payload[0] <= MIN_SUBSET <= stop.payload[1] <= MAX_SUBSET)


def _is_whole(run: Interpreter, region: Tags) -> bool:
    """True for what may be the whole text: no iteration under way and no constant slice took a part of it."""
    return not any(act in run.live or act in SLICES for act, _ in region)


def _iterations(run: Interpreter, index_atoms: Atoms, index: Value, node: ast.AST) -> Tags:
    """Tags of the live iterations that select a part: what goes on where the last one stopped is the present one's."""
    tags = run.index_tags(index_atoms)
    runs = running.boundary(run, index, node)
    return frozenset(tag for tag in tags if all(tag[0] != act for act, _ in runs)) | runs


def _slice_data(run: Interpreter, container: Value, index_atoms: Atoms, index: Value, node: ast.AST) -> Value:
    """A part of a tensor. Of validation tokens: the part that the live loops in the index select."""
    atoms = run.atoms_of(container)
    if index.kind == CONST and index.payload == slice(None, 0):
        return UNKNOWN  # nothing is taken
    if ("model",) not in atoms and native.read_ahead(node, atoms):
        return data(atoms | {("told", run.predictors.site_number(), None)})
    if container.kind == DATA and container.payload == scoring.ROW_TOTAL and _only_new_axes(index):
        return container
    by_token = "val" in kinds(index_atoms)
    if by_token and ("model",) not in atoms:
        atoms = mixing.unasked(atoms)
    if by_token and ("model",) in atoms:
        kept = frozenset(atom for atom in index_atoms if atom[0] in ("val", "loop")) | scoring.marks(index_atoms)
        if ("picked",) not in atoms:  # losses may be told apart by their tokens
            kept |= scoring.peeked(run, atoms, index_atoms)
            if ("hashed",) in index_atoms:  # counts that came with the model: what is looked up is no prediction
                asked = "target" in kinds(index_atoms)
                kept |= {("hashed",), ("mixed", run.predictors.site_number())} if asked else {("hashed",)}
                return data(run.predictors.applied(atoms | kept))
        return data(run.predictors.picked(run.predictors.applied(atoms | kept)))
    if "val" in kinds(atoms):
        tags = (
            _iterations(run, index_atoms, index, node)
            | _part(run, index)
            | _before_the_share(run, index, index_atoms)
            | _borders(run, atoms, index, node)
        )
        if ("model",) not in atoms and not any(regions(atoms)):
            tags |= extent(run, index)
        if (size := _subset_size(index)) and any(_is_whole(run, region) for region in regions(atoms)):
            site = run.predictors.site_number()
            run.predictors.part_sizes[site] = max(size, run.predictors.part_sizes.get(site, 0))
            atoms = atoms | {("subset", site)}
        kept = frozenset(atom for atom in index_atoms if atom[0] in ("state", "under", "clash", "masked"))
        kept |= scoring.marks(index_atoms)
        if ("picked",) in atoms and ("picked",) in index_atoms:
            kept |= scoring.chosen(run, atoms)  # some of the losses, by what they are
        if ("model",) in atoms:
            kept = run.predictors.compared(kept)
        if run.predictors.counted(atoms) and ("hashed",) in index_atoms:
            kept |= {("hashed",)}
        refined = run.predictors.cut(run.refine(atoms, tags), tags)
        if ("model",) not in atoms:
            refined |= _place_of_tokens(run, refined, node, index, index_atoms)
        found = run.predictors.looked_up(refined | kept)
        asks = by_token and not _is_distribution(container)
        return data(found | (mixing.asked(run, container, found, index_atoms, node) if asks else NOTHING))
    if container.base is not None:
        partial = container.base.kind == "tensor" or index.kind == CONST
        attr = "" if partial else container.attr
        if attr == "*" and index.base is not container.base:
            attr = SOME  # a model's parameter under a name that may be any
        if by_token or "state" in kinds(atoms):
            found = run.predictors.looked_up(atoms | index_atoms) if by_token else atoms | index_atoms
            found |= mixing.asked(run, container, found, index_atoms, node) if by_token else NOTHING
            keeps = run.predictors.is_predictor(container.base)
            return data(found, container.base if keeps else None, attr)
        return data(container.atoms | index_atoms, container.base, attr)
    if not by_token and "loop" not in kinds(index_atoms):
        return data(run.predictors.applied(atoms | index_atoms))  # a part of a table, not an entry of it
    found = run.predictors.looked_up(atoms | index_atoms)
    return data(
        found if _is_distribution(container) else found | mixing.asked(run, container, found, index_atoms, node)
    )


def _is_distribution(row: Value) -> bool:
    """True for probabilities over the vocabulary, of which any entry may be taken."""
    return row.kind == DATA and row.payload in (scoring.PROBABILITIES, scoring.LOG_PROBABILITIES)


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
    if (
        ("rank",) in run.atoms_of(any_one)
        and index.kind == CONST
        and index.payload == 0
        and not run.index_tags(index.atoms)
    ):
        any_one = with_atoms(any_one, frozenset((("first",),)))
    tags = run.index_tags(index_atoms)
    tokens = any(atom[0] == "val" for atom in run.atoms_of(any_one))
    marks = frozenset(
        atom for atom in index_atoms if atom[0] in ("loop", "rank") or (not tokens and atom[0] in ("val", "hashed"))
    ) | scoring.marks(index_atoms)
    atoms = run.refine(any_one.atoms, tags) | marks
    if not tokens and "val" in kinds(index_atoms):
        atoms = run.predictors.looked_up(mixing.unasked(atoms))
        atoms |= mixing.asked(run, container, atoms, index_atoms, node)
    found_one = some_of(Value(any_one.kind, any_one.payload, atoms, any_one.base, any_one.attr))
    if index.kind == TUPLE or (index.kind == CONST and isinstance(index.payload, slice)):
        result = new_list(run, [found_one], run.line)
        loosen(run, result.payload)
        return result
    return found_one


def _object_item(run: Interpreter, container: Value, index: Value, index_atoms: Atoms, node: ast.AST) -> Value:
    obj: Obj = container.payload
    if obj.kind == "dict":
        if index.kind == CONST and hashable(index.payload):
            found = obj.cells.get(("k", index.payload))
            if isinstance(found, Value):
                return with_atoms(found, container.atoms)
            if holds_environment(obj):
                return environment_variable(run, [index])
        rest = with_atoms(obj.cells.get(".rest", UNKNOWN), container.atoms)
        if any(atom[0] in ("val", "loop") for atom in index_atoms):
            tags = run.index_tags(index_atoms)
            tokens = frozenset(atom for atom in index_atoms if atom[0] in ("val", "loop", "hashed"))
            atoms = run.predictors.looked_up(run.refine(mixing.unasked(rest.atoms), tags) | tokens)
            atoms |= mixing.asked(run, container, atoms, index_atoms, node)
            if rest.kind == OBJECT and "val" in kinds(index_atoms):
                atoms |= {("row",)}
            return Value(rest.kind, rest.payload, atoms, rest.base, rest.attr)
        atoms = run.predictors.looked_up(rest.atoms)
        return Value(rest.kind, rest.payload, atoms, rest.base, rest.attr)
    if obj.kind == "namespace":
        if index.kind == CONST:
            found = obj.cells.get(index.payload)
            return found if isinstance(found, Value) else UNKNOWN
        run.cannot_see("the script looks up its own functions by names that it computes", RULES_OF_SCORING)
        return UNKNOWN
    if obj.class_ is not None and obj.class_.find("__getitem__"):
        return run.call_method(container, "__getitem__", [index], {}, node)
    if obj.kind == "module":
        return data(NOTHING, obj)
    return _slice_data(run, container, index_atoms, index, node)
