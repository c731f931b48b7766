"""Training at full size: the torchrun launch of every claimed seed, with something in torchrun's place."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from auditor.configuration import derive_configuration
from auditor.record import read_record
from auditor.rescore.model import Launch
from auditor.rescore.training import launches_on_gpus, shell_script
from auditor.submission import load_folder
from rules.example import example_folder

SEEDS = [42, 314, 999]  # that the made-up claim names


def launches(folder: Path, **changed: str) -> tuple[Launch, ...]:
    folder.mkdir()
    for name, content in {**example_folder(), **changed}.items():
        (folder / name).write_text(content)
    submission = load_folder(str(folder))
    record = read_record(submission)
    return launches_on_gpus(submission, derive_configuration(submission, record), record)


def test_every_claimed_seed_has_a_launch_with_its_own_seed(tmp_path: Path) -> None:
    found = launches(tmp_path / "record")
    assert [launch.seed for launch in found] == SEEDS
    assert [launch.environment["SEED"] for launch in found] == [str(seed) for seed in SEEDS]
    assert {launch.command for launch in found} == {("torchrun", "--standalone", "--nproc_per_node=8", "train_gpt.py")}


@pytest.mark.parametrize(("logged", "gpus"), [(1, 1), (4, 4), (8, 8), (64, 8)])
def test_as_many_gpus_as_the_log_names_up_to_one_machine(tmp_path: Path, logged: int, gpus: int) -> None:
    logs = {name: f"world_size:{logged}\n{text}" for name, text in example_folder().items() if name.endswith(".log")}
    assert {launch.gpus for launch in launches(tmp_path / "record", **logs)} == {gpus}


def test_settings_of_the_claim_are_passed_on_and_those_of_the_machine_are_not(tmp_path: Path) -> None:
    readme = "# Try\n\n```bash\nMODEL_DIM=384 PYTHONPATH=/evil LD_PRELOAD=/evil torchrun train_gpt.py\n```\n"
    (launch, *_) = launches(tmp_path / "record", **{"README.md": readme})
    assert launch.environment["MODEL_DIM"] == "384"
    assert not {"PYTHONPATH", "LD_PRELOAD"} & launch.environment.keys()


def test_the_script_runs_each_seed_in_the_record_folder_and_keeps_its_log(tmp_path: Path) -> None:
    """Forbidden: a value of the submission that the shell executes."""
    hostile = "$(touch pwned) `touch pwned` '; touch pwned #\n x"
    given = [Launch(seed, 8, "train_gpt.py", {"SEED": str(seed), "NAME": hostile}) for seed in SEEDS]
    record, logs, tools = (tmp_path / name for name in ("record", "logs", "tools"))
    for folder in (record, logs, tools):
        folder.mkdir()
    torchrun = tools / "torchrun"
    torchrun.write_text('#!/bin/sh\necho "$SEED $* $PWD"\nprintf %s "$NAME"\n')
    torchrun.chmod(0o755)
    script = tmp_path / "retrain.sh"
    script.write_text(shell_script(given))
    subprocess.run(
        ["sh", script, "record", "logs"], cwd=tmp_path, env={"PATH": f"{tools}:/usr/bin:/bin"}, check=True, timeout=60
    )
    for seed in SEEDS:
        said = (logs / f"retrained_seed{seed}.log").read_text()
        assert said == f"{seed} --standalone --nproc_per_node=8 train_gpt.py {record}\n{hostile}"
    assert not list(tmp_path.rglob("pwned"))
