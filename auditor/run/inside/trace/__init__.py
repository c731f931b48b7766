"""The tracer: one run's history of the validation stream, from hooks on operators, files, threads and printed lines.

    stream.py     the validation tokens, and how a run of them is recognized
    shadow.py     what is known about the values in a tensor's storage
    operators.py  what each operator does to that
    history.py    gradients taken and losses computed, in order
    tracer.py     the dispatch mode and its state
    boundary.py   where values enter and leave torch; files, threads, lines
    values.py     exact losses by position, for the suffix swap
    telling.py    what is reported

Use: `tracing = install(spec, report)`, run the script, `tracing.finish()`. Imports itself, the standard library, numpy
and torch only.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from typing import Any

from .boundary import Boundary
from .stream import ValidationStream
from .tracer import Tracer
from .values import LOSS_VALUES


class Tracing:
    """A tracer at work."""

    def __init__(self, boundary: Boundary) -> None:
        self._boundary = boundary
        self._finished = False
        self._process = os.getpid()  # a forked child tells nothing: its history is a copy of the parent's

    def finish(self) -> None:
        """Stop following and tell what was held back. Can be called more than once."""
        if self._finished or os.getpid() != self._process:
            return
        self._finished = True
        self._boundary.close()
        self._boundary.tracer.teller.finish()


def install(spec: Mapping[str, Any], reporter: Any) -> Tracing:
    """Begin to trace this process. `spec` is the run's specification: "files" maps paths to roles, "bos" is an id.

    `reporter` takes records by its method `report`, or is the function that takes them; None: nobody listens.
    """
    report: Callable[[Mapping[str, object]], None] = getattr(reporter, "report", reporter) or (lambda record: None)
    files = {str(path): str(role) for path, role in dict(spec.get("files", {})).items()}
    stream = ValidationStream.read((p for p, role in files.items() if role == "validation"), int(spec.get("bos", 1)))
    LOSS_VALUES.start(spec.get("losses") is True)
    report({"kind": "stream", "length": stream.length})
    boundary = Boundary(Tracer(stream, report), files)
    tracing = Tracing(boundary)
    atexit.register(tracing.finish)
    boundary.install()
    return tracing
