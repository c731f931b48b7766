"""The kernel: namespaces, mounts, other processes' memory, privileges, rarely used interfaces."""

from __future__ import annotations

from benchmarks.escapes.judging import Case

FILTER = "system call filter"
# Numbers from the kernel's tables; a call counts as refused only if the filter or a missing right refused it.
CALLS = """
import ctypes, errno, platform
libc = ctypes.CDLL(None, use_errno=True)
column = {"x86_64": 0, "aarch64": 1}[platform.machine()]
def call(numbers, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(numbers[column]), *arguments)
    reason = errno.errorcode.get(ctypes.get_errno(), "no error")
    if result >= 0 or reason not in ("EPERM", "EACCES", "ENOSYS"):
        escaped(f"system call {numbers[column]} gave {result} {reason}")
    else:
        print("refused:", numbers[column], reason)
    return result
"""

CASES = (
    Case(
        "new user namespace",
        "A script gets all capabilities in a user namespace of its own, and with them the kernel's whole surface.",
        CALLS
        + """
NEW_USER = 0x10000000
attempt(os.unshare, NEW_USER)
attempt(os.unshare, 0x00020000)
call((272, 97), NEW_USER)
if call((56, 220), NEW_USER | 17, 0, 0, 0, 0) == 0:
    os._exit(0)
arguments = (ctypes.c_uint64 * 11)(NEW_USER, 0, 0, 0, 17)
if call((435, 435), arguments, 88) == 0:
    os._exit(0)
""",
        FILTER,
        seen="native code: looks up syscall",
    ),
    Case(
        "entering other namespaces",
        "A script joins a namespace of the machine.",
        CALLS
        + """
for kind in ("net", "mnt", "user", "pid"):
    handle = os.open(f"/proc/self/ns/{kind}", os.O_RDONLY)
    attempt(os.setns, handle)
    call((308, 268), handle, 0)
""",
        FILTER,
        seen="looks up syscall",
    ),
    Case(
        "mounting",
        "A script mounts over the data, remounts it writable, or unmounts what hides the machine.",
        CALLS
        + """
for source, target, flags in ((b"/tmp", b"/audit/data", 4096), (None, b"/audit/data", 4096 | 32),
                              (None, b"/", 4096 | 32), (b"tmpfs", b"/tmp/home", 0)):
    call((165, 40), source, target, b"tmpfs", flags, None)
for target in (b"/audit/data", b"/proc", b"/tmp", b"/"):
    call((166, 39), target, 2)
call((428, 428), -100, b"/", 1)
call((429, 429), -100, b"/tmp", -100, b"/audit", 0)
call((430, 430), b"proc", 0)
call((442, 442), -100, b"/audit/data", 0, bytes(32), 32)
""",
        FILTER,
    ),
    Case(
        "changing the root",
        "A script leaves its root by chroot or pivot_root.",
        CALLS
        + """
attempt(os.chroot, "/tmp")
call((155, 41), b"/tmp", b"/tmp/home")
attempt(os.fchdir, 3)
""",
        FILTER,
    ),
    Case(
        "tracing other processes",
        "A script attaches to the sandbox's own process or reads a process's memory.",
        CALLS
        + """
call((101, 117), 16, 1, 0, 0)
call((101, 117), 0, 0, 0, 0)
buffer = ctypes.create_string_buffer(64)
vector = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 64)
call((310, 270), 1, vector, 1, vector, 1, 0)
call((311, 271), 1, vector, 1, vector, 1, 0)
call((438, 438), 3, 0, 0)
call((312, 272), 1, os.getpid(), 0, 0, 0)
""",
        FILTER,
        seen="looks up syscall",
    ),
    Case(
        "making devices",
        "A script makes a device file of the disk or of the memory and opens it.",
        """
import stat
for kind, major, minor in ((stat.S_IFBLK, 254, 0), (stat.S_IFBLK, 8, 0), (stat.S_IFCHR, 1, 1), (stat.S_IFCHR, 10, 200)):
    for folder in ("/tmp", "/dev/shm", "/work/repo/records/track/submission"):
        attempt(os.mknod, folder + "/device", kind | 0o666, os.makedev(major, minor))
for name in ("/dev/kvm", "/dev/mem", "/dev/vda", "/dev/sda", "/dev/tty", "/dev/ptmx", "/dev/fuse", "/dev/nvidia0"):
    attempt(open, name, "rb")
""",
        "no capabilities",
    ),
    Case(
        "files by handle",
        "A script opens a file of the machine by its number, past all folders.",
        CALLS
        + """
handle = ctypes.create_string_buffer(b"\\x80" + bytes(200))
call((303, 264), -100, b"/usr", handle, ctypes.create_string_buffer(8), 0)
call((304, 265), 3, handle, 0)
""",
        FILTER,
    ),
    Case(
        "becoming root",
        "A script becomes another user or gets a capability back.",
        CALLS
        + """
for function, arguments in ((os.setuid, (0,)), (os.setresuid, (0, 0, 0)), (os.setgroups, ([0],)), (os.setgid, (0,))):
    attempt(function, *arguments)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
    if int(status[name], 16):
        escaped(f"{name} {status[name]}")
if status["NoNewPrivs"].strip() != "1" or status["Seccomp"].strip() != "2":
    escaped("no filter")
if libc.prctl(38, 0, 0, 0, 0) == 0 or libc.prctl(23, 21, 0, 0, 0) == 1:
    escaped("new privileges are possible")
import subprocess
print(subprocess.run("su -c id; mount --bind /tmp /usr; id -u; passwd -d root", shell=True, capture_output=True))
""",
        "no capabilities, no new privileges",
        seen="looks up prctl",
    ),
    Case(
        "a set-user-id program left behind",
        "A run of root's leaves a program in its folder that makes whoever starts it root.",
        CALLS
        + """
open("program", "w").close()
for mode in (0o4755, 0o2755, 0o6777):
    attempt(os.chmod, "program", mode)
    attempt(os.open, f"new{mode}", os.O_CREAT | os.O_WRONLY, mode)
    attempt(os.mknod, f"node{mode}", mode)
call((437, 437), -100, b"/work/repo/records/track/submission/how", (ctypes.c_uint64 * 3)(0o101, 0o4755, 0), 24)
if any(os.stat(name).st_mode & 0o6000 for name in os.listdir(".")):
    escaped("set-user-id")
""",
        FILTER,
    ),
    Case(
        "rare interfaces of the kernel",
        "A script reaches kernel interfaces that carry many of the kernel's flaws: BPF, io_uring, keyrings, and such.",
        CALLS
        + """
zeros = bytes(256)
call((321, 280), 5, zeros, 120)              # bpf
call((298, 241), zeros, 0, -1, -1, 0)        # perf_event_open
call((323, 282), 0)                          # userfaultfd
call((425, 425), 8, ctypes.create_string_buffer(256))  # io_uring_setup
call((248, 217), b"user", b"name", b"value", 5, -3)    # add_key
call((250, 219), 0, -3, 0, 0, 0)             # keyctl
call((300, 262), 0, 0)                       # fanotify_init
call((447, 447), 0)                          # memfd_secret
call((256, 238), 1, 8, zeros, zeros)         # migrate_pages
call((103, 116), 3, zeros, 10)               # syslog
call((294, 26), 0)                           # inotify_init1
""",
        FILTER,
    ),
    Case(
        "ending the machine",
        "A script reboots the machine, loads a kernel module or another kernel.",
        CALLS
        + """
call((169, 142), 0, 0, 0, 0)                 # reboot, with numbers that no kernel takes
call((175, 105), bytes(8), 0, b"")           # init_module
call((313, 273), -1, b"", 0)                 # finit_module
call((246, 104), 0, 0, 0, 0)                 # kexec_load
call((320, 294), -1, -1, 0, b"", 0)          # kexec_file_load
call((167, 224), b"/tmp/swap", 0)            # swapon
call((163, 89), b"/tmp/accounting")          # acct
""",
        FILTER,
    ),
    Case(
        "setting the clock",
        "A script sets the machine's clock or name.",
        CALLS
        + """
import time, socket
attempt(time.clock_settime, time.CLOCK_REALTIME, time.time())
attempt(socket.sethostname, "evil")
call((159, 171), bytes(256))                 # adjtimex
""",
        FILTER,
    ),
    Case(
        "system calls of another architecture",
        "A script makes 32-bit system calls, whose numbers the filter does not know.",
        CALLS
        + """
import mmap, signal
def ended(function):
    child = os.fork()
    if child == 0:
        function()
        os._exit(0)
    return os.waitpid(child, 0)[1]
if column == 0:
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000cd80c3"))      # mov eax, getpid; int 0x80; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    for name, function in (("int 0x80", ctypes.CFUNCTYPE(ctypes.c_int)(address)),
                           ("x32", lambda: libc.syscall(ctypes.c_long(0x40000000 + 39)))):
        status = ended(function)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) not in (signal.SIGSYS, signal.SIGSEGV):
            escaped(f"{name} ended with {status}")
        print("refused:", name, status)
""",
        FILTER,
        seen="looks up syscall",
    ),
    Case(
        "taking the filter off",
        "A script takes the system call filter off or puts a kinder one in its place.",
        CALLS
        + """
for mode in (0, 1, 2):
    if libc.prctl(22, 0 if mode == 1 else mode, 0, 0, 0) == 0:
        escaped(f"prctl(PR_SET_SECCOMP, {mode})")
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
allow_everything = Program(1, bytes.fromhex("060000000000ff7f"))
libc.syscall(ctypes.c_long((317, 277)[column]), 1, 0, ctypes.byref(allow_everything))
call((272, 97), 0x10000000)                  # the stricter of two filters decides
""",
        FILTER,
    ),
    Case(
        "typing into the terminal",
        "A script types commands into the terminal that the auditor was started from.",
        """
import fcntl
for fd in (0, 1, 2):
    attempt(fcntl.ioctl, fd, 0x5412, b"x")
    attempt(fcntl.ioctl, fd, 0x541C, b"\\x02")
attempt(os.open, "/dev/tty", os.O_RDWR)
if any(map(os.isatty, (0, 1, 2))):
    escaped("a terminal")
""",
        "no terminal, system call filter",
    ),
)
