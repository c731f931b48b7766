"""The submission as the witnesses see it: files already read, decoded and unpacked, nothing executed.

Every path is relative to the root of what was loaded (a folder or a git tree), with POSIX separators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Track(StrEnum):
    """Record submissions obey the clock; non-record ones keep the size cap only (README of the challenge)."""

    RECORD = "record"
    NON_RECORD = "non_record"


class Role(StrEnum):
    """What a file of the record folder is for."""

    SCRIPT = "script"  # the python file that produced the score (or is taken to have)
    HELPER = "helper"  # python code beside it
    NATIVE = "native"  # C, C++, CUDA
    SHELL = "shell"
    README = "readme"
    METADATA = "metadata"  # submission.json
    LOG = "log"
    TOKENIZER = "tokenizer"
    ARTIFACT = "artifact"  # compressed weights
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the submission.

    A file beyond the reader's bound has its beginning in `data` and its end in `tail`; `data` is None when nothing of
    it was read (then `size` still holds and `note` says why).
    """

    path: str
    size: int  # bytes
    role: Role
    data: bytes | None
    note: str = ""  # e.g. "not read: 209,715,200 bytes exceed the bound of ...", "symbolic link, not followed"
    tail: bytes = b""  # the last bytes of a file that was too large to hold whole

    @property
    def complete(self) -> bool:
        """Whether `data` is the whole file."""
        return self.data is not None and not self.tail


@dataclass(frozen=True, slots=True)
class SourceText:
    """Python source that findings point into.

    For a packed script `path` names the unpacked text as "train_gpt.py!unpacked" (one "!unpacked" a layer) and
    `layers` says, outermost first, how each layer was opened, e.g. ("exec(lzma(b85))",). `environment` holds what the
    wrappers set by `os.environ[...] =` (forced) and `os.environ.setdefault` before executing the payload.
    """

    path: str
    text: str
    sha256: str  # of the file as stored in the folder
    layers: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_defaults: Mapping[str, str] = field(default_factory=dict)
    wrapper: str = ""  # text of the outermost file, when packed
    opaque: str = ""  # why the text is not all that runs (code built at run time, code from outside the folder)
    wrapper_path: str = ""  # the stored file this text comes from, when packed or written by a wrapper
    imported_as: str = ""  # the module name under which the script loads this file, when that is not the file's own

    @property
    def packed(self) -> bool:
        """Whether the text was hidden in another one."""
        return bool(self.layers)

    @property
    def module(self) -> str:
        """The name by which neighbours import it: "lib.cache" for "records/x/y/train_gpt.py!lib/cache.py"."""
        if self.imported_as:
            return self.imported_as
        stored, _, written = self.path.replace("!unpacked", "").partition("!")
        name = written or stored.rpartition("/")[2]
        return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be loaded; one clear line, never fatal for the rest of the audit."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Submission:
    """One pull request's own submission."""

    origin: str  # the folder as the user gave it, or "PR 1852 in /path/to/repo.git"
    folder: str  # the record folder, relative to the root; "" when the root itself is the record folder
    track: Track
    files: tuple[StoredFile, ...]  # every file below `folder`
    script: SourceText | None  # the source that produced the score; None when there is none (see problems)
    helpers: tuple[SourceText, ...] = ()  # other python sources of the folder, unpacked or written by the wrapper
    other_folders: tuple[str, ...] = ()  # further record folders the PR adds as its own
    foreign_folders: tuple[str, ...] = ()  # copies of other people's folders
    changed_outside_records: tuple[str, ...] = ()  # paths the PR touches outside records/
    pull_request: int | None = None
    created: datetime | None = None  # best known creation time of the PR (first own commit), timezone-aware
    problems: tuple[Problem, ...] = ()
    script_reason: str = ""  # why `script` is taken for the one that produced the score
    head: str = ""  # the commit that was read, when loaded from git

    def by_role(self, role: Role) -> tuple[StoredFile, ...]:
        """Files with this role, in path order."""
        return tuple(sorted((item for item in self.files if item.role is role), key=lambda item: item.path))

    def relative(self, path: str) -> str:
        """`path` relative to the record folder."""
        prefix = self.folder + "/" if self.folder else ""
        return path[len(prefix) :] if prefix and path.startswith(prefix) else path


class LoadError(Exception):
    """The audit cannot start. The message is the one line the user sees (exit code 2)."""
