"""A call without a model: made of all its arguments, and it may change any of them."""

from __future__ import annotations

import ast
import builtins
import sys
from typing import TYPE_CHECKING

from auditor.source import scaling, scoring
from auditor.source.library.callbacks import CALLED_BACK, run_callbacks, unseen_callee
from auditor.source.library.containers import weaken
from auditor.source.library.sequences import any_element
from auditor.source.library.shard_paths import TRAIN_PATH, VAL_PATH, through_path
from auditor.source.library.signatures import Args, Kwargs
from auditor.source.library.views import VIEWS
from auditor.source.predictor import mixing
from auditor.source.scan import is_in_place
from auditor.source.values import (
    DATA,
    NOTHING,
    OBJECT,
    TUPLE,
    UNKNOWN,
    Atoms,
    Frame,
    Value,
    data,
    kinds,
    union,
    with_atoms,
)

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def default(
    run: Interpreter, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None = None
) -> Value:
    """A call without a model."""
    parts = operands(run, [*args, *kwargs.values()])
    atoms = run.predictors.combined(parts)
    if name.partition(".")[0] not in _KNOWN_LIBRARIES:
        unseen_callee(run, name, [*args, *kwargs.values()], parts)
    if VAL_PATH in atoms or TRAIN_PATH in atoms:
        atoms = through_path(run, name, atoms)
    run_callbacks(run, args, kwargs, node)
    if name.startswith(CALLED_BACK):
        for value in (*args, *kwargs.values()):
            run.hand_over(value)
    out = kwargs.get("out")
    if out is not None and out.base is not None:
        run.predictors.update(out, atoms, node)
    short = name.rsplit(".", 1)[-1]
    if short in ("listdir", "scandir", "walk") and args and "fineweb" in str(args[0].payload):
        return data(atoms | {VAL_PATH, TRAIN_PATH, ("doubt",)})  # every file of the data's folder, or some of them
    _in_place_call(run, name, short, args, node)
    if node is run.dropped and not name.startswith(_WITHOUT_EFFECT) and isinstance(node, ast.Call):
        side_effect(run, [*args, *kwargs.values()], [*node.args, *(item.value for item in node.keywords)], node, frame)
    if short == "arange" and scoring.next_positions(node):
        atoms = atoms | {("next",)}
    if short in mixing.MOVING and args:
        atoms |= mixing.moved(run, short, args, atoms)
    if short in ("frombuffer", "fromfile", "memmap", "from_numpy") and ("file",) in atoms:
        atoms = atoms | {("array",)}
    atoms |= scoring.sample(run, name, args, atoms)
    atoms = scaling.by_function(run, short, args[0], args[1:], atoms) if args else atoms
    if short in ("equal", "array_equal", "isin", "eq") and len(parts) == 2 and run.predictors.stored_answers(*parts):
        run.predictors.answered.append(run.predictors.site_number())
    if args:
        dims = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis"))
        atoms |= scoring.pooled(run, short, args[0], parts[0], dims)
    if short in RANKING:
        atoms |= scoring.chosen(run, atoms if short != "maximum" else frozenset.intersection(*parts[:2] or [atoms]))
    if short in PICKS:
        if len(parts) > 1:
            atoms |= scoring.peeked(run, parts[0], union(parts[1:]))
            atoms |= entry_of_row(run, args[0], atoms, union(parts[1:]), node)
        atoms = scoring.graded(run, short, args[0] if args else UNKNOWN, atoms)
        if short not in LOOK_UPS or not run.predictors.counted(union(parts[1:])):
            atoms = run.predictors.picked(atoms)
    elif (
        short in ("cat", "concat", "stack", "hstack")
        and args
        and any(map(scoring.holds_best, run.elements(args[0], limit=64) or []))
    ) or (short == "topk" and ("model",) in atoms):
        return Value(DATA, scoring.BEST, atoms)
    elif short in VIEWS and args and args[0].base is not None and name.partition(".")[0] in ("torch", "numpy"):
        return data(atoms, args[0].base, args[0].attr)
    elif short in ("stack", "cat", "concat") and args:
        atoms |= scoring.entropies_among(run, run.elements(args[0], limit=64))
        return Value(DATA, scoring.STACKED if short == "stack" else None, atoms)
    elif short in scoring.NORMALIZERS:
        part = scoring.over_a_part(run, short, args[0], NOTHING) if args else NOTHING
        return with_atoms(scoring.normalized(short, atoms), part)
    elif short in ("exp", "log", "sigmoid", "maximum", "logsumexp") and args:
        return scoring.transformed(run, short, args, atoms)
    elif short in _HASHES and "val" in kinds(atoms):
        atoms = mixing.hashed(atoms)
    return data(atoms)


_KNOWN_LIBRARIES = (
    frozenset(sys.stdlib_module_names)
    | frozenset(dir(builtins))
    | frozenset(
        "torch numpy np scipy sklearn pandas tqdm einops triton flash_attn flash_attn_interface sentencepiece "
        "tokenizers transformers numba identity namedtuple slice".split()
    )
)


def _in_place_call(run: Interpreter, name: str, short: str, args: Args, node: ast.AST) -> None:
    """Functions that change an argument, such as ``torch._foreach_add_``, ``operator.isub``, ``numpy.copyto``."""
    if len(args) < 2:
        return
    target, rest = args[0], args[1:]
    if short == "vector_to_parameters":
        target, rest = args[1], args[:1]
    elif not (
        is_in_place(short)
        or (
            name.startswith("operator.i") and short not in ("index", "invert", "is_", "is_not", "indexOf", "itemgetter")
        )
        or short in ("copyto", "copy_to")
    ):
        return
    found = run.element(target) if target.kind in (OBJECT, TUPLE) else target
    if found.base is not None:
        run.predictors.update(found, union(map(run.atoms_of, rest)), node)


_WITHOUT_EFFECT = ("torch.cuda.", "torch.distributed.", "torch.backends.", "gc.", "logging.", "warnings.", "wandb.",
                   "time.", "os.", "sys.", "print", "random.seed", "assert")  # fmt: skip
_CARRIED = frozenset("val state under clash train file picked path".split())


def side_effect(run: Interpreter, values: Args, nodes: list[ast.expr], node: ast.AST, frame: Frame | None) -> None:
    """A call without a model whose result is dropped can only matter by what it changes: any of its arguments may now
    be made of the others."""
    parts = [frozenset(atom for atom in run.atoms_of(value) if atom[0] in _CARRIED) for value in values]
    for index, value in enumerate(values):
        others = union((*parts[:index], *parts[index + 1 :])) - parts[index]
        if not others:
            continue
        target = run.element(value) if value.kind == TUPLE else value
        if target.kind == OBJECT and target.payload.kind in ("list", "dict"):
            inner = any_element(run, target) if target.payload.kind == "list" else target
            if inner.base is not None:
                run.predictors.may_change(inner, others)
            else:
                weaken(run, target.payload, others)
        elif target.base is not None or (target.kind == OBJECT and target.payload.kind in ("tensor", "module")):
            run.predictors.may_change(target, others)
        elif target.kind == DATA and frame is not None and index < len(nodes):
            run.mutate(nodes[index], others, frame)


RANKING = frozenset(
    "min max amin amax topk sort kthvalue quantile argmin argmax median maximum fmax".split()
)  # what takes some of several numbers by their size
PICKS = frozenset(("cross_entropy", "nll_loss", "gather", "take_along_axis", "take_along_dim", "index_select"))
LOOK_UPS = PICKS - {"cross_entropy", "nll_loss"}  # those that look up what they are told to
_HASHES = frozenset(("bitwise_xor", "bitwise_and", "mod", "remainder", "hash", "crc32", "blake2b", "md5", "fmod"))


def operands(run: Interpreter, values: Args) -> list[Atoms]:
    """What each argument is made of; the members of a list or tuple count as arguments of their own."""
    parts: list[Atoms] = []
    for value in values:
        listed = value.kind == TUPLE or (value.kind == OBJECT and value.payload.kind == "list")
        members = run.elements(value) if listed else None
        parts.extend(map(run.atoms_of, members) if members else [run.atoms_of(value)])
    return parts


def entry_of_row(run: Interpreter, row: Value, found: Atoms, key: Atoms, node: ast.AST) -> Atoms:
    """Of a distribution over the vocabulary any entry may be taken; of other counts it is asked for."""
    if row.kind == DATA and row.payload in (scoring.PROBABILITIES, scoring.LOG_PROBABILITIES):
        return NOTHING
    return mixing.asked(run, row, found, key, node) if ("model",) not in found else NOTHING
