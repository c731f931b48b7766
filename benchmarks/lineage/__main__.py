"""Command line: ``python -m benchmarks.lineage build GIT_DIR LABELS --accepted CSV``."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from auditor.sweep.code_state import ROOT
from auditor.sweep.targets import TargetError, pull_request_heads
from benchmarks.accuracy.accepted import read_accepted
from benchmarks.accuracy.labels import LabelError, read_labels
from benchmarks.lineage.building import Functions, build, read_functions, rulings, stored


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lineage", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="write the table that reports look functions up in")
    building.add_argument("git_dir", type=Path, help="git directory with refs/pull/N/head of the challenge")
    building.add_argument("labels", type=Path, help="labels.jsonl")
    building.add_argument("--accepted", type=Path, metavar="CSV", help="leaderboard table: nothing of it is ruled out")
    building.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    building.add_argument("--limit-seconds", type=float, default=120.0, help="give up a pull request after this")
    building.add_argument(
        "--output", type=Path, default=ROOT / "auditor" / "source" / "data" / "lineage.json", help="the table"
    )
    return parser.parse_args()


def main() -> int:
    """Build the table; 2 when the input cannot be used."""
    arguments = _arguments()
    try:
        labels = read_labels(arguments.labels)
        heads = pull_request_heads(arguments.git_dir)
        days = _days(arguments.labels)
        accepted = read_accepted(arguments.accepted) if arguments.accepted else ()
    except (LabelError, TargetError, OSError) as error:
        print(f"benchmarks.lineage: {error}", file=sys.stderr)
        return 2
    known = [ruling for ruling in rulings(labels, days) if ruling.pull_request in heads]
    numbers = dict.fromkeys([*(ruling.pull_request for ruling in known), *(pr for pr in accepted if pr in heads)])
    found: dict[int, Functions] = {}
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("fork")) as pool:
        git_dir, limit = arguments.git_dir.resolve(), arguments.limit_seconds
        for future in [pool.submit(read_functions, git_dir, number, limit) for number in numbers]:
            read = future.result()
            found[read.pull_request] = read
    legal = {*(ruling.pull_request for ruling in known if ruling.legal), *accepted} & found.keys()
    innocent = frozenset[str]().union(*(found[number].everywhere for number in legal))
    table = build(known, {number: read.at_evaluation for number, read in found.items()}, innocent)
    reasons = Counter(read.missing for read in found.values())
    text = json.dumps(stored(table), separators=(",", ":")).replace('],"', '],\n"') + "\n"
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text, encoding="utf-8")
    kinds = Counter(
        ("accepted" if item.legal else "ruled out", "scores" if item.scores else "adapts") for item in table.values()
    )
    print(f"{len(known)} rulings, {len(table)} functions, {len(text.encode())} bytes")
    for (verdict, what), count in sorted(kinds.items()):
        print(f"  {verdict}, {what}: {count}")
    for why, count in reasons.most_common():
        print(f"  {count} pull requests: {why or 'read'}")
    return 0


def _days(path: Path) -> dict[tuple[int, str], str]:
    """(pull request, verdict) -> the first day that a label of that verdict gives."""
    days: dict[tuple[int, str], str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            fields = json.loads(line)
            key, day = (int(fields["pr"]), str(fields["verdict"])), str(fields.get("date") or "")
            if day and (key not in days or day < days[key]):
                days[key] = day
    return days


if __name__ == "__main__":
    sys.exit(main())
