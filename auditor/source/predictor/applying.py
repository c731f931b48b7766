"""Predictions: storage applied to tokens, and whether it had learned from them before."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.ledger import Manner, Site
from auditor.source import scaling
from auditor.source.predictor import mixing
from auditor.source.predictor.borders import present
from auditor.source.predictor.context import earlier_tokens, passed_over
from auditor.source.predictor.extent import ends_before
from auditor.source.predictor.lookahead import looks_ahead
from auditor.source.predictor.model import BORDER, MODEL, PART, PICKED, PREFIX, SLICES, Learning
from auditor.source.predictor.running import apart
from auditor.source.predictor.storage import retrained
from auditor.source.scan import returns_beside
from auditor.source.values import CONST, NOTHING, TUPLE, Atom, Atoms, Obj, Tags, Value, data, kinds, regions, union

if TYPE_CHECKING:
    from auditor.source.predictor import Predictors

_OF_EVENTS = frozenset(("state", "under"))


def applied(predictors: Predictors, atoms: Atoms, *, as_key: bool = False) -> Atoms:
    """Atoms of a result in which predictors may have been applied to validation tokens.

    `as_key`: the tokens are a key under which something was looked up. Those of earlier iterations are context.
    """
    if not predictors.events or "state" not in kinds(atoms):
        return atoms
    states = [atom for atom in atoms if atom[0] == "state"]
    taken = regions(atoms)
    if not taken:
        return atoms
    predictors.run.spend(len(states) * len(taken))
    states.sort()
    site: int | None = None
    new: list[Atom] = []
    places = [(region, _iterations(predictors, region)) for region in taken]
    found: dict[tuple[Tags, bool], list[Tags]] = {}  # many events learn from the same part
    for _, number in states:
        new.append(("under", number))
        event = predictors.events[number]
        later = as_key and event.manner in (Manner.CACHE, Manner.STATISTICS)
        meeting = found.get((event.tags, later))
        if meeting is None:
            learned = _iterations(predictors, event.tags)
            meeting = [
                region
                for region, taken_in in places
                if _may_meet(taken_in, _but(learned, apart(predictors.run, region, event.tags)))
            ]
            if later:
                meeting = [region for region in meeting if not _earlier(predictors, region, event.tags)]
            found[event.tags, later] = meeting
        if meeting:
            if site is None:
                site = predictors.site_number()
            new.append(("clash", number, site))
            if any(_surely(predictors, region, event) for region in meeting):
                is_open = bool(predictors.run.open_settings) or event.possible
                (predictors.likely if is_open else predictors.certain).add((number, site))
                if not is_open:
                    _note_epochs(predictors, event, meeting, site)
                    if any(tag[0] in predictors.run.live for tag in event.tags):
                        predictors.fitted.add((number, site))
            elif event.manner is Manner.GRADIENT and any(_by_a_part(predictors, region, event) for region in meeting):
                predictors.partly_fitted.add((number, site))
    return atoms.difference(states).union(new)


def _earlier(predictors: Predictors, region: Tags, learned: Tags) -> bool:
    """True for tokens of an earlier iteration of the live loop that learned from them."""
    rounds = predictors.run.rounds
    acts = {tag[0] for tag in learned}
    newest: dict[int, int] = {}
    for act, k in region:
        if act in acts and act in predictors.run.live:
            newest[act] = max(k, newest.get(act, k))
    return any(k < rounds.get(act, 0) for act, k in newest.items())


def combined(predictors: Predictors, parts: list[Atoms], op: ast.operator | None = None) -> Atoms:
    """Atoms of a result computed from several operands, mixtures with counts noted."""
    return without_index(predictors.applied(union(parts))) | mixing.mixture(predictors, parts, op)


def scored_before(predictors: Predictors, learned: Tags, calls: tuple[Site, ...]) -> bool:
    """True when the pass under way has scored the tokens, without a gradient, that it learns from now."""
    live = predictors.run.live
    mine = {act: k for act, k in learned if act in live}
    for path, parts in predictors.graded.items():
        if path[: len(calls)] != calls[: len(path)]:
            continue
        for part in parts:
            theirs = {act: k for act, k in part if act in live}
            shared = mine.keys() & theirs.keys()
            if shared and all(mine[act] == theirs[act] for act in shared):
                return True
            if not learned and part and path == calls:
                return True
    return False


def counted(predictors: Predictors, atoms: Atoms) -> bool:
    """True for a value read from counts or statistics of validation tokens."""
    if not predictors.events or kinds(atoms).isdisjoint(_OF_EVENTS):
        return False
    return any(
        atom[0] in _OF_EVENTS and predictors.events[atom[1]].manner in (Manner.CACHE, Manner.STATISTICS)
        for atom in atoms
    )


def names_parts(key: Atoms) -> bool:
    """True for a key read from a file that a model was written to: it names the model's parts, it is no token."""
    return ("file",) in key and MODEL in key


def looked_up(predictors: Predictors, atoms: Atoms) -> Atoms:
    """Atoms of an entry read from a table under some key: counts are applied when they are looked up, and what is
    kept of them for later positions was known then."""
    atoms = predictors.applied(atoms, as_key=True)
    if not predictors.counted(atoms):
        return atoms
    return frozenset(
        ("under", atom[1])
        if atom[0] == "state" and predictors.events[atom[1]].manner in (Manner.CACHE, Manner.STATISTICS)
        else atom
        for atom in atoms
    )


def stored_answers(predictors: Predictors, one: Atoms, two: Atoms) -> bool:
    """True when validation tokens are compared with what a file holds at their positions: a file that came with
    the script, or one that it wrote validation tokens to."""
    for tokens, stored in ((one, two), (two, one)):
        if "val" not in kinds(tokens) or MODEL in tokens:
            continue
        if ("file",) not in stored or "par" in kinds(stored):
            continue
        if "val" not in kinds(stored) or "stored" in kinds(stored):
            return True
    return False


def compared(predictors: Predictors, atoms: Atoms) -> Atoms:
    """What a comparison leaves of counts: which token or context they point at, not how often it was seen."""
    if not predictors.counted(atoms):
        return atoms
    return frozenset(
        atom
        for atom in atoms
        if atom[0] not in ("state", "under")
        or predictors.events[atom[1]].manner not in (Manner.CACHE, Manner.STATISTICS)
    )


def chosen(predictors: Predictors, parts: list[Atoms]) -> Atoms:
    """The smaller of several values: of losses of the same tokens, a choice made after seeing the answer."""
    atoms = predictors.applied(union(parts))
    losses = [part for part in parts if PICKED in part]
    if len(losses) >= 2 and len(losses) == len(parts):
        site = predictors.site_number()
        again = any(atom[0] == "choice" and atom[1] == site for part in parts for atom in part)
        whole = not any(tag[0] in predictors.run.live for region in regions(atoms) for tag in region)
        kept = (
            frozenset(("reopened", site, number) for number in _learned_between_passes(predictors))
            if again
            else NOTHING
        )
        return atoms | kept | {("choice", site, again or whole, not whole)}
    return atoms


def _learned_between_passes(predictors: Predictors) -> list[int]:
    """Updates by gradient within a live loop that has begun again and whose iterations take the same tokens."""
    return [
        number
        for number, event in enumerate(predictors.events)
        if event.manner in (Manner.GRADIENT, Manner.ARITHMETIC)
        and not event.possible
        and any(
            act in event.live and predictors.run.rounds.get(act, 0) > 0 and all(tag[0] != act for tag in event.tags)
            for act in predictors.run.live
        )
    ][:1]


def picked(predictors: Predictors, atoms: Atoms) -> Atoms:
    """A model's output looked up at validation tokens: the probability or loss of the realised token."""
    taken = regions(atoms) if MODEL in atoms else []
    if not taken:
        return atoms
    if "resumed" in kinds(atoms):
        atoms = predictors.applied(frozenset(("state", a[1]) if a[0] == "resumed" else a for a in atoms))
    predictors.scorings += 1
    atoms = atoms if PICKED in atoms else scaling.without(atoms)  # what was scaled before is no loss
    run = predictors.run
    if run.no_gradient:
        predictors.read_losses = True
        repeats = run.chosen.difference(*({act for act, _ in region} for region in taken))
        if repeats.isdisjoint(run.live):  # else the pass under way may be one that does not score
            predictors.graded.setdefault(tuple(run.calls), set()).update(taken)
    here = predictors.picks.setdefault(tuple(run.calls), set())
    here.update((bool(run.no_gradient), act, run.rounds.get(act, 0)) for act in run.live if act not in run.chosen)
    return atoms | {PICKED}


def _picked_before(predictors: Predictors, act: int, calls: tuple[Site, ...]) -> bool:
    """True when an earlier iteration of a live loop surely looked up predictions around here, as this one does."""
    run = predictors.run
    earlier = [(bool(run.no_gradient), act, k) for k in range(run.rounds.get(act, 0))]
    return any(
        not seen.isdisjoint(earlier)
        for path, seen in predictors.picks.items()
        if path[: len(calls)] == calls[: len(path)] or path[:-1] == calls[: len(path) - 1]
    )


def overlaps(predictors: Predictors, one: Tags, two: Tags) -> bool:
    """False when a live loop gives the two regions to different iterations."""
    acts = apart(predictors.run, one, two)
    return _may_meet(_iterations(predictors, one), _but(_iterations(predictors, two), acts))


def _iterations(predictors: Predictors, tags: Tags) -> dict[int, int | None]:
    """The iteration of each live loop that takes a part of the stream; None where several do."""
    live = predictors.run.live
    found: dict[int, int | None] = {}
    for act, k in tags:
        if act in live:
            found[act] = k if found.get(act, k) == k else None
    return found


def _may_meet(one: dict[int, int | None], two: dict[int, int | None]) -> bool:
    """False when a live loop gives two regions to different iterations."""
    for act, k in one.items():
        other = two.get(act)
        if k is not None and other is not None and k != other:
            return False
    return True


def _but(iterations: dict[int, int | None], acts: set[int]) -> dict[int, int | None]:
    """The iterations that take a part, where it is not known which ones of the loops `acts` do."""
    return {act: None if act in acts else k for act, k in iterations.items()} if acts else iterations


def _note_epochs(predictors: Predictors, event: Learning, meeting: list[Tags], site: int) -> None:
    """Note a loop that scores and learns and whose iterations all take the same tokens; not all of them need score."""
    for act in predictors.run.live:
        if act not in event.live or not predictors.run.rounds.get(act, 0):
            continue
        if any(all(tag[0] != act for tag in (*tags, *event.tags)) for tags in meeting):
            predictors.epochs[site] = act
            if act not in predictors.run.chosen and _picked_before(predictors, act, predictors.sites[site][1]):
                predictors.rescored.add(site)


def _surely(predictors: Predictors, region: Tags, event: Learning) -> bool:
    """True when the region's tokens are certainly among those of an event that may overlap it."""
    if (event.site, event.calls) in predictors.wiped:
        return False
    if any(tag[0] == PREFIX for tag in event.tags - region) or apart(predictors.run, region, event.tags):
        return False
    if ends_before(event.tags, region):
        return False
    if any(act == BORDER and (BORDER, -number) in region for act, number in present(predictors.run, event.tags)):
        return False
    live = predictors.run.live
    here = [tag for tag in event.tags if tag[0] in live]
    loops = [tag for tag in event.tags if tag[0] >= 0]
    if not here:
        return bool(loops)  # a whole pass of learning has ended
    if event.manner in (Manner.CACHE, Manner.STATISTICS):
        return False
    parts = {tag for tag in event.tags if tag[0] == PART}
    if not parts <= region:
        return False
    return all({k for act, k in region if act == tag[0]} == {tag[1]} for tag in here)


def _by_a_part(predictors: Predictors, region: Tags, event: Learning) -> bool:
    """True where this very iteration has learned from a constant slice of the window that is predicted now."""
    live = predictors.run.live
    here = [tag for tag in event.tags if tag[0] in live]
    if not here or not any(tag[0] == PART for tag in event.tags) or any(tag[0] == BORDER for tag in event.tags):
        return False
    if any(tag[0] in SLICES for tag in region) or (event.site, event.calls) in predictors.wiped:
        return False
    return all({k for act, k in region if act == tag[0]} == {tag[1]} for tag in here)


def predict(
    predictors: Predictors, owner: Value, args: list[Value], kwargs: dict[str, Value], method: str = "forward"
) -> Value:
    """Call a model whose forward pass, or other `method`, only computes."""
    run = predictors.run
    given = [run.atoms_of(value) for value in (*args, *kwargs.values())]
    if context := earlier_tokens(predictors, given):
        given = [part - context if MODEL in part else part for part in given]
    content = predictors.content(owner.payload)
    atoms = predictors.applied(union((content, *given))) | passed_over(predictors, content, context)
    for hook in owner.payload.cells.get(".hooks", ()):
        result = run.call(hook, [owner, Value(TUPLE, tuple(args)), data(atoms)], {}, ast.Pass())
        atoms = predictors.applied(atoms | run.atoms_of(result))
    tokens = sum("val" in kinds(part) for part in given)
    if run.no_gradient and tokens:
        acts = {act for tags in regions(atoms) for act, _ in tags if act in run.live}
        atoms |= {("subset", run.cut_short[act]) for act in acts if act in run.cut_short}
    if tokens and predictors.moves_when_called(owner.payload, method):
        predictors.may_change(owner, frozenset(atom for atom in union(given) if atom[0] != "state"))
    if run.no_gradient and tokens:
        atoms |= retrained(predictors, owner.payload)
    atoms |= predictors.ahead(owner.payload, method, union(given))
    if predictors.trained and run.no_gradient and ("train",) in atoms and not run.open_settings:
        predictors.late_reads.append(predictors.site_number())
    if tokens >= 2 and _leaves_out_targets(predictors, owner, args, kwargs):
        return data(frozenset(atom for atom in atoms if atom[0] != "target"))
    return data(predictors.picked(atoms) if tokens >= 2 else atoms)


def ahead(predictors: Predictors, module: Obj, method: str, given: Atoms) -> Atoms:
    """Marks of the places in a model's code that may look at later tokens, where it is `given` some to score."""
    if "val" not in kinds(given):
        return NOTHING
    calls = tuple(predictors.run.calls)
    found = looks_ahead(predictors.run, module, method)
    return frozenset(("ahead", predictors.number_of((place.site, calls)), place.what) for place in found)


def _leaves_out_targets(predictors: Predictors, owner: Value, args: list[Value], kwargs: dict[str, Value]) -> bool:
    """True for ``model(x, y, return_logits=True)`` where what is returned is computed without `y`."""
    class_ = owner.payload.class_
    forward = class_.find("forward") if class_ is not None else None
    flags = [name for name, value in kwargs.items() if value.kind == CONST and value.payload is True]
    if not flags or forward is None or not isinstance(forward.payload.node, ast.FunctionDef):
        return False
    names = [arg.arg for arg in forward.payload.node.args.args[1:]]
    given = [*zip(names, args, strict=False), *kwargs.items()]
    asked = [name for name, value in given if any(atom[0] == "target" for atom in predictors.run.atoms_of(value))]
    return bool(asked) and all(returns_beside(forward.payload.node, flags[0], name) for name in asked)


def without_index(atoms: Atoms) -> Atoms:
    """What was computed from a loop variable is no longer the variable itself."""
    if "index" in kinds(atoms):
        return frozenset(atom for atom in atoms if atom[0] != "index")
    return atoms
