"""Runs a submission's evaluation, confined: `python -P -s -B start.py spec.json`.

As auditor/run/inside/start.py, whose stand-ins it uses, with two additions: statements that the auditor left out of the
script are not compiled, and where the script first calls the model of its artifact a copy of the process scores it
independently (see capture.py).
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
STAND_INS = Path("/audit/inside/start.py")


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Cuts:
    """Statements to leave out, by the hash of the text they belong to; false when there are none."""

    def __init__(self, cuts: Sequence[Mapping[str, Any]]) -> None:
        self._spans = {
            str(sha256): {tuple(map(int, span)) for span in cut["spans"]} for cut in cuts for sha256 in cut["sha256"]
        }

    def __bool__(self) -> bool:
        return bool(self._spans)

    def of(self, digest: str) -> Set[tuple[int, ...]]:
        """The statements of the text with this hash that are left out: first line, last line, column."""
        return self._spans.get(digest, frozenset())


def _leave_out(tree: ast.Module, spans: Set[tuple[int, ...]]) -> None:
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                setattr(node, field, [_left_out(statement, spans) for statement in block])


def _left_out(statement: ast.stmt, spans: Set[tuple[int, ...]]) -> ast.stmt:
    if (statement.lineno, statement.end_lineno, statement.col_offset) not in spans:
        return statement
    return ast.copy_location(ast.Pass(), statement)


def changed_texts(cuts: Cuts, overrides: Sequence[Mapping[str, Any]]) -> Any:
    """Compiles texts without what is left out and with the constants of a toy run; installed where there are any."""
    constants, texts = map(importlib.import_module, ("inside.constants", "inside.texts"))
    replacing = constants.Overrides(overrides, Path.cwd())

    def change(text: str | bytes, filename: str) -> ast.Module | None:
        tree: ast.Module | None = replacing.change(text, filename)
        if spans := cuts.of(constants.hash_of(text)) if cuts else None:
            tree = tree or texts.parsed(text, filename)
            _leave_out(tree, spans)
        return tree

    made = texts.Texts(change)
    if cuts or replacing:
        made.install()
    return made


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
    texts = changed_texts(Cuts(spec.get("cuts", ())), spec.get("overrides", ()))
    importlib.import_module("inside.guard").install(spec, reporter)
    script = (Path.cwd() / spec["script"]).resolve()
    code: int = stand_ins.run_script(script, [spec["script"], *map(str, spec.get("argv", ()))], texts.compile)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
