"""flash-attn in plain torch against a softmax over explicitly masked scores, in fp64. Tolerance 1e-5 (fp32 inputs)."""

from __future__ import annotations

import itertools
import types
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from auditor.run.inside import attention  # noqa: E402 - needs torch

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
FLASH_2 = attention._functions(2)
FLASH_3 = attention._functions(3)


def reference(
    q: Any,
    k: Any,
    v: Any,
    *,
    causal: bool = False,
    window: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    scale: float | None = None,
    slopes: Any = None,
) -> tuple[Any, Any]:
    """Output (batch, queries, heads, width) and lse (batch, heads, queries), pair by pair by definition."""
    batch, queries, heads, width = q.shape
    keys, groups = k.shape[1], heads // k.shape[2]
    out = torch.zeros(batch, queries, heads, v.shape[-1], dtype=torch.float64)
    lse = torch.full((batch, heads, queries), float("-inf"), dtype=torch.float64)
    scale = width**-0.5 if scale is None else scale
    for b, h, i in itertools.product(range(batch), range(heads), range(queries)):
        place = i + keys - queries
        seen = [
            j
            for j in range(keys)
            if (not causal or j <= place)
            and (window[0] < 0 or j >= place - window[0])
            and (window[1] < 0 or j <= place + window[1])
        ]
        if not seen:
            continue
        scores = (k[b, seen, h // groups].double() @ q[b, i, h].double()) * scale
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        if slopes is not None:
            scores = scores - slopes[h].double() * torch.tensor([abs(j - place) for j in seen])
        lse[b, h, i] = torch.logsumexp(scores, 0)
        out[b, i, h] = torch.softmax(scores, 0) @ v[b, seen, h // groups].double()
    return out, lse


def inputs(queries: int = 9, keys: int = 9, heads: int = 4, kv_heads: int = 4, width: int = 8) -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    q = torch.randn(2, queries, heads, width)
    return q, torch.randn(2, keys, kv_heads, width), torch.randn(2, keys, kv_heads, width)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"causal": True},
        {"causal": True, "window": (3, 0)},
        {"window": (2, 1)},
        {"window": (0, 4), "causal": True},
        {"causal": True, "softcap": 5.0},
        {"softcap": 2.0, "window": (4, 4)},
        {"causal": True, "scale": 0.3},
        {"causal": True, "slopes": torch.tensor([0.5, 0.25, 0.125, 0.0625])},
    ],
)
@pytest.mark.parametrize("shape", [{}, {"kv_heads": 2}, {"kv_heads": 1}, {"queries": 4}, {"queries": 4, "kv_heads": 2}])
def test_attention_is_the_softmax_over_masked_scores(options: dict[str, Any], shape: dict[str, int]) -> None:
    q, k, v = inputs(**shape)
    expected, expected_lse = reference(q, k, v, **options)
    names = {"window": "window_size", "scale": "softmax_scale", "slopes": "alibi_slopes"}
    given = {names.get(name, name): value for name, value in options.items()}
    torch.testing.assert_close(FLASH_2["flash_attn_func"](q, k, v, **given).double(), expected, **TOLERANCE)
    out, lse, mask = FLASH_2["flash_attn_func"](q, k, v, return_attn_probs=True, **given)
    torch.testing.assert_close(out.double(), expected, **TOLERANCE)
    torch.testing.assert_close(lse.double(), expected_lse, **TOLERANCE)
    assert mask is None


def test_queries_that_see_no_key_give_zeros() -> None:
    q, k, v = inputs(queries=9, keys=4)
    out = FLASH_3["flash_attn_func"](q, k, v, causal=True)
    expected, _ = reference(q, k, v, causal=True)
    torch.testing.assert_close(out.double(), expected, **TOLERANCE)
    assert not out[:, :5].any()


@pytest.mark.parametrize("functions", [FLASH_2, FLASH_3])
@pytest.mark.parametrize("options", [{}, {"window_size": (2, 0)}, {"softcap": 3.0}])
def test_packed_sequences_do_not_see_each_other(functions: dict[str, Any], options: dict[str, Any]) -> None:
    starts = torch.tensor([0, 3, 3, 10, 14], dtype=torch.int32)
    torch.manual_seed(0)
    q, k, v = torch.randn(14, 4, 8), torch.randn(14, 2, 8), torch.randn(14, 2, 8)
    packed = functions["flash_attn_varlen_func"](q, k, v, starts, starts, 7, 7, causal=True, **options)
    for first, last in [(0, 3), (3, 10), (10, 14)]:
        part = slice(first, last)
        names = {"window_size": "window"}
        given = {names.get(name, name): value for name, value in options.items()}
        expected, _ = reference(q[None, part], k[None, part], v[None, part], causal=True, **given)
        torch.testing.assert_close(packed[part].double(), expected[0], **TOLERANCE)


def test_rows_beyond_the_last_sequence_are_zero_and_gradients_flow() -> None:
    starts = torch.tensor([0, 5, 8, 8, 8], dtype=torch.int32)
    q = torch.randn(10, 2, 8, requires_grad=True)
    out = FLASH_3["flash_attn_varlen_func"](q, q, q, starts, starts, 8, 8, causal=True)
    assert out.shape == q.shape
    assert not out[8:].any()
    out.sum().backward()
    assert q.grad is not None
    assert q.grad[:8].abs().sum() > 0
    assert not q.grad[8:].any()


def test_lse_of_packed_sequences_is_laid_end_to_end() -> None:
    starts = torch.tensor([0, 3, 9], dtype=torch.int32)
    torch.manual_seed(0)
    q = torch.randn(9, 2, 8)
    out, lse = FLASH_3["flash_attn_varlen_func"](q, q, q, starts, starts, 6, 6, causal=True, return_attn_probs=True)
    _, first = reference(q[None, :3], q[None, :3], q[None, :3], causal=True)
    _, second = reference(q[None, 3:], q[None, 3:], q[None, 3:], causal=True)
    torch.testing.assert_close(lse.double(), torch.cat([first[0], second[0]], -1), **TOLERANCE)
    assert out.shape == q.shape


@pytest.mark.parametrize("functions", [FLASH_2, FLASH_3])
def test_packed_forms_of_heads_agree_with_the_plain_one(functions: dict[str, Any]) -> None:
    q, k, v = inputs()
    plain = functions["flash_attn_func"](q, k, v, causal=True)
    qkv = torch.stack([q, k, v], 2)
    torch.testing.assert_close(functions["flash_attn_qkvpacked_func"](qkv, causal=True), plain)
    kv = torch.stack([k, v], 2)
    torch.testing.assert_close(functions["flash_attn_kvpacked_func"](q, kv, causal=True), plain)
    starts = torch.tensor([0, 9, 18], dtype=torch.int32)
    ragged = functions["flash_attn_varlen_qkvpacked_func"](qkv.flatten(0, 1), starts, 9, causal=True)
    torch.testing.assert_close(ragged.view_as(plain), plain)
    ragged = functions["flash_attn_varlen_kvpacked_func"](
        q.flatten(0, 1), kv.flatten(0, 1), starts, starts, 9, 9, causal=True
    )
    torch.testing.assert_close(ragged.view_as(plain), plain)


def test_heads_packed_with_fewer_keys_than_queries() -> None:
    q, k, v = inputs(kv_heads=2)
    packed = FLASH_3["flash_attn_qkvpacked_func"](torch.cat([q, k, v], 2), causal=True, num_heads_q=4)
    torch.testing.assert_close(packed, FLASH_3["flash_attn_func"](q, k, v, causal=True))


def test_positional_arguments_mean_what_each_version_says() -> None:
    q, k, v = inputs()
    second, _ = reference(q, k, v, causal=True, scale=0.5)
    torch.testing.assert_close(FLASH_2["flash_attn_func"](q, k, v, 0.0, 0.5, True).double(), second, **TOLERANCE)
    torch.testing.assert_close(FLASH_3["flash_attn_func"](q, k, v, 0.5, True).double(), second, **TOLERANCE)


def test_version_3_returns_what_its_caller_takes() -> None:
    """Its first releases returned the lse, too; a script written for them unpacks a pair."""
    module = types.ModuleType("flash_attn_interface")
    attention._module_filler(3)(module)
    q = torch.randn(1, 4, 2, 8)
    alone = module.flash_attn_func(q, q, q, causal=True)
    out, lse = module.flash_attn_func(q, q, q, causal=True)
    torch.testing.assert_close(out, alone)
    assert lse.shape == (1, 2, 4)
    assert module.flash_attn_func(q, q, q, causal=True).shape == q.shape


def test_a_cache_is_extended_and_attended_to() -> None:
    q, k, v = inputs(queries=2, keys=6)
    k_cache, v_cache = torch.zeros(2, 8, 4, 8), torch.zeros(2, 8, 4, 8)
    k_cache[:, :4], v_cache[:, :4] = k[:, :4], v[:, :4]
    out = FLASH_2["flash_attn_with_kvcache"](q, k_cache, v_cache, k[:, 4:], v[:, 4:], cache_seqlens=4, causal=True)
    expected, _ = reference(q, k, v, causal=True)
    torch.testing.assert_close(out.double(), expected, **TOLERANCE)
    torch.testing.assert_close(k_cache[:, :6], k)


def test_half_precision_agrees_with_fp32_within_its_rounding() -> None:
    q, k, v = (x.bfloat16() for x in inputs(queries=40, keys=40, kv_heads=2))
    expected, _ = reference(q, k, v, causal=True)
    out = FLASH_3["flash_attn_func"](q, k, v, causal=True)
    assert out.dtype is torch.bfloat16
    torch.testing.assert_close(out.double(), expected, rtol=2e-2, atol=2e-2)


def test_padding_helpers_are_each_others_inverse() -> None:
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    hidden = torch.randn(2, 4, 5)
    rows, indices, starts, longest, lengths = attention._unpad_input(hidden, mask)
    assert starts.tolist() == [0, 2, 5]
    assert (longest, lengths.tolist()) == (3, [2, 3])
    restored = attention._pad_input(rows, indices, 2, 4)
    torch.testing.assert_close(restored, hidden * mask[..., None])
