"""A clock that only calls move: one millisecond each, so schedules by wall clock are the same in every run.

time.time, perf_counter, monotonic and process_time (and their _ns forms) show one virtual time from different zeros;
`sleep` advances it. Calendar functions (strftime, datetime) are left alone: they decide nothing.
"""

from __future__ import annotations

import itertools
import threading
import time

from .usage import used

STEP_NS = 1_000_000
EPOCH_NS = 1_775_000_000 * 10**9  # where time.time() starts: early April 2026
_real_sleep = time.sleep
_real_time = time.time
_ticks = itertools.count(1)
_slept_ns = 0
_lock = threading.Lock()


def _advance() -> int:
    """The virtual time in ns since the start, one step later than at the call before."""
    used("clock")
    return next(_ticks) * STEP_NS + _slept_ns


def now() -> float:
    """The virtual time in seconds since the start; moves it as any reading does."""
    return _advance() / 1e9


def sleep(seconds: float) -> None:
    """Advance the clock. Other threads get their turn, so waiting for one by sleeping still works."""
    global _slept_ns
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    with _lock:
        _slept_ns += int(seconds * 1e9)
    _real_sleep(min(seconds, 1e-3))


def install() -> None:
    """Replace the readings of module `time`. Modules that took them before (queue, threading) keep the real clock."""
    zeros = {"time": EPOCH_NS, "perf_counter": 10**12, "monotonic": 10**12, "process_time": 0, "thread_time": 0}
    for name, zero in zeros.items():
        setattr(time, name, lambda zero=zero: (zero + _advance()) / 1e9)
        setattr(time, f"{name}_ns", lambda zero=zero: zero + _advance())
    time.sleep = sleep
