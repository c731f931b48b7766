"""Finds the model that a script made from its artifact, and has a copy of the process score it independently.

The moment: the first look-up in an embedding after the artifact file was opened. The outermost module on the stack that
owns the embedding's weight is the model; the frame in which the script entered it says how the script calls it, with
which arguments beside the tokens. The process forks there. The copy scores the model (see scoring.py) and ends; the
original waits and goes on undisturbed, so that the replay is the script's own.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

FOLDER = Path(__file__).resolve().parent
MAX_FRAMES = 80
SHARE_OF_TIME = 0.45  # of the run's wall clock, for the copy
Report = Callable[[Mapping[str, object]], None]


def _real_time() -> float:
    """Seconds by a clock that runs; the script's own stands still between its readings."""
    clock = sys.modules.get("inside.clock")
    return float(clock._real_time()) if clock is not None else time.time()


class Capture:
    """Waits for the artifact to be opened, then for its model to be called."""

    def __init__(self, spec: Mapping[str, Any], report: Report) -> None:
        self._spec = spec
        self._report = report
        self._artifacts = frozenset(os.path.realpath(path) for path in spec["artifacts"])
        self._opened = False
        self._done = False
        self._process = os.getpid()
        self._text_read: set[str] = set()

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python's audit hook: which files of interest are opened for reading."""
        if event != "open" or os.getpid() != self._process:
            return
        path, _, flags = arguments
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        name = os.path.realpath(os.fsdecode(path))
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        if name in self._artifacts:
            event = "artifact written" if writes else "artifact read"
            if writes or not self._opened:
                self._report({"kind": "rescore", "event": event, "path": name})
            self._opened |= not writes
        elif self._opened and "fineweb_train" in name and name not in self._text_read and len(self._text_read) < 50:
            self._text_read.add(name)
            self._report({"kind": "rescore", "event": "training data opened", "path": name})

    def on_embedding(self, weight: Any) -> None:
        """An embedding is looked up: fork if it belongs to the artifact's model."""
        if self._done or not self._opened or os.getpid() != self._process:
            return
        if weight.ndim != 2 or weight.shape[0] < int(self._spec["vocabulary"]):
            return
        entered = _entered(weight)
        self._done = True
        if entered is None:
            self._report(_event("model", failure="no module on the stack owns the embedding"))
            return
        model, method, arguments, keywords = entered
        self._report(_event("model", method=method, kind_of_model=type(model).__name__))
        self._fork(model, method, arguments, keywords)

    def _fork(self, model: Any, method: str, arguments: list[Any], keywords: dict[str, Any]) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        began = _real_time()
        limit = max(5, int(SHARE_OF_TIME * float(self._spec["seconds"])))
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            self._report(_event("copy ended", seconds=_real_time() - began))
            return
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(limit)
            _scoring().score(
                self._spec, self._report, model, method, arguments, keywords, _real_time() + limit, _real_time
            )
        except BaseException as error:
            words = " ".join(f"{type(error).__name__}: {error}".split())
            self._report(_event("failed", why=words[:300]))
        finally:
            os._exit(0)


def _event(event: str, **facts: object) -> dict[str, object]:
    return {"kind": "rescore", "event": event, **facts}


def _entered(weight: Any) -> tuple[Any, str, list[Any], dict[str, Any]] | None:
    """(model, method, positional arguments, keyword arguments) of the outermost call that led to `weight`."""
    found = None
    frame: FrameType | None = sys._getframe(2)
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        code = frame.f_code
        owner = frame.f_locals.get("self") if code.co_argcount and code.co_varnames[0] == "self" else None
        if isinstance(owner, torch.nn.Module) and any(weight is own for own in owner.parameters()):
            found = owner, frame
        frame = frame.f_back
    if found is None:
        return None
    owner, frame = found
    values, code = frame.f_locals, frame.f_code
    if code.co_name in ("_wrapped_call_impl", "_call_impl"):
        return owner, "__call__", list(values.get("args", ())), dict(values.get("kwargs", {}))
    count = code.co_argcount
    arguments = [values.get(name) for name in code.co_varnames[1:count]]
    keywords = {name: values.get(name) for name in code.co_varnames[count : count + code.co_kwonlyargcount]}
    return owner, code.co_name, arguments, keywords


def _scoring() -> Any:
    spec = importlib.util.spec_from_file_location("audit_scoring", FOLDER / "scoring.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit_scoring"] = module
    spec.loader.exec_module(module)
    return module


def install(spec: Mapping[str, Any], reporter: Any) -> None:
    """Listen to files and look-ups from here on."""
    capture = Capture(spec, reporter.report)
    sys.addaudithook(capture.on_event)
    if not spec.get("reference"):
        return
    original = F.embedding

    def embedding(input: Any, weight: Any, *arguments: Any, **keywords: Any) -> Any:
        capture.on_embedding(weight)
        return original(input, weight, *arguments, **keywords)

    F.embedding = embedding
