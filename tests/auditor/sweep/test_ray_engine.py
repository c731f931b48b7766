"""A sweep on a real local Ray instance. Skipped where Ray is not installed: it is no dependency of this project."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.sweep.memory import Cache
from auditor.sweep.sweeping import sweep
from auditor.sweep.targets import list_targets
from tests.auditor.sweep.stand_in import reporting, repository, request, stand_in

pytest.importorskip("ray", reason="Ray is not installed")

KILLS_ITS_WORKER_ONCE = """\
number = int(sys.argv[sys.argv.index('--pr') + 1])
if number == 3 and not os.path.exists('tried'):
    open('tried', 'w').write(str(os.getppid()))
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
"""


def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """Forbidden: a pull request is missing, or is left not audited, because the worker that had it was killed."""
    from auditor.sweep.ray_engine import RayEngine

    root = stand_in(tmp_path / "root", KILLS_ITS_WORKER_ONCE + reporting("pass", "pass", 0))
    git_dir = repository(tmp_path, 6)
    heard: list[int | None] = []
    with RayEngine(request(git_dir, root)) as engine:
        outcomes = sweep(
            git_dir,
            list_targets(git_dir),
            engine,
            Cache(tmp_path / "cache", "digest"),
            lambda outcome, remembered: heard.append(outcome.pull_request),
        )
    killed = int((root / "tried").read_text())
    assert not Path(f"/proc/{killed}").exists()
    assert [(item.pull_request, item.verdict, item.error) for item in outcomes] == [
        (number, "pass", "") for number in range(1, 7)
    ]
    assert sorted(number or 0 for number in heard) == [1, 2, 3, 4, 5, 6]
    assert outcomes[2].tries == 2


def test_a_node_with_another_auditor_refuses(tmp_path: Path) -> None:
    from auditor.sweep.ray_engine import audit_on_node

    root = stand_in(tmp_path / "root", reporting("pass", "pass", 0))
    git_dir = repository(tmp_path, 1)
    [target] = list_targets(git_dir)
    outcome = audit_on_node(target, request(git_dir, root), "digest of another state")
    assert "another version" in outcome.error
