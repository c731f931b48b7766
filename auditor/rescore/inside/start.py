"""Runs a submission's evaluation, confined: `python -P -s -B start.py spec.json`.

As auditor/run/inside/start.py, whose stand-ins it uses, with two additions: statements that the auditor left out of the
script are not compiled, and where the script first calls the model of its artifact a copy of the process scores it
independently (see capture.py).
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
STAND_INS = Path("/audit/inside/start.py")

_compile, _exec = builtins.compile, builtins.exec


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Cuts:
    """Statements to leave out, by the hash of the text they belong to; and constants of a toy run to replace."""

    def __init__(self, cuts: list[dict[str, Any]], overrides: list[dict[str, Any]]) -> None:
        self._overrides = overrides
        # imported before `install` replaces compile, which this module keeps for itself
        self._replaced = importlib.import_module("inside.constants").replaced
        self._spans = {
            str(sha256): {tuple(map(int, span)) for span in cut["spans"]} for cut in cuts for sha256 in cut["sha256"]
        }

    def compile(self, text: bytes, filename: str) -> types.CodeType:
        """The code of a file without what is left out of it."""
        code: types.CodeType = _compile(self._reduced(text, filename) or text, filename, "exec", dont_inherit=True)
        return code

    def _reduced(self, text: str | bytes, filename: str) -> ast.Module | None:
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        digest = hashlib.sha256(data).hexdigest()
        spans = self._spans.get(digest, set())
        here = [one for one in self._overrides if one.get("sha256") == digest or _is_of(one, filename)]
        if not spans and not here:
            return None
        tree: ast.Module = self._replaced(text, here, filename)
        for node in ast.walk(tree):
            for field in ("body", "orelse", "finalbody"):
                block = getattr(node, field, None)
                if isinstance(block, list):
                    setattr(node, field, [self._left_out(statement, spans) for statement in block])
        return tree

    @staticmethod
    def _left_out(statement: ast.stmt, spans: set[tuple[int, ...]]) -> ast.stmt:
        if (statement.lineno, statement.end_lineno, statement.col_offset) not in spans:
            return statement
        return ast.copy_location(ast.Pass(), statement)

    def install(self) -> None:
        """Reduce text that a packed script executes, too."""
        if not self._spans and not self._overrides:
            return
        cuts = self

        def exec_(source: Any, globals: Any = None, locals: Any = None, /, **keywords: Any) -> None:
            caller = sys._getframe(1)
            if globals is None:
                globals = caller.f_globals
                locals = caller.f_locals if locals is None else locals
            if isinstance(source, (str, bytes)) and (tree := cuts._reduced(source, "<string>")) is not None:
                source = _compile(tree, "<string>", "exec", dont_inherit=True)
            _exec(source, globals, locals if locals is not None else globals, **keywords)

        def compile_(source: Any, filename: Any, mode: str, flags: int = 0, *args: Any, **keywords: Any) -> Any:
            if isinstance(source, (str, bytes)) and mode == "exec":
                source = cuts._reduced(source, str(filename)) or source
            return _compile(source, filename, mode, flags, *args, **keywords)

        builtins.exec = exec_
        builtins.compile = compile_


def _is_of(override: dict[str, Any], filename: str) -> bool:
    """Whether a constant stands in the stored file of this name."""
    return not override.get("sha256") and Path(filename).resolve() == (Path.cwd() / str(override["path"])).resolve()


def main(argv: list[str]) -> int:
    """Run the script that the spec file argv[1] names."""
    spec = json.loads(Path(argv[1]).read_bytes())
    sys.dont_write_bytecode = True
    stand_ins = _load("audit_start", STAND_INS)
    stand_ins.load_package()
    reporter = importlib.import_module("inside.channel").open_report()
    importlib.import_module("inside.usage").connect(reporter.report if reporter is not None else None)
    stand_ins.prepare(spec)
    if reporter is not None:
        _load("audit_capture", FOLDER / "capture.py").install(spec, reporter)
    cuts = Cuts(spec.get("cuts", []), spec.get("overrides", []))
    cuts.install()
    importlib.import_module("inside.guard").install(spec, reporter)
    script = (Path.cwd() / spec["script"]).resolve()
    code: int = stand_ins.run_script(script, [spec["script"], *map(str, spec.get("argv", ()))], cuts.compile)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
