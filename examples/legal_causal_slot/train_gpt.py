from __future__ import annotations

import brotli
import contextlib
import hashlib
import io
import json
import lzma
import math
import numpy as np
import os
import platform
import random
import sentencepiece as spm
import struct
import subprocess
import sys
import time
import torch
import torch.distributed as dist
import torch.nn.functional as F
import uuid
import zlib
import zstandard
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from torch import Tensor, nn


# --- distributed ---
def start_distributed() -> tuple[int, int, torch.device]:
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    if world_size > 1 and not dist.is_initialized():
        dist.init_process_group(backend="nccl" if device.type == "cuda" else "gloo")
    return rank, world_size, device


def stop_distributed() -> None:
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def rank_and_world() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def sum_over_ranks(tensor: Tensor) -> Tensor:
    if dist.is_initialized():
        dist.all_reduce(tensor, op=dist.ReduceOp.SUM)
    return tensor


def gather_over_ranks(tensor: Tensor) -> tuple[Tensor, Callable[[], None]]:
    if not dist.is_initialized():
        return tensor, lambda: None
    everything = tensor.new_empty(dist.get_world_size() * tensor.size(0), *tensor.shape[1:])
    handle = dist.all_gather(list(everything.chunk(dist.get_world_size())), tensor, async_op=True)
    return everything, handle.wait


def average_gradients(model: nn.Module) -> None:
    if not dist.is_initialized():
        return
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad, op=dist.ReduceOp.SUM)
        parameter.grad.div_(dist.get_world_size())


def any_rank(flag: bool, device: torch.device) -> bool:
    return bool(sum_over_ranks(torch.tensor(int(flag), device=device)).item())


def wait_for_device(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


# --- hyperparameters ---
class Hyperparameters:
    # data
    data_path = os.environ.get("DATA_PATH", "./data/datasets/fineweb10B_sp1024")
    tokenizer_path = os.environ.get("TOKENIZER_PATH", "./data/tokenizers/fineweb_1024_bpe.model")
    train_files = f"{data_path}/fineweb_train_*.bin"
    val_files = f"{data_path}/fineweb_val_*.bin"
    val_bytes_files = f"{data_path}/fineweb_val_bytes_*.bin"
    vocab_size = int(os.environ.get("VOCAB_SIZE", 512))
    bos_id = int(os.environ.get("BOS_ID", 1))
    loader = os.environ.get("LOADER", "shuffled")
    seed = int(os.environ.get("SEED", 1337))
    run_id = os.environ.get("RUN_ID", str(uuid.uuid4()))
    artifact_path = os.environ.get("ARTIFACT_PATH", "final_model.int6.ptz")
    eval_only = bool(int(os.environ.get("EVAL_ONLY", "0")))

    # model
    num_layers = int(os.environ.get("NUM_LAYERS", 4))
    model_dim = int(os.environ.get("MODEL_DIM", 96))
    num_heads = int(os.environ.get("NUM_HEADS", 4))
    num_kv_heads = int(os.environ.get("NUM_KV_HEADS", 2))
    mlp_mult = float(os.environ.get("MLP_MULT", 3.0))
    rope_dims = int(os.environ.get("ROPE_DIMS", 16))
    rope_base = float(os.environ.get("ROPE_BASE", 10000.0))
    qk_gain_init = float(os.environ.get("QK_GAIN_INIT", 4.0))
    xsa_last_n = int(os.environ.get("XSA_LAST_N", 2))
    ve_last_n = int(os.environ.get("VE_LAST_N", 1))
    ve_dim = int(os.environ.get("VE_DIM", 16))
    parallel_start = int(os.environ.get("PARALLEL_START", 3))
    loop_start = int(os.environ.get("LOOP_START", 1))
    loop_end = int(os.environ.get("LOOP_END", 2))
    num_loops = int(os.environ.get("NUM_LOOPS", 1))
    enable_looping_at = float(os.environ.get("ENABLE_LOOPING_AT", 0.5))
    smear_gate = bool(int(os.environ.get("SMEAR_GATE", "1")))
    bigram_buckets = int(os.environ.get("BIGRAM_BUCKETS", 512))
    bigram_dim = int(os.environ.get("BIGRAM_DIM", 16))
    skip_gates = bool(int(os.environ.get("SKIP_GATES", "1")))
    sigmoid_skips = bool(int(os.environ.get("SIGMOID_SKIPS", "0")))  # with SKIP_GATES=0: added through a sigmoid
    trigram = bool(int(os.environ.get("TRIGRAM", "0")))
    gated_attention = bool(int(os.environ.get("GATED_ATTENTION", "0")))
    value_residual = bool(int(os.environ.get("VALUE_RESIDUAL", "0")))
    dtg_enabled = bool(int(os.environ.get("DTG_ENABLED", "0")))
    parallel_start_layer = int(os.environ.get("PARALLEL_START_LAYER", -1))  # two lanes from here on; -1: one
    embedding_dim = int(os.environ.get("EMBEDDING_DIM", 0))  # 0: MODEL_DIM
    tie_embeddings = bool(int(os.environ.get("TIE_EMBEDDINGS", "1")))
    ln_scale = bool(int(os.environ.get("LN_SCALE", "1")))
    rope_train_seq_len = int(os.environ.get("ROPE_TRAIN_SEQ_LEN", 0))  # beyond it the base grows; 0: never
    logit_softcap = float(os.environ.get("LOGIT_SOFTCAP", 30.0))
    tied_embed_init_std = float(os.environ.get("TIED_EMBED_INIT_STD", 0.02))

    # training
    mtp_num_heads = int(os.environ.get("MTP_NUM_HEADS", 0))
    mtp_loss_weight = float(os.environ.get("MTP_LOSS_WEIGHT", 0.2))
    iterations = int(os.environ.get("ITERATIONS", 300))
    train_batch_tokens = int(os.environ.get("TRAIN_BATCH_TOKENS", 2048))
    grad_accum_steps = int(os.environ.get("GRAD_ACCUM_STEPS", 1))  # parts of a rank's batch, one after the other
    train_seq_len = int(os.environ.get("TRAIN_SEQ_LEN", 128))
    max_wallclock_seconds = float(os.environ.get("MAX_WALLCLOCK_SECONDS", 600.0))
    gptq_reserve_seconds = float(os.environ.get("GPTQ_RESERVE_SECONDS", 12.0))
    schedule = os.environ.get("SCHEDULE", "steps")  # "steps": reproducible; "clock": fraction of the wall-clock cap
    warmup_steps = int(os.environ.get("WARMUP_STEPS", 0))
    warmdown_frac = float(os.environ.get("WARMDOWN_FRAC", 0.6))
    warmdown_iters = int(os.environ.get("WARMDOWN_ITERS", 0))  # 0: WARMDOWN_FRAC
    min_lr = float(os.environ.get("MIN_LR", 0.05))
    val_loss_every = int(os.environ.get("VAL_LOSS_EVERY", 0))
    train_log_every = int(os.environ.get("TRAIN_LOG_EVERY", 50))
    checkpoint_path = os.environ.get("CHECKPOINT_PATH", "")
    checkpoint_every = int(os.environ.get("CHECKPOINT_EVERY", 0))
    compile_model = bool(int(os.environ.get("COMPILE_MODEL", "1")))  # on a GPU only
    torch_threads = int(os.environ.get("TORCH_THREADS", 0))  # 0: leave it to torch

    # optimizers
    embed_lr = float(os.environ.get("EMBED_LR", 0.03))
    matrix_lr = float(os.environ.get("MATRIX_LR", 0.03))
    scalar_lr = float(os.environ.get("SCALAR_LR", 0.02))
    muon_momentum = float(os.environ.get("MUON_MOMENTUM", 0.95))
    muon_momentum_warmup_start = float(os.environ.get("MUON_MOMENTUM_WARMUP_START", 0.85))
    muon_momentum_warmup_steps = int(os.environ.get("MUON_MOMENTUM_WARMUP_STEPS", 0))  # 0: MUON_MOMENTUM from the start
    muon_backend_steps = int(os.environ.get("MUON_BACKEND_STEPS", 5))
    muon_backend = os.environ.get("MUON_BACKEND", "newton_schulz")  # or "polar_express"
    muon_row_normalize = bool(int(os.environ.get("MUON_ROW_NORMALIZE", "1")))
    muon_wd = float(os.environ.get("MUON_WD", 0.02))
    muon_banks = bool(int(os.environ.get("MUON_BANKS", "0")))  # matrices of one shape orthogonalized as one batch
    embed_wd = float(os.environ.get("EMBED_WD", 0.01))
    adam_wd = float(os.environ.get("ADAM_WD", 0.0))  # of gains, scales and gates
    head_lr = float(os.environ.get("HEAD_LR", 0.008))  # of an untied output matrix and of MTP heads
    beta1 = float(os.environ.get("BETA1", 0.9))
    beta2 = float(os.environ.get("BETA2", 0.95))
    adam_eps = float(os.environ.get("ADAM_EPS", 1e-8))
    grad_clip_norm = float(os.environ.get("GRAD_CLIP_NORM", 0.3))
    averaging = os.environ.get("AVERAGING", "ema")  # "ema", "swa", "lawa" or "none"
    ema_decay = float(os.environ.get("EMA_DECAY", 0.98))
    swa_start_frac = float(os.environ.get("SWA_START_FRAC", 0.9))
    swa_every = int(os.environ.get("SWA_EVERY", 5))
    lawa_k = int(os.environ.get("LAWA_K", 10))
    lawa_freq = int(os.environ.get("LAWA_FREQ", 10))
    late_qat_threshold = float(os.environ.get("LATE_QAT_THRESHOLD", 0.0))  # learning rate scale below which QAT is on

    # quantization and artifact
    matrix_bits = int(os.environ.get("MATRIX_BITS", 6))
    embed_bits = int(os.environ.get("EMBED_BITS", 8))
    matrix_clip_sigmas = float(os.environ.get("MATRIX_CLIP_SIGMAS", 12.85))
    embed_clip_sigmas = float(os.environ.get("EMBED_CLIP_SIGMAS", 20.0))
    gptq_enabled = bool(int(os.environ.get("GPTQ_ENABLED", "1")))
    gptq_embeddings = bool(int(os.environ.get("GPTQ_EMBEDDINGS", "1")))  # 0: embeddings to nearest
    gptq_calibration_batches = int(os.environ.get("GPTQ_CALIBRATION_BATCHES", 8))
    gptq_calibration = os.environ.get("GPTQ_CALIBRATION", "train")  # or "self" (text the model generates)
    gptq_calibration_temperature = float(os.environ.get("GPTQ_CALIBRATION_TEMPERATURE", 1.0))  # of its own text
    sdclip_enabled = bool(int(os.environ.get("SDCLIP_ENABLED", "1")))  # 0: the best of five percentiles
    gptq_damping = float(os.environ.get("GPTQ_DAMPING", 0.01))
    keep_float_numel = int(os.environ.get("KEEP_FLOAT_NUMEL", 2048))
    lqer_rank = int(os.environ.get("LQER_RANK", 0))
    lqer_top_k = int(os.environ.get("LQER_TOP_K", 3))
    prune_to_fit = bool(int(os.environ.get("PRUNE_TO_FIT", "0")))
    compressor = os.environ.get("COMPRESSOR", "brotli")  # or "lzma", "zstd", "rans", "auto"

    # scoring
    val_batch_size = int(os.environ.get("VAL_BATCH_SIZE", 4096))  # tokens
    eval_seq_len = int(os.environ.get("EVAL_SEQ_LEN", 128))
    eval_stride = int(os.environ.get("EVAL_STRIDE", 64))
    sliding_window_enabled = bool(int(os.environ.get("SLIDING_WINDOW_ENABLED", "1")))
    document_eval_enabled = bool(int(os.environ.get("DOCUMENT_EVAL_ENABLED", "0")))

    # adaptation on tokens already scored
    ttt_enabled = bool(int(os.environ.get("TTT_ENABLED", "0")))
    ttt_lr = float(os.environ.get("TTT_LR", 0.005))
    ttt_momentum = float(os.environ.get("TTT_MOMENTUM", 0.9))
    ttt_epochs = int(os.environ.get("TTT_EPOCHS", 3))
    ttt_chunk_tokens = int(os.environ.get("TTT_CHUNK_TOKENS", 1024))
    ttt_batch_seqs = int(os.environ.get("TTT_BATCH_SEQS", 8))
    ttt_cosine_decay = bool(int(os.environ.get("TTT_COSINE_DECAY", "0")))  # TTT_LR falls to zero along the chunks
    ttt_freeze_blocks = int(os.environ.get("TTT_FREEZE_BLOCKS", 0))  # first blocks that TTT leaves alone
    lora_ttt_enabled = bool(int(os.environ.get("LORA_TTT_ENABLED", "0")))
    ttt_lora_rank = int(os.environ.get("TTT_LORA_RANK", 4))
    ttt_lora_lr = float(os.environ.get("TTT_LORA_LR", 0.03))
    ttt_lora_chunk = int(os.environ.get("TTT_LORA_CHUNK", 32))  # tokens scored between two updates
    ttt_doc_batch = int(os.environ.get("TTT_DOC_BATCH", 16))  # documents side by side, each with its own LoRA
    phased_ttt_enabled = bool(int(os.environ.get("PHASED_TTT_ENABLED", "0")))
    phased_ttt_num_phases = int(os.environ.get("PHASED_TTT_NUM_PHASES", 3))
    global_ttt_lr = float(os.environ.get("GLOBAL_TTT_LR", 0.03))
    global_ttt_epochs = int(os.environ.get("GLOBAL_TTT_EPOCHS", 1))
    ttt_grad_clip = float(os.environ.get("TTT_GRAD_CLIP", 1.0))
    slot_causal = bool(int(os.environ.get("SLOT_CAUSAL", "0")))
    slot_segment_tokens = int(os.environ.get("SLOT_SEGMENT_TOKENS", 65536))
    slot_focal_tokens = int(os.environ.get("SLOT_FOCAL_TOKENS", 128))
    slot_lbfgs = bool(int(os.environ.get("SLOT_LBFGS", "1")))  # bias on the logits; 0: AdamW, delta on hidden states
    slot_lbfgs_max_iter = int(os.environ.get("SLOT_LBFGS_MAX_ITER", 25))
    slot_lbfgs_history = int(os.environ.get("SLOT_LBFGS_HISTORY", 20))
    slot_delta_clip = float(os.environ.get("SLOT_DELTA_CLIP", 0.3))  # 5 in #1550 and #1758: far too far for 128 targets
    slot_lr = float(os.environ.get("SLOT_LR", 0.005))
    slot_steps = int(os.environ.get("SLOT_STEPS", 8))


# --- errors ---
class PipelineError(Exception):
    pass


# --- shards ---
SHARD_MAGIC = 20240520
SHARD_VERSION = 1
SHARD_HEADER_INTS = 256
SHARD_HEADER_BYTES = 4 * SHARD_HEADER_INTS


def write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # a parent that is no folder
            temporary.unlink(missing_ok=True)
        raise PipelineError(
            f"{path}: cannot write {len(data)} bytes ({error.strerror}); free disk space or choose another folder"
        ) from error


def read_shard_length(path: Path) -> int:
    if not path.is_file():
        raise PipelineError(f"{path}: no such shard; prepare the data or set DATA_PATH")
    size = path.stat().st_size
    if size < SHARD_HEADER_BYTES:
        raise PipelineError(
            f"{path}: {size} bytes are shorter than the {SHARD_HEADER_BYTES}-byte header; fetch it again"
        )
    header = np.fromfile(path, dtype="<i4", count=SHARD_HEADER_INTS)
    if header[0] != SHARD_MAGIC:
        raise PipelineError(f"{path}: magic {header[0]} is not {SHARD_MAGIC}; this is not a token shard")
    if header[1] != SHARD_VERSION:
        raise PipelineError(f"{path}: version {header[1]} is not {SHARD_VERSION}; write the shard again")
    count = int(header[2])
    expected = SHARD_HEADER_BYTES + 2 * count
    if count < 0 or size != expected:
        raise PipelineError(
            f"{path}: header promises {count} tokens ({expected} bytes) but the file has {size} bytes; fetch it again"
        )
    return count


def load_shard(path: Path, vocab_size: int | None = None) -> np.ndarray:
    count = read_shard_length(path)
    if count == 0:
        return np.zeros(0, dtype="<u2")
    tokens = np.memmap(path, dtype="<u2", mode="r", offset=SHARD_HEADER_BYTES, shape=(count,))
    if vocab_size is not None and int(tokens.max()) >= vocab_size:
        raise PipelineError(
            f"{path}: token {int(tokens.max())} is outside VOCAB_SIZE={vocab_size}; "
            "the shard was made with another tokenizer: set VOCAB_SIZE and TOKENIZER_PATH to match"
        )
    return tokens


def find_shards(pattern: str) -> list[Path]:
    folder = Path(pattern).parent
    paths = sorted(folder.glob(Path(pattern).name))
    if not paths:
        raise PipelineError(f"{pattern}: no shard matches; prepare the data or set DATA_PATH")
    return paths


# --- logs ---
_log_state: dict[str, Path | bool | None] = {"path": None, "console": True}


def open_log(path: Path | None, console: bool = True) -> None:
    if path is not None:
        write_atomically(path, b"")
    _log_state["path"], _log_state["console"] = path, console


def log(message: str, console: bool = True) -> None:
    path = _log_state["path"]
    if path is None:
        return
    if console and _log_state["console"]:
        print(message, flush=True)
    try:
        with path.open("a", encoding="utf-8") as file:
            print(message, file=file)
    except OSError as error:
        raise PipelineError(f"{path}: cannot go on with the log ({error.strerror}); free disk space") from error


def log_environment(h: Hyperparameters, source: str, world_size: int, device: torch.device) -> None:
    digest = hashlib.sha256(source.encode()).hexdigest()
    if os.environ.get("LOG_SOURCE", "1") == "1":
        log(source, console=False)
    log("=" * 100, console=False)
    log(f"Running Python {sys.version}", console=False)
    log(f"Running PyTorch {torch.__version__}", console=False)
    log(f"source_sha256: {digest} source_bytes: {len(source.encode())}", console=False)
    machine = f"{platform.machine()} cpus:{os.cpu_count()} torch_threads:{torch.get_num_threads()}"
    log(f"platform: {machine} device:{device.type}", console=False)
    if device.type == "cuda":
        log(subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False).stdout, console=False)
    log("=" * 100, console=False)
    log("Hyperparameters:")
    for name in sorted(dir(h)):
        if not name.startswith("_"):
            log(f"  {name}: {getattr(h, name)}")
    log(f"world_size:{world_size}")
    log(f"seed:{h.seed}")


# --- byte table ---
SPACE = "\u2581"


def build_sentencepiece_luts(
    sp: spm.SentencePieceProcessor, vocab_size: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    pieces = int(sp.vocab_size())
    if pieces != vocab_size:
        raise PipelineError(
            f"TOKENIZER_PATH: the tokenizer has {pieces} pieces but VOCAB_SIZE={vocab_size}; set them alike"
        )
    base_bytes = np.zeros(vocab_size, dtype=np.int16)
    has_leading_space = np.zeros(vocab_size, dtype=np.bool_)
    is_boundary = np.ones(vocab_size, dtype=np.bool_)
    for token in range(pieces):
        if sp.is_control(token) or sp.is_unknown(token) or sp.is_unused(token):
            continue
        is_boundary[token] = False
        if sp.is_byte(token):
            base_bytes[token] = 1
            continue
        piece = sp.id_to_piece(token)
        if piece.startswith(SPACE):
            has_leading_space[token] = True
            piece = piece[1:]
        base_bytes[token] = len(
            piece.replace(SPACE, " ").encode("utf-8")
        )  # inner marks are spaces too: one byte, not three
    return (
        torch.tensor(base_bytes, dtype=torch.int16, device=device),
        torch.tensor(has_leading_space, dtype=torch.bool, device=device),
        torch.tensor(is_boundary, dtype=torch.bool, device=device),
    )


def token_bytes(luts: tuple[Tensor, Tensor, Tensor], previous: Tensor, target: Tensor) -> Tensor:
    base_bytes, has_leading_space, is_boundary = luts
    space = has_leading_space[target] & ~is_boundary[previous]
    return base_bytes[target].to(torch.int64) + space.to(torch.int64)


# --- loaders ---
class TokenStream:
    def __init__(self, paths: list[Path], vocab_size: int | None = None):
        self.shards = [load_shard(path, vocab_size) for path in paths]
        ends = np.cumsum([len(shard) for shard in self.shards]).tolist()
        self.starts, self.tokens = [0, *ends[:-1]], ends[-1]

    def __len__(self) -> int:
        return int(self.tokens)

    def read(self, start: int, stop: int) -> np.ndarray:
        parts = [
            shard[max(start - first, 0) : max(stop - first, 0)]
            for first, shard in zip(self.starts, self.shards, strict=True)
        ]
        return np.concatenate(parts).astype(np.int64)


class SequentialLoader:
    def __init__(
        self,
        pattern: str,
        batch: int,
        seq_len: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        vocab_size: int | None = None,
    ):
        self.stream = TokenStream(find_shards(pattern), vocab_size)
        self.batch, self.seq_len, self.rank, self.world_size = batch, seq_len, rank, world_size
        self.sequences = (len(self.stream) - 1) // seq_len
        if self.sequences < 1:
            raise PipelineError(
                f"{pattern}: {len(self.stream)} tokens are fewer than TRAIN_SEQ_LEN={seq_len}; lower it"
            )
        self.generator = np.random.default_rng(seed)
        self.taken = 0  # sequences handed out so far, by all ranks

    def order(self, index: int) -> int:
        return index % self.sequences

    def next_batch(self) -> tuple[Tensor, Tensor]:
        rows = []
        for row in range(self.batch):
            start = self.order(self.taken + row * self.world_size + self.rank) * self.seq_len
            rows.append(self.stream.read(start, start + self.seq_len + 1))
        self.taken += self.batch * self.world_size
        window = torch.from_numpy(np.stack(rows))  # (batch, seq_len + 1)
        return window[:, :-1].contiguous(), window[:, 1:].contiguous()

    def state(self) -> dict[str, int]:
        return {"taken": self.taken}

    def restore(self, state: dict[str, int]) -> None:
        self.taken = state["taken"]


class ShuffledLoader(SequentialLoader):
    def __init__(
        self,
        pattern: str,
        batch: int,
        seq_len: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        vocab_size: int | None = None,
    ):
        super().__init__(pattern, batch, seq_len, seed, rank, world_size, vocab_size)
        self.seed, self.epoch = seed, -1
        self.permutation = np.zeros(0, dtype=np.int64)

    def order(self, index: int) -> int:
        epoch, place = divmod(index, self.sequences)
        if epoch != self.epoch:
            self.epoch = epoch
            self.permutation = np.random.default_rng((self.seed, epoch)).permutation(self.sequences)
        return int(self.permutation[place])


class CoprimeStrideLoader(SequentialLoader):
    def __init__(
        self,
        pattern: str,
        batch: int,
        seq_len: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        vocab_size: int | None = None,
    ):
        super().__init__(pattern, batch, seq_len, seed, rank, world_size, vocab_size)
        self.stride = max(1, int(self.sequences * 0.618))  # near the golden section: neighbours fall far apart
        while math.gcd(self.stride, self.sequences) != 1:
            self.stride += 1
        self.offset = int(self.generator.integers(self.sequences))

    def order(self, index: int) -> int:
        return (self.offset + index * self.stride) % self.sequences


LOADERS = {"sequential": SequentialLoader, "shuffled": ShuffledLoader, "coprime": CoprimeStrideLoader}


def make_loader(
    name: str,
    pattern: str,
    batch: int,
    seq_len: int,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    vocab_size: int | None = None,
) -> SequentialLoader:
    if name not in LOADERS:
        raise PipelineError(f"LOADER={name}: unknown order; choose one of {', '.join(sorted(LOADERS))}")
    return LOADERS[name](pattern, batch, seq_len, seed, rank, world_size, vocab_size)


# --- scoring ---
BLOCK_TOKENS = 1 << 20  # targets whose windows are laid out together; memory is bounded by one block
DOCUMENT_GROUP = 256  # documents whose windows are laid out together
FIRST_BYTE_ID = 4  # of the byte tokenizer: ids below are control tokens


def open_validation_stream(pattern: str, vocab_size: int) -> TokenStream:
    stream = TokenStream([path for path in find_shards(pattern) if "_bytes_" not in path.name], vocab_size)
    if len(stream) < 2:
        raise PipelineError(f"{pattern}: fewer than two validation tokens; prepare the data again")
    return stream


def open_byte_sidecar(pattern: str, tokens: int) -> TokenStream | None:
    if not list(Path(pattern).parent.glob(Path(pattern).name)):
        return None
    sizes = TokenStream(find_shards(pattern))
    if len(sizes) != tokens:
        raise PipelineError(
            f"{pattern}: {len(sizes)} byte counts for {tokens} tokens; make sidecar and shards together"
        )
    return sizes


def load_byte_table(h: Hyperparameters) -> tuple[Tensor, Tensor, Tensor]:
    if not Path(h.tokenizer_path).is_file():
        raise PipelineError(f"{h.tokenizer_path}: no such tokenizer; set TOKENIZER_PATH")
    try:
        sp = spm.SentencePieceProcessor(model_file=h.tokenizer_path)
    except (RuntimeError, OSError) as error:
        raise PipelineError(
            f"{h.tokenizer_path}: not a sentencepiece model; set TOKENIZER_PATH to the one the shards were made with"
        ) from error
    return build_sentencepiece_luts(sp, h.vocab_size, torch.device("cpu"))


class ValidationData:
    def __init__(self, h: Hyperparameters):
        self.stream = open_validation_stream(h.val_files, h.vocab_size)
        self.targets = len(self.stream) - 1
        self.sidecar = open_byte_sidecar(h.val_bytes_files, len(self.stream))
        plain_bytes = self.sidecar is not None or h.tokenizer_path == "bytes"
        self.byte_table = None if plain_bytes else load_byte_table(h)

    def read(self, first: int, last: int) -> Tensor:
        return torch.from_numpy(self.stream.read(first, last))

    def target_bytes(self, first: int, last: int) -> Tensor:
        if self.sidecar is not None:
            return torch.from_numpy(self.sidecar.read(first + 1, last + 1))
        tokens = self.read(first, last + 1)
        if self.byte_table is None:
            return (tokens[1:] >= FIRST_BYTE_ID).to(torch.int64)
        return token_bytes(self.byte_table, tokens[:-1], tokens[1:])


def loss_and_bpb(loss_sum: Tensor, token_count: Tensor, byte_count: Tensor) -> tuple[float, float]:
    val_loss = (loss_sum / token_count).item()
    return val_loss, val_loss / math.log(2.0) * (token_count.item() / byte_count.item())


def stream_blocks(targets: int, multiple: int = 1) -> list[tuple[int, int]]:
    size = max(BLOCK_TOKENS // multiple, 1) * multiple
    return [(first, min(first + size, targets)) for first in range(0, targets, size)]


def full_windows(first: int, last: int, seq_len: int) -> list[tuple[int, int, int]]:
    return [(start, start, min(start + seq_len, last)) for start in range(first, last, seq_len)]


def sliding_windows(first: int, last: int, seq_len: int, stride: int) -> list[tuple[int, int, int]]:
    if not 0 < stride <= seq_len:
        raise PipelineError(f"EVAL_STRIDE={stride}: must be 1..EVAL_SEQ_LEN={seq_len}, or tokens would be left out")
    windows = []
    scored = first
    while scored < last:
        end = min(scored + (seq_len if scored == 0 else stride), last)
        windows.append((max(0, end - seq_len), scored, end))
        scored = end
    return windows


def window_nll(
    model: nn.Module, val_data: ValidationData, windows: list[tuple[int, int, int]], device: torch.device
) -> Tensor:
    longest = max(end - start for start, _, end in windows)
    x = torch.zeros(len(windows), longest, dtype=torch.int64)
    y, places = [], []
    for row, (start, scored, end) in enumerate(windows):
        tokens = val_data.read(start, end + 1)
        x[row, : end - start] = tokens[:-1]
        y.append(tokens[scored - start + 1 :])
        places.append(torch.arange(scored - start, end - start) + row * longest)
    with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        logits = model.forward_logits(x.to(device), places=torch.cat(places).to(device))
    return F.cross_entropy(logits.float(), torch.cat(y).to(device), reduction="none")


def score_windows(
    h: Hyperparameters,
    device: torch.device,
    val_data: ValidationData,
    model: nn.Module,
    windows: list[tuple[int, int, int]],
) -> tuple[Tensor, Tensor, Tensor]:
    rank, world_size = rank_and_world()
    batch_windows = max(1, h.val_batch_size // h.eval_seq_len)
    batches = [windows[i : i + batch_windows] for i in range(0, len(windows), batch_windows)]
    loss_sums = torch.zeros(len(batches), dtype=torch.float64, device=device)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    model.eval()
    with torch.inference_mode():
        for index, batch in enumerate(batches):
            token_count += batch[-1][2] - batch[0][1]
            byte_count += val_data.target_bytes(batch[0][1], batch[-1][2]).sum()
            if index % world_size != rank:
                continue
            loss_sums[index] = window_nll(model, val_data, batch, device).to(torch.float64).sum()
    sum_over_ranks(loss_sums)
    model.train()
    return loss_sums.sum().cpu(), token_count, byte_count


def total(parts: Iterable[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    loss_sum = torch.zeros((), dtype=torch.float64)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    for part_loss, part_tokens, part_bytes in parts:
        loss_sum += part_loss
        token_count += part_tokens
        byte_count += part_bytes
    return loss_sum, token_count, byte_count


def eval_val(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    parts = (
        score_windows(h, device, val_data, model, full_windows(first, last, h.eval_seq_len))
        for first, last in stream_blocks(val_data.targets, h.eval_seq_len)
    )
    return loss_and_bpb(*total(parts))


def eval_val_sliding(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    parts = (
        score_windows(h, device, val_data, model, sliding_windows(first, last, h.eval_seq_len, h.eval_stride))
        for first, last in stream_blocks(val_data.targets, h.eval_stride)
    )
    return loss_and_bpb(*total(parts))


def document_spans(val_data: ValidationData, bos_id: int) -> list[tuple[int, int]]:
    starts: list[int] = []
    for first, last in stream_blocks(val_data.targets):
        starts += (first + (val_data.read(first, last) == bos_id).nonzero().flatten()).tolist()
    if not starts or starts[0] != 0:
        starts = [0, *starts]
    return list(zip(starts, [*starts[1:], val_data.targets], strict=True))


def document_windows(spans: list[tuple[int, int]], seq_len: int, stride: int) -> list[tuple[int, int, int]]:
    return [
        (first + start, first + scored, first + end)
        for first, last in spans
        for start, scored, end in sliding_windows(0, last - first, seq_len, stride)
    ]


def eval_val_documents(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    spans = document_spans(val_data, h.bos_id)
    parts = (
        score_windows(h, device, val_data, model, document_windows(group, h.eval_seq_len, h.eval_stride))
        for group in (spans[i : i + DOCUMENT_GROUP] for i in range(0, len(spans), DOCUMENT_GROUP))
    )
    return loss_and_bpb(*total(parts))


def timed_eval(label: str, fn, *args) -> tuple[float, float]:
    device = args[1]
    wait_for_device(device)
    began = time.perf_counter()
    val_loss, val_bpb = fn(*args)
    wait_for_device(device)
    log(f"{label} val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f} eval_time:{1000 * (time.perf_counter() - began):.0f}ms")
    return val_loss, val_bpb


# --- adaptation ---
def chunk_sequences(val_data: ValidationData, first: int, last: int, seq_len: int) -> list[tuple[Tensor, Tensor]]:
    tokens = val_data.read(first, last + 1)
    starts = range(0, last - first, seq_len)
    return [(tokens[start : start + seq_len + 1][:-1], tokens[start : start + seq_len + 1][1:]) for start in starts]


def train_on_chunk(
    h: Hyperparameters,
    device: torch.device,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    sequences: list[tuple[Tensor, Tensor]],
) -> None:
    rank, world_size = rank_and_world()
    full = [pair for pair in sequences if pair[0].numel() == sequences[0][0].numel()]  # a batch needs equal lengths
    for _ in range(h.ttt_epochs):
        for start in range(0, len(full), h.ttt_batch_seqs * world_size):
            mine = full[start : start + h.ttt_batch_seqs * world_size][rank::world_size]
            optimizer.zero_grad(set_to_none=True)
            if mine:
                x = torch.stack([pair[0] for pair in mine]).to(device)  # (B, T)
                y = torch.stack([pair[1] for pair in mine]).to(device)
                with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                    loss = model(x, y)
                loss.backward()
            average_gradients(model)
            torch.nn.utils.clip_grad_norm_(model.parameters(), h.ttt_grad_clip)
            optimizer.step()


def learning_rate_along_chunks(h: Hyperparameters, index: int, chunks: int) -> float:
    return 0.5 * h.ttt_lr * (1 + math.cos(math.pi * index / max(chunks - 1, 1))) if h.ttt_cosine_decay else h.ttt_lr


def eval_val_ttt(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    chunks = [
        (first, min(first + h.ttt_chunk_tokens, val_data.targets))
        for first in range(0, val_data.targets, h.ttt_chunk_tokens)
    ]
    log(f"ttt:start chunks={len(chunks)} ttt_lr={h.ttt_lr} ttt_epochs={h.ttt_epochs}")
    for block in model.blocks[: h.ttt_freeze_blocks]:
        block.requires_grad_(False)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=h.ttt_lr, momentum=h.ttt_momentum)
    loss_sum = torch.zeros((), dtype=torch.float64)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    for index, (first, last) in enumerate(chunks):
        windows = sliding_windows(first, last, h.eval_seq_len, h.eval_stride)
        chunk_loss, chunk_tokens, chunk_bytes = score_windows(h, device, val_data, model, windows)
        loss_sum += chunk_loss
        token_count += chunk_tokens
        byte_count += chunk_bytes
        if last == val_data.targets:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_along_chunks(h, index, len(chunks))
        train_on_chunk(h, device, model, optimizer, chunk_sequences(val_data, first, last, h.train_seq_len))
    model.requires_grad_(True)
    return loss_and_bpb(loss_sum, token_count, byte_count)


# --- attention ---
try:
    from flash_attn_interface import flash_attn_func
except ImportError:
    try:
        from flash_attn import flash_attn_func
    except ImportError:
        flash_attn_func = None


def sdpa_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    y = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True, enable_gqa=q.size(2) != k.size(2)
    )
    return y.transpose(1, 2)


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k = q.to(v.dtype), k.to(v.dtype)  # under autocast the normalisations return float32
    if flash_attn_func is not None and q.is_cuda and q.dtype in (torch.float16, torch.bfloat16):
        y = flash_attn_func(q, k, v, causal=True)
        return y[0] if isinstance(y, tuple) else y  # flash-attn 3 also returns the log-sum-exp
    return sdpa_attention(q, k, v)


# --- grid ---
def row_scale(weight: Tensor, bits: int, clip_sigmas: float) -> Tensor:
    largest = 2 ** (bits - 1) - 1
    return (clip_sigmas * weight.float().std(dim=1, correction=0) / largest).clamp_min(1e-5).to(torch.float16)


def percentile_scales(weight: Tensor, bits: int) -> list[Tensor]:
    largest, magnitudes = 2 ** (bits - 1) - 1, weight.float().abs()
    clips = [torch.quantile(magnitudes, share, dim=1) for share in (0.999, 0.9995, 0.9999, 0.99999, 1.0)]
    return [(clip / largest).clamp_min(1e-5).to(torch.float16) for clip in clips]


def nearest_integers(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    largest = 2 ** (bits - 1) - 1
    return torch.round(weight.float() / scale.float()[:, None]).clamp(-largest, largest)


def fake_quantize(weight: Tensor, bits: int, clip_sigmas: float) -> Tensor:
    with torch.no_grad():
        scale = row_scale(weight, bits, clip_sigmas)
        error = nearest_integers(weight, scale, bits) * scale.float()[:, None] - weight
    return weight + error


# --- layers ---
def rms_norm(x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return x * (gain * torch.rsqrt(norm.square() / x.size(-1) + torch.finfo(torch.float32).eps))


class Linear(nn.Linear):
    fake_bits, clip_sigmas = 0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.fake_bits and self.training:
            weight = fake_quantize(weight, self.fake_bits, self.clip_sigmas)
        return F.linear(x, weight.to(x.dtype))


class Rotary(nn.Module):
    def __init__(self, rope_dims: int, base: float, train_length: int = 0):
        super().__init__()
        self.base, self.train_length = base, train_length
        frequencies = base ** (-torch.arange(0, rope_dims, 2, dtype=torch.float32) / rope_dims)
        self.register_buffer("frequencies", frequencies, persistent=False)  # (rope_dims / 2,)

    def table(self, length: int) -> tuple[Tensor, Tensor]:
        positions = torch.arange(length, device=self.frequencies.device, dtype=torch.float32)
        frequencies = self.frequencies
        if 0 < self.train_length < length:
            pairs = frequencies.numel()
            stretch = torch.arange(pairs, device=frequencies.device) / max(pairs - 1, 1)
            frequencies = frequencies * (length / self.train_length) ** -stretch
        angles = (positions[:, None] * frequencies)[:, None]  # (length, 1, rope_dims / 2)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat((cos, cos), dim=-1), torch.cat((sin, -sin), dim=-1)


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = table
    turning, rest = x[..., : cos.size(-1)], x[..., cos.size(-1) :]
    turned = torch.addcmul(turning * cos.to(x.dtype), turning.roll(cos.size(-1) // 2, dims=-1), sin.to(x.dtype))
    return torch.cat((turned, rest), dim=-1) if rest.size(-1) else turned


class SmearGate(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.gate = nn.Parameter(torch.full((dim,), -3.0))

    def forward(self, x: Tensor, is_bos: Tensor) -> Tensor:
        previous = F.pad(x, (0, 0, 1, 0))[:, :-1]
        previous = previous.masked_fill(is_bos.unsqueeze(-1), 0.0)
        return x + torch.sigmoid(self.gate).to(x.dtype) * previous


class BigramHash(nn.Module):
    def __init__(self, buckets: int, dim: int, model_dim: int, trigram: bool = False):
        super().__init__()
        self.buckets, self.trigram = buckets, trigram
        self.embed = nn.Embedding(buckets, dim)
        self.proj = Linear(dim, model_dim, bias=False)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, input_ids: Tensor, is_bos: Tensor) -> Tensor:
        previous = F.pad(input_ids, (1, 0))[:, :-1].masked_fill(is_bos, 0)
        hashed = input_ids * 36313 + previous * 27191
        features = self.embed(hashed % self.buckets)
        if self.trigram:
            before = F.pad(previous, (1, 0))[:, :-1].masked_fill(is_bos, 0)  # zero, too, just after BOS
            features = features + self.embed((hashed + before * 51497) % self.buckets)
        return self.proj(features)


class SigmoidGate(nn.Module):
    def __init__(self, dim: int, outputs: int, bias: float):
        super().__init__()
        self.reading = nn.Parameter(torch.zeros(outputs, dim))
        self.bias = nn.Parameter(torch.full((outputs,), bias))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(F.linear(x, self.reading.to(x.dtype), self.bias.to(x.dtype)))


# --- model ---
class CausalSelfAttention(nn.Module):
    def __init__(self, h: Hyperparameters, layer: int):
        super().__init__()
        if h.model_dim % h.num_heads or h.num_heads % h.num_kv_heads:
            raise PipelineError(
                f"NUM_HEADS={h.num_heads}: must divide MODEL_DIM={h.model_dim} and be a multiple of "
                f"NUM_KV_HEADS={h.num_kv_heads}; set them so"
            )
        self.num_heads, self.num_kv_heads, self.head_dim = h.num_heads, h.num_kv_heads, h.model_dim // h.num_heads
        kv_dim = self.num_kv_heads * self.head_dim
        self.c_q = Linear(h.model_dim, h.model_dim, bias=False)
        self.c_k = Linear(h.model_dim, kv_dim, bias=False)
        self.c_v = Linear(h.model_dim, kv_dim, bias=False)
        self.proj = Linear(h.model_dim, h.model_dim, bias=False)
        self.q_gain = nn.Parameter(torch.full((h.num_heads,), h.qk_gain_init))
        self.xsa = layer >= h.num_layers - h.xsa_last_n
        self.gate = SigmoidGate(h.model_dim, h.num_heads, bias=4.0) if h.gated_attention else None
        self.value_share = nn.Parameter(torch.zeros(1)) if h.value_residual else None

    def exclusive(self, y: Tensor, v: Tensor) -> Tensor:
        b, t, heads, d = y.shape
        own = F.normalize(v, dim=-1).unsqueeze(3)  # (B, T, Hkv, 1, D)
        grouped = y.reshape(b, t, self.num_kv_heads, heads // self.num_kv_heads, d)
        return (grouped - (grouped * own).sum(-1, keepdim=True) * own).reshape(b, t, heads, d)

    def forward(
        self,
        x: Tensor,
        table: tuple[Tensor, Tensor],
        value_embedding: Tensor | None = None,
        first_value: Tensor | None = None,
        lora=None,
    ) -> tuple[Tensor, Tensor]:
        b, t, _ = x.shape
        q, k, v = self.c_q(x), self.c_k(x), self.c_v(x)
        if lora is not None:
            q, v = q + lora.q(x), v + lora.v(x)
        if value_embedding is not None:
            v = v + value_embedding
        own_value = v
        if self.value_share is not None and first_value is not None:
            v = v + torch.sigmoid(self.value_share).to(v.dtype) * first_value
        q = rms_norm(q.view(b, t, self.num_heads, self.head_dim), self.q_gain[:, None])
        k = rms_norm(k.view(b, t, self.num_kv_heads, self.head_dim))
        v = v.view(b, t, self.num_kv_heads, self.head_dim)
        y = causal_attention(rotate(q, table), rotate(k, table), v)
        if self.xsa:
            y = self.exclusive(y, v)
        if self.gate is not None:
            y = y * self.gate(x).unsqueeze(-1)
        return self.proj(y.reshape(b, t, -1)), own_value


class MLP(nn.Module):
    def __init__(self, h: Hyperparameters):
        super().__init__()
        self.fc = Linear(h.model_dim, int(h.mlp_mult * h.model_dim), bias=False)
        self.proj = Linear(int(h.mlp_mult * h.model_dim), h.model_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc(x)
        if torch.is_grad_enabled():
            return self.proj(F.leaky_relu(hidden, negative_slope=0.5).square())
        return self.proj(F.leaky_relu(hidden, negative_slope=0.5, inplace=True).square_())  # no gradient needs them


class Block(nn.Module):
    def __init__(self, h: Hyperparameters, layer: int):
        super().__init__()
        self.attn, self.mlp = CausalSelfAttention(h, layer), MLP(h)
        self.attn_scale = nn.Parameter(torch.ones(h.model_dim))
        self.mlp_scale = nn.Parameter(torch.ones(h.model_dim))
        self.resid_mix = nn.Parameter(torch.stack((torch.ones(h.model_dim), torch.zeros(h.model_dim))))
        self.parallel = layer >= h.parallel_start
        self.norm_scale = (layer + 1) ** -0.5 if h.ln_scale else 1.0  # deeper layers read a smaller input
        self.dtg_gate = SigmoidGate(h.model_dim, 1, bias=2.0) if h.dtg_enabled else None

    def forward(self, x: Tensor, x0: Tensor, mlp_lane: Tensor | None = None, **attention) -> tuple[Tensor, ...]:
        mix, attn_scale, mlp_scale = (s.to(x.dtype) for s in (self.resid_mix, self.attn_scale, self.mlp_scale))
        before = x = torch.addcmul(mix[0] * x, mix[1], x0)
        normed = rms_norm(x, self.norm_scale)
        attended, values = self.attn(normed, **attention)
        x = torch.addcmul(x, attn_scale, attended)
        if mlp_lane is not None:
            mlp_lane = torch.addcmul(mlp_lane, mlp_scale, self.mlp(rms_norm(mlp_lane, self.norm_scale)))
            return x, mlp_lane, values
        if not self.parallel:
            normed = rms_norm(x, self.norm_scale)
        x = torch.addcmul(x, mlp_scale, self.mlp(normed))
        if self.dtg_gate is not None:
            x = torch.lerp(before, x, self.dtg_gate(before.detach()).to(x.dtype))
        return x, None, values


class GPT(nn.Module):
    def __init__(self, h: Hyperparameters):
        super().__init__()
        self.bos_id, self.logit_softcap, self.model_dim = h.bos_id, h.logit_softcap, h.model_dim
        embedding_dim = h.embedding_dim or h.model_dim
        self.tok_emb = nn.Embedding(h.vocab_size, embedding_dim)
        projected = embedding_dim != h.model_dim
        self.embed_proj = Linear(embedding_dim, h.model_dim, bias=False) if projected else None
        self.head_proj = Linear(h.model_dim, embedding_dim, bias=False) if projected else None
        self.lm_head = None if h.tie_embeddings else Linear(embedding_dim, h.vocab_size, bias=False)
        self.mtp_heads: nn.ModuleList | None = None  # while training only, see `add_mtp_heads`
        self.rotary = Rotary(min(h.rope_dims, h.model_dim // h.num_heads), h.rope_base, h.rope_train_seq_len)
        self.blocks = nn.ModuleList(Block(h, layer) for layer in range(h.num_layers))
        self.smear = SmearGate(h.model_dim) if h.smear_gate else None
        self.bigram = BigramHash(h.bigram_buckets, h.bigram_dim, h.model_dim, h.trigram) if h.bigram_buckets else None
        self.ve_first = h.num_layers - h.ve_last_n
        kv_dim = h.num_kv_heads * (h.model_dim // h.num_heads)
        self.value_embed = nn.Embedding(h.vocab_size, h.ve_dim) if h.ve_last_n else None
        self.value_proj = Linear(h.ve_dim, kv_dim, bias=False) if h.ve_last_n else None
        self.value_scale = nn.Parameter(torch.full((max(h.ve_last_n, 1),), 0.5))
        plain = list(range(h.num_layers))
        looped = (
            plain[: h.loop_start] + plain[h.loop_start : h.loop_end + 1] * (1 + h.num_loops) + plain[h.loop_end + 1 :]
        )
        self.orders = (plain, looped)
        self.looping = False
        skips = len(looped) // 2
        self.sigmoid_skips = h.sigmoid_skips
        first_weight = 0.5 if h.skip_gates else 2.2 if h.sigmoid_skips else 1.0
        self.skip_gates = nn.Parameter(torch.zeros(skips, h.model_dim)) if h.skip_gates else None
        self.skip_weights = nn.Parameter(torch.full((skips, h.model_dim), first_weight))
        self.lanes_from = h.parallel_start_layer if h.parallel_start_layer > 0 else h.num_layers
        self.lane_merge = nn.Parameter(torch.tensor(0.5)) if self.lanes_from < h.num_layers else None
        self.init_weights(h)

    def init_weights(self, h: Hyperparameters) -> None:
        nn.init.normal_(self.tok_emb.weight, std=h.tied_embed_init_std)
        if self.value_embed is not None:
            nn.init.normal_(self.value_embed.weight, std=0.02)
        for name, module in self.named_modules():
            if isinstance(module, Linear):
                if name.endswith(("mlp.proj", "attn.proj", "lm_head")):
                    nn.init.zeros_(module.weight)
                else:
                    nn.init.orthogonal_(module.weight)

    def add_mtp_heads(self, h: Hyperparameters) -> None:
        self.mtp_loss_weight = h.mtp_loss_weight
        vocab_size = self.tok_emb.num_embeddings
        self.mtp_heads = nn.ModuleList(Linear(h.model_dim, vocab_size, bias=False) for _ in range(h.mtp_num_heads))
        for head in self.mtp_heads:
            nn.init.zeros_(head.weight)

    def fake_quantization(self, h: Hyperparameters, on: bool) -> None:
        for name, module in self.named_modules():
            quantized = isinstance(module, Linear) and not name.startswith("mtp_heads")
            if quantized and module.weight.numel() > h.keep_float_numel:
                module.fake_bits, module.clip_sigmas = (h.matrix_bits if on else 0), h.matrix_clip_sigmas

    def skip(self, x: Tensor, saved: Tensor, index: int) -> Tensor:
        weight = self.skip_weights[index]
        if self.skip_gates is not None:
            gate = torch.sigmoid(self.skip_gates[index]).to(x.dtype)
            return torch.lerp(x, weight.to(x.dtype) * saved, gate * 0.5)
        return x + (torch.sigmoid(weight) if self.sigmoid_skips else weight).to(x.dtype) * saved

    def embed(self, input_ids: Tensor) -> Tensor:
        is_bos = input_ids == self.bos_id
        x = self.tok_emb(input_ids)
        if self.embed_proj is not None:
            x = self.embed_proj(rms_norm(x))
        if self.bigram is not None:
            x = x + self.bigram(input_ids, is_bos)
        if self.smear is not None:
            x = self.smear(x, is_bos)
        return rms_norm(x)

    def forward_hidden(self, input_ids: Tensor, lora=None) -> Tensor:
        x0 = x = self.embed(input_ids)
        values = None if self.value_embed is None else self.value_proj(self.value_embed(input_ids))  # (B, T, Hkv * D)
        table = self.rotary.table(input_ids.size(1))
        order = self.orders[1] if self.looping else self.orders[0]
        half = len(order) // 2
        saved: list[Tensor] = []
        first_value = mlp_lane = None
        for place, layer in enumerate(order):
            if place >= len(order) - half:
                x = self.skip(x, saved[len(order) - 1 - place], len(order) - 1 - place)
            if place >= half and layer >= self.lanes_from and mlp_lane is None:
                mlp_lane = x
            value_embedding = None
            if values is not None and layer >= self.ve_first:
                value_embedding = self.value_scale[layer - self.ve_first].to(x.dtype) * values
            x, mlp_lane, value = self.blocks[layer](
                x, x0, mlp_lane, table=table, value_embedding=value_embedding, first_value=first_value,
                lora=lora.layers[layer] if lora is not None else None,
            )
            first_value = value if first_value is None else first_value
            if place < half:
                saved.append(x)
        if mlp_lane is not None:
            x = torch.lerp(mlp_lane, x, self.lane_merge.to(x.dtype))
        return rms_norm(x)

    def head_input(self, hidden: Tensor) -> Tensor:
        return hidden if self.head_proj is None else self.head_proj(hidden)

    def project(self, hidden: Tensor) -> Tensor:
        weight = (self.tok_emb if self.lm_head is None else self.lm_head).weight
        logits = F.linear(self.head_input(hidden) / self.logit_softcap, weight.to(hidden.dtype))
        return self.logit_softcap * torch.tanh(logits)

    def forward_logits(self, input_ids: Tensor, lora=None, places: Tensor | None = None) -> Tensor:
        hidden = self.forward_hidden(input_ids, lora)
        if places is not None:
            hidden = hidden.flatten(0, 1)[places]  # the projection is as large as several layers
        logits = self.project(hidden)
        return logits if lora is None else logits + lora.head(hidden)

    def mtp_loss(self, hidden: Tensor, target_ids: Tensor) -> Tensor:
        losses = []
        for k, head in enumerate(self.mtp_heads, start=1):
            logits = self.logit_softcap * torch.tanh(head(hidden[:, :-k]) / self.logit_softcap)
            losses.append(F.cross_entropy(logits.float().flatten(0, 1), target_ids[:, k:].flatten()))
        return torch.stack(losses).mean()

    def forward(self, input_ids: Tensor, target_ids: Tensor) -> Tensor:
        hidden = self.forward_hidden(input_ids)
        loss = F.cross_entropy(self.project(hidden).float().flatten(0, 1), target_ids.flatten())
        if self.mtp_heads is not None and self.training:
            loss = loss + self.mtp_loss_weight * self.mtp_loss(hidden, target_ids)
        return loss


# --- quantization ---
@dataclass
class QuantizedMatrix:
    integers: Tensor
    scale: Tensor
    bits: int
    left: Tensor | None = None  # (rows, rank) float16
    right: Tensor | None = None  # (rank, columns) float16

    def dequantize(self) -> Tensor:
        weight = self.integers.float() * self.scale.float()[:, None]
        return weight if self.left is None else weight + self.left.float() @ self.right.float()


def round_to_nearest(weight: Tensor, bits: int, clip_sigmas: float, scale: Tensor | None = None) -> QuantizedMatrix:
    scale = row_scale(weight, bits, clip_sigmas) if scale is None else scale
    return QuantizedMatrix(nearest_integers(weight, scale, bits).to(torch.int8), scale, bits)


def gptq_quantize(
    weight: Tensor,
    hessian: Tensor,
    bits: int,
    clip_sigmas: float,
    damping: float = 0.01,
    block_size: int = 128,
    scale: Tensor | None = None,
) -> QuantizedMatrix:
    largest = 2 ** (bits - 1) - 1
    w, h = weight.float().clone(), hessian.float().clone()
    rows, columns = w.shape
    scale = row_scale(w, bits, clip_sigmas) if scale is None else scale
    dead = h.diagonal() == 0
    h.diagonal()[dead] = 1.0
    w[:, dead] = 0.0
    order = torch.argsort(h.diagonal(), descending=True, stable=True)
    w, h = w[:, order], h[order][:, order]
    h.diagonal().add_(damping * h.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    upper = torch.linalg.cholesky(inverse, upper=True)  # (columns, columns); row i drives the columns after i
    step = scale.float()
    integers = torch.zeros_like(w)
    for begin in range(0, columns, block_size):
        end = min(begin + block_size, columns)
        errors = torch.zeros(rows, end - begin, device=w.device)
        for i in range(begin, end):
            integers[:, i] = torch.round(w[:, i] / step).clamp(-largest, largest)
            errors[:, i - begin] = (w[:, i] - integers[:, i] * step) / upper[i, i]
            w[:, i:end] -= errors[:, i - begin, None] * upper[i, i:end]
        w[:, end:] -= errors @ upper[begin:end, end:]
    return QuantizedMatrix(integers[:, torch.argsort(order)].to(torch.int8), scale, bits)


def output_error(weight: Tensor, quantized: QuantizedMatrix, hessian: Tensor) -> float:
    difference = weight.double() - quantized.dequantize().double()
    return float((difference @ hessian.double() * difference).sum())


def collect_hessians(model: GPT, batches: list[Tensor], device: torch.device) -> dict[str, Tensor]:
    hessians: dict[str, Tensor] = {}

    def add(name: str, x: Tensor) -> None:
        flat = x.detach().float().flatten(0, -2)  # (positions, columns)
        gram = flat.T @ flat
        hessians[name] = hessians[name] + gram if name in hessians else gram

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, Linear):
            handles.append(
                module.register_forward_hook(lambda _, inputs, __, name=name: add(f"{name}.weight", inputs[0]))
            )
    model.eval()
    with torch.no_grad():
        for batch in batches:
            with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                hidden = model.head_input(model.forward_hidden(batch.to(device)))
                add("tok_emb.weight" if model.lm_head is None else "lm_head.weight", hidden)
    for handle in handles:
        handle.remove()
    for name in sorted(hessians):
        sum_over_ranks(hessians[name])
    return hessians


def calibration_batches(h: Hyperparameters, model: GPT, device: torch.device) -> list[Tensor]:
    batch = max(1, h.train_batch_tokens // h.train_seq_len)
    if h.gptq_calibration == "self":
        return [
            generate_tokens(model, batch, h.train_seq_len, h.seed + index, device, h.gptq_calibration_temperature)
            for index in range(h.gptq_calibration_batches)
        ]
    loader = make_loader("coprime", h.train_files, batch, h.train_seq_len, h.seed + 1, vocab_size=h.vocab_size)
    return [loader.next_batch()[0] for _ in range(h.gptq_calibration_batches)]


@torch.no_grad()
def generate_tokens(
    model: GPT, batch: int, length: int, seed: int, device: torch.device, temperature: float = 1.0
) -> Tensor:
    generator = torch.Generator(device="cpu").manual_seed(seed)
    tokens = torch.full((batch, 1), model.bos_id, dtype=torch.int64)
    for _ in range(length - 1):
        logits = model.forward_logits(tokens.to(device))[:, -1].float().cpu()
        drawn = torch.multinomial(torch.softmax(logits / temperature, dim=-1), 1, generator=generator)
        tokens = torch.cat((tokens, drawn), dim=1)
    return tokens


def add_low_rank_correction(weight: Tensor, quantized: QuantizedMatrix, hessian: Tensor, rank: int) -> None:
    channel = hessian.diagonal().float().clamp_min(1e-12).sqrt()
    error = (weight.float() - quantized.dequantize()) * channel
    u, s, vh = torch.linalg.svd(error, full_matrices=False)
    root = s[:rank].sqrt()
    quantized.left = (u[:, :rank] * root).to(torch.float16)
    quantized.right = (root[:, None] * vh[:rank] / channel).to(torch.float16)


def pruning_order(matrices: list[QuantizedMatrix]) -> tuple[Tensor, Tensor]:
    integers = torch.cat([matrix.integers.flatten() for matrix in matrices])
    steps = torch.cat([matrix.scale.float().repeat_interleave(matrix.integers.size(1)) for matrix in matrices])
    candidates = (integers.abs() == 1).nonzero().flatten()
    return candidates, torch.argsort(steps[candidates], stable=True)


def quantize_matrix(
    h: Hyperparameters, weight: Tensor, hessian: Tensor | None, bits: int, clip_sigmas: float
) -> QuantizedMatrix:
    def on_grid(scale: Tensor | None) -> QuantizedMatrix:
        if hessian is None:
            return round_to_nearest(weight, bits, clip_sigmas, scale)
        return gptq_quantize(weight, hessian, bits, clip_sigmas, h.gptq_damping, scale=scale)

    if h.sdclip_enabled:
        return on_grid(None)
    candidates = [on_grid(scale) for scale in percentile_scales(weight, bits)]
    return min(candidates, key=lambda matrix: float((weight - matrix.dequantize()).square().sum()))


def quantize_model(
    h: Hyperparameters, model: GPT, hessians: dict[str, Tensor]
) -> tuple[dict[str, QuantizedMatrix], dict[str, Tensor]]:
    quantized: dict[str, QuantizedMatrix] = {}
    kept: dict[str, Tensor] = {}
    errors: dict[str, float] = {}
    for name, tensor in model.state_dict().items():
        weight = tensor.detach().cpu()
        if weight.ndim != 2 or weight.numel() <= h.keep_float_numel or not name.endswith(".weight"):
            kept[name] = weight.to(torch.float16)
            continue
        embedding = ("emb" in name and "proj" not in name) or name == "lm_head.weight"
        bits, sigmas = (h.embed_bits, h.embed_clip_sigmas) if embedding else (h.matrix_bits, h.matrix_clip_sigmas)
        wanted = name in hessians and h.gptq_enabled and (h.gptq_embeddings or not embedding)
        hessian = hessians[name].cpu() if wanted else None
        quantized[name] = quantize_matrix(h, weight, hessian, bits, sigmas)
        if hessian is not None:
            errors[name] = output_error(weight, quantized[name], hessian)
    if h.lqer_rank > 0:
        for name in sorted(errors, key=errors.__getitem__, reverse=True)[: h.lqer_top_k]:
            add_low_rank_correction(model.state_dict()[name].cpu(), quantized[name], hessians[name].cpu(), h.lqer_rank)
    return quantized, kept


def gptq_phase(
    h: Hyperparameters, device: torch.device, model: GPT
) -> tuple[dict[str, QuantizedMatrix], dict[str, Tensor]]:
    hessians: dict[str, Tensor] = {}
    phase_began = time.perf_counter()
    if h.gptq_enabled:
        began = time.perf_counter()
        log(f"GPTQ:collecting Hessians from calibration data ({h.gptq_calibration})...")
        hessians = collect_hessians(model, calibration_batches(h, model, device), device)
        log(f"GPTQ:collected {len(hessians)} Hessians in {time.perf_counter() - began:.1f}s")
    began = time.perf_counter()
    quantized, kept = quantize_model(h, model, hessians)
    log("Quantized weights:")
    for bits in sorted({matrix.bits for matrix in quantized.values()}):
        names = sorted({name.split(".", 2)[-1] for name, matrix in quantized.items() if matrix.bits == bits})
        log(f"  {'gptq' if h.gptq_enabled else 'nearest'} (int{bits}): {', '.join(names)}")
    log(f"GPTQ:quantized {len(quantized)} matrices in {time.perf_counter() - began:.1f}s")
    seconds = time.perf_counter() - phase_began
    if h.max_wallclock_seconds > 0 and seconds > h.gptq_reserve_seconds:
        log(f"gptq:took {seconds:.1f}s, more than GPTQ_RESERVE_SECONDS={h.gptq_reserve_seconds:.1f}")
    return quantized, kept


# --- rans ---
TOTAL_BITS = 16  # frequencies add up to 2^16
LOWEST = np.uint64(1 << 31)  # states are kept in [2^31, 2^63)
WORD = np.uint64(32)
MAX_LANES = 256  # each costs 8 bytes
BLOCK_BITS = (11, 13, 15, 17, 19)  # log2 of the bytes a block may have


def frequency_table(block: np.ndarray) -> np.ndarray:
    counts = np.bincount(block, minlength=256)
    table = np.where(counts > 0, np.maximum((counts << TOTAL_BITS) // counts.sum(), 1), 0)
    table[table.argmax()] += (1 << TOTAL_BITS) - table.sum()  # the largest has 256 or more, the sum is off by less
    return table


def pack_table(table: np.ndarray) -> bytes:
    return np.packbits(table > 0).tobytes() + table[table > 0].astype("<u2").tobytes()


def unpack_table(data: bytes, position: int) -> tuple[np.ndarray, int]:
    occurs = np.unpackbits(np.frombuffer(data, np.uint8, 32, position)).astype(bool)
    frequencies = np.frombuffer(data, "<u2", int(occurs.sum()), position + 32).astype(np.uint64)
    table = np.zeros(256, np.uint64)
    table[occurs] = np.where(frequencies == 0, 1 << TOTAL_BITS, frequencies)
    return table, position + 32 + 2 * len(frequencies)


def block_bits(symbols: np.ndarray) -> int:
    def cost_bytes(bits: int) -> float:
        total = 0.0
        for first in range(0, len(symbols), 1 << bits):
            counts = np.bincount(symbols[first : first + (1 << bits)], minlength=256)
            counts = counts[counts > 0]
            total += 32 + 2 * len(counts) - (counts * np.log2(counts / counts.sum())).sum() / 8
        return total

    return min(BLOCK_BITS, key=cost_bytes)


def starts_of(table: np.ndarray) -> np.ndarray:
    return (np.cumsum(table) - table).astype(np.uint64)


def rans_compress(data: bytes) -> bytes:
    lanes = min(MAX_LANES, 1 + len(data) // 4096)
    symbols = np.frombuffer(data, np.uint8)
    bits = block_bits(symbols)
    head = np.array([len(data)], "<u4").tobytes() + np.array([lanes], "<u2").tobytes() + bytes([bits])
    if not data:
        return head
    rows = -(-len(data) // lanes)
    symbols = np.concatenate((symbols, np.repeat(symbols[-1:], rows * lanes - len(data)))).reshape(rows, lanes)
    rows_per_block = -(-(1 << bits) // lanes)
    states = np.full(lanes, LOWEST)
    tables, words = [], []
    for first in reversed(range(0, rows, rows_per_block)):
        block = symbols[first : first + rows_per_block]
        table = frequency_table(block.ravel())
        tables.append(pack_table(table))
        frequencies, starts = table.astype(np.uint64)[block], starts_of(table)[block]
        limits = frequencies << np.uint64(63 - TOTAL_BITS)
        for row in reversed(range(len(block))):
            full = states >= limits[row]
            words.append(states[full].astype("<u4"))
            states[full] >>= WORD
            quotients, remainders = np.divmod(states, frequencies[row])
            states = (quotients << np.uint64(TOTAL_BITS)) + remainders + starts[row]
    stream = np.concatenate(words[::-1]).tobytes()
    return head + b"".join(tables[::-1]) + states.astype("<u8").tobytes() + stream


def rans_decompress(data: bytes) -> bytes:
    try:
        return _decompress(data)
    except (ValueError, IndexError) as error:
        raise PipelineError(f"rANS data are truncated or damaged ({error}); write them again") from error


def _decompress(data: bytes) -> bytes:
    size, lanes, bits = int(np.frombuffer(data, "<u4", 1)[0]), int(np.frombuffer(data, "<u2", 1, 4)[0]), data[6]
    if size == 0:
        return b""
    if lanes == 0 or bits > 32:
        raise ValueError("no lanes, or a block longer than any data")
    rows, rows_per_block = -(-size // lanes), -(-(1 << bits) // lanes)
    position, tables = 7, []
    for _ in range(0, rows, rows_per_block):
        table, position = unpack_table(data, position)
        if table.sum() != 1 << TOTAL_BITS:
            raise ValueError("frequencies do not add up")
        tables.append(table)
    states = np.frombuffer(data, "<u8", lanes, position).astype(np.uint64)
    words = np.frombuffer(data, "<u4", offset=position + 8 * lanes).astype(np.uint64)
    symbols = np.empty((rows, lanes), np.uint8)
    taken, slot_mask = 0, np.uint64((1 << TOTAL_BITS) - 1)
    for block, table in enumerate(tables):
        symbol_of_slot, starts = np.repeat(np.arange(256, dtype=np.uint8), table.astype(np.int64)), starts_of(table)
        for row in range(block * rows_per_block, min((block + 1) * rows_per_block, rows)):
            slots = states & slot_mask
            symbols[row] = found = symbol_of_slot[slots]
            states = table[found] * (states >> np.uint64(TOTAL_BITS)) + slots - starts[found]
            empty = np.flatnonzero(states < LOWEST)
            states[empty] = (states[empty] << WORD) | words[taken : taken + len(empty)]
            taken += len(empty)
    if taken != len(words) or (states != LOWEST).any():
        raise ValueError("the states do not end where encoding began")
    return symbols.tobytes()[:size]


# --- artifact ---
ARTIFACT_MAGIC = b"PGOLF1"  # the digit is the version of the container
MAX_SUBMISSION_BYTES = 16_000_000
COMPRESSORS = ("brotli", "lzma", "zstd", "rans")
COMPRESSOR_CHOICES = (*COMPRESSORS, "auto")
TENSOR_TYPES = {"int8": "<i1", "float16": "<f2"}


def compress(data: bytes, compressor: str) -> bytes:
    if compressor == "brotli":
        return brotli.compress(data, quality=11, lgwin=24)
    if compressor == "lzma":
        return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    if compressor == "zstd":
        return zstandard.ZstdCompressor(level=22).compress(data)
    if compressor == "rans":
        return rans_compress(data)
    raise PipelineError(f"COMPRESSOR={compressor}: unknown; choose one of {', '.join(COMPRESSOR_CHOICES)}")


def compress_best(data: bytes, compressor: str) -> tuple[bytes, str]:
    names = ("brotli", "rans") if compressor == "auto" else (compressor,)
    return min(((compress(data, name), name) for name in names), key=lambda pair: len(pair[0]))


def decompress(data: bytes, compressor: str) -> bytes:
    if compressor == "brotli":
        return brotli.decompress(data)
    if compressor == "lzma":
        return lzma.decompress(data)
    if compressor == "rans":
        return rans_decompress(data)
    return zstandard.ZstdDecompressor().decompress(data)


def byte_shuffle(data: bytes, stride: int) -> bytes:
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, stride).T.tobytes()


def byte_unshuffle(data: bytes, stride: int) -> bytes:
    return np.frombuffer(data, dtype=np.uint8).reshape(stride, -1).T.tobytes()


def pack_tensors(tensors: dict[str, Tensor], compressor: str) -> bytes:
    entries, chunks = [], []
    for name, tensor in tensors.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        array = tensor.contiguous().numpy().astype(TENSOR_TYPES[kind])
        entries.append([name, kind, list(tensor.shape)])
        chunks.append(byte_shuffle(array.tobytes(), array.itemsize))
    index = json.dumps(entries, separators=(",", ":")).encode()
    payload, used = compress_best(struct.pack("<I", len(index)) + index + b"".join(chunks), compressor)
    return ARTIFACT_MAGIC + bytes([COMPRESSORS.index(used)]) + struct.pack("<I", zlib.crc32(payload)) + payload


def unpack_tensors(blob: bytes, name: str) -> dict[str, Tensor]:
    start = len(ARTIFACT_MAGIC) + 5
    if blob[:5] == ARTIFACT_MAGIC[:5] and blob[5:6] not in (b"", ARTIFACT_MAGIC[5:]):
        raise PipelineError(
            f"{name}: container version {blob[5:6]!r} instead of {ARTIFACT_MAGIC[5:]!r}; "
            "read it with the pipeline that wrote it, or train again"
        )
    if len(blob) < start or not blob.startswith(ARTIFACT_MAGIC) or blob[len(ARTIFACT_MAGIC)] >= len(COMPRESSORS):
        raise PipelineError(f"{name}: not an artifact of this pipeline; train again or set ARTIFACT_PATH")
    if struct.unpack("<I", blob[start - 4 : start])[0] != zlib.crc32(blob[start:]):
        raise PipelineError(f"{name}: checksum differs, the artifact is truncated or damaged; copy it again")
    data = decompress(blob[start:], COMPRESSORS[blob[len(ARTIFACT_MAGIC)]])
    index_bytes = struct.unpack("<I", data[:4])[0]
    position = 4 + index_bytes
    tensors = {}
    for entry, kind, shape in json.loads(data[4:position]):
        dtype = np.dtype(TENSOR_TYPES[kind])
        size = int(np.prod(shape)) * dtype.itemsize
        array = np.frombuffer(byte_unshuffle(data[position : position + size], dtype.itemsize), dtype=dtype)
        tensors[entry] = torch.from_numpy(array.reshape(shape).copy())
        position += size
    return tensors


def named_tensors(quantized: dict[str, QuantizedMatrix], kept: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors = dict(kept)
    for name, matrix in quantized.items():
        parts = {"integers": matrix.integers, "scale": matrix.scale, "left": matrix.left, "right": matrix.right}
        tensors |= {f"{name}:{part}": tensor for part, tensor in parts.items() if tensor is not None}
    return tensors


def log_sizes(compressor: str, model_bytes: int, code_bytes: int) -> int:
    log(f"Serialized model quantized+{compressor}: {model_bytes} bytes")
    log(f"Code size: {code_bytes} bytes")
    log(f"Total submission size quantized+{compressor}: {model_bytes + code_bytes} bytes")
    return model_bytes + code_bytes


def prune_to_fit(
    h: Hyperparameters, quantized: dict[str, QuantizedMatrix], kept: dict[str, Tensor], max_bytes: int
) -> bytes:
    names = [name for name, matrix in quantized.items() if matrix.bits == h.matrix_bits]
    candidates, order = pruning_order([quantized[name] for name in names])
    integers = torch.cat([quantized[name].integers.flatten() for name in names])

    def packed(pruned: int) -> bytes:
        changed = integers.clone()
        changed[candidates[order[:pruned]]] = 0
        parts = changed.split([quantized[name].integers.numel() for name in names])
        for name, part in zip(names, parts, strict=True):
            quantized[name].integers = part.view_as(quantized[name].integers)
        return pack_tensors(named_tensors(quantized, kept), h.compressor)

    too_few, enough = 0, len(order)
    while enough - too_few > max(len(order) // 64, 1):  # each look packs the whole artifact
        middle = (too_few + enough) // 2
        if len(packed(middle)) > max_bytes:
            too_few = middle
        else:
            enough = middle
    log(f"prune_to_fit: {enough} of {len(order)} entries of one step set to zero")
    return packed(enough)


def serialize(
    h: Hyperparameters, quantized: dict[str, QuantizedMatrix], kept: dict[str, Tensor], code_path: Path
) -> int:
    blob = pack_tensors(named_tensors(quantized, kept), h.compressor)
    code_bytes = code_path.stat().st_size
    if h.prune_to_fit and len(blob) + code_bytes > MAX_SUBMISSION_BYTES:
        blob = prune_to_fit(h, quantized, kept, MAX_SUBMISSION_BYTES - code_bytes)
    total = log_sizes(COMPRESSORS[blob[len(ARTIFACT_MAGIC)]], len(blob), code_bytes)
    if total > MAX_SUBMISSION_BYTES:
        raise PipelineError(
            f"{h.artifact_path}: {total} bytes of code and model exceed {MAX_SUBMISSION_BYTES}; "
            "lower MODEL_DIM, NUM_LAYERS or MATRIX_BITS, or set PRUNE_TO_FIT=1"
        )
    if rank_and_world()[0] == 0:
        write_atomically(Path(h.artifact_path), blob)
    if dist.is_initialized():
        dist.barrier()  # nobody reads the file before it is whole
    return total


def read_artifact(h: Hyperparameters) -> dict[str, Tensor]:
    path = Path(h.artifact_path)
    if not path.is_file():
        raise PipelineError(f"{path}: no artifact; train first or set ARTIFACT_PATH")
    return unpack_tensors(path.read_bytes(), str(path))


def model_from_tensors(h: Hyperparameters, tensors: dict[str, Tensor], device: torch.device) -> GPT:
    state = {name: tensor.float() for name, tensor in tensors.items() if ":" not in name}
    for name in {name.split(":")[0] for name in tensors if ":" in name}:
        integers, scale = tensors[f"{name}:integers"], tensors[f"{name}:scale"]
        left, right = tensors.get(f"{name}:left"), tensors.get(f"{name}:right")
        state[name] = QuantizedMatrix(integers, scale, 8, left, right).dequantize()
    model = GPT(h)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise PipelineError(
            f"{h.artifact_path}: made with other settings ({str(error).splitlines()[-1].strip()}); "
            "use the environment it was trained with"
        ) from error
    model.looping = h.num_loops > 0
    return model.to(device)


def deserialize(h: Hyperparameters, device: torch.device) -> GPT:
    return model_from_tensors(h, read_artifact(h), device)


# --- lora ---
class BatchedLinearLoRA(nn.Module):
    def __init__(self, batch: int, in_features: int, out_features: int, rank: int):
        super().__init__()
        self.down = nn.Parameter(torch.empty(batch, rank, in_features))
        self.up = nn.Parameter(torch.empty(batch, out_features, rank))
        self.reset()

    def reset(self) -> None:
        with torch.no_grad():
            nn.init.normal_(self.down, std=self.down.size(2) ** -0.5)
            self.up.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.down.to(x.dtype).transpose(1, 2) @ self.up.to(x.dtype).transpose(1, 2)


class LayerLoRA(nn.Module):
    def __init__(self, batch: int, attn: nn.Module, rank: int):
        super().__init__()
        self.q = BatchedLinearLoRA(batch, attn.c_q.in_features, attn.c_q.out_features, rank)
        self.v = BatchedLinearLoRA(batch, attn.c_v.in_features, attn.c_v.out_features, rank)


class DocumentLoRA(nn.Module):
    def __init__(self, batch: int, model: nn.Module, rank: int):
        super().__init__()
        self.layers = nn.ModuleList(LayerLoRA(batch, block.attn, rank) for block in model.blocks)
        self.head = BatchedLinearLoRA(batch, model.model_dim, model.tok_emb.num_embeddings, rank)


def chunk_batch(
    val_data: ValidationData,
    spans: list[tuple[int, int]],
    chunk: int,
    chunk_tokens: int,
    seq_len: int,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    windows = []
    for first, last in spans:
        start = min(first + chunk * chunk_tokens, last)
        end = min(start + chunk_tokens, last)
        windows.append((max(first, end - seq_len), start, end))
    longest = max(end - context for context, _, end in windows)
    x = torch.zeros(len(spans), longest, dtype=torch.int64)
    y = torch.zeros(len(spans), longest, dtype=torch.int64)
    mask = torch.zeros(len(spans), longest, dtype=torch.bool)
    for row, (context, start, end) in enumerate(windows):
        tokens = val_data.read(context, end + 1)
        x[row, : end - context] = tokens[:-1]
        y[row, : end - context] = tokens[1:]
        mask[row, start - context : end - context] = True
    return x.to(device), y.to(device), mask.to(device)


def score_documents_with_lora(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module, spans: list[tuple[int, int]]
) -> tuple[Tensor, Tensor, Tensor]:
    rank, world_size = rank_and_world()
    by_length = sorted(spans, key=lambda span: span[1] - span[0])
    batches = [by_length[i : i + h.ttt_doc_batch] for i in range(0, len(by_length), h.ttt_doc_batch)]
    loss_sums = torch.zeros(len(batches), dtype=torch.float64, device=device)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for index, batch in enumerate(batches):
        token_count += sum(last - first for first, last in batch)
        byte_count += sum(val_data.target_bytes(first, last).sum() for first, last in batch)
        if index % world_size != rank:
            continue
        torch.manual_seed(h.seed + index)
        lora = DocumentLoRA(len(batch), model, h.ttt_lora_rank).to(device)
        optimizer = torch.optim.Adam(lora.parameters(), lr=h.ttt_lora_lr, betas=(0.9, 0.95))
        longest = max(last - first for first, last in batch)
        chunks = -(-longest // h.ttt_lora_chunk)
        for chunk in range(chunks):
            x, y, mask = chunk_batch(val_data, batch, chunk, h.ttt_lora_chunk, h.eval_seq_len, device)
            with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                logits = model.forward_logits(x, lora)
            nll = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none").view_as(y)
            loss_sums[index] += (nll.detach().to(torch.float64) * mask).sum()
            if chunk == chunks - 1:
                break
            per_document = (nll * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
            optimizer.zero_grad(set_to_none=True)
            per_document.sum().backward()
            optimizer.step()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    model.train()
    sum_over_ranks(loss_sums)
    return loss_sums.sum().cpu(), token_count, byte_count


def eval_val_document_lora(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    spans = document_spans(val_data, h.bos_id)
    return loss_and_bpb(*score_documents_with_lora(h, device, val_data, model, spans))


# --- optimizers ---
# x -> a x + b x^3 + c x^5, applied to singular values. One set five times (Jordan et al., 2024) ...
NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5
# ... or the optimal set for each step (Polar Express, Amsel et al., 2025, arXiv 2505.16932, lower bound 1e-3).
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845749307, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.875, -1.25, 0.375),
)
COEFFICIENTS = {"newton_schulz": NEWTON_SCHULZ, "polar_express": POLAR_EXPRESS}


def orthogonalize(matrix: Tensor, backend: str = "newton_schulz", steps: int = 5) -> Tensor:
    x = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    length = x.norm() if x.ndim == 2 else x.norm(dim=(1, 2), keepdim=True)
    x = x / (length * 1.01 + 1e-7)
    transposed = x.size(-2) > x.size(-1)
    if transposed:
        x = x.mT
    table = COEFFICIENTS[backend]
    for step in range(steps):
        a, b, c = table[min(step, len(table) - 1)]
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if transposed else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    def __init__(
        self,
        params,
        lr: float,
        momentum: float,
        backend: str,
        backend_steps: int,
        weight_decay: float,
        row_normalize: bool,
        banks: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "backend": backend,
            "backend_steps": backend_steps,
            "weight_decay": weight_decay,
            "row_normalize": row_normalize,
            "banks": banks,
        }
        super().__init__(params, defaults)

    def take_gradient(self, parameter: Tensor, momentum: float) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        return state["momentum"].lerp_(parameter.grad, 1 - momentum)

    def direction(self, group: dict, parameter: Tensor) -> Tensor:
        nesterov = parameter.grad.lerp(self.state[parameter]["momentum"], group["momentum"])
        return nesterov / (nesterov.norm(dim=1, keepdim=True) + 1e-7) if group["row_normalize"] else nesterov

    def apply(self, group: dict, parameter: Tensor, update: Tensor) -> None:
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"])

    @torch.no_grad()
    def step(self, closure=None) -> None:
        rank, world_size = rank_and_world()
        for group in self.param_groups:
            if group["banks"]:
                self.step_banks(group)
                continue
            for index, parameter in enumerate(group["params"]):
                if parameter.grad is None:
                    continue
                self.take_gradient(parameter, group["momentum"])
                update = torch.zeros_like(parameter)
                if index % world_size == rank:
                    update = orthogonalize(self.direction(group, parameter), group["backend"], group["backend_steps"])
                    update = update * max(1.0, parameter.size(0) / parameter.size(1)) ** 0.5
                sum_over_ranks(update)
                self.apply(group, parameter, update)

    def step_banks(self, group: dict) -> None:
        rank, world_size = rank_and_world()
        banks: dict[torch.Size, list[Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                self.take_gradient(parameter, group["momentum"])
                banks.setdefault(parameter.shape, []).append(parameter)
        gathered = []
        for shape, bank in banks.items():
            share = -(-len(bank) // world_size)
            mine = bank[rank * share : (rank + 1) * share]
            updates = bank[0].new_zeros(share, *shape)
            if mine:
                directions = torch.stack([self.direction(group, parameter) for parameter in mine])
                updates[: len(mine)] = orthogonalize(directions, group["backend"], group["backend_steps"])
            gathered.append((bank, *gather_over_ranks(updates * max(1.0, shape[0] / shape[1]) ** 0.5)))
        for bank, updates, wait in gathered:
            wait()
            for parameter, update in zip(bank, updates, strict=False):  # the last share may be padded
                self.apply(group, parameter, update)


class Optimizers:
    def __init__(self, h: Hyperparameters, model: nn.Module):
        named = list(model.named_parameters())
        embeddings = [p for name, p in named if p.ndim == 2 and "emb" in name and "proj" not in name]
        heads = [p for name, p in named if name.startswith(("lm_head.", "mtp_heads."))]
        others = {id(p) for p in [*embeddings, *heads]}
        matrices = [p for name, p in named if p.ndim == 2 and name.endswith(".weight") and id(p) not in others]
        taken = others | {id(p) for p in matrices}
        scalars = [p for _, p in named if id(p) not in taken]
        fused = next(model.parameters()).is_cuda
        adam = {"betas": (h.beta1, h.beta2), "eps": h.adam_eps, "fused": fused}
        self.optimizers = [
            torch.optim.AdamW(embeddings, lr=h.embed_lr, weight_decay=h.embed_wd, **adam),
            Muon(
                matrices,
                h.matrix_lr,
                h.muon_momentum,
                h.muon_backend,
                h.muon_backend_steps,
                h.muon_wd,
                h.muon_row_normalize,
                h.muon_banks,
            ),
            torch.optim.AdamW(scalars, lr=h.scalar_lr, weight_decay=h.adam_wd, **adam),
        ]
        if heads:
            self.optimizers.append(torch.optim.AdamW(heads, lr=h.head_lr, weight_decay=0.0, **adam))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["base_lr"] = group["lr"]
        self.grad_clip_norm = h.grad_clip_norm
        self.model = model

    def step(self, lr_scale: float, muon_momentum: float | None = None) -> None:
        if self.grad_clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.grad_clip_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * lr_scale
                if muon_momentum is not None and isinstance(optimizer, Muon):
                    group["momentum"] = muon_momentum
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> list[dict]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def restore(self, states: list[dict]) -> None:
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


def learning_rate_scale(fraction: float, warmdown_frac: float, min_lr: float) -> float:
    if warmdown_frac <= 0 or fraction <= 1 - warmdown_frac:
        return 1.0
    return max((1 - fraction) / warmdown_frac, min_lr)


def momentum_at(step: int, start: float, final: float, warmup_steps: int) -> float:
    warmed = min(step / warmup_steps, 1.0) if warmup_steps > 0 else 1.0
    return start + warmed * (final - start)


# --- phased ---
def train_on_documents(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module, scored: list[tuple[int, int]]
) -> None:
    rank, world_size = rank_and_world()
    sequences = [pair for first, last in scored for pair in chunk_sequences(val_data, first, last, h.train_seq_len)]
    optimizer = torch.optim.SGD(model.parameters(), lr=h.global_ttt_lr, momentum=h.ttt_momentum)
    for _ in range(h.global_ttt_epochs):
        for start in range(0, len(sequences), h.ttt_batch_seqs * world_size):
            mine = sequences[start : start + h.ttt_batch_seqs * world_size][rank::world_size]
            tokens = sum(y.numel() for _, y in mine)
            optimizer.zero_grad(set_to_none=True)
            for x, y in mine:  # documents differ in length: one at a time, weighted by their tokens
                with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                    loss = model(x[None].to(device), y[None].to(device))
                (loss * y.numel() / tokens).backward()
            average_gradients(model)
            torch.nn.utils.clip_grad_norm_(model.parameters(), h.ttt_grad_clip)
            optimizer.step()


def eval_val_phased(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    spans = document_spans(val_data, h.bos_id)
    size = -(-len(spans) // h.phased_ttt_num_phases)
    phases = [spans[i : i + size] for i in range(0, len(spans), size)]
    log(f"ttt_phased:start documents:{len(spans)} phases:{len(phases)} global_lr:{h.global_ttt_lr}")
    loss_sum = torch.zeros((), dtype=torch.float64)
    token_count = torch.zeros((), dtype=torch.float64)
    byte_count = torch.zeros((), dtype=torch.float64)
    for index, phase in enumerate(phases):
        scored: list[tuple[int, int]] = []
        for begin in range(0, len(phase), h.ttt_doc_batch):
            batch = phase[begin : begin + h.ttt_doc_batch]
            batch_loss, batch_tokens, batch_bytes = score_documents_with_lora(h, device, val_data, model, batch)
            loss_sum += batch_loss
            token_count += batch_tokens
            byte_count += batch_bytes
            scored.extend(batch)
        log(f"ttt_phased:phase {index + 1}/{len(phases)} scored_documents:{len(scored)}")
        if index == len(phases) - 1:
            break
        train_on_documents(h, device, val_data, model, scored)
    return loss_and_bpb(loss_sum, token_count, byte_count)


# --- slot ---
class LogitBias:
    def __init__(self, h: Hyperparameters, model: nn.Module, device: torch.device):
        self.h, self.model = h, model
        self.bias = torch.zeros(h.vocab_size, device=device)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.model.project(hidden).float() + self.bias

    def fit(self, hidden: Tensor, targets: Tensor) -> None:
        with torch.no_grad():
            plain = self.model.project(hidden).float()
        bias = self.bias.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [bias],
            max_iter=self.h.slot_lbfgs_max_iter,
            history_size=self.h.slot_lbfgs_history,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(plain + bias, targets)
            loss.backward()
            return loss

        optimizer.step(closure)
        self.bias = bias.detach().clamp(-self.h.slot_delta_clip, self.h.slot_delta_clip)


class HiddenDelta:
    def __init__(self, h: Hyperparameters, model: nn.Module, device: torch.device):
        self.h, self.model = h, model
        self.delta = torch.zeros(h.model_dim, device=device)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.model.project(hidden + self.delta).float()

    def fit(self, hidden: Tensor, targets: Tensor) -> None:
        delta = torch.zeros_like(self.delta).requires_grad_()
        optimizer = torch.optim.AdamW([delta], lr=self.h.slot_lr, weight_decay=1e-8, eps=1e-5)
        for _ in range(self.h.slot_steps):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(self.model.project(hidden + delta).float(), targets).backward()
            optimizer.step()
        self.delta = delta.detach()


@torch.no_grad()
def hidden_and_targets(
    model: nn.Module, val_data: ValidationData, start: int, first: int, end: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    tokens = val_data.read(start, end + 1).to(device)
    return model.forward_hidden(tokens[None, :-1])[0, first - start :], tokens[first - start + 1 :]


def score_segment(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module, first: int, last: int
) -> Tensor:
    vector = (LogitBias if h.slot_lbfgs else HiddenDelta)(h, model, device)
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    known_hidden = torch.empty(0, h.model_dim, device=device)  # of the latest scored positions, (n, C)
    known_targets = torch.empty(0, dtype=torch.int64, device=device)  # and what stood there, (n,)
    for start, scored, end in sliding_windows(first, last, h.eval_seq_len, h.eval_stride):
        hidden, targets = hidden_and_targets(model, val_data, start, scored, end, device)
        with torch.no_grad():
            nll = F.cross_entropy(vector.logits(hidden), targets, reduction="none")
        loss_sum += nll.to(torch.float64).sum()
        if end == last:
            break
        known_hidden = torch.cat((known_hidden, hidden.float()))[-h.slot_focal_tokens :]
        known_targets = torch.cat((known_targets, targets))[-h.slot_focal_tokens :]
        vector.fit(known_hidden, known_targets)
    return loss_sum


def eval_val_slot_causal(
    h: Hyperparameters, device: torch.device, val_data: ValidationData, model: nn.Module
) -> tuple[float, float]:
    rank, world_size = rank_and_world()
    segments = [
        (first, min(first + h.slot_segment_tokens, val_data.targets))
        for first in range(0, val_data.targets, h.slot_segment_tokens)
    ]
    log(f"slot_causal:start segments={len(segments)} focal={h.slot_focal_tokens} lbfgs={h.slot_lbfgs}")
    loss_sums = torch.zeros(len(segments), dtype=torch.float64, device=device)
    model.eval()
    model.requires_grad_(False)
    for index, (first, last) in enumerate(segments):
        if index % world_size == rank:
            with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                loss_sums[index] = score_segment(h, device, val_data, model, first, last)
    model.requires_grad_(True)
    model.train()
    sum_over_ranks(loss_sums)
    byte_count = sum(val_data.target_bytes(first, last).sum() for first, last in segments).to(torch.float64)
    return loss_and_bpb(loss_sums.sum().cpu(), torch.tensor(float(val_data.targets), dtype=torch.float64), byte_count)


# --- averaging ---
class WeightAverage:
    def __init__(self, h: Hyperparameters, model: nn.Module):
        self.h, self.kind = h, h.averaging
        self.taken = 0
        self.average: dict[str, Tensor] = {name: t.detach().float().clone() for name, t in model.state_dict().items()}
        self.snapshots: list[dict[str, Tensor]] = []

    @torch.no_grad()
    def update(self, model: nn.Module, step: int, fraction: float) -> None:
        if self.kind == "ema":
            # short memory while the weights still move far
            self.blend(model, 1 - min(self.h.ema_decay, (step + 1) / (step + 10)))
        elif self.kind == "swa" and fraction >= self.h.swa_start_frac and step % self.h.swa_every == 0:
            self.blend(model, 1 / (self.taken + 1))
        elif self.kind == "lawa" and step % self.h.lawa_freq == 0:
            self.snapshots.append({name: t.detach().float().clone() for name, t in model.state_dict().items()})
            self.snapshots = self.snapshots[-self.h.lawa_k :]

    def blend(self, model: nn.Module, weight: float) -> None:
        self.taken += 1
        for name, tensor in model.state_dict().items():
            self.average[name].lerp_(tensor.float(), weight)

    def apply(self, model: nn.Module) -> None:
        if self.snapshots:
            mean = {name: sum(s[name] for s in self.snapshots) / len(self.snapshots) for name in self.average}
        elif self.taken:
            mean = self.average
        else:
            return
        current = model.state_dict()
        model.load_state_dict({name: t.to(current[name].dtype) for name, t in mean.items()})

    def state(self) -> dict:
        return {"average": self.average, "taken": self.taken, "snapshots": self.snapshots}

    def restore(self, state: dict) -> None:
        self.average, self.taken, self.snapshots = state["average"], state["taken"], state["snapshots"]


# --- checkpoint ---
def save_checkpoint(path: Path, state: dict) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise PipelineError(
            f"{path}: not a whole checkpoint ({type(error).__name__}); delete it to start anew"
        ) from error


# --- training ---
def autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def gradient_step(model: GPT, batches: list[tuple[Tensor, Tensor]], device: torch.device) -> Tensor:
    total = torch.zeros((), device=device)
    for x, y in batches:
        with autocast(device):
            loss = model(x.to(device), y.to(device)) / len(batches)
        loss.backward()
        total += loss.detach()
    return total


def train_model(
    h: Hyperparameters,
    device: torch.device,
    val_data: ValidationData,
    on_step: Callable[[int, int, float], None] | None = None,
) -> GPT:
    rank, world_size = rank_and_world()
    base_model = GPT(h)
    if h.mtp_num_heads > 0:
        base_model.add_mtp_heads(h)
    base_model.to(device)
    compiles = h.compile_model and device.type == "cuda"
    model = torch.compile(base_model, dynamic=False, fullgraph=True) if compiles else base_model
    optimizers = Optimizers(h, base_model)
    average = WeightAverage(h, base_model)
    sequences = h.train_batch_tokens // (h.train_seq_len * world_size * h.grad_accum_steps)
    if sequences < 1:
        raise PipelineError(f"TRAIN_BATCH_TOKENS={h.train_batch_tokens}: below one sequence a rank; raise it")
    loader = make_loader(h.loader, h.train_files, sequences, h.train_seq_len, h.seed, rank, world_size, h.vocab_size)
    cap_seconds = h.max_wallclock_seconds - h.gptq_reserve_seconds if h.max_wallclock_seconds > 0 else 0.0
    if h.max_wallclock_seconds > 0:
        if cap_seconds <= 0:
            raise PipelineError(
                f"MAX_WALLCLOCK_SECONDS={h.max_wallclock_seconds:g} leaves nothing beside "
                f"GPTQ_RESERVE_SECONDS={h.gptq_reserve_seconds:g}; raise the first or lower the second"
            )
        log(f"gptq:reserving {h.gptq_reserve_seconds:.0f}s, effective={1000 * cap_seconds:.0f}ms")
    log(f"model_params:{sum(p.numel() for p in base_model.parameters())}")
    warm_up(h, device, model, base_model, loader)

    step, trained_seconds = 0, 0.0
    path = Path(h.checkpoint_path) if h.checkpoint_path else None
    if path is not None and path.is_file():
        state = load_checkpoint(path)
        base_model.load_state_dict(state["model"])
        optimizers.restore(state["optimizers"])
        loader.restore(state["loader"])
        average.restore(state["average"])
        step, trained_seconds = state["step"], state["trained_seconds"]
        log(f"checkpoint:resumed {path.name} step:{step}")

    stop, fake_quantized = False, False
    wait_for_device(device)
    began = time.perf_counter() - trained_seconds
    while step < h.iterations and not stop:
        elapsed = time.perf_counter() - began
        by_clock = h.schedule == "clock" and cap_seconds > 0
        fraction = min(elapsed / cap_seconds if by_clock else step / h.iterations, 1.0)
        if not base_model.looping and h.num_loops > 0 and fraction >= h.enable_looping_at:
            base_model.looping = True
            log(f"layer_loop:enabled step:{step} frac:{fraction:.3f} order:{base_model.orders[1]}")
        warmdown_frac = h.warmdown_frac
        if h.warmdown_iters > 0:  # so many steps; under a clock, at the pace so far
            share_per_step = 1 / h.iterations if not by_clock else elapsed / max(step, 1) / cap_seconds
            warmdown_frac = min(h.warmdown_iters * share_per_step, 1.0)
        lr_scale = learning_rate_scale(fraction, warmdown_frac, h.min_lr)
        if not fake_quantized and lr_scale < h.late_qat_threshold:
            fake_quantized = True
            base_model.fake_quantization(h, True)
            log(f"late_qat:enabled step:{step} scale:{lr_scale:.4f}")
        loss = gradient_step(model, [loader.next_batch() for _ in range(h.grad_accum_steps)], device)
        average_gradients(base_model)
        optimizers.step(
            lr_scale, momentum_at(step, h.muon_momentum_warmup_start, h.muon_momentum, h.muon_momentum_warmup_steps)
        )
        average.update(base_model, step, fraction)
        step += 1
        elapsed = time.perf_counter() - began
        if step == 1 and 0 < cap_seconds < elapsed:
            raise PipelineError(
                f"MAX_WALLCLOCK_SECONDS={h.max_wallclock_seconds:g}: the first step took {elapsed:.2f} s, more than "
                f"the {cap_seconds:.2f} s beside GPTQ_RESERVE_SECONDS; raise it, or lower TRAIN_BATCH_TOKENS"
            )
        if step <= 5 or step % h.train_log_every == 0 or step == h.iterations:
            log(
                f"{step}/{h.iterations} train_loss: {loss.item():.4f} train_time: {elapsed / 60:.2f}m "
                f"tok/s: {step * h.train_batch_tokens / elapsed:.0f}"
            )
        if on_step is not None:
            on_step(step, h.iterations, loss.item())
        if h.val_loss_every > 0 and step % h.val_loss_every == 0 and step < h.iterations:
            val_loss, val_bpb = eval_val(h, device, val_data, base_model)
            log(f"{step}/{h.iterations} val_loss: {val_loss:.4f} val_bpb: {val_bpb:.4f}")
            began += time.perf_counter() - began - elapsed  # the clock stands still while validating
        if path is not None and h.checkpoint_every > 0 and step % h.checkpoint_every == 0 and rank == 0:
            save_checkpoint(
                path,
                {
                    "model": base_model.state_dict(),
                    "optimizers": optimizers.state(),
                    "loader": loader.state(),
                    "average": average.state(),
                    "step": step,
                    "trained_seconds": time.perf_counter() - began,
                },
            )
        stop = cap_seconds > 0 and any_rank(time.perf_counter() - began >= cap_seconds, device)
    wait_for_device(device)
    train_ms = 1000 * (time.perf_counter() - began)
    base_model.fake_quantization(h, False)
    val_loss, val_bpb = eval_val(h, device, val_data, base_model)
    log(f"{step}/{h.iterations} val_loss: {val_loss:.4f} val_bpb: {val_bpb:.4f}")
    if step < h.iterations:
        log(f"stopping_early: wallclock_cap train_time: {train_ms:.0f}ms step: {step}/{h.iterations}")
    else:
        log(f"training finished: train_time:{train_ms:.0f}ms step:{step}/{h.iterations}")
    if device.type == "cuda":
        log(f"peak memory allocated: {torch.cuda.max_memory_allocated() // 2**20} MiB")
    if h.averaging != "none":
        log(f"{h.averaging}:applying averaged weights")
    average.apply(base_model)
    base_model.mtp_heads = None  # they served training; the artifact never holds them
    return base_model


def warm_up(h: Hyperparameters, device: torch.device, model, base_model: GPT, loader) -> None:
    if h.warmup_steps <= 0:
        return
    state = loader.state()
    batch = loader.next_batch()
    for looping in (False, True):
        base_model.looping = looping
        for _ in range(h.warmup_steps):
            gradient_step(model, [batch], device)
            base_model.zero_grad(set_to_none=True)
    base_model.looping = False
    loader.restore(state)
    log(f"warmup_step: {h.warmup_steps}/{h.warmup_steps}")


# --- pipeline ---
def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def log_data(h: Hyperparameters, val_data: ValidationData) -> None:
    log(f"train_shards: {len(list(Path(h.data_path).glob('fineweb_train_*.bin')))}")
    log(f"val_tokens: {val_data.targets}")


def produce_artifact(h: Hyperparameters, device: torch.device, val_data: ValidationData, code_path: Path) -> None:
    base_model = train_model(h, device, val_data)
    timed_eval("pre-quantization post-ema", eval_val, h, device, val_data, base_model)
    quantized, kept = gptq_phase(h, device, base_model)
    serialize(h, quantized, kept, code_path)


def evaluate_artifact(h: Hyperparameters, device: torch.device, val_data: ValidationData) -> None:
    eval_model = deserialize(h, device)
    timed_eval("quantized", eval_val, h, device, val_data, eval_model)
    if h.sliding_window_enabled:
        timed_eval("quantized_sliding_window", eval_val_sliding, h, device, val_data, eval_model)
    if h.document_eval_enabled:
        timed_eval("quantized_documents", eval_val_documents, h, device, val_data, eval_model)
    if h.ttt_enabled:
        ttt_model = deserialize(h, device)
        timed_eval("quantized_ttt", eval_val_ttt, h, device, val_data, ttt_model)
    if h.lora_ttt_enabled:
        lora_model = deserialize(h, device)
        timed_eval("quantized_lora_ttt", eval_val_document_lora, h, device, val_data, lora_model)
    if h.phased_ttt_enabled:
        phased_model = deserialize(h, device)
        timed_eval("quantized_ttt_phased", eval_val_phased, h, device, val_data, phased_model)
    if h.slot_causal:
        slot_model = deserialize(h, device)
        timed_eval("quantized_slot_causal", eval_val_slot_causal, h, device, val_data, slot_model)


def train_and_eval(h: Hyperparameters, device: torch.device, code_path: Path) -> None:
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)


def check_settings(h: Hyperparameters) -> None:
    choices = {
        "COMPRESSOR": (h.compressor, COMPRESSOR_CHOICES),
        "LOADER": (h.loader, LOADERS),
        "AVERAGING": (h.averaging, ("ema", "swa", "lawa", "none")),
        "SCHEDULE": (h.schedule, ("steps", "clock")),
        "MUON_BACKEND": (h.muon_backend, COEFFICIENTS),
        "GPTQ_CALIBRATION": (h.gptq_calibration, ("train", "self")),
    }
    for name, (value, known) in choices.items():
        if value not in known:
            raise PipelineError(f"{name}={value}: unknown; choose one of {', '.join(sorted(known))}")
    counts = {
        "ITERATIONS": h.iterations,
        "TRAIN_SEQ_LEN": h.train_seq_len,
        "GRAD_ACCUM_STEPS": h.grad_accum_steps,
        "TRAIN_LOG_EVERY": h.train_log_every,
        "SWA_EVERY": h.swa_every,
        "LAWA_K": h.lawa_k,
        "LAWA_FREQ": h.lawa_freq,
        "TTT_CHUNK_TOKENS": h.ttt_chunk_tokens,
        "TTT_BATCH_SEQS": h.ttt_batch_seqs,
        "TTT_LORA_CHUNK": h.ttt_lora_chunk,
        "TTT_DOC_BATCH": h.ttt_doc_batch,
        "PHASED_TTT_NUM_PHASES": h.phased_ttt_num_phases,
        "SLOT_SEGMENT_TOKENS": h.slot_segment_tokens,
        "SLOT_FOCAL_TOKENS": h.slot_focal_tokens,
    }
    for name, count in counts.items():
        if count < 1:
            raise PipelineError(f"{name}={count}: must be 1 or more")
    for name, bits in (("MATRIX_BITS", h.matrix_bits), ("EMBED_BITS", h.embed_bits)):
        if not 2 <= bits <= 8:
            raise PipelineError(f"{name}={bits}: must be 2..8, the artifact holds bytes")
    if h.mtp_num_heads >= h.train_seq_len:
        raise PipelineError(f"MTP_NUM_HEADS={h.mtp_num_heads}: must be below TRAIN_SEQ_LEN={h.train_seq_len}")
    if h.gptq_calibration_temperature <= 0:
        raise PipelineError(f"GPTQ_CALIBRATION_TEMPERATURE={h.gptq_calibration_temperature:g}: must be above 0")
    sliding_windows(0, h.eval_seq_len, h.eval_seq_len, h.eval_stride)  # tells when EVAL_STRIDE does not fit


def start_run(h: Hyperparameters) -> tuple[torch.device, Path]:
    check_settings(h)
    rank, world_size, device = start_distributed()
    if h.torch_threads > 0:
        torch.set_num_threads(h.torch_threads)
    code_path = Path(sys.argv[0])
    open_log(Path("logs") / f"{h.run_id}.txt" if rank == 0 else None)
    log_environment(h, code_path.read_text(encoding="utf-8"), world_size, device)
    return device, code_path


def main() -> None:
    h = Hyperparameters()
    try:
        device, code_path = start_run(h)
        train_and_eval(h, device, code_path)
    except PipelineError as error:
        sys.exit(f"error: {error}")
    stop_distributed()


if __name__ == "__main__":
    main()
