"""Tensors and arrays: new ones, changes in place, counts and statistics of tokens."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.ledger import Manner
from auditor.source import scoring
from auditor.source.library import columns
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.library.unmodelled import default
from auditor.source.predictor.rows import one_for_each_window
from auditor.source.values import NONE, NOTHING, UNKNOWN, Atoms, Frame, Value, data, kinds, regions, union

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def positions(atoms: Atoms) -> Atoms:
    """What a comparison of tokens leaves: where something is, not which tokens."""
    if "val" not in kinds(atoms):
        return atoms
    return frozenset(atom for atom in atoms if atom[0] != "val") | {("pos",)}


def _allocate(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    grad = kwargs.get("requires_grad")
    wants = grad is not None and run.truth(grad) is not False
    atoms = union(frozenset(a for a in run.atoms_of(arg) if a[0] != "loop") for arg in args)
    made = run.predictors.tensor(atoms, run.line, differentiable=wants)
    if made.base is not None and one_for_each_window(args):
        made.base.cells[".rows"] = True
    return made


def _like(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    grad = kwargs.get("requires_grad")
    return run.predictors.tensor(NOTHING, run.line, differentiable=grad is not None and run.truth(grad) is not False)


def _count_at(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) >= 2 and isinstance(node, ast.Call) and frame is not None:
        run.predictors.count(args[0], args[1], args[2] if len(args) > 2 else UNKNOWN, node.args[0], frame)
    return NONE


def statistic(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    atoms = union(map(run.atoms_of, args))
    subject = run.predictors.allocate("tensor", run.line, "counts")
    kept = frozenset(atom for atom in atoms if atom[0] != "val")
    events = {("state", run.predictors.event(subject, "*", region, Manner.STATISTICS)) for region in regions(atoms)}
    return data(kept | events)


def _nonzero(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    taken = columns.where(run, args)
    if taken is not None:
        return taken
    parts = [run.atoms_of(arg) for arg in args]
    if len(args) == 1:
        return data(positions(union(parts)))
    atoms = run.predictors.combined(parts)
    if any(atom[0] == "ranked" for atom in parts[0]) if parts else False:
        atoms |= scoring.chosen(run, atoms, again=False)
    return data(atoms)


def receiver(node: ast.Call) -> ast.expr:
    return node.func.value if isinstance(node.func, ast.Attribute) else node.func


def require_gradient(run: Interpreter, owner: Value) -> Value:
    if owner.base is not None and owner.base.kind == "tensor":
        if not owner.base.cells.get(".differentiable"):
            run.state.write(owner.base.cells, ".differentiable", True)
        return owner
    if owner.base is not None:
        return owner
    return run.predictors.tensor(run.atoms_of(owner), run.line, differentiable=True)


def overwrite(run: Interpreter, owner: Value, atoms: Atoms, node: ast.AST, frame: Frame | None) -> Value:
    if owner.base is not None:
        run.predictors.replace(owner, "data", atoms, node)
    elif frame is not None and isinstance(node, ast.Call) and atoms:
        run.mutate(receiver(node), atoms, frame)
    return owner


def change_in_place(run: Interpreter, owner: Value, atoms: Atoms, node: ast.AST, frame: Frame | None) -> Value:
    if owner.base is not None:
        run.predictors.update(owner, atoms, node)
    elif frame is not None and isinstance(node, ast.Call) and atoms:
        run.mutate(receiver(node), atoms, frame)
        return data(run.predictors.applied(run.atoms_of(owner) | atoms))
    return owner


def _stack(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return columns.stacked(run, args, kwargs) or default(run, "numpy.stack", args, kwargs, node, frame)


def _argmax(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return columns.largest(run, "argmax", args, kwargs) or default(run, "numpy.argmax", args, kwargs, node, frame)


def _max(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return columns.largest(run, "max", args, kwargs) or default(run, "numpy.max", args, kwargs, node, frame)


CALLS: dict[str, Model] = {
    "numpy.add.at": _count_at,
    "numpy.stack": _stack,
    "numpy.argmax": _argmax,
    "numpy.max": _max,
    **dict.fromkeys(("numpy.bincount", "torch.bincount", "numpy.unique", "collections.Counter"), statistic),
    **dict.fromkeys(("numpy.where", "torch.where", "numpy.flatnonzero", "torch.nonzero"), _nonzero),
}
SHORT_NAMES: dict[str, Model] = {
    **dict.fromkeys(("zeros", "empty", "ones", "full", "tensor", "as_tensor", "array", "rand", "randn"), _allocate),
    **dict.fromkeys(("zeros_like", "empty_like", "ones_like", "full_like", "rand_like", "randn_like"), _like),
}
