"""Sizes that no environment variable sets: constants of the source, and options of the command line.

Two kinds of constants are replaced, and each replacement is listed in the report. Hash tables of evaluation, wherever
a large literal is bound to a name that says so: at their own size a short stream meets no collision. And, in a script
that keeps its sizes in constants, the fields of its configuration (class attributes, module constants, entries of a
module-level ``dict(...)``). Everything else stays as submitted.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from auditor.run.model import Override, Size
from auditor.run.stage.knobs import Kind, knob_of, scaled_table, toy_text
from auditor.submission import syntax
from auditor.submission.model import Submission

LEAST_TABLE = 65_536  # smaller tables are embeddings of the model, or full enough
MAX_OVERRIDES = 200
_SIZES_READ = ("TRAIN_SEQ_LEN", "SEQ_LEN", "MODEL_DIM", "TRAIN_BATCH_TOKENS", "TRAIN_BATCH_SIZE")
_WIDTHS_READ = ("MODEL_DIM", "D_MODEL", "N_EMBD", "HIDDEN_SIZE", "DIM")
_TABLE_WORDS = ("BUCKETS", "TABLE_SIZE", "HASH_SIZE")
_NOT_CONFIGURATION = ("BLOCK_SIZE",)  # of a kernel


@dataclass(frozen=True, slots=True)
class Placed:
    """An override and the hash of the text it belongs to ("" for a file as stored)."""

    override: Override
    text_sha256: str


def overrides_of(submission: Submission, defaults: Mapping[str, str], size: Size) -> tuple[Placed, ...]:
    """Constants to replace in the script and its neighbours. `defaults`: the variables they read."""
    hard_coded = not any(name in defaults for name in _SIZES_READ)
    placed: list[Placed] = []
    for source in (*((submission.script,) if submission.script else ()), *submission.helpers):
        tree = syntax.parse(source.text).tree
        if tree is None:
            continue
        found = [*_tables(tree, size), *(_configuration(tree, size) if hard_coded else ())]
        if not any(name in defaults for name in _WIDTHS_READ):
            found += _models(tree, size)
        written = source.packed or "!" in source.path
        sha256 = hashlib.sha256(source.text.encode("utf-8", "surrogatepass")).hexdigest() if written else ""
        path = submission.relative(source.path)
        placed.extend(Placed(_override(path, *item), sha256) for item in dict.fromkeys(found))
    return tuple(placed[:MAX_OVERRIDES])


def _override(path: str, line: int, name: str, old: str, new: str, why: str) -> Override:
    return Override(path=path, line=line, name=name, old=old, new=new, why=why)


Found = tuple[int, str, str, str, str]  # line, name, old, new, why


def _tables(tree: ast.Module, size: Size) -> Iterator[Found]:
    """Large tables by name: assigned, passed by keyword, or a parameter's default."""
    for name, value in _bindings(tree):
        upper = name.upper()
        number = _number(value)
        if number is None or number < LEAST_TABLE or not upper.endswith(_TABLE_WORDS):
            continue
        toy = scaled_table(number, size)
        if toy is not None:
            yield value.lineno, name, ast.unparse(value), str(int(toy)), "as full as in the reported run"


def _configuration(tree: ast.Module, size: Size) -> Iterator[Found]:
    """Sizes among module constants, class attributes and module-level dictionaries."""
    yield from _toys(_fields(tree), size)


def _toys(fields: Iterable[tuple[str, ast.expr]], size: Size) -> Iterator[Found]:
    for name, value in fields:
        number = _number(value)
        knob = knob_of(name.upper())
        if number is None or knob is None or knob.kind is not Kind.SIZE or name.upper() in _NOT_CONFIGURATION:
            continue
        toy = toy_text(knob, str(number), size)
        if toy is not None and float(toy) != number:
            yield value.lineno, name, ast.unparse(value), toy, "no environment variable sets this size"


def _models(tree: ast.Module, size: Size) -> Iterator[Found]:
    """Sizes of models that functions describe: ``return dict(model_dim=512, num_heads=8, ...)``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and node.value is not None:
            entries = list(_entries(node.value))
            if any(name.upper() in _WIDTHS_READ for name, _ in entries):
                yield from _toys(entries, size)


def _bindings(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        yield from _assigned(node)
        if isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node.value
        elif isinstance(node, ast.arguments):
            positional = [*node.posonlyargs, *node.args]
            with_default = positional[len(positional) - len(node.defaults) :]
            yield from ((item.arg, value) for item, value in zip(with_default, node.defaults, strict=True))
            yield from (
                (item.arg, value) for item, value in zip(node.kwonlyargs, node.kw_defaults, strict=True) if value
            )


def _fields(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in tree.body:
        yield from _assigned(statement)
        if isinstance(statement, ast.ClassDef):
            for inner in statement.body:
                yield from _assigned(inner)
        elif isinstance(statement, ast.Assign):
            yield from _entries(statement.value)


def _entries(value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict":
        yield from ((item.arg, item.value) for item in value.keywords if item.arg)
    elif isinstance(value, ast.Dict):
        for key, entry in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, entry


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if name := _last_name(target):
                yield name, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None and (name := _last_name(node.target)):
        yield name, node.value


def _last_name(target: ast.expr) -> str:
    if isinstance(target, ast.Name):
        return target.id
    return target.attr if isinstance(target, ast.Attribute) else ""


def _number(node: ast.expr) -> float | None:
    """The value of a constant, or of a product, power or shift of small constants."""
    if isinstance(node, ast.Constant):
        value = node.value
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _number(node.left), _number(node.right)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Mult):
        return left * right
    if 0 <= right <= 40 and 0 < left <= 1024 and isinstance(node.op, ast.LShift | ast.Pow):
        return left * 2.0**right if isinstance(node.op, ast.LShift) else float(left**right)
    return None


def command_line(submission: Submission, size: Size, places: Mapping[str, str]) -> list[str]:
    """Options for a script that reads its sizes from the command line; `places`: option names for data, with paths.

    Only options that the script declares by ``add_argument("--name", ...)`` are given.
    """
    script = submission.script
    tree = syntax.parse(script.text).tree if script is not None else None
    arguments: list[str] = []
    for node in ast.walk(tree) if tree is not None else ():
        option = _option(node)
        if option is None:
            continue
        flag, default = option
        name = flag.lstrip("-").replace("-", "_")
        value = places.get(name.upper())
        knob = knob_of(name.upper())
        if value is None and knob is not None and knob.kind is Kind.SIZE and default:
            value = toy_text(knob, default, size)
        if value is not None:
            arguments.extend((flag, value))
    return arguments


def _option(node: ast.AST) -> tuple[str, str] | None:
    """Flag and default ("" when not a number) of ``add_argument("--flag", default=...)``."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "add_argument":
        return None
    flags = [item.value for item in node.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    long = next((flag for flag in flags if flag.startswith("--")), None)
    if long is None:
        return None
    default = next((item.value for item in node.keywords if item.arg == "default"), None)
    number = _number(default) if default is not None else None
    return long, "" if number is None else str(number)
