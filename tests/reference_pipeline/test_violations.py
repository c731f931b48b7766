"""Violations are told from the pipeline by what they do: each has the property its honest version must not have."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest
import torch

import reference_pipeline
from reference_pipeline import violations
from reference_pipeline.adaptation import eval_val_ttt
from reference_pipeline.logs import open_log
from reference_pipeline.model import GPT
from reference_pipeline.scoring import ValidationData, eval_val, eval_val_sliding

CPU = torch.device("cpu")
NAMES = [module.name for module in pkgutil.iter_modules(violations.__path__)]
RULES = {"C1", "C2", "C3", "C4", "TRAINDATA", "PAIDPREFIX", "SIZE", "BYTES"}


def take_settings(kind, tiny):
    """An instance of a violation's settings with the tiny run's values."""
    h = kind()
    for name, value in vars(tiny).items():
        setattr(h, name, value)
    return h


@pytest.fixture
def ready(tiny):
    torch.manual_seed(4)
    model = GPT(tiny)
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return tiny, ValidationData(tiny), model


@pytest.mark.parametrize("name", NAMES)
def test_a_violation_says_so_first(name):
    module = importlib.import_module(f"reference_pipeline.violations.{name}")
    assert module.__doc__.startswith(f"VIOLATION ({module.VIOLATES}")
    assert "Honest version" in module.__doc__
    assert module.VIOLATES in RULES


def test_the_pipeline_never_imports_a_violation():
    folder = Path(reference_pipeline.__file__).parent
    for path in folder.glob("*.py"):  # the package of studies compares both, and produces no submission
        for node in ast.walk(ast.parse(path.read_text())):
            source = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            assert "violations" not in source, path


def test_prequant_ttt_lowers_the_loss_of_text_it_has_not_scored(ready):
    from reference_pipeline.violations.prequant_ttt import PrequantHyperparameters, prequant_ttt, void_fraction

    tiny, data, model = ready
    h = take_settings(PrequantHyperparameters, tiny)
    h.prequant_ttt_epochs, h.prequant_ttt_freeze_blocks, h.prequant_ttt_lr = 4, 1, 0.01
    before, kept = eval_val(h, CPU, data, model)[0], model.tok_emb.weight.detach().clone()
    prequant_ttt(h, CPU, data, model)
    assert eval_val(h, CPU, data, model)[0] < before - 0.3
    assert torch.equal(model.tok_emb.weight, kept)  # frozen with the first blocks
    assert 0.3 < void_fraction(model) < 0.9


def test_prequant_ttt_stops_below_its_void_fraction(ready, tmp_path):
    from reference_pipeline.violations.prequant_ttt import PrequantHyperparameters, prequant_ttt

    tiny, data, model = ready
    h = take_settings(PrequantHyperparameters, tiny)
    h.prequant_ttt_epochs, h.prequant_ttt_void_stop = 3, 0.99
    open_log(tmp_path / "log.txt", console=False)
    prequant_ttt(h, CPU, data, model)
    open_log(None)
    log = (tmp_path / "log.txt").read_text()
    assert "epoch 1/3" in log
    assert "prequant_ttt:stop void=" in log
    assert "epoch 2/3" not in log


def test_slot_and_last_epoch_beat_one_honest_pass(ready):
    from reference_pipeline.lora import eval_val_document_lora
    from reference_pipeline.violations.last_epoch import EpochHyperparameters, eval_val_lora_epochs
    from reference_pipeline.violations.slot import SlotHyperparameters, eval_val_slot

    tiny, data, model = ready
    slot = take_settings(SlotHyperparameters, tiny)
    assert eval_val_slot(slot, CPU, data, model)[0] < eval_val_sliding(tiny, CPU, data, model)[0] - 0.2
    epochs = take_settings(EpochHyperparameters, tiny)
    epochs.lora_epochs = 3
    assert eval_val_lora_epochs(epochs, CPU, data, model)[0] < eval_val_document_lora(tiny, CPU, data, model)[0] - 0.2


def test_second_looks_beat_the_first(ready):
    from reference_pipeline.violations.best_of_passes import eval_val_best
    from reference_pipeline.violations.two_passes import eval_val_two_passes

    tiny, data, model = ready
    tiny.ttt_lr = 0.05
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    honest = eval_val_ttt(tiny, CPU, data, model)[0]
    for dishonest in (eval_val_best, eval_val_two_passes):
        model.load_state_dict(start)
        assert dishonest(tiny, CPU, data, model)[0] < honest


def test_ngram_cache_gains_on_text_without_structure(ready, stream_of):
    """On uniform noise nothing can be predicted; a target-keyed cache with collisions "predicts" it all the same."""
    from reference_pipeline.violations.ngram_cache import NgramHyperparameters, eval_val_ngram

    tiny, data, model = ready
    h = take_settings(NgramHyperparameters, tiny)
    h.ngram_buckets = 16
    noise = torch.randint(3, 300, (data.targets + 1,), generator=torch.Generator().manual_seed(1))
    data = stream_of(h, noise)
    model.tok_emb.weight.data.zero_()  # a uniform predictor: ln 300 is optimal for it
    assert eval_val_sliding(h, CPU, data, model)[0] == pytest.approx(torch.log(torch.tensor(300.0)).item(), abs=1e-3)
    assert eval_val_ngram(h, CPU, data, model)[0] < 3.0


def test_byte_ppm_returns_the_networks_loss_and_another_bpb(ready):
    from reference_pipeline.violations.byte_ppm import BytePPM, PpmHyperparameters, eval_val_ppm

    tiny, data, model = ready
    loss, bpb = eval_val_sliding(tiny, CPU, data, model)
    mixed_loss, mixed_bpb = eval_val_ppm(take_settings(PpmHyperparameters, tiny), CPU, data, model)
    assert mixed_loss == pytest.approx(loss, rel=1e-5)
    assert mixed_bpb < bpb
    ppm = BytePPM(2)
    for byte in b"abab":
        ppm.update(b"", byte)
    assert sum(ppm.probability(b"", byte) for byte in range(256)) <= 1.0 + 1e-9  # its own predictions are honest


def test_subset_scores_fewer_tokens_and_double_space_counts_more_bytes(ready):
    from reference_pipeline.violations.space_twice import eval_val_sliding_luts
    from reference_pipeline.violations.validation_subset import SubsetHyperparameters, eval_val_subset

    tiny, data, model = ready
    loss, bpb = eval_val_sliding(tiny, CPU, data, model)
    twice_loss, twice_bpb = eval_val_sliding_luts(tiny, CPU, data, model)
    assert twice_loss == loss
    assert twice_bpb < 0.97 * bpb
    part = take_settings(SubsetHyperparameters, tiny)
    part.eval_max_tokens = 100
    assert eval_val_subset(part, CPU, data, model)[0] != loss


def test_training_data_at_evaluation_changes_the_score(ready):
    from reference_pipeline.violations.train_data_at_eval import RefreshHyperparameters, eval_val_refreshed

    tiny, data, model = ready
    h = take_settings(RefreshHyperparameters, tiny)
    h.refresh_steps = 6
    before = eval_val_sliding(h, CPU, data, model)[0]
    assert eval_val_refreshed(h, CPU, data, model)[0] < before


def test_stored_prefix_costs_almost_nothing(ready):
    from reference_pipeline.violations.paid_prefix import PrefixHyperparameters, eval_val_prefix

    tiny, data, model = ready
    h = take_settings(PrefixHyperparameters, tiny)
    everything = data.read(1, data.targets + 1)
    assert eval_val_prefix(h, CPU, data, model, everything)[0] == pytest.approx(0.001, abs=1e-4)


def test_a_bias_shared_by_a_batch_of_windows_has_seen_what_it_scores(ready, stream_of):
    """On uniform noise nothing can be learned from the past, only from the answer."""
    from reference_pipeline.slot import eval_val_slot_causal
    from reference_pipeline.violations.slot_shared import SharedSlotHyperparameters, eval_val_slot_shared

    tiny, data, model = ready
    h = take_settings(SharedSlotHyperparameters, tiny)
    h.slot_focal_tokens, h.slot_lbfgs_max_iter, h.slot_delta_clip = 16, 8, 5.0
    noise = torch.randint(3, 300, (data.targets + 1,), generator=torch.Generator().manual_seed(1))
    data = stream_of(h, noise)
    model.tok_emb.weight.data.zero_()
    uniform = torch.log(torch.tensor(300.0)).item()
    assert eval_val_sliding(h, CPU, data, model)[0] == pytest.approx(uniform, abs=1e-3)
    assert eval_val_slot_causal(h, CPU, data, model)[0] > uniform
    assert eval_val_slot_shared(h, CPU, data, model)[0] < uniform - 0.3
    h.slot_batch = 1  # alone in its batch a window is honest
    assert eval_val_slot_shared(h, CPU, data, model)[0] > uniform


def test_prequant_ttt_can_end_in_the_average_of_its_epochs(ready):
    from reference_pipeline.violations.prequant_ttt import PrequantHyperparameters, prequant_ttt

    tiny, data, model = ready
    h = take_settings(PrequantHyperparameters, tiny)
    h.prequant_ttt_epochs, h.ttt_ema_enabled, h.ttt_ema_decay = 1, True, 1.0
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prequant_ttt(h, CPU, data, model)
    assert all(torch.equal(tensor, start[name]) for name, tensor in model.state_dict().items())
    h.ttt_ema_decay = 0.5
    prequant_ttt(h, CPU, data, model)
    averaged = model.tok_emb.weight.detach().clone()
    model.load_state_dict(start)
    h.ttt_ema_enabled = False
    prequant_ttt(h, CPU, data, model)
    assert torch.allclose(averaged, (start["tok_emb.weight"] + model.tok_emb.weight) / 2, atol=1e-6)
