"""Settings that a log prints: a ``Hyperparameters:`` block, ``key:value`` lines of the baseline, environment dumps."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.record.lines import Line

MAX_SETTINGS = 2_000
_BLOCK_HEAD = re.compile(
    r"(?:=+ )?(?:hyper-?parameters|hparams|config|configuration|args|arguments|settings)\s?:?(?: =+)?$", re.IGNORECASE
)
_BLOCK_LINE = re.compile(r"\s{0,8}\"?([A-Za-z_]\w{0,60})\"?\s{0,40}[:=]\s{0,40}(.{0,300})$")
_TOKEN = re.compile(r"(?:[a-z_]{1,20}:)?([A-Za-z_]\w{0,60})[:=](\S{1,200})$")
_NOT_SETTINGS = frozenset(
    (
        *("val_loss", "val_bpb", "train_loss", "train_time", "step", "step_avg", "eval_time", "time", "elapsed", "bpb"),
        *("loss", "tok", "warmup_step", "stopping_early", "t", "running_bpb", "avg_loss", "chunk", "epoch", "batch"),
        *("phase", "frac", "scale", "lr"),
    )
)
_ATTRIBUTE = re.compile(r"(?:args|self|h|hp|hparams|cfg|config|model|os|torch|math|opt)\.\w")
_EVENTS = frozenset({"start", "done", "enabled", "disabled", "end", "begin", "applying"})  # "ttt:start", not a setting


def is_code(name: str, value: str) -> bool:
    """Whether ``name=value`` is a piece of source (``ttt_lr=args.ttt_lr``) rather than a printed setting."""
    return "(" in value or bool(_ATTRIBUTE.match(value)) or (value == name and not value.isdigit())


def is_block_head(text: str) -> bool:
    """Whether a line opens a block of settings."""
    return len(text) < 60 and bool(_BLOCK_HEAD.match(text.strip()))


def block_setting(text: str) -> tuple[str, str] | None:
    """``name: value`` of a line inside a block; None where the block ends."""
    match = _BLOCK_LINE.match(text)
    return (match[1], match[2].strip().rstrip(",").strip("\"'")) if match else None


def inline_settings(line: Line) -> Iterator[tuple[str, str]]:
    """Settings of a line that consists of ``key:value`` or ``key=value`` words (one other word is let pass)."""
    text = line.text
    if len(text) > 3_000 or (":" not in text and "=" not in text):
        return
    words = text.split()
    matches = [_TOKEN.match(word) for word in words]
    hits = [match for match in matches if match]
    if not hits or len(hits) < len(words) - (1 if len(words) > 2 else 0):
        return
    names = [match[1].lower() for match in hits]
    if any(name in _NOT_SETTINGS for name in names[:1]) or "val_bpb" in names or "train_loss" in names:
        return
    for position, match in enumerate(hits):
        name, value = match[1], _without_closing(match[2].rstrip(",")).strip("\"'")
        event = position == 0 and len(hits) > 1 and value.isalpha() and value not in ("True", "False", "None")
        if not event and value not in _EVENTS and not is_code(name, value):
            yield name, value


def _without_closing(value: str) -> str:
    """A value without the bracket that closes a remark it ends: ``5)`` of ``QAT enabled (qat_bits:5)``."""
    opening = {")": "(", "]": "["}.get(value[-1:])
    return value if opening is None or opening in value else value[:-1]
