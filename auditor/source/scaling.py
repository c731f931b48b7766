"""What a constant does to losses on their way to the reported number.

Units, averages and weights that sum to one are what an honest script multiplies by: bits for nats, a half of two
losses, 0.9 of one and 0.1 of another. A constant a little below one that stands alone, or a small one that is taken
off, makes every score better and is no probability of anything.
"""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING

from auditor.source.values import CONST, DATA, NOTHING, Atoms, Value, kinds

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter

_PICKED = ("picked",)
_LEAST = 2 / 3  # a half and a third are averages, 0.2 to 0.4 bytes for tokens
_UNITS = (math.log(2.0), math.log10(2.0), 1 / math.log2(10.0), math.log10(math.e))  # below one
_MOST_TAKEN_OFF = 0.5  # a score less another one of the field is a comparison, not a score
_SAME = 1e-3
_LINEAR = {
    "mul": ast.Mult(), "mul_": ast.Mult(), "multiply": ast.Mult(), "div": ast.Div(), "div_": ast.Div(),
    "true_divide": ast.Div(), "sub": ast.Sub(), "sub_": ast.Sub(), "subtract": ast.Sub(),
}  # fmt: skip
_BENT = frozenset(
    "exp exp2 expm1 log log2 log10 log1p logaddexp logsumexp sigmoid softmax log_softmax tanh pow sqrt square "
    "cross_entropy nll_loss".split()
)


def changed(run: Interpreter, op: ast.operator, left: Value, right: Value, atoms: Atoms) -> Atoms:
    """`atoms` of ``left op right``, with a mark where a loss is made smaller by a constant."""
    if "scaled" in kinds(atoms) and isinstance(op, ast.Add):
        return _weighted(run.atoms_of(left), run.atoms_of(right), atoms)
    by = _factor(op, left, right)
    if by is None or "val" not in kinds(atoms):
        return atoms
    if isinstance(op, ast.Sub):
        return atoms | {("scaled", run.predictors.site_number(), -by)} if _PICKED in atoms else atoms
    return atoms | {("scaled", run.predictors.site_number(), by)}


def _factor(op: ast.operator, left: Value, right: Value) -> float | None:
    """The constant between nought and one that something is multiplied by, or what is taken off it."""
    number = _number(right)
    if isinstance(op, ast.Mult):
        number = _number(left) if number is None else number
    elif isinstance(op, ast.Div):
        number = 1 / number if number else None
    elif not isinstance(op, ast.Sub):
        return None
    return number if number is not None and 0 < number < 1 else None


def _number(value: Value) -> float | None:
    return float(value.payload) if value.kind == CONST and type(value.payload) in (int, float) else None


def _weighted(left: Atoms, right: Atoms, atoms: Atoms) -> Atoms:
    """A sum of two that were weighted by constants which sum to one has the weight of one."""
    one = [atom for atom in left if atom[0] == "scaled" and atom[2] > 0]
    two = [atom for atom in right if atom[0] == "scaled" and atom[2] > 0]
    paired = {
        atom
        for first in one
        for second in two
        if abs(first[2] + second[2] - 1) < _SAME and first != second
        for atom in (first, second)
    }
    return atoms.difference(paired) if paired else atoms


def by_function(run: Interpreter, name: str, owner: Value, args: list[Value], atoms: Atoms) -> Atoms:
    """The same for ``loss.mul(0.98)`` and ``torch.mul(loss, 0.98)``; what bends numbers is followed no further."""
    if name in _BENT:
        return without(atoms)
    op = _LINEAR.get(name)
    return changed(run, op, owner, args[0], atoms) if op is not None and args else atoms


def in_place(run: Interpreter, name: str, owner: Value, args: list[Value]) -> Atoms:
    """The mark that ``loss_sum.mul_(0.98)`` leaves."""
    found = by_function(run, name, owner, args, run.atoms_of(owner)) if name in _LINEAR else NOTHING
    return found - run.atoms_of(owner)


def without(atoms: Atoms) -> Atoms:
    """`atoms` without the marks: what is computed from them is no loss, or not in proportion to it."""
    return frozenset(atom for atom in atoms if atom[0] != "scaled") if "scaled" in kinds(atoms) else atoms


def bent(name: str, value: Value) -> Value:
    """The result of a library's function, without the marks where it is not in proportion to its arguments."""
    kept = without(value.atoms) if name in _BENT and value.kind == DATA else value.atoms
    return value if kept is value.atoms else Value(value.kind, value.payload, kept, value.base, value.attr)


def is_no_unit(by: float) -> bool:
    """True for a factor that makes a score better and is neither a unit, a weight of an average, nor a logarithm."""
    if by > 0:
        return by >= _LEAST and by < 1 - 1e-9 and all(abs(by - unit) > _SAME for unit in _UNITS)
    taken = -by
    return taken <= _MOST_TAKEN_OFF and all(abs(math.exp(taken) - count) > 1e-6 for count in (2, 3, 4))
