"""What a folded wrapper would do to the world: files, environment, execution. Everything is recorded, nothing done.

Large values remember how they were decoded and from which stored file they came, so that an ``exec`` of one can say
"exec(lzma(b85))" or name the file.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from auditor.submission import bounds
from auditor.submission.decompress import BoundExceededError, Budget, decode, decompress
from auditor.submission.text import decode_source
from auditor.submission.values import FilePath, Handle, Namespace, UnfoldableError

ROOT = "/<root>/"  # where the submission's files appear to lie; no real path is involved
TEMPORARY = "/<tmp>"
_TRACKED = 8  # bytes or characters from which a value's origin is remembered


@dataclass(frozen=True, slots=True)
class Execution:
    """A piece of source that the wrapper runs, imports or runs in another process.

    `namespace` is "__main__", the module's name, or "" for globals without a name; `stored` is the file of the
    submission the source was read from, `written` the pretended path of the file that the wrapper wrote it to;
    `decoders` says how it was packed, innermost first.
    """

    source: str | bytes
    namespace: str
    how: str
    line: int
    decoders: tuple[str, ...] = ()
    stored: str = ""
    written: str = ""


@dataclass(slots=True)
class Folded:
    """What folding a module found out."""

    executions: list[Execution] = field(default_factory=list)
    written: dict[str, bytes] = field(default_factory=dict)  # files the wrapper writes, by their pretended path
    environment: dict[str, str] = field(default_factory=dict)
    environment_defaults: dict[str, str] = field(default_factory=dict)
    unopened: list[tuple[int, str]] = field(default_factory=list)  # line and what could not be opened there
    unexplained: list[tuple[int, str]] = field(default_factory=list)  # statements with an effect that is not known
    exceeded: str = ""  # which bound struck


@dataclass(frozen=True, slots=True)
class _Origin:
    value: object  # kept alive, so that its id stays its own
    decoders: tuple[str, ...] = ()
    stored: str = ""


class Effects:
    """The record of one wrapper's effects. `file` is the script's pretended path."""

    def __init__(self, path: str, read: Callable[[str], bytes | None], budget: Budget) -> None:
        self.file = ROOT + path
        self.folded = Folded()
        self.budget = budget
        self.certain = True  # False inside a branch of which it is not known whether it runs
        self.explained: set[int] = set()  # ids of nodes whose execution has been recorded
        self._read_stored = read
        self._origins: dict[int, _Origin] = {}

    # --- origins of values ------------------------------------------------------------------------------------

    def made(self, result: object, *sources: object, decoder: str = "") -> object:
        """`result`, remembered as made from `sources` (by `decoder`, when it was decoded)."""
        origin = next((self._origins[id(item)] for item in _parts(sources) if id(item) in self._origins), None)
        decoders = origin.decoders if origin else ()
        stored = origin.stored if origin and not decoder else ""
        if decoder:
            decoders = (*decoders, decoder)
        if decoders or stored:
            for value in _parts((result,)):
                if isinstance(value, str | bytes) and len(value) > _TRACKED:
                    self._origins[id(value)] = _Origin(value, decoders, stored)
        return result

    def inflated(self, kind: str, source: object, **options: object) -> bytes:
        """`source` (bytes or an open file) decompressed within the budget."""
        data = source.content if isinstance(source, Handle) else source
        if not isinstance(data, bytes):
            raise UnfoldableError(f"{kind} of something unknown")
        plain = decompress(kind, data, self.budget, **options)
        self.made(plain, source, data, decoder=kind)
        return plain

    def decoded(self, kind: str, source: object, **options: object) -> bytes:
        """`source` (text or bytes) decoded by base 64, base 85, ..."""
        data = source.encode("utf-8", "replace") if isinstance(source, str) else source
        if not isinstance(data, bytes):
            raise UnfoldableError(f"{kind} of something unknown")
        plain = decode(kind, data, self.budget, **options)
        self.made(plain, source, decoder=kind)
        return plain

    # --- files ------------------------------------------------------------------------------------------------

    def absolute(self, path: str) -> str:
        """A path as the wrapper would see it when it runs in its own folder."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.file), path))

    def content(self, path: str) -> bytes:
        """The content of a file that the wrapper wrote or that the submission holds."""
        for place in (self.absolute(path), posixpath.normpath(posixpath.join(ROOT, path))):
            if place in self.folded.written:
                return self.folded.written[place]
            if place.startswith(ROOT) and (data := self._read_stored(place[len(ROOT) :])) is not None:
                self._origins[id(data)] = _Origin(data, stored=place[len(ROOT) :])
                return data
        raise UnfoldableError(f"reads {path.removeprefix(ROOT)}, which is not part of the submission")

    def exists(self, path: str) -> bool:
        """True for a file that is known; what is elsewhere on the disk is not known."""
        try:
            self.content(path)
        except UnfoldableError:
            raise UnfoldableError(f"whether {path.removeprefix(ROOT)} exists") from None
        return True

    def open(self, path: str, mode: str) -> Handle:
        """What ``open`` returns."""
        place = self.absolute(path)
        if not any(letter in mode for letter in "wax"):
            return Handle(place, "b" not in mode, self.content(path))
        if "a" not in mode:
            self.folded.written[place] = b""
        return Handle(place, "b" not in mode, None)

    def write(self, path: str, value: object, *, append: bool) -> None:
        """Write text or bytes to a pretended file."""
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        if not isinstance(data, bytes):
            raise UnfoldableError("writes something unknown to a file")
        self.budget.spend(len(data))
        if len(self.folded.written) > bounds.FOLDER_FILES:
            raise BoundExceededError(f"writes more than {bounds.FOLDER_FILES:,} files")
        before = self.folded.written.get(path, b"") if append else b""
        self.folded.written[path] = before + data if before else data
        self.made(self.folded.written[path], value)

    def read(self, handle: Handle, count: int = -1) -> str | bytes:
        """What ``read`` of an open file returns."""
        if handle.content is None:
            raise UnfoldableError("reads a file opened for writing")
        end = len(handle.content) if count < 0 else min(handle.at + count, len(handle.content))
        whole = handle.at == 0 and end == len(handle.content)
        data = handle.content if whole else handle.content[handle.at : end]
        handle.at = end
        result: str | bytes = decode_source(data)[0] if handle.text else data
        self.made(result, handle.content)
        return result

    # --- environment ------------------------------------------------------------------------------------------

    def variable(self, name: object) -> str:
        """A variable that the wrapper has set."""
        if isinstance(name, str) and name in self.folded.environment:
            return self.folded.environment[name]
        raise UnfoldableError(f"environment variable {name}")

    def set_variable(self, name: object, value: object, *, forced: bool) -> None:
        """``os.environ[name] = value`` or, unless `forced`, ``os.environ.setdefault(name, value)``."""
        if not isinstance(name, str) or not isinstance(value, str):
            raise UnfoldableError("sets an environment variable to something unknown")
        if not self.certain:
            raise UnfoldableError(f"sets {name} under a condition")
        value = value.replace(ROOT, "")
        if forced:
            self.folded.environment[name] = value
        elif name not in self.folded.environment:
            self.folded.environment_defaults.setdefault(name, value)

    # --- execution --------------------------------------------------------------------------------------------

    def execute(self, source: str | bytes, namespace: object, how: str, node: ast.AST, *, written: str = "") -> None:
        """Record that `source` runs in `namespace`."""
        origin = self._origins.get(id(source), _Origin(source))
        stored = origin.stored if self._unchanged(source, origin.stored) else ""
        decoders = origin.decoders if stored == origin.stored else (*origin.decoders, f"edited {origin.stored}")
        line = getattr(node, "lineno", 0)
        name = _namespace_name(namespace)
        self.folded.executions.append(Execution(source, name, how, line, decoders, stored, "" if stored else written))
        self.explained.update(id(part) for part in ast.walk(node))

    def _unchanged(self, source: str | bytes, stored: str) -> bool:
        """Whether `source` is still the content of the stored file that it came from."""
        content = self._read_stored(stored) if stored else None
        return content is not None and source in (content, decode_source(content)[0])

    def run_file(self, path: str, namespace: object, how: str, node: ast.AST) -> None:
        """Record that a file runs in `namespace`."""
        self.execute(self.content(path), namespace, how, node, written=self.absolute(path))

    def import_module(self, name: str, line: int) -> None:
        """An import of a file that the wrapper wrote runs that file."""
        inner = "/" + name.replace(".", "/")
        for path, content in tuple(self.folded.written.items()):
            if path.endswith((inner + ".py", inner + "/__init__.py")):
                self.execute(content, name, "import", ast.Pass(lineno=line), written=path)


def path_text(value: object) -> str:
    """A path given as text, bytes, pathlib path or open file."""
    if isinstance(value, FilePath):
        return value.text
    if isinstance(value, Handle):
        return value.path
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise UnfoldableError("a path that is not a constant")
    return value


def _parts(values: tuple[object, ...]) -> list[object]:
    """The values and, for containers, the values in them: parts share the origin of the whole."""
    parts: list[object] = []
    for value in values:
        if isinstance(value, dict):
            parts.extend(value.values())
        elif isinstance(value, list | tuple):
            parts.extend(value)
        else:
            parts.append(value)
    return parts


def _namespace_name(value: object) -> str:
    if isinstance(value, Namespace):
        return value.name
    if isinstance(value, Mapping):
        name = value.get("__name__", "")
        return name if isinstance(name, str) else ""
    return value if isinstance(value, str) else ""
