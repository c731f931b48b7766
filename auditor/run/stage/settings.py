"""The environment of a toy run: flags as in the reported run, sizes from the audit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from auditor.configuration import RunConfiguration
from auditor.record.environment import environment_reads
from auditor.run.model import Size
from auditor.run.stage.knobs import Kind, knob_of, toy_text
from auditor.submission.model import SourceText, Submission

# Set even where no read was recognised (settings read through helpers and loops), as long as the name occurs.
_COMMON = (
    "ITERATIONS MAX_WALLCLOCK_SECONDS TRAIN_BATCH_TOKENS TRAIN_SEQ_LEN EVAL_SEQ_LEN EVAL_STRIDE VAL_BATCH_SIZE "
    "VAL_LOSS_EVERY TRAIN_LOG_EVERY WARMUP_STEPS MODEL_DIM NUM_HEADS NUM_KV_HEADS"
).split()
_READING_HELPER = re.compile(
    r"^\s{0,8}def (\w{1,30})\([^()\n]{1,120}\)[^\n]{0,40}:[^\n]{0,60}\n?[^\n]{0,60}environ\.get\(\w", re.M
)
_VALUE = re.compile(r"[^\x00\ud800-\udfff]{1,2000}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,80}")
_VOCABULARY_NAMES = ("VOCAB_SIZE", "VOCAB", "N_VOCAB")
_IN_NAMES = re.compile(r"(?:sp|bpe|byte|fineweb|vocab)_?(\d{3,5})(?!\d)|fineweb_(\d{3,5})_bpe", re.IGNORECASE)
_IN_LITERAL = re.compile(r"fineweb[\w.]{1,60}")
_ASSIGNED = re.compile(r"\bvocab_size\s{0,3}(?::\s{0,3}int\s{0,3})?=\s{0,3}(\d{3,5})\b")
_DEFAULT_VOCABULARY = 1024
LARGEST_VOCABULARY = 65_536  # ids are uint16

Settings = dict[str, tuple[str, str]]  # variable -> (value, source)


def sources_of(submission: Submission) -> tuple[SourceText, ...]:
    """The script and its neighbours' source texts."""
    return (*((submission.script,) if submission.script else ()), *submission.helpers)


def defaults_of(submission: Submission) -> dict[str, str]:
    """Variables that the script and its neighbours read, with the text of their defaults ("" when not a constant)."""
    defaults: dict[str, str] = {}
    for source in sources_of(submission):
        for read in environment_reads(source.text):
            defaults[read.name] = defaults.get(read.name) or read.default or ""
        for name, default in _reads_through_helpers(source.text):
            defaults.setdefault(name, default)
        for name in _COMMON:
            if name not in defaults and name in source.text:
                defaults[name] = ""
    if submission.script is not None:
        defaults.update(submission.script.environment_defaults)
    return defaults


def _reads_through_helpers(text: str) -> Iterator[tuple[str, str]]:
    """Variables and defaults of calls such as ``_e("MODEL_DIM", 512, int)``, where ``_e`` reads the environment.

    Found in the text: such helpers have names of one or two letters, which say nothing.
    """
    helpers = {match[1] for match in _READING_HELPER.finditer(text)} - {"__init__", "main"}
    for helper in sorted(helpers)[:20]:
        calls = re.finditer(
            rf"(?<![\w.]){re.escape(helper)}\(\s?[\"']([A-Z][A-Z0-9_]{{2,60}})[\"']\s?,\s?([^,()\n]{{1,80}})", text
        )
        yield from ((match[1], match[2].strip().strip("\"'")) for match in calls)


def reported(name: str, configuration: RunConfiguration, defaults: Mapping[str, str]) -> tuple[str, str]:
    """The reported run's value of a variable and its source; the script's default with the source "default"."""
    setting = configuration.lookup(name)
    if setting is not None:
        return setting.value, setting.source
    return defaults.get(name, ""), "default"


def settings_of(submission: Submission, configuration: RunConfiguration, size: Size) -> tuple[Settings, list[str]]:
    """Everything but places and the seed: ``{variable: (value, source)}``, and notes on what was left out."""
    defaults = defaults_of(submission)
    settings: Settings = {}
    notes: list[str] = []
    chunked = any("CHUNK" in name for name in defaults)
    for name in dict.fromkeys((*defaults, *configuration.environment)):
        if not _NAME.fullmatch(name):
            continue
        value, source = reported(name, configuration, defaults)
        knob = knob_of(name, chunked=chunked)
        if knob is not None:
            toy = toy_text(knob, value, size)
            if toy is not None:
                settings[name] = (toy, str(knob.kind))
                continue
            if knob.kind in (Kind.UNSET, Kind.SHORTCUT):
                if knob.kind is Kind.SHORTCUT and source != "default" and value not in ("", "0"):
                    notes.append(f"{name}={value[:80]} of the reported run is left out")
                continue
        if source != "default" and _VALUE.fullmatch(value):
            settings[name] = (value, source)
    return settings, notes


def vocabulary_variable(submission: Submission) -> str | None:
    """The environment variable that the script reads the size of its vocabulary from."""
    defaults = defaults_of(submission)
    return next((name for name in _VOCABULARY_NAMES if name in defaults), None)


def vocabulary_of(submission: Submission, configuration: RunConfiguration) -> tuple[int, str]:
    """The vocabulary the script expects, and what says so."""
    defaults = defaults_of(submission)
    for name in _VOCABULARY_NAMES:
        value, source = reported(name, configuration, defaults)
        if value.isdigit() and 4 < int(value) <= LARGEST_VOCABULARY:
            return int(value), f"{name} ({source})"
    for name in ("DATA_PATH", "TOKENIZER_PATH"):
        value, source = reported(name, configuration, defaults)
        if (found := _named(value)) is not None:
            return found, f"{name} ({source})"
    for source_text in sources_of(submission):
        if (match := _ASSIGNED.search(source_text.text)) is not None:
            return int(match[1]), "vocab_size in the script"
        if (found := _named(" ".join(_IN_LITERAL.findall(source_text.text)[:20]))) is not None:
            return found, "a file name in the script"
    return _DEFAULT_VOCABULARY, "nothing says; the challenge's usual one"


def _named(text: str) -> int | None:
    found: Iterable[re.Match[str]] = _IN_NAMES.finditer(text[:4000])
    numbers = [int(match[1] or match[2]) for match in found]
    return next((number for number in numbers if 200 <= number <= LARGEST_VOCABULARY), None)
