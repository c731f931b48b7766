"""What the tracer's hooks cost: CPU seconds of a toy run with them, divided by the same without them.

    python -m benchmarks.hooks GIT_DIR [PR ...] [--labels FILE --sample N] [--rounds N] [--python FILE]

Each script is run traced and untraced by turns, in the sandbox, on the same audit data. The ratio of a script is that
of its least CPU times; its processes' start (the interpreter and torch) is in both.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from auditor.audit import audit
from auditor.run.witness import RunOptions
from auditor.submission import LoadError, load_pull_request
from auditor.submission.model import Submission
from benchmarks.accuracy.labels import read_labels


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of the rounds of one script."""

    pull_request: int
    traced: tuple[float, ...]
    untraced: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Traced by untraced."""
        return min(self.traced) / min(self.untraced)


def main() -> int:
    """Measure and print a table."""
    options = _arguments()
    costs = []
    for number in _numbers(options):
        cost = _cost(number, options)
        print(f"#{number}: {f'{cost.ratio:.2f}' if cost else 'did not run'}", file=sys.stderr, flush=True)
        costs += [cost] if cost else []
    print("\n".join(_table(costs)))
    return 0 if costs else 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hooks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("git_dir", type=Path, help="git directory with refs/pull/N/head of the challenge")
    parser.add_argument("pull_requests", type=int, nargs="*", metavar="PR")
    parser.add_argument("--labels", type=Path, help="labels.jsonl, to draw from")
    parser.add_argument("--sample", type=int, default=10, help="labelled pull requests to draw (default: 10)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--python", default="", help="interpreter with torch (default: this one)")
    parser.add_argument("--limit-seconds", type=float, default=300.0)
    return parser.parse_args()


def _numbers(options: argparse.Namespace) -> list[int]:
    numbers: list[int] = list(options.pull_requests)
    if options.labels:
        labelled = sorted({label.pull_request for label in read_labels(options.labels)})
        numbers += random.Random(1).sample(labelled, min(options.sample, len(labelled)))
    return numbers


def _cost(number: int, options: argparse.Namespace) -> Cost | None:
    try:
        submission = load_pull_request(options.git_dir, number)
    except LoadError:
        return None
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(options.rounds):
        for traced in (False, True):
            seconds = _cpu_seconds(submission, traced, options)
            if seconds is None:
                return None
            times[traced].append(seconds)
    return Cost(number, tuple(times[True]), tuple(times[False]))


def _cpu_seconds(submission: Submission, traced: bool, options: argparse.Namespace) -> float | None:
    run = RunOptions(1, options.python, options.limit_seconds, trace=traced, swap=False, ranks=1)
    report = audit(submission, run=run)
    if report.run is None or not report.run.runs[0].reported:
        return None
    return report.run.runs[0].outcome.cpu_seconds


def _table(costs: list[Cost]) -> Iterator[str]:
    yield "| PR | untraced, CPU s | traced, CPU s | ratio |"
    yield "|--:|--:|--:|--:|"
    for cost in costs:
        yield f"| {cost.pull_request} | {min(cost.untraced):.1f} | {min(cost.traced):.1f} | {cost.ratio:.2f} |"
    if costs:
        ratios = sorted(cost.ratio for cost in costs)
        whole = sum(min(cost.traced) for cost in costs) / sum(min(cost.untraced) for cost in costs)
        yield ""
        median = statistics.median(ratios)
        yield f"{len(costs)} scripts: median {median:.2f}, largest {ratios[-1]:.2f}, all {whole:.2f}."


if __name__ == "__main__":
    sys.exit(main())
