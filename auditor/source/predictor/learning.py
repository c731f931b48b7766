"""Learning: which storage a step, an update, a count or a loaded state makes depend on which tokens."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.ledger import RULES_OF_SCORING, Manner
from auditor.source.predictor import rows, running
from auditor.source.predictor.applying import scored_before
from auditor.source.predictor.model import MODEL, Learning
from auditor.source.predictor.storage import add_events, held_events, set_events
from auditor.source.values import METHOD, NOTHING, SOME, Atom, Atoms, Frame, Obj, Tags, Value, data, kinds, regions

if TYPE_CHECKING:
    from auditor.source.predictor import Predictors


def event(predictors: Predictors, subject: Obj, attr: str, tags: Tags, manner: Manner) -> int:
    """The number of a learning event at the present place."""
    kept = frozenset(
        tag for tag in running.present(predictors.run, tags) if tag[0] in predictors.run.live or tag[0] < 0
    )
    site = predictors.run.site()
    calls = tuple(predictors.run.calls)
    predictors.wiped.discard((site, calls))
    key = (subject.number, kept, site, manner, calls)
    number = predictors.event_numbers.get(key)
    if number is None:
        number = len(predictors.events)
        predictors.event_numbers[key] = number
        predictors.order += 1
        live = frozenset(predictors.run.live)
        possible = bool(predictors.run.open_settings)
        if manner in (Manner.GRADIENT, Manner.ARITHMETIC) and scored_before(predictors, kept, calls):
            predictors.after_scoring.add(number)
        some = predictors.partly or (attr if attr.startswith(SOME) else "")
        made = Learning(subject, attr, kept, manner, site, calls, predictors.order, live, possible, some)
        predictors.events.append(made)
    return number


def learned_atoms(
    predictors: Predictors, subject: Obj, atoms: Atoms, manner: Manner, attr: str = "*"
) -> frozenset[int]:
    """Event numbers for storage that takes up `atoms`: old events and new ones for tokens among them."""
    numbers = {atom[1] for atom in atoms if atom[0] == "state" or _carries(predictors, atom)}
    if ("unseen",) in atoms:
        text = "learning from what a function of the script is given by code that is not part of the submission"
        predictors.run.cannot_see(text, RULES_OF_SCORING)
    selected = "choice" in kinds(atoms) or predictors.run.selecting
    if selected:
        predictors.run.open_settings += 1
        numbers.add(predictors.event(subject, attr, frozenset(), Manner.SELECTION))
        predictors.run.open_settings -= 1
    doubtful = ("doubt",) in atoms
    predictors.run.open_settings += doubtful
    for region in regions(atoms):
        numbers.add(predictors.event(subject, attr, region | rows.hidden(subject, atoms), manner))
    predictors.run.open_settings -= doubtful
    return frozenset(numbers)


def _carries(predictors: Predictors, atom: Atom) -> bool:
    """True for a value made under an event that hands the event on: what was looked up in counts may not."""
    if atom[0] not in ("under", "clash"):
        return False
    counts = predictors.events[atom[1]].manner in (Manner.CACHE, Manner.STATISTICS)
    return not counts or (atom[0] == "clash" and (atom[1], atom[2]) in predictors.certain)


def update(
    predictors: Predictors, value: Value, atoms: Atoms, node: ast.AST, manner: Manner = Manner.ARITHMETIC
) -> None:
    """An in-place operation adds `atoms` to the storage behind `value`."""
    obj = value.base if value.base is not None else value.payload
    if not isinstance(obj, Obj):
        return
    if obj.kind == "either":
        for member in obj.cells[".members"]:
            predictors.update(data(NOTHING, member, ""), atoms, node, manner)
        return
    if value.attr in obj.cells.get(".measurements", ()) or _noted_in_forward(predictors, obj, value):
        _measured(predictors, obj, atoms)
        return
    if predictors.is_predictor(obj):
        if ("train",) in atoms and obj.cells.get(".from_file"):
            predictors.late_training.append(predictors.site_number())
        events = predictors.learned_atoms(obj, atoms, manner, value.attr)
        if events:
            add_events(predictors, obj, value.attr, events)
        return
    old = obj.cells.get(".atoms", NOTHING)
    settled = predictors.run.settle(Value("data", None, old | atoms)).atoms
    predictors.run.state.write(obj.cells, ".atoms", settled)


def may_change(predictors: Predictors, value: Value, atoms: Atoms) -> None:
    """Code that is not seen may have put `atoms` into the storage behind `value`."""
    obj = value.base if value.base is not None else value.payload
    if not isinstance(obj, Obj) or obj.kind == "either":
        return
    predictors.run.open_settings += 1
    taken = regions(atoms)
    taken += [predictors.events[atom[1]].tags for atom in sorted(atom for atom in atoms if atom[0] == "state")]
    if predictors.is_predictor(obj):
        events = frozenset(predictors.event(obj, value.attr, region, Manner.ARITHMETIC) for region in taken)
        if events:
            add_events(predictors, obj, value.attr, events)
    else:
        predictors.update(value, atoms, ast.Pass())
    predictors.run.open_settings -= 1


def _noted_in_forward(predictors: Predictors, module: Obj, value: Value) -> bool:
    """True for a registered buffer that is written while the script's own forward pass is under way.

    What is read of it later in the same pass is a value of that pass, what the next pass reads is of the last one:
    which of the two it is, is not followed.
    """
    name = value.payload[1] if value.kind == METHOD and value.attr == "" else value.attr
    if name not in module.cells.get(".buffers", ()):
        return False
    return any(function.name == "forward" and function.owner is not None for function in predictors.run.functions)


def _measured(predictors: Predictors, module: Obj, atoms: Atoms) -> None:
    """A buffer was written of which it is not known who reads it when: a person has to see."""
    predictors.may_change(data(NOTHING, module, "*"), atoms)


def replace(predictors: Predictors, value: Value, name: str, atoms: Atoms, node: ast.AST) -> None:
    """``value.data = ...`` or an in-place overwrite: what the storage held before is forgotten."""
    obj = value.base if value.base is not None else value.payload
    if not isinstance(obj, Obj):
        return
    if name == "grad" or value.attr == "grad":
        predictors.run.state.write(obj.cells, ".grad", atoms)
        return
    if predictors.is_predictor(obj) and "val" in kinds(atoms) and MODEL not in atoms:
        predictors.kept_text.append(predictors.site_number())
    if value.attr in obj.cells.get(".measurements", ()) or _noted_in_forward(predictors, obj, value):
        _measured(predictors, obj, atoms)
        return
    if value.attr == "" or obj.kind == "either":
        predictors.update(value, atoms, node)
        return
    if value.attr.startswith(SOME) and not _learned_in(predictors, obj, value.attr):
        _doubt_what_is_left(predictors, obj, atoms)
        predictors.update(value, atoms, node)
        return
    if predictors.is_predictor(obj):
        set_events(predictors, obj, value.attr, predictors.learned_atoms(obj, atoms, Manner.ARITHMETIC, value.attr))
        return
    predictors.run.state.write(obj.cells, ".atoms", atoms)
    predictors.run.state.write(obj.cells, ("learned", "*"), frozenset())


def _learned_in(predictors: Predictors, obj: Obj, choice: str) -> bool:
    """True where whatever a model has learned, it learned through this choice of its parameters: then it is all undone
    by what overwrites those."""
    return choice != SOME and all(predictors.events[number].some == choice for number in held_events(predictors, obj))


def _doubt_what_is_left(predictors: Predictors, obj: Obj, atoms: Atoms) -> None:
    """Some of an object's parameters are overwritten with what is made of `atoms`: whether what it has learned was in
    those is not known, but for what comes back with them."""
    back = {atom[1] for atom in atoms if atom[0] == "state" or _carries(predictors, atom)}
    for number in held_events(predictors, obj) - back:
        predictors.wiped.add((predictors.events[number].site, predictors.events[number].calls))


def _before_any_score(predictors: Predictors, event: Learning) -> bool:
    """True for steps on validation tokens that were taken before any loss of theirs was read."""
    return event.manner is Manner.GRADIENT and not event.possible and not predictors.read_losses


def serialise(predictors: Predictors, atoms: Atoms) -> None:
    """A file, or what is about to become one, takes up a model and with it what that has learned."""
    if MODEL not in atoms or predictors.run.open_settings:
        return
    site = predictors.site_number()
    for number in sorted(_events_of(atoms)):
        predictors.serialised.setdefault(number, site)


def _events_of(atoms: Atoms) -> set[int]:
    """The learning events that something was made under; statistics that lie beside a model are applied to nothing."""
    return {atom[1] for atom in atoms if atom[0] in ("state", "under", "clash")}


def load(predictors: Predictors, module: Obj, atoms: Atoms, *, whole: bool = True) -> None:
    """``load_state_dict``: the module now holds what the loaded state was made of; not `whole`: it may lack parts."""
    if not whole:
        _doubt_what_is_left(predictors, module, atoms)
    _take_state(predictors, module, atoms, whole=whole)


def _take_state(predictors: Predictors, module: Obj, atoms: Atoms, *, whole: bool) -> None:
    if ("file",) in atoms:
        predictors.read_back.update(_events_of(atoms) & predictors.serialised.keys())
    if ("file",) in atoms and not predictors.run.open_settings:
        predictors.run.state.write(module.cells, ".from_file", True)
        if any(atom[0] == "state" and _before_any_score(predictors, predictors.events[atom[1]]) for atom in atoms):
            predictors.kept_text.append(predictors.site_number())
    if module.cells.get(".retrained") is not None:
        predictors.run.state.write(module.cells, ".retrained", None)
    own = ("file",) in atoms and MODEL in atoms  # a file that this run wrote its model to
    predictors.run.state.write(module.cells, ".own_artifact", own and not predictors.run.open_settings)
    events = predictors.learned_atoms(module, atoms, Manner.CALIBRATION)
    if whole:
        set_events(predictors, module, "*", events)
    else:
        add_events(predictors, module, "*", events)
    for child in module.cells.get(".children", ()):
        if child.kind == "module":
            _take_state(predictors, child, atoms, whole=whole)


def count(predictors: Predictors, owner: Value, index: Value, value: Value, node: ast.expr, frame: Frame) -> None:
    """``table[index] = value``: a table indexed by validation tokens is a count of them, other items are data."""
    run = predictors.run
    index_atoms, value_atoms = run.atoms_of(index), run.atoms_of(value)
    value_atoms |= rows.masked(run, node, value)
    tokens = [] if predictors.names_parts(index_atoms) else regions(index_atoms)
    storage = owner.base if owner.base is not None else owner.payload
    if not isinstance(storage, Obj):
        storage = None
    atoms = value_atoms | frozenset(atom for atom in index_atoms if atom[0] in ("state", "train", "target"))
    if tokens:
        subject = storage or predictors.allocate("tensor", run.line, ast.unparse(node)[:40])
        atoms = frozenset(atom for atom in atoms if atom[0] != "val")
        atoms |= {("state", predictors.event(subject, "*", region, Manner.CACHE)) for region in tokens}
    if storage is None:
        run.mutate(node.value if isinstance(node, ast.Subscript) else node, atoms, frame)
    elif storage.kind in ("list", "dict"):
        from auditor.source.library import containers

        containers.store_item(run, storage, index, Value(value.kind, value.payload, atoms, value.base, value.attr))
    else:
        predictors.update(data(NOTHING, storage, owner.attr), atoms, node)


def backward(predictors: Predictors, atoms: Atoms) -> None:
    """``loss.backward()``: every parameter the loss is differentiable in gets the loss's atoms as gradient."""
    gradient = frozenset(atom for atom in atoms if atom[0] != "par")
    for atom in sorted(atom for atom in atoms if atom[0] == "par"):
        obj = predictors.objects[atom[1]]
        predictors.run.state.write(obj.cells, ".grad", obj.cells.get(".grad", NOTHING) | gradient)
        for hook in obj.cells.get(".gradient_hooks", ()):
            given = data(NOTHING, obj) if hook[1] else predictors.gradient(gradient)
            predictors.run.call(hook[0], [given], {}, ast.Pass())
    loose = predictors.loose_gradient
    predictors.run.state.write(
        loose, "grad", predictors.run.settle(Value("data", None, loose["grad"] | gradient)).atoms
    )


def gradient(predictors: Predictors, atoms: Atoms) -> Value:
    """``torch.autograd.grad(loss, ...)``: the gradient itself has learned from the loss's tokens."""
    subject = predictors.allocate("tensor", predictors.run.line, "gradient")
    events = predictors.learned_atoms(subject, atoms, Manner.GRADIENT)
    kept = frozenset(atom for atom in atoms if atom[0] in ("train", "loop"))
    return data(kept | {("state", event) for event in events})


def step(predictors: Predictors, optimizer: Obj) -> None:
    """``optimizer.step()``: parameters take up the gradients that wait for them."""
    params = [predictors.objects[number] for number in sorted(optimizer.cells.get(".params", ()))]
    waiting = [(obj, obj.cells[".grad"]) for obj in params if obj.cells.get(".grad")]
    if not waiting:
        loose = predictors.loose_gradient["grad"]
        waiting = [(obj, loose) for obj in params] if loose else []
    for obj in [obj for obj, gradient in waiting if ("train",) in gradient]:  # as the step finds them
        predictors.mixed_continued |= _of_mixed_steps(predictors, predictors.content(obj, depth=0))
    predictors.partly = optimizer.cells.get(".some", "")
    for obj, gradient in waiting:
        if ("train",) in gradient:
            predictors.trained = True
            predictors.training_loops.update(predictors.run.live)
            predictors.late_reads.clear()
            if obj.cells.get(".from_file"):
                predictors.late_training.append(predictors.site_number())
            certain = ("doubt",) not in gradient and "val" not in kinds(gradient)
            if obj.cells.get(".own_artifact") and certain and not predictors.run.open_settings:
                predictors.run.state.write(obj.cells, ".retrained", predictors.site_number())
        events = predictors.learned_atoms(obj, gradient, Manner.GRADIENT)
        if events:
            add_events(predictors, obj, "*", events)
            if ("train",) in gradient and ("doubt",) not in gradient and "val" in kinds(gradient):
                if "target" in kinds(gradient):  # tokens to be predicted, not a number of them
                    _note_mixed_step(predictors, events)
                else:
                    predictors.kept_text.append(predictors.site_number())
    predictors.partly = ""


def _note_mixed_step(predictors: Predictors, events: frozenset[int]) -> None:
    """A step on training and validation tokens together. By itself it proves nothing: a warm-up may be undone, and an
    evaluation may find the last training step's gradient. What counts is whether a model that is stored holds it."""
    site, here = predictors.site_number(), predictors.run.site()
    for number in events:
        if predictors.events[number].site == here:
            predictors.mixed_steps.setdefault(number, site)


def stored(predictors: Predictors, atoms: Atoms) -> None:
    """A model was written to a file."""
    if MODEL in atoms:
        predictors.stored_a_model = True
        predictors.mixed_stored |= _of_mixed_steps(predictors, atoms)


def reloaded(predictors: Predictors, atoms: Atoms) -> None:
    """A model was read from a file that this run wrote it to."""
    if MODEL in atoms and predictors.mixed_stored:
        predictors.mixed_reloaded |= {
            number
            for number in _of_mixed_steps(predictors, atoms)
            if (predictors.events[number].site, predictors.events[number].calls) not in predictors.wiped
        }


def _of_mixed_steps(predictors: Predictors, atoms: Atoms) -> set[int]:
    return _events_of(atoms) & predictors.mixed_steps.keys()


def clear_gradient(predictors: Predictors, objects: list[Obj]) -> None:
    for obj in objects:
        if obj.cells.get(".grad"):
            predictors.run.state.write(obj.cells, ".grad", NOTHING)
    predictors.run.state.write(predictors.loose_gradient, "grad", NOTHING)


def part_removed(predictors: Predictors, value: Value) -> None:
    """``del module._parameters["adapter"]``: what a part of the module had learned may be gone with it."""
    obj = value.base if value.base is not None else value.payload
    if isinstance(obj, Obj) and obj.kind == "module":
        for _, number in (atom for atom in predictors.content(obj) if atom[0] == "state"):
            predictors.wiped.add((predictors.events[number].site, predictors.events[number].calls))
