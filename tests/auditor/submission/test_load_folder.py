"""A folder or a checkout on disk: what is read, what is refused, and which folder is meant."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditor.submission import LoadError, bounds, load_folder
from auditor.submission.model import Role, Track
from tests.auditor.submission.repositories import METADATA, SCRIPT, GitBuilder, record

MAIN = "refs/heads/main"
OWN = "records/track_10min_16mb/2026-04-05_Own"
FILES = {"train_gpt.py": SCRIPT, "submission.json": METADATA, "README.md": "# x\n", "train.log": "val_bpb:1.1\n"}

Folder = Callable[..., Path]


def test_a_record_folder(folder: Folder) -> None:
    submission = load_folder(folder(FILES, "track_non_record_16mb/2026-04-05_Own"))
    assert submission.folder == ""
    assert submission.track is Track.NON_RECORD
    assert submission.created == datetime(2026, 4, 5, tzinfo=UTC)
    assert [item.path for item in submission.by_role(Role.SCRIPT)] == ["train_gpt.py"]
    assert submission.script is not None
    assert submission.script.text == SCRIPT
    assert submission.problems == ()


def test_a_folder_without_script_loads_with_a_problem(folder: Folder) -> None:
    submission = load_folder(folder({"submission.json": METADATA, "README.md": "x"}))
    assert submission.script is None
    assert [problem.message for problem in submission.problems] == ["no python source"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no such folder"),
        ({"notes/x.txt": "x"}, "no train_gpt.py, submission.json or README"),
        ({"HEAD": "ref: refs/heads/main\n", "objects/x": "x"}, "is a git directory"),
    ],
)
def test_what_is_no_record_folder(folder: Folder, files: dict[str, str], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        load_folder(folder(files))


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="the folder is empty"):
        load_folder(tmp_path)


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("x")
    with pytest.raises(LoadError, match="is not a folder"):
        load_folder(tmp_path / "x.py")


@pytest.mark.parametrize("name", ["a\0b", "bell\x07"])
def test_paths_that_no_terminal_should_see(name: str) -> None:
    with pytest.raises(LoadError) as error:
        load_folder(name)
    assert str(error.value).isprintable()


def test_links_out_of_the_folder_are_not_followed(folder: Folder, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.txt").write_text("secret")
    root = folder(FILES)
    (root / "key.txt").symlink_to(secret / "key.txt")
    (root / "more").symlink_to(secret)
    (root / "loop").symlink_to(root)
    (root / "dangling").symlink_to("nowhere")
    submission = load_folder(root)
    notes = {item.path: item.note for item in submission.files if item.data is None}
    assert notes == dict.fromkeys(("key.txt", "more", "loop", "dangling"), "symbolic link, not followed")
    assert len(submission.problems) == 4


def test_special_files_are_not_opened(folder: Folder) -> None:
    root = folder(FILES)
    os.mkfifo(root / "pipe.log")
    submission = load_folder(root)
    assert [(problem.path, problem.message) for problem in submission.problems] == [
        ("pipe.log", "not a regular file, not read")
    ]


def test_of_a_log_of_200_megabytes_head_and_tail_are_held(folder: Folder) -> None:
    root = folder(FILES)
    with (root / "train.log").open("wb") as log:
        log.write(b"first\n")
        log.seek(200_000_000)
        log.write(b"last\n")
    stored = load_folder(root).by_role(Role.LOG)[0]
    assert stored.size == 200_000_005
    assert stored.data is not None
    assert (stored.data[:6], stored.tail[-5:]) == (b"first\n", b"last\n")
    assert len(stored.data) + len(stored.tail) == bounds.HEAD_BYTES + bounds.TAIL_BYTES


def test_the_folder_as_a_whole_is_bounded(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FOLDER_BYTES", 500)
    submission = load_folder(folder({**FILES, "zz.txt": "x" * 400, "zzz.txt": "y" * 400}))
    assert any("exceeds the bound" in problem.message for problem in submission.problems)
    assert submission.script is not None


def test_thousands_of_files(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FOLDER_FILES", 20)
    submission = load_folder(folder({**FILES, **{f"a{number}.txt": "x" for number in range(30)}}))
    assert len(submission.files) == 20
    assert any("more than 20 files" in problem.message for problem in submission.problems)


def test_deep_folders(folder: Folder) -> None:
    submission = load_folder(folder({**FILES, "d/" * 60 + "x.py": "x = 1\n"}))
    assert any("deep, not read" in problem.message for problem in submission.problems)


def test_names_that_are_no_text(folder: Folder) -> None:
    root = folder(FILES)
    (root / os.fsdecode(b"caf\xe9\x1b[31m.txt")).write_text("x")
    submission = load_folder(root)
    assert "caf\\xe9\\x1b[31m.txt" in {item.path for item in submission.files}
    assert [problem.message.partition(";")[0] for problem in submission.problems] == [
        "the name holds control characters or is not UTF-8"
    ]


def test_a_checkout_of_a_branch(git: GitBuilder, tmp_path: Path) -> None:
    git.commit("refs/heads/mine", {**record("2026-04-05_Own"), "setup.py": "x = 1\n"}, start=MAIN)
    git.write()
    submission = load_folder(git.checkout("refs/heads/mine", tmp_path / "work"))
    assert submission.folder == OWN
    assert submission.changed_outside_records == ("setup.py",)
    assert submission.script is not None
    assert submission.script.path == f"{OWN}/train_gpt.py"
    assert submission.created is not None


def test_a_folder_that_is_not_committed_yet(git: GitBuilder, tmp_path: Path) -> None:
    git.commit("refs/heads/mine", {"notes.txt": "x"}, start=MAIN)
    git.write()
    work = git.checkout("refs/heads/mine", tmp_path / "work")
    for path, text in record("2026-04-05_Own").items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(text)
    assert load_folder(work).folder == OWN


def test_several_added_folders_are_named(git: GitBuilder, tmp_path: Path) -> None:
    both = {**record("2026-04-05_Own"), **record("2026-04-06_Two")}
    git.commit("refs/heads/mine", both, start=MAIN)
    git.write()
    with pytest.raises(LoadError, match=r"several record folders were added.*2026-04-06_Two.*2026-04-05_Own"):
        load_folder(git.checkout("refs/heads/mine", tmp_path / "work"))


def test_a_checkout_of_main_adds_nothing(git: GitBuilder, tmp_path: Path) -> None:
    git.write()
    with pytest.raises(LoadError, match="HEAD adds no record folder"):
        load_folder(git.checkout(MAIN, tmp_path / "work"))


def test_the_merge_commit_that_continuous_integration_checks_out(git: GitBuilder, tmp_path: Path) -> None:
    git.commit("refs/pull/7/head", record("2026-04-05_Own"), start=MAIN)
    git.commit("refs/pull/7/merge", record("2026-04-05_Own"), start=MAIN, merge="refs/pull/7/head")
    git.write()
    work = git.checkout("refs/pull/7/merge", tmp_path / "work")
    assert load_folder(work).folder == OWN


def test_a_copy_without_git_and_one_folder(folder: Folder) -> None:
    root = folder(record("2026-04-05_Own"))
    assert load_folder(root).folder == OWN


def test_a_copy_without_git_takes_the_newest(folder: Folder) -> None:
    root = folder({**record("2026-04-05_Own"), **record("2026-03-01_Old"), **record("Undated")})
    assert load_folder(root).folder == OWN


def test_a_copy_without_git_and_two_of_one_day(folder: Folder) -> None:
    root = folder({**record("2026-04-05_Own"), **record("2026-04-05_Two")})
    with pytest.raises(LoadError, match=r"cannot tell.*2026-04-05_Own.*2026-04-05_Two"):
        load_folder(root)


def test_a_shim_reads_other_folders_of_the_checkout_only(folder: Folder) -> None:
    shim = "import runpy\nrunpy.run_path(__file__.replace('2026-04-05_Own', '2026-03-01_Base'), run_name='__main__')\n"
    root = folder({**record("2026-04-05_Own", train_gpt=shim), **record("2026-03-01_Base")})
    script = load_folder(root).script
    assert script is not None
    assert script.text.startswith(SCRIPT)
    alone = load_folder(root / OWN).script
    assert alone is not None
    assert alone.opaque
