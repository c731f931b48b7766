"""Training under a wall-clock cap that leaves GPTQ its reserve."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from reference_pipeline.averaging import WeightAverage
from reference_pipeline.checkpoint import load_checkpoint, save_checkpoint
from reference_pipeline.distributed import any_rank, average_gradients, rank_and_world, wait_for_device
from reference_pipeline.errors import PipelineError
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.loaders import make_loader
from reference_pipeline.logs import log
from reference_pipeline.model import GPT
from reference_pipeline.optimizers import Optimizers, learning_rate_scale, momentum_at
from reference_pipeline.scoring import ValidationData, eval_val


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on a GPU; a CPU stays in float32, where it is exact and not slower."""
    return torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def gradient_step(model: GPT, batches: list[tuple[Tensor, Tensor]], device: torch.device) -> Tensor:
    """Accumulate the mean gradient over micro-batches (x, y), each (B, T); returns the mean loss."""
    total = torch.zeros((), device=device)
    for x, y in batches:
        with autocast(device):
            loss = model(x.to(device), y.to(device)) / len(batches)
        loss.backward()
        total += loss.detach()
    return total


def train_model(
    h: Hyperparameters,
    device: torch.device,
    val_data: ValidationData,
    on_step: Callable[[int, int, float], None] | None = None,
) -> GPT:
    """Train a fresh model, or go on from a checkpoint; returns it with averaged weights.

    `on_step` gets step, steps and loss.
    """
    rank, world_size = rank_and_world()
    base_model = GPT(h)
    if h.mtp_num_heads > 0:
        base_model.add_mtp_heads(h)
    base_model.to(device)
    compiles = h.compile_model and device.type == "cuda"
    model = torch.compile(base_model, dynamic=False, fullgraph=True) if compiles else base_model
    optimizers = Optimizers(h, base_model)
    average = WeightAverage(h, base_model)
    sequences = h.train_batch_tokens // (h.train_seq_len * world_size * h.grad_accum_steps)
    if sequences < 1:
        raise PipelineError(f"TRAIN_BATCH_TOKENS={h.train_batch_tokens}: below one sequence a rank; raise it")
    loader = make_loader(h.loader, h.train_files, sequences, h.train_seq_len, h.seed, rank, world_size, h.vocab_size)
    cap_seconds = h.max_wallclock_seconds - h.gptq_reserve_seconds if h.max_wallclock_seconds > 0 else 0.0
    if h.max_wallclock_seconds > 0:
        if cap_seconds <= 0:
            raise PipelineError(
                f"MAX_WALLCLOCK_SECONDS={h.max_wallclock_seconds:g} leaves nothing beside "
                f"GPTQ_RESERVE_SECONDS={h.gptq_reserve_seconds:g}; raise the first or lower the second"
            )
        log(f"gptq:reserving {h.gptq_reserve_seconds:.0f}s, effective={1000 * cap_seconds:.0f}ms")
    log(f"model_params:{sum(p.numel() for p in base_model.parameters())}")
    warm_up(h, device, model, base_model, loader)

    step, trained_seconds = 0, 0.0
    path = Path(h.checkpoint_path) if h.checkpoint_path else None
    if path is not None and path.is_file():
        state = load_checkpoint(path)
        base_model.load_state_dict(state["model"])
        optimizers.restore(state["optimizers"])
        loader.restore(state["loader"])
        average.restore(state["average"])
        step, trained_seconds = state["step"], state["trained_seconds"]
        log(f"checkpoint:resumed {path.name} step:{step}")

    stop, fake_quantized = False, False
    wait_for_device(device)
    began = time.perf_counter() - trained_seconds
    while step < h.iterations and not stop:
        elapsed = time.perf_counter() - began
        by_clock = h.schedule == "clock" and cap_seconds > 0
        fraction = min(elapsed / cap_seconds if by_clock else step / h.iterations, 1.0)
        if not base_model.looping and h.num_loops > 0 and fraction >= h.enable_looping_at:
            base_model.looping = True
            log(f"layer_loop:enabled step:{step} frac:{fraction:.3f} order:{base_model.orders[1]}")
        warmdown_frac = h.warmdown_frac
        if h.warmdown_iters > 0:  # so many steps; under a clock, at the pace so far
            share_per_step = 1 / h.iterations if not by_clock else elapsed / max(step, 1) / cap_seconds
            warmdown_frac = min(h.warmdown_iters * share_per_step, 1.0)
        lr_scale = learning_rate_scale(fraction, warmdown_frac, h.min_lr)
        if not fake_quantized and lr_scale < h.late_qat_threshold:
            fake_quantized = True
            base_model.fake_quantization(h, True)
            log(f"late_qat:enabled step:{step} scale:{lr_scale:.4f}")
        loss = gradient_step(model, [loader.next_batch() for _ in range(h.grad_accum_steps)], device)
        average_gradients(base_model)
        optimizers.step(
            lr_scale, momentum_at(step, h.muon_momentum_warmup_start, h.muon_momentum, h.muon_momentum_warmup_steps)
        )
        average.update(base_model, step, fraction)
        step += 1
        elapsed = time.perf_counter() - began
        if step == 1 and 0 < cap_seconds < elapsed:
            raise PipelineError(
                f"MAX_WALLCLOCK_SECONDS={h.max_wallclock_seconds:g}: the first step took {elapsed:.2f} s, more than "
                f"the {cap_seconds:.2f} s beside GPTQ_RESERVE_SECONDS; raise it, or lower TRAIN_BATCH_TOKENS"
            )
        if step <= 5 or step % h.train_log_every == 0 or step == h.iterations:
            log(
                f"{step}/{h.iterations} train_loss: {loss.item():.4f} train_time: {elapsed / 60:.2f}m "
                f"tok/s: {step * h.train_batch_tokens / elapsed:.0f}"
            )
        if on_step is not None:
            on_step(step, h.iterations, loss.item())
        if h.val_loss_every > 0 and step % h.val_loss_every == 0 and step < h.iterations:
            val_loss, val_bpb = eval_val(h, device, val_data, base_model)
            log(f"{step}/{h.iterations} val_loss: {val_loss:.4f} val_bpb: {val_bpb:.4f}")
            began += time.perf_counter() - began - elapsed  # the clock stands still while validating
        if path is not None and h.checkpoint_every > 0 and step % h.checkpoint_every == 0 and rank == 0:
            save_checkpoint(
                path,
                {
                    "model": base_model.state_dict(),
                    "optimizers": optimizers.state(),
                    "loader": loader.state(),
                    "average": average.state(),
                    "step": step,
                    "trained_seconds": time.perf_counter() - began,
                },
            )
        stop = cap_seconds > 0 and any_rank(time.perf_counter() - began >= cap_seconds, device)
    wait_for_device(device)
    train_ms = 1000 * (time.perf_counter() - began)
    base_model.fake_quantization(h, False)
    val_loss, val_bpb = eval_val(h, device, val_data, base_model)
    log(f"{step}/{h.iterations} val_loss: {val_loss:.4f} val_bpb: {val_bpb:.4f}")
    if step < h.iterations:
        log(f"stopping_early: wallclock_cap train_time: {train_ms:.0f}ms step: {step}/{h.iterations}")
    else:
        log(f"training finished: train_time:{train_ms:.0f}ms step:{step}/{h.iterations}")
    if device.type == "cuda":
        log(f"peak memory allocated: {torch.cuda.max_memory_allocated() // 2**20} MiB")
    if h.averaging != "none":
        log(f"{h.averaging}:applying averaged weights")
    average.apply(base_model)
    base_model.mtp_heads = None  # they served training; the artifact never holds them
    return base_model


def warm_up(h: Hyperparameters, device: torch.device, model, base_model: GPT, loader) -> None:
    """Compile both depths on throw-away gradients, before the clock starts; weights and loader are left untouched."""
    if h.warmup_steps <= 0:
        return
    state = loader.state()
    batch = loader.next_batch()
    for looping in (False, True):
        base_model.looping = looping
        for _ in range(h.warmup_steps):
            gradient_step(model, [batch], device)
            base_model.zero_grad(set_to_none=True)
    base_model.looping = False
    loader.restore(state)
    log(f"warmup_step: {h.warmup_steps}/{h.warmup_steps}")
