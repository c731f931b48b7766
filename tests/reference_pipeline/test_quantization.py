"""GPTQ against rounding, against the exact rule of optimal brain surgery, and against a plain unblocked version."""

from __future__ import annotations

import pytest
import torch

from reference_pipeline.grid import fake_quantize, percentile_scales, row_scale
from reference_pipeline.model import GPT
from reference_pipeline.quantization import (
    absmax_int8,
    add_low_rank_correction,
    calibration_batches,
    collect_hessians,
    generate_tokens,
    gptq_phase,
    gptq_quantize,
    output_error,
    quantize_matrix,
    round_to_nearest,
)
from reference_pipeline.scoring import ValidationData
from reference_pipeline.training import train_model

CPU = torch.device("cpu")


def correlated_inputs(columns: int, rows: int = 400) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)


def direct_solve(weight, hessian, scale, largest, damping):
    """Each column rounded in turn; the free columns then solve their least-squares problem anew."""
    h = hessian.double().clone()
    order = torch.argsort(h.diagonal(), descending=True, stable=True).tolist()
    h.diagonal().add_(damping * h.diagonal().mean())
    out = weight.double().clone()
    for place, column in enumerate(order):
        value = torch.round(out[:, column] / scale.double()).clamp(-largest, largest) * scale.double()
        change = value - out[:, column]
        out[:, column] = value
        free = order[place + 1 :]
        if free:
            out[:, free] -= change[:, None] * torch.linalg.solve(h[free][:, free], h[free, column])
    return out


@pytest.mark.parametrize(("columns", "block"), [(6, 128), (24, 128), (24, 5)])
def test_gptq_equals_the_direct_solve(columns, block):
    torch.manual_seed(0)
    weight = torch.randn(7, columns)
    x = correlated_inputs(columns)
    hessian = x.T @ x
    quantized = gptq_quantize(weight, hessian, bits=4, clip_sigmas=3.0, damping=0.01, block_size=block)
    expected = direct_solve(weight, hessian, row_scale(weight, 4, 3.0), 7, 0.01)
    assert torch.allclose(quantized.dequantize().double(), expected, atol=1e-3)


def test_gptq_beats_rounding_on_every_layer_of_a_trained_model(tiny):
    torch.manual_seed(0)
    model = train_model(tiny, CPU, ValidationData(tiny))
    hessians = collect_hessians(model, calibration_batches(tiny, model, CPU), CPU)
    compared = 0
    for name, weight in model.state_dict().items():
        if name in hessians:
            ours = gptq_quantize(weight, hessians[name], 4, 3.0)
            plain = round_to_nearest(weight, 4, 3.0)
            assert output_error(weight, ours, hessians[name]) < output_error(weight, plain, hessians[name]), name
            compared += 1
    assert compared == 3 * 6 + 3  # six matrices a layer, the bigram's and the values' projections, the embedding


def test_hessian_is_the_sum_over_inputs(tiny):
    model = GPT(tiny)
    batches = [torch.randint(3, 300, (2, 16)), torch.randint(3, 300, (2, 16))]
    captured = []
    handle = model.blocks[1].mlp.fc.register_forward_hook(
        lambda _, inputs, __: captured.append(inputs[0].flatten(0, 1))
    )
    hessians = collect_hessians(model, batches, CPU)
    handle.remove()
    x = torch.cat(captured)
    assert torch.allclose(hessians["blocks.1.mlp.fc.weight"], x.T @ x, rtol=1e-4, atol=1e-3)


def test_integers_fit_their_bits_and_dead_inputs_become_zero():
    torch.manual_seed(0)
    weight, x = torch.randn(5, 12) * 10, correlated_inputs(12)
    x[:, 3] = 0
    quantized = gptq_quantize(weight, x.T @ x, bits=6, clip_sigmas=1.0)
    assert quantized.integers.abs().max() <= 31
    assert (quantized.dequantize()[:, 3] == 0).all()


def test_low_rank_correction_reduces_the_output_error():
    torch.manual_seed(0)
    weight, x = torch.randn(20, 30), correlated_inputs(30)
    hessian = x.T @ x
    quantized = round_to_nearest(weight, 3, 2.0)
    before = output_error(weight, quantized, hessian)
    add_low_rank_correction(weight, quantized, hessian, rank=6)
    assert output_error(weight, quantized, hessian) < 0.9 * before


def test_int8_rows_are_exact_to_half_a_step():
    weight = torch.randn(4, 50)
    quantized = absmax_int8(weight)
    error = (quantized.dequantize() - weight).abs()
    assert (error <= 0.51 * quantized.scale.float()[:, None]).all()


def test_self_generated_calibration_starts_at_bos_and_follows_its_seed(tiny):
    torch.manual_seed(0)
    model = GPT(tiny)
    first, second = generate_tokens(model, 3, 10, 5, CPU), generate_tokens(model, 3, 10, 5, CPU)
    assert first.shape == (3, 10)
    assert (first[:, 0] == model.bos_id).all()
    assert torch.equal(first, second)
    assert not torch.equal(first, generate_tokens(model, 3, 10, 6, CPU))


def test_small_and_vector_tensors_stay_floating(tiny):
    model = GPT(tiny)
    quantized, kept = gptq_phase(tiny, CPU, model)
    assert set(quantized) | set(kept) == set(model.state_dict())
    assert "blocks.0.attn_scale" in kept
    assert quantized["tok_emb.weight"].bits == 8
    assert quantized["blocks.0.mlp.fc.weight"].bits == 6


def test_fake_quantization_is_rounding_forward_and_nothing_backward():
    weight = torch.randn(6, 40, requires_grad=True)
    rounded = fake_quantize(weight, 6, 6.0)
    assert torch.allclose(rounded, round_to_nearest(weight.detach(), 6, 6.0).dequantize(), atol=1e-6)
    upstream = torch.randn(6, 40)
    rounded.backward(upstream)
    assert torch.equal(weight.grad, upstream)


@pytest.mark.parametrize("gptq", [True, False])
def test_without_sdclip_the_best_of_five_percentiles_is_taken(tiny, gptq):
    torch.manual_seed(0)
    weight, x = torch.randn(6, 400), correlated_inputs(400, 900)
    weight[:, 7] = 12.0  # an outlier in every row
    hessian = x.T @ x if gptq else None
    tiny.sdclip_enabled = False
    chosen = quantize_matrix(tiny, weight, hessian, 4, 3.0)
    grids = [scale.tolist() for scale in percentile_scales(weight, 4)]
    assert chosen.scale.tolist() in grids
    assert grids[-1] == pytest.approx([12.0 / 7] * 6, rel=1e-3)

    def error(scale):
        matrix = (
            round_to_nearest(weight, 4, 3.0, scale)
            if hessian is None
            else gptq_quantize(weight, hessian, 4, 3.0, tiny.gptq_damping, scale=scale)
        )
        return (weight - matrix.dequantize()).square().sum().item()

    errors = [error(scale) for scale in percentile_scales(weight, 4)]
    assert (weight - chosen.dequantize()).square().sum().item() == pytest.approx(min(errors))
    assert min(errors) < max(errors)


def test_a_cold_calibration_text_repeats_itself_more(tiny):
    torch.manual_seed(0)
    model = GPT(tiny)
    warm, cold = (generate_tokens(model, 8, 24, 5, CPU, temperature) for temperature in (1.0, 0.01))
    assert cold.unique().numel() < warm.unique().numel()


def test_the_untied_head_and_the_projections_get_their_own_hessians(tiny):
    tiny.tie_embeddings, tiny.embedding_dim = False, 24
    model = GPT(tiny)
    batches = [torch.randint(3, 300, (2, 16))]
    hessians = collect_hessians(model, batches, CPU)
    assert "tok_emb.weight" not in hessians  # it is only looked up
    assert hessians["embed_proj.weight"].shape == (24, 24)
    assert hessians["head_proj.weight"].shape == (32, 32)
    read = model.head_input(model.forward_hidden(batches[0])).flatten(0, 1)
    assert torch.allclose(hessians["lm_head.weight"], read.T @ read, rtol=1e-4, atol=1e-3)


def test_embeddings_can_be_rounded_to_nearest_beside_gptq(tiny):
    torch.manual_seed(0)
    model = GPT(tiny)
    by_gptq, _ = gptq_phase(tiny, CPU, model)
    tiny.gptq_embeddings = False
    nearest, _ = gptq_phase(tiny, CPU, model)
    plain = round_to_nearest(model.tok_emb.weight.detach(), 8, tiny.embed_clip_sigmas)
    assert torch.equal(nearest["tok_emb.weight"].integers, plain.integers)
    assert not torch.equal(by_gptq["tok_emb.weight"].integers, plain.integers)
    name = "blocks.0.mlp.fc.weight"
    assert torch.equal(by_gptq[name].integers, nearest[name].integers)
