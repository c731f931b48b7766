"""The whole run in order: train, average, quantize, write the artifact, read it back, score."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import torch

from reference_pipeline.adaptation import eval_val_ttt
from reference_pipeline.artifact import COMPRESSOR_CHOICES, deserialize, serialize
from reference_pipeline.distributed import start_distributed, stop_distributed
from reference_pipeline.errors import PipelineError
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.loaders import LOADERS
from reference_pipeline.logs import log, log_environment, open_log
from reference_pipeline.lora import eval_val_document_lora
from reference_pipeline.optimizers import COEFFICIENTS
from reference_pipeline.phased import eval_val_phased
from reference_pipeline.quantization import gptq_phase
from reference_pipeline.scoring import (
    ValidationData,
    eval_val,
    eval_val_documents,
    eval_val_sliding,
    sliding_windows,
    timed_eval,
)
from reference_pipeline.slot import eval_val_slot_causal
from reference_pipeline.training import train_model


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def log_data(h: Hyperparameters, val_data: ValidationData) -> None:
    """How much data there is."""
    log(f"train_shards: {len(list(Path(h.data_path).glob('fineweb_train_*.bin')))}")
    log(f"val_tokens: {val_data.targets}")


def produce_artifact(h: Hyperparameters, device: torch.device, val_data: ValidationData, code_path: Path) -> None:
    """Train, average, quantize, write."""
    base_model = train_model(h, device, val_data)
    timed_eval("pre-quantization post-ema", eval_val, h, device, val_data, base_model)
    quantized, kept = gptq_phase(h, device, base_model)
    serialize(h, quantized, kept, code_path)


def evaluate_artifact(h: Hyperparameters, device: torch.device, val_data: ValidationData) -> None:
    """Score the artifact in every way that is switched on; each adapting way starts from the artifact anew."""
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
    """Every phase of a legal run; EVAL_ONLY=1 scores the artifact that is there."""
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    if not h.eval_only:
        produce_artifact(h, device, val_data, code_path)
    evaluate_artifact(h, device, val_data)


def check_settings(h: Hyperparameters) -> None:
    """Refuse settings that would only be found wrong after training."""
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
    """Join the ranks, set the threads, open the log and write its head. Returns the device and the script's path."""
    check_settings(h)
    rank, world_size, device = start_distributed()
    if h.torch_threads > 0:
        torch.set_num_threads(h.torch_threads)
    code_path = Path(sys.argv[0])
    open_log(Path("logs") / f"{h.run_id}.txt" if rank == 0 else None)
    log_environment(h, code_path.read_text(encoding="utf-8"), world_size, device)
    return device, code_path


def main() -> None:
    """Entry point of the script."""
    h = Hyperparameters()
    try:
        device, code_path = start_run(h)
        train_and_eval(h, device, code_path)
    except PipelineError as error:
        sys.exit(f"error: {error}")
    stop_distributed()


if __name__ == "__main__":
    main()
