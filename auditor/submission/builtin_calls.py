"""Operations without effects that the constant folder may compute, each with a bound on the size of its result.

The list is closed: regular expressions, formatting with widths, pickles and anything that calls back into the
script's own objects are left out on purpose.
"""

from __future__ import annotations

import ast
import lzma
import operator
import string
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from auditor.submission.values import UnfoldableError

_MAX_ITEMS = 200_000
_MAX_INTEGER_BITS = 4096

Arguments = list[object]
Keywords = Mapping[str, object]
PureCall = Callable[[Arguments, Keywords, int], object]
PureMethod = Callable[[Any, Arguments, Keywords, int], object]

CONSTANTS: dict[str, object] = {
    **{
        f"lzma.{name}": getattr(lzma, name)
        for name in dir(lzma)
        if name.startswith(("FORMAT_", "FILTER_", "CHECK_", "MODE_", "MF_", "PRESET_"))
    },
    "zlib.MAX_WBITS": zlib.MAX_WBITS,
    "os.sep": "/",
    "os.path.sep": "/",
    "os.linesep": "\n",
    "os.name": "posix",
    "os.devnull": "/dev/null",
    "sys.executable": "python",
    "sys.byteorder": "little",
    **{f"string.{name}": getattr(string, name) for name in ("ascii_letters", "digits", "punctuation", "printable")},
    **{f"string.{name}": getattr(string, name) for name in ("ascii_lowercase", "ascii_uppercase", "hexdigits")},
}

_OPERATORS: dict[type[ast.operator], Callable[[object, object], object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitXor: operator.xor,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.Pow: operator.pow,
}


def operate(kind: ast.operator, left: object, right: object, limit: int) -> object:
    """`left` kind `right` for integers, strings, bytes, lists, tuples and dictionaries; results up to `limit`."""
    function = _OPERATORS.get(type(kind))
    if function is None or not _operable(kind, left, right, limit):
        raise UnfoldableError(f"operator {type(kind).__name__}")
    try:
        return function(left, right)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UnfoldableError(str(error)) from error


def _operable(kind: ast.operator, left: object, right: object, limit: int) -> bool:
    if isinstance(left, int) and isinstance(right, int) and not isinstance(kind, ast.Div):
        small = left.bit_length() + right.bit_length() <= _MAX_INTEGER_BITS
        if isinstance(kind, ast.Pow | ast.LShift):
            return small and 0 <= right <= 64
        return small
    if isinstance(left, int | float) and isinstance(right, int | float):
        return not isinstance(kind, ast.Pow | ast.LShift) or abs(right) <= 64
    if isinstance(kind, ast.Mult):
        sequence, count = (right, left) if isinstance(left, int) else (left, right)
        if not isinstance(sequence, str | bytes | list | tuple) or not isinstance(count, int):
            return False
        return len(sequence) * max(count, 0) <= (limit if isinstance(sequence, str | bytes) else _MAX_ITEMS)
    if isinstance(kind, ast.Add):
        if not isinstance(left, str | bytes | list | tuple) or not isinstance(right, str | bytes | list | tuple):
            return False
        return len(left) + len(right) <= limit
    return isinstance(kind, ast.BitOr) and isinstance(left, dict) and isinstance(right, dict)


def elements(value: object) -> list[object]:
    """What iterating over a folded value yields; raises UnfoldableError for what cannot be iterated within bounds."""
    if isinstance(value, str | bytes | list | tuple | dict | set | frozenset | range):
        if len(value) > _MAX_ITEMS and not isinstance(value, str | bytes):
            raise UnfoldableError("iterates over too much")
        return list(value)
    raise UnfoldableError("iterates over something unknown")


def _plain(
    function: Callable[..., object], *kinds: type, most: int = 3
) -> Callable[[Arguments, Keywords, int], object]:
    """`function` on arguments of these kinds, without keywords; its result is never larger than its input."""

    def call(arguments: Arguments, keywords: Keywords, limit: int) -> object:
        if keywords or len(arguments) > most or not all(isinstance(value, kinds) for value in arguments):
            raise UnfoldableError("call of unknown form")
        return _guard(function, *arguments)

    return call


def _guard(function: Callable[..., object], *arguments: object, **keywords: object) -> object:
    try:
        return function(*arguments, **keywords)
    except Exception as error:  # what a builtin raises here, the script would have met too
        raise UnfoldableError(str(error)) from error


def _bytes(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    if not arguments:
        return b""
    first = arguments[0]
    if isinstance(first, int):
        raise UnfoldableError("bytes of a count")
    if isinstance(first, str):
        return _encode(first, arguments[1:], keywords, limit)
    if isinstance(first, bytes):
        return first
    items = elements(first)
    if not all(isinstance(item, int) for item in items):
        raise UnfoldableError("bytes of something unknown")
    return _guard(bytes, items)


def _str(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    if not arguments:
        return ""
    first = arguments[0]
    if isinstance(first, bytes) and (len(arguments) > 1 or keywords):
        return _decode(first, arguments[1:], keywords, limit)
    if isinstance(first, str | int | float):
        return str(first)
    if text := getattr(first, "text", None):
        return str(text)
    raise UnfoldableError("text of something unknown")


def _list(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    return elements(arguments[0]) if arguments else []


def _tuple(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    return tuple(elements(arguments[0])) if arguments else ()


def _dict(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    made = _guard(dict, *(elements(value) if not isinstance(value, dict) else value for value in arguments[:1]))
    assert isinstance(made, dict)
    return {**made, **keywords}


def _range(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    made = _guard(range, *arguments)
    if not isinstance(made, range) or len(made) > _MAX_ITEMS:
        raise UnfoldableError("range too long")
    return made


def _zip(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    return list(zip(*map(elements, arguments), strict=False))


def _enumerate(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    start = arguments[1] if len(arguments) > 1 else keywords.get("start", 0)
    if not isinstance(start, int):
        raise UnfoldableError("enumerates from something unknown")
    return list(enumerate(elements(arguments[0]), start))


def _reversed(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    return elements(arguments[0])[::-1]


def _sorted(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    items = elements(arguments[0])
    if keywords.keys() - {"reverse"} or not (
        all(isinstance(item, str) for item in items) or all(isinstance(item, int) for item in items)
    ):
        raise UnfoldableError("sorts something unknown")
    sortable: list[Any] = items
    return sorted(sortable, reverse=bool(keywords.get("reverse")))


def _len(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    if len(arguments) == 1 and isinstance(arguments[0], str | bytes | list | tuple | dict | range):
        return len(arguments[0])
    raise UnfoldableError("length of something unknown")


def _maketrans(arguments: Arguments, keywords: Keywords, limit: int) -> object:
    if len(arguments) == 2 and all(isinstance(value, bytes) for value in arguments):
        return _guard(bytes.maketrans, *arguments)
    raise UnfoldableError("translation table of something unknown")


PURE_CALLS: dict[str, PureCall] = {
    "bytes": _bytes,
    "bytearray": _bytes,
    "memoryview": _bytes,
    "str": _str,
    "os.fspath": _str,
    "list": _list,
    "tuple": _tuple,
    "iter": _list,
    "dict": _dict,
    "range": _range,
    "zip": _zip,
    "enumerate": _enumerate,
    "reversed": _reversed,
    "sorted": _sorted,
    "len": _len,
    "bytes.maketrans": _maketrans,
    "chr": _plain(chr, int, most=1),
    "ord": _plain(ord, str, bytes, most=1),
    "int": _plain(int, int, float, str, most=2),
    "float": _plain(float, int, float, str, most=1),
    "bool": _plain(bool, int, float, str, bytes, list, tuple, dict, most=1),
    "min": _plain(min, int),
    "max": _plain(max, int),
    "abs": _plain(abs, int, most=1),
    "codecs.encode": lambda arguments, keywords, limit: _encode(str(arguments[0]), arguments[1:], keywords, limit),
}


def _replace(owner: Any, arguments: list[Any], keywords: Keywords, limit: int) -> object:
    kind = type(owner)
    if len(arguments) not in (2, 3) or not all(isinstance(value, kind) for value in arguments[:2]):
        raise UnfoldableError("replacement of something unknown")
    old, new = arguments[0], arguments[1]
    found = owner.count(old) if old else len(owner) + 1
    if len(owner) + found * len(new) > limit:
        raise UnfoldableError("replacement too long")
    return _guard(owner.replace, *arguments)


def _join(owner: Any, arguments: Arguments, keywords: Keywords, limit: int) -> object:
    parts: list[Any] = elements(arguments[0]) if len(arguments) == 1 else []
    if not all(isinstance(part, type(owner)) for part in parts):
        raise UnfoldableError("joins something unknown")
    if sum(map(len, parts)) + len(owner) * len(parts) > limit:
        raise UnfoldableError("joins to too much")
    return _guard(owner.join, parts)


def _encode(owner: object, arguments: Arguments, keywords: Keywords, limit: int) -> object:
    assert isinstance(owner, str)
    return _guard(owner.encode, *_codec(arguments, keywords))


def _decode(owner: object, arguments: Arguments, keywords: Keywords, limit: int) -> object:
    assert isinstance(owner, bytes)
    return _guard(owner.decode, *_codec(arguments, keywords))


def _codec(arguments: Arguments, keywords: Keywords) -> list[str]:
    """Codec and error handler; only character tables, which keep the size within a factor of four."""
    codec = arguments[0] if arguments else keywords.get("encoding", "utf-8")
    errors = arguments[1] if len(arguments) > 1 else keywords.get("errors", "strict")
    plain = str(codec).lower().replace("_", "-")
    if not plain.startswith(("utf-8", "utf8", "utf-16", "utf-32", "ascii", "us-ascii", "latin", "iso-8859", "cp")):
        raise UnfoldableError(f"codec {plain[:40]}")
    if errors not in ("strict", "ignore", "replace", "surrogateescape", "backslashreplace"):
        raise UnfoldableError("error handler")
    return [plain, str(errors)]


def _method(name: str, most: int = 3) -> PureMethod:
    """A method of str, bytes, list, tuple or dict whose result is no larger than its owner."""

    def call(owner: Any, arguments: Arguments, keywords: Keywords, limit: int) -> object:
        plain = all(isinstance(value, str | bytes | int | tuple) for value in arguments)
        if len(arguments) > most or not (plain or isinstance(owner, dict)):
            raise UnfoldableError(f"method {name} of something unknown")
        allowed = {key: value for key, value in keywords.items() if key in ("sep", "maxsplit", "keepends", "count")}
        result: Any = _guard(getattr(owner, name), *arguments, **allowed)
        return list(result) if isinstance(owner, dict) and name in ("items", "keys", "values") else result

    return call


_TEXT_METHODS = (
    *("split", "rsplit", "splitlines", "strip", "lstrip", "rstrip", "partition", "rpartition", "lower", "upper"),
    *("startswith", "endswith", "removeprefix", "removesuffix", "find", "rfind", "index", "rindex", "count"),
    *("swapcase", "isdigit", "title", "capitalize"),
)
PURE_METHODS: dict[tuple[type, str], PureMethod] = {
    **{(kind, name): _method(name) for kind in (str, bytes) for name in _TEXT_METHODS},
    **{(kind, "replace"): _replace for kind in (str, bytes)},
    **{(kind, "join"): _join for kind in (str, bytes)},
    (str, "encode"): _encode,
    (bytes, "decode"): _decode,
    (bytes, "translate"): _method("translate", most=2),
    (bytes, "hex"): _method("hex", most=0),
    **{(dict, name): _method(name) for name in ("items", "keys", "values", "get", "pop")},
    **{(kind, name): _method(name) for kind in (list, tuple) for name in ("index", "count")},
    (list, "copy"): _method("copy"),
    (list, "reverse"): _method("reverse"),
    (list, "pop"): _method("pop"),
}
