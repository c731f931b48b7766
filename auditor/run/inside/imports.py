"""Acting when a module is imported: changing a real one, or supplying one that this machine lacks."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path

Filler = Callable[[types.ModuleType], None]


class _After(importlib.abc.Loader):
    """A real module's loader; calls `then` once the module has been executed."""

    def __init__(self, loader: importlib.abc.Loader, then: Filler) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        self._loader.exec_module(module)
        self._then(module)

    def __getattr__(self, name: str) -> object:  # get_source, get_data, is_package: what inspect and linecache ask for
        return getattr(self._loader, name)


class _Supplied(importlib.abc.Loader):
    """Loader of a module that exists only here: `fill` puts its names in."""

    def __init__(self, fill: Filler) -> None:
        self._fill = fill

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        self._fill(module)


class _Changes(importlib.abc.MetaPathFinder):
    """Finds modules as the other finders do, and has each of the named ones changed after it was executed."""

    def __init__(self) -> None:
        self.after: dict[str, list[Filler]] = {}
        self._busy: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self.after or name in self._busy:
            return None
        self._busy.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._busy.discard(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _After(spec.loader, lambda module: [change(module) for change in self.after[name]] and None)
        return spec


class _Supplies(importlib.abc.MetaPathFinder):
    """Finds supplied modules; one that lies beside the script is the script's own and goes first."""

    def __init__(self, *, unless_installed: bool) -> None:
        self.fillers: dict[str, Filler] = {}
        self._unless_installed = unless_installed

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        fill = self.fillers.get(name)
        if fill is None or (not self._unless_installed and _is_beside_script(name)):
            return None
        is_package = any(other.startswith(name + ".") for other in self.fillers)
        return importlib.machinery.ModuleSpec(name, _Supplied(fill), origin="stand-in", is_package=is_package)


_changes = _Changes()
_instead = _Supplies(unless_installed=False)
_absent = _Supplies(unless_installed=True)


def install() -> None:
    """Put the finders in place; they do nothing until something is registered."""
    if _changes not in sys.meta_path:
        sys.meta_path.insert(0, _instead)
        sys.meta_path.insert(0, _changes)
        sys.meta_path.append(_absent)


def after_import(name: str, change: Filler) -> None:
    """Call `change` with the module `name` as soon as it is imported, or now if it is."""
    if name in sys.modules:
        change(sys.modules[name])
    else:
        _changes.after.setdefault(name, []).append(change)


def supply(name: str, fill: Filler, *, even_if_installed: bool = False) -> None:
    """Make `import name` give a module filled by `fill`: where it is not installed, or in any case.

    A module of that name in the script's own folder always wins: it is part of the submission.
    """
    (_instead if even_if_installed else _absent).fillers[name] = fill


def _is_beside_script(name: str) -> bool:
    top = name.partition(".")[0]
    folders = [Path(entry or ".") for entry in sys.path[:1]]
    return any((folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file() for folder in folders)
