"""Where the artifact's bytes go, and how every way of scoring stands against the entropy of the text."""

from __future__ import annotations

import math
from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import nn

from reference_pipeline.adaptation import eval_val_ttt
from reference_pipeline.artifact import model_from_tensors, named_tensors, pack_tensors, wrap_code
from reference_pipeline.bundling import bundle
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.lora import eval_val_document_lora
from reference_pipeline.phased import eval_val_phased
from reference_pipeline.quantization import collect_hessians, gptq_phase, quantize_model
from reference_pipeline.scoring import eval_val, eval_val_documents
from reference_pipeline.studies.adaptation import adapted_before_scoring
from reference_pipeline.studies.bench import DEVICE, Bench, Row, Study
from reference_pipeline.violations.best_of_passes import eval_val_best
from reference_pipeline.violations.byte_ppm import PpmHyperparameters, eval_val_ppm
from reference_pipeline.violations.last_epoch import EpochHyperparameters, eval_val_lora_epochs
from reference_pipeline.violations.ngram_cache import NgramHyperparameters, eval_val_ngram
from reference_pipeline.violations.paid_prefix import PrefixHyperparameters, eval_val_prefix
from reference_pipeline.violations.slot import SlotHyperparameters, eval_val_slot
from reference_pipeline.violations.space_twice import eval_val_sliding_luts
from reference_pipeline.violations.train_data_at_eval import RefreshHyperparameters, eval_val_refreshed
from reference_pipeline.violations.two_passes import eval_val_two_passes
from reference_pipeline.violations.validation_subset import SubsetHyperparameters, eval_val_subset

COMPONENTS = {  # a part of a tensor's name: the component it belongs to
    "tok_emb": "token embedding",
    "attn.c_": "attention, inputs",
    "attn.proj": "attention, output",
    "mlp.": "MLP",
    "bigram": "bigram hash",
    "value_": "value embedding",
}
OTHER = "scales and gates"


def measure_budget(bench: Bench) -> list[Row]:
    """Compressed bytes of each component packed alone, before and after quantization, and of the code."""
    quantized, kept = gptq_phase(bench.h, DEVICE, bench.copy_of_model())
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in named_tensors(quantized, kept).items():
        groups.setdefault(component_of(name), {})[name] = tensor
    state = bench.model.state_dict()
    rows: list[Row] = []
    for component in (*COMPONENTS.values(), OTHER):
        names = {name.split(":")[0] for name in groups[component]}
        plain = {name: state[name].to(torch.float16) for name in sorted(names)}
        weights = sum(tensor.numel() for tensor in plain.values())
        sizes = len(pack_tensors(plain, "brotli")), len(pack_tensors(groups[component], "brotli"))
        rows.append((component, weights, *sizes))
    source = bundle("reference_pipeline.pipeline")
    rows.append(("code", 0, len(source.encode()), len(wrap_code(source).encode())))
    return rows


def component_of(name: str) -> str:
    """The component that tensor `name` belongs to."""
    return next((component for part, component in COMPONENTS.items() if part in name), OTHER)


def draw_budget(bench: Bench, rows: list[Row]) -> Figure:
    """Two bars a component."""
    figure, axes = plt.subplots(figsize=(8, 4.8))
    bars = ((2, -0.2, "lightgrey", "float16 + brotli; code as text"),
            (3, 0.2, "tab:blue", "GPTQ + brotli; code self-extracting"))  # fmt: skip
    for column, shift, colour, label in bars:
        places = [place + shift for place in range(len(rows))]
        axes.barh(places, [row[column] / 1000 for row in rows], 0.4, color=colour, label=label)
    for place, (_, weights, _, size) in enumerate(rows):
        bits = f", {8 * size / weights:.1f} bits a weight" if weights else ""
        axes.text(size / 1000 + 1, place + 0.2, f"{size / 1000:.1f} kB{bits}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set(title="Submission by component (toy size)", xlabel="kB (1,000 bytes)")
    axes.legend(fontsize=8)
    return figure


def legal_procedures(bench: Bench) -> dict[str, Callable[[nn.Module], float]]:
    """Ways of scoring that keep the rules, by name: model -> bits per byte."""
    settings = bench.settings(Hyperparameters, ttt_lr=0.01)
    evaluations = {
        "plain windows": eval_val,
        "document-wise": eval_val_documents,
        "score-first SGD": eval_val_ttt,
        "LoRA per document": eval_val_document_lora,
        "phased": eval_val_phased,
    }

    def scored_by(evaluation: Callable[..., tuple[float, float]]) -> Callable[[nn.Module], float]:
        return lambda model: evaluation(settings, DEVICE, bench.data, model)[1]

    return {"sliding window": bench.sliding} | {name: scored_by(fn) for name, fn in evaluations.items()}


def illegal_procedures(bench: Bench) -> dict[str, Callable[[nn.Module], float]]:
    """Ways of scoring that break a rule, by name; strong settings."""

    def adapted(fn: Callable[..., tuple[float, float]], kind: type[Hyperparameters], **overrides: object):
        return lambda model: fn(bench.settings(kind, **overrides), DEVICE, bench.data, model)[1]

    def prefix(model: nn.Module) -> float:
        stored = bench.data.read(1, int(0.7 * bench.data.targets))
        return eval_val_prefix(bench.settings(PrefixHyperparameters), DEVICE, bench.data, model, stored)[1]

    def calibrated(model: nn.Module) -> float:
        usable = bench.data.targets // bench.h.train_seq_len * bench.h.train_seq_len
        rows = bench.data.read(0, usable).view(-1, bench.h.train_seq_len)
        quantized, kept = quantize_model(bench.h, model, collect_hessians(model, list(rows.split(16)), DEVICE))
        return bench.sliding(model_from_tensors(bench.h, named_tensors(quantized, kept), DEVICE))

    passes = {"ttt_epochs": 30, "ttt_lr": 0.05}
    return {
        "pre-quantization TTT, 40 epochs": lambda _: bench.sliding(adapted_before_scoring(bench, 40, 0.004)),
        "LoRA, last of 8 epochs": adapted(eval_val_lora_epochs, EpochHyperparameters, lora_epochs=8),
        "SLOT, 100 steps": adapted(eval_val_slot, SlotHyperparameters, slot_steps=100),
        "target-keyed n-gram cache": adapted(eval_val_ngram, NgramHyperparameters, ngram_buckets=256),
        "byte PPM of the realised token": adapted(eval_val_ppm, PpmHyperparameters),
        "two passes, 30 epochs": adapted(eval_val_two_passes, Hyperparameters, **passes),
        "best of passes, 30 epochs": adapted(eval_val_best, Hyperparameters, **passes),
        "paid prefix, 70% of the text": prefix,
        "space counted twice": adapted(eval_val_sliding_luts, Hyperparameters),
        "validation subset": adapted(eval_val_subset, SubsetHyperparameters, eval_max_tokens=1024),
        "calibration on validation": calibrated,
        "training data at evaluation": adapted(eval_val_refreshed, RefreshHyperparameters),
    }


def measure_floor(bench: Bench) -> list[Row]:
    """Every way of scoring one model, against the ideal code length of the text.

    `beats_floor_nats` is the logarithm of a test martingale: a rule-abiding scorer reaches d with probability exp(-d).
    """
    floor, nats_per_bpb = bench.toy.entropy_floor_bpb, bench.toy.text_bytes * math.log(2)
    rows: list[Row] = []
    for kind, procedures in (("legal", legal_procedures(bench)), ("violation", illegal_procedures(bench))):
        for name, score in procedures.items():
            bpb = score(bench.copy_of_model())
            rows.append((name, kind, bpb, (floor - bpb) * nats_per_bpb))
    return rows


def draw_floor(bench: Bench, rows: list[Row]) -> Figure:
    """One bar a procedure, the floor as a line."""
    figure, axes = plt.subplots(figsize=(8, 6))
    colours = {"legal": "tab:blue", "violation": "tab:red"}
    axes.barh([row[0] for row in rows], [row[2] for row in rows], color=[colours[row[1]] for row in rows])
    label = "entropy floor of the text"
    line = axes.axvline(bench.toy.entropy_floor_bpb, color="black", linestyle="--", label=label)
    axes.set(title="One model, every way of scoring it", xlabel="bits per byte")
    axes.invert_yaxis()
    axes.legend(handles=[*(Patch(color=c, label=k) for k, c in colours.items()), line], fontsize=8)
    return figure


BUDGET_STUDY = Study(("component", "weights", "plain_bytes", "submitted_bytes"), measure_budget, draw_budget)
FLOOR_STUDY = Study(("procedure", "kind", "bpb", "beats_floor_nats"), measure_floor, draw_floor)
