"""The report channel, inside: an append-only pipe whose messages cannot be altered or taken back afterwards.

Law: what was reported before the script could interfere stays reported. Message i of a process is sealed with key k_i,
and k_{i+1} = SHA-256(k_i); k_i is overwritten as soon as it was used. A script that gets hold of the reporter's state
later can add messages of its own behind what is there, and no more: it cannot forge an earlier message, drop one
(a gap), send one again (a duplicate), or close the channel early (no end message) without the reader seeing it.

The first key comes through a pipe that is read once and closed: it is in no environment and no memory image. A forked
child gets a chain of its own, keyed from the parent's key at the fork, so that a script's children report as well.

One line of the pipe: 64 hex digits (HMAC-SHA-256 over what follows), a blank, JSON [chain, number, more, text]. A
record is JSON text, cut into pieces so that each line is at most PIPE_BUF bytes, which the kernel writes at once;
`more` is 1 for all pieces but a record's last. Only the standard library is used here.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import hashlib
import hmac
import json
import os
import select
import sys
import threading
from collections.abc import Mapping

FD_VARIABLE, KEY_VARIABLE = "PGOLF_REPORT_FD", "PGOLF_REPORT_KEY"  # the key's variable holds a file descriptor, too
KEY_BYTES = 32
LINE_BYTES = 4096  # PIPE_BUF: a write of this size is never mixed with another process's
PIECE_CHARACTERS = 1900  # of ASCII JSON, which at most doubles in a line: quotes and backslashes are quoted again


class Reporter:
    """Sends records; see the module's law. `report` is safe in threads, in signal handlers and after a fork."""

    __slots__ = (
        "_chain",
        "_child_key",
        "_ended",
        "_fd",
        "_forks",
        "_key",
        "_lock",
        "_number",
        "_process",
        "_sending",
        "_waiting",
    )

    def __init__(self, fd: int, key: bytes, chain: str = "0") -> None:
        self._fd = fd
        self._key = bytearray(key)
        self._chain = chain
        self._number = 0
        self._forks = 0
        self._ended = False
        self._lock = threading.RLock()
        self._sending = False
        self._waiting: list[str] = []
        self._process = os.getpid()
        self._child_key = b""
        os.set_inheritable(fd, False)
        os.register_at_fork(before=self._before_fork, after_in_parent=self._after_in_parent, after_in_child=self._child)

    @property
    def fd(self) -> int:
        """The pipe's descriptor, which nothing else may write to or close."""
        return self._fd

    def report(self, record: Mapping[str, object]) -> None:
        """Send one JSON object. Numbers that JSON lacks (nan, inf) go as Python writes them."""
        self._send(json.dumps(record, separators=(",", ":"), default=str))

    def end(self, **facts: object) -> None:
        """Send the last message, in the process that opened the channel; later records are not sent.

        Everything printed so far is flushed first: what the auditor reads after the end message was printed after it.
        """
        if not self._ended and os.getpid() == self._process:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            ctypes.CDLL(None).fflush(None)  # what C code printed
            self.report({"kind": "end", **facts})
            self._ended = True

    def _send(self, text: str) -> None:
        with self._lock:
            if self._ended:
                return
            self._waiting.append(text)
            if self._sending:  # a signal handler or an audit hook came while a message was under way
                return
            self._sending = True
            try:
                while self._waiting:
                    self._send_pieces(self._waiting.pop(0))
            finally:
                self._sending = False

    def _send_pieces(self, text: str) -> None:
        pieces = [text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS)]
        for place, piece in enumerate(pieces):
            self._send_line(int(place + 1 < len(pieces)), piece)

    def _send_line(self, more: int, piece: str) -> None:
        body = json.dumps([self._chain, self._number, more, piece], separators=(",", ":")).encode()
        seal = hmac.digest(self._key, body, "sha256").hex().encode()
        self._number += 1
        self._key[:] = hashlib.sha256(self._key).digest()
        line = seal + b" " + body + b"\n"
        while line:
            try:
                line = line[os.write(self._fd, line) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()

    def _before_fork(self) -> None:
        self._lock.acquire()
        self._forks += 1
        self._child_key = hashlib.sha256(b"fork %d " % self._forks + self._key).digest()
        with contextlib.suppress(OSError):  # told before the child exists: its messages must not come first
            self.report({"kind": "fork", "chain": f"{self._chain}.{self._forks}"})

    def _after_in_parent(self) -> None:
        self._child_key = b""
        self._lock.release()

    def _child(self) -> None:
        self._key[:] = self._child_key
        self._child_key = b""
        self._chain = f"{self._chain}.{self._forks}"
        self._number = self._forks = 0
        self._waiting.clear()
        self._sending = False
        self._lock = threading.RLock()


def open_report() -> Reporter | None:
    """The reporter of this process, or None where the environment names no channel. Works once: the key is then gone.

    Removes both variables from `os.environ` and wipes them from the process's first environment (/proc/self/environ).
    The end message is sent when the interpreter ends: open the channel before anything that registers with `atexit`,
    whose functions run in reverse.
    """
    fd, key_fd = (_taken(name) for name in (FD_VARIABLE, KEY_VARIABLE))
    if fd is None or key_fd is None:
        return None
    key = b""
    while len(key) < KEY_BYTES and (part := os.read(key_fd, KEY_BYTES - len(key))):
        key += part
    os.close(key_fd)
    if len(key) != KEY_BYTES:
        raise OSError("the report channel's key was read before")
    reporter = Reporter(fd, key)
    atexit.register(reporter.end)
    return reporter


def _taken(name: str) -> int | None:
    """The number in an environment variable, which is removed and overwritten where the process keeps it."""
    value = os.environ.get(name)
    if value is None or not value.isdigit():
        return None
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    address = getenv(name.encode())
    if address:
        ctypes.memset(address, ord("0"), len(value))
    del os.environ[name]
    return int(value)
