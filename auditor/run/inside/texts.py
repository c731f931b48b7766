"""Texts on their way to the compiler: the script's own, those of modules it imports, those it compiles or executes.

Whoever replaces constants or leaves statements out says what a text becomes; this is the one place that asks.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import sys
import types
from collections.abc import Callable
from typing import Any

Change = Callable[[str | bytes, str], ast.Module | None]
"""What a text of this file name becomes; None where it stays as it is."""

_compile, _exec = builtins.compile, builtins.exec
_FUTURE_FLAGS = 0
for _name in __future__.all_feature_names:
    _FUTURE_FLAGS |= getattr(__future__, _name).compiler_flag


def parsed(text: str | bytes, filename: str) -> ast.Module:
    """The syntax tree of a text, by the real compiler. Raises SyntaxError or ValueError as it does."""
    tree: ast.Module = _compile(text, filename, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    return tree


class Texts:
    """Compiles texts as `change` says."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def compile(self, text: bytes, filename: str) -> types.CodeType:
        """The code of a file, changed."""
        code: types.CodeType = _compile(self._change(text, filename) or text, filename, "exec", dont_inherit=True)
        return code

    def install(self) -> None:
        """Change, from here on, what the script imports (which compiles, too), gives to compile, or executes."""
        change = self._change

        def compile_(
            source: Any,
            filename: Any,
            mode: Any,
            flags: int = 0,
            dont_inherit: bool = False,
            optimize: int = -1,
            **more: Any,
        ) -> Any:
            if isinstance(source, (str, bytes)) and mode == "exec":
                source = change(source, str(filename)) or source
            if not dont_inherit:  # of the caller, which this function would stand between
                flags |= _future_flags(sys._getframe(1))
            return _compile(source, filename, mode, flags, True, optimize, **more)

        def exec_(source: Any, globals: Any = None, locals: Any = None, /, **more: Any) -> None:
            caller = sys._getframe(1)
            if globals is None:
                globals = caller.f_globals
                locals = caller.f_locals if locals is None else locals
            if isinstance(source, (str, bytes)):
                source = change(source, "<string>") or source
                source = _compile(source, "<string>", "exec", _future_flags(caller), dont_inherit=True)
            _exec(source, globals, locals if locals is not None else globals, **more)

        builtins.compile = compile_
        builtins.exec = exec_


def _future_flags(frame: types.FrameType) -> int:
    """The features of ``from __future__`` under which a frame's code was compiled."""
    return frame.f_code.co_flags & _FUTURE_FLAGS
