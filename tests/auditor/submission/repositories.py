"""Synthetic git repositories with pull-request references, written as one fast-import stream."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = "import os\nval_bpb = 1.0\nprint(f'val_bpb:{val_bpb}')\n"
METADATA = '{"name": "x", "val_bpb": 1.1, "date": "2026-04-05"}\n'


@dataclass
class GitBuilder:
    """Builds a bare repository commit by commit; `write` returns its path."""

    path: Path
    stream: list[bytes] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    clock: int = 1_775_000_000

    def commit(
        self,
        ref: str,
        files: Mapping[str, str | bytes | None] | None = None,
        *,
        message: str = "change",
        start: str | None = None,
        merge: str | None = None,
        at: int | None = None,
        modes: Mapping[str, str] | None = None,
    ) -> None:
        """Add a commit to `ref` (first from `start`, another reference); a file of None is deleted."""
        self.clock = at if at is not None else self.clock + 60
        mark = len(self.marks) + len(self.stream) + 1
        who = f"A B <a@b.example> {self.clock} +0000".encode()
        self._add(f"commit {ref}\nmark :{mark}".encode(), b"author " + who, b"committer " + who)
        self._data(message.encode())
        parent = self.marks.get(ref) or (self.marks[start] if start else None)
        if parent:
            self._add(f"from :{parent}".encode())
        if merge:
            self._add(f"merge :{self.marks[merge]}".encode())
        for name, content in (files or {}).items():
            quoted = self._quoted(name)
            if content is None:
                self._add(b"D " + quoted)
                continue
            self._add(f"M {(modes or {}).get(name, '100644')} inline ".encode() + quoted)
            self._data(content.encode() if isinstance(content, str) else content)
        self.stream.append(b"\n")
        self.marks[ref] = mark

    def write(self) -> Path:
        """Import what was built."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        run = {"check": True, "env": environment, "capture_output": True}
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(self.path)], **run)
        subprocess.run(
            ["git", f"--git-dir={self.path}", "fast-import", "--quiet", "--force"], input=b"".join(self.stream), **run
        )
        return self.path

    def checkout(self, ref: str, target: Path) -> Path:
        """A working tree of `ref` with main as origin/main."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

        def git(*arguments: str) -> None:
            subprocess.run(["git", *arguments], check=True, env=environment, capture_output=True)

        git("clone", "--quiet", str(self.path), str(target))
        git("-C", str(target), "fetch", "--quiet", "origin", ref)
        git("-C", str(target), "checkout", "--quiet", "FETCH_HEAD")
        return target

    def _add(self, *lines: bytes) -> None:
        self.stream.extend(line + b"\n" for line in lines)

    def _data(self, content: bytes) -> None:
        self.stream.append(f"data {len(content)}\n".encode() + content + b"\n")

    @staticmethod
    def _quoted(name: str) -> bytes:
        raw = name.encode("utf-8", "surrogateescape")
        if all(32 < byte < 127 and byte not in b'"\\' for byte in raw):
            return raw
        return b'"' + b"".join(b"\\%03o" % byte for byte in raw) + b'"'


def record(name: str, track: str = "track_10min_16mb", **files: str | None) -> dict[str, str]:
    """Files of a minimal record folder below records/; keyword arguments add or replace (`train_gpt="..."`)."""
    base = f"records/{track}/{name}/"
    contents: dict[str, str | None] = {
        "train_gpt.py": files.pop("train_gpt", SCRIPT + f"# {name}\n"),
        "submission.json": files.pop("submission", METADATA),
        "README.md": files.pop("readme", f"# {name}\n"),
        **{key.replace("__", "."): value for key, value in files.items()},
    }
    return {base + key: value for key, value in contents.items() if value is not None}
