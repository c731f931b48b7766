"""CPU time of the witnesses, pull request by pull request, relative to parsing."""

from __future__ import annotations

import ast
import math
import resource
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType


@dataclass(frozen=True, slots=True)
class Timing:
    """CPU seconds spent on one pull request. `error` is why there are none ("" if there are)."""

    pull_request: int
    script_sha256: str = ""
    lines: int = 0
    parse_seconds: float = 0.0  # ast.parse of the script, once
    load_seconds: float = 0.0  # reading git objects, unpacking
    record_seconds: float = 0.0  # README, submission.json, logs, the run's configuration
    source_seconds: float = 0.0
    peak_bytes: int = 0  # resident memory of the process so far
    error: str = ""

    @property
    def witness_seconds(self) -> float:
        return self.record_seconds + self.source_seconds


class _OutOfTimeError(BaseException):
    """Not an Exception: a witness that survives its own errors must not survive this one."""


def time_witnesses(git_dir: Path, pull_request: int, limit_seconds: float) -> Timing:
    """Load and read one pull request in this process. Stops after `limit_seconds` of wall-clock time."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _OutOfTimeError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_seconds)
    try:
        return _time_witnesses(git_dir, pull_request)
    except _OutOfTimeError:
        return Timing(pull_request, error=f"stopped after {limit_seconds:g} s")
    except Exception as error:  # one submission that breaks the auditor must not end the measurement
        return Timing(pull_request, error=f"{type(error).__name__}: {error}"[:200])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


def _time_witnesses(git_dir: Path, pull_request: int) -> Timing:
    from auditor.configuration import derive_configuration
    from auditor.record import read_record
    from auditor.source import witness
    from auditor.submission import load_pull_request

    load_seconds, submission = _timed(lambda: load_pull_request(git_dir, pull_request))
    script = submission.script
    if script is None:
        return Timing(pull_request, error="no script")
    parse_seconds, _ = _timed(lambda: _parses(script.text))
    record_seconds, (record, configuration) = _timed(
        lambda: (record := read_record(submission), derive_configuration(submission, record))
    )
    source_seconds, _ = _timed(lambda: witness(submission, configuration, record))
    return Timing(
        pull_request,
        script.sha256,
        script.text.count("\n") + 1,
        parse_seconds,
        load_seconds,
        record_seconds,
        source_seconds,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _timed[T](work: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def distinct_scripts(timings: Iterable[Timing]) -> list[Timing]:
    """One timing a script, the first pull request's, without those that have an error."""
    first: dict[str, Timing] = {}
    for timing in sorted(timings, key=lambda item: item.pull_request):
        if not timing.error:
            first.setdefault(timing.script_sha256, timing)
    return list(first.values())


def growth(lines: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Least squares of log(seconds) on log(lines): (exponent, seconds at 1,000 lines). Needs two different lengths."""
    points = [(math.log(n / 1000), math.log(t)) for n, t in zip(lines, seconds, strict=True) if n > 0 and t > 0]
    if len({x for x, _ in points}) < 2:
        raise ValueError("scripts of at least two different lengths are needed")
    mean_x = math.fsum(x for x, _ in points) / len(points)
    mean_y = math.fsum(y for _, y in points) / len(points)
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / math.fsum((x - mean_x) ** 2 for x, _ in points)
    return slope, math.exp(mean_y - slope * mean_x)


def line_fit(lines: Sequence[int], seconds: Sequence[float]) -> tuple[float, float, float]:
    """Least squares of seconds on lines: (seconds at no lines, seconds a line, share of the variance explained)."""
    mean_x, mean_y = math.fsum(lines) / len(lines), math.fsum(seconds) / len(seconds)
    spread = math.fsum((x - mean_x) ** 2 for x in lines)
    if not spread:
        raise ValueError("scripts of at least two different lengths are needed")
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(lines, seconds, strict=True)) / spread
    total = math.fsum((y - mean_y) ** 2 for y in seconds)
    return mean_y - slope * mean_x, slope, slope**2 * spread / total if total else 1.0


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
