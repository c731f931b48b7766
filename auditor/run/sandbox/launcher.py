# ruff: noqa: PTH103, PTH112, PTH120, PTH123, PTH211
# Links and vanishing files are what this is about; os.path says which is meant.
"""Builds the confinement without bubblewrap. Run as `python -I -S -B launcher.py FD`; FD holds the plan as JSON.

Three processes: this one enters new namespaces (user, mount, pid, net, ipc, uts, cgroup) and forks the namespace's
process 1, which builds the view, waits for the auditor's word, forks the command and reaps orphans until the command is
done; when process 1 ends, the kernel kills whatever is left in its pid namespace. The command's process gives up its
capabilities, confines itself with Landlock and the system call filter, and executes.

Speaks bubblewrap's protocol: `status` gets {"child-pid": N} and at last {"exit-code": N} or {"signal": N}; before the
command starts one byte is read from `block`. What fails before that is one line on stderr and exit code 125.
Only the standard library; nothing of the auditor is imported, so that this file can run anywhere.
"""

import array
import ctypes
import fcntl
import itertools
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, NoReturn

Plan = dict[str, Any]

NEW_USER, NEW_MOUNT, NEW_PID, NEW_NET, NEW_IPC, NEW_UTS, NEW_CGROUP = (
    0x10000000,
    0x00020000,
    0x20000000,
    0x40000000,
    0x08000000,
    0x04000000,
    0x02000000,
)
NO_SUID, NO_DEVICES, NO_EXECUTION, READ_ONLY = 2, 4, 8, 1
REMOUNT, BIND, RECURSIVE, PRIVATE = 32, 4096, 16384, 1 << 18
DETACH = 2
MOUNT_SETATTR, PIVOT_ROOT = {"x86_64": (442, 155), "aarch64": (442, 41)}.get(os.uname().machine, (442, 155))
SECCOMP = {"x86_64": 317, "aarch64": 277}.get(os.uname().machine, 317)
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
SET_PARENT_DEATH_SIGNAL, SET_DUMPABLE, DROP_BOUNDING, SET_SECUREBITS, SET_NO_NEW_PRIVILEGES, AMBIENT = (
    1,
    4,
    24,
    28,
    38,
    47,
)
# Landlock's rights by the ABI that introduced them; REFER (ABI 2), TRUNCATE (3). Device ioctls stay free: no devices.
READ_RIGHTS = 0x1 | 0x4 | 0x8  # execute, read file, read directory
FILE_RIGHTS = 0x1 | 0x2 | 0x4 | (1 << 14)  # what can be asked of a file that is no directory
SET_UP_FAILED = 125

libc = ctypes.CDLL(None, use_errno=True)


class LaunchError(Exception):
    """A step of the confinement failed; the message names it."""


def checked(result: int, step: str) -> int:
    """The result of a call of libc, or LaunchError naming the step."""
    if result < 0:
        raise LaunchError(f"{step}: {os.strerror(ctypes.get_errno())}")
    return result


def enter_namespaces(plan: Plan) -> None:
    """New namespaces for this process and its children; the user is mapped to the plan's user id and nothing else."""
    user, group = os.geteuid(), os.getegid()
    others = NEW_MOUNT | NEW_PID | NEW_NET | NEW_IPC | NEW_UTS
    checked(libc.unshare(NEW_USER | others), "new namespaces")
    libc.unshare(NEW_CGROUP)
    write_file("/proc/self/setgroups", "deny")
    write_file("/proc/self/uid_map", f"{plan['user']} {user} 1")
    write_file("/proc/self/gid_map", f"{plan['user']} {group} 1")


def write_file(path: str, text: str) -> None:
    """Write to a file of the kernel."""
    try:
        with open(path, "w") as stream:
            stream.write(text)
    except OSError as error:
        raise LaunchError(f"{path}: {error.strerror}") from None


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str) -> None:
    """mount(2)."""
    arguments = [text.encode() if text is not None else None for text in (source, target, kind)]
    checked(libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() if data else None), f"mount {target}")


def set_flags(target: str, flags: int, recursive: bool = True) -> None:
    """Add flags to a mount and, if `recursive`, to all below it; the user namespace locks them."""
    attributes = struct.pack("=QQQQ", flags, 0, 0, 0)  # MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC are 1, 2, 4, 8
    places = 0x8000 if recursive else 0  # AT_RECURSIVE
    result = libc.syscall(MOUNT_SETATTR, -100, target.encode(), places, attributes, len(attributes))
    checked(result, f"mount flags of {target}")


def build_view(plan: Plan) -> None:
    """Mount everything below the plan's root, make it the root, and make what is not writable read-only."""
    root = plan["root"]
    mount(None, "/", None, RECURSIVE | PRIVATE, "")
    later = []
    for step in plan["mounts"]:
        place = root + step["target"] if step["target"] != "/" else root
        if step["kind"] == "tmpfs":
            os.makedirs(place, exist_ok=True)
            inodes = max(1024, step["size"] >> 12)
            options = f"size={step['size']},mode={step['mode']:o},nr_inodes={inodes}"
            mount("tmpfs", place, "tmpfs", NO_SUID | NO_DEVICES, options)
            if not step["writable"]:
                later.append(step["target"])
        elif step["kind"] == "proc":
            os.makedirs(place, exist_ok=True)
            mount("proc", place, "proc", NO_SUID | NO_DEVICES | NO_EXECUTION, "")
            set_flags(place, READ_ONLY)
        elif step["kind"] == "folder":
            os.makedirs(place, exist_ok=True)
        elif step["kind"] == "symlink":
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.symlink(step["source"], place)
        else:
            bind(step, place)
    os.chdir(root)
    checked(libc.syscall(PIVOT_ROOT, b".", b"."), "pivot_root")
    checked(libc.umount2(b".", DETACH), "unmounting the machine")
    os.chdir("/")
    for target in later:
        set_flags(target, READ_ONLY, recursive=False)


def bind(step: Plan, place: str) -> None:
    """Bind a file, folder or device of the machine to `place`."""
    if os.path.isdir(step["source"]):
        os.makedirs(place, exist_ok=True)
    elif not os.path.lexists(place):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    mount(step["source"], place, None, BIND | RECURSIVE, "")
    if step["kind"] == "device":
        set_flags(place, NO_SUID | NO_EXECUTION | READ_ONLY)  # can be written to, not changed: root owns the original
    else:
        set_flags(place, NO_SUID | NO_DEVICES | (0 if step["writable"] else READ_ONLY))


def raise_loopback() -> None:
    """Bring `lo` up: two ranks of one job talk over it, and there is no other interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = array.array("B", struct.pack("16sH22x", b"lo", 0x1 | 0x40))  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(handle, 0x8914, request)  # SIOCSIFFLAGS


def drop_capabilities() -> None:
    """No capability is left, and none can come back: not by exec, not as root of the namespace."""
    checked(libc.prctl(SET_SECUREBITS, 0x2F, 0, 0, 0), "secure bits")  # no setuid fix-up, no root; both locked
    for capability in range(64):
        if libc.prctl(DROP_BOUNDING, capability, 0, 0, 0) < 0:
            break
    libc.prctl(AMBIENT, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL
    header = struct.pack("=Ii", 0x20080522, 0)
    checked(libc.capset(header, struct.pack("=IIIIII", 0, 0, 0, 0, 0, 0)), "dropping capabilities")
    checked(libc.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no new privileges")


def landlock(plan: Plan) -> None:
    """Files: everything in view may be read and executed, only the writable places written; signals stay inside."""
    abi = libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    checked(abi, "Landlock")
    handled = (1 << 13) - 1
    if abi >= 2:
        handled |= 1 << 13
    if abi >= 3:
        handled |= 1 << 14
    scoped = 3 if abi >= 6 else 0  # abstract sockets, signals
    attributes = struct.pack("=QQQ", handled, 0, scoped)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = libc.syscall(LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    checked(ruleset, "Landlock ruleset")
    allow(ruleset, "/", READ_RIGHTS & handled)
    for step in plan["mounts"]:
        if step["kind"] == "device":
            allow(ruleset, step["target"], (FILE_RIGHTS & ~1) & handled)
        elif step["writable"]:
            folder = os.path.isdir(step["target"])
            allow(ruleset, step["target"], handled if folder else FILE_RIGHTS & handled)
    checked(libc.syscall(LANDLOCK_RESTRICT, ruleset, 0), "entering Landlock")
    os.close(ruleset)


def allow(ruleset: int, path: str, rights: int) -> None:
    """One rule: these rights beneath (or on) `path`."""
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", rights, handle)
    checked(libc.syscall(LANDLOCK_ADD, ruleset, 1, rule, 0), f"Landlock rule for {path}")
    os.close(handle)


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def filter_system_calls(code: bytes) -> None:
    """Install the filter for good."""
    program = Program(len(code) // 8, code)
    checked(libc.syscall(SECCOMP, 1, 0, ctypes.byref(program)), "system call filter")


def keep_only(kept: set[int]) -> None:
    """Close every other descriptor."""
    edges = sorted({-1, *kept, 1 << 20})
    for low, high in itertools.pairwise(edges):
        if low + 1 < high:
            os.closerange(low + 1, min(high, 65536))


def run_command(plan: Plan) -> NoReturn:
    """Confine this process and execute the command. Does not return."""
    os.setsid()
    keep_only({0, 1, 2, *plan["kept"]})
    os.chdir(plan["folder"])
    code = bytes.fromhex(plan["filter"])
    drop_capabilities()
    landlock(plan)
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    filter_system_calls(code)
    command = plan["command"]
    try:
        os.execve(command[0], command, plan["environment"])
    except OSError as error:
        raise LaunchError(f"{command[0]}: {error.strerror}") from None


def be_process_one(plan: Plan, status: int) -> NoReturn:
    """Build the view, wait for the auditor's word, run the command, reap orphans until it is done."""
    libc.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    checked(libc.sethostname(plan["host"].encode(), len(plan["host"])), "host name")
    raise_loopback()
    build_view(plan)
    libc.prctl(SET_DUMPABLE, 0, 0, 0, 0)  # nobody inside may look into this process
    if not os.read(plan["block"], 1):
        os._exit(SET_UP_FAILED)
    os.close(plan["block"])
    failed_read, failed_write = os.pipe()
    command = os.fork()
    if command == 0:
        os.close(failed_read)
        guarded(lambda: run_command({**plan, "kept": [*plan["kept"], failed_write]}), failed_write)
    keep_only({2, status, failed_read})
    drop_capabilities()
    failure = os.read(failed_read, 4096)
    while True:
        pid, ended = os.wait()
        if pid == command:
            break
    if failure:
        os.write(2, failure)
        os._exit(SET_UP_FAILED)
    how = {"signal": os.WTERMSIG(ended)} if os.WIFSIGNALED(ended) else {"exit-code": os.WEXITSTATUS(ended)}
    os.write(status, json.dumps(how).encode() + b"\n")
    os._exit(0)


def guarded(step: Callable[[], object], failures: int) -> NoReturn:
    """Run a step that must not return into the caller's code; what fails is written to the descriptor `failures`."""
    try:
        step()
    except BaseException as error:
        text = str(error) if isinstance(error, LaunchError) else f"{type(error).__name__}: {error}"
        os.write(failures, f"sandbox: {text}\n".encode())
    os._exit(SET_UP_FAILED)


def main() -> NoReturn:
    """Read the plan, build the confinement, wait for its end."""
    libc.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    with os.fdopen(int(sys.argv[1])) as stream:
        plan = json.load(stream)
    os.umask(0o022)
    status = plan["status"]
    os.set_inheritable(status, False)
    enter_namespaces(plan)
    first = os.fork()
    if first == 0:
        guarded(lambda: be_process_one(plan, status), 2)
    os.write(status, json.dumps({"child-pid": first}).encode() + b"\n")
    keep_only({2})
    _, ended = os.waitpid(first, 0)
    os._exit(os.WEXITSTATUS(ended) if os.WIFEXITED(ended) else 128 + os.WTERMSIG(ended))


if __name__ == "__main__":
    guarded(main, 2)
