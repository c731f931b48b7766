"""The bait: what a case could find, reach or break on the machine. All of it is made here and is worth nothing."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BAIT = "bait-6f1d0c"  # a text that must come out of no run
DATA = b"audit data " * 100


@dataclass(frozen=True, slots=True)
class World:
    """Bait on the machine. The script learns where it is from environment variables named W_...."""

    folder: Path
    tcp: socket.socket
    udp: socket.socket
    abstract: socket.socket
    named: socket.socket
    process: subprocess.Popen[bytes]

    @property
    def home(self) -> Path:
        """A home folder with a private key in it."""
        return self.folder / "home"

    @property
    def data(self) -> Path:
        """What every run sees read-only at /audit/data."""
        return self.folder / "data"

    def directions(self) -> Mapping[str, str]:
        """Where the bait is; hostile scripts are assumed to know."""
        return {
            "W_HOME": str(self.home),
            "W_AUDITOR": str(Path(__file__).resolve().parents[2]),
            "W_PORT": str(self.tcp.getsockname()[1]),
            "W_UDP": str(self.udp.getsockname()[1]),
            "W_ABSTRACT": self.abstract.getsockname()[1:].decode(),
            "W_SOCKET": str(self.home / "socket"),
            "W_PID": str(self.process.pid),
            "W_ADDRESS": _own_address(),
        }

    def harm(self) -> tuple[str, ...]:
        """What a run did to the bait, in words; the next run starts from sound bait only if this is empty."""
        found = []
        reached = select.select([self.tcp, self.udp, self.abstract, self.named], [], [], 0)[0]
        found += [f"reached {name}" for name in ("tcp", "udp", "abstract", "named") if getattr(self, name) in reached]
        if self.process.poll() is not None:
            found.append("killed a process of the machine")
        if (self.data / "data.bin").read_bytes() != DATA or len(list(self.data.iterdir())) != 1:
            found.append("changed read-only data")
        if (self.home / ".ssh" / "id_ed25519").read_text() != BAIT:
            found.append("changed the home folder")
        return tuple(found)


@contextlib.contextmanager
def made_world() -> Iterator[World]:
    """A world of bait, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="escapes-"))
    home, data = folder / "home", folder / "data"
    (home / ".ssh").mkdir(parents=True)
    data.mkdir()
    (home / ".ssh" / "id_ed25519").write_text(BAIT)
    (data / "data.bin").write_bytes(DATA)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        tcp = stack.enter_context(socket.create_server(("", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("", 0))
        abstract, named = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        abstract.bind(f"\0escapes-{os.getpid()}")
        named.bind(str(home / "socket"))
        abstract.listen()
        named.listen()
        sleeping = [sys.executable, "-S", "-c", f"import time; time.sleep(600)  # {BAIT}"]
        process = stack.enter_context(subprocess.Popen(sleeping, env={"SECRET": BAIT}))
        stack.callback(process.kill)
        yield World(folder, tcp, udp, abstract, named, process)


def _own_address() -> str:
    """An address of this machine that is not loopback, else a loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: a datagram socket only looks up the way
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
