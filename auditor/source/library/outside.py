"""Calls that reach outside the submission: the network, installers, compilers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.ledger import RULES_OF_SCORING
from auditor.source import native
from auditor.source.library.file_contents import files_moved
from auditor.source.library.signatures import Args
from auditor.source.values import CONST, OBJECT, Value

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


_NETWORK = ("urllib.request.", "requests.", "httpx.", "socket.", "http.client.", "ftplib.", "huggingface_hub.", "wget.",
            "gdown.", "boto3.", "torch.hub.", "datasets.load_dataset", "paramiko.", "smtplib.")  # fmt: skip
_COMMANDS = ("os.system", "os.popen", "subprocess.", "asyncio.create_subprocess")
_COMPILERS = ("gcc", "g++", "cc", "clang", "clang++", "nvcc", "cl", "rustc", "go", "make", "cmake")
_FETCHING = ("pip install", "pip3 install", "curl ", "wget ", "git clone", "apt-get ", "apt install", "conda install",
             "uv pip")  # fmt: skip


_MOVING = ("shutil.", "os.renames", "os.exec", "os.spawn", "os.posix_spawn", "pty.")
_LEAVING_IN_PLACE = ("shutil.which", "shutil.rmtree", "shutil.disk_usage", "shutil.get_terminal_size")
_ASKING = ("nvidia-smi", "git", "nproc", "uname", "lscpu", "hostname", "nvcc", "ps", "df", "free")


def _program(run: Interpreter, command: Value) -> str:
    """The program that a command starts, "" where that is not known or where a shell may start others."""
    if command.kind == CONST:
        text = str(command.payload)
        return "" if any(sign in text for sign in ";|&`$>") else text.split(" ")[0]
    if command.kind != OBJECT or command.payload.kind != "list":
        return ""
    first = command.payload.cells.get(".items", ())[:1]
    return str(first[0].payload) if first and first[0].kind == CONST else ""


def outside_access(run: Interpreter, name: str, args: Args) -> str:
    """What a call reaches outside the submission and its data, in words; empty for harmless calls."""
    if name.startswith(_NETWORK) and name != "socket.gethostname":
        return f"{name} reaches the network"
    if name.endswith(".from_pretrained") and name.partition(".")[0] not in run.helpers:
        return f"{name} fetches a model by its name"
    if name.startswith(_MOVING) and name not in _LEAVING_IN_PLACE:
        files_moved(run)
    if name.startswith(_COMMANDS) and args:
        words = run.elements(args[0], limit=64) if args[0].kind != CONST else [args[0]]
        command = " ".join(str(word.payload) for word in words or [] if word.kind == CONST)
        native.compiled(run, args[0])
        if _program(run, args[0]) not in _ASKING:
            files_moved(run)
        found = next((item for item in _FETCHING if item in command + " "), "")
        found = found or next((item for item in _COMPILERS if command.split(" ")[0] == item), "")
        if found:
            return f"{name} runs {found.strip()!r}"
        parts = run.elements(args[0], limit=64) or []
        if "python" in command or ".py" in command or any(part.payload == "sys.executable" for part in parts):
            run.cannot_see(f"{name} starts another Python program", RULES_OF_SCORING)
    return ""
