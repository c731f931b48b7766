"""What the parts of the rescore witness hand to one another, and what reports and rules read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from auditor.record.claimed_line import seed_of
from auditor.record.model import MetricLine, RunLog
from auditor.record.size_accounts import last_size
from auditor.run.model import Confinement, Outcome
from auditor.run.printed import PrintedMetric
from auditor.submission.model import StoredFile


class Scale(StrEnum):
    """At which size training was repeated."""

    REPORTED = "as reported"
    TOY = "toy size"


class Way(StrEnum):
    """How the submission's evaluation was run without its training."""

    SWITCH = "its own switch"
    CUT = "cut out"


@dataclass(frozen=True, slots=True)
class Span:
    """A statement of a script that did not run, by lines of its text (1-based, inclusive), and why.

    `column` tells statements on one line apart: where it begins, in UTF-8 bytes from 0.
    """

    first: int
    last: int
    why: str
    column: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """What is left out of a script so that it starts at its artifact.

    `spans` are the statements left out; `reading` the lines, outermost first, on the way to where the artifact is read;
    `running` the lines of the same functions that run, as (first, last) pairs.
    """

    path: str
    spans: tuple[Span, ...]
    reading: tuple[int, ...]
    running: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """The artifact file that was evaluated, and the log it belongs to.

    `log` is None where no log prints its size and none can be told; `by_size` says that exactly one log does.
    """

    file: StoredFile
    path: str  # relative to the record folder
    sha256: str
    log: RunLog | None
    seed: int | None
    logged_bytes: int | None  # what that log says of the compressed model
    by_size: bool = False

    def of_run(self, log: RunLog) -> Artifact:
        """The same file as the artifact of the run with this log."""
        if log is self.log:
            return self
        size = last_size(log, "model")
        return replace(self, log=log, seed=seed_of(log), logged_bytes=size.size_bytes if size else None)


@dataclass(frozen=True, slots=True)
class Pair:
    """One score that the log prints and the replay's line for it; `carries_claim` marks the claim's own line."""

    logged: MetricLine
    replayed: PrintedMetric
    carries_claim: bool

    @property
    def label(self) -> str:
        """The line's label."""
        return self.logged.label or "a line without a label"

    @property
    def difference_bpb(self) -> float | None:
        """Logged minus replayed; positive where the log is worse than the artifact."""
        printed = self.replayed.score.val_bpb
        return None if self.logged.val_bpb is None or printed is None else self.logged.val_bpb - printed

    @property
    def exact(self) -> bool:
        """Whether both lines print the same digits."""
        score = self.replayed.score
        return (self.logged.loss_text, self.logged.bpb_text) == (score.loss_text, score.bpb_text)


@dataclass(frozen=True, slots=True)
class Replay:
    """The submission's own evaluation, run again. `failure` is "" when it printed the scores it should."""

    artifact: Artifact
    way: Way
    switches: Mapping[str, str]
    cut: Cut | None
    outcome: Outcome
    metrics: tuple[PrintedMetric, ...]
    pairs: tuple[Pair, ...]
    missing: tuple[MetricLine, ...]  # logged behind the artifact, not printed by the replay
    failure: str
    standing_in: bool  # whether the run stood in for a GPU
    settings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    artifact_read: bool = False  # whether it opened the artifact file
    steady: bool | None = None  # whether another seed gives the same scores; None: nobody asked

    @property
    def claimed(self) -> Pair | None:
        """The line of the claim."""
        return next((pair for pair in self.pairs if pair.carries_claim), None)

    @property
    def reported(self) -> PrintedMetric | None:
        """The claim's line as replayed; failing that, the last score that was printed."""
        if self.claimed is not None:
            return self.claimed.replayed
        final = [metric for metric in self.metrics if metric.final]
        return final[-1] if final else None


@dataclass(frozen=True, slots=True)
class Score:
    """One score by the reference scorer. `targets` is how many tokens it scored."""

    name: str
    val_loss: float  # nats per token
    val_bpb: float
    targets: int


@dataclass(frozen=True, slots=True)
class Independent:
    """Scores of the submission's model by the reference scorer; `failure` says why there are none.

    `method` is how the script calls its model; `future` is how far a logit moved when later tokens changed.
    """

    scores: tuple[Score, ...]
    method: str
    failure: str
    future: float | None = None

    def score(self, name: str) -> Score | None:
        """The score of that name."""
        return next((score for score in self.scores if score.name == name), None)


@dataclass(frozen=True, slots=True)
class Text:
    """The text that was scored: its name, size, digest, and whether it is the text that the claim refers to."""

    name: str
    targets: int
    text_bytes: int
    sha256: str
    canonical: bool
    drawn: bool
    byte_mistakes: Mapping[str, int] = field(default_factory=dict)
    why: str = ""  # why it is not canonical


@dataclass(frozen=True, slots=True)
class Training:
    """What came of training one seed again. `failure` is "" when the run reached its scores.

    As reported, `pairs` sets its scores beside those of the seed's log. At toy size there is nothing to set them
    beside; there `repeated` of `compared` scores repeat to the last digit when the run's artifact is evaluated alone.
    """

    scale: Scale
    seed: int | None
    seconds: float
    metrics: tuple[PrintedMetric, ...]
    failure: str
    pairs: tuple[Pair, ...] = ()
    repeated: int = 0
    compared: int = 0
    log: bytes = b""  # everything it printed


@dataclass(frozen=True, slots=True)
class Launch:
    """How one seed of the claim is trained again at full size, on a machine with `gpus` GPUs that is set apart for it.

    `environment` are the settings of the reported run with this seed; data and tokenizer lie where they say.
    """

    seed: int | None
    gpus: int
    script: str  # relative to the record folder, which is the working directory
    environment: Mapping[str, str]

    @property
    def command(self) -> tuple[str, ...]:
        """What starts the run."""
        return ("torchrun", "--standalone", f"--nproc_per_node={self.gpus}", self.script)

    @property
    def log(self) -> str:
        """The file that keeps what it prints."""
        return log_name(self.seed)


def log_name(seed: int | None) -> str:
    """The file that keeps a training run's output, by its seed."""
    return "retrained.log" if seed is None else f"retrained_seed{seed}.log"


@dataclass(frozen=True, slots=True)
class RescoreReport:
    """Everything the rescore witness did. Parts that could not be done are None, with the reason in `reasons`."""

    text: Text
    confinement: Confinement
    artifact: Artifact | None = None
    code_bytes: int = 0  # of the script as stored
    replay: Replay | None = None
    independent: Independent | None = None
    training: tuple[Training, ...] = ()
    launches: tuple[Launch, ...] = ()  # of the claim's seeds at full size, where this machine cannot train them
    claim_on_cpu: bool = False  # the log says that the claim was made without a GPU
    settings_known: bool = False  # a log prints the settings of the claimed run
    reasons: tuple[str, ...] = ()
