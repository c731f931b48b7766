"""What a model of a library's function takes and returns."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from auditor.source.values import Frame, Value

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


Args = list[Value]
Kwargs = dict[str, Value]
Model = Callable[["Interpreter", Args, Kwargs, ast.AST, "Frame | None"], Value]
