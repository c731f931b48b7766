"""The transformer, put together from the parts of `layers`. What a setting switches off leaves no parameter behind.

Shapes: B batch, T sequence, C model width, H heads, Hkv key/value heads, D = C / H head width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from reference_pipeline.attention import causal_attention
from reference_pipeline.errors import PipelineError
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.layers import BigramHash, Linear, Rotary, SigmoidGate, SmearGate, rms_norm, rotate


class CausalSelfAttention(nn.Module):
    """Grouped-query attention: normalised queries and keys, a gain per head; optionally XSA, a gate per head that the
    position itself reads off its input, and a residual of the first layer's values."""

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
        self.gate = SigmoidGate(h.model_dim, h.num_heads, bias=4.0) if h.gated_attention else None
        self.value_share = nn.Parameter(torch.zeros(1)) if h.value_residual else None

    def exclusive(self, y: Tensor, v: Tensor) -> Tensor:
        """XSA: take the component along the position's own value out of y (B, T, H, D); v (B, T, Hkv, D)."""
        b, t, heads, d = y.shape
        own = F.normalize(v, dim=-1).unsqueeze(3)  # (B, T, Hkv, 1, D)
        grouped = y.reshape(b, t, self.num_kv_heads, heads // self.num_kv_heads, d)
        return (grouped - (grouped * own).sum(-1, keepdim=True) * own).reshape(b, t, heads, d)

    def forward(
        self,
        x: Tensor,
        table: tuple[Tensor, Tensor],
        value_embedding: Tensor | None = None,
        first_value: Tensor | None = None,
        lora=None,
    ) -> tuple[Tensor, Tensor]:
        """x (B, T, C), table of `Rotary`, value_embedding and the first layer's values (B, T, Hkv * D) ->
        output (B, T, C) and this layer's own values (B, T, Hkv * D)."""
        b, t, _ = x.shape
        q, k, v = self.c_q(x), self.c_k(x), self.c_v(x)
        if lora is not None:
            q, v = q + lora.q(x), v + lora.v(x)
        if value_embedding is not None:
            v = v + value_embedding
        own_value = v
        if self.value_share is not None and first_value is not None:
            v = v + torch.sigmoid(self.value_share).to(v.dtype) * first_value
        q = rms_norm(q.view(b, t, self.num_heads, self.head_dim), self.q_gain[:, None])
        k = rms_norm(k.view(b, t, self.num_kv_heads, self.head_dim))
        v = v.view(b, t, self.num_kv_heads, self.head_dim)
        y = causal_attention(rotate(q, table), rotate(k, table), v)
        if self.xsa:
            y = self.exclusive(y, v)
        if self.gate is not None:
            y = y * self.gate(x).unsqueeze(-1)
        return self.proj(y.reshape(b, t, -1)), own_value


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
    """Attention and MLP, one after the other or side by side, each with a learned scale per channel.

    With DTG every position reads off its input how much of the block's contribution it takes.
    """

    def __init__(self, h: Hyperparameters, layer: int):
        super().__init__()
        self.attn, self.mlp = CausalSelfAttention(h, layer), MLP(h)
        self.attn_scale = nn.Parameter(torch.ones(h.model_dim))
        self.mlp_scale = nn.Parameter(torch.ones(h.model_dim))
        self.resid_mix = nn.Parameter(torch.stack((torch.ones(h.model_dim), torch.zeros(h.model_dim))))
        self.parallel = layer >= h.parallel_start
        self.norm_scale = (layer + 1) ** -0.5 if h.ln_scale else 1.0  # deeper layers read a smaller input
        self.dtg_gate = SigmoidGate(h.model_dim, 1, bias=2.0) if h.dtg_enabled else None

    def forward(self, x: Tensor, x0: Tensor, mlp_lane: Tensor | None = None, **attention) -> tuple[Tensor, ...]:
        """x residual stream, x0 its first value, both (B, T, C), `attention` what `CausalSelfAttention` takes beside
        its input -> x (B, T, C), mlp_lane, the layer's values (B, T, Hkv * D).

        With `mlp_lane` (B, T, C) the stream is two: x is attention's, and the MLP reads and writes `mlp_lane` only.
        """
        mix, attn_scale, mlp_scale = (s.to(x.dtype) for s in (self.resid_mix, self.attn_scale, self.mlp_scale))
        before = x = torch.addcmul(mix[0] * x, mix[1], x0)
        normed = rms_norm(x, self.norm_scale)
        attended, values = self.attn(normed, **attention)
        x = torch.addcmul(x, attn_scale, attended)
        if mlp_lane is not None:
            mlp_lane = torch.addcmul(mlp_lane, mlp_scale, self.mlp(rms_norm(mlp_lane, self.norm_scale)))
            return x, mlp_lane, values
        if not self.parallel:
            normed = rms_norm(x, self.norm_scale)
        x = torch.addcmul(x, mlp_scale, self.mlp(normed))
        if self.dtg_gate is not None:
            x = torch.lerp(before, x, self.dtg_gate(before.detach()).to(x.dtype))
        return x, None, values


class GPT(nn.Module):
    """Token embeddings, an encoder and a decoder half joined by skips, and a stretch of layers that can loop."""

    def __init__(self, h: Hyperparameters):
        super().__init__()
        self.bos_id, self.logit_softcap, self.model_dim = h.bos_id, h.logit_softcap, h.model_dim
        embedding_dim = h.embedding_dim or h.model_dim
        self.tok_emb = nn.Embedding(h.vocab_size, embedding_dim)
        projected = embedding_dim != h.model_dim
        self.embed_proj = Linear(embedding_dim, h.model_dim, bias=False) if projected else None
        self.head_proj = Linear(h.model_dim, embedding_dim, bias=False) if projected else None
        self.lm_head = None if h.tie_embeddings else Linear(embedding_dim, h.vocab_size, bias=False)
        self.mtp_heads: nn.ModuleList | None = None  # while training only, see `add_mtp_heads`
        self.rotary = Rotary(min(h.rope_dims, h.model_dim // h.num_heads), h.rope_base, h.rope_train_seq_len)
        self.blocks = nn.ModuleList(Block(h, layer) for layer in range(h.num_layers))
        self.smear = SmearGate(h.model_dim) if h.smear_gate else None
        self.bigram = BigramHash(h.bigram_buckets, h.bigram_dim, h.model_dim, h.trigram) if h.bigram_buckets else None
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
        self.sigmoid_skips = h.sigmoid_skips
        first_weight = 0.5 if h.skip_gates else 2.2 if h.sigmoid_skips else 1.0
        self.skip_gates = nn.Parameter(torch.zeros(skips, h.model_dim)) if h.skip_gates else None
        self.skip_weights = nn.Parameter(torch.full((skips, h.model_dim), first_weight))
        self.lanes_from = h.parallel_start_layer if h.parallel_start_layer > 0 else h.num_layers
        self.lane_merge = nn.Parameter(torch.tensor(0.5)) if self.lanes_from < h.num_layers else None
        self.init_weights(h)

    def init_weights(self, h: Hyperparameters) -> None:
        """Small embeddings, orthogonal matrices, output projections zero."""
        nn.init.normal_(self.tok_emb.weight, std=h.tied_embed_init_std)
        if self.value_embed is not None:
            nn.init.normal_(self.value_embed.weight, std=0.02)
        for name, module in self.named_modules():
            if isinstance(module, Linear):
                if name.endswith(("mlp.proj", "attn.proj", "lm_head")):
                    nn.init.zeros_(module.weight)
                else:
                    nn.init.orthogonal_(module.weight)

    def add_mtp_heads(self, h: Hyperparameters) -> None:
        """Give training MTP_NUM_HEADS heads, the k-th for the token k further on than the next (zero at first)."""
        self.mtp_loss_weight = h.mtp_loss_weight
        vocab_size = self.tok_emb.num_embeddings
        self.mtp_heads = nn.ModuleList(Linear(h.model_dim, vocab_size, bias=False) for _ in range(h.mtp_num_heads))
        for head in self.mtp_heads:
            nn.init.zeros_(head.weight)

    def fake_quantization(self, h: Hyperparameters, on: bool) -> None:
        """From now on train through the rounding of every matrix that will be quantized, or no longer."""
        for name, module in self.named_modules():
            quantized = isinstance(module, Linear) and not name.startswith("mtp_heads")
            if quantized and module.weight.numel() > h.keep_float_numel:
                module.fake_bits, module.clip_sigmas = (h.matrix_bits if on else 0), h.matrix_clip_sigmas

    def skip(self, x: Tensor, saved: Tensor, index: int) -> Tensor:
        """x and the encoder's `saved`, both (B, T, C), joined by skip number `index`: gated, or plainly added."""
        weight = self.skip_weights[index]
        if self.skip_gates is not None:
            gate = torch.sigmoid(self.skip_gates[index]).to(x.dtype)
            return torch.lerp(x, weight.to(x.dtype) * saved, gate * 0.5)
        return x + (torch.sigmoid(weight) if self.sigmoid_skips else weight).to(x.dtype) * saved

    def embed(self, input_ids: Tensor) -> Tensor:
        """input_ids (B, T) -> the residual stream's first value (B, T, C)."""
        is_bos = input_ids == self.bos_id
        x = self.tok_emb(input_ids)
        if self.embed_proj is not None:
            x = self.embed_proj(rms_norm(x))
        if self.bigram is not None:
            x = x + self.bigram(input_ids, is_bos)
        if self.smear is not None:
            x = self.smear(x, is_bos)
        return rms_norm(x)

    def forward_hidden(self, input_ids: Tensor, lora=None) -> Tensor:
        """input_ids (B, T) -> final hidden states (B, T, C)."""
        x0 = x = self.embed(input_ids)
        values = None if self.value_embed is None else self.value_proj(self.value_embed(input_ids))  # (B, T, Hkv * D)
        table = self.rotary.table(input_ids.size(1))
        order = self.orders[1] if self.looping else self.orders[0]
        half = len(order) // 2
        saved: list[Tensor] = []
        first_value = mlp_lane = None
        for place, layer in enumerate(order):
            if place >= len(order) - half:
                x = self.skip(x, saved[len(order) - 1 - place], len(order) - 1 - place)
            if place >= half and layer >= self.lanes_from and mlp_lane is None:
                mlp_lane = x
            value_embedding = None
            if values is not None and layer >= self.ve_first:
                value_embedding = self.value_scale[layer - self.ve_first].to(x.dtype) * values
            x, mlp_lane, value = self.blocks[layer](
                x, x0, mlp_lane, table=table, value_embedding=value_embedding, first_value=first_value,
                lora=lora.layers[layer] if lora is not None else None,
            )  # fmt: skip
            first_value = value if first_value is None else first_value
            if place < half:
                saved.append(x)
        if mlp_lane is not None:
            x = torch.lerp(mlp_lane, x, self.lane_merge.to(x.dtype))
        return rms_norm(x)

    def head_input(self, hidden: Tensor) -> Tensor:
        """hidden (..., C) -> what the output matrix reads, (..., embedding width)."""
        return hidden if self.head_proj is None else self.head_proj(hidden)

    def project(self, hidden: Tensor) -> Tensor:
        """hidden (..., C) -> logits (..., V), softly capped; the embeddings are the output matrix unless untied."""
        weight = (self.tok_emb if self.lm_head is None else self.lm_head).weight
        logits = F.linear(self.head_input(hidden) / self.logit_softcap, weight.to(hidden.dtype))
        return self.logit_softcap * torch.tanh(logits)

    def forward_logits(self, input_ids: Tensor, lora=None, places: Tensor | None = None) -> Tensor:
        """input_ids (B, T) -> logits (B, T, V); with `places` (S,), numbers in 0..B*T-1, only those: (S, V)."""
        hidden = self.forward_hidden(input_ids, lora)
        if places is not None:
            hidden = hidden.flatten(0, 1)[places]  # the projection is as large as several layers
        logits = self.project(hidden)
        return logits if lora is None else logits + lora.head(hidden)

    def mtp_loss(self, hidden: Tensor, target_ids: Tensor) -> Tensor:
        """Mean cross-entropy of the heads: head k predicts target_ids (B, T) k places on, from hidden (B, T, C)."""
        losses = []
        for k, head in enumerate(self.mtp_heads, start=1):
            logits = self.logit_softcap * torch.tanh(head(hidden[:, :-k]) / self.logit_softcap)
            losses.append(F.cross_entropy(logits.float().flatten(0, 1), target_ids[:, k:].flatten()))
        return torch.stack(losses).mean()

    def forward(self, input_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Mean cross-entropy in nats per token of target_ids (B, T); in training with the auxiliary heads' share."""
        hidden = self.forward_hidden(input_ids)
        loss = F.cross_entropy(self.project(hidden).float().flatten(0, 1), target_ids.flatten())
        if self.mtp_heads is not None and self.training:
            loss = loss + self.mtp_loss_weight * self.mtp_loss(hidden, target_ids)
        return loss
