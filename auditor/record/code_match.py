"""Whether the submitted script is the one that wrote a log: embedded source, code size, printed names and labels.

None of this proves what ran. It shows where a log and a script cannot belong together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from auditor.record.model import MetricLine, Place, RunLog, SizeLine
from auditor.submission.model import Role, Submission

MAX_COMPARED_LINES = 60_000
MAX_HELPERS = 12
MAX_WRAPPER_LINES = 120
SAME_BYTES = 2  # a final newline more or less
_WRAPPER = re.compile(r"\bexec\(|runpy|b85decode|b64decode|a85decode|importlib|subprocess|execfile|decompress\(")
_COMMENT = re.compile(r"\s*#")
_SPACES = re.compile(r"\s+")
BYTE_TABLE = "the byte table"
_SUBJECTS = (
    (
        BYTE_TABLE,
        re.compile(
            r"startswith\(.(?:\u2581|\\u2581|\?)|base_bytes|has_leading_space|is_boundary|byte_count|bytes_lut|_bytes\b"
            r"|byte_token",
            re.I,
        ),
    ),
    ("validation", re.compile(r"val_tokens|val_loss|val_bpb|eval_|def eval|load_validation", re.I)),
    ("test-time training", re.compile(r"ttt|adapt|slot", re.I)),
    ("quantization", re.compile(r"quant|gptq|int6|int8|compress", re.I)),
)


@dataclass(frozen=True, slots=True)
class SourceDifference:
    """How the source inside a log differs from the submitted script, comments, blank lines and indentation aside.

    `only_in_log` and `only_submitted` count lines; `subjects` names what the differing lines speak of; `first` is the
    line of the submitted script where a difference is first seen (0: only lines of the log differ).
    """

    log: str
    place: Place | None
    log_lines: int
    submitted_lines: int  # of the compared part, where the log's source is damaged
    only_in_log: int
    only_submitted: int
    subjects: tuple[str, ...]
    first: int

    @property
    def changed(self) -> bool:
        return bool(self.only_in_log or self.only_submitted)


def submitted_texts(submission: Submission) -> tuple[str, ...]:
    """Every text under which the submitted script can stand in a log: as stored, each unpacked layer, helpers."""
    script = submission.script
    if script is None:
        return ()
    texts = [script.text, script.wrapper, *(helper.text for helper in submission.helpers[:MAX_HELPERS])]
    return tuple(text for text in texts if text)


def opaque(submission: Submission) -> bool:
    """Whether the submitted script is a short wrapper around code that was not opened."""
    script = submission.script
    if script is None or script.packed:
        return False
    return bool(_WRAPPER.search(script.text)) and script.text.count("\n") < MAX_WRAPPER_LINES


def source_difference(log: RunLog, submission: Submission) -> SourceDifference | None:
    """The log's embedded source against the closest text of the submission; None where either is missing."""
    texts = submitted_texts(submission)
    if log.embedded_source is None or not texts or opaque(submission):
        return None
    logged = log.embedded_source.split("\n")[:MAX_COMPARED_LINES]
    theirs = Counter(_essential(logged))
    best: SourceDifference | None = None
    for text in texts:
        lines = text.split("\n")[:MAX_COMPARED_LINES]
        difference = _difference(log, logged, theirs, lines)
        size = difference.only_in_log + difference.only_submitted
        if best is None or size < best.only_in_log + best.only_submitted:
            best = difference
    return best


def _difference(log: RunLog, logged: Sequence[str], theirs: Counter[str], lines: Sequence[str]) -> SourceDifference:
    begin = _first_common(lines, theirs)
    if not log.embedded_source_damaged and next(_essential(logged), "") != _key(lines[begin]):
        begin = 0  # otherwise the source in the log starts in the middle of the script
    ours = Counter(_essential(lines[begin:]))
    more, fewer = theirs - ours, ours - theirs
    first = next((number for number, line in enumerate(lines[begin:], begin + 1) if _key(line) in fewer), 0)
    changed = "\n".join([*more, *fewer])[:200_000]
    subjects = tuple(name for name, pattern in _SUBJECTS if pattern.search(changed))
    sizes = len(logged), len(lines) - begin, more.total(), fewer.total()
    return SourceDifference(log.path, log.embedded_source_place, *sizes, subjects, first)


def _first_common(lines: Sequence[str], theirs: Counter[str]) -> int:
    """Index of the first submitted line that is unique and stands in what is left of a damaged source."""
    counts = Counter(_essential(lines))
    for index, line in enumerate(lines):
        key = _key(line)
        if len(key) > 6 and counts[key] == 1 and theirs[key] == 1:
            return index
    return 0


def _essential(lines: Iterable[str]) -> Iterator[str]:
    return (key for line in lines if not _COMMENT.match(line) and (key := _key(line)))


def _key(line: str) -> str:
    return _SPACES.sub(" ", line.replace("\r", "")).strip()


@dataclass(frozen=True, slots=True)
class CodeSize:
    """The uncompressed code size that a log prints, beside the size of the submitted code that comes closest."""

    log: str
    line: SizeLine
    submitted_bytes: int
    submitted_as: str

    @property
    def difference(self) -> int:
        return self.line.size_bytes - self.submitted_bytes

    @property
    def same(self) -> bool:
        return abs(self.difference) <= SAME_BYTES


def code_sizes(submission: Submission) -> dict[str, int]:
    """Ways to count the submitted code in bytes, by what is counted."""
    script = submission.script
    if script is None:
        return {}
    sizes: dict[str, int] = {}
    path = script.path.partition("!")[0]
    stored = next((item for item in submission.files if item.path == path), None)
    if stored is not None:
        sizes["the stored script"] = stored.size
        if stored.data is not None and b"\r\n" in stored.data:
            sizes["the stored script with LF line ends"] = len(stored.data.replace(b"\r\n", b"\n"))
    if script.packed:
        sizes["the unpacked script"] = len(script.text.encode("utf-8", "replace"))
    code = [item for item in submission.files if item.role in (Role.SCRIPT, Role.HELPER, Role.NATIVE)]
    if stored is not None and len(code) > 1:
        sizes["all code of the folder"] = sum(item.size for item in code)
        for item in code:
            if item.path != path:
                name = submission.relative(item.path)
                sizes[f"the stored script and {name}"] = stored.size + item.size
                sizes[name] = item.size
    return sizes


def logged_code_size(log: RunLog, submission: Submission) -> CodeSize | None:
    """The uncompressed code size of a log against the closest count of the submitted code."""
    sizes = code_sizes(submission)
    lines = [line for line in log.sizes if line.kind == "code"]
    if not sizes or not lines:
        return None
    raw = [line for line in lines if "raw" in line.label or "uncompressed" in line.label]
    line = (raw or lines)[-1]
    name, size = min(sizes.items(), key=lambda item: abs(item[1] - line.size_bytes))
    return CodeSize(log.path, line, size, name)


def counts_compressed_code(log: RunLog, size: CodeSize) -> bool:
    """Whether the log's code size is that of compressed code, which cannot be compared with a file byte for byte."""
    labelled = any(line.kind == "code_compressed" and line.size_bytes == size.line.size_bytes for line in log.sizes)
    return labelled or size.line.size_bytes * 2 < size.submitted_bytes


MORE_BYTES, MORE_SHARE = 4_000, 0.1  # of the logged code: less may be a comment, a licence, a launcher


def missing_code(logs: Sequence[RunLog], submission: Submission) -> CodeSize | None:
    """The log that lacks the least code in the submission, if every log that counts code counts much more than any
    reading of the submission has: then part of what ran is not there."""
    script = submission.script
    if script is None or script.packed or opaque(submission):
        return None
    sizes = [(log, size) for log in logs if (size := logged_code_size(log, submission)) is not None]
    counted = [size for log, size in sizes if not counts_compressed_code(log, size)]
    if not counted:
        return None
    least = min(counted, key=lambda size: size.difference)
    return least if least.difference > max(MORE_BYTES, MORE_SHARE * least.line.size_bytes) else None


@lru_cache(maxsize=8)
def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[A-Za-z_]\w*", text[: 8 * 1024 * 1024]))


def missing_settings(log: RunLog, submission: Submission) -> list[str]:
    """Names of the log's hyperparameter block that occur nowhere in the submitted code."""
    texts = submitted_texts(submission)
    if not texts or opaque(submission) or len(log.hyperparameters) - len(log.inline_hyperparameters) < 10:
        return []
    known = frozenset().union(*(_words(text) for text in texts))
    lowered = {word.lower() for word in known}
    names = [name for name in log.hyperparameters if name not in log.inline_hyperparameters]
    return [name for name in names if name not in lowered]


def prints_label(line: MetricLine, submission: Submission) -> bool | None:
    """Whether the submitted code can print the line's label: its words occur in the code. None without code or label.

    Labels are put together from parts, so every word of the label must occur, not the label as a whole.
    """
    texts = submitted_texts(submission)
    words = [word for word in re.split(r"[^A-Za-z]+", line.label) if len(word) >= 3]
    if not texts or not words or len(texts[0]) < 2_000 or opaque(submission):
        return None
    together = "\n".join(texts)[: 8 * 1024 * 1024].lower()
    return all(word.lower() in together for word in words)


_FORMAT = re.compile(r"val_bpb\s?[:=]\s?\{[^{}\n]{1,120}:\.(\d{1,2})f\}")


def printed_decimals(submission: Submission) -> frozenset[int]:
    """Decimals with which the submitted code's f-strings print a ``val_bpb``."""
    return frozenset(int(match[1]) for text in submitted_texts(submission) for match in _FORMAT.finditer(text))


def decimals(text: str) -> int:
    """Digits behind the decimal point of a printed number."""
    return len(text.partition(".")[2]) if "e" not in text.lower() else 0
