"""Training: the same seed gives the same weights, a resumed run too, and the cap is kept."""

from __future__ import annotations

import pytest
import torch

from reference_pipeline.checkpoint import load_checkpoint
from reference_pipeline.errors import PipelineError
from reference_pipeline.layers import Linear
from reference_pipeline.logs import log, open_log
from reference_pipeline.pipeline import check_settings
from reference_pipeline.quantization import round_to_nearest
from reference_pipeline.scoring import ValidationData, eval_val
from reference_pipeline.training import train_model

CPU = torch.device("cpu")


def trained(h):
    torch.manual_seed(h.seed)
    return train_model(h, CPU, ValidationData(h))


def test_training_lowers_the_loss_and_repeats_to_the_last_bit(tiny):
    first, second = trained(tiny), trained(tiny)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert eval_val(tiny, CPU, ValidationData(tiny), first)[0] < 5.3  # ln 300 is 5.70
    assert first.looping  # switched on half way
    tiny.seed += 1
    assert not torch.equal(trained(tiny).tok_emb.weight, first.tok_emb.weight)


def test_resumed_training_equals_an_uninterrupted_one(tiny, tmp_path):
    whole = trained(tiny)
    tiny.checkpoint_path, tiny.checkpoint_every = str(tmp_path / "state.pt"), 5
    stopped = []

    def stop_at_seven(step, steps, loss):
        if step == 7:
            stopped.append(step)
            raise KeyboardInterrupt

    torch.manual_seed(tiny.seed)
    with pytest.raises(KeyboardInterrupt):
        train_model(tiny, CPU, ValidationData(tiny), stop_at_seven)
    assert load_checkpoint(tmp_path / "state.pt")["step"] == 5
    resumed = trained(tiny)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_late_quantization_trains_towards_the_grid_and_is_off_afterwards(tiny, tmp_path):
    """With the same batches, weights trained through their rounding lose less to it."""
    tiny.iterations, tiny.averaging, tiny.matrix_bits, tiny.matrix_clip_sigmas = 40, "none", 3, 2.5
    losses = {}
    for threshold in (0.0, 0.8):
        tiny.late_qat_threshold = threshold
        open_log(tmp_path / f"{threshold}.txt", console=False)
        model = trained(tiny)
        open_log(None)
        assert not any(getattr(module, "fake_bits", 0) for module in model.modules())
        plain = eval_val(tiny, CPU, ValidationData(tiny), model)[0]
        for module in model.modules():
            if isinstance(module, Linear) and module.weight.numel() > tiny.keep_float_numel:
                module.weight.data = round_to_nearest(module.weight.data, 3, 2.5).dequantize()
        losses[threshold] = eval_val(tiny, CPU, ValidationData(tiny), model)[0] - plain
    assert "late_qat:enabled step:" in (tmp_path / "0.8.txt").read_text()
    assert "late_qat" not in (tmp_path / "0.0.txt").read_text().split("Hyperparameters")[-1].replace("late_qat_thr", "")
    assert losses[0.8] < 0.5 * losses[0.0]


def test_damaged_checkpoint_is_named(tiny, tmp_path):
    tiny.checkpoint_path = str(tmp_path / "state.pt")
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(PipelineError, match=r"state\.pt.*delete it"):
        trained(tiny)


def test_the_clock_stops_training_and_the_log_says_so(tiny, tmp_path):
    tiny.iterations, tiny.max_wallclock_seconds, tiny.gptq_reserve_seconds = 100_000, 0.6, 0.3
    open_log(tmp_path / "log.txt", console=False)
    try:
        trained(tiny)
    finally:
        open_log(None)
    text = (tmp_path / "log.txt").read_text()
    assert "stopping_early: wallclock_cap train_time: " in text
    assert "gptq:reserving 0s, effective=300ms" in text


def test_a_full_disk_ends_the_log_by_name(tmp_path):
    """/dev/full refuses every write as a full disk does."""
    open_log(tmp_path / "log.txt", console=False)
    try:
        (tmp_path / "log.txt").unlink()
        (tmp_path / "log.txt").symlink_to("/dev/full")
        with pytest.raises(PipelineError, match=r"log\.txt: cannot go on with the log .*free disk space"):
            log("x")
    finally:
        open_log(None)


def test_a_cap_without_room_names_both_settings(tiny):
    tiny.max_wallclock_seconds = 5.0
    with pytest.raises(PipelineError, match="MAX_WALLCLOCK_SECONDS=5 leaves nothing beside GPTQ_RESERVE_SECONDS=12"):
        trained(tiny)


def test_a_cap_too_small_for_one_step_is_told(tiny):
    tiny.max_wallclock_seconds, tiny.gptq_reserve_seconds = 5.0, 5.0 - 1e-6
    with pytest.raises(PipelineError, match=r"first step took .* more than the 0.00 s beside GPTQ_RESERVE_SECONDS"):
        trained(tiny)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("compressor", "zip"),
        ("loader", "random"),
        ("averaging", "mean"),
        ("schedule", "cosine"),
        ("muon_backend", "svd"),
        ("gptq_calibration", "validation"),
    ],
)
def test_unknown_choices_are_told_before_training(tiny, name, value):
    setattr(tiny, name, value)
    with pytest.raises(PipelineError, match=f"{name.upper()}={value}: unknown; choose one of "):
        check_settings(tiny)


def test_a_stride_that_leaves_tokens_out_is_told_before_training(tiny):
    check_settings(tiny)
    tiny.eval_stride = tiny.eval_seq_len + 1
    with pytest.raises(PipelineError, match="EVAL_STRIDE=33"):
        check_settings(tiny)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("lawa_freq", 0, "LAWA_FREQ=0: must be 1"),
        ("iterations", -1, "ITERATIONS=-1"),
        ("matrix_bits", 9, "2..8"),
        ("mtp_num_heads", 32, "MTP_NUM_HEADS=32: must be below TRAIN_SEQ_LEN=32"),
        ("gptq_calibration_temperature", 0.0, "GPTQ_CALIBRATION_TEMPERATURE=0: must be above 0"),
    ],
)
def test_counts_that_cannot_be_are_told_before_training(tiny, name, value, told):
    setattr(tiny, name, value)
    with pytest.raises(PipelineError, match=told):
        check_settings(tiny)


def test_batch_below_one_sequence_is_told(tiny):
    tiny.train_batch_tokens = 8
    with pytest.raises(PipelineError, match="TRAIN_BATCH_TOKENS=8"):
        trained(tiny)


def test_auxiliary_heads_change_the_weights_and_are_gone_after_training(tiny):
    tiny.iterations = 4
    plain = trained(tiny)
    tiny.mtp_num_heads, tiny.mtp_loss_weight = 2, 1.0
    with_heads = trained(tiny)
    assert set(with_heads.state_dict()) == set(plain.state_dict())
    assert not torch.equal(with_heads.blocks[0].mlp.fc.weight, plain.blocks[0].mlp.fc.weight)
    assert len(list(with_heads.parameters())) == len(list(plain.parameters()))


def test_warmdown_in_steps_is_the_same_share_of_a_run_counted_in_steps(tiny):
    tiny.warmdown_frac = 0.5
    by_share = trained(tiny)
    tiny.warmdown_frac, tiny.warmdown_iters = 0.9, 6  # of 12
    for name, tensor in trained(tiny).state_dict().items():
        assert torch.equal(tensor, by_share.state_dict()[name]), name


def test_a_batch_in_parts_takes_the_step_of_the_whole(tiny):
    """The sequential loader hands out the same sequences either way."""
    tiny.iterations, tiny.loader, tiny.num_loops = 3, "sequential", 0
    whole = trained(tiny)
    tiny.grad_accum_steps = 4
    for name, tensor in trained(tiny).state_dict().items():
        assert torch.allclose(tensor, whole.state_dict()[name], atol=2e-3), name
