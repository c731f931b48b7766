"""The processes below process 1 of a run's pid namespace, as the auditor sees them from outside.

Orphans inside fall to process 1, so that walking down from it finds all of them. Everything is read from /proc of the
machine and may vanish at any moment; what is gone counts as nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

KIB = 1024
MAX_WALKED = 20_000  # processes; far above any limit on their number


@dataclass(frozen=True, slots=True)
class Sample:
    """Processes and threads alive, and the memory that is theirs: anonymous and shared, without mapped files."""

    processes: tuple[int, ...]
    threads: int
    memory_bytes: int


def sample_tree(first: int) -> Sample:
    """The tree below process `first` (which is the sandbox's own), with its threads and resident memory.

    Pages that several processes share are counted for each of them; pages of mapped files (libraries) for none, since
    the kernel can take them back.
    """
    processes = _walk(first)[1:]
    threads = memory = 0
    for process in processes:
        own_threads, own_memory = _status(process)
        threads += own_threads
        memory += own_memory
    return Sample(tuple(processes), threads, memory)


def _walk(first: int) -> list[int]:
    found, waiting = [], [first]
    while waiting and len(found) < MAX_WALKED:
        process = waiting.pop()
        found.append(process)
        try:
            tasks = os.listdir(f"/proc/{process}/task")
        except OSError:
            continue
        for task in tasks:
            try:
                with open(f"/proc/{process}/task/{task}/children", "rb") as stream:
                    waiting += map(int, stream.read().split())
            except OSError:
                continue
    return found


def _status(process: int) -> tuple[int, int]:
    """Threads, and bytes of RssAnon + RssShmem."""
    try:
        with open(f"/proc/{process}/status", "rb") as stream:
            lines = stream.read().split(b"\n")
    except OSError:
        return 0, 0
    threads = kilobytes = 0
    for line in lines:
        name, _, value = line.partition(b":")
        if name == b"Threads":
            threads = int(value)
        elif name in (b"RssAnon", b"RssShmem"):
            kilobytes += int(value.split()[0])
    return threads, kilobytes * KIB


def held_by_tmpfs(process: int, folder: str) -> tuple[int, int]:
    """Bytes and files on the tmpfs that `process` sees at `folder`, also those without a name; (0, 0) if unreadable."""
    try:
        state = os.statvfs(f"/proc/{process}/root{folder}")
    except OSError:
        return 0, 0
    return (state.f_blocks - state.f_bfree) * state.f_frsize, state.f_files - state.f_ffree


def held_by_folder(folder: str, most_files: int) -> tuple[int, int]:
    """Bytes allocated below `folder` and number of entries; links are not followed, and counting ends at `most_files`."""
    size = entries = 0
    waiting = [folder]
    while waiting and entries <= most_files:
        try:
            with os.scandir(waiting.pop()) as listing:
                for entry in listing:
                    entries += 1
                    if entries > most_files:
                        break
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return size, entries
