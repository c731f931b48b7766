"""The model against plain references: attention, causality, document borders, every switch."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from reference_pipeline.attention import causal_attention, flash_attn_func, sdpa_attention
from reference_pipeline.errors import PipelineError
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.layers import BigramHash, Rotary, SmearGate, rms_norm, rotate
from reference_pipeline.model import GPT, MLP, CausalSelfAttention


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


def stirred(h):
    """A model whose every path carries something: zero projections would hide them."""
    torch.manual_seed(1)
    model = GPT(h)
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture
def model(tiny):
    return stirred(tiny)


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


# Everything that is off by default: the setting, and the parameters that it adds.
OPTIONS = {
    "trigram": ({"trigram": True}, set()),
    "gated_attention": (
        {"gated_attention": True}, {f"blocks.{i}.attn.gate.{p}" for i in range(3) for p in ("reading", "bias")},
    ),
    "value_residual": ({"value_residual": True}, {f"blocks.{i}.attn.value_share" for i in range(3)}),
    "dtg": ({"dtg_enabled": True}, {f"blocks.{i}.dtg_gate.{p}" for i in range(3) for p in ("reading", "bias")}),
    "two_lanes": ({"parallel_start_layer": 2}, {"lane_merge"}),
    "narrow_embedding": ({"embedding_dim": 12}, {"embed_proj.weight", "head_proj.weight"}),
    "untied_head": ({"tie_embeddings": False}, {"lm_head.weight"}),
    "plain_skips": ({"skip_gates": False}, set()),
    "sigmoid_skips": ({"skip_gates": False, "sigmoid_skips": True}, set()),
    "no_ln_scale": ({"ln_scale": False}, set()),
    "long_rope": ({"rope_train_seq_len": 8}, set()),
}  # fmt: skip


@pytest.fixture(params=OPTIONS)
def option(request, tiny):
    """(settings with one option on, that option's name)."""
    for name, value in OPTIONS[request.param][0].items():
        setattr(tiny, name, value)
    return tiny, request.param


def test_options_are_off_and_leave_no_parameter_behind(tiny, model):
    names = set(model.state_dict())
    fresh = Hyperparameters()
    for settings, added in OPTIONS.values():
        for name, value in settings.items():
            assert getattr(fresh, name) != value
        assert not names & added
    block = {f"attn.{matrix}.weight" for matrix in ("c_q", "c_k", "c_v", "proj")} | {
        "attn.q_gain", "attn_scale", "mlp.fc.weight", "mlp.proj.weight", "mlp_scale", "resid_mix",
    }  # fmt: skip
    assert names == {f"blocks.{i}.{name}" for i in range(3) for name in block} | {
        "tok_emb.weight", "smear.gate", "bigram.embed.weight", "bigram.proj.weight", "value_embed.weight",
        "value_proj.weight", "value_scale", "skip_gates", "skip_weights",
    }  # fmt: skip


def test_the_default_model_is_what_it_was_before_the_options(tiny):
    """Loss of a seeded model of default settings, as the pipeline printed it when it had none of the options."""
    torch.manual_seed(0)
    model = GPT(Hyperparameters())
    tokens = torch.randint(0, 512, (2, 33), generator=torch.Generator().manual_seed(1))
    assert model(tokens[:, :-1], tokens[:, 1:]).item() == pytest.approx(6.31606912612915, abs=1e-5)


def test_an_option_adds_its_parameters_and_changes_the_logits(option, toy):
    h, name = option
    plain, model = copy.copy(h), stirred(h)
    for setting in OPTIONS[name][0]:
        setattr(plain, setting, getattr(Hyperparameters, setting))
    before = stirred(plain)
    added = set(model.state_dict()) - set(before.state_dict())
    assert added - {"skip_gates"} == OPTIONS[name][1]
    tokens = torch.randint(3, 300, (2, 24))
    assert not torch.allclose(model.forward_logits(tokens), before.forward_logits(tokens))


@pytest.mark.parametrize("looping", [False, True])
def test_no_option_lets_a_logit_depend_on_a_later_token(option, looping):
    model = stirred(option[0])
    model.looping = looping
    tokens = torch.randint(3, 300, (1, 24))
    changed = tokens.clone()
    changed[0, 13:] = torch.randint(3, 300, (11,))
    assert torch.allclose(model.forward_logits(tokens)[:, :13], model.forward_logits(changed)[:, :13], atol=1e-6)


def test_gradients_reach_every_parameter_of_an_option(option):
    h, _ = option
    model = stirred(h)
    model.looping = True  # every skip is used
    tokens = torch.randint(3, 300, (2, 24))
    model(tokens[:, :-1], tokens[:, 1:]).backward()
    for name, parameter in model.named_parameters():
        unused = name == "blocks.0.attn.value_share"  # the first layer's values are the ones that others take
        assert (parameter.grad is None or not parameter.grad.any()) == unused, name


def test_trigrams_see_three_tokens_and_none_across_bos():
    torch.manual_seed(0)
    bigram = BigramHash(97, 4, 8, trigram=True)
    tokens = torch.tensor([[5, 6, 7, 8, 1, 9, 7, 8]])
    is_bos = tokens == 1
    features = bigram(tokens, is_bos)
    other = tokens.clone()
    other[0, 0] = 77
    changed = (bigram(other, is_bos) != features).any(-1)[0]
    assert changed.tolist() == [True, True, True] + [False] * 5
    other = tokens.clone()
    other[0, 3] = 77  # before BOS
    assert (bigram(other, is_bos) != features).any(-1)[0].tolist() == [False] * 3 + [True] + [False] * 4
    assert not torch.equal(features[0, 7], features[0, 3])  # 9 7 8 and 6 7 8
    plain = BigramHash(97, 4, 8)
    plain.load_state_dict(bigram.state_dict())
    y = plain(tokens, is_bos)
    assert torch.equal(y[0, 7], y[0, 3])  # 7 8 in both


def test_gates_begin_nearly_open_and_read_the_position(tiny):
    tiny.gated_attention = tiny.dtg_enabled = True
    block = GPT(tiny).blocks[1]
    x = torch.randn(2, 5, 32)
    assert torch.allclose(block.attn.gate(x), torch.full((2, 5, 4), 1 / (1 + math.exp(-4.0))))
    assert torch.allclose(block.dtg_gate(x), torch.full((2, 5, 1), 1 / (1 + math.exp(-2.0))))
    block.attn.gate.reading.data.normal_()
    assert block.attn.gate(x).std() > 0.01


def test_rope_beyond_the_training_length_turns_the_slowest_pair_no_further():
    plain, stretched = Rotary(8, 10000.0), Rotary(8, 10000.0, train_length=16)
    for longer, same in zip(stretched.table(16), plain.table(16), strict=True):
        assert torch.equal(longer, same)
    cos, sin = stretched.table(64)
    slowest = torch.atan2(sin[-1, 0, 3], cos[-1, 0, 3])
    assert slowest.item() == pytest.approx(63 / 4 * plain.frequencies[3].item(), rel=1e-4)
    assert torch.equal(cos[:, 0, 0], plain.table(64)[0][:, 0, 0])  # the fastest stays


def test_mtp_heads_weigh_in_training_only_and_teach_the_body(tiny):
    torch.manual_seed(1)
    model = GPT(tiny)
    tokens = torch.randint(3, 300, (2, 17))
    plain = model(tokens[:, :-1], tokens[:, 1:]).item()
    tiny.mtp_num_heads, tiny.mtp_loss_weight = 2, 0.5
    model.add_mtp_heads(tiny)
    assert model(tokens[:, :-1], tokens[:, 1:]).item() == pytest.approx(plain + 0.5 * math.log(300), rel=1e-5)
    for head in model.mtp_heads:
        head.weight.data.normal_()
    hidden = model.forward_hidden(tokens[:, :-1])
    second = 30 * torch.tanh(hidden[:, :-2] @ model.mtp_heads[1].weight.T / 30)  # position t, two beyond the next
    expected = torch.nn.functional.cross_entropy(second.flatten(0, 1), tokens[:, 3:].flatten())
    only_second = copy.copy(model.mtp_heads)
    model.mtp_heads = torch.nn.ModuleList([torch.nn.Linear(32, 300, bias=False), only_second[1]])
    torch.nn.init.zeros_(model.mtp_heads[0].weight)
    both = model.mtp_loss(hidden, tokens[:, 1:])
    assert both.item() == pytest.approx((math.log(300) + expected.item()) / 2, rel=1e-5)
    model.zero_grad()
    both.backward()
    assert model.blocks[0].mlp_scale.grad is not None
    model.eval()
    assert model(tokens[:, :-1], tokens[:, 1:]).item() == pytest.approx(plain, rel=1e-6)
