# ruff: noqa: PTH100, PTH109, PTH118, PTH119, PTH120, PTH123
# Runs in the middle of somebody else's program: nothing is imported that is not needed.
"""Evidence of what a script tried, from Python's audit events. Evidence, not a barrier: the sandbox is the barrier.

The guard sees what Python code asks of the interpreter: connections, files outside the places a submission has a right
to, other programs, native libraries, signals, tracing, attempts on the auditor's own functions. It does not see what
native code does by itself, what a program started by the script does, or a change that was undone before it looked
(`Guard.check` runs at the end and about twice a second). A script that behaves gives no record of kind "guard".

Records: {"kind", "what", "count", "site": [path, line] or None}. Kinds:
    guard     what a submission has no reason to do: tampering, other processes, the auditor's files
    network   an attempt to reach another machine, or to learn its address
    file      a file outside the run's places that was opened, or a submitted source file that was written
    process   another program that was started; "python": true where it runs without the auditor's stand-ins
    native    native code that was loaded or looked up, which the guard cannot see into
    replaced  a stand-in that the script put something of its own in place of, as honest scripts do, too
The first of each is sent at once, so that nothing that happens later can take it back; counts follow at the end.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NoReturn

MAX_DIFFERENT = 300  # records of one kind; beyond them only their number is reported
MAX_CHARACTERS = 300
MAX_SOURCES = 2000  # files of the submission whose change is looked for
MAX_SOURCE_BYTES = 1 << 24
CHECK_SECONDS = 0.5
EVENTS_BETWEEN_CLOCKS = 128
MAX_FRAMES = 60
UNTELLING_ATTRIBUTES = ("f_code", "__code__", "tb_frame")  # read all the time by inspect, warnings and torch

# Modules whose functions stand-ins replace; the rest of the process is not looked through.
WATCHED_MODULES = ("torch", "time", "os", "builtins", "gc", "random", "subprocess", "flash_attn", "triton", "numpy")
BENIGN_PROGRAMS = frozenset(
    "nvidia-smi gcc cc g++ c++ clang ld as ldconfig nproc lscpu uname git hostname which".split()
)
SUSPECT_SYMBOLS = frozenset(
    "syscall ptrace process_vm_readv process_vm_writev prctl mprotect fork vfork clone unshare setns mount umount2 "
    "chroot execve execv execvp posix_spawn system popen socket connect sendto sendmsg kill killpg pidfd_open "
    "pidfd_getfd setuid setresuid shm_open shmget dlopen PyThreadState_SetAsyncExc _PySys_ClearAuditHooks "
    "PyEval_SetTrace PyEval_SetProfile PyFrame_GetLocals PyObject_SetAttr PyDict_SetItem PyMem_Free".split()
)
# What a pickle has no reason to name; functions of one's own, and builtins such as abs, are what pools send.
DANGEROUS_PICKLES = re.compile(
    r"(os|posix)\.(system|popen|exec\w+|spawn\w+|posix_spawn\w*|fork\w*|kill\w*)|(subprocess|pty|runpy|importlib)\..*"
    r"|builtins\.(eval|exec|compile|__import__|open|breakpoint)"
)

_frame = sys._getframe
_clock = time.monotonic
_thread = threading.get_ident
_digest = hashlib.blake2b
_ctypes = os.path.join(os.path.dirname(os.__file__), "ctypes", "__init__.py")
_ours = os.path.dirname(os.path.abspath(__file__)) + "/"


class Guard:
    """Listens from `install` on. `allowed` are path prefixes the script may read, besides the interpreter's own."""

    __slots__ = (
        "_allowed",
        "_busy",
        "_counts",
        "_different",
        "_finished",
        "_folder",
        "_interpreter",
        "_left_out",
        "_lost",
        "_process",
        "_report",
        "_report_fd",
        "_script",
        "_sources",
        "_watched",
    )

    def __init__(
        self,
        report: Callable[[Mapping[str, object]], None],
        folder: str,
        allowed: tuple[str, ...] = ("/audit/data/", "/tmp/", "/dev/"),
        report_fd: int = -1,
        script: str = "train_gpt.py",
    ) -> None:
        self._report = report
        self._folder = folder.rstrip("/") + "/"
        self._interpreter = _interpreter_places()
        self._allowed = (self._folder, *allowed, *self._interpreter)
        self._report_fd = report_fd
        self._counts: dict[tuple[str, str], int] = {}
        self._different: dict[str, int] = {}
        self._left_out: dict[str, int] = {}
        self._watched: list[tuple[object, str, object]] = []
        self._lost: set[int] = set()
        self._script = self._folder + script
        self._sources = _sources_of(self._folder)
        self._busy: set[int] = set()
        self._finished = False
        self._process = os.getpid()

    def install(self) -> None:
        """Listen from now on. There is no way back: Python has none."""
        sys.addaudithook(self._hook())

    def watch(self, owner: object, name: str) -> None:
        """Report when `owner.name` is no longer what it is now: a stand-in or a patch of the auditor."""
        self._watched.append((owner, name, _held(owner, name)))

    def watch_stand_ins(self) -> None:
        """Watch every function of the auditor that stands in a module or class of WATCHED_MODULES."""
        for module_name, module in list(sys.modules.items()):
            if not isinstance(module, ModuleType) or not module_name.startswith(WATCHED_MODULES):
                continue
            for name, value in list(vars(module).items()):
                if _is_function_of_ours(value):
                    self.watch(module, name)
                elif issubclass(type(value), type) and value.__module__ == module_name:
                    for inner, member in list(vars(value).items()):
                        if _is_function_of_ours(member):
                            self.watch(value, inner)

    def check(self) -> None:
        """Compare everything watched with what it was, and the submission's source files with what they were."""
        for place, (owner, name, expected) in enumerate(self._watched):
            if place in self._lost or (now := _held(owner, name)) is expected:
                continue
            if not (_is_torch(owner) and _wraps(now, expected)):  # torch puts wrappers of its own around, too
                self._lost.add(place)
                what = f"{_name_of(owner)}.{name} is no longer the auditor's"
                self._note("replaced" if _is_torch(owner) else "guard", what, None)

    def finish(self) -> None:
        """Check a last time and report all counts above one. Call it before the channel's end message."""
        if os.getpid() != self._process:
            return
        if self._finished:
            return
        self._finished = True
        self._busy.add(_thread())
        self.check()
        self._compare_sources()
        for (kind, what), count in self._counts.items():
            if count > 1:
                self._report({"kind": kind, "what": what, "count": count, "site": None})
        for kind, count in self._left_out.items():
            self._report(
                {"kind": kind, "what": f"more than {MAX_DIFFERENT} different ones", "count": count, "site": None}
            )
        self._busy.discard(_thread())

    def _compare_sources(self) -> None:
        """A script may put its packed self in its own place: it has been read by then, and the audit has its own copy.

        Another source file that changes may be executed afterwards, and is then not what was submitted.
        """
        for path, before in self._sources.items():
            if (now := _state_of(path)) != before:
                kind = "file" if path == self._script and now is not None else "guard"
                change = "removed" if now is None else "changed"
                self._note(kind, f"the submitted {path[len(self._folder) :]} was {change} during the run", None)

    def _hook(self) -> Callable[[str, tuple[object, ...]], None]:
        actions = self._actions()
        find = actions.get

        act, check, countdown, next_check = self._act, self.check, EVENTS_BETWEEN_CLOCKS, _clock() + CHECK_SECONDS

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event == "builtins.id":  # by far the most frequent one
                return
            if event == "object.__getattr__" and arguments[1] in UNTELLING_ATTRIBUTES:
                return
            action = find(event)
            if action is not None:
                act(action, arguments)
            nonlocal countdown, next_check
            countdown -= 1
            if countdown <= 0:
                countdown = EVENTS_BETWEEN_CLOCKS
                if _clock() > next_check:
                    act(check, ())
                    next_check = _clock() + CHECK_SECONDS

        return hook

    def _act(self, action: Callable[..., None], arguments: tuple[object, ...]) -> None:
        """Run one action; events that it causes itself, and its errors, are nobody's concern."""
        thread = _thread()
        if thread in self._busy:
            return
        self._busy.add(thread)
        try:
            action(*arguments)
        except Exception:
            pass
        finally:
            self._busy.discard(thread)

    def _note(self, kind: str, what: str, site: tuple[str, int] | None, **more: object) -> None:
        what = what[:MAX_CHARACTERS]
        known = self._counts.get((kind, what))
        if known is not None:
            self._counts[kind, what] = known + 1
            return
        different = self._different.get(kind, 0)
        if different >= MAX_DIFFERENT:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._different[kind] = different + 1
        self._counts[kind, what] = 1
        self._report({"kind": kind, "what": what, "count": 1, "site": list(site) if site else None, **more})

    def _place(self) -> tuple[str, int] | None:
        """The innermost line of the submission that is being executed."""
        frame: FrameType | None = _frame(1)
        unpacked: tuple[str, int] | None = None
        for _ in range(MAX_FRAMES):
            if frame is None:
                break
            name = frame.f_code.co_filename
            if name.startswith(self._folder):
                return name[len(self._folder) :], frame.f_lineno
            if not name.startswith(("/", "<frozen")) and unpacked is None:  # code from a string: packed scripts
                unpacked = name, frame.f_lineno
            frame = frame.f_back
        return unpacked

    def _caller(self) -> str:
        """File name of the code that caused the event; this module, ctypes and the import machinery only pass it on."""
        frame: FrameType | None = _frame(1)
        while frame is not None:
            name = frame.f_code.co_filename
            if name not in (__file__, _ctypes) and not name.startswith("<frozen"):
                return name
            frame = frame.f_back
        return ""

    def _by_library(self) -> bool:
        """Whether the interpreter's own library, an installed package or the auditor caused the event."""
        return self._caller().startswith((*self._interpreter, _ours))

    def _guard(self, what: str) -> None:
        self._note("guard", what, self._place())

    def _network(self, what: str) -> None:
        self._note("network", f"network: {what}", self._place())

    # One method for each event below; arguments as in Python's table of audit events.

    def _actions(self) -> dict[str, Callable[..., None]]:
        return {
            "open": self._on_open,
            "os.listdir": self._on_listing,
            "os.scandir": self._on_listing,
            "os.remove": lambda path, *rest: self._on_change("removes", path),
            "os.rename": lambda old, new, *rest: (self._on_change("renames", old), self._on_change("replaces", new)),
            "os.truncate": lambda path, *rest: self._on_change("truncates", path),
            "os.link": self._on_link,
            "os.symlink": self._on_link,
            "os.chmod": lambda path, *rest: self._on_change("changes the mode of", path),
            "socket.connect": self._on_connect,
            "socket.sendto": self._on_connect,
            "socket.sendmsg": self._on_connect,
            "socket.bind": self._on_bind,
            "socket.getaddrinfo": lambda host, *rest: self._on_name(host),
            "socket.gethostbyname": self._on_name,
            "socket.gethostbyaddr": self._on_name,
            "urllib.Request": lambda url, *rest: self._network(f"asks for {_text(url)}"),
            "subprocess.Popen": lambda program, words, *rest: self._on_program(program, words),
            "os.exec": lambda program, words, *rest: self._on_program(program, words),
            "os.posix_spawn": lambda program, words, *rest: self._on_program(program, words),
            "os.spawn": lambda mode, program, words, *rest: self._on_program(program, words),
            "os.system": lambda command: self._on_program("", command),
            "pty.spawn": lambda words: self._on_program("", words),
            "os.fork": lambda: self._note("process", "forks", self._place()),
            "os.forkpty": lambda: self._note("process", "forks with a terminal", self._place()),
            "os.kill": self._on_kill,
            "os.killpg": self._on_kill,
            "signal.pthread_kill": lambda thread, number: self._note("process", f"signal {number}", self._place()),
            "ctypes.dlopen": self._on_library,
            "ctypes.dlsym": self._on_symbol,
            "ctypes.dlsym/handle": self._on_symbol,
            "ctypes.string_at": lambda *rest: self._on_memory("reads"),
            "ctypes.wstring_at": lambda *rest: self._on_memory("reads"),
            "ctypes.cdata": lambda *rest: self._on_memory("maps"),
            "sys.settrace": lambda: self._unless_library("sets a trace function"),
            "sys.setprofile": lambda: self._unless_library("sets a profile function"),
            "sys.monitoring.register_callback": lambda *rest: self._unless_library("registers a monitoring callback"),
            "sys.addaudithook": lambda: self._unless_library("adds an audit hook"),
            "sys._current_frames": lambda: self._unless_library("reads the frames of all threads"),
            "cpython._PySys_ClearAuditHooks": lambda: self._guard("clears Python's audit hooks"),
            "gc.get_objects": lambda *rest: self._unless_library("lists all objects of the process"),
            "gc.get_referrers": lambda objects: self._on_referrers(objects),
            "gc.get_referents": lambda objects: self._on_referrers(objects),
            "object.__setattr__": self._on_setattr,
            "object.__delattr__": self._on_setattr,
            "object.__getattr__": self._on_getattr,
            "pickle.find_class": self._on_pickle,
            "os.putenv": lambda name, *rest: self._on_variable(name),
            "os.unsetenv": self._on_variable,
            "fcntl.fcntl": lambda fd, *rest: self._on_descriptor(fd, "controls"),
            "fcntl.ioctl": lambda fd, *rest: self._on_descriptor(fd, "controls"),
            "resource.prlimit": lambda pid, *rest: self._unless_library(f"limits of process {pid}"),
        }

    def _unless_library(self, what: str) -> None:
        if not self._by_library():
            self._guard(what)

    def _on_open(self, path: object, mode: object, flags: object) -> None:
        if isinstance(path, int):
            self._on_descriptor(path, "opens")
            return
        name = _full(path)
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if name.startswith(self._allowed):
            if writes and name in self._sources:
                self._note("file", f"writes the submitted {name[len(self._folder) :]}", self._place())
            return
        if name.startswith(("/audit/inside/", "/audit/spec", _ours)):
            if not self._by_library():
                self._guard(f"{'writes' if writes else 'reads'} the auditor's {name}")
        elif name.startswith("/proc/"):
            self._on_proc(name)
        else:
            self._note("file", f"{'write' if writes else 'read'} {name}", self._place())

    def _on_proc(self, name: str) -> None:
        parts = name.split("/")
        who, what = parts[2], parts[-1]
        telling = {"mem", "environ", "maps", "smaps", "fd", "fdinfo", "root", "cwd", "pagemap", "syscall", "task"}
        if not (who.isdigit() or who in ("self", "thread-self")):
            return  # cpuinfo, meminfo: about the machine
        other = who.isdigit() and int(who) != os.getpid()
        if (other or telling.intersection(parts[3:])) and not self._by_library():
            self._guard(f"looks into a process: /proc/{'PID' if who.isdigit() else who}/.../{what}")

    def _on_listing(self, path: object) -> None:
        if isinstance(path, int):
            return
        name = _full(path) + "/"
        if name.startswith("/proc/"):
            self._on_proc(name.rstrip("/"))
        elif name.startswith("/audit/inside/"):
            self._unless_library(f"lists the auditor's {name}")
        elif not name.startswith(self._allowed):
            self._note("file", f"list {name}", self._place())

    def _on_change(self, verb: str, path: object) -> None:
        if isinstance(path, int):
            return
        name = _full(path)
        if name in self._sources:
            kind = "file" if name == self._script and verb == "replaces" else "guard"
            self._note(kind, f"{verb} the submitted {name[len(self._folder) :]}", self._place())
        elif not name.startswith(self._allowed):
            self._note("file", f"{verb} {name}", self._place())

    def _on_link(self, source: object, target: object, *rest: object) -> None:
        name = _full(source)
        if not name.startswith(self._allowed):
            self._note("file", f"links to {name}", self._place())

    def _on_connect(self, _socket: object, address: object) -> None:
        if isinstance(address, tuple) and len(address) >= 2:
            host = str(address[0])
            if not host.startswith("127.") and host not in ("localhost", "::1", ""):
                self._network(f"connects to {_text(host)}:{address[1]}")
        elif isinstance(address, (str, bytes)):
            name = os.fsdecode(address)
            if not name.startswith(self._allowed):
                self._guard(f"connects to the socket {name!r}")

    def _on_bind(self, _socket: object, address: object) -> None:
        if isinstance(address, (str, bytes)) and os.fsdecode(address).startswith("\0"):
            self._note("process", "binds an abstract socket", self._place())

    def _on_name(self, host: object) -> None:
        name = os.fsdecode(host) if isinstance(host, (str, bytes)) else ""
        if name and name not in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "::", os.uname().nodename):
            self._network(f"looks up {_text(name)}")

    def _on_program(self, program: object, words: object) -> None:
        listed = [_text(word) for word in words] if isinstance(words, (list, tuple)) else _text(words).split()
        name = os.path.basename(_text(program) if program else (listed[0] if listed else ""))
        what = " ".join([name, *listed[1:]])
        stand_in = any(word.startswith(_ours) for word in listed)
        python = not stand_in and any("python" in os.path.basename(word) for word in (name, *listed))
        benign = stand_in or name in BENIGN_PROGRAMS
        self._note("process", what, self._place(), python=python, benign=benign)

    def _on_kill(self, process: object, number: object) -> None:
        name = signal.Signals(number).name if isinstance(number, int) and number in _SIGNALS else f"signal {number}"
        if process in (0, 1, -1, os.getpid(), os.getppid()):
            self._guard(f"{name} to {'itself' if process == os.getpid() else f'process {process}'}")
        elif number:
            self._note("process", f"{name} to another process", self._place())

    def _on_library(self, name: object) -> None:
        if name and not os.fsdecode(name).startswith(self._interpreter) and "/" in os.fsdecode(name):  # type: ignore[arg-type]
            self._note("native", f"loads {_full(name)}", self._place())

    def _on_symbol(self, *arguments: object) -> None:
        for name in arguments:  # the library and the name come in either order
            if isinstance(name, str) and name in SUSPECT_SYMBOLS and not self._by_library():
                self._guard(f"native code: looks up {name}")

    def _on_memory(self, verb: str) -> None:
        if not self._by_library():
            self._note("native", f"{verb} memory by address", self._place())

    def _on_referrers(self, objects: object) -> None:
        if isinstance(objects, tuple) and any(_is_ours(value) for value in objects):
            self._unless_library("follows references to the auditor's objects")

    def _on_setattr(self, owner: object, name: object, *rest: object) -> None:
        if _is_ours(owner):
            self._guard(f"changes {name} of the auditor's {_name_of(owner)}")

    def _on_getattr(self, owner: object, name: object) -> None:
        if _is_ours(owner):
            self._unless_library(f"reads {name} of the auditor's {_name_of(owner)}")

    def _on_pickle(self, module: object, name: object) -> None:
        what = f"{_text(module)}.{_text(name)}"
        if DANGEROUS_PICKLES.fullmatch(what):
            self._guard(f"unpickles {what}")

    def _on_variable(self, name: object) -> None:
        if isinstance(name, (str, bytes)) and os.fsdecode(name).startswith("PGOLF_"):
            self._guard(f"sets the environment variable {os.fsdecode(name)}")

    def _on_descriptor(self, fd: object, verb: str) -> None:
        if fd == self._report_fd:
            self._guard(f"{verb} the report channel")


_SIGNALS = frozenset(int(number) for number in signal.Signals)


def install(spec: Mapping[str, Any], reporter: Any) -> Guard | None:
    """Guard this process until it ends, however Python ends it; None where there is no reporter to tell.

    Call it when all stand-ins are in place and before the script starts. `spec["folder"]`, else the working directory,
    is the submission's; `spec["allowed"]` are more path prefixes that the script may read.
    """
    if reporter is None:
        return None
    folder = str(spec.get("folder") or os.getcwd())
    allowed = ("/audit/data/", "/tmp/", "/dev/", *map(str, spec.get("allowed", ())))
    guard = Guard(reporter.report, folder, allowed, reporter.fd, str(spec.get("script", "train_gpt.py")))
    leave, process, finish = os._exit, os.getpid(), _sealed(guard, type(reporter))

    def leave_after_reporting(status: int) -> NoReturn:
        if os.getpid() == process:
            finish()
            reporter.end(by="os._exit")
        leave(status)

    os._exit = leave_after_reporting
    guard.watch(os, "_exit")
    guard.watch_stand_ins()
    atexit.register(finish)
    guard.install()
    return guard


def _sealed(guard: Guard, channel: type) -> Callable[[], None]:
    """`guard.finish`, in a form that first puts back and reports methods of guard and channel that were replaced."""
    methods = [(owner, name, value) for owner in (Guard, channel) for name, value in vars(owner).items()]
    methods = [method for method in methods if isinstance(method[2], FunctionType)]

    def finish() -> None:
        replaced = [f"{owner.__name__}.{name}" for owner, name, value in methods if vars(owner).get(name) is not value]
        for owner, name, value in methods:
            setattr(owner, name, value)
        for name in replaced:
            guard._note("guard", f"{name} is no longer the auditor's", None)
        guard.finish()

    return finish


def _wraps(value: object, inner: object) -> bool:
    """Whether `value` says that it wraps `inner`, directly or by further wrappers."""
    for _ in range(8):
        value = getattr(value, "__wrapped__", None)
        if value is inner:
            return True
    return False


def _is_torch(owner: object) -> bool:
    name = owner.__name__ if isinstance(owner, ModuleType) else getattr(owner, "__module__", "")
    return str(name).partition(".")[0] not in ("time", "os", "sys", "builtins", "gc", __name__.partition(".")[0])


def _is_function_of_ours(value: object) -> bool:
    """Asks for exact types: `isinstance` would ask the object, and some warn or import when they are asked."""
    value = value.__func__ if type(value) in (staticmethod, classmethod) else value  # type: ignore[attr-defined]
    return type(value) is FunctionType and value.__code__.co_filename.startswith(_ours)  # type: ignore[attr-defined]


def _interpreter_places() -> tuple[str, ...]:
    """Prefixes of the interpreter, its libraries and the system's, each with a slash at its end."""
    roots = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, os.path.dirname(os.__file__)}
    roots |= {os.path.realpath(root) for root in roots}
    roots |= {os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))} if sys.executable else set()
    system = {"/usr", "/lib", "/lib64", "/bin", "/nix/store"}
    narrow = {f"{root}/{part}" for root in roots for part in ("lib", "lib64", "bin", "include", "share")}
    files = ("/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf")
    return (*sorted(f"{place}/" for place in narrow | system), *(f"{root}/pyvenv.cfg" for root in roots), *files)


def _sources_of(folder: str) -> dict[str, bytes | None]:
    """State of the submission's source files; others (weights, logs, results) are a run's to write."""
    states: dict[str, bytes | None] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith((".py", ".c", ".cpp", ".cu", ".sh")) and len(states) < MAX_SOURCES:
                path = os.path.join(place, name)
                states[path] = _state_of(path)
    return states


def _state_of(path: str) -> bytes | None:
    """Digest of a file; None where no plain file is. One that is written anew as it was has not changed."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):  # to open a pipe would wait for somebody who writes
            return None
        with open(path, "rb") as file:
            return _digest(file.read(MAX_SOURCE_BYTES)).digest()
    except OSError:
        return None


def _held(owner: object, name: str) -> object:
    """What `owner` itself holds under a name, without running any code of it."""
    if isinstance(owner, dict):
        return owner.get(name)
    space = getattr(owner, "__dict__", {})
    return space.get(name) if name in space else getattr(owner, name, None)


def _is_ours(value: object) -> bool:
    """Whether a function, method, frame, code object or instance is made of the auditor's code."""
    value = getattr(value, "__func__", value) if type(value).__name__ == "method" else value
    code = getattr(value, "__code__", None) if type(value).__name__ == "function" else value
    if type(value).__name__ == "frame":
        code = value.f_code  # type: ignore[attr-defined]
    if isinstance(code, CodeType):
        return code.co_filename.startswith(_ours)
    module = sys.modules.get(type(value).__module__)
    return str(getattr(module, "__file__", None) or "").startswith(_ours)


def _name_of(value: object) -> str:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or type(value).__name__
    return _text(name)


def _full(path: object) -> str:
    name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
    if not name.startswith("/"):
        name = f"{os.getcwd()}/{name}"
    return os.path.normpath(name) if "/." in name or "//" in name else name


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")[:MAX_CHARACTERS]
    return str(value)[:MAX_CHARACTERS] if isinstance(value, (str, int, float, os.PathLike)) else type(value).__name__
