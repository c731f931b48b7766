"""Numbers that remember which losses they were made of, until they are printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .shadow import Losses

MOST_TEXTS = 256
MOST_LINES = 4


class Formatted:
    """Texts of followed numbers, newest last, so that a printed line finds its losses again.

    A text is good for a few printed lines: an equal one that comes later may be another number's.
    """

    def __init__(self) -> None:
        self._texts: dict[str, tuple[int, Losses]] = {}
        self._lines = 0
        self.compared: Callable[[Losses, Losses], None] | None = None
        self.converted: Callable[[float, Losses], None] | None = None
        self.active = False

    def note(self, text: str, losses: Losses) -> None:
        """`text` was made of a number that is made of `losses`."""
        digits = text.strip()
        if sum(character.isdigit() for character in digits) >= 3:
            self._texts.pop(digits, None)
            self._texts[digits] = (self._lines, losses)
            if len(self._texts) > MOST_TEXTS:
                del self._texts[next(iter(self._texts))]

    def find(self, line: str) -> list[tuple[str, Losses]]:
        """Followed numbers whose text is in the line that is printed now."""
        found = [(text, losses) for text, (_, losses) in self._texts.items() if text in line]
        self._lines += 1
        for text, (made, _) in list(self._texts.items()):
            if self._lines - made > MOST_LINES:
                del self._texts[text]
        return found

    def start(self, compared: Callable[[Losses, Losses], None], converted: Callable[[float, Losses], None]) -> None:
        """Forget everything and follow numbers again.

        `compared` is told of each comparison of two sums, `converted` of each that becomes a plain float.
        """
        self.converted = converted
        self._texts.clear()
        self._lines = 0
        self.compared = compared
        self.active = True


FORMATTED = Formatted()


class LossFloat(float):
    """A float made of per-token losses. Sums and multiples of it are, too; everything else gives plain floats."""

    __slots__ = ("losses",)
    losses: Losses

    def __new__(cls, value: float, losses: Losses) -> LossFloat:
        self = super().__new__(cls, value)
        self.losses = losses
        return self

    def _with(self, value: Any, other: Any) -> Any:
        if type(value) is not float or not FORMATTED.active:
            return value
        if isinstance(other, LossFloat):
            return LossFloat(value, self.losses.join(other.losses))
        return LossFloat(value, self.losses.with_unknown() if other else self.losses)

    def __add__(self, other: Any) -> Any:
        return self._with(float.__add__(self, other), other)

    def __radd__(self, other: Any) -> Any:
        return self._with(float.__radd__(self, other), other)

    def __sub__(self, other: Any) -> Any:
        return self._with(float.__sub__(self, other), other)

    def __rsub__(self, other: Any) -> Any:
        return self._with(float.__rsub__(self, other), other)

    def __mul__(self, other: Any) -> Any:
        return self._with(float.__mul__(self, other), None)

    def __rmul__(self, other: Any) -> Any:
        return self._with(float.__rmul__(self, other), None)

    def __truediv__(self, other: Any) -> Any:
        return self._with(float.__truediv__(self, other), None)

    def __round__(self, digits: int | None = None) -> Any:
        return self._with(float.__round__(self, digits), None)

    def __neg__(self) -> Any:
        return self._with(float.__neg__(self), None)

    def _compared(self, other: Any) -> None:
        if isinstance(other, LossFloat) and other.losses is not self.losses and FORMATTED.compared is not None:
            FORMATTED.compared(self.losses, other.losses)

    def __lt__(self, other: Any) -> Any:
        self._compared(other)
        return float.__lt__(self, other)

    def __gt__(self, other: Any) -> Any:
        self._compared(other)
        return float.__gt__(self, other)

    def __format__(self, spec: str) -> str:
        text = float.__format__(self, spec)
        FORMATTED.note(text, self.losses)
        return text

    def __repr__(self) -> str:
        text = float.__repr__(self)
        FORMATTED.note(text, self.losses)
        return text

    __str__ = __repr__

    def __float__(self) -> float:
        """A plain float, which is no longer followed: its value is remembered instead."""
        value = float.__float__(self)
        if FORMATTED.active and FORMATTED.converted is not None:
            FORMATTED.converted(value, self.losses)
        return value

    __hash__ = float.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return float, (float.__float__(self),)
