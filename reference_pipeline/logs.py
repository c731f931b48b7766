"""One log a run: a file for the submission, and the console."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch

from reference_pipeline.errors import PipelineError
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.shards import write_atomically

_log_state: dict[str, Path | bool | None] = {"path": None, "console": True}


def open_log(path: Path | None, console: bool = True) -> None:
    """Send later lines to `path`, and to the console unless told not to; None silences all ranks but the first."""
    if path is not None:
        write_atomically(path, b"")
    _log_state["path"], _log_state["console"] = path, console


def log(message: str, console: bool = True) -> None:
    """Append one line to the log; ranks without a log file stay silent."""
    path = _log_state["path"]
    if path is None:
        return
    if console and _log_state["console"]:
        print(message, flush=True)
    try:
        with path.open("a", encoding="utf-8") as file:
            print(message, file=file)
    except OSError as error:
        raise PipelineError(f"{path}: cannot go on with the log ({error.strerror}); free disk space") from error


def log_environment(h: Hyperparameters, source: str, world_size: int, device: torch.device) -> None:
    """Source, interpreter, library versions, machine and every hyperparameter."""
    digest = hashlib.sha256(source.encode()).hexdigest()
    if os.environ.get("LOG_SOURCE", "1") == "1":
        log(source, console=False)
    log("=" * 100, console=False)
    log(f"Running Python {sys.version}", console=False)
    log(f"Running PyTorch {torch.__version__}", console=False)
    log(f"source_sha256: {digest} source_bytes: {len(source.encode())}", console=False)
    machine = f"{platform.machine()} cpus:{os.cpu_count()} torch_threads:{torch.get_num_threads()}"
    log(f"platform: {machine} device:{device.type}", console=False)
    if device.type == "cuda":
        log(subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False).stdout, console=False)
    log("=" * 100, console=False)
    log("Hyperparameters:")
    for name in sorted(dir(h)):
        if not name.startswith("_"):
            log(f"  {name}: {getattr(h, name)}")
    log(f"world_size:{world_size}")
    log(f"seed:{h.seed}")
