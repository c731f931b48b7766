"""What a file of a record folder is for, told by its name and, for logs, by its first lines."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from auditor.submission.model import Role
from auditor.submission.text import decode

_BY_SUFFIX = {
    Role.HELPER: (".py", ".pyw"),
    Role.NATIVE: (".c", ".cc", ".cpp", ".cxx", ".cu", ".cuh", ".h", ".hpp", ".inc", ".so", ".rs", ".go", ".pyx"),
    Role.SHELL: (".sh", ".bash", ".zsh", ".bat", ".cmd", ".ps1", ".slurm", ".sbatch"),
    Role.LOG: (".log", ".out", ".err", ".tsv", ".stdout", ".stderr"),
    Role.TOKENIZER: (".model", ".vocab"),
    Role.ARTIFACT: (
        *(".pt", ".pth", ".ptz", ".bin", ".npz", ".npy", ".safetensors", ".pkl", ".pickle", ".ckpt"),
        *(".zst", ".zstd", ".xz", ".lzma", ".br", ".brotli", ".gz", ".bz2", ".7z", ".lrz", ".zip", ".tar", ".zlib"),
    ),
}
_SUFFIX_ROLE = {suffix: role for role, suffixes in _BY_SUFFIX.items() for suffix in suffixes}
_README = re.compile(r"readme(\.\w{1,8})?", re.IGNORECASE)
_TOKENIZER_NAME = re.compile(r"(?:.*[_.-])?(?:tokenizer|vocab|bpe|spm|sentencepiece)[\w.-]*\.(?:json|txt|model)")
_LOG_LINE = re.compile(
    r"val_(?:loss|bpb)|train_(?:loss|time)|step[: ]\d|torchrun|world_size|Running Python|seed[:=]"
    r"|\b[vt]l[:=]\d{1,3}\.\d"
)
_NOT_A_LOG = re.compile(r"requirements.*\.txt|license.*|notice.*|.*\.md", re.IGNORECASE)
_SNIFFED_BYTES = 65_536


def role_of(path: str, head: bytes | None) -> Role:
    """The role of the file at `path` (relative to the record folder) whose content begins with `head`.

    The script is told apart from its helpers later: every python file is a helper here.
    """
    name = PurePosixPath(path).name
    lowered = name.lower()
    if _README.fullmatch(name):
        return Role.README
    if lowered == "submission.json":
        return Role.METADATA
    if _TOKENIZER_NAME.fullmatch(lowered):
        return Role.TOKENIZER
    suffix = PurePosixPath(lowered).suffix
    if suffix in (".txt", "") and head is not None and not _NOT_A_LOG.fullmatch(lowered):
        sample = decode(head[:_SNIFFED_BYTES])
        return Role.LOG if suffix == ".txt" and _LOG_LINE.search(sample) else _unnamed(lowered, sample)
    return _SUFFIX_ROLE.get(suffix, Role.OTHER)


def _unnamed(name: str, sample: str) -> Role:
    if name.startswith(("log", "train_log", "run_log")):
        return Role.LOG
    if sample.startswith("#!") and "sh" in sample[:40]:
        return Role.SHELL
    return Role.OTHER
