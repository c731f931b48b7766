"""Functions and methods that open, read, write and rename files, buffers and memory maps."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from auditor.ledger import RULES_OF_SCORING
from auditor.source import native
from auditor.source.library.containers import new_list
from auditor.source.library.file_contents import file_key, outside_file, read_file, write_file
from auditor.source.library.shard_paths import TRAIN_PATH, VAL_PATH, through_path
from auditor.source.library.signatures import Args, Kwargs, Model
from auditor.source.library.text import print_line
from auditor.source.library.unmodelled import default
from auditor.source.values import CONST, FORMAT, MEASURE, NONE, NOTHING, OBJECT, UNKNOWN, Frame, Obj, Value, data, union

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


def open_file(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    obj = Obj("file", run.line, "file")
    obj.cells[".path"] = args[0] if args else UNKNOWN
    return Value(OBJECT, obj)


def path_of(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``pathlib.Path(name)``: a name that has a path's methods, not those of a text."""
    if len(args) == 1 and args[0].kind == CONST and isinstance(args[0].payload, str) and not args[0].atoms:
        return Value(FORMAT, (args[0].payload,))
    if len(args) == 1 and args[0].kind == FORMAT and not args[0].atoms:
        return args[0]
    return default(run, "pathlib.Path", args, kwargs, node, frame)


def rename_file(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """What one file holds is found under another name afterwards."""
    if len(args) >= 2:
        native.written(run, args[1], UNKNOWN)
        write_file(run, args[1], read_file(run, args[0]))
    return args[1] if len(args) >= 2 else UNKNOWN


def _save(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if len(args) >= 2:
        write_file(run, args[1], run.atoms_of(args[0]))
    return NONE


def _np_save(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    if args:
        write_file(run, args[0], union((*map(run.atoms_of, args[1:]), *map(run.atoms_of, kwargs.values()))))
    return NONE


HEADER_INTEGERS = 256  # at the head of every shard of the challenge


def _from_file(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``np.fromfile``: of a file that the script has written, what it wrote; the head of a shard holds sizes alone."""
    count = kwargs.get("count")
    whole = args and args[0].kind != OBJECT and "offset" not in kwargs and len(args) == 1
    if whole and count is not None and count.kind == CONST and count.payload == HEADER_INTEGERS:
        return MEASURE
    if args and args[0].kind == CONST and file_key(args[0]) in run.files.cells:
        return data(read_file(run, args[0]))
    return default(run, "numpy.fromfile", args, kwargs, node, frame)


def _memory_map(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``np.memmap``: maps of one file share what it holds; shards of the data are read."""
    if not args or args[0].kind != CONST or {VAL_PATH, TRAIN_PATH} & args[0].atoms:
        return default(run, "numpy.memmap", args, kwargs, node, frame)
    key = file_key(args[0])
    if key not in run.maps:
        run.maps[key] = run.predictors.tensor(run.files.cells.get(key, NOTHING), run.line, name=key)
    return run.maps[key]


def _glob(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    """``glob.glob``: a pattern without wildcards is the file itself."""
    if args and args[0].kind == CONST and not set("*?[") & set(str(args[0].payload)):
        return new_list(run, [args[0]], run.line)
    return default(run, "glob.glob", args, kwargs, node, frame)


def _shared_memory(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    run.cannot_see("memory that is shared under a name", RULES_OF_SCORING)
    return UNKNOWN


def _load(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    outside_file(run, args)
    return data(read_file(run, args[0])) if args else UNKNOWN


def _buffer(run: Interpreter, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None) -> Value:
    obj = Obj("buffer", run.line, "buffer")
    obj.cells[".atoms"] = union(map(run.atoms_of, args))
    return Value(OBJECT, obj)


def file_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    path = owner.payload.cells[".path"]
    if name in ("write", "writelines") and args:
        native.written(run, path, args[0])
        if VAL_PATH in args[0].atoms:
            write_file(run, path, through_path(run, "read", args[0].atoms))  # a file put into an archive
        elif args[0].kind in (FORMAT, CONST) and not (args[0].kind == CONST and isinstance(args[0].payload, bytes)):
            print_line(run, [args[0]], {}, node, frame)
        else:
            write_file(run, path, run.atoms_of(args[0]), more=bool(owner.payload.cells.get(".written")))
            run.state.write(owner.payload.cells, ".written", True)
        return UNKNOWN
    if name == "writestr" and len(args) >= 2:  # a member of an archive
        write_file(run, path, run.atoms_of(args[1]), more=True)
        return UNKNOWN
    if name == "readinto" and args and isinstance(node, ast.Call) and frame is not None:
        run.mutate(node.args[0], read_file(run, path), frame)
        return MEASURE
    if name in ("read", "readlines", "readline"):
        found = data(read_file(run, path))
        for act in run.live:  # a file read again in a later iteration (a shared counter) has moved on
            found = run.marked(found, act, run.rounds.get(act, 0))
        return found
    return None


def buffer_method(
    run: Interpreter, owner: Value, name: str, args: Args, kwargs: Kwargs, node: ast.AST, frame: Frame | None
) -> Value | None:
    cells = owner.payload.cells
    if name == "write" and args:
        run.state.write(cells, ".atoms", cells.get(".atoms", NOTHING) | run.atoms_of(args[0]))
        return UNKNOWN
    if name in ("getvalue", "read", "getbuffer"):
        return data(cells.get(".atoms", NOTHING))
    return UNKNOWN


CALLS: dict[str, Model] = {
    "pathlib.Path": path_of,
    **dict.fromkeys(
        ("open", "io.open", "lzma.open", "gzip.open", "bz2.open", "zipfile.ZipFile", "tarfile.open"), open_file
    ),
    **dict.fromkeys(
        (
            "os.replace",
            "os.rename",
            "shutil.move",
            "shutil.copy",
            "shutil.copy2",
            "shutil.copyfile",
            "os.link",
            "os.symlink",
        ),
        rename_file,
    ),
    "torch.save": _save,
    "pickle.dump": _save,
    **dict.fromkeys(("np.save", "numpy.save", "numpy.savez", "numpy.savez_compressed"), _np_save),
    **dict.fromkeys(("torch.load", "numpy.load", "pickle.load"), _load),
    "numpy.fromfile": _from_file,
    "glob.glob": _glob,
    "numpy.memmap": _memory_map,
    "multiprocessing.shared_memory.SharedMemory": _shared_memory,
    "io.BytesIO": _buffer,
}
