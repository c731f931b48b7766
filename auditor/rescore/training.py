"""Training again, where the folder holds no artifact: as reported on a CPU, else at toy size.

A claim that was made on a CPU is trained again as reported: its seeds, its settings, its training shards, in the
sandbox. One that was made on GPUs would need them inside the sandbox, which shows none; the report then gives the
settings and the torchrun command of every seed for a machine set apart for it, and says *not checked*. At toy size each
seed is trained on the run witness's stage: the script trains, writes its artifact, and that artifact alone must give
the scores again.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.configuration import RunConfiguration
from auditor.record.claimed_line import claim_logs, seed_of
from auditor.record.model import Record, RunLog
from auditor.rescore.artifact import artifact_of, names_in
from auditor.rescore.comparison import paired
from auditor.rescore.cut import cut_out
from auditor.rescore.model import Artifact, Launch, Pair, RescoreReport, Scale, Training, log_name
from auditor.rescore.stage import ALL, WITH_REAL_CLOCK, Toy, lay_out, reported_settings, scratch, script_of
from auditor.rescore.switches import eval_only_switches
from auditor.rescore.text_data import TextData, find_text
from auditor.run.model import GIB, Confinement, Limits, Outcome, Size
from auditor.run.printed import PrintedMetric, printed_metrics, shape
from auditor.run.sandbox import run_job
from auditor.run.sources import Uniform
from auditor.run.stage import Prepared, StageError, prepare
from auditor.run.stage.ladder import classify, next_step
from auditor.run.stage.prepare import SCRIPT_SEED
from auditor.submission.model import Role, StoredFile, Submission

if TYPE_CHECKING:
    from auditor.rescore.witness import RescoreOptions

MAX_SEEDS = 8
MAX_FILES = 10_000  # of a run's folder that are looked at
MAX_ARTIFACT_BYTES = 64 * 1024 * 1024
MAX_GPUS = 8
ON_GPUS = (
    "the claim was made on GPUs, which the sandbox does not show: on a machine set apart for it, run {command} in the "
    "record folder under the settings of the claim (--keep-logs DIR writes them down as DIR/retrain.sh)"
)
NO_SHARDS = "training as reported needs the training shards beside the validation text (--data)"


@dataclass(frozen=True, slots=True)
class Trainer:
    """One submission to be trained again. `text` is None where no data is given."""

    submission: Submission
    configuration: RunConfiguration
    record: Record
    options: RescoreOptions
    confinement: Confinement
    python: str
    vocabulary: int
    work: Path

    def as_reported(self, text: TextData, done: int | None) -> Iterator[Training]:
        """Every claimed seed but `done`, whose artifact was evaluated, trained under its own settings."""
        for log in claim_logs(self.record)[:MAX_SEEDS]:
            seed = seed_of(log)
            if seed is None or seed == done:
                continue
            self.options.tell(f"training seed {seed} again as reported")
            yield self._seed(text, log, seed)

    def _seed(self, text: TextData, log: RunLog, seed: int) -> Training:
        with scratch(self.work) as folder:
            job, _ = lay_out(
                self.submission,
                self.configuration,
                work=folder,
                text=text,
                artifact=None,
                seed=seed,
                switches={},
                cut=None,
                standins=WITH_REAL_CLOCK,
                python=self.python,
                limits=Limits(seconds=self.options.seconds, memory_bytes=8 * GIB),
                reference=None,
                vocabulary=self.vocabulary,
            )
            outcome = run_job(job, self.confinement)
        metrics = printed_metrics(outcome.stdout)
        pairs, _ = paired(metrics, log, self.record)
        return Training(
            Scale.REPORTED,
            seed,
            outcome.seconds,
            metrics,
            _failure(outcome, metrics),
            tuple(Pair(*pair) for pair in pairs),
            log=outcome.stdout,
        )

    def at_toy_size(self) -> Iterator[Training]:
        """A toy run of every claimed seed, and an evaluation of the artifact that it leaves."""
        for seed in claimed_seeds(self.record) or (None,):
            yield self._toy(seed)

    def _toy(self, seed: int | None) -> Training:
        size: Size | None = Size()
        named = "" if seed is None else f"seed {seed} "
        while size is not None:
            self.options.tell(f"training {named}at toy size ({size.label})")
            with scratch(self.work) as work:
                try:
                    prepared = self._prepared(work, size, seed)
                except StageError as error:
                    return Training(Scale.TOY, seed, 0.0, (), str(error))
                before = _files(work / "submission")
                outcome = run_job(prepared.stage.job, self.confinement)
                metrics = printed_metrics(outcome.stdout)
                step = next_step(outcome, size, printed_metric=any(metric.final for metric in metrics))
                if step is None or step.next_size is None:
                    failure = _failure(outcome, metrics)
                    left = None if failure else self._artifact(work / "submission", before)
                    again = self._again(work, prepared, left) if left else None
                    return _toy(seed, outcome, metrics, failure, left, again)
            size = step.next_size
        raise AssertionError("a ladder ends with a step that has no next size")

    def _prepared(self, work: Path, size: Size, seed: int | None) -> Prepared:
        return prepare(
            self.submission,
            self.configuration,
            self.record,
            source=Uniform(),
            size=size,
            seed=self.options.seed or 0,
            work=work,
            python=self.python,
            limits=Limits(seconds=self.options.seconds),
            script_seed=SCRIPT_SEED if seed is None else seed,
        )

    def _artifact(self, folder: Path, before: Mapping[str, float]) -> Artifact | None:
        """The weights file that a toy run left: the compressed one that the script's text names, else the smallest."""
        names = {Path(name).name: place for place, name in enumerate(names_in(self.submission))}
        made = [folder / name for name, when in _files(folder).items() if before.get(name) != when]
        weights = [path for path in made if path.name in names and 0 < path.stat().st_size <= MAX_ARTIFACT_BYTES]
        if not weights:
            return None
        path = min(weights, key=lambda path: path.stat().st_size)
        data = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        return artifact_of(StoredFile(name, len(data), Role.ARTIFACT, data), name)

    def _again(self, work: Path, prepared: Prepared, artifact: Artifact) -> tuple[PrintedMetric, ...]:
        """The scores of the artifact alone, under the toy run's conditions."""
        spec = json.loads((work / "spec.json").read_text())
        sets = sorted(path.name for path in (work / "data" / "datasets").iterdir() if not path.is_symlink())
        tokenizers = sorted(path.name for path in (work / "data" / "tokenizers").iterdir() if not path.is_symlink())
        text = find_text(work / "data", sets[:1], tokenizers[:1], prepared.vocabulary, drawn=True)
        switches = {} if self.options.cut else eval_only_switches(self.submission)
        cut = None if switches else cut_out(self.submission, artifact)
        if not switches and cut is None:
            return ()
        with scratch(self.work) as folder:
            job, _ = lay_out(
                self.submission,
                self.configuration,
                work=folder,
                text=text,
                artifact=artifact,
                seed=None,
                switches=switches,
                cut=cut,
                standins=ALL,
                python=self.python,
                limits=Limits(seconds=self.options.seconds, memory_bytes=8 * GIB),
                reference=None,
                vocabulary=prepared.vocabulary,
                toy=Toy(dict(prepared.stage.settings), spec["overrides"], spec["argv"]),
            )
            return printed_metrics(run_job(job, self.confinement).stdout)


def claimed_seeds(record: Record) -> tuple[int, ...]:
    """The seeds of the claim: those it names, else those of its logs."""
    named = [seed.seed for seed in record.statement.seeds]
    seeds = named or [seed for log in claim_logs(record) if (seed := seed_of(log)) is not None]
    return tuple(dict.fromkeys(seeds))[:MAX_SEEDS]


def launches_on_gpus(submission: Submission, configuration: RunConfiguration, record: Record) -> tuple[Launch, ...]:
    """What trains each seed of the claim again at full size, on as many GPUs as its logs name (1 to 8; else 8)."""
    worlds = [log.world_size for log in record.logs if log.world_size]
    gpus = max(1, min(max(worlds, default=MAX_GPUS), MAX_GPUS))
    return tuple(
        Launch(
            seed,
            gpus,
            script_of(submission),
            {name: value for name, (value, _) in reported_settings(submission, configuration, seed).items()},
        )
        for seed in claimed_seeds(record) or (None,)
    )


def shell_script(launches: Sequence[Launch]) -> str:
    """The launches as a script for a machine with GPUs: one run after the other, each run's log kept.

    Every word of the submission is quoted; its names are those of environment variables.
    """
    lines = [
        "#!/bin/sh",
        "# Trains every seed of the claim again: sh retrain.sh RECORD-FOLDER LOG-FOLDER",
        "# This executes the submission's own code without a sandbox, on a machine set apart for it.",
        "# Data and tokenizer lie where the settings say; change these paths where they lie elsewhere.",
        "set -eu",
        'logs=$(cd "$2" && pwd)',
        'cd "$1"',
    ]
    for launch in launches:
        words = [f"{name}={shlex.quote(value)}" for name, value in launch.environment.items()]
        words.append(shlex.join(launch.command))
        lines += ["", " \\\n    ".join(["env", *words, f'>"$logs/{launch.log}" 2>&1'])]
    return "\n".join(lines) + "\n"


def kept_files(report: RescoreReport) -> dict[str, bytes]:
    """What --keep-logs keeps, by name: the whole output of each training run, and the launches at full size."""
    files = {log_name(training.seed): training.log for training in report.training}
    return files | ({"retrain.sh": shell_script(report.launches).encode()} if report.launches else {})


def has_training_shards(text: TextData) -> bool:
    """Whether the data given holds what training reads."""
    return any(text.folder.glob("fineweb_train_*.bin"))


def _toy(
    seed: int | None,
    outcome: Outcome,
    metrics: tuple[PrintedMetric, ...],
    failure: str,
    artifact: Artifact | None,
    again: Sequence[PrintedMetric] | None,
) -> Training:
    compared = _compared(metrics, again or ())
    if not failure and artifact is None:
        failure = "it left no artifact"
    elif not failure and not compared:
        failure = "its artifact could not be evaluated alone"
    repeated = sum(_figures(one) == _figures(other) for one, other in compared)
    return Training(
        Scale.TOY,
        seed,
        outcome.seconds,
        metrics,
        failure,
        repeated=repeated,
        compared=len(compared),
        log=outcome.stdout,
    )


def _compared(
    first: Sequence[PrintedMetric], second: Sequence[PrintedMetric]
) -> list[tuple[PrintedMetric, PrintedMetric]]:
    """Final scores of both runs with the same label, from the last on."""
    left = [metric for metric in first if metric.final]
    pairs = []
    for metric in reversed([metric for metric in second if metric.final]):
        partner = next((one for one in reversed(left) if shape(one.score.label) == shape(metric.score.label)), None)
        if partner is not None:
            left.remove(partner)
            pairs.append((partner, metric))
    return pairs


def _figures(metric: PrintedMetric) -> tuple[str, str]:
    return metric.score.loss_text, metric.score.bpb_text


def _failure(outcome: Outcome, metrics: Sequence[PrintedMetric]) -> str:
    if outcome.completed and any(metric.final for metric in metrics):
        return ""
    if outcome.completed:
        return "it printed no score"
    kind, detail = classify(outcome)
    return f"{kind.value}: {detail}"


def _files(folder: Path) -> dict[str, float]:
    """Regular files below `folder` with the time of their last change; links are not followed."""
    found = islice((path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()), MAX_FILES)
    return {path.relative_to(folder).as_posix(): path.lstat().st_mtime for path in found}
