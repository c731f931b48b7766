"""One call: stage the submission, run it confined, read what it printed and what was traced, testify.

Runs are made in an order chosen for power at little cost. The first draws a short stream of uniform tokens, on which
nothing can be learned: a leak of a few hundredths of a nat a token is a proof. Where it proved nothing although the
source witness suspects a mixture, the vocabulary is made so small that contexts occur again, without which a cache or
an n-gram table never speaks. Where it proved nothing although anything is suspected, one more run draws a longer
stream, which shows smaller leaks; so it does where the tokens behind the printed mean could not be counted. Where one
process proved nothing, two share the work as the machine's eight would, since what one rank learns may reach what
another one scores. Hash tables shrink with the stream (see auditor/run/stage/knobs.py), so that they collide as the
real ones do. Each run has fresh random numbers of the operating system, unless a seed repeats an earlier audit.
"""

from __future__ import annotations

import importlib.util
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from auditor.configuration import RunConfiguration
from auditor.ledger import RULES_OF_SCORING, Ledger
from auditor.record.model import Record
from auditor.run.byte_test import known_mistakes
from auditor.run.events import Places, read_trace
from auditor.run.gpu import NoCardError, card_devices, with_card
from auditor.run.model import MISSING_TORCH, Confinement, Limits, NoConfinementError, Outcome, Size
from auditor.run.printed import printed_metrics, reported_metric
from auditor.run.sandbox import find_confinement, remove_tree, run_job
from auditor.run.sources import Source, Uniform
from auditor.run.stage import Prepared, StageError, prepare
from auditor.run.stage.ladder import next_step, shorter
from auditor.run.stage.places import SUBMISSION
from auditor.run.stage.settings import vocabulary_variable
from auditor.run.suffix_swap import SuffixSwap, compare, compare_target, same, swap_position
from auditor.run.testimony import ToyRun, testify
from auditor.submission.model import Submission

MAX_SEED = 1 << 31
FEW_IDS = 68  # 4 of them special: contexts of two ids occur again within a short stream
LEAST_SECONDS = 5.0  # in less, no script gets anywhere
LONGER = 4  # times the short stream, for the second run


class NotRunError(Exception):
    """The submission could not be run at all. The message is the one line the user sees."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run. `seed` None: fresh random numbers. `python` is an interpreter that has torch.

    `swap` asks for the suffix swap, one more traced run (two where a loss moves). With `ranks` above 1 a script that
    proved nothing alone is run once more as so many processes. `seconds` bound all of these runs together: one that
    is likely to take more than what is left is not made, and the report says so. `device` "cuda" asks for the machine's
    own graphics card, which is untried (see auditor/run/gpu.py).
    """

    seed: int | None = None
    python: str = ""
    seconds: float = 300.0
    trace: bool = True
    device: str = "cpu"
    swap: bool = True
    ranks: int = 2
    size: Size = field(default_factory=Size)
    progress: Callable[[str], None] | None = None

    def tell(self, text: str) -> None:
        """Say what happens now, where somebody wants to know."""
        if self.progress:
            self.progress(text)


@dataclass(frozen=True, slots=True)
class RunReport:
    """What was run, under which seed and confinement, and the ledger that rules judge."""

    runs: tuple[ToyRun, ...]
    ledger: Ledger
    seed: int
    confinement: Confinement
    swap: SuffixSwap | None = None


def run_witness(
    submission: Submission,
    configuration: RunConfiguration,
    record: Record,
    source: Ledger | None,
    options: RunOptions | None = None,
) -> RunReport:
    """Run the submission at toy size and testify. Raises NotRunError when nothing can be run here."""
    options = options or RunOptions()
    python = options.python or sys.executable
    if not options.python and importlib.util.find_spec("torch") is None:
        raise NotRunError(MISSING_TORCH)
    try:
        devices = card_devices() if options.device == "cuda" else ()
        confinement = with_card(find_confinement()) if devices else find_confinement()
    except (NoCardError, NoConfinementError) as error:
        raise NotRunError(str(error)) from error
    seed = secrets.randbelow(MAX_SEED) if options.seed is None else options.seed
    toy = _Runner(
        submission, configuration, record, source, options, python, confinement, seed, _Time(options.seconds), devices
    )
    runs = [toy.run(Uniform(), options.size)]
    swap = toy.further(runs) if runs[0].reported else None
    return RunReport(tuple(runs), testify(runs, source, swap, toy.time.left_out), seed, confinement, swap)


def _longer(size: Size) -> Size:
    return replace(
        size,
        label=f"{size.label}, long stream",
        validation_tokens=LONGER * size.validation_tokens,
        training_tokens=2 * size.training_tokens,
    )


def _repeats(first: ToyRun, again: ToyRun, until: int) -> bool:
    """Whether an equal run gave the same losses, and the same distributions, up to position `until`."""
    if first.losses is None or again.losses is None or not same(first.losses, again.losses, until):
        return False
    return first.marks is None or (again.marks is not None and same(first.marks, again.marks, until))


def _proved(runs: Sequence[ToyRun]) -> bool:
    return any(run.test is not None and run.test.proves for run in runs)


def _counted(runs: Sequence[ToyRun]) -> bool:
    """Whether a proof stands by itself: without a count of the summed tokens, a second, longer run is asked for."""
    return any(run.test is not None and run.test.proves and run.test.accounting.exact for run in runs)


def _mixing_suspected(source: Ledger | None) -> bool:
    """Whether the source witness sees, or cannot exclude, that a target shapes its prediction or that sums exceed 1."""
    return source is not None and any(violation.rule in ("C1", "C2") for violation in source.violations)


def _suspected(source: Ledger | None) -> bool:
    """Whether the source witness sees, or cannot exclude, that a score knows what it should not."""
    if source is None:
        return False
    after = any(scored.after for scored in source.scored if scored.metric.reported)
    return after or any(violation.rule in RULES_OF_SCORING for violation in source.violations)


@contextmanager
def _hostile_folder() -> Iterator[Path]:
    """A folder that hostile code writes to, gone afterwards whatever it made of it."""
    folder = tempfile.mkdtemp(prefix="pgolf-audit-")
    try:
        yield Path(folder)
    finally:
        remove_tree(folder)


class _Time:
    """What is left of an audit's time, and the runs that were left out for lack of it."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.left_out: list[str] = []

    @property
    def left(self) -> float:
        """Seconds; never nothing, so that a run that was begun ends by its own limit."""
        return max(self._end - time.monotonic(), 1.0)

    def allows(self, what: str, seconds: float) -> bool:
        """Whether a run that may take so long can still be made; where not, it is noted as left out."""
        if self.left < seconds:
            self.left_out.append(what)
        return self.left >= seconds


@dataclass(frozen=True, slots=True)
class _Runner:
    submission: Submission
    configuration: RunConfiguration
    record: Record
    source: Ledger | None
    options: RunOptions
    python: str
    confinement: Confinement
    seed: int
    time: _Time
    devices: tuple[str, ...] = ()

    def further(self, runs: list[ToyRun]) -> SuffixSwap | None:
        """The runs after the first one that may prove what it did not, added to `runs`, and the suffix swap."""
        first, seconds = runs[0], runs[0].outcome.seconds
        suspected = _suspected(self.source)
        mixing = not _proved(runs) and _mixing_suspected(self.source) and vocabulary_variable(self.submission)
        if mixing and self.time.allows(f"the run on {FEW_IDS} ids", seconds):
            runs += self.on_few_ids(first)
        # a suspicion that nothing proved, or a proof whose tokens nobody counted and that no suspicion supports
        unsettled = not _counted(runs) and _proved(runs) != suspected
        if unsettled and self.time.allows("the run on a longer stream", 2 * seconds):
            runs.append(self.run(Uniform(), _longer(self.options.size)))
        ranked = self.options.ranks > 1 and not _proved(runs)
        if ranked and self.time.allows(f"the run as {self.options.ranks} processes", seconds):
            runs.append(self.ranked(first))
        swapped = self.options.swap and self.options.trace and first.losses is not None
        return self.swap(first) if swapped and self.time.allows("the suffix swap", seconds) else None

    def run(self, source: Source, first_size: Size) -> ToyRun:
        """The script on one source; other sizes are tried where it refuses the toy ones or is slow with them.

        While a shorter stream is left to try, half of the time stays for that.
        """
        size: Size | None = first_size
        while size is not None:
            self.options.tell(f"running the script on {source.name} tokens (size: {size.label})")
            toy, size = self._attempt(source, size, share=1.0 if shorter(size) is None else 0.5)
            if self.time.left < LEAST_SECONDS:
                break
        return toy

    def ranked(self, first: ToyRun) -> ToyRun:
        """The script as several processes: what one learns may reach another one's scores before they are made.

        Untraced, since a tracer follows values within one process: the printed score is the witness.
        """
        assert first.size is not None
        ranks = self.options.ranks
        size = replace(first.size, label=f"{first.size.label}, {ranks} ranks", ranks=ranks)
        self.options.tell(f"running it as {ranks} processes")
        alone = replace(self, options=replace(self.options, trace=False))
        return alone._attempt(Uniform(), size)[0]

    def on_few_ids(self, first: ToyRun) -> list[ToyRun]:
        """The script with a vocabulary of a few ids, as several processes where these were asked for.

        Caches that are off in one process are on in eight. Empty where it does not run with a small vocabulary.
        """
        assert first.size is not None
        size = replace(first.size, label=f"{first.size.label}, few ids", vocabulary=FEW_IDS, ranks=self.options.ranks)
        self.options.tell(f"running it with a vocabulary of {FEW_IDS} ids")
        alone = replace(self, options=replace(self.options, trace=self.options.trace and size.ranks == 1))
        run = alone._attempt(Uniform(name="uniform over few ids"), size)[0]
        return [run] if run.reported else []

    def swap(self, first: ToyRun) -> SuffixSwap | None:
        """The suffix swap against `first`; None where the losses of its reported metric were not followed."""
        if first.reported is None or first.losses is None or first.size is None:
            return None
        after = swap_position(len(first.stream.tokens))
        self.options.tell(f"running it again with other text behind position {after:,}")
        changed, _ = self._attempt(Uniform(), first.size, after)
        if changed.losses is None:
            return None
        found = compare(first.losses, changed.losses, after)
        if first.marks is not None and changed.marks is not None:
            found = compare_target(found, first.marks, changed.marks, first.stream.tokens, changed.stream.tokens)
        if not found.moved and not found.target_moved:
            return found
        self.options.tell("running it once more, unchanged, to see whether it repeats itself")
        again, _ = self._attempt(Uniform(), first.size)
        return replace(found, repeats=_repeats(first, again, max(after, found.target)))

    def _attempt(
        self, source: Source, size: Size, swap_after: int | None = None, share: float = 1.0
    ) -> tuple[ToyRun, Size | None]:
        with _hostile_folder() as folder:
            try:
                prepared = prepare(
                    self.submission,
                    self.configuration,
                    self.record,
                    source=source,
                    size=size,
                    seed=self.seed,
                    work=folder,
                    trace="ledger" if self.options.trace else "none",
                    python=self.python,
                    limits=Limits(seconds=share * self.time.left),
                    losses=self.options.trace and self.options.swap,
                    swap_after=swap_after,
                    devices=self.devices,
                )
            except StageError as error:
                raise NotRunError(str(error)) from error
            outcome = run_job(prepared.stage.job, self.confinement)
        toy = self._read(prepared, outcome, size)
        # a late error matters only when the line that carries the claim had not been printed
        step = next_step(outcome, size, printed_metric=toy.reported is not None and toy.reported.tied)
        if step is None:
            return toy, None
        return replace(toy, reported=None, failure=f"{step.failure.value}: {step.detail}"), step.next_size

    def _read(self, prepared: Prepared, outcome: Outcome, size: Size) -> ToyRun:
        metrics = printed_metrics(outcome.stdout)
        stream = prepared.validation
        if size.ranks > 1:
            stream = replace(stream, source=f"{stream.source}, {size.ranks} ranks")
        return ToyRun(
            stage=prepared.stage,
            size=size,
            stream=stream,
            outcome=outcome,
            metrics=metrics,
            reported=reported_metric(metrics, self.record, self.source),
            text_bytes=prepared.text_bytes,
            byte_mistakes=known_mistakes(prepared.bytes_of, prepared.validation.tokens),
            trace=read_trace(outcome.records, Places(self.submission, SUBMISSION)) if self.options.trace else None,
        )
