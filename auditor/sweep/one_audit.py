"""One audit in a process of its own, killed with its children when it takes too long.

The audit is the command that users run (``pgolf-audit --repo GIT_DIR --pr N --format json``); a submission that brings
its auditor down brings down nothing else.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.sweep.code_state import ROOT
from auditor.sweep.outcome import Outcome, report_fields
from auditor.sweep.targets import Target

SCHEMA = "pgolf-audit/1"
REFUSED = 2  # the exit code of an audit that says why it cannot be done
VERDICT_OF_EXIT_CODE = {0: "pass", 1: "fail", 3: "review"}
MAX_REPORT_BYTES = 64 << 20
MAX_ERROR_LENGTH = 300
_ALARM_AFTER = 30  # seconds after the limit: ends an audit whose sweep was killed before it could do so

# The alarm is the kernel's: it needs nobody who is still alive.
_COMMAND = "import signal, sys; signal.alarm(int(sys.argv.pop(1))); from auditor.cli import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Request:
    """What every audit of a sweep has in common. `root` holds the packages that are run; paths are absolute."""

    git_dir: str
    limit_seconds: float = 120.0
    root: str = str(ROOT)
    options: tuple[str, ...] = ()  # further arguments of the command line, such as --run


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended. `exit_code` is negative for a signal, as of subprocess."""

    exit_code: int
    timed_out: bool
    cpu_seconds: float
    peak_bytes: int


type Execute = Callable[[Sequence[str], Path, Request], Ended]  # arguments, file for all output, request


class WorkerLostError(Exception):
    """What was to execute an audit is gone."""


def audit(target: Target, request: Request, execute: Execute | None = None) -> Outcome:
    """Audit one target. `execute` runs the command line (default: `execute_alone`)."""
    with tempfile.TemporaryDirectory(prefix="pgolf-audit-") as scratch:
        report_path, error_path = Path(scratch) / "report.json", Path(scratch) / "stderr"
        arguments = ["--repo", request.git_dir, *_selection(target), *request.options]
        arguments += ["--format", "json", "--output", str(report_path)]
        began = time.monotonic()
        ended = (execute or execute_alone)(arguments, error_path, request)
        wall_seconds = time.monotonic() - began
        fields, error, lost = _ending(ended.exit_code, report_path, error_path)
    if ended.timed_out:
        fields, error, lost = {}, f"killed after {request.limit_seconds:g} s", True
    return Outcome(
        pull_request=target.pull_request,
        head=target.commit,
        reference=target.reference,
        **{"verdict": "", "statuses": {}, "reasons": {}, **fields},
        wall_seconds=wall_seconds,
        cpu_seconds=ended.cpu_seconds,
        peak_bytes=ended.peak_bytes,
        error=error.replace(request.git_dir, "the repository").replace(request.root, "."),
        lost=lost,
    )


def execute_alone(arguments: Sequence[str], output: Path, request: Request) -> Ended:
    """Run the command line in a new interpreter, as a user does; killed with its children after the limit."""
    command = [sys.executable, "-c", _COMMAND, str(math.ceil(request.limit_seconds) + _ALARM_AFTER), *arguments]
    with output.open("wb") as errors:
        process = subprocess.Popen(
            command, cwd=request.root, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
        )
        killed = threading.Event()
        timer = threading.Timer(request.limit_seconds, _kill_late, (process.pid, killed))
        timer.start()
        wait_unreaped(process.pid)
        timer.cancel()
        kill_group(process.pid)  # what it started and left behind
        _, wait_status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(wait_status)
    return Ended(process.returncode, killed.is_set(), usage.ru_utime + usage.ru_stime, peak_bytes(usage.ru_maxrss))


def peak_bytes(unit_of_the_system: int) -> int:
    """Peak resident memory in bytes from what the system counts it in."""
    return unit_of_the_system * (1 if sys.platform == "darwin" else 1024)


def without_report(target: Target, why: str, *, lost: bool) -> Outcome:
    """The outcome of an audit that never told anything; `lost` when another try may tell."""
    return Outcome(
        target.pull_request, target.commit, "", {}, {}, 0.0, 0.0, 0, why, reference=target.reference, lost=lost
    )


def kill_group(group: int) -> None:
    """Kill a process and everything it started, as far as they are still there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def wait_unreaped(process: int) -> None:
    """Wait for the end of a process that stays a zombie: its number is not given to another one yet."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)


def _selection(target: Target) -> tuple[str, ...]:
    if target.pull_request is not None:
        return "--pr", str(target.pull_request)
    return "--ref", target.commit


def _kill_late(group: int, killed: threading.Event) -> None:
    killed.set()
    kill_group(group)


def _ending(exit_code: int, report: Path, errors: Path) -> tuple[dict[str, Any], str, bool]:
    """The report's fields, why there are none, and whether the audit was lost instead of refused."""
    words = _last_line(errors)
    if exit_code == REFUSED and words:
        return {}, words, "internal error" in words
    if exit_code not in VERDICT_OF_EXIT_CODE:
        ended = f"ended by signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
        return {}, f"{ended}: {words}" if words else ended, True
    fields, error = _read_report(report)
    if error:
        return {}, f"{error}: {words}" if words else error, True
    if fields["verdict"] != VERDICT_OF_EXIT_CODE[exit_code]:
        return {}, f"exit code {exit_code} contradicts the report's verdict {fields['verdict']}", True
    return fields, "", False


def _read_report(path: Path) -> tuple[dict[str, Any], str]:
    try:
        with path.open("rb") as file:
            report = json.loads(file.read(MAX_REPORT_BYTES))
        if report["schema"] != SCHEMA:
            return {}, f"unknown report schema {report['schema']!r}"
        return report_fields(report), ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, f"no usable JSON report ({type(error).__name__})"


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("pgolf-audit: ")[:MAX_ERROR_LENGTH] if lines else ""
