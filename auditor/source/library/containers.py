"""Lists and dicts: what is put into them and what is known of their members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.ledger import Manner
from auditor.source.library.signatures import Kwargs
from auditor.source.values import (
    CONST,
    EXTERNAL,
    OBJECT,
    UNKNOWN,
    Atoms,
    Obj,
    Value,
    const,
    data,
    join,
    regions,
    some_of,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


WHOLE = ".whole"  # in a dict: the model of which it was made to hold something under the name of every parameter
CUT = ".cut"  # in a dict: something may have been taken out of it


def new_list(run: Interpreter, items: list[Value], line: int) -> Value:
    obj = Obj("list", line, "list")
    obj.cells[".items"] = tuple(items)
    obj.cells[".born"] = len(run.loops)
    if items:
        rest = items[0]
        for item in items[1:]:
            rest = join(rest, item)
        obj.cells[".rest"] = rest
    return Value(OBJECT, obj)


def new_dict(run: Interpreter, line: int) -> Value:
    obj = Obj("dict", line, "dict")
    obj.cells[".born"] = len(run.loops)
    return Value(OBJECT, obj)


def loosen(run: Interpreter, obj: Obj) -> None:
    """From here on the collection's length and members are not known one by one."""
    if not obj.cells.get(".loose"):
        run.state.write(obj.cells, ".loose", True)


def add_rest(run: Interpreter, obj: Obj, value: Value) -> None:
    old = obj.cells.get(".rest")
    run.state.write(obj.cells, ".rest", run.settle(value if old is None else join(old, value)))


def append(run: Interpreter, obj: Obj, value: Value) -> None:
    if run.abstract and run.abstract[-1] > obj.cells.get(".born", 0):
        loosen(run, obj)
    if run.undecided:
        value = some_of(value, f" of list {obj.number}")
    if not obj.cells.get(".loose"):
        items = obj.cells.get(".items", ())
        if len(items) < 256:
            run.state.write(obj.cells, ".items", (*items, value))
        else:
            loosen(run, obj)
    add_rest(run, obj, value)


def extend(run: Interpreter, obj: Obj, value: Value) -> None:
    parts = run.elements(value, limit=256)
    if parts is None:
        loosen(run, obj)
        add_rest(run, obj, run.element(value))
        return
    for part in parts:
        append(run, obj, part)


def weaken(run: Interpreter, obj: Obj, atoms: Atoms) -> None:
    """Members of the collection may now also be made of `atoms`."""
    old = obj.cells.get(".rest", UNKNOWN)
    loosen(run, obj)
    run.state.write(obj.cells, ".rest", run.settle(with_atoms(old, atoms)))
    _forget_environment(run, obj)


def holds_environment(obj: Obj) -> bool:
    """True for a copy of the environment variables that nothing but known names was stored in."""
    return bool(obj.cells.get(".environ"))


def _forget_environment(run: Interpreter, obj: Obj) -> None:
    if holds_environment(obj):
        run.state.write(obj.cells, ".environ", False)


def store_item(run: Interpreter, obj: Obj, index: Value, value: Value) -> None:
    """``obj[index] = value``. A key made of validation tokens makes the collection a count of them."""
    key = run.atoms_of(index)
    if regions(key) and not run.predictors.names_parts(key):
        kept = frozenset(atom for atom in value.atoms if atom[0] != "val")
        doubtful = obj.kind == "dict" and _may_be_a_name(key)
        run.open_settings += doubtful
        events = {("state", run.predictors.event(obj, "*", region, Manner.CACHE)) for region in regions(key)}
        run.open_settings -= doubtful
        value = Value(value.kind, value.payload, kept | events, value.base, value.attr)
    if obj.kind == "dict" and index.kind == CONST and hashable(index.payload):
        if index.payload == "lr" and ".still" in obj.cells and not (value.kind == CONST and value.payload == 0):
            optimizer, params = obj.cells[".still"]
            run.state.write(optimizer.cells, ".params", params)
        run.state.write(obj.cells, ("k", index.payload), value)
        old = obj.cells.get(".rest")
        run.state.write(obj.cells, ".rest", value if old is None else run.settle(join(old, value)))
        _doubt_the_split(run, obj)
        return
    if obj.kind == "list" and index.kind == CONST and isinstance(index.payload, int) and not obj.cells.get(".loose"):
        items = obj.cells.get(".items", ())
        if -len(items) <= index.payload < len(items):
            changed = list(items)
            changed[index.payload] = value
            run.state.write(obj.cells, ".items", tuple(changed))
            add_rest(run, obj, value)
            return
    loosen(run, obj)
    add_rest(run, obj, value)
    _forget_environment(run, obj)
    _doubt_the_split(run, obj)


def _may_be_a_name(key: Atoms) -> bool:
    """True for a key that holds a file's path, or that was made with a model's parameters: it may be the name of a
    file or of a part of the model, and no token."""
    kinds = {atom[0] for atom in key}
    return "path" in kinds or {"model", "par"} <= kinds


def _doubt_the_split(run: Interpreter, obj: Obj) -> None:
    """Of which split an entry is that is read under an unknown key is not known where entries of both are kept."""
    rest = obj.cells.get(".rest")
    if obj.kind != "dict" or not isinstance(rest, Value) or ("train",) not in rest.atoms or not regions(rest.atoms):
        return
    run.state.write(obj.cells, ".rest", with_atoms(rest, frozenset((("doubt",),))))


def update_dict(run: Interpreter, obj: Obj, value: Value) -> None:
    if value.kind == OBJECT and value.payload.kind == "dict":
        for key, cell in list(value.payload.cells.items()):
            if isinstance(key, tuple) and key[0] == "k":
                store_item(run, obj, const(key[1]), cell)
        if value.payload.cells.get(".loose"):
            loosen(run, obj)
            add_rest(run, obj, value.payload.cells.get(".rest", UNKNOWN))
            if holds_environment(value.payload):
                run.state.write(obj.cells, ".environ", True)
            else:
                _forget_environment(run, obj)
        return
    loosen(run, obj)
    if value.kind == EXTERNAL and value.payload == "os.environ":
        run.state.write(obj.cells, ".environ", True)
        return
    _forget_environment(run, obj)
    add_rest(run, obj, data(run.atoms_of(value), value.base))


def known_keywords(value: Value) -> Kwargs:
    """The keyword arguments that ``**value`` passes, as far as they are known."""
    if value.kind != OBJECT or value.payload.kind != "dict":
        return {}
    return {
        key[1]: cell
        for key, cell in value.payload.cells.items()
        if isinstance(key, tuple) and key[0] == "k" and isinstance(key[1], str)
    }


def hashable(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | bytes | type(None))


def known_elements(run: Interpreter, obj: Obj, limit: int) -> list[Value] | None:
    if obj.kind == "list":
        if obj.cells.get(".loose"):
            return None
        items = obj.cells.get(".items", ())
        return list(items) if len(items) <= limit else None
    if obj.kind == "dict" and not obj.cells.get(".loose"):
        keys = [key[1] for key in obj.cells if isinstance(key, tuple) and key[0] == "k"]
        return [const(key) for key in keys] if len(keys) <= limit else None
    return None


def object_truth(obj: Obj) -> bool | None:
    if obj.kind == "list" and not obj.cells.get(".loose"):
        return bool(obj.cells.get(".items"))
    if obj.kind in ("instance", "module", "optimizer", "namespace", "file"):
        return True
    return None


def holds_all(obj: Obj, model: Obj) -> bool:
    """True for a dict that has an entry for each of a model's parameters."""
    return obj.cells.get(WHOLE) is model and not obj.cells.get(CUT)


def contains(run: Interpreter, container: Value, item: Value) -> bool | None:
    """``item in container`` where both are known."""
    if item.kind == CONST and isinstance(item.payload, str) and container.kind == EXTERNAL:
        if container.payload == "os.environ":
            return run.environment(item.payload) is not None or None
        return None
    if container.kind == OBJECT and holds_environment(container.payload) and item.kind == CONST:
        return run.environment(str(item.payload)) is not None or ("k", item.payload) in container.payload.cells or None
    if container.kind == CONST and item.kind == CONST:
        try:
            return bool(item.payload in container.payload)
        except TypeError:
            return None
    if item.base is not None and container.kind == OBJECT and holds_all(container.payload, item.base):
        return True  # the name under which a model has a parameter
    parts = run.elements(container, limit=64)
    if parts is None or item.kind != CONST:
        return None
    if any(part.kind == CONST and part.payload == item.payload for part in parts):
        return True
    return False if all(part.kind == CONST for part in parts) else None
