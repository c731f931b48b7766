"""The transformer: every part of a frontier submission, each one small.

Shapes: B batch, T sequence, C model width, H heads, Hkv key/value heads, D = C / H head width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from reference_pipeline.attention import causal_attention
from reference_pipeline.errors import PipelineError
from reference_pipeline.grid import fake_quantize
from reference_pipeline.hyperparameters import Hyperparameters


def rms_norm(x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
    """x (..., C) divided by its root mean square over C, times `gain` (broadcast over (..., 1)).

    One pass that reads x and one that scales it: on a CPU twice as fast as F.rms_norm and a product. The mean is taken
    in float32, and in bfloat16 the result is float32, too.
    """
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return x * (gain * torch.rsqrt(norm.square() / x.size(-1) + torch.finfo(torch.float32).eps))


class Linear(nn.Linear):
    """Matrix kept in float32 for the optimizer, cast to the activations' type on use.

    While `fake_bits` is set, training sees the matrix as it will be once it is quantized.
    """

    fake_bits, clip_sigmas = 0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        weight = self.weight
        if self.fake_bits and self.training:
            weight = fake_quantize(weight, self.fake_bits, self.clip_sigmas)
        return F.linear(x, weight.to(x.dtype))


class Rotary(nn.Module):
    """Rotary positions on the first `rope_dims` of D head dimensions (16 of 64); the rest carries no position."""

    def __init__(self, rope_dims: int, base: float):
        super().__init__()
        frequencies = base ** (-torch.arange(0, rope_dims, 2, dtype=torch.float32) / rope_dims)
        self.register_buffer("frequencies", frequencies, persistent=False)  # (rope_dims / 2,)

    def table(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine of every position, (length, 1, rope_dims) each; all layers share them."""
        positions = torch.arange(length, device=self.frequencies.device, dtype=torch.float32)
        angles = (positions[:, None] * self.frequencies)[:, None]  # (length, 1, rope_dims / 2)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat((cos, cos), dim=-1), torch.cat((sin, -sin), dim=-1)


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """x (B, T, H, D) with its first dimensions turned by the angles of their positions -> (B, T, H, D)."""
    cos, sin = table
    turning, rest = x[..., : cos.size(-1)], x[..., cos.size(-1) :]
    turned = torch.addcmul(turning * cos.to(x.dtype), turning.roll(cos.size(-1) // 2, dims=-1), sin.to(x.dtype))
    return torch.cat((turned, rest), dim=-1) if rest.size(-1) else turned


class CausalSelfAttention(nn.Module):
    """Grouped-query attention: normalised queries and keys, a gain per head, optionally XSA."""

    def __init__(self, h: Hyperparameters, layer: int):
        super().__init__()
        if h.model_dim % h.num_heads or h.num_heads % h.num_kv_heads:
            raise PipelineError(
                f"NUM_HEADS={h.num_heads}: must divide MODEL_DIM={h.model_dim} and be a multiple of "
                f"NUM_KV_HEADS={h.num_kv_heads}; set them so"
            )
        self.num_heads, self.num_kv_heads, self.head_dim = h.num_heads, h.num_kv_heads, h.model_dim // h.num_heads
        kv_dim = self.num_kv_heads * self.head_dim
        self.c_q = Linear(h.model_dim, h.model_dim, bias=False)
        self.c_k = Linear(h.model_dim, kv_dim, bias=False)
        self.c_v = Linear(h.model_dim, kv_dim, bias=False)
        self.proj = Linear(h.model_dim, h.model_dim, bias=False)
        self.q_gain = nn.Parameter(torch.full((h.num_heads,), h.qk_gain_init))
        self.xsa = layer >= h.num_layers - h.xsa_last_n

    def exclusive(self, y: Tensor, v: Tensor) -> Tensor:
        """XSA: take the component along the position's own value out of y (B, T, H, D); v (B, T, Hkv, D)."""
        b, t, heads, d = y.shape
        own = F.normalize(v, dim=-1).unsqueeze(3)  # (B, T, Hkv, 1, D)
        grouped = y.reshape(b, t, self.num_kv_heads, heads // self.num_kv_heads, d)
        return (grouped - (grouped * own).sum(-1, keepdim=True) * own).reshape(b, t, heads, d)

    def forward(
        self, x: Tensor, table: tuple[Tensor, Tensor], value_embedding: Tensor | None = None, lora=None
    ) -> Tensor:
        """x (B, T, C), table of `Rotary`, value_embedding (B, T, Hkv * D) -> (B, T, C)."""
        b, t, _ = x.shape
        q, k, v = self.c_q(x), self.c_k(x), self.c_v(x)
        if lora is not None:
            q, v = q + lora.q(x), v + lora.v(x)
        if value_embedding is not None:
            v = v + value_embedding
        q = rms_norm(q.view(b, t, self.num_heads, self.head_dim), self.q_gain[:, None])
        k = rms_norm(k.view(b, t, self.num_kv_heads, self.head_dim))
        v = v.view(b, t, self.num_kv_heads, self.head_dim)
        y = causal_attention(rotate(q, table), rotate(k, table), v)
        if self.xsa:
            y = self.exclusive(y, v)
        return self.proj(y.reshape(b, t, -1))


class MLP(nn.Module):
    """Two matrices around LeakyReLU(0.5) squared."""

    def __init__(self, h: Hyperparameters):
        super().__init__()
        self.fc = Linear(h.model_dim, int(h.mlp_mult * h.model_dim), bias=False)
        self.proj = Linear(int(h.mlp_mult * h.model_dim), h.model_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        hidden = self.fc(x)
        if torch.is_grad_enabled():
            return self.proj(F.leaky_relu(hidden, negative_slope=0.5).square())
        return self.proj(F.leaky_relu(hidden, negative_slope=0.5, inplace=True).square_())  # no gradient needs them


class Block(nn.Module):
    """Attention and MLP, one after the other or side by side, each with a learned scale per channel."""

    def __init__(self, h: Hyperparameters, layer: int):
        super().__init__()
        self.attn, self.mlp = CausalSelfAttention(h, layer), MLP(h)
        self.attn_scale = nn.Parameter(torch.ones(h.model_dim))
        self.mlp_scale = nn.Parameter(torch.ones(h.model_dim))
        self.resid_mix = nn.Parameter(torch.stack((torch.ones(h.model_dim), torch.zeros(h.model_dim))))
        self.parallel = layer >= h.parallel_start
        self.norm_scale = (layer + 1) ** -0.5  # deeper layers read a smaller input

    def forward(
        self, x: Tensor, x0: Tensor, table: tuple[Tensor, Tensor], value_embedding: Tensor | None = None, lora=None
    ) -> Tensor:
        """x residual stream, x0 its first value, both (B, T, C), table of `Rotary` -> (B, T, C)."""
        mix, attn_scale, mlp_scale = (s.to(x.dtype) for s in (self.resid_mix, self.attn_scale, self.mlp_scale))
        x = torch.addcmul(mix[0] * x, mix[1], x0)
        normed = rms_norm(x, self.norm_scale)
        x = torch.addcmul(x, attn_scale, self.attn(normed, table, value_embedding, lora))
        if not self.parallel:
            normed = rms_norm(x, self.norm_scale)
        return torch.addcmul(x, mlp_scale, self.mlp(normed))


class SmearGate(nn.Module):
    """Mix a little of the previous position into each one; never across BOS, where another document ends."""

    def __init__(self, dim: int):
        super().__init__()
        self.gate = nn.Parameter(torch.full((dim,), -3.0))

    def forward(self, x: Tensor, is_bos: Tensor) -> Tensor:
        """x (B, T, C), is_bos (B, T) bool -> (B, T, C)."""
        previous = F.pad(x, (0, 0, 1, 0))[:, :-1]
        previous = previous.masked_fill(is_bos.unsqueeze(-1), 0.0)
        return x + torch.sigmoid(self.gate).to(x.dtype) * previous


class BigramHash(nn.Module):
    """An embedding of the hash of the current and the previous INPUT token: a causal feature, not a prediction."""

    def __init__(self, buckets: int, dim: int, model_dim: int):
        super().__init__()
        self.buckets = buckets
        self.embed = nn.Embedding(buckets, dim)
        self.proj = Linear(dim, model_dim, bias=False)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, input_ids: Tensor, is_bos: Tensor) -> Tensor:
        """input_ids (B, T), is_bos (B, T) -> (B, T, C); at BOS the previous token counts as zero."""
        previous = F.pad(input_ids, (1, 0))[:, :-1].masked_fill(is_bos, 0)
        hashed = (input_ids * 36313 + previous * 27191) % self.buckets
        return self.proj(self.embed(hashed))


class GPT(nn.Module):
    """Tied embeddings, an encoder and a decoder half joined by gated skips, and a stretch of layers that can loop."""

    def __init__(self, h: Hyperparameters):
        super().__init__()
        self.bos_id, self.logit_softcap = h.bos_id, h.logit_softcap
        self.tok_emb = nn.Embedding(h.vocab_size, h.model_dim)
        self.rotary = Rotary(min(h.rope_dims, h.model_dim // h.num_heads), h.rope_base)
        self.blocks = nn.ModuleList(Block(h, layer) for layer in range(h.num_layers))
        self.smear = SmearGate(h.model_dim) if h.smear_gate else None
        self.bigram = BigramHash(h.bigram_buckets, h.bigram_dim, h.model_dim) if h.bigram_buckets else None
        self.ve_first = h.num_layers - h.ve_last_n
        kv_dim = h.num_kv_heads * (h.model_dim // h.num_heads)
        self.value_embed = nn.Embedding(h.vocab_size, h.ve_dim) if h.ve_last_n else None
        self.value_proj = Linear(h.ve_dim, kv_dim, bias=False) if h.ve_last_n else None
        self.value_scale = nn.Parameter(torch.full((max(h.ve_last_n, 1),), 0.5))
        plain = list(range(h.num_layers))
        looped = (
            plain[: h.loop_start] + plain[h.loop_start : h.loop_end + 1] * (1 + h.num_loops) + plain[h.loop_end + 1 :]
        )
        self.orders = (plain, looped)
        self.looping = False
        skips = len(looped) // 2
        self.skip_gates = nn.Parameter(torch.zeros(skips, h.model_dim)) if h.skip_gates else None
        self.skip_weights = nn.Parameter(torch.full((skips, h.model_dim), 0.5)) if h.skip_gates else None
        self.init_weights(h)

    def init_weights(self, h: Hyperparameters) -> None:
        """Small embeddings, orthogonal matrices, output projections zero."""
        nn.init.normal_(self.tok_emb.weight, std=h.tied_embed_init_std)
        if self.value_embed is not None:
            nn.init.normal_(self.value_embed.weight, std=0.02)
        for name, module in self.named_modules():
            if isinstance(module, Linear):
                if name.endswith(("mlp.proj", "attn.proj")):
                    nn.init.zeros_(module.weight)
                else:
                    nn.init.orthogonal_(module.weight)

    def fake_quantization(self, h: Hyperparameters, on: bool) -> None:
        """From now on train through the rounding of every matrix that will be quantized, or no longer."""
        for module in self.modules():
            if isinstance(module, Linear) and module.weight.numel() > h.keep_float_numel:
                module.fake_bits, module.clip_sigmas = (h.matrix_bits if on else 0), h.matrix_clip_sigmas

    def forward_hidden(self, input_ids: Tensor, lora=None) -> Tensor:
        """input_ids (B, T) -> final hidden states (B, T, C)."""
        is_bos = input_ids == self.bos_id
        x = self.tok_emb(input_ids)
        if self.bigram is not None:
            x = x + self.bigram(input_ids, is_bos)
        if self.smear is not None:
            x = self.smear(x, is_bos)
        x0 = x = rms_norm(x)
        values = None if self.value_embed is None else self.value_proj(self.value_embed(input_ids))  # (B, T, Hkv * D)
        table = self.rotary.table(input_ids.size(1))
        order = self.orders[1] if self.looping else self.orders[0]
        half = len(order) // 2
        saved: list[Tensor] = []
        for place, layer in enumerate(order):
            if self.skip_gates is not None and place >= len(order) - half:
                skip = len(order) - 1 - place
                gate = torch.sigmoid(self.skip_gates[skip]).to(x.dtype)
                x = torch.lerp(x, self.skip_weights[skip].to(x.dtype) * saved[skip], gate * 0.5)
            value_embedding = None
            if values is not None and layer >= self.ve_first:
                value_embedding = self.value_scale[layer - self.ve_first].to(x.dtype) * values
            x = self.blocks[layer](x, x0, table, value_embedding, lora.layers[layer] if lora is not None else None)
            if place < half:
                saved.append(x)
        return rms_norm(x)

    def project(self, hidden: Tensor) -> Tensor:
        """hidden (..., C) -> logits (..., V), softly capped; embeddings are tied."""
        logits = F.linear(hidden / self.logit_softcap, self.tok_emb.weight.to(hidden.dtype))
        return self.logit_softcap * torch.tanh(logits)

    def forward_logits(self, input_ids: Tensor, lora=None, places: Tensor | None = None) -> Tensor:
        """input_ids (B, T) -> logits (B, T, V); with `places` (S,), numbers in 0..B*T-1, only those: (S, V)."""
        hidden = self.forward_hidden(input_ids, lora)
        if places is not None:
            hidden = hidden.flatten(0, 1)[places]  # the projection is as large as several layers
        logits = self.project(hidden)
        return logits if lora is None else logits + lora.head(hidden)

    def forward(self, input_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Mean cross-entropy in nats per token of target_ids (B, T)."""
        logits = self.forward_logits(input_ids)
        return F.cross_entropy(logits.float().flatten(0, 1), target_ids.flatten())
