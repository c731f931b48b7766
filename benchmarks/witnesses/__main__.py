"""Audit labelled pull requests with source and run witness, and tell where each is right.

    python -m benchmarks.witnesses GIT_DIR LABELS [--accepted CSV] [--sample N] [--jobs N] [--output FILE] [PR ...]

Every accepted record and a random sample of the labelled pull requests with code are audited with ``--run``. Results
are added to FILE as JSON lines, and what stands there already is not run again. The table goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from auditor.run.witness import RunOptions
from benchmarks.accuracy.accepted import read_accepted
from benchmarks.accuracy.labels import LabelError, expectations, read_labels
from benchmarks.witnesses.table import table
from benchmarks.witnesses.trials import Trial, try_pull_request


def main() -> int:
    """Run what is missing, print the table; 2 for files that cannot be used."""
    options = _arguments()
    try:
        labels = read_labels(options.labels)
        accepted = frozenset(read_accepted(options.accepted)) if options.accepted else frozenset()
    except (OSError, LabelError) as error:
        print(f"benchmarks.witnesses: {error}", file=sys.stderr)
        return 2
    numbers = options.pull_requests or _drawn(sorted({item.pull_request for item in labels}), accepted, options)
    known = _known(options.output)
    run = RunOptions(
        seed=options.seed,
        python=options.python or "",
        seconds=options.limit_seconds,
        trace=not options.no_trace,
        swap=options.swap,
        ranks=options.ranks,
    )
    missing = [number for number in numbers if number not in known]
    random.Random(options.seed).shuffle(missing)  # what a stopped sweep has done is a sample, too
    with ProcessPoolExecutor(options.jobs, max_tasks_per_child=1) as pool:
        futures = {pool.submit(try_pull_request, options.git_dir, number, run): number for number in missing}
        for future in as_completed(futures):
            number = futures[future]
            try:
                trial = future.result()
            except Exception as error:  # a row that says so, never a lost sweep
                trial = Trial(number, False, f"internal error: {type(error).__name__}: {error}"[:200], 0.0)
            known[number] = json.loads(json.dumps(trial.as_json()))
            if options.output:
                with options.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(trial.as_json()) + "\n")
            print(_line(trial), file=sys.stderr, flush=True)
    rows = [known[number] for number in numbers if number in known]
    print(table(rows, expectations(labels), accepted), end="")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.witnesses", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("git_dir", type=Path, help="git directory with refs/pull/N/head of the challenge")
    parser.add_argument("labels", type=Path, help="labels.jsonl")
    parser.add_argument("pull_requests", type=int, nargs="*", metavar="PR", help="only these")
    parser.add_argument("--accepted", type=Path, help="CSV of accepted records; all of them are run")
    parser.add_argument("--sample", type=int, default=150, help="labelled pull requests to draw (default: 150)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample and of the audit data")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit-seconds", type=float, default=300.0, help="wall clock of one run")
    parser.add_argument("--no-trace", action="store_true", help="without the tracer")
    parser.add_argument("--swap", action="store_true", help="with the suffix swap: twice the runs")
    parser.add_argument("--ranks", type=int, default=1, help="processes of a further run (default: 1, no such run)")
    parser.add_argument("--python", help="interpreter with torch (default: this one)")
    parser.add_argument("--output", type=Path, help="JSON lines, added to")
    return parser.parse_intermixed_args()


def _drawn(labelled: list[int], accepted: frozenset[int], options: argparse.Namespace) -> list[int]:
    drawn = random.Random(options.seed).sample(labelled, min(options.sample, len(labelled)))
    return sorted(accepted | set(drawn))


def _known(path: Path | None) -> dict[int, dict[str, object]]:
    if path is None or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {int(row["pull_request"]): row for row in rows}


def _line(trial: Trial) -> str:
    end = "ran" if trial.ran else trial.failure
    log_m = "; ".join(f"{source} {value:+,.0f}" for source, value in trial.log_m.items())
    return f"#{trial.pull_request:<5} {trial.seconds:6.1f} s  {end}  {log_m}  {' | '.join(trial.disagreements)}"


if __name__ == "__main__":
    sys.exit(main())
