"""Command line of the renaming benchmark: ``python -m benchmarks.renaming --help``."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track

from auditor.sweep.targets import TargetError, pull_request_heads
from benchmarks.accuracy.labels import LabelError, read_labels
from benchmarks.renaming.comparison import Comparison, compare
from benchmarks.renaming.renamer import Disguise
from rules import RULES as RULEBOOK


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.renaming", description=__doc__)
    parser.add_argument("labels", type=Path, help="labels.jsonl")
    parser.add_argument("git_dir", type=Path, help="git directory with refs/pull/N/head of the challenge")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--only", type=_numbers, default=None, metavar="PR,PR", help="only these pull requests")
    parser.add_argument("--sample", type=int, metavar="K", help="only K pull requests, drawn with a fixed seed")
    parser.add_argument("--disguise", type=Disguise, choices=list(Disguise), default=Disguise.PLAIN)
    parser.add_argument("--limit-seconds", type=float, default=120.0, help="give up a pull request after this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every comparison as JSON")
    return parser.parse_args()


def _numbers(text: str) -> frozenset[int]:
    return frozenset(int(number) for number in text.split(","))


def main() -> int:
    """Run the benchmark; 0 when no status depends on names, 1 when one does, 2 when the input cannot be used."""
    arguments = _arguments()
    try:
        labels = read_labels(arguments.labels)
        heads = pull_request_heads(arguments.git_dir)
    except (LabelError, TargetError, OSError) as error:
        print(f"benchmarks.renaming: {error}", file=sys.stderr)
        return 2
    numbers = sorted({label.pull_request for label in labels} & set(heads))
    if arguments.only is not None:
        numbers = [number for number in numbers if number in arguments.only]
    if arguments.sample is not None and arguments.sample < len(numbers):
        numbers = sorted(random.Random(0).sample(numbers, arguments.sample))
    began = time.monotonic()
    comparisons = _compare_all(arguments, numbers)
    for line in report(comparisons):
        print(line)
    print(f"{time.monotonic() - began:.0f} s")
    if arguments.json:
        fields = {
            "schema": "pgolf-audit-renaming/1",
            "disguise": str(arguments.disguise),
            "comparisons": [asdict(item) for item in comparisons],
        }
        arguments.json.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    return int(any(item.differences for item in comparisons))


def _compare_all(arguments: argparse.Namespace, numbers: Sequence[int]) -> list[Comparison]:
    assert RULEBOOK  # rules are imported on first use: before the fork, so that an edit meanwhile changes nothing
    console = Console(stderr=True)
    git_dir = arguments.git_dir.resolve()
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(max_workers=arguments.jobs, mp_context=context) as pool:
        running = [
            pool.submit(compare, git_dir, number, arguments.disguise, arguments.limit_seconds) for number in numbers
        ]
        finished = track(
            as_completed(running),
            description="renaming",
            total=len(running),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        return sorted((future.result() for future in finished), key=lambda item: item.pull_request)


def report(comparisons: Iterable[Comparison]) -> list[str]:
    """Every difference, then totals, line by line."""
    comparisons = list(comparisons)
    lines = []
    totals: Counter[tuple[str, str, str]] = Counter()
    for item in comparisons:
        for difference in item.differences:
            totals[difference.rule, difference.before, difference.after] += 1
            by = " (by layout)" if difference.layout else ""
            lines.append(f"PR {item.pull_request} {difference.rule}: {difference.before} -> {difference.after}{by}")
            lines.append(f"    before: {_printable(difference.reason_before)}")
            lines.append(f"    after:  {_printable(difference.reason_after)}")
    for item in comparisons:
        if item.shape_before != item.shape_after:
            lines.append(f"PR {item.pull_request}: another ledger: {_changes(item)}")
    for (rule, before, after), count in sorted(totals.items()):
        lines.append(f"{rule} {before} -> {after}: {count}")
    compared = [item for item in comparisons if not item.error]
    names = sum(item.renamed for item in compared)
    lines.append(
        f"{len(compared)} pull requests compared: {sum(bool(item.differences) for item in compared)} with another "
        f"status, {sum(item.shape_before != item.shape_after for item in compared)} with another ledger; {names} names "
        f"changed, {sum(item.kept for item in compared)} of the scripts' own stayed"
    )
    for item in comparisons:
        if item.error and item.error != "no script":
            lines.append(f"PR {item.pull_request} not compared: {_printable(item.error)}")
    lines.append(f"without a script: {sum(item.error == 'no script' for item in comparisons)}")
    return lines


def _changes(item: Comparison) -> str:
    kinds = sorted({*item.shape_before, *item.shape_after})
    pairs = [(kind, item.shape_before.get(kind, 0), item.shape_after.get(kind, 0)) for kind in kinds]
    return ", ".join(f"{kind} {before} -> {after}" for kind, before, after in pairs if before != after)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)[:240]


if __name__ == "__main__":
    sys.exit(main())
