"""Features that a log shows at work only behind the claimed score: what ran later cannot have made it."""

from __future__ import annotations

from auditor.record.model import MetricLine, RunLog

SWITCH = "_enabled"


def switched_on(value: str) -> bool:
    """Whether a switch's text means on."""
    return value.strip().lower() in ("1", "true", "yes", "on")


def works_after(log: RunLog, line: MetricLine, setting: str) -> bool:
    """Whether the feature that `setting` switches on is mentioned in `log`, and only behind `line`.

    Settings as such (a hyperparameter block) are no mention. False for a setting that is no switch, and for a log
    of which not every line is at hand.
    """
    name = setting.lower()
    if not name.endswith(SWITCH) or log.truncated or len(log.raw_lines) != len(log.raw_line_numbers):
        return False
    feature = name.removesuffix(SWITCH)
    settings = {place.line for key, place in log.hyperparameter_places.items() if feature in key}
    mentions = [
        number
        for text, number in zip(log.raw_lines, log.raw_line_numbers, strict=True)
        if feature in text.lower() and number not in settings
    ]
    return bool(mentions) and min(mentions) > line.place.line
