"""Audits on this machine: as many processes at a time as asked for."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Protocol, Self

from auditor.sweep.one_audit import Request, audit, kill_group, without_report
from auditor.sweep.outcome import Outcome
from auditor.sweep.targets import Target


class Engine(Protocol):
    """Makes audits, several at a time. Every submitted target comes back exactly once, whatever becomes of it."""

    width: int  # audits at a time

    def submit(self, target: Target) -> None:
        """Have `target` audited."""

    def next(self) -> tuple[Target, Outcome]:
        """The next finished audit; waits for it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what is still running."""


class ProcessEngine:
    """A thread watches each audit's process. Leaving the context kills what is still running."""

    def __init__(self, request: Request, jobs: int) -> None:
        self.width = jobs
        self._request = request
        self._pool = ThreadPoolExecutor(max_workers=jobs)
        self._under_way: dict[Future[Outcome], Target] = {}
        self._lock = threading.Lock()
        self._processes: dict[int, int] = {}  # by thread
        self._closing = False

    def submit(self, target: Target) -> None:
        """Have `target` audited."""
        self._under_way[self._pool.submit(self._audit, target)] = target

    def next(self) -> tuple[Target, Outcome]:
        """The next finished audit."""
        finished = next(iter(wait(self._under_way, return_when=FIRST_COMPLETED).done))
        target = self._under_way.pop(finished)
        try:
            return target, finished.result()
        except OSError as error:  # no process could be started, no disk space: the machine's fault
            return target, without_report(target, f"could not be started: {error.strerror or error}", lost=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closing = True
            for process in self._processes.values():
                kill_group(process)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _audit(self, target: Target) -> Outcome:
        thread = threading.get_ident()
        try:
            return audit(target, self._request, lambda process: self._started(thread, process))
        finally:
            with self._lock:
                self._processes.pop(thread, None)

    def _started(self, thread: int, process: int) -> None:
        with self._lock:
            self._processes[thread] = process
            if self._closing:
                kill_group(process)
