"""The model against plain references: attention, causality, document borders, every switch."""

from __future__ import annotations

import math

import pytest
import torch

from reference_pipeline.attention import causal_attention, flash_attn_func, sdpa_attention
from reference_pipeline.errors import PipelineError
from reference_pipeline.model import GPT, CausalSelfAttention, SmearGate


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


def test_rotary_turns_only_its_dimensions_and_keeps_lengths(tiny):
    rotary = CausalSelfAttention(tiny, layer=0).rotary
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
