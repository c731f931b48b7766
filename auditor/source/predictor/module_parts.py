"""What the constructor of a torch.nn.Module of the script makes: parameters, and modules within the module."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

from auditor.source.scan import callee
from auditor.source.values import CLASS, EXTERNAL, Class, Frame, Value
from auditor.submission import syntax

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


def _from_constructors(class_: Class, named_in: Callable[[ast.FunctionDef], tuple[str, ...]]) -> tuple[str, ...]:
    """Names that the constructors of a class and of its bases give, those of the bases first, each once."""
    names: list[str] = []
    for base in class_.bases:
        if base.kind == CLASS:
            names.extend(_from_constructors(base.payload, named_in))
    init = _constructor(class_)
    if init is not None:
        names.extend(named_in(init))
    return tuple(dict.fromkeys(names))


def parameter_attributes(class_: Class) -> tuple[str, ...]:
    """Names of attributes that a module's constructor fills with the result of a call: its parameters and parts."""
    return _from_constructors(class_, _made_in)


_WRITES = frozenset("copy_ fill_ zero_ add_ sub_ mul_ div_ lerp_ addcmul_ clamp_".split())


def registered_buffers(class_: Class) -> tuple[str, ...]:
    """Names under which constructors register buffers."""
    return _from_constructors(class_, _registered_in)


def measurements(class_: Class) -> tuple[str, ...]:
    """Buffers that the class's own code writes and never reads: the forward pass does not know them."""
    buffers = registered_buffers(class_)
    read = _read_by(class_) if buffers else frozenset()
    return tuple(name for name in buffers if name not in read)


def _read_by(class_: Class) -> frozenset[str]:
    found = _read_in(class_.node)
    for base in class_.bases:
        if base.kind == CLASS:
            found |= _read_by(base.payload)
    return found


@lru_cache(maxsize=1024)
def _read_in(node: ast.ClassDef) -> frozenset[str]:
    """Attributes that a class reads, whatever object they are of, but to write into them."""
    written = {
        id(item.func.value)
        for item in syntax.walk(node)
        if isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute) and item.func.attr in _WRITES
    }
    return frozenset(
        item.attr
        for item in syntax.walk(node)
        if isinstance(item, ast.Attribute) and isinstance(item.ctx, ast.Load) and id(item) not in written
    )


@lru_cache(maxsize=1024)
def _registered_in(init: ast.FunctionDef) -> tuple[str, ...]:
    return tuple(
        node.args[0].value
        for node in syntax.walk(init)
        if isinstance(node, ast.Call)
        and _own_attribute(node.func, init.args.args[0].arg) == "register_buffer"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    )


@lru_cache(maxsize=1024)
def _made_in(init: ast.FunctionDef) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(init):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call | ast.IfExp):
            own = [_own_attribute(target, init.args.args[0].arg) for target in node.targets]
            names.extend(name for name in own if name and _makes_parameters(node.value))
    return tuple(names)


def constructed_parts(class_: Class, lookup: Callable[[str, Frame], Value]) -> dict[str, Class]:
    """Attributes that the constructor sets once, whatever its arguments, to a new module of a class of the script."""
    found: dict[str, Class] = {}
    for base in class_.bases:
        if base.kind == CLASS:
            found.update(constructed_parts(base.payload, lookup))
    init = _constructor(class_)
    if init is None:
        return found
    times = _times_set(init)
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


@lru_cache(maxsize=1024)
def _times_set(init: ast.FunctionDef) -> Counter[str]:
    """How often a constructor assigns each attribute, whatever object it is of."""
    return Counter(
        node.attr for node in syntax.walk(init) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    )


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
    return init is not None and _names_batch_norm(init)


@lru_cache(maxsize=1024)
def _names_batch_norm(init: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Attribute) and "BatchNorm" in node.attr for node in syntax.walk(init))


def _makes_parameters(call: ast.expr) -> bool:
    for node in ast.walk(call):
        if isinstance(node, ast.Call):
            name = callee(node)
            if name[:1].isupper() and name not in _WITHOUT_PARAMETERS:
                return True
    return False


def forget() -> None:
    """Let go of the scripts that were asked about."""
    for answers in (_made_in, _registered_in, _read_in, _times_set, _names_batch_norm):
        answers.cache_clear()
