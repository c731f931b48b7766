"""What there is to audit, and which state of the auditor audits it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from auditor.sweep.code_state import auditor_digest, snapshot
from auditor.sweep.targets import TargetError, list_targets, pull_request_heads
from tests.auditor.submission.repositories import GitBuilder, record
from tests.auditor.sweep.stand_in import stand_in


@pytest.fixture
def git_dir(tmp_path: Path) -> Path:
    builder = GitBuilder(tmp_path / "repo.git")
    builder.commit("refs/heads/main", record("2026-03-01_Baseline"))
    for reference in ("refs/pull/12/head", "refs/pull/3/head", "refs/pull/12/merge", "refs/heads/feature"):
        builder.commit(reference, record("2026-04-01_Try"), start="refs/heads/main")
    return builder.write()


def test_pull_requests_are_listed_by_number(git_dir: Path) -> None:
    assert [target.pull_request for target in list_targets(git_dir)] == [3, 12]
    assert set(pull_request_heads(git_dir)) == {3, 12}


def test_other_references_can_be_asked_for(git_dir: Path) -> None:
    targets = list_targets(git_dir, ["refs/heads/fea*", "refs/pull/3/head"])
    assert [(target.name, target.pull_request) for target in targets] == [("PR 3", 3), ("refs/heads/feature", None)]


@pytest.mark.parametrize("patterns", [["refs/nothing/*"], ["--exec=touch x"], [""]])
def test_nothing_to_audit_is_an_error(git_dir: Path, patterns: list[str]) -> None:
    with pytest.raises(TargetError, match="no references"):
        list_targets(git_dir, patterns)


def test_a_folder_that_is_no_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=str(tmp_path)):
        list_targets(tmp_path)


def test_the_digest_follows_every_source_and_data_file(tmp_path: Path) -> None:
    root = stand_in(tmp_path, "return 0")
    digests = [auditor_digest(root)]
    (root / "rules" / "data.json").write_text("[1]")
    digests.append(auditor_digest(root))
    (root / "rules" / "data.json").write_text("[2]")
    digests.append(auditor_digest(root))
    assert len(set(digests)) == 3
    (root / "rules" / "__pycache__").mkdir()
    (root / "rules" / "__pycache__" / "x.pyc").write_text("")
    assert auditor_digest(root) == digests[-1]


def test_a_snapshot_does_not_see_later_edits(tmp_path: Path) -> None:
    root = stand_in(tmp_path, "return 0")
    with snapshot(root) as copy:
        (root / "auditor" / "cli.py").write_text("broken(")
        assert "broken" not in (copy / "auditor" / "cli.py").read_text()
        folder = copy
    assert not folder.exists()


def test_a_committed_snapshot_leaves_uncommitted_edits_out(tmp_path: Path) -> None:
    root = stand_in(tmp_path, "return 0")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "x")
    (root / "auditor" / "cli.py").write_text("broken(")
    with snapshot(root, committed=True) as copy:
        assert "broken" not in (copy / "auditor" / "cli.py").read_text()
        assert (copy / "rules" / "__init__.py").is_file()


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)
