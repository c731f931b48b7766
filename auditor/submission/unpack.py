"""Opening packed scripts: the text that a self-extracting wrapper would execute, without executing anything.

110 of the challenge's scripts hold their source as a compressed literal; others write their modules to disk, install
them from string constants, or run a neighbour's file. `fold` says what such a wrapper would run; here its layers are
followed, within one budget for all of them.
"""

from __future__ import annotations

import ast
import hashlib
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from auditor.submission import bounds, syntax
from auditor.submission.decompress import Budget
from auditor.submission.effects import Execution, Folded
from auditor.submission.executors import survey
from auditor.submission.fold import fold_module
from auditor.submission.model import Problem, SourceText
from auditor.submission.text import decode_source

_THIN_CODE = 6_000  # bytes of code beside long literals, up to which a script may be a wrapper
_MUCH_LONGER = 4  # times the wrapper's own code
_DENSE_LITERAL = 2_000  # characters without a gap: an encoded payload, not prose
_SHOWN_UNKNOWNS = 3
_MAY_RUN_CODE = re.compile(
    r"(?<![.\w])(?:exec|eval|execfile|__import__)\b|\b(?:run_path|run_module|exec_module|load_module|load_source)\b"
    r"|\b(?:builtins|__builtins__|marshal|CodeType|FunctionType)\b"
)
_STARTS_CODE = re.compile(
    r"\b(?:import_module|subprocess|Popen|execvp?e?|spawnvp?|os\.system|decompress|\w+\d\ddecode|fromhex|unhexlify)\b"
)
_DENSE = re.compile(rf"\S{{{_DENSE_LITERAL}}}")

Reader = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Opened:
    """A python file as far as it can be opened: the source that runs, further sources, and what stayed closed."""

    source: SourceText
    helpers: tuple[SourceText, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Layers:
    """State while going from a stored file through its layers."""

    path: str  # the file or layer at hand
    stored: str  # the stored file it came from
    text: str
    data: bytes
    layers: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    environment_defaults: dict[str, str] = field(default_factory=dict)
    helpers: dict[str, SourceText] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)


def open_source(path: str, data: bytes, read: Reader, budget: Budget | None = None) -> Opened:
    """Open the python file `path` (relative to the root) whose content is `data`.

    `read` returns the content of another file of the submission by such a path, None when there is none. Never
    raises for what the file holds: what cannot be opened stays as it is, with a problem and `SourceText.opaque`.
    """
    text, problem = decode_source(data)
    state = _Layers(path, path, text, data)
    if problem:
        _closed(state, problem)
    budget = budget or Budget()
    for depth in range(bounds.UNPACK_DEPTH + 1):
        tree = parse(state.text, state.path, state.problems)
        if tree is None or not may_hide_code(state.text) or not _open_layer(state, tree, read, budget, depth):
            break
    return _finish(state, path, text, data)


def may_hide_code(text: str) -> bool:
    """Whether opening `text` could find anything: it executes something, is encoded, or is short and starts things."""
    if _MAY_RUN_CODE.search(text) or _DENSE.search(text):
        return True
    return len(text) <= 2 * _THIN_CODE and _STARTS_CODE.search(text) is not None


def parse(text: str, path: str, problems: list[Problem]) -> ast.Module | None:
    """The syntax tree of `text`, or None and a problem that names the line."""
    parsed = syntax.parse(text)
    if parsed.problem:
        problems.append(Problem(path, parsed.problem))
    return parsed.tree


def _open_layer(state: _Layers, tree: ast.Module, read: Reader, budget: Budget, depth: int) -> bool:
    """Go one layer down; False when there is none or it cannot be opened."""
    surveyed = survey(state.text, tree)
    code_bytes = surveyed.code_bytes
    thin = code_bytes <= _THIN_CODE
    if not thin and not surveyed.executors:
        return False
    folded = fold_module(tree, state.path.partition("!")[0], read, budget, surveyed.executors, whole=thin)
    payload = _payload(folded, code_bytes)
    _keep_helpers(state, folded, payload)
    if payload is None:
        _judge_closed(state, folded, dense=thin and _DENSE.search(state.text) is not None)
        return False
    if depth == bounds.UNPACK_DEPTH:
        _closed(state, f"packed more than {bounds.UNPACK_DEPTH} times")
        return False
    _judge_wrapper(state, folded, payload)
    _descend(state, folded, payload)
    return True


def _payload(folded: Folded, code_bytes: int) -> Execution | None:
    """What the wrapper exists to run: the largest thing it executes as the main program, else the largest it imports.

    A script with much code of its own is a wrapper only for something decoded that is several times as long.
    """
    thin = code_bytes <= _THIN_CODE
    main = [item for item in folded.executions if item.namespace in ("__main__", "")]
    hidden = [item for item in main if item.decoders or item.stored or item.written or len(item.source) > code_bytes]
    if not thin:
        hidden = [item for item in main if item.decoders and len(item.source) > _MUCH_LONGER * code_bytes]
    elif not hidden:
        hidden = [item for item in folded.executions if len(item.source) > code_bytes]
    return max(hidden, key=lambda item: len(item.source), default=None)


def _descend(state: _Layers, folded: Folded, payload: Execution) -> None:
    data = payload.source if isinstance(payload.source, bytes) else payload.source.encode("utf-8", "surrogatepass")
    for name, value in folded.environment_defaults.items():
        if name not in state.environment:
            state.environment_defaults.setdefault(name, value)
    state.environment.update(folded.environment)
    if payload.stored:
        state.path = state.stored = payload.stored
        state.data = data
    else:
        state.path += "!unpacked"
        state.layers.append(_described(payload))
    state.text = decode_source(data)[0] if isinstance(payload.source, bytes) else payload.source


def _described(payload: Execution) -> str:
    inner = "".join(f"{decoder}(" for decoder in reversed(payload.decoders))
    return f"{payload.how}({inner.rstrip('(')}{')' * max(len(payload.decoders), 1)}"


def _keep_helpers(state: _Layers, folded: Folded, payload: Execution | None) -> None:
    """Sources beside the payload: modules made from strings, written python files, smaller executed pieces."""
    for number, item in enumerate(folded.executions):
        if item is payload or item.written:
            continue
        if item.stored:
            _keep_stored(state, item)
            continue
        name = f"{item.namespace.replace('.', '/')}.py" if item.namespace not in ("__main__", "") else f"exec{number}"
        _keep(state, name, item.source)
    for path, content in folded.written.items():
        if path.endswith(".py") and (payload is None or path != payload.written):
            _keep(state, _below_common_folder(path, folded), content)


def _keep_stored(state: _Layers, item: Execution) -> None:
    """A file of the submission that is loaded as a module by its path, from this folder or from another one."""
    if item.stored in (state.stored, state.path) or item.namespace in ("__main__", ""):
        return
    text = decode_source(item.source)[0] if isinstance(item.source, bytes) else item.source
    data = item.source if isinstance(item.source, bytes) else item.source.encode("utf-8", "surrogatepass")
    state.helpers[item.stored] = SourceText(
        item.stored, text, hashlib.sha256(data).hexdigest(), imported_as=item.namespace
    )


def _keep(state: _Layers, name: str, source: str | bytes) -> None:
    text = decode_source(source)[0] if isinstance(source, bytes) else source
    data = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
    path = f"{state.stored}!{name}"
    state.helpers[path] = SourceText(
        path,
        text,
        hashlib.sha256(data).hexdigest(),
        layers=(*state.layers, "written by the wrapper"),
        wrapper_path=state.stored,
    )


def _below_common_folder(path: str, folded: Folded) -> str:
    """A written file's path below the folder into which the wrapper writes."""
    folders = [posixpath.dirname(other) for other in folded.written]
    common = posixpath.commonpath(folders) if len({f.startswith("/") for f in folders}) == 1 else ""
    return path[len(common) :].lstrip("/") if common and path.startswith(common) else posixpath.basename(path)


def _judge_closed(state: _Layers, folded: Folded, *, dense: bool) -> None:
    """Report code that runs and was not seen."""
    if folded.exceeded:
        _closed(state, f"packed: {folded.exceeded}")
    elif dense and not folded.executions:
        line, reason = (folded.unexplained or folded.unopened or [(1, "a dense literal that nothing opens")])[0]
        _closed(state, f"packed by something this tool does not open: line {line}: {reason}")
    elif folded.unopened:
        listed = ", ".join(f"{name} at line {line}" for line, name in folded.unopened[:_SHOWN_UNKNOWNS])
        _closed(state, f"runs code that does not follow from literals: {listed}")


def _judge_wrapper(state: _Layers, folded: Folded, payload: Execution) -> None:
    """A wrapper that does more than unpack may change what its payload does."""
    for line, reason in folded.unexplained[:_SHOWN_UNKNOWNS]:
        _closed(state, f"its wrapper does something else too: line {line}: {reason}")
    if folded.exceeded:
        _closed(state, f"packed: {folded.exceeded}")


def _closed(state: _Layers, message: str) -> None:
    state.problems.append(Problem(state.path, message))
    state.opaque.append(message)


def _finish(state: _Layers, path: str, text: str, data: bytes) -> Opened:
    moved = state.path != path
    source = SourceText(
        state.path,
        state.text,
        hashlib.sha256(data if state.layers else state.data).hexdigest(),
        layers=tuple(state.layers),
        environment=dict(state.environment),
        environment_defaults=dict(state.environment_defaults),
        wrapper=text if moved else "",
        wrapper_path=path if moved else "",
        opaque="; ".join(dict.fromkeys(state.opaque)),
    )
    return Opened(source, tuple(state.helpers.values()), tuple(dict.fromkeys(state.problems)))
