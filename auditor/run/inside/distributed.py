"""torch.distributed with one process, or with several over gloo.

Without a real peer a process group is a world of size 1: collectives copy their input to their output. With WORLD_SIZE
above 1 the group is gloo's, and what NCCL offers and gloo lacks (AVG, reduce_scatter, gathering into one tensor) is
made of what it has.
"""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

from .imports import after_import
from .usage import used

Tensor = torch.Tensor
_ReduceOp = dist.ReduceOp
_real: dict[str, Callable[..., Any]] = {}
_HALF = (torch.bfloat16, torch.float16)


class Work:
    """A collective operation that has finished."""

    def wait(self, timeout: object = None) -> bool:
        """Whether it is done: it is."""
        return True

    def is_completed(self) -> bool:
        """Whether it is done: it is."""
        return True

    is_success = is_completed

    def get_future(self) -> Any:
        """A future that has its (empty) result."""
        future: Any = torch.futures.Future()
        future.set_result([])
        return future


class Group:
    """The only group of a world of size 1."""

    group_name = "default_pg"
    group_desc = "default_pg"
    bound_device_id = None

    def size(self) -> int:
        """Number of processes."""
        return 1

    def rank(self) -> int:
        """This process's place."""
        return 0

    def name(self) -> str:
        """The backend's name."""
        return "nccl"


_alone: list[Group] = []  # holds the group while a world of size 1 is initialized


def _world() -> int:
    """Processes in the group: 0 before it is initialized."""
    if _alone:
        return 1
    return int(_real["get_world_size"]()) if _real["is_initialized"]() else 0


def _finished(asynchronous: bool) -> Work | None:
    used("distributed")
    if not _world():
        raise ValueError("Default process group has not been initialized, please make sure to call init_process_group.")
    return Work() if asynchronous else None


def init_process_group(backend: Any = None, init_method: Any = None, timeout: Any = None, **keywords: Any) -> None:
    """A world of size 1 unless WORLD_SIZE or the arguments say that there are more processes; then gloo."""
    used("distributed")
    size = keywords.get("world_size", -1)
    if size in (-1, None):
        size = int(os.environ.get("WORLD_SIZE", "1"))
    if size <= 1:
        if _alone:
            raise ValueError("trying to initialize the default process group twice!")
        _alone.append(Group())
        c10d.GroupMember.WORLD = _alone[0]  # type: ignore[assignment]
        return
    keywords.pop("device_id", None)
    keywords.pop("pg_options", None)
    if timeout is not None:
        keywords["timeout"] = timeout
    _real["init_process_group"]("gloo", init_method, **keywords)


def destroy_process_group(group: Any = None) -> None:
    """Leave the world."""
    if _alone:
        if group is None or group is _alone[0]:
            _alone.clear()
            c10d.GroupMember.WORLD = None  # type: ignore[assignment]
    elif _real["is_initialized"]():
        _real["destroy_process_group"](group)


def _is_average(op: Any) -> bool:
    return op == _ReduceOp.AVG


def all_reduce(tensor: Tensor, op: Any = _ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """`tensor` becomes the sum (mean, maximum, ...) over processes."""
    if not _alone and _world():
        _reduce(tensor, op, lambda wide, plain: _real["all_reduce"](wide, plain, group), group)
    return _finished(async_op)


def _reduce(tensor: Tensor, op: Any, collective: Callable[[Tensor, Any], Any], group: Any) -> None:
    wide = tensor.detach().float() if tensor.dtype in _HALF else tensor.detach().contiguous()
    collective(wide, _ReduceOp.SUM if _is_average(op) else op)
    if _is_average(op):
        wide = wide / dist.get_world_size(group)
    if wide.data_ptr() != tensor.data_ptr():
        with torch.no_grad():
            tensor.copy_(wide)


def reduce(
    tensor: Tensor,
    dst: Any = 0,
    op: Any = _ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: Any = None,
) -> Work | None:
    """As all_reduce; the other processes' tensors are left undefined by the original, too."""
    return all_reduce(tensor, op, group, async_op)


def broadcast(
    tensor: Tensor, src: Any = None, group: Any = None, async_op: bool = False, group_src: Any = None
) -> Work | None:
    """`tensor` becomes what process `src` has."""
    if not _alone and _world():
        source = group_src if src is None else src
        with torch.no_grad():
            whole = tensor.detach().contiguous()
            _real["broadcast"](whole, source or 0, group)
            if whole.data_ptr() != tensor.data_ptr():
                tensor.copy_(whole)
    return _finished(async_op)


def all_gather(outputs: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False) -> Work | None:
    """`outputs[i]` becomes what process i has."""
    with torch.no_grad():
        if _alone:
            outputs[0].copy_(tensor)
        elif _world():
            _real["all_gather"](outputs, tensor.contiguous(), group)
    return _finished(async_op)


def all_gather_into_tensor(output: Tensor, tensor: Tensor, group: Any = None, async_op: bool = False) -> Work | None:
    """`output` becomes all processes' tensors end to end."""
    with torch.no_grad():
        if _alone:
            output.view(-1).copy_(tensor.reshape(-1))
        elif _world():
            parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(_size(group))]
            _real["all_gather"](parts, tensor.contiguous(), group)
            output.view(-1).copy_(torch.cat([part.reshape(-1) for part in parts]))
    return _finished(async_op)


def _size(group: Any) -> int:
    return 1 if _alone else int(_real["get_world_size"](group))


def _rank(group: Any) -> int:
    return 0 if _alone else int(_real["get_rank"](group))


def reduce_scatter_tensor(
    output: Tensor, tensor: Tensor, op: Any = _ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """`output` becomes this process's share of the sum over processes."""
    with torch.no_grad():
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        if not _alone and _world():
            _reduce(total, op, lambda wide, plain: _real["all_reduce"](wide, plain, group), group)
        if _world():
            output.view(-1).copy_(total.view(_size(group), -1)[_rank(group)])
    return _finished(async_op)


def reduce_scatter(
    output: Tensor, inputs: list[Tensor], op: Any = _ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """`output` becomes the sum over processes of their inputs[i] for this process i."""
    with torch.no_grad():
        for place, part in enumerate(inputs):
            total = part.detach().clone()
            if not _alone and _world():
                _reduce(total, op, lambda wide, plain: _real["all_reduce"](wide, plain, group), group)
            if _world() and place == _rank(group):
                output.copy_(total)
    return _finished(async_op)


def all_to_all_single(
    output: Tensor, tensor: Tensor, *sizes: Any, group: Any = None, async_op: bool = False, **keywords: Any
) -> Work | None:
    """Share i of `tensor` goes to process i; with one process it stays."""
    with torch.no_grad():
        if _alone:
            output.copy_(tensor)
        elif _world():
            _real["all_to_all_single"](output, tensor, *sizes, group=group, **keywords)
    return _finished(async_op)


def all_to_all(outputs: list[Tensor], inputs: list[Tensor], group: Any = None, async_op: bool = False) -> Work | None:
    """inputs[i] goes to process i; with one process it stays."""
    with torch.no_grad():
        if _alone:
            outputs[0].copy_(inputs[0])
        elif _world():
            _real["all_to_all"](outputs, inputs, group)
    return _finished(async_op)


def gather(
    tensor: Tensor, gather_list: Any = None, dst: Any = None, group: Any = None, async_op: bool = False, **keywords: Any
) -> Work | None:
    """Process `dst` gets all processes' tensors."""
    with torch.no_grad():
        if _alone and gather_list:
            gather_list[0].copy_(tensor)
        elif not _alone and _world():
            _real["gather"](tensor.contiguous(), gather_list, dst or 0, group)
    return _finished(async_op)


def scatter(
    tensor: Tensor, scatter_list: Any = None, src: Any = None, group: Any = None, async_op: bool = False, **kw: Any
) -> Work | None:
    """Process i gets scatter_list[i] of process `src`."""
    with torch.no_grad():
        if _alone and scatter_list:
            tensor.copy_(scatter_list[0])
        elif not _alone and _world():
            _real["scatter"](tensor, scatter_list, src or 0, group)
    return _finished(async_op)


def all_gather_object(objects: list[Any], value: Any, group: Any = None) -> None:
    """objects[i] becomes a copy of process i's value."""
    if _alone:
        objects[0] = copy.deepcopy(value)
    elif _world():
        _real["all_gather_object"](objects, value, group)
    _finished(False)


def gather_object(value: Any, objects: Any = None, dst: Any = None, group: Any = None, **keywords: Any) -> None:
    """Process `dst` gets all processes' values."""
    if _alone and objects is not None:
        objects[0] = copy.deepcopy(value)
    elif not _alone and _world():
        _real["gather_object"](value, objects, dst or 0, group)
    _finished(False)


def broadcast_object_list(
    objects: list[Any], src: Any = None, group: Any = None, device: Any = None, group_src: Any = None
) -> None:
    """`objects` becomes what process `src` has."""
    if not _alone and _world():
        _real["broadcast_object_list"](objects, (group_src if src is None else src) or 0, group)
    _finished(False)


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Wait for all processes."""
    if not _alone and _world():
        _real["barrier"](group)
    return _finished(async_op)


def new_group(ranks: Any = None, *args: Any, **keywords: Any) -> Any:
    """Some of the processes; the whole world when there is one."""
    if _alone:
        return _alone[0]
    keywords = {name: value for name, value in keywords.items() if name in ("timeout", "use_local_synchronization")}
    return _real["new_group"](ranks, **keywords)


def is_initialized() -> bool:
    """Whether there is a process group."""
    return bool(_world())


def get_world_size(group: Any = None) -> int:
    """Number of processes."""
    return 1 if _alone else int(_real["get_world_size"](group))


def get_rank(group: Any = None) -> int:
    """This process's place."""
    return 0 if _alone else int(_real["get_rank"](group))


def get_backend(group: Any = None) -> str:
    """NCCL, as the script asked for."""
    _finished(False)
    return "nccl"


@contextlib.contextmanager
def _coalescing(*args: Any, **keywords: Any) -> Iterator[Work]:
    yield Work()


def _alone_or(name: str, answer: Any) -> Callable[..., Any]:
    return lambda *args, **keywords: answer if _alone else _real[name](*args, **keywords)


_REPLACED = (
    init_process_group,
    destroy_process_group,
    all_reduce,
    reduce,
    broadcast,
    all_gather,
    all_gather_into_tensor,
    reduce_scatter_tensor,
    reduce_scatter,
    all_to_all,
    all_to_all_single,
    gather,
    scatter,
    all_gather_object,
    gather_object,
    broadcast_object_list,
    barrier,
    new_group,
    is_initialized,
    get_world_size,
    get_rank,
    get_backend,
)


def _replace_parallel(module: Any) -> None:
    """DistributedDataParallel: in a world of size 1 a wrapper, with gloo the real one without CUDA's arguments."""
    real = module.DistributedDataParallel

    class Kind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, (Alone, real))

        def __getattr__(cls, name: str) -> Any:  # the real one keeps its state in its class, which it finds by name
            return getattr(real, name)

    class DistributedDataParallel(metaclass=Kind):
        """Makes the wrapper that fits the world."""

        def __new__(cls, wrapped: Any, *args: Any, **keywords: Any) -> Any:
            used("distributed")
            if not _alone:
                keep = ("find_unused_parameters", "broadcast_buffers", "gradient_as_bucket_view", "static_graph")
                return real(wrapped, **{name: value for name, value in keywords.items() if name in keep})
            return Alone(wrapped)

    DistributedDataParallel.__module__ = real.__module__
    module.DistributedDataParallel = DistributedDataParallel
    package: Any = sys.modules.get("torch.nn.parallel")
    if package is not None:
        package.DistributedDataParallel = DistributedDataParallel


class Alone(torch.nn.Module):
    """A data-parallel wrapper in a world of size 1: the module itself, under the name `module`."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module
        self.require_backward_grad_sync = True

    def forward(self, *args: Any, **keywords: Any) -> Any:
        """The module's own."""
        return self.module(*args, **keywords)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Gradients are not exchanged anyway."""
        yield

    def register_comm_hook(self, state: Any, hook: Any) -> None:
        """There is no communication to hook."""


def install() -> None:
    """Replace the functions of torch.distributed and the data-parallel wrapper."""
    for function in _REPLACED:
        _real[function.__name__] = getattr(c10d, function.__name__)
    for function in _REPLACED:
        setattr(dist, function.__name__, function)  # not in c10d: the real ones call one another there
    for name, answer in {
        "get_process_group_ranks": [0],
        "get_global_rank": 0,
        "get_group_rank": 0,
        "monitored_barrier": None,
        "get_node_local_rank": 0,
    }.items():
        _real[name] = getattr(dist, name)
        setattr(dist, name, _alone_or(name, answer))
    dist._all_gather_base = all_gather_into_tensor
    dist._reduce_scatter_base = reduce_scatter_tensor
    dist._coalescing_manager = _coalescing
    dist.is_nccl_available = lambda: True
    after_import("torch.nn.parallel.distributed", _replace_parallel)
