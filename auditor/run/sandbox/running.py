"""Runs one job confined and watches it: limits, output, report channel, and that nothing of it is left behind."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import secrets
import select
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from auditor.run.inside.channel import FD_VARIABLE, KEY_BYTES, KEY_VARIABLE
from auditor.run.model import GIB, MIB, Confinement, Job, Limits, NoConfinementError, Outcome
from auditor.run.sandbox.launching import BUBBLEWRAP, NAMESPACES, Start, confinement, launch
from auditor.run.sandbox.noticed import noticed_in
from auditor.run.sandbox.process_numbers import limit_process_numbers
from auditor.run.sandbox.report import Report, read_report
from auditor.run.sandbox.tree import (
    Held,
    Sample,
    held_by_folder,
    held_by_tmpfs,
    held_without_name,
    sample_tree,
    shared_out,
)
from auditor.run.sandbox.view import view_of

SAMPLE_SECONDS = 0.04  # between looks at memory and processes
SCRATCH_SECONDS = 0.3  # between looks at the scratch folders, which cost a walk
END_SECONDS = 5.0  # for the kernel to end a killed tree, and for what is left in the pipes
START_SECONDS = 20.0  # for the confinement to be built
STATUS_BYTES = 64 * 1024
OPEN_FILES = 4096  # of one process
DISK_FACTOR, DISK_SLACK_BYTES = 2, GIB  # others write to the disk, too: a net below the other limits on files
READ_BYTES = 1 << 18
PIPE_BYTES = 1 << 20  # the most that an unprivileged pipe holds
END_MARK = rb"{\"kind\":\"end\""  # as it stands in a line of the report
RLIMIT_MSGQUEUE = 12  # linux/resource.h; the resource module does not name it
SET_UP_FAILED = 125  # the launcher's exit code
EXIT_OF_SIGNAL = 128  # bubblewrap reports a death by signal n as exit code 128 + n


@dataclass(slots=True)
class Stream:
    """One pipe from the run: what was kept of it, and whether more came than its limit."""

    name: str
    limit: int
    content: bytearray = field(default_factory=bytearray)
    truncated: bool = False
    came: int = 0  # bytes, kept or not

    def take(self, part: bytes) -> None:
        """Keep what fits."""
        self.came += len(part)
        room = self.limit - len(self.content)
        self.content += part[:room]
        self.truncated |= len(part) > room


def run_job(job: Job, confinement: Confinement | None = None) -> Outcome:
    """Run a job to its end or its first limit, in the given confinement or the best that works here.

    Afterwards no process of it exists, and nothing is left on the machine but what it wrote into writable binds.
    Raises NoConfinementError where nothing can confine it, or where the confinement could not be built for this job.
    """
    way = confinement or find_confinement()
    if not job.command[0].startswith("/"):
        raise NoConfinementError(f"the sandbox runs programs by absolute path, not {job.command[0]!r}")
    scaffold = Path(tempfile.mkdtemp(prefix=f"audit-sandbox-{os.getpid()}-"))
    try:
        scaffold.chmod(0o755)
        return _Run(job, way.name, scaffold).outcome()
    finally:
        shutil.rmtree(scaffold, ignore_errors=True)


def find_confinement() -> Confinement:
    """The best confinement that works here: bubblewrap, else namespaces with Landlock and seccomp.

    Each is tried on a harmless command, once a process. Raises NoConfinementError, one line, if none works.
    """
    working = working_confinements()
    if not working:
        raise NoConfinementError(
            "no sandbox works on this machine: install bubblewrap, or allow user namespaces on a kernel with Landlock "
            f"({'; '.join(f'{name}: {why}' for name, why in _refusals().items())})"
        )
    return working[0]


def working_confinements() -> tuple[Confinement, ...]:
    """All confinements that work here, the best first."""
    return tuple(confinement(name) for name in (BUBBLEWRAP, NAMESPACES) if _refusal(name) == "")


def _refusals() -> dict[str, str]:
    return {name: _refusal(name) for name in (BUBBLEWRAP, NAMESPACES)}


@functools.cache
def _refusal(name: str) -> str:
    """Why a confinement does not work here, in one line, or ""."""
    if name == BUBBLEWRAP and shutil.which("bwrap") is None:
        return "bwrap is not installed"
    limits = Limits(seconds=20.0, scratch_bytes=MIB, output_bytes=MIB)
    job = Job(("/bin/sh", "-c", "echo confined"), "/tmp", {}, (), limits, report=False)
    try:
        outcome = run_job(job, confinement(name))
    except (NoConfinementError, OSError, ValueError) as error:
        return " ".join(str(error).split())[:200]
    return "" if outcome.stdout == b"confined\n" else "a harmless command failed in it"


def _free_bytes(place: Path) -> int:
    state = os.statvfs(place)
    return state.f_bavail * state.f_frsize


class _Run:
    """One run from its start to its outcome."""

    def __init__(self, job: Job, way: str, scaffold: Path) -> None:
        self.job, self.way, self.limits = job, way, job.limits
        self.mounts = view_of(job.command, job.binds, job.limits.scratch_bytes, scaffold, job.devices)
        self.scaffold = scaffold
        self.key = secrets.token_bytes(KEY_BYTES)
        names = {"stdout": self.limits.output_bytes, "stderr": self.limits.output_bytes, "status": STATUS_BYTES}
        names |= {"report": self.limits.output_bytes} if job.report else {}
        self.streams = {name: Stream(name, limit) for name, limit in names.items()}
        self.reading: dict[int, Stream] = {}  # pipes that are open, by descriptor
        self.opened: set[int] = set()
        self.stopped_by = ""
        self.peak = 0
        self.cpu_seconds = 0.0
        self.printed_at_end: int | None = None  # bytes on stdout when the report's end message came
        self.writable = [bind.source for bind in job.binds if bind.writable and bind.source.is_dir()]
        self.free_bytes = {place: _free_bytes(place) for place in self.writable}
        self.first = 0  # process 1 of the run's namespace, as the machine numbers it

    def outcome(self) -> Outcome:
        """Start, watch, end, and say how it went."""
        try:
            process, first, block = self._start()
            began = time.monotonic()
            try:
                os.write(block, b"x")
                self._close(block)
                self._watch(began)
            finally:
                seconds = time.monotonic() - began
                usage = self._end(process, first)
            self._drain()
            return self._told(process.returncode, usage, seconds)
        finally:
            for fd in self.opened:
                os.close(fd)

    def _start(self) -> tuple[subprocess.Popen[bytes], int, int]:
        """The started way, a handle of process 1, and the pipe that lets the command go."""
        ends = {name: self._read_from(stream) for name, stream in self.streams.items()}
        block_end, block = self._pipe()
        environment = dict(self.job.environment)
        kept: tuple[int, ...] = ()
        if self.job.report:
            key_end, key = self._pipe()
            os.write(key, self.key)
            self._close(key)
            kept = (ends["report"], key_end)
            environment |= {FD_VARIABLE: str(ends["report"]), KEY_VARIABLE: str(key_end)}
        start = Start(
            command=self.job.command,
            folder=self.job.folder,
            environment=environment,
            mounts=self.mounts,
            scaffold=self.scaffold,
            stdout=ends["stdout"],
            stderr=ends["stderr"],
            status=ends["status"],
            block=block_end,
            kept=kept,
        )
        process = launch(self.way, start)
        for fd in {*ends.values(), block_end, *kept}:
            self._close(fd)
        try:
            return process, self._await_first(), block
        except BaseException:
            process.kill()
            process.wait()
            raise

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self.opened.update(ends)
        return ends

    def _close(self, fd: int) -> None:
        self.opened.remove(fd)
        os.close(fd)

    def _read_from(self, stream: Stream) -> int:
        """Open a pipe that fills `stream`; the end to write to."""
        fd, end = self._pipe()
        os.set_blocking(fd, False)  # the run can open its end for reading, too, and take away what was announced
        self.reading[fd] = stream
        return end

    def _await_first(self) -> int:
        """Wait until process 1 exists and set its limits; a handle of it that is safe against reuse of its number."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            self._read(0.1)
            for message in self._messages():
                if isinstance(number := message.get("child-pid"), int):
                    self.first = number
                    return self._limited()
            if self.streams["status"] not in self.reading.values():
                break
        raise NoConfinementError(f"{self.way} could not be built: {self._complaint()}")

    def _limited(self) -> int:
        """Limits of process 1, which the command inherits; and short of memory, the kernel ends the run first."""
        limits = {
            resource.RLIMIT_AS: self.limits.address_space_bytes or resource.RLIM_INFINITY,
            resource.RLIMIT_FSIZE: self.limits.file_bytes,
            resource.RLIMIT_NPROC: self.limits.processes,
            resource.RLIMIT_NOFILE: OPEN_FILES,
            resource.RLIMIT_CORE: 0,
            RLIMIT_MSGQUEUE: 0,
            resource.RLIMIT_MEMLOCK: 8 * MIB,
        }
        try:
            handle = os.pidfd_open(self.first)
            self.opened.add(handle)
            for limit, value in limits.items():
                hard = resource.prlimit(self.first, limit)[1]
                value = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.prlimit(self.first, limit, (value, value))
        except (OSError, ValueError) as error:
            raise NoConfinementError(f"{self.way}: limits could not be set ({error}) {self._complaint()}") from None
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.first}/oom_score_adj").write_text("1000")
        limit_process_numbers(self.first, self.limits.processes)
        return handle

    def _watch(self, began: float) -> None:
        """Read everything and look at the limits until the command is done or a limit strikes."""
        next_sample = next_scratch = began
        while not self._done() and not self.stopped_by:
            self._read(max(0.0, min(next_sample, began + self.limits.seconds) - time.monotonic()))
            now = time.monotonic()
            if now - began >= self.limits.seconds:
                self.stopped_by = f"{self.limits.seconds:g} s wall clock"
            elif now >= next_sample:
                tree = sample_tree(self.first, self.limits.processes)
                self._look_at(tree)
                if now >= next_scratch and not self.stopped_by:
                    self._look_at_scratch(tree)
                    next_scratch = now + max(SCRATCH_SECONDS, 10 * (time.monotonic() - now))
                next_sample = time.monotonic() + SAMPLE_SECONDS

    def _done(self) -> bool:
        """Whether the status pipe told the end, or was closed because nobody can tell it any more."""
        if any(message.keys() & {"exit-code", "signal"} for message in self._messages()):
            return True
        return self.streams["status"] not in self.reading.values()

    def _look_at(self, tree: Sample) -> None:
        self.cpu_seconds = max(self.cpu_seconds, tree.cpu_seconds)
        if max(tree.threads, len(tree.processes)) > self.limits.processes:
            self.stopped_by = f"{self.limits.processes} processes and threads"
            return
        memory = tree.memory_bytes
        if memory > self.peak and len(tree.processes) > 1:
            memory = shared_out(tree)
        self.peak = max(self.peak, memory)
        if memory > self.limits.memory_bytes:
            self.stopped_by = f"{self.limits.memory_bytes / MIB:g} MiB of memory"

    def _look_at_scratch(self, tree: Sample) -> None:
        """Files in writable binds and on the run's own tmpfs, with and without a name; and the disk under the binds."""
        held = [held_by_folder(str(place), self.limits.files) for place in self.writable]
        held.append(held_without_name(tree.processes, {place.stat().st_dev for place in self.writable}))
        for mount in self.mounts:
            if mount.kind == "tmpfs" and mount.writable:
                seen = (held_by_tmpfs(process, mount.target) for process in reversed(tree.processes))
                held.append(next((amount for amount in seen if amount != Held()), Held()))
        lost = max((self.free_bytes[place] - _free_bytes(place) for place in self.writable), default=0)
        if blind := next((amount.blind for amount in held if amount.blind), ""):
            self.stopped_by = blind
        elif sum(amount.size_bytes for amount in held) > self.limits.scratch_bytes:
            self.stopped_by = f"{self.limits.scratch_bytes / MIB:g} MiB of files"
        elif sum(amount.files for amount in held) > self.limits.files:
            self.stopped_by = f"{self.limits.files} files"
        elif lost > DISK_FACTOR * self.limits.scratch_bytes + DISK_SLACK_BYTES:
            self.stopped_by = (
                f"the disk lost {lost / MIB:.0f} MiB while {self.limits.scratch_bytes / MIB:g} were allowed"
            )

    def _read(self, seconds: float) -> bool:
        """Wait at most so long for output and take what is there; whether anything came."""
        with selectors.PollSelector() as selector:
            for fd in self.reading:
                selector.register(fd, selectors.EVENT_READ)
            ready = [entry.fd for entry, _ in selector.select(seconds)]
        for fd in sorted(ready, key=lambda fd: self.reading[fd].name == "report"):
            try:
                part = os.read(fd, READ_BYTES)
            except BlockingIOError:
                continue
            if part:
                stream = self.reading[fd]
                stream.take(part)
                fresh = stream.content[-len(part) - len(END_MARK) :]
                if stream.name == "report" and self.printed_at_end is None and END_MARK in fresh:
                    self._read_stdout()
            else:
                del self.reading[fd]
                self._close(fd)
        return bool(ready)

    def _read_stdout(self) -> None:
        """An end message may have come: take what was printed before it, and remember how much that is."""
        stdout = self.streams["stdout"]
        fd = next((fd for fd, stream in self.reading.items() if stream is stdout), None)
        if fd is not None:
            with contextlib.suppress(BlockingIOError):
                stdout.take(os.read(fd, PIPE_BYTES))
        self.printed_at_end = stdout.came

    def _end(self, process: subprocess.Popen[bytes], first: int) -> resource.struct_rusage:
        """End the whole tree. Process 1 is gone only when everything in its namespace is."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(first, signal.SIGKILL)
        poll = select.poll()
        poll.register(first, select.POLLIN)
        gone = poll.poll(END_SECONDS * 1000)
        if not gone:
            process.kill()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if not gone and not poll.poll(END_SECONDS * 1000):
            raise RuntimeError(f"processes of a confined run are still alive below process {self.first}")
        return usage

    def _drain(self) -> None:
        """Read what is left in the pipes of a tree that is gone."""
        until = time.monotonic() + END_SECONDS
        while self.reading and time.monotonic() < until:
            self._read(0.1)

    def _told(self, returned: int, usage: resource.struct_rusage, seconds: float) -> Outcome:
        exit_code, number = self._exit()
        if exit_code is None and number is None and not self.stopped_by and returned in (1, SET_UP_FAILED):
            raise NoConfinementError(f"{self.way} could not start {self.job.command[0]}: {self._complaint()}")
        if exit_code is None and number is None:
            number = signal.SIGKILL
        report = Report((), "")
        if self.job.report:
            stream = self.streams["report"]
            report = read_report(bytes(stream.content), self.key, stream.truncated)
        return Outcome(
            exit_code=exit_code,
            signal=number,
            stopped_by=self.stopped_by,
            seconds=seconds,
            cpu_seconds=max(self.cpu_seconds, usage.ru_utime + usage.ru_stime),
            peak_memory_bytes=self.peak,
            stdout=bytes(self.streams["stdout"].content),
            stderr=bytes(self.streams["stderr"].content),
            records=report.records,
            broken_chain=report.broken,
            seen=(*noticed_in(report.records), *self._printed_late(report)),
            truncated=tuple(name for name, stream in self.streams.items() if stream.truncated),
        )

    def _printed_late(self, report: Report) -> Iterator[str]:
        """An end message flushes everything printed before it, so that whatever comes later belies it."""
        late = self.streams["stdout"].came - (self.printed_at_end or 0)
        if self.printed_at_end is not None and late and not report.broken:
            yield f"{late} bytes were printed after the report had ended"

    def _exit(self) -> tuple[int | None, int | None]:
        """Exit code or signal of the command, as the status pipe told it."""
        for message in self._messages():
            if isinstance(number := message.get("signal"), int):
                return None, number
            if isinstance(code := message.get("exit-code"), int):
                by_signal = self.way == BUBBLEWRAP and EXIT_OF_SIGNAL < code < EXIT_OF_SIGNAL + signal.NSIG
                return (None, code - EXIT_OF_SIGNAL) if by_signal else (code, None)
        return None, None

    def _complaint(self) -> str:
        """The last line of what the way said on stderr."""
        self._read(0.2)
        lines = bytes(self.streams["stderr"].content).decode(errors="replace").strip().splitlines()
        return "".join(c if c.isprintable() else " " for c in lines[-1])[:300] if lines else "it said nothing"

    def _messages(self) -> Iterator[dict[str, object]]:
        for line in bytes(self.streams["status"].content).split(b"\n"):
            with contextlib.suppress(ValueError):
                if isinstance(message := json.loads(line), dict):
                    yield message
