"""fla's gated DeltaNet in plain torch: its parameters, its result, its causality."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402, N812

from auditor.run.inside import recurrent_layers as layers  # noqa: E402

from .conftest import Run  # noqa: E402


def step_by_step(layer: layers.GatedDeltaNet, x: torch.Tensor) -> torch.Tensor:
    """One document x (time, width) through the layer as the paper writes it, one position and head at a time."""
    mixed = {}
    for name in "qkv":
        rows = F.pad(getattr(layer, f"{name}_proj")(x), (0, 0, layer.q_conv1d.kernel_size[0] - 1, 0))
        weight = getattr(layer, f"{name}_conv1d").weight[:, 0]  # (channels, width)
        mixed[name] = torch.stack([F.silu((rows[t : t + weight.shape[1]].T * weight).sum(1)) for t in range(len(x))])
    heads = []
    for head in range(layer.num_heads):
        state = torch.zeros(layer.head_k_dim, layer.head_v_dim)
        keys, values = (slice(head * wide, (head + 1) * wide) for wide in (layer.head_k_dim, layer.head_v_dim))
        rows = []
        for t in range(len(x)):
            q, k = (F.normalize(mixed[name][t, keys], dim=0) for name in "qk")
            step = F.softplus(layer.a_proj(x[t])[head] + layer.dt_bias[head])
            state = state * torch.exp(-layer.A_log[head].exp() * step)
            rate = torch.sigmoid(layer.b_proj(x[t])[head])
            state = state + rate * torch.outer(k, mixed["v"][t, values] - k @ state)
            out = q @ state / layer.head_k_dim**0.5
            out = out * torch.rsqrt(out.square().mean() + 1e-5) * layer.o_norm.weight
            rows.append(out * F.silu(layer.g_proj(x[t])[values]))
        heads.append(torch.stack(rows))
    return layer.o_proj(torch.cat(heads, 1))


@pytest.mark.parametrize("expand", [1, 2])
def test_gated_delta_net_is_the_papers(expand: int) -> None:
    torch.manual_seed(1)
    layer = layers.GatedDeltaNet(hidden_size=24, expand_v=expand, head_dim=8, num_heads=3)
    x = torch.randn(2, 70, 24)
    out, *_ = layer(x)
    expected = torch.stack([step_by_step(layer, document) for document in x])
    torch.testing.assert_close(out, expected, atol=2e-5, rtol=2e-4)


def test_no_position_sees_a_later_one() -> None:
    torch.manual_seed(1)
    layer = layers.GatedDeltaNet(hidden_size=16, expand_v=1, head_dim=8, num_heads=2)
    x = torch.randn(1, 90, 16)
    other = x.clone()
    other[:, 40:] = torch.randn(1, 50, 16)
    before, after = layer(x)[0], layer(other)[0]
    assert torch.equal(before[:, :40], after[:, :40]) and not torch.equal(before[:, 40:], after[:, 40:])


def test_names_are_the_librarys(passes: Run) -> None:
    passes(
        """
        from fla.layers import DeltaNet, GatedDeltaNet, GatedDeltaProduct, Mamba2
        from fla.layers.gated_deltanet import GatedDeltaNet as same
        import fla.ops.gated_delta_rule.naive as naive
        import torch

        layer = GatedDeltaNet(hidden_size=32, head_dim=16, num_heads=2, expand_v=1, layer_idx=3, mode="chunk")
        names = {name for name, _ in layer.named_parameters()}
        assert {"A_log", "dt_bias", "k_conv1d.weight", "o_norm.weight", "a_proj.weight"} <= names
        assert same is GatedDeltaNet
        x = torch.randn(2, 9, 32, requires_grad=True)
        layer(x)[0].sum().backward()
        assert x.grad.abs().sum() > 0 and all(p.grad is not None for p in layer.parameters())
        try:
            Mamba2(hidden_size=32)
        except NotImplementedError:
            pass
        else:
            raise AssertionError("a layer without a stand-in was made")
        """
    )
