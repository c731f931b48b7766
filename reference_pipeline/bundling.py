# ruff: noqa: N802 - visitor methods are named after the nodes they visit
"""Bundle the pipeline's modules into one self-contained train_gpt.py, by libcst.

Starting from `main` of an entry module, every top-level definition that is needed is taken, in dependency order, with
its comments; imports within the package vanish, others are merged at the top, docstrings are dropped (code counts
towards the 16,000,000 bytes). Names must be unique across the modules bundled: a clash is an error, never a rename.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import libcst as cst

from reference_pipeline.errors import PipelineError

PACKAGE = "reference_pipeline"


@dataclass
class ModuleParts:
    """A module taken apart: definitions in order, and where its names come from."""

    name: str
    statements: list[cst.BaseStatement] = field(default_factory=list)
    defines: dict[str, int] = field(default_factory=dict)  # name -> place in `statements`
    internal: dict[str, str] = field(default_factory=dict)  # name -> module of the package
    external: dict[str, tuple[str, str | None]] = field(default_factory=dict)  # name -> (module, attribute)

    @cached_property
    def references(self) -> list[list[str]]:
        """For each statement the names it refers to or binds, sorted."""
        found = []
        for statement in self.statements:
            used = UsedNames()
            statement.visit(used)
            found.append(sorted(used.names | set(_bound_names(statement))))
        return found

    @cached_property
    def shortened(self) -> list[cst.BaseStatement]:
        """The statements as they go into the script."""
        return [statement.visit(Shorten()) for statement in self.statements]


class UsedNames(cst.CSTVisitor):
    """Names a statement refers to; attributes and keyword names are not references."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Name(self, node: cst.Name) -> None:
        self.names.add(node.value)

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        node.value.visit(self)
        return False

    def visit_Arg(self, node: cst.Arg) -> bool:
        node.value.visit(self)
        return False


class Shorten(cst.CSTTransformer):
    """Drop docstrings and formatter directives."""

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        return updated_node.with_changes(header=_without_directive(updated_node.header))

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        return updated_node.with_changes(body=_without_docstring(updated_node.body))

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:
        return updated_node.with_changes(body=_without_docstring(updated_node.body))

    def leave_TrailingWhitespace(
        self, original_node: cst.TrailingWhitespace, updated_node: cst.TrailingWhitespace
    ) -> cst.TrailingWhitespace:
        return _without_directive(updated_node)


def _without_directive(space: cst.TrailingWhitespace) -> cst.TrailingWhitespace:
    if space.comment is not None and space.comment.value.startswith(("# fmt:", "# noqa")):
        return cst.TrailingWhitespace(newline=space.newline)
    return space


def _without_docstring(body: cst.BaseSuite) -> cst.BaseSuite:
    if not isinstance(body, cst.IndentedBlock) or not _is_docstring(body.body[0]):
        return body
    rest = list(body.body[1:])
    if rest:
        rest[0] = rest[0].with_changes(leading_lines=[line for line in rest[0].leading_lines if line.comment])
    return body.with_changes(body=rest or [cst.SimpleStatementLine([cst.Pass()])])


def _is_docstring(statement: cst.BaseStatement) -> bool:
    if not isinstance(statement, cst.SimpleStatementLine) or not isinstance(statement.body[0], cst.Expr):
        return False
    return isinstance(statement.body[0].value, cst.SimpleString | cst.ConcatenatedString)


def _dotted(node: cst.BaseExpression | None) -> str:
    return "" if node is None else cst.Module([]).code_for_node(node)


def _bound_names(statement: cst.BaseStatement) -> list[str]:
    """Names that a top-level statement defines, imports inside `try` included."""
    if isinstance(statement, cst.FunctionDef | cst.ClassDef):
        return [statement.name.value]
    found: list[str] = []

    class Bindings(cst.CSTVisitor):
        def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
            for target in [node.target, *getattr(node.target, "elements", [])]:
                target = getattr(target, "value", target) if isinstance(target, cst.Element) else target
                if isinstance(target, cst.Name):
                    found.append(target.value)

        def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
            if isinstance(node.target, cst.Name):
                found.append(node.target.value)

        def visit_ImportAlias(self, node: cst.ImportAlias) -> None:
            found.append(node.evaluated_alias or node.evaluated_name)

    statement.visit(Bindings())
    return found


def take_apart(module: str, root: Path) -> ModuleParts:
    """Parse module `reference_pipeline.x` below `root`."""
    path = root / Path(*module.split(".")).with_suffix(".py")
    if not path.is_file():
        raise PipelineError(f"{path}: no such module to bundle")
    return _parse(module, path.read_text(encoding="utf-8"), path)


@lru_cache(maxsize=128)
def _parse(module: str, text: str, path: Path) -> ModuleParts:
    """Modules are shared by many bundles; each text is parsed once a process."""
    parts = ModuleParts(module)
    for statement in cst.parse_module(text).body:
        if _is_docstring(statement):
            continue
        small = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
        if isinstance(small, cst.ImportFrom):
            _read_import_from(parts, small, path)
        elif isinstance(small, cst.Import):
            for alias in small.names:
                name = alias.evaluated_alias or alias.evaluated_name.split(".")[0]
                parts.external[name] = (alias.evaluated_name, None)
        elif not (isinstance(statement, cst.If) and "__name__" in _dotted(statement.test)):
            for name in _bound_names(statement):
                parts.defines[name] = len(parts.statements)
            parts.statements.append(statement)
    return parts


def _read_import_from(parts: ModuleParts, statement: cst.ImportFrom, path: Path) -> None:
    source = _dotted(statement.module)
    if source == "__future__":
        return
    assert not isinstance(statement.names, cst.ImportStar), path
    for alias in statement.names:
        name = alias.evaluated_alias or alias.evaluated_name
        if source.split(".")[0] != PACKAGE:
            parts.external[name] = (source, alias.evaluated_name)
        elif name != alias.evaluated_name:
            raise PipelineError(
                f"{path}: bundling cannot rename {alias.evaluated_name} to {name}; import it under its name"
            )
        else:
            parts.internal[name] = source


class Bundle:
    """What is reachable from one entry point."""

    def __init__(self, root: Path):
        self.root = root
        self.modules: dict[str, ModuleParts] = {}
        self.order: list[str] = []  # modules, dependencies first
        self.taken: dict[str, set[int]] = defaultdict(set)
        self.owner: dict[str, str] = {}
        self.imports: dict[str, tuple[str, str | None]] = {}

    def module(self, name: str) -> ModuleParts:
        """The module, taken apart once, after the modules it imports from."""
        if name not in self.modules:
            self.modules[name] = parts = take_apart(name, self.root)
            for dependency in dict.fromkeys(parts.internal.values()):
                self.module(dependency)
            self.order.append(name)
        return self.modules[name]

    def need(self, module: str, name: str) -> None:
        """Take the statement that defines `name` in `module`, and everything it refers to."""
        parts = self.module(module)
        if name in parts.internal:
            self.need(parts.internal[name], name)
        elif name in parts.external:
            if self.imports.setdefault(name, parts.external[name]) != parts.external[name]:
                raise PipelineError(f"{module}: {name} is imported from two places; import it alike everywhere")
        elif name in parts.defines and parts.defines[name] not in self.taken[module]:
            if self.owner.setdefault(name, module) != module:
                raise PipelineError(f"{module} and {self.owner[name]} both define {name}; rename one to bundle them")
            place = parts.defines[name]
            self.taken[module].add(place)
            for other in parts.references[place]:
                self.need(module, other)

    def text(self) -> str:
        """The script."""
        plain = sorted(
            f"import {source}" + ("" if source.split(".")[0] == name else f" as {name}")
            for name, (source, attribute) in self.imports.items()
            if attribute is None
        )
        grouped: dict[str, list[str]] = defaultdict(list)
        for name, (source, attribute) in self.imports.items():
            if attribute is not None:
                grouped[source].append(attribute if attribute == name else f"{attribute} as {name}")
        chosen = [f"from {source} import {', '.join(sorted(names))}" for source, names in sorted(grouped.items())]
        chunks = ["from __future__ import annotations\n\n" + "\n".join([*plain, *chosen]) + "\n"]
        for name in self.order:
            places = sorted(self.taken[name])
            if not places:
                continue
            body = [self.modules[name].shortened[place] for place in places]
            chunks.append(
                f"# --- {name.split('.')[-1].replace('_', ' ')} ---\n" + cst.Module(body).code.strip("\n") + "\n"
            )
        chunks.append('if __name__ == "__main__":\n    main()\n')
        return "\n\n".join(chunks)


def bundle(entry: str, root: Path | None = None) -> str:
    """The text of a script that does what ``python -m entry`` does, without the package."""
    parts = Bundle(root or Path(__file__).resolve().parent.parent)
    parts.need(entry, "main")
    if "main" not in parts.owner:
        raise PipelineError(f"{entry}: has no function main to bundle from")
    return parts.text()
