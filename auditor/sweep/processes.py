"""Audits on this machine: as many processes at a time as asked for."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from types import TracebackType
from typing import Protocol, Self

from auditor.sweep.one_audit import Request, WorkerLostError, audit, without_report
from auditor.sweep.outcome import Outcome
from auditor.sweep.targets import Target
from auditor.sweep.warm import WarmProcess


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
    """A thread and a warm process for each audit at a time. Leaving the context ends what is still running."""

    def __init__(self, request: Request, jobs: int) -> None:
        self.width = jobs
        self._request = request
        self._pool = ThreadPoolExecutor(max_workers=jobs)
        self._under_way: dict[Future[Outcome], Target] = {}
        self._processes: SimpleQueue[WarmProcess] = SimpleQueue()
        self._all = [WarmProcess() for _ in range(jobs)]
        for process in self._all:
            self._processes.put(process)

    def submit(self, target: Target) -> None:
        """Have `target` audited."""
        self._under_way[self._pool.submit(self._audit, target)] = target

    def next(self) -> tuple[Target, Outcome]:
        """The next finished audit."""
        finished = next(iter(wait(self._under_way, return_when=FIRST_COMPLETED).done))
        target = self._under_way.pop(finished)
        try:
            return target, finished.result()
        except WorkerLostError as error:
            return target, without_report(target, str(error), lost=True)
        except OSError as error:  # no process could be started, no disk space: the machine's fault
            return target, without_report(target, f"could not be started: {error.strerror or error}", lost=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in self._all:
            process.close()
        self._pool.shutdown(wait=True)

    def _audit(self, target: Target) -> Outcome:
        process = self._processes.get()
        try:
            return audit(target, self._request, process.execute)
        finally:
            self._processes.put(process)
