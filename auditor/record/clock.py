"""Whether the training clock of a log can be a clock: times rise with the steps, averages are time over steps.

A log whose times were edited seldom has all of them edited.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from auditor.record.model import Place, RunLog, TrainStep

BACKWARDS_SECONDS = 0.5
BEHIND_STOP_SECONDS = 7.0  # scripts that print tenths of minutes are off by up to six seconds
AVERAGE_TOLERANCE = 0.02  # relative, of a printed step_avg
FIRST_STEP = 100  # before it warm-up and rounding blur the average
MOSTLY = 0.8  # of the lines must agree before one that does not is strange; elsewhere "step_avg" means something else

_AVERAGE = re.compile(r"train_time\s?:\s?(\d{1,10}(?:\.\d{1,3})?)ms\s{1,4}step_avg\s?:\s?(\d{1,7}\.\d{1,4})ms")


@dataclass(frozen=True, slots=True)
class ClockContradiction:
    """Two times of one log that cannot both be read off one clock; `first` and `second` are where they stand."""

    message: str
    first: Place
    second: Place


def clock_contradictions(log: RunLog) -> list[ClockContradiction]:
    """At most one contradiction of each kind."""
    steps = [step for step in log.steps if step.train_seconds is not None]
    found = (_backwards(steps), _behind_the_stop(log, steps), _average(log.steps))
    return [item for item in found if item is not None]


def _backwards(steps: Sequence[TrainStep]) -> ClockContradiction | None:
    for before, after in pairwise(steps):
        lost = (before.train_seconds or 0.0) - (after.train_seconds or 0.0)
        if after.step > before.step and lost > BACKWARDS_SECONDS:
            message = (
                f"the training clock runs backwards: {before.train_seconds:,.1f} s at step {before.step:,}, "
                f"{after.train_seconds:,.1f} s at step {after.step:,}"
            )
            return ClockContradiction(message, before.place, after.place)
    return None


def _behind_the_stop(log: RunLog, steps: Sequence[TrainStep]) -> ClockContradiction | None:
    """A step that was timed later than the end of training."""
    if log.stop is None or log.train_seconds is None or not steps:
        return None
    last = max(steps, key=lambda step: step.train_seconds or 0.0)
    if (last.train_seconds or 0.0) <= log.train_seconds + BEHIND_STOP_SECONDS:
        return None
    message = (
        f"training is said to have stopped at {log.train_seconds:,.1f} s, but step {last.step:,} is timed at "
        f"{last.train_seconds:,.1f} s"
    )
    return ClockContradiction(message, last.place, log.stop)


def _average(steps: Sequence[TrainStep]) -> ClockContradiction | None:
    """A step whose printed average is not its time over its number, where those of the other steps are."""
    pairs = [
        (step, float(match[1]) / step.step, float(match[2]))
        for step in steps
        if step.step >= FIRST_STEP and (match := _AVERAGE.search(step.text))
    ]
    off = [(step, time, average) for step, time, average in pairs if abs(time - average) > AVERAGE_TOLERANCE * time]
    if not off or len(off) > (1.0 - MOSTLY) * len(pairs):
        return None
    step, time, average = off[0]
    message = (
        f"step {step.step:,} is timed at {time:.2f} ms a step beside a printed average of {average:.2f} ms, while "
        f"{len(pairs) - len(off)} other lines agree with theirs"
    )
    return ClockContradiction(message, step.place, step.place)
