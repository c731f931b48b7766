"""Command line: ``python -m benchmarks.escapes`` prints one row an escape, for every confinement that works here."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from auditor.run.sandbox import working_confinements
from benchmarks.escapes.cases import THEMES
from benchmarks.escapes.judging import Verdict, judge
from benchmarks.escapes.world import made_world


def main() -> int:
    """Print the table and the totals; 0 when everything held, 1 otherwise, 2 where nothing can confine."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.escapes", description=__doc__)
    parser.add_argument("--theme", choices=THEMES, help="only this theme")
    parser.add_argument("--case", help="only cases whose name has this text")
    parser.add_argument("--wrong", action="store_true", help="only what is not as it should be, with output")
    arguments = parser.parse_args()
    ways = working_confinements()
    if not ways:
        print("benchmarks.escapes: no confinement works on this machine", file=sys.stderr)
        return 2
    began, verdicts = time.monotonic(), []
    with made_world() as world:
        for way in ways:
            print(f"## {way.name}\n\n| theme | escape | held | by | noticed |\n|---|---|---|---|---|")
            for theme, cases in THEMES.items():
                for case in cases:
                    if arguments.theme in (None, theme) and (arguments.case or "") in case.name:
                        verdicts.append(judge(case, way, world))
                        _print(theme, verdicts[-1], arguments.wrong)
            print()
    counts = Counter(verdict.held for verdict in verdicts)
    noticed = sum(bool(verdict.noticed) for verdict in verdicts)
    print(f"{counts[True]} of {len(verdicts)} held, {noticed} left a trace, {time.monotonic() - began:.0f} s")
    return 0 if counts[True] == len(verdicts) else 1


def _print(theme: str, verdict: Verdict, only_wrong: bool) -> None:
    if only_wrong and verdict.held:
        return
    noticed = "; ".join(verdict.noticed).replace("|", "/")[:120]
    print(f"| {theme} | {verdict.case.name} | {'yes' if verdict.held else 'NO'} | {verdict.case.by} | {noticed} |")
    if only_wrong:
        for reason in (*verdict.got_out, *verdict.left_behind, *verdict.untraced):
            print(f"    {reason!r}")
        output = verdict.outcome.stdout[-1500:] + verdict.outcome.stderr[-1500:]
        print("    " + ascii(output.decode(errors="replace")).replace("\\n", "\n    "))


if __name__ == "__main__":
    sys.exit(main())
