"""Speed against the challenge's own baseline script: ``python -m benchmarks.pipeline --baseline train_gpt.py``.

The script (train_gpt.py of the challenge's main branch; it is not part of this repository) and the bundled pipeline
train and score models of one shape on the same random shards, in turn, one thread each. The baseline knows only GPUs,
so it runs confined, through the run witness's stand-ins for CUDA. Both print their own times, and both are given the
processor's time for the clock's, because other work may share the machine. What the pipeline has beyond the baseline
(loops, value embeddings, hashed bigrams, averaging) is switched off.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import auditor.run
from auditor.run.model import Bind, Job, Limits
from auditor.run.sandbox import run_job
from reference_pipeline.bundling import bundle
from reference_pipeline.shards import write_shard
from reference_pipeline.source import DocumentSource
from reference_pipeline.tokenizers import train_sentencepiece

ROUNDS = 3
STEPS, VOCABULARY, TRAIN_TOKENS, VAL_TOKENS = 6, 512, 100_000, 16_384
SHAPE = {
    "VOCAB_SIZE": VOCABULARY, "NUM_LAYERS": 3, "MODEL_DIM": 256, "NUM_HEADS": 4, "NUM_KV_HEADS": 2, "MLP_MULT": 2,
    "TRAIN_SEQ_LEN": 256, "TRAIN_BATCH_TOKENS": 4_096, "ITERATIONS": STEPS, "WARMUP_STEPS": 1, "VAL_LOSS_EVERY": 0,
    "MAX_WALLCLOCK_SECONDS": 0, "SEED": 1, "OMP_NUM_THREADS": 1,
}  # fmt: skip
BASELINE_ONLY = {"VAL_BATCH_SIZE": 8 * 4_096}  # it divides by its eight accumulation steps
PIPELINE_ONLY = {
    "VAL_BATCH_SIZE": 4_096, "EVAL_SEQ_LEN": 256, "ROPE_DIMS": 64, "XSA_LAST_N": 0, "VE_LAST_N": 0, "NUM_LOOPS": 0,
    "BIGRAM_BUCKETS": 0, "SMEAR_GATE": 0, "PARALLEL_START": 3, "AVERAGING": "none", "SLIDING_WINDOW_ENABLED": 0,
    "TORCH_THREADS": 1, "LOG_SOURCE": 0, "GPTQ_CALIBRATION_BATCHES": 1,
}  # fmt: skip
STANDINS = (
    "programs",
    "packages",
    "device",
    "cuda",
    "autocast",
    "compile",
    "attention",
    "triton",
    "losses",
    "distributed",
    "linear algebra",
    "loading",
)  # fmt: skip - all but the virtual clock


PROCESSOR_TIME = (
    "import runpy, sys, time; time.perf_counter = time.process_time; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


@dataclass(frozen=True)
class Speed:
    """Tokens a second of processor time, by the times that a script prints."""

    training: float
    scoring: float


def speed(log: str, name: str) -> Speed:
    """Read a log: the last training time, and the time of the last full evaluation."""
    train_ms = re.findall(r"train_time:\s?(\d+)ms", log)
    eval_ms = re.findall(r"eval_time:(\d+)ms", log)
    if not train_ms or not eval_ms:
        raise SystemExit(f"error: {name} printed no times; its last lines: {log.strip().splitlines()[-12:]}")
    return Speed(
        STEPS * SHAPE["TRAIN_BATCH_TOKENS"] / (int(train_ms[-1]) / 1000), VAL_TOKENS / (int(eval_ms[-1]) / 1000)
    )


def model_flops() -> dict[str, float]:
    """Floating-point operations a token that the model's matrices and its causal attention need, by phase."""
    layers, width, length = SHAPE["NUM_LAYERS"], SHAPE["MODEL_DIM"], SHAPE["TRAIN_SEQ_LEN"]
    kv_width = width * SHAPE["NUM_KV_HEADS"] // SHAPE["NUM_HEADS"]
    matrices = layers * (2 * width * width + 2 * width * kv_width + 2 * SHAPE["MLP_MULT"] * width * width)
    forward = 2.0 * (matrices + VOCABULARY * width) + 2.0 * layers * length * width
    return {"training": 3 * forward, "scoring": forward}


def matmul_flops() -> float:
    """Operations a second of processor time that one core reaches in float32 matrix products."""
    torch.set_num_threads(1)
    left, right, times = torch.randn(1024, 1024), torch.randn(1024, 1024), 20
    left @ right
    began = time.process_time()
    for _ in range(times):
        left @ right
    return times * 2 * 1024**3 / (time.process_time() - began)


def write_data(folder: Path) -> None:
    """Random shards and a tokenizer of their vocabulary."""
    generator = np.random.default_rng(0)
    write_shard(folder / "fineweb_train_000000.bin", generator.integers(3, VOCABULARY, TRAIN_TOKENS))
    write_shard(folder / "fineweb_val_000000.bin", generator.integers(3, VOCABULARY, VAL_TOKENS + 1))
    texts = [document.text for document in DocumentSource(0).draw(1, text_bytes=100_000)]
    train_sentencepiece(texts, VOCABULARY, folder / "tokenizer.model")


def words(*settings: dict[str, object]) -> dict[str, str]:
    """Settings as an environment."""
    return {name: str(value) for part in settings for name, value in part.items()}


def run_baseline(script: Path, data: Path, work: Path) -> Speed:
    """The baseline script, unchanged, confined, on the CPU."""
    work.mkdir()
    (work / "train_gpt.py").write_bytes(script.read_bytes())
    spec = work / "spec.json"
    spec.write_text(json.dumps({"script": "train_gpt.py", "seed": 1, "threads": 1, "standins": STANDINS}))
    environment = words(SHAPE, BASELINE_ONLY) | {
        "DATA_PATH": "/audit/data", "TOKENIZER_PATH": "/audit/data/tokenizer.model", "HOME": "/tmp", "TMPDIR": "/tmp",
        "PATH": os.defpath, "PYTHONHASHSEED": "0",
    }  # fmt: skip
    inside = Path(next(iter(auditor.run.__path__))) / "inside"
    outcome = run_job(
        Job(
            (
                sys.executable,
                "-P",
                "-s",
                "-B",
                "-c",
                PROCESSOR_TIME,
                "/audit/inside/start.py",
                "/work/submission/spec.json",
            ),
            "/work/submission",
            environment,
            (Bind(inside, "/audit/inside"), Bind(data, "/audit/data"), Bind(work, "/work/submission", writable=True)),
            Limits(seconds=600),
            report=False,
        )
    )
    return speed((outcome.stdout + outcome.stderr).decode(errors="replace"), "the baseline")


def run_pipeline(source: str, data: Path, work: Path) -> Speed:
    """The bundled pipeline, as it stands, on the CPU."""
    work.mkdir()
    (work / "train_gpt.py").write_text(source, encoding="utf-8")
    settings = words(SHAPE, PIPELINE_ONLY) | {"DATA_PATH": str(data), "TOKENIZER_PATH": str(data / "tokenizer.model")}
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR")}
    done = subprocess.run(
        [sys.executable, "-c", PROCESSOR_TIME, "train_gpt.py"],
        cwd=work,
        env=kept | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    return speed(done.stdout + done.stderr, "the pipeline")


Rounds = list[tuple[Speed, Speed]]  # (baseline script, pipeline)


def compare(script: Path, folder: Path, rounds: int = ROUNDS) -> str:
    """Run both `rounds` times in turn; the table of all rounds as Markdown."""
    data = folder / "data"
    write_data(data)
    source = bundle("reference_pipeline.pipeline")
    measured: Rounds = []
    for turn in range(rounds):
        theirs = run_baseline(script, data, folder / f"baseline{turn}")
        ours = run_pipeline(source, data, folder / f"pipeline{turn}")
        measured.append((theirs, ours))
        print(f"round {turn + 1}: {theirs} {ours}", file=sys.stderr, flush=True)
    return speed_table(measured, matmul_flops())


def speed_table(rounds: Rounds, reachable: float) -> str:
    """Markdown: medians, then every round's ratio. `reachable` is the core's speed in matrix products, operations/s."""
    shape = ", ".join(f"{name.lower()} {SHAPE[name]}" for name in ("NUM_LAYERS", "MODEL_DIM", "TRAIN_SEQ_LEN"))
    lines = [
        "# Speed against the challenge's baseline script",
        "",
        f"`python -m benchmarks.pipeline --baseline train_gpt.py`: tokens a second of one CPU core by processor time, "
        f"{shape}, {STEPS} steps, {VAL_TOKENS:,} validation tokens; median of {len(rounds)} alternating rounds.",
        "",
        "| phase | baseline script | pipeline | ratio | ratios of the rounds | pipeline, share of matmul speed |",
        "|---|--:|--:|--:|---|--:|",
    ]
    for phase, flops in model_flops().items():
        pairs = [(getattr(theirs, phase), getattr(ours, phase)) for theirs, ours in rounds]
        slow, fast = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratios = [ours / theirs for theirs, ours in pairs]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        share = fast * flops / reachable
        lines.append(
            f"| {phase} | {slow:,.0f} | {fast:,.0f} | {statistics.median(ratios):.2f} | {each} | {share:.0%} |"
        )
    lines += [
        "",
        "On a GPU, not measured: training and scoring against the baseline script and against the scripts of #1493 and "
        "#1855, and the model-FLOP utilisation.",
    ]
    return "\n".join(lines) + "\n"
