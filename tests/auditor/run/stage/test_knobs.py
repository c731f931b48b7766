"""Which variables are sizes, which keep the reported value."""

from __future__ import annotations

import pytest

from auditor.run.model import Size
from auditor.run.stage.knobs import FULL_VALIDATION_TOKENS, Kind, knob_of, scaled_table, toy_text

SIZE = Size(validation_tokens=16_384, training_tokens=65_536)

KEPT = (
    "TTT_LR TTT_EPOCHS TTT_ENABLED TTT_MOMENTUM PREQUANT_TTT_EPOCHS PREQUANT_TTT_LR SLOT_STEPS SLOT_LR SLOT_ENABLED "
    "PPM_ENABLED PPM_ORDER NGRAM_ALPHA NGRAM_ORDER NGRAM_MIN_COUNT MATRIX_LR NUM_LAYERS NUM_LOOPS XSA_LAST_N VE_LAYERS "
    "EMA_DECAY MUON_BACKEND_STEPS MUON_MOMENTUM_WARMUP_STEPS LOGIT_SOFTCAP TTT_LORA_RANK GPTQ_ENABLED MATRIX_BITS "
    "TTT_FREEZE_BLOCKS TTT_MIN_DOC_LEN TTT_STEPS_PER_CHUNK WARMDOWN_ITERS LATE_QAT_THRESHOLD NGRAM_EVAL_MAX_SECONDS"
).split()


@pytest.mark.parametrize("name", KEPT)
def test_rates_flags_and_depth_keep_the_reported_value(name: str) -> None:
    knob = knob_of(name)
    assert knob is None or toy_text(knob, "4", SIZE) is None


@pytest.mark.parametrize(
    ("name", "reported", "toy"),
    [
        ("ITERATIONS", "20000", "1"),
        ("MAX_WALLCLOCK_SECONDS", "600.0", "0"),
        ("TRAIN_BATCH_TOKENS", "786432", "1024"),
        ("TRAIN_SEQ_LEN", "2048", "128"),
        ("EVAL_SEQ_LEN", "2048", "128"),
        ("EVAL_SEQ_LEN", "0", None),
        ("EVAL_STRIDE", "64", "64"),
        ("EVAL_STRIDE", "0", None),
        ("EVAL_STRIDE", "2048", "128"),
        ("MODEL_DIM", "512", "64"),
        ("ROPE_DIMS", "16", "8"),
        ("ROPE_DIMS", "64", "16"),
        ("ROPE_DIMS", "0", None),
        ("EMBEDDING_DIM", "512", "64"),
        ("NUM_KV_HEADS", "4", "2"),
        ("NUM_KV_HEADS", "1", "1"),
        ("TTT_CHUNK_TOKENS", "32768", "512"),
        ("TTT_CHUNK_SIZE", "48", "32"),
        ("PREQUANT_TTT_CHUNK_TOKENS", "32768", "256"),
        ("PREQUANT_TTT_BATCH_SEQS", "32", "2"),
        ("TTT_BATCH_SEQS", "32", "4"),
        ("GPTQ_CALIBRATION_BATCHES", "64", "2"),
        ("GPTQ_CALIB_BATCHES", "256", "2"),
        ("BIGRAM_VOCAB_SIZE", "2048", "512"),
        ("MTP_NUM_HEADS", "2", None),
        ("NGRAM_BUCKETS", "4194304", "1024"),
        ("NGRAM_OPEN_TABLE_BITS", "26", "14"),
        ("NGRAM_BUCKETS_LOG2", "22", "10"),
        ("NGRAM_ORDER_STRIDE", "2", None),
        ("PRE_QUANT_TTT_CHUNK", "32768", "256"),
    ],
)
def test_sizes_become_toy_sizes(name: str, reported: str, toy: str | None) -> None:
    knob = knob_of(name)
    assert knob is not None
    assert knob.kind is Kind.SIZE
    assert toy_text(knob, reported, SIZE) == toy


@pytest.mark.parametrize("name", ["EVAL_ONLY", "TTT_EVAL_ONLY", "RESUME_CKPT", "DATA_PATH", "WORLD_SIZE", "RANK"])
def test_what_belongs_to_another_machine_or_skips_the_run_is_left_out(name: str) -> None:
    knob = knob_of(name)
    assert knob is not None
    assert knob.kind in (Kind.UNSET, Kind.SHORTCUT)


def test_a_hash_table_is_as_full_as_it_was() -> None:
    """Collisions come with the load, so the load must be kept."""
    entries = 4_000_000
    toy = scaled_table(entries, SIZE)
    assert toy is not None
    assert SIZE.validation_tokens / toy == pytest.approx(FULL_VALIDATION_TOKENS / entries, rel=0.01)


def test_a_table_of_a_power_of_two_stays_one() -> None:
    toy = scaled_table(2**22, SIZE)
    assert toy is not None
    assert int(toy).bit_count() == 1
