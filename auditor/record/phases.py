"""Timed phases of a run, as its log names them: Hessians, quantization, adaptation, evaluations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from auditor.record.lines import Line, keyed_numbers, place, seconds
from auditor.record.model import MetricLine, Phase

_SAME_PASS = 0.02  # relative difference of two printed durations of one pass
_SAME_PASS_SECONDS = 1.5
_SAME_ANNOUNCEMENT = 0.15  # seconds
_FINISHED = re.compile(
    r"\b(?:done|complete|completed|finished|collected|calibrated|generated|quantized|quantization|compressed|compression|"
    r"decompression|built|hessians|total_time|elapsed|total|precompute_done|warmup done|took|total_eval_time|time)\b",
    re.IGNORECASE,
)
_PROGRESS = re.compile(
    r"\bepoch\s?[:=]?\s?\d|\bchunk\s?[:=]?\s?\d|\bbatch\s?[:=]?\s?\d|\[\s{0,4}\d{1,9}/\d|step\s?[:=]?\s?\d|\d\s{0,2}%|phase:\d|"
    r"\bc\d{1,6}/\d|\bb\d{1,6}/\d|running|\bETA\b|stopping|shard \d",
    re.IGNORECASE,
)
_SPOKEN = re.compile(r"\b(?:in|took|after|\()\s{0,2}(\d{1,7}(?:\.\d{1,6})?)\s?(ms|s|sec|secs|seconds|min)\b")
_DURATION_KEYS = frozenset(
    {"total_time", "elapsed", "time", "eval_time", "took", "t", "wall_ms", "total", "elapsed_s", "eval_seconds"}
)
_TOTAL_EVAL = re.compile(
    r"\btotal_eval_time(?P<compile>_with_compile)?\s?[:=]\s{0,4}(\d{1,7}(?:\.\d{1,6})?)\s?(ms|s)\b"
)
_RESERVED = re.compile(r"^gptq:reserving (\d{1,7}(?:\.\d{1,4})?)\s?(ms|s)\b")
_DURATION = re.compile(r"\d\s?(?:ms|s|sec|secs|seconds|min)\b|wall_ms")
_KINDS = (
    ("hessians", re.compile(r"hessian|calibrat(?!ion data)", re.IGNORECASE)),
    ("quantize", re.compile(r"gptq|quantiz|compress|serializ|prun|selective|awq|lqer|brotli|lzma|zstd", re.IGNORECASE)),
    ("adapt", re.compile(r"ttt|adapt|finetun|fine-tun|tune|lora|burst", re.IGNORECASE)),
    ("eval", re.compile(r"eval|sliding|slot|ngram|ppm|score|val\b|tilt", re.IGNORECASE)),
    ("train", re.compile(r"train", re.IGNORECASE)),
)


def phase_line(line: Line, path: str) -> Phase | None:
    """The finished phase, with its duration, that a line without a score reports; None for all others."""
    text = line.text
    if len(text) > 400 or not _DURATION.search(text):
        return None
    if _PROGRESS.search(text) or not _FINISHED.search(text):
        return None
    duration = _duration(text)
    if duration is None:
        return None
    return Phase(_kind(text), _label(text), duration, place(path, line))


def _duration(text: str) -> float | None:
    for item in keyed_numbers(text):
        if item.key.lower().rpartition(":")[2] in _DURATION_KEYS and math.isfinite(item.value):
            default = "ms" if item.key in ("wall_ms",) else ""
            if (elapsed := seconds(item.value, item.unit or default)) is not None:
                return elapsed
    if match := _SPOKEN.search(text):
        return seconds(float(match[1]), match[2])
    return None


def _kind(text: str) -> str:
    if "warmup" in text or "compile" in text:
        return "other"
    return next((kind for kind, pattern in _KINDS if pattern.search(text)), "other")


def _label(text: str) -> str:
    return re.sub(r"\s{1,8}\S{0,40}[:=]?\d.*$", "", text)[:80].strip(" :,(")


def total_evaluation(line: Line) -> float | None:
    """Seconds of a ``total_eval_time:`` line; the variant with compilation is not the total."""
    match = _TOTAL_EVAL.search(line.text)
    return seconds(float(match[2]), match[3]) if match and not match["compile"] else None


def reserved_for_quantization(line: Line) -> float | None:
    """Seconds of a ``gptq:reserving`` line."""
    match = _RESERVED.match(line.text)
    return seconds(float(match[1]), match[2]) if match else None


def merged(phases: Iterable[Phase]) -> list[Phase]:
    """Phases without those that a log announces twice ("ttt_adamw:done elapsed=178.8s", then "ttt:elapsed=178.8s")."""
    kept: list[Phase] = []
    for phase in phases:
        if not any(
            phase.kind == known.kind and abs(phase.seconds - known.seconds) <= _SAME_ANNOUNCEMENT for known in kept[-3:]
        ):
            kept.append(phase)
    return kept


def evaluation_phases(metrics: Iterable[MetricLine]) -> list[Phase]:
    """One phase for each evaluation pass: lines that print one pass twice (rounded and exact) are merged.

    Two lines are one pass when their durations agree within 2 % (or 1.5 s) and their scores do not contradict.
    """
    passes: list[tuple[MetricLine, float]] = []
    for metric in metrics:
        if metric.eval_ms is None or metric.during_training or metric.running:
            continue
        elapsed = metric.eval_ms / 1000.0
        if not any(_same_pass(metric, elapsed, *known) for known in passes):
            passes.append((metric, elapsed))
    return [Phase("eval", metric.label, elapsed, metric.place) for metric, elapsed in passes]


def _same_pass(metric: MetricLine, elapsed: float, known: MetricLine, known_elapsed: float) -> bool:
    if abs(elapsed - known_elapsed) > max(_SAME_PASS * max(elapsed, known_elapsed), _SAME_PASS_SECONDS):
        return False
    if metric.val_bpb is None or known.val_bpb is None:
        return False
    return abs(metric.val_bpb - known.val_bpb) < 1e-4
