"""The system call filter, evaluated by a small interpreter of classic BPF."""

from __future__ import annotations

import errno
import struct

import pytest

from auditor.run.sandbox.filter import ALLOW, ERRNO, KILL_PROCESS, denied_calls, filter_program

X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
REFUSED = ERRNO | errno.EPERM


def answer(program: bytes, number: int, architecture: int, *arguments: int) -> int:
    """What the kernel would do with this call: classic BPF over struct seccomp_data."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = place = 0
    while True:
        operation, if_true, if_false, value = code[place]
        place += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif operation == 0x06:
            return int(value)
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[operation]
            place += if_true if holds else if_false


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", X86_64), ("aarch64", AARCH64)])
def test_denied_calls_are_refused_and_ordinary_ones_are_not(machine: str, architecture: int) -> None:
    program = filter_program(machine)
    denied = denied_calls(machine)
    for number in range(600):
        got = answer(program, number, architecture)
        if number in denied:
            assert got == REFUSED, denied[number]
        elif got != ALLOW:
            assert got in (ERRNO | errno.ENOSYS, ERRNO | errno.EAFNOSUPPORT)


def test_program_fits_the_kernel() -> None:
    assert len(filter_program("x86_64")) % 8 == 0
    assert len(filter_program("x86_64")) // 8 <= 4096


@pytest.mark.parametrize(
    ("number", "arguments", "expected"),
    [
        (56, (0x11,), ALLOW),  # clone as fork does
        (56, (0x3D0F00,), ALLOW),  # clone as threads do
        (56, (0x10000011,), REFUSED),  # a new user namespace
        (56, (0x00020011,), REFUSED),  # a new mount namespace
        (435, (0, 88), ERRNO | errno.ENOSYS),  # clone3: glibc falls back to clone
        (41, (1, 1, 0), ALLOW),  # Unix socket
        (41, (2, 1, 0), ALLOW),  # IPv4
        (41, (10, 1, 0), ALLOW),  # IPv6
        (41, (16, 3, 0), ALLOW),  # netlink, addresses of interfaces
        (41, (16, 3, 15), ERRNO | errno.EAFNOSUPPORT),  # netlink, events of devices
        (53, (16, 3, 0), ERRNO | errno.EAFNOSUPPORT),  # a pair of netlink sockets
        (41, (17, 3, 0), ERRNO | errno.EAFNOSUPPORT),  # packets
        (53, (1, 1, 0), ALLOW),  # socketpair
        (90, (0, 0o755), ALLOW),  # chmod
        (90, (0, 0o4755), REFUSED),  # chmod, set-user-id
        (91, (0, 0o2755), REFUSED),  # fchmod, set-group-id
        (268, (0, 0, 0o4755), REFUSED),  # fchmodat
        (257, (0, 0, 0o101, 0o644), ALLOW),  # openat
        (257, (0, 0, 0o101, 0o4755), REFUSED),  # openat, a new set-user-id file
        (257, (0, 0, 0o1, 0o4755), ALLOW),  # openat of a file that is there: its mode stays
        (437, (0, 0, 0, 0), ERRNO | errno.ENOSYS),  # openat2 hides its mode from filters
        (16, (0, 0x5413), ALLOW),  # ioctl: size of the terminal
        (16, (0, 0x5412), REFUSED),  # ioctl: typing into the terminal
        (1, (1,), ALLOW),  # write
        (0x40000000 + 39, (), KILL_PROCESS),  # x32
    ],
)
def test_arguments_decide_on_x86_64(number: int, arguments: tuple[int, ...], expected: int) -> None:
    assert answer(filter_program("x86_64"), number, X86_64, *arguments) == expected


def test_calls_of_another_architecture_kill() -> None:
    assert answer(filter_program("x86_64"), 20, I386) == KILL_PROCESS
    assert answer(filter_program("aarch64"), 20, X86_64) == KILL_PROCESS


def test_unknown_architecture_is_an_error() -> None:
    with pytest.raises(ValueError, match="no system call table"):
        filter_program("m68k")
