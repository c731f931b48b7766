"""Which of the scores that a script prints is the claimed one, where no logged line with the claim tells.

submission.json may name the label of the line (``"evaluation": "final_int6_sliding_window_exact"``), and so may the
README beside the claimed number. Failing that, the last final score is taken for it. The others are its rivals, unless
the submission is called after the last one ("... + SLOT", ``final_slot_exact``), or its line is the one under which the
challenge's own script prints the score.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from auditor.record.lines import Line
from auditor.record.metrics import metric_lines
from auditor.record.model import MetricLine, Place, Record
from auditor.record.titles import titles

MIN_LABEL = 8  # characters; shorter ones are words of the language
_USUAL = "final_int8_zlib_roundtrip"
_COMMON = frozenset(
    "final exact int zlib zstd lzma brotli roundtrip sliding window quantized eval evaluation val score result stride "
    "submission legal best full".split()
)
_MIN_DIGITS = 6  # of the claimed number, the point included
_FINAL = re.compile(r"final|exact|submission|result", re.IGNORECASE)
_UNFINISHED = re.compile(
    r"pre[-_ ]?quant|diagnostic|post[-_ ]?(?:ema|swa|average)|before|baseline|train", re.IGNORECASE
)


def metric_of(template: Iterable[str | None]) -> MetricLine | None:
    """What a printed template would be in a log, if it is a line with a score."""
    text = "".join("1" if part is None else part for part in template)
    return next(metric_lines(Line(0, text.strip()), ""), None)


def is_final(template: Sequence[str | None]) -> bool:
    """True for the line of a final score: neither one during training, nor one of an unfinished model, nor a mere check
    that the stored model can be read back."""
    metric = metric_of(template)
    if metric is None or metric.during_training or metric.running:
        return False
    if not _FINAL.search(metric.label) or _UNFINISHED.search(metric.label):
        return False
    return "roundtrip" not in metric.label.lower() or is_usual(metric.label)


def is_usual(label: str) -> bool:
    """True for the label of the line with which the challenge's own script prints its score."""
    return label.startswith(_USUAL)


def is_called_after(record: Record, folder: str, label: str) -> bool:
    """True when a title of the submission has all the words that tell a label from others."""
    words = [word for word in re.split(r"[^a-z]+", label.lower()) if len(word) > 1 and word not in _COMMON]
    return bool(words) and any(title.names(words) for title in titles(record, folder))


def stated_label(record: Record, labels: Iterable[str]) -> tuple[str, Place] | None:
    """The one of `labels` that the submission names as the line of its score, and where."""
    known = sorted({label for label in labels if len(label) >= MIN_LABEL}, key=len, reverse=True)
    for key, value in record.statement.fields.items():
        if isinstance(value, str) and value.strip() in known:
            return value.strip(), record.statement.places.get(key, Place(""))
    digits = record.statement.val_bpb_text[:_MIN_DIGITS]
    if len(digits) < _MIN_DIGITS:
        return None
    known = [label for label in known if "_" in label]  # others are words of the language
    for number, line in enumerate(record.readme_text.splitlines(), 1):
        if digits in line:
            named = [label for label in known if re.search(rf"(?<![\w-]){re.escape(label)}(?![\w-])", line)]
            if len(named) == 1:
                return named[0], Place(record.readme_path, number)
    return None
