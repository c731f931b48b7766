"""Training logs: from the bytes of a file to one `RunLog` for each run it holds.

A log is a claim, not a fact: nothing here judges, and nothing is trusted to be short. Embedded source is taken out
first, because its f-strings look like results.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from auditor.record.embedded import EmbeddedSource, embedded_sources
from auditor.record.hyperparameters import MAX_SETTINGS, block_setting, inline_settings, is_block_head
from auditor.record.lines import MAX_TEXT_CHARACTERS, Line, bounded_lines, clean, keyed_numbers, place
from auditor.record.metrics import (
    MAX_METRICS,
    MAX_STEPS,
    may_hold_metric,
    metric_lines,
    train_step,
    train_time,
    trained_seconds,
)
from auditor.record.model import MetricLine, Phase, Place, RunLog, SizeLine, TrainStep
from auditor.record.phases import evaluation_phases, merged, phase_line, reserved_for_quantization, total_evaluation
from auditor.record.sizes import settle_totals, size_lines
from auditor.submission.model import StoredFile
from auditor.submission.text import decode

MAX_LOGS = 600  # of a submission
MAX_TOTAL_BYTES = 16 * 1024 * 1024  # of all logs of a submission; the most that an honest one had is 13 MB
MIN_LOG_CHARACTERS = 16 * 1024
MAX_RAW_LINES = 20_000
MAX_RAW_CHARACTERS = 600
_SEED_IN_NAME = re.compile(r"seed[_\-=]?(\d{1,6})(?!\d)|(?<![a-z0-9])s(\d{2,6})(?!\d)", re.IGNORECASE)
_BARE_SEED_IN_NAME = re.compile(r"(?:^|[_\-.])(1337|42|2025|2024|314|999|1234|1338|1339)(?=[_\-.]|$)")
_STOP_WORDS = (
    "stopping_early",
    "stop tt:",
    "stopping early",
    "Training complete",
    "training_seconds",
    "Wallclock limit reached",
    "phase:train ",
)
_COMPLETE = re.compile(
    r"Training complete(?: in|:|\. Total:) (\d{1,7}(?:\.\d{1,3})?)\s?s\b|"
    r"training_seconds\s?:\s{0,8}(\d{1,7}(?:\.\d{1,3})?)",
    re.IGNORECASE,
)
_SEED_WORDS = re.compile(
    r"(?:(?<![\w.])|\btrain\.)seed\s{0,30}[:=]\s{0,4}(\d{1,10})\b|^s:(\d{1,9})$|\bga:\d{1,3} s:(\d{1,9})\b",
    re.IGNORECASE,
)
_VAL_TOKENS = re.compile(
    r"(?:val_loader:.{0,300}?\btokens|\bval_tokens|^Validation tokens|^Val tokens)\s?[:=]\s{0,4}([\d,_]{1,20})"
)
_TRAIN_SHARDS = re.compile(r"\btrain_shards\s?[:=]\s{0,4}(\d{1,7})(?:/\d{1,7})?\b")
_WORLD = re.compile(r"\b(?:world_size|ws)\s?[:=]\s{0,4}(\d{1,5})\b")


_TELLING = re.compile(r"[:=]|\d\s?(?:s|ms|sec|seconds|bytes)\b")  # a fact needs a key or a unit


def read_logs(files: Iterable[StoredFile]) -> list[RunLog]:
    """Every run of every log, in path order; a run that stands twice in one file is given once.

    All logs together have a budget; when it is used up, of each further log only a short head and tail are read.
    """
    runs: list[RunLog] = []
    budget = MAX_TOTAL_BYTES
    for item in list(files)[:MAX_LOGS]:
        if item.data is not None:
            runs.extend(read_log(item.path, item.data, limit=min(MAX_TEXT_CHARACTERS, max(budget, MIN_LOG_CHARACTERS))))
            budget -= len(item.data)
    return runs


def read_log(path: str, data: bytes, *, limit: int = MAX_TEXT_CHARACTERS) -> list[RunLog]:
    """The runs of one log file, of which at most `limit` characters are read. Never raises; a file without metrics is
    one empty `RunLog`."""
    numbered, total, cut = bounded_lines(decode(data), limit)
    sources = embedded_sources(numbered)
    visible = list(_visible(numbered, sources))
    runs = [_read_run(path, part) for part in _split_runs(visible)]
    runs = _without_copies(runs)
    return [
        replace(_with_source(run, sources, position, len(runs)), lines=total, truncated=cut)
        for position, run in enumerate(runs)
    ]


def _with_source(run: RunLog, sources: Sequence[EmbeddedSource], position: int, runs: int) -> RunLog:
    if not sources:
        return run
    source = sources[position] if len(sources) == runs else sources[-1]
    return replace(
        run,
        embedded_source=source.text,
        embedded_source_place=Place(run.path, source.first),
        embedded_source_damaged=source.damaged,
    )


def _visible(numbered: Sequence[tuple[int, str]], sources: Sequence[EmbeddedSource]) -> Iterator[Line]:
    ranges = iter(sources)
    current = next(ranges, None)
    for line_number, raw in numbered:
        while current is not None and line_number > current.last:
            current = next(ranges, None)
        if current is not None and current.first <= line_number:
            continue
        for text in clean(raw):
            yield Line(line_number, text)


def _split_runs(lines: list[Line]) -> list[list[Line]]:
    """Cut a file in which several runs were appended: where training starts again after it had gone on.

    The new run begins at the first header line (seed, hyperparameters, model size) since the last result.
    """
    parts: list[list[Line]] = []
    begin, header, highest = 0, None, -1
    for index, line in enumerate(lines):
        text = line.text
        if header is None and _is_header(text):
            header = index
        step = _progress(text)
        if step is None:
            continue
        if step <= 1 and highest > 20:
            cut_at = header if header is not None and header > begin else index
            parts.append(lines[begin:cut_at])
            begin, highest = cut_at, -1
        highest, header = max(highest, step), None
    parts.append(lines[begin:])
    return parts


def _is_header(text: str) -> bool:
    return text.startswith(
        (
            "=== RUN",
            "seed:",
            "Hyperparameters:",
            "model_params:",
            "world_size:",
            "val_bpb:enabled",
            "train_loader:",
            "Seed:",
        )
    )


_PROGRESS = re.compile(r"(?:step|s):(\d{1,9})/\d{1,9} |(\d{1,9})/\d{1,9} (?:train_loss|val_loss)")


def _progress(text: str) -> int | None:
    match = _PROGRESS.match(text)
    return int(match[1] or match[2]) if match else None


def _without_copies(runs: list[RunLog]) -> list[RunLog]:
    """Runs without those that repeat another one of the file; of two the one that says more stays."""
    kept: list[RunLog] = []
    for run in runs:
        lines = _own_lines(run)
        twins = (at for at, other in enumerate(kept) if _same_seed(run, other) and _same_run(lines, _own_lines(other)))
        twin = next(twins, None)
        if twin is None:
            kept.append(run)
        elif len(run.metrics) + len(run.sizes) > len(kept[twin].metrics) + len(kept[twin].sizes):
            kept[twin] = run
    return kept


def _same_seed(run: RunLog, other: RunLog) -> bool:
    return run.seed == other.seed or None in (run.seed, other.seed)


def _own_lines(run: RunLog) -> set[str]:
    return {step.text for step in run.steps} | {
        f"{line.label} {line.loss_text} {line.bpb_text}" for line in run.metrics
    }


def _same_run(lines: set[str], others: set[str]) -> bool:
    return bool(lines) and len(lines & others) * 2 >= min(len(lines), len(others)) > 0


@dataclass(slots=True)
class _Reader:
    """What has been read of one run so far."""

    path: str
    metrics: list[MetricLine] = field(default_factory=list)
    steps: list[TrainStep] = field(default_factory=list)
    sizes: list[SizeLine] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    inline: set[str] = field(default_factory=set)
    running: dict[str, int] = field(default_factory=dict)
    printed: set[tuple[str, str, str, int | None]] = field(default_factory=set)
    in_block: bool = False
    block_indented: bool | None = None
    seed: int | None = None
    world_size: int | None = None
    val_tokens: int | None = None
    train_shards: int | None = None
    train_seconds: float | None = None
    validated_seconds: float | None = None  # the clock of the last validation during training
    stop: Place | None = None
    stop_text: str = ""
    total_eval_seconds: float | None = None
    gptq_reserved_seconds: float | None = None

    def read(self, line: Line) -> None:
        text = line.text
        if not text:
            self.in_block = False
            return
        if is_block_head(text):
            self.in_block, self.block_indented = True, None
            return
        if self.in_block and self._block(line):
            return
        scored = may_hold_metric(text) and self._metrics(line)
        if ("loss" in text or " tl:" in text) and self._step(line):
            return
        if not scored and _TELLING.search(text):
            self._plain(line)
        elif scored and "_bytes" in text:
            self._sizes(line)

    def _block(self, line: Line) -> bool:
        """Take a line of a settings block. A block ends at what is no setting, and where its indentation ends."""
        setting = block_setting(line.text) if "val_loss" not in line.text else None
        indented = line.text.startswith(" ")
        if self.block_indented is None:
            self.block_indented = indented
        if setting is None or (self.block_indented and not indented):
            self.in_block = False
            return False
        self._set(*setting, line)
        self._facts(line)
        return True

    def _set(self, name: str, value: str, line: Line) -> None:
        name = name.lower()
        if name not in self.settings and len(self.settings) < MAX_SETTINGS:
            self.settings[name] = value
            self.places[name] = place(self.path, line)

    def _metrics(self, line: Line) -> bool:
        found = False
        for metric in metric_lines(line, self.path):
            found = True
            if metric.during_training:
                self.validated_seconds = trained_seconds(line) or self.validated_seconds
            key = (metric.label, metric.loss_text, metric.bpb_text, metric.step)
            if metric.running:
                self._keep_running(metric)
            elif key not in self.printed and len(self.metrics) < MAX_METRICS:
                self.printed.add(key)
                self.metrics.append(metric)
        return found

    def _keep_running(self, metric: MetricLine) -> None:
        """Of the running values only the latest of each kind stays."""
        kind = re.sub(r"[\d.]+", "#", metric.label)
        index = self.running.get(kind)
        if index is not None:
            self.metrics[index] = metric
        elif len(self.metrics) < MAX_METRICS:
            self.running[kind] = len(self.metrics)
            self.metrics.append(metric)

    def _step(self, line: Line) -> bool:
        if len(self.steps) >= MAX_STEPS:
            return "train_loss" in line.text  # a log has no use for more; reading on would only take time
        step = train_step(line, self.path)
        if step is not None:
            self.steps.append(step)
        return step is not None

    def _plain(self, line: Line) -> None:
        self._facts(line)
        self._sizes(line)
        if (phase := phase_line(line, self.path)) is not None and len(self.phases) < MAX_METRICS:
            self.phases.append(phase)
        if "reserving" in line.text and (reserved := reserved_for_quantization(line)) is not None:
            self.gptq_reserved_seconds = reserved
        if "total_eval_time" in line.text and (total := total_evaluation(line)) is not None:
            self.total_eval_seconds = total
        if any(word in line.text for word in _STOP_WORDS):
            self._stop(line)
        for name, value in inline_settings(line):
            if name.lower() not in self.settings:
                self.inline.add(name.lower())
                self._set(name, value, line)

    def _sizes(self, line: Line) -> None:
        self.sizes.extend(item for item in size_lines(line, self.path) if len(self.sizes) < MAX_METRICS)

    def _stop(self, line: Line) -> None:
        values = {item.key.lower(): item for item in reversed(list(keyed_numbers(line.text)))}
        elapsed = train_time(values)
        if elapsed is None and (match := _COMPLETE.search(line.text)):
            elapsed = float(match[1] or match[2])
        if elapsed is not None:
            self.train_seconds = elapsed
        if self.stop is None or elapsed is not None:
            self.stop, self.stop_text = place(self.path, line), line.text[:MAX_RAW_CHARACTERS]

    def _facts(self, line: Line) -> None:
        text = line.text[:MAX_RAW_CHARACTERS]
        if self.seed is None and (
            "seed" in text or "Seed" in text or "SEED" in text or " s:" in text or text.startswith("s:")
        ):
            match = _SEED_WORDS.search(text)
            if match and "/" not in text[match.end() : match.end() + 1]:
                self.seed = int(next(digits for digits in match.groups() if digits))
        if self.world_size is None and (match := _WORLD.search(text)):
            self.world_size = int(match[1])
        if self.val_tokens is None and "okens" in text and (match := _VAL_TOKENS.search(text)):
            digits = match[1].replace(",", "").replace("_", "")
            self.val_tokens = int(digits) if digits else None
        if self.train_shards is None and "shards" in text and (match := _TRAIN_SHARDS.search(text)):
            self.train_shards = int(match[1])


def _read_run(path: str, lines: Sequence[Line]) -> RunLog:
    reader = _Reader(path)
    for line in lines:
        reader.read(line)
    shown = lines
    if len(lines) > MAX_RAW_LINES:
        shown = [*lines[: MAX_RAW_LINES // 2], *lines[-MAX_RAW_LINES // 2 :]]
    return RunLog(
        path=path,
        seed=reader.seed,
        seed_in_name=seed_in_name(path),
        metrics=tuple(reader.metrics),
        steps=tuple(reader.steps),
        sizes=tuple(settle_totals(reader.sizes)),
        phases=tuple(merged(reader.phases) + evaluation_phases(reader.metrics)),
        hyperparameters=reader.settings,
        hyperparameter_places=reader.places,
        inline_hyperparameters=frozenset(reader.inline),
        world_size=reader.world_size,
        val_tokens=reader.val_tokens,
        train_shards=reader.train_shards,
        train_seconds=reader.train_seconds if reader.train_seconds is not None else _last_train_seconds(reader),
        stop=reader.stop,
        stop_text=reader.stop_text,
        total_eval_seconds=reader.total_eval_seconds,
        gptq_reserved_seconds=reader.gptq_reserved_seconds,
        raw_lines=tuple(line.text[:MAX_RAW_CHARACTERS] for line in shown),
        raw_line_numbers=tuple(line.number for line in shown),
    )


def _last_train_seconds(reader: _Reader) -> float | None:
    stepped = (step.train_seconds for step in reversed(reader.steps) if step.train_seconds is not None)
    return max((item for item in (next(stepped, None), reader.validated_seconds) if item is not None), default=None)


def seed_in_name(path: str) -> int | None:
    """The one seed that a log's file name (or, failing it, its folder) says; None where it says several."""
    for part in reversed(path.split("/")[-2:]):
        stem = part.rsplit(".", 1)[0] if "." in part else part
        seeds = {int(match[1] or match[2]) for match in _SEED_IN_NAME.finditer(stem)}
        if not seeds:
            continue
        others = {int(match[1]) for match in _BARE_SEED_IN_NAME.finditer(stem)}
        return seeds.pop() if len(seeds | others) == 1 and "seeds" not in stem.lower() else None
    bare = {int(match[1]) for match in _BARE_SEED_IN_NAME.finditer(path.rsplit("/", 1)[-1])}
    return bare.pop() if len(bare) == 1 and "seeds" not in path.lower() else None
