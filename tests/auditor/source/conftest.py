"""Short scripts, interpreted; what is known of their names afterwards."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest

from auditor.source.interpreter import Interpreter
from auditor.source.values import CONST, RANGE, Value

Known = Callable[..., dict[str, Any]]


@pytest.fixture
def interpret() -> Callable[..., dict[str, Value]]:
    """Takes a script and its environment variables; returns the values of its global names."""

    def names(source: str, environment: dict[str, str] | None = None) -> dict[str, Value]:
        module = ("script.py", ast.parse(source))
        run = Interpreter("main.py", ast.parse("import script"), (environment or {}).get, {"script": module})
        run.run()
        assert run.finished, run.why_unfinished
        return {name: cell for name, cell in run.modules["script"].payload.cells.items() if isinstance(cell, Value)}

    return names


@pytest.fixture
def known(interpret: Callable[..., dict[str, Value]]) -> Known:
    """The same, as Python values: constants, (low, high) of a whole number between them, ... for others."""

    def constants(source: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
        found = interpret(source, environment)
        return {name: value.payload if value.kind in (CONST, RANGE) else ... for name, value in found.items()}

    return constants
