"""Paths to shards of the challenge's data: which text names which split, and what reading there gives."""

from __future__ import annotations

import ast
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from auditor.source.values import NOTHING, Atoms, Value

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


VAL_FILES, TRAIN_FILES = "fineweb_val", "fineweb_train"  # the shard names of the challenge's data
_COMMON = "fineweb_"  # to the names of both
DOCUMENTS = "docs_selected"
VAL_PATH, TRAIN_PATH = ("path", "val"), ("path", "train")


def path_atoms(text: str) -> Atoms:
    """A mark for a text that names shard files: which split's they are."""
    if _COMMON not in text and DOCUMENTS not in text:
        return NOTHING
    val, train = text.rfind(VAL_FILES), text.rfind(TRAIN_FILES)
    if max(val, train) < 0 and DOCUMENTS in text:
        return frozenset((VAL_PATH, TRAIN_PATH, ("doubt",)))  # the text that the shards of both splits are made of
    if max(val, train) < 0:
        pattern = text.rpartition("/")[2]
        if "*" in pattern and pattern.startswith("fineweb_") and fnmatch(VAL_FILES + "_000000.bin", pattern):
            return frozenset((VAL_PATH, TRAIN_PATH))  # a pattern that takes the files of both splits
        return NOTHING
    return frozenset((VAL_PATH if val > train else TRAIN_PATH,))  # the file's name stands behind its folder's


def of_both_splits(atoms: Atoms) -> bool:
    """True for a pattern that takes the files of both splits."""
    return VAL_PATH in atoms and TRAIN_PATH in atoms and ("doubt",) not in atoms


_PATH_WORDS = frozenset(
    "glob sorted Path str join list abspath basename dirname exists iglob realpath rglob resolve with_name isfile "
    "fspath expanduser format strip replace listdir getsize stat parent name repr PurePath tuple print reversed "
    "set iterdir split is_file as_posix with_suffix startswith endswith is_dir isdir joinpath normpath len "
    "natsorted lower upper encode".split()
)


def narrowed(value: Value, tests: list[ast.expr]) -> Value:
    """A file's name that may be of either split, behind tests that ask for one of them."""
    if not {VAL_PATH, TRAIN_PATH} <= value.atoms:
        return value
    words = " ".join(
        inner.value
        for test in tests
        for inner in ast.walk(test)
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    )
    asked = [path for word, path in (("val", VAL_PATH), ("train", TRAIN_PATH)) if word in words]
    if len(asked) != 1:
        return value
    kept = value.atoms - {VAL_PATH, TRAIN_PATH, ("doubt",)} | {asked[0]}
    return Value(value.kind, value.payload, kept, value.base, value.attr)


def through_path(run: Interpreter, name: str, atoms: Atoms) -> Atoms:
    """Reading the files at a path gives their tokens; handling the path gives a path."""
    if name.rsplit(".", 1)[-1] in _PATH_WORDS:
        return atoms
    new = set(atoms)
    if VAL_PATH in atoms:
        new.discard(VAL_PATH)
        new.add(("val", frozenset()))
    if TRAIN_PATH in atoms:
        new.discard(TRAIN_PATH)
        new.add(("train",))
        new |= run.files.cells.get(TRAIN_PATH, NOTHING)  # files that the script itself put among the shards
    return frozenset(new)
