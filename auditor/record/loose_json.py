"""JSON as people write it: comments around it, trailing or missing commas, NaN, a cut end.

Reads what can be read, remembers the line of every value, and says what was wrong. Nothing is evaluated; size, depth
and the number of values are bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_CHARACTERS = 2 * 1024 * 1024
MAX_DEPTH = 40
MAX_VALUES = 100_000

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SPACE = re.compile(r"(?:\s|//[^\n]*\n)*")
_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*\.?\d*(?:[eE][-+]?\d{1,4})?|\.\d+|NaN|nan|Infinity|inf)")
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_WORD = re.compile(r"[A-Za-z]{1,10}")


@dataclass(slots=True)
class LooseDocument:
    """`fields` maps dotted paths to scalars, `lines` every dotted path to its line; `problems` is what was wrong."""

    value: object = None
    fields: dict[str, object] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class _EndOfReadingError(Exception):
    """Nothing more can be read; what has been read stays."""


def read_loose_json(text: str) -> LooseDocument:
    """The outermost object or array of `text`; `value` is None when there is none."""
    document = LooseDocument()
    if len(text) > MAX_CHARACTERS:
        document.problems.append(f"only the first {MAX_CHARACTERS:,} characters were read")
        text = text[:MAX_CHARACTERS]
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0:
        document.problems.append("not JSON (no opening brace)")
        return document
    reader = _Reader(text, start, document)
    if text[:start].strip():
        reader.complain("text before the opening brace", 0)
    document.value = reader.document()
    return document


class _Reader:
    def __init__(self, text: str, position: int, document: LooseDocument) -> None:
        self.text = text
        self.position = position
        self.out = document
        self.values = 0
        self._line, self._line_at = 1, 0

    def document(self) -> object:
        root: object = {} if self.text[self.position] == "{" else []
        try:
            self._container(root, "", 0)
        except _EndOfReadingError:
            return root
        if self.text[self.position :].strip():
            self.complain("text after the closing brace", self.position)
        return root

    def line(self, position: int) -> int:
        """Line of an offset; offsets come in rising order, so that counting stays linear."""
        if position >= self._line_at:
            self._line += self.text.count("\n", self._line_at, position)
            self._line_at = position
            return self._line
        return self.text.count("\n", 0, position) + 1

    def complain(self, what: str, position: int) -> None:
        if len(self.out.problems) < 20:
            self.out.problems.append(f"{what} on line {self.line(position)}")

    def _space(self) -> str:
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return self.text[self.position : self.position + 1]

    def _container(self, target: object, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.complain("nested too deeply", self.position)
            raise _EndOfReadingError
        closing = "}" if isinstance(target, dict) else "]"
        self.position += 1
        comma = True
        while True:
            character = self._space()
            if character == closing:
                if comma and target:
                    self.complain("trailing comma", self.position)
                self.position += 1
                return
            if character == "":
                self.complain("ends before the closing brace", len(self.text))
                raise _EndOfReadingError
            if character == ",":
                if comma:
                    self.complain("superfluous comma", self.position)
                comma = True
                self.position += 1
                continue
            if not comma:
                self.complain("missing comma", self.position)
            comma = False
            self._member(target, path, depth)

    def _member(self, target: object, path: str, depth: int) -> None:
        if isinstance(target, dict):
            key = self._key()
            inner = f"{path}.{key}" if path else key
            if key in target:
                self.complain(f"the key {key[:60]!r} stands twice", self.position)
            target[key] = self._value(inner, depth, lambda value: target.__setitem__(key, value))
        elif isinstance(target, list):
            inner = f"{path}.{len(target)}" if path else str(len(target))
            holder: list[object] = target
            index = len(holder)
            holder.append(None)
            holder[index] = self._value(inner, depth, lambda value: holder.__setitem__(index, value))

    def _key(self) -> str:
        match = _STRING.match(self.text, self.position)
        if match:
            self.position = match.end()
            key = _unquote(match[0])
        else:
            bare = re.compile(r"[\w.-]{1,100}").match(self.text, self.position)
            if not bare:
                self.complain("unexpected text", self.position)
                raise _EndOfReadingError
            self.complain("a key without quotes", self.position)
            key, self.position = bare[0], bare.end()
        if self._space() != ":":
            self.complain("a key without a colon", self.position)
            raise _EndOfReadingError
        self.position += 1
        return key

    def _value(self, path: str, depth: int, keep: Callable[[object], None]) -> object:
        self.values += 1
        if self.values > MAX_VALUES:
            self.complain("too many values", self.position)
            raise _EndOfReadingError
        character = self._space()
        self.out.lines.setdefault(path, self.line(self.position))
        if character in ("{", "["):
            value: object = {} if character == "{" else []
            keep(value)  # so that a cut document keeps what was read
            self._container(value, path, depth + 1)
            return value
        scalar = self._scalar()
        self.out.fields[path] = scalar
        return scalar

    def _scalar(self) -> object:
        if match := _STRING.match(self.text, self.position):
            self.position = match.end()
            return _unquote(match[0])
        if match := _NUMBER.match(self.text, self.position):
            self.position = match.end()
            return _to_number(match[0])
        if (match := _WORD.match(self.text, self.position)) and match[0] in _WORDS:
            self.position = match.end()
            return _WORDS[match[0]]
        self.complain("unexpected text", self.position)
        raise _EndOfReadingError


def _unquote(literal: str) -> str:
    try:
        text = json.loads(literal, strict=False)
    except ValueError:
        return literal[1:-1]
    return str(text)


def _to_number(text: str) -> int | float:
    text = text.replace("_", "")
    if text.lstrip("+-").isdigit() and len(text) < 40:
        return int(text)
    return float(text)
