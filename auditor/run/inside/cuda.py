"""torch.cuda of a machine with one H100: it is available, has nothing to wait for and uses no memory."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch

from . import clock
from .device import on_cpu
from .usage import used

MEMORY_BYTES = 85_017_755_648  # of an H100 80GB HBM3, as its driver tells
PROPERTIES: dict[str, Any] = {
    "name": "NVIDIA H100 80GB HBM3",
    "major": 9,
    "minor": 0,
    "total_memory": MEMORY_BYTES,
    "multi_processor_count": 132,
    "max_threads_per_multi_processor": 2048,
    "max_threads_per_block": 1024,
    "regs_per_multiprocessor": 65536,
    "shared_memory_per_block": 49152,
    "shared_memory_per_block_optin": 232448,
    "shared_memory_per_multiprocessor": 233472,
    "warp_size": 32,
    "L2_cache_size": 52_428_800,
    "is_integrated": 0,
    "is_multi_gpu_board": 0,
    "gcnArchName": "",
}


class Stream:
    """A stream that has always finished."""

    cuda_stream = 0
    stream_id = 0
    device_index = 0
    device_type = 1

    def __init__(self, *args: Any, **keywords: Any) -> None:
        self.device = torch.device("cuda")

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *failure: object) -> None:
        return None

    def query(self) -> bool:
        """Whether all work is done: it is."""
        return True

    def record_event(self, event: Event | None = None) -> Event:
        """An event at this point of the stream."""
        event = event or Event()
        event.record()
        return event

    def wait_stream(self, stream: object) -> None:
        """Nothing to wait for."""

    wait_event = synchronize = wait_stream

    def synchronize(self) -> None:  # type: ignore[no-redef]  # noqa: F811
        """Nothing to wait for."""


class Event:
    """An event with a time of the virtual clock."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        self._seconds = 0.0

    def record(self, stream: object = None) -> None:
        """Remember the time."""
        self._seconds = clock.now()

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to `end`."""
        return max(1e-3, (end._seconds - self._seconds) * 1000)

    def query(self) -> bool:
        """Whether it has happened: it has."""
        return True

    def wait(self, stream: object = None) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""


_stream = Stream()


class _Index(contextlib.ContextDecorator):
    """torch.cuda.device and torch.cuda.stream: contexts that change nothing."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        self.idx = 0

    def __enter__(self) -> _Index:
        return self

    def __exit__(self, *failure: object) -> None:
        return None


def _constant(value: Any) -> Callable[..., Any]:
    return lambda *args, **keywords: value


@contextlib.contextmanager
def _nothing(*args: Any, **keywords: Any) -> Iterator[None]:
    yield


def _properties(device: Any = None) -> types.SimpleNamespace:
    return types.SimpleNamespace(**PROPERTIES, uuid="GPU-00000000-0000-0000-0000-000000000000")


def _set_rng_state(state: torch.Tensor, device: Any = None) -> None:
    torch.set_rng_state(state)


def _manual_seed(seed: int) -> None:
    """CUDA's generator is the CPU's here, which torch.manual_seed sets; another seed must not undo that."""
    if not _seeding:
        torch.default_generator.manual_seed(int(seed))


_seeding: list[bool] = []


def _wrap_manual_seed() -> None:
    original = torch.manual_seed

    def manual_seed(seed: Any) -> Any:
        _seeding.append(True)
        try:
            return original(seed)
        finally:
            _seeding.pop()

    torch.manual_seed = manual_seed
    torch.random.manual_seed = manual_seed


def _synchronize(device: Any = None) -> None:
    used("cuda")


_MEMORY_FIGURES = (
    "memory_allocated max_memory_allocated memory_reserved max_memory_reserved memory_cached max_memory_cached "
    "device_memory_used utilization memory_usage temperature power_draw clock_rate"
).split()
_NO_EFFECT = (
    "init _lazy_init set_device empty_cache reset_peak_memory_stats reset_max_memory_allocated ipc_collect "
    "reset_max_memory_cached reset_accumulated_memory_stats set_per_process_memory_fraction set_stream "
    "set_sync_debug_mode _sleep reset_peak_host_memory_stats seed seed_all"
).split()


def _replace_torch_cuda() -> None:
    values: dict[str, Any] = {
        "is_available": _constant(True),
        "is_initialized": _constant(True),
        "_is_in_bad_fork": _constant(False),
        "is_bf16_supported": _constant(True),
        "is_tf32_supported": _constant(True),
        "device_count": _constant(1),
        "current_device": _constant(0),
        "get_device_name": _constant(PROPERTIES["name"]),
        "get_device_capability": _constant((9, 0)),
        "get_device_properties": _properties,
        "get_arch_list": _constant(["sm_80", "sm_90"]),
        "mem_get_info": _constant((MEMORY_BYTES, MEMORY_BYTES)),
        "memory_stats": _constant({}),
        "memory_snapshot": _constant([]),
        "memory_summary": _constant(""),
        "can_device_access_peer": _constant(False),
        "is_current_stream_capturing": _constant(False),
        "synchronize": _synchronize,
        "Stream": Stream,
        "ExternalStream": Stream,
        "Event": Event,
        "current_stream": _constant(_stream),
        "default_stream": _constant(_stream),
        "stream": _Index,
        "StreamContext": _Index,
        "device": _Index,
        "device_of": _Index,
        "use_mem_pool": _nothing,
        "manual_seed": _manual_seed,
        "manual_seed_all": _manual_seed,
        "initial_seed": torch.initial_seed,
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "get_rng_state_all": lambda: [torch.get_rng_state()],
        "set_rng_state": _set_rng_state,
        "set_rng_state_all": lambda states: _set_rng_state(states[0]) if len(states) else None,
        "default_generators": (torch.default_generator,),
        "make_graphed_callables": lambda callables, *args, **keywords: callables,
        "graph_pool_handle": _constant((0, 0)),
        "cudart": lambda: types.SimpleNamespace(cudaProfilerStart=_constant(0), cudaProfilerStop=_constant(0)),
    }
    values |= {name: _constant(0) for name in _MEMORY_FIGURES}
    values |= {name: _constant(None) for name in _NO_EFFECT}
    for name, value in values.items():
        setattr(torch.cuda, name, value)
        if hasattr(torch.cuda.memory, name):
            setattr(torch.cuda.memory, name, value)
        if hasattr(torch.cuda.random, name):
            setattr(torch.cuda.random, name, value)
    torch.Stream = Stream  # type: ignore[assignment,misc]
    torch.cuda.streams.Stream = Stream  # type: ignore[assignment,misc]
    torch.cuda.streams.Event = Event  # type: ignore[assignment,misc]


def _replace_nvtx() -> None:
    nvtx = torch.cuda.nvtx
    for name in ("range_push", "range_pop", "mark", "range_start", "range_end"):
        setattr(nvtx, name, _constant(0))
    nvtx.range = _nothing  # type: ignore[assignment]
    torch.cuda.profiler.start = _constant(None)
    torch.cuda.profiler.stop = _constant(None)


def _replace_switches() -> None:
    """Which attention kernels CUDA may use says nothing about the CPU: switching all but one off would leave none."""
    cuda = torch.backends.cuda
    for name in ("enable_flash_sdp", "enable_mem_efficient_sdp", "enable_math_sdp", "enable_cudnn_sdp"):
        setattr(cuda, name, _constant(None))
    for name in ("flash_sdp_enabled", "mem_efficient_sdp_enabled", "math_sdp_enabled", "cudnn_sdp_enabled"):
        setattr(cuda, name, _constant(True))
    cuda.sdp_kernel = _nothing  # type: ignore[assignment]
    cuda.is_built = _constant(True)
    cuda.preferred_linalg_library = _constant(None)
    cuda.preferred_blas_library = _constant(None)
    torch.nn.attention.sdpa_kernel = _nothing
    torch.backends.cudnn.is_available = _constant(True)
    torch.backends.cudnn.version = _constant(91000)


def _replace_optimizer_switches() -> None:
    """`capturable` steps need tensors on a GPU and do the same arithmetic."""
    for optimizer in (torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RMSprop):
        _drop_capturable(optimizer)


def _drop_capturable(optimizer: Any) -> None:
    original = optimizer.__init__

    def __init__(self: Any, *args: Any, **keywords: Any) -> None:  # noqa: N807 - replaces the method
        if keywords.get("capturable"):
            keywords["capturable"] = False
        original(self, *args, **keywords)

    optimizer.__init__ = __init__


def install() -> None:
    """Replace torch.cuda's functions and the switches of torch.backends that concern CUDA only."""
    import torch.nn.attention

    assert on_cpu("cuda") == "cpu"
    _replace_torch_cuda()
    _replace_nvtx()
    _replace_switches()
    _replace_optimizer_switches()
    _wrap_manual_seed()
    # Optimizers ask it for a stream, which only a GPU has; scripts use torch.cuda.
    torch.accelerator.current_accelerator = _constant(None)  # type: ignore[assignment]
    torch.accelerator.is_available = _constant(False)
    torch.version.cuda = torch.version.cuda or "12.8"
