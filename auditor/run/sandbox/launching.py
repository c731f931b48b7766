"""Two ways to start a confined command, behind one protocol.

Both are started with a status pipe and a block pipe. The way writes {"child-pid": N} to the status pipe as soon as the
process 1 of the new pid namespace exists; the command starts when a byte arrives on the block pipe, so that limits can
be set on process 1 before; at the end {"exit-code": N} comes, or {"signal": N} where the way can tell.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from auditor.run.model import Confinement, NoConfinementError
from auditor.run.sandbox.filter import filter_program
from auditor.run.sandbox.view import HOST_NAME, USER_ID, Mount

BUBBLEWRAP = "bubblewrap"
NAMESPACES = "user namespaces + Landlock + seccomp"
LAUNCHER = Path(__file__).with_name("launcher.py")

_COVERS = (
    "network: its own namespace with nothing but loopback",
    "files: a read-only view of the interpreter, /usr and the job's binds; no home, no other user's files",
    "processes: its own pid namespace, which ends with the command",
    "privileges: no capability, no new privileges, system calls that reach further are refused",
    "limits: wall clock, memory of the tree, address space, processes, file size, scratch space, output",
)
_NOT_COVERED = (
    "a flaw of the kernel itself: this is no virtual machine",
    "memory of the kernel held for the run (socket buffers, page tables) is not counted",
    "limits that the auditor samples (memory, processes of root, scratch folders) are overstepped for a few hundredths "
    "of a second before they strike",
    "what the processor, the kernel's version and the size of the machine tell",
    "a script that behaves otherwise because it notices the sandbox",
)


@dataclass(frozen=True, slots=True)
class Start:
    """What a way needs to start a command; descriptors are numbers in this process, passed on as they are."""

    command: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    mounts: Sequence[Mount]
    scaffold: Path
    stdout: int
    stderr: int
    status: int
    block: int
    kept: Sequence[int]  # descriptors the command itself gets


def confinement(name: str) -> Confinement:
    """The description of a way."""
    return Confinement(name, _COVERS, _NOT_COVERED)


def launch(name: str, start: Start) -> subprocess.Popen[bytes]:
    """Start the command by the named way; it waits for the byte on the block pipe."""
    return _by_bubblewrap(start) if name == BUBBLEWRAP else _by_namespaces(start)


def _by_bubblewrap(start: Start) -> subprocess.Popen[bytes]:
    program = shutil.which("bwrap") or "bwrap"
    with _held(filter_program()) as code, _held(b"") as arguments:
        words = ["--unshare-all", "--unshare-user", "--uid", str(USER_ID), "--gid", str(USER_ID)]
        words += ["--hostname", HOST_NAME, "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
        words += [
            "--json-status-fd",
            str(start.status),
            "--block-fd",
            str(start.block),
            "--seccomp",
            str(code.fileno()),
        ]
        mounts = _with_own_devices(start) if os.geteuid() == 0 else start.mounts
        words += [word for mount in mounts for word in _bubblewrap_words(mount)]
        words += [w for m in start.mounts if m.kind in ("tmpfs", "proc") and not m.writable for w in _remount(m.target)]
        words += [word for name, value in start.environment.items() for word in ("--setenv", name, value)]
        arguments.write("".join(f"{word}\0" for word in [*words, "--chdir", start.folder]).encode())
        arguments.seek(0)
        command = [program, "--args", str(arguments.fileno()), "--", *start.command]
        return _start(command, start, (code.fileno(), arguments.fileno()))


def _with_own_devices(start: Start) -> list[Mount]:
    """The mounts with device files made for this run: root owns the machine's, and bubblewrap binds them writable.

    A script that runs as root's process could change the mode of /dev/null for everybody. Raises NoConfinementError
    where root may not make device files (containers): there the other way is the one to take.
    """
    mounts = []
    for mount in start.mounts:
        if mount.kind == "device":
            own = start.scaffold / f"device-{Path(mount.source).name}"
            try:
                os.mknod(own, stat.S_IFCHR | 0o666, Path(mount.source).stat().st_rdev)
                own.chmod(0o666)
                with own.open("rb"):
                    mount = replace(mount, source=str(own))
            except OSError as error:
                raise NoConfinementError(f"root's run in {BUBBLEWRAP} needs devices of its own: {error}") from None
        mounts.append(mount)
    return mounts


def _bubblewrap_words(mount: Mount) -> list[str]:
    if mount.kind == "tmpfs":
        return ["--perms", f"{mount.mode:o}", "--size", str(mount.size), "--tmpfs", mount.target]
    if mount.kind == "proc":
        return ["--proc", mount.target]
    if mount.kind == "folder":
        return ["--dir", mount.target]
    if mount.kind == "symlink":
        return ["--symlink", mount.source, mount.target]
    if mount.kind == "device":
        return ["--dev-bind", mount.source, mount.target]
    return ["--bind" if mount.writable else "--ro-bind", mount.source, mount.target]


def _remount(target: str) -> list[str]:
    return ["--remount-ro", target]


def _by_namespaces(start: Start) -> subprocess.Popen[bytes]:
    root = start.scaffold / "root"
    root.mkdir()
    plan = {
        "command": list(start.command),
        "folder": start.folder,
        "environment": dict(start.environment),
        "mounts": [
            {name: getattr(mount, name) for name in ("kind", "target", "source", "writable", "size", "mode")}
            for mount in start.mounts
        ],
        "root": str(root),
        "host": HOST_NAME,
        "user": USER_ID,
        "status": start.status,
        "block": start.block,
        "kept": list(start.kept),
        "filter": filter_program().hex(),
    }
    with _held(json.dumps(plan).encode()) as stream:
        command = [sys.executable, "-I", "-S", "-B", str(LAUNCHER), str(stream.fileno())]
        return _start(command, start, (stream.fileno(),))


def _held(content: bytes) -> IO[bytes]:
    """An unnamed file with this content, at its beginning."""
    stream = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  the caller closes it
    stream.write(content)
    stream.seek(0)
    return stream


def _start(command: Sequence[str], start: Start, more: Sequence[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=start.stdout,
        stderr=start.stderr,
        pass_fds=(start.status, start.block, *start.kept, *more),
        env={"PATH": os.environ.get("PATH", os.defpath)},
        cwd="/",
        start_new_session=True,
    )
