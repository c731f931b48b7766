"""Audits on a Ray cluster (https://docs.ray.io), for those who have one.

Every node needs the same version of pgolf-audit and the repository under the same path: a node with another state of
the auditor's code refuses. A worker or a node that dies loses its audit, which is reported as lost and tried again by
the sweep; Ray's own retries stay off, so that tries are counted in one place.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from auditor.sweep.code_state import auditor_digest
from auditor.sweep.one_audit import Request, audit, without_report
from auditor.sweep.outcome import Outcome
from auditor.sweep.targets import Target


class RayMissingError(Exception):
    """Ray is not installed."""


class RayEngine:
    """One Ray task an audit. Connects to the cluster that RAY_ADDRESS names, to one on this machine, or starts one."""

    def __init__(self, request: Request, jobs: int | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise RayMissingError("--engine ray needs Ray, which is not installed (pip install ray)") from error
        self._ray: Any = ray
        self._started_here = not ray.is_initialized()
        ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
        self.width = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._remote = ray.remote(num_cpus=1, max_retries=0)(audit_on_node)
        self._request = request
        self._digest = auditor_digest(Path(request.root))
        self._under_way: dict[Any, Target] = {}

    def submit(self, target: Target) -> None:
        """Have `target` audited somewhere on the cluster."""
        self._under_way[self._remote.remote(target, self._request, self._digest)] = target

    def next(self) -> tuple[Target, Outcome]:
        """The next finished audit; one whose worker died is lost."""
        finished = self._ray.wait(list(self._under_way), num_returns=1)[0][0]
        target = self._under_way.pop(finished)
        try:
            outcome: Outcome = self._ray.get(finished)
        except self._ray.exceptions.RayError as error:
            return target, without_report(target, f"the worker was lost ({type(error).__name__})", lost=True)
        return target, outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reference in self._under_way:
            self._ray.cancel(reference, force=True)
        if self._started_here:
            self._ray.shutdown()


def audit_on_node(target: Target, request: Request, digest: str) -> Outcome:
    """Audit `target` where Ray put this task, with the auditor that is installed there, if it is the same one."""
    if _digest_of(request.root) != digest:
        return without_report(target, "another version of pgolf-audit is installed on this node", lost=True)
    return audit(target, request)


@cache
def _digest_of(root: str) -> str:
    return auditor_digest(Path(root))
