"""One process, one GPU, or several under torchrun; every function is a no-op in a single process."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn


def start_distributed() -> tuple[int, int, torch.device]:
    """(rank, world size, device). Joins the process group when torchrun set RANK and WORLD_SIZE."""
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    if world_size > 1 and not dist.is_initialized():
        dist.init_process_group(backend="nccl" if device.type == "cuda" else "gloo")
    return rank, world_size, device


def stop_distributed() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def rank_and_world() -> tuple[int, int]:
    """(rank, world size) of this process."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Add `tensor` over all ranks, in place."""
    if dist.is_initialized():
        dist.all_reduce(tensor, op=dist.ReduceOp.SUM)
    return tensor


def gather_over_ranks(tensor: Tensor) -> tuple[Tensor, Callable[[], None]]:
    """The ranks' tensors (n, ...) one after the other (ranks * n, ...), and a function that waits for them."""
    if not dist.is_initialized():
        return tensor, lambda: None
    everything = tensor.new_empty(dist.get_world_size() * tensor.size(0), *tensor.shape[1:])
    handle = dist.all_gather(list(everything.chunk(dist.get_world_size())), tensor, async_op=True)
    return everything, handle.wait


def average_gradients(model: nn.Module) -> None:
    """Replace every gradient by its mean over the ranks; a rank without one counts as zero."""
    if not dist.is_initialized():
        return
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad, op=dist.ReduceOp.SUM)
        parameter.grad.div_(dist.get_world_size())


def average_parameters(model: nn.Module) -> None:
    """Replace every parameter by its mean over the ranks."""
    if not dist.is_initialized():
        return
    with torch.no_grad():
        for parameter in model.parameters():
            dist.all_reduce(parameter, op=dist.ReduceOp.SUM)
            parameter.div_(dist.get_world_size())


def any_rank(flag: bool, device: torch.device) -> bool:
    """True when `flag` is true on at least one rank."""
    return bool(sum_over_ranks(torch.tensor(int(flag), device=device)).item())


def wait_for_device(device: torch.device) -> None:
    """Finish queued GPU work, so that a clock read next is honest."""
    if device.type == "cuda":
        torch.cuda.synchronize()
