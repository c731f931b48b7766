"""C and C++ as text: its tokens, its top-level items, and a fingerprint of everything that one function runs.

Nothing is compiled or preprocessed. The fingerprint of a function is a hash of the tokens, without comments and
whitespace, of

- every preprocessor line and every item of the file that is no function: types, constants, globals, whole classes;
- the function itself and, from there, every function of the file whose name occurs in what is already taken in, and
  every function that a compiler may be told to run by itself (``__attribute__``).

So a further function that nothing calls changes nothing, and any change to what does run changes the fingerprint. Text
that the reading here could get wrong (a raw string, an include of another file of the folder, braces that do not
match) has none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_BYTES = 400_000
_HASH_CHARACTERS = 24  # 96 bits

_TOKEN = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|[A-Za-z_]\w*|\.?[0-9](?:[eEpP][+-]|[\w.])*'
    r"|<<=|>>=|\.\.\.|->|\+\+|--|<<|>>|[-+*/%&|^=!<>]=|&&|\|\||::|##|\S"
)
_OPENING, _CLOSING = frozenset("([{"), {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its line, from 1."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Item:
    """A preprocessor line, a declaration or a definition. `function` is its name, "" for what is no function."""

    tokens: tuple[Token, ...]
    function: str = ""

    @property
    def runs_unasked(self) -> bool:
        """True for a function that may run when the library is loaded."""
        return any(token.text in ("__attribute__", "__declspec", "constructor") for token in self.tokens)


class UnreadableError(Exception):
    """Text that cannot be told apart into items."""


def tokens_of(text: str) -> list[Token]:
    """All tokens of `text`; a preprocessor line is one token."""
    if len(text) > MAX_BYTES or 'R"' in text or "??" in text:
        raise UnreadableError
    found: list[Token] = []
    line, place, fresh = 1, 0, True
    text = text.replace("\r\n", "\n").replace("\\\n", " ")
    while place < len(text):
        character = text[place]
        if character == "\n":
            line, place, fresh = line + 1, place + 1, True
        elif character.isspace():
            place += 1
        elif text.startswith(("//", "/*"), place):
            closing = "\n" if text[place + 1] == "/" else "*/"
            end = text.find(closing, place + 2)
            end = len(text) if end < 0 else end + (0 if closing == "\n" else 2)
            line += text.count("\n", place, end)
            place = end
        elif character == "#" and fresh:
            end = text.find("\n", place)
            end = len(text) if end < 0 else end
            directive = text[place:end]
            if "/*" in directive:
                raise UnreadableError
            found.append(Token(" ".join(directive.split("//")[0].split()), line))
            place = end
        else:
            matched = _TOKEN.match(text, place)
            assert matched is not None
            found.append(Token(matched.group(), line))
            place, fresh = matched.end(), False
    return found


def items_of(text: str) -> list[Item]:
    """The top-level items of `text`; those inside ``extern "C" { }`` and namespaces are top-level too."""
    found: list[Item] = []
    _collect(tokens_of(text), found)
    return found


def _collect(tokens: list[Token], found: list[Item]) -> None:
    start = 0
    while start < len(tokens):
        if tokens[start].text.startswith("#"):
            found.append(Item((tokens[start],)))
            start += 1
            continue
        end = _end_of_item(tokens, start)
        part = tokens[start:end]
        inner = _block_of_linkage(part)
        if inner is None:
            found.append(_item(part))
        else:
            _collect(inner, found)
        start = end


def _end_of_item(tokens: list[Token], start: int) -> int:
    """Behind the ``;`` or the function body that ends the item which begins at `start`."""
    open_: list[str] = []
    called = assigned = False
    for place in range(start, len(tokens)):
        text = tokens[place].text
        if text in _OPENING:
            called = called or (text == "(" and not open_)
            open_.append(text)
        elif text in _CLOSING:
            if not open_ or open_.pop() != _CLOSING[text]:
                raise UnreadableError
            body = text == "}" and not open_ and not assigned
            if body and (called or _block_of_linkage(tokens[start : place + 1]) is not None):
                return place + 1
        elif not open_:
            if text == ";":
                return place + 1
            assigned = assigned or text == "="
    raise UnreadableError


def _block_of_linkage(part: list[Token]) -> list[Token] | None:
    """What stands in ``extern "C" { ... }`` or ``namespace name { ... }``."""
    texts = [token.text for token in part[:4]]
    head = 2 if texts[:2] == ["extern", '"C"'] else 0
    if texts[:1] == ["namespace"]:
        head = 1 if texts[1:2] == ["{"] else 2
    if not head or texts[head : head + 1] != ["{"] or part[-1].text != "}":
        return None
    return part[head + 1 : -1]


def _item(part: list[Token]) -> Item:
    depth = 0
    name = ""
    for place, token in enumerate(part):
        if token.text == "(" and depth == 0 and not name:
            name = part[place - 1].text if place else ""
        if token.text == "=" and depth == 0 and not name:
            return Item(tuple(part))
        depth += (token.text in _OPENING) - (token.text in _CLOSING)
    defined = part[-1].text == "}" and name.isidentifier()
    return Item(tuple(part), name if defined else "")


def fingerprint(items: list[Item], function: str) -> str:
    """The fingerprint of the one function of that name; "" where there is none, or more than one."""
    defined = [item for item in items if item.function == function]
    local = any(token.text.startswith(("#include", "# include")) and '"' in token.text for token in _all(items))
    if len(defined) != 1 or local:
        return ""
    taken = [item for item in items if not item.function or item.runs_unasked]
    words = {word for item in taken for word in _words(item)}
    waiting = [item for item in items if item.function and not item.runs_unasked]
    queue = [defined[0]]
    while queue:
        item = queue.pop(0)
        taken.append(item)
        waiting = [other for other in waiting if other is not item]
        words.update(_words(item))
        queue = [other for other in waiting if other.function in words]
    digest = hashlib.sha256()
    for item in taken:
        if not item.tokens[0].text.startswith(("#include", "# include", "#pragma once")):
            digest.update("\x1f".join(token.text for token in item.tokens).encode() + b"\x1e")
    return digest.hexdigest()[:_HASH_CHARACTERS]


def _all(items: list[Item]) -> Iterator[Token]:
    for item in items:
        yield from item.tokens


def _words(item: Item) -> Iterator[str]:
    for token in item.tokens:
        yield from re.findall(r"[A-Za-z_]\w*", token.text)
