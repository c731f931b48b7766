"""All cases, by theme."""

from __future__ import annotations

from benchmarks.escapes.cases import files, hooks, kernel, network, processes, report, resources
from benchmarks.escapes.judging import Case

THEMES: dict[str, tuple[Case, ...]] = {
    "files": files.CASES,
    "kernel": kernel.CASES,
    "network": network.CASES,
    "processes": processes.CASES,
    "resources": resources.CASES,
    "report": report.CASES,
    "hooks": hooks.CASES,
}
CASES: tuple[Case, ...] = tuple(case for cases in THEMES.values() for case in cases)
