"""A hard limit on processes where the usual one does not hold: the kernel never applies RLIMIT_NPROC to root.

Since Linux 6.14 each pid namespace has a largest process number of its own (kernel.pid_max), which bounds how many
processes and threads live in it at once. Older kernels have one for the whole machine, which must not be touched: there
the auditor's own counting (`auditor.run.sandbox.tree`) is all that limits root's runs.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

OWN_SINCE = (6, 14)  # Linux
LEAST = 301  # the kernel takes no smaller one; it reserves 300
SPARE = 64  # the sandbox's own processes, and some for numbers that are not free again yet
SETTING = Path("/proc/sys/kernel/pid_max")


def limit_process_numbers(first: int, processes: int) -> bool:
    """Bound the number of processes in the pid namespace of process `first`. Whether that was needed and done."""
    enter = shutil.which("nsenter")
    if os.geteuid() != 0 or enter is None or _kernel() < OWN_SINCE:
        return False
    largest = max(LEAST, processes + SPARE, 8 * (os.cpu_count() or 1) + 1)
    before = SETTING.read_bytes()
    command = [enter, "-t", str(first), "-p", "/bin/sh", "-c", f"echo {largest} > {SETTING}"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5)
        if SETTING.read_bytes() != before:  # a kernel that is not what its number says: undo
            SETTING.write_bytes(before)
            return False
        return ended.returncode == 0
    return False


def _kernel() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(found[1]), int(found[2])) if found else (0, 0)
