"""The folders in examples/ are what the pipeline produces, and their figures hold together."""

from __future__ import annotations

import json
import math
import re
import statistics
from pathlib import Path

import pytest

from reference_pipeline.artifact import wrap_code
from reference_pipeline.bundling import bundle
from reference_pipeline.examples import RECIPES, SEEDS
from reference_pipeline.packing import read_run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OTHER_BYTES = {"illegal_validation_subset", "illegal_space_twice", "illegal_byte_ppm"}  # their ratio is the violation


def runs_of(recipe):
    folder = EXAMPLES / recipe.name
    return [read_run(seed, (folder / f"train_seed{seed}.log").read_text(), recipe.label) for seed in SEEDS]


def implied_bytes(run):
    """Bytes of text that the printed loss and bpb imply."""
    tokens = int(re.findall(r"^val_tokens: (\d+)", run.log_text, flags=re.MULTILINE)[0])
    return tokens * run.val_loss / (run.val_bpb * math.log(2))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_script_is_the_current_bundle(recipe):
    source = bundle(recipe.entry)
    expected = wrap_code(source) if recipe.wrap else source
    assert (EXAMPLES / recipe.name / "train_gpt.py").read_text() == expected, (
        "regenerate: python -m reference_pipeline.examples"
    )


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_claim_is_the_mean_of_the_logs(recipe):
    runs = runs_of(recipe)
    claim = json.loads((EXAMPLES / recipe.name / "submission.json").read_text())
    assert claim["val_bpb"] == pytest.approx(statistics.mean(run.val_bpb for run in runs), abs=1e-8)
    assert f"**{claim['val_bpb']:.8f}**" in (EXAMPLES / recipe.name / "README.md").read_text()
    assert claim["bytes_total"] == max(run.total_bytes for run in runs)
    assert (claim["bytes_total"] > 16_000_000) == (recipe.name == "illegal_oversize")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_bytes_are_the_texts_unless_that_is_the_violation(recipe):
    text_bytes = json.loads((EXAMPLES / "validation_text.json").read_text())["text_bytes"]
    for run in runs_of(recipe):
        error = abs(implied_bytes(run) / text_bytes - 1)
        assert (error > 3e-4) == (recipe.name in OTHER_BYTES)


def test_no_legal_score_beats_the_entropy_floor_and_pretraining_on_the_text_does():
    floor = json.loads((EXAMPLES / "validation_text.json").read_text())["entropy_floor_bpb"]
    for recipe in RECIPES:
        for run in runs_of(recipe):
            if recipe.name.startswith("legal_"):
                assert run.val_bpb > floor, recipe.name
            if recipe.name == "illegal_prequant_ttt":
                assert run.val_bpb < floor


def test_examples_stay_small():
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file()) < 7_500_000
