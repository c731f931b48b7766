"""Audits in processes of their own: bounded, killed with their children, remembered. The auditor here is a stand-in."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.accuracy import auditing
from benchmarks.accuracy.auditing import Cache, Outcome, audit, audit_all, auditor_digest, pull_request_heads

REPORT = '{"schema": "pgolf-audit/1", "verdict": "%s", "rules": [{"rule": "C3", "status": "%s", "reason": "why"}]}'


def stand_in(tmp_path: Path, body: str) -> Path:
    """A folder with packages `auditor` and `rules` whose command line runs `body` (argv: --repo ... --output FILE)."""
    for package in auditing.PACKAGES:
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("")
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    (tmp_path / "auditor" / "cli.py").write_text(f"import os, sys, time\ndef main():\n{indented}\n")
    return tmp_path


def reporting(verdict: str, status: str, exit_code: int) -> str:
    return f"open(sys.argv[-1], 'w').write('''{REPORT % (verdict, status)}''')\nreturn {exit_code}"


def run(root: Path, limit_seconds: float = 60.0) -> Outcome:
    return audit(root / "repo.git", 7, "c0ffee", limit_seconds=limit_seconds, root=root)


@pytest.mark.parametrize(("verdict", "exit_code"), [("pass", 0), ("fail", 1), ("review", 3)])
def test_a_report_is_read(tmp_path: Path, verdict: str, exit_code: int) -> None:
    outcome = run(stand_in(tmp_path, reporting(verdict, verdict, exit_code)))
    assert (outcome.verdict, outcome.status("C3"), outcome.reasons["C3"], outcome.error) == (
        verdict,
        verdict,
        "why",
        "",
    )
    assert outcome.peak_bytes > 2**20


def test_an_exit_code_that_contradicts_the_report_is_no_outcome(tmp_path: Path) -> None:
    outcome = run(stand_in(tmp_path, reporting("pass", "pass", 1)))
    assert "contradicts" in outcome.error
    assert outcome.status("C3") == "not_audited"


def test_an_error_is_told_in_the_auditors_own_words(tmp_path: Path) -> None:
    outcome = run(stand_in(tmp_path, "print('PR 7: no record folder', file=sys.stderr)\nreturn 2"))
    assert outcome.error == "PR 7: no record folder"


def test_a_crash_is_an_error_even_with_exit_code_1(tmp_path: Path) -> None:
    outcome = run(stand_in(tmp_path, "raise KeyError('lost')"))
    assert outcome.error == "no usable JSON report (FileNotFoundError): KeyError: 'lost'"


def test_an_audit_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    child_file = tmp_path / "child"
    body = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(child_file)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    outcome = run(stand_in(tmp_path, body), limit_seconds=5.0)
    assert outcome.error == "killed after 5 s"
    assert gone(int(child_file.read_text()))


def gone(process: int) -> bool:
    """Whether `process` ends (or is a zombie that nobody has collected) within some seconds."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                return True
            state = "?"
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_outcomes_are_remembered_but_kills_are_not(tmp_path: Path) -> None:
    body = (
        "pull_request = sys.argv[sys.argv.index('--pr') + 1]\n"
        "open(os.path.join(os.getcwd(), 'audited'), 'a').write(pull_request + ' ')\n"
        "if pull_request == '2': time.sleep(600)\n" + reporting("pass", "pass", 0)
    )
    root = stand_in(tmp_path / "root", body)
    heads = {1: "aaaa", 2: "bbbb"}

    def once() -> dict[int, Outcome]:
        cache = Cache(tmp_path / "cache", "digest-of-the-auditor")
        return audit_all(tmp_path, [1, 2, 3], heads, jobs=1, limit_seconds=5.0, cache=cache, root=root)

    assert {number: item.error for number, item in once().items()} == {
        1: "",
        2: "killed after 5 s",
        3: "refs/pull/3/head is not there",
    }
    once()
    assert (root / "audited").read_text() == "1 2 2 "


def test_an_auditor_that_does_not_work_ends_the_measurement(tmp_path: Path) -> None:
    root = stand_in(tmp_path / "root", "raise KeyError('lost')")
    numbers = range(1, 100)
    cache = Cache(tmp_path / "cache", "digest-of-the-auditor")
    with pytest.raises(auditing.AuditorError, match="KeyError: 'lost'"):
        audit_all(tmp_path, numbers, dict.fromkeys(numbers, "aaaa"), jobs=1, limit_seconds=60.0, cache=cache, root=root)


def test_a_new_head_or_a_changed_auditor_is_audited_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "a" * 64)
    cache.put(Outcome(1, "aaaa", "pass", {"C3": "pass"}, {}, 1.0, 1.0, 1))
    assert cache.get(1, "aaaa") is not None
    assert cache.get(1, "bbbb") is None
    assert Cache(tmp_path, "b" * 64).get(1, "aaaa") is None
    assert Cache(tmp_path, "a" * 64).get(1, "aaaa") is not None


def test_a_damaged_cache_file_is_ignored(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "a" * 64)
    cache.put(Outcome(1, "aaaa", "pass", {}, {}, 1.0, 1.0, 1))
    for path in tmp_path.rglob("*.json"):
        path.write_text("{")
    assert cache.get(1, "aaaa") is None


def test_only_the_last_states_of_the_auditor_are_kept(tmp_path: Path) -> None:
    for letter in "abcdefgh":
        Cache(tmp_path, letter * 64)
    assert len(list(tmp_path.iterdir())) == auditing.KEPT_CACHES
    assert (tmp_path / ("h" * 16)).is_dir()


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
    with auditing.snapshot(root) as copy:
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
    with auditing.snapshot(root, committed=True) as copy:
        assert "broken" not in (copy / "auditor" / "cli.py").read_text()
        assert (copy / "rules" / "__init__.py").is_file()


def test_paths_of_this_machine_stay_out_of_errors(tmp_path: Path) -> None:
    outcome = run(stand_in(tmp_path, "print(sys.argv[2] + ' and ' + os.getcwd(), file=sys.stderr)\nreturn 2"))
    assert outcome.error == "the repository and ."


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_heads_are_listed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "x")
    commit = git(tmp_path, "rev-parse", "HEAD")
    git(tmp_path, "update-ref", "refs/pull/12/head", commit)
    git(tmp_path, "update-ref", "refs/pull/12/merge", commit)
    assert pull_request_heads(tmp_path / ".git") == {12: commit}


def test_a_folder_that_is_no_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(auditing.RepositoryError, match=str(tmp_path)):
        pull_request_heads(tmp_path)
