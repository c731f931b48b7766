"""Run pull requests at toy size in the sandbox and say which reach their final metric.

``python -m benchmarks.run GIT_DIR LABELS [PR ...]``; without numbers a sample of the labelled pull requests is drawn.
Results are JSON lines; with ``--output FILE`` those already in the file are not run again.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from auditor.run.model import Limits, Size
from auditor.run.sources import FewSymbols, Markov, NoisyCopy, Source, Uniform
from benchmarks.accuracy.labels import LabelError, read_labels
from benchmarks.run.trial import NOT_RUN, Laboratory, Trial, try_pull_request

SOURCES: Mapping[str, Source] = {
    "uniform": Uniform(),
    "few": FewSymbols(),
    "copy": NoisyCopy(),
    "markov": Markov(),
}


def main() -> int:
    """Run, print a line a pull request and the totals; 0 when something ran, 2 for a wrong command line."""
    arguments = _arguments()
    laboratory = Laboratory(
        git_dir=arguments.git_dir,
        source=SOURCES[arguments.source],
        size=_size(arguments.iterations, arguments.tokens),
        seed=arguments.seed,
        python=arguments.python,
        limits=Limits(seconds=arguments.limit_seconds),
        trace=arguments.trace,
        keep=arguments.keep,
    )
    known = _known(arguments.output)
    try:
        numbers = arguments.pull_requests or _sample(arguments.labels, arguments.sample, arguments.seed)
    except (OSError, LabelError) as error:
        print(f"benchmarks.run: {error}", file=sys.stderr)
        return 2
    missing = [number for number in dict.fromkeys(numbers) if number not in known]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for trial in pool.map(lambda number: try_pull_request(number, laboratory), missing):
            known[trial.pull_request] = trial.as_json()
            _remember(arguments.output, trial)
            print(_line(trial.as_json()), flush=True)
    results = [known[number] for number in dict.fromkeys(numbers)]
    print("\n".join(_totals(results)))
    return 0 if results else 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("git_dir", type=Path, help="git directory with refs/pull/N/head of the challenge")
    parser.add_argument("labels", type=Path, help="labels.jsonl")
    parser.add_argument("pull_requests", type=int, nargs="*", metavar="PR", help="only these")
    parser.add_argument("--sample", type=int, default=20, help="how many labelled pull requests to draw (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample, the audit data and the scripts")
    parser.add_argument("--source", choices=SOURCES, default="uniform", help="audit data (default: uniform)")
    parser.add_argument("--iterations", type=int, default=Size().iterations, help="training steps")
    parser.add_argument("--tokens", type=int, default=Size().validation_tokens, help="predicted tokens")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--limit-seconds", type=float, default=300.0, help="wall clock of one attempt")
    parser.add_argument("--trace", choices=("none", "ledger"), default="none", help="what the tracer inside does")
    parser.add_argument("--python", default=sys.executable, help="interpreter with torch")
    parser.add_argument("--output", type=Path, help="JSON lines, added to")
    parser.add_argument("--keep", type=Path, help="folder for what the runs print")
    return parser.parse_intermixed_args()


def _size(iterations: int, tokens: int) -> Size:
    """The default size, or a smaller stream of the same shape."""
    full = Size()
    return replace(
        full,
        iterations=iterations,
        validation_tokens=tokens,
        training_tokens=min(full.training_tokens, max(8192, 4 * tokens)),
    )


def _sample(labels: Path, number: int, seed: int) -> list[int]:
    labelled = sorted({label.pull_request for label in read_labels(labels)})
    return random.Random(seed).sample(labelled, min(number, len(labelled)))


def _known(path: Path | None) -> dict[int, Mapping[str, object]]:
    if path is None or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {int(row["pull_request"]): row for row in rows}


def _remember(path: Path | None, trial: Trial) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(trial.as_json()) + "\n")


def _line(row: Mapping[str, object]) -> str:
    attempts = row["attempts"]
    tries = len(attempts) if isinstance(attempts, list | tuple) else 0
    end = "ran" if row["ran"] else f"{row['failure']}: {row['detail']}"
    metrics = row["metrics"]
    last = metrics[-1] if isinstance(metrics, list | tuple) and metrics else ""
    return f"#{row['pull_request']:<5} {row['seconds']:>6} s  {tries}x  {end}  | {last}"


def _totals(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Counts by class of failure, and times of those that ran."""
    rows = list(rows)
    tried = [row for row in rows if row["failure"] != NOT_RUN]
    ran = [row for row in tried if row["ran"]]
    seconds = sorted(float(str(row["seconds"])) for row in ran)
    lines = [f"{len(ran)} of {len(tried)} ran to a final metric ({len(rows) - len(tried)} have nothing to run)"]
    if seconds:
        lines.append(f"seconds: median {statistics.median(seconds):.1f}, longest {seconds[-1]:.1f}")
    classes = Counter(str(row["failure"]) for row in tried if not row["ran"])
    lines.extend(f"  {count:4d}  {name}" for name, count in classes.most_common())
    return lines


if __name__ == "__main__":
    sys.exit(main())
