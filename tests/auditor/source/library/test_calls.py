"""The tables of models: every name is modelled in one place."""

from __future__ import annotations

import pkgutil
from collections import Counter
from importlib import import_module

import pytest

from auditor.source import library


@pytest.mark.parametrize("table", ["CALLS", "SHORT_NAMES"])
def test_no_name_is_modelled_twice(table: str) -> None:
    modules = [import_module(f"{library.__name__}.{found.name}") for found in pkgutil.iter_modules(library.__path__)]
    names = Counter(name for module in modules for name in getattr(module, table, ()))
    assert len(names) > 10
    assert [name for name, times in names.items() if times > 1] == []


def test_every_table_is_asked() -> None:
    """A model that stands in a table which `calls` does not know would never run."""
    calls = import_module(f"{library.__name__}.calls")
    for found in pkgutil.iter_modules(library.__path__):
        module = import_module(f"{library.__name__}.{found.name}")
        assert getattr(module, "CALLS", {}).items() <= calls._CALLS.items(), found.name
        assert getattr(module, "SHORT_NAMES", {}).items() <= calls._SHORT_NAMES.items(), found.name
