"""What to try when a toy run did not reach its end: the class of the failure, and the next size where one may help.

A script's own text is hostile, and so is what it prints: only the last lines of its standard error are read, and the
class decides nothing but which size is tried next and what the report says about a run that did not work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from auditor.run.model import Outcome, Size

_TAIL_BYTES = 16_384
_DETAIL = 200
LEAST_VALIDATION_TOKENS = 1_024
GENEROUS_CAP_SECONDS = 86_400
FAR_APART = 1_000_000  # steps, more than any run makes
LARGER_TABLE = 4_096  # entries, where a script refuses smaller tables


class Failure(StrEnum):
    """Why a run did not reach its end."""

    SIZE = "size refused"
    TIME = "ran out of time"
    MEMORY = "too large"
    MODULE = "module missing"
    STAND_IN = "stand-in missing"
    FILE = "file missing"
    NETWORK = "needs the network"
    SCRIPT = "script broken by itself"
    CRASH = "crashed"
    OTHER = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """The class of a failure, what was said, and the size to try next (None: nothing left to try)."""

    failure: Failure
    detail: str
    next_size: Size | None


_ERROR = re.compile(
    r"^(?:\[rank\d+\]:\s?)?((?:\w{1,60}\.){0,6}\w{0,60}(?:Error|Exception|Interrupt|Exit|NotFound))\b:?[ \t]*(.*)$",
    re.MULTILINE,
)
_MODULE = re.compile(r"No module named '?([\w.]{1,80})|cannot import name '?(\w{1,80})")
_NETWORK = re.compile(r"offline|network|name resolution|connection|huggingface|hub|download|urlopen|resolve", re.I)
_STAND_IN = re.compile(
    r"cuda|triton|nccl|cudnn|flash|inductor|dynamo|nvidia|cutlass|hopper|fp8|device|not implemented for|backend",
    re.IGNORECASE,
)
_HEADS = re.compile(r"head|kv|gqa", re.IGNORECASE)
_BATCH = re.compile(r"batch|accum|micro|at least one sequence|per rank", re.IGNORECASE)
_TABLE = re.compile(r"bucket|table|hash", re.IGNORECASE)
_SEQUENCE = re.compile(r"seq|length|too short|window|stride|chunk|prefix|context|not enough|empty", re.IGNORECASE)
_SHAPE = re.compile(
    r"shape|size|dimension|divisible|multiple|must be|out of range|out of bounds|expected|invalid for input|"
    r"mismatch|match|reshape|broadcast|negative|zero",
    re.IGNORECASE,
)
_LAUNCH = re.compile(r"KeyError: '(?:LOCAL_|WORLD_|MASTER_)?(?:RANK|SIZE|ADDR|PORT)'|process group", re.IGNORECASE)
_OWN_ERRORS = ("NameError", "UnboundLocalError", "SyntaxError", "IndentationError")
_SIZE_ERRORS = (
    "AssertionError",
    "ValueError",
    "RuntimeError",
    "IndexError",
    "ZeroDivisionError",
    "KeyError",
    "LinAlgError",
    "_LinAlgError",
)


def next_step(outcome: Outcome, size: Size, *, printed_metric: bool = False) -> Step | None:
    """None when the run ended well (exit code 0, or a final metric was printed before a late error)."""
    if outcome.completed:
        return None
    failure, detail = classify(outcome)
    if printed_metric and failure not in (Failure.TIME, Failure.MEMORY):
        return None
    return Step(failure, detail, _larger_or_smaller(failure, detail, size))


def classify(outcome: Outcome) -> tuple[Failure, str]:
    """The class of a failed run and the line that tells it."""
    if outcome.stopped_by:
        memory = "memory" in outcome.stopped_by or "resident" in outcome.stopped_by
        return (Failure.MEMORY if memory else Failure.TIME), outcome.stopped_by
    name, message = last_error(outcome.stderr) or last_error(outcome.stdout) or ("", "")
    detail = f"{name}: {message}"[:_DETAIL] if name else _last_line(outcome.stderr)
    kind = name.rpartition(".")[2]
    if not name:
        return (Failure.CRASH if outcome.signal else Failure.OTHER), detail or f"exit code {outcome.exit_code}"
    if kind in ("ModuleNotFoundError", "ImportError") and (match := _MODULE.search(message)):
        return Failure.MODULE, match[1] or match[2]
    if kind in ("MemoryError", "OutOfMemoryError"):
        return Failure.MEMORY, detail
    if kind in _OWN_ERRORS:
        return Failure.SCRIPT, detail
    if kind == "FileNotFoundError" or (kind == "OSError" and "No such file" in message):
        return Failure.FILE, detail
    if _NETWORK.search(message) and kind in ("OSError", "URLError", "ConnectionError", "HTTPError", "gaierror"):
        return Failure.NETWORK, detail
    if _STAND_IN.search(message) and not _SHAPE.search(message):
        return Failure.STAND_IN, detail
    if kind in _SIZE_ERRORS:
        return Failure.SIZE, detail
    if kind in ("AttributeError", "NotImplementedError", "TypeError") and _STAND_IN.search(message):
        return Failure.STAND_IN, detail
    return Failure.OTHER, detail


def last_error(text: bytes) -> tuple[str, str] | None:
    """Name and message of the last exception that `text` reports."""
    matches = list(_ERROR.finditer(text[-_TAIL_BYTES:].decode(errors="replace")))
    return (matches[-1][1], matches[-1][2].strip()[:1000]) if matches else None


def _last_line(text: bytes) -> str:
    lines = text[-_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
    return lines[-1][:_DETAIL] if lines else ""


def _larger_or_smaller(failure: Failure, detail: str, size: Size) -> Size | None:
    if failure in (Failure.TIME, Failure.MEMORY):
        return shorter(size)
    if not size.launched and (failure is Failure.SCRIPT or _LAUNCH.search(detail)):
        # a branch that only a distributed launch takes: "loss" is bound under `if distributed`
        return replace(size, label=f"{size.label}, launched", launched=True)
    if failure is Failure.SCRIPT and size.warmup_steps == 0:
        # a name that is bound under `if warmup_steps > 0`
        return replace(size, label=f"{size.label}, warmed up", warmup_steps=1)
    if failure not in (Failure.SIZE, Failure.OTHER):
        return None
    if "NoneType" in detail and size.wallclock_seconds == 0:
        # a script that keeps None for "no cap" and calculates with it nevertheless
        return replace(size, label=f"{size.label}, time capped", wallclock_seconds=GENEROUS_CAP_SECONDS)
    if detail.startswith("ZeroDivisionError") and size.iterations == 0:
        return replace(size, label=f"{size.label}, one step", iterations=1)
    if detail.startswith("ZeroDivisionError") and "modulo" in detail and size.every == 0:
        # a script that divides by the steps between validations, none of which the toy size asks for
        return replace(size, label=f"{size.label}, validations far apart", every=FAR_APART)
    if _TABLE.search(detail) and size.smallest_table < LARGER_TABLE:
        return replace(size, label=f"{size.label}, larger tables", smallest_table=LARGER_TABLE)
    rungs = [(_HEADS, _all_heads), (_BATCH, _more_batch), (_SEQUENCE, _longer)]
    rungs.sort(key=lambda rung: rung[0].search(detail) is None)  # what the message names comes first
    for _, rung in rungs:
        if (changed := rung(size)) is not None:
            return changed
    return None


def shorter(size: Size) -> Size | None:
    """A quarter of the stream: what costs time at toy size is the evaluation."""
    if size.validation_tokens // 4 < LEAST_VALIDATION_TOKENS:
        return None
    return replace(
        size,
        label=f"{size.label}, shorter stream",
        validation_tokens=size.validation_tokens // 4,
        training_tokens=max(size.training_tokens // 4, 16 * size.sequence),
    )


def _all_heads(size: Size) -> Size | None:
    if size.kv_heads == size.heads:
        return None
    return replace(size, label=f"{size.label}, kv heads = heads", kv_heads=size.heads)


def _more_batch(size: Size) -> Size | None:
    if size.batch_sequences >= 32:
        return None
    return replace(size, label=f"{size.label}, larger batch", batch_sequences=size.batch_sequences * 4)


def _longer(size: Size) -> Size | None:
    if size.sequence >= 512:
        return None
    return replace(
        size,
        label=f"{size.label}, sequence 512",
        sequence=512,
        stride=128,
        ttt_chunk=max(size.ttt_chunk, 1024),
        training_tokens=max(size.training_tokens, 131_072),
    )
