"""flash-attn 2 and 3 in plain torch: the same functions under the same module names.

Tensors are (batch, time, heads, width), or (total time, heads, width) for sequences packed end to end. Causal masks and
windows are aligned to the last query and the last key, as in flash-attn since 2.1. Rows that see no key give zeros.
"""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from . import imports
from .usage import forbidden, used

Tensor = torch.Tensor
Window = tuple[int, int]
EVERYWHERE: Window = (-1, -1)


def _mask(queries: int, keys: int, causal: bool, window: Window) -> Tensor | None:
    """Which query sees which key, (queries, keys) bool; None when each sees all."""
    left, right = (window[0], window[1]) if window is not None else EVERYWHERE
    if causal:
        right = 0
    if (left < 0 or left >= keys) and (right < 0 or right >= keys):
        return None
    distance = torch.arange(keys)[None, :] - (torch.arange(queries)[:, None] + keys - queries)
    seen = torch.ones(queries, keys, dtype=torch.bool)
    if left >= 0:
        seen &= distance >= -left
    if right >= 0:
        seen &= distance <= right
    return seen


def _scores(q: Tensor, k: Tensor, scale: float, softcap: float, bias: Tensor | None) -> Tensor:
    """Scores in fp32, (batch, heads, queries, keys), of (batch, heads, time, width) in which heads agree."""
    scores = q.float() @ k.float().transpose(-1, -2) * scale
    if softcap:
        scores = torch.tanh(scores / softcap) * softcap
    return scores if bias is None else scores + bias


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    window: Window = EVERYWHERE,
    scale: float | None = None,
    softcap: float = 0.0,
    slopes: Tensor | None = None,
    dropout: float = 0.0,
    with_lse: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention over (batch, time, heads, width): the output, and the log-sum-exp (batch, heads, time) if asked for.

    Key and value heads may be fewer than query heads and divide them. `slopes` are ALiBi's, (heads,) or (batch, heads).
    """
    used("flash attention")
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    v = v.to(q.dtype)
    k = k.to(q.dtype)
    queries, keys = q.shape[2], k.shape[2]
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    if k.shape[1] != q.shape[1]:
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    if v.shape[1] != q.shape[1]:
        v = v.repeat_interleave(q.shape[1] // v.shape[1], 1)
    simple = not softcap and slopes is None and not with_lse
    if simple and causal and queries == keys and tuple(window) == EVERYWHERE:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, dropout_p=dropout)
        return out.transpose(1, 2), None
    mask = _mask(queries, keys, causal, window)
    bias = None
    if slopes is not None:
        distance = (torch.arange(keys)[None, :] - (torch.arange(queries)[:, None] + keys - queries)).abs()
        bias = -slopes.float().reshape(-1, q.shape[1], 1, 1) * distance
    if simple:
        return _masked(q, k, v, mask, scale, dropout).transpose(1, 2), None
    scores = _scores(q, k, scale, softcap, bias)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    lse = torch.logsumexp(scores, -1)
    weights = torch.where(torch.isneginf(scores), 0.0, torch.exp(scores - lse[..., None]))
    out = (F.dropout(weights, dropout) @ v.float()).to(q.dtype)
    return out.transpose(1, 2), lse


def _masked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, dropout: float) -> Tensor:
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, dropout_p=dropout)
    if mask is not None and not bool(mask.any(-1).all()):
        out = out.masked_fill(~mask.any(-1)[:, None], 0.0)
    return out


def attend_packed(
    q: Tensor, k: Tensor, v: Tensor, starts_q: Tensor, starts_k: Tensor, *, with_lse: bool = False, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """Attention within each of several sequences packed end to end, (total, heads, width); lse is (heads, total).

    `starts_q` and `starts_k` are cumulative lengths, (sequences + 1,); what lies beyond the last one is zero.
    """
    bounds_q, bounds_k = starts_q.tolist(), starts_k.tolist()
    outputs, lses, done = [], [], 0
    for i in range(len(bounds_q) - 1):
        first, last = min(bounds_q[i], q.shape[0]), min(bounds_q[i + 1], q.shape[0])
        if last <= first:
            continue
        part = slice(bounds_k[i], min(bounds_k[i + 1], k.shape[0]))
        out, lse = attend(q[None, first:last], k[None, part], v[None, part], with_lse=with_lse, **options)
        if first > done:
            outputs.append(q.new_zeros(first - done, q.shape[1], v.shape[-1]))
        outputs.append(out[0])
        lses.append(lse[0] if lse is not None else None)
        done = last
    if done < q.shape[0]:
        outputs.append(q.new_zeros(q.shape[0] - done, q.shape[1], v.shape[-1]))
    lse_rows = torch.cat([rows for rows in lses if rows is not None], -1) if with_lse and lses else None
    return (torch.cat(outputs) if outputs else torch.zeros_like(q)), lse_rows


def _result(out: Tensor, lse: Tensor | None, wanted: bool, members: int) -> Any:
    """The output, or with the lse behind it, or with the dropout mask (None) behind both, as the version returns it."""
    return (out, lse, None)[:members] if wanted else out


def _wants_lse(version: int, o: dict[str, Any]) -> bool:
    if o.get("return_attn_probs") or o.get("return_softmax_lse") or o.get("return_lse"):
        return True
    return version == 3 and _unpacks_a_pair()


def _unpacks_a_pair() -> bool:
    """Whether the caller takes two values: flash-attn 3 returned (out, lse) until it got `return_attn_probs`.

    Which of both a script was written for shows in the instruction that follows its call.
    """
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    if frame is None:
        return False
    place = frame.f_code, frame.f_lasti
    if place not in _PAIRS:
        following = (step for step in dis.get_instructions(frame.f_code) if step.offset > frame.f_lasti)
        first = next(following, None)
        _PAIRS[place] = first is not None and first.opname == "UNPACK_SEQUENCE" and first.arg == 2
    return _PAIRS[place]


_PAIRS: dict[tuple[types.CodeType, int], bool] = {}


def _functions(version: int) -> dict[str, Callable[..., Any]]:
    """The interface of flash-attn `version` (2 or 3): they differ in the order of arguments."""
    members = 3 if version == 2 else 2

    def dense(q: Tensor, k: Tensor, v: Tensor, o: dict[str, Any]) -> Any:
        wanted = _wants_lse(version, o)
        out, lse = attend(q, k, v, with_lse=wanted, **_options(o))
        return _result(out, lse, wanted, members)

    def packed(q: Tensor, k: Tensor, v: Tensor, starts_q: Tensor, starts_k: Tensor, o: dict[str, Any]) -> Any:
        wanted = _wants_lse(version, o)
        out, lse = attend_packed(q, k, v, starts_q, starts_k, with_lse=wanted, **_options(o))
        return _result(out, lse, wanted, members)

    dense_names = (
        ("dropout_p", "softmax_scale", "causal", "window_size", "softcap", "alibi_slopes", "deterministic")
        if version == 2
        else ("softmax_scale", "causal", "qv", "q_descale", "k_descale", "v_descale", "window_size")
    )
    packed_names = (
        ("max_seqlen_q", "max_seqlen_k", *dense_names)
        if version == 2
        else ("max_seqlen_q", "max_seqlen_k", "seqused_q", "seqused_k", *dense_names)
    )

    def flash_attn_func(q: Tensor, k: Tensor, v: Tensor, *args: Any, **keywords: Any) -> Any:
        return dense(q, k, v, dict(zip(dense_names, args, strict=False)) | keywords)

    def flash_attn_kvpacked_func(q: Tensor, kv: Tensor, *args: Any, **keywords: Any) -> Any:
        return dense(q, kv[:, :, 0], kv[:, :, 1], dict(zip(dense_names, args, strict=False)) | keywords)

    def flash_attn_qkvpacked_func(qkv: Tensor, *args: Any, **keywords: Any) -> Any:
        o = dict(zip(dense_names, args, strict=False)) | keywords
        return dense(*_unpacked(qkv, 2, o.get("num_heads_q")), o)

    def flash_attn_varlen_func(
        q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor | None = None, *args: Any, **kw: Any
    ) -> Any:
        starts_k = cu_seqlens_q if cu_seqlens_k is None else cu_seqlens_k
        return packed(q, k, v, cu_seqlens_q, starts_k, dict(zip(packed_names, args, strict=False)) | kw)

    def flash_attn_varlen_kvpacked_func(
        q: Tensor, kv: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, *args: Any, **keywords: Any
    ) -> Any:
        o = dict(zip(packed_names, args, strict=False)) | keywords
        return packed(q, kv[:, 0], kv[:, 1], cu_seqlens_q, cu_seqlens_k, o)

    def flash_attn_varlen_qkvpacked_func(qkv: Tensor, cu_seqlens: Tensor, *args: Any, **keywords: Any) -> Any:
        o = dict(zip(("max_seqlen", *dense_names), args, strict=False)) | keywords
        return packed(*_unpacked(qkv, 1, o.get("num_heads_q")), cu_seqlens, cu_seqlens, o)

    functions = (
        flash_attn_func,
        flash_attn_kvpacked_func,
        flash_attn_qkvpacked_func,
        flash_attn_varlen_func,
        flash_attn_varlen_kvpacked_func,
        flash_attn_varlen_qkvpacked_func,
        flash_attn_with_kvcache,
    )
    return {function.__name__: function for function in functions}


def _unpacked(qkv: Tensor, axis: int, query_heads: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys, values of (..., 3, heads, width) with the 3 at `axis`, or of (..., heads, width) with GQA."""
    if query_heads is None:
        q, k, v = qkv.unbind(axis)
        return q, k, v
    rest = (qkv.shape[axis] - query_heads) // 2
    q, k, v = qkv.split([query_heads, rest, rest], axis)
    return q, k, v


def _options(o: dict[str, Any]) -> dict[str, Any]:
    window = o.get("window_size")
    if window is None:
        window = EVERYWHERE
    elif isinstance(window, int):
        window = (window, window)
    return {
        "causal": bool(o.get("causal") or False),
        "window": tuple(-1 if side is None else int(side) for side in window),
        "scale": o.get("softmax_scale"),
        "softcap": float(o.get("softcap") or 0.0),
        "slopes": o.get("alibi_slopes"),
        "dropout": float(o.get("dropout_p") or 0.0),
    }


def flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    cache_seqlens: Any = None,
    **o: Any,
) -> Any:
    """Attention of new queries over a cache, (batch, time, heads, width), into which `k` and `v` are written first."""
    used_before = (
        [k_cache.shape[1]] * q.shape[0]
        if cache_seqlens is None
        else [int(cache_seqlens)] * q.shape[0]
        if isinstance(cache_seqlens, int)
        else cache_seqlens.tolist()
    )
    rows = []
    for row, length in enumerate(used_before):
        if k is not None and v is not None:
            k_cache[row, length : length + k.shape[1]] = k[row]
            v_cache[row, length : length + v.shape[1]] = v[row]
            length += k.shape[1]
        rows.append(
            attend(q[row : row + 1], k_cache[row : row + 1, :length], v_cache[row : row + 1, :length], **_options(o))[0]
        )
    return torch.cat(rows)


def _pad_input(rows: Tensor, indices: Tensor, batch: int, length: int) -> Tensor:
    out = rows.new_zeros(batch * length, *rows.shape[1:])
    return out.index_copy(0, indices, rows).view(batch, length, *rows.shape[1:])


def _unpad_input(hidden: Tensor, mask: Tensor, *unused: Any) -> tuple[Any, ...]:
    lengths = mask.sum(-1, dtype=torch.int32)
    indices = mask.flatten().nonzero().flatten()
    starts = F.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    return hidden.flatten(0, 1)[indices], indices, starts, int(lengths.max()), lengths


def _module_filler(version: int) -> imports.Filler:
    def fill(module: types.ModuleType) -> None:
        module.__dict__.update(_functions(version))
        module.__version__ = "2.8.3" if version == 2 else "3.0.0"  # type: ignore[attr-defined]

    return fill


def _fill_padding(module: types.ModuleType) -> None:
    module.pad_input = _pad_input  # type: ignore[attr-defined]
    module.unpad_input = _unpad_input  # type: ignore[attr-defined]


def _fill_kernels(module: types.ModuleType) -> None:
    """`kernels`, which loads compiled kernels from a hub: flash-attn is here, anything else would be a download."""

    def get_kernel(name: str, *args: Any, **keywords: Any) -> types.ModuleType:
        if ("flash" in name.lower() and "attn" in name.lower()) or "attention" in name.lower():
            made = types.ModuleType("flash_attn_interface")
            _module_filler(2 if "attn2" in name or name.endswith("flash-attn") else 3)(made)
            made.flash_attn_interface = made  # type: ignore[attr-defined]
            return made
        forbidden(f"download of the kernel {name} from a hub")
        raise OSError(f"no network: the kernel {name} cannot be downloaded during an audit")

    module.get_kernel = get_kernel  # type: ignore[attr-defined]
    module.has_kernel = lambda *args, **keywords: True  # type: ignore[attr-defined]
    module.get_local_kernel = get_kernel  # type: ignore[attr-defined]
    module.load_kernel = get_kernel  # type: ignore[attr-defined]


_VERSION_2 = ("flash_attn", "flash_attn.flash_attn_interface")
_VERSION_3 = (
    "flash_attn_interface",
    "flash_attn_3",
    "flash_attn_3.flash_attn_interface",
    "flash_attn.cute",
    "flash_attn.cute.interface",
    "hopper",
    "hopper.flash_attn_interface",
)


def install() -> None:
    """Supply the packages; one that lies beside the script is part of the submission and is used instead."""
    for name in _VERSION_2:
        imports.supply(name, _module_filler(2), even_if_installed=True)
    for name in _VERSION_3:
        imports.supply(name, _module_filler(3), even_if_installed=True)
    imports.supply("flash_attn.bert_padding", _fill_padding, even_if_installed=True)
    imports.supply("kernels", _fill_kernels, even_if_installed=True)
