"""The sweep's side of `auditor.sweep.server`: a process that has the auditor loaded and forks one child an audit."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path

from auditor.sweep.one_audit import Ended, Request, WorkerLostError, kill_group, peak_bytes

_GRACE_SECONDS = 30.0  # beyond the limit of an audit: after it the process itself is taken to hang
_MAX_ANSWER_BYTES = 4_096


class WarmProcess:
    """One such process, started again when it is gone. Makes one audit at a time; `close` may come from elsewhere."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._child = 0
        self._closed = False

    def execute(self, arguments: Sequence[str], output: Path, request: Request) -> Ended:
        """Run the command line in a child of the process. Raises WorkerLostError when the process is gone."""
        process = self._started(request)
        deadline = time.monotonic() + request.limit_seconds + _GRACE_SECONDS
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps([list(arguments), str(output), request.limit_seconds]).encode() + b"\n")
            self._child = int(_answer(process, deadline)[0])
            exit_code, cpu_seconds, peak = _answer(process, deadline)
        except (OSError, ValueError) as error:
            self._end()
            raise WorkerLostError("its process was lost") from error
        finally:
            self._child = 0
        ended = int(exit_code)
        return Ended(ended, ended == -signal.SIGALRM, cpu_seconds, peak_bytes(int(peak)))

    def close(self) -> None:
        """End the process, and the audit it is making, for good."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        if self._child:
            kill_group(self._child)
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    if stream is not None:
                        stream.close()

    def _started(self, request: Request) -> subprocess.Popen[bytes]:
        if self._closed:
            raise WorkerLostError("the sweep was given up")
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                [sys.executable, "-c", _server()],
                cwd=request.root,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        return self._process


@cache
def _server() -> str:
    """The server's source: run as text, so that the packages of the request's root are the ones it imports."""
    return files("auditor.sweep").joinpath("server.py").read_text(encoding="utf-8")


def _answer(process: subprocess.Popen[bytes], deadline: float) -> list[float]:
    """The numbers on the next line. Raises ValueError when the process ends, or says nothing in time."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        byte = process.stdout.read(1) if ready else b""
        line += byte or b""
        if not byte or len(line) > _MAX_ANSWER_BYTES:
            raise ValueError("no answer")
    numbers: list[float] = json.loads(line)
    return numbers
