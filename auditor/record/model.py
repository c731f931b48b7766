"""What the evidence files of a submission say, parsed but not judged.

Units are in the names. A value that no file states is None, never a guess. `Place` says where each one was read, so
that every finding can point at its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was read: path relative to the submission's root, line from 1 (0: the whole file)."""

    path: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class MetricLine:
    """A line that prints a validation loss and/or bpb, e.g. ``final_int8_zlib_roundtrip_exact val_loss:.. val_bpb:..``.

    `label` is the text before the first number pair with step counters removed ("" for a bare pair). `loss_text` and
    `bpb_text` keep the digits as printed. `during_training` marks the periodic validation lines
    (``step:N/M val_loss``).
    """

    label: str
    val_loss: float | None  # nats per token
    val_bpb: float | None
    loss_text: str
    bpb_text: str
    eval_ms: float | None
    place: Place
    raw: str
    during_training: bool = False
    step: int | None = None
    running: bool = False  # a running value inside an evaluation or adaptation (``ttt_chunk [3/1893] bpb=..``)


@dataclass(frozen=True, slots=True)
class TrainStep:
    """A training progress line: step, total planned steps, loss in nats per token, elapsed training seconds."""

    step: int
    of: int | None
    train_loss: float | None
    train_seconds: float | None
    place: Place
    text: str = ""  # the line, bounded


@dataclass(frozen=True, slots=True)
class SizeLine:
    """A logged size in bytes.

    kind: "total" (the submission's, labelled by its compression), "total_raw" (with the uncompressed model), "model"
    (compressed), "model_raw", "code", "code_compressed". `label` keeps what the line says: "int8+zlib", "uncompressed".
    """

    kind: str
    label: str
    size_bytes: int
    place: Place


@dataclass(frozen=True, slots=True)
class Phase:
    """A timed phase named by a log: Hessian collection, other GPTQ, adaptation before quantization, evaluations, ...

    kind: "train", "hessians", "quantize", "adapt" (training on some text after the training proper, outside a scored
    evaluation), "eval", "other". A pass that a log prints twice is one phase.
    """

    kind: str
    label: str
    seconds: float
    place: Place


@dataclass(frozen=True, slots=True)
class RunLog:
    """One log of one run."""

    path: str
    seed: int | None  # as printed inside the log
    seed_in_name: int | None  # as the file name says
    metrics: tuple[MetricLine, ...] = ()
    steps: tuple[TrainStep, ...] = ()
    sizes: tuple[SizeLine, ...] = ()
    phases: tuple[Phase, ...] = ()
    hyperparameters: Mapping[str, str] = field(default_factory=dict)  # lower-case name -> text as printed
    hyperparameter_places: Mapping[str, Place] = field(default_factory=dict)
    inline_hyperparameters: frozenset[str] = frozenset()  # those from ``key:value`` lines instead of a block
    world_size: int | None = None
    val_tokens: int | None = None
    train_shards: int | None = None
    train_seconds: float | None = None  # when training stopped
    stop: Place | None = None  # the line that says why it stopped
    stop_text: str = ""
    total_eval_seconds: float | None = None  # a logged total over all evaluations
    gptq_reserved_seconds: float | None = None  # taken off the training budget for quantization
    embedded_source: str | None = None  # the script's text, where the log carries it
    embedded_source_place: Place | None = None
    embedded_source_damaged: bool = False  # its beginning is overwritten by log lines
    truncated: bool = False  # the file exceeded the reader's bound; only its head and tail were read
    lines: int = 0
    raw_lines: tuple[str, ...] = ()  # decoded lines, "\r" and prefixes such as "[rank0]:" removed, bounded
    raw_line_numbers: tuple[int, ...] = ()  # the file's line number of each raw line

    @property
    def final_metrics(self) -> tuple[MetricLine, ...]:
        """Metric lines that are neither periodic validation during training nor running values of an evaluation."""
        return tuple(line for line in self.metrics if not line.during_training and not line.running)


@dataclass(frozen=True, slots=True)
class SeedClaim:
    """One seed's claimed figures, from submission.json or a README table."""

    seed: int
    val_bpb: float | None
    val_loss: float | None
    artifact_bytes: int | None
    place: Place


@dataclass(frozen=True, slots=True)
class ReadmeTable:
    """A Markdown table of the README: header cells and rows of cells, markup removed."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    place: Place
    lines: tuple[int, ...] = ()  # line of each row


@dataclass(frozen=True, slots=True)
class ReadmeCommand:
    """A shell command of the README that runs python or torchrun: its environment assignments and arguments."""

    environment: Mapping[str, str]
    command: str
    script: str | None  # the .py file it runs, without its folder; None for a block that only assigns
    place: Place
    heading: str = ""  # of the section it stands in


@dataclass(frozen=True, slots=True)
class Statement:
    """What submission.json (or, failing it, the README) claims."""

    val_bpb: float | None = None
    val_bpb_place: Place | None = None
    val_bpb_text: str = ""  # as written, where it is one written number
    val_bpb_key: str = ""  # the field it was read from ("val_bpb", "results.mean_bpb", "README", "mean of the seeds")
    val_loss: float | None = None  # nats per token
    name: str = ""
    seeds: tuple[SeedClaim, ...] = ()
    artifact_bytes: int | None = None
    model_bytes: int | None = None
    code_bytes: int | None = None
    train_seconds: float | None = None
    eval_seconds: float | None = None
    compliance: Mapping[str, bool] = field(default_factory=dict)
    fields: Mapping[str, object] = field(default_factory=dict)  # flattened, "seeds.42.val_bpb" -> value
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """Everything the evidence files say."""

    statement: Statement
    logs: tuple[RunLog, ...]
    tables: tuple[ReadmeTable, ...] = ()
    commands: tuple[ReadmeCommand, ...] = ()
    readme_bpb: float | None = None
    readme_bpb_place: Place | None = None
    readme_text: str = ""
    readme_path: str = ""
    problems: tuple[str, ...] = ()  # one line each: "submission.json: not JSON (trailing comma on line 7)"
