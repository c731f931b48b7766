"""One call: find the artifact and the text, run the evaluation confined, score the model independently, compare."""

from __future__ import annotations

import importlib.util
import math
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auditor.configuration import RunConfiguration
from auditor.record.claimed_line import claim_logs
from auditor.record.model import MetricLine, Record, RunLog
from auditor.rescore.artifact import find_artifact
from auditor.rescore.comparison import paired
from auditor.rescore.model import (
    Artifact,
    Cut,
    Independent,
    Launch,
    Pair,
    Replay,
    RescoreReport,
    Score,
    Text,
    Training,
    Way,
)
from auditor.rescore.stage import ALL, PLAIN, lay_out, scratch, script_of
from auditor.rescore.switches import eval_only_switches
from auditor.rescore.text_data import DataError, TextData, find_text
from auditor.rescore.training import NO_SHARDS, ON_GPUS, Trainer, has_training_shards, launches_on_gpus
from auditor.run.model import GIB, MISSING_TORCH, Confinement, Limits, NoConfinementError, Outcome
from auditor.run.printed import PrintedMetric, printed_metrics
from auditor.run.sandbox import find_confinement, run_job
from auditor.run.stage.ladder import classify
from auditor.run.stage.places import places_of
from auditor.run.stage.settings import defaults_of, reported, sources_of, vocabulary_of
from auditor.submission.model import Submission
from rules.base import ValidationText
from rules.rescored import NOISE_BPB, PROOF_BPB

MAX_LOGS = 40  # that a replay is compared with, where sizes do not tell which run is the artifact's
NO_WAY = "it has no switch to evaluate only, and where it reads its artifact was not found: nothing was run"
_ON_CPU = re.compile(r"\bdevice\s{0,3}[:=]\s{0,3}['\"]?cpu\b", re.IGNORECASE)
_NEEDS_GPU = re.compile(r"cuda|nvidia|gpu|flash|triton|bfloat16|nccl", re.IGNORECASE)


class NotRescoredError(Exception):
    """Nothing could be rescored. The message is the one line the user sees."""


@dataclass(frozen=True, slots=True)
class RescoreOptions:
    """How to rescore. `data` is the folder of the validation text; None: data made for the audit.

    `python` is an interpreter that has torch; `seconds` the wall clock of one evaluation; `cut` starts scripts at their
    artifact even where they have a switch of their own.
    """

    data: Path | None = None
    python: str = ""
    seconds: float = 600.0
    retrain: bool = False
    cut: bool = False
    seed: int | None = None
    progress: Callable[[str], None] | None = None

    def tell(self, text: str) -> None:
        """Say what happens now, where somebody wants to know."""
        if self.progress:
            self.progress(text)


def rescore_witness(
    submission: Submission,
    configuration: RunConfiguration,
    record: Record,
    text: ValidationText,
    options: RescoreOptions | None = None,
) -> RescoreReport:
    """Evaluate the artifact again. Raises NotRescoredError when nothing can be done."""
    options = options or RescoreOptions()
    if not options.python and importlib.util.find_spec("torch") is None:
        raise NotRescoredError(MISSING_TORCH)
    if submission.script is None:
        raise NotRescoredError("the submission has no script to run")
    artifact = find_artifact(submission, record)
    if artifact is None and not options.retrain:
        raise NotRescoredError("the folder holds no artifact to evaluate (--retrain makes one)")
    try:
        confinement = find_confinement()
    except NoConfinementError as error:
        raise NotRescoredError(str(error)) from error
    vocabulary, _ = vocabulary_of(submission, configuration)
    replay, independent = None, None
    reasons: list[str] = []
    training: list[Training] = []
    launches: tuple[Launch, ...] = ()
    with scratch() as work:
        data = _text(submission, configuration, options, vocabulary, work)
        if artifact is not None:
            rescorer = _Rescorer(
                submission, configuration, record, artifact, data, options, confinement, vocabulary, work
            )
            replay, independent = rescorer.evaluate()
            if replay is None:
                reasons.append(NO_WAY)
            else:
                artifact = replay.artifact
        if options.retrain:
            python = options.python or sys.executable
            trainer = Trainer(submission, configuration, record, options, confinement, python, vocabulary, work)
            training, launches, why = _trained(trainer, data, artifact)
            reasons += [why] if why else []
    return RescoreReport(
        text=_described(data, text),
        confinement=confinement,
        artifact=artifact,
        code_bytes=_code_bytes(submission),
        replay=replay,
        independent=independent,
        training=tuple(training),
        launches=launches,
        reasons=tuple(reasons),
        claim_on_cpu=_claimed_on_cpu(artifact.log if artifact else None, record),
        settings_known=_settings_known(configuration),
    )


def _trained(
    trainer: Trainer, data: TextData, artifact: Artifact | None
) -> tuple[list[Training], tuple[Launch, ...], str]:
    """Training again as far as this machine can, how a machine with GPUs goes further, and why this one cannot."""
    record = trainer.record
    launches: tuple[Launch, ...] = ()
    log = next(iter(claim_logs(record)), None)
    if not _claimed_on_cpu(log, record):
        launches = launches_on_gpus(trainer.submission, trainer.configuration, record)
        why = ON_GPUS.format(command=" ".join(launches[0].command))
    elif data.drawn or not has_training_shards(data):
        why = NO_SHARDS
    else:
        return list(trainer.as_reported(data, artifact.seed if artifact else None)), (), ""
    return list(trainer.at_toy_size()), launches, why


def _text(
    submission: Submission, configuration: RunConfiguration, options: RescoreOptions, vocabulary: int, work: Path
) -> TextData:
    defaults = defaults_of(submission)
    if options.data is None:
        from auditor.rescore.drawn_text import draw_text

        seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
        return draw_text(
            work / "drawn", vocabulary, seed, sidecar=_wants_sidecar(submission, configuration, vocabulary)
        )
    names = [reported(name, configuration, defaults)[0] for name in ("DATA_PATH", "DATASETS_DIR", "DATASET_DIR")]
    tokenizers = [reported(name, configuration, defaults)[0] for name in ("TOKENIZER_PATH", "TOKENIZER_MODEL")]
    try:
        return find_text(options.data, [name for name in names if name], [n for n in tokenizers if n], vocabulary)
    except DataError as error:
        raise NotRescoredError(str(error)) from error


def _wants_sidecar(submission: Submission, configuration: RunConfiguration, vocabulary: int) -> bool:
    """Whether the script reads the bytes of each token from a file beside the shards, in the reported run."""
    flag, _ = reported("CASEOPS_ENABLED", configuration, defaults_of(submission))
    texts = (source.text for source in sources_of(submission))
    return places_of(texts, vocabulary, flag not in ("0", "False", "false")).sidecar


def _described(data: TextData, text: ValidationText) -> Text:
    canonical = data.is_text_of(text.text_bytes)
    why = ""
    if data.drawn:
        why = "no validation text was given (--data), so the score on it is not known"
    elif not canonical:
        why = f"the text given has {data.text_bytes:,} bytes; {text.name} has {text.text_bytes:,}"
    return Text(data.name, data.targets, data.text_bytes, data.sha256, canonical, data.drawn, dict(data.mistakes), why)


def _code_bytes(submission: Submission) -> int:
    wanted = script_of(submission)
    return next((file.size for file in submission.files if submission.relative(file.path) == wanted), 0)


def _claimed_on_cpu(log: RunLog | None, record: Record) -> bool:
    """Whether the log of a run, or submission.json, says that no GPU was used."""
    if log is not None and any(_ON_CPU.search(line[:200]) for line in log.raw_lines):
        return True
    hardware = record.statement.fields.get("hardware")
    return isinstance(hardware, str) and hardware.strip().lower() == "cpu"


def _settings_known(configuration: RunConfiguration) -> bool:
    """Whether a log prints the settings of the claimed run."""
    return any(setting.source == "log" for setting in configuration.environment.values())


@dataclass(frozen=True, slots=True)
class _Rescorer:
    submission: Submission
    configuration: RunConfiguration
    record: Record
    artifact: Artifact
    data: TextData
    options: RescoreOptions
    confinement: Confinement
    vocabulary: int
    work: Path

    def evaluate(self) -> tuple[Replay | None, Independent | None]:
        """Replay and independent score: as on a machine without a GPU, then with what stands in for one."""
        plain = _claimed_on_cpu(self.artifact.log, self.record)
        replay, independent = None, None
        for way, switches, cut in self._ways():
            for standing_in in (False, True) if plain else (True,):
                self.options.tell(f"evaluating {self.artifact.path} ({way.value})")
                replay, independent = self._run(way, switches, cut, standing_in)
                if not replay.failure:
                    return self._steady(replay), independent
                if standing_in or not _NEEDS_GPU.search(replay.failure):
                    break
        return replay, independent

    def _steady(self, replay: Replay) -> Replay:
        """A replay that gives less than the claim, with a second one under another seed: is the evaluation random?"""
        if not any((pair.difference_bpb or 0.0) < -PROOF_BPB for pair in replay.pairs):
            return replay
        self.options.tell("evaluating it once more with another seed")
        seed = (self.artifact.seed or 0) + 1
        again, _ = self._run(replay.way, replay.switches, replay.cut, replay.standing_in, seed)
        if again.failure or len(again.metrics) != len(replay.metrics):
            return replace(replay, steady=False)
        moved = [
            abs((one.score.val_bpb or 0.0) - (other.score.val_bpb or 0.0))
            for one, other in zip(replay.metrics, again.metrics, strict=True)
        ]
        return replace(replay, steady=max(moved) <= NOISE_BPB)

    def _ways(self) -> Iterator[tuple[Way, Mapping[str, str], Cut | None]]:
        switches = {} if self.options.cut else eval_only_switches(self.submission)
        if switches:
            yield Way.SWITCH, switches, None
        from auditor.rescore.cut import cut_out

        cut = cut_out(self.submission, self.artifact)
        if cut is not None:
            yield Way.CUT, {}, cut

    def _run(
        self, way: Way, switches: Mapping[str, str], cut: Cut | None, standing_in: bool, seed: int | None = None
    ) -> tuple[Replay, Independent]:
        with scratch(self.work) as folder:
            job, settings = lay_out(
                self.submission,
                self.configuration,
                work=folder,
                text=self.data,
                artifact=self.artifact,
                switches=switches,
                cut=cut,
                seed=self.artifact.seed if seed is None else seed,
                standins=ALL if standing_in else PLAIN,
                python=self.options.python or sys.executable,
                limits=Limits(seconds=self.options.seconds, memory_bytes=8 * GIB),
                reference=_reference(),
                vocabulary=self.vocabulary,
            )
            outcome = run_job(job, self.confinement)
        replay = self._replay(way, switches, cut, standing_in, outcome, settings)
        return replay, independent_of(outcome)

    def _replay(
        self,
        way: Way,
        switches: Mapping[str, str],
        cut: Cut | None,
        standing_in: bool,
        outcome: Outcome,
        settings: Mapping[str, tuple[str, str]],
    ) -> Replay:
        metrics = printed_metrics(outcome.stdout)
        artifact, pairs, missing = self._beside_log(metrics)
        read = any(record.get("event") == "artifact read" for record in _told(outcome))
        failure = ""
        if not outcome.completed or not any(metric.final for metric in metrics):
            kind, detail = classify(outcome)
            failure = f"{kind.value}: {detail}" if not outcome.completed else "it printed no score"
        elif not read:
            failure = "it did not read the artifact"
        return Replay(
            artifact=artifact,
            way=way,
            switches=switches,
            cut=cut,
            outcome=outcome,
            metrics=metrics,
            pairs=tuple(pairs),
            missing=tuple(missing),
            failure=failure,
            standing_in=standing_in,
            settings=settings,
            artifact_read=read,
        )

    def _beside_log(self, metrics: Sequence[PrintedMetric]) -> tuple[Artifact, list[Pair], list[MetricLine]]:
        """The printed scores beside the log of the artifact's run; where sizes do not tell which, scores may."""
        own = self.artifact
        logs = [own.log] if own.log is not None and own.by_size else claim_logs(self.record) or list(self.record.logs)
        best: tuple[Artifact, list[Pair], list[MetricLine]] = own, [], []
        for log in logs[:MAX_LOGS]:
            pairs, missing = paired(metrics, log, self.record)
            found = [Pair(*pair) for pair in pairs]
            if not best[1] or sum(pair.exact for pair in found) > sum(pair.exact for pair in best[1]):
                tied = any(pair.exact for pair in found) or log is own.log or len(logs) == 1
                best = own.of_run(log) if tied else own, found, missing
        return best


def _reference() -> Path | None:
    """The folder of the reference pipeline's package."""
    spec = importlib.util.find_spec("reference_pipeline")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def independent_of(outcome: Outcome) -> Independent:
    """What the copy of the process reported of the model."""
    scores, method, future, failures = [], "", None, []
    for record in _told(outcome):
        event = record.get("event")
        if event == "model":
            method = str(record.get("method", ""))[:80]
            failures += [str(record["failure"])] if "failure" in record else []
        elif event == "score" and (score := _score(record)) is not None:
            scores.append(score)
        elif event == "look ahead" and isinstance(moved := record.get("moved"), int | float):
            future = float(moved)
        elif event in ("failed", "not scored"):
            name = f"{record.get('name')}: " if event == "not scored" else ""
            failures.append(f"{name}{record.get('why', '')}"[:300])
    if not method and not failures:
        failures.append("the script did not call a model after reading the artifact")
    if method and not scores and not failures:
        failures.append("it took too long")
    return Independent(tuple(scores), method, "; ".join(failures), future)


def _told(outcome: Outcome) -> Iterator[Mapping[str, object]]:
    return (record for record in outcome.records if record.get("kind") == "rescore")


def _score(record: Mapping[str, object]) -> Score | None:
    name, loss, bpb, targets = (record.get(key) for key in ("name", "val_loss", "val_bpb", "targets"))
    if not isinstance(loss, int | float) or not isinstance(bpb, int | float) or not isinstance(targets, int):
        return None
    if not math.isfinite(loss) or not math.isfinite(bpb):
        return None
    return Score(str(name)[:40], float(loss), float(bpb), targets)
