"""The private copy of a record folder: code and what code names; no log, no artifact, nothing from outside."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from auditor.run.stage.settings import sources_of
from auditor.submission.model import Role, StoredFile, Submission

_CODE = (Role.SCRIPT, Role.HELPER, Role.NATIVE, Role.SHELL)
_NEVER = (Role.LOG, Role.ARTIFACT)  # what the reported run left behind must not stand in for what this run makes
MAX_NAMED_BYTES = 32 * 1024 * 1024


def copy_folder(submission: Submission, target: Path) -> list[str]:
    """Write the files that a run may need below `target`; notes on those that could not be written."""
    target.mkdir(parents=True)
    texts = [source.wrapper + source.text for source in sources_of(submission)]
    notes: list[str] = []
    for item in submission.files:
        relative = PurePosixPath(submission.relative(item.path))
        if not _wanted(item, relative, texts):
            continue
        if not item.complete or item.data is None:
            notes.append(f"{relative}: not copied ({item.note or 'larger than the reader holds'})")
            continue
        if relative.is_absolute() or ".." in relative.parts or not relative.parts:
            notes.append(f"{relative}: not copied (outside the folder)")
            continue
        try:
            path = target / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(item.data)
        except (OSError, ValueError) as error:  # ValueError: a name that no file system takes
            notes.append(f"{relative}: not copied ({getattr(error, 'strerror', None) or 'not a usable name'})")
    return notes


def _wanted(item: StoredFile, relative: PurePosixPath, texts: list[str]) -> bool:
    if item.role in _CODE:
        return True
    if item.role in _NEVER or item.size > MAX_NAMED_BYTES or relative.suffix == ".model":
        return False
    return any(relative.name in text for text in texts)
