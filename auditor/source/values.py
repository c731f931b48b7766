"""Abstract values: what is known of a value, and what it was made of.

The law of the abstraction: a value's `atoms` name everything it may have been computed from. Atoms are only added when
values are combined, and only removed by an operation that really forgets (a length, a shape, an overwrite). Atoms are
tuples whose first item is their kind:

``("val", tags)``         validation tokens; `tags` is a frozenset of (loop activation, iteration): the part of the
                          stream that this iteration takes. No tags: any part, up to the whole stream.
``("train",)``            training tokens
``("loop", act, k)``      depends on iteration k of loop activation `act`
``("par", id)``           differentiable in the parameters of object `id`
``("model",)``            computed by a model
``("state", event)``      read from an object that learning event number `event` changed, not yet applied to tokens
``("under", event)``      computed from tokens under such an object
``("clash", event, site)`` as "under", and the tokens overlap those that the event learned from: at `site` a prediction
                          was made for tokens the predictor had already seen
``("resumed", event)``    computed under such an object from a state that it made of tokens that the event learned from
``("picked",)``           a model's output looked up at the tokens to be predicted: their probability or loss
``("hashed",)``           computed with hash arithmetic on tokens
``("blend", site, proof)`` at `site` the picked probability was mixed with counts that were looked up under tokens:
                          under a key with a hash of that very token ("key"), for that token ("count"), the same
                          with what may be distributions ("whole"), or under tokens of which it may be one ("open");
                          or what was mixed is a token's probability that was spread over its bytes ("bytes")
``("mixed", site)``       at `site` it was mixed with something looked up under a hash of tokens
``("choice", site, again, sure)`` at `site` the smaller of several losses was kept; `again`: of passes
``("reopened", site, event)`` at `site` a loss was replaced by that of a later pass, after learning event `event`
``("ranked", site, sure)``  a comparison of two losses
``("subset", site)``      a constant part of the whole stream was taken at `site`, or the loop over it may be left there
``("stored", site)``      validation tokens that were written to a file at `site`
``("file",)``             read from a file that is no shard of the data
``("array",)``            numbers read from a file as they stand, which are no settings
``("retrained", site)``   predicted by the model of this run's artifact after it learned from training tokens at `site`
``("answers", site)``     validation tokens were compared with the contents of a file at `site`
``("index", act, pace)``  is the variable of a range loop itself, which moves by `pace`
``("after", place)``      a place of the text that a loop moved on from `place`
``("measure",)``          a size of data or a time, which no setting decides
``("doubt",)``            read from files of which it is not known that they are of one split
``("rank",)``             this process's number among the eight
``("first",)``            the first place of this process's share
``("pos",)``              positions or document boundaries found in validation tokens
``("target", tags)``      those validation tokens are the ones to be predicted: shifted by one against the input
``("context",)``          validation tokens that stand before the ones to be predicted
``("masked",)``           a mask was set up to some place of a window, or left a part of what this is
``("entry",)``            validation tokens taken out one by one
``("next",)``             places of tokens to be predicted
``("pooled", tags, site, answers)`` at `site` numbers of a part of the stream were averaged over its positions, those
                          of tokens to be predicted (`answers`) or of a model
``("keyed", tags)``       a hash of tokens to be predicted
``("found", number, known, keyed)`` a count from look-up `number`; `known`: for the token to be predicted, `keyed`:
                          under a hash of it
``("row",)``              what is kept in a table under tokens, and is a table itself
``("ratio",)``            a count divided by another, which stands under another hash
``("of_row",)``           a count of the token to be predicted, divided by one that does not know that token
``("moved",)``            of tokens behind something else, so that places in it are not those of the text
``("spread", site)``      at `site` a token's probability was divided by a number that the token decides
``("beside_entropy", site)`` at `site` losses of tokens were put beside the entropy of a prediction
``("entropy", site)``     and at `site` they were mixed
``("peeked", site)``      at `site` a prediction was scored on tokens that it was made of
``("hint", ahead)``       native code made it of the tokens before each place; `ahead`: before the one to be predicted
``("ahead", site, what)`` the module's code at `site` may look at later tokens, and how
``("told", site, sure)``  the native code called at `site` may have known the token to be predicted
``("unnormal", site)``    at `site` probabilities were changed so that they need not sum to one any more
``("scaled", site, by)``  at `site` it was multiplied by the constant `by`; a negative one was taken off
``("clock",)``            a time
``("limit", act, beyond)`` says whether the count of loop activation `act` is beyond a constant, or has not reached it
``("unseen",)``           handed to a function of the script by code that is not part of it
``("path", which)``       a file path of the "val" or "train" shards
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

Atom = tuple[Any, ...]
Atoms = frozenset[Atom]
NOTHING: Atoms = frozenset()
OF_REGIONS = frozenset(("val", "target", "pooled"))  # atoms whose second item names a part of the stream
Tags = frozenset[tuple[int, int]]


@lru_cache(maxsize=8192)
def kinds(atoms: Atoms) -> frozenset[str]:
    """The kinds of `atoms`."""
    return frozenset([atom[0] for atom in atoms])


def regions(atoms: Atoms) -> list[Tags]:
    """The regions of validation tokens among `atoms`, in an order that is the same in every run.

    Sets of atoms hold strings, whose order in a set is drawn anew by every process.
    """
    found = [atom[1] for atom in atoms if atom[0] == "val"]
    return sorted(found, key=sorted) if len(found) > 1 else found


# Kinds of values. Plain strings would do; names keep typos out.
CONST, RANGE, FORMAT, TUPLE, DATA, OBJECT, FUNCTION, CLASS, EXTERNAL, METHOD, PARTIAL, CHOICE = (
    "const", "range", "format", "tuple", "data", "object", "function", "class", "external", "method", "partial",
    "choice",
)  # fmt: skip


SOME = "*some"  # and after it where the choice was made; nothing where that is not known


class Value:
    """An abstract value.

    kind, payload: CONST (the Python constant), RANGE ((low, high | None), an int between them), FORMAT (tuple of str
    and Value: a string with holes), TUPLE (tuple of Value), OBJECT (heap object), FUNCTION (`Function`), CLASS
    (`Class`), EXTERNAL (dotted name), METHOD ((receiver Value, name)), PARTIAL ((callee, args, kwargs)), CHOICE (tuple
    of Value: one of them), DATA (nothing known).
    base, attr: when the value is a view into the storage of heap object `base` (its attribute `attr`, "*" for all of
    it, a text that begins with SOME for a choice of its parameters), an in-place operation on it changes that object.
    """

    __slots__ = ("atoms", "attr", "base", "kind", "payload")

    def __init__(
        self, kind: str, payload: Any = None, atoms: Atoms = NOTHING, base: Obj | None = None, attr: str = "*"
    ) -> None:
        self.kind = kind
        self.payload = payload
        self.atoms = atoms
        self.base = base
        self.attr = attr

    def __repr__(self) -> str:
        return f"<{self.kind} {self.payload!r:.60} {sorted(map(str, self.atoms))}>"


class Obj:
    """A heap object: an allocation site's instance.

    kind: "instance" (user class), "module" (torch.nn.Module), "tensor", "list", "dict", "optimizer", "file", "parser".
    `cells` hold its state and are only written through `State.write`, so that branches can be undone and joined.
    Attributes stand under their names and what a dict holds under ("k", key); what is noted of the object itself stands
    under a name that begins with a dot, which no attribute can have.
    """

    __slots__ = ("cells", "class_", "kind", "line", "name", "number")
    count = 0

    def __init__(self, kind: str, line: int, name: str, class_: Class | None = None) -> None:
        self.kind = kind
        self.line = line
        self.name = name
        self.class_ = class_
        self.cells: dict[Any, Any] = {}
        Obj.count += 1
        self.number = Obj.count

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}@{self.line}>"


class Frame:
    """Names of one function activation (or module, or class body); `parent` is the enclosing scope's frame."""

    __slots__ = ("function", "globals_", "names", "parent", "redirect")

    def __init__(self, parent: Frame | None, function: str = "", globals_: Frame | None = None) -> None:
        self.names: dict[Any, Any] = {}
        self.parent = parent
        self.function = function
        self.globals_: Frame = globals_ or self
        self.redirect: dict[str, Frame] = {}  # names declared global or nonlocal


class Function:
    """A function or lambda of the script with the frame it closes over."""

    __slots__ = ("defaults", "frame", "is_generator", "kind", "kw_defaults", "name", "node", "owner", "path", "setter")

    def __init__(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
        frame: Frame,
        defaults: list[Value],
        kw_defaults: list[Value | None],
        path: str,
    ) -> None:
        self.node = node
        self.frame = frame
        self.defaults = defaults
        self.kw_defaults = kw_defaults
        self.path = path
        self.name = getattr(node, "name", "<lambda>")
        self.kind = "plain"  # or "static", "class", "property"
        self.owner: Class | None = None
        self.is_generator = False
        self.setter: Function | None = None  # of a property


class Class:
    """A class of the script. `family`: "module", "optimizer", "exception", "function" (autograd) or "plain"."""

    __slots__ = ("bases", "cells", "family", "frame", "name", "node")

    def __init__(self, node: ast.ClassDef, frame: Frame, bases: list[Value], family: str) -> None:
        self.node = node
        self.name = node.name
        self.frame = frame
        self.bases = bases
        self.family = family
        self.cells: dict[Any, Any] = {}

    def find(self, name: str) -> Value | None:
        """Attribute `name` of the class or of a base class that the script defines."""
        found = self.cells.get(name)
        if isinstance(found, Value):
            return found
        for base in self.bases:
            if base.kind == CLASS and (inherited := base.payload.find(name)) is not None:
                return inherited  # type: ignore[no-any-return]
        return None


NONE = Value(CONST, None)
TRUE = Value(CONST, True)
FALSE = Value(CONST, False)
UNKNOWN = Value(DATA)
MEASURED: Atoms = frozenset((("measure",),))  # atoms of a size or a time
UNSEEN: Atoms = frozenset((("unseen",),))
MEASURE = Value(DATA, None, MEASURED)


def const(value: Any, atoms: Atoms = NOTHING) -> Value:
    return Value(CONST, value, atoms)


def data(atoms: Atoms = NOTHING, base: Obj | None = None, attr: str = "*") -> Value:
    return Value(DATA, None, atoms, base, attr)


def external(name: str) -> Value:
    return Value(EXTERNAL, name)


def union(sets: Iterable[Atoms]) -> Atoms:
    """Union that keeps the one set where the others are empty (the common case)."""
    result = NOTHING
    for atoms in sets:
        if atoms is not result and atoms:
            result = result | atoms if result else atoms
    return result


def some_of(value: Value, choice: str = "") -> Value:
    """The same value where only some of a model's parameters can be it: what is done to it is not done to all.

    `choice` names the place where they were chosen, so that a list of them is known again.
    """
    if value.kind == TUPLE:
        return Value(TUPLE, tuple(some_of(part, choice) for part in value.payload), value.atoms)
    if value.base is None or value.base.kind != "module" or not (value.attr == "*" or value.attr.startswith(SOME)):
        return value
    return Value(value.kind, value.payload, value.atoms, value.base, SOME + choice)


def with_atoms(value: Value, atoms: Atoms) -> Value:
    """The same value, made of `atoms` as well."""
    if not atoms or atoms <= value.atoms:
        return value
    return Value(value.kind, value.payload, value.atoms | atoms, value.base, value.attr)


def choices(value: Value) -> tuple[Value, ...]:
    return value.payload if value.kind == CHOICE else (value,)


def same(first: Value, second: Value) -> bool:
    """True if both are known to be the same thing (atoms aside)."""
    if first.kind != second.kind:
        return False
    if first.kind in (OBJECT, FUNCTION, CLASS):
        return first.payload is second.payload
    if first.kind == CONST:
        return type(first.payload) is type(second.payload) and first.payload == second.payload
    if first.kind == DATA:
        return first.base is second.base
    if first.kind in (EXTERNAL, RANGE):
        return bool(first.payload == second.payload)
    if first.kind == METHOD:
        return first.payload[1] == second.payload[1] and same(first.payload[0], second.payload[0])
    return first.payload is second.payload


_IDENTITY = frozenset((OBJECT, FUNCTION, CLASS, EXTERNAL, METHOD, PARTIAL, CHOICE))


def join(first: Value, second: Value) -> Value:
    """What a value may be after a branch: either of the two."""
    if first is second:
        return first
    atoms = first.atoms | second.atoms
    if same(first, second):
        attr = _joined_attr(first.attr, second.attr)
        if atoms == first.atoms and attr == first.attr:
            return first
        return Value(first.kind, first.payload, atoms, first.base, attr)
    if first.kind == TUPLE and second.kind == TUPLE and len(first.payload) == len(second.payload):
        return Value(TUPLE, tuple(map(join, first.payload, second.payload)), atoms)
    if first.kind in _IDENTITY or second.kind in _IDENTITY:
        options: list[Value] = []
        for option in (*choices(first), *choices(second)):
            if not any(same(option, kept) for kept in options):
                options.append(option)
        if len(options) == 1:
            return with_atoms(options[0], atoms)
        if len(options) <= 4:
            return Value(CHOICE, tuple(options), atoms)
    if first.kind in (CONST, RANGE) and second.kind in (CONST, RANGE):
        low_high = _hull(first, second)
        if low_high is not None:
            return Value(RANGE, low_high, atoms)
    atoms = union(
        held_atoms(value) if value.kind in (OBJECT, CHOICE) else loose_atoms(value) for value in (first, second)
    )
    if first.base is not None and second.base is not None and first.base is not second.base:
        return Value(DATA, None, atoms, either_object(first.base, second.base), "")
    return Value(DATA, None, atoms, first.base or second.base, first.attr if first.base else second.attr)


def _joined_attr(one: str, two: str) -> str:
    """What a view shows that is either of two: a choice of parameters, which is not known, where one of them is."""
    return SOME if one != two and (one.startswith(SOME) or two.startswith(SOME)) else one


def either_object(first: Obj, second: Obj) -> Obj:
    """Stands for one of several objects: read as all of them, changed weakly."""
    members: list[Obj] = []
    for obj in (first, second):
        for member in obj.cells[".members"] if obj.kind == "either" else (obj,):
            if member not in members:
                members.append(member)
    merged = Obj("either", first.line, first.name)
    merged.cells[".members"] = tuple(members[-6:])
    return merged


def loose_atoms(value: Value) -> Atoms:
    """Atoms of a value and of the parts it holds directly (heap objects aside)."""
    if value.kind in (TUPLE, CHOICE):
        return union((value.atoms, *map(loose_atoms, value.payload)))
    if value.kind == FORMAT:
        return union((value.atoms, *(loose_atoms(part) for part in value.payload if isinstance(part, Value))))
    return value.atoms


def held_atoms(value: Value, depth: int = 4) -> Atoms:
    """Atoms of a value that is about to be known by its atoms alone: what its containers and tensors hold stays."""
    atoms = value.atoms
    if value.base is not None:
        atoms = atoms | _kept_in(value.base, depth)
    if value.kind == OBJECT:
        return atoms | _kept_in(value.payload, depth)
    if value.kind in (TUPLE, CHOICE) and depth > 0:
        return union((atoms, *(held_atoms(part, depth - 1) for part in value.payload)))
    return atoms | loose_atoms(value)


def _kept_in(obj: Obj, depth: int) -> Atoms:
    """What a tensor, a collection or an instance of a plain class holds now; nothing for other objects."""
    if obj.kind not in ("instance", "dict", "list", "tensor") or depth == 0:
        return NOTHING
    cells = obj.cells
    learned = frozenset(("state", event) for event in cells.get(("learned", "*"), ()))
    parts = [part for part in (*cells.values(), *cells.get(".items", ())) if isinstance(part, Value)]
    return union((learned, cells.get(".atoms", NOTHING), *(held_atoms(part, depth - 1) for part in parts)))


def bounds(value: Value) -> tuple[int, int | None] | None:
    """(low, high) of an integer value, None where it is not known to be one."""
    if value.kind == RANGE:
        return value.payload  # type: ignore[no-any-return]
    if value.kind == CONST and type(value.payload) is int:
        return value.payload, value.payload
    return None


def _hull(first: Value, second: Value) -> tuple[int, int | None] | None:
    one, two = bounds(first), bounds(second)
    if one is None or two is None:
        return None
    high = None if one[1] is None or two[1] is None else max(one[1], two[1])
    return min(one[0], two[0]), high


class State:
    """All mutable cells, with a journal so that a branch can be undone and joined with its alternative."""

    def __init__(self) -> None:
        self.journal: list[tuple[dict[Any, Any], Any, Any]] | None = None

    def write(self, cells: dict[Any, Any], key: Any, value: Any) -> None:
        if self.journal is not None:
            self.journal.append((cells, key, cells.get(key, _ABSENT)))
        cells[key] = value

    def begin(self) -> list[tuple[dict[Any, Any], Any, Any]] | None:
        """Start a branch; returns the outer journal to pass to `undo` or `keep`."""
        outer, self.journal = self.journal, []
        return outer

    def keep(self, outer: list[tuple[dict[Any, Any], Any, Any]] | None) -> None:
        """End a branch whose effects stay as they are."""
        inner, self.journal = self.journal, outer
        if outer is not None and inner:
            outer.extend(inner)

    def undo(self, outer: list[tuple[dict[Any, Any], Any, Any]] | None) -> list[tuple[dict[Any, Any], Any, Any]]:
        """End a branch, restore the state before it, and return the branch's final writes."""
        inner, self.journal = self.journal or [], outer
        final: dict[tuple[int, Any], tuple[dict[Any, Any], Any, Any]] = {}
        for cells, key, _ in inner:
            final[(id(cells), key)] = (cells, key, cells.get(key, _ABSENT))
        for cells, key, old in reversed(inner):
            if old is _ABSENT:
                cells.pop(key, None)
            else:
                cells[key] = old
        return list(final.values())

    def merge(self, writes: list[tuple[dict[Any, Any], Any, Any]]) -> None:
        """Join the writes of an alternative that also may have happened into the present state."""
        for cells, key, value in writes:
            present = cells.get(key, _ABSENT)
            if value is _ABSENT or present is value:
                continue
            self.write(cells, key, value if present is _ABSENT else join_cells(present, value))

    def apply(self, writes: list[tuple[dict[Any, Any], Any, Any]]) -> None:
        """Make an undone branch's writes the present state."""
        for cells, key, value in writes:
            if value is not _ABSENT:
                self.write(cells, key, value)


_ABSENT = object()


def join_cells(first: Any, second: Any) -> Any:
    """Join what a cell may hold: values, item tuples of lists, sets of events, flags."""
    if isinstance(first, Value) and isinstance(second, Value):
        return join(first, second)
    if isinstance(first, frozenset) and isinstance(second, frozenset):
        return first | second
    if isinstance(first, tuple) and isinstance(second, tuple):
        if any(isinstance(item, Obj) for item in (*first[:1], *second[:1])):
            return tuple(dict.fromkeys((*first, *second)))  # parts that a module may have
        if len(first) == len(second):
            return tuple(join_cells(a, b) for a, b in zip(first, second, strict=True))
        return first if len(first) > len(second) else second
    if isinstance(first, bool) and isinstance(second, bool):
        return first or second
    return second
