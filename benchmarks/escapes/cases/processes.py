"""Processes: too many, too long, immortal, daemons, signals to others, programs without the hooks."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.escapes.judging import LIMITS, Case

PIDS = "pid namespace"
SHORT = replace(LIMITS, seconds=0.8)
FEW = replace(LIMITS, processes=30)

CASES = (
    Case(
        "many processes",
        "A script keeps hundreds of processes alive.",
        """
import time
for _ in range(400):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
    except OSError as error:
        sys.exit(f"refused: {error}")
time.sleep(1)
escaped("400 processes")
""",
        "limit of processes",
        stopped="processes and threads",
        broken="no end message",
        or_refused=True,
        limits=FEW,
    ),
    Case(
        "fork bomb",
        "A fork bomb takes the machine down.",
        """
import time
first, until = os.getpid(), time.monotonic() + 1.5
while time.monotonic() < until or os.getpid() != first:
    try:
        os.fork()
    except OSError:
        time.sleep(0.05)
    if os.getpid() == first and len(os.listdir("/proc")) > 500:
        escaped("hundreds of processes")
print("refused: more than a few hundred")
""",
        "limit of processes",
        stopped="processes and threads",
        broken="no end message",
        or_refused=True,
        limits=FEW,
    ),
    Case(
        "thread bomb",
        "A script keeps hundreds of threads alive.",
        """
import threading, time
for _ in range(400):
    try:
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
    except RuntimeError as error:
        sys.exit(f"refused: {error}")
time.sleep(1)
escaped("400 threads")
""",
        "limit of processes",
        stopped="processes and threads",
        broken="no end message",
        or_refused=True,
        limits=FEW,
    ),
    Case(
        "a daemon",
        "A process detached from the script lives on after the run and keeps writing.",
        """
import time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        import signal
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        while True:
            open("/work/repo/records/track/submission/heartbeat", "a").write("x")
            time.sleep(0.01)
    os._exit(0)
os.wait()
time.sleep(0.1)
""",
        PIDS,
        record="forks",
    ),
    Case(
        "deaf to signals",
        "A script that ignores every signal outlives its time.",
        """
import signal, time
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    time.sleep(1)
""",
        "wall clock",
        stopped="wall clock",
        broken="no end message",
        limits=SHORT,
    ),
    Case(
        "sleeping for ever",
        "A script sleeps for ever and the audit waits.",
        "import time\ntime.sleep(1e6)\n",
        "wall clock",
        stopped="wall clock",
        broken="no end message",
        limits=SHORT,
    ),
    Case(
        "hanging in C",
        "A script hangs in native code that no Python signal handler interrupts.",
        "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')\n",
        "wall clock",
        stopped="wall clock",
        broken="no end message",
        limits=SHORT,
    ),
    Case(
        "stopping itself",
        "A script stops itself, is neither dead nor alive, and the audit waits.",
        "import signal\nos.kill(os.getpid(), signal.SIGSTOP)\n",
        "wall clock",
        stopped="wall clock",
        broken="no end message",
        seen="SIGSTOP to itself",
        limits=SHORT,
    ),
    Case(
        "a thread that never ends",
        "The run hangs in its own end because of a thread that sleeps.",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1e6,)).start()\n",
        "wall clock",
        stopped="wall clock",
        broken="no end message",
        limits=SHORT,
    ),
    Case(
        "killing the parent",
        "A script kills the process that audits it, or the one that confines it.",
        """
import signal
for target in (os.getppid(), 1, int(os.environ["W_PID"])):
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
        try:
            os.kill(target, number)
        except OSError as error:
            print("refused:", error)
print("still here")
""",
        PIDS,
        seen="SIGKILL to process 1",
        exact=lambda outcome: b"still here" in outcome.stdout,
    ),
    Case(
        "killing everything",
        "A script kills all processes it may, and one of the machine is among them.",
        """
import signal
if os.fork() == 0:
    signal.pause()
os.kill(-1, signal.SIGKILL)
print("still here")
""",
        PIDS,
        seen="SIGKILL to process -1",
        exact=lambda outcome: b"still here" in outcome.stdout,
    ),
    Case(
        "killing its own group",
        "A script that kills its process group takes the auditor with it.",
        "import signal\nos.killpg(0, signal.SIGKILL)\n",
        "own session",
        broken="no end message",
        seen="SIGKILL to process 0",
        exact=lambda outcome: outcome.signal == 9,
    ),
    Case(
        "a crash",
        "A crash leaves a core file or passes for a good end.",
        """
import ctypes, resource
try:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    escaped("core files")
except (ValueError, OSError) as error:
    print("refused:", error)
ctypes.string_at(0)
""",
        "no core files",
        broken="no end message",
        exact=lambda outcome: outcome.signal == 11,
    ),
    Case(
        "more rights to the processor",
        "A script takes the processor from everybody else.",
        """
attempt(os.nice, -5)
attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(50))
attempt(os.sched_setscheduler, 0, os.SCHED_RR, os.sched_param(1))
""",
        "no capabilities",
    ),
    Case(
        "raising limits",
        "A script raises a limit of its own.",
        """
import resource
for name in ("AS", "NPROC", "FSIZE", "NOFILE", "CORE", "MEMLOCK"):
    limit = getattr(resource, "RLIMIT_" + name)
    attempt(resource.setrlimit, limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
attempt(resource.prlimit, 1, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
""",
        "hard limits, no capabilities",
        seen="limits of process 1",
    ),
    Case(
        "Python without the hooks",
        "A script does its work in a new interpreter without stand-ins, and the records do not show it.",
        """
import subprocess
subprocess.run([sys.executable, "-c", "print('no hooks here')"])
""",
        "nothing: evidence only",
        record="'python': True",
        exact=lambda outcome: b"no hooks here" in outcome.stdout,
    ),
    Case(
        "becoming another program",
        "A script executes another program in its own place and the report looks complete.",
        "os.execv(sys.executable, [sys.executable, '-c', 'print(\"another program\")'])\n",
        "nothing: evidence only",
        broken="no end message",
        record="'python': True",
    ),
    Case(
        "reading the terminal",
        "A script waits for input, or reads what somebody types.",
        "if sys.stdin.read():\n    escaped('input')\n",
        "empty standard input",
    ),
    Case(
        "an abrupt end",
        "A script that leaves without clean-up passes for a complete run.",
        "import posix\nposix._exit(0)\n",
        "nothing: evidence only",
        broken="no end message",
        exact=lambda outcome: outcome.exit_code == 0,
    ),
    Case(
        "an end by os._exit",
        "A script that ends by os._exit hides what the guard would have found at the end.",
        """
import machine
machine.measure = lambda: 0
os._exit(3)
""",
        "nothing: evidence only",
        record="measure is no longer the auditor's",
        exact=lambda outcome: outcome.exit_code == 3,
    ),
)
