"""FORMAT: what is missing is named; only what nobody could run is a fail."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from auditor.findings import RuleResult, Status
from auditor.submission.model import Track
from rules.base import Evidence
from rules.example import HONEST_SCRIPT, example_folder
from rules.format import judge

EvidenceOf = Callable[..., Evidence]


def without(*names: str) -> dict[str, str]:
    return {name: text for name, text in example_folder().items() if name not in names}


def reviews(result: RuleResult) -> str:
    return "\n".join(finding.message for finding in result.findings if finding.status is Status.REVIEW)


def test_a_complete_folder(evidence_of: EvidenceOf) -> None:
    result = judge(evidence_of(example_folder()))
    assert (result.status, result.findings) == (Status.PASS, ())


def test_a_record_without_any_source_cannot_be_run(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of(without("train_gpt.py"))).status is Status.FAIL


def test_a_write_up_that_claims_no_score_is_a_question(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of(without("train_gpt.py", "submission.json"))).status is Status.REVIEW


def test_off_the_record_track_that_is_a_question(evidence_of: EvidenceOf) -> None:
    assert judge(evidence_of(without("train_gpt.py"), track=Track.NON_RECORD)).status is Status.REVIEW


@pytest.mark.parametrize("name", ["train.py", "src/train_gpt.py", "train.ipynb"])
def test_a_source_of_another_name_is_a_question(evidence_of: EvidenceOf, name: str) -> None:
    assert judge(evidence_of({**without("train_gpt.py"), name: "import os\n"})).status is Status.REVIEW


@pytest.mark.parametrize(("name", "word"), [("README.md", "README"), ("submission.json", "submission.json")])
def test_missing_papers(evidence_of: EvidenceOf, name: str, word: str) -> None:
    result = judge(evidence_of(without(name)))
    assert result.status is Status.REVIEW and word in reviews(result)


def test_a_missing_log_is_left_to_evidence(evidence_of: EvidenceOf) -> None:
    files = {name: text for name, text in example_folder().items() if not name.endswith((".log", ".txt"))}
    assert judge(evidence_of(files)).status is Status.PASS


def test_broken_json_is_named_with_its_line(evidence_of: EvidenceOf) -> None:
    files = example_folder()
    files["submission.json"] = files["submission.json"].rstrip().removesuffix("}") + ",\n}\n"
    result = judge(evidence_of(files))
    (finding,) = result.findings
    assert finding.status is Status.REVIEW and "trailing comma" in finding.message
    assert finding.line == files["submission.json"].count("\n")


def test_missing_fields(evidence_of: EvidenceOf) -> None:
    fields = json.loads(example_folder()["submission.json"])
    without_author = {key: value for key, value in fields.items() if key not in ("author", "github_id")}
    result = judge(evidence_of({**example_folder(), "submission.json": json.dumps(without_author)}))
    assert result.status is Status.PASS and "author, github_id" in result.findings[0].message
    result = judge(evidence_of({**example_folder(), "submission.json": json.dumps({**fields, "val_bpb": "TBD"})}))
    assert result.status is Status.REVIEW and "val_bpb" in reviews(result)


@pytest.mark.parametrize(
    ("outside", "status"),
    [
        (("train_gpt.py", "data/x.py"), Status.REVIEW),
        ((".gitignore", "requirements.txt"), Status.PASS),
        ((), Status.PASS),
    ],
)
def test_changes_outside_records(evidence_of: EvidenceOf, outside: tuple[str, ...], status: Status) -> None:
    assert judge(evidence_of(example_folder(), changed_outside_records=outside)).status is status


def test_several_folders(evidence_of: EvidenceOf) -> None:
    own = judge(evidence_of(example_folder(), other_folders=("records/track_10min_16mb/2026-04-02_B",)))
    assert own.status is Status.REVIEW and "2 record folders" in own.reason


@pytest.mark.parametrize(
    ("folder", "status"),
    [
        ("records/track_10min_16mb/2026-04-01_Thing", Status.PASS),
        ("records/track_non_record_16mb/2026-04-01_Thing", Status.PASS),
        ("records/track_10min_16mb/Thing", Status.PASS),
        ("records/records/track_10min_16mb/2026-04-01_Thing", Status.REVIEW),
        ("records/2026-04-01_Thing", Status.REVIEW),
        ("", Status.PASS),
    ],
)
def test_where_the_folder_stands(evidence_of: EvidenceOf, folder: str, status: Status) -> None:
    files = {f"{folder}/{name}" if folder else name: text for name, text in example_folder().items()}
    assert judge(evidence_of(files, folder=folder)).status is status


def test_a_folder_in_the_wrong_track(evidence_of: EvidenceOf) -> None:
    folder = "records/track_10min_16mb/2026-04-01_Thing"
    files = {f"{folder}/{name}": text for name, text in example_folder().items()}
    assert judge(evidence_of(files, folder=folder, track=Track.NON_RECORD)).status is Status.REVIEW


def test_leftovers_and_empty_files_are_notes(evidence_of: EvidenceOf) -> None:
    result = judge(evidence_of({**example_folder(), "final_model.ptz": "", "__pycache__/x.pyc": "x"}))
    assert result.status is Status.PASS
    assert {finding.message.partition(":")[0] for finding in result.findings} == {"empty", "leftovers"}


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({}, Status.REVIEW),
        ({"context_features.py": "x = 1\n"}, Status.PASS),
        ({"lib/context_features/__init__.py": ""}, Status.PASS),
        ({"requirements.txt": "context-features>=1.0\ntorch\n"}, Status.PASS),
    ],
)
def test_a_module_that_nobody_provides(evidence_of: EvidenceOf, files: dict[str, str], status: Status) -> None:
    folder = example_folder("from context_features import table\n" + HONEST_SCRIPT, extra_files=files)
    result = judge(evidence_of(folder))
    assert result.status is status
    assert ("context_features" in result.reason) is (status is Status.REVIEW)


def test_a_module_that_may_be_missing_is_no_question(evidence_of: EvidenceOf) -> None:
    guarded = "try:\n    import context_features\nexcept ImportError:\n    context_features = None\n"
    assert judge(evidence_of(example_folder(guarded + HONEST_SCRIPT))).status is Status.PASS


def test_folders_of_others_are_to_be_taken_out(evidence_of: EvidenceOf) -> None:
    result = judge(evidence_of(example_folder(), foreign_folders=("records/track_10min_16mb/2026-03-26_Other",)))
    assert result.status is Status.REVIEW
    assert "2026-03-26_Other" in result.reason
