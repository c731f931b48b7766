"""What adaptation buys when it learns from tokens already scored, and when it learns from them before."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from reference_pipeline.adaptation import eval_val_ttt
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.model import GPT
from reference_pipeline.studies.bench import DEVICE, Bench, Row, Study
from reference_pipeline.violations.prequant_ttt import PrequantHyperparameters, prequant_ttt, void_fraction

EPOCHS = (0, 1, 2, 4, 8, 16, 32)
SGD_LR, ADAMW_LR = 0.01, 0.002
RATES = (0.0005, 0.001, 0.002, 0.004, 0.008)
SWEEP_EPOCHS = 12
VOID_ROUNDS, VOID_EPOCHS = 12, 4
VOID_ALARM = 0.25  # #1852: below it, memorization
NORMAL_VOID = math.erf(1 / math.sqrt(math.pi))  # share of normal numbers not larger than their mean magnitude: 0.575


def adapted_before_scoring(
    bench: Bench, epochs: int, lr: float, frozen: int = 0, model: GPT | None = None, seed: int = 1337
) -> GPT:
    """The violation: AdamW over the whole text, `epochs` times, before any of it is scored."""
    model = model or bench.copy_of_model()
    if epochs:
        h = bench.settings(
            PrequantHyperparameters, prequant_ttt_epochs=epochs, prequant_ttt_lr=lr, prequant_ttt_min_lr=lr / 10,
            prequant_ttt_freeze_blocks=frozen, seed=seed,
        )  # fmt: skip
        prequant_ttt(h, DEVICE, bench.data, model)
    return model


def measure_epochs(bench: Bench) -> list[Row]:
    """The same SGD steps, told before and after they learned; and AdamW before scoring, as in #1364 and #1550."""
    rows: list[Row] = []
    for epochs in EPOCHS:
        sgd = bench.copy_of_model()
        h = bench.settings(Hyperparameters, ttt_epochs=epochs, ttt_lr=SGD_LR)
        score_first = eval_val_ttt(h, DEVICE, bench.data, sgd)[1]
        adamw = adapted_before_scoring(bench, epochs, ADAMW_LR)
        again, again_fresh = bench.sliding(sgd), bench.sliding_fresh(sgd)
        rows.append((epochs, score_first, again, again_fresh, bench.sliding(adamw), bench.sliding_fresh(adamw)))
    return rows


def draw_epochs(bench: Bench, rows: list[Row]) -> Figure:
    """Five lines over the number of epochs."""
    figure, axes = plt.subplots()
    lines = (
        (1, "o-", "tab:blue", "legal: SGD, each chunk scored before it is learned"),
        (2, "s-", "tab:orange", "violation: the same SGD steps, then scored again"),
        (4, "D-", "tab:red", "violation: AdamW over the text, then scored"),
        (3, "s:", "tab:orange", "SGD-adapted model on a fresh text"),
        (5, "D:", "tab:red", "AdamW-adapted model on a fresh text"),
    )
    for column, style, colour, label in lines:
        axes.plot([row[0] for row in rows], [row[column] for row in rows], style, color=colour, label=label)
    bench.draw_floor(axes)
    axes.set_xscale("symlog", base=2, linthresh=1)
    axes.set_xlim(left=-0.2)
    axes.set_xticks([row[0] for row in rows], [f"{row[0]:.0f}" for row in rows])
    axes.set(title="Score by number of adaptation epochs", xlabel="epochs over each token", ylabel="bits per byte")
    axes.legend(fontsize=8)
    return figure


def measure_learning_rate(bench: Bench) -> list[Row]:
    """The violation by number of frozen blocks and learning rate (#1758), on the scored text and on a fresh one."""
    rows: list[Row] = [("no adaptation", 0, bench.sliding(bench.model), bench.sliding_fresh(bench.model))]
    for frozen in range(len(bench.model.blocks)):
        for rate in RATES:
            model = adapted_before_scoring(bench, SWEEP_EPOCHS, rate, frozen)
            rows.append((frozen, rate, bench.sliding(model), bench.sliding_fresh(model)))
    return rows


def draw_learning_rate(bench: Bench, rows: list[Row]) -> Figure:
    """Two panels: the scored text, a fresh text."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.8), sharey=True)
    unadapted, *sweep = rows
    rates = sorted({row[1] for row in sweep})
    for column, (axes, text) in enumerate(zip(panels, ("the scored text", "a fresh text"), strict=True), start=2):
        for frozen in sorted({row[0] for row in sweep}):
            chosen = [row for row in sweep if row[0] == frozen]
            label = f"blocks frozen: {frozen:.0f}" + (" and the embedding" if frozen else "")
            axes.semilogx([row[1] for row in chosen], [row[column] for row in chosen], "o-", label=label)
        axes.axhline(unadapted[column], color="grey", linestyle=":", label="not adapted")
        axes.minorticks_off()
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.set(title=f"{SWEEP_EPOCHS} epochs before scoring: {text}", xlabel="AdamW learning rate")
    panels[0].set_ylabel("bits per byte")
    bench.draw_floor(panels[0])
    panels[0].legend(fontsize=8)
    return figure


def measure_void(bench: Bench) -> list[Row]:
    """#1852 reads memorization off the void fraction: here are both, while a model memorizes a text."""
    model = bench.copy_of_model()
    scored_before, fresh_before = bench.sliding(model), bench.sliding_fresh(model)
    rows: list[Row] = [(0, void_fraction(model), scored_before, fresh_before, 0)]
    for turn in range(1, VOID_ROUNDS + 1):
        adapted_before_scoring(bench, VOID_EPOCHS, 2 * ADAMW_LR, model=model, seed=turn)
        scored, fresh = bench.sliding(model), bench.sliding_fresh(model)
        memorized = (scored_before - scored) - (fresh_before - fresh)
        rows.append((turn * VOID_EPOCHS, void_fraction(model), scored, fresh, memorized))
    return rows


def draw_void(bench: Bench, rows: list[Row]) -> Figure:
    """Two panels: scores, void fraction."""
    epochs = [row[0] for row in rows]
    figure, (upper, lower) = plt.subplots(2, 1, sharex=True, figsize=(7.5, 6))
    upper.plot(epochs, [row[2] for row in rows], "o-", color="tab:red", label="the text it adapts to")
    upper.plot(epochs, [row[3] for row in rows], "^:", color="tab:red", label="a fresh text")
    bench.draw_floor(upper)
    upper.set(title="A model memorizes a text", ylabel="bits per byte")
    lower.plot(epochs, [row[1] for row in rows], "s-", color="tab:blue", label="void fraction of the matrices")
    lower.axhline(NORMAL_VOID, color="grey", linestyle="--", label=f"of normal random numbers: {NORMAL_VOID:.3f}")
    lower.axhline(VOID_ALARM, color="black", linestyle=":", label=f"alarm claimed in #1852: {VOID_ALARM}")
    lower.set(title="Its void fraction", xlabel="epochs over the text", ylabel="share of weights", ylim=(0, 1))
    upper.legend(fontsize=8)
    lower.legend(fontsize=8)
    return figure


EPOCH_STUDY = Study(
    ("epochs", "sgd_score_first_bpb", "sgd_scored_again_bpb", "sgd_fresh_text_bpb", "adamw_score_last_bpb",
     "adamw_fresh_text_bpb"),
    measure_epochs, draw_epochs,
)  # fmt: skip
LEARNING_RATE_STUDY = Study(
    ("frozen_blocks", "learning_rate", "scored_text_bpb", "fresh_text_bpb"), measure_learning_rate, draw_learning_rate
)
VOID_STUDY = Study(
    ("epochs", "void_fraction", "scored_text_bpb", "fresh_text_bpb", "memorized_bpb"), measure_void, draw_void
)
