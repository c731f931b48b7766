# ruff: noqa: PTH100, PTH110, PTH116, PTH119, PTH120, PTH123, PTH208
# Links and vanishing files are what this is about; os.path says which is meant.
"""The processes below process 1 of a run's pid namespace, as the auditor sees them from outside.

Orphans inside fall to process 1, so that walking down from it finds all of them. Everything is read from /proc of the
machine and may vanish at any moment; what is gone counts as nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass

KIB = 1024
OWN_SHARES = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")
MAX_DESCRIPTORS = 50_000  # of all processes of a run; looking at so many takes a tenth of a second
_TELLS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
BLOCK = 512  # bytes of st_blocks, whatever the file system
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """Processes and threads alive, and the memory that is theirs: anonymous and shared, without mapped files."""

    processes: tuple[int, ...]
    threads: int
    memory_bytes: int  # pages that several processes share are counted for each of them
    cpu_seconds: float  # of the living and of those that were waited for


@dataclass(frozen=True, slots=True)
class Held:
    """What files take: bytes allocated, number of entries, and "" or why they could not all be counted."""

    size_bytes: int = 0
    files: int = 0
    blind: str = ""


def sample_tree(first: int, most: int) -> Sample:
    """The tree below process `first` (which is the sandbox's own), with its threads, memory and processor time.

    Pages of mapped files (libraries) do not count: the kernel can take them back. Of more than `most` processes only
    their number is looked at: a fork bomb must not win against the one who counts it.
    """
    walked = _walk(first, most + 1)
    if len(walked) > most + 1:
        return Sample(tuple(walked[1:]), 0, 0, 0.0)
    threads = memory = 0
    for process in walked[1:]:
        own_threads, own_memory = _status(process)
        threads += own_threads
        memory += own_memory
    ticks = sum(map(_ticks, walked))
    return Sample(tuple(walked[1:]), threads, memory, ticks / TICKS_PER_SECOND)


def _walk(first: int, most: int) -> list[int]:
    """Processes of the tree, `first` among them; the walk ends when there are more than `most`."""
    found: list[int] = []
    waiting = [first]
    while waiting and len(found) <= most:
        process = waiting.pop()
        found.append(process)
        try:
            tasks = os.listdir(f"/proc/{process}/task")
        except OSError:
            continue
        for task in tasks:
            waiting += map(int, _read(f"/proc/{process}/task/{task}/children").split())
    return found if len(found) > 1 or _TELLS_CHILDREN else _walk_all(first, most)


def _walk_all(first: int, most: int) -> list[int]:
    """Like `_walk`, from the parents of all processes of the machine: some kernels do not list children."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        fields = _read(f"/proc/{name}/stat").rpartition(b")")[2].split()
        if len(fields) > 1:
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    waiting = [first]
    while waiting and len(found) <= most:
        found.append(waiting.pop())
        waiting += children.get(found[-1], ())
    return found


def _read(path: str) -> bytes:
    """The content of a file of /proc, empty if it is gone."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _status(process: int) -> tuple[int, int]:
    """Threads, and bytes of RssAnon + RssShmem + VmSwap."""
    threads = kilobytes = 0
    for line in _read(f"/proc/{process}/status").split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"Threads":
            threads = int(value)
        elif name in (b"RssAnon", b"RssShmem", b"VmSwap"):
            kilobytes += int(value.split()[0])
    return threads, kilobytes * KIB


def shared_out(sample: Sample) -> int:
    """Memory of the tree in bytes with each page that several processes share counted once. Costs a walk of all pages.

    After a fork nearly everything is shared, so that `memory_bytes` can be many times what is really taken.
    """
    total = 0
    for process in sample.processes:
        rollup = _read(f"/proc/{process}/smaps_rollup")
        parts = [line.split() for line in rollup.split(b"\n") if line.startswith(OWN_SHARES)]
        total += sum(int(part[1]) for part in parts) * KIB if parts else _status(process)[1]
    return total


def _ticks(process: int) -> int:
    """User and system time of a process and of its children that were waited for (proc(5), stat, fields 14 to 17)."""
    fields = _read(f"/proc/{process}/stat").rpartition(b")")[2].split()
    return sum(map(int, fields[11:15]))


def held_by_tmpfs(process: int, folder: str) -> Held:
    """What is on the tmpfs that `process` sees at `folder`, also without a name; nothing if it cannot be read."""
    try:
        state = os.statvfs(f"/proc/{process}/root{folder}")
    except OSError:
        return Held()
    return Held((state.f_blocks - state.f_bfree) * state.f_frsize, state.f_files - state.f_ffree)


def held_by_folder(folder: str, most_files: int) -> Held:
    """What is below `folder`. Links are not followed, and counting ends at `most_files`.

    A folder that cannot be listed (nested too deeply, closed by its mode) makes the answer blind.
    """
    size = files = 0
    blind = ""
    waiting = [folder]
    while waiting and files <= most_files:
        try:
            with os.scandir(waiting.pop()) as listing:
                for entry in listing:
                    files += 1
                    if files > most_files:
                        break
                    size += entry.stat(follow_symlinks=False).st_blocks * BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                blind = f"a folder that cannot be watched ({os.strerror(error.errno or 0)})"
    return Held(size, files, blind)


def held_without_name(processes: Iterable[int], devices: Collection[int]) -> Held:
    """Deleted files that a process still holds open on one of these devices: they take space and no folder has them."""
    sizes: dict[tuple[int, int], int] = {}
    looked = 0
    for process in processes:
        try:
            descriptors = os.listdir(f"/proc/{process}/fd")
        except OSError:
            continue
        looked += len(descriptors)
        if looked > MAX_DESCRIPTORS:
            return Held(sum(sizes.values()), len(sizes), "more open files than can be watched")
        for descriptor in descriptors:
            try:
                state = os.stat(f"/proc/{process}/fd/{descriptor}")
            except OSError:
                continue
            if stat.S_ISREG(state.st_mode) and state.st_nlink == 0 and state.st_dev in devices:
                sizes[state.st_dev, state.st_ino] = state.st_blocks * BLOCK
    return Held(sum(sizes.values()), len(sizes))


def remove_tree(folder: str) -> None:
    """Remove a folder that hostile code wrote to: nested ever so deeply, closed by modes, full of links.

    Iterative and by descriptor, so that neither depth nor a link leads out of it; what is gone already does not matter.
    """
    parent = os.open(os.path.dirname(os.path.abspath(folder)), os.O_RDONLY | os.O_DIRECTORY)
    try:
        _flatten(parent, os.path.basename(os.path.abspath(folder)))
    finally:
        os.close(parent)


def _flatten(parent: int, name: str) -> None:
    """Empty and remove the folder `name` of `parent`. What is two deep moves up first: depth is never walked."""
    top = _open_folder(parent, name)
    if top < 0:
        return
    moved = 0
    try:
        waiting = True
        while waiting:
            waiting = False
            for entry in os.listdir(top):
                inner = _open_folder(top, entry)
                if inner < 0:
                    os.unlink(entry, dir_fd=top)
                    continue
                for below in os.listdir(inner):
                    deeper = _open_folder(inner, below)
                    if deeper < 0:
                        os.unlink(below, dir_fd=inner)
                        continue
                    os.close(deeper)
                    moved += 1
                    os.rename(below, f"\r moved {moved}", src_dir_fd=inner, dst_dir_fd=top)
                    waiting = True
                os.close(inner)
                os.rmdir(entry, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _open_folder(parent: int, name: str) -> int:
    """A descriptor of the folder, made accessible first; -1 for anything else, also a link to a folder."""
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            return -1
        os.chmod(name, 0o700, dir_fd=parent)
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        return -1
