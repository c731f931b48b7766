"""Native code that was read by hand: what the outputs of its functions know of the tokens that they are given.

Scripts compile a C or C++ file of their folder, load it with ctypes and hand it the validation tokens: an online n-gram
expert that proposes a hint for each position. Whether such a hint is causal is decided in that file. Following C
soundly would need a compiler's front end, so a person reads it instead, once, and the result is kept in
``data/native.json`` under the fingerprint of all the code that the function runs (`auditor.source.native_text`). One
entry says, for one function,

- ``tokens``: the number of the parameter that gives it tokens; ``keeps`` if it only stores them for later calls;
- ``starts``: it makes or resets the state, so that nothing is known of any token;
- ``outputs``: for the number of each parameter it writes to, what the value at index i knows: ``earlier``, the tokens
  before token i alone, or ``own``, token i itself too; with ``probability`` it is a number from 0 to 1;
- ``place`` and ``why``: the token of the function at which it reads token i to decide an output, and how.

A function that is not in the table is not seen through: that is a review, as ever. So is a library of which it cannot
be told that it is made from the file that was read: a command with other flags than those of `_HARMLESS_FLAGS`,
several sources, a prebuilt binary in the folder, a source of which the script writes another text. A source that the
script holds as a text of its own and writes before it compiles it is read like a file.

An output that knows its own token is evidence only where it reaches the score: a threshold that it cannot pass, or a
branch that the settings close, keeps it out, and the interpreter follows that (see `auditor.source.library.columns`).
The readings hold for the order in which the functions are meant to be called: a second call with the same tokens on one
state, and outputs read further ahead than they were made for, are asked about.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from auditor.ledger import RULES_OF_SCORING, Site
from auditor.source.native_text import Item, UnreadableError, fingerprint, items_of
from auditor.source.values import CONST, FORMAT, NOTHING, OBJECT, UNKNOWN, Atoms, Obj, Value, regions

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter

KIND = "native library"
SOURCES = (".c", ".cc", ".cpp", ".cxx")
LIBRARIES = (".so", ".dylib", ".dll")
_COMPILERS = frozenset(("gcc", "g++", "cc", "c++", "clang", "clang++"))
_HARMLESS_FLAGS = ("-O", "-march=", "-mtune=", "-std=", "-fPIC", "-shared", "-W", "-lm", "-lstdc++", "-g", "-fopenmp",
                   "-pthread", "-funroll-loops", "-ffast-math")  # fmt: skip
UNSEEN = "native code called through ctypes"
MAX_COMMAND = 64  # words
MAX_NESTING = 4  # of texts within texts
_HOLE = "*"


@dataclass(frozen=True, slots=True)
class Output:
    """What the value at index i of an output knows."""

    own: bool  # token i itself; False: the tokens before it alone
    probability: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of reading one function by hand; see the module's text."""

    outputs: Mapping[int, Output] = field(default_factory=dict)
    tokens: int | None = None
    keeps: bool = False
    starts: bool = False
    place: int = 0
    why: str = ""


@cache
def readings() -> Mapping[str, Reading]:
    """Fingerprint -> reading; empty when the table is missing or damaged, which leaves native code unseen."""
    try:
        stored = json.loads((files("auditor.source") / "data" / "native.json").read_text(encoding="utf-8"))
        return {key: _reading(entry) for key, entry in stored["functions"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _reading(entry: Mapping[str, object]) -> Reading:
    told = entry.get("outputs", {})
    assert isinstance(told, dict)
    outputs = {int(key): Output("own" in words.split(), "probability" in words.split()) for key, words in told.items()}
    tokens = entry.get("tokens")
    return Reading(
        outputs,
        None if tokens is None else int(str(tokens)),
        bool(entry.get("keeps")),
        bool(entry.get("starts")),
        int(str(entry.get("place", 0))),
        str(entry.get("why", "")),
    )


class Folder:
    """The native sources of a submission, and what the script was seen to compile them to.

    `texts` maps a source's path to its text. `prebuilt` is True where the folder holds a compiled library, which the
    script may load instead.
    """

    def __init__(self, texts: Mapping[str, str] | None = None, prebuilt: bool = False) -> None:
        self.texts = dict(texts or {})
        self.prebuilt = prebuilt
        self.built: dict[str, set[str]] = {}  # name of a library -> names of what it was made from; "" for unknown
        self.told: dict[int, tuple[Site, str]] = {}  # place of a call -> where its code reads the token itself
        self.changed: set[str] = set()  # names of sources that the script writes something unknown to, or two texts
        self.origins: dict[str, Site] = {}  # sources that the script itself writes -> where
        self.judged: dict[Site, str] = {}  # functions that were judged by their reading, for notes
        self._items: dict[str, list[Item]] = {}

    def items(self, path: str) -> list[Item]:
        """The top-level items of a source; none if it cannot be read."""
        if path not in self._items:
            try:
                self._items[path] = items_of(self.texts[path])
            except UnreadableError:
                self._items[path] = []
        return self._items[path]

    def source_of(self, library: str) -> str:
        """The path of the one source that `library` is made from; "" if that is not known."""
        made_from = self.built.get(library, set())
        if self.prebuilt or len(made_from) != 1:
            return ""
        name = next(iter(made_from))
        paths = [path for path in self.texts if PurePosixPath(path).name == name]
        return paths[0] if len(paths) == 1 and name not in self.changed else ""

    def write(self, name: str, text: str | None, site: Site) -> None:
        """The script writes a source of that name; None for a text that is not known."""
        path = f"{site.path}!/{name}"
        others = [held for key, held in self.texts.items() if PurePosixPath(key).name == name]
        if text is None or any(held != text for held in others):
            self.changed.add(name)
        elif not others:
            self.texts[path], self.origins[path] = text, site


def joined_path(left: Value, right: Value) -> Value | None:
    """``folder / "name.so"``: a path whose last part is known; None for anything else."""
    if right.kind in (CONST, FORMAT) and _name(right).endswith((*SOURCES, *LIBRARIES)):
        return Value(FORMAT, (left, "/", right), left.atoms | right.atoms)
    return None


def _name(value: Value) -> str:
    """The last part of a path, with a star for every hole in it; "" if nothing of it is known."""
    text = "".join(_pieces(value, MAX_NESTING)).rpartition("/")[2]
    return "" if set(text) <= {_HOLE} else text


def _pieces(value: Value, depth: int) -> list[str]:
    if value.kind == CONST and isinstance(value.payload, str):
        return [value.payload]
    if value.kind != FORMAT or depth == 0:
        return [_HOLE]
    return [
        piece for part in value.payload for piece in ([part] if isinstance(part, str) else _pieces(part, depth - 1))
    ]


def written(run: Interpreter, path: Value, content: Value) -> None:
    """Note that the script writes `content` to a native source, or something to a library."""
    name = _name(path)
    if name.endswith(LIBRARIES):
        run.native.built.setdefault(name, set()).add("")
    elif name.endswith(SOURCES):
        text = content.payload if content.kind == CONST else None
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        run.native.write(name, text if isinstance(text, str) else None, run.site())


def compiled(run: Interpreter, command: Value) -> None:
    """Note what a command makes of which source, if it is a compiler's."""
    words = run.elements(command, limit=MAX_COMMAND) or []
    if not words or _name(words[0]) not in _COMPILERS:
        return
    library, sources, strange = "", set(), False
    place = 1
    while place < len(words):
        word = words[place]
        text = word.payload if word.kind == CONST and isinstance(word.payload, str) else ""
        name = _name(word)
        if text == "-o" and place + 1 < len(words):
            library, place = _name(words[place + 1]), place + 1
        elif name.endswith(SOURCES):
            sources.add(name)
        elif not text.startswith(_HARMLESS_FLAGS):
            strange = True
        place += 1
    known = library and len(sources) == 1 and not strange
    run.native.built.setdefault(library, set()).update(sources if known else {""})


def load(run: Interpreter, path: Value) -> Value:
    """``ctypes.CDLL(path)``: its functions are looked up in the table where they are called."""
    if not run.native.source_of(_name(path)):
        run.cannot_see(UNSEEN, RULES_OF_SCORING)
        return UNKNOWN
    library = Obj(KIND, run.line, _name(path))
    return Value(OBJECT, library)


def call(
    run: Interpreter, owner: Value, name: str, args: list[Value], kwargs: dict[str, Value], node: ast.AST, frame: object
) -> Value:
    """A call of the library's function `name`."""
    library: Obj = owner.payload
    path = run.native.source_of(library.name)
    reading = readings().get(fingerprint(run.native.items(path), name)) if path else None
    if reading is None or kwargs or any(number >= len(args) for number in reading.outputs):
        run.cannot_see(UNSEEN, RULES_OF_SCORING)
        return UNKNOWN
    if reading.starts:
        run.state.write(library.cells, ".seen", ())
        run.state.write(library.cells, ".given", NOTHING)
    given: Atoms = library.cells.get(".given", NOTHING)
    if reading.tokens is not None and reading.tokens < len(args):
        given = run.atoms_of(args[reading.tokens])
    if reading.keeps:
        run.state.write(library.cells, ".given", given)
    if reading.outputs:
        _write_outputs(run, library, name, reading, args, given)
    return UNKNOWN


def _write_outputs(
    run: Interpreter, library: Obj, name: str, reading: Reading, args: list[Value], given: Atoms
) -> None:
    site = run.predictors.site_number()
    taken = regions(given)
    seen = library.cells.get(".seen", ())
    again = any(run.predictors.overlaps(region, other) for region in taken for other in seen)
    run.state.write(library.cells, ".seen", (*seen, *taken))
    place, _ = run.native.told[site] = _place(run, library, name, reading)
    if place.function == name:
        place = replace(place, line=_first_line(run, library, name))
    run.native.judged[place] = (
        f"{name} is native code that was read by hand; it is known by the fingerprint of all that it runs"
    )
    kept = frozenset(atom for atom in given if atom[0] not in ("val", "target", "context", "entry", "next", "loop"))
    ahead = any(atom[0] == "target" for atom in given)
    hint = frozenset((("hint", ahead),)) if taken else NOTHING
    for number, output in reading.outputs.items():
        buffer = args[number].base
        if buffer is None or buffer.kind != "tensor":
            run.cannot_see(f"{UNSEEN}, which writes to memory that could not be followed", RULES_OF_SCORING)
            continue
        sure = None if again else False  # the doubt of a second call is not lifted by a threshold
        told = frozenset((("told", site, sure),)) if taken and (output.own or again) else NOTHING
        atoms = kept | hint | told
        run.state.write(buffer.cells, ".atoms", atoms)
        run.state.write(buffer.cells, ".probability", atoms if output.probability else None)


def _place(run: Interpreter, library: Obj, name: str, reading: Reading) -> tuple[Site, str]:
    """Where the function reads the token that an output is for, and what it does there."""
    path, function = _definition(run, library, name)
    token = function.tokens[min(reading.place, len(function.tokens) - 1)]
    why = reading.why or "the same tokens are given to the same state again"
    return run.native.origins.get(path, Site(path, token.line, name)), why


def _first_line(run: Interpreter, library: Obj, name: str) -> int:
    return _definition(run, library, name)[1].tokens[0].line


def _definition(run: Interpreter, library: Obj, name: str) -> tuple[str, Item]:
    path = run.native.source_of(library.name)
    return path, next(item for item in run.native.items(path) if item.function == name)


def is_probability(value: Value) -> bool:
    """True for what native code wrote numbers from 0 to 1 to, if nothing was written there since."""
    base = value.base
    known = base.cells.get(".probability") if base is not None and base.kind == "tensor" else None
    return known is not None and base is not None and base.cells.get(".atoms") == known


def never_above(value: Value, op: ast.cmpop, limit: Value) -> bool:
    """True for ``p >= 99.0`` where p is a probability: no entry passes."""
    if not is_probability(value) or limit.kind != CONST or type(limit.payload) not in (int, float):
        return False
    return (isinstance(op, ast.GtE) and limit.payload > 1) or (isinstance(op, ast.Gt) and limit.payload >= 1)


def compared(value: Value, limit: Value, atoms: Atoms) -> Atoms:
    """`atoms` of a comparison; with a known threshold, what knows its own token certainly passes it at some tokens."""
    passes = limit.kind == CONST and type(limit.payload) in (int, float) and 0 < limit.payload <= 1
    if not passes or not is_probability(value):
        return atoms
    return atoms | {("told", atom[1], True) for atom in atoms if atom[0] == "told" and atom[2] is False}


def read_ahead(node: ast.AST, atoms: Atoms) -> bool:
    """True for hints that are read further on than the tokens that they were made for: ``hints[i + 1]``.

    Hints made for the tokens to be predicted stand where their input stands; those made for the stream itself one
    place further on.
    """
    made = [atom[1] for atom in atoms if atom[0] == "hint"]
    if not made or not isinstance(node, ast.Subscript):
        return False
    written = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
    start = written.lower if isinstance(written, ast.Slice) else written
    return _constant_part(start) > (0 if any(made) else 1)


def _constant_part(start: ast.expr | None) -> int:
    """The whole number that an index adds to whatever else it is."""
    if isinstance(start, ast.Constant):
        return start.value if type(start.value) is int else 0
    if isinstance(start, ast.BinOp) and isinstance(start.op, ast.Add):
        return _constant_part(start.left) + _constant_part(start.right)
    return 0
