"""What a scored prediction was made of: its own target, a choice among scores, a part of the text.

Marks (see `auditor.source.values`) that these functions add are questions: nothing here proves a violation by itself.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.source.predictor.borders import present
from auditor.source.predictor.model import SLICES
from auditor.source.scan import shifted_slices
from auditor.source.values import CONST, DATA, METHOD, OBJECT, TUPLE, Atoms, Tags, Value, kinds, regions, with_atoms

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter

_MODEL, _PICKED = ("model",), ("picked",)
_NONE: Atoms = frozenset()
# Kept through every look-up.
MARKS = frozenset("entropy subset choice peeked ahead told unnormal scaled mixed blend share stored".split())


def marks(atoms: Atoms) -> Atoms:
    """The marks among `atoms`."""
    return frozenset(atom for atom in atoms if atom[0] in MARKS)


# ---- distributions -----------------------------------------------------------------------------------------------

# What a value is known to be, kept as the payload of a value of kind DATA: probabilities or log-probabilities over the
# vocabulary, the same multiplied by something, numbers squashed one by one, what is no distribution any more, the
# sums of a table's rows, the largest of a model's numbers, several values as one more dimension, probabilities times
# their logarithms and the sum of these.
PROBABILITIES, LOG_PROBABILITIES, WEIGHTED, WEIGHTED_LOG, SQUASHED, BROKEN, ROW_TOTAL, BEST, STACKED, PLOGP, ENTROPY = (
    "probabilities", "log-probabilities", "weighted", "weighted log", "squashed", "broken", "row total", "best",
    "stacked", "p log p", "entropy",
)  # fmt: skip
NORMALIZERS = frozenset(("softmax", "log_softmax"))
SHAPES = frozenset("reshape view flatten squeeze unsqueeze float double cpu cuda to contiguous detach numpy".split())
_LOG_OF = {PROBABILITIES: LOG_PROBABILITIES, SQUASHED: SQUASHED, BROKEN: BROKEN, WEIGHTED: BROKEN}
_EXP_OF = {LOG_PROBABILITIES: PROBABILITIES, WEIGHTED_LOG: BROKEN, BROKEN: BROKEN}


def normalized(name: str, atoms: Atoms) -> Value:
    """The result of a softmax: whatever was done before, it sums to one."""
    kept = frozenset(atom for atom in atoms if atom[0] != "unnormal")
    return Value(DATA, PROBABILITIES if name == "softmax" else LOG_PROBABILITIES, kept)


def transformed(run: Interpreter, name: str, args: list[Value], atoms: Atoms) -> Value:
    """``exp``, ``log``, ``sigmoid`` and the larger of two, of what may be a distribution."""
    first = str(args[0].payload) if args[0].kind == DATA else ""
    if name in ("exp", "logsumexp") and "beside_entropy" in kinds(atoms):  # for each token it is the same number
        return Value(DATA, None, atoms | {("entropy", run.predictors.site_number())})
    if name == "log":
        return Value(DATA, _LOG_OF.get(first), atoms)
    if name == "exp":
        return Value(DATA, _EXP_OF.get(first), atoms)
    if name == "sigmoid":
        return Value(DATA, SQUASHED, atoms)
    if name == "maximum" and len(args) > 1 and first in (PROBABILITIES, LOG_PROBABILITIES) and args[1].kind == DATA:
        return Value(DATA, BROKEN if args[1].payload == first else None, atoms)
    return Value(DATA, None, atoms)


def combination(op: ast.operator, left: Value, right: Value) -> str | None:
    """What an operator makes of distributions: a sum of two needs weights, and a bonus needs a new normalisation."""
    one = left.payload if left.kind == DATA else None
    two = right.payload if right.kind == DATA else None
    if ROW_TOTAL in (one, two):
        if isinstance(op, ast.Div) and two == ROW_TOTAL:
            return PROBABILITIES  # counts by their sum
        constant = right if one == ROW_TOTAL else left
        return ROW_TOTAL if isinstance(op, ast.Add) and constant.kind == CONST else None
    if isinstance(op, ast.Mult):
        if {one, two} == {PROBABILITIES, LOG_PROBABILITIES}:
            return PLOGP
        kind = one or two
        return {PROBABILITIES: WEIGHTED, LOG_PROBABILITIES: WEIGHTED_LOG}.get(kind or "", kind)
    if isinstance(op, ast.Add | ast.Sub):
        constant = right if one else left
        if WEIGHTED_LOG in (one, two) and one and two:
            return BROKEN
        if one == two == PROBABILITIES:
            return BROKEN
        if LOG_PROBABILITIES in (one, two) and constant.kind == CONST and constant.payload != 0:
            return BROKEN
        return None
    return None


def holds_best(value: Value) -> bool:
    """True for the largest of a model's numbers, ``logits.topk(k).values``, and what was put together with them."""
    if value.kind == METHOD:
        return value.payload[1] == "values" and holds_best(value.payload[0])
    return value.kind == DATA and value.payload == BEST


def entropies_among(run: Interpreter, members: list[Value] | None) -> Atoms:
    """A mark for losses of tokens that are put beside the entropy of a prediction, which knows of no token."""
    known = [member for member in members or () if member.kind == DATA]
    if any(member.payload == ENTROPY for member in known) and any(_PICKED in member.atoms for member in known):
        return frozenset((("beside_entropy", run.predictors.site_number()),))
    return _NONE


def over_a_part(run: Interpreter, name: str, value: Value, atoms: Atoms) -> Atoms:
    """`atoms`, with a mark where a normaliser runs over the best tokens alone."""
    if name in ("logsumexp", "softmax", "log_softmax") and holds_best(value):
        return atoms | {("unnormal", run.predictors.site_number())}
    return atoms


def graded(run: Interpreter, name: str, prediction: Value, atoms: Atoms) -> Atoms:
    """`atoms` of a score, with a mark where what is scored is no distribution any more."""
    if name == "cross_entropy":
        return frozenset(atom for atom in atoms if atom[0] != "unnormal")  # it normalizes by itself
    if prediction.kind == DATA and prediction.payload in (BROKEN, SQUASHED):
        return atoms | {("unnormal", run.predictors.site_number())}
    return atoms


# ---- the tokens to be predicted ----------------------------------------------------------------------------------


def shifted(node: ast.AST, index: Value) -> bool:
    """True for ``tokens[1:]``, ``tokens[:, 1:]``, ``tokens[start + 1 : end + 1]``: the next token at each place."""
    parts = index.payload if index.kind == TUPLE else (index,)
    for part in parts:
        cut = part.payload if part.kind == CONST and isinstance(part.payload, slice) else slice(None)
        if cut.start == 1 and cut.step in (None, 1):
            return True
    written = node.slice if isinstance(node, ast.Subscript) else None
    start = written.lower if isinstance(written, ast.Slice) else written
    return isinstance(start, ast.BinOp) and isinstance(start.op, ast.Add) and _is_one(start.left, start.right)


def context(run: Interpreter, node: ast.AST) -> bool:
    """True for ``tokens[:-1]``, and for ``tokens[start:end]`` where ``tokens[start + 1 : end + 1]`` is taken too."""
    if not isinstance(node, ast.Subscript):
        return False
    written = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
    if not isinstance(written, ast.Slice) or written.upper is None or written.step is not None:
        return False
    if written.lower is None:
        return ast.unparse(written.upper) == "-1"
    scope = run.functions[-1].node if run.functions else run.tree
    return (ast.dump(node.value), ast.dump(written.lower), ast.dump(written.upper)) in shifted_slices(scope)


def next_positions(node: ast.AST) -> bool:
    """True for ``arange(start + 1, end + 1)``: the places of the next tokens."""
    ends = node.args[:2] if isinstance(node, ast.Call) else []
    return len(ends) == 2 and all(
        isinstance(item, ast.BinOp) and isinstance(item.op, ast.Add) and _is_one(item.left, item.right) for item in ends
    )


def _is_one(*operands: ast.expr) -> bool:
    return any(isinstance(item, ast.Constant) and item.value == 1 for item in operands)


def targets(atoms: Atoms) -> Atoms:
    """`atoms` of validation tokens that are the ones to be predicted."""
    return atoms | {("target", region) for region in regions(atoms)}


_POOLING = frozenset("mean sum var std amax amin".split())


def pooled(run: Interpreter, name: str, value: Value, own: Atoms, dims: Value | None) -> Atoms:
    """A mark for numbers averaged over the positions of a window: each of them then knows of all its tokens.

    Of the tokens to be predicted, or of a model's numbers before they are scored. An average over several models,
    stacked, is none; what counts say is followed as learning.
    """
    if name not in _POOLING or _PICKED in own or "val" not in kinds(own) or not _over_positions(dims):
        return _NONE
    answers = "target" in kinds(own)
    if answers == (_MODEL in own):
        return _NONE  # a loss written out by hand
    if value.payload == STACKED or run.predictors.counted(own):
        return _NONE
    site = run.predictors.site_number()
    return frozenset(("pooled", region, site, answers) for region in regions(own))


def _over_positions(dims: Value | None) -> bool:
    if dims is None:
        return False
    listed = dims.payload if dims.kind == TUPLE else (dims,)
    return any(item.kind == CONST and type(item.payload) is int and item.payload in (0, -2) for item in listed)


def _taken_together(run: Interpreter, prediction: Atoms, asked: list[Tags]) -> Atoms:
    """A mark where a prediction is made of an average over the window that it is scored on."""
    for atom in sorted((atom for atom in prediction if atom[0] == "pooled"), key=str):
        region = atom[1]
        if any(tag[0] in run.live for tag in region) and any(one and (region <= one or one <= region) for one in asked):
            return frozenset((("peeked", atom[2], "answers" if atom[3] else "window"),))
    return _NONE


def peeked(run: Interpreter, prediction: Atoms, target: Atoms) -> Atoms:
    """A mark where what is scored was made of the very tokens that it is scored on."""
    if _MODEL not in prediction:
        return _NONE
    asked = [present(run, atom[1]) for atom in target if atom[0] == "target"]
    if "pooled" in kinds(prediction) and (found := _taken_together(run, prediction, asked)):
        return found
    known = [present(run, atom[1]) for atom in prediction if atom[0] == "target"]
    live = any(tag[0] in run.live for one in asked for tag in one)
    if live and any(atom[0] == "val" and not any(tag[0] in run.live or tag[0] in SLICES for tag in atom[1])
                    for atom in prediction):  # fmt: skip
        return frozenset((("peeked", run.predictors.site_number(), "whole"),))
    if any(one == two or (one and one < two) or (two and two < one) for one in asked for two in known):
        return frozenset((("peeked", run.predictors.site_number()),))
    return _NONE


# ---- choices among scores, parts of the text ---------------------------------------------------------------------


def chosen(run: Interpreter, atoms: Atoms, *, again: bool | None = None) -> Atoms:
    """A mark where one of several losses is taken for what it is; `again`: they are of passes over the same tokens.

    Without `again`: losses of a part of the text that a live loop takes are no passes.
    """
    if _PICKED not in atoms:
        return _NONE
    if again is None:
        again = not any(tag[0] in run.live for region in regions(atoms) for tag in region)
    return frozenset((("choice", run.predictors.site_number(), again, False),))


def part_of_the_text(run: Interpreter, atoms: Atoms, node: ast.AST) -> Atoms:
    """A mark for a literal part of the places that cover the text: ``starts[:1000]``, ``starts[::4]``."""
    written = node.slice if isinstance(node, ast.Subscript) else None
    if not isinstance(written, ast.Slice) or not any(atom[0] in ("measure", "val", "pos") for atom in atoms):
        return _NONE
    literal = [item.value for item in (written.upper, written.step) if isinstance(item, ast.Constant)]
    if any(type(value) is int and value > 1 for value in literal):
        return frozenset((("subset", run.predictors.site_number()),))
    return _NONE


def sample(run: Interpreter, name: str, args: list[Value], atoms: Atoms) -> Atoms:
    """A mark for ``random.sample(starts, 20)`` and its like."""
    drawn = name.rsplit(".", 1)[-1] in ("sample", "choices", "choice") and name.split(".", 1)[0] in ("random", "numpy")
    fixed = len(args) > 1 and args[1].kind == CONST and type(args[1].payload) is int
    if drawn and fixed and any(atom[0] in ("measure", "val", "pos") for atom in atoms):
        return frozenset((("subset", run.predictors.site_number()),))
    return _NONE


def cut_off(run: Interpreter, name: str, own: Atoms, args: list[Value], kwargs: dict[str, Value]) -> Atoms:
    """A mark for a loss that is bounded: ``nll.clamp(max=6.0)``; a probability bounded by one is none."""
    if name not in ("clamp", "clip", "clamp_max", "clamp_min") or _PICKED not in own:
        return _NONE
    high = kwargs.get("max", args[1] if len(args) > 1 else args[0] if args and name == "clamp_max" else None)
    low = kwargs.get("min", args[0] if args and name != "clamp_max" else None)
    bounded = high is not None and high.kind == CONST and isinstance(high.payload, int | float) and high.payload > 1
    floored = low is not None and low.kind == CONST and type(low.payload) in (int, float) and low.payload == 0
    if bounded:
        return frozenset((("unnormal", run.predictors.site_number()),))
    if floored and high is None:
        return frozenset((("choice", run.predictors.site_number(), False, False),))
    return _NONE


def mark_members(run: Interpreter, value: Value) -> None:
    """A list of losses was sorted: which of them is at a place depends on all of them."""
    if value.kind != OBJECT or value.payload.kind != "list":
        return
    cells = value.payload.cells
    atoms = chosen(run, run.atoms_of(value))
    if atoms:
        for key in (".items", ".rest"):
            old = cells.get(key)
            if isinstance(old, tuple):
                run.state.write(cells, key, tuple(with_atoms(item, atoms) for item in old))
            elif isinstance(old, Value):
                run.state.write(cells, key, with_atoms(old, atoms))
