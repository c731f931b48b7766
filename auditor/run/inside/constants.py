"""Declared replacements of constants in the script, where no environment variable sets them.

The text is not edited: the constant is replaced in the syntax tree when the text is compiled, so every line keeps its
number. An override applies to the value bound to `name` at `line`: an assignment, a keyword argument, a parameter's
default, a dictionary's entry, or the default of a call such as `os.environ.get("name", old)`.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .texts import parsed
from .usage import note

Override = Mapping[str, Any]


def replaced(text: str | bytes, overrides: Sequence[Override], filename: str) -> ast.Module:
    """The syntax tree of `text` with the overrides' constants in it. Each that does not fit is noted and left out."""
    tree = parsed(text, filename)
    for override in overrides:
        if not _replace(tree, override):
            note(f"override of {override['name']} at {filename}:{override['line']} found no constant {override['old']}")
    return tree


def _replace(tree: ast.Module, override: Override) -> bool:
    new = ast.parse(str(override["new"]), mode="eval").body
    old = _dump(ast.parse(str(override["old"]), mode="eval").body)
    done = False
    for node in ast.walk(tree):
        for field, place in _values(node, str(override["name"])):
            value = getattr(node, field) if place is None else getattr(node, field)[place]
            if value is None or value.lineno != override["line"] or _dump(value) != old:
                continue
            made = ast.copy_location(ast.parse(ast.unparse(new), mode="eval").body, value)
            for inner in ast.walk(made):
                if hasattr(inner, "lineno"):
                    ast.copy_location(inner, value)
            if place is None:
                setattr(node, field, made)
            else:
                getattr(node, field)[place] = made
            done = True
    return done


def _dump(node: ast.AST) -> str:
    return ast.dump(node)


def _values(node: ast.AST, name: str) -> list[tuple[str, int | None]]:
    """The fields of `node` that hold a value for `name`: (field, place in it or None)."""
    if isinstance(node, ast.Assign):
        found: list[tuple[str, int | None]] = []
        if any(_last(target) == name for target in node.targets):
            found.append(("value", None))
        return found
    if isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and _last(node.target) == name:
        return [("value", None)]
    if isinstance(node, ast.keyword) and node.arg == name:
        return [("value", None)]
    if isinstance(node, ast.arguments):
        positional = [*node.posonlyargs, *node.args]
        shift = len(positional) - len(node.defaults)
        return [
            ("defaults", i - shift) for i, argument in enumerate(positional) if argument.arg == name and i >= shift
        ] + [("kw_defaults", i) for i, argument in enumerate(node.kwonlyargs) if argument.arg == name]
    if isinstance(node, ast.Dict):
        return [("values", i) for i, key in enumerate(node.keys) if isinstance(key, ast.Constant) and key.value == name]
    if isinstance(node, ast.Call):
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and first.value == name:
            return [("args", i) for i in range(1, len(node.args))]
    return []


def _last(target: ast.expr) -> str:
    if isinstance(target, ast.Name):
        return target.id
    return target.attr if isinstance(target, ast.Attribute) else ""


class Overrides:
    """The overrides of one run, by the file or the hash of the text they belong to; false when there are none."""

    def __init__(self, overrides: Sequence[Override], folder: Path) -> None:
        self._by_path: dict[str, list[Override]] = {}
        self._by_hash: dict[str, list[Override]] = {}
        for override in overrides:
            if override.get("sha256"):
                self._by_hash.setdefault(str(override["sha256"]), []).append(override)
            else:
                self._by_path.setdefault(str((folder / str(override["path"])).resolve()), []).append(override)

    def __bool__(self) -> bool:
        return bool(self._by_path or self._by_hash)

    def change(self, text: str | bytes, filename: str) -> ast.Module | None:
        """What a text becomes; None where no override belongs to it."""
        here = [*self._of_file(filename), *self._by_hash.get(hash_of(text), ())] if self else []
        return replaced(text, here, filename) if here else None

    def _of_file(self, filename: str) -> Sequence[Override]:
        if not self._by_path or filename.startswith("<"):  # what is compiled from no file
            return ()
        return self._by_path.get(str(Path(filename).resolve()), ())


def hash_of(text: str | bytes) -> str:
    """The SHA-256 by which a text is known."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text).hexdigest()
