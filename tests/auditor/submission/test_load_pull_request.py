"""A pull request's own folder is found from git objects alone: open, merged, squashed, on a stale fork, or hostile."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditor.submission import LoadError, bounds, load_pull_request, load_ref
from auditor.submission import git as git_module
from auditor.submission.model import Role, Track
from tests.auditor.submission.repositories import SCRIPT, GitBuilder, record

MAIN = "refs/heads/main"
OWN = "records/track_10min_16mb/2026-04-05_Own"


def pull(number: int) -> str:
    return f"refs/pull/{number}/head"


def test_an_open_pull_request(git: GitBuilder) -> None:
    git.commit(pull(7), record("2026-04-05_Own", train__log="val_bpb:1.1\n"), start=MAIN)
    git.commit(MAIN, record("2026-04-06_Later"), message="another")
    submission = load_pull_request(git.write(), 7)
    assert submission.folder == OWN
    assert submission.track is Track.RECORD
    assert submission.pull_request == 7
    assert submission.script is not None
    assert submission.script.path == f"{OWN}/train_gpt.py"
    assert {item.path.rpartition("/")[2]: item.role for item in submission.files} == {
        "README.md": Role.README,
        "submission.json": Role.METADATA,
        "train.log": Role.LOG,
        "train_gpt.py": Role.SCRIPT,
    }
    assert submission.problems == ()
    assert submission.other_folders == submission.foreign_folders == submission.changed_outside_records == ()


def test_created_is_the_first_commit_that_touches_the_folder(git: GitBuilder) -> None:
    git.commit(pull(7), {"notes.txt": "x"}, start=MAIN, at=1_775_100_000)
    git.commit(pull(7), record("2026-04-05_Own"), at=1_775_200_000)
    git.commit(pull(7), {f"{OWN}/README.md": "better\n"}, at=1_775_300_000)
    submission = load_pull_request(git.write(), 7)
    assert submission.created == datetime.fromtimestamp(1_775_200_000, UTC)
    assert submission.changed_outside_records == ("notes.txt",)


def test_created_is_older_than_a_renaming_of_the_folder(git: GitBuilder) -> None:
    before, after = record("draft", readme="x\n"), record("2026-04-05_Own", readme="x\n")
    git.commit(pull(7), before, start=MAIN, at=1_775_100_000)
    git.commit(pull(7), {**dict.fromkeys(before), **after}, at=1_775_900_000)
    assert load_pull_request(git.write(), 7).created == datetime.fromtimestamp(1_775_100_000, UTC)


def test_a_merged_pull_request_is_compared_with_main_before_its_merge(git: GitBuilder) -> None:
    git.commit(pull(7), record("2026-04-05_Own"), start=MAIN)
    git.commit(MAIN, record("2026-04-04_Other"))
    git.commit(MAIN, record("2026-04-05_Own"), merge=pull(7), message="Merge pull request #7 from a/b")
    git.commit(MAIN, record("2026-04-09_Later"))
    assert load_pull_request(git.write(), 7).folder == OWN


def test_a_squashed_pull_request_that_took_main_in_afterwards(git: GitBuilder) -> None:
    git.commit(pull(7), record("2026-04-05_Own"), start=MAIN)
    git.commit(MAIN, record("2026-04-05_Own"), message="Record: own (#7)")
    git.commit(pull(7), merge=MAIN)
    submission = load_pull_request(git.write(), 7)
    assert submission.folder == OWN
    assert submission.script is not None


def test_a_head_that_is_just_main_changes_nothing(git: GitBuilder) -> None:
    git.commit(pull(7), {"a.txt": "x"}, start=MAIN)
    git.commit(pull(7), {"a.txt": None})
    with pytest.raises(LoadError, match="changes nothing"):
        load_pull_request(git.write(), 7)


def test_copies_of_earlier_pull_requests_are_foreign(git: GitBuilder) -> None:
    theirs = record("2026-04-07_Theirs", train__log="val_bpb:1.0\n")
    git.commit(pull(5), theirs, start=MAIN)
    git.commit(pull(7), {**theirs, **record("2026-04-05_Own")}, start=MAIN)
    submission = load_pull_request(git.write(), 7)
    assert submission.folder == OWN
    assert submission.foreign_folders == ("records/track_10min_16mb/2026-04-07_Theirs",)
    assert submission.other_folders == ()


def test_a_folder_of_the_same_name_with_other_content_is_own(git: GitBuilder) -> None:
    git.commit(pull(5), record("2026-04-07_Same"), start=MAIN)
    different = record("2026-04-07_Same", train_gpt=SCRIPT + "x = 1\n", readme="other\n", submission='{"name": "y"}\n')
    git.commit(pull(7), {**different, **record("2026-04-05_Own")}, start=MAIN)
    submission = load_pull_request(git.write(), 7)
    assert submission.folder == "records/track_10min_16mb/2026-04-07_Same"
    assert submission.foreign_folders == ()
    assert submission.other_folders == (OWN,)
    assert any(OWN in problem.message for problem in submission.problems)


def test_a_folder_that_a_later_pull_request_copies_stays_own(git: GitBuilder) -> None:
    git.commit(pull(7), {**record("2026-04-05_Own"), **record("2026-04-01_Extra")}, start=MAIN)
    git.commit(pull(9), record("2026-04-05_Own"), start=MAIN)
    submission = load_pull_request(git.write(), 7)
    assert submission.folder == OWN
    assert submission.foreign_folders == ()


def test_a_pull_request_of_copies_only_is_loaded_with_a_remark(git: GitBuilder) -> None:
    both = {**record("2026-04-05_Own"), **record("2026-04-04_Other")}
    git.commit(pull(5), both, start=MAIN)
    git.commit(pull(7), both, start=MAIN)
    submission = load_pull_request(git.write(), 7)
    assert submission.folder == OWN
    assert any("in an earlier one too" in problem.message for problem in submission.problems)


def test_the_complete_folder_is_preferred_to_a_newer_one_without_script(git: GitBuilder) -> None:
    notes = record("2026-04-20_Notes", train_gpt=None, submission=None)
    git.commit(pull(7), {**record("2026-04-05_Own"), **notes}, start=MAIN)
    assert load_pull_request(git.write(), 7).folder == OWN


@pytest.mark.parametrize(
    "place", ["records/records/track_10min_16mb/2026-04-05_Own", "records/own", "records/track_non_record_16mb/own"]
)
def test_folders_in_unusual_places(git: GitBuilder, place: str) -> None:
    files = {f"{place}/{path.rpartition('/')[2]}": text for path, text in record("x").items()}
    git.commit(pull(7), files, start=MAIN)
    submission = load_pull_request(git.write(), 7)
    assert submission.folder == place
    assert submission.track is (Track.NON_RECORD if "non_record" in place else Track.RECORD)


def test_track_from_submission_json_when_the_path_names_none(git: GitBuilder) -> None:
    metadata = '{"track": "non-record-unlimited-compute-16mb"}'
    git.commit(pull(7), {"records/own/train_gpt.py": SCRIPT, "records/own/submission.json": metadata}, start=MAIN)
    assert load_pull_request(git.write(), 7).track is Track.NON_RECORD


def test_a_pull_request_without_record_folder_shows_its_changes(git: GitBuilder) -> None:
    git.commit(pull(7), {"train_gpt.py": SCRIPT, "data/README.md": "x"}, start=MAIN)
    submission = load_pull_request(git.write(), 7)
    assert submission.folder == ""
    assert [item.path for item in submission.files] == ["data/README.md", "train_gpt.py"]
    assert submission.script is not None
    assert any("no folder under records/" in problem.message for problem in submission.problems)


def test_an_unknown_number_names_the_remedy(git: GitBuilder) -> None:
    with pytest.raises(LoadError, match=r"no pull request 12345 .*git fetch origin pull/12345/head"):
        load_pull_request(git.write(), 12345)


@pytest.mark.parametrize("kind", ["missing", "file", "folder"])
def test_what_is_no_git_directory(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("x")
    if kind == "folder":
        place.mkdir()
    with pytest.raises(LoadError) as error:
        load_pull_request(place, 1)
    assert str(place) in str(error.value)
    assert "\n" not in str(error.value)


def test_references_by_name(git: GitBuilder) -> None:
    git.commit("refs/heads/mine", record("2026-04-05_Own"), start=MAIN)
    path = git.write()
    assert load_ref(path, "mine", "main").folder == OWN
    assert load_ref(path, "mine").folder == OWN


@pytest.mark.parametrize("ref", ["nope", "--output=/tmp/x", "-h", "", "main\nx", "main^{tree}"])
def test_what_names_no_commit(git: GitBuilder, ref: str) -> None:
    with pytest.raises(LoadError, match="does not name a commit"):
        load_ref(git.write(), ref, "main")


def test_the_environment_cannot_redirect_git(git: GitBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git.commit(pull(7), record("2026-04-05_Own"), start=MAIN)
    path = git.write()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "/bin/false")
    assert load_pull_request(path, 7).folder == OWN


def test_the_repository_s_own_configuration_starts_nothing(git: GitBuilder, tmp_path: Path) -> None:
    git.commit(pull(7), record("2026-04-05_Own"), start=MAIN)
    path = git.write()
    mark = tmp_path / "started"
    hook = tmp_path / "hook.sh"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "diff.external", "core.sshCommand", "core.alternateRefsCommand"):
        subprocess.run(["git", f"--git-dir={path}", "config", key, str(hook)], check=True)
    assert load_pull_request(path, 7).folder == OWN
    assert not mark.exists()


def test_replacement_objects_are_not_obeyed(git: GitBuilder) -> None:
    git.commit(pull(7), record("2026-04-05_Own", train_gpt="honest = 1\n"), start=MAIN)
    git.commit("refs/heads/decoy", {"decoy.py": "decoy = 1\n"}, start=MAIN)
    path = git.write()

    def name(what: str) -> str:
        command = ["git", f"--git-dir={path}", "rev-parse", what]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    names = name(f"{pull(7)}:{OWN}/train_gpt.py"), name("refs/heads/decoy:decoy.py")
    subprocess.run(["git", f"--git-dir={path}", "replace", *names], check=True)
    script = load_pull_request(path, 7).script
    assert script is not None
    assert script.text == "honest = 1\n"


def test_links_and_odd_names_are_reported_not_followed(git: GitBuilder) -> None:
    files = {
        **record("2026-04-05_Own"),
        f"{OWN}/link.py": "/etc/passwd",
        f"{OWN}/bell\x07.txt": "x",
        f"{OWN}/caf\udce9.txt": "x",
        f"{OWN}/‮gpj.py": "x = 1\n",
    }
    git.commit(pull(7), files, start=MAIN, modes={f"{OWN}/link.py": "120000"})
    submission = load_pull_request(git.write(), 7)
    by_name = {item.path.rpartition("/")[2]: item for item in submission.files}
    assert by_name["link.py"].data is None
    assert "symbolic link" in by_name["link.py"].note
    assert {"bell\\x07.txt", "caf\\xe9.txt", "\\u202egpj.py"} <= by_name.keys()
    messages = [problem.message for problem in submission.problems]
    assert sum("control characters" in message for message in messages) == 3
    assert all(path.isprintable() for path in by_name)


def test_a_large_blob_keeps_head_and_tail(git: GitBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    log = b"first line\n" + b"x" * 5000 + b"\nlast val_bpb:1.1\n"
    git.commit(pull(7), {**record("2026-04-05_Own"), f"{OWN}/train.log": log}, start=MAIN)
    for name, value in (("FILE_BYTES", 4000), ("HEAD_BYTES", 1000), ("TAIL_BYTES", 1000)):
        monkeypatch.setattr(git_module.bounds, name, value)
    stored = next(item for item in load_pull_request(git.write(), 7).files if item.path.endswith("train.log"))
    assert (stored.size, stored.data, stored.tail) == (len(log), log[:1000], log[-1000:])
    assert not stored.complete


def test_a_blob_too_large_to_drain_is_left_alone(git: GitBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    git.commit(pull(7), {**record("2026-04-05_Own"), f"{OWN}/a_big.log": "y" * 100_000}, start=MAIN)
    for name, value in (("FILE_BYTES", 4000), ("DRAINED_BYTES", 50_000)):
        monkeypatch.setattr(git_module.bounds, name, value)
    submission = load_pull_request(git.write(), 7)
    stored = next(item for item in submission.files if item.path.endswith("a_big.log"))
    assert (stored.size, stored.data) == (100_000, None)
    assert "exceed the bound" in stored.note
    assert submission.script is not None


def test_a_missing_object_is_one_problem(git: GitBuilder) -> None:
    git.commit(pull(7), {**record("2026-04-05_Own"), f"{OWN}/gone.log": "val_bpb\n"}, start=MAIN)
    path = git.write()
    name = subprocess.run(
        ["git", f"--git-dir={path}", "rev-parse", f"{pull(7)}:{OWN}/gone.log"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    subprocess.run(["git", f"--git-dir={path}", "unpack-objects", "-q"], input=b"", check=False)
    for pack in (path / "objects" / "pack").glob("*.pack"):
        moved = path / pack.name
        for part in pack.parent.glob(pack.stem + ".*"):
            part.chmod(0o644)
            part.rename(path / part.name)
        subprocess.run(["git", f"--git-dir={path}", "unpack-objects", "-q"], stdin=moved.open("rb"), check=True)
    (path / "objects" / name[:2] / name[2:]).unlink()
    submission = load_pull_request(path, 7)
    gone = next(item for item in submission.files if item.path.endswith("gone.log"))
    assert gone.note == "not in this copy of the repository"
    assert submission.script is not None


def test_depth_and_number_of_files_are_bounded(git: GitBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = f"{OWN}/" + "d/" * 40 + "x.py"
    git.commit(pull(7), {**record("2026-04-05_Own"), deep: "x = 1\n"}, start=MAIN)
    git.commit(pull(8), {f"{OWN}/{number}.txt": "x" for number in range(60)}, start=MAIN)
    path = git.write()
    assert any("deep, not read" in problem.message for problem in load_pull_request(path, 7).problems)
    monkeypatch.setattr(git_module.bounds, "FOLDER_FILES", 50)
    many = load_pull_request(path, 8)
    assert len(many.files) == 50
    assert any("more than 50 files" in problem.message for problem in many.problems)


def test_a_few_trees_that_stand_for_billions_of_paths(git: GitBuilder) -> None:
    path = git.write()
    environment = {"PATH": os.environ["PATH"], "GIT_DIR": str(path)}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "a", f"GIT_{role}_EMAIL": "a@b.example"}

    def run(*arguments: str, given: str = "") -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, input=given, check=True, capture_output=True, text=True, env=environment)
        return done.stdout.strip()

    tree = run("mktree", given=f"100644 blob {run('hash-object', '-w', '--stdin', given='x')}\tx.py\n")
    for _ in range(10):
        tree = run("mktree", given="".join(f"040000 tree {tree}\td{number}\n" for number in range(10)))
    for name in ("2026-04-05_Bomb", "track_10min_16mb", "records"):
        tree = run("mktree", given=f"040000 tree {tree}\t{name}\n")
    run("update-ref", pull(7), run("commit-tree", tree, "-p", "main", "-m", "bomb"))
    submission = load_pull_request(path, 7)
    assert submission.folder == "records/track_10min_16mb/2026-04-05_Bomb"
    assert len(submission.files) == bounds.FOLDER_FILES
    assert any("20,000 paths or more" in problem.message for problem in submission.problems)
