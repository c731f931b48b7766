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
from reference_pipeline.shards import write_atomically

SEEDS = (1337, 42, 2025)
TOY_DATA: dict[str, object] = {"kind": "sp", "vocab_size": 512, "train_bytes": 600_000, "val_bytes": 8_000}
TOY_MODEL = {
    "NUM_LAYERS": "2",
    "MODEL_DIM": "48",
    "NUM_HEADS": "2",
    "NUM_KV_HEADS": "1",
    "BIGRAM_BUCKETS": "256",
    "LOOP_START": "1",
    "LOOP_END": "1",
    "PARALLEL_START": "1",
    "ITERATIONS": "40",
    "TRAIN_BATCH_TOKENS": "512",
    "TTT_CHUNK_TOKENS": "512",
    "TORCH_THREADS": "1",
}
LEGAL = "This folder is an example of a legal submission at toy size."
PIPELINE = "reference_pipeline.pipeline"
SLIDING = "quantized_sliding_window"


def legal(name: str, title: str, label: str, summary: str, wrap: bool = False, **settings: str) -> Recipe:
    """A folder that breaks no rule; upper-case `settings` are the run's environment, `kind` the tokenizer."""
    data = TOY_DATA | {"kind": settings.pop("kind", "sp")}
    return Recipe(f"legal_{name}", title, PIPELINE, label, summary, TOY_MODEL | settings, data, wrap, verdict=LEGAL)


def illegal(name: str, title: str, label: str, summary: str, rule: str, why: str, **settings: str) -> Recipe:
    """A folder that breaks `rule`, from the module of that name in `reference_pipeline.violations`."""
    verdict = f"This folder is an example of a violation at toy size. Rule {rule}: {why}"
    entry = f"reference_pipeline.violations.{name}"
    return Recipe(f"illegal_{name}", title, entry, label, summary, TOY_MODEL | settings, TOY_DATA, verdict=verdict)


RECIPES = (
    legal(
        "score_first_ttt", "GPTQ int6 + score-first TTT", "quantized_ttt",
        "Sliding-window score; after a chunk is scored, three SGD epochs on its tokens; none on the last chunk.",
        TTT_ENABLED="1", TTT_LR="0.02",
    ),
    illegal(
        "prequant_ttt", "Pre-quantization TTT + GPTQ int6", SLIDING,
        "After training, AdamW adapts the model on the validation tokens for 30 epochs, then it is quantized.",
        "C3", "the model learns from every validation token before the token is scored.",
        PREQUANT_TTT_ENABLED="1", PREQUANT_TTT_EPOCHS="30", PREQUANT_TTT_LR="0.004",
    ),
    legal(
        "full_evaluation", "GPTQ int6, plain windows", "quantized",
        "Every window of the validation text starts with an empty context.", SLIDING_WINDOW_ENABLED="0",
    ),
    legal(
        "sliding_window", "GPTQ int6 + sliding window", SLIDING,
        "Windows slide by 64 tokens; each token is scored once, with at least 64 tokens of context.",
    ),
    legal(
        "document_wise", "GPTQ int6 + document-wise windows", "quantized_documents",
        "Windows slide within a document and never reach into the one before it.", DOCUMENT_EVAL_ENABLED="1",
    ),
    legal(
        "document_lora", "Per-document LoRA with reset", "quantized_lora_ttt",
        "A LoRA for each document, reset at its start; each chunk of 32 tokens is scored, then learned from.",
        LORA_TTT_ENABLED="1",
    ),
    legal(
        "phased_ttt", "Phased TTT over scored documents", "quantized_ttt_phased",
        "Per-document LoRA; at two pauses, global SGD over the documents scored since the last one.",
        PHASED_TTT_ENABLED="1",
    ),
    legal(
        "causal_slot", "Causal SLOT, bias by L-BFGS", "quantized_slot_causal",
        "A bias on the logits; after a window is scored, it is fitted on the last 128 scored tokens for the next one.",
        SLOT_CAUSAL="1",
    ),
    legal(
        "every_option", "Every option of the model, rANS", "quantized_ttt",
        "Trigrams, gated attention, value residual, DTG, two lanes, an untied head of another width, MTP in training, "
        "percentile grids, the smaller of rANS and brotli; score-first TTT with a cosine.",
        TRIGRAM="1", GATED_ATTENTION="1", VALUE_RESIDUAL="1", DTG_ENABLED="1", MTP_NUM_HEADS="2", TIE_EMBEDDINGS="0",
        EMBEDDING_DIM="32", PARALLEL_START_LAYER="1", SKIP_GATES="0", SIGMOID_SKIPS="1", ROPE_TRAIN_SEQ_LEN="64",
        SDCLIP_ENABLED="0", GPTQ_CALIBRATION="self", GPTQ_CALIBRATION_TEMPERATURE="0.8", GPTQ_CALIBRATION_BATCHES="2",
        COMPRESSOR="auto", MUON_BANKS="1", WARMDOWN_ITERS="20", GRAD_ACCUM_STEPS="2", TTT_ENABLED="1",
        TTT_COSINE_DECAY="1", TTT_LR="0.02",
    ),
    legal(
        "caseops", "CaseOps + raw-byte sidecar", SLIDING,
        "Capitals are spelled as marker and small letter, losslessly; bits are divided by the raw text's bytes.",
        kind="caseops",
    ),
    legal(
        "byte_level", "Byte-level tokens", SLIDING,
        "One token a byte; LQER correction of rank 4 on the three matrices with the largest error.",
        kind="byte", LQER_RANK="4",
    ),
    legal(
        "self_calibrated_packed", "Self-generated calibration, packed script", SLIDING,
        "GPTQ is calibrated on text that the model generates; the script is self-extracting.",
        wrap=True, GPTQ_CALIBRATION="self", GPTQ_CALIBRATION_BATCHES="2", COMPRESSOR="lzma",
    ),
    illegal(
        "last_epoch", "Per-document LoRA, 4 epochs", "quantized_lora_ttt",
        "A LoRA for each document, trained for four epochs over it chunk by chunk.",
        "C3", "the reported loss is that of the last epoch, whose tokens were learned from in the epochs before.",
        TTT_LORA_EPOCHS="4",
    ),
    illegal(
        "slot", "SLOT-24", "quantized_slot",
        "For each window a vector on the hidden states is optimized for 24 steps, then the window is scored.",
        "C1", "the vector is fitted on the targets that it then predicts.", SLOT_ENABLED="1",
    ),
    illegal(
        "slot_shared", "Causal SLOT, batched windows", "quantized_slot",
        "A bias on the logits, fitted on the contexts of 32 windows, then the windows are scored.",
        "C1", "the context of one window is the scored part of another one in the same batch.", SLOT_DELTA_CLIP="5",
    ),
    illegal(
        "ngram_cache", "5-gram cache", "quantized_ngram",
        "Model probability mixed with a hashed 5-gram count cache that is updated after scoring.",
        "C2", "the target is in the hash key: only its own probability is ever formed, and it is not normalized.",
        NGRAM_CACHE="1",
    ),
    illegal(
        "byte_ppm", "Byte PPM mixture", "quantized_ppm_mix",
        "Token log-probabilities spread over bytes and mixed with an order-4 byte PPM.",
        "C2", "the spread probability of the realised token is not a distribution over bytes.", PPM_ENABLED="1",
    ),
    illegal(
        "two_passes", "TTT, second pass", "quantized_ttt",
        "Score-first TTT over the validation text, then an evaluation with the adapted weights.",
        "C4", "the second pass scores tokens that the weights have learned from.",
        TTT_LR="0.05", TTT_EPOCHS="8",
    ),
    illegal(
        "best_of_passes", "TTT with per-token safety gate", "quantized_ttt",
        "Every chunk is scored before and after its update and the better loss of each token is kept.",
        "C4", "the choice between two passes is made with the answer known.",
        TTT_LR="0.05", TTT_EPOCHS="8",
    ),
    illegal(
        "validation_subset", "Sliding window, fast evaluation", "final_sliding_window",
        "Sliding-window evaluation of the first 2,048 validation tokens.",
        "C4", "the number of a part is reported as the score of the whole.", EVAL_MAX_TOKENS="2048",
    ),
    illegal(
        "paid_prefix", "Stored prefix", SLIDING,
        "Part of the byte budget is a compressed prefix of the text, which is predicted with confidence 0.999.",
        "PAIDPREFIX", "what is submitted beside the script holds validation tokens.", PREFIX_TOKENS="2000",
    ),
    illegal(
        "validation_calibration", "GPTQ calibrated on the evaluation distribution", SLIDING,
        "Hessians are collected on validation sequences before quantization.",
        "C3", "quantization uses validation tokens that have not been scored.",
    ),
    illegal(
        "train_data_at_eval", "Refresh after dequantization", "quantized_refreshed",
        "After dequantization 40 steps on training batches repair the rounding, then the text is scored.",
        "TRAINDATA", "training data is read during evaluation.", REFRESH_STEPS="40",
    ),
    illegal(
        "space_twice", "Byte table with leading space", "final_sliding_window",
        "Sliding window, with bytes from a table built from the tokenizer's pieces.",
        "BYTES", "the leading space is in the table and added again, so the text counts more bytes than it has.",
    ),
    illegal(
        "oversize", "Large bigram table", SLIDING,
        "A bigram hash table of 1.15 million rows; its artifact is below 16 MB where MB are MiB.",
        "SIZE", "code and model exceed 16,000,000 bytes.", BIGRAM_BUCKETS="1150000", ITERATIONS="20",
    ),
)  # fmt: skip


def overview() -> str:
    """examples/README.md: what each folder shows."""
    rows = "\n".join(f"| [{r.name}]({r.name}) | {r.title} | {r.verdict.split('toy size. ')[-1]} |" for r in RECIPES)
    return (
        "# Example submissions\n\n"
        "Made by `python -m reference_pipeline.examples`: real runs of three seeds each, at toy size, on text whose "
        "entropy is known (`validation_text.json`). Names say whether a folder breaks a rule; the scripts do not. "
        f"Audit one with\n\n```bash\npgolf-audit examples/{RECIPES[0].name} "
        "--validation-text examples/validation_text.json\n```\n\n"
        "What the audit says of each, by reading and with a run: [table](../benchmarks/examples/table.md).\n\n"
        f"| folder | method | what it shows |\n|---|---|---|\n{rows}\n"
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
    write_atomically(arguments.output / "validation_text.json", (json.dumps(validation_text, indent=1) + "\n").encode())
    write_atomically(arguments.output / "README.md", overview().encode())
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
