"""Every escape and forgery, in every confinement that works on this machine. Each case names its forbidden outcome."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from auditor.run.model import Confinement, Outcome
from auditor.run.sandbox import working_confinements
from benchmarks.escapes.cases import CASES
from benchmarks.escapes.judging import Case, judge, untraced
from benchmarks.escapes.world import World, made_world

WAYS = working_confinements()
pytestmark = pytest.mark.skipif(not WAYS, reason="nothing on this machine can confine a run")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with made_world() as made:
        yield made


@pytest.mark.parametrize("way", WAYS, ids=[way.name.partition(" ")[0] for way in WAYS])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_forbidden_outcome_does_not_happen(case: Case, way: Confinement, world: World) -> None:
    """Forbidden: see `case.forbidden`. The script neither gets it nor stays unnoticed, and leaves nothing behind."""
    verdict = judge(case, way, world)
    output = verdict.outcome.stdout[-2000:] + verdict.outcome.stderr[-2000:]
    assert verdict.got_out == (), f"{case.forbidden} {output!r}"
    assert verdict.left_behind == ()
    assert verdict.untraced == (), ascii(output)


@pytest.mark.parametrize("stopped_by", ["", "30 processes and threads"])
@pytest.mark.parametrize("broken_chain", ["", "no end message"])
def test_script_that_was_refused_may_have_been_stopped_as_well(stopped_by: str, broken_chain: str) -> None:
    """It says that it was refused, and is counted before it has ended, or just after its report has."""
    refused = _outcome(b"refused: can't start new thread\n", stopped_by, broken_chain)
    assert untraced(BOMB, refused) == []


def test_bomb_that_was_neither_refused_nor_stopped_is_told() -> None:
    assert untraced(BOMB, _outcome(b"", "", ""))


def test_refusal_does_not_excuse_another_limit() -> None:
    assert untraced(BOMB, _outcome(b"refused: can't start new thread\n", "30 s wall clock", "no end message"))


BOMB = next(case for case in CASES if case.name == "thread bomb")


def _outcome(stderr: bytes, stopped_by: str, broken_chain: str) -> Outcome:
    before = {"kind": "before", "seven": 7}
    return Outcome(1, None, stopped_by, 1.0, 1.0, 0, b"", stderr, (before,), broken_chain)


HONEST = {
    "computing": """
import glob, json, random, time, threading
data = open(sorted(glob.glob("/audit/data/*.bin"))[0], "rb").read()
open("final_model.ptz", "wb").write(data)
open("train.log", "a").write("step 1")
open("/tmp/scratch", "w").write("x")
thread = threading.Thread(target=time.sleep, args=(0.01,))
thread.start()
thread.join()
""",
    "a packed script": """
import base64, lzma
code = lzma.compress(b"import os, sys\\nprint(open(__file__).read()[:10])\\nsys.stdout.flush()")
exec(compile(lzma.decompress(base64.b85decode(base64.b85encode(code))), "<string>", "exec"))
""",
    "looking at itself and the machine": """
import inspect, platform, shutil, socket, tempfile, uuid, locale, multiprocessing
code = open(__file__, encoding="utf-8").read()
print(len(code.encode()), inspect.getsource(tempfile.mkdtemp)[:3], platform.platform(), socket.gethostname())
print(open("/proc/cpuinfo").read()[:10], open("/proc/meminfo").read()[:10], multiprocessing.cpu_count())
print(shutil.which("nvidia-smi"), os.cpu_count(), os.getpid(), os.getppid(), os.uname(), os.path.exists("/dev/nvidia0"))
print(tempfile.mkdtemp(), shutil.disk_usage("/tmp"), dict(os.environ), sys.path, os.path.expanduser("~/.cache"))
""",
    "loaders and pools": """
import multiprocessing, queue, signal, subprocess, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    print(list(pool.map(abs, [-1, -2])))
fork = multiprocessing.get_context("fork")
with ProcessPoolExecutor(2, mp_context=fork) as pool:
    print(list(pool.map(abs, [-1, -2])))
worker = fork.Process(target=time.sleep, args=(30,))
worker.start()
worker.terminate()
worker.join()
other = subprocess.Popen(["sleep", "30"])
other.kill()
other.wait()
print(subprocess.run(["true"]).returncode, os.system("true"))
""",
    "two ranks on one machine": """
import socket
server = socket.create_server(("localhost", 0))
client = socket.create_connection(("127.0.0.1", server.getsockname()[1]))
client.sendall(b"x")
print(socket.getaddrinfo("localhost", 80)[0], socket.gethostbyname(socket.gethostname()))
""",
    "garbage, traces, warnings": """
import gc, logging, pickle, traceback, warnings, weakref, functools, dataclasses, collections
gc.collect()
gc.freeze()
logging.basicConfig(level=logging.INFO)
logging.info("step")
warnings.warn("slow")
try:
    1 / 0
except ZeroDivisionError:
    traceback.print_exc()
print(pickle.loads(pickle.dumps({"a": [1, 2.0, collections.OrderedDict(b=3), range(3), slice(1)]})))
""",
    "tidy ends": """
import atexit, signal
atexit.register(print, "bye")
signal.signal(signal.SIGTERM, lambda *arguments: sys.exit(1))
signal.alarm(100)
print("done")
sys.stdout.flush()
os._exit(0)
""",
    "native code": """
import ctypes, mmap, struct
libc = ctypes.CDLL(None)
buffer = (ctypes.c_float * 4)(1, 2, 3, 4)
print(libc.strlen(b"four"), ctypes.sizeof(buffer), len(mmap.mmap(-1, 4096)), bytes(buffer)[:4])
libc.printf(b"printed by C without a flush")
""",
    "writing over old results": """
import json, shutil
os.makedirs("out/deep", exist_ok=True)
for name in ("out/deep/a", "submission.json", "train_seed1.log"):
    open(name, "w").write("{}")
    open(name, "w").write("{}")
os.replace("train_seed1.log", "train.log")
shutil.rmtree("out")
shutil.make_archive("/tmp/archive", "zip", ".")
""",
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_script_is_not_accused(name: str, world: World) -> None:
    """Forbidden: a script that does what submissions do is said to have interfered, or cannot do it."""
    verdict = judge(Case(name, "nothing", HONEST[name], ""), WAYS[0], world)
    assert verdict.held, (verdict, ascii(verdict.outcome.stderr))
    assert verdict.outcome.completed, ascii(verdict.outcome.stderr)
    assert verdict.outcome.seen == ()
    assert not [record for record in verdict.outcome.records if record["kind"] in ("guard", "replaced")]


def test_the_same_honest_script_everywhere(world: World) -> None:
    outcomes = [judge(Case("honest", "nothing", "print(sum(range(9)))", ""), way, world).outcome for way in WAYS]
    assert all(outcome.stdout == b"36\n" for outcome in outcomes)
    assert all([record["kind"] for record in outcome.records] == ["before", "end"] for outcome in outcomes)


def test_names_of_cases_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 45
