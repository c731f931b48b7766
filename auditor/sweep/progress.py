"""How far a sweep is: a bar with the time left on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from auditor.sweep.outcome import Outcome
from auditor.sweep.tables import VERDICTS, verdict_of

SECONDS_BETWEEN_LINES = 60.0


@contextmanager
def progress(total: int) -> Iterator[Callable[[Outcome], None]]:
    """Shows progress on standard error; yields what is to be called with every outcome."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("auditing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    counted: Counter[str] = Counter()
    lines = _Lines(total)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)

        def done(outcome: Outcome) -> None:
            counted[verdict_of(outcome)] += 1
            text = ", ".join(f"{counted[verdict]} {verdict.replace('_', ' ')}" for verdict in VERDICTS)
            bar.update(task, advance=1, description=text)
            if not console.is_terminal:
                lines.tell(counted.total(), text)

        yield done


class _Lines:
    def __init__(self, total: int) -> None:
        self._total = total
        self._began = self._told = time.monotonic()

    def tell(self, count: int, text: str) -> None:
        now = time.monotonic()
        if now - self._told < SECONDS_BETWEEN_LINES:
            return
        self._told = now
        minutes = (now - self._began) / count * (self._total - count) / 60
        print(f"{count} of {self._total} audited: {text}; about {minutes:.0f} min left", file=sys.stderr, flush=True)
