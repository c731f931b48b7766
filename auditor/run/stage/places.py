"""Where a script looks for its data, and how the audit's data gets there.

All audit data lies once, below DATA inside the sandbox. Variables point there; names that the script has hard-coded
become links: below the data folder for other data set names, in the private copy or as further binds for other roots.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from auditor.run.model import Bind

DATA = "/audit/data"
SUBMISSION = "/work/repo/records/track/submission"  # as deep as in a clone: scripts look for its root above them

_DATA_SET = re.compile(r"(?<![\w.{-])fineweb(?:10B|_bytes|_edu)\w{0,80}|fineweb10B_[\w{}]{1,60}")
_TOKENIZER = re.compile(r"(?<![\w.{-])fineweb_\w{1,80}\.(?:model|json|vocab)")
_ROOT = re.compile(r"[\"'](/?[\w./ -]{0,100}?)/(?:datasets|tokenizers)\b")
_FORBIDDEN_ROOTS = ("/", "/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/dev", "/sys", "/audit", "/tmp")
_SIDECAR = re.compile(r"val_bytes_?\*|fineweb_val_bytes")


@dataclass(frozen=True, slots=True)
class Places:
    """Names for the audit data. `data_sets` and `tokenizers` are file names, the first of each the real one; `roots`
    are folders, absolute inside the sandbox, that must show the data folder as well."""

    data_sets: tuple[str, ...]
    tokenizers: tuple[str, ...]
    roots: tuple[str, ...]
    sidecar: bool

    @property
    def data_set(self) -> str:
        """The data set's folder inside the sandbox."""
        return f"{DATA}/datasets/{self.data_sets[0]}"

    @property
    def tokenizer(self) -> str:
        """The tokenizer's path inside the sandbox."""
        return f"{DATA}/tokenizers/{self.tokenizers[0]}"


def places_of(texts: Iterable[str], vocabulary: int, caseops: bool) -> Places:
    """Derive the places from source texts and the values of path settings. `caseops`: the run had CaseOps on."""
    joined = list(texts)
    sidecar = caseops and any(_SIDECAR.search(text) for text in joined)
    data_set = f"fineweb10B_sp{vocabulary}" + ("_caseops" if sidecar else "")
    tokenizer = f"fineweb_{vocabulary}_bpe.model"
    found_sets = {match[0] for text in joined for match in _DATA_SET.finditer(text) if "{" not in match[0]}
    found_tokenizers = {match[0] for text in joined for match in _TOKENIZER.finditer(text)}
    roots = {_inside(match[1]) for text in joined for match in _ROOT.finditer(text)} | {f"{SUBMISSION}/data"}
    return Places(
        (data_set, *sorted({*found_sets, f"fineweb10B_sp{vocabulary}"} - {data_set})[:20]),
        (tokenizer, *sorted(found_tokenizers - {tokenizer})[:20]),
        tuple(sorted(root for root in roots if root and root not in _FORBIDDEN_ROOTS))[:10],
        sidecar,
    )


def _inside(root: str) -> str:
    """A root as the script spells it, absolute inside the sandbox; "" for what is no place for data."""
    if " " in root.strip() or not root:
        return ""
    path = posixpath.normpath(posixpath.join(SUBMISSION, root))
    reserved = ("/usr/", "/lib", "/bin", "/etc/", "/proc", "/dev", "/sys", "/audit", "/tmp")
    above = f"{SUBMISSION}/".startswith(path + "/")  # a bind there would hide the submission
    return "" if path.startswith(reserved) or above else path


def link_data(places: Places, data: Path) -> None:
    """Other names of the data set and the tokenizer, as links beside the real ones."""
    for other in places.data_sets[1:]:
        _link(data / "datasets" / other, places.data_sets[0])
    for other in places.tokenizers[1:]:
        if other.endswith(".model"):
            _link(data / "tokenizers" / other, places.tokenizers[0])


def _link(path: Path, target: str) -> None:
    if not path.exists() and not path.is_symlink():
        path.symlink_to(target)


def link_roots(places: Places, submission: Path, data: Path) -> tuple[Bind, ...]:
    """Make the data visible at every root: a link in the private copy where nothing is in the way, else a bind."""
    binds: list[Bind] = []
    for root in places.roots:
        if root.startswith(SUBMISSION + "/"):
            _link_root(submission / root.removeprefix(SUBMISSION + "/"))
        elif root != DATA:
            binds.append(Bind(data, root))
    return tuple(binds)


def _link_root(path: Path) -> None:
    """`path` becomes a link to the data folder; where the submission has a folder of that name, its parts do."""
    if path.is_dir() and not path.is_symlink():
        for part in ("datasets", "tokenizers"):
            _link(path / part, f"{DATA}/{part}")
        return
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _link(path, DATA)
