"""Which environment variables a script reads, under which attribute it keeps them, with which default.

A cheap pass over the syntax tree, no evaluation: enough to say that the ``prequant_ttt_enabled`` which a log prints is
the variable ``PREQUANT_TTT`` of the command.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from auditor.submission import syntax

MAX_SOURCE_CHARACTERS = 4 * 1024 * 1024
_NAME = re.compile(r"[A-Z][A-Z0-9_]{1,60}$")
_HELPER = re.compile(r"env|flag|setting|knob", re.IGNORECASE)
_HINT = re.compile(r"environ|getenv|(?:env|flag|setting|knob)\w{0,20}\s?\(", re.IGNORECASE)
_STARTS_BLOCK = re.compile(r"(?!(?:else|elif|except|finally|case)\b)[A-Za-z_@(\[{\"']|if\b")
_LITERAL = re.compile(
    r"([A-Za-z_]\w{0,40})\s?=\s?([-+]?\d[\w.+-]{0,30}|'[^'\\\n]{0,80}'|\"[^\"\\\n]{0,80}\"|True|False|None)\s{0,4}(?:#.*)?$"
)
_LARGEST = 1 << 63
_TRUE = "1"
_FALSE = "0"


@dataclass(frozen=True, slots=True)
class EnvironmentRead:
    """One variable that a script reads.

    `default` is the default's text (None: required, or not a constant), `attribute` the plain name it is assigned to
    ("" elsewhere), `compared_with` the texts it is compared with (``os.environ.get("X") == "true"``).
    """

    name: str
    default: str | None
    attribute: str
    line: int
    compared_with: tuple[str, ...] = ()


@lru_cache(maxsize=16)
def environment_reads(source: str) -> tuple[EnvironmentRead, ...]:
    """Every variable that `source` reads, in order; those of parts that cannot be parsed are missing."""
    if len(source) > MAX_SOURCE_CHARACTERS:
        return ()
    lines = source.split("\n")
    hits = [number for number, line in enumerate(lines, 1) if _HINT.search(line)]
    constants = _module_constants(lines)
    reads: list[EnvironmentRead] = []
    loose: list[EnvironmentRead] = []
    for node in _telling_nodes(_trees(source, lines, hits), hits):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets: list[ast.expr] = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target, value in _pairs(targets, node.value):
                _add(reads, value, _attribute(target), constants)
        elif isinstance(node, ast.keyword) and node.arg and node.arg not in ("default_factory", "default"):
            _add(reads, node.value, node.arg, constants)
        elif isinstance(node, ast.Call | ast.Subscript) and (found := _read(node, constants)):
            loose.append(EnvironmentRead(*found, "", node.lineno))
    known = {read.name for read in reads}
    for read in loose:
        if read.name not in known:
            known.add(read.name)
            reads.append(read)
    return tuple(reads)


def _add(reads: list[EnvironmentRead], value: ast.expr, attribute: str, constants: Mapping[str, object]) -> None:
    found = _outermost(value, constants)
    if found is not None:
        reads.append(EnvironmentRead(*found, attribute, value.lineno, _compared(value, constants)))


def _trees(source: str, lines: Sequence[str], hits: Sequence[int]) -> list[ast.Module]:
    """The tree of everything; where that does not parse, those of the top-level blocks that hold a hit and do, with
    their own line numbers."""
    whole = syntax.parse(source).tree
    if whole is not None:
        return [whole]
    starts = [number for number, line in enumerate(lines, 1) if line and _STARTS_BLOCK.match(line)]
    trees: list[ast.Module] = []
    for begin in dict.fromkeys(starts[at - 1] for hit in hits if (at := bisect_right(starts, hit)) > 0):
        after = bisect_right(starts, begin)
        end = starts[after] - 1 if after < len(starts) else len(lines)
        tree = syntax.parse_part("\n" * (begin - 1) + "\n".join(lines[begin - 1 : end])).tree
        if tree is None:
            return trees
        trees.append(tree)
    return trees


def _telling_nodes(trees: Sequence[ast.Module], hits: Sequence[int]) -> Iterator[ast.AST]:
    """Nodes of the statements that touch a line which can read the environment, in source order."""
    pending: list[ast.AST] = list(reversed(trees))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.stmt):
            at = bisect_left(hits, node.lineno)
            if at == len(hits) or hits[at] > (node.end_lineno or node.lineno):
                continue
        yield node
        pending.extend(reversed(list(ast.iter_child_nodes(node))))


def _module_constants(lines: Sequence[str]) -> dict[str, object]:
    """Module-level names bound to one literal: minified scripts hoist theirs (``_K='0'``)."""
    constants: dict[str, object] = {}
    for line in lines:
        if match := _LITERAL.match(line):
            try:
                constants[match[1]] = ast.literal_eval(match[2])
            except (ValueError, SyntaxError, MemoryError):
                continue
    return constants


def _pairs(targets: list[ast.expr], value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    for target in targets:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            yield from zip(target.elts, value.elts, strict=True)
        else:
            yield target, value


def _attribute(target: ast.expr) -> str:
    if isinstance(target, ast.Name):
        return target.id
    return target.attr if isinstance(target, ast.Attribute) else ""


def _outermost(value: ast.expr, constants: Mapping[str, object]) -> tuple[str, str | None] | None:
    """The first variable that an expression reads; reads inside its default are not it."""
    pending: list[ast.AST] = [value]
    for _ in range(200):
        if not pending:
            break
        node = pending.pop(0)
        if (found := _read(node, constants)) is not None:
            return found
        pending.extend(ast.iter_child_nodes(node))
    return None


def _read(node: ast.AST, constants: Mapping[str, object]) -> tuple[str, str | None] | None:
    """``(name, default text)`` when `node` reads one environment variable."""
    if isinstance(node, ast.Subscript):
        name = _constant(node.slice, constants)
        if not isinstance(name, str) or not isinstance(node.ctx, ast.Load) or not _NAME.match(name):
            return None
        return (name, None) if _last_name(node.value) == "environ" else None
    if not isinstance(node, ast.Call) or not node.args or not _reads_environment(node.func):
        return None
    name = _constant(node.args[0], constants)
    if not isinstance(name, str) or not _NAME.match(name):
        return None
    rest = [*node.args[1:2], *(item.value for item in node.keywords if item.arg == "default")]
    return name, _text(_constant(rest[0], constants)) if rest else None


def _reads_environment(function: ast.expr) -> bool:
    """``os.environ.get``, ``environ.get``, ``os.getenv``, ``getenv``, and helpers such as ``env_int``."""
    if isinstance(function, ast.Attribute):
        if function.attr == "getenv":
            return True
        if function.attr == "get":
            return _last_name(function.value) in ("environ", "env")
        return bool(_HELPER.search(function.attr)) and function.attr not in ("setdefault",)
    return isinstance(function, ast.Name) and bool(_HELPER.search(function.id))


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _constant(node: ast.expr, constants: Mapping[str, object]) -> object:
    """The constant an expression stands for; None when it is none (or is None)."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _constant(node.operand, constants)
        return -inner if isinstance(inner, (int, float)) and not isinstance(inner, bool) else None
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("str", "int", "float")
        and node.args
    ):
        return _constant(node.args[0], constants)
    if isinstance(node, ast.BinOp):
        return _whole_number(node.op, _constant(node.left, constants), _constant(node.right, constants))
    return None


def _whole_number(operator: ast.operator, left: object, right: object) -> int | None:
    """Sizes as scripts write them: ``64 * 1024``, ``1 << 22``, ``2**24``; None beyond 64 bits."""
    if not isinstance(left, int) or not isinstance(right, int) or abs(left) > _LARGEST or abs(right) > _LARGEST:
        return None
    value: int | None = None
    if isinstance(operator, ast.Mult):
        value = left * right
    elif isinstance(operator, ast.Add):
        value = left + right
    elif isinstance(operator, ast.Sub):
        value = left - right
    elif isinstance(operator, ast.LShift) and 0 <= right <= 64:
        value = left << right
    elif isinstance(operator, ast.Pow) and 0 <= right <= 64:
        value = int(left**right)
    return value if value is not None and abs(value) <= _LARGEST else None


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    return str(value)


def _compared(value: ast.expr, constants: Mapping[str, object]) -> tuple[str, ...]:
    """Texts that a comparison in `value` tests for, e.g. ("1",) or ("1", "true", "yes")."""
    for node in ast.walk(value):
        if (
            isinstance(node, ast.Compare)
            and len(node.ops) == 1
            and isinstance(node.ops[0], ast.Eq | ast.In | ast.NotEq | ast.NotIn)
        ):
            other = node.comparators[0]
            items = other.elts if isinstance(other, ast.Tuple | ast.List | ast.Set) else [other]
            texts = tuple(text for item in items if isinstance(text := _constant(item, constants), str))
            negated = isinstance(node.ops[0], ast.NotEq | ast.NotIn)
            return tuple(f"!{text}" for text in texts) if negated else texts
    return ()


_ATTRIBUTE = re.compile(
    r"^(?:int\(|float\(|bool\()?(?:\w{1,40}\.)?|\)?(?:[!:].*)?$"
)  # around the name in "int(args.name):d"
_REMARK = re.compile(r"(?<=[\w.])\s{1,4}\([^()]{1,200}\)$")  # "4.0 (vs baseline 1.5)"
_FORMATTED = re.compile(r"(?<![\w.])(\w{2,60})\s?[:=]\s?\{([^{}\n]{1,120})\}")


@lru_cache(maxsize=16)
def formatted_names(source: str) -> Mapping[str, tuple[str, ...]]:
    """What f-strings print behind a name: ``f"embed_lr:{token_lr}"`` gives ``{"embed_lr": ("token_lr",)}``."""
    found: dict[str, list[str]] = {}
    for match in _FORMATTED.finditer(source[:MAX_SOURCE_CHARACTERS]):
        found.setdefault(match[1].lower(), []).append(match[2])
    return {name: tuple(expressions) for name, expressions in found.items()}


def prints_attribute(source: str, name: str) -> bool:
    """Whether a printed ``name:value`` is the attribute of that name, as far as the f-strings of `source` tell."""
    expressions = formatted_names(source).get(name)
    if expressions is None:
        return True  # printed by a loop over all settings
    return any(_ATTRIBUTE.sub("", expression.strip()).lower() == name for expression in expressions)


def as_set(printed: str, read: EnvironmentRead | None) -> str:
    """The variable's text that made the script print `printed`.

    A boolean is printed as True or False while the code converts with ``bool(int(..))`` or compares texts: "1" and "0"
    serve both, unless the comparison asks for another word. Brackets of a printed list are dropped.
    """
    text = _REMARK.sub("", printed.strip()).strip("\"'")
    if text in ("True", "true", "False", "false"):
        positive = text.lower() == "true"
        wanted = read.compared_with if read else ()
        if wanted and wanted[0].startswith("!"):
            excluded = {word[1:] for word in wanted}
            if positive:
                return next(word for word in ("1", "on", "_") if word not in excluded)
            return next(iter(sorted(excluded)), _FALSE) if _FALSE not in excluded else _FALSE
        if positive:
            return _TRUE if not wanted or _TRUE in wanted else wanted[0]
        return _FALSE if _FALSE not in wanted else "off"
    if len(text) >= 2 and text[0] + text[-1] in ("[]", "()"):
        return ",".join(part.strip().strip("\"'") for part in text[1:-1].split(",") if part.strip())
    return text
