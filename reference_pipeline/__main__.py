"""``python -m reference_pipeline``: the whole pipeline at toy size, with a progress bar and a report.

Data, tokenizer, training, averaging, GPTQ, artifact, sliding-window score, score-first adaptation. Settings are those
of `hyperparameters`; DATA_PATH and TOKENIZER_PATH point it at real shards.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from reference_pipeline.adaptation import eval_val_ttt
from reference_pipeline.artifact import MAX_SUBMISSION_BYTES, deserialize, serialize
from reference_pipeline.bundling import bundle
from reference_pipeline.distributed import start_distributed, stop_distributed
from reference_pipeline.errors import PipelineError
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.logs import log_environment, open_log
from reference_pipeline.lora import eval_val_document_lora
from reference_pipeline.pipeline import check_settings, log_data, seed_everything
from reference_pipeline.prepare_data import ToyData, prepare_toy_data
from reference_pipeline.quantization import gptq_phase
from reference_pipeline.scoring import ValidationData, eval_val, eval_val_sliding, timed_eval
from reference_pipeline.shards import write_atomically
from reference_pipeline.training import train_model


def use_toy_data(h: Hyperparameters, folder: Path) -> ToyData:
    """Prepare the toy data set and point `h` at it."""
    toy = prepare_toy_data(folder, vocab_size=h.vocab_size)
    h.data_path, h.tokenizer_path, h.bos_id = str(toy.data_path), str(toy.tokenizer_path), toy.bos_id
    h.train_files, h.val_files = f"{h.data_path}/fineweb_train_*.bin", f"{h.data_path}/fineweb_val_*.bin"
    h.val_bytes_files = f"{h.data_path}/fineweb_val_bytes_*.bin"
    return toy


def train_with_progress(h: Hyperparameters, device: torch.device, val_data: ValidationData, console: Console):
    """`train_model` under a progress bar with the estimated time left."""
    columns = (
        TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=h.iterations, loss=float("nan"))
        return train_model(h, device, val_data, lambda step, _, loss: progress.update(task, completed=step, loss=loss))


def report(console: Console, scores: dict[str, float], toy: ToyData | None, total_bytes: int, seconds: float) -> None:
    """The scores between the two numbers that bound an honest model on known text."""
    table = Table(title="bits per byte of the validation text")
    table.add_column("what")
    table.add_column("bpb", justify="right")
    if toy is not None:
        table.add_row("unigram code (training frequencies)", f"{toy.unigram_bpb:.8f}", style="dim")
    for label, bpb in scores.items():
        table.add_row(label, f"{bpb:.8f}")
    if toy is not None:
        table.add_row("entropy floor of this text", f"{toy.entropy_floor_bpb:.8f}", style="dim")
    console.print(table)
    console.print(f"submission: {total_bytes:,} of {MAX_SUBMISSION_BYTES:,} bytes; whole run: {seconds:.0f} s")


def run(h: Hyperparameters, output: Path, console: Console) -> dict[str, float]:
    """Every phase; returns bits per byte by label."""
    began = time.perf_counter()
    check_settings(h)
    rank, world_size, device = start_distributed()
    if h.torch_threads > 0:
        torch.set_num_threads(h.torch_threads)
    h.artifact_path = str(output / "final_model.int6.ptz")
    code_path = output / "train_gpt.py"
    write_atomically(code_path, bundle("reference_pipeline.pipeline").encode())
    open_log(output / "train.log" if rank == 0 else None, console=False)
    toy = None
    if "DATA_PATH" not in os.environ:
        with console.status("preparing data and tokenizer"):
            toy = use_toy_data(h, output / "data")
    log_environment(h, code_path.read_text(encoding="utf-8"), world_size, device)
    seed_everything(h.seed)
    val_data = ValidationData(h)
    log_data(h, val_data)
    model = train_with_progress(h, device, val_data, console)
    scores = {"trained, averaged": timed_eval("pre-quantization post-ema", eval_val, h, device, val_data, model)[1]}
    with console.status("GPTQ and compression"):
        quantized, kept = gptq_phase(h, device, model)
        total_bytes = serialize(h, quantized, kept, code_path)
    for label, name, evaluation in (
        ("quantized", "quantized", eval_val),
        ("quantized, sliding window", "quantized_sliding_window", eval_val_sliding),
        ("quantized, score-first SGD", "quantized_ttt", eval_val_ttt),
        ("quantized, LoRA per document", "quantized_lora_ttt", eval_val_document_lora),
    ):
        with console.status(f"scoring: {label}"):
            scores[label] = timed_eval(name, evaluation, h, device, val_data, deserialize(h, device))[1]
    report(console, scores, toy, total_bytes, time.perf_counter() - began)
    console.print(f"log, artifact and script: {output}")
    stop_distributed()
    return scores


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reference_pipeline", description="Run the legal pipeline end to end."
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs") / "reference", help="folder for log, artifact, script"
    )
    arguments = parser.parse_args()
    try:
        run(Hyperparameters(), arguments.output, Console())
    except PipelineError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
