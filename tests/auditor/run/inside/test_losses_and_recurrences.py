"""Fused losses and recurrent mixers against their definitions written another way. Tolerance 1e-4 (fp32)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812

from auditor.run.inside import losses, recurrences  # noqa: E402 - needs torch

Run = Callable[..., subprocess.CompletedProcess[str]]


def close(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_linear_cross_entropy_with_softcap_and_ignored_targets() -> None:
    x, weight, bias = torch.randn(10, 8), torch.randn(20, 8), torch.randn(20)
    target = torch.randint(0, 20, (10,))
    target[3] = -100
    logits = 5 * torch.tanh((x @ weight.T + bias) / 5)
    picked = [torch.logsumexp(logits[i], 0) - logits[i, target[i]] for i in range(10) if i != 3]
    close(losses.linear_cross_entropy(x, weight, target, bias, softcap=5.0), torch.stack(picked).mean())
    module = losses.LigerFusedLinearCrossEntropyLoss(softcap=5.0)
    close(module(weight, x, target, bias), torch.stack(picked).mean())


def test_cut_cross_entropy_shifts_targets() -> None:
    e, c, targets = torch.randn(2, 6, 8), torch.randn(20, 8), torch.randint(0, 20, (2, 6))
    logits = e @ c.T
    expected = F.cross_entropy(logits[:, :-1].reshape(-1, 20), targets[:, 1:].reshape(-1), reduction="none")
    close(losses._cut_cross_entropy(e, c, targets, shift=True, reduction="none"), expected.view(2, 5))
    close(losses._cut_cross_entropy(e, c, targets), F.cross_entropy(logits.reshape(-1, 20), targets.reshape(-1)))


def test_rms_norm_of_liger_is_torchs() -> None:
    x, weight = torch.randn(3, 8), torch.randn(8)
    close(losses.LigerRMSNormFunction.apply(x, weight, 1e-6), F.rms_norm(x, (8,), weight, 1e-6))


def test_causal_convolution_sees_only_the_past() -> None:
    x, weight, bias = torch.randn(2, 3, 7), torch.randn(3, 4), torch.randn(3)
    expected = torch.zeros_like(x) + bias[:, None]
    for t in range(7):
        for lag in range(4):
            if t - lag >= 0:
                expected[:, :, t] += weight[:, 3 - lag] * x[:, :, t - lag]
    close(recurrences.causal_conv1d_fn(x, weight, bias), expected)
    close(recurrences.causal_conv1d_fn(x, weight, bias, activation="silu"), F.silu(expected))


def test_selective_scan_is_its_closed_form() -> None:
    batch, channels, state, time = 2, 3, 4, 6
    u, delta = torch.randn(batch, channels, time), torch.rand(batch, channels, time)
    a, b, c = -torch.rand(channels, state), torch.randn(batch, state, time), torch.randn(batch, state, time)
    d, z = torch.randn(channels), torch.randn(batch, channels, time)
    expected = torch.zeros(batch, channels, time)
    for t in range(time):
        for s in range(t + 1):
            decay = torch.exp(delta[:, :, s + 1 : t + 1].sum(-1)[..., None] * a)
            expected[:, :, t] += (
                decay * (delta[:, :, s] * u[:, :, s])[..., None] * b[:, None, :, s] * c[:, None, :, t]
            ).sum(-1)
    close(recurrences.selective_scan_fn(u, delta, a, b, c), expected)
    gated = (expected + d[:, None] * u) * F.silu(z)
    close(recurrences.selective_scan_fn(u, delta, a, b, c, d, z), gated)
    grouped = recurrences.selective_scan_fn(u, delta, a, b[:, None], c[:, None])
    close(grouped, expected)


def test_chunk_scan_is_the_selective_scan_with_one_decay_a_head() -> None:
    batch, time, heads, width, state = 2, 5, 2, 3, 4
    x, dt = torch.randn(batch, time, heads, width), torch.rand(batch, time, heads)
    a = -torch.rand(heads)
    b, c = torch.randn(batch, time, 1, state), torch.randn(batch, time, 1, state)
    out = recurrences.mamba_chunk_scan_combined(x, dt, a, b, c, chunk_size=2)
    flat = recurrences.selective_scan_fn(
        x.permute(0, 2, 3, 1).flatten(1, 2),
        dt.permute(0, 2, 1).repeat_interleave(width, 1),
        a.repeat_interleave(width)[:, None].expand(-1, state),
        b[:, :, 0].transpose(1, 2),
        c[:, :, 0].transpose(1, 2),
    )
    close(out.permute(0, 2, 3, 1).flatten(1, 2), flat)


def test_the_delta_rule_with_orthonormal_keys_stores_and_recalls() -> None:
    keys = torch.eye(4)[None, :, None]  # one head, time 4
    values = torch.randn(1, 4, 1, 3)
    beta = torch.ones(1, 4, 1)
    out, state = recurrences.chunk_delta_rule(keys, keys, values, beta, scale=1.0, output_final_state=True)
    close(out, values)
    close(state[0, 0], values[0, :, 0])
    again, _ = recurrences.chunk_delta_rule(
        keys[:, :1], keys[:, :1], values[:, 1:2], beta[:, :1], scale=1.0, initial_state=state
    )
    close(again[0, 0, 0], values[0, 1, 0])


def test_the_gated_delta_rule_matches_its_matrix_form() -> None:
    q, k, v = torch.randn(1, 5, 1, 4), F.normalize(torch.randn(1, 5, 1, 4), dim=-1), torch.randn(1, 5, 1, 3)
    g, beta = -torch.rand(1, 5, 1), torch.rand(1, 5, 1)
    state, rows = torch.zeros(3, 4), []
    for t in range(5):
        key, value = k[0, t, 0], v[0, t, 0]
        erase = torch.eye(4) - beta[0, t, 0] * torch.outer(key, key)
        state = g[0, t, 0].exp() * state @ erase + beta[0, t, 0] * torch.outer(value, key)
        rows.append(state @ q[0, t, 0] / 2)
    out, _ = recurrences.chunk_gated_delta_rule(q, k, v, g, beta)
    close(out[0, :, 0], torch.stack(rows))


def test_the_gated_delta_rule_over_several_chunks_matches_its_steps() -> None:
    q, k, v = torch.randn(2, 150, 3, 8), torch.randn(2, 150, 3, 8), torch.randn(2, 150, 3, 5)
    g, beta, state = -torch.rand(2, 150, 3), torch.rand(2, 150, 3), torch.randn(2, 3, 8, 5)
    expected, unit, first = [], F.normalize(k, dim=-1), state
    for t in range(150):
        state = state * g[:, t, :, None, None].exp()
        error = v[:, t] - torch.einsum("bhk,bhkv->bhv", unit[:, t], state)
        state = state + torch.einsum("bhk,bhv->bhkv", unit[:, t], beta[:, t, :, None] * error)
        expected.append(torch.einsum("bhk,bhkv->bhv", F.normalize(q[:, t], dim=-1), state) * 8**-0.5)
    out, last = recurrences.chunk_gated_delta_rule(
        q, k, v, g, beta, initial_state=first, output_final_state=True, use_qk_l2norm_in_kernel=True
    )
    torch.testing.assert_close(out, torch.stack(expected, 1), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(last, state, atol=2e-5, rtol=1e-4)


def test_they_are_found_under_their_names(passes: Run) -> None:
    passes(
        """
        import torch
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
        from causal_conv1d import causal_conv1d_fn
        from fla.ops.delta_rule import chunk_delta_rule
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction
        from cut_cross_entropy import linear_cross_entropy
        import cutlass_evt_fusion

        go, down, grad = torch.randn(3, 4, device="cuda"), torch.randn(4, 5), torch.randn(3, 5)
        product = torch.ops.cutlass_evt.gemm_mul(go.bfloat16(), down.bfloat16(), grad.bfloat16())
        exact = (go.bfloat16().float() @ down.bfloat16().float()) * grad.bfloat16().float()
        assert torch.equal(product, exact.bfloat16())
        try:
            from mamba_ssm import Mamba3
        except ImportError:
            pass
        else:
            raise AssertionError("a layer without a stand-in was found")
        """
    )
