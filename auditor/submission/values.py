"""Values that the constant folder knows beside Python's own: names, paths, files, modules, code."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field


class UnfoldableError(Exception):
    """An expression whose value is not a constant this tool can compute."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Something importable, by its dotted name: "lzma.decompress", "builtins.exec"."""

    dotted: str


@dataclass(frozen=True, slots=True)
class Method:
    """A bound method of a folded value."""

    owner: object
    name: str


@dataclass(frozen=True, slots=True)
class FilePath:
    """A pathlib path."""

    text: str


@dataclass(slots=True)
class Handle:
    """An open file: one of the submission, one that the wrapper writes (`content` is None), or a stream in memory."""

    path: str
    text: bool
    content: bytes | None
    at: int = 0


@dataclass(frozen=True, slots=True)
class Code:
    """What ``compile`` returns: the source it was given."""

    source: str | bytes
    mode: str = "exec"


@dataclass(slots=True)
class ModuleObject:
    """A module made at run time; `path` is the file it will be loaded from."""

    name: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Loader:
    """The loader of a module specification."""

    module: ModuleObject


@dataclass(frozen=True, slots=True)
class Namespace:
    """The globals of a module made at run time, or of the script ("__main__")."""

    name: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function or lambda of the wrapper; its body is folded where it is called."""

    node: ast.FunctionDef | ast.Lambda
    scope: dict[str, object] = field(compare=False, hash=False)


@dataclass(frozen=True, slots=True)
class Decompressor:
    """``zlib.decompressobj()`` and its like."""

    kind: str
    options: tuple[tuple[str, object], ...] = ()


class Environment:
    """``os.environ``."""


class CommandLine:
    """``sys.argv``: only the script's own name is known."""


class Unknown:
    """A value that folding lost track of."""


UNKNOWN = Unknown()


@dataclass(frozen=True, slots=True)
class Call:
    """The folded arguments of one call, and the node it stands at."""

    positional: Sequence[object]
    keywords: dict[str, object]
    node: ast.AST

    def argument(self, place: int, name: str = "", default: object = None) -> object:
        """The argument at `place` or by `name`."""
        return self.positional[place] if len(self.positional) > place else self.keywords.get(name, default)
