"""Which python file produced the score, and what its text is once unpacked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from auditor.submission.model import Problem, Role, SourceText, StoredFile
from auditor.submission.text import decode_source


@dataclass(frozen=True, slots=True)
class ScriptChoice:
    """The script, why it was chosen, the other sources, and what could not be read."""

    script: SourceText | None
    reason: str = ""
    helpers: tuple[SourceText, ...] = ()
    problems: tuple[Problem, ...] = ()


def choose_script(
    folder: str, files: Sequence[StoredFile], read_elsewhere: Callable[[str], bytes | None]
) -> ScriptChoice:
    """The source that produced the score, among the python files of `folder`."""
    sources = {item.path: item for item in files if item.role is Role.HELPER and item.data is not None}
    path = next((p for p in sources if PurePosixPath(p).name == "train_gpt.py"), None)
    texts = {p: _source(item) for p, item in sources.items()}
    if path is None:
        return ScriptChoice(None, "", tuple(texts.values()), (Problem(folder, "no train_gpt.py"),))
    return ScriptChoice(texts[path], "train_gpt.py", tuple(t for p, t in texts.items() if p != path))


def _source(item: StoredFile) -> SourceText:
    data = item.data or b""
    text, _ = decode_source(data)
    return SourceText(item.path, text, hashlib.sha256(data).hexdigest())
