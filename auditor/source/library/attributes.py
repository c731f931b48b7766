"""Attributes that no class of the script defines, and the built-ins that read and set them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.library.containers import known_keywords
from auditor.source.library.hidden_code import unseen_code
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.values import (
    CLASS,
    CONST,
    EXTERNAL,
    MEASURE,
    METHOD,
    NONE,
    NOTHING,
    OBJECT,
    TUPLE,
    UNKNOWN,
    Class,
    Frame,
    Obj,
    Value,
    const,
    data,
    join,
    union,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def data_attribute(run: Interpreter, owner: Value, name: str) -> Value:
    """``owner.name`` for a value that is not a known object."""
    if name in ("shape", "dtype", "device", "ndim", "nbytes", "itemsize", "is_cuda", "requires_grad", "st_size"):
        return MEASURE
    if name == "grad" and owner.base is not None:
        return data(owner.base.cells.get(".grad", NOTHING), owner.base, "grad")
    if name in ("T", "mT", "data", "real", "imag", "flat"):
        return owner if name != "data" else data(owner.atoms, owner.base, owner.attr)
    return Value(METHOD, (owner, name), NOTHING, owner.base, owner.attr)


COMPUTED = "?"  # stands for the attributes whose names the script computes
_WRAPPED = frozenset(
    ("module", "_orig_mod")
)  # what DistributedDataParallel and torch.compile wrap, which are not told apart


def object_attribute(run: Interpreter, owner: Value, name: str) -> Value:
    """``owner.name`` for a heap object whose class does not define it."""
    obj: Obj = owner.payload
    if obj.kind == "module" and name in _WRAPPED and name not in obj.cells.get(".attrs", ()):
        return owner
    if obj.kind == "module":
        if obj.class_ is not None and obj.class_.find("__getattr__") is None and name in obj.cells.get(".attrs", ()):
            return Value(METHOD, (data(NOTHING, obj, name), name), NOTHING, obj, name)
        return Value(METHOD, (owner, name), NOTHING, obj, name if name in obj.cells.get(".attrs", ()) else "")
    if obj.kind == "namespace":
        return Value(METHOD, (owner, name)) if obj.name == "globals" else UNKNOWN
    if name == "__class__" and obj.class_ is not None:
        return Value(CLASS, obj.class_)
    if name == "__dict__":
        return owner
    return _set_by_computed_name(owner, name) or Value(METHOD, (owner, name))


def _set_by_computed_name(owner: Value, name: str) -> Value | None:
    """What an attribute may hold that nothing but ``setattr(self, key, ...)`` can have set; None where code that is not
    seen may define it. Without this every such attribute would be made of all that the object holds."""
    obj: Obj = owner.payload
    computed = obj.cells.get(COMPUTED)
    if obj.kind != "instance" or not isinstance(computed, Value) or name.startswith("__"):
        return None
    if obj.class_ is None or obj.class_.find("__getattr__") is not None or _inherits_unseen(obj.class_):
        return None
    return with_atoms(computed, owner.atoms | obj.cells.get(".atoms", NOTHING))


def _inherits_unseen(class_: Class) -> bool:
    """True for a class with a base, near or far, that the script does not define."""
    return any(
        _inherits_unseen(base.payload) if base.kind == CLASS else base.payload != "object" for base in class_.bases
    )


def _getattr(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) >= 2 and args[1].kind == CONST and isinstance(args[1].payload, str):
        found = run.attribute(args[0], args[1].payload, node)
        missing = args[0].kind == OBJECT and args[0].payload.kind == "instance" and found.kind == METHOD
        return args[2] if missing and len(args) > 2 else found
    if args and args[0].kind == EXTERNAL and args[0].payload in ("builtins", "__builtins__", "sys.modules"):
        return unseen_code(run, args, kwargs, node, frame)
    if args and args[0].kind == OBJECT and args[0].payload.kind == "module":
        return data(NOTHING, args[0].payload)
    return data(union(map(run.atoms_of, args)), args[0].base if args else None)


def _setattr(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) == 3 and args[0].base is not None:
        run.predictors.attach(args[0].base, args[0].attr, args[2])
    if len(args) == 3 and args[0].kind in (OBJECT, CLASS):
        cells = args[0].payload.cells
        key = args[1].payload if args[1].kind == CONST else COMPUTED
        old = cells.get(key) if key == COMPUTED else None
        run.state.write(cells, key, args[2] if old is None else run.settle(join(old, args[2])))
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


def _fresh(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return UNKNOWN


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


def _type(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``type(name, bases, members)``: who calls the functions of such a class is not followed."""
    if len(args) == 3:
        for member in known_keywords(args[2]).values():
            run.hand_over(member)
    return UNKNOWN


CALLS: dict[str, Model] = {
    "isinstance": _isinstance,
    "getattr": _getattr,
    "setattr": _setattr,
    "hasattr": _hasattr,
    "super": _fresh,
    "id": _fresh,
    "type": _type,
}
