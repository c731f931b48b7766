"""Computed borders inside a window of tokens: ``window[:seen]`` ends where ``window[seen:]`` begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.source.predictor.model import BORDER
from auditor.source.values import Tags, Value

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


class Borders:
    """Numbers of borders, and the loops that took the windows in which they lie."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int | str, frozenset[int]], int] = {}
        self._loops: dict[int, frozenset[int]] = {}
        self._known: list[Value | str] = []  # kept, so that no other value gets the identity of one of them

    def number(self, border: Value | str, loops: frozenset[int]) -> int:
        """The number, from 1, of a border known by its value or by how it is written, in a window of these loops."""
        key = (border if isinstance(border, str) else id(border), loops)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers) + 1
            self._loops[self._numbers[key]] = loops
            self._known.append(border)
        return self._numbers[key]

    def loops(self, number: int) -> frozenset[int]:
        """The loops that took the window of a border."""
        return self._loops[abs(number)]


def present(run: Interpreter, tags: Tags) -> Tags:
    """Tags without the borders inside windows of loops that have ended: all their windows are one region now."""
    return frozenset(tag for tag in tags if tag[0] != BORDER or run.borders.loops(tag[1]) <= run.live.keys())
