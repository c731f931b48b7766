"""Read-only access to the objects of a git repository: no checkout, no hooks, no network, nothing executed.

git runs with argument lists (no shell), a cleaned environment and explicit object names; what a repository's own
configuration could start (file-system monitors, lazy fetches, external diffs) is switched off.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from auditor.submission import bounds
from auditor.submission.model import LoadError

_MAIN_BRANCHES = (  # the challenge's own branch before a fork's
    "refs/remotes/upstream/main",
    "refs/remotes/origin/main",
    "refs/heads/main",
    "refs/remotes/upstream/master",
    "refs/remotes/origin/master",
    "refs/heads/master",
    "refs/remotes/origin/HEAD",
)
_PULL_REFS = ("refs/pull/{}/head", "refs/remotes/origin/pull/{}/head", "refs/remotes/upstream/pull/{}/head")
_PULL_NUMBER = re.compile(r"\(#(\d{1,9})\)|^Merge (?:pull request|PR) #(\d{1,9})")
_SWITCHED_OFF = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.bigFileThreshold=16m",  # larger objects are streamed instead of held in git's memory
    "protocol.allow=never",
)

_UNDER_WAY = 64  # requests sent before their answers are read; they fit into a pipe's buffer

TREE, LINK, SUBMODULE = 0o040000, 0o120000, 0o160000


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a git tree. `name` is one path component, or a path relative to the walked tree."""

    name: bytes
    mode: int
    oid: str


@dataclass(frozen=True, slots=True)
class Change:
    """A path that differs between two commits; `status` is git's letter A, M or D, mode and name are the object's."""

    status: str
    path: bytes
    mode: int = 0o100644
    oid: str = ""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob's size in bytes, its head and, when it was larger than the bound, its tail. None head: not available."""

    size: int
    head: bytes | None
    tail: bytes = b""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit's name, parents, author and commit time, and the first line of its message."""

    oid: str
    parents: tuple[str, ...]
    authored: datetime
    committed: datetime
    subject: str

    @property
    def pull_request(self) -> int | None:
        """The pull request that a merge or squash commit says it brought in."""
        numbers = [int(a or b) for a, b in _PULL_NUMBER.findall(self.subject)]
        return numbers[-1] if numbers else None


class Repository:
    """A repository's objects. Use as a context manager: leaving it ends the helper process.

    `path` is a bare git directory, a checkout, or a worktree. Raises LoadError when it is none of these.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._git_dir = _git_directory(self.path)
        self._environment = _clean_environment()
        self._batch: _Batch | None = None
        self._trees: dict[str, tuple[Entry, ...]] = {}
        known = self.run("rev-parse", "--show-object-format").strip()
        self.hash_bytes = 32 if known == b"sha256" else 20

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the helper process."""
        if self._batch is not None:
            self._batch.close()
            self._batch = None

    def run(self, *arguments: str, check: bool = True) -> bytes:
        """Standard output of a git command, cut at the output bound.

        Raises LoadError with git's own first line when the command fails and `check` is set; else returns b"".
        """
        process = self._start(*arguments)
        watchdog = threading.Timer(bounds.GIT_SECONDS, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            output = process.stdout.read(bounds.GIT_OUTPUT_BYTES)
            if len(output) == bounds.GIT_OUTPUT_BYTES:
                process.kill()
                return output[: output.rfind(b"\0") + 1]
            complaint = process.stderr.read(4096) if process.stderr else b""
            failed = process.wait() != 0
        finally:
            watchdog.cancel()
            process.kill()
            process.communicate()
        if failed and check:
            raise LoadError(f"{self.path}: git {arguments[0]} failed: {_first_line(complaint)}")
        return b"" if failed else output

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        settings = [part for setting in _SWITCHED_OFF for part in ("-c", setting)]
        command = ["git", "--no-pager", "--literal-pathspecs", *settings, f"--git-dir={self._git_dir}", *arguments]
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE if "--batch" in arguments else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                cwd="/",
            )
        except FileNotFoundError as error:
            raise LoadError("git is not installed: reading a repository needs the git command") from error

    def commit(self, revision: str) -> str | None:
        """The full name of the commit that `revision` means, or None."""
        if not revision or any(ord(character) < 32 for character in revision):
            return None
        name = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}", check=False)
        return name.decode("ascii", "replace").strip() or None

    def main_branch(self) -> str:
        """The commit that pull requests are compared with: the challenge's main branch as far as it is known here."""
        known = self.references(*_MAIN_BRANCHES)
        for reference in _MAIN_BRANCHES:
            if reference in known and (name := self.commit(reference)):
                return name
        if name := self.commit("HEAD"):
            return name
        raise LoadError(f"{self.path}: no main branch and no HEAD to compare with; name one with --base")

    def pull_head(self, number: int) -> str:
        """The head commit of pull request `number`."""
        for pattern in _PULL_REFS:
            if name := self.commit(pattern.format(number)):
                return name
        raise LoadError(
            f"{self.path}: no pull request {number} (refs/pull/{number}/head is not there; "
            f"fetch it with: git fetch origin pull/{number}/head:refs/pull/{number}/head)"
        )

    def references(self, *patterns: str) -> dict[str, str]:
        """Reference name -> object name, for references that match one of git's patterns."""
        output = self.run("for-each-ref", "--format=%(refname) %(objectname)", *patterns, check=False)
        pairs = (line.rpartition(" ") for line in output.decode("utf-8", "replace").splitlines())
        return {name: oid for name, _, oid in pairs if name}

    def merge_base(self, first: str, second: str) -> str | None:
        """The best common ancestor, or None when the histories are unrelated."""
        return self.run("merge-base", first, second, check=False).decode("ascii", "replace").strip() or None

    def brought_in_by(self, head: str, main: str) -> Commit | None:
        """The oldest commit on the first-parent line of `main` that contains `head`: usually its merge."""
        names = self.run("rev-list", "--first-parent", "--ancestry-path", f"{head}..{main}", check=False).split()
        return next(self.log(names[-1].decode("ascii"), limit=1), None) if names else None

    def log(self, *revisions: str, paths: tuple[bytes, ...] = (), limit: int = 10_000) -> Iterator[Commit]:
        """Commits, newest first; with `paths`, those that touch one of them."""
        output = self.run(
            "log",
            "--no-show-signature",
            "--no-notes",
            "--no-color",
            "--no-ext-diff",
            "-z",
            f"--max-count={limit}",
            "--format=%H%n%P%n%at%n%ct%n%s",
            *revisions,
            "--",
            *map(os.fsdecode, paths),
            check=False,
        )
        for record in output.split(b"\0"):
            fields = record.decode("utf-8", "replace").strip("\n").split("\n", 4)
            if len(fields) == 5:
                oid, parents, authored, committed, subject = fields
                yield Commit(oid, tuple(parents.split()), _moment(authored), _moment(committed), subject)

    def changes(self, base: str | None, head: str) -> tuple[Change, ...]:
        """Paths that differ between two commits (every path of `head` when `base` is None), records first.

        At most `bounds.CHANGED_PATHS`: a few trees that hold each other stand for billions of paths, which is why git's
        own diff is not asked.
        """
        old = self.root(base) if base else ""
        return tuple(islice(self._differences(old, self.root(head), b"", 0), bounds.CHANGED_PATHS))

    def _differences(self, old: str, new: str, prefix: bytes, depth: int) -> Iterator[Change]:
        before = {entry.name: entry for entry in self.tree(old)} if old else {}
        after = {entry.name: entry for entry in self.tree(new)} if new else {}
        names = before.keys() | after.keys()
        for name in sorted(names, key=lambda name: (depth == 0 and not name.startswith((b"records", b"track")), name)):
            left, right = before.get(name), after.get(name)
            if left == right:
                continue
            old_tree, new_tree = (entry.oid if entry and entry.mode == TREE else "" for entry in (left, right))
            if (old_tree or new_tree) and depth < bounds.FOLDER_DEPTH:
                yield from self._differences(old_tree, new_tree, prefix + name + b"/", depth + 1)
            if right is not None and right.mode != TREE:
                status = "M" if left is not None and left.mode != TREE else "A"
                yield Change(status, prefix + name, right.mode, right.oid)
            elif left is not None and left.mode != TREE:
                yield Change("D", prefix + name, left.mode, left.oid)

    def tree(self, oid_or_path: str) -> tuple[Entry, ...]:
        """Entries of one tree (``<commit>:<path>`` or its name); empty when there is no such tree."""
        if oid_or_path not in self._trees:
            kind, content = self._objects().read_small(oid_or_path, bounds.GIT_OUTPUT_BYTES)
            self._trees[oid_or_path] = tuple(_entries(content, self.hash_bytes)) if kind == "tree" else ()
        return self._trees[oid_or_path]

    def subtree(self, commit: str, path: bytes) -> str | None:
        """The name of the tree at `path` of `commit`, or None."""
        name = self.root(commit)
        for part in path.split(b"/") if path else ():
            name = next((entry.oid for entry in self.tree(name) if entry.name == part and entry.mode == TREE), "")
            if not name:
                return None
        return name

    def root(self, commit: str) -> str:
        """The name of a commit's root tree."""
        kind, content = self._objects().read_small(commit, bounds.GIT_OUTPUT_BYTES)
        if kind != "commit" or not content.startswith(b"tree "):
            raise LoadError(f"{self.path}: {commit} is not a commit")
        return content[5 : content.index(b"\n")].decode("ascii")

    def walk(self, tree: str, prefix: bytes = b"", depth: int = 0) -> Iterator[Entry]:
        """Blobs, links and submodules below `tree`, names relative to it, at most `bounds.FOLDER_DEPTH` deep."""
        for entry in self.tree(tree):
            name = prefix + entry.name
            if entry.mode != TREE:
                yield Entry(name, entry.mode, entry.oid)
            elif depth + 1 < bounds.FOLDER_DEPTH:
                yield from self.walk(entry.oid, name + b"/", depth + 1)
            else:
                yield Entry(name, TREE, entry.oid)

    def trees_of(self, commits: Sequence[str], path: str) -> Iterator[bytes]:
        """The raw tree at `path` of each commit, b"" where there is none."""
        for kind, content in self._objects().read_many([f"{commit}:{path}" for commit in commits]):
            yield content if kind == "tree" else b""

    def blob(self, oid: str) -> Blob:
        """A blob within the bounds of one file."""
        return self._objects().read(oid)

    def _objects(self) -> _Batch:
        if self._batch is None:
            self._batch = _Batch(lambda: self._start("cat-file", "--batch"))
        return self._batch


class _Batch:
    """One ``git cat-file --batch`` process, restarted when an object is too large to drain."""

    def __init__(self, start: object) -> None:
        assert callable(start)
        self._starter = start
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: threading.Timer | None = None
        self._requested_at = time.monotonic()

    def read(self, name: str) -> Blob:
        kind, size, stream = self._request(name)
        if kind != "blob":
            return Blob(0, None, note="not in this copy of the repository" if not kind else f"a git {kind}")
        if size > bounds.DRAINED_BYTES:
            self.close()
            return Blob(size, None, note=f"not read: {size:,} bytes exceed the bound of {bounds.DRAINED_BYTES:,}")
        if size <= bounds.FILE_BYTES:
            data = stream.read(size)
            stream.read(1)
            return Blob(size, data)
        head = stream.read(bounds.HEAD_BYTES)
        _skip(stream, size - bounds.HEAD_BYTES - bounds.TAIL_BYTES)
        tail = stream.read(bounds.TAIL_BYTES)
        stream.read(1)
        return Blob(size, head, tail)

    def read_small(self, name: str, limit: int) -> tuple[str, bytes]:
        """Kind and content of an object, ("", b"") when it is missing or larger than `limit`."""
        kind, size, stream = self._request(name)
        if not kind:
            return "", b""
        if size > limit:
            self.close()
            return "", b""
        content = stream.read(size)
        stream.read(1)
        return kind, content

    def read_many(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Like `read_small` for many objects, with several requests under way at a time."""
        for at in range(0, len(names), _UNDER_WAY):
            part = names[at : at + _UNDER_WAY]
            answers = self._ask(part)
            for _ in part:
                kind, size = _header(answers)
                if size > bounds.GIT_OUTPUT_BYTES:
                    self.close()
                    return
                content = answers.read(size) if kind else b""
                if kind:
                    answers.read(1)
                yield kind, content

    def _request(self, name: str) -> tuple[str, int, IO[bytes]]:
        answers = self._ask((name,))
        kind, size = _header(answers)
        return kind, size, answers

    def _ask(self, names: Sequence[str]) -> IO[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = self._starter()
            self._watch()
        self._requested_at = time.monotonic()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("".join(name + "\n" for name in names).encode("ascii"))
            self._process.stdin.flush()
        return self._process.stdout

    def _watch(self) -> None:
        """Kill a process that has not been asked anything new for the bound of seconds: it hangs, or nobody asks."""
        idle = time.monotonic() - self._requested_at
        if self._watchdog is not None and idle >= bounds.GIT_SECONDS and self._process is not None:
            self._process.kill()
            return
        self._watchdog = threading.Timer(bounds.GIT_SECONDS, self._watch)
        self._watchdog.daemon = True
        self._watchdog.start()

    def close(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process = self._watchdog = None


def _header(answers: IO[bytes]) -> tuple[str, int]:
    """Kind and size of the next object, ("", 0) when it is missing or the process has ended."""
    header = answers.readline(4096).split()
    if len(header) != 3 or not header[2].isdigit():
        return "", 0
    return header[1].decode("ascii", "replace"), int(header[2])


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0 and (chunk := stream.read(min(count, bounds.MIB))):
        count -= len(chunk)


def _entries(content: bytes, hash_bytes: int) -> Iterator[Entry]:
    """Entries of a raw tree object."""
    at = 0
    while at < len(content):
        space = content.find(b" ", at)
        end = content.find(b"\0", space)
        if space < 0 or end < 0:
            return
        yield Entry(content[space + 1 : end], int(content[at:space], 8), content[end + 1 : end + 1 + hash_bytes].hex())
        at = end + 1 + hash_bytes


def _git_directory(path: Path) -> Path:
    try:
        if not path.is_dir():
            raise LoadError(f"{path}: no such directory")
        inside = path / ".git"
        return (inside if inside.exists() else path).resolve()
    except (OSError, ValueError) as error:
        raise LoadError(f"{str(path)!r}: cannot be read ({error})") from error


def _clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def _moment(seconds: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _first_line(complaint: bytes) -> str:
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    return lines[0].removeprefix("fatal: ") if lines else "no message"
