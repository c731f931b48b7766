"""Log against script: source, sizes, settings, labels."""

from __future__ import annotations

import hashlib

import pytest

from auditor.record.code_match import (
    BYTE_TABLE,
    logged_code_size,
    missing_code,
    missing_settings,
    prints_label,
    source_difference,
)
from auditor.record.logs import read_log
from auditor.record.model import RunLog
from auditor.submission.model import Role, SourceText, StoredFile, Submission, Track

SCRIPT = "import os\nimport torch\n\n\ndef main():\n    base_bytes = count()\n" + "".join(
    f"    step_{number} = {number}\n" for number in range(200)
)
RULER = "=" * 100 + "\nRunning Python 3.12.3\n"


def submission(script: str = SCRIPT, **helpers: str) -> Submission:
    files = [StoredFile("train_gpt.py", len(script.encode()), Role.SCRIPT, script.encode())]
    files += [StoredFile(name, len(text), Role.HELPER, text.encode()) for name, text in helpers.items()]
    source = SourceText("train_gpt.py", script, hashlib.sha256(script.encode()).hexdigest())
    sources = tuple(SourceText(name, text, "") for name, text in helpers.items())
    return Submission("x", "", Track.RECORD, tuple(files), source, sources)


def log(text: str) -> RunLog:
    return read_log("train.log", text.encode())[0]


def test_the_same_source() -> None:
    difference = source_difference(log(SCRIPT + RULER), submission())
    assert difference is not None and not difference.changed


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("import torch\n", "import torch\n\n# a comment\n"),
        lambda text: text.replace("    ", "\t"),
    ],
)
def test_white_space_and_comments_are_no_difference(edit: object) -> None:
    difference = source_difference(log(edit(SCRIPT) + RULER), submission())  # type: ignore[operator]
    assert difference is not None and not difference.changed


def test_a_difference_is_counted_placed_and_named() -> None:
    other = SCRIPT.replace("base_bytes = count()", "base_bytes = count() + 1").replace("    step_7 = 7\n", "")
    difference = source_difference(log(other + RULER), submission())
    assert difference is not None
    assert (difference.only_in_log, difference.only_submitted, difference.first) == (1, 2, 6)
    assert BYTE_TABLE in difference.subjects


def test_a_source_that_is_a_helper_is_not_another_script() -> None:
    difference = source_difference(
        log(SCRIPT + RULER), submission("from run import main\nmain()\n", **{"run.py": SCRIPT})
    )
    assert difference is not None and not difference.changed


def test_a_source_whose_beginning_is_overwritten_is_compared_from_there_on() -> None:
    damaged = "import oseed:1337\nstep:1/2 train_loss:1.0 train_time:1ms\nrch\n" + SCRIPT.partition("import torch\n")[2]
    difference = source_difference(log(damaged + RULER), submission())
    assert difference is not None and not difference.changed


def test_an_unopened_wrapper_is_not_compared() -> None:
    wrapper = "import lzma, base64\nexec(lzma.decompress(base64.b85decode(PAYLOAD)))\n" + "#" * 3000
    run = log(SCRIPT + RULER + "Hyperparameters:\n" + "".join(f"  name_{number}: 1\n" for number in range(12)))
    assert source_difference(run, submission(wrapper)) is None
    assert missing_settings(run, submission(wrapper)) == []


@pytest.mark.parametrize(
    ("line", "same"),
    [
        (f"Code size: {len(SCRIPT)} bytes", True),
        (f"Code size: {len(SCRIPT) + 1} bytes", True),
        (f"Code size: {len(SCRIPT) + 40} bytes", False),
        (f"Code: {len(SCRIPT) - 187} raw → 100 lzma → 200 bootstrap\nCode size: 200 bytes", False),
        (f"Code size: {len(SCRIPT) + 10} bytes", True),
    ],
)
def test_code_sizes(line: str, same: bool) -> None:
    helpers = {"helper.py": "x = 12345\n"} if line.endswith(f"{len(SCRIPT) + 10} bytes") else {}
    size = logged_code_size(log(line + "\n"), submission(**helpers))
    assert size is not None and size.same is same


def counted(*sizes: int) -> list[RunLog]:
    return [log(f"Code size: {size} bytes\n") for size in sizes]


def test_code_that_every_log_counts_and_the_folder_lacks() -> None:
    full = len(SCRIPT) * 4
    found = missing_code(counted(full, full + 100), submission())
    assert found is not None and found.difference == full - len(SCRIPT)


@pytest.mark.parametrize(
    ("sizes", "helpers"),
    [
        ((), {}),  # no log counts
        ((len(SCRIPT) * 4, len(SCRIPT)), {}),  # one log is of this script
        ((len(SCRIPT) + 3_900,), {}),  # little
        ((len(SCRIPT) // 3,), {}),  # less code, or compressed
        ((len(SCRIPT) + 9_000,), {"helper.py": "x = 1\n" * 1_500}),  # the rest is in another file
    ],
)
def test_logs_that_fit_the_folder_lack_nothing(sizes: tuple[int, ...], helpers: dict[str, str]) -> None:
    assert missing_code(counted(*sizes), submission(**helpers)) is None


def test_settings_of_other_code() -> None:
    block = "Hyperparameters:\n" + "".join(f"  step_{number}: 1\n" for number in range(12))
    assert missing_settings(log(block), submission()) == []
    assert missing_settings(log(block + "  hash_embed: 2\n"), submission()) == ["hash_embed"]
    assert missing_settings(log("hash_embed:2 other:3\n"), submission()) == []


@pytest.mark.parametrize(("label", "prints"), [("final_int8_exact", True), ("slot_exact", False), ("", None)])
def test_labels(label: str, prints: bool | None) -> None:
    script = SCRIPT + 'log(f"final_{name}_exact val_bpb:{x}")  # int8\n' + "#" * 2000
    (line,) = log(f"{label} val_loss:2.0 val_bpb:1.0\n").metrics
    assert prints_label(line, submission(script)) is prints
