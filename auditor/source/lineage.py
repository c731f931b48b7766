"""Where an adaptation or a scoring function comes from: has the same function been ruled on before?

Submissions copy from each other. A function's fingerprint is a hash of its syntax tree without what its author was free
to choose, so that a copy is known again after renaming and reformatting. What counts and what does not:

- Names of variables, parameters, functions and attributes count only by where they recur. Built-ins and the words of
  `_LIBRARY_WORDS` stay themselves: ``backward`` and ``detach`` are what a function does.
- Integers, booleans and None stay: a slice's offset, a number of epochs or "skip the last chunk" decide which tokens
  are learned from before they are scored. Other numbers are settings and count only as zero, one or another one.
- Text, docstrings, annotations, imports, ``del``, ``global`` and calls that only write text (logging) do not count.

A match says that the code is known, never that it is called at the same place under the same settings: it is a note,
and no status may depend on it. Functions that both accepted and rejected submissions have are not in the table.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from auditor.ledger import Ledger, Site
from auditor.source.scan import parameters
from auditor.submission import syntax
from auditor.submission.model import SourceText

MIN_STATEMENTS = 6  # smaller functions look alike by chance
MAX_ENTRY_STATEMENTS = 120  # a longer function that the module calls is its entry point
MAX_NOTES = 8
_MAX_DEPTH = 400  # of a function's syntax tree
_HASH_CHARACTERS = 16  # 64 bits

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_BUILTINS = frozenset(dir(builtins))
_WORDS = """
    add_ all all_gather all_reduce any append arange argmax autocast autograd backward barrier bincount bool broadcast
    cat chunk clamp clip_grad_norm_ clone compile copy copy_ cpu cross_entropy cuda cumsum data deepcopy detach div_
    dtype empty_cache enable_grad eval exp extend expand eye fill_ flatten float float32 float64 forward frombuffer
    from_numpy full gather get grad index_add_ inference_mode int int64 is_grad_enabled item items join keys
    load_state_dict log log1p log_softmax logaddexp logsumexp long manual_seed masked_fill max mean median min mul_
    named_parameters nll_loss no_grad norm normal_ ones optim outer parameters pop pow randint randperm reduction
    repeat requires_grad requires_grad_ reshape roll scatter_add_ searchsorted set_grad_enabled set_to_none shape
    sigmoid size softmax sort split sqrt square squeeze stack state_dict step sub_ sum synchronize T tanh tensor to
    tolist topk train transpose tril triu unfold uint16 unsqueeze update values var view view_as weight where
    zero_ zero_grad zeros zeros_like Adam AdamW Muon Parameter SGD
"""
_LIBRARY_WORDS = frozenset(_WORDS.split())
_LOOPS = ast.For | ast.While | ast.comprehension
_NOT_CODE = ast.Import | ast.ImportFrom | ast.Delete | ast.Global | ast.Nonlocal | ast.Pass


@dataclass(frozen=True, slots=True)
class Precedent:
    """The ruling on a function: the first pull request that was ruled on with it. `rules`: broken ones, if illegal."""

    pull_request: int
    day: str  # ISO date of the ruling, "" if it is not known
    rules: tuple[str, ...]
    legal: bool
    scores: bool  # the function scores or mixes; else it adapts


def lineage_notes(
    script: SourceText, learned_sites: Iterable[Site], tree: ast.Module | None = None
) -> list[tuple[Site, str]]:
    """Notes on those functions around `learned_sites` that are, up to names, functions ruled on before.

    `learned_sites` are places where the ledger learns from or scores validation tokens (`evaluation_sites`); those of
    other files are passed over. `tree` is the parsed script, if the caller has it. At most `MAX_NOTES`.
    """
    sites = [site for site in learned_sites if site.path == script.path and site.function and site.line]
    known = table() if sites else {}
    if not known:
        return []
    notes: dict[Site, str] = {}
    for function in functions_around(tree or _parse(script.text), sites):
        precedent = known.get(fingerprint(function))
        if precedent is not None and len(notes) < MAX_NOTES:
            notes[Site(script.path, function.lineno, function.name)] = _note(function, precedent)
    return list(notes.items())


def evaluation_sites(ledger: Ledger) -> tuple[Site, ...]:
    """Where a ledger learns from, scores or mixes validation tokens.

    A score whose place is not known stands where it is printed, which says nothing about how it was made.
    """
    found = dict.fromkeys(learned.site for learned in ledger.learned)
    found.update(dict.fromkeys(scored.site for scored in ledger.scored if scored.site != scored.metric.site))
    for violation in ledger.violations:
        found.update(dict.fromkeys(site for site, _ in violation.sites))
    return tuple(found)


def _note(function: FunctionNode, precedent: Precedent) -> str:
    what = "scoring" if precedent.scores else "adaptation"
    place = f"this {what} ({function.name}, lines {function.lineno}-{function.end_lineno or function.lineno})"
    details = ", ".join((*precedent.rules, *([precedent.day] if precedent.day else [])))
    ruling = "accepted" if precedent.legal else "ruled out"
    reference = f"#{precedent.pull_request}{f' ({details})' if details else ''}"
    return f"{place} is, up to names, the one {ruling} in {reference}; where and how it is called may differ"


@cache
def table() -> Mapping[str, Precedent]:
    """Fingerprint -> ruling; empty when the table is missing or damaged, for notes are no reason to fail."""
    try:
        stored = json.loads((files("auditor.source") / "data" / "lineage.json").read_text(encoding="utf-8"))
        return {key: _precedent(fields) for key, fields in stored["functions"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _precedent(fields: list[object]) -> Precedent:
    number, day, rules, legal, scores = fields
    return Precedent(int(str(number)), str(day), tuple(str(rules).split()), bool(legal), bool(scores))


def _parse(text: str) -> ast.Module:
    return syntax.parse(text).tree or ast.Module([], [])


def functions_around(tree: ast.Module, sites: Iterable[Site]) -> list[FunctionNode]:
    """The function that each site names, the innermost one of that name around the line, in the order of the file.

    A long function that the module itself calls is left out: it is the whole script, not a pass over tokens.
    """
    wanted: dict[str, set[int]] = {}
    for site in sites:
        wanted.setdefault(site.function.rpartition(".")[2], set()).add(site.line)
    found: dict[tuple[str, int], FunctionNode] = {}
    functions = [node for node in syntax.survey(tree).functions if node.name in wanted]
    for node in sorted(functions, key=lambda node: node.lineno):  # an inner function comes after the one around it
        for line in wanted[node.name]:
            if node.lineno <= line <= (node.end_lineno or node.lineno):
                found[node.name, line] = node
    entries = _called_by_module(tree)
    around = sorted({id(node): node for node in found.values()}.values(), key=lambda node: node.lineno)
    return [node for node in around if node.name not in entries or _statements(node) <= MAX_ENTRY_STATEMENTS]


def _called_by_module(tree: ast.Module) -> set[str]:
    """Names of functions that statements outside of functions and classes call."""
    names: set[str] = set()
    for statement in tree.body:
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for node in syntax.walk(statement):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    names.add(node.func.id)
    return names


def _statements(function: FunctionNode) -> int:
    return sum(isinstance(node, ast.stmt) for node in syntax.walk(function))


# ---- fingerprints -------------------------------------------------------------------------------------------------


def fingerprint(function: FunctionNode) -> str:
    """Hash of what a function does, up to names.

    "" for one that cannot be told apart: too small, nested too deep, or without a loop. A pass over tokens is a loop;
    what has none only calls those that have one.
    """
    if not any(isinstance(node, _LOOPS) for node in syntax.walk(function)):
        return ""
    canonical = _Canonical(function)
    try:
        words = " ".join(canonical.function(function))
    except RecursionError:
        return ""
    if canonical.statements < MIN_STATEMENTS or canonical.too_deep:
        return ""
    return hashlib.sha256(words.encode()).hexdigest()[:_HASH_CHARACTERS]


class _Canonical:
    """Writes a function as words that do not depend on what its author called things."""

    def __init__(self, function: FunctionNode) -> None:
        self.numbers: dict[str, dict[str, int]] = {}
        self.statements = 0
        self.depth = 0
        self.too_deep = False
        self.bound = {node.id for node in syntax.walk(function) if isinstance(node, ast.Name) and _stores(node)}
        self.bound |= {node.arg for node in syntax.walk(function) if isinstance(node, ast.arg)}

    def numbered(self, kind: str, name: str) -> str:
        """A name by the order in which names of its kind first occur."""
        numbers = self.numbers.setdefault(kind, {})
        return f"{kind}{numbers.setdefault(name, len(numbers))}"

    def function(self, node: FunctionNode | ast.Lambda) -> Iterator[str]:
        for decorator in getattr(node, "decorator_list", ()):
            yield "@"
            yield from self.node(decorator)
        yield "def"
        for argument in parameters(node.args):
            yield self.numbered("n", argument.arg)
        yield from self.several([*node.args.defaults, *(item for item in node.args.kw_defaults if item)])
        if isinstance(node, ast.Lambda):
            yield from self.node(node.body)
        else:
            yield from self.block(node.body)

    def block(self, body: list[ast.stmt]) -> Iterator[str]:
        yield "{"
        for statement in body:
            if not _is_talk(statement):
                self.statements += 1
                yield from self.node(statement)
        yield "}"

    def several(self, nodes: Iterable[ast.AST]) -> Iterator[str]:
        yield "("
        for node in nodes:
            yield from self.node(node)
        yield ")"

    def node(self, node: ast.AST) -> Iterator[str]:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            self.too_deep = True
        else:
            yield from self._node(node)
        self.depth -= 1

    def _node(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Name):
            free = node.id in _BUILTINS and node.id not in self.bound
            yield node.id if free else self.numbered("n", node.id)
        elif isinstance(node, ast.Constant):
            yield _constant(node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "text"
        elif isinstance(node, ast.Attribute):
            yield from self.node(node.value)
            yield "." + (node.attr if node.attr in _LIBRARY_WORDS else self.numbered("a", node.attr))
        elif isinstance(node, ast.keyword):
            known = node.arg is None or node.arg in _LIBRARY_WORDS
            yield f"{node.arg or '**'}=" if known else "k="  # `device=` of a library and of the script are two names
            yield from self.node(node.value)
        elif isinstance(node, FunctionNode):
            yield self.numbered("n", node.name)
            yield from self.function(node)
        elif isinstance(node, ast.Lambda):
            yield from self.function(node)
        elif isinstance(node, ast.AnnAssign):
            yield from self.fields(ast.Assign([node.target], node.value or ast.Constant(None)))
        else:
            yield from self.fields(node)

    def fields(self, node: ast.AST) -> Iterator[str]:
        """A node without rules of its own: its kind and its children; plain names in it are numbered."""
        yield type(node).__name__
        yield "("
        for _, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                yield from self.block(value)
            elif isinstance(value, list):
                yield from self.several(item for item in value if isinstance(item, ast.AST))
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                yield from self.node(value)
            elif isinstance(value, str):
                yield self.numbered("n", value)
        yield ")"


def _stores(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _constant(value: object) -> str:
    if isinstance(value, bool | int) or value is None or value is Ellipsis:
        return repr(value) if not isinstance(value, int) or value.bit_length() < 512 else "number"
    if isinstance(value, float):
        return repr(value) if value in (0.0, 1.0) else "number"
    return "text"


def _is_talk(node: ast.stmt) -> bool:
    """True for statements without a part in what is computed: text, logging, imports, conditions around logging."""
    if isinstance(node, _NOT_CODE):
        return True
    if isinstance(node, ast.AnnAssign):
        return node.value is None
    if isinstance(node, ast.If):
        return all(map(_is_talk, node.body)) and all(map(_is_talk, node.orelse)) and not _acts(node.test)
    if not isinstance(node, ast.Expr):
        return False
    call = node.value
    if isinstance(call, ast.Constant):
        return True
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id not in ("exec", "eval")):
        return False
    return bool(call.args) and _is_text(call.args[0])


def _acts(test: ast.expr) -> bool:
    return any(isinstance(node, ast.NamedExpr) for node in syntax.walk(test))


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node.left)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
