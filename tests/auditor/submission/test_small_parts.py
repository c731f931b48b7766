"""Roles of files, names for display, record folders of paths, and the two facts read from submission.json."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from auditor.submission.folders import Candidate, preference, record_folder, track_of, tree_entry
from auditor.submission.metadata import declared_date, declared_track
from auditor.submission.model import Role, SourceText, StoredFile, Track
from auditor.submission.names import shown
from auditor.submission.roles import role_of


@pytest.mark.parametrize(
    ("path", "head", "role"),
    [
        ("train_gpt.py", b"", Role.HELPER),
        ("README.md", b"", Role.README),
        ("docs/readme", b"", Role.README),
        ("submission.json", b"", Role.METADATA),
        ("old_submission.json", b"", Role.OTHER),
        ("train_seed42.log", b"", Role.LOG),
        ("train_seed42.txt", b"step:1/2 train_loss:3\n", Role.LOG),
        ("utf16.txt", "seed:42 val_bpb:1.1\n".encode("utf-16"), Role.LOG),
        ("logs/train.txt", b"s:1/20000 tl:6.9318 tt:153ms\nngram_x vl:0.70692793 bpb:0.41868212\n", Role.LOG),
        ("notes.txt", b"about 1.1 bpb: better than the last", Role.OTHER),
        ("notes.txt", b"nothing of interest\n", Role.OTHER),
        ("requirements.txt", b"seed: x\nval_bpb\n", Role.OTHER),
        ("train_log", b"step:1\n", Role.LOG),
        ("fused.cu", b"", Role.NATIVE),
        ("run.sh", b"", Role.SHELL),
        ("fineweb_8192_bpe.model", b"", Role.TOKENIZER),
        ("tokenizer.json", b"", Role.TOKENIZER),
        ("final_model.int6.ptz", b"", Role.ARTIFACT),
        ("model.bin", b"", Role.ARTIFACT),
        ("plot.png", b"", Role.OTHER),
    ],
)
def test_roles(path: str, head: bytes, role: Role) -> None:
    assert role_of(path, head) is role


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        (b"records/track_10min_16mb/2026-04-05_X/train_gpt.py", b"records/track_10min_16mb/2026-04-05_X"),
        (b"records/track_10min_16mb/2026-04-05_X/a/b/c.py", b"records/track_10min_16mb/2026-04-05_X"),
        (b"records/records/track_10min_16mb/x/train_gpt.py", b"records/records/track_10min_16mb/x"),
        (b"records/own/train_gpt.py", b"records/own"),
        (b"records/non_record/x/train_gpt.py", b"records/non_record/x"),
        (b"track_10min_16mb/x/train_gpt.py", b"track_10min_16mb/x"),
        (b"fork/records/track_10min_16mb/x/train_gpt.py", b"fork/records/track_10min_16mb/x"),
        (b"records/track_10min_16mb/track_a/train_gpt.py", b"records/track_10min_16mb/track_a"),
        (b"records/track_10min_16mb/train_gpt.py", None),
        (b"train_gpt.py", None),
        (b"data/records.py", None),
    ],
)
def test_record_folder_of_a_path(path: bytes, folder: bytes | None) -> None:
    assert record_folder(path) == folder


@pytest.mark.parametrize(
    ("folder", "track"),
    [
        ("records/track_10min_16mb/x", Track.RECORD),
        ("records/track_non_record_16mb/x", Track.NON_RECORD),
        ("records/non_record/x", Track.NON_RECORD),
        ("records/x", None),
    ],
)
def test_track_of_a_folder(folder: str, track: Track | None) -> None:
    assert track_of(folder) is track


def candidate(path: str, **changes: bool) -> Candidate:
    flags = {"added": True, "has_script": True, "has_metadata": True, "has_log": True, **changes}
    return Candidate(path.encode(), files=4, **flags)


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (candidate("records/track_10min_16mb/2026-04-05_A"), candidate("records/track_10min_16mb/2026-04-06_B")),
        (candidate("records/track_10min_16mb/2026-04-09_A", has_script=False), candidate("records/x/2026-04-01_B")),
        (candidate("records/track_10min_16mb/2026-04-09_A", added=False), candidate("records/2026-04-01_B")),
        (candidate("fork/records/track_10min_16mb/2026-04-09_A"), candidate("records/track_10min_16mb/B")),
        (candidate("records/track_10min_16mb/A", has_log=False), candidate("records/track_10min_16mb/B")),
    ],
)
def test_preference_among_own_folders(worse: Candidate, better: Candidate) -> None:
    assert preference(worse) < preference(better)


def test_sub_tree_by_name_in_a_raw_tree() -> None:
    first, second = bytes(range(20)), bytes(range(20, 40))
    raw = b"100644 a\0" + first + b"40000 own\0" + second + b"40000 own2\0" + first
    assert tree_entry(raw, b"own") == second.hex()
    assert tree_entry(raw, b"wn") == ""
    assert tree_entry(raw, b"a") == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain/ünïcode–name.py", "plain/ünïcode–name.py"),
        (b"caf\xe9.txt", "caf\\xe9.txt"),
        ("red\x1b[31m.log", "red\\x1b[31m.log"),
        ("right\u202eleft.py", "right\\u202eleft.py"),
        ("line\nbreak", "line\\x0abreak"),
        ("lone\ud800", "lone\\ud800"),
    ],
)
def test_names_for_display(name: str | bytes, text: str) -> None:
    assert shown(name) == text
    shown(name).encode("utf-8")


@pytest.mark.parametrize(
    ("metadata", "track"),
    [
        ('{"track": "non-record-unlimited-compute-16mb"}', Track.NON_RECORD),
        ('{"track" : "track_10min_16mb",}', Track.RECORD),
        ('{"track": 3}', None),
        ("not json", None),
    ],
)
def test_declared_track(metadata: str, track: Track | None) -> None:
    assert declared_track(metadata.encode()) is track


@pytest.mark.parametrize(
    ("metadata", "moment"),
    [
        ('{"date": "2026-04-05"}', datetime(2026, 4, 5, tzinfo=UTC)),
        ('{"date": "2026-04-05T10:20:30Z"}', datetime(2026, 4, 5, 10, 20, 30, tzinfo=UTC)),
        ('{"created_at": "2026-04-05T10:20:30+02:00"}', datetime(2026, 4, 5, 8, 20, 30, tzinfo=UTC)),
        ('{"date": "2026-19-39"}', None),
        ('{"date": "2026-02-30"}', None),
        ("{}", None),
    ],
)
def test_declared_date(metadata: str, moment: datetime | None) -> None:
    found = declared_date(metadata.encode("utf-16"))
    assert found == moment
    assert found is None or found.utcoffset() is not None
    assert found is None or found.utcoffset() <= timedelta(hours=14)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("records/t/x/train_gpt.py", "train_gpt"),
        ("records/t/x/train_gpt.py!unpacked", "train_gpt"),
        ("records/t/x/train_gpt.py!lib/cache.py", "lib.cache"),
        ("records/t/x/train_gpt.py!lib/__init__.py", "lib"),
        ("train_gpt.py!unpacked!unpacked", "train_gpt"),
    ],
)
def test_import_name_of_a_source(path: str, module: str) -> None:
    assert SourceText(path, "", "").module == module


def test_a_file_is_complete_when_it_was_read_whole() -> None:
    assert StoredFile("a", 1, Role.LOG, b"x").complete
    assert not StoredFile("a", 9, Role.LOG, b"x", tail=b"y").complete
    assert not StoredFile("a", 9, Role.LOG, None).complete
