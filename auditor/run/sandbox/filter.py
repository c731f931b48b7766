"""The system call filter: a deny list for seccomp, assembled to classic BPF here (no library does it for us).

A deny list and not an allow list: torch, numpy, gcc and the scripts use most of the kernel's ordinary interface. The
list holds what could reach outside the namespaces, look into other processes, load code into the kernel, keep memory
that no limit counts, or widen the kernel's attack surface without any use to a script. Sources: kernel UAPI headers
(linux/seccomp.h, linux/bpf_common.h, asm/unistd_64.h, asm-generic/unistd.h).
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from dataclasses import dataclass

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000
USER_NOTIFICATION = 0x7FC00000

# struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6]
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
LOAD, JUMP_EQUAL, JUMP_ABOVE_OR_EQUAL, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06

X32_BIT = 0x40000000
NEW_NAMESPACES = 0x7E020000 | 0x80  # every CLONE_NEW*; 0x80 is CLONE_NEWTIME, which clone cannot be asked for
FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
NETLINK, ROUTE = 16, 0  # of netlink only this protocol: getifaddrs(3) asks it, and gloo calls getifaddrs
TERMINAL_REQUESTS = (0x5412, 0x541C)  # TIOCSTI types into a terminal, TIOCLINUX pastes


@dataclass(frozen=True, slots=True)
class Machine:
    """An architecture: the kernel's audit number and the column of SYSTEM_CALLS."""

    audit_number: int
    column: int


MACHINES = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}

# name: (number on x86_64, number on aarch64); None where the architecture has no such call
SYSTEM_CALLS: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "open_tree_attr": (467, 467),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "create_module": (174, None),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "uselib": (134, None),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "_sysctl": (156, None),
    "lookup_dcookie": (212, 18),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # Memory that stays when no process maps it, so that no limit of ours would count it:
    "shmget": (29, 194),
    "msgget": (68, 186),
    "memfd_secret": (447, 447),
    "inotify_init": (253, None),
}
# Calls that libraries try and do without: "no such call" makes them fall back, "not permitted" might not.
FALLEN_BACK_FROM = {
    "clone3": (435, 435),  # hides its flags from filters, as openat2 hides its mode
    "openat2": (437, 437),
    "memfd_create": (319, 279),  # memory that no process needs to map
    "inotify_init1": (294, 26),  # tells when the machine opens a file that the run can see, too
}
# Calls that give a file its mode: number on each architecture, which argument is the mode, and which one the flags, of
# which O_CREAT must be set for the mode to count. A run of root's may leave no program that makes others root.
MODE_CALLS: tuple[tuple[tuple[int | None, int | None], int, int | None], ...] = (
    ((90, None), 1, None),  # chmod
    ((91, 52), 1, None),  # fchmod
    ((268, 53), 2, None),  # fchmodat
    ((452, 452), 2, None),  # fchmodat2
    ((85, None), 1, None),  # creat
    ((133, None), 1, None),  # mknod
    ((259, 33), 2, None),  # mknodat
    ((2, None), 2, 1),  # open
    ((257, 56), 3, 2),  # openat
)
SET_ID, CREATE = 0o6000, 0o100
CLONE, SOCKET, SOCKETPAIR, IOCTL = (56, 220), (41, 198), (53, 199), (16, 29)


def denied_calls(machine: str = "") -> dict[int, str]:
    """Number and name of every call that is refused whatever its arguments, for this or the named architecture."""
    column = _machine(machine).column
    return {number: name for name, numbers in SYSTEM_CALLS.items() if (number := numbers[column]) is not None}


def filter_program(machine: str = "", refusal: int = ERRNO | errno.EPERM) -> bytes:
    """The filter as an array of struct sock_filter, what `bwrap --seccomp` and seccomp(2) take.

    `refusal` is returned for the deny list: an errno, or USER_NOTIFICATION where somebody listens. Calls of another
    architecture (32 bit, x32) kill the process. Raises ValueError for an architecture without a table.
    """
    known = _machine(machine)
    column = known.column
    code = [_load(ARCHITECTURE), *_unless(JUMP_EQUAL, known.audit_number, KILL_PROCESS), _load(NUMBER)]
    if column == 0:
        code += _when(JUMP_ABOVE_OR_EQUAL, X32_BIT, KILL_PROCESS)
    for numbers in FALLEN_BACK_FROM.values():
        code += _when(JUMP_EQUAL, numbers[column], ERRNO | errno.ENOSYS)
    for number in denied_calls(machine):
        code += _when(JUMP_EQUAL, number, refusal)
    code += _argument_check(CLONE[column], 0, _when(JUMP_ANY_BIT, NEW_NAMESPACES & ~0x80, refusal))
    for known_numbers, mode, flags in MODE_CALLS:
        if (call_number := known_numbers[column]) is not None:
            code += _argument_check(call_number, mode, _set_id_check(mode, flags, refusal))
    requests = [part for request in TERMINAL_REQUESTS for part in _when(JUMP_EQUAL, request, refusal)]
    code += _argument_check(IOCTL[column], 1, requests)
    allowed = [part for family in FAMILIES for part in _when(JUMP_EQUAL, family, ALLOW)]
    refused = _return(ERRNO | errno.EAFNOSUPPORT)
    routes = [_load(ARGUMENTS + 8 * 2), *_when(JUMP_EQUAL, ROUTE, ALLOW)]
    netlink = [_instruction(JUMP_EQUAL, 0, len(routes), NETLINK), *routes]
    code += _argument_check(SOCKET[column], 0, [*allowed, *netlink, refused])
    code += _argument_check(SOCKETPAIR[column], 0, [*allowed, refused])
    return b"".join([*code, _return(ALLOW)])


def _machine(name: str) -> Machine:
    name = name or platform.machine()
    if name not in MACHINES:
        raise ValueError(f"no system call table for {name}: the sandbox knows {', '.join(MACHINES)}")
    return MACHINES[name]


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _load(offset: int) -> bytes:
    return _instruction(LOAD, 0, 0, offset)


def _return(value: int) -> bytes:
    return _instruction(RETURN, 0, 0, value)


def _when(jump: int, value: int, result: int) -> list[bytes]:
    return [_instruction(jump, 0, 1, value), _return(result)]


def _unless(jump: int, value: int, result: int) -> list[bytes]:
    return [_instruction(jump, 1, 0, value), _return(result)]


def _set_id_check(mode: int, flags: int | None, refusal: int) -> list[bytes]:
    """Refuse a mode with set-user-id or set-group-id; with `flags`, only where a file is created."""
    check = _when(JUMP_ANY_BIT, SET_ID, refusal)
    if flags is None:
        return check
    check = [_load(ARGUMENTS + 8 * mode), *check]
    return [_load(ARGUMENTS + 8 * flags), _instruction(JUMP_ANY_BIT, 0, len(check), CREATE), *check]


def _argument_check(number: int, argument: int, checks: list[bytes]) -> list[bytes]:
    """`checks` on the low half of an argument, for one call only; the call's number is loaded again afterwards."""
    body = [_load(ARGUMENTS + 8 * argument), *checks, _load(NUMBER)]
    return [_instruction(JUMP_EQUAL, 0, len(body), number), *body]
