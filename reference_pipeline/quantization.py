"""Quantization: GPTQ with the full Hessian (int6 matrices, int8 embeddings) and rounding to nearest as its baseline.

GPTQ (Frantar et al., 2022): columns are rounded one after the other, and each rounding error is made up for by the
columns still free, weighted by the inverse Hessian of the layer's inputs. The grid of a row is fixed beforehand by
SDClip (scale = k standard deviations of the row / largest integer), or with SDCLIP_ENABLED=0 the best of five
percentiles of the row's magnitudes is taken.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_pipeline.distributed import sum_over_ranks
from reference_pipeline.grid import nearest_integers, percentile_scales, row_scale
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.layers import Linear
from reference_pipeline.loaders import make_loader
from reference_pipeline.logs import log
from reference_pipeline.model import GPT


@dataclass
class QuantizedMatrix:
    """integers (rows, columns) int8, scale (rows,) float16, and an optional low-rank correction left @ right."""

    integers: Tensor
    scale: Tensor
    bits: int
    left: Tensor | None = None  # (rows, rank) float16
    right: Tensor | None = None  # (rank, columns) float16

    def dequantize(self) -> Tensor:
        """The matrix that evaluation will use, (rows, columns) float32."""
        weight = self.integers.float() * self.scale.float()[:, None]
        return weight if self.left is None else weight + self.left.float() @ self.right.float()


def round_to_nearest(weight: Tensor, bits: int, clip_sigmas: float, scale: Tensor | None = None) -> QuantizedMatrix:
    """The baseline: every entry of weight (rows, columns) to the nearest point of its row's grid, SDClip's or `scale`
    (rows,) float16."""
    scale = row_scale(weight, bits, clip_sigmas) if scale is None else scale
    return QuantizedMatrix(nearest_integers(weight, scale, bits).to(torch.int8), scale, bits)


def absmax_int8(weight: Tensor) -> QuantizedMatrix:
    """Per-row int8 with the row's largest entry at 127: the format of the challenge's first baseline."""
    scale = (weight.float().abs().amax(dim=1) / 127).clamp_min(1e-5).to(torch.float16)
    return QuantizedMatrix(nearest_integers(weight, scale, 8).to(torch.int8), scale, 8)


def gptq_quantize(
    weight: Tensor,
    hessian: Tensor,
    bits: int,
    clip_sigmas: float,
    damping: float = 0.01,
    block_size: int = 128,
    scale: Tensor | None = None,
) -> QuantizedMatrix:
    """Quantize weight (rows, columns) for inputs with hessian = sum x x^T (columns, columns), on SDClip's grid or on
    that of `scale` (rows,) float16.

    Columns are taken in falling order of the Hessian's diagonal (act-order); inputs that never fired are set to zero.
    """
    largest = 2 ** (bits - 1) - 1
    w, h = weight.float().clone(), hessian.float().clone()
    rows, columns = w.shape
    scale = row_scale(w, bits, clip_sigmas) if scale is None else scale
    dead = h.diagonal() == 0
    h.diagonal()[dead] = 1.0
    w[:, dead] = 0.0
    order = torch.argsort(h.diagonal(), descending=True, stable=True)
    w, h = w[:, order], h[order][:, order]
    h.diagonal().add_(damping * h.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    upper = torch.linalg.cholesky(inverse, upper=True)  # (columns, columns); row i drives the columns after i
    step = scale.float()
    integers = torch.zeros_like(w)
    for begin in range(0, columns, block_size):
        end = min(begin + block_size, columns)
        errors = torch.zeros(rows, end - begin, device=w.device)
        for i in range(begin, end):
            integers[:, i] = torch.round(w[:, i] / step).clamp(-largest, largest)
            errors[:, i - begin] = (w[:, i] - integers[:, i] * step) / upper[i, i]
            w[:, i:end] -= errors[:, i - begin, None] * upper[i, i:end]
        w[:, end:] -= errors @ upper[begin:end, end:]
    return QuantizedMatrix(integers[:, torch.argsort(order)].to(torch.int8), scale, bits)


def output_error(weight: Tensor, quantized: QuantizedMatrix, hessian: Tensor) -> float:
    """Squared error of the layer's outputs over the calibration inputs: trace(D H D^T), D the weights' error."""
    difference = weight.double() - quantized.dequantize().double()
    return float((difference @ hessian.double() * difference).sum())


def collect_hessians(model: GPT, batches: list[Tensor], device: torch.device) -> dict[str, Tensor]:
    """sum x x^T over the inputs of every matrix, by parameter name, from token batches (B, T).

    The output matrix ("tok_emb.weight", or "lm_head.weight" when untied) gets the final hidden states that it reads.
    """
    hessians: dict[str, Tensor] = {}

    def add(name: str, x: Tensor) -> None:
        flat = x.detach().float().flatten(0, -2)  # (positions, columns)
        gram = flat.T @ flat
        hessians[name] = hessians[name] + gram if name in hessians else gram

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, Linear):
            handles.append(
                module.register_forward_hook(lambda _, inputs, __, name=name: add(f"{name}.weight", inputs[0]))
            )
    model.eval()
    with torch.no_grad():
        for batch in batches:
            with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                hidden = model.head_input(model.forward_hidden(batch.to(device)))
                add("tok_emb.weight" if model.lm_head is None else "lm_head.weight", hidden)
    for handle in handles:
        handle.remove()
    for name in sorted(hessians):
        sum_over_ranks(hessians[name])
    return hessians


def calibration_batches(h: Hyperparameters, model: GPT, device: torch.device) -> list[Tensor]:
    """Token batches (B, T) for the Hessians: training sequences, or text that the model generates itself."""
    batch = max(1, h.train_batch_tokens // h.train_seq_len)
    if h.gptq_calibration == "self":
        return [
            generate_tokens(model, batch, h.train_seq_len, h.seed + index, device, h.gptq_calibration_temperature)
            for index in range(h.gptq_calibration_batches)
        ]
    loader = make_loader("coprime", h.train_files, batch, h.train_seq_len, h.seed + 1, vocab_size=h.vocab_size)
    return [loader.next_batch()[0] for _ in range(h.gptq_calibration_batches)]


@torch.no_grad()
def generate_tokens(
    model: GPT, batch: int, length: int, seed: int, device: torch.device, temperature: float = 1.0
) -> Tensor:
    """Sequences (batch, length) sampled from the model after BOS. A full forward pass a token: plain, and slow."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    tokens = torch.full((batch, 1), model.bos_id, dtype=torch.int64)
    for _ in range(length - 1):
        logits = model.forward_logits(tokens.to(device))[:, -1].float().cpu()
        drawn = torch.multinomial(torch.softmax(logits / temperature, dim=-1), 1, generator=generator)
        tokens = torch.cat((tokens, drawn), dim=1)
    return tokens


def add_low_rank_correction(weight: Tensor, quantized: QuantizedMatrix, hessian: Tensor, rank: int) -> None:
    """LQER (Zhang et al., 2024): the rounding error to rank `rank`, input channels weighted by their size."""
    channel = hessian.diagonal().float().clamp_min(1e-12).sqrt()
    error = (weight.float() - quantized.dequantize()) * channel
    u, s, vh = torch.linalg.svd(error, full_matrices=False)
    root = s[:rank].sqrt()
    quantized.left = (u[:, :rank] * root).to(torch.float16)
    quantized.right = (root[:, None] * vh[:rank] / channel).to(torch.float16)


def pruning_order(matrices: list[QuantizedMatrix]) -> tuple[Tensor, Tensor]:
    """(candidates (n,), order (n,)): entries of one grid step, as places in all matrices laid end to end, and how to
    take them so that the weights change least: by the size of the step that they lose."""
    integers = torch.cat([matrix.integers.flatten() for matrix in matrices])
    steps = torch.cat([matrix.scale.float().repeat_interleave(matrix.integers.size(1)) for matrix in matrices])
    candidates = (integers.abs() == 1).nonzero().flatten()
    return candidates, torch.argsort(steps[candidates], stable=True)


def quantize_matrix(
    h: Hyperparameters, weight: Tensor, hessian: Tensor | None, bits: int, clip_sigmas: float
) -> QuantizedMatrix:
    """weight (rows, columns) by GPTQ where there is a Hessian, to nearest where there is none, on the grid wanted."""

    def on_grid(scale: Tensor | None) -> QuantizedMatrix:
        if hessian is None:
            return round_to_nearest(weight, bits, clip_sigmas, scale)
        return gptq_quantize(weight, hessian, bits, clip_sigmas, h.gptq_damping, scale=scale)

    if h.sdclip_enabled:
        return on_grid(None)
    candidates = [on_grid(scale) for scale in percentile_scales(weight, bits)]
    return min(candidates, key=lambda matrix: float((weight - matrix.dequantize()).square().sum()))


def quantize_model(
    h: Hyperparameters, model: GPT, hessians: dict[str, Tensor]
) -> tuple[dict[str, QuantizedMatrix], dict[str, Tensor]]:
    """(quantized matrices, tensors kept as float16) by parameter name."""
    quantized: dict[str, QuantizedMatrix] = {}
    kept: dict[str, Tensor] = {}
    errors: dict[str, float] = {}
    for name, tensor in model.state_dict().items():
        weight = tensor.detach().cpu()
        if weight.ndim != 2 or weight.numel() <= h.keep_float_numel or not name.endswith(".weight"):
            kept[name] = weight.to(torch.float16)
            continue
        embedding = ("emb" in name and "proj" not in name) or name == "lm_head.weight"
        bits, sigmas = (h.embed_bits, h.embed_clip_sigmas) if embedding else (h.matrix_bits, h.matrix_clip_sigmas)
        wanted = name in hessians and h.gptq_enabled and (h.gptq_embeddings or not embedding)
        hessian = hessians[name].cpu() if wanted else None
        quantized[name] = quantize_matrix(h, weight, hessian, bits, sigmas)
        if hessian is not None:
            errors[name] = output_error(weight, quantized[name], hessian)
    if h.lqer_rank > 0:
        for name in sorted(errors, key=errors.__getitem__, reverse=True)[: h.lqer_top_k]:
            add_low_rank_correction(model.state_dict()[name].cpu(), quantized[name], hessians[name].cpu(), h.lqer_rank)
    return quantized, kept


def gptq_phase(
    h: Hyperparameters, device: torch.device, model: GPT
) -> tuple[dict[str, QuantizedMatrix], dict[str, Tensor]]:
    """Calibrate and quantize, with the log lines of both."""
    hessians: dict[str, Tensor] = {}
    phase_began = time.perf_counter()
    if h.gptq_enabled:
        began = time.perf_counter()
        log(f"GPTQ:collecting Hessians from calibration data ({h.gptq_calibration})...")
        hessians = collect_hessians(model, calibration_batches(h, model, device), device)
        log(f"GPTQ:collected {len(hessians)} Hessians in {time.perf_counter() - began:.1f}s")
    began = time.perf_counter()
    quantized, kept = quantize_model(h, model, hessians)
    log("Quantized weights:")
    for bits in sorted({matrix.bits for matrix in quantized.values()}):
        names = sorted({name.split(".", 2)[-1] for name, matrix in quantized.items() if matrix.bits == bits})
        log(f"  {'gptq' if h.gptq_enabled else 'nearest'} (int{bits}): {', '.join(names)}")
    log(f"GPTQ:quantized {len(quantized)} matrices in {time.perf_counter() - began:.1f}s")
    seconds = time.perf_counter() - phase_began
    if h.max_wallclock_seconds > 0 and seconds > h.gptq_reserve_seconds:
        log(f"gptq:took {seconds:.1f}s, more than GPTQ_RESERVE_SECONDS={h.gptq_reserve_seconds:.1f}")
    return quantized, kept
