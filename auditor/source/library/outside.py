"""Calls that reach outside the submission: the network, installers, compilers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.ledger import RULES_OF_SCORING
from auditor.source import native
from auditor.source.library.signatures import Args
from auditor.source.values import CONST

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


_NETWORK = ("urllib.request.", "requests.", "httpx.", "socket.", "http.client.", "ftplib.", "huggingface_hub.", "wget.",
            "gdown.", "boto3.", "torch.hub.", "datasets.load_dataset", "paramiko.", "smtplib.")  # fmt: skip
_COMMANDS = ("os.system", "os.popen", "subprocess.", "asyncio.create_subprocess")
_COMPILERS = ("gcc", "g++", "cc", "clang", "clang++", "nvcc", "cl", "rustc", "go", "make", "cmake")
_FETCHING = ("pip install", "pip3 install", "curl ", "wget ", "git clone", "apt-get ", "apt install", "conda install",
             "uv pip")  # fmt: skip


def outside_access(run: Interpreter, name: str, args: Args) -> str:
    """What a call reaches outside the submission and its data, in words; empty for harmless calls."""
    if name.startswith(_NETWORK) and name != "socket.gethostname":
        return f"{name} reaches the network"
    if name.endswith(".from_pretrained") and name.partition(".")[0] not in run.helpers:
        return f"{name} fetches a model by its name"
    if name.startswith(_COMMANDS) and args:
        words = run.elements(args[0], limit=64) if args[0].kind != CONST else [args[0]]
        command = " ".join(str(word.payload) for word in words or [] if word.kind == CONST)
        native.compiled(run, args[0])
        found = next((item for item in _FETCHING if item in command + " "), "")
        found = found or next((item for item in _COMPILERS if command.split(" ")[0] == item), "")
        if found:
            return f"{name} runs {found.strip()!r}"
        parts = run.elements(args[0], limit=64) or []
        if "python" in command or ".py" in command or any(part.payload == "sys.executable" for part in parts):
            run.cannot_see(f"{name} starts another Python program", RULES_OF_SCORING)
    return ""
