"""Models, tensors and what they are parts of; what is read from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.source.predictor.carrying import carries
from auditor.source.predictor.model import MAX_PART_DEPTH
from auditor.source.predictor.module_parts import (
    constructed_parts,
    has_running_statistics,
    measurements,
    owns_parameters,
    parameter_attributes,
    registered_buffers,
)
from auditor.source.predictor.one_pass import Mode
from auditor.source.values import CHOICE, NOTHING, OBJECT, SOME, TUPLE, Atoms, Class, Obj, Value, data, union

if TYPE_CHECKING:
    from auditor.source.predictor import Predictors


def allocate(predictors: Predictors, kind: str, line: int, name: str, class_: Class | None = None) -> Obj:
    obj = Obj(kind, line, name, class_)
    predictors.objects[obj.number] = obj
    return obj


def tensor(
    predictors: Predictors, atoms: Atoms, line: int, *, differentiable: bool = False, name: str = "tensor"
) -> Value:
    """A new tensor with storage of its own."""
    obj = predictors.allocate("tensor", line, name)
    obj.cells[".atoms"] = atoms
    if differentiable:
        obj.cells[".differentiable"] = True
    return data(NOTHING, obj)


def module(predictors: Predictors, name: str, line: int, parts: list[Value], class_: Class | None = None) -> Value:
    """A new torch.nn.Module; modules and tensors among the constructor's arguments become parts of it."""
    obj = predictors.allocate("module", line, name, class_)
    obj.cells[".children"] = ()
    obj.cells[".attrs"] = ()
    if class_ is not None:
        _build_parts(predictors, obj, class_, line)
    value = Value(OBJECT, obj)
    for part in parts:
        predictors.attach(obj, "*", part)
    return value


def _build_parts(predictors: Predictors, obj: Obj, class_: Class, line: int) -> None:
    """The modules of the script that a constructor always makes are objects of their own; the names of its other
    parameters and parts are `attrs`."""
    predictors.depth += 1
    parts = constructed_parts(class_, predictors.run.lookup) if predictors.depth <= MAX_PART_DEPTH else {}
    for attr, part in parts.items():
        child = predictors.module(part.name, line, [], part)
        obj.cells[attr] = child
        obj.cells[".children"] += (child.payload,)
    predictors.depth -= 1
    obj.cells[".running"] = has_running_statistics(class_)
    own = tuple(name for name in parameter_attributes(class_) if name not in parts)
    obj.cells[".measurements"] = measurements(class_)
    obj.cells[".buffers"] = registered_buffers(class_)
    obj.cells[".attrs"] = tuple(dict.fromkeys((*own, *obj.cells[".measurements"])))
    obj.cells[".hollow"] = bool(parts) and not own and not owns_parameters(class_)


def moves_when_called(predictors: Predictors, module: Obj, method: str) -> bool:
    """True for a module that keeps something of what it is called with: running statistics, or what its code keeps."""
    still = bool(module.cells.get(".still"))
    if module.cells.get(".running") and not still:
        return True
    class_ = module.class_
    if class_ is None:
        return False
    return carries(class_, method, predictors.run.lookup, Mode(not still, not predictors.run.no_gradient))


def attach(predictors: Predictors, module: Obj, attr: str, value: Value) -> None:
    """`value` became an attribute or a part of `module`."""
    found: list[Obj] = []
    _collect_storage(value, found, 3)
    children = module.cells.get(".children", ())
    new = tuple(item for item in found if item not in children and not _holds(item, module))
    if new:
        predictors.run.state.write(module.cells, ".children", children + new)
    events = frozenset(atom[1] for atom in value.atoms if atom[0] in ("state", "under", "clash"))
    if events:
        add_events(predictors, module, attr, events)


def _holds(whole: Obj, part: Obj) -> bool:
    """True when `part` is `whole` or within it: what a new part is made with may have come from the module itself."""
    return whole is part or any(_holds(child, part) for child in whole.cells.get(".children", ()))


def detach(predictors: Predictors, module: Obj, attr: str) -> None:
    """Attribute `attr` of `module` is about to be replaced: what it held is no part of the module any more."""
    old = module.cells.get(attr)
    if not isinstance(old, Value):
        if attr in module.cells.get(".attrs", ()):
            set_events(predictors, module, attr, frozenset())
        return
    gone: list[Obj] = []
    _collect_storage(old, gone, 3)
    kept: list[Obj] = []
    for key, cell in module.cells.items():
        if isinstance(cell, Value) and key != attr:
            _collect_storage(cell, kept, 3)
    children = module.cells.get(".children", ())
    left = tuple(child for child in children if child not in gone or child in kept)
    if left != children:
        predictors.run.state.write(module.cells, ".children", left)


def content(predictors: Predictors, obj: Obj, attr: str = "*", depth: int = 5) -> Atoms:
    """What is made of when something is read from `obj` now."""
    kind = obj.kind
    cells = obj.cells
    if kind == "either":
        return union(predictors.content(member, attr, depth) for member in cells[".members"])
    if kind == "tensor":
        atoms: Atoms = cells.get(".atoms", NOTHING)
        events = cells.get(("learned", "*"))
        if events:
            atoms = atoms | {("state", event) for event in events}
        return atoms | {("par", obj.number), ("model",)} if cells.get(".differentiable") else atoms
    if kind == "module":
        atoms = frozenset(("state", event) for event in _events(predictors, obj, attr)) | {
            ("par", obj.number),
            ("model",),
        }
        if depth > 0:
            for child in cells.get(".children", ()):
                atoms = atoms | predictors.content(child, "*", depth - 1)
        return atoms
    if kind in ("range", "generator", "optimizer", "namespace", "files"):
        return NOTHING
    values = [cell for cell in cells.values() if isinstance(cell, Value)]
    values.extend(cells.get(".items", ()))
    return union((*(predictors.run.atoms_of(value, depth) for value in values), cells.get(".atoms", NOTHING)))


def _events(predictors: Predictors, obj: Obj, attr: str) -> frozenset[int]:
    if not predictors.events:
        return frozenset()
    attrs = obj.cells.get(".attrs", ())
    shared: frozenset[int] = obj.cells.get(("learned", "*"), frozenset())
    if attr in attrs:
        mine: frozenset[int] = obj.cells.get(("learned", attr), frozenset())
        return shared | mine
    for name in attrs:
        own: frozenset[int] = obj.cells.get(("learned", name), frozenset())
        shared = shared | own
    return shared


def retrained(predictors: Predictors, obj: Obj, depth: int = 5) -> Atoms:
    """Where a model that was read back from the artifact of this run has learned from training tokens since."""
    site = obj.cells.get(".retrained")
    found: Atoms = NOTHING if site is None else frozenset((("retrained", site),))
    children = obj.cells.get(".children", ()) if depth > 0 else ()
    return union((found, *(retrained(predictors, child, depth - 1) for child in children)))


def add_events(predictors: Predictors, obj: Obj, attr: str, events: frozenset[int]) -> None:
    attrs = obj.cells.get(".attrs", ())
    if (attr == "*" or attr.startswith(SOME)) and obj.kind == "module":
        for child in obj.cells.get(".children", ()):
            add_events(predictors, child, "*", events)
        if obj.cells.get(".hollow"):
            return
    keys = [attr] if attr in attrs else (attrs or ["*"])
    for name in keys:
        key = ("learned", name)
        old = obj.cells.get(key, frozenset())
        if not events <= old:
            predictors.run.state.write(obj.cells, key, old | events)
            for other in obj.cells.get(".shared", ()):
                predictors.may_change(Value(OBJECT, other), frozenset(("state", number) for number in events - old))


def set_events(predictors: Predictors, obj: Obj, attr: str, events: frozenset[int]) -> None:
    attrs = obj.cells.get(".attrs", ())
    names = (attr,) if attr in attrs else ("*", *attrs)
    for name in names:
        for number in obj.cells.get(("learned", name), frozenset()) - events:
            predictors.wiped.add((predictors.events[number].site, predictors.events[number].calls))
        predictors.run.state.write(obj.cells, ("learned", name), events)
    if (attr == "*" or attr.startswith(SOME)) and obj.kind == "module":
        for child in obj.cells.get(".children", ()):
            set_events(predictors, child, "*", events)


def held_events(predictors: Predictors, obj: Obj, depth: int = 5) -> frozenset[int]:
    """The learning that an object and its parts hold."""
    found = frozenset(
        number
        for key, numbers in obj.cells.items()
        if isinstance(key, tuple) and key[0] == "learned"
        for number in numbers
    )
    children = obj.cells.get(".children", ()) if depth > 0 else ()
    return found.union(*(held_events(predictors, child, depth - 1) for child in children))


def is_predictor(predictors: Predictors, obj: Obj) -> bool:
    return obj.kind == "module" or bool(obj.cells.get(".differentiable"))


def share(predictors: Predictors, value: Value, other: Value) -> None:
    """``value.data = other.data``: from now on what changes the one may change the other."""
    obj, source = value.base, other.base
    if (
        obj is None
        or source is None
        or obj is source
        or not (predictors.is_predictor(obj) and predictors.is_predictor(source))
    ):
        return
    for one, two in ((obj, source), (source, obj)):
        shared: tuple[Obj, ...] = one.cells.get(".shared", ())
        if two not in shared:
            predictors.run.state.write(one.cells, ".shared", (*shared, two))


def _collect_storage(value: Value, found: list[Obj], depth: int) -> None:
    if value.base is not None:
        found.extend(value.base.cells[".members"] if value.base.kind == "either" else (value.base,))
    if value.kind == OBJECT and value.payload.kind in ("module", "tensor"):
        found.append(value.payload)
    elif depth and value.kind == OBJECT and value.payload.kind in ("list", "dict"):
        for cell in list(value.payload.cells.values()):
            if isinstance(cell, Value):
                _collect_storage(cell, found, depth - 1)
    elif depth and value.kind in (TUPLE, CHOICE):
        for part in value.payload:
            _collect_storage(part, found, depth - 1)
