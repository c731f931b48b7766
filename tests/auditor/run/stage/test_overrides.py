"""Constants that are replaced, and all the others that are not."""

from __future__ import annotations

from auditor.run.model import Size
from auditor.run.stage.overrides import command_line, overrides_of
from auditor.run.stage.settings import defaults_of
from tests.auditor.run.stage.submissions import submission

SIZES_FROM_ENVIRONMENT = 'import os\nSEQ = int(os.environ.get("TRAIN_SEQ_LEN", 2048))\n'


def replaced(text: str) -> dict[str, tuple[str, str]]:
    made = submission(text)
    return {
        item.override.name: (item.override.old, item.override.new)
        for item in overrides_of(made, defaults_of(made), Size(validation_tokens=16_384))
    }


def test_tables_are_found_wherever_they_are_bound() -> None:
    text = SIZES_FROM_ENVIRONMENT + (
        "class Cache:\n"
        "    def __init__(self, num_buckets: int = 1 << 22, *, hash_size=4194304):\n"
        "        self.BUCKETS = 4_000_000\n"
        "cache = Cache(ngram_buckets=2**20)\n"
    )
    assert replaced(text) == {
        "num_buckets": ("1 << 22", "1024"),
        "hash_size": ("4194304", "1024"),
        "BUCKETS": ("4000000", "1057"),
        "ngram_buckets": ("2 ** 20", "256"),
    }


def test_small_tables_and_other_large_numbers_stay() -> None:
    text = SIZES_FROM_ENVIRONMENT + "bigram_buckets = 4096\nPRIME = 1000003\nmodulus_bits = 22\n"
    assert replaced(text) == {}


def test_the_place_of_an_override_is_that_of_the_constant() -> None:
    made = submission(SIZES_FROM_ENVIRONMENT + "buckets = (\n    1 << 22\n)\n")
    (placed,) = overrides_of(made, defaults_of(made), Size(validation_tokens=16_384))
    assert (placed.override.path, placed.override.line) == ("train_gpt.py", 4)
    assert placed.text_sha256 == ""


def test_sizes_in_constants_are_replaced_where_the_environment_sets_none() -> None:
    text = (
        "class Config:\n    train_seq_len: int = 1024\n    lr = 0.02\n    num_layers = 9\n"
        "CFG = dict(model_dim=512, ttt_lr=0.004)\niterations = 20000\n"
    )
    assert replaced(text) == {
        "train_seq_len": ("1024", "128"),
        "model_dim": ("512", "64"),
        "iterations": ("20000", "1"),
    }


def test_sizes_in_constants_stay_where_the_environment_sets_them() -> None:
    assert replaced(SIZES_FROM_ENVIRONMENT + "iterations = 20000\nmodel_dim = 512\n") == {}


def test_models_that_functions_describe_are_made_small_where_no_width_is_read() -> None:
    models = "def model_a():\n    return dict(model_dim=512, num_heads=8, mlp_mult=3.0, layers=10)\n"
    assert replaced(SIZES_FROM_ENVIRONMENT + models) == {"model_dim": ("512", "64"), "num_heads": ("8", "4")}
    width = 'D = int(os.environ.get("MODEL_DIM", 512))\n'
    assert replaced(SIZES_FROM_ENVIRONMENT + width + models) == {}


def test_other_descriptions_stay() -> None:
    text = SIZES_FROM_ENVIRONMENT + "def optimizer():\n    return dict(iterations=20000, num_heads=8)\n"
    assert replaced(text) == {}


def test_text_that_does_not_parse_has_no_overrides() -> None:
    assert replaced("def broken(:\n    buckets = 1 << 22\n") == {}


def test_options_are_given_for_sizes_and_places_only() -> None:
    text = (
        "import argparse\np = argparse.ArgumentParser()\n"
        'p.add_argument("--ctx_len", type=int, default=1024)\n'
        'p.add_argument("--total-steps", type=int, default=5000)\n'
        'p.add_argument("--muon_lr", type=float, default=0.01)\n'
        'p.add_argument("--data_dir", default="data/")\n'
        'p.add_argument("-v", action="store_true")\n'
    )
    assert command_line(submission(text), Size(), {"DATA_DIR": "/audit/data"}) == [
        *("--ctx_len", "128"),
        *("--total-steps", "1"),
        *("--data_dir", "/audit/data"),
    ]
