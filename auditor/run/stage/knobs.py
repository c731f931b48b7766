"""Which environment variables are sizes, which are places, and which must stay as in the reported run.

`KNOBS` is read from the top; the first pattern that matches a variable's whole name decides. What matches none is a
rate, a flag or a count of the procedure (learning rates, epochs, ranks, orders, thresholds): it keeps the reported
value, else the script's default. Sizes follow the toy `Size`; a toy value never exceeds the reported one where the
text says "at most".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from auditor.run.model import Size

FULL_VALIDATION_TOKENS = 62_000_000  # of the challenge's validation text (sp1024); tables are scaled in proportion
FULL_WIDTH = 512  # the usual MODEL_DIM, against which other widths are scaled


class Kind(StrEnum):
    """What becomes of a variable."""

    SIZE = "toy size"
    MACHINE = "audit machine"  # of the machine or of a habit of the run; set for the audit
    UNSET = "left to the script"  # of the reported run's machine
    SHORTCUT = "left out"  # would skip what the audit must see, or load what another run saved


@dataclass(frozen=True, slots=True)
class Knob:
    """A pattern of names and its toy value, computed from the reported (or default) value and the size.

    `toy` gets the base value as a number (0 when unknown) and returns the value to set; None keeps the reported one.
    """

    pattern: re.Pattern[str]
    kind: Kind
    toy: Callable[[float, Size], float | str | None] | None = None


def _knob(pattern: str, kind: Kind, toy: Callable[[float, Size], float | str | None] | None = None) -> Knob:
    return Knob(re.compile(pattern), kind, toy)


def _size(pattern: str, toy: Callable[[float, Size], float | str | None]) -> Knob:
    return _knob(pattern, Kind.SIZE, toy)


def _at_most(limit: float) -> Callable[[float, Size], float | None]:
    return lambda base, size: min(base, limit) if base > 0 else None


def _zero(base: float, size: Size) -> float:
    return 0


def _warmup(base: float, size: Size) -> float:
    return size.warmup_steps


def _wallclock(base: float, size: Size) -> float:
    return size.wallclock_seconds


def _validation_batch(base: float, size: Size) -> float:
    """The whole stream in eight parts, or a sequence for each of them."""
    return max(size.validation_tokens, 8 * size.sequence)


def _rotary(base: float, size: Size) -> float | None:
    """Rotary dimensions: half of a head where a part of it was rotated (heads are 64 wide and more), else all."""
    width = size.width // size.heads
    if base <= 0:
        return None
    return width if base >= 64 else min(base, width // 2)


def _steps(base: float, size: Size) -> float:
    return size.iterations


def _batch(base: float, size: Size) -> float:
    return size.batch_sequences * size.sequence


def scaled_table(base: float, size: Size) -> float | None:
    """A hash table as full as it would have been: entries in proportion to the stream, a power of two if it was one."""
    if base <= size.smallest_table:
        return None
    entries = max(size.smallest_table, base * size.validation_tokens / FULL_VALIDATION_TOKENS)
    if math.log2(base).is_integer():
        return float(2 ** round(math.log2(entries)))
    return float(round(entries))


def _scaled_bits(base: float, size: Size) -> float | None:
    if base <= 8 or base > 40:
        return None
    table = scaled_table(2.0**base, size)
    return None if table is None else math.log2(table)


def _sequence(base: float, size: Size) -> float | None:
    return size.sequence if base > 0 else None  # 0 means "as in training"


def _stride(base: float, size: Size) -> float | None:
    if base < 8:
        return None  # no sliding evaluation, or a stride over something else than tokens
    return size.sequence if base >= 1024 else size.stride


def _chunk(base: float, size: Size) -> float | None:
    """Chunks of the stream hold many sequences; chunks inside a document are short against one."""
    if base < 16:
        return None
    return size.ttt_chunk if base >= 4096 else min(base, max(16, size.sequence // 4))


def _kv_heads(base: float, size: Size) -> float:
    return 1 if base == 1 else size.kv_heads


def _width(base: float, size: Size) -> float | None:
    """A width beside the model's: scaled like it."""
    if base <= 0:
        return None
    return size.width if base == FULL_WIDTH else max(16, 8 * round(base * size.width / FULL_WIDTH / 8))


KNOBS = (
    # of the machine
    _knob(r"(LOCAL_|GROUP_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)|NCCL_.*|CUDA_.*|OMP_.*|HF_.*|PYTORCH_.*", Kind.UNSET),
    _knob(r"TORCH.*|TRITON_.*|DYNAMO_.*|MATCHED_FINEWEB.*|HOME|PATH|USER|TMPDIR|PYTHON.*|LD_.*", Kind.UNSET),
    _knob(r"PGOLF_.*|LANG|LC_.*|GLIBC_.*|MALLOC_.*|MKL_.*|KMP_.*|OPENBLAS_.*|NUMEXPR_.*|BASH_ENV|ENV", Kind.UNSET),
    _knob(r"SEED|.*_SEED", Kind.UNSET),  # set by the stage itself
    _knob(r"RUN_ID|EXPERIMENT_NAME|RUN_NAME", Kind.MACHINE, lambda base, size: "audit"),
    _knob(r"LOGS?_DIR", Kind.MACHINE, lambda base, size: "/tmp/logs"),
    _knob(r"WANDB_MODE", Kind.MACHINE, lambda base, size: "disabled"),
    _knob(r"(USE_)?WANDB(_ENABLED)?", Kind.MACHINE, _zero),
    _knob(r".*SEQ(_LEN)?_SCHEDULE|SEQ_CURRICULUM", Kind.UNSET),  # of lengths in tokens
    # what would skip training or load what another run saved
    _knob(r"(.*_)?(EVAL_ONLY|QUANTIZE_ONLY|PREQUANT_ONLY|TTT_ONLY|SKIP_TRAIN(ING)?)|AUTO_RESUME", Kind.SHORTCUT),
    _knob(r"(.*_)?(RESUME|CKPT|CHECKPOINT|LOAD)(_.*)?|INIT_MODEL.*|EVAL_ONLY_.*|PAID_PREFIX_FILE", Kind.SHORTCUT),
    _knob(r".*(PATH|DIR|FILE|FILES|ROOT|_SO)|TOKENIZER_(NAME|KIND)|WANDB_.*", Kind.UNSET),
    # length of the run
    _size(
        r"(NUM_|TRAIN_|MAX_|N_)?(ITERATIONS|ITERS)|(NUM_)?TRAIN_STEPS|(MAX|TOTAL)_STEPS",
        lambda base, size: size.iterations,
    ),
    _size(r"(MAX_|TRAIN_)?WALLCLOCK_(SECONDS|LIMIT.*)|(MAX_(WALLCLOCK_|TRAIN_)?|TRAIN_)SECONDS", _wallclock),
    _size(r"WARMUP_STEPS|COMPILE_WARMUP(_STEPS)?|TTT_WARMUP_COMPILE", _warmup),
    _size(r"DISTILL_STEPS|TTT_BURST_STEPS", _at_most(1)),
    _size(r"(VAL|QUANT_EVAL|SAVE|CHECKPOINT)(_LOSS)?_EVERY", lambda base, size: size.every),
    _size(r"(TRAIN_)?LOG_EVERY(_STEPS)?|TRAIN_LOG_.*EVERY", lambda base, size: 1),
    # tokens at a time
    _size(r"(TRAIN_)?BATCH_TOKENS|TRAIN_BATCH_SIZE|TOTAL_BATCH_SIZE", _batch),
    _size(r"(VAL|EVAL)_BATCH_(SIZE|TOKENS)", _validation_batch),
    _size(r"(.*_)?SEQ_?LEN(GTH)?|CONTEXT_LENGTH|CTX_LEN|BLOCK_SIZE|MAX_LEN", _sequence),
    _size(r"(.*_)?(EVAL_|SW_|SLIDING_|SLIDING_WINDOW_)?STRIDE", _stride),
    # the whole text an epoch: as many steps as fit, where the reported run took thousands
    _size(r".*PRE_?Q(UANT)?_.*(CHUNK|CHUNK_TOKENS|CHUNK_SIZE|BATCH_TOKENS)", lambda base, size: 2 * size.sequence),
    _size(r".*PRE_?Q(UANT)?_.*BATCH(_SEQS|_SIZE)?", _at_most(2)),
    _size(r"(?!.*(PER|EACH)_CHUNK)(.*_)?CHUNK(_TOKENS|_SIZE|_LEN)?", _chunk),
    _size(r".*SLOT.*_BATCH(_SEQS|_SIZE)?", _at_most(8)),
    _size(r".*TTT.*_BATCH(_SEQS|_SIZE)?", _at_most(4)),
    _size(r"(SW_)?EVAL_BATCH(_SEQS)?", _at_most(32)),
    _size(r".*(CALIB|CALIBRATION|GPTQ|AWQ|HESSIAN)_?(.*_)?(BATCHES|SEQS|SAMPLES|NSAMPLES)", _at_most(2)),
    _size(r".*PREFIX_DOCS", _at_most(3)),
    # the model: width, not depth, so that what is indexed by layer keeps its meaning
    _size(r"(MODEL_DIM|D_MODEL|N_EMBD|HIDDEN_SIZE)", lambda base, size: size.width),
    _size(r"(NUM_)?KV_HEADS|N_KV_HEADS?", _kv_heads),
    _size(r"NUM_HEADS|N_HEADS?|.*_NUM_HEADS|.*_HEADS", lambda base, size: size.heads if base > 2 else None),
    _size(r"EMBED(DING)?_DIM|MLP_HIDDEN(_DIM|_SIZE)?|(.*_)?HIDDEN_DIM|.*INTERMEDIATE_SIZE", _width),
    _size(r"(BIGRAM|TRIGRAM|VE|VALUE_EMBED.*|BIGRAM_HASH|BIGRAM_EMBED|.*_HASH)_DIM", _at_most(16)),
    _size(r"(BIGRAM|TRIGRAM|FOURGRAM)(_HASH|_VOCAB)*_(SIZE|BUCKETS)|BIGRAM_VOCAB|HASH_EMBED_SIZE", _at_most(512)),
    _size(r"(PARTIAL_)?ROPE_DIMS?", _rotary),
    _size(r".*GROUP_SIZE", _at_most(16)),  # of weights that share a scale: it divides the widths
    # hash tables of evaluation
    _size(r".*(BUCKETS|TABLE_SIZE|HASH_SIZE)", scaled_table),
    _size(r".*((TABLE|HASH|BUCKETS?)_BITS|(BUCKETS|TABLE_SIZE|HASH_SIZE)_LOG2)", _scaled_bits),
)


# In a script that adapts on the whole text an epoch, not on chunks: as many steps as fit.
WHOLE_TEXT_KNOBS = (_size(r".*TTT.*_BATCH(_SEQS|_SIZE)?", _at_most(2)),)


def knob_of(name: str, *, chunked: bool = True) -> Knob | None:
    """The knob that decides over variable `name`; None for what keeps its reported value.

    `chunked`: the script reads the size of a chunk, after which it adapts.
    """
    knobs = KNOBS if chunked else (*WHOLE_TEXT_KNOBS, *KNOBS)
    return next((knob for knob in knobs if knob.pattern.fullmatch(name)), None)


def toy_text(knob: Knob, reported: str, size: Size) -> str | None:
    """The text to set a variable to, or None to keep the reported value. Whole numbers are written as such."""
    if knob.toy is None:
        return None
    value = knob.toy(_number(reported), size)
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _number(text: str) -> float:
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
