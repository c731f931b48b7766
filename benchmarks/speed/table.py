"""The speed table in Markdown: what the figures are, so that a change in them is read in the difference."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise

from auditor.sweep.outcome import Outcome
from benchmarks.speed.witnesses import Timing, growth, line_fit, quantile

LENGTHS = (0, 500, 1000, 1500, 2000, 3000, 5000, 14_001)  # lines: the classes of the growth table
SHORTEST = 500  # lines: of shorter scripts most are packed or squeezed into long lines
SLOWEST = 5


def table(timings: Sequence[Timing], audits: Mapping[str, Sequence[Outcome]], start_up: float, limit: float) -> str:
    """The whole table. `timings` are of distinct scripts; `limit` is the bound of one pull request in seconds."""
    parts = [
        "# Speed",
        _witnesses(timings),
        _growth(timings),
        _whole(audits, start_up),
        _bounds(timings, limit),
    ]
    return "\n\n".join(parts) + "\n"


def _witnesses(timings: Sequence[Timing]) -> str:
    lines = sum(timing.lines for timing in timings)
    total = {
        "`ast.parse`": math.fsum(timing.parse_seconds for timing in timings),
        "record witness": math.fsum(timing.record_seconds for timing in timings),
        "source witness": math.fsum(timing.source_seconds for timing in timings),
        "source + record": math.fsum(timing.witness_seconds for timing in timings),
        "reading git objects": math.fsum(timing.load_seconds for timing in timings),
    }
    parse = total["`ast.parse`"]
    rows = [
        f"| {name} | {seconds:.2f} | {lines / seconds:,.0f} | {seconds / parse:.2f} |"
        for name, seconds in total.items()
    ]
    head = f"{len(timings)} distinct scripts, {lines:,} lines. CPU time, in one run."
    return "\n".join([head, "", "| | seconds | lines a second | times `ast.parse` |", "|---|--:|--:|--:|", *rows])


def _growth(timings: Sequence[Timing]) -> str:
    plain = [timing for timing in timings if timing.lines >= SHORTEST]
    lengths = [timing.lines for timing in plain]
    seconds = [timing.witness_seconds for timing in plain]
    base, slope, share = line_fit(lengths, seconds)
    rows = []
    for low, high in pairwise(LENGTHS):
        inside = [timing for timing in timings if low <= timing.lines < high]
        if inside:
            each = [timing.witness_seconds for timing in inside]
            pace = [1e6 * timing.witness_seconds / timing.lines for timing in inside]
            rows.append(
                f"| {low:,} to {high - 1:,} | {len(inside)} | {statistics.median(each):.3f} | {max(each):.3f} | "
                f"{statistics.median(pace):.0f} |"
            )
    told = (
        f"From {SHORTEST} lines on, source + record witness: {base * 1000:.0f} ms + {slope * 1e6:.0f} µs a line (least "
        f"squares, explains {share:.0%} of the variance); in powers, lines to the {growth(lengths, seconds)[0]:.2f}."
    )
    head = ["| lines | scripts | median seconds | most | median µs a line |", "|---|--:|--:|--:|--:|"]
    return "\n".join([told, "", *head, *rows])


def _whole(audits: Mapping[str, Sequence[Outcome]], start_up: float) -> str:
    rows = []
    for kind, outcomes in audits.items():
        done = [outcome for outcome in outcomes if not outcome.error]
        if done:
            rows.append(
                f"| {kind} | {len(done)} of {len(outcomes)} | "
                f"{statistics.median(outcome.cpu_seconds for outcome in done):.2f} | "
                f"{statistics.median(outcome.wall_seconds for outcome in done):.2f} | "
                f"{max(outcome.wall_seconds for outcome in done):.2f} | "
                f"{max(outcome.peak_bytes for outcome in done) / 2**20:.0f} |"
            )
    told = (
        "Whole audits as a user runs them, interpreter start included, one process each; "
        f"`--help` alone takes {start_up:.2f} s."
    )
    head = ["| scripts of | done | CPU seconds | wall seconds | at most | MiB |", "|---|--:|--:|--:|--:|--:|"]
    return "\n".join([told, "", *head, *rows])


def _bounds(timings: Sequence[Timing], limit: float) -> str:
    each = [timing.witness_seconds for timing in timings]
    peak = max(timing.peak_bytes for timing in timings) / 2**20
    slow = sorted(timings, key=lambda timing: -timing.witness_seconds)[:SLOWEST]
    named = ", ".join(
        f"#{timing.pull_request} {timing.witness_seconds:.2f} s ({timing.lines:,} lines)" for timing in slow
    )
    return (
        f"One script: median {statistics.median(each):.3f} s, 95 % below {quantile(each, 0.95):.3f} s, at most "
        f"{max(each):.3f} s of a bound of {limit:g} s. The slowest: {named}.\n\n"
        f"Memory of a process that read them one after another: at most {peak:.0f} MiB."
    )
