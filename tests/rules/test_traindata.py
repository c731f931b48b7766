"""TRAINDATA from logs: calibration on training data once the training clock has run out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auditor.configuration import RunConfiguration
from auditor.findings import Status, Witness
from auditor.ledger import LateRead, Ledger, Site
from auditor.record import read_record
from auditor.submission.model import Role, SourceText, StoredFile, Submission, Track
from rules import RULES
from rules.base import Evidence
from rules.example import HONEST_SCRIPT, example_folder

ON_TRAINING_DATA = (
    "gptq:building model for Hessian collection...",
    "gptq:calibrating with training data...",
    "gptq:calibrated 68 layers in 3.6s",
)
ON_UNNAMED_DATA = ("gptq:loop-aware calibrated 41 layers in 11.5s",)
GENERATED = ("gptq:generating autoregressive calibration data...", "gptq:calibrated 68 layers in 3.6s")


READ = LateRead(
    Site("train_gpt.py", 90, "collect"), (Site("train_gpt.py", 120),), stop_seconds=600.0, step_limit=20_000
)


def judged(
    log_lines: tuple[str, ...], *, stop_ms: int, track: Track = Track.RECORD, read: tuple[LateRead, ...] = ()
) -> tuple[Status, Evidence]:
    roles = {"README.md": Role.README, "submission.json": Role.METADATA, "train_gpt.py": Role.SCRIPT}
    files = []
    for name, text in example_folder(log_lines=log_lines).items():
        for seed in (42, 314, 999):
            text = text.replace(f"train_time:{599_900 + seed % 90}ms step:", f"train_time:{stop_ms}ms step:")
        files.append(StoredFile(name, len(text.encode()), roles.get(name, Role.LOG), text.encode()))
    script = SourceText("train_gpt.py", HONEST_SCRIPT, sha256="0" * 64)
    submission = Submission("folder", "", track, tuple(files), script)
    evidence = Evidence(submission, RunConfiguration(), read_record(submission), source=Ledger(late_reads=read))
    return RULES["TRAINDATA"].judge(evidence).status, evidence


@pytest.mark.parametrize(
    ("log_lines", "stop_ms", "status"),
    [
        (ON_TRAINING_DATA, 600_042, Status.FAIL),
        (ON_TRAINING_DATA, 588_042, Status.PASS),  # room was made within the budget
        (ON_UNNAMED_DATA, 600_042, Status.REVIEW),
        (GENERATED, 600_042, Status.PASS),
        ((), 600_042, Status.PASS),
    ],
)
def test_calibration_after_the_budget(log_lines: tuple[str, ...], stop_ms: int, status: Status) -> None:
    assert judged(log_lines, stop_ms=stop_ms)[0] is status


def test_the_clock_does_not_bind_non_record_submissions() -> None:
    assert judged(ON_TRAINING_DATA, stop_ms=600_042, track=Track.NON_RECORD)[0] is Status.PASS


@pytest.mark.parametrize(
    "fields",
    [
        {"non_record": True},
        {"submission_type": "non_record"},
        {"status": "non_record_pending_validation"},
        {"name": "Non-record: a small GRU"},
        {"notes": "Mean of three seeds. Non-record submission, a proof of concept."},
    ],
)
def test_a_submission_that_declares_itself_non_record_is_for_a_person(fields: dict[str, object]) -> None:
    _, evidence = judged(ON_TRAINING_DATA, stop_ms=600_042)
    assert with_fields(evidence, fields) is Status.REVIEW


@pytest.mark.parametrize(
    "fields",
    [
        {"non_record": False},
        {"notes": "Better than the best non-record submission."},
        {"blurb": "This is not a non-record submission."},
        {"status": "record"},
    ],
)
def test_words_about_non_record_submissions_declare_nothing(fields: dict[str, object]) -> None:
    _, evidence = judged(ON_TRAINING_DATA, stop_ms=600_042)
    assert with_fields(evidence, fields) is Status.FAIL


def with_fields(evidence: Evidence, fields: dict[str, object]) -> Status:
    statement = replace(evidence.record.statement, fields={**evidence.record.statement.fields, **fields})
    return RULES["TRAINDATA"].judge(replace(evidence, record=replace(evidence.record, statement=statement))).status


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ("max_wallclock_seconds:600.000", Status.FAIL),
        ("max_wallclock_seconds:3600.000", Status.REVIEW),
    ],
)
def test_another_limit_does_not_show_that_ten_minutes_were_used_up(settings: str, status: Status) -> None:
    assert judged((*ON_TRAINING_DATA, settings), stop_ms=600_042)[0] is status


@pytest.mark.parametrize(("gpus", "status"), [("8xH100 SXM", Status.FAIL), ("8xA100", Status.REVIEW)])
def test_nor_does_another_machine(gpus: str, status: Status) -> None:
    _, evidence = judged(ON_TRAINING_DATA, stop_ms=600_042)
    assert with_fields(evidence, {"hardware": gpus}) is status


def test_the_limit_of_the_run_and_its_reserve_are_told() -> None:
    lines = ("gptq:reserving 4s, effective=3396000ms", *ON_TRAINING_DATA, "max_wallclock_seconds:3400.000")
    status, evidence = judged(lines, stop_ms=3_396_829)
    assert status is Status.REVIEW
    told = "of the 3,400 s that this run was given, 4 s of them reserved for quantization"
    assert told in RULES["TRAINDATA"].judge(evidence).reason


@pytest.mark.parametrize(("stop_ms", "status"), [(599_998, Status.FAIL), (599_670, Status.PASS)])
def test_a_clock_that_rounds_used_up_its_time_and_one_that_stopped_earlier_did_not(
    stop_ms: int, status: Status
) -> None:
    assert judged(ON_TRAINING_DATA, stop_ms=stop_ms)[0] is status


@pytest.mark.parametrize(
    ("blurb", "status"),
    [("a fast run with iters=1200, seq=1024", Status.REVIEW), ("iterations=20000", Status.FAIL), ("", Status.FAIL)],
)
def test_a_run_without_log_may_have_ended_by_its_steps(blurb: str, status: Status) -> None:
    _, logged = judged((), stop_ms=600_042, read=(READ,))
    assert with_fields(replace(logged, record=replace(logged.record, logs=())), {"blurb": blurb}) is status


def test_the_finding_points_at_the_log_line_of_every_run() -> None:
    _, evidence = judged(ON_TRAINING_DATA, stop_ms=600_042)
    (finding,) = RULES["TRAINDATA"].judge(evidence).findings
    assert finding.witness is Witness.RECORD
    assert "calibration on training data follows for 3.6 s (3 runs)" in finding.message
    assert {step.path for step in finding.steps} == {"train_seed42.log", "train_seed314.log", "train_seed999.log"}
    log = next(item for item in evidence.submission.files if item.path == finding.path)
    assert log.data is not None
    assert log.data.decode().split("\n")[finding.line - 1] == ON_TRAINING_DATA[1]


def test_a_log_is_heard_even_when_no_script_could_be_read() -> None:
    _, evidence = judged(ON_TRAINING_DATA, stop_ms=600_042)
    without_source = Evidence(evidence.submission, evidence.configuration, evidence.record)
    assert RULES["TRAINDATA"].judge(without_source).status is Status.FAIL
    _, honest = judged((), stop_ms=588_042)
    assert (
        RULES["TRAINDATA"].judge(Evidence(honest.submission, honest.configuration, honest.record)).status
        is Status.NOT_CHECKED
    )


@pytest.mark.parametrize(
    ("log_lines", "stop_ms", "status"),
    [
        (ON_UNNAMED_DATA, 600_042, Status.FAIL),
        (ON_UNNAMED_DATA, 588_042, Status.PASS),  # the log shows that room was made
        (GENERATED, 600_042, Status.PASS),
        ((), 600_042, Status.PASS),
    ],
)
def test_the_script_names_the_data_that_the_log_does_not(
    log_lines: tuple[str, ...], stop_ms: int, status: Status
) -> None:
    assert judged(log_lines, stop_ms=stop_ms, read=(READ,))[0] is status


@pytest.mark.parametrize(
    ("read", "track", "status"),
    [
        (READ, Track.RECORD, Status.FAIL),
        (replace(READ, stop_seconds=588.0), Track.RECORD, Status.PASS),
        (replace(READ, stop_seconds=None), Track.RECORD, Status.PASS),
        (replace(READ, step_limit=9_000), Track.RECORD, Status.REVIEW),  # may be reached before the time is up
        (READ, Track.NON_RECORD, Status.PASS),
    ],
)
def test_without_a_log_the_clock_of_the_training_loop_tells(read: LateRead, track: Track, status: Status) -> None:
    _, logged = judged((), stop_ms=600_042, track=track, read=(read,))
    evidence = replace(logged, record=replace(logged.record, logs=()))
    assert RULES["TRAINDATA"].judge(evidence).status is status
