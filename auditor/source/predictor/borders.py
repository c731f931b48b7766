"""Computed borders inside a window of tokens: ``window[:seen]`` ends where ``window[seen:]`` begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.source.predictor.model import BORDER, PICKED
from auditor.source.scan import borders
from auditor.source.values import Atom, Atoms, Tags, Value

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter
    from auditor.source.predictor import Predictors

Rounds = frozenset[tuple[int, int]]  # loop activations under way, each with the number of its iteration
MOST_BORDERS = 4  # of one iteration that are told apart


class Borders:
    """Numbers of borders, and the loops that took the windows in which they lie.

    The borders of one iteration are numbered in the order in which they come, those of the next one again from the
    first: otherwise each iteration had its own, and the regions that they mark out were without end.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[frozenset[int], int], int] = {}
        self._loops: dict[int, frozenset[int]] = {}
        self._known: dict[frozenset[int], tuple[Rounds, list[Value | str]]] = {}

    def number(self, border: Value | str, rounds: Rounds) -> int:
        """The number, from 1, of a border known by its value or by how it is written, in a window of these loops.

        0 for the borders of an iteration that has too many of them to be told apart.
        """
        loops = frozenset(act for act, _ in rounds)
        at, known = self._known.get(loops, (rounds, []))
        if at != rounds:
            known = []
        self._known[loops] = (rounds, known)
        place = next((place for place, other in enumerate(known) if _same(other, border)), len(known))
        if place == len(known):
            known.append(border)
        if place >= MOST_BORDERS:
            return 0
        key = (loops, place)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers) + 1
            self._loops[self._numbers[key]] = loops
        return self._numbers[key]

    def loops(self, number: int) -> frozenset[int]:
        """The loops that took the window of a border."""
        return self._loops[abs(number)]


def _same(one: Value | str, other: Value | str) -> bool:
    """Whether two borders are known to be one: the same value, or equal texts."""
    return one is other or (isinstance(one, str) and one == other)


def has_two_sides(run: Interpreter, border: str) -> bool:
    """Whether what ends at a border, or begins there, has a counterpart: only then the border says something."""
    return any(border in borders(tree) for tree in (run.tree, *(tree for _, tree in run.helpers.values())))


def present(run: Interpreter, tags: Tags) -> Tags:
    """Tags without the borders inside windows of loops that have ended: all their windows are one region now."""
    return frozenset(tag for tag in tags if tag[0] != BORDER or run.borders.loops(tag[1]) <= run.live.keys())


def cut(predictors: Predictors, atoms: Atoms, tags: Tags) -> Atoms:
    """Atoms of a part of losses: of those that begin at a border, what learned up to that border is not proved to have
    learned.

    The losses of a window are often computed together, and what is scored is taken out of them afterwards.
    """
    borders = {-number for act, number in tags if act == BORDER and number < 0}
    if not borders or PICKED not in atoms:
        return atoms
    return frozenset(
        ("clash", atom[1], predictors.site_number()) if _up_to(predictors, atom, borders) else atom for atom in atoms
    )


def _up_to(predictors: Predictors, atom: Atom, borders: set[int]) -> bool:
    """True for a clash with what was learned up to one of `borders` in the present iteration of the window's loops."""
    if atom[0] != "clash":
        return False
    tags = predictors.events[atom[1]].tags
    rounds = predictors.run.rounds
    return any(
        act == BORDER
        and number in borders
        and all(
            {k for other, k in tags if other == loop} == {rounds.get(loop)}
            for loop in predictors.run.borders.loops(number)
        )
        for act, number in present(predictors.run, tags)
    )
