"""Programs that scripts start and this machine lacks: nvidia-smi and pyminify; python children get the stand-ins too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .usage import forbidden, used

FOLDER = Path(__file__).resolve().parent / "bin"
_DOWNLOADERS = ("pip", "pip3", "wget", "curl", "git", "apt", "apt-get", "huggingface-cli", "hf", "conda", "uv", "gdown")


def _program(arguments: Any) -> str:
    """The name of the program that a command starts."""
    if isinstance(arguments, (str, bytes, os.PathLike)):
        words = os.fsdecode(arguments).split()
        first = words[0] if words else ""
    else:
        words = [os.fsdecode(word) for word in arguments]
        first = words[0] if words else ""
        if words[1:3] == ["-m", "pip"]:
            return "pip"
    return os.path.basename(first)


def _replacement(arguments: Any) -> Any:
    """The command to start instead; a program of the folder bin runs with this interpreter, without a shell."""
    name = _program(arguments)
    if name in _DOWNLOADERS:
        forbidden(f"start of {name}")
    stub = FOLDER / f"{name}.py"
    if name not in ("nvidia-smi", "pyminify") or not stub.is_file() or isinstance(arguments, (str, bytes)):
        return arguments
    used(name)
    return [sys.executable, "-I", "-S", str(stub), *arguments[1:]]


def install() -> None:
    """Put the folder first on PATH and look at every command that is started."""
    os.environ["PATH"] = os.pathsep.join([str(FOLDER), os.environ.get("PATH", "/usr/bin:/bin")])
    original = subprocess.Popen.__init__

    def __init__(self: Any, args: Any, *rest: Any, **keywords: Any) -> None:  # noqa: N807 - replaces the method
        original(self, args if keywords.get("shell") else _replacement(args), *rest, **keywords)

    subprocess.Popen.__init__ = __init__  # type: ignore[method-assign]
