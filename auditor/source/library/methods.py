"""Methods that the script does not define."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from auditor.source import native, scaling, scoring
from auditor.source.library import columns
from auditor.source.library.callbacks import run_callbacks
from auditor.source.library.environment import parser_method
from auditor.source.library.file_contents import files_moved, read_file, write_file
from auditor.source.library.files import buffer_method, file_method, open_file, path_of, rename_file
from auditor.source.library.lists_and_dicts import dict_method, list_method
from auditor.source.library.modules import FORWARD_HOOKS, module_method, script_method
from auditor.source.library.namespaces import namespace_method
from auditor.source.library.optimizers import optimizer_method
from auditor.source.library.sequences import map_over
from auditor.source.library.shard_paths import TRAIN_PATH, VAL_PATH, through_path
from auditor.source.library.signatures import Args, Kwargs
from auditor.source.library.tensors import change_in_place, overwrite, positions, receiver, require_gradient, statistic
from auditor.source.library.text import has_text, print_line, text_method
from auditor.source.library.unmodelled import LOOK_UPS, PICKS, RANKING, entry_of_row, operands, side_effect
from auditor.source.library.views import METADATA, RETURNING_SELF, VIEWS
from auditor.source.scan import is_in_place
from auditor.source.values import (
    CONST,
    DATA,
    FORMAT,
    FUNCTION,
    MEASURE,
    METHOD,
    NONE,
    NOTHING,
    OBJECT,
    PARTIAL,
    UNKNOWN,
    Frame,
    Value,
    data,
    union,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def call_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value:
    """``owner.name(*args)`` where the script does not define the method."""
    if owner.kind == CONST:
        return text_method(run, owner, name, args)
    if owner.kind == OBJECT:
        handler = _OBJECT_METHODS.get(owner.payload.kind)
        found: Value | None = handler(run, owner, name, args, kwargs, node, frame) if handler else None
        if found is not None:
            return found
    return _data_method(run, owner, name, args, kwargs, node, frame)


_OBJECT_METHODS: dict[str, Any] = {
    "parser": parser_method,
    "list": list_method,
    "dict": dict_method,
    "module": module_method,
    "optimizer": optimizer_method,
    "file": file_method,
    "buffer": buffer_method,
    "namespace": namespace_method,
    native.KIND: native.call,
}
_OVERWRITES = frozenset(
    "zero_ fill_ fill copy_ normal_ uniform_ trunc_normal_ constant_ set_ kaiming_uniform_ random_ orthogonal_".split()
)
_IN_PLACE_OPERATORS = frozenset(
    "__iadd__ __isub__ __imul__ __itruediv__ __ifloordiv__ __ipow__ __imatmul__ __ior__ __iand__ __ixor__".split()
)
_COUNTS = frozenset(["scatter_add_", "index_add_", "scatter_", "index_fill_", "scatter_reduce_"])
_MOVES_FILES = frozenset("extract extractall symlink_to hardlink_to link_to".split())
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
    if name in _MOVES_FILES:
        files_moved(run)
    if name in ("start", "submit", "apply_async", "run") and owner.kind in (PARTIAL, FUNCTION):
        run.call(owner, [], {}, node, frame)
        return UNKNOWN
    if name == "use_artifact":
        run.predictors.outside.append((run.predictors.site_number(), "an artifact of an experiment tracker is fetched"))
    if name in FORWARD_HOOKS and owner.base is not None and owner.base.kind == "module":
        hooks = tuple(arg for arg in args if arg.kind in (FUNCTION, PARTIAL, METHOD))
        run.state.write(owner.base.cells, ".hooks", owner.base.cells.get(".hooks", ()) + hooks)
        return UNKNOWN
    if name == "submit" and args:
        return run.call(args[0], args[1:], kwargs, node, frame)
    if name == "map" and len(args) >= 2 and args[0].kind in (FUNCTION, METHOD, PARTIAL):
        return map_over(run, args, kwargs, node, frame)
    if name in ("result", "join") and not args:
        return owner
    if name == "requires_grad_":
        return require_gradient(run, owner)
    if name in ("info", "warning", "debug", "log", "write") and owner.kind != OBJECT and has_text(args):
        return print_line(run, args, kwargs, node, frame)
    if name in _READS_PATH and (VAL_PATH in own or TRAIN_PATH in own):
        return data(through_path(run, name, own | rest))
    if name == "open":
        return open_file(run, [owner, *args], kwargs, node, frame)
    if name in ("rename", "replace") and len(args) == 1:  # of a path; a text's replace takes two
        return rename_file(run, [owner, *args], kwargs, node, frame)
    if name == "with_name" and len(args) == 1 and args[0].kind in (CONST, FORMAT):
        return path_of(run, args, {}, node, frame)
    if name in ("write_bytes", "write_text") and args:
        native.written(run, owner, args[0])
        write_file(run, owner, rest)
        return UNKNOWN
    if name in ("read_bytes", "read_text"):
        return data(read_file(run, owner))
    if name in ("format",) and owner.kind in (CONST, FORMAT):
        return Value(FORMAT, (owner, *args), own | rest)
    if name in ("nonzero", "argwhere"):
        return data(positions(own))
    if name in ("bincount", "unique", "histc"):
        return statistic(run, [data(own)], {}, node, frame)
    if name == "step" and args and args[0].kind == OBJECT and args[0].payload.kind == "optimizer":
        run.predictors.step(args[0].payload)  # GradScaler.step(optimizer)
        return UNKNOWN
    if name in ("register_hook", "register_post_accumulate_grad_hook") and owner.base is not None and args:
        hooks = owner.base.cells.get(".gradient_hooks", ())
        hook = (args[0], name != "register_hook")
        run.state.write(owner.base.cells, ".gradient_hooks", (*hooks, hook))
        return UNKNOWN
    if name in ("index_put_", "put_") and frame is not None and isinstance(node, ast.Call) and args:
        value = args[1] if len(args) > 1 else UNKNOWN
        run.predictors.count(owner, args[0], value, receiver(node), frame)
        return owner
    if name in _COUNTS and frame is not None and isinstance(node, ast.Call) and len(args) >= 2:
        run.predictors.count(owner, args[1], args[2] if len(args) > 2 else UNKNOWN, receiver(node), frame)
        return owner
    if name in _OVERWRITES:
        return overwrite(run, owner, rest, node, frame)
    if is_in_place(name) or name in _IN_PLACE_OPERATORS:
        return change_in_place(run, owner, rest | scaling.in_place(run, name, owner, args), node, frame)
    run_callbacks(run, args, kwargs, node)
    defined = script_method(run, owner, name)
    if defined is not None:
        return run.call(defined, [owner, *args], kwargs, node, frame)
    silent = name not in _TALK and (owner.kind != METHOD or owner.base is not None)
    if silent and args and node is run.dropped and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        side_effect(run, [owner, *args], [node.func.value, *node.args], node, frame)
    if owner.base is not None and name in VIEWS:
        return data(owner.atoms | rest, owner.base, owner.attr)
    if owner.base is not None and name in RETURNING_SELF and owner.base.kind == "module":
        return data(own) if _leaves_the_device(name, args, node) else owner
    if name in ("minimum", "fmin") and args:
        return data(run.predictors.chosen([own, rest]))
    rows = operands(run, [*args, *kwargs.values()])
    atoms = run.predictors.combined([own, *rows]) | scoring.cut_off(run, name, own, args, kwargs)
    atoms |= scoring.pooled(run, name, owner, own, args[0] if args else kwargs.get("dim", kwargs.get("axis")))
    atoms = scaling.by_function(run, name, owner, args, atoms)
    if name in RANKING and (args or kwargs):
        atoms |= scoring.chosen(run, own)
    if name in PICKS:
        atoms |= scoring.peeked(run, own, union(rows)) | entry_of_row(run, owner, atoms, union(rows), node)
        atoms = scoring.graded(run, name, owner, atoms)
        if name in LOOK_UPS and run.predictors.counted(union(rows)):
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
    if name == "sum" and (args or kwargs) and owner.payload == scoring.PLOGP:
        return Value(DATA, scoring.ENTROPY, atoms)
    if name == "sum" and (args or kwargs) and ("model",) not in own and run.predictors.counted(own):
        return Value(DATA, scoring.ROW_TOTAL, atoms)
    if owner.kind == DATA and name in ("exp", "log", "sigmoid", "maximum", "logsumexp"):
        return scoring.transformed(run, name, [owner, *args], atoms)
    if (same := columns.kept(owner, name, atoms)) is not None:
        return same
    keeps = isinstance(owner.payload, str) and name in scoring.SHAPES
    keeps = keeps or (owner.payload == scoring.ROW_TOTAL and name.startswith("clamp"))
    return Value(DATA, owner.payload if owner.kind == DATA and keeps else None, atoms)


def _leaves_the_device(name: str, args: Args, node: ast.AST) -> bool:
    """True for ``weight.detach().cpu()``, a copy: what a GPU trains stays where it is. Of a part of a model, which is
    what has no ``detach``, the same words give the part itself."""
    to_memory = name == "cpu" or (name == "to" and bool(args) and args[0].kind == CONST and args[0].payload == "cpu")
    inner = node.func if isinstance(node, ast.Call) else node
    while to_memory and isinstance(inner, ast.Attribute | ast.Call):
        if isinstance(inner, ast.Attribute) and inner.attr == "detach":
            return True
        inner = inner.func if isinstance(inner, ast.Call) else inner.value
    return False


_TALK = frozenset(
    "info debug warning error log set_postfix set_description add_scalar close flush wait synchronize".split()
)
