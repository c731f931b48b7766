"""Validation shards under training names: in commands, and in the folders that runs name."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.configuration import derive_configuration
from auditor.findings import Status
from auditor.record import read_record
from auditor.record.shard_names import laid_shards, training_folders
from auditor.submission import load_folder
from rules import RULES
from rules.base import Evidence

LINK = "ln -s /data/sp1024/fineweb_val_000000.bin /data/sp1024_valonly/fineweb_train_000000.bin"
HONEST = "ln -s /data/sp1024/fineweb_train_000000.bin /data/mine/fineweb_train_000000.bin"
COPIES = "ln -s /data/sp1024/fineweb_val_000000.bin /data/mine/fineweb_val_000000.bin"


def evidence_of(folder: Path, command: str, dataset: str) -> Evidence:
    (folder / "train_gpt.py").write_text("import torch\n")
    (folder / "submission.json").write_text('{"val_bpb": 1.1}')
    (folder / "README.md").write_text(f"# X\n\n```bash\n{command}\n```\n")
    (folder / "train.log").write_text(
        f"train_loader:dataset:{dataset} train_shards:1\nfinal val_loss:1.85 val_bpb:1.10000000\n"
    )
    submission = load_folder(folder)
    record = read_record(submission)
    return Evidence(submission, derive_configuration(submission, record), record)


@pytest.mark.parametrize(
    ("command", "dataset", "status"),
    [
        (LINK, "sp1024_valonly", Status.FAIL),
        (LINK, "sp1024", Status.REVIEW),  # no run is seen to use the folder
        (HONEST, "sp1024_valonly", Status.REVIEW),  # the folder's name alone
        (HONEST, "mine", Status.NOT_CHECKED),
        (COPIES, "mine", Status.NOT_CHECKED),
        (HONEST, "interval_of_documents", Status.NOT_CHECKED),
    ],
)
def test_training_on_validation_shards(tmp_path: Path, command: str, dataset: str, status: Status) -> None:
    assert RULES["C3"].judge(evidence_of(tmp_path, command, dataset)).status is status


def test_the_finding_names_the_command_and_the_folder(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path, LINK, "sp1024_valonly")
    (shard,) = laid_shards(evidence.submission, evidence.record)
    assert (shard.folder, shard.place.line) == ("sp1024_valonly", 4)
    assert [item.name for item in training_folders(evidence.record, evidence.configuration)] == ["sp1024_valonly"]
