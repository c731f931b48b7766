"""One evaluation, ready for the sandbox: private copy with the artifact, the text, the reported settings, the job."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from auditor import rescore, run
from auditor.configuration import RunConfiguration
from auditor.rescore.artifact import names_in
from auditor.rescore.model import Artifact, Cut
from auditor.rescore.switches import ARTIFACT
from auditor.rescore.text_data import BYTE_LEVEL, TextData
from auditor.run.model import Bind, Job, Limits
from auditor.run.sandbox import remove_tree
from auditor.run.stage.folder import copy_folder
from auditor.run.stage.places import DATA, SUBMISSION, Places, link_data, link_roots, places_of
from auditor.run.stage.settings import Settings, defaults_of, reported, sources_of
from auditor.submission.model import Submission

SPEC = "/audit/spec.json"
START = "/audit/rescore/start.py"
INSIDE = Path(rescore.__file__).parent / "inside"
STAND_INS = Path(run.__file__).parent / "inside"
REFERENCE = "/audit/reference"

# What a machine without a GPU needs to run a script that was written for a CPU as well.
PLAIN = ("clock", "programs", "packages", "compile", "losses", "recurrences", "loading")
WITH_REAL_CLOCK = tuple(name for name in PLAIN if name != "clock")  # training may stop by the clock
ALL = "all"
REPORTED, OF_AUDIT = "reported run", "audit"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,80}")
_VALUE = re.compile(r"[^\x00\ud800-\udfff]{1,2000}")
# Of the interpreter, the loader and the launch; the audit sets its own, or none.
_NOT_PASSED_ON = re.compile(
    r"PYTHON.*|LD_.*|PATH|HOME|TMPDIR|PGOLF_.*|RANK|LOCAL_RANK|WORLD_SIZE|MASTER_.*|CUDA_.*|NCCL_.*|RUN_ID"
)


@contextmanager
def scratch(below: Path | None = None) -> Iterator[Path]:
    """A folder for one run, removed afterwards whatever hostile code made of it."""
    folder = tempfile.mkdtemp(prefix="pgolf-rescore-", dir=below)
    try:
        yield Path(folder)
    finally:
        remove_tree(folder)


@dataclass(frozen=True, slots=True)
class Toy:
    """How a toy run was set up, for an evaluation under the same conditions."""

    settings: Settings
    overrides: Sequence[Mapping[str, object]]
    argv: Sequence[str]


def lay_out(
    submission: Submission,
    configuration: RunConfiguration,
    *,
    work: Path,
    text: TextData,
    artifact: Artifact | None,
    seed: int | None,
    switches: Mapping[str, str],
    cut: Cut | None,
    standins: str | Sequence[str],
    python: str,
    limits: Limits,
    reference: Path | None,
    vocabulary: int,
    toy: Toy | None = None,
) -> tuple[Job, Settings]:
    """Write one run below `work`, an empty folder of the auditor; the job and the settings of the script.

    Without `artifact` it trains. `seed` is the reported run's. `reference` is the folder of the reference pipeline's
    package, None to leave the independent score out. `toy` repeats a toy run's conditions instead of the reported ones.
    """
    copy = work / "submission"
    copy_folder(submission, copy)
    inside = _place_artifact(submission, artifact, copy) if artifact else []
    places = _places(submission, text, vocabulary)
    binds = _show_text(work / "data", text, places, copy)
    settings = settings_of(submission, configuration, seed, places, text)
    if toy:
        settings = {**toy.settings, **{name: entry for name, entry in settings.items() if entry[1] == OF_AUDIT}}
    for name, value in switches.items():
        settings[name] = (value.replace(ARTIFACT, f"{SUBMISSION}/{inside[0] if inside else ''}"), OF_AUDIT)
    spec = {
        "script": script_of(submission),
        "argv": list(toy.argv) if toy else [],
        "overrides": list(toy.overrides) if toy else [],
        "seed": 1,
        "threads": 1,
        "standins": standins if isinstance(standins, str) else list(standins),
        "cuts": [_cut_spec(submission, cut)] if cut else [],
        "artifacts": [f"{SUBMISSION}/{name}" for name in inside],
        "vocabulary": vocabulary,
        "reference": REFERENCE if reference else "",
        "reference_settings": reference_settings(submission, configuration, places, text, vocabulary),
        "seconds": limits.seconds,
    }
    (work / "spec.json").write_text(json.dumps(spec, indent=1))
    environment = {
        **{name: value for name, (value, _) in settings.items()},
        "PATH": "/audit/inside/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp/home",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    job = Job(
        command=(python, "-P", "-s", "-B", START, SPEC),
        folder=SUBMISSION,
        environment=environment,
        binds=(
            Bind(STAND_INS, "/audit/inside"),
            Bind(INSIDE, "/audit/rescore"),
            Bind(work / "spec.json", SPEC),
            Bind(work / "data", DATA),
            Bind(copy, SUBMISSION, writable=True),
            *([Bind(reference, f"{REFERENCE}/{reference.name}")] if reference else ()),
            *binds,
        ),
        limits=limits,
    )
    return job, settings


def script_of(submission: Submission) -> str:
    """The stored file that starts the run, relative to the record folder."""
    script = submission.script
    assert script is not None
    return submission.relative((script.wrapper_path or script.path).partition("!")[0])


def settings_of(
    submission: Submission, configuration: RunConfiguration, seed: int | None, places: Places, text: TextData
) -> Settings:
    """The variables of the reported run with this seed, its places those of the audit."""
    settings = reported_settings(submission, configuration, seed)
    defaults = defaults_of(submission)
    for name, value in targets(places, text).items():
        if name in defaults or name in settings:
            settings[name] = (value, OF_AUDIT)
    return settings


def reported_settings(submission: Submission, configuration: RunConfiguration, seed: int | None) -> Settings:
    """What the reported run set, with this seed: none of the machine's own variables, no default of the script."""
    settings: Settings = {}
    defaults = defaults_of(submission)
    for name in dict.fromkeys((*defaults, *configuration.environment)):
        value, source = reported(name, configuration, defaults)
        if source == "default" or not _NAME.fullmatch(name) or _NOT_PASSED_ON.fullmatch(name):
            continue
        if _VALUE.fullmatch(value):
            settings[name] = (value, source)
    if seed is not None and ("SEED" in defaults or "SEED" in settings):
        settings["SEED"] = (str(seed), REPORTED)
    return settings


def targets(places: Places, text: TextData) -> dict[str, str]:
    """Variables that say where data lies, by the names that scripts use."""
    tokenizer = places.tokenizer if text.tokenizer else BYTE_LEVEL
    return {
        "DATA_PATH": places.data_set,
        "DATASETS_DIR": places.data_set,
        "DATASET_DIR": places.data_set,
        "DATA_DIR": DATA,
        "TRAIN_FILES": f"{places.data_set}/fineweb_train_*.bin",
        "VAL_FILES": f"{places.data_set}/fineweb_val_[0-9]*.bin",
        "VAL_BYTES_FILES": f"{places.data_set}/fineweb_val_bytes_*.bin",
        "TOKENIZER_PATH": tokenizer,
        "TOKENIZER_MODEL": tokenizer,
    }


# Settings of the reference's scorer and of its score-first loop; submissions read them under the same names.
REFERENCE_SETTINGS = (
    *("BOS_ID", "SEED", "EVAL_SEQ_LEN", "EVAL_STRIDE", "VAL_BATCH_SIZE", "TRAIN_SEQ_LEN", "DOCUMENT_EVAL_ENABLED"),
    *("TTT_ENABLED", "TTT_LR", "TTT_MOMENTUM", "TTT_EPOCHS", "TTT_CHUNK_TOKENS", "TTT_BATCH_SEQS", "TTT_GRAD_CLIP"),
    *("LORA_TTT_ENABLED", "TTT_LORA_RANK", "TTT_LORA_LR", "TTT_LORA_CHUNK", "TTT_DOC_BATCH", "PHASED_TTT_ENABLED"),
    *("PHASED_TTT_NUM_PHASES", "GLOBAL_TTT_LR", "GLOBAL_TTT_EPOCHS"),
)


def reference_settings(
    submission: Submission, configuration: RunConfiguration, places: Places, text: TextData, vocabulary: int
) -> dict[str, str]:
    """The environment under which the reference's scorer reads this text, with the submission's own sizes and rates."""
    defaults = defaults_of(submission)
    chosen = {name: reported(name, configuration, defaults)[0] for name in REFERENCE_SETTINGS}
    known = {name: value for name, value in chosen.items() if _NUMBER.fullmatch(value)}
    if "EVAL_SEQ_LEN" not in known and "TRAIN_SEQ_LEN" in known:
        known["EVAL_SEQ_LEN"] = known["TRAIN_SEQ_LEN"]
    return {
        **known,
        "DATA_PATH": places.data_set,
        "TOKENIZER_PATH": places.tokenizer if text.tokenizer else BYTE_LEVEL,
        "VOCAB_SIZE": str(vocabulary),
    }


_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{1,12})?(?:e-?\d{1,3})?")


def _place_artifact(submission: Submission, artifact: Artifact, copy: Path) -> list[str]:
    """Write the artifact under its own name and under those that the script reads; all of them, its own first."""
    own = PurePosixPath(artifact.path)
    suffix = own.suffix.lower()
    names = [str(own)]
    names += [
        name for name in names_in(submission) if PurePosixPath(name).suffix.lower() == suffix and name != str(own)
    ]
    written = []
    for name in dict.fromkeys(str(PurePosixPath(name)) for name in names):
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            continue
        path = copy / relative
        if path.exists():
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(artifact.file.data or b"")
        except OSError:  # a name that the script spells out and no file can have here
            continue
        written.append(name)
    return written


def _places(submission: Submission, text: TextData, vocabulary: int) -> Places:
    guessed = places_of([source.text for source in sources_of(submission)], vocabulary, text.sidecar)
    tokenizer = text.tokenizer.name if text.tokenizer else guessed.tokenizers[0]
    return Places(
        (text.name, *(name for name in guessed.data_sets if name != text.name)),
        (tokenizer, *(name for name in guessed.tokenizers if name != tokenizer)),
        guessed.roots,
        text.sidecar,
    )


def _show_text(data: Path, text: TextData, places: Places, copy: Path) -> tuple[Bind, ...]:
    """Where the text appears inside: its folder and tokenizer below DATA, and under the names the script has."""
    (data / "datasets" / text.name).mkdir(parents=True)
    (data / "tokenizers").mkdir()
    if text.tokenizer:
        (data / "tokenizers" / text.tokenizer.name).write_bytes(text.tokenizer.read_bytes())
    link_data(places, data)
    binds = list(link_roots(places, copy, data))
    shown = [DATA, *(bind.target for bind in binds)]
    return (*binds, *(Bind(text.folder, f"{root}/datasets/{text.name}") for root in shown))


def _cut_spec(submission: Submission, cut: Cut) -> dict[str, object]:
    """The cut by the hash of the text it belongs to, which is how it is recognised inside."""
    script = submission.script
    assert script is not None
    data = script.text.encode("utf-8", "surrogatepass")
    hashes = [hashlib.sha256(data).hexdigest(), *([] if script.packed else [script.sha256])]
    return {"sha256": hashes, "spans": [[span.first, span.last, span.column] for span in cut.spans]}
