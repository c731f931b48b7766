"""A script's own switch for evaluating without training, by the names and forms that submissions use."""

from __future__ import annotations

import re

from auditor.run.stage.settings import defaults_of
from auditor.submission.model import Submission

ARTIFACT = "{artifact}"  # in a value: stands for the artifact's path inside the sandbox
_FLAG = re.compile(
    r"(?:\w+_)?EVAL_?ONLY(?:_MODE)?|ONLY_EVAL(?:UATE)?|SKIP_TRAIN(?:ING)?|(?:NO|DISABLE)_TRAIN(?:ING)?|EVAL_MODE"
)
_PATH = re.compile(
    r"(?:EVAL_ONLY|EVAL|LOAD|SKIP_TRAIN)_(?:ARTIFACT|MODEL|QUANT(?:IZED)?|FROM)(?:_(?:PATH|FILE))?|EVAL_ONLY_PATH"
)
_OFF = ("", "0", "False", "false", "None", "no", "off")


def eval_only_switches(submission: Submission) -> dict[str, str]:
    """Variables to set so that the script evaluates only; empty where it has no such switch.

    The general switch goes before special ones (TTT_EVAL_ONLY): those skip more than the training.
    """
    defaults = defaults_of(submission)
    flags = [name for name, value in defaults.items() if _FLAG.fullmatch(name) and value in _OFF]
    paths = [name for name, value in defaults.items() if _PATH.fullmatch(name) and value in _OFF]
    flags.sort(key=lambda name: (name.count("_"), name))
    switches = {flags[0]: "1"} if flags else {}
    if paths:
        switches[paths[0]] = ARTIFACT
    return switches
