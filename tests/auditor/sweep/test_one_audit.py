"""One audit in a process of its own: bounded, killed with its children, told in words. The auditor is a stand-in."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auditor.sweep.one_audit import WorkerLostError, audit, execute_alone
from auditor.sweep.outcome import Outcome
from auditor.sweep.targets import Target
from auditor.sweep.warm import WarmProcess
from tests.auditor.sweep.stand_in import reporting, stand_in
from tests.auditor.sweep.stand_in import request as request_of

Run = Callable[..., Outcome]


@pytest.fixture(params=["alone", "warm"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Audits with a stand-in, in a new interpreter or in a child of a warm process."""
    warm = WarmProcess()
    execute = execute_alone if request.param == "alone" else warm.execute

    def audited(root: Path, limit_seconds: float = 60.0) -> Outcome:
        target = Target("refs/pull/7/head", "c0ffee", 7)
        return audit(target, request_of(str(root / "repo.git"), root, limit_seconds), execute)

    yield audited
    warm.close()


@pytest.mark.parametrize(("verdict", "exit_code"), [("pass", 0), ("fail", 1), ("review", 3)])
def test_a_report_is_read(run: Run, tmp_path: Path, verdict: str, exit_code: int) -> None:
    outcome = run(stand_in(tmp_path, reporting(verdict, verdict, exit_code)))
    assert (outcome.verdict, outcome.status("C3"), outcome.reasons["C3"], outcome.error) == (
        verdict,
        verdict,
        "why",
        "",
    )
    assert outcome.peak_bytes > 2**20
    assert not outcome.lost


def test_an_exit_code_that_contradicts_the_report_is_no_outcome(run: Run, tmp_path: Path) -> None:
    outcome = run(stand_in(tmp_path, reporting("pass", "pass", 1)))
    assert "contradicts" in outcome.error
    assert outcome.status("C3") == "not_audited"


def test_a_refusal_is_told_in_the_auditors_own_words_and_is_not_tried_again(run: Run, tmp_path: Path) -> None:
    outcome = run(stand_in(tmp_path, "print('pgolf-audit: PR 7: no record folder', file=sys.stderr)\nreturn 2"))
    assert outcome.error == "PR 7: no record folder"
    assert not outcome.lost


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise KeyError('lost')", "no usable JSON report (FileNotFoundError): KeyError: 'lost'"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended by signal 9"),
        ("print('internal error: MemoryError', file=sys.stderr)\nreturn 2", "internal error: MemoryError"),
        ("open(sys.argv[-1], 'w').write('[]')\nreturn 0", "no usable JSON report (TypeError)"),
    ],
)
def test_a_crash_is_worth_another_try(run: Run, tmp_path: Path, body: str, error: str) -> None:
    outcome = run(stand_in(tmp_path, body))
    assert outcome.error == error
    assert outcome.lost


def test_an_audit_that_hangs_is_killed_with_its_children(run: Run, tmp_path: Path) -> None:
    child_file = tmp_path / "child"
    body = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(child_file)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    outcome = run(stand_in(tmp_path, body), limit_seconds=5.0)
    assert outcome.error == "killed after 5 s"
    assert outcome.lost
    assert gone(int(child_file.read_text()))


def test_what_an_audit_leaves_running_is_ended(run: Run, tmp_path: Path) -> None:
    child_file = tmp_path / "child"
    body = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(child_file)!r}, 'w').write(str(child.pid))\n" + reporting("pass", "pass", 0)
    )
    assert run(stand_in(tmp_path, body)).verdict == "pass"
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


def test_paths_of_this_machine_stay_out_of_errors(run: Run, tmp_path: Path) -> None:
    outcome = run(stand_in(tmp_path, "print(sys.argv[2] + ' and ' + os.getcwd(), file=sys.stderr)\nreturn 2"))
    assert outcome.error == "the repository and ."


def test_a_warm_process_serves_one_audit_after_another_and_comes_back_after_its_death(tmp_path: Path) -> None:
    root = stand_in(tmp_path, "open('parents', 'a').write(f'{os.getppid()} ')\n" + reporting("pass", "pass", 0))
    target, asked = Target("refs/pull/7/head", "c0ffee", 7), request_of(str(root / "repo.git"), root)
    warm = WarmProcess()
    assert [audit(target, asked, warm.execute).verdict for _ in range(2)] == ["pass", "pass"]
    first, second = map(int, (root / "parents").read_text().split())
    assert first == second
    os.kill(first, signal.SIGKILL)
    while not gone(first):
        time.sleep(0.01)
    assert audit(target, asked, warm.execute).verdict == "pass"
    warm.close()
    with pytest.raises(WorkerLostError):
        audit(target, asked, warm.execute)


def test_an_audit_that_takes_its_process_with_it_is_lost(tmp_path: Path) -> None:
    root = stand_in(tmp_path, "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(600)")
    warm = WarmProcess()
    with pytest.raises(WorkerLostError):
        audit(Target("refs/pull/7/head", "c0ffee", 7), request_of(str(root / "repo.git"), root), warm.execute)
    warm.close()
