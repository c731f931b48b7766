"""Lines that print a validation score, and lines that print training progress.

Two families of logs carry nearly everything: ``step:N/M train_loss:x train_time:Nms`` of the baseline and
``N/M train_loss: x train_time: 0.8m`` of the later modular scripts. Scores are read from the keys of a line, whatever
stands in front: authors invent labels, and a label proves nothing about the procedure behind it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from auditor.record.lines import Keyed, Line, keyed_numbers, place, seconds
from auditor.record.model import MetricLine, TrainStep

MAX_METRICS = 4_000  # a log
MAX_STEPS = 25_000
_RAW_CHARACTERS = 400

_STEP = re.compile(
    r"(?:^|[\s|\[])(?:step|iter|s)\s?[:=]?\s{0,8}(\d{1,9})(?:\s?/\s?(\d{1,9}))?(?![\w.])|^\s{0,20}(\d{1,9})/(\d{1,9})(?=\s)"
)
_NOT_TRAINING = re.compile(r"ttt|adapt|eval|slot|calib|gptq|warmup", re.IGNORECASE)
_LOSS_KEYS = frozenset({"val_loss", "vl", "loss", "val_nll", "nll", "val_ce"})
_TRAIN_KEYS = frozenset({"train_loss", "tl"})
_TIME_KEYS = frozenset(
    {"eval_time", "time", "t", "elapsed", "eval", "wall", "total_time", "took", "ttt_time", "eval_seconds"}
)
_CHANGE = re.compile(
    r"delta|gain|improve|diff|std|saving|gap|drop|penalty|target|best_known|baseline_|limit|threshold", re.I
)
_RUNNING = re.compile(
    r"running|run_bpb|progress|\[\s{0,4}\d{1,9}\s{0,2}/\s{0,2}\d{1,9}\s{0,2}\]|\d\s{0,2}%|"
    r"\b(?:chunk|batch|epoch|window|windows|doc|docs|trial|pass|iter)s?\s{0,2}[:=]?\s{0,2}\d{1,9}(?:\s?/\s?\d{1,9}|\b(?!\S*done))|"
    r"\bc\d{1,6}/\d{1,6}\b|\bb\d{1,6}/\d{1,6}\b|\bETA\b|^ttp:|\brank\s?[:=]?\s?\d",
    re.IGNORECASE,
)
_FINAL = re.compile(r"done|final|exact|result|complete", re.IGNORECASE)
_LABEL_NOISE = re.compile(
    r"\b(?:train_time|elapsed|time|t|eval_time|step_avg|tt|sa)\s?[:=]\s?[\d.]{1,20}\s?[a-z]{0,3}(?=\s|$)|\[\s{0,4}\d{1,9}/\d{1,9}\s?\]"
)
_SPACED = re.compile(r"(?<![\w./-])(val[_ ]bpb|val[_ ]loss|bpb)\b[\s|*`]{1,12}(?=\d{1,2}\.\d)", re.IGNORECASE)
_COMMENTED = re.compile(r"\b(bpb|loss)\s{0,4}(\([^)]{0,30}\))(?=\s{0,12}[:=])", re.IGNORECASE)  # "BPB (no XSA): 1.0"
_QUICK = ("bpb", "BPB", "Bpb", "vl:", "val_loss", "val loss", "Val loss", "bits per byte")


def may_hold_metric(text: str) -> bool:
    """A cheap test that spares most lines the expressions."""
    return any(word in text for word in _QUICK)


def trained_seconds(line: Line) -> float | None:
    """Elapsed training seconds of a validation line during training."""
    return train_time({item.key.lower(): item for item in reversed(list(keyed_numbers(line.text)))})


def metric_lines(line: Line, path: str) -> Iterator[MetricLine]:
    """The scores that one line prints: usually one pair, more where a line carries several ``*_bpb``."""
    text = _COMMENTED.sub(r"\2 \1", _SPACED.sub(r"\1:", line.text))
    keyed = list(keyed_numbers(text))
    bpbs = [item for item in keyed if _is_bpb(item)]
    losses = [item for item in keyed if _is_loss(item)]
    if not bpbs and not losses:
        return
    first = min(item.start for item in bpbs + losses)
    prefix = text[:first]
    step, _ = step_of(prefix if prefix.strip() else text)
    training = step is not None or any(item.key in ("train_time", "tt", "step_avg", "train_loss") for item in keyed)
    running = not training and bool(_RUNNING.search(text)) and not _FINAL.search(prefix)
    label = label_of(prefix)
    taken: set[int] = set()
    for bpb in bpbs:
        loss = _partner(bpb, losses, taken)
        yield _metric(line, path, _named(label, bpb.key), loss, bpb, keyed, training, running, step)
    if not bpbs:
        loss = losses[0]
        if loss.key.startswith("val") or loss.key == "vl":
            yield _metric(line, path, label, loss, None, keyed, training, running, step)


def _is_bpb(item: Keyed) -> bool:
    key = item.key.lower()
    return key.endswith(("bpb", "bits_per_byte")) and not _CHANGE.search(key) and item.unit in ("", "exact", "bpb")


def _is_loss(item: Keyed) -> bool:
    key = item.key.lower()
    return (key in _LOSS_KEYS or key.endswith(("val_loss", "sliding_loss"))) and not _CHANGE.search(key)


def _partner(bpb: Keyed, losses: list[Keyed], taken: set[int]) -> Keyed | None:
    """The loss that belongs to a bpb: the one of the same stem, else, for a plain key, the nearest before it."""
    stem = bpb.key.lower().removesuffix("bpb").removesuffix("bits_per_byte").rstrip("_")
    for item in losses:
        if item.start not in taken and item.key.lower().removesuffix("loss").rstrip("_") == stem:
            taken.add(item.start)
            return item
    if stem not in ("", "val"):
        return None
    plain = [item for item in losses if item.start not in taken and item.key.lower() in _LOSS_KEYS | {"val_loss"}]
    before = [item for item in plain if item.start < bpb.start]
    chosen = before[-1] if before else (plain[0] if plain else None)
    if chosen:
        taken.add(chosen.start)
    return chosen


def _named(label: str, key: str) -> str:
    """The label, with the key added where the key says more than "bpb" (``mix_bpb``, ``sliding_bpb``)."""
    if key.lower() in ("val_bpb", "bpb", "val_bits_per_byte", "bits_per_byte"):
        return label
    return f"{label} {key}".strip()


def label_of(prefix: str) -> str:
    """The text in front of a score without step counters, times and separators."""
    text = _STEP.sub(" ", prefix)
    text = _LABEL_NOISE.sub(" ", text)
    return " ".join(text.split()).strip(" :|,-=>*`[({\"'")[:120]


def step_of(text: str) -> tuple[int | None, int | None]:
    """Step and planned steps that a progress line begins with; ``(None, None)`` elsewhere."""
    match = _STEP.search(text[:200])
    if not match:
        return None, None
    step, of = (match[1], match[2]) if match[1] else (match[3], match[4])
    return int(step), int(of) if of else None


def _metric(
    line: Line,
    path: str,
    label: str,
    loss: Keyed | None,
    bpb: Keyed | None,
    keyed: list[Keyed],
    training: bool,
    running: bool,
    step: int | None,
) -> MetricLine:
    return MetricLine(
        label=label,
        val_loss=_finite(loss),
        val_bpb=_finite(bpb),
        loss_text=loss.text if loss else "",
        bpb_text=bpb.text if bpb else "",
        eval_ms=None if training else _evaluation_ms(keyed),
        place=place(path, line),
        raw=line.text[:_RAW_CHARACTERS],
        during_training=training,
        step=step,
        running=running,
    )


def _finite(item: Keyed | None) -> float | None:
    return item.value if item is not None and math.isfinite(item.value) else None


def _evaluation_ms(keyed: list[Keyed]) -> float | None:
    for item in keyed:
        if item.key.lower() in _TIME_KEYS and math.isfinite(item.value):
            elapsed = seconds(item.value, item.unit or ("ms" if item.key == "eval_time" else "s"))
            if elapsed is not None:
                return round(elapsed * 1000.0, 3)
    return None


def train_step(line: Line, path: str) -> TrainStep | None:
    """The training progress that a line prints, or None."""
    text = line.text
    match = _STEP.search(text[:200])
    if not match or _NOT_TRAINING.search(text[: match.start()]):
        return None
    step, of = step_of(text)
    if step is None:
        return None
    values = {item.key.lower(): item for item in reversed(list(keyed_numbers(text)))}
    loss = next((values[key] for key in ("train_loss", "tl", "loss") if key in values), None)
    if loss is None:
        spaced = re.search(r"\bloss\s{1,4}(\d{1,3}\.\d{1,12})", text)
        if not spaced or "|" not in text:
            return None
        return TrainStep(step, of, float(spaced[1]), _bar_seconds(text), place(path, line), text[:_RAW_CHARACTERS])
    return TrainStep(step, of, _finite(loss), train_time(values), place(path, line), text[:_RAW_CHARACTERS])


def train_time(values: dict[str, Keyed]) -> float | None:
    """Elapsed training seconds of a progress or stop line."""
    for key in ("train_time", "tt", "wall_ms", "elapsed", "time", "t"):
        item = values.get(key)
        if item and math.isfinite(item.value) and (item.unit or key != "t"):
            return seconds(item.value, item.unit or ("ms" if key in ("train_time", "tt", "wall_ms") else "s"))
    return None


def _bar_seconds(text: str) -> float | None:
    match = re.search(r"\|\s{0,4}(\d{1,7}(?:\.\d{1,3})?)s\s{0,4}$", text)
    return float(match[1]) if match else None
