# ruff: noqa: PTH100, PTH110, PTH112, PTH114, PTH115, PTH118, PTH119, PTH120
# Links and vanishing files are what this is about; os.path says which is meant.
"""What a confined run can see of the machine: an ordered list of mounts, the same for every confinement.

The root is an empty read-only tmpfs. On it: /usr and what belongs to it, the loader's cache, the parts of the
interpreter's prefixes that an interpreter needs, five harmless devices, /proc of the run's own pid namespace, a private
/tmp and /dev/shm of bounded size, and the job's binds. Nothing else: no home, no /etc but a few written files, no /sys,
no /run, no /var.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.run.model import Bind, NoConfinementError

HOST_NAME = "audit"
USER_ID = 1000  # what the run is told it is; outside it is the user who audits
SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
DEVICES = ("null", "zero", "full", "random", "urandom")
# Of a prefix only these: a prefix can be a home folder or a project that holds more than an interpreter.
PREFIX_PARTS = ("bin", "lib", "lib64", "libexec", "include", "share", "pyvenv.cfg", "x86_64-conda-linux-gnu")
WRITTEN_FILES = {
    "/etc/passwd": f"audit:x:{USER_ID}:{USER_ID}::/tmp/home:/bin/sh\n",
    "/etc/group": f"audit:x:{USER_ID}:\n",
    "/etc/hosts": f"127.0.0.1 localhost {HOST_NAME}\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "/etc/host.conf": "multi on\n",
}
# Kernel interfaces below /proc that say something about the machine and that no script needs.
MASKED = ("/proc/kcore", "/proc/kallsyms", "/proc/keys", "/proc/key-users", "/proc/sched_debug", "/proc/timer_list")


@dataclass(frozen=True, slots=True)
class Mount:
    """One step of building the view. `kind` is "tmpfs", "bind", "device", "proc", "symlink" or "folder".

    `source` is a path of the machine ("bind", "device") or the text of a link ("symlink"). `size` bounds a tmpfs.
    A tmpfs that is not `writable` is made read-only once everything is in place.
    """

    kind: str
    target: str
    source: str = ""
    writable: bool = False
    size: int = 0
    mode: int = 0o755


def view_of(
    command: Sequence[str],
    binds: Sequence[Bind],
    scratch_bytes: int,
    scaffold: Path,
    devices: Sequence[str] = (),
) -> list[Mount]:
    """The mounts for a job, in the order in which they must be made.

    `scaffold` is a private folder of this run; the written files of /etc are put there. `devices` are device files that
    this job needs besides the harmless ones. Raises NoConfinementError where
    a bind would uncover what the sandbox hides ("/", "/proc", "/etc", "/dev").
    """
    mounts = [Mount("tmpfs", "/", size=1 << 20), *_system(), *_written(scaffold)]
    mounts += [Mount("tmpfs", "/dev", size=1 << 16)]
    mounts += [Mount("device", f"/dev/{name}", f"/dev/{name}") for name in DEVICES]
    mounts += [Mount("device", path, path) for path in devices]
    mounts += [Mount("symlink", "/dev/fd", "/proc/self/fd"), Mount("symlink", "/dev/stdin", "/proc/self/fd/0")]
    mounts += [Mount("symlink", f"/dev/{name}", f"/proc/self/fd/{n}") for n, name in ((1, "stdout"), (2, "stderr"))]
    mounts += [Mount("tmpfs", "/dev/shm", size=scratch_bytes, writable=True, mode=0o1777)]
    mounts += [Mount("proc", "/proc")]
    mounts += [Mount("tmpfs", "/proc/1", size=4096)]  # the sandbox's own process, which the filter does not bind
    empty = scaffold / "empty"
    empty.touch()
    mounts += [Mount("bind", path, str(empty)) for path in MASKED if os.path.exists(path)]
    mounts += [Mount("tmpfs", "/tmp", size=scratch_bytes, writable=True, mode=0o1777), Mount("folder", "/tmp/home")]
    mounts += [Mount("symlink", "/var/tmp", "/tmp")]
    mounts += _interpreter(Path(command[0]))  # after /tmp, below which it may lie
    for bind in sorted(binds, key=lambda bind: bind.target):
        _refuse_uncovering(bind)
        mounts.append(Mount("bind", bind.target, str(bind.source.resolve()), bind.writable))
    return mounts


def _refuse_uncovering(bind: Bind) -> None:
    target = os.path.normpath(bind.target)
    hidden = ("/proc", "/dev", "/etc", "/usr", "/sys")
    if not target.startswith("/") or target == "/" or any(f"{target}/".startswith(f"{place}/") for place in hidden):
        raise NoConfinementError(f"the sandbox cannot show {bind.source} at {bind.target}: that place is its own")
    if not bind.source.exists():
        raise NoConfinementError(f"{bind.source} should be visible in the sandbox at {bind.target} and does not exist")


def _system() -> Iterator[Mount]:
    for folder in SYSTEM_FOLDERS:
        if os.path.islink(folder):
            yield Mount("symlink", folder, os.readlink(folder))
        elif os.path.isdir(folder):
            yield Mount("bind", folder, folder)
    for path in SYSTEM_FILES:
        if os.path.exists(path):
            yield Mount("bind", path, os.path.realpath(path))


def _written(scaffold: Path) -> Iterator[Mount]:
    for target, text in WRITTEN_FILES.items():
        path = scaffold / target.strip("/").replace("/", "-")
        path.write_text(text)
        path.chmod(0o644)
        yield Mount("bind", target, str(path))


def _interpreter(executable: Path) -> Iterator[Mount]:
    """The needed parts of every prefix on the way from `executable` to the file it links to, and of a venv's base."""
    seen: set[str] = set()
    for prefix in _prefixes(executable):
        for part in PREFIX_PARTS:
            target = f"{prefix}/{part}"
            covered = any(f"{target}/".startswith(f"{folder}/") for folder in SYSTEM_FOLDERS)
            if covered or target in seen or not os.path.exists(target):
                continue
            seen.add(target)
            yield Mount("bind", target, os.path.realpath(target))


def _prefixes(executable: Path) -> Iterator[str]:
    hop = os.path.abspath(executable)
    for _ in range(16):
        folder = os.path.dirname(hop)
        if os.path.basename(folder) == "bin":
            prefix = os.path.dirname(folder)
            yield prefix
            yield from _base_prefix(prefix)
        if not os.path.islink(hop):
            break
        hop = os.path.normpath(os.path.join(folder, os.readlink(hop)))
    real = os.path.realpath(executable)
    if os.path.basename(os.path.dirname(real)) == "bin":
        yield os.path.dirname(os.path.dirname(real))


def _base_prefix(prefix: str) -> Iterator[str]:
    """The prefix that a virtual environment was made from, as its pyvenv.cfg names it and as it really is."""
    try:
        lines = Path(prefix, "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition("=")
        if name.strip() == "home" and os.path.basename(value.strip()) == "bin":
            yield os.path.dirname(value.strip())
            yield os.path.dirname(os.path.realpath(value.strip()))
