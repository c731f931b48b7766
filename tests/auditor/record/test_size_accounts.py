"""Accounts of the size: what each one adds up, and whose it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.record import read_record
from auditor.record.size_accounts import (
    COMPRESSED_CODE,
    COUNTED_CODE,
    DECLARED_CODE,
    DECLARED_TOTAL,
    LOG_TOTAL,
    README_TABLE,
    SHIPPED_MODEL,
    SUBMITTED_CODE,
    size_accounts,
)
from auditor.submission import load_folder

SCRIPT = "x = 'a line that repeats'\n" * 400


def accounts(root: Path, files: dict[str, str | bytes], compress_above: int = 0) -> dict[str, int]:
    for name, content in files.items():
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    submission = load_folder(root)
    return {item.name: item.size_bytes for item in size_accounts(submission, read_record(submission), compress_above)}


def log(*lines: str) -> str:
    return "\n".join(["seed:42", *lines, "final val_loss:2.71 val_bpb:1.05", ""])


def test_all_accounts_side_by_side(tmp_path: Path) -> None:
    found = accounts(
        tmp_path,
        {
            "train_gpt.py": SCRIPT,
            "train_seed42.log": log(
                "Serialized model: 135431033 bytes",
                "Code size: 9000 bytes",
                "Serialized model quantized+brotli: 15000000 bytes",
                "Total submission size quantized+brotli: 15009000 bytes",
            ),
            "submission.json": json.dumps({"val_bpb": 1.05, "bytes_total": 15_009_001, "bytes_code": 8_000}),
            "README.md": "| seed | artifact bytes |\n|---|---|\n| 42 | 15,009,002 |\n",
            "model.ptz": b"\0" * 1_000,
        },
    )
    assert found[LOG_TOTAL] == 15_009_000
    assert found[COUNTED_CODE] == 15_009_000
    assert found[SUBMITTED_CODE] == 15_000_000 + len(SCRIPT)
    assert 15_000_000 < found[COMPRESSED_CODE] < 15_001_000
    assert found[DECLARED_TOTAL] == 15_009_001
    assert found[DECLARED_CODE] == 15_008_000
    assert found[README_TABLE] == 15_009_002
    assert found[SHIPPED_MODEL] == 1_000 + len(SCRIPT)


def test_compressed_code_in_the_log_is_what_the_log_counts(tmp_path: Path) -> None:
    found = accounts(
        tmp_path,
        {
            "train_gpt.py": SCRIPT,
            "train.log": log(
                "Code size (uncompressed): 157868 bytes",
                "Code size (compressed): 31999 bytes",
                "Serialized model quantized+brotli: 15868948 bytes",
                "Total submission size quantized+brotli: 15900947 bytes",
            ),
        },
    )
    assert found[COUNTED_CODE] == found[LOG_TOTAL] == 15_900_947


def test_of_several_code_sizes_the_one_in_the_total_counts(tmp_path: Path) -> None:
    found = accounts(
        tmp_path,
        {
            "train_gpt.py": SCRIPT,
            "train.log": log(
                "Code: 52734 raw -> 17947 wrapped -> 14308 lzma",
                "Code size: 17947 bytes",
                "Serialized model quantized+brotli: 15977237 bytes",
                "Total submission size quantized+brotli: 15995184 bytes",
            ),
        },
    )
    assert found[COUNTED_CODE] == 15_995_184


def test_the_script_is_compressed_only_where_it_matters(tmp_path: Path) -> None:
    files = {"train_gpt.py": SCRIPT, "train.log": log("Serialized model int8+zlib: 1000 bytes")}
    assert COMPRESSED_CODE not in accounts(tmp_path, files, compress_above=16_000_000)


def test_no_figures_no_accounts(tmp_path: Path) -> None:
    assert accounts(tmp_path, {"train_gpt.py": SCRIPT, "train.log": log()}) == {}


@pytest.mark.parametrize("cell", ["15.9 MB", "~16M", "1,2,3", "n/a"])
def test_a_table_cell_that_is_no_byte_count_is_left_alone(tmp_path: Path, cell: str) -> None:
    found = accounts(
        tmp_path,
        {"train_gpt.py": SCRIPT, "train.log": log(), "README.md": f"| seed | artifact |\n|---|---|\n| 42 | {cell} |\n"},
    )
    assert README_TABLE not in found
