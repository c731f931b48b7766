"""A process that has loaded the auditor and forks one child an audit, so that no audit waits for imports.

Run as a script whose working directory holds the packages to load, by `auditor.sweep.warm`; it imports nothing else.
Standard input asks, a JSON line each: arguments, file for all output, seconds. Standard output answers twice: with the
child's process number, then with how it ended. The child has a process group of its own and an alarm of the kernel's,
so it ends in time even when nobody who started it is left.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import traceback

PRELOADED = ("auditor.cli", "auditor.audit", "auditor.submission", "auditor.report.json", "rules")
EXIT_BROKEN = 70  # the child ended before the command line did


def serve() -> None:
    """Make audits until standard input ends."""
    for name in PRELOADED:
        with contextlib.suppress(ImportError):  # then every audit says so itself
            importlib.import_module(name)
    for line in sys.stdin:
        arguments, output, seconds = json.loads(line)
        child = fork(arguments, output, seconds)
        answer([child])
        answer(collect(child))


def answer(values: list[float]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def fork(arguments: list[str], output: str, seconds: float) -> int:
    """Start one audit; returns its process number."""
    child = os.fork()
    if child:
        return child
    code = EXIT_BROKEN
    try:
        os.setsid()
        signal.setitimer(signal.ITIMER_REAL, seconds)
        nothing, target = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT, 0o600)
        for stream, standard in ((nothing, 0), (target, 1), (target, 2)):
            os.dup2(stream, standard)
        code = run(arguments)
    finally:
        os._exit(code)


def run(arguments: list[str]) -> int:
    """The exit code of the command line; 1 after an exception, as an interpreter's."""
    sys.argv = ["pgolf-audit", *arguments]
    try:
        code = importlib.import_module("auditor.cli").main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def collect(child: int) -> list[float]:
    """Exit code, CPU seconds and peak memory (in the system's unit) of a child, once it has ended."""
    if hasattr(os, "waitid"):  # it stays a zombie: its number is not given to another process yet
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what it left behind
    _, status, usage = os.wait4(child, 0)
    return [os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss]


if __name__ == "__main__":
    serve()
