"""The model against plain references: attention, causality, document borders, every switch."""

from __future__ import annotations

import math

import pytest
import torch

from reference_pipeline.attention import causal_attention, flash_attn_func, sdpa_attention
from reference_pipeline.errors import PipelineError
from reference_pipeline.model import GPT, MLP, CausalSelfAttention, Rotary, SmearGate, rms_norm, rotate


def plain_attention(q, k, v):
    """Softmax attention written out, a loop over heads and positions."""
    _, t, heads, d = q.shape
    out = torch.zeros_like(q)
    for head in range(heads):
        shared = head // (heads // k.size(2))
        for position in range(t):
            scores = (k[:, : position + 1, shared] * q[:, position, head, None]).sum(-1) / math.sqrt(d)
            out[:, position, head] = (scores.softmax(-1)[..., None] * v[:, : position + 1, shared]).sum(1)
    return out


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_attention_equals_the_definition(kv_heads):
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 7, 4, 8), torch.randn(2, 7, kv_heads, 8), torch.randn(2, 7, kv_heads, 8)
    assert torch.allclose(causal_attention(q, k, v), plain_attention(q, k, v), atol=1e-5)


@pytest.mark.skipif(flash_attn_func is None or not torch.cuda.is_available(), reason="needs flash-attn on a GPU")
def test_flash_attention_agrees_with_sdpa():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 64, heads, 64, device="cuda", dtype=torch.bfloat16) for heads in (4, 2, 2))
    assert torch.allclose(causal_attention(q, k, v), sdpa_attention(q, k, v), atol=2e-2)


@pytest.fixture
def model(tiny):
    torch.manual_seed(1)
    model = GPT(tiny)
    for parameter in model.parameters():  # zero projections would hide every path
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("looping", [False, True])
def test_no_logit_depends_on_a_later_token(model, looping):
    model.looping = looping
    tokens = torch.randint(3, 300, (1, 24))
    changed = tokens.clone()
    changed[0, 13:] = torch.randint(3, 300, (11,))
    before, after = model.forward_logits(tokens), model.forward_logits(changed)
    assert torch.equal(before[:, :13], after[:, :13])
    assert not torch.allclose(before[:, 13:], after[:, 13:])


def test_smear_gate_does_not_cross_bos():
    smear = SmearGate(4)
    x = torch.randn(1, 5, 4)
    is_bos = torch.tensor([[True, False, False, True, False]])
    y = smear(x, is_bos)
    assert torch.equal(y[:, 3], x[:, 3])
    assert torch.equal(y[:, 0], x[:, 0])
    assert torch.allclose(y[:, 2], x[:, 2] + torch.sigmoid(smear.gate) * x[:, 1])


def test_xsa_leaves_nothing_along_the_own_value(tiny):
    attention = CausalSelfAttention(tiny, layer=2)
    y, v = torch.randn(2, 5, 4, 8), torch.randn(2, 5, 2, 8)
    out = attention.exclusive(y, v)
    along = (out * torch.nn.functional.normalize(v, dim=-1).repeat_interleave(2, dim=2)).sum(-1)
    assert along.abs().max() < 1e-5


def test_rms_norm_is_the_definition_times_its_gain():
    x, gain = torch.randn(3, 5, 4, 8) * torch.logspace(-4, 3, 5)[:, None, None], torch.rand(4, 1)
    assert torch.allclose(rms_norm(x, gain), torch.nn.functional.rms_norm(x, (8,)) * gain, rtol=1e-5)
    assert torch.equal(rms_norm(torch.zeros(2, 8)), torch.zeros(2, 8))
    zeros = torch.zeros(2, 8, requires_grad=True)
    rms_norm(zeros).sum().backward()
    assert zeros.grad.isfinite().all()


def test_mlp_is_the_same_with_and_without_gradients(tiny):
    mlp, x = MLP(tiny), torch.randn(2, 5, 32)
    mlp.proj.weight.data.normal_()
    plain = torch.nn.functional.leaky_relu(x @ mlp.fc.weight.T, 0.5) ** 2 @ mlp.proj.weight.T
    assert torch.allclose(mlp(x), plain, atol=1e-5)
    with torch.inference_mode():
        assert torch.allclose(mlp(x), plain, atol=1e-5)


def test_logits_of_chosen_places_are_those_of_all(model):
    tokens, places = torch.randint(3, 300, (3, 9)), torch.tensor([1, 8, 9, 26])
    chosen = model.forward_logits(tokens, places=places)
    assert torch.allclose(chosen, model.forward_logits(tokens).flatten(0, 1)[places], atol=1e-6)


def plain_rotation(x, dims):
    """The definition: dimensions i and i + dims/2 of position t turned by t * 10000^(-2i/dims), one pair at a time."""
    y = x.clone()
    for t in range(x.size(1)):
        for i in range(dims // 2):
            angle = t * 10000.0 ** (-2 * i / dims)
            a, b = x[:, t, :, i], x[:, t, :, i + dims // 2]
            y[:, t, :, i] = a * math.cos(angle) + b * math.sin(angle)
            y[:, t, :, i + dims // 2] = b * math.cos(angle) - a * math.sin(angle)
    return y


@pytest.mark.parametrize("dims", [4, 8])
def test_rotary_is_the_definition(dims):
    x = torch.randn(2, 6, 3, 8)
    assert torch.allclose(rotate(x, Rotary(dims, 10000.0).table(6)), plain_rotation(x, dims), atol=1e-5)


def test_rotary_turns_only_its_dimensions_and_keeps_lengths():
    def rotary(x):
        return rotate(x, Rotary(4, 10000.0).table(6))

    x = torch.randn(1, 6, 2, 8)
    y = rotary(x)
    assert torch.equal(y[..., 4:], x[..., 4:])
    assert torch.allclose(y.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
    # scores depend on the distance alone
    q = k = x[:, :1].expand(1, 6, 2, 8)
    scores = torch.einsum("bthd,bshd->bhts", rotary(q), rotary(k))
    assert torch.allclose(scores[..., 1, 0], scores[..., 4, 3], atol=1e-4)


def test_looping_deepens_the_model_without_new_weights(model):
    assert model.orders[0] == [0, 1, 2]
    assert model.orders[1] == [0, 1, 1, 2]
    tokens = torch.randint(3, 300, (1, 8))
    shallow = model.forward_logits(tokens)
    model.looping = True
    assert not torch.allclose(shallow, model.forward_logits(tokens))


@pytest.mark.parametrize(
    "off", [{"bigram_buckets": 0}, {"smear_gate": False}, {"ve_last_n": 0}, {"skip_gates": False}, {"xsa_last_n": 0}]
)
def test_every_part_can_be_switched_off(tiny, off):
    for name, value in off.items():
        setattr(tiny, name, value)
    loss = GPT(tiny)(torch.randint(3, 300, (2, 8)), torch.randint(3, 300, (2, 8)))
    loss.backward()
    assert loss.isfinite()


def test_logits_respect_the_softcap(model):
    model.tok_emb.weight.data.mul_(1000)
    assert model.forward_logits(torch.randint(3, 300, (1, 8))).abs().max() <= 30.0


def test_impossible_heads_name_the_settings(tiny):
    tiny.num_heads = 5
    with pytest.raises(PipelineError, match="NUM_HEADS=5"):
        GPT(tiny)
