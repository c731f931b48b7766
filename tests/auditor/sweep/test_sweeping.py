"""A sweep loses nothing: hung and killed audits are tried again, outcomes are remembered. The auditor is a stand-in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from auditor.sweep.memory import KEPT_STATES, Cache
from auditor.sweep.outcome import Outcome
from auditor.sweep.processes import ProcessEngine
from auditor.sweep.sweeping import AuditorError, sweep
from auditor.sweep.targets import list_targets
from tests.auditor.submission.repositories import GitBuilder, record
from tests.auditor.sweep.stand_in import reporting, repository, request, stand_in

NUMBER = "number = int(sys.argv[sys.argv.index('--pr') + 1])\n"
NOTED = "open(os.path.join(os.getcwd(), 'audited'), 'a').write(f'{number} ')\n"
PASSES = reporting("pass", "pass", 0)


def swept(git_dir: str, root: Path, cache: Path, *, jobs: int = 2, limit_seconds: float = 60.0) -> list[Outcome]:
    with ProcessEngine(request(git_dir, root, limit_seconds), jobs) as engine:
        return sweep(git_dir, list_targets(git_dir), engine, Cache(cache, "digest-of-the-auditor"))


def audited(root: Path) -> Counter[str]:
    path = root / "audited"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def test_what_is_killed_once_is_audited_after_all(tmp_path: Path) -> None:
    body = (
        NUMBER
        + NOTED
        + (
            "if number == 2 and not os.path.exists('tried'):\n"
            "    open('tried', 'w').close()\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        + PASSES
    )
    root = stand_in(tmp_path / "root", body)
    outcomes = swept(repository(tmp_path, 4), root, tmp_path / "cache")
    assert [(item.pull_request, item.verdict, item.tries) for item in outcomes] == [
        (1, "pass", 1),
        (2, "pass", 2),
        (3, "pass", 1),
        (4, "pass", 1),
    ]
    assert audited(root) == {"1": 1, "2": 2, "3": 1, "4": 1}


def test_what_hangs_twice_is_recorded_with_the_reason_and_not_remembered(tmp_path: Path) -> None:
    root = stand_in(tmp_path / "root", NUMBER + NOTED + "if number == 2: time.sleep(600)\n" + PASSES)
    git_dir = repository(tmp_path, 3)
    outcomes = swept(git_dir, root, tmp_path / "cache", limit_seconds=5.0)
    assert [(item.error, item.tries) for item in outcomes] == [("", 1), ("killed after 5 s", 2), ("", 1)]
    swept(git_dir, root, tmp_path / "cache", limit_seconds=5.0)
    assert audited(root) == {"1": 1, "2": 4, "3": 1}


def test_a_refusal_is_remembered_like_a_verdict(tmp_path: Path) -> None:
    body = NUMBER + NOTED + "print(f'PR {number}: changes nothing', file=sys.stderr)\nreturn 2"
    root = stand_in(tmp_path / "root", body)
    git_dir = repository(tmp_path, 2)
    first, second = (swept(git_dir, root, tmp_path / "cache") for _ in range(2))
    assert [item.error for item in first] == ["PR 1: changes nothing", "PR 2: changes nothing"]
    assert first == second
    assert audited(root) == {"1": 1, "2": 1}


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    root = stand_in(tmp_path / "root", NUMBER + NOTED + PASSES)
    git_dir = repository(tmp_path, 6)
    heard: list[int | None] = []

    def interrupt(outcome: Outcome, remembered: bool) -> None:
        heard.append(outcome.pull_request)
        if len(heard) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ProcessEngine(request(git_dir, root), 1) as engine:
        sweep(git_dir, list_targets(git_dir), engine, Cache(tmp_path / "cache", "digest-of-the-auditor"), interrupt)
    outcomes = swept(git_dir, root, tmp_path / "cache", jobs=1)
    assert [item.pull_request for item in outcomes] == [1, 2, 3, 4, 5, 6]
    counts = audited(root)
    assert all(counts[str(number)] == 1 for number in heard)
    assert sum(counts.values()) <= 6 + 2  # what was under way when it was interrupted, and at most that


def test_an_auditor_that_does_not_work_ends_the_sweep(tmp_path: Path) -> None:
    root = stand_in(tmp_path / "root", "raise KeyError('lost')")
    with pytest.raises(AuditorError, match="KeyError: 'lost'"):
        swept(repository(tmp_path, 12), root, tmp_path / "cache")


def pulls(folder: Path, message: str, content: str, at: int) -> str:
    """A repository with pull request 1; its one commit has `message` and a script with `content`."""
    git = GitBuilder(folder / "repo.git")
    git.commit("refs/heads/main", {"README.md": "golf\n", **record("2026-03-01_Baseline")}, message="launch")
    script = {"records/track_10min_16mb/2026-04-01_Try/train_gpt.py": content}
    head = "refs/pull/1/head"
    git.commit(head, {**record("2026-04-01_Try"), **script}, start="refs/heads/main", message=message, at=at)
    return str(git.write())


@pytest.mark.parametrize(
    ("message", "content", "at", "again"),
    [
        ("reworded", "print(1)\n", 1_776_000_000, False),  # another commit of the same content
        ("change", "print(2)\n", 1_776_000_000, True),
        ("change", "print(1)\n", 1_777_000_000, True),  # rules judge by the day it was written
    ],
)
def test_outcomes_are_kept_by_what_an_audit_reads(
    tmp_path: Path, message: str, content: str, at: int, again: bool
) -> None:
    root = stand_in(tmp_path / "root", NUMBER + NOTED + PASSES)
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    [before] = swept(pulls(tmp_path / "old", "change", "print(1)\n", 1_776_000_000), root, tmp_path / "cache")
    [after] = swept(pulls(tmp_path / "new", message, content, at), root, tmp_path / "cache")
    assert after.head != before.head
    assert audited(root) == {"1": 2 if again else 1}


def test_another_state_of_the_auditor_remembers_nothing_of_this_one(tmp_path: Path) -> None:
    outcome = Outcome(1, "aaaa", "pass", {"C3": "pass"}, {}, 1.0, 1.0, 1)
    Cache(tmp_path, "a" * 64).put("key", outcome)
    assert Cache(tmp_path, "b" * 64).get("key") is None
    assert Cache(tmp_path, "a" * 64).get("key") == outcome
    assert Cache(tmp_path, "a" * 64).get("other") is None


def test_a_damaged_cache_file_is_ignored(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "a" * 64)
    cache.put("key", Outcome(1, "aaaa", "pass", {}, {}, 1.0, 1.0, 1))
    for path in tmp_path.rglob("*.json"):
        path.write_text("{")
    assert cache.get("key") is None


def test_only_the_last_states_of_the_auditor_are_kept(tmp_path: Path) -> None:
    for letter in "abcdefgh":
        Cache(tmp_path, letter * 64)
    assert len(list(tmp_path.iterdir())) == KEPT_STATES
    assert (tmp_path / ("h" * 16)).is_dir()
