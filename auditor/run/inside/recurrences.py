"""Recurrent mixers of mamba_ssm, causal_conv1d and fla in plain torch, step by step as their papers define them.

Sources: Mamba (arXiv 2312.00752, selective scan), Mamba-2 (2405.21060, state-space duality), DeltaNet (2406.06484),
gated DeltaNet (2412.06464). Only functions whose definition leaves nothing open are supplied; a layer that is not here
is a missing module, which the script sees as such.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from . import imports
from .usage import used

Tensor = torch.Tensor
_CHUNK = 64  # positions of the delta rule solved at once, as in fla


def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    seq_idx: Any = None,
    *unused: Any,
    activation: Any = None,
    **kw: Any,
) -> Tensor:
    """Depthwise causal convolution of x (batch, channels, time) with weight (channels, width)."""
    used("causal conv1d")
    if seq_idx is not None:
        raise NotImplementedError("packed sequences have no stand-in")
    width = weight.shape[-1]
    out = F.conv1d(
        F.pad(x, (width - 1, 0)),
        weight.to(x.dtype)[:, None],
        None if bias is None else bias.to(x.dtype),
        groups=x.shape[1],
    )
    return F.silu(out) if activation in ("silu", "swish") else out


def selective_scan_fn(
    u: Tensor,
    delta: Tensor,
    A: Tensor,  # noqa: N803 - the paper's names
    B: Tensor,  # noqa: N803
    C: Tensor,  # noqa: N803
    D: Tensor | None = None,  # noqa: N803
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Any:
    """h_t = exp(delta_t A) h_(t-1) + delta_t B_t u_t; y_t = C_t h_t + D u_t, gated by silu(z).

    u, delta, z: (batch, channels, time); A: (channels, state); B, C: (batch, state, time), or (batch, groups, state,
    time), or (channels, state) where they do not depend on time.
    """
    used("selective scan")
    wide, step = u.float(), delta.float()
    if delta_bias is not None:
        step = step + delta_bias.float()[:, None]
    if delta_softplus:
        step = F.softplus(step)
    b, c = (_per_channel(value.float(), u.shape) for value in (B, C))
    state = wide.new_zeros(u.shape[0], u.shape[1], A.shape[1])
    rows = []
    for t in range(u.shape[2]):
        decay = torch.exp(step[:, :, t, None] * A.float())
        state = decay * state + (step[:, :, t] * wide[:, :, t])[..., None] * b[..., t]
        rows.append((state * c[..., t]).sum(-1))
    out = torch.stack(rows, -1)
    if D is not None:
        out = out + D.float()[:, None] * wide
    if z is not None:
        out = out * F.silu(z.float())
    out = out.to(u.dtype)
    return (out, state) if return_last_state else out


def _per_channel(value: Tensor, shape: torch.Size) -> Tensor:
    """B or C as (batch, channels or 1, state, time)."""
    batch, channels, time = shape
    if value.dim() == 2:
        return value[None, :, :, None].expand(batch, channels, value.shape[1], time)
    if value.dim() == 3:
        return value[:, None]
    return value.repeat_interleave(channels // value.shape[1], 1)


def mamba_chunk_scan_combined(
    x: Tensor,
    dt: Tensor,
    A: Tensor,  # noqa: N803 - the paper's names
    B: Tensor,  # noqa: N803
    C: Tensor,  # noqa: N803
    chunk_size: int = 0,
    D: Tensor | None = None,  # noqa: N803
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    initial_states: Tensor | None = None,
    seq_idx: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, float("inf")),
    return_final_states: bool = False,
    **unused: Any,
) -> Any:
    """Mamba-2's scan.

    x: (batch, time, heads, width); dt: (batch, time, heads); A: (heads,); B, C: (batch, time, groups, state).
    """
    used("chunk scan")
    if seq_idx is not None or cu_seqlens is not None:
        raise NotImplementedError("packed sequences have no stand-in")
    step = dt.float() if dt_bias is None else dt.float() + dt_bias.float()
    if dt_softplus:
        step = F.softplus(step)
    step = step.clamp(*dt_limit)
    heads = x.shape[2]
    b, c = (value.float().repeat_interleave(heads // value.shape[2], 2) for value in (B, C))
    state = x.new_zeros(x.shape[0], heads, x.shape[3], B.shape[3], dtype=torch.float32)
    if initial_states is not None:
        state = state + initial_states.float()
    rows = []
    for t in range(x.shape[1]):
        decay = torch.exp(step[:, t] * A.float())[..., None, None]
        state = decay * state + (step[:, t, :, None] * x[:, t].float())[..., None] * b[:, t, :, None]
        rows.append((state * c[:, t, :, None]).sum(-1))
    out = torch.stack(rows, 1)
    if D is not None:
        out = out + (D.float()[:, None] if D.dim() == 1 else D.float()) * x.float()
    if z is not None:
        out = out * F.silu(z.float())
    out = out.to(x.dtype)
    return (out, state) if return_final_states else out


def chunk_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Tensor | None = None,
    head_first: bool = False,
    **unused: Any,
) -> tuple[Tensor, Tensor | None]:
    """S_t = exp(g_t) S_(t-1) (I - beta_t k_t k_t') + beta_t v_t k_t'; o_t = S_t q_t * scale.

    q, k: (batch, time, heads, width); v: (batch, time, heads, value width); g, beta: (batch, time, heads). The state is
    (batch, heads, width, value width).
    """
    used("delta rule")
    if cu_seqlens is not None:
        raise NotImplementedError("packed sequences have no stand-in")
    if head_first:
        q, k, v = (value.transpose(1, 2) for value in (q, k, v))
        g, beta = (value.transpose(1, 2) if value is not None else None for value in (g, beta))
    wide_q, wide_k, wide_v = q.float(), k.float(), v.float()
    if use_qk_l2norm_in_kernel:
        wide_q, wide_k = F.normalize(wide_q, dim=-1, eps=1e-6), F.normalize(wide_k, dim=-1, eps=1e-6)
    if v.shape[2] != q.shape[2]:
        wide_q, wide_k = (value.repeat_interleave(v.shape[2] // q.shape[2], 2) for value in (wide_q, wide_k))
    wide_q = wide_q * (q.shape[-1] ** -0.5 if scale is None else scale)
    decay = torch.zeros(v.shape[:3], device=v.device) if g is None else g.float()
    rate = torch.ones_like(decay) if beta is None else beta.float()
    state = wide_v.new_zeros(v.shape[0], v.shape[2], q.shape[-1], v.shape[-1])
    if initial_state is not None:
        state = state + initial_state.float()
    parts = []
    for chunk in zip(*(x.transpose(1, 2).split(_CHUNK, 2) for x in (wide_q, wide_k, wide_v, decay, rate)), strict=True):
        rows, state = _delta_chunk(state, *chunk)
        parts.append(rows)
    out = torch.cat(parts, 2).transpose(1, 2).to(v.dtype)
    return (out.transpose(1, 2) if head_first else out), (state if output_final_state else None)


def _delta_chunk(state: Tensor, q: Tensor, k: Tensor, v: Tensor, decay: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """The gated delta rule over one chunk at once: what every position writes solves one triangular system.

    state (batch, heads, width, value width); q, k, v (batch, heads, time, ...); decay, rate (batch, heads, time).
    """
    since = decay.cumsum(-1)
    kept = (since[..., :, None] - since[..., None, :]).tril().exp().tril()  # of what j wrote, seen at i
    decayed = since.exp()[..., None]
    system = (rate[..., None] * kept * (k @ k.mT)).tril(-1)  # the solver takes the diagonal for ones
    wanted = rate[..., None] * (v - decayed * (k @ state))
    written = torch.linalg.solve_triangular(system, wanted, upper=False, unitriangular=True)
    rows = decayed * (q @ state) + (kept * (q @ k.mT)) @ written
    left = kept[..., -1, :, None]
    return rows, decayed[..., -1:, :] * state + (left * k).mT @ written


def chunk_delta_rule(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, *args: Any, **keywords: Any) -> Any:
    """The delta rule without a gate."""
    names = ("scale", "initial_state", "output_final_state", "use_qk_l2norm_in_kernel")
    return chunk_gated_delta_rule(q, k, v, None, beta, **dict(zip(names, args, strict=False)), **keywords)


def naive_recurrent_gated_delta_rule(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, **options: Any) -> Any:
    """The same, with its last two tensors the other way round."""
    return chunk_gated_delta_rule(q, k, v, g, beta, **options)


def supply(name: str, **members: Any) -> None:
    """Make `import name` give a module with these members."""
    imports.supply(name, lambda module: module.__dict__.update(members), even_if_installed=True)


def install() -> None:
    """Register the functions; a module that lies beside the script goes first."""
    supply("causal_conv1d", causal_conv1d_fn=causal_conv1d_fn, causal_conv1d_update=None)
    for package in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton", "fla", "fla.ops"):
        supply(package)
    supply("mamba_ssm.ops.selective_scan_interface", selective_scan_fn=selective_scan_fn)
    supply("mamba_ssm.ops.triton.ssd_combined", mamba_chunk_scan_combined=mamba_chunk_scan_combined)
    delta = {"chunk_delta_rule": chunk_delta_rule, "fused_recurrent_delta_rule": chunk_delta_rule}
    gated = {
        "chunk_gated_delta_rule": chunk_gated_delta_rule,
        "fused_recurrent_gated_delta_rule": chunk_gated_delta_rule,
    }
    supply("fla.ops.delta_rule", **delta)
    supply("fla.ops.delta_rule.chunk", **delta)
    supply("fla.ops.gated_delta_rule", **gated)
    supply("fla.ops.gated_delta_rule.chunk", **gated)
    supply(
        "fla.ops.gated_delta_rule.naive",
        naive_chunk_gated_delta_rule=chunk_gated_delta_rule,
        naive_recurrent_gated_delta_rule=naive_recurrent_gated_delta_rule,
    )
