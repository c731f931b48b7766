"""submission.json in every spelling, and broken in every way that was met."""

from __future__ import annotations

import json

import pytest

from auditor.record.loose_json import MAX_DEPTH, read_loose_json
from auditor.record.metadata import read_statement
from auditor.record.model import Statement
from auditor.record.readme import Readme, parse_readme
from auditor.submission.model import Role, StoredFile


def stored(text: str | bytes, path: str = "r/submission.json") -> StoredFile:
    data = text if isinstance(text, bytes) else text.encode()
    return StoredFile(path, len(data), Role.METADATA, data)


def statement(value: object, readme: Readme | None = None) -> Statement:
    text = value if isinstance(value, (str, bytes)) else json.dumps(value, indent=1)
    return read_statement([stored(text)], readme or Readme())[0]


@pytest.mark.parametrize(
    ("fields", "bpb", "key"),
    [
        ({"val_bpb": 1.0282}, 1.0282, "val_bpb"),
        ({"val_bpb": "1.0282 (3-seed mean)"}, 1.0282, "val_bpb"),
        ({"val_bpb": {"42": 1.02, "314": 1.04}}, 1.03, "val_bpb"),
        ({"val_bpb": {"mean": 1.03, "std": 0.01}}, 1.03, "val_bpb"),
        ({"val_bpb": None, "mean_val_bpb": 1.05}, 1.05, "mean_val_bpb"),
        ({"results": {"mean_bpb": 1.07}}, 1.07, "results.mean_bpb"),
        ({"score": 1.05869, "score_metric": "val_bpb"}, 1.05869, "score"),
        ({"val_loss": 1.137, "bytes_total": 15983322}, 1.137, "val_loss"),
        ({"seeds": {"42": {"val_bpb": 1.0}, "314": {"val_bpb": 1.2}}}, 1.1, "mean of the seeds"),
    ],
)
def test_where_the_score_stands(fields: dict[str, object], bpb: float, key: str) -> None:
    found = statement(fields)
    assert found.val_bpb == pytest.approx(bpb)
    assert found.val_bpb_key == key


@pytest.mark.parametrize("value", [None, "TBD", "pending", True, -1, 0, 4000, float("nan"), [], {}])
def test_what_is_no_score(value: object) -> None:
    assert statement({"val_bpb": value, "baseline_bpb": 1.2244}).val_bpb is None


@pytest.mark.parametrize(
    "fields",
    [
        {"val_bpb": None, "val_bpb_retracted": 1.1311, "original_seed_results_retracted": {"42": {"val_bpb": 1.13}}},
        {"val_bpb": None, "val_bpb_projected_center": 0.82, "val_bpb_projected_range": [0.78, 0.86]},
        {"val_bpb": None, "mean_bpb_pending": 1.05, "previous_val_bpb": 1.12},
        {"val_bpb": 0.0, "expected_val_bpb": 1.05},
        {"val_bpb_expected": 1.05},
    ],
)
def test_a_number_taken_back_or_hoped_for_is_no_claim(fields: dict[str, object]) -> None:
    found = statement(fields)
    assert (found.val_bpb, found.seeds) == (None, ())


def test_where_the_score_is_left_open_only_a_named_one_of_the_readme_counts() -> None:
    passing = parse_readme("README.md", "# X\n\nOne run gave 1.1500 BPB.\n")
    named = parse_readme("README.md", "# X\n\nval_bpb: 1.1500\n")
    assert statement({"val_bpb": None}, passing).val_bpb is None
    assert statement({"name": "x"}, passing).val_bpb == 1.15
    assert statement({"val_bpb": None}, named).val_bpb == 1.15


def test_a_loss_is_not_taken_for_a_bpb() -> None:
    assert statement({"val_loss": 2.0727}).val_bpb is None


def test_a_bpb_in_val_loss_is_no_loss() -> None:
    found = statement({"val_bpb": 1.137, "val_loss": 1.137})
    assert (found.val_bpb, found.val_loss) == (1.137, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"seeds": {"42": 1.01, "314": 1.03}},
        {"seeds": {"42": {"val_bpb": 1.01}, "314": {"val_bpb": 1.03}}},
        {"seeds": [{"seed": 42, "val_bpb": 1.01}, {"seed": 314, "val_bpb": 1.03}]},
        {"seed_results": {"42": {"val_bpb": 1.01}, "314": {"bpb": 1.03}}},
        {"seed_42": {"val_bpb": 1.01}, "seed_314": {"val_bpb": 1.03}},
        {"seeds": [42, 314], "val_bpb_per_seed": [1.01, 1.03]},
        {"val_bpb_seed_42": 1.01, "val_bpb_seed_314": 1.03},
        {"val_bpb": {"42": 1.01, "314": 1.03}},
        {
            "val_bpb": 1.02,
            "seeds": {"42": {"sliding_bpb": 1.01, "q_bpb": 1.5}, "314": {"sliding_bpb": 1.03, "q_bpb": 1.6}},
        },
    ],
)
def test_seeds_in_every_shape(fields: dict[str, object]) -> None:
    assert {seed.seed: seed.val_bpb for seed in statement(fields).seeds} == {42: 1.01, 314: 1.03}


def test_seed_rows_keep_their_line_and_bytes() -> None:
    (seed,) = statement('{\n "seeds": {\n  "42": {"val_bpb": 1.01, "artifact_bytes": "15,995,184"}}}').seeds
    assert (seed.place.line, seed.artifact_bytes) == (3, 15_995_184)


def test_seeds_of_the_readme_fill_in() -> None:
    readme = parse_readme("r/README.md", "| Seed | val_bpb |\n|---|---|\n| 42 | 1.01 |\n| 314 | 1.03 |\n")
    assert [seed.seed for seed in statement({"val_bpb": 1.02}, readme).seeds] == [42, 314]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'\xef\xbb\xbf{"val_bpb": 1.02}', ""),
        ('{"val_bpb": 1.02}'.encode("utf-16"), ""),
        ('{\r\n "val_bpb": 1.02\r\n}\r\n', ""),
        ('{"val_bpb": 1.02,}', "trailing comma on line 1"),
        ('{"name": "x"\n "val_bpb": 1.02}', "missing comma on line 2"),
        ('cat > submission.json <<EOF\n{"val_bpb": 1.02}\nEOF\n', "text before the opening brace on line 1"),
        ('{"val_bpb": 1.02}\n{"val_bpb": 3}', "text after the closing brace on line 1"),
        ('{"val_bpb": 1.02, "x": NaN}', ""),
        ('{"val_bpb": 1.02, "blurb": "two\nlines"}', ""),
        ('{"val_bpb": 1.02, "blurb": "cut', "unexpected text on line 1"),
        ('{"val_bpb": 1.02, "seeds": [42, 3', "ends before the closing brace on line 1"),
    ],
)
def test_broken_files_are_read_and_named(text: str | bytes, problem: str) -> None:
    found, problems = read_statement([stored(text)], Readme())
    assert found.val_bpb == 1.02
    assert (f"r/submission.json: {problem}" in problems) if problem else not problems


@pytest.mark.parametrize(
    "text", ["", "TBD", "<html>", "[" * 5000, '{"a":' * 5000, "{" * 100, '{"' * 100, '"' * 100_000, "{:}"]
)
def test_what_cannot_be_read_is_said_and_nothing_raised(text: str) -> None:
    found, problems = read_statement([stored(text)], Readme())
    assert found.val_bpb is None and problems


def test_depth_and_numbers_are_bounded() -> None:
    assert any("too deeply" in problem for problem in read_loose_json('{"a":' * (MAX_DEPTH + 5)).problems)
    document = read_loose_json('{"a": ' + "9" * 5_000 + ', "b": 1e99999}')
    assert not any(isinstance(value, int) for value in document.fields.values())


def test_a_key_that_stands_twice_is_named() -> None:
    assert any("stands twice" in problem for problem in read_loose_json('{"val_bpb": 1.2, "val_bpb": 1.0}').problems)


def test_sizes_times_and_declarations() -> None:
    found = statement(
        {
            "bytes_total": "15,995,184",
            "bytes_code": 17947,
            "bytes_model_int8_zlib": 15977237,
            "training_time_seconds": 588,
            "eval_time_ms": 90902,
            "compliance": {"train_under_600s": True, "three_seeds": False},
        }
    )
    assert (found.artifact_bytes, found.code_bytes, found.model_bytes) == (15_995_184, 17_947, 15_977_237)
    assert (found.train_seconds, found.eval_seconds) == (588.0, pytest.approx(90.902))
    assert found.compliance == {"train_under_600s": True, "three_seeds": False}


def test_the_file_highest_in_the_folder_counts() -> None:
    deep = stored('{"val_bpb": 9.9}', "r/a/submission.json")
    assert read_statement([deep, stored('{"val_bpb": 1.02}')], Readme())[0].val_bpb == 1.02
