"""Hooks: what a script does to the auditor's code in its own process. It is not blocked; it must be noticed."""

from __future__ import annotations

from benchmarks.escapes.judging import Case

EVIDENCE = "nothing: evidence only"

CASES = (
    Case(
        "replacing a stand-in",
        "A script puts something of its own in a stand-in's place and nobody knows.",
        "import machine\nmachine.measure = lambda: 0\n",
        EVIDENCE,
        record="measure is no longer the auditor's",
    ),
    Case(
        "replacing at the very end",
        "A function that runs at the end of the process changes a stand-in after the last look.",
        """
import atexit, machine
def late():
    machine.measure = lambda: 0
atexit.register(late)
""",
        EVIDENCE,
        record="measure is no longer the auditor's",
    ),
    Case(
        "changing a function from inside",
        "A script keeps a stand-in's identity and exchanges its code.",
        "import machine\nmachine.measure.__code__ = (lambda: 0).__code__\n",
        EVIDENCE,
        seen="changes __code__ of the auditor's measure",
    ),
    Case(
        "silencing the guard",
        "A script replaces the guard's own methods and the guard is silent.",
        """
import gc, machine
guard = sys.modules["guard"]
for name in ("_note", "check", "finish", "watch", "_act"):
    setattr(guard.Guard, name, lambda *arguments, **more: None)
machine.measure = lambda: 0
""",
        EVIDENCE,
        seen="Guard._note is no longer the auditor's",
    ),
    Case(
        "silencing the channel",
        "A script replaces the reporter's methods and the report is silent.",
        """
channel = sys.modules["channel"]
channel.Reporter.report = lambda *arguments, **more: None
channel.Reporter._send = lambda *arguments, **more: None
import machine
machine.measure = lambda: 0
""",
        EVIDENCE,
        seen="Reporter.report is no longer the auditor's",
    ),
    Case(
        "looking for the hooks",
        "A script searches the process for the auditor's objects unnoticed.",
        """
import gc
found = [value for value in gc.get_objects() if type(value).__name__ == "Guard"]
gc.get_referrers(*found)
gc.get_referents(*found)
""",
        EVIDENCE,
        seen="lists all objects of the process",
    ),
    Case(
        "tracing the auditor",
        "A script traces or profiles the auditor's code unnoticed.",
        "sys.settrace(lambda *arguments: None)\nsys.settrace(None)\nsys.setprofile(None)\n",
        EVIDENCE,
        seen="sets a trace function",
    ),
    Case(
        "an audit hook of its own",
        "A script learns from an audit hook what the guard sees, unnoticed.",
        "sys.addaudithook(lambda event, arguments: None)\n",
        EVIDENCE,
        seen="adds an audit hook",
    ),
    Case(
        "reading the auditor's code",
        "A script reads the code that watches it, unnoticed.",
        """
open("/audit/inside/guard.py").read()
os.listdir("/audit/inside")
""",
        EVIDENCE,
        seen="reads the auditor's /audit/inside/guard.py",
    ),
    Case(
        "the interpreter's internals",
        "A script reaches for functions of the interpreter that take hooks off, unnoticed.",
        """
import ctypes
try:
    ctypes.pythonapi._PySys_ClearAuditHooks
except AttributeError as error:
    print("refused:", error)
ctypes.CDLL(None).ptrace
""",
        EVIDENCE,
        seen="looks up _PySys_ClearAuditHooks",
    ),
    Case(
        "memory by address",
        "A script writes into the interpreter's memory unnoticed.",
        "import ctypes\nctypes.c_char.from_address(id(os)).value\nctypes.string_at(id(os), 8)\n",
        EVIDENCE,
        record="memory by address",
    ),
    Case(
        "a pickle that runs a program",
        "Unpickling runs a program unnoticed.",
        "import pickle\npickle.loads(b\"cposix\\nsystem\\n(S'true'\\ntR.\")\n",
        EVIDENCE,
        seen="unpickles posix.system",
        record="'true'",
    ),
    Case(
        "a native library",
        "A script compiles and loads native code, which no hook sees into, unnoticed.",
        """
import ctypes, subprocess
open("/tmp/library.c", "w").write("int seven(void) { return 7; }")
subprocess.run(["gcc", "-shared", "-fPIC", "-o", "/tmp/library.so", "/tmp/library.c"], check=True)
print("seven is", ctypes.CDLL("/tmp/library.so").seven())
""",
        "allowed: evidence only",
        record="loads /tmp/library.so",
        exact=lambda outcome: b"seven is 7" in outcome.stdout and not outcome.seen,
    ),
    Case(
        "burying the evidence",
        "Ten thousand harmless attempts hide the one that matters or fill the report.",
        """
for number in range(10000):
    try:
        open(f"/nowhere/{number}")
    except OSError:
        pass
import socket
attempt(socket.gethostbyname, "example.com")
""",
        "bounded evidence",
        seen="looks up example.com",
        exact=lambda outcome: len(outcome.records) < 1000,
    ),
    Case(
        "variables for the hooks",
        "A script sets the auditor's environment variables for its children, unnoticed.",
        "os.environ['PGOLF_REPORT_FD'] = '1'\n",
        EVIDENCE,
        seen="sets the environment variable PGOLF_REPORT_FD",
    ),
    Case(
        "a failing hook",
        "A script makes the guard's own code fail, and the guard is off or the script stops.",
        """
def deep(left):
    return deep(left - 1) if left else os.path.exists("/etc/hosts") or open("/nowhere/deep")
for left in range(900, 1000):
    try:
        deep(left)
    except (RecursionError, OSError):
        pass
class Path:
    def __fspath__(self):
        return "/etc/hosts"
open(Path()).close()
import socket
attempt(socket.gethostbyname, "example.com")
print("done")
""",
        EVIDENCE,
        seen="looks up example.com",
        exact=lambda outcome: b"done" in outcome.stdout,
    ),
)
