"""The outside's reading of what a tracer inside a run reported.

Every record was made in the process that ran the submission and is hostile: each field is checked, everything is
bounded, and what does not fit is left out and counted. The law of accusations: a score is said to come *after*
learning only where the tracer followed the values themselves (the printed number is a sum of losses that it saw; the
predictor depended on a gradient of exactly these targets). All else is "possible" (`definite` False) or `Blind`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from auditor.ledger import Blind, Learned, Ledger, Manner, Metric, Region, Scored, Site, Violation
from auditor.submission.model import Submission

ORDER_RULES = ("C3", "C4")
MOST_RECORDS = 20_000
MOST_INTERVALS = 256
MOST_TEXT = 400
MOST_CALLS = 16
MOST_PATH = 300
MOST_BLOCKS = 512
GREATEST = 1 << 40
FEWEST_PROVED = 8  # positions: fewer may be tokens that two chunks share
PROVED_PART = 0.002  # of the positions scored at one place, for the same reason
EXACT_DIGITS = 6  # decimals that make a number, known by its value only, hardly any other's
MUCH = 0.02  # of the stream: less is dropped or repeated by windows at its end
SMALLER = ("minimum", "fmin", "min", "amin")
TIES = ("flow", "one value", "any value", "value")
_SPACE = re.compile(r"\s+")

Intervals = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class After:
    """What a predictor had learned before it scored: the learner's number, positions proved and possible."""

    learner: int
    proved: Intervals
    possible: Intervals


@dataclass(frozen=True, slots=True)
class Part:
    """Losses of one metric that were computed at one place of the script."""

    positions: Intervals
    site: Site
    calls: tuple[Site, ...]
    order: int
    after: tuple[After, ...]
    selected: bool
    foreign: bool


@dataclass(frozen=True, slots=True)
class PrintedNumber:
    """A printed number that is made of losses the tracer saw.

    `tie` is "flow" when the number's value was followed, "one value" when it was recognized by its digits and no other
    losses would give them, "value" when others would, too, and "any value" when all of these say the same
    of the order (those that speak most for the script are listed). `most` is the largest number of times that one
    position is in it. `coarse` says that the losses listed are not certain to be those
    that it is made of, one by one; `mixed` that it has other parts as well, which were not followed.
    """

    line: str
    number: str
    tie: str
    coarse: bool
    scored: int
    most: int
    repeated: Intervals
    missing: Intervals
    stream: int
    order: int
    site: Site
    calls: tuple[Site, ...]
    parts: tuple[Part, ...]
    mixed: bool = False
    rivals: int = 0  # other passes over the same tokens whose scores were compared with it
    compared: Site | None = None  # where


@dataclass(frozen=True, slots=True)
class Learner:
    """Updates of one kind, made at one place."""

    positions: Intervals
    subjects: tuple[str, ...]
    manner: Manner
    site: Site
    calls: tuple[Site, ...]
    backward: Site
    order: int
    times: int


@dataclass(frozen=True, slots=True)
class Block:
    """A block of positions in a timeline: orders are places in the run's sequence of events, 0 for never."""

    first: int
    last: int
    first_scored: int
    first_learned: int
    most_scored: int  # times that one of its positions was scored
    scored: int  # positions of it that were scored


@dataclass(frozen=True, slots=True)
class Timeline:
    """When each part of the stream was first scored for a printed number, and first learned from."""

    line: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """One of several losses of the same tokens was kept."""

    operator: str
    positions: Intervals
    site: Site
    order: int


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file was opened. `role` is "validation", "training", "artifact" (written by the run) or "other"."""

    role: str
    path: str
    site: Site
    phase: str
    order: int


@dataclass(frozen=True, slots=True)
class Export:
    """Tensors that had learned from validation tokens were written out."""

    positions: Intervals
    site: Site
    order: int


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything a traced run reported, checked. `rejected` counts records that were not understood."""

    length: int
    numbers: tuple[PrintedNumber, ...] = ()
    learners: Mapping[int, Learner] | None = None
    selections: tuple[Selection, ...] = ()
    reads: tuple[FileRead, ...] = ()
    exports: tuple[Export, ...] = ()
    left: tuple[tuple[str, Site], ...] = ()
    blind: tuple[tuple[str, Site], ...] = ()
    timelines: tuple[Timeline, ...] = ()
    rejected: int = 0

    def number_of(self, line: str) -> PrintedNumber | None:
        """The last printed number on a line like `line`, None when the tracer tied none to losses."""
        wanted = _normal(line)
        fitting = [number for number in self.numbers if _normal(number.line) == wanted]
        return fitting[-1] if fitting else None

    @property
    def adapted(self) -> bool | None:
        """Whether something that lasts learned from validation tokens; None when the tracer could not tell."""
        if self.learners:
            return True
        return None if self.blind or self.left else False

    def predicted(self, line: str) -> Intervals | None:
        """The positions in the printed sum of an exactly followed number; None where they are not known one by one."""
        number = self.number_of(line)
        if number is None or self.coverage(line) is None:
            return None
        positions = _union(pair for part in number.parts for pair in part.positions)
        return positions if size_of(positions) == number.scored else None

    def coverage(self, line: str) -> tuple[int, int] | None:
        """(predictions in the printed sum, times one position is in it at the most) of an exactly followed number."""
        number = self.number_of(line)
        if number is None or number.coarse or number.mixed or number.tie not in ("flow", "one value"):
            return None
        return number.scored, number.most


def read_trace(records: Iterable[Mapping[str, object]], places: Places | None = None) -> Trace:
    """Check and collect the tracer's records among all records of a run; `places` maps paths to the submission's."""
    reader = _Reader(places or Places(None, ""))
    for count, record in enumerate(records):
        if count >= MOST_RECORDS:
            reader.rejected += 1
            break
        reader.take(record)
    return reader.trace()


def ledger_of(trace: Trace, reported_line: str, label: str = "") -> Ledger:
    """The run witness's ledger. `reported_line` is the printed line that carries the claim."""
    number = trace.number_of(reported_line) if reported_line else None
    metrics, scored = [], []
    for entry in _last_of_each_line(trace.numbers):
        is_reported = entry is number
        metric = Metric(label if is_reported and label else entry.line, entry.site, entry.calls, is_reported)
        metrics.append(metric)
        scored += _scored(trace, entry, metric)
    return Ledger(
        metrics=tuple(metrics),
        scored=tuple(scored),
        learned=tuple(_learned(learner) for learner in (trace.learners or {}).values()),
        violations=tuple(_violations(trace, number)),
        blind=tuple(_blind(trace, number, reported_line)),
        notes=tuple(_notes(trace, number)),
    )


def region(positions: Intervals, length: int) -> Region:
    """ "positions 1 to 16,383 (all)", "positions 5 to 9 and 20 to 31", "1,200 positions between 4 and 9,000"."""
    count = size_of(positions)
    if not count:
        return Region("no position")
    everything = " (all)" if count >= length - 1 else ""
    if len(positions) <= 3:
        return Region(f"positions {' and '.join(_interval(*pair) for pair in positions)}{everything}")
    first, last = positions[0][0], positions[-1][1]
    return Region(f"{count:,} positions between {first:,} and {last:,}{everything}")


def size_of(positions: Intervals) -> int:
    """Number of positions in closed intervals."""
    return sum(last - first + 1 for first, last in positions)


def _interval(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


# --- from events to the ledger ---------------------------------------------------------------------------------------


def _last_of_each_line(numbers: Sequence[PrintedNumber]) -> list[PrintedNumber]:
    """One number for each printing place and line: a progress line says the same thing many times."""
    last = {(number.site, _normal(number.line)): number for number in numbers}
    return list(last.values())


def _learned(learner: Learner, positions: Intervals | None = None, length: int = 0) -> Learned:
    subjects = ", ".join(learner.subjects[:3]) + (", ..." if len(learner.subjects) > 3 else "")
    shown = learner.positions if positions is None else positions
    return Learned(
        region(shown, length or (shown[-1][1] + 1 if shown else 0) + 1),
        subjects or "values that later predictions use",
        learner.manner,
        learner.site,
        learner.calls,
    )


def _scored(trace: Trace, number: PrintedNumber, metric: Metric) -> list[Scored]:
    found = []
    learners = trace.learners or {}
    for part in number.parts:
        proved: list[Learned] = []
        possible: list[Learned] = []
        proved_positions: list[tuple[int, int]] = []
        for after in part.after:
            learner = learners.get(after.learner)
            if learner is None:
                continue
            if after.proved:
                proved.append(_learned(learner, after.proved, trace.length))
                proved_positions += after.proved
            elif after.possible:
                possible.append(_learned(learner, after.possible, trace.length))
        where = region(part.positions, trace.length)
        if proved:
            doubt = _doubt(number, size_of(_union(proved_positions)), size_of(part.positions))
            found.append(Scored(where, metric, part.site, part.calls, tuple(proved), not doubt, doubt))
        elif possible:
            doubt = "the tracer saw that the tensors are connected, not that these values are"
            found.append(Scored(where, metric, part.site, part.calls, tuple(possible), False, doubt))
        else:
            found.append(Scored(where, metric, part.site, part.calls))
    return found


def _doubt(number: PrintedNumber, proved: int, scored: int) -> str:
    """Why an order that was followed exactly is no accusation all the same; "" when it is one."""
    if number.tie == "value" and len(number.number.partition(".")[2]) < EXACT_DIGITS:
        return "the printed number was recognized by its value only"
    if number.coarse:
        return "which of the losses are in the printed sum was not followed to the end"
    if proved < max(FEWEST_PROVED, PROVED_PART * scored):
        return f"only {proved} positions, which may be tokens that neighbouring chunks share"
    return ""


def _violations(trace: Trace, number: PrintedNumber | None) -> Iterable[Violation]:
    if number is None:
        return
    printed = (number.site, "the score is printed here")
    kept = _smaller_kept(trace, number)
    if kept is not None:
        choice, part = kept
        count = size_of(part.positions)
        sure = count >= MUCH * trace.length and number.tie != "value"
        what = f"the smaller of several losses of the same tokens is kept ({region(part.positions, trace.length).text})"
        doubt = "" if sure else "few tokens are concerned, or the printed number was recognized by its value only"
        yield Violation("C4", what, ((choice.site, "the smaller loss is kept here"), printed), sure, doubt)
    if number.rivals and number.compared is not None:
        what = f"the printed score was compared with those of {number.rivals} more passes over the same tokens"
        doubt = "a comparison may serve something else than the choice of what is printed"
        yield Violation("C4", what, ((number.compared, "they are compared here"), printed), False, doubt)
    exact = number.tie in ("flow", "one value") and not number.coarse and not number.mixed
    missing, repeated = (size_of(number.missing), size_of(number.repeated)) if exact else (0, 0)
    if missing > MUCH * trace.length:
        what = (
            f"the printed score {number.number} is made of {number.scored:,} of {trace.length - 1:,} predictions; "
            f"missing: {region(number.missing, trace.length).text}"
        )
        doubt = "at real size the same code may leave out less"
        yield Violation("C4", what, (printed,), False, doubt)
    if repeated > MUCH * trace.length:
        what = f"{repeated:,} positions are in the printed score {number.number} more than once (up to {number.most})"
        yield Violation("C4", what, (printed,), False, "windows of the toy size may overlap where the real ones do not")
    yield from _exported(trace, number)
    late = [read for read in trace.reads if read.role == "training" and "artifact read back" in read.phase]
    if late and any(read.order < number.order for read in late):
        sites = tuple((read.site, f"{read.path} is opened") for read in late[:3])
        what = "training data is opened after the artifact was read back, before the score is printed"
        yield Violation("TRAINDATA", what, (*sites, printed), False, "what was taken from it was not followed")


def _smaller_kept(trace: Trace, number: PrintedNumber) -> tuple[Selection, Part] | None:
    """The first choice of the smaller of several losses whose result is in the printed number, and that part of it."""
    selected = {part.site: part for part in number.parts if part.selected}
    for choice in trace.selections:
        if choice.order < number.order and choice.operator in SMALLER and choice.site in selected:
            return choice, selected[choice.site]
    return None


def _exported(trace: Trace, number: PrintedNumber) -> Iterable[Violation]:
    """Weights that had learned from tokens not scored yet were written out, and then scored with."""
    for export in trace.exports:
        if export.order >= number.order or size_of(export.positions) < max(FEWEST_PROVED, MUCH * trace.length):
            continue
        begun = min((part.order for part in number.parts), default=0)
        if export.order >= begun:
            continue
        if any(after.proved for part in number.parts for after in part.after):
            return  # the order itself is proved, which says more
        what = (
            "tensors that had learned from validation tokens were written out before these were scored "
            f"({region(export.positions, trace.length).text})"
        )
        sites = ((export.site, "they are written here"), (number.site, "the score is printed here"))
        doubt = "that the score was made with what was written is not proved"
        yield Violation("PAIDPREFIX", what, sites, False, doubt)
        return


def _blind(trace: Trace, number: PrintedNumber | None, reported_line: str) -> Iterable[Blind]:
    if reported_line and number is None:
        where = trace.left[-1] if trace.left else ("", Site("", 0))
        reason = "the printed score is no sum of losses that the tracer could follow"
        if where[0]:
            reason += f" ({where[0]} were taken)"
        yield Blind(reason, where[1], ORDER_RULES)
    elif number is not None and number.tie == "value":
        yield Blind("the printed score was recognized by its value only", number.site, ORDER_RULES)
    if number is not None and number.mixed:
        yield Blind("the printed score has parts that the tracer did not follow", number.site, ORDER_RULES)
    kept = _smaller_kept(trace, number) if number is not None else None
    if kept is not None:
        reason = "the printed score keeps one of several losses of a token; which of them was made when is not followed"
        yield Blind(reason, kept[0].site, ("C1", "C3"))
    if number is not None and any(part.foreign for part in number.parts):
        reason = "the predictor takes in values that were made outside torch after validation tokens had left it"
        yield Blind(reason, number.parts[0].site, ORDER_RULES)
    for reason, site in trace.blind:
        yield Blind(reason, site, ORDER_RULES)
    if trace.rejected:
        yield Blind(f"{trace.rejected} records of the tracer could not be read", Site("", 0), ORDER_RULES)


def _notes(trace: Trace, number: PrintedNumber | None) -> Iterable[tuple[Site, str]]:
    if number is not None:
        times = "once each" if number.most <= 1 else f"up to {number.most} times"
        yield (
            number.site,
            f"in the toy run the printed score has {number.scored:,} of {trace.length - 1:,} predictions, {times}",
        )
    for learner in list((trace.learners or {}).values())[:8]:
        yield (
            learner.site,
            f"in the toy run {', '.join(learner.subjects[:2]) or 'values'} learned from "
            f"{region(learner.positions, trace.length).text} by {learner.manner.value}",
        )


def _union(positions: Iterable[tuple[int, int]]) -> Intervals:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(positions):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _normal(line: str) -> str:
    return _SPACE.sub(" ", line).strip()[:200]


# --- checking records ------------------------------------------------------------------------------------------------


class Places:
    """Maps paths as the interpreter inside knew them to the submission's paths.

    `folder` is the folder inside the sandbox that held the private copy of the record folder. Code of a packed script
    runs under a name like "<string>": its lines are those of the unpacked text.
    """

    def __init__(self, submission: Submission | None, folder: str) -> None:
        self._folder = folder.rstrip("/") + "/" if folder else ""
        self._prefix = submission.folder + "/" if submission and submission.folder else ""
        script = submission.script if submission else None
        self._script = script.path if script else ""
        self._packed = bool(script and script.packed)
        self._wrapper = script.wrapper_path if script else ""
        self._wrapper_lines = script.wrapper.count("\n") + 1 if script else 0
        helpers = submission.helpers if submission else ()
        self._sources = {source.path: source for source in ((script, *helpers) if script else helpers)}
        self._names: dict[str, str] = {}
        for path in self._sources:
            self._names.setdefault(path.rpartition("/")[2].rpartition("!")[2], path)

    def path(self, inside: str, line: int) -> str:
        """The submission's path of a file inside, as good as it can be told."""
        if inside.startswith("<") and inside.endswith(">"):
            return self._script if self._packed else inside
        relative = inside.removeprefix(self._folder) if self._folder else inside
        own = relative != inside or not inside.startswith("/")
        path = self._prefix + relative if own else inside
        if self._packed and path == self._wrapper:
            return self._script if line > self._wrapper_lines else path
        if path in self._sources or own:
            return path
        return self._names.get(inside.rpartition("/")[2], inside)

    def wraps(self, path: str) -> bool:
        """Whether the path is the packed file itself, whose lines say nothing to a reader."""
        return self._packed and path == self._wrapper


class _Reader:
    """Takes records one by one; a field that does not fit rejects its record."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.rejected = 0
        self._length = 0
        self._numbers: list[PrintedNumber] = []
        self._learners: dict[int, Learner] = {}
        self._selections: list[Selection] = []
        self._reads: list[FileRead] = []
        self._exports: list[Export] = []
        self._left: list[tuple[str, Site]] = []
        self._blind: list[tuple[str, Site]] = []
        self._timelines: list[Timeline] = []

    def trace(self) -> Trace:
        """What was taken."""
        return Trace(
            self._length,
            tuple(self._numbers),
            self._learners,
            tuple(self._selections),
            tuple(self._reads),
            tuple(self._exports),
            tuple(self._left),
            tuple(self._blind),
            tuple(self._timelines),
            self.rejected,
        )

    def take(self, record: Mapping[str, object]) -> None:
        """One record; kinds of others are passed over."""
        kind = record.get("kind") if isinstance(record, Mapping) else None
        take = {
            "stream": self._stream,
            "metric": self._metric,
            "learn": self._learn,
            "select": self._select,
            "read": self._read,
            "export": self._export,
            "left": self._leave,
            "blind": self._lose,
            "timeline": self._timeline,
        }.get(kind if isinstance(kind, str) else "")
        if take is None:
            return
        try:
            take(record)
        except (KeyError, TypeError, ValueError):
            self.rejected += 1

    def _stream(self, record: Mapping[str, object]) -> None:
        if not self._length:  # the first word counts: it was said before the script began
            self._length = _whole(record["length"])

    def _metric(self, record: Mapping[str, object]) -> None:
        mixed = record["mixed"] is not False
        repeated, missing = self._positions(record["repeated"]), self._positions(record["missing"])
        # intervals are merged when there are too many: then they do not count what they say
        unscored = max(0, _whole(record["stream"]) - 1 - _whole(record["scored"]))
        complete = (size_of(repeated), size_of(missing)) == (_whole(record["again"]), unscored)
        tie = _text(record["tie"])
        if tie not in TIES:
            raise ValueError(tie)
        self._numbers.append(
            PrintedNumber(
                line=_text(record["line"]),
                number=_text(record["number"]),
                tie=tie,
                coarse=record["coarse"] is not False or mixed or not complete,
                mixed=mixed,
                scored=_whole(record["scored"]),
                most=_whole(record["most"]),
                repeated=repeated,
                missing=missing,
                stream=_whole(record["stream"]),
                order=_whole(record["order"]),
                site=self._site(record["site"]),
                calls=self._calls(record["calls"]),
                parts=tuple(self._part(part) for part in _list(record["parts"])[:MOST_CALLS]),
                rivals=_whole(record.get("rivals", 0)),
                compared=self._site(record["compared"]) if record.get("compared") else None,
            )
        )

    def _part(self, record: object) -> Part:
        if not isinstance(record, Mapping):
            raise TypeError
        return Part(
            positions=self._positions(record["positions"]),
            site=self._site(record["site"]),
            calls=self._calls(record["calls"]),
            order=_whole(record["order"]),
            after=tuple(self._after(after) for after in _list(record["after"])[:MOST_CALLS]),
            selected=record.get("selected") is True,
            foreign=record.get("foreign") is True,
        )

    def _after(self, record: object) -> After:
        if not isinstance(record, Mapping):
            raise TypeError
        return After(_whole(record["learn"]), self._positions(record["proved"]), self._positions(record["possible"]))

    def _learn(self, record: Mapping[str, object]) -> None:
        self._learners[_whole(record["id"])] = Learner(
            positions=self._positions(record["positions"]),
            subjects=tuple(_text(name)[:80] for name in _list(record["subject"])[:MOST_CALLS]),
            manner=Manner(_text(record["manner"])),
            site=self._site(record["site"]),
            calls=self._calls(record["calls"]),
            backward=self._site(record["backward"]),
            order=_whole(record["order"]),
            times=_whole(record["times"]),
        )

    def _select(self, record: Mapping[str, object]) -> None:
        self._selections.append(
            Selection(
                _text(record["operator"]),
                self._positions(record["positions"]),
                self._site(record["site"]),
                _whole(record["order"]),
            )
        )

    def _read(self, record: Mapping[str, object]) -> None:
        if record.get("mode") == "read":
            self._reads.append(
                FileRead(
                    _text(record["role"]),
                    _text(record["path"])[:MOST_PATH],
                    self._site(record["site"]),
                    _text(record["phase"]),
                    _whole(record["order"]),
                )
            )

    def _export(self, record: Mapping[str, object]) -> None:
        self._exports.append(
            Export(self._positions(record["positions"]), self._site(record["site"]), _whole(record["order"]))
        )

    def _leave(self, record: Mapping[str, object]) -> None:
        self._left.append((_text(record["how"]), self._site(record["site"])))

    def _lose(self, record: Mapping[str, object]) -> None:
        self._blind.append((_text(record["reason"]), self._site(record["site"])))

    def _timeline(self, record: Mapping[str, object]) -> None:
        rows = [tuple(_whole(value) for value in _list(row)) for row in _list(record["blocks"])[:MOST_BLOCKS]]
        if any(len(row) != 6 for row in rows):
            raise ValueError("a block has six numbers")
        self._timelines.append(Timeline(_text(record["line"]), tuple(Block(*row) for row in rows)))

    def _positions(self, value: object) -> Intervals:
        pairs = []
        for entry in _list(value)[:MOST_INTERVALS]:
            first, last = (_whole(end) for end in _list(entry))
            if not first <= last < max(1, self._length):
                raise ValueError("a position outside the stream")
            pairs.append((first, last))
        return _union(pairs)

    def _site(self, value: object) -> Site:
        path, line, function = _list(value)
        number = _whole(line)
        return Site(self._places.path(_text(path)[:MOST_PATH], number), number, _text(function))

    def _calls(self, value: object) -> tuple[Site, ...]:
        sites = (self._site(entry) for entry in _list(value)[:MOST_CALLS])
        return tuple(site for site in sites if not self._places.wraps(site.path))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return "".join(character if character.isprintable() else " " for character in value[:MOST_TEXT])


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= GREATEST:
        raise ValueError
    return value


def _list(value: object) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        raise TypeError
    return value
