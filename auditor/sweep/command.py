"""``pgolf-audit sweep``: what it is asked, and the files it leaves."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO

from auditor.sweep.code_state import auditor_digest, snapshot
from auditor.sweep.index import Summary, describe_sweep, render_index
from auditor.sweep.memory import Cache
from auditor.sweep.one_audit import Request
from auditor.sweep.outcome import Outcome
from auditor.sweep.processes import Engine, ProcessEngine
from auditor.sweep.progress import progress
from auditor.sweep.sweeping import sweep
from auditor.sweep.tables import ParquetMissingError, json_line, write_parquet
from auditor.sweep.targets import PULL_REQUESTS, Target, list_targets

DESCRIPTION = "Audit every pull request of a repository. An interrupted sweep goes on where it stopped."
EPILOG = """\
Writes results.jsonl, results.parquet (with the extra "sweep") and index.html into the output folder. Exit codes: 0 the
sweep was made, whatever it found; 2 it could not be made, or was interrupted.
"""
LIMIT_SECONDS = 120.0  # of one audit that only reads
RUN_LIMIT_SECONDS = 3_600.0  # of one that also runs the script, several times


class InterruptedSweepError(Exception):
    """The sweep was interrupted; what it had found is written down."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a sweep."""
    parser.add_argument("--repo", metavar="GIT-DIR", required=True, help="a repository with the pull requests")
    parser.add_argument("--refs", metavar="PATTERN", nargs="+", default=[PULL_REQUESTS], help="default: %(default)s")
    parser.add_argument("--only", metavar="N,N", type=numbers, help="only these pull requests")
    parser.add_argument("--output", metavar="DIR", default="pgolf-sweep", help="default: %(default)s")
    parser.add_argument(
        "--jobs", metavar="N", type=int, help="audits at a time (default: processors, or the cluster's)"
    )
    parser.add_argument("--engine", choices=("processes", "ray"), default="processes", help="default: processes")
    parser.add_argument(
        "--limit-seconds", metavar="S", type=float, help="of one audit (default: 120; with --run: 3600)"
    )
    parser.add_argument("--cache", metavar="DIR", type=Path, help="folder of remembered outcomes")
    parser.add_argument("--as-of", metavar="DATE", help="judge by what was known on this day (YYYY-MM-DD)")
    parser.add_argument("--run", action="store_true", help="also run every script at toy size in a sandbox")
    parser.add_argument("--run-seconds", metavar="S", type=float, help="with --run: wall clock of one toy run")
    parser.add_argument("--run-python", metavar="FILE", help="with --run: an interpreter that has torch")


def numbers(text: str) -> frozenset[int]:
    """Numbers of pull requests, separated by commas."""
    return frozenset(int(number) for number in text.split(","))


def run_sweep(options: argparse.Namespace) -> str:
    """Make the sweep; returns what to say of it.

    Raises InterruptedSweepError, or TargetError, AuditorError, LoadError, RayMissingError or OSError when it cannot be
    made.
    """
    if options.jobs is not None and options.jobs < 1:
        raise OSError(f"--jobs {options.jobs}: at least 1")
    git_dir = str(Path(options.repo).resolve())
    targets = list_targets(git_dir, options.refs)
    if options.only is not None:
        targets = tuple(target for target in targets if target.pull_request in options.only)
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    with snapshot() as root:
        digest = auditor_digest(root)
        request = Request(git_dir, _limit_seconds(options), str(root), _audit_options(options))
        state = sha256(repr((digest, request.options)).encode()).hexdigest()
        cache = Cache(options.cache or Cache.default_folder(), state)
        began = time.monotonic()
        with _engine(options, request) as engine, (folder / "results.jsonl").open("w", encoding="ascii") as lines:
            found = _Found(lines)
            finished = _sweep(git_dir, targets, engine, cache, found)
            width = engine.width
    outcomes = sorted(found.outcomes, key=lambda item: (item.pull_request or 1 << 62, item.reference))
    summary = Summary(git_dir, time.monotonic() - began, width, found.remembered, digest, finished)
    told = "\n".join([describe_sweep(outcomes, summary), *write_results(folder, outcomes, summary)])
    if not finished:
        raise InterruptedSweepError(told)
    return told


def write_results(folder: Path, outcomes: Sequence[Outcome], summary: Summary) -> list[str]:
    """Write all three files; returns remarks about what could not be written."""
    _replace(folder / "results.jsonl", "".join(map(json_line, outcomes)))
    _replace(folder / "index.html", render_index(outcomes, summary))
    try:
        write_parquet(outcomes, folder / "results.parquet")
    except ParquetMissingError as error:
        return [f"results.parquet is not written: {error}"]
    return []


@dataclass
class _Found:
    """Outcomes as they come in, each written down at once."""

    lines: IO[str]
    outcomes: list[Outcome] = field(default_factory=list)
    remembered: int = 0

    def add(self, outcome: Outcome, remembered: bool) -> None:
        self.outcomes.append(outcome)
        self.remembered += remembered
        self.lines.write(json_line(outcome))
        self.lines.flush()


def _sweep(git_dir: str, targets: Sequence[Target], engine: Engine, cache: Cache, found: _Found) -> bool:
    """Whether the sweep came to its end."""
    with progress(len(targets)) as tick:

        def done(outcome: Outcome, remembered: bool) -> None:
            found.add(outcome, remembered)
            tick(outcome)

        try:
            sweep(git_dir, targets, engine, cache, done)
        except KeyboardInterrupt:
            return False
    return True


def _engine(options: argparse.Namespace, request: Request) -> Engine:
    if options.engine == "ray":
        from auditor.sweep.ray_engine import RayEngine

        return RayEngine(request, options.jobs)
    return ProcessEngine(request, options.jobs or os.cpu_count() or 1)


def _limit_seconds(options: argparse.Namespace) -> float:
    default = RUN_LIMIT_SECONDS if options.run else LIMIT_SECONDS
    return default if options.limit_seconds is None else float(options.limit_seconds)


def _audit_options(options: argparse.Namespace) -> tuple[str, ...]:
    """The arguments that every audit of this sweep gets."""
    chosen = [("--as-of", options.as_of), ("--run-seconds", options.run_seconds), ("--run-python", options.run_python)]
    return (
        *(("--run",) if options.run else ()),
        *(part for name, value in chosen if value is not None for part in (name, str(value))),
    )


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
