"""What the tracer tells the outside: few records, each about many events of one kind.

    learn   {"id", "positions", "subject", "manner", "site", "calls", "backward", "order", "last", "times"}
    metric  {"id", "line", "number", "tie": "flow"|"one value"|"any value"|"value", "order", "site", "parts",
             "rivals": other passes whose sums were compared with this one, "compared": where, ...}
            a part: {"site", "calls", "positions", "order", "last", "most", "gradients",
                     "foreign", "selected", "after": [{"learn", "proved", "possible"}]}
    print   {"line", "order", "site", "calls"}            read   {"role", "path", "mode", "order", "site", "phase"}
    select  {"operator", "positions", "order", "site"}    export  {"positions", "order", "site"}
    losses  {"line", "values": float64 of each position in base64}, when the spec asks for them
    left, blind, timeline: see their methods

Positions are closed intervals [first, last]; orders count all events of the run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .history import History, Update
from .places import Place
from .shadow import CALL, POSITION, Losses
from .stream import intervals
from .values import LOSS_VALUES, as_text

MOST_LINES = 1500
MOST_METRICS = 300
MOST_PER_PLACE = 12
MOST_OTHERS = 400
MOST_PARTS = 16
MOST_PASSES = 64
BLOCKS = 128
LINE_CHARACTERS = 300
_FIGURES = re.compile(r"[\d.,:]+")


def _digest(tags: np.ndarray) -> bytes:
    """The same for the same losses, however they were added up."""
    return hashlib.blake2b(np.sort(tags).tobytes(), digest_size=16).digest()


class Teller:
    """Bounds and groups what is reported."""

    def __init__(self, history: History, report: Callable[[Mapping[str, object]], None]) -> None:
        self.history = history
        self._report = report
        self._lines = 0
        self._metrics = 0
        self._others = 0
        self._at_place: dict[tuple[Any, ...], int] = {}
        self._waiting: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._learners: dict[tuple[Any, ...], int] = {}
        self._told_learners: dict[int, int] = {}
        self._selections: dict[tuple[str, Place], int] = {}
        self._exports: dict[Place, int] = {}
        self._passes: dict[bytes, int] = {}  # sums that were compared: digest of the losses -> number of its group
        self._groups: dict[int, tuple[set[bytes], Place]] = {}
        self._once: set[tuple[str, Place]] = set()
        self._timelines: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.last_read: dict[str, int] = {}

    def learner(self, update: Update) -> int:
        """The number of the group that an update belongs to: one place, one way of learning."""
        first = update.applied[0] if update.applied else None
        key = (update.site, update.manner, first.site if first else None, first.manner if first else None)
        return self._learners.setdefault(key, len(self._learners))

    def metric(
        self, line: str, number: str, tie: str, losses: Losses, site: Place, calls: tuple[Place, ...], order: int
    ) -> None:
        """A printed number is made of these losses."""
        record = self._metric(line, number, tie, losses, site, calls, order)
        if record is None:
            return
        key = (site, calls[-1:], _FIGURES.sub("", line)[:60])
        count = self._at_place.get(key, 0)
        self._at_place[key] = count + 1
        if self._metrics >= MOST_METRICS or count >= MOST_PER_PLACE:
            self._waiting[key] = record  # the last one of a place is told at the end
            return
        self._waiting.pop(key, None)
        self._metrics += 1
        self._tell_metric(record)

    def _tell_metric(self, record: dict[str, Any]) -> None:
        self._tell_learners({after["learn"] for part in record["parts"] for after in part["after"]})
        self._report(record)

    def _metric(
        self, line: str, number: str, tie: str, losses: Losses, site: Place, calls: tuple[Place, ...], order: int
    ) -> dict[str, Any] | None:
        tags = losses.tags()
        if not len(tags):
            return None
        stream = self.history.stream
        positions = tags & POSITION
        counts = np.bincount(positions, minlength=stream.length)[: stream.length]
        parts: dict[Place, dict[str, Any]] = {}
        orders = np.zeros(stream.length, np.int64)
        for number_of_call in np.unique(tags // CALL).tolist():
            call = self.history.calls[number_of_call]
            if call is None:
                continue
            mine = positions[tags // CALL == number_of_call]
            fresh = mine[orders[mine] == 0]
            orders[fresh] = call.order
            part = parts.get(call.site)
            if part is None:
                if len(parts) >= MOST_PARTS:
                    continue
                part = parts[call.site] = {
                    "site": call.site, "calls": call.calls, "bits": 0, "order": call.order, "last": call.order,
                    "gradients": False, "after": {}, "foreign": False, "selected": call.selected,
                }  # fmt: skip
            bits = stream.bits(mine)
            part["bits"] |= bits
            part["last"] = max(part["last"], call.order)
            part["order"] = min(part["order"], call.order)
            part["gradients"] = part["gradients"] or call.gradients
            part["foreign"] = part["foreign"] or call.foreign
            for update, (proved, possible) in call.after.items():
                group = self.learner(self.history.updates[update])
                before = part["after"].get(group, (0, 0))
                part["after"][group] = (before[0] | (proved & bits), before[1] | (possible & bits))
        self._timelines[site, calls[-1:]] = {
            "counts": counts,
            "orders": orders,
            "line": line,
            "number": number,
            "order": order,
            "tags": tags if LOSS_VALUES.wanted else None,
        }
        most = int(counts.max(initial=0))
        rivals, compared = self._groups.get(self._passes.get(_digest(tags), -1), ({b""}, None))
        return {
            "kind": "metric", "id": order, "line": line, "number": number, "tie": tie, "order": order, "site": site,
            "calls": calls, "coarse": losses.coarse, "mixed": losses.mixed,
            "scored": int((counts > 0).sum()), "most": most, "again": int((counts > 1).sum()),
            "repeated": intervals(np.flatnonzero(counts > 1)),
            "missing": intervals(np.flatnonzero(counts[1:] == 0) + 1),
            "rivals": len(rivals) - 1, "compared": compared,
            "stream": stream.length, "parts": [self._part(part) for part in parts.values()],
        }  # fmt: skip

    def _part(self, part: dict[str, Any]) -> dict[str, Any]:
        stream = self.history.stream
        after = []
        for group, (proved, possible) in part["after"].items():
            if proved or possible:
                after.append({
                    "learn": group, "proved": intervals(stream.positions(proved)),
                    "possible": intervals(stream.positions(possible & ~proved)), "count": proved.bit_count(),
                })  # fmt: skip
        after.sort(key=lambda item: -int(str(item["count"])))
        return {
            "site": part["site"], "calls": part["calls"], "positions": intervals(stream.positions(part["bits"])),
            "count": part["bits"].bit_count(), "order": part["order"], "last": part["last"],
            "gradients": part["gradients"], "foreign": part["foreign"],
            "selected": part["selected"], "after": after[:MOST_PARTS],
        }  # fmt: skip

    def _tell_learners(self, wanted: set[int] | None = None) -> None:
        """Tell groups of updates that have grown since they were told last."""
        groups: dict[int, list[Update]] = {}
        for update in self.history.updates[1:]:
            group = self.learner(update)
            if wanted is None or group in wanted:
                groups.setdefault(group, []).append(update)
        for group, updates in groups.items():
            if self._told_learners.get(group) == len(updates) or group > MOST_OTHERS:
                continue
            self._told_learners[group] = len(updates)
            self._report(self._learn(group, updates))

    def _learn(self, group: int, updates: list[Update]) -> dict[str, Any]:
        bits = 0
        subjects: dict[str, None] = {}
        for update in updates:
            bits |= update.bits
            for item in update.applied:
                if len(subjects) < MOST_PARTS:
                    subjects[item.subject] = None
        first = updates[0]
        applied = first.applied[0] if first.applied else None
        return {
            "kind": "learn", "id": group, "positions": intervals(self.history.stream.positions(bits)),
            "count": bits.bit_count(), "subject": list(subjects), "manner": applied.manner if applied else first.manner,
            "site": applied.site if applied else first.site, "calls": applied.calls if applied else first.calls,
            "backward": first.site, "order": applied.order if applied else first.order, "last": updates[-1].order,
            "times": len(updates), "applied": applied is not None,
        }  # fmt: skip

    def printed(self, line: str, site: Place, calls: tuple[Place, ...], order: int) -> None:
        """A line with digits went to stdout."""
        self._lines += 1
        if self._lines <= MOST_LINES:
            self._report(
                {"kind": "print", "line": line[:LINE_CHARACTERS], "order": order, "site": site, "calls": calls}
            )

    def read(self, role: str, path: str, mode: str, site: Place, phase: str, order: int) -> None:
        """A file was opened; `role` is "validation", "training", "artifact" (written by this run) or "other"."""
        if (role == "other" and self._others > MOST_OTHERS // 2) or not self._room():
            return
        self._report(
            {
                "kind": "read",
                "role": role,
                "path": path[:LINE_CHARACTERS],
                "mode": mode,
                "order": order,
                "site": site,
                "phase": phase,
            }
        )

    def comparison(
        self, first: Losses, second: Losses, both: np.ndarray, site: Place, calls: tuple[Place, ...], order: int
    ) -> None:
        """Sums of two passes over the same tokens were compared, as a choice between them begins."""
        self.selection("comparison", both, site, calls, order)
        if len(self._passes) >= MOST_PASSES:
            return
        digests = {_digest(first.tags()), _digest(second.tags())}
        numbers = {self._passes[digest] for digest in digests if digest in self._passes}
        number = min(numbers, default=len(self._passes))  # no older group has that number
        for joining in numbers - {number}:
            digests |= self._groups.pop(joining)[0]
        known, place = self._groups.get(number, (set(), site))
        self._groups[number] = known | digests, place
        self._passes.update(dict.fromkeys(digests, number))

    def selection(
        self, operator: str, positions: np.ndarray, site: Place, calls: tuple[Place, ...], order: int
    ) -> None:
        """One of several losses of the same tokens was kept."""
        seen = self._selections.get((operator, site), 0)
        self._selections[operator, site] = seen + 1
        if seen < 3 and self._room():
            self._report(
                {
                    "kind": "select",
                    "operator": operator,
                    "positions": intervals(positions),
                    "order": order,
                    "site": site,
                    "calls": calls,
                }
            )

    def export(self, bits: int, site: Place, calls: tuple[Place, ...], order: int) -> None:
        """Tensors that had learned from these positions are written out."""
        seen = self._exports.get(site, 0)
        self._exports[site] = seen + 1
        if seen < 3 and self._room():
            positions = intervals(self.history.stream.positions(bits))
            self._report({"kind": "export", "positions": positions, "order": order, "site": site, "calls": calls})

    def left(self, how: str, site: Place, calls: tuple[Place, ...], order: int) -> None:
        """Validation tokens, losses or tainted tensors became numpy arrays or Python values."""
        if (how, site) not in self._once and self._room():
            self._once.add((how, site))
            self._report({"kind": "left", "how": how, "order": order, "site": site, "calls": calls})

    def blind(self, reason: str, site: Place) -> None:
        """Sight was lost."""
        if (reason, site) not in self._once and self._room():
            self._once.add((reason, site))
            self._report({"kind": "blind", "reason": reason, "site": site})

    def finish(self) -> None:
        """Everything that was held back, then timelines of the last metrics."""
        for record in self._waiting.values():
            self._tell_metric(record)
        self._waiting.clear()
        self._tell_learners()
        learned = np.zeros(self.history.stream.length, np.int64)
        for update in reversed(self.history.updates):
            when = update.applied[0].order if update.applied else 0
            if when:
                learned[self.history.stream.positions(update.bits)] = when
        for state in sorted(self._timelines.values(), key=lambda item: item["order"])[-6:]:
            self._report(self._timeline(state, learned))
            if state["tags"] is not None:
                values = LOSS_VALUES.of(state["tags"], self.history.stream.length, POSITION)
                self._report({
                    "kind": "losses", "line": state["line"], "values": as_text(values[:, 0]),
                    "marks": as_text(values[:, 1]), "mass": as_text(values[:, 2]),
                })  # fmt: skip
        self._timelines.clear()

    def _timeline(self, state: dict[str, Any], learned: np.ndarray) -> dict[str, Any]:
        length = self.history.stream.length
        width = max(1, -(-length // BLOCKS))
        rows = []
        for start in range(0, length, width):
            block = slice(start, start + width)
            scored, taught = state["orders"][block], learned[block]
            rows.append([
                start, min(start + width, length) - 1,
                int(scored[scored > 0].min(initial=2**62)) if (scored > 0).any() else 0,
                int(taught[taught > 0].min(initial=2**62)) if (taught > 0).any() else 0,
                int(state["counts"][block].max(initial=0)), int((state["counts"][block] > 0).sum()),
            ])  # fmt: skip
        return {"kind": "timeline", "metric": state["order"], "line": state["line"], "blocks": rows}

    def _room(self) -> bool:
        self._others += 1
        return self._others <= MOST_OTHERS
