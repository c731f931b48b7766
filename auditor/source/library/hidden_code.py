"""Code that cannot be seen: exec, native code, code loaded while the script runs."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.ledger import RULES_OF_SCORING
from auditor.source import native
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.library.unmodelled import default
from auditor.source.values import CONST, UNKNOWN, Frame, Value, data, external, union

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def unseen_code(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    run.cannot_see("code that is built or loaded while the script runs", RULES_OF_SCORING)
    return data(union(map(run.atoms_of, args)))


EXTENSION = "native extension"


def _extension(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """A native extension of torch: what its operators do is only seen to matter where the run comes to call them."""
    run.extensions = True
    return external(EXTENSION)


def _native(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    return native.load(run, args[0]) if args else UNKNOWN


def _first(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """A pointer to what the first argument points to."""
    return args[0] if args else UNKNOWN


def _joined(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``os.path.join(folder, "name.so")`` keeps the name of native code."""
    path = native.joined_path(args[0], args[-1]) if len(args) > 1 else None
    return path or default(run, "os.path.join", args, kwargs, node, frame)


def _import_module(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args and args[0].kind == CONST and isinstance(args[0].payload, str):
        found = run.import_helper(args[0].payload)
        return found if found is not None else external(args[0].payload)
    return unseen_code(run, args, kwargs, node, frame)


CALLS: dict[str, Model] = {
    **dict.fromkeys(
        (
            "exec",
            "eval",
            "runpy.run_path",
            "runpy.run_module",
            "torch.func.grad",
            "builtins.exec",
            "builtins.eval",
            "marshal.loads",
            "types.FunctionType",
            "types.CodeType",
            "code.interact",
            "importlib.util.spec_from_file_location",
            "importlib.machinery.SourceFileLoader",
            "cffi.FFI",
            "dill.load",
            "cloudpickle.load",
        ),
        unseen_code,
    ),
    "__import__": _import_module,
    "importlib.import_module": _import_module,
    "ctypes.CDLL": _native,
    "ctypes.cdll.LoadLibrary": _native,
    **dict.fromkeys(("ctypes.c_void_p", "ctypes.cast", "ctypes.byref"), _first),
    "os.path.join": _joined,
    **dict.fromkeys(
        ("torch.utils.cpp_extension.load", "torch.utils.cpp_extension.load_inline", "torch.ops.load_library"),
        _extension,
    ),
}
