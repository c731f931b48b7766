"""What all studies share: one trained model, the text it is scored on, a fresh text, and how results are written."""

from __future__ import annotations

import copy
import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reference_pipeline.errors import PipelineError
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.model import GPT
from reference_pipeline.pipeline import seed_everything
from reference_pipeline.prepare_data import ToyData, encode_documents, prepare_toy_data
from reference_pipeline.scoring import ValidationData, eval_val_sliding
from reference_pipeline.shards import write_shard
from reference_pipeline.source import DocumentSource
from reference_pipeline.tokenizers import SentencePieceTokenizer
from reference_pipeline.training import train_model

DEVICE = torch.device("cpu")  # one thread of it: the same digits on every machine of a kind
TRAIN_BYTES, VAL_BYTES = 400_000, 12_000
MODEL = {
    "num_layers": 4, "model_dim": 64, "num_heads": 4, "num_kv_heads": 2, "bigram_buckets": 256, "parallel_start": 3,
    "loop_start": 1, "loop_end": 1, "iterations": 250, "train_batch_tokens": 1024, "train_log_every": 50,
    "ttt_chunk_tokens": 512,
}  # fmt: skip

plt.rcParams.update({"svg.hashsalt": "studies", "svg.fonttype": "none"})  # the same plot is the same file
plt.rcParams.update({"figure.figsize": (7.5, 4.8), "axes.grid": True, "grid.alpha": 0.3, "axes.axisbelow": True})

Row = tuple[str | float, ...]


class Bench:
    """One trained model and its data. Every study starts from a copy of the model."""

    def __init__(self, folder: Path, seed: int = 1337):
        self.folder = folder
        self.seed = seed
        self.toy: ToyData = prepare_toy_data(folder, train_bytes=TRAIN_BYTES, val_bytes=VAL_BYTES)
        self.h = self.settings(Hyperparameters)
        self.data = ValidationData(self.h)

    @cached_property
    def model(self) -> GPT:
        """The model, trained."""
        torch.set_num_threads(1)
        seed_everything(self.seed)
        return train_model(self.h, DEVICE, self.data)

    @cached_property
    def fresh_data(self) -> ValidationData:
        """Text of the same source and era, as long as the scored one, that no model has seen."""
        documents = DocumentSource(0, era=1).draw(99, text_bytes=VAL_BYTES)
        tokens, sizes = encode_documents(documents, SentencePieceTokenizer(self.toy.tokenizer_path))
        write_shard(self.folder / "fresh" / "fineweb_val_000000.bin", tokens)
        write_shard(self.folder / "fresh" / "fineweb_val_bytes_000000.bin", sizes)
        h = self.settings(Hyperparameters)
        h.val_files = f"{self.folder}/fresh/fineweb_val_*.bin"
        h.val_bytes_files = f"{self.folder}/fresh/fineweb_val_bytes_*.bin"
        return ValidationData(h)

    def settings[Settings: Hyperparameters](self, kind: type[Settings], **overrides: object) -> Settings:
        """Settings of class `kind` for this model and data."""
        h = kind()
        folder = self.toy.data_path
        h.data_path, h.tokenizer_path, h.vocab_size = str(folder), str(self.toy.tokenizer_path), self.toy.vocab_size
        h.train_files, h.val_files = f"{folder}/fineweb_train_*.bin", f"{folder}/fineweb_val_*.bin"
        h.val_bytes_files = f"{folder}/fineweb_val_bytes_*.bin"
        for name, value in ({"seed": self.seed} | MODEL | overrides).items():
            setattr(h, name, value)
        return h

    def copy_of_model(self) -> GPT:
        """A copy of the trained model."""
        return copy.deepcopy(self.model)

    def sliding(self, model: torch.nn.Module) -> float:
        """Bits per byte of the scored text, sliding window."""
        return eval_val_sliding(self.h, DEVICE, self.data, model)[1]

    def sliding_fresh(self, model: torch.nn.Module) -> float:
        """Bits per byte of the fresh text, sliding window."""
        return eval_val_sliding(self.h, DEVICE, self.fresh_data, model)[1]

    def draw_floor(self, axes: Axes) -> None:
        """The entropy floor of the scored text as a horizontal line."""
        axes.axhline(self.toy.entropy_floor_bpb, color="black", linestyle="--", label="entropy floor of the text")


@dataclass(frozen=True)
class Study:
    """`measure` makes the rows under `columns`; `draw` makes the plot of rows, measured now or read from a file."""

    columns: tuple[str, ...]
    measure: Callable[[Bench], list[Row]]
    draw: Callable[[Bench, list[Row]], Figure]


def write_rows(path: Path, columns: tuple[str, ...], rows: list[Row]) -> None:
    """Rows as CSV; numbers that are not whole have six decimals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [[cell if isinstance(cell, str) else number_text(cell) for cell in row] for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *cells])


def number_text(number: float) -> str:
    """A whole number without decimals, another one with six."""
    return f"{number:.0f}" if number == int(number) else f"{number:.6f}"


def read_rows(path: Path, columns: tuple[str, ...]) -> list[Row]:
    """Rows that `write_rows` wrote."""
    if not path.is_file():
        raise PipelineError(f"{path}: no such file; run the study without --redraw first")
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    if tuple(header) != columns:
        raise PipelineError(f"{path}: columns {', '.join(header)} are not this study's; run it without --redraw")
    return [tuple(number_or_text(cell) for cell in line) for line in lines]


def number_or_text(cell: str) -> str | float:
    """A cell as a number where it is one."""
    try:
        return float(cell)
    except ValueError:
        return cell


def save_plot(figure: Figure, stem: Path) -> None:
    """STEM.svg and STEM.png."""
    figure.tight_layout()
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(stem.with_suffix(".png"), dpi=100)
    plt.close(figure)
