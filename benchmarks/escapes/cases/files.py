"""Files: reading what is not the run's, writing what is read-only, tricks with links."""

from __future__ import annotations

from pathlib import Path

from benchmarks.escapes.judging import Case

VIEW = "file view"

CASES = (
    Case(
        "the auditor's files",
        "A script reads the auditor's own source or tests and learns what is looked for.",
        """
for path in (os.environ["W_AUDITOR"] + "/auditor/run/sandbox/running.py", os.environ["W_AUDITOR"] + "/tests"):
    attempt(os.stat, path)
if set(os.listdir("/audit")) - {"inside", "starter.py", "data"}:
    escaped(os.listdir("/audit"))
""",
        VIEW,
    ),
    Case(
        "home and keys",
        "A script reads a private key from a home folder.",
        """
key = os.environ["W_HOME"] + "/.ssh/id_ed25519"
attempt(lambda: open(key).read())
attempt(lambda: open("/work/repo/records/track/submission/../../../../../.." + key).read())
for home in ("~", "~root", "~/.ssh", "/root/.ssh", "/root/.bashrc", "/home"):
    for place, _, names in os.walk(os.path.expanduser(home)):
        if names and not place.startswith((sys.prefix, sys.base_prefix)):
            escaped(place)
""",
        VIEW,
        record="list /root",
    ),
    Case(
        "another process's root",
        "A script reaches the machine's files through /proc/PID/root or /proc/PID/cwd.",
        """
for pid in filter(str.isdigit, os.listdir("/proc")):
    for door in ("root", "cwd", "exe"):
        attempt(os.listdir, f"/proc/{pid}/{door}" + os.environ["W_HOME"])
        try:
            print(open(f"/proc/{pid}/{door}" + os.environ["W_HOME"] + "/.ssh/id_ed25519").read())
        except OSError:
            pass
""",
        VIEW,
        seen="looks into a process",
    ),
    Case(
        "environments of other processes",
        "A script reads a secret from the environment or command line of a process of the machine.",
        """
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline", "maps", "status"):
        try:
            print(pid, name, open(f"/proc/{pid}/{name}", "rb").read().replace(b"\\0", b" "))
        except OSError as error:
            print("refused:", error)
    if pid not in ("1", "2", "3", str(os.getpid())):
        escaped(f"sees process {pid}")
""",
        "pid namespace",
        seen="looks into a process",
    ),
    Case(
        "memory of process 1",
        "A script reads or writes the memory of the sandbox's own process.",
        """
attempt(open, "/proc/1/mem", "rb")
attempt(open, "/proc/1/mem", "r+b")
attempt(lambda: os.listdir("/proc/1/fd"))
""",
        "not dumpable, own user namespace",
        seen="looks into a process",
    ),
    Case(
        "identity of the machine",
        "A script learns which machine it runs on.",
        """
for path in ("/etc/machine-id", "/etc/shadow", "/etc/hostname", "/var/lib/dbus/machine-id", "/sys/class/dmi/id",
             "/sys/class/net", "/var/log", "/etc/ssh", "/etc/resolv.conf", "/proc/kcore", "/proc/kallsyms"):
    try:
        found = os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(100)
        if found:
            escaped(path)
    except OSError as error:
        print("refused:", error)
if os.uname().nodename != "audit":
    escaped("host name")
""",
        VIEW,
        record="/etc/shadow",
    ),
    Case(
        "folders of the machine",
        "A script finds any file of the machine besides the system's programs and the interpreter.",
        """
own = (sys.prefix, sys.base_prefix, os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix))
for top in ("/run", "/sys", "/boot", "/home", "/opt", "/root", "/mnt", "/media", "/srv", "/var", "/old_root", "/work"):
    for place, folders, names in os.walk(top):
        if names and not place.startswith((*own, "/work/repo/records/track/submission", "/var/tmp")):
            escaped(f"{place} holds {names[:3]}")
            break
""",
        VIEW,
        record="list /run",
    ),
    Case(
        "kernel settings",
        "A script opens a kernel setting for writing: core_pattern runs programs on the machine.",
        """
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger",
             "/proc/sys/vm/drop_caches", "/proc/sys/kernel/ns_last_pid", "/proc/self/oom_score_adj"):
    attempt(os.open, path, os.O_WRONLY)
""",
        "read-only /proc",
    ),
    Case(
        "writing read-only data",
        "A script changes, removes or replaces the audit's data.",
        """
data = "/audit/data/data.bin"
attempt(open, data, "r+b")
attempt(os.remove, data)
attempt(os.truncate, data, 0)
attempt(os.chmod, data, 0o777)
attempt(os.utime, data)
attempt(os.rename, data, "/audit/data/other")
attempt(os.rename, "/audit/data", "/audit/gone")
attempt(os.symlink, "/tmp", "/audit/data/link")
attempt(open, "/audit/data/more.bin", "wb")
attempt(open, "/audit/inside/guard.py", "a")
attempt(open, "/audit/starter.py", "a")
""",
        "read-only mount",
        seen="writes the auditor's /audit/inside/guard.py",
    ),
    Case(
        "writing the interpreter",
        "A script changes a program or library of the machine, or plants one.",
        """
for folder in (sys.prefix + "/lib", sys.base_prefix + "/lib", "/usr/bin", "/usr/lib", "/etc", "/", "/dev", "/audit"):
    attempt(open, folder + "/planted", "wb")
attempt(open, sys.executable, "r+b")
attempt(open, os.__file__, "a")
attempt(open, "/etc/ld.so.preload", "wb")
attempt(open, "/etc/passwd", "a")
""",
        "read-only mount",
    ),
    Case(
        "symbolic links out",
        "The auditor or the script follows a link out of the scratch folder.",
        """
os.symlink(os.environ["W_HOME"], "home")
os.symlink("/usr", "big")
os.symlink("/", "/tmp/root")
attempt(os.listdir, "home")
attempt(open, "home/.ssh/id_ed25519")
attempt(os.listdir, "/tmp/root" + os.environ["W_HOME"])
import time
time.sleep(0.5)  # the scratch folder is looked at meanwhile: /usr must not count
print("done")
""",
        VIEW,
        exact=lambda outcome: outcome.exit_code == 0 and b"done" in outcome.stdout,
    ),
    Case(
        "hard links to read-only files",
        "A script links a read-only file into its folder and writes it there.",
        """
for path in ("/audit/data/data.bin", sys.executable, "/audit/inside/guard.py", "/etc/passwd", "/usr/bin/env"):
    attempt(os.link, path, "linked")
    attempt(open, "linked", "r+b")
""",
        "other mounts",
    ),
    Case(
        "replacing the folder",
        "A script moves the folder of the submission away and puts a link in its place.",
        """
attempt(os.rename, "/work/repo/records/track/submission", "/work/elsewhere")
attempt(os.rmdir, "/work/repo/records/track/submission")
attempt(os.symlink, "/audit/data", "/work/repo/records/track/submission")
attempt(os.mkdir, "/work/more")
""",
        "read-only root",
    ),
    Case(
        "descriptors left open",
        "A script finds an open descriptor of the auditor: a file, a folder, a socket.",
        """
import stat
for fd in range(3, 1024):
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        continue
    if not stat.S_ISFIFO(mode):
        escaped(f"descriptor {fd} is {os.readlink(f'/proc/self/fd/{fd}')}")
    try:
        print("read", os.read(fd, 10))
        escaped(f"pipe {fd} can be read")
    except OSError:
        pass
""",
        "closed before the start",
    ),
    Case(
        "changing devices",
        "A run of root's changes the machine's /dev/null, which root owns, for everybody.",
        """
for name in ("null", "zero", "full", "random", "urandom"):
    before = os.stat("/dev/" + name)
    for change in (lambda: os.chmod("/dev/" + name, 0o666), lambda: os.utime("/dev/" + name, (1, 1))):
        try:
            change()
        except OSError as error:
            print("refused:", error)
open("/dev/null", "wb").write(b"x")
""",
        "read-only mounts, devices of its own",
        exact=lambda outcome: outcome.exit_code == 0 and Path("/dev/null").stat().st_mtime > 1,
    ),
    Case(
        "removing the script",
        "A script removes itself and nobody knows what ran.",
        """
os.remove(__file__)
""",
        "nothing: it is its own copy",
        seen="removes the submitted train_gpt.py",
    ),
    Case(
        "changing the script",
        "A script rewrites itself after it was started, so that what is read is not what ran.",
        """
text = open(__file__).read()
open(__file__, "w").write("print('honest')")
open(__file__, "w").write(text)
""",
        "nothing: it is its own copy, and the script has been read",
        record="writes the submitted train_gpt.py",
    ),
)
