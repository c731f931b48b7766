"""States that a model carries on from what it was given before: their tokens are context, not predicted again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from auditor.source.predictor.model import MODEL
from auditor.source.values import Atoms, Tags, regions

if TYPE_CHECKING:
    from auditor.source.predictor import Predictors


def earlier_tokens(predictors: Predictors, given: list[Atoms]) -> Atoms:
    """Earlier tokens of a state that a model carries on, among those it is `given`: it does not predict them again.

    A state is what a model computed in an earlier iteration of a live loop, given beside tokens of the present one.
    """
    rounds = predictors.run.rounds
    now = {tag for part in given if MODEL not in part for region in regions(part) for tag in region}
    loops = {act for act, k in now if act in predictors.run.live and k and k == rounds.get(act)}
    return frozenset(
        atom
        for part in given
        if loops and MODEL in part
        for atom in part
        if atom[0] == "val" and any(_newest(atom[1], act) < rounds[act] for act in loops)
    )


def _newest(region: Tags, act: int) -> float:
    """The last iteration of a loop that took tokens of a region; none is later than all."""
    return max((k for other, k in region if other == act), default=math.inf)


def passed_over(predictors: Predictors, atoms: Atoms, context: Atoms) -> Atoms:
    """The learning among `atoms` that took up tokens of a context: should these be scored after all, they meet."""
    return frozenset(
        ("resumed", atom[1])
        for atom in atoms
        if atom[0] == "state"
        and any(predictors.overlaps(region, predictors.events[atom[1]].tags) for region in regions(context))
    )
