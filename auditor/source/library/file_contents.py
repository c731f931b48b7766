"""What the files hold that the script writes, by name; what reading a file gives."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from auditor.source import scoring
from auditor.source.library.shard_paths import TRAIN_PATH, VAL_PATH, through_path
from auditor.source.library.signatures import Args
from auditor.source.values import CONST, FORMAT, NOTHING, OBJECT, Atoms, Value, kinds, union

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


UNKNOWN_FILE = "*"
MOVED = (".moved",)  # among the files: something may have moved them
MAX_HOLES = 3  # in the name of a file


def file_key(path: Value) -> str:
    """The name of a file, with a star for every part of it that is not known."""
    parts = _name_parts(path, 3)
    return "".join(parts) if parts.count(UNKNOWN_FILE) <= MAX_HOLES and len(parts) < 64 else UNKNOWN_FILE


def _name_parts(path: Value, depth: int) -> list[str]:
    if path.kind == CONST and isinstance(path.payload, str):
        return [path.payload]
    if path.kind != FORMAT or depth == 0:
        return [UNKNOWN_FILE]
    return [
        piece for part in path.payload for piece in ([part] if isinstance(part, str) else _name_parts(part, depth - 1))
    ]


def _may_be_named(key: str, other: str) -> bool:
    """True unless two names, of which one may have unknown parts, are certainly different."""
    if UNKNOWN_FILE in key and UNKNOWN_FILE in other:
        return True
    known, pattern = (other, key) if UNKNOWN_FILE in key else (key, other)
    return fnmatchcase(PurePosixPath(known).name, PurePosixPath(pattern).name.replace("[", "[[]"))


def write_file(run: Interpreter, path: Value, atoms: Atoms, *, more: bool = False) -> None:
    """A file now holds what `atoms` say, `more`: beside what it held; a file whose name is not known is one place for
    all of them."""
    key = file_key(path)
    run.predictors.serialise(atoms)
    atoms |= run.selecting  # kept because a loss was the smaller one
    told = ("model",) not in atoms or run.predictors.counted(atoms)
    if told and ("val" in kinds(atoms) or run.predictors.counted(atoms)):
        atoms = atoms | {("stored", run.predictors.site_number())}
    if path.kind == OBJECT and path.payload.kind == "buffer":
        run.state.write(path.payload.cells, ".atoms", atoms)
        return
    run.predictors.stored(atoms)
    old = run.files.cells.get(key, NOTHING) if UNKNOWN_FILE in key or more else NOTHING
    run.state.write(run.files.cells, key, old | atoms)
    if TRAIN_PATH in run.atoms_of(path):
        run.state.write(run.files.cells, TRAIN_PATH, run.files.cells.get(TRAIN_PATH, NOTHING) | atoms)


def read_file(run: Interpreter, path: Value) -> Atoms:
    if path.kind == OBJECT and path.payload.kind == "buffer":
        return path.payload.cells.get(".atoms", NOTHING)  # type: ignore[no-any-return]
    path_atoms = run.atoms_of(path)
    if VAL_PATH in path_atoms or TRAIN_PATH in path_atoms:
        return through_path(run, "read", path_atoms)
    key = file_key(path)
    if key in run.files.cells:
        others = [name for name in run.files.cells if isinstance(name, str) and UNKNOWN_FILE in name]
        found = union(run.files.cells[name] for name in (key, *others) if _may_be_named(key, name))
        found = found | scoring.marks(path_atoms)  # a file that was chosen by a score
        run.predictors.reloaded(found)
    else:
        found = union((path_atoms, *_other_files(run, key)))
    found = found | {("file",)}
    return frozenset(atom for atom in found if atom[0] != "train")  # what passed through a file is in the artifact


def _other_files(run: Interpreter, key: str) -> list[Atoms]:
    """What the script's files hold of which one may be the file named `key`, to which it never wrote.

    Any of them where that name is not known, or where something may have moved them. Otherwise a known name that is
    not among theirs is a file that was there before.
    """
    anywhere = UNKNOWN_FILE in key or MOVED in run.files.cells
    return [
        cell
        for name, cell in run.files.cells.items()
        if isinstance(cell, frozenset) and (anywhere or not isinstance(name, str) or _may_be_named(key, name))
    ]


def files_moved(run: Interpreter) -> None:
    """What is not followed may have given the files of the script other names."""
    run.state.write(run.files.cells, MOVED, True)


_OUTSIDE = ("/root/", "/home/", "/mnt/", "/tmp/", "/opt/", "~/")


def outside_file(run: Interpreter, args: Args) -> None:
    """Weights read from a fixed place of one machine, which the script itself has not written."""
    path = args[0].payload if args and args[0].kind == CONST else None
    if isinstance(path, str) and path.startswith(_OUTSIDE) and path not in run.files.cells:
        run.predictors.outside.append((run.predictors.site_number(), f"{path!r} is read"))
