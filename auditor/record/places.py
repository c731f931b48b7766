"""Line numbers for the raw lines of a log.

`RunLog.raw_lines` leaves out embedded source and what a bound cut away, so an index into it is not a line number.
Lines whose number is known (scores, the stop) anchor their neighbours.
"""

from __future__ import annotations

from bisect import bisect_right

from auditor.record.model import Place, RunLog

_ANCHOR_CHARACTERS = 400  # metric lines keep this much of their text


class RawPlaces:
    """Places of a log's raw lines, by index."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        known = {line.raw: line.place.line for line in reversed(log.metrics) if line.raw}
        if log.stop is not None and log.stop_text:
            known[log.stop_text[:_ANCHOR_CHARACTERS]] = log.stop.line
        self._indices: list[int] = []
        self._offsets: list[int] = []
        for index, text in enumerate(log.raw_lines):
            number = known.pop(text[:_ANCHOR_CHARACTERS], None)
            if number is not None and number >= index:
                self._indices.append(index)
                self._offsets.append(number - index)

    def place(self, index: int) -> Place:
        """The place of raw line `index`; line 0 (the whole file) when nothing near it has a known number."""
        if not self._indices:
            return Place(self._log.path, 0)
        at = max(bisect_right(self._indices, index) - 1, 0)
        return Place(self._log.path, max(index + self._offsets[at], 0))
