"""Orthogonalization against the SVD, schedules, averages."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reference_pipeline.averaging import WeightAverage
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.model import GPT
from reference_pipeline.optimizers import Muon, Optimizers, learning_rate_scale, momentum_at, orthogonalize


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_polar_express_converges_to_the_svd_factor(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.allclose(orthogonalize(matrix, "polar_express", 10), u @ vh, atol=0.02)


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_newton_schulz_keeps_directions_and_brings_lengths_near_one(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    core = u.T @ orthogonalize(matrix) @ vh.T  # diagonal when the singular vectors are kept
    assert (core - core.diag().diag()).abs().max() < 1e-3
    strong = core.diag()[s > 0.05 * s[0]]
    assert strong.min() > 0.6
    assert strong.max() < 1.3


def test_row_normalization_makes_muon_blind_to_the_rows_lengths():
    torch.manual_seed(0)
    gradient, lengths = torch.randn(6, 9), torch.tensor([1.0, 10, 0.1, 3, 7, 0.5])[:, None]
    moved = []
    for scale in (torch.ones(6, 1), lengths):
        weight = nn.Parameter(torch.zeros(6, 9))
        weight.grad = gradient * scale
        Muon([weight], 0.1, 0.9, "newton_schulz", 5, 0.0, row_normalize=True).step()
        moved.append(weight.detach().clone())
    assert torch.allclose(moved[0], moved[1], atol=1e-5)
    assert moved[0].abs().max() > 0


@pytest.mark.parametrize("shapes", [[(6, 9)] * 3, [(6, 9), (9, 6), (6, 9), (4, 4)]])
def test_banks_take_the_same_steps_as_single_matrices(shapes):
    moved = []
    for banks in (False, True):
        torch.manual_seed(0)
        weights = [nn.Parameter(torch.randn(shape)) for shape in shapes]
        muon = Muon(weights, 0.1, 0.9, "newton_schulz", 5, 0.02, row_normalize=True, banks=banks)
        for _ in range(3):
            for weight in weights:
                weight.grad = torch.randn_like(weight)
            weights[1].grad = None
            muon.step()
        moved.append(weights)
    for single, banked in zip(*moved, strict=True):
        assert torch.allclose(single, banked, atol=1e-5)


def test_heads_and_gates_are_adamws_with_their_own_rates(tiny):
    tiny.tie_embeddings, tiny.gated_attention, tiny.head_lr, tiny.mtp_num_heads = False, True, 0.123, 1
    tiny.embed_wd, tiny.adam_wd = 0.05, 0.07
    model = GPT(tiny)
    model.add_mtp_heads(tiny)
    embeddings, muon, scalars, heads = (optimizer.param_groups[0] for optimizer in Optimizers(tiny, model).optimizers)
    assert {id(p) for p in heads["params"]} == {id(model.lm_head.weight), id(model.mtp_heads[0].weight)}
    assert heads["lr"] == 0.123
    assert (embeddings["weight_decay"], scalars["weight_decay"], heads["weight_decay"]) == (0.05, 0.07, 0.0)
    assert any(p is model.blocks[0].attn.gate.reading for p in scalars["params"])
    assert not any(p is model.lm_head.weight for p in muon["params"])


def test_every_parameter_has_exactly_one_optimizer(tiny):
    tiny.tie_embeddings, tiny.embedding_dim, tiny.dtg_enabled, tiny.value_residual = False, 24, True, True
    model = GPT(tiny)
    optimizers = Optimizers(tiny, model)
    owned = [id(p) for o in optimizers.optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())
    muon = {id(p) for p in optimizers.optimizers[1].param_groups[0]["params"]}
    assert id(model.tok_emb.weight) not in muon
    assert id(model.blocks[0].attn.c_q.weight) in muon


def test_learning_rate_holds_then_falls_to_its_floor():
    assert learning_rate_scale(0.39, 0.6, 0.05) == 1.0
    assert learning_rate_scale(0.7, 0.6, 0.05) == pytest.approx(0.5)
    assert learning_rate_scale(1.0, 0.6, 0.05) == 0.05
    assert learning_rate_scale(1.0, 0.0, 0.05) == 1.0


def test_momentum_rises_linearly_and_stays():
    rising = [momentum_at(step, 0.8, 0.9, 4) for step in range(7)]
    assert rising == pytest.approx([0.8, 0.825, 0.85, 0.875, 0.9, 0.9, 0.9])
    assert momentum_at(0, 0.8, 0.9, 0) == 0.9


def test_momentum_reaches_muon_and_no_other_optimizer(tiny):
    model = GPT(tiny)
    optimizers = Optimizers(tiny, model)
    model(torch.ones(1, 4, dtype=torch.int64), torch.ones(1, 4, dtype=torch.int64)).backward()
    optimizers.step(0.5, 0.123)
    found = [group.get("momentum") for optimizer in optimizers.optimizers for group in optimizer.param_groups]
    assert found == [None, 0.123, None]


def averaging(kind: str, **settings: float) -> Hyperparameters:
    h = Hyperparameters()
    for name, value in ({"averaging": kind} | settings).items():
        setattr(h, name, value)
    return h


def one_weight(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(value)
    return layer


def test_swa_is_the_plain_mean_of_late_states():
    model = one_weight(0.0)
    average = WeightAverage(averaging("swa", swa_start_frac=0.5, swa_every=1), model)
    for step, value in enumerate((100.0, 1.0, 2.0, 6.0)):
        model.weight.data.fill_(value)
        average.update(model, step, fraction=0.0 if step == 0 else 0.8)
    average.apply(model)
    assert model.weight.item() == pytest.approx(3.0)


def test_lawa_is_the_plain_mean_of_the_latest_snapshots_also_after_a_restart():
    model, h = one_weight(0.0), averaging("lawa", lawa_k=2, lawa_freq=2)
    average = WeightAverage(h, model)
    for step, value in enumerate((50.0, 60.0, 1.0, 70.0, 4.0, 80.0)):  # steps 2 and 4 are the latest two of 0, 2, 4
        model.weight.data.fill_(value)
        average.update(model, step, fraction=0.0)
        resumed = WeightAverage(h, model)
        resumed.restore(average.state())
        average = resumed
    average.apply(model)
    assert model.weight.item() == pytest.approx(2.5)


def test_ema_follows_its_recursion_and_none_changes_nothing():
    model = one_weight(0.0)
    average, idle = WeightAverage(averaging("ema", ema_decay=0.5), model), WeightAverage(averaging("none"), model)
    expected = 0.0
    for step, value in enumerate((4.0, 8.0, 2.0)):
        model.weight.data.fill_(value)
        decay = min(0.5, (step + 1) / (step + 10))
        expected = decay * expected + (1 - decay) * value
        average.update(model, step, 0.9)
        idle.update(model, step, 0.9)
    idle.apply(model)
    assert model.weight.item() == 2.0
    average.apply(model)
    assert model.weight.item() == pytest.approx(expected)
