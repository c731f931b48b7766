"""What calls of python's libraries mean to the constant folder: decoders, files, paths, modules, processes.

Each handler takes the effects and the folded call and returns the call's value. What is not listed here or in
`builtin_calls` is unknown.
"""

from __future__ import annotations

import json
import posixpath
import shlex
from collections.abc import Callable

from auditor.submission import bounds
from auditor.submission.builtin_calls import CONSTANTS, PURE_CALLS, PURE_METHODS, elements
from auditor.submission.decompress import TEXT_CODES
from auditor.submission.effects import TEMPORARY, Effects, path_text
from auditor.submission.values import (
    UNKNOWN,
    Call,
    Code,
    CommandLine,
    Decompressor,
    Environment,
    FilePath,
    Handle,
    Loader,
    Method,
    ModuleObject,
    Namespace,
    Reference,
    UnfoldableError,
)

Handler = Callable[[Effects, Call], object]

_COMPRESSIONS = {
    **{name: name for name in ("lzma", "zlib", "bz2", "gzip", "brotli", "zstandard")},
    **dict.fromkeys(("brotlicffi",), "brotli"),
    **dict.fromkeys(("zstd", "compression.zstd", "pyzstd"), "zstandard"),
}
_DECOMPRESSORS = {
    "lzma.LZMADecompressor": ("lzma", ("format", "memlimit", "filters")),
    "zlib.decompressobj": ("zlib", ("wbits",)),
    "bz2.BZ2Decompressor": ("bz2", ()),
    "brotli.Decompressor": ("brotli", ()),
    "zstandard.ZstdDecompressor": ("zstandard", ()),
}
_FILE_OPENERS = frozenset({"open", "LZMAFile", "GzipFile", "BZ2File"})
_BINASCII = {"unhexlify": "hex", "a2b_hex": "hex", "a2b_base64": "b64", "a2b_qp": "quopri", "a2b_uu": "uu"}
_CODECS = {"hex": "hex", "base64": "b64", "uu": "uu", "quopri": "quopri", "rot13": "rot13"}
_CODEC_COMPRESSIONS = {"zlib": "zlib", "zip": "zlib", "bz2": "bz2"}
_SUBPROCESS = ("run", "call", "check_call", "check_output", "Popen")
_OS_PROCESS = ("execv", "execve", "execvp", "execvpe", "spawnv", "spawnvp", "system", "popen")
_MOST_ITEMS = 10_000  # of a list that a wrapper grows
_HARMLESS = frozenset(
    {
        *("print", "sys.path.insert", "sys.path.append", "sys.exit", "os.makedirs", "os.mkdir", "os.chmod"),
        *("os.remove", "os.unlink", "os.fsync", "os.chdir", "os.replace", "os.close", "fcntl.flock", "shutil.rmtree"),
        *("sys.stdout.flush", "sys.modules.pop", "sys.setrecursionlimit", "time.sleep", "atexit.register"),
        *("warnings.filterwarnings", "warnings.simplefilter", "gc.collect", "importlib.invalidate_caches"),
        *("linecache.checkcache", "linecache.clearcache", "torch.multiprocessing.set_start_method"),
    }
)
_HARMLESS_PREFIXES = ("<module>.", "torch.backends.", "torch.set_float32")


def call_reference(effects: Effects, dotted: str, call: Call) -> object:
    """The value of calling something importable; raises UnfoldableError when it is not known what it does."""
    name = dotted.removeprefix("builtins.")
    if handler := _handler(name):
        return handler(effects, call)
    if name in PURE_CALLS:
        result = PURE_CALLS[name](list(call.positional), call.keywords, effects.budget.bytes_left)
        return effects.made(result, *call.positional)
    if name in _HARMLESS or name.startswith(_HARMLESS_PREFIXES):
        return None
    raise UnfoldableError(f"calls {name}")


def call_method(effects: Effects, method: Method, call: Call) -> object:
    """The value of calling a method of a folded value."""
    for kind, handler in _METHODS.items():
        if isinstance(method.owner, kind):
            return handler(effects, method.owner, method.name, call)
    if isinstance(method.owner, list) and method.name in ("append", "extend", "insert"):
        _grow(method.owner, method.name, call)
        return None
    implementation = PURE_METHODS.get((type(method.owner), method.name))
    if implementation is None:
        raise UnfoldableError(f"calls method {method.name} of something unknown")
    result = implementation(method.owner, list(call.positional), call.keywords, effects.budget.bytes_left)
    return effects.made(result, method.owner, *call.positional)


def attribute(effects: Effects, owner: object, name: str) -> object:
    """The value of ``owner.name``."""
    if isinstance(owner, Reference):
        return _referenced(effects, f"{owner.dotted}.{name}")
    if isinstance(owner, FilePath):
        return _path_attribute(owner, name)
    if isinstance(owner, ModuleObject):
        known = {"loader": Loader(owner), "__dict__": Namespace(owner.name), "name": owner.name, "origin": owner.path}
        known |= {"__name__": owner.name, "__file__": owner.path or "<module>"}
        return known.get(name, Reference(f"<module>.{name}"))
    if isinstance(owner, (str, bytes, list, tuple, dict, *_METHODS)):
        return Method(owner, name)
    raise UnfoldableError(f"attribute {name} of something unknown")


def is_setting(owner: object, name: str) -> bool:
    """Whether assigning an attribute changes only how python or torch run, not what the payload computes."""
    if owner == Reference("sys"):
        return name in ("argv", "path", "dont_write_bytecode")
    return isinstance(owner, Reference) and owner.dotted.startswith(("torch.backends.", "torch._dynamo.config"))


def _referenced(effects: Effects, dotted: str) -> object:
    if dotted in CONSTANTS:
        return CONSTANTS[dotted]
    if dotted == "os.environ":
        return Environment()
    if dotted == "sys.argv":
        return CommandLine()
    if dotted == "__main__.__file__":
        return effects.file
    return Reference(dotted.replace("builtins.__builtins__.", "builtins."))


# --- calls of references -------------------------------------------------------------------------------------------


def _handler(name: str) -> Handler | None:
    if name in _HANDLERS:
        return _HANDLERS[name]
    module, _, function = name.rpartition(".")
    if module in _COMPRESSIONS and function == "decompress":
        return lambda effects, call: _decompress(effects, _COMPRESSIONS[module], call)
    if module in _COMPRESSIONS and function in _FILE_OPENERS:
        return lambda effects, call: _open_compressed(effects, _COMPRESSIONS[module], call)
    if name in _DECOMPRESSORS:
        return lambda effects, call: _decompressor(name, call)
    if kind := _text_code(module, function):
        return lambda effects, call: _decode(effects, kind, call)
    return None


def _text_code(module: str, function: str) -> str:
    """The decoder that a dotted name means: "base64.b85decode" -> "b85"."""
    if module == "base64" and function.endswith("decode"):
        kind = function.removesuffix("decode").rstrip("_")
        return kind if kind in TEXT_CODES else ""
    if module in ("bytes", "bytearray") and function == "fromhex":
        return "hex"
    return _BINASCII.get(function, "") if module == "binascii" else ""


def _decompress(effects: Effects, kind: str, call: Call) -> object:
    names = {"lzma": ("format", "memlimit", "filters"), "zlib": ("wbits",)}.get(kind, ())
    options = {**dict(zip(names, call.positional[1:], strict=False)), **call.keywords}
    return effects.inflated(kind, call.argument(0, "data"), **options)


def _open_compressed(effects: Effects, kind: str, call: Call) -> Handle:
    source = call.argument(0, "filename", call.keywords.get("fileobj"))
    data = source if isinstance(source, Handle) else effects.content(path_text(source))
    options = {name: value for name, value in call.keywords.items() if name in ("format", "filters")}
    plain = effects.inflated(kind, data, **options)
    return Handle("", "t" in str(call.argument(1, "mode", "rb")), plain)


def _decompressor(name: str, call: Call) -> Decompressor:
    kind, names = _DECOMPRESSORS[name]
    return Decompressor(kind, (*zip(names, call.positional, strict=False), *call.keywords.items()))


def _decode(effects: Effects, kind: str, call: Call) -> object:
    options = {name: value for name, value in call.keywords.items() if isinstance(value, bool | bytes)}
    return effects.decoded(kind, call.argument(0), **options)


def _codecs_decode(effects: Effects, call: Call) -> object:
    """``codecs.decode(data, "zlib")`` and its like."""
    codec = str(call.argument(1, "encoding", "utf-8")).lower().replace("-", "").replace("_", "")
    codec = codec.removesuffix("codec")
    if codec in _CODEC_COMPRESSIONS:
        return effects.inflated(_CODEC_COMPRESSIONS[codec], call.argument(0))
    if codec in _CODECS:
        decoded = effects.decoded(_CODECS[codec], call.argument(0))
        return effects.made(decoded.decode("latin-1"), decoded) if codec == "rot13" else decoded
    data = call.argument(0, "obj")
    if not isinstance(data, bytes):
        raise UnfoldableError("decodes something unknown")
    arguments: list[object] = [call.argument(1, "encoding", "utf-8")]
    return effects.made(PURE_METHODS[bytes, "decode"](data, arguments, {}, effects.budget.bytes_left), data)


def _json(effects: Effects, call: Call) -> object:
    source = call.argument(0)
    text = source.content if isinstance(source, Handle) else source
    if not isinstance(text, str | bytes):
        raise UnfoldableError("JSON of something unknown")
    effects.budget.spend(len(text))
    return effects.made(json.loads(text), text)


def _stream(effects: Effects, call: Call) -> Handle:
    content = call.argument(0, "", b"")
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if not isinstance(data, bytes):
        raise UnfoldableError("stream over something unknown")
    effects.made(data, content)
    return Handle("", isinstance(content, str), data)


def _open(effects: Effects, call: Call) -> Handle:
    return effects.open(path_text(call.argument(0, "file")), str(call.argument(1, "mode", "r")))


def _path(effects: Effects, call: Call) -> FilePath:
    parts = [path_text(part) for part in call.positional]
    return FilePath(posixpath.join(*parts) if parts else ".")


def _path_function(function: Callable[..., object]) -> Handler:
    return lambda effects, call: function(*(path_text(part) for part in call.positional))


def _absolute(effects: Effects, call: Call) -> str:
    return effects.absolute(path_text(call.argument(0)))


def _exists(effects: Effects, call: Call) -> bool:
    return effects.exists(path_text(call.argument(0)))


def _getattr(effects: Effects, call: Call) -> object:
    name = call.argument(1)
    if not isinstance(name, str):
        raise UnfoldableError("an attribute by a computed name")
    return attribute(effects, call.argument(0), name)


def _setattr(effects: Effects, call: Call) -> None:
    if not isinstance(call.argument(0), ModuleObject):
        raise UnfoldableError("sets an attribute on something outside of the wrapper")


def _vars(effects: Effects, call: Call) -> object:
    return attribute(effects, call.argument(0), "__dict__") if call.positional else Namespace("__main__")


def _module(effects: Effects, call: Call) -> ModuleObject:
    """``spec_from_file_location(name, path)``, ``SourceFileLoader(name, path)``, ``ModuleType(name)``."""
    name = call.argument(0, "name")
    location = call.argument(1, "location", call.keywords.get("path", ""))
    if not isinstance(name, str):
        raise UnfoldableError("a module without a constant name")
    return ModuleObject(name, path_text(location) if location else "")


def _same_module(effects: Effects, call: Call) -> ModuleObject:
    module = call.argument(0, "spec")
    if not isinstance(module, ModuleObject):
        raise UnfoldableError("a module of an unknown specification")
    return module


def _compile(effects: Effects, call: Call) -> Code:
    source, mode = call.argument(0, "source"), call.argument(2, "mode", "exec")
    if not isinstance(source, str | bytes) or not isinstance(mode, str):
        raise UnfoldableError("compiles something unknown")
    return Code(source, mode)


def _exec(effects: Effects, call: Call) -> None:
    code = call.argument(0)
    source = code.source if isinstance(code, Code) else code
    if not isinstance(source, str | bytes):
        raise UnfoldableError("exec of something unknown")
    effects.execute(source, call.argument(1, "globals", Namespace("__main__")), "exec", call.node)


def _run_path(effects: Effects, call: Call) -> dict[str, object]:
    name = call.argument(2, "run_name", "")
    effects.run_file(path_text(call.argument(0, "path_name")), name, "runpy", call.node)
    return {}


def _run_module(effects: Effects, call: Call) -> dict[str, object]:
    path = str(call.argument(0, "mod_name")).replace(".", "/") + ".py"
    effects.run_file(path, call.argument(2, "run_name", ""), "runpy", call.node)
    return {}


def _import(effects: Effects, call: Call) -> Reference:
    name = call.argument(0, "name")
    if not isinstance(name, str):
        raise UnfoldableError("imports something unknown")
    effects.import_module(name, getattr(call.node, "lineno", 0))
    effects.explained.add(id(call.node))
    return Reference(name)


def _process(effects: Effects, call: Call) -> None:
    """A command line that runs a python file of the submission."""
    words: list[str] = []
    for part in call.positional[:2]:
        for item in part if isinstance(part, list | tuple) else (part,):
            if isinstance(item, str) and " " in item:
                words.extend(shlex.split(item))
            elif isinstance(item, str | FilePath):
                words.append(path_text(item))
    script = next((word for word in words if word.endswith(".py")), None)
    if script is None:
        raise UnfoldableError(f"starts {words[0][:60] if words else 'a process'}")
    effects.run_file(script, "__main__", "process", call.node)


_HANDLERS: dict[str, Handler] = {
    "exec": _exec,
    "compile": _compile,
    "runpy.run_path": _run_path,
    "runpy.run_module": _run_module,
    "importlib.import_module": _import,
    "__import__": _import,
    **dict.fromkeys(
        (f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output", "Popen")), _process
    ),
    **dict.fromkeys((f"os.{name}" for name in ("execv", "execve", "execvp", "execvpe", "system", "popen")), _process),
    "codecs.decode": _codecs_decode,
    "json.loads": _json,
    "json.load": _json,
    "io.BytesIO": _stream,
    "io.StringIO": _stream,
    **dict.fromkeys(("open", "io.open", "codecs.open"), _open),
    "getattr": _getattr,
    "setattr": _setattr,
    "vars": _vars,
    "globals": lambda effects, call: Namespace("__main__"),
    "locals": lambda effects, call: Namespace("__main__"),
    "importlib.util.spec_from_file_location": _module,
    "importlib.util.module_from_spec": _same_module,
    "importlib.machinery.SourceFileLoader": lambda effects, call: Loader(_module(effects, call)),
    "types.ModuleType": _module,
    "pathlib.Path": _path,
    "pathlib.PurePath": _path,
    "os.path.join": _path_function(posixpath.join),
    "os.path.dirname": _path_function(posixpath.dirname),
    "os.path.basename": _path_function(posixpath.basename),
    "os.path.splitext": _path_function(posixpath.splitext),
    "os.path.normpath": _path_function(posixpath.normpath),
    "os.path.abspath": _absolute,
    "os.path.realpath": _absolute,
    "os.path.exists": _exists,
    "os.path.isfile": _exists,
    "os.getcwd": lambda effects, call: posixpath.dirname(effects.file),
    **dict.fromkeys(
        (f"tempfile.{name}" for name in ("mkdtemp", "gettempdir", "mktemp", "TemporaryDirectory")),
        lambda effects, call: TEMPORARY,
    ),
    "tempfile.NamedTemporaryFile": lambda effects, call: Handle(
        f"{TEMPORARY}/file{call.keywords.get('suffix', '')}", "b" not in str(call.argument(0, "mode", "w+b")), None
    ),
}


# --- methods -------------------------------------------------------------------------------------------------------


def _file_method(effects: Effects, handle: object, name: str, call: Call) -> object:
    assert isinstance(handle, Handle)
    first = call.argument(0)
    if name == "name":
        return handle.path
    if name == "write" and handle.content is None:
        effects.write(handle.path, first, append=True)
        return None
    if name in ("read", "getvalue", "readlines") and (first is None or isinstance(first, int)):
        result = effects.read(handle, first if isinstance(first, int) and name == "read" else -1)
        return effects.made(result.splitlines(keepends=True), result) if name == "readlines" else result
    if name == "seek" and isinstance(first, int) and len(call.positional) == 1:
        handle.at = max(first, 0)
        return handle.at
    if name in ("close", "flush", "fileno"):
        return None
    raise UnfoldableError(f"method {name} of a file")


def _path_method(effects: Effects, path: object, name: str, call: Call) -> object:
    assert isinstance(path, FilePath)
    if name in ("read_text", "read_bytes"):
        return effects.read(Handle(path.text, name == "read_text", effects.content(path.text)))
    if name in ("write_text", "write_bytes"):
        effects.write(effects.absolute(path.text), call.argument(0, "data"), append=False)
        return None
    if name == "open":
        return effects.open(path.text, str(call.argument(0, "mode", "r")))
    if name in ("exists", "is_file"):
        return effects.exists(path.text)
    if name in ("resolve", "absolute"):
        return FilePath(effects.absolute(path.text))
    if name in ("mkdir", "unlink", "touch", "chmod"):
        return None
    return _derived_path(path, name, [path_text(part) for part in call.positional])


def _derived_path(path: FilePath, name: str, parts: list[str]) -> object:
    if name in ("as_posix", "__fspath__"):
        return path.text
    if name == "joinpath":
        return FilePath(posixpath.join(path.text, *parts))
    if name == "with_name" and len(parts) == 1:
        return FilePath(posixpath.join(posixpath.dirname(path.text), parts[0]))
    if name == "with_suffix" and len(parts) == 1:
        return FilePath(posixpath.splitext(path.text)[0] + parts[0])
    raise UnfoldableError(f"method {name} of a path")


def _path_attribute(path: FilePath, name: str) -> object:
    base = posixpath.basename(path.text)
    stem, suffix = posixpath.splitext(base)
    known: dict[str, object] = {"name": base, "stem": stem, "suffix": suffix}
    known["parent"] = FilePath(posixpath.dirname(path.text))
    if name == "parents":
        above = [posixpath.dirname(path.text)]
        while posixpath.dirname(above[-1]) != above[-1] and len(above) < bounds.FOLDER_DEPTH:
            above.append(posixpath.dirname(above[-1]))
        return tuple(map(FilePath, above))
    return known.get(name, Method(path, name))


def _environment_method(effects: Effects, owner: object, name: str, call: Call) -> object:
    if name == "get":
        return effects.variable(call.argument(0))
    if name == "setdefault":
        effects.set_variable(call.argument(0), call.argument(1), forced=False)
        return UNKNOWN
    if name == "update":
        pairs = call.argument(0, "", {})
        if not isinstance(pairs, dict):
            raise UnfoldableError("sets the environment from something unknown")
        for key, value in {**pairs, **call.keywords}.items():
            effects.set_variable(key, value, forced=True)
        return None
    raise UnfoldableError(f"method {name} of the environment")


def _loader_method(effects: Effects, loader: object, name: str, call: Call) -> object:
    assert isinstance(loader, Loader)
    if name not in ("exec_module", "load_module") or not loader.module.path:
        raise UnfoldableError(f"method {name} of a loader")
    effects.run_file(loader.module.path, loader.module.name, "import", call.node)
    return loader.module


def _decompressor_method(effects: Effects, owner: object, name: str, call: Call) -> object:
    assert isinstance(owner, Decompressor)
    if name == "flush":
        return b""
    if name not in ("decompress", "process", "stream_reader"):
        raise UnfoldableError(f"method {name} of a decompressor")
    plain = effects.inflated(owner.kind, call.argument(0, "data"), **dict(owner.options))
    return Handle("", False, plain) if name == "stream_reader" else plain


def _command_line_method(effects: Effects, owner: object, name: str, call: Call) -> object:
    return None  # what a wrapper does to sys.argv is not the payload's source


def _grow(owner: list[object], name: str, call: Call) -> None:
    if len(owner) > _MOST_ITEMS:
        raise UnfoldableError("a list of too many items")
    if name == "extend":
        owner.extend(elements(call.argument(0)))
    elif name == "append":
        owner.append(call.argument(0))
    elif isinstance(place := call.argument(0), int):
        owner.insert(place, call.argument(1))
    else:
        raise UnfoldableError(f"method {name} of a list")


_METHODS: dict[type, Callable[[Effects, object, str, Call], object]] = {
    Handle: _file_method,
    FilePath: _path_method,
    Environment: _environment_method,
    Loader: _loader_method,
    Decompressor: _decompressor_method,
    CommandLine: _command_line_method,
}
