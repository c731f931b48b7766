"""Command line of the speed benchmark: ``python -m benchmarks.speed --help``."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track

from auditor.sweep.code_state import ROOT
from auditor.sweep.one_audit import Request, audit
from auditor.sweep.outcome import Outcome
from auditor.sweep.targets import Target, TargetError, list_targets
from benchmarks.speed.table import table
from benchmarks.speed.witnesses import Timing, distinct_scripts, time_witnesses

SAMPLE = 200


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("git_dir", type=Path, help="git directory with refs/pull/N/head of the challenge")
    parser.add_argument(
        "--sample", type=int, metavar="N", default=SAMPLE, help=f"pull requests drawn with a fixed seed ({SAMPLE})"
    )
    parser.add_argument("--all", action="store_true", help="every pull request instead (minutes)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: processors)")
    parser.add_argument("--limit-seconds", type=float, default=120.0, help="give up a pull request after this")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table there instead of standard output")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every timing as JSON")
    return parser.parse_args()


def main() -> int:
    """Run the benchmark; 0 when it ran, 2 when the repository cannot be used."""
    arguments = _arguments()
    try:
        listed = list_targets(arguments.git_dir)
    except TargetError as error:
        print(f"benchmarks.speed: {error}", file=sys.stderr)
        return 2
    targets = {target.pull_request: target for target in listed if target.pull_request is not None}
    numbers = sorted(targets)
    if not arguments.all and arguments.sample < len(numbers):
        numbers = sorted(random.Random(0).sample(numbers, arguments.sample))
    timings = _measure_witnesses(arguments, numbers)
    scripts = distinct_scripts(timings)
    if len({timing.lines for timing in scripts}) < 2:
        print("benchmarks.speed: too few scripts could be read", file=sys.stderr)
        return 2
    _print_unread(timings)
    audits = _measure_audits(arguments, scripts, targets)
    start_up = _start_up_seconds()
    measured = table(scripts, audits, start_up, arguments.limit_seconds)
    if arguments.table:
        arguments.table.write_text(measured, encoding="utf-8")
    else:
        print(measured, end="")
    if arguments.json:
        fields = {
            "schema": "pgolf-audit-speed/1",
            "start_up_seconds": start_up,
            "timings": [asdict(timing) for timing in timings],
            "audits": {kind: [asdict(outcome) for outcome in outcomes] for kind, outcomes in audits.items()},
        }
        arguments.json.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure_witnesses(arguments: argparse.Namespace, numbers: Sequence[int]) -> list[Timing]:
    console = Console(stderr=True)
    git_dir = arguments.git_dir.resolve()
    with ProcessPoolExecutor(max_workers=arguments.jobs) as pool:
        running = [pool.submit(time_witnesses, git_dir, number, arguments.limit_seconds) for number in numbers]
        finished = track(
            as_completed(running),
            description="reading scripts",
            total=len(running),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        return sorted((future.result() for future in finished), key=lambda timing: timing.pull_request)


def _print_unread(timings: Sequence[Timing]) -> None:
    errors = [timing for timing in timings if timing.error and timing.error != "no script"]
    absent = sum(timing.error == "no script" for timing in timings)
    print(f"{len(timings)} pull requests; without a script: {absent}; not read: {len(errors)}", file=sys.stderr)
    for timing in errors[:20]:
        told = "".join(c if c.isprintable() else "?" for c in timing.error)
        print(f"  PR {timing.pull_request}: {told}", file=sys.stderr)


def _measure_audits(
    arguments: argparse.Namespace, scripts: Sequence[Timing], targets: Mapping[int, Target]
) -> dict[str, list[Outcome]]:
    """Whole audits, each in a process of its own, one at a time: around the median length, and of the longest.

    The auditor's bytecode is made before, as an installation makes it, also where the environment forbids to write it.
    """
    for package in ("auditor", "rules"):
        compileall.compile_dir(ROOT / package, quiet=1)
    by_length = sorted(scripts, key=lambda timing: timing.lines)
    middle = len(by_length) // 2
    request = Request(str(arguments.git_dir.resolve()), arguments.limit_seconds)
    chosen = {"median length": by_length[max(0, middle - 7) : middle + 8], "longest": by_length[-5:]}
    return {kind: [audit(targets[timing.pull_request], request) for timing in chosen[kind]] for kind in chosen}


def _start_up_seconds() -> float:
    """Median wall-clock time of ``pgolf-audit --help``: interpreter, imports, nothing audited."""
    command = [sys.executable, "-c", "from auditor.cli import main; main()", "--help"]
    seconds = []
    for _ in range(7):
        began = time.monotonic()
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    sys.exit(main())
