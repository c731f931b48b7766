"""What the parts of the run witness hand to one another.

A `Stage` is everything one run needs: a private copy of the submission, audit data, the environment. The sandbox runs
the stage's job and returns an `Outcome`: what was printed, what the tracer inside reported, how it ended. Everything in
an `Outcome` was made inside and is hostile; only the figures that the parent process measured itself (seconds, memory,
exit) are the auditor's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

GIB = 1 << 30
MIB = 1 << 20
MISSING_TORCH = "executing the script needs torch, which this Python lacks: pip install 'pgolf-audit[run]'"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandboxed run may use. The parent enforces all of them; the child cannot raise them."""

    seconds: float = 300.0  # wall clock
    memory_bytes: int = 6 * GIB  # resident, of the whole process tree
    address_space_bytes: int = 32 * GIB  # of one process; torch maps far more than it uses; 0: no limit
    processes: int = 256
    file_bytes: int = 1 * GIB  # one file
    scratch_bytes: int = 2 * GIB  # all files the run writes
    files: int = 200_000  # their number
    output_bytes: int = 32 * MIB  # of stdout, of stderr and of the report channel, each; the rest is dropped and noted


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder of the machine that the sandbox sees at `target` (absolute), read-only unless `writable`.

    A writable bind is for a folder that the auditor made for this run; its size is watched against `scratch_bytes`.
    """

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One command to run confined: no network, read-only but for its scratch, nothing of the machine it does not need.

    `environment` is the whole environment. The interpreter's own prefix, the loader's and libc's files are added by the
    sandbox. `report` opens the report channel (see auditor/run/inside/channel.py). `devices` are device files besides
    the harmless ones that every run has.
    """

    command: tuple[str, ...]
    folder: str  # working directory inside
    environment: Mapping[str, str]
    binds: tuple[Bind, ...]
    limits: Limits = field(default_factory=Limits)
    report: bool = True
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a confined run ended. `stopped_by` is "" or the limit that struck, in words ("300 s wall clock").

    `records` are the report channel's messages whose authentication chain is whole, in order; `broken_chain` says what
    was wrong with it otherwise. `seen` are attempts the sandbox or the guard noticed ("connect 1.2.3.4:443 refused").
    """

    exit_code: int | None  # None when killed by a signal
    signal: int | None
    stopped_by: str
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    stdout: bytes
    stderr: bytes
    records: tuple[Mapping[str, object], ...] = ()
    broken_chain: str = ""
    seen: tuple[str, ...] = ()
    truncated: tuple[str, ...] = ()  # names of streams whose end was dropped

    @property
    def completed(self) -> bool:
        """Whether the command ended by itself with exit code 0."""
        return self.exit_code == 0 and not self.stopped_by


@dataclass(frozen=True, slots=True)
class Confinement:
    """A way of confining that works on this machine: its name, what it covers and what it does not."""

    name: str  # "bubblewrap" or "user namespaces + Landlock + seccomp"
    covers: tuple[str, ...]
    not_covered: tuple[str, ...]


class NoConfinementError(Exception):
    """Nothing on this machine can confine a run. The message is the one line the user sees."""


@dataclass(frozen=True, slots=True)
class Override:
    """A constant of the script that was replaced for the audit, because no environment variable sets it."""

    path: str
    line: int
    name: str
    old: str
    new: str
    why: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One run, ready for the sandbox. All paths below `folder` are on the machine; `job` has the paths inside.

    `settings` maps each environment variable that was set for the script to where its value came from: "log",
    "readme", "toy size", "audit data", ... . `validation_files` and `training_files` are paths inside; the validation
    stream as the script will see it, in order, is `validation_tokens` of `auditor.run.sources.Stream`.
    """

    folder: Path
    job: Job
    script: str  # path inside, relative to job.folder
    settings: Mapping[str, tuple[str, str]]  # name -> (value, source)
    overrides: tuple[Override, ...] = ()
    validation_files: tuple[str, ...] = ()
    training_files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what was assumed, in words a reviewer reads


@dataclass(frozen=True, slots=True)
class Size:
    """Toy sizes; a ladder of them is tried when a script asserts about sizes (GQA heads, batch, sequence)."""

    label: str = "toy"
    validation_tokens: int = 4_096  # predictions; the stream holds one token more
    training_tokens: int = 32_768
    sequence: int = 128
    stride: int = 64
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    iterations: int = 1
    warmup_steps: int = 0
    every: int = 0  # steps between validations and checkpoints; 0, as most scripts read it, is none
    smallest_table: int = 256  # entries that a hash table keeps at the least
    wallclock_seconds: int = 0  # the cap on training that the script is given; 0, as scripts read it, is none
    ttt_chunk: int = 512
    batch_sequences: int = 8
    launched: bool = False  # as one process of a distributed launch (RANK=0, WORLD_SIZE=1), not as a plain one
    vocabulary: int = 0  # ids of the tokenizer, where the script reads their number from its environment; 0: its own
    ranks: int = 1  # processes that share the work over gloo; more than one are always launched
