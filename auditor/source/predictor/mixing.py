"""Counts that are looked up for the tokens to be predicted, and what mixes them into a prediction.

What proves that a mixture knows its token (C1) is a key in whose hash that token was seen to go, or a ratio of two
counts under different hashes: the count of a context with its token by that of the context. That tables are asked under
a hash of the context is no proof. A guess that is compared with the token, an entry of a row that stands for the whole
vocabulary, and a measure of trust all begin with such a look-up.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.source.predictor.model import HASHED, MODEL, PICKED
from auditor.source.scan import text_of_key
from auditor.source.values import NOTHING, Atom, Atoms, Tags, Value, kinds, union

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter
    from auditor.source.predictor import Predictors

RATIO, ENTRY = ("ratio",), ("of_row",)
MOVED: Atom = ("moved",)
# What is known of a blend, see auditor.source.values.
KEY, COUNT, WHOLE, BYTES, OPEN = "key", "count", "whole", "bytes", "open"
MOVING = frozenset("cat concat concatenate hstack append pad roll".split())
_ADDING = (ast.Add, ast.Sub, ast.Div)  # with these a mixture is made; a product may be a weight


@dataclass(frozen=True, slots=True)
class LookUp:
    """Where a count is looked up under tokens, the code around, how the key is written, and whether it is a hash."""

    place: int
    scope: ast.AST
    key: str
    hashed: bool


# ---- look-ups ----------------------------------------------------------------------------------------------------


def unasked(atoms: Atoms) -> Atoms:
    """`atoms` of what is kept in a table, or selects in one: what it was once asked for is forgotten."""
    if "found" not in kinds(atoms):
        return atoms
    return frozenset(atom for atom in atoms if atom[0] != "found" and atom not in (RATIO, ENTRY))


def asked(run: Interpreter, table: Value, found: Atoms, key: Atoms, node: ast.AST) -> Atoms:
    """A mark for a count `found` in `table` under `key`, if the key may contain the token to be predicted.

    It is known to where that token is recognised, or where the table is a row that was looked up under other tokens;
    and known not to where all of the key's tokens stand before it.
    """
    predictors = run.predictors
    if not predictors.counted(found) or "val" not in kinds(key):
        return NOTHING
    if predictors.counted(key):
        return NOTHING  # what counts say of the context, such as the token seen most often after it, is no token
    target = MOVED not in key and any(atom[0] == "target" and _is_present(run, atom[1]) for atom in key)
    if not target and "context" in kinds(key) and "entry" not in kinds(key):
        return NOTHING
    keyed = target and any(atom[0] == "keyed" and _is_present(run, atom[1]) for atom in key)
    of_row = not kinds(table.atoms).isdisjoint(("found", "row")) and _scope(run) not in predictors.guessing
    look_up = LookUp(predictors.site_number(), _scope(run), text_of_key(node), HASHED in key)
    number = predictors.look_ups.setdefault(look_up, len(predictors.look_ups))
    return frozenset((("found", number, target or of_row, keyed),))


def hashed(atoms: Atoms) -> Atoms:
    """`atoms` of a hash of tokens: which of those to be predicted went into it is kept."""
    return atoms | {HASHED} | {("keyed", atom[1]) for atom in atoms if atom[0] == "target"}


def moved(run: Interpreter, name: str, args: list[Value], atoms: Atoms) -> Atoms:
    """A mark for tokens behind something else, ``concatenate([zeros, tokens])``: their places are not the text's.

    `name` is one of `MOVING`.
    """
    if "val" not in kinds(atoms):
        return NOTHING
    if name not in ("pad", "roll"):
        members = args if name == "append" else run.elements(args[0], limit=64)
        if not members or "val" in kinds(run.atoms_of(members[0])):
            return NOTHING
    return frozenset((MOVED,))


def _is_present(run: Interpreter, region: Tags) -> bool:
    """False for tokens of earlier iterations of the loops under way: those were predicted before."""
    return all(run.rounds.get(act, k) <= k for act, k in region if act in run.live)


def _scope(run: Interpreter) -> ast.AST:
    return run.functions[-1].node if run.functions else run.tree


def note_guess(run: Interpreter, one: Atoms, two: Atoms) -> None:
    """What counts point at is compared with tokens: a guess, by code that may well be a mixture of distributions."""
    for guess, tokens in ((one, two), (two, one)):
        if "val" in kinds(tokens) and not run.predictors.counted(tokens) and run.predictors.counted(guess):
            run.predictors.guessing.add(_scope(run))


def note_gate(run: Interpreter, tested: Atoms) -> None:
    """How often a token was seen decides something: what is done for it is not done for the others."""
    if "found" in kinds(tested) and any(atom[0] == "found" and atom[2] for atom in tested):
        run.predictors.gating.add(_scope(run))


# ---- mixtures ----------------------------------------------------------------------------------------------------


def mixture(predictors: Predictors, parts: list[Atoms], op: ast.operator | None) -> Atoms:
    """A mark where a token's probability, one of `parts`, meets something that was looked up under tokens."""
    picked = [part for part in parts if PICKED in part]
    if not picked or len(parts) < 2:
        return NOTHING
    again = all(predictors.counted(part) for part in picked)  # it was mixed with counts before
    counts = [part for part in parts if PICKED not in part and "found" in kinds(part) and predictors.counted(part)]
    if again:
        counts = [part for part in counts if HASHED in part and (RATIO in part or _knows(part))]
    if counts:
        return _blend(predictors, picked, counts, op)
    if any(HASHED in part and MODEL not in part and "val" in kinds(part) for part in parts):
        return frozenset((("mixed", predictors.site_number()),))
    return NOTHING


def _blend(predictors: Predictors, picked: list[Atoms], counts: list[Atoms], op: ast.operator | None) -> Atoms:
    found = [atom for part in counts for atom in part if atom[0] == "found"]
    ratio = isinstance(op, _ADDING) and any(RATIO in part for part in counts)
    if isinstance(op, ast.Div):  # smoothed: the probability went into what the context's count divides
        ratio = ratio or any(_is_ratio(predictors, part, union(counts)) for part in picked)
        found += [atom for part in picked for atom in part if ratio and atom[0] == "found"]
    place = predictors.site_number()
    predictors.blended.setdefault(place, set()).update(found)
    if ratio or any(keyed for *_, keyed in found):
        return frozenset((("blend", place, KEY),))
    if any("spread" in kinds(part) for part in picked):
        return frozenset((("blend", place, BYTES),))
    if not any(known for _, _, known, _ in found):
        return frozenset((("blend", place, OPEN),))
    whole = all(ENTRY in part for part in counts if _knows(part)) and _scope(predictors.run) not in predictors.gating
    return frozenset((("blend", place, WHOLE if whole else COUNT),))


def divided(predictors: Predictors, atoms: Atoms, above: Atoms, below: Atoms) -> Atoms:
    """`atoms` of a quotient, with what it is: the count of a context with its token by that of the context (RATIO), or
    an entry of a row, or a row, by the row's sum (ENTRY), which may be one of a distribution over the vocabulary."""
    if _is_ratio(predictors, above, below):
        return atoms if PICKED in above else atoms | {RATIO}
    if not predictors.counted(above) or (_numbers(below) and _numbers(below) <= _numbers(above)):
        return atoms  # by itself and a constant
    if PICKED not in above:
        return atoms | {ENTRY}
    if _scope(predictors.run) in predictors.gating:
        return atoms
    return frozenset((*atom[:2], WHOLE) if atom[0] == "blend" and atom[2] == COUNT else atom for atom in atoms)


def spread(predictors: Predictors, op: ast.operator, atoms: Atoms, one: Atoms, by: Atoms) -> Atoms:
    """`atoms`, with a mark where a token's probability is divided among its bytes: ``log_p / n``, ``p ** (1 / n)``."""
    if not isinstance(op, ast.Div | ast.Pow) or PICKED not in one or PICKED in by or predictors.counted(by):
        return atoms
    by_token = "val" in kinds(by) or (isinstance(op, ast.Pow) and "measure" in kinds(by))
    return atoms | {("spread", predictors.site_number())} if by_token else atoms


def _numbers(atoms: Atoms) -> frozenset[int]:
    return frozenset(atom[1] for atom in atoms if atom[0] == "found")


def _knows(atoms: Atoms) -> bool:
    """True for what was looked up for the token to be predicted."""
    return any(atom[0] == "found" and atom[2] for atom in atoms)


def _is_ratio(predictors: Predictors, above: Atoms, below: Atoms) -> bool:
    """True for counts under different hashes, looked up by one function that compares no guess with tokens."""
    for one in _look_ups(predictors, above):
        for two in _look_ups(predictors, below):
            if one.hashed and two.hashed and one.key != two.key and one.scope is two.scope:
                return one.scope not in predictors.guessing
    return False


def _look_ups(predictors: Predictors, atoms: Atoms) -> list[LookUp]:
    numbers = _numbers(atoms)
    return [look_up for look_up, number in predictors.look_ups.items() if number in numbers] if numbers else []
