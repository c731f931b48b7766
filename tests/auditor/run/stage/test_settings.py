"""The environment of a toy run: flags as reported, sizes from the audit, nothing of another machine."""

from __future__ import annotations

import pytest

from auditor.configuration import RunConfiguration
from auditor.run.model import Size
from auditor.run.stage.settings import settings_of, vocabulary_of
from tests.auditor.run.stage.submissions import configuration, submission

SCRIPT = """
import os
class Hyperparameters:
    data_path = os.environ.get("DATA_PATH", "./data/datasets/fineweb10B_sp1024")
    train_seq_len = int(os.environ.get("TRAIN_SEQ_LEN", 2048))
    ttt_enabled = bool(int(os.environ.get("TTT_ENABLED", "0")))
    ttt_lr = float(os.environ.get("TTT_LR", 0.002))
    ttt_chunk_tokens = int(os.environ.get("TTT_CHUNK_TOKENS", 32768))
    num_layers = int(os.environ.get("NUM_LAYERS", 11))
    eval_only = bool(int(os.environ.get("EVAL_ONLY", "0")))
    vocab_size = int(os.environ.get("VOCAB_SIZE", 4096))
"""


def values(**environment: str) -> dict[str, str]:
    settings, _ = settings_of(submission(SCRIPT), configuration(**environment), Size())
    return {name: value for name, (value, _) in settings.items()}


def test_flags_and_rates_are_those_of_the_reported_run() -> None:
    set_to = values(TTT_ENABLED="1", TTT_LR="0.01", NUM_LAYERS="9")
    assert (set_to["TTT_ENABLED"], set_to["TTT_LR"], set_to["NUM_LAYERS"]) == ("1", "0.01", "9")


def test_what_nothing_reports_is_left_to_the_script() -> None:
    assert not {"TTT_ENABLED", "TTT_LR", "NUM_LAYERS"} & set(values())


def test_sizes_are_toy_sizes_whatever_was_reported() -> None:
    set_to = values(TRAIN_SEQ_LEN="4096", TTT_CHUNK_TOKENS="65536")
    assert (set_to["TRAIN_SEQ_LEN"], set_to["TTT_CHUNK_TOKENS"]) == ("128", "512")


def test_without_chunks_an_epoch_over_the_text_has_more_steps() -> None:
    batch = 'import os\nbatch = int(os.environ.get("TTT_BATCH_SEQS", 32))\n'
    chunk = 'chunk = int(os.environ.get("TTT_CHUNK_TOKENS", 32768))\n'
    whole, chunked = (settings_of(submission(text), configuration(), Size())[0] for text in (batch, batch + chunk))
    assert int(whole["TTT_BATCH_SEQS"][0]) < int(chunked["TTT_BATCH_SEQS"][0])


def test_a_reported_flag_of_a_variable_that_no_read_was_found_for_is_set_too() -> None:
    assert values(SLOT_ENABLED="1")["SLOT_ENABLED"] == "1"


@pytest.mark.parametrize(("name", "value"), [("EVAL_ONLY", "1"), ("RESUME_CKPT", "a.pt")])
def test_shortcuts_are_left_out_and_noted(name: str, value: str) -> None:
    settings, notes = settings_of(submission(SCRIPT), configuration(**{name: value}), Size())
    assert name not in settings
    assert any(note.startswith(f"{name}={value}") for note in notes)


@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", "8"), ("DATA_PATH", "/mnt/x"), ("NCCL_NET", "Socket")])
def test_the_reported_runs_machine_is_left_out(name: str, value: str) -> None:
    settings, notes = settings_of(submission(SCRIPT), configuration(**{name: value}), Size())
    assert name not in settings
    assert notes == []


def test_each_value_says_where_it_came_from() -> None:
    settings, _ = settings_of(submission(SCRIPT), configuration(TTT_ENABLED="1"), Size())
    assert settings["TTT_ENABLED"] == ("1", "log")
    assert settings["TRAIN_SEQ_LEN"] == ("128", "toy size")


def test_a_value_that_no_environment_can_hold_is_left_out() -> None:
    assert "TTT_LR" not in values(TTT_LR="0.1\x00")


@pytest.mark.parametrize(
    ("text", "environment", "vocabulary"),
    [
        (SCRIPT, {}, 4096),
        (SCRIPT, {"VOCAB_SIZE": "8192"}, 8192),
        ("DATA = './data/datasets/fineweb10B_sp2048'", {}, 2048),
        ("tok = 'fineweb_4096_bpe.model'", {}, 4096),
        ("path = 'fineweb10B_byte260'", {}, 260),
        ("CFG = dict(vocab_size = 512)", {}, 512),
        ("print('nothing')", {}, 1024),
    ],
)
def test_the_vocabulary_is_what_the_script_expects(text: str, environment: dict[str, str], vocabulary: int) -> None:
    found, source = vocabulary_of(submission(text), configuration(**environment))
    assert found == vocabulary
    assert source


def test_a_vocabulary_beyond_the_format_is_not_believed() -> None:
    assert vocabulary_of(submission("x = 1"), configuration(VOCAB_SIZE="999999999"))[0] == 1024


def test_reads_through_a_short_helper_are_found() -> None:
    text = (
        "import os\ndef _e(k, d, t=str):\n    v = os.environ.get(k, str(d))\n    return t(v)\n"
        'class H:\n    dim = _e("MODEL_DIM", 768, int)\n    lr = _e("TTT_LR", 0.1, float)\n'
    )
    settings, _ = settings_of(submission(text), configuration(TTT_LR="0.2"), Size())
    assert settings["MODEL_DIM"] == ("64", "toy size")
    assert settings["TTT_LR"] == ("0.2", "log")


def test_an_empty_configuration_serves() -> None:
    settings, notes = settings_of(submission(SCRIPT), RunConfiguration(), Size())
    assert settings["TRAIN_SEQ_LEN"] == ("128", "toy size")
    assert notes == []
