"""Rewrites scripts so that no name of their own is left, without changing what they do.

Functions, classes, variables, parameters and attributes that a script defines get names without meaning; comments and
docstrings go. Names of libraries, of environment variables and text (labels, file names, keys) stay. One new name
stands for one old name everywhere, in all files of a submission, so that helpers still fit. Where it cannot be told
whether a name is the script's own - an attribute that a library has too, a keyword argument to something unknown, a
name that is also used as text - the name stays: a weaker disguise, never another program.
"""

from __future__ import annotations

import ast
import builtins
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from benchmarks.renaming.library_names import library_names

_BUILTINS = frozenset(dir(builtins))
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ATTRIBUTE_BY_TEXT = frozenset(("getattr", "setattr", "hasattr", "delattr"))
_NAMES_BY_TEXT = frozenset(("globals", "locals", "eval", "exec"))
_MODULES_BY_NAME = frozenset(("modules", "import_module", "__import__"))  # sys.modules[__name__] is the script
_BAGS = frozenset(("SimpleNamespace", "Namespace", "namedtuple", "make_dataclass"))  # keywords become attributes

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Disguise(StrEnum):
    """What new names look like."""

    PLAIN = "plain"  # v12, C12 for classes, K12 for constants: the conventions of case stay
    FLAT = "flat"  # v12 for everything
    MISLEADING = "misleading"  # words of the field, none in its right place


_MISLEADING = """
train_tokens ttt_adapt eval_val update_cache score_chunk val_loader base_model optimizer lookup_ngram target
log_warmup build_hessian ema_shadow reset_lora prequant_ttt oracle_gate mix_probs bytes_lut epoch seen_docs
"""


@dataclass(frozen=True, slots=True)
class Renamed:
    """`sources`: path -> rewritten text. `names`: old -> new. `kept`: own name -> why it stayed."""

    sources: Mapping[str, str]
    names: Mapping[str, str]
    kept: Mapping[str, str]


def rename(sources: Mapping[str, str], disguise: Disguise = Disguise.PLAIN) -> Renamed:
    """Rewrite the Python files of one submission, `sources`: path -> text. Raises SyntaxError when one does not parse.

    A file ``lib/cache.py`` is taken for the module that its neighbours import as ``cache`` or ``lib.cache``.
    """
    trees = {path: ast.parse(text) for path, text in sources.items()}
    survey = _survey(trees)
    names, attributes, kept = _decide(survey)
    fresh = _fresh_names(names | attributes, survey.identifiers, disguise)
    for tree in trees.values():
        _strip(tree)
        _Rewriter(survey, names, attributes, fresh).visit(tree)
    return Renamed({path: ast.unparse(tree) + "\n" for path, tree in trees.items()}, fresh, kept)


def unparsed(sources: Mapping[str, str]) -> dict[str, str]:
    """The same rewriting without renaming: comments, docstrings and layout go, names stay."""
    texts = {}
    for path, text in sources.items():
        tree = ast.parse(text)
        _strip(tree)
        texts[path] = ast.unparse(tree) + "\n"
    return texts


def _strip(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])


# ---- what the script defines ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Signature:
    """Parameters of everything that goes by one name. `open_ended`: further keywords go elsewhere or nowhere."""

    parameters: set[str] = field(default_factory=set)
    open_ended: bool = False
    of_library: bool = False  # a class whose constructor is a library's


@dataclass(slots=True)
class _Survey:
    helpers: frozenset[str] = frozenset()  # module names of the submission's own files
    modules_as_values: bool = False  # a script may reach its own functions as attributes of a module
    imported: set[str] = field(default_factory=set)
    accessed: set[str] = field(default_factory=set)  # attributes of things that are not imported
    helper_roots: set[str] = field(default_factory=set)  # names bound to own modules
    bound: set[str] = field(default_factory=set)
    parameters: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    class_level: set[str] = field(default_factory=set)
    module_parts: set[str] = field(default_factory=set)  # attributes of classes with bases: keys of a state dict
    callables: dict[str, _Signature] = field(default_factory=dict)
    methods: dict[str, _Signature] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)
    key_words: set[str] = field(default_factory=set)  # words of texts without blanks, e.g. "blocks.0.attn_scale"
    identifiers: set[str] = field(default_factory=set)
    calls: list[ast.Call] = field(default_factory=list)
    decorator_texts: set[str] = field(default_factory=set)
    slots: set[str] = field(default_factory=set)
    by_text: set[int] = field(default_factory=set)  # constants that getattr and its like get, which are renamed


def _survey(trees: Mapping[str, ast.Module]) -> _Survey:
    helpers: set[str] = set()
    for path in trees:
        module = path.removesuffix("!unpacked").rpartition("!")[2] if "!" in path else path
        dotted = module.removesuffix(".py").strip("/").replace("/", ".")
        helpers.update((dotted, dotted.rpartition(".")[2]))
    survey = _Survey(helpers=frozenset(helpers), modules_as_values=len(trees) > 1)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                _survey_import(node, survey)
    for tree in trees.values():
        for node in ast.walk(tree):
            _survey_node(node, survey)
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in classes:
        _survey_class(node, classes, survey)
    return survey


def _survey_import(node: ast.Import | ast.ImportFrom, survey: _Survey) -> None:
    for alias in node.names:
        if isinstance(node, ast.Import):
            bound = alias.asname or alias.name.split(".")[0]
            (survey.helper_roots if alias.name in survey.helpers else survey.imported).add(bound)
        elif node.module in survey.helpers or (node.level and node.module is None and alias.name in survey.helpers):
            if node.module is None:
                survey.helper_roots.add(alias.asname or alias.name)
            elif alias.asname:
                survey.bound.add(alias.asname)
        else:
            survey.imported.add(alias.asname or alias.name)


def _survey_node(node: ast.AST, survey: _Survey) -> None:
    if isinstance(node, ast.Name):
        survey.identifiers.add(node.id)
        if isinstance(node.ctx, ast.Store | ast.Del):
            survey.bound.add(node.id)
        survey.modules_as_values |= node.id in _MODULES_BY_NAME
    elif isinstance(node, ast.Attribute):
        survey.identifiers.add(node.attr)
        survey.modules_as_values |= node.attr in _MODULES_BY_NAME and _rooted_in(node, ("sys", "importlib"))
        if not _rooted_in(node, survey.imported | survey.helper_roots):
            survey.accessed.add(node.attr)
            if isinstance(node.ctx, ast.Store):
                survey.attributes.add(node.attr)
    elif isinstance(node, ast.arg):
        survey.bound.add(node.arg)
        survey.parameters.add(node.arg)
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        survey.bound.add(node.name)
    elif isinstance(node, ast.MatchMapping) and node.rest:
        survey.bound.add(node.rest)
    elif isinstance(node, ast.Call):
        survey.calls.append(node)
        survey.identifiers.update(keyword.arg for keyword in node.keywords if keyword.arg)
        if (constant := _attribute_constant(node)) is not None:
            survey.by_text.add(id(constant))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in survey.by_text:
        survey.texts.add(node.value)
        if not re.search(r"\s", node.value):
            survey.key_words.update(_IDENTIFIER.findall(node.value))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        _add_signature(survey.callables, node.name, node.args, 0)
        survey.bound.add(node.name)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        for decorator in node.decorator_list:
            survey.decorator_texts.update(_texts_in(decorator))
    if isinstance(node, ast.ClassDef):
        survey.bound.add(node.name)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if node.value and any(isinstance(item, ast.Name) and item.id in ("__slots__", "__all__") for item in targets):
            survey.slots.update(_texts_in(node.value))


def _attribute_constant(call: ast.Call) -> ast.Constant | None:
    """The attribute's name in ``getattr(thing, "name")`` and its like."""
    if not (isinstance(call.func, ast.Name) and call.func.id in _ATTRIBUTE_BY_TEXT and len(call.args) > 1):
        return None
    name = call.args[1]
    return name if isinstance(name, ast.Constant) and isinstance(name.value, str) else None


def _texts_in(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def _add_signature(table: dict[str, _Signature], name: str, args: ast.arguments, skip: int) -> None:
    signature = table.setdefault(name, _Signature())
    positional = [*args.posonlyargs, *args.args][skip:]
    signature.parameters.update(arg.arg for arg in (*positional, *args.kwonlyargs))
    signature.open_ended |= args.kwarg is not None


def _survey_class(node: ast.ClassDef, classes: list[ast.ClassDef], survey: _Survey) -> None:
    for item in _class_statements(node.body):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            survey.attributes.add(item.name)
            survey.class_level.add(item.name)
            if not isinstance(item, ast.ClassDef):
                _add_signature(survey.methods, item.name, item.args, 1)
        else:
            for inner in ast.walk(item):
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    survey.attributes.add(inner.id)
                    survey.class_level.add(inner.id)
    if node.bases:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                survey.module_parts.add(inner.attr)
    signature = survey.callables.setdefault(node.name, _Signature())
    _constructor(node, {item.name: item for item in classes}, signature, 0)


def _class_statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a class body, those under ``if``, ``for``, ``with`` and ``try`` included."""
    for item in body:
        yield item
        for inner in ("body", "orelse", "finalbody"):
            if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from _class_statements(getattr(item, inner, []))


def _constructor(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef], signature: _Signature, depth: int) -> None:
    """Add the parameters of the constructor of `node`, which may be inherited or made of its annotated fields."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name in ("__init__", "__new__"):
            signature.parameters.update(arg.arg for arg in (*item.args.args[1:], *item.args.kwonlyargs))
            signature.open_ended |= item.args.kwarg is not None
            return
    fields = [
        item.target.id for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    ]
    signature.parameters.update(fields)
    own = [classes[base.id] for base in node.bases if isinstance(base, ast.Name) and base.id in classes]
    if len(own) < len(node.bases) and not fields:
        signature.of_library = True
    for base in own:
        if depth < 10 and base is not node:
            _constructor(base, classes, signature, depth + 1)


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


def _rooted_in(node: ast.expr, names: Iterable[str]) -> bool:
    root = _root(node)
    return isinstance(root, ast.Name) and root.id in names


# ---- which names may change ---------------------------------------------------------------------------------------


def _decide(survey: _Survey) -> tuple[set[str], set[str], dict[str, str]]:
    """Names that may change, attributes that may change, and why the others stay."""
    library = library_names()
    kept: dict[str, str] = {}

    def keep(names: Iterable[str], why: str) -> None:
        for name in names:
            if name in survey.bound or name in survey.attributes:
                kept.setdefault(name, why)

    both: set[str] = set()  # blocked wherever they stand
    both |= {name for name in survey.bound | survey.attributes if name.startswith("__") and name.endswith("__")} | {"_"}
    keep(_blocked_keywords(survey), "keyword of a call that could not be resolved")
    both |= _blocked_keywords(survey)
    both |= survey.decorator_texts | survey.slots
    keep(survey.decorator_texts | survey.slots, "named by text")
    names = survey.bound - both - _BUILTINS - survey.imported - survey.helper_roots
    keep(survey.bound & (_BUILTINS | survey.imported | survey.helper_roots), "built-in or imported")
    if any(isinstance(call.func, ast.Name) and call.func.id in _NAMES_BY_TEXT for call in survey.calls):
        words = {word for text in survey.texts for word in _IDENTIFIER.findall(text)}
        keep(words & names, "may be named by text")
        names -= words
        both |= words
    attributes = survey.attributes - both - library.attributes
    keep(survey.attributes & library.attributes, "a library has it too")
    by_text = _attributes_by_text(survey) | (survey.module_parts & survey.key_words)
    keep(attributes & by_text, "may be named by text")
    attributes -= by_text
    if survey.modules_as_values:
        by_module = (survey.accessed & names) - attributes
        keep(by_module, "may be reached through a module")
        names -= by_module
    torn = {name for name in survey.class_level if (name in names) != (name in attributes)}
    keep(torn, "class-level name that must stay as name or as attribute")
    return names - torn, attributes - torn, kept


def _attributes_by_text(survey: _Survey) -> set[str]:
    """Attributes that the script may reach by a name it computes."""
    found: set[str] = set()
    for call in survey.calls:
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        if name in ("vars", "asdict", "_asdict", "_replace"):
            found |= survey.texts
        elif name in _ATTRIBUTE_BY_TEXT and len(call.args) > 1 and not isinstance(call.args[1], ast.Constant):
            found |= survey.texts
            if isinstance(call.args[1], ast.JoinedStr):
                found |= {attr for attr in survey.attributes if re.fullmatch(_pattern(call.args[1]), attr)}
        elif name in ("attrgetter", "methodcaller", "namedtuple", "make_dataclass"):
            found |= {word for text in _texts_in(call) for word in _IDENTIFIER.findall(text)}
        if name in _BAGS:
            found |= {keyword.arg for keyword in call.keywords if keyword.arg}
    if "__dict__" in survey.identifiers:
        found |= survey.texts
    return found


def _pattern(template: ast.JoinedStr) -> str:
    """A regular expression for what an f-string can become; runs of holes count once."""
    pieces = [re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in template.values]
    return re.sub(r"(\.\*)+", ".*", "".join(pieces))


def _blocked_keywords(survey: _Survey) -> set[str]:
    """Own parameters that a call names by keyword where nobody can tell whether the callee is the script's."""
    blocked: set[str] = set()
    spread = False
    for call in survey.calls:
        signature = callee(call, survey)
        given = {keyword.arg for keyword in call.keywords if keyword.arg}
        if isinstance(call.func, ast.Name) and call.func.id == "dict":
            blocked |= given
        elif signature is None:
            blocked |= given & library_names().keywords
        elif signature.open_ended or (signature.of_library and signature.parameters):
            blocked |= given - signature.parameters
        spread |= any(keyword.arg is None or keyword.arg in ("kwargs", "kwds") for keyword in call.keywords)
    if spread:
        blocked |= survey.texts
    return blocked & survey.parameters | (blocked & survey.class_level)


_LIBRARY = _Signature(of_library=True)


def callee(call: ast.Call, survey: _Survey) -> _Signature | None:
    """What the script knows of the called thing: its own signature, `_LIBRARY`, or None when it cannot be told."""
    return _resolve(call.func, call, survey)


def _resolve(function: ast.expr, call: ast.Call, survey: _Survey) -> _Signature | None:
    if isinstance(function, ast.Subscript):  # a kernel launch: kernel[grid](...)
        return _resolve(function.value, call, survey)
    if isinstance(function, ast.Name):
        if function.id == "partial" and call.args:
            return _resolve(call.args[0], call, survey)
        if function.id in survey.callables:
            return survey.callables[function.id]
        if function.id == "replace" and function.id in survey.imported:
            return None
        return _LIBRARY if function.id in survey.imported or function.id in _BUILTINS - survey.bound else None
    if not isinstance(function, ast.Attribute):
        return None
    if function.attr == "partial" and call.args and _rooted_in(function, survey.imported):
        return _resolve(call.args[0], call, survey)
    if _rooted_in(function, survey.imported):
        return None if function.attr == "replace" else _LIBRARY
    if _rooted_in(function, survey.helper_roots):
        return survey.callables.get(function.attr)
    in_library = function.attr in library_names().attributes
    if function.attr in survey.methods and not function.attr.startswith("__"):
        return None if in_library else survey.methods[function.attr]
    return _LIBRARY if in_library and not function.attr.startswith("__") else None


# ---- rewriting ----------------------------------------------------------------------------------------------------


def _fresh_names(own: set[str], taken: set[str], disguise: Disguise) -> dict[str, str]:
    """A new name for each own one, the same in every run."""
    library = library_names()
    forbidden = taken | own | library.attributes | library.keywords | _BUILTINS
    fresh: dict[str, str] = {}
    number = 0
    for name in sorted(own, key=lambda text: (zlib.crc32(text.encode()), text)):  # the order tells nothing
        candidate = ""
        while not candidate or candidate in forbidden:
            number += 1
            candidate = _FORMS[disguise](name, number)
        fresh[name] = candidate
    return fresh


def _plain(name: str, number: int) -> str:
    bare = name.lstrip("_")
    letter = "v" if not bare[:1].isupper() else "K" if bare.isupper() and len(bare) > 1 else "C"
    return "_" * (len(name) - len(bare)) + f"{letter}{number}"


def _flat(name: str, number: int) -> str:
    return ("__v" if name.startswith("__") else "v") + str(number)


def _misleading(name: str, number: int) -> str:
    stems = _MISLEADING.split()
    stem = stems[zlib.crc32(name.encode()[::-1]) % len(stems)]
    return ("__" if name.startswith("__") else "") + f"{stem}_{number}"


_FORMS: dict[Disguise, Callable[[str, int], str]] = {
    Disguise.PLAIN: _plain,
    Disguise.FLAT: _flat,
    Disguise.MISLEADING: _misleading,
}


class _Rewriter(ast.NodeVisitor):
    """Puts the new names into a tree."""

    def __init__(self, survey: _Survey, names: set[str], attributes: set[str], fresh: Mapping[str, str]) -> None:
        self.survey = survey
        self.names = {name: fresh[name] for name in names}
        self.attributes = {name: fresh[name] for name in attributes}

    def visit_Name(self, node: ast.Name) -> None:
        node.id = self.names.get(node.id, node.id)

    def visit_arg(self, node: ast.arg) -> None:
        node.arg = self.names.get(node.arg, node.arg)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if _rooted_in(node, self.survey.helper_roots) and isinstance(node.value, ast.Name):
            node.attr = self.names.get(node.attr, node.attr)
        elif not _rooted_in(node, self.survey.imported):
            node.attr = self.attributes.get(node.attr, node.attr)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        signature = callee(node, self.survey)
        for keyword in node.keywords:
            if keyword.arg and self._is_own(keyword.arg, signature):
                keyword.arg = self.names.get(keyword.arg, keyword.arg)
        constant = _attribute_constant(node)
        if constant is not None and not _rooted_in(node.args[0], self.survey.imported):
            constant.value = self.attributes.get(str(constant.value), str(constant.value))
        self.generic_visit(node)

    def _is_own(self, keyword: str, signature: _Signature | None) -> bool:
        if signature is None:
            return keyword in self.survey.parameters or keyword in self.survey.class_level
        return keyword in signature.parameters

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        node.name = self.names.get(node.name, node.name)
        self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        node.name = self.names.get(node.name, node.name)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        node.name = self.names.get(node.name, node.name)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        node.name = self.names.get(node.name, node.name) if node.name else None
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        node.name = self.names.get(node.name, node.name) if node.name else None
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        node.name = self.names.get(node.name, node.name) if node.name else None

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        node.rest = self.names.get(node.rest, node.rest) if node.rest else None
        self.generic_visit(node)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        node.kwd_attrs = [self.attributes.get(name, name) for name in node.kwd_attrs]
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        node.names = [self.names.get(name, name) for name in node.names]

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        node.names = [self.names.get(name, name) for name in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module in self.survey.helpers:
            for alias in node.names:
                alias.name = self.names.get(alias.name, alias.name)
                alias.asname = self.names.get(alias.asname, alias.asname) if alias.asname else None
