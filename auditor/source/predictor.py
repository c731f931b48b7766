"""What predictions depend on: models, adapters, biases, caches; what they learned from; where they are applied.

Learning is recorded as an event when a gradient step, a direct update or a count makes a predictor depend on
validation tokens. From then on whatever is read from the predictor carries the event. When such a value is applied to
validation tokens that overlap those of the event, a prediction has been made for tokens the predictor had already
seen: a clash. Printed values are collected with the clashes they contain.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.ledger import Manner, Site
from auditor.source.scan import returns_beside
from auditor.source.values import (
    CHOICE,
    CLASS,
    CONST,
    EXTERNAL,
    NOTHING,
    OBJECT,
    TUPLE,
    Atom,
    Atoms,
    Class,
    Frame,
    Obj,
    Tags,
    Value,
    data,
    regions,
    union,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter

MAX_PART_DEPTH = 4  # modules within modules that are objects of their own
PREFIX = -2  # stands for one in the tag of what stands before this process's share
PART = -1  # stands for a loop activation in tags that name a constant slice of a part of the stream
_PICKED, _MODEL, _HASHED = ("picked",), ("model",), ("hashed",)


@dataclass(frozen=True, slots=True)
class Learning:
    """One way in which `subject` came to depend on validation tokens; `tags` name the part of the stream."""

    subject: Obj
    attr: str
    tags: Tags
    manner: Manner
    site: Site
    calls: tuple[Site, ...]
    order: int
    live: frozenset[int]  # loops under way
    possible: bool  # only if a setting that nothing tells is on


@dataclass(frozen=True, slots=True)
class Printed:
    """A printed line: its template (None for a hole), what went into its holes, and where it was printed."""

    template: tuple[str | None, ...]
    atoms: Atoms
    site: Site
    calls: tuple[Site, ...]
    order: int
    sure: bool  # False: printed on a condition that only some iterations of a loop may meet
    open: bool = False  # printed on a condition that a setting may decide which nothing tells


class Predictors:
    """Storage that predictions depend on, and the events that changed it."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.run = interpreter
        self.objects: dict[int, Obj] = {}
        self.events: list[Learning] = []
        self._event_numbers: dict[tuple[Any, ...], int] = {}
        self.sites: list[tuple[Site, tuple[Site, ...]]] = []
        self.reached: set[int] = set()  # places that the reported run certainly came to
        self._site_numbers: dict[tuple[Site, tuple[Site, ...]], int] = {}
        self.printed: list[Printed] = []
        self.training_reads: list[tuple[Site, tuple[Site, ...], int]] = []
        self.order = 0
        self.certain: set[tuple[int, int]] = set()  # (event, site) of clashes after a whole pass of learning
        self.fitted: set[tuple[int, int]] = set()  # those of them where the same iteration has learned from the tokens
        self.likely: set[tuple[int, int]] = set()  # the same, if a setting is on that nothing tells
        self.graded: dict[tuple[Site, ...], set[Tags]] = {}  # call path -> parts scored there without gradients
        self.after_scoring: set[int] = set()  # gradient events on tokens that the same pass had scored
        self.epochs: dict[int, int] = {}  # place of a repeated scoring -> the loop that repeats it
        self.mixed_training: list[int] = []  # places of steps on training and validation tokens together
        self.answered: list[int] = []  # places where tokens are compared with what a file holds
        self.kept_text: list[int] = []  # places where validation tokens are put into a model as they are
        self.late_training: list[int] = []  # places of learning from training tokens after the artifact was loaded
        self.trained = False  # on training tokens
        self.late_reads: list[int] = []  # places where the model reads training tokens, after the last training step
        self.time_limits: dict[int, set[float | None]] = {}  # loop activation -> times it compares its clock with
        self.step_limits: dict[int, set[int]] = {}  # loop activation -> numbers it compares its own count with
        self.training_loops: set[int] = set()  # loops under way at training steps
        self.outside: list[tuple[int, str]] = []  # (place, what): network, installs
        self.loose_gradient: dict[Any, Any] = {"grad": NOTHING}
        self.part_sizes: dict[int, int] = {}  # place where a part of the text is taken -> the most tokens it has
        self.wiped: set[tuple[Site, tuple[Site, ...]]] = set()  # learning of which a part was overwritten since
        self._depth = 0  # of modules that are parts of modules

    # ---- allocation ----------------------------------------------------------------------------------------------

    def allocate(self, kind: str, line: int, name: str, class_: Class | None = None) -> Obj:
        obj = Obj(kind, line, name, class_)
        self.objects[obj.number] = obj
        return obj

    def tensor(self, atoms: Atoms, line: int, *, differentiable: bool = False, name: str = "tensor") -> Value:
        """A new tensor with storage of its own."""
        obj = self.allocate("tensor", line, name)
        obj.cells["atoms"] = atoms
        if differentiable:
            obj.cells["differentiable"] = True
        return data(NOTHING, obj)

    def module(self, name: str, line: int, parts: list[Value], class_: Class | None = None) -> Value:
        """A new torch.nn.Module; modules and tensors among the constructor's arguments become parts of it."""
        obj = self.allocate("module", line, name, class_)
        obj.cells["children"] = ()
        obj.cells["attrs"] = ()
        if class_ is not None:
            self._build_parts(obj, class_, line)
        value = Value(OBJECT, obj)
        for part in parts:
            self.attach(obj, "*", part)
        return value

    def _build_parts(self, obj: Obj, class_: Class, line: int) -> None:
        """The modules of the script that a constructor always makes are objects of their own; the names of its other
        parameters and parts are `attrs`."""
        self._depth += 1
        parts = constructed_parts(class_, self.run.lookup) if self._depth <= MAX_PART_DEPTH else {}
        for attr, part in parts.items():
            child = self.module(part.name, line, [], part)
            obj.cells[attr] = child
            obj.cells["children"] += (child.payload,)
        self._depth -= 1
        obj.cells["running"] = has_running_statistics(class_)
        obj.cells["attrs"] = tuple(name for name in parameter_attributes(class_) if name not in parts)
        obj.cells["hollow"] = bool(parts) and not obj.cells["attrs"] and not owns_parameters(class_)

    def attach(self, module: Obj, attr: str, value: Value) -> None:
        """`value` became an attribute or a part of `module`."""
        found: list[Obj] = []
        _collect_storage(value, found, 3)
        children = module.cells.get("children", ())
        new = tuple(item for item in found if item is not module and item not in children)
        if new:
            self.run.state.write(module.cells, "children", children + new)
        events = frozenset(atom[1] for atom in value.atoms if atom[0] in ("state", "under", "clash"))
        if events:
            self._add_events(module, attr, events)

    def detach(self, module: Obj, attr: str) -> None:
        """Attribute `attr` of `module` is about to be replaced: what it held is no part of the module any more."""
        old = module.cells.get(attr)
        if not isinstance(old, Value):
            if attr in module.cells.get("attrs", ()):
                self._set_events(module, attr, frozenset())
            return
        gone: list[Obj] = []
        _collect_storage(old, gone, 3)
        kept: list[Obj] = []
        for key, cell in module.cells.items():
            if isinstance(cell, Value) and key != attr:
                _collect_storage(cell, kept, 3)
        children = module.cells.get("children", ())
        left = tuple(child for child in children if child not in gone or child in kept)
        if left != children:
            self.run.state.write(module.cells, "children", left)

    # ---- reading -------------------------------------------------------------------------------------------------

    def content(self, obj: Obj, attr: str = "*", depth: int = 5) -> Atoms:
        """What is made of when something is read from `obj` now."""
        kind = obj.kind
        cells = obj.cells
        if kind == "either":
            return union(self.content(member, attr, depth) for member in cells["members"])
        if kind == "tensor":
            atoms: Atoms = cells.get("atoms", NOTHING)
            events = cells.get(("learned", "*"))
            if events:
                atoms = atoms | {("state", event) for event in events}
            return atoms | {("par", obj.number), ("model",)} if cells.get("differentiable") else atoms
        if kind == "module":
            atoms = frozenset(("state", event) for event in self._events(obj, attr)) | {("par", obj.number), ("model",)}
            if depth > 0:
                for child in cells.get("children", ()):
                    atoms = atoms | self.content(child, "*", depth - 1)
            return atoms
        if kind in ("range", "generator", "optimizer", "namespace", "files"):
            return NOTHING
        values = [cell for cell in cells.values() if isinstance(cell, Value)]
        values.extend(cells.get("items", ()))
        return union((*(self.run.atoms_of(value, depth) for value in values), cells.get("atoms", NOTHING)))

    def _events(self, obj: Obj, attr: str) -> frozenset[int]:
        attrs = obj.cells.get("attrs", ())
        shared: frozenset[int] = obj.cells.get(("learned", "*"), frozenset())
        if attr in attrs:
            mine: frozenset[int] = obj.cells.get(("learned", attr), frozenset())
            return shared | mine
        for name in attrs:
            own: frozenset[int] = obj.cells.get(("learned", name), frozenset())
            shared = shared | own
        return shared

    def applied(self, atoms: Atoms, *, as_key: bool = False) -> Atoms:
        """Atoms of a result in which predictors may have been applied to validation tokens.

        `as_key`: the tokens are a key under which something was looked up. Those of earlier iterations are context.
        """
        states = [atom for atom in atoms if atom[0] == "state"]
        if not states:
            return atoms
        taken = regions(atoms)
        if not taken:
            return atoms
        states.sort()
        site: int | None = None
        new: list[Atom] = []
        for _, number in states:
            new.append(("under", number))
            event = self.events[number]
            meeting = [region for region in taken if self.overlaps(region, event.tags)]
            if as_key and event.manner in (Manner.CACHE, Manner.STATISTICS):
                meeting = [region for region in meeting if not self._earlier(region, event.tags)]
            if meeting:
                if site is None:
                    site = self.site_number()
                new.append(("clash", number, site))
                if any(self._surely(region, event) for region in meeting):
                    is_open = bool(self.run.open_settings) or event.possible
                    (self.likely if is_open else self.certain).add((number, site))
                    if not is_open:
                        self._note_epochs(event, meeting, site)
                        if any(tag[0] in self.run.live for tag in event.tags):
                            self.fitted.add((number, site))
        return atoms.difference(states).union(new)

    def _earlier(self, region: Tags, learned: Tags) -> bool:
        """True for tokens of an earlier iteration of the live loop that learned from them."""
        rounds = self.run.rounds
        newest: dict[int, int] = {}
        for act, k in region:
            if act in self.run.live and any(tag[0] == act for tag in learned):
                newest[act] = max(k, newest.get(act, k))
        return any(k < rounds.get(act, 0) for act, k in newest.items())

    def combined(self, parts: list[Atoms]) -> Atoms:
        """Atoms of a result computed from several operands, blends and choices between them noted."""
        atoms = without_index(self.applied(union(parts)))
        picked = [part for part in parts if _PICKED in part]
        if not picked or len(parts) < 2:
            return atoms
        # Where the prediction was mixed with counts before, it must be known that the token itself was asked for.
        again = all(self.counted(part) for part in picked)
        if any(
            ("asked", again) in part and _PICKED not in part and self.counted(part) and (_HASHED in part or not again)
            for part in parts
        ):
            hashed = any(_HASHED in part for part in parts if self.counted(part))
            return atoms | {("blend", self.site_number(), hashed)}
        if any(_HASHED in part and _MODEL not in part and any(atom[0] == "val" for atom in part) for part in parts):
            atoms = atoms | {("mixed", self.site_number())}
        return atoms

    def _scored_before(self, learned: Tags, calls: tuple[Site, ...]) -> bool:
        """True when the pass under way has scored the tokens, without a gradient, that it learns from now."""
        live = self.run.live
        mine = {act: k for act, k in learned if act in live}
        for path, parts in self.graded.items():
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

    def counted(self, atoms: Atoms) -> bool:
        """True for a value read from counts or statistics of validation tokens."""
        return any(
            atom[0] in ("state", "under") and self.events[atom[1]].manner in (Manner.CACHE, Manner.STATISTICS)
            for atom in atoms
        )

    @staticmethod
    def names_parts(key: Atoms) -> bool:
        """True for a key read from a file that a model was written to: it names the model's parts, it is no token."""
        return ("file",) in key and _MODEL in key

    def looked_up(self, atoms: Atoms) -> Atoms:
        """Atoms of an entry read from a table under some key: counts are applied when they are looked up, and what is
        kept of them for later positions was known then."""
        atoms = self.applied(atoms, as_key=True)
        if not self.counted(atoms):
            return atoms
        return frozenset(
            ("under", atom[1])
            if atom[0] == "state" and self.events[atom[1]].manner in (Manner.CACHE, Manner.STATISTICS)
            else atom
            for atom in atoms
        )

    def stored_answers(self, one: Atoms, two: Atoms) -> bool:
        """True when validation tokens are compared with what a file holds at their positions: a file that came with
        the script, or one that it wrote validation tokens to."""
        for tokens, stored in ((one, two), (two, one)):
            if not any(atom[0] == "val" for atom in tokens) or _MODEL in tokens:
                continue
            if ("file",) not in stored or any(atom[0] == "par" for atom in stored):
                continue
            if all(atom[0] != "val" for atom in stored) or any(atom[0] == "stored" for atom in stored):
                return True
        return False

    def compared(self, atoms: Atoms) -> Atoms:
        """What a comparison leaves of counts: which token or context they point at, not how often it was seen."""
        if not self.counted(atoms):
            return atoms
        return frozenset(
            atom
            for atom in atoms
            if atom[0] not in ("state", "under") or self.events[atom[1]].manner not in (Manner.CACHE, Manner.STATISTICS)
        )

    def chosen(self, parts: list[Atoms]) -> Atoms:
        """The smaller of several values: of losses of the same tokens, a choice made after seeing the answer."""
        atoms = self.applied(union(parts))
        losses = [part for part in parts if _PICKED in part]
        if len(losses) >= 2 and len(losses) == len(parts):
            site = self.site_number()
            again = any(atom[0] == "choice" and atom[1] == site for part in parts for atom in part)
            whole = not any(tag[0] in self.run.live for region in regions(atoms) for tag in region)
            kept = (
                frozenset(("reopened", site, number) for number in self._learned_between_passes()) if again else NOTHING
            )
            return atoms | kept | {("choice", site, again or whole, not whole)}
        return atoms

    def _learned_between_passes(self) -> list[int]:
        """Updates by gradient within a live loop that has begun again and whose iterations take the same tokens."""
        return [
            number
            for number, event in enumerate(self.events)
            if event.manner in (Manner.GRADIENT, Manner.ARITHMETIC)
            and not event.possible
            and any(
                act in event.live and self.run.rounds.get(act, 0) > 0 and all(tag[0] != act for tag in event.tags)
                for act in self.run.live
            )
        ][:1]

    def picked(self, atoms: Atoms) -> Atoms:
        """A model's output looked up at validation tokens: the probability or loss of the realised token."""
        taken = regions(atoms) if _MODEL in atoms else []
        if not taken:
            return atoms
        if self.run.no_gradient:
            self.graded.setdefault(tuple(self.run.calls), set()).update(taken)
        return atoms | {_PICKED}

    def overlaps(self, one: Tags, two: Tags) -> bool:
        """False when a live loop gives the two regions to different iterations."""
        live = self.run.live
        first: dict[int, set[int]] = {}
        second: dict[int, set[int]] = {}
        for tags, found in ((one, first), (two, second)):
            for act, k in tags:
                if act in live:
                    found.setdefault(act, set()).add(k)
        for act, mine in first.items():
            other = second.get(act)
            if other is not None and len(mine) == 1 and len(other) == 1 and mine != other:
                return False
        return True

    def _note_epochs(self, event: Learning, meeting: list[Tags], site: int) -> None:
        """Note a loop that scores and learns and whose iterations all take the same tokens."""
        for act in self.run.live:
            if act in event.live and self.run.rounds.get(act, 0) > 0:
                tagged = any(tag[0] == act for tags in (*meeting, event.tags) for tag in tags)
                if not tagged:
                    self.epochs[site] = act

    def _surely(self, region: Tags, event: Learning) -> bool:
        """True when the region's tokens are certainly among those of an event that may overlap it."""
        if (event.site, event.calls) in self.wiped:
            return False
        if any(tag[0] == PREFIX for tag in event.tags - region):
            return False
        live = self.run.live
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

    def predict(self, owner: Value, args: list[Value], kwargs: dict[str, Value]) -> Value:
        """Call a model whose forward pass only computes."""
        run = self.run
        given = [run.atoms_of(value) for value in (*args, *kwargs.values())]
        atoms = self.applied(union((self.content(owner.payload), *given)))
        for hook in owner.payload.cells.get("hooks", ()):
            result = run.call(hook, [owner, Value(TUPLE, tuple(args)), data(atoms)], {}, ast.Pass())
            atoms = self.applied(atoms | run.atoms_of(result))
        tokens = sum(any(atom[0] == "val" for atom in part) for part in given)
        if run.no_gradient and tokens:
            acts = {act for tags in regions(atoms) for act, _ in tags if act in run.live}
            atoms |= {("subset", run.clocked[act]) for act in acts if act in run.clocked}
        if owner.payload.cells.get("running") and not owner.payload.cells.get("still"):
            self.may_change(owner, atoms)  # running statistics move with every call
        if run.no_gradient and tokens:
            atoms |= self._retrained(owner.payload)
        if self.trained and run.no_gradient and ("train",) in atoms and not run.open_settings:
            self.late_reads.append(self.site_number())
        if tokens >= 2 and self._leaves_out_targets(owner, args, kwargs):
            return data(frozenset(atom for atom in atoms if atom[0] != "target"))
        return data(self.picked(atoms) if tokens >= 2 else atoms)

    def _leaves_out_targets(self, owner: Value, args: list[Value], kwargs: dict[str, Value]) -> bool:
        """True for ``model(x, y, return_logits=True)`` where what is returned is computed without `y`."""
        class_ = owner.payload.class_
        forward = class_.find("forward") if class_ is not None else None
        flags = [name for name, value in kwargs.items() if value.kind == CONST and value.payload is True]
        if not flags or forward is None or not isinstance(forward.payload.node, ast.FunctionDef):
            return False
        names = [arg.arg for arg in forward.payload.node.args.args[1:]]
        given = [*zip(names, args, strict=False), *kwargs.items()]
        asked = [name for name, value in given if any(atom[0] == "target" for atom in self.run.atoms_of(value))]
        return bool(asked) and all(returns_beside(forward.payload.node, flags[0], name) for name in asked)

    def _retrained(self, obj: Obj, depth: int = 5) -> Atoms:
        """Where a model that was read back from the artifact of this run has learned from training tokens since."""
        site = obj.cells.get("retrained")
        found: Atoms = NOTHING if site is None else frozenset((("retrained", site),))
        children = obj.cells.get("children", ()) if depth > 0 else ()
        return union((found, *(self._retrained(child, depth - 1) for child in children)))

    # ---- learning ------------------------------------------------------------------------------------------------

    def event(self, subject: Obj, attr: str, tags: Tags, manner: Manner) -> int:
        """The number of a learning event at the present place."""
        kept = frozenset(tag for tag in tags if tag[0] in self.run.live or tag[0] < 0)
        site = self.run.site()
        calls = tuple(self.run.calls)
        self.wiped.discard((site, calls))
        key = (subject.number, kept, site, manner, calls)
        number = self._event_numbers.get(key)
        if number is None:
            number = len(self.events)
            self._event_numbers[key] = number
            self.order += 1
            live = frozenset(self.run.live)
            possible = bool(self.run.open_settings)
            if manner in (Manner.GRADIENT, Manner.ARITHMETIC) and self._scored_before(kept, calls):
                self.after_scoring.add(number)
            self.events.append(Learning(subject, attr, kept, manner, site, calls, self.order, live, possible))
        return number

    def learned_atoms(self, subject: Obj, atoms: Atoms, manner: Manner, attr: str = "*") -> frozenset[int]:
        """Event numbers for storage that takes up `atoms`: old events and new ones for tokens among them."""
        numbers = {atom[1] for atom in atoms if atom[0] == "state" or self._carries(atom)}
        selected = any(atom[0] == "choice" for atom in atoms) or self.run.selecting
        if selected:
            self.run.open_settings += 1
            numbers.add(self.event(subject, attr, frozenset(), Manner.SELECTION))
            self.run.open_settings -= 1
        doubtful = ("doubt",) in atoms
        self.run.open_settings += doubtful
        for region in regions(atoms):
            numbers.add(self.event(subject, attr, region, manner))
        self.run.open_settings -= doubtful
        return frozenset(numbers)

    def _carries(self, atom: Atom) -> bool:
        """True for a value made under an event that hands the event on: what was looked up in counts may not."""
        if atom[0] not in ("under", "clash"):
            return False
        counts = self.events[atom[1]].manner in (Manner.CACHE, Manner.STATISTICS)
        return not counts or (atom[0] == "clash" and (atom[1], atom[2]) in self.certain)

    def _add_events(self, obj: Obj, attr: str, events: frozenset[int]) -> None:
        attrs = obj.cells.get("attrs", ())
        if attr == "*" and obj.kind == "module":
            for child in obj.cells.get("children", ()):
                self._add_events(child, "*", events)
            if obj.cells.get("hollow"):
                return
        keys = [attr] if attr in attrs else (attrs or ["*"])
        for name in keys:
            key = ("learned", name)
            old = obj.cells.get(key, frozenset())
            if not events <= old:
                self.run.state.write(obj.cells, key, old | events)
                for other in obj.cells.get("shared", ()):
                    self.may_change(Value(OBJECT, other), frozenset(("state", number) for number in events - old))

    def _set_events(self, obj: Obj, attr: str, events: frozenset[int]) -> None:
        attrs = obj.cells.get("attrs", ())
        names = (attr,) if attr in attrs else ("*", *attrs)
        for name in names:
            for number in obj.cells.get(("learned", name), frozenset()) - events:
                self.wiped.add((self.events[number].site, self.events[number].calls))
            self.run.state.write(obj.cells, ("learned", name), events)
        if attr == "*" and obj.kind == "module":
            for child in obj.cells.get("children", ()):
                self._set_events(child, "*", events)

    def is_predictor(self, obj: Obj) -> bool:
        return obj.kind == "module" or bool(obj.cells.get("differentiable"))

    def update(self, value: Value, atoms: Atoms, node: ast.AST, manner: Manner = Manner.ARITHMETIC) -> None:
        """An in-place operation adds `atoms` to the storage behind `value`."""
        obj = value.base if value.base is not None else value.payload
        if not isinstance(obj, Obj):
            return
        if obj.kind == "either":
            for member in obj.cells["members"]:
                self.update(data(NOTHING, member, ""), atoms, node, manner)
            return
        if self.is_predictor(obj):
            if ("train",) in atoms and obj.cells.get("from_file"):
                self.late_training.append(self.site_number())
            events = self.learned_atoms(obj, atoms, manner, value.attr)
            if events:
                self._add_events(obj, value.attr, events)
            return
        old = obj.cells.get("atoms", NOTHING)
        settled = self.run.settle(Value("data", None, old | atoms)).atoms
        self.run.state.write(obj.cells, "atoms", settled)

    def may_change(self, value: Value, atoms: Atoms) -> None:
        """Code that is not seen may have put `atoms` into the storage behind `value`."""
        obj = value.base if value.base is not None else value.payload
        if not isinstance(obj, Obj) or obj.kind == "either":
            return
        self.run.open_settings += 1
        taken = regions(atoms)
        taken += [self.events[atom[1]].tags for atom in sorted(atom for atom in atoms if atom[0] == "state")]
        if self.is_predictor(obj):
            events = frozenset(self.event(obj, value.attr, region, Manner.ARITHMETIC) for region in taken)
            if events:
                self._add_events(obj, value.attr, events)
        else:
            self.update(value, atoms, ast.Pass())
        self.run.open_settings -= 1

    def replace(self, value: Value, name: str, atoms: Atoms, node: ast.AST) -> None:
        """``value.data = ...`` or an in-place overwrite: what the storage held before is forgotten."""
        obj = value.base if value.base is not None else value.payload
        if not isinstance(obj, Obj):
            return
        if name == "grad" or value.attr == "grad":
            self.run.state.write(obj.cells, "grad", atoms)
            return
        if self.is_predictor(obj) and any(atom[0] == "val" for atom in atoms) and _MODEL not in atoms:
            self.kept_text.append(self.site_number())
        if value.attr == "" or obj.kind == "either":
            self.update(value, atoms, node)
            return
        if self.is_predictor(obj):
            self._set_events(obj, value.attr, self.learned_atoms(obj, atoms, Manner.ARITHMETIC, value.attr))
            return
        self.run.state.write(obj.cells, "atoms", atoms)
        self.run.state.write(obj.cells, ("learned", "*"), frozenset())

    def share(self, value: Value, other: Value) -> None:
        """``value.data = other.data``: from now on what changes the one may change the other."""
        obj, source = value.base, other.base
        if obj is None or source is None or obj is source or not (self.is_predictor(obj) and self.is_predictor(source)):
            return
        for one, two in ((obj, source), (source, obj)):
            shared: tuple[Obj, ...] = one.cells.get("shared", ())
            if two not in shared:
                self.run.state.write(one.cells, "shared", (*shared, two))

    def _before_any_score(self, event: Learning) -> bool:
        """True for steps on validation tokens that were taken before any loss of theirs was read."""
        return event.manner is Manner.GRADIENT and not event.possible and not self.graded

    def load(self, module: Obj, atoms: Atoms) -> None:
        """``load_state_dict``: the module now holds what the loaded state was made of."""
        if ("file",) in atoms and not self.run.open_settings:
            self.run.state.write(module.cells, "from_file", True)
            if any(atom[0] == "state" and self._before_any_score(self.events[atom[1]]) for atom in atoms):
                self.kept_text.append(self.site_number())
        if module.cells.get("retrained") is not None:
            self.run.state.write(module.cells, "retrained", None)
        own = ("file",) in atoms and _MODEL in atoms  # a file that this run wrote its model to
        self.run.state.write(module.cells, "own_artifact", own and not self.run.open_settings)
        self._set_events(module, "*", self.learned_atoms(module, atoms, Manner.CALIBRATION))
        for child in module.cells.get("children", ()):
            if child.kind == "module":
                self.load(child, atoms)

    def count(self, owner: Value, index: Value, value: Value, node: ast.expr, frame: Frame) -> None:
        """``table[index] = value``: a table indexed by validation tokens is a count of them, other items are data."""
        run = self.run
        index_atoms, value_atoms = run.atoms_of(index), run.atoms_of(value)
        tokens = [] if self.names_parts(index_atoms) else regions(index_atoms)
        storage = owner.base if owner.base is not None else owner.payload
        if not isinstance(storage, Obj):
            storage = None
        atoms = value_atoms | frozenset(atom for atom in index_atoms if atom[0] in ("state", "train", "target"))
        if tokens:
            subject = storage or self.allocate("tensor", run.line, ast.unparse(node)[:40])
            atoms = frozenset(atom for atom in atoms if atom[0] != "val")
            atoms |= {("state", self.event(subject, "*", region, Manner.CACHE)) for region in tokens}
        if storage is None:
            run.mutate(node.value if isinstance(node, ast.Subscript) else node, atoms, frame)
        elif storage.kind in ("list", "dict"):
            from auditor.source import library

            library.store_item(run, storage, index, Value(value.kind, value.payload, atoms, value.base, value.attr))
        else:
            self.update(data(NOTHING, storage, owner.attr), atoms, node)

    def backward(self, atoms: Atoms) -> None:
        """``loss.backward()``: every parameter the loss is differentiable in gets the loss's atoms as gradient."""
        gradient = frozenset(atom for atom in atoms if atom[0] != "par")
        for atom in sorted(atom for atom in atoms if atom[0] == "par"):
            obj = self.objects[atom[1]]
            self.run.state.write(obj.cells, "grad", obj.cells.get("grad", NOTHING) | gradient)
            for hook in obj.cells.get("gradient_hooks", ()):
                given = data(NOTHING, obj) if hook[1] else self.gradient(gradient)
                self.run.call(hook[0], [given], {}, ast.Pass())
        loose = self.loose_gradient
        self.run.state.write(loose, "grad", self.run.settle(Value("data", None, loose["grad"] | gradient)).atoms)

    def gradient(self, atoms: Atoms) -> Value:
        """``torch.autograd.grad(loss, ...)``: the gradient itself has learned from the loss's tokens."""
        subject = self.allocate("tensor", self.run.line, "gradient")
        events = self.learned_atoms(subject, atoms, Manner.GRADIENT)
        kept = frozenset(atom for atom in atoms if atom[0] in ("train", "loop"))
        return data(kept | {("state", event) for event in events})

    def step(self, optimizer: Obj) -> None:
        """``optimizer.step()``: parameters take up the gradients that wait for them."""
        params = [self.objects[number] for number in sorted(optimizer.cells.get("params", ()))]
        waiting = [(obj, obj.cells["grad"]) for obj in params if obj.cells.get("grad")]
        if not waiting:
            loose = self.loose_gradient["grad"]
            waiting = [(obj, loose) for obj in params] if loose else []
        for obj, gradient in waiting:
            if ("train",) in gradient:
                self.trained = True
                self.training_loops.update(self.run.live)
                self.late_reads.clear()
                if obj.cells.get("from_file"):
                    self.late_training.append(self.site_number())
                certain = ("doubt",) not in gradient and all(atom[0] != "val" for atom in gradient)
                if obj.cells.get("own_artifact") and certain and not self.run.open_settings:
                    self.run.state.write(obj.cells, "retrained", self.site_number())
            events = self.learned_atoms(obj, gradient, Manner.GRADIENT)
            if events:
                self._add_events(obj, "*", events)
                if ("train",) in gradient and ("doubt",) not in gradient and any(atom[0] == "val" for atom in gradient):
                    told = any(atom[0] == "target" for atom in gradient)  # tokens to be predicted, not a number of them
                    (self.mixed_training if told else self.kept_text).append(self.site_number())

    def clear_gradient(self, objects: list[Obj]) -> None:
        for obj in objects:
            if obj.cells.get("grad"):
                self.run.state.write(obj.cells, "grad", NOTHING)
        self.run.state.write(self.loose_gradient, "grad", NOTHING)

    # ---- printing ------------------------------------------------------------------------------------------------

    def print(self, template: tuple[str | None, ...], atoms: Atoms) -> None:
        if any(atom[0] == "val" for atom in atoms):
            self.order += 1
            run = self.run
            sure = not run.undecided
            is_open = bool(run.open_settings)
            atoms |= run.seeded
            self.printed.append(Printed(template, atoms, run.site(), tuple(run.calls), self.order, sure, is_open))

    def site_number(self) -> int:
        """The number of the present place, for atoms that name one."""
        key = (self.run.site(), tuple(self.run.calls))
        number = self._site_numbers.setdefault(key, len(self.sites))
        if number == len(self.sites):
            self.sites.append(key)
        if not self.run.open_settings:
            self.reached.add(number)
        return number


def without_index(atoms: Atoms) -> Atoms:
    """What was computed from a loop variable is no longer the variable itself."""
    if any(atom[0] == "index" for atom in atoms):
        return frozenset(atom for atom in atoms if atom[0] != "index")
    return atoms


def _collect_storage(value: Value, found: list[Obj], depth: int) -> None:
    if value.base is not None:
        found.extend(value.base.cells["members"] if value.base.kind == "either" else (value.base,))
    if value.kind == OBJECT and value.payload.kind in ("module", "tensor"):
        found.append(value.payload)
    elif depth and value.kind == OBJECT and value.payload.kind in ("list", "dict"):
        for cell in list(value.payload.cells.values()):
            if isinstance(cell, Value):
                _collect_storage(cell, found, depth - 1)
    elif depth and value.kind in (TUPLE, CHOICE):
        for part in value.payload:
            _collect_storage(part, found, depth - 1)


_WITHOUT_PARAMETERS = frozenset(
    "Dropout Dropout1d Dropout2d Identity GELU ReLU ReLU6 SiLU Tanh Sigmoid Softmax LogSoftmax Softplus LeakyReLU "
    "Flatten Unflatten CrossEntropyLoss NLLLoss Mish Hardtanh AlphaDropout".split()
)


def _constructor(class_: Class) -> ast.FunctionDef | None:
    for item in class_.node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__" and item.args.args:
            return item
    return None


def _own_attribute(target: ast.expr, self_name: str) -> str:
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == self_name:
        return target.attr
    return ""


def parameter_attributes(class_: Class) -> tuple[str, ...]:
    """Names of attributes that a module's constructor fills with the result of a call: its parameters and parts."""
    names: list[str] = []
    for base in class_.bases:
        if base.kind == CLASS:
            names.extend(parameter_attributes(base.payload))
    init = _constructor(class_)
    if init is None:
        return tuple(dict.fromkeys(names))
    for node in ast.walk(init):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call | ast.IfExp):
            own = [_own_attribute(target, init.args.args[0].arg) for target in node.targets]
            names.extend(name for name in own if name and _makes_parameters(node.value))
    return tuple(dict.fromkeys(names))


def constructed_parts(class_: Class, lookup: Callable[[str, Frame], Value]) -> dict[str, Class]:
    """Attributes that the constructor sets once, whatever its arguments, to a new module of a class of the script."""
    found: dict[str, Class] = {}
    for base in class_.bases:
        if base.kind == CLASS:
            found.update(constructed_parts(base.payload, lookup))
    init = _constructor(class_)
    if init is None:
        return found
    times: dict[str, int] = {}
    for node in ast.walk(init):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            times[node.attr] = times.get(node.attr, 0) + 1
    for statement in init.body:
        if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1):
            continue
        name = _own_attribute(statement.targets[0], init.args.args[0].arg)
        made = statement.value
        if name and times[name] == 1 and isinstance(made, ast.Call) and isinstance(made.func, ast.Name):
            value = lookup(made.func.id, class_.frame)
            if value.kind == CLASS and value.payload.family == "module" and value.payload is not class_:
                found[name] = value.payload
    return found


def owns_parameters(class_: Class) -> bool:
    """True for a class that inherits parameters from a library's module, such as a subclass of nn.Linear."""
    for base in class_.bases:
        if base.kind == CLASS:
            if owns_parameters(base.payload):
                return True
        elif base.kind == EXTERNAL and base.payload.rpartition(".")[2] != "Module":
            return True
    return False


def has_running_statistics(class_: Class) -> bool:
    """True for a module whose constructor makes a batch norm."""
    init = _constructor(class_)
    return init is not None and any(
        isinstance(node, ast.Attribute) and "BatchNorm" in node.attr for node in ast.walk(init)
    )


def _makes_parameters(call: ast.expr) -> bool:
    for node in ast.walk(call):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name[:1].isupper() and name not in _WITHOUT_PARAMETERS:
                return True
    return False
