"""Regenerate examples/: ``python -m reference_pipeline.examples [--only NAME ...]``.

Each folder is what `reference_pipeline.packing` produces at toy size: a legal one for every legal method, and one for
every way of breaking a rule. Three real runs stand behind every folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from reference_pipeline.errors import PipelineError
from reference_pipeline.packing import Recipe, pack_submission
from reference_pipeline.prepare_data import prepare_toy_data

SEEDS = (1337, 42, 2025)
TOY_DATA: dict[str, object] = {"kind": "sp", "vocab_size": 512, "train_bytes": 600_000, "val_bytes": 24_000}
TOY_MODEL = {
    "NUM_LAYERS": "3",
    "MODEL_DIM": "64",
    "NUM_HEADS": "2",
    "NUM_KV_HEADS": "1",
    "BIGRAM_BUCKETS": "256",
    "LOOP_START": "1",
    "LOOP_END": "1",
    "PARALLEL_START": "2",
    "ITERATIONS": "100",
    "TORCH_THREADS": "1",
}
LEGAL = "This folder is an example of a legal submission at toy size."


def illegal(rule: str, why: str) -> str:
    """Closing line of a violation's README."""
    return f"This folder is an example of a violation at toy size. Rule {rule}: {why}"


RECIPES = (
    Recipe(
        "legal_score_first_ttt",
        "GPTQ int6 + score-first TTT",
        "reference_pipeline.pipeline",
        "quantized_ttt",
        "Sliding-window score; after a chunk is scored, three SGD epochs on its tokens; none on the last chunk.",
        TOY_MODEL | {"TTT_ENABLED": "1"},
        TOY_DATA,
        verdict=LEGAL,
    ),
    Recipe(
        "illegal_prequant_ttt",
        "Pre-quantization TTT + GPTQ int6",
        "reference_pipeline.violations.prequant_ttt",
        "quantized_sliding_window",
        "After training, AdamW adapts the model on the validation tokens for 30 epochs, then it is quantized.",
        TOY_MODEL | {"PREQUANT_TTT_ENABLED": "1", "PREQUANT_TTT_EPOCHS": "30"},
        TOY_DATA,
        verdict=illegal("C3", "the model learns from every validation token before the token is scored."),
    ),
)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="*", default=[], help="names of examples; all when left out")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent.parent / "examples")
    parser.add_argument("--data", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    unknown = set(arguments.only) - {recipe.name for recipe in RECIPES}
    if unknown:
        sys.exit(
            f"error: no example called {', '.join(sorted(unknown))}; there are {', '.join(r.name for r in RECIPES)}"
        )
    toy = prepare_toy_data(arguments.data, **TOY_DATA)
    validation_text = {"name": toy.name, "text_bytes": toy.text_bytes, "entropy_floor_bpb": toy.entropy_floor_bpb}
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "validation_text.json").write_text(json.dumps(validation_text, indent=1) + "\n")
    for recipe in RECIPES:
        if arguments.only and recipe.name not in arguments.only:
            continue
        began = time.perf_counter()
        try:
            runs = pack_submission(recipe, arguments.output / recipe.name, SEEDS, arguments.data)
        except PipelineError as error:
            sys.exit(f"error: {recipe.name}: {error}")
        scores = " ".join(f"{run.val_bpb:.4f}" for run in runs)
        print(
            f"{recipe.name}: {scores} (floor {toy.entropy_floor_bpb:.4f}) in {time.perf_counter() - began:.0f}s",
            flush=True,
        )


if __name__ == "__main__":
    main()
