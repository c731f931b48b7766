"""Programs that scripts start and this machine lacks: nvidia-smi, pyminify, lrzip, builds of CUDA extensions.

Python processes that a script starts get the stand-ins, too: PYTHONPATH leads them to child/sitecustomize.py, which
installs them when torch is imported there. They have no report channel.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .usage import forbidden, used

FOLDER = Path(__file__).resolve().parent / "bin"
CHILDREN = Path(__file__).resolve().parent / "child"
CHILD_SPEC = "PGOLF_CHILD_SPEC"
_DOWNLOADERS = ("pip", "pip3", "wget", "curl", "git", "apt", "apt-get", "huggingface-cli", "hf", "conda", "uv", "gdown")

_STUBS = ("nvidia-smi", "pyminify", "lrzip")


def _program(arguments: Any) -> str:
    """The name of the program that a command starts."""
    if isinstance(arguments, (str, bytes, os.PathLike)):
        words = os.fsdecode(arguments).split()
    else:
        words = [os.fsdecode(word) for word in arguments]
    if words[1:3] == ["-m", "pip"]:
        return "pip"
    return Path(words[0]).name if words else ""


def _builds_cuda(arguments: Any, folder: Any) -> bool:
    """Whether a command builds a CUDA extension by a setup.py: there is no compiler for it, and a stand-in instead."""
    words = [] if isinstance(arguments, (str, bytes, os.PathLike)) else [os.fsdecode(word) for word in arguments]
    if len(words) < 3 or Path(words[1]).name != "setup.py":
        return False
    setup = Path(os.fsdecode(folder or ".")) / words[1]
    return setup.is_file() and b"CUDAExtension" in setup.read_bytes()


def _replacement(arguments: Any, folder: Any = None) -> Any:
    """The command to start instead; a program of the folder bin runs with this interpreter, without a shell."""
    name = _program(arguments)
    if name in _DOWNLOADERS:
        forbidden(f"start of {name}")
    if _builds_cuda(arguments, folder):
        used("build of a CUDA extension")
        return [sys.executable, "-I", "-S", "-c", ""]
    if name not in _STUBS or isinstance(arguments, (str, bytes, os.PathLike)):
        return arguments
    used(name)
    return [sys.executable, "-I", "-S", str(FOLDER / f"{name}.py"), *arguments[1:]]


def lead_children(spec: Mapping[str, Any]) -> None:
    """Have python processes that the script starts find the stand-ins."""
    wanted = {name: spec[name] for name in ("standins", "threads", "seed") if name in spec}
    os.environ[CHILD_SPEC] = json.dumps(wanted)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(CHILDREN), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def install() -> None:
    """Put the folder first on PATH and look at every command that is started."""
    os.environ["PATH"] = os.pathsep.join([str(FOLDER), os.environ.get("PATH", os.defpath)])
    original = subprocess.Popen.__init__

    def __init__(self: Any, args: Any, *rest: Any, **keywords: Any) -> None:  # noqa: N807 - replaces the method
        original(self, args if keywords.get("shell") else _replacement(args, keywords.get("cwd")), *rest, **keywords)

    subprocess.Popen.__init__ = __init__  # type: ignore[method-assign]
    os.environ["PGOLF_PYTHON"] = sys.executable  # for the folder's shell forms
    which = shutil.which

    def find(cmd: Any, *rest: Any, **keywords: Any) -> Any:
        return str(FOLDER / cmd) if cmd in _STUBS else which(cmd, *rest, **keywords)

    shutil.which = find
