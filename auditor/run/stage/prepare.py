"""One toy run, ready for the sandbox: private copy, audit data, tokenizer, settings, the job."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from auditor import run
from auditor.configuration import RunConfiguration
from auditor.record.model import Record
from auditor.run.gpu import ENVIRONMENT, NOTE, REPLACED_BY_CARD
from auditor.run.model import Bind, Job, Limits, Size, Stage
from auditor.run.sources import BOS, Source, Stream
from auditor.run.stage.audit_data import AuditData, distinct_runs, draw_data, swapped
from auditor.run.stage.folder import copy_folder
from auditor.run.stage.knobs import Kind
from auditor.run.stage.overrides import Placed, command_line, overrides_of
from auditor.run.stage.places import DATA, SUBMISSION, Places, link_data, link_roots, places_of
from auditor.run.stage.sentencepiece_model import ByteTables, byte_tables, model_bytes
from auditor.run.stage.settings import (
    Settings,
    defaults_of,
    reported,
    settings_of,
    sources_of,
    vocabulary_of,
    vocabulary_variable,
)
from auditor.run.stage.shards import write_shard
from auditor.submission.model import Submission

INSIDE = Path(run.__file__).parent / "inside"
SPEC = "/audit/spec.json"
START = "/audit/inside/start.py"
AUDIT_DATA = "audit data"
MACHINE = str(Kind.MACHINE)
THREADS = 1
SCRIPT_SEED = 1337  # every run has the same; what is drawn anew is the data


# What torchrun sets for the first process, in a world of one.
LAUNCH = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


class StageError(Exception):
    """There is nothing to run. The message is one line."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A stage and what the auditor knows about its data.

    `validation` is the stream, `bytes_of` the byte tables of its vocabulary, `text_bytes` the official byte count of
    its predicted tokens (all but the first); `vocabulary_source` says where the vocabulary's size came from.
    """

    stage: Stage
    validation: Stream
    vocabulary: int
    bytes_of: ByteTables
    text_bytes: int
    vocabulary_source: str


def prepare(
    submission: Submission,
    configuration: RunConfiguration,
    record: Record,
    *,
    source: Source,
    size: Size,
    seed: int,
    work: Path,
    trace: str = "none",
    python: str = sys.executable,
    limits: Limits | None = None,
    losses: bool = False,
    swap_after: int | None = None,
    script_seed: int = SCRIPT_SEED,
    devices: tuple[str, ...] = (),
) -> Prepared:
    """Lay out one run below `work`, an empty folder of the auditor.

    `seed` draws the audit data; the script does not learn it, its own is `script_seed`. `losses` asks the tracer for
    the loss of each position. With `swap_after` the validation text after that position is drawn anew, everything else
    is the same. With the `devices` of a graphics card the script runs on that.

    Raises StageError when the submission has no script.
    """
    if submission.script is None:
        raise StageError("the submission has no script to run")
    script = _stored_script(submission)
    vocabulary, vocabulary_source = _vocabulary(submission, configuration, size)
    notes = copy_folder(submission, work / "submission")
    if not (work / "submission" / script).is_file():
        raise StageError(f"{script}: not among the files that could be copied")
    settings, left_out = settings_of(submission, configuration, size)
    if (variable := vocabulary_variable(submission)) is not None and size.vocabulary:
        settings[variable] = (str(vocabulary), str(Kind.SIZE))
    places = _places(submission, configuration, vocabulary)
    data = draw_data(source, vocabulary, size, seed)
    if swap_after is not None:
        data = replace(data, validation=swapped(data.validation, swap_after, seed))
    files = _write_data(work / "data", places, data, vocabulary)
    binds = link_roots(places, work / "submission", work / "data")
    _point(settings, submission, places, script_seed)
    if size.launched or size.ranks > 1:
        launch = LAUNCH | {"WORLD_SIZE": str(size.ranks)}
        settings.update((name, (value, MACHINE)) for name, value in launch.items())
    if not distinct_runs(data.validation.tokens):
        notes.append("some runs of 12 validation tokens occur twice")
    if devices:
        notes.append(NOTE)
    defaults = defaults_of(submission)
    placed = overrides_of(submission, defaults, size)
    spec = {
        "script": script,
        "argv": command_line(submission, size, _targets(places)),
        "seed": script_seed,
        "threads": THREADS,
        "ranks": size.ranks,
        "vocabulary": vocabulary,
        "bos": BOS,
        "trace": trace,
        "losses": losses,
        "files": {**files, **_seen_elsewhere(files, binds)},
        "overrides": [_as_json(item) for item in placed],
        "left_out": sorted(REPLACED_BY_CARD) if devices else [],
    }
    (work / "spec.json").write_text(json.dumps(spec, indent=1))
    stage = Stage(
        folder=work,
        job=_job(work, settings, binds, python, limits or Limits(), devices),
        script=script,
        settings=settings,
        overrides=tuple(item.override for item in placed),
        validation_files=tuple(path for path, role in files.items() if role == "validation"),
        training_files=tuple(path for path, role in files.items() if role == "training"),
        notes=(*notes, *left_out, *_unrecorded(record)),
    )
    tables = byte_tables(vocabulary)
    return Prepared(
        stage, data.validation, vocabulary, tables, tables.text_bytes(data.validation.tokens), vocabulary_source
    )


def _vocabulary(submission: Submission, configuration: RunConfiguration, size: Size) -> tuple[int, str]:
    """Ids of the tokenizer, and what says so: the script's own number, or a smaller one where that can be set."""
    own, why = vocabulary_of(submission, configuration)
    if not size.vocabulary or size.vocabulary >= own:
        return own, why
    if vocabulary_variable(submission) is None:
        raise StageError("the script does not read the size of its vocabulary from its environment")
    return size.vocabulary, str(Kind.SIZE)


def _stored_script(submission: Submission) -> str:
    """The stored file that starts the run, relative to the record folder."""
    script = submission.script
    assert script is not None
    return submission.relative((script.wrapper_path or script.path).partition("!")[0])


def _unrecorded(record: Record) -> tuple[str, ...]:
    return () if record.logs else ("no log: flags are those of the README's command and the script's defaults",)


def _places(submission: Submission, configuration: RunConfiguration, vocabulary: int) -> Places:
    texts = [source.text for source in sources_of(submission)]
    defaults = defaults_of(submission)
    flag, _ = reported("CASEOPS_ENABLED", configuration, defaults)
    return places_of(texts, vocabulary, flag not in ("0", "False", "false"))


def _write_data(data: Path, places: Places, drawn: AuditData, vocabulary: int) -> dict[str, str]:
    """Shards, sidecar and tokenizer below `data`; ``{path inside: role}`` of what a tracer must know."""
    folder = data / "datasets" / places.data_sets[0]
    folder.mkdir(parents=True)
    (data / "tokenizers").mkdir()
    write_shard(folder / "fineweb_val_000000.bin", drawn.validation.tokens)
    files = {f"{places.data_set}/fineweb_val_000000.bin": "validation"}
    for number, tokens in enumerate(drawn.training):
        write_shard(folder / f"fineweb_train_{number:06d}.bin", tokens)
        files[f"{places.data_set}/fineweb_train_{number:06d}.bin"] = "training"
    if places.sidecar:
        counted = byte_tables(vocabulary).token_bytes(drawn.validation.tokens)
        write_shard(folder / "fineweb_val_bytes_000000.bin", counted.astype(np.uint16))
        files[f"{places.data_set}/fineweb_val_bytes_000000.bin"] = "sidecar"
    (data / "tokenizers" / places.tokenizers[0]).write_bytes(model_bytes(vocabulary))
    link_data(places, data)
    return files


def _targets(places: Places) -> dict[str, str]:
    """Variables that say where data lies, by the names that scripts use."""
    return {
        "DATA_PATH": places.data_set,
        "DATASETS_DIR": places.data_set,
        "DATASET_DIR": places.data_set,
        "DATA_DIR": DATA,
        "TRAIN_FILES": f"{places.data_set}/fineweb_train_*.bin",
        "TRAIN_PATTERN": f"{places.data_set}/fineweb_train_*.bin",
        "VAL_FILES": f"{places.data_set}/fineweb_val_[0-9]*.bin",
        "VAL_PATTERN": f"{places.data_set}/fineweb_val_[0-9]*.bin",
        "VAL_BYTES_FILES": f"{places.data_set}/fineweb_val_bytes_*.bin",
        "TOKENIZER_PATH": places.tokenizer,
        "TOKENIZER_MODEL": places.tokenizer,
    }


def _point(settings: Settings, submission: Submission, places: Places, script_seed: int) -> None:
    """Set the variables of places and seeds that the submission reads."""
    defaults = defaults_of(submission)
    for name, value in _targets(places).items():
        if name in defaults:
            settings[name] = (value, AUDIT_DATA)
    for name in defaults:
        if name == "SEED" or name.endswith("_SEED"):
            settings[name] = (str(script_seed), MACHINE)


def _as_json(placed: Placed) -> dict[str, object]:
    return {**asdict(placed.override), **({"sha256": placed.text_sha256} if placed.text_sha256 else {})}


def _seen_elsewhere(files: Mapping[str, str], binds: tuple[Bind, ...]) -> dict[str, str]:
    """The data files under the names they have in further binds of the data folder."""
    return {bind.target + name.removeprefix(DATA): role for bind in binds for name, role in files.items()}


def _job(
    work: Path, settings: Settings, binds: tuple[Bind, ...], python: str, limits: Limits, devices: tuple[str, ...]
) -> Job:
    environment = {
        **{name: value for name, (value, _) in settings.items()},
        **(ENVIRONMENT if devices else {}),
        "PATH": "/audit/inside/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp/home",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": str(THREADS),
        "MKL_NUM_THREADS": str(THREADS),
        "OPENBLAS_NUM_THREADS": str(THREADS),
    }
    return Job(
        command=(python, "-P", "-s", "-B", START, SPEC),
        folder=SUBMISSION,
        environment=environment,
        binds=(
            Bind(INSIDE, "/audit/inside"),
            Bind(work / "spec.json", SPEC),
            Bind(work / "data", DATA),
            Bind(work / "submission", SUBMISSION, writable=True),
            *binds,
        ),
        # CUDA maps the address space of the card and of the machine into one
        limits=replace(limits, address_space_bytes=0) if devices else limits,
        devices=devices,
    )
