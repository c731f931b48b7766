"""Jobs that behave, in every confinement that works here: what a run gets, and what its outcome says."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.run.model import MIB, Bind, Confinement, Job, Limits, NoConfinementError, Outcome
from auditor.run.sandbox import find_confinement, remove_tree, run_job, running, working_confinements

WAYS = working_confinements()
LIMITS = Limits(seconds=30.0, memory_bytes=256 * MIB, scratch_bytes=32 * MIB, output_bytes=MIB)
pytestmark = pytest.mark.skipif(not WAYS, reason="nothing on this machine can confine a run")


@pytest.fixture(params=WAYS, ids=[way.name.partition(" ")[0] for way in WAYS])
def way(request: pytest.FixtureRequest) -> Confinement:
    return request.param  # type: ignore[no-any-return]


def run_python(code: str, way: Confinement, *binds: Bind, folder: str = "/tmp", limits: Limits = LIMITS) -> Outcome:
    command = (sys.executable, "-I", "-B", "-c", code)
    return run_job(Job(command, folder, {"PATH": "/usr/bin:/bin"}, binds, limits, report=False), way)


def test_output_exit_code_and_environment(way: Confinement) -> None:
    code = (
        "import os, sys; print(sorted(set(os.environ) - {'PWD', 'LC_CTYPE'})); print('e', file=sys.stderr); sys.exit(3)"
    )
    outcome = run_python(code, way)
    assert outcome.stdout == b"['PATH']\n"
    assert outcome.stderr == b"e\n"
    assert (outcome.exit_code, outcome.signal, outcome.stopped_by, outcome.completed) == (3, None, "", False)
    assert 0 < outcome.seconds < 30


def test_death_by_signal_is_told(way: Confinement) -> None:
    outcome = run_python("import os; os.abort()", way)
    assert (outcome.exit_code, outcome.signal) == (None, 6)


def test_memory_and_processor_time_are_measured(way: Confinement) -> None:
    outcome = run_python("x = b'x' * (100 << 20); import time\nwhile time.process_time() < 0.3: pass", way)
    assert 100 * MIB < outcome.peak_memory_bytes < 160 * MIB
    assert 0.2 < outcome.cpu_seconds < 10


def test_shared_pages_of_forked_processes_count_once(way: Confinement) -> None:
    """Forbidden: a script with loader processes is stopped for memory that it does not take."""
    code = """
import os, time
x = b'x' * (60 << 20)
for _ in range(8):
    if os.fork() == 0:
        time.sleep(0.5)
        os._exit(0)
time.sleep(0.4)
"""
    outcome = run_python(code, way)
    assert outcome.stopped_by == ""
    assert outcome.peak_memory_bytes < 150 * MIB


def test_writable_bind_keeps_what_was_written(way: Confinement, tmp_path: Path) -> None:
    outcome = run_python("open('result', 'w').write('42')", way, Bind(tmp_path, "/work/x", True), folder="/work/x")
    assert outcome.completed
    assert (tmp_path / "result").read_text() == "42"


def test_two_processes_talk_over_loopback(way: Confinement) -> None:
    code = """
import os, socket
server = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    socket.create_connection(server.getsockname()).sendall(b"hello")
    os._exit(0)
print(server.accept()[0].recv(5), socket.gethostbyname("localhost"), socket.gethostbyname(socket.gethostname()))
"""
    assert run_python(code, way).stdout == b"b'hello' 127.0.0.1 127.0.0.1\n"


def test_compiler_and_native_code_work(way: Confinement) -> None:
    code = """
import ctypes, subprocess
open("/tmp/a.c", "w").write("#include <math.h>\\nint seven(void) { return (int)floor(7.5); }")
subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", "/tmp/a.so", "/tmp/a.c", "-lm"], check=True)
print(ctypes.CDLL("/tmp/a.so").seven())
"""
    if not Path("/usr/bin/gcc").exists():
        pytest.skip("no compiler on this machine")
    assert run_python(code, way).stdout == b"7\n"


def test_multiprocessing_and_shared_memory_work(way: Confinement) -> None:
    code = """
import multiprocessing, multiprocessing.shared_memory as shared, tempfile, getpass, os
pool = multiprocessing.get_context("fork").Pool(2)
segment = shared.SharedMemory(create=True, size=1000)
segment.buf[0] = 7
print(sum(pool.map(abs, range(-5, 0))), segment.buf[0], getpass.getuser(), os.getcwd(), tempfile.gettempdir())
segment.close()
segment.unlink()
"""
    assert run_python(code, way).stdout == b"15 7 audit /tmp /tmp\n"


def test_full_pipes_do_not_stop_anybody(way: Confinement) -> None:
    """Forbidden: a run that fills one pipe while the auditor reads another hangs."""
    code = "import os\nfor _ in range(8):\n    os.write(2, b'e' * 200000); os.write(1, b'o' * 200000)"
    outcome = run_python(code, way)
    assert outcome.completed
    assert outcome.truncated == ("stdout", "stderr")
    assert len(outcome.stdout) == len(outcome.stderr) == MIB


def test_program_that_does_not_exist_is_one_clear_line(way: Confinement) -> None:
    job = Job(("/usr/bin/no-such-program",), "/tmp", {}, (), LIMITS, report=False)
    with pytest.raises(NoConfinementError, match="no-such-program") as refused:
        run_job(job, way)
    assert "\n" not in str(refused.value)


def test_folder_that_does_not_exist_is_an_error(way: Confinement) -> None:
    with pytest.raises(NoConfinementError):
        run_python("pass", way, folder="/nowhere")


def test_relative_program_is_refused(way: Confinement) -> None:
    with pytest.raises(NoConfinementError, match="absolute"):
        run_job(Job(("python3",), "/tmp", {}, (), LIMITS), way)


def test_auditor_killed_in_the_middle_takes_the_run_with_it(way: Confinement, tmp_path: Path) -> None:
    """Forbidden: the run goes on after the auditor was killed."""
    beat = tmp_path / "beat"
    inner = "import time\nwhile True:\n    open('beat', 'a').write('x'); time.sleep(0.01)"
    outer = (
        "import sys; from pathlib import Path; from auditor.run.model import Bind, Confinement, Job\n"
        "from auditor.run.sandbox import run_job\n"
        f"job = Job((sys.executable, '-I', '-B', '-c', {inner!r}), '/work/x', {{'PATH': '/usr/bin:/bin'}}, "
        f"(Bind(Path({str(tmp_path)!r}), '/work/x', True),), report=False)\n"
        f"run_job(job, Confinement({way.name!r}, (), ()))"
    )
    (tmp_path / "left").mkdir()  # a killed auditor cannot take its own folder away
    environment = {**os.environ, "TMPDIR": str(tmp_path / "left")}
    auditor = subprocess.Popen([sys.executable, "-c", outer], cwd=Path(__file__).resolve().parents[4], env=environment)
    for _ in range(1500):
        if beat.exists() or auditor.poll() is not None:
            break
        running.time.sleep(0.02)
    assert beat.exists()
    auditor.kill()
    auditor.wait()
    running.time.sleep(0.3)
    size = beat.stat().st_size
    running.time.sleep(0.2)
    assert beat.stat().st_size == size


def test_no_descriptor_and_no_folder_of_a_run_stays(way: Confinement) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    run_python("print(1)", way)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_without_any_way_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_refusal", lambda name: "is not here")
    with pytest.raises(NoConfinementError, match="no sandbox works on this machine") as refused:
        find_confinement()
    assert "\n" not in str(refused.value)


def test_bubblewrap_is_not_required(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [way for way in WAYS if way.name != running.BUBBLEWRAP]
    if not others:
        pytest.skip("only bubblewrap works here")
    refusal = running._refusal
    monkeypatch.setattr(running, "_refusal", lambda name: "gone" if name == running.BUBBLEWRAP else refusal(name))
    assert find_confinement() == others[0]


def test_hostile_folders_can_be_removed(tmp_path: Path) -> None:
    """Forbidden: a folder nested ever so deeply, or a link in it, makes the clean-up fail or reach outside."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    folder, here = tmp_path / "folder", Path.cwd()
    folder.mkdir()
    try:
        os.chdir(folder)
        Path("link").symlink_to(kept)
        for _ in range(200):
            Path("d" * 100).mkdir()
            os.chdir("d" * 100)
        Path("link").symlink_to(kept)
        Path("closed").mkdir(0)
    finally:
        os.chdir(here)
    remove_tree(str(folder))
    assert not folder.exists()
    assert (kept / "file").read_text() == "x"


def test_limits_are_those_of_the_job(way: Confinement) -> None:
    code = "import resource as r; print([r.getrlimit(k) for k in (r.RLIMIT_AS, r.RLIMIT_FSIZE, r.RLIMIT_CORE)])"
    limits = replace(LIMITS, address_space_bytes=1024 * MIB, file_bytes=MIB)
    expected = [(1024 * MIB, 1024 * MIB), (MIB, MIB), (0, 0)]
    assert run_python(code, way, limits=limits).stdout.decode() == f"{expected}\n"
