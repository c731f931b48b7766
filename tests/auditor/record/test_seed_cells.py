"""Stated per-seed figures against the logs of the seeds."""

from __future__ import annotations

import pytest

from auditor.record.logs import read_log
from auditor.record.model import Place, Record, SeedClaim, Statement
from auditor.record.readme import parse_readme
from auditor.record.seed_cells import checked_cells

LOG = (
    "seed:42\nTotal submission size int8+zlib: 15295091 bytes\n"
    "quantized val_loss:2.65249046 val_bpb:1.02686172\nsliding val_loss:2.63897817 val_bpb:1.02163069\n"
)


def record(table: str = "", claim: SeedClaim | None = None, log: str = LOG) -> Record:
    readme = parse_readme("README.md", table)
    return Record(
        Statement(seeds=(claim,) if claim else ()),
        tuple(read_log("train.log", log.encode())),
        tables=readme.tables,
        readme_text=table,
        readme_path="README.md",
    )


def table(head: str, cell: str, seed: str = "42") -> str:
    return f"| Seed | {head} |\n|---|---|\n| {seed} | {cell} |\n"


@pytest.mark.parametrize(
    ("head", "cell", "matches"),
    [
        ("BPB", "1.0269", True),
        ("BPB", "1.0268", True),
        ("Sliding BPB", "**1.02163**", True),
        ("BPB", "1.0272", False),
        ("val_loss", "2.6525", True),
        ("val_loss", "2.7", False),
        ("Artifact", "15,295,091", True),
        ("Artifact", "15,300,000", True),
        ("Artifact (bytes)", "15,295,191", False),
    ],
)
def test_cells(head: str, cell: str, matches: bool) -> None:
    (checked,) = checked_cells(record(table(head, cell)))
    assert checked.matches is matches


@pytest.mark.parametrize(
    "head", ["Δ BPB", "BPB std", "SOTA BPB", "parent #2007 BPB", "Corrected BPB", "train loss", "Steps"]
)
def test_columns_that_are_no_claims_about_the_log(head: str) -> None:
    assert checked_cells(record(table(head, "1.5"))) == []


def test_a_seed_without_a_log_is_not_checked() -> None:
    assert checked_cells(record(table("BPB", "1.5", seed="7"))) == []


def test_the_mean_row_is_no_seed() -> None:
    assert checked_cells(record(table("BPB", "1.5", seed="**Mean**"))) == []


def test_figures_of_submission_json() -> None:
    claim = SeedClaim(42, 1.0269, 2.6525, 15_295_091, Place("submission.json", 3))
    checked = checked_cells(record(claim=claim))
    assert [(cell.cell.kind, cell.matches) for cell in checked] == [("bpb", True), ("loss", True), ("bytes", True)]
    assert checked[0].where is not None and checked[0].where.line == 3
