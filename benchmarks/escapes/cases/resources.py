"""Resources: disk, memory, output, descriptors."""

from __future__ import annotations

from dataclasses import replace

from auditor.run.model import MIB
from benchmarks.escapes.judging import LIMITS, Case

TMPFS = "size of the tmpfs"
WATCHED = "scratch space"

CASES = (
    Case(
        "one big file",
        "A script writes more into its /tmp than it may.",
        """
written = 0
for number in range(8):
    try:
        with open(f"/tmp/big{number}", "wb") as stream:
            for _ in range(20):
                written += stream.write(bytes(1 << 20))
                stream.flush()
    except OSError as error:
        print("refused:", error)
import time
time.sleep(2)
escaped(f"{written} bytes")
""",
        "limit of file size, size of the tmpfs",
        stopped="32 MiB of files",
        broken="no end message",
    ),
    Case(
        "filling the disk",
        "A script fills the disk through its folder.",
        """
import time
for number in range(8):
    with open(f"part{number}", "wb") as stream:
        stream.write(bytes(8 << 20))
time.sleep(5)
escaped("64 MiB")
""",
        WATCHED,
        stopped="32 MiB of files",
        broken="no end message",
    ),
    Case(
        "files without a name",
        "A script fills the disk with files that it deletes and keeps open, which no folder lists.",
        """
import time
kept = []
for number in range(6):
    stream = open("part", "wb")
    stream.write(bytes(8 << 20))
    stream.flush()
    os.remove("part")
    kept.append(stream)
time.sleep(5)
escaped("48 MiB")
""",
        WATCHED,
        stopped="32 MiB of files",
        broken="no end message",
    ),
    Case(
        "folders nested too deeply",
        "A script hides files below folders whose path is too long to be read.",
        """
import time
for _ in range(60):
    os.mkdir("x" * 100)
    os.chdir("x" * 100)
open("hidden", "wb").write(bytes(1 << 20))
time.sleep(5)
escaped("hidden files")
""",
        WATCHED,
        stopped="a folder that cannot be watched",
        broken="no end message",
    ),
    Case(
        "very many files",
        "A script makes more files than a file system takes well.",
        """
import time
for number in range(5000):
    try:
        open(f"{number}", "w").close()
        open(f"/tmp/{number}", "w").close()
    except OSError:
        pass
time.sleep(5)
escaped("ten thousand files")
""",
        WATCHED,
        stopped="2000 files",
        broken="no end message",
    ),
    Case(
        "a sparse file",
        "A script makes a file of a terabyte without writing it.",
        """
for folder in ("/tmp", "/work/repo/records/track/submission", "/dev/shm"):
    with open(folder + "/sparse", "wb") as stream:
        attempt(os.ftruncate, stream.fileno(), 1 << 40)
        attempt(os.posix_fallocate, stream.fileno(), 0, 1 << 40)
        attempt(os.pwrite, stream.fileno(), b"x", 1 << 40)
""",
        "limit of file size",
    ),
    Case(
        "filling /dev/shm",
        "A script fills the machine's memory through /dev/shm.",
        """
import time
written = 0
for number in range(8):
    try:
        written += open(f"/dev/shm/{number}", "wb", 0).write(bytes(16 << 20))
    except OSError as error:
        print("refused:", error)
time.sleep(1)
if written > 70 << 20:
    escaped(written)
time.sleep(5)
""",
        TMPFS,
        stopped="32 MiB of files",
        broken="no end message",
    ),
    Case(
        "20 GB at once",
        "A script reserves more memory than the machine has.",
        "attempt(bytearray, 20 << 30)\nimport mmap\nattempt(mmap.mmap, -1, 20 << 30)\n",
        "limit of address space",
    ),
    Case(
        "memory bit by bit",
        "A script takes more memory than it may, a little at a time.",
        """
import time
kept = []
for _ in range(80):
    kept.append(bytearray(b"x" * (8 << 20)))
time.sleep(2)
escaped("640 MiB")
""",
        "memory of the tree",
        stopped="MiB of memory",
        broken="no end message",
    ),
    Case(
        "memory of many",
        "Many processes take together what one may not.",
        """
import time
for _ in range(10):
    if os.fork() == 0:
        kept = bytearray(b"x" * (60 << 20))
        time.sleep(30)
        os._exit(0)
time.sleep(5)
escaped("600 MiB")
""",
        "memory of the tree",
        stopped="MiB of memory",
        broken="no end message",
    ),
    Case(
        "shared memory",
        "A script takes memory by shared mappings, which belong to no process.",
        """
import mmap, time
kept = []
for _ in range(10):
    area = mmap.mmap(-1, 64 << 20)
    area.write(b"x" * (64 << 20))
    kept.append(area)
time.sleep(5)
escaped("640 MiB")
""",
        "memory of the tree",
        stopped="MiB of memory",
        broken="no end message",
    ),
    Case(
        "memory that nobody maps",
        "A script keeps memory in the kernel where no process has it: memory files, System V segments, message queues.",
        """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
attempt(os.memfd_create, "hidden")
for name, arguments in (("shmget", (0, 64 << 20, 0o1600)), ("msgget", (0, 0o1600))):
    if getattr(libc, name)(*arguments) >= 0:
        escaped(name)
libc.mq_open.restype = ctypes.c_int
if libc.mq_open(b"/queue", os.O_CREAT | os.O_RDWR, 0o600, None) >= 0:
    escaped("mq_open")
""",
        "system call filter, limits",
    ),
    Case(
        "a segment left behind",
        "A named shared-memory segment is still there after the run.",
        """
from multiprocessing import resource_tracker, shared_memory
resource_tracker.register = lambda *arguments: None
segment = shared_memory.SharedMemory("escapes-left-behind", create=True, size=1 << 20)
segment.buf[:4] = b"here"
""",
        "own /dev/shm",
    ),
    Case(
        "endless output",
        "A script fills the auditor's memory with what it prints.",
        """
line = b"x" * 65535 + b"\\n"
for _ in range(320):
    os.write(1, line)
    os.write(2, line[:-1])
""",
        "limit of output",
        truncated="stdout",
        exact=lambda outcome: len(outcome.stdout) == len(outcome.stderr) == MIB and outcome.completed,
    ),
    Case(
        "taking output back",
        "A script reads its own pipes, so that the auditor waits for ever for what was there a moment ago.",
        """
import threading
def taking(fd):
    back = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
    while True:
        os.write(fd, b"x")
        try:
            os.read(back, 65536)
        except BlockingIOError:
            pass
threads = [threading.Thread(target=taking, args=(fd,)) for fd in (1, 1, 2, 2)]
[thread.start() for thread in threads]
""",
        "reading without waiting",
        stopped="wall clock",
        broken="no end message",
        limits=replace(LIMITS, seconds=1.5),
    ),
    Case(
        "terminal sequences",
        "What a script prints or does acts on the terminal of the reader.",
        """
print("\\x1b]0;owned\\x07\\x1b[2J\\x9b31m")
import socket
try:
    socket.create_connection(("\\x1b[31mevil\\r\\n", 80))
except Exception as error:
    print("refused:", type(error))
try:
    open("/etc/\\x1b[2J")
except OSError:
    pass
""",
        "escaped before display",
        seen="looks up ?[31mevil",
    ),
    Case(
        "descriptors without end",
        "A script opens so many files that the machine has none left.",
        """
kept = []
try:
    while len(kept) < 20000:
        kept.append(os.open("/dev/null", os.O_RDONLY))
    escaped("20,000 descriptors")
except OSError as error:
    print("refused:", error)
for fd in kept:
    os.close(fd)
""",
        "limit of descriptors",
    ),
)
