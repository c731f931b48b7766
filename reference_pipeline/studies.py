"""Studies: ``python -m reference_pipeline.studies [NAME ...] --output FOLDER``; each writes a plot and a CSV.

epochs         gain by number of adaptation epochs: score-first (legal) against before-scoring (a violation)
learning_rate  the violation's gain by learning rate and by how many blocks are frozen
void           does the void fraction (share of small weights) notice memorisation? The gap to fresh text does
budget         where the artifact's bytes go
floor          every way of scoring against the entropy floor of the text: what no honest score can beat
One small model is trained once and every study starts from a copy of it.
"""

from __future__ import annotations

import argparse
import copy
import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import torch
from torch import nn

from reference_pipeline.adaptation import eval_val_ttt
from reference_pipeline.artifact import named_tensors, pack_tensors
from reference_pipeline.bundling import bundle
from reference_pipeline.errors import PipelineError
from reference_pipeline.examples import TOY_MODEL
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.lora import eval_val_document_lora
from reference_pipeline.phased import eval_val_phased
from reference_pipeline.pipeline import seed_everything
from reference_pipeline.prepare_data import ToyData, encode_documents, prepare_toy_data
from reference_pipeline.quantization import gptq_phase
from reference_pipeline.scoring import ValidationData, eval_val_sliding
from reference_pipeline.shards import write_shard
from reference_pipeline.source import DocumentSource
from reference_pipeline.tokenizers import SentencePieceTokenizer
from reference_pipeline.training import train_model
from reference_pipeline.violations.best_of_passes import eval_val_best
from reference_pipeline.violations.byte_ppm import PpmHyperparameters, eval_val_ppm
from reference_pipeline.violations.last_epoch import EpochHyperparameters, eval_val_lora_epochs
from reference_pipeline.violations.ngram_cache import NgramHyperparameters, eval_val_ngram
from reference_pipeline.violations.paid_prefix import PrefixHyperparameters, eval_val_prefix
from reference_pipeline.violations.prequant_ttt import PrequantHyperparameters, prequant_ttt, void_fraction
from reference_pipeline.violations.slot import SlotHyperparameters, eval_val_slot
from reference_pipeline.violations.space_twice import eval_val_sliding_luts
from reference_pipeline.violations.two_passes import eval_val_two_passes

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Bench:
    """One trained model and its data, shared by all studies."""

    def __init__(self, output: Path):
        self.output = output
        self.toy: ToyData = prepare_toy_data(output / "data", train_bytes=300_000, val_bytes=8_000)
        self.h = self.settings(Hyperparameters)
        torch.set_num_threads(1)
        seed_everything(self.h.seed)
        self.data = ValidationData(self.h)
        self.model = train_model(self.h, DEVICE, self.data)

    def settings(self, kind: type[Hyperparameters], **overrides: object) -> Hyperparameters:
        """Settings of class `kind` for the toy model and data."""
        h = kind()
        for name, value in TOY_MODEL.items():
            attribute = name.lower()
            setattr(h, attribute, type(getattr(h, attribute))(value))
        folder = self.toy.data_path
        h.data_path, h.tokenizer_path, h.vocab_size = str(folder), str(self.toy.tokenizer_path), self.toy.vocab_size
        h.train_files, h.val_files = f"{folder}/fineweb_train_*.bin", f"{folder}/fineweb_val_*.bin"
        h.val_bytes_files = f"{folder}/fineweb_val_bytes_*.bin"
        for name, value in overrides.items():
            setattr(h, name, value)
        return h

    def fresh(self) -> nn.Module:
        """A copy of the trained model."""
        return copy.deepcopy(self.model)

    def fresh_text(self) -> ValidationData:
        """Text of the same source and era that no model has seen."""
        documents = DocumentSource(0, era=1).draw(99, text_bytes=8_000)
        tokens, sizes = encode_documents(documents, SentencePieceTokenizer(self.toy.tokenizer_path))
        folder = self.output / "fresh"
        write_shard(folder / "fineweb_val_000000.bin", tokens)
        write_shard(folder / "fineweb_val_bytes_000000.bin", sizes)
        h = self.settings(Hyperparameters)
        h.val_files, h.val_bytes_files = f"{folder}/fineweb_val_*.bin", f"{folder}/fineweb_val_bytes_*.bin"
        return ValidationData(h)

    def sliding(self, model: nn.Module, data: ValidationData | None = None) -> float:
        """Bits per byte, sliding window."""
        return eval_val_sliding(self.h, DEVICE, data or self.data, model)[1]

    def save(self, name: str, header: Sequence[str], rows: list[Sequence[object]], figure: plt.Figure) -> None:
        """NAME.csv, NAME.svg and NAME.png."""
        with (self.output / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        figure.tight_layout()
        figure.savefig(self.output / f"{name}.svg", metadata={"Date": None})
        figure.savefig(self.output / f"{name}.png", dpi=120)
        plt.close(figure)


def bpb_axes(bench: Bench, title: str, x: str) -> tuple[plt.Figure, plt.Axes]:
    """A figure of bits per byte with the entropy floor drawn in."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    axes.axhline(bench.toy.entropy_floor_bpb, color="black", linestyle="--", label="entropy floor of this text")
    axes.set(title=title, xlabel=x, ylabel="bits per byte")
    return figure, axes


def study_epochs(bench: Bench) -> None:
    """Score-first adaptation saturates above the floor; adaptation before scoring goes through it."""
    rows = []
    for epochs in (0, 1, 2, 4, 8, 16):
        legal = bench.settings(Hyperparameters, ttt_epochs=epochs, ttt_lr=0.01)
        score_first = eval_val_ttt(legal, DEVICE, bench.data, bench.fresh())[1]
        model = bench.fresh()
        if epochs:
            h = bench.settings(PrequantHyperparameters, prequant_ttt_epochs=epochs, prequant_ttt_lr=0.003)
            prequant_ttt(h, DEVICE, bench.data, model)
        rows.append((epochs, score_first, bench.sliding(model), bench.sliding(model, bench.fresh_text())))
    figure, axes = bpb_axes(bench, "Adaptation by epochs", "epochs")
    epochs, legal, illegal, unseen = zip(*rows, strict=True)
    axes.plot(epochs, legal, "o-", label="score first (legal)")
    axes.plot(epochs, illegal, "s-", label="train first, then score (violation)")
    axes.plot(epochs, unseen, "^:", label="the violating model on fresh text")
    axes.legend()
    bench.save("epochs", ("epochs", "score_first", "train_first", "train_first_on_fresh_text"), rows, figure)


def study_learning_rate(bench: Bench) -> None:
    """Eight epochs before scoring, by learning rate and frozen blocks."""
    rows = []
    figure, axes = bpb_axes(bench, "Adaptation before scoring, 8 epochs (violation)", "learning rate")
    for frozen in (0, 1, 2):
        scores = []
        for rate in (0.0003, 0.001, 0.003, 0.01):
            h = bench.settings(
                PrequantHyperparameters, prequant_ttt_epochs=8, prequant_ttt_lr=rate, prequant_ttt_freeze_blocks=frozen
            )
            model = bench.fresh()
            prequant_ttt(h, DEVICE, bench.data, model)
            scores.append((rate, bench.sliding(model)))
            rows.append((frozen, *scores[-1]))
        axes.semilogx(*zip(*scores, strict=True), "o-", label=f"{frozen} blocks frozen")
    axes.legend()
    bench.save("learning_rate", ("frozen_blocks", "learning_rate", "bpb"), rows, figure)


def study_void(bench: Bench) -> None:
    """Void fraction and memorisation (bits per byte saved on the text, not on fresh text) after each epoch."""
    model, unseen = bench.fresh(), bench.fresh_text()
    seen_0, unseen_0 = bench.sliding(model), bench.sliding(model, unseen)
    rows = [(0, void_fraction(model), 0.0)]
    for epoch in range(1, 13):
        h = bench.settings(PrequantHyperparameters, prequant_ttt_epochs=2, prequant_ttt_lr=0.003, seed=epoch)
        prequant_ttt(h, DEVICE, bench.data, model)
        memorised = (seen_0 - bench.sliding(model)) - (unseen_0 - bench.sliding(model, unseen))
        rows.append((2 * epoch, void_fraction(model), memorised))
    epochs, void, memorised = zip(*rows, strict=True)
    figure, axes = plt.subplots(figsize=(7, 4.5))
    axes.plot(epochs, memorised, "o-", label="memorised (bits per byte)")
    axes.plot(epochs, void, "s-", label="void fraction")
    axes.axhline(0.25, linestyle=":", color="grey", label="void < 0.25: claimed alarm")
    axes.set(title="The void fraction does not notice memorisation", xlabel="epochs over the validation text")
    axes.legend()
    bench.save("void", ("epochs", "void_fraction", "memorised_bpb"), rows, figure)


def study_budget(bench: Bench) -> None:
    """Compressed bytes of each component, packed alone."""
    quantized, kept = gptq_phase(bench.h, DEVICE, bench.model)
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in named_tensors(quantized, kept).items():
        kind = next((k for k in ("tok_emb", "attn.", "mlp.", "bigram", "value") if k in name), "other")
        groups.setdefault(kind.strip("."), {})[name] = tensor
    rows: list[Sequence[object]] = [(kind, len(pack_tensors(part, "brotli"))) for kind, part in sorted(groups.items())]
    rows.append(("code", len(bundle("reference_pipeline.pipeline").encode())))
    figure, axes = plt.subplots(figsize=(7, 4.5))
    axes.barh([str(kind) for kind, _ in rows], [int(size) for _, size in rows])
    axes.set(title="Submission bytes by component (toy size)", xlabel="bytes")
    bench.save("budget", ("component", "bytes"), rows, figure)


def study_floor(bench: Bench) -> None:
    """Every scoring procedure on the same model; strong settings for the violations."""
    legal: dict[str, Callable[[nn.Module], float]] = {
        "sliding window": bench.sliding,
        "score-first SGD": lambda m: eval_val_ttt(bench.settings(Hyperparameters, ttt_lr=0.01), DEVICE, bench.data, m)[
            1
        ],
        "LoRA per document": lambda m: eval_val_document_lora(bench.h, DEVICE, bench.data, m)[1],
        "phased": lambda m: eval_val_phased(bench.h, DEVICE, bench.data, m)[1],
    }

    def prequant(model: nn.Module) -> float:
        h = bench.settings(PrequantHyperparameters, prequant_ttt_epochs=40, prequant_ttt_lr=0.003)
        prequant_ttt(h, DEVICE, bench.data, model)
        return bench.sliding(model)

    def prefix(model: nn.Module) -> float:
        h = bench.settings(PrefixHyperparameters)
        stored = bench.data.read(1, int(0.7 * bench.data.targets))
        return eval_val_prefix(h, DEVICE, bench.data, model, stored)[1]

    def adapted(fn: Callable[..., tuple[float, float]], kind: type[Hyperparameters], **overrides: object):
        return lambda model: fn(bench.settings(kind, **overrides), DEVICE, bench.data, model)[1]

    illegal: dict[str, Callable[[nn.Module], float]] = {
        "pre-quantization TTT": prequant,
        "last of 8 epochs": adapted(eval_val_lora_epochs, EpochHyperparameters, lora_epochs=8),
        "SLOT, 100 steps": adapted(eval_val_slot, SlotHyperparameters, slot_steps=100),
        "n-gram cache": adapted(eval_val_ngram, NgramHyperparameters, ngram_buckets=256),
        "byte PPM": adapted(eval_val_ppm, PpmHyperparameters),
        "two passes, 30 epochs": adapted(eval_val_two_passes, Hyperparameters, ttt_epochs=30, ttt_lr=0.05),
        "best of passes, 30 epochs": adapted(eval_val_best, Hyperparameters, ttt_epochs=30, ttt_lr=0.05),
        "stored prefix": prefix,
        "space counted twice": adapted(eval_val_sliding_luts, Hyperparameters),
    }
    rows = [(name, "legal", score(bench.fresh())) for name, score in legal.items()]
    rows += [(name, "violation", score(bench.fresh())) for name, score in illegal.items()]
    figure, axes = plt.subplots(figsize=(8, 5))
    colours = ["tab:blue" if kind == "legal" else "tab:red" for _, kind, _ in rows]
    axes.barh([name for name, _, _ in rows], [bpb for _, _, bpb in rows], color=colours)
    axes.axvline(bench.toy.entropy_floor_bpb, color="black", linestyle="--", label="entropy floor of this text")
    axes.set(title="Below the floor only what is not legal", xlabel="bits per byte")
    axes.invert_yaxis()
    axes.legend()
    bench.save("floor", ("procedure", "kind", "bpb"), rows, figure)


STUDIES = {
    "epochs": study_epochs,
    "learning_rate": study_learning_rate,
    "void": study_void,
    "budget": study_budget,
    "floor": study_floor,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reference_pipeline.studies", description="Run studies, write plots."
    )
    parser.add_argument("studies", nargs="*", metavar="NAME", help=f"any of {', '.join(STUDIES)}; all when left out")
    parser.add_argument("--output", type=Path, default=Path("runs") / "studies")
    arguments = parser.parse_args()
    unknown = set(arguments.studies) - set(STUDIES)
    if unknown:
        sys.exit(f"error: no study called {', '.join(sorted(unknown))}; there are {', '.join(STUDIES)}")
    try:
        bench = Bench(arguments.output)
        for name in arguments.studies or STUDIES:
            STUDIES[name](bench)
            print(f"{name}: {arguments.output / name}.svg", flush=True)
    except PipelineError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
