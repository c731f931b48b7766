"""Command line of the accuracy benchmark: ``python -m benchmarks.accuracy --help``."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from auditor.submission.model import LoadError
from auditor.sweep.code_state import auditor_digest, snapshot
from auditor.sweep.memory import Cache
from auditor.sweep.one_audit import Request
from auditor.sweep.outcome import Outcome
from auditor.sweep.processes import ProcessEngine
from auditor.sweep.progress import progress
from auditor.sweep.sweeping import AuditorError, sweep
from auditor.sweep.targets import Target, TargetError, list_targets
from benchmarks.accuracy import table
from benchmarks.accuracy.accepted import read_accepted
from benchmarks.accuracy.labels import LabelError, expectations, read_labels
from benchmarks.accuracy.scoring import score
from benchmarks.accuracy.table import Measurement


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("labels", type=Path, help="labels.jsonl")
    parser.add_argument("git_dir", type=Path, help="git directory with refs/pull/N/head of the challenge")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="audits at a time (default: processors)")
    parser.add_argument("--only", type=_numbers, default=None, metavar="PR,PR", help="only these pull requests")
    parser.add_argument("--accepted", type=Path, metavar="CSV", help="leaderboard table: audit these records too")
    parser.add_argument("--limit-seconds", type=float, default=120.0, help="kill an audit after this (default: 120)")
    parser.add_argument("--committed", action="store_true", help="measure the last commit, not the working tree")
    parser.add_argument("--cache", type=Path, default=Cache.default_folder(), help="folder of remembered outcomes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the Markdown table")
    arguments = parser.parse_args()
    if arguments.only and arguments.table:
        parser.error("--only measures a part: it does not go with --table")
    return arguments


def _numbers(text: str) -> frozenset[int]:
    return frozenset(int(number) for number in text.split(","))


def main() -> int:
    """Run the benchmark; 0 when it ran, 2 when its input cannot be used."""
    arguments = _arguments()
    try:
        return _run(arguments)
    except (LabelError, TargetError, AuditorError, LoadError, OSError) as error:
        print(f"benchmarks.accuracy: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    labels = read_labels(arguments.labels)
    accepted = read_accepted(arguments.accepted) if arguments.accepted else ()
    if arguments.only is not None:
        labels = tuple(label for label in labels if label.pull_request in arguments.only)
        accepted = tuple(number for number in accepted if number in arguments.only)
    expected = expectations(labels)
    wanted = {*expected.pull_requests, *accepted}
    targets = {target.pull_request: target for target in list_targets(arguments.git_dir)}
    outcomes = {number: _absent(number) for number in sorted(wanted)}
    began = time.monotonic()
    with snapshot(committed=arguments.committed) as root:
        digest = auditor_digest(root)
        known = [targets[number] for number in sorted(wanted) if number in targets]
        for target, outcome in zip(known, _audit_all(arguments, known, root, digest), strict=True):
            outcomes[target.pull_request or 0] = outcome
    wall_seconds = time.monotonic() - began
    measurement = Measurement(
        labels=labels,
        score=score(expected, {number: outcomes[number] for number in expected.pull_requests}),
        outcomes={number: outcomes[number] for number in expected.pull_requests},
        accepted={number: outcomes[number] for number in accepted},
    )
    print(table.markdown(measurement).partition(table.EVERY_PULL_REQUEST)[0])
    _print_attention(measurement)
    _print_times(outcomes, wall_seconds)
    for label in labels:
        head = outcomes[label.pull_request].head
        if head and head != label.head:
            print(f"PR {label.pull_request}: labelled at {label.head[:10]}, audited at {head[:10]}", file=sys.stderr)
    about = {
        "auditor_sha256": digest,
        "labels_sha256": hashlib.sha256(arguments.labels.read_bytes()).hexdigest(),
        "python": sys.version,
        "jobs": arguments.jobs,
        "limit_seconds": arguments.limit_seconds,
        "wall_seconds": wall_seconds,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(table.as_json(measurement, about), indent=1) + "\n", encoding="utf-8")
    if arguments.table:
        arguments.table.write_text(table.markdown(measurement), encoding="utf-8")
    return 0


def _absent(number: int) -> Outcome:
    return Outcome(number, "", "", {}, {}, 0.0, 0.0, 0, error=f"refs/pull/{number}/head is not there")


def _audit_all(arguments: argparse.Namespace, targets: Sequence[Target], root: Path, digest: str) -> list[Outcome]:
    git_dir = str(arguments.git_dir.resolve())
    cached = 0
    request = Request(git_dir, arguments.limit_seconds, str(root))
    with ProcessEngine(request, arguments.jobs) as engine, progress(len(targets)) as tick:

        def done(outcome: Outcome, remembered: bool) -> None:
            nonlocal cached
            cached += remembered
            tick(outcome)

        outcomes = sweep(git_dir, targets, engine, Cache(arguments.cache, digest), done)
    if cached:
        print(f"{cached} of {len(targets)} outcomes come from the cache {arguments.cache}", file=sys.stderr)
    return outcomes


def _print_attention(measurement: Measurement) -> None:
    """The accusations to read by hand, with the reason each report gives. On the terminal only."""
    print("## To read by hand: fails on what people accepted or called legal\n")
    for row in measurement.score.rules:
        for number in row.accused:
            print(f"- {number} {row.rule} ({row.group}): {_printable(measurement.outcomes[number].reasons[row.rule])}")
    for number, outcome in measurement.accepted.items():
        for rule, status in outcome.statuses.items():
            if status == "fail":
                print(f"- {number} {rule} (accepted record): {_printable(outcome.reasons[rule])}")
    print()


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)[:300]


def _print_times(outcomes: Mapping[int, Outcome], wall_seconds: float) -> None:
    seconds = sorted(outcome.wall_seconds for outcome in outcomes.values())
    if not seconds:
        return
    slowest = sorted(outcomes.values(), key=lambda outcome: outcome.wall_seconds)[-3:]
    print(
        f"{len(seconds)} audits in {wall_seconds:.0f} s; one audit: median {statistics.median(seconds):.2f} s, "
        f"95 % below {seconds[int(0.95 * (len(seconds) - 1))]:.2f} s, "
        f"CPU {sum(outcome.cpu_seconds for outcome in outcomes.values()):.0f} s in all, slowest "
        + ", ".join(f"{outcome.pull_request}: {outcome.wall_seconds:.1f} s" for outcome in slowest)
        + f", peak memory {max(outcome.peak_bytes for outcome in outcomes.values()) / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
