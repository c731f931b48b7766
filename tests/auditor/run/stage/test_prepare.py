"""What lies where after a stage was prepared, and what is kept out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditor.configuration import RunConfiguration
from auditor.record.model import Record, Statement
from auditor.run.model import Size
from auditor.run.sources import Uniform
from auditor.run.stage import Prepared, StageError, prepare
from auditor.run.stage.places import SUBMISSION
from auditor.submission.model import Role, Submission
from tests.auditor.run.stage.submissions import FOLDER, configuration, submission

SCRIPT = """
import os, glob
data_path = os.environ.get("DATA_PATH", "./data/datasets/fineweb10B_sp1024")
tokenizer_path = os.environ.get("TOKENIZER_PATH", "./data/tokenizers/fineweb_1024_bpe.model")
seed = int(os.environ.get("SEED", "1337"))
table = open("table.json").read()
"""
SIZE = Size(validation_tokens=2048, training_tokens=4096)


def stage_of(made: Submission, work: Path, settings: RunConfiguration | None = None, seed: int = 7) -> Prepared:
    record = Record(Statement(), ())
    return prepare(
        made,
        settings or RunConfiguration(),
        record,
        source=Uniform(),
        size=SIZE,
        seed=seed,
        work=work,
        python="python3",
    )


def read_shard(path: Path) -> np.ndarray:  # type: ignore[type-arg]
    header = np.fromfile(path, "<i4", 256)
    assert header[:2].tolist() == [20240520, 1]
    tokens = np.fromfile(path, "<u2", offset=1024)
    assert len(tokens) == header[2]
    return tokens


def test_the_script_is_copied_as_stored(tmp_path: Path) -> None:
    stage_of(submission(SCRIPT), tmp_path)
    assert (tmp_path / "submission/train_gpt.py").read_text() == SCRIPT


def test_logs_artifacts_and_what_no_code_names_stay_out(tmp_path: Path) -> None:
    files = {
        "train.log": (Role.LOG, b"val_bpb:1.0"),
        "final_model.int8.ptz": (Role.ARTIFACT, b"weights"),
        "notes.txt": (Role.OTHER, b"private"),
        "table.json": (Role.OTHER, b"{}"),
        "lib/fast.c": (Role.NATIVE, b"int x;"),
    }
    stage_of(submission(SCRIPT, files), tmp_path)
    copied = {path.relative_to(tmp_path / "submission").as_posix() for path in (tmp_path / "submission").rglob("*")}
    assert {"table.json", "lib/fast.c"} <= copied
    assert not {"train.log", "final_model.int8.ptz", "notes.txt"} & copied


@pytest.mark.parametrize("name", ["../escape.py", "/tmp/escape.py", "a/../../escape.py"])
def test_no_file_is_written_outside_the_copy(name: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    prepared = stage_of(submission(SCRIPT, {name: (Role.HELPER, b"evil")}), work)
    assert not list(tmp_path.rglob("escape.py"))
    assert any("not copied" in note for note in prepared.stage.notes)


def test_the_shards_hold_the_stream_and_variables_point_to_them(tmp_path: Path) -> None:
    prepared = stage_of(submission(SCRIPT), tmp_path)
    folder = tmp_path / "data/datasets/fineweb10B_sp1024"
    assert (read_shard(folder / "fineweb_val_000000.bin") == prepared.validation.tokens).all()
    assert len(list(folder.glob("fineweb_train_*.bin"))) == 2
    environment = prepared.stage.job.environment
    assert environment["DATA_PATH"] == "/audit/data/datasets/fineweb10B_sp1024"
    assert environment["TOKENIZER_PATH"] == "/audit/data/tokenizers/fineweb_1024_bpe.model"
    assert prepared.stage.validation_files == (f"{environment['DATA_PATH']}/fineweb_val_000000.bin",)


@pytest.mark.parametrize(
    "name", ["PGOLF_REPORT_FD", "PGOLF_REPORT_KEY", "LD_PRELOAD", "PATH", "PYTHONPATH", "HOME", "OMP_NUM_THREADS"]
)
def test_a_readme_cannot_set_the_auditors_own_variables(name: str, tmp_path: Path) -> None:
    made = submission(SCRIPT + f'os.environ.get("{name}")\n')
    environment = stage_of(made, tmp_path, configuration(**{name: "/evil"})).stage.job.environment
    assert environment.get(name) != "/evil"


@pytest.mark.parametrize("name", ["a\x00b.py", "x" * 300 + ".py", "\ud800.py"])
def test_names_that_no_file_system_takes_are_noted(name: str, tmp_path: Path) -> None:
    prepared = stage_of(submission(SCRIPT, {name: (Role.HELPER, b"")}), tmp_path)
    assert any("not copied" in note for note in prepared.stage.notes)


def test_the_script_does_not_learn_the_seed_of_the_data(tmp_path: Path) -> None:
    prepared = stage_of(submission(SCRIPT), tmp_path, seed=987654321)
    assert "987654321" not in (tmp_path / "spec.json").read_text()
    assert "987654321" not in prepared.stage.job.environment.values()
    assert prepared.stage.job.environment["SEED"]


def test_nothing_of_a_distributed_launch_is_in_the_environment(tmp_path: Path) -> None:
    made = submission(SCRIPT + 'rank = int(os.environ.get("RANK", 0))\n')
    environment = stage_of(made, tmp_path, configuration(RANK="3", WORLD_SIZE="8")).stage.job.environment
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & set(environment)


def test_a_launched_size_is_the_only_process_of_its_world(tmp_path: Path) -> None:
    made, record = submission(SCRIPT), Record(Statement(), ())
    prepared = prepare(
        made,
        RunConfiguration(),
        record,
        source=Uniform(),
        size=replace(SIZE, launched=True),
        seed=1,
        work=tmp_path,
        python="python3",
    )
    environment = prepared.stage.job.environment
    assert (environment["RANK"], environment["WORLD_SIZE"]) == ("0", "1")


def test_hard_coded_relative_places_lead_to_the_data(tmp_path: Path) -> None:
    stage_of(submission("import glob\nglob.glob('./data/datasets/fineweb10B_other/fineweb_val_*.bin')\n"), tmp_path)
    assert (tmp_path / "submission/data").readlink() == Path("/audit/data")
    other = tmp_path / "data/datasets/fineweb10B_other"
    assert (other / "fineweb_val_000000.bin").is_file()


def test_hard_coded_absolute_places_are_bound(tmp_path: Path) -> None:
    prepared = stage_of(submission("PATH = '/workspace/golf/data/datasets/fineweb10B_sp1024'\n"), tmp_path)
    assert "/workspace/golf/data" in {bind.target for bind in prepared.stage.job.binds}
    spec = json.loads((tmp_path / "spec.json").read_text())
    assert spec["files"]["/workspace/golf/data/datasets/fineweb10B_sp1024/fineweb_val_000000.bin"] == "validation"


@pytest.mark.parametrize("root", ["..", "../../..", "/work", "/work/repo/records"])
def test_a_root_above_the_submission_never_hides_it(root: str, tmp_path: Path) -> None:
    prepared = stage_of(submission(f"PATH = '{root}/datasets/fineweb10B_sp1024'\n"), tmp_path)
    targets = {bind.target for bind in prepared.stage.job.binds}
    assert targets == {"/audit/inside", "/audit/spec.json", "/audit/data", SUBMISSION}


@pytest.mark.parametrize(
    "root", ["/etc", "/proc/self", "/usr/share", "../../../../../etc", "/audit", "/dev/shm", "/root/x"]
)
def test_places_of_the_system_are_never_bound_over(root: str, tmp_path: Path) -> None:
    prepared = stage_of(submission(f"PATH = '{root}/datasets/fineweb10B_sp1024'\n"), tmp_path)
    targets = {bind.target for bind in prepared.stage.job.binds} - {"/root/x"}
    assert targets == {"/audit/inside", "/audit/spec.json", "/audit/data", SUBMISSION}


SIDECAR = SCRIPT + (
    'caseops_enabled = bool(int(os.environ.get("CASEOPS_ENABLED", "0")))\n'
    'bytes_files = os.path.join(data_path, "fineweb_val_bytes_*.bin")\n'
)


def test_a_byte_sidecar_lies_in_a_data_folder_of_its_own(tmp_path: Path) -> None:
    prepared = stage_of(submission(SIDECAR), tmp_path, configuration(CASEOPS_ENABLED="1"))
    folder = tmp_path / "data/datasets/fineweb10B_sp1024_caseops"
    counted = read_shard(folder / "fineweb_val_bytes_000000.bin")
    assert (counted == prepared.bytes_of.token_bytes(prepared.validation.tokens)).all()
    assert prepared.stage.job.environment["DATA_PATH"].endswith("_caseops")


@pytest.mark.parametrize(("text", "flag"), [(SIDECAR, "0"), (SCRIPT, "1")])
def test_without_caseops_no_sidecar_that_a_glob_for_tokens_would_swallow(text: str, flag: str, tmp_path: Path) -> None:
    stage_of(submission(text), tmp_path, configuration(CASEOPS_ENABLED=flag))
    assert not list(tmp_path.rglob("*val_bytes*"))


def test_the_byte_count_is_that_of_the_predicted_tokens(tmp_path: Path) -> None:
    prepared = stage_of(submission(SCRIPT), tmp_path)
    tables, tokens = prepared.bytes_of, prepared.validation.tokens
    by_hand = 0
    for before, token in zip(tokens[:-1].tolist(), tokens[1:].tolist(), strict=True):
        by_hand += int(tables.base_bytes[token]) + int(tables.leading_space[token] and not tables.boundary[before])
    assert prepared.text_bytes == by_hand


def test_the_same_seed_gives_the_same_stage(tmp_path: Path) -> None:
    first, second, third = (
        stage_of(submission(SCRIPT), _made(tmp_path / name), seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert (first.validation.tokens == second.validation.tokens).all()
    assert not (first.validation.tokens == third.validation.tokens).all()


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_submission_without_a_script_is_refused(tmp_path: Path) -> None:
    without = Submission("test", FOLDER, submission("").track, (), None)
    with pytest.raises(StageError, match="no script"):
        stage_of(without, tmp_path)


def test_only_the_copy_is_writable(tmp_path: Path) -> None:
    binds = stage_of(submission(SCRIPT), tmp_path).stage.job.binds
    assert [bind.target for bind in binds if bind.writable] == [SUBMISSION]
