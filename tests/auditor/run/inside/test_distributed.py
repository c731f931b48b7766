"""torch.distributed with one process agrees with a world of size 1; with two, over gloo, with what NCCL would give."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_world_of_one(passes: Run) -> None:
    passes(
        """
        import torch
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel as DDP

        assert dist.is_available() and not dist.is_initialized()
        device = torch.device("cuda", 0)
        dist.init_process_group(backend="nccl", device_id=device)
        assert dist.is_initialized() and (dist.get_rank(), dist.get_world_size()) == (0, 1)
        assert dist.get_backend() == "nccl"
        x = torch.arange(6.0, device=device)
        for operation in (dist.ReduceOp.SUM, dist.ReduceOp.AVG, dist.ReduceOp.MAX, dist.ReduceOp.MIN):
            work = dist.all_reduce(x, op=operation, async_op=True)
            work.wait()
            assert torch.equal(x, torch.arange(6.0))
        assert dist.all_reduce(x) is None
        dist.broadcast(x, src=0)
        gathered = [torch.empty(6)]
        dist.all_gather(gathered, x)
        assert torch.equal(gathered[0], x)
        whole = torch.empty(1, 6)
        dist.all_gather_into_tensor(whole, x)
        assert torch.equal(whole[0], x)
        share = torch.empty(6)
        dist.reduce_scatter_tensor(share, x, op=dist.ReduceOp.AVG, async_op=True).get_future().wait()
        assert torch.equal(share, x)
        dist.reduce_scatter(share, [x + 1])
        assert torch.equal(share, x + 1)
        objects = [None]
        value = {"a": [1]}
        dist.all_gather_object(objects, value)
        assert objects == [value] and objects[0] is not value
        dist.broadcast_object_list([1], src=0)
        dist.barrier(device_ids=[0])
        group = dist.new_group([0])
        dist.all_reduce(x, group=group)
        assert dist.get_world_size(group) == 1

        model = torch.nn.Linear(2, 2).to(device)
        wrapped = DDP(model, device_ids=[0], broadcast_buffers=False)
        assert isinstance(wrapped, DDP) and wrapped.module is model
        with wrapped.no_sync():
            wrapped(torch.ones(1, 2, device=device)).sum().backward()
        wrapped.require_backward_grad_sync = False
        assert model.weight.grad is not None
        assert list(wrapped.state_dict()) == ["module.weight", "module.bias"]
        dist.destroy_process_group()
        assert not dist.is_initialized()
        """
    )


def test_collectives_without_a_group_are_an_error(passes: Run) -> None:
    passes(
        """
        import torch
        import torch.distributed as dist

        for call in (lambda: dist.all_reduce(torch.ones(1)), dist.barrier, dist.get_backend):
            try:
                call()
            except ValueError as failure:
                assert "initialized" in str(failure)
            else:
                raise AssertionError(call)
        """
    )


PEERS = """
import os
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel as DDP

rank = int(os.environ["RANK"])
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
device = torch.device("cuda", rank)
dist.init_process_group("nccl", device_id=device)
assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (rank, 2, "nccl")

def mine(dtype=torch.float32):
    return (torch.arange(4.0) + 10 * rank).to(dtype)

for dtype in (torch.float32, torch.bfloat16, torch.float64):
    x = mine(dtype)
    dist.all_reduce(x)
    assert torch.equal(x, (2 * torch.arange(4.0) + 10).to(dtype)), x
    x = mine(dtype)
    dist.all_reduce(x, op=dist.ReduceOp.AVG)
    assert torch.equal(x, (torch.arange(4.0) + 5).to(dtype)), x
    x = mine(dtype)
    dist.all_reduce(x, op=dist.ReduceOp.MAX, async_op=True).wait()
    assert torch.equal(x, (torch.arange(4.0) + 10).to(dtype))
    share = torch.empty(2, dtype=dtype)
    dist.reduce_scatter_tensor(share, mine(dtype), op=dist.ReduceOp.AVG)
    assert torch.equal(share, (torch.arange(4.0) + 5)[2 * rank : 2 * rank + 2].to(dtype))
    whole = torch.empty(8, dtype=dtype)
    dist.all_gather_into_tensor(whole, mine(dtype))
    assert torch.equal(whole, torch.cat([torch.arange(4.0), torch.arange(4.0) + 10]).to(dtype))
    x = mine(dtype)
    dist.broadcast(x, src=1)
    assert torch.equal(x, (torch.arange(4.0) + 10).to(dtype))

column = (torch.arange(8.0).view(4, 2) + 10 * rank)[:, 0]  # not contiguous
dist.all_reduce(column)
assert torch.equal(column, torch.tensor([10.0, 14.0, 18.0, 22.0]))
share = torch.empty(2)
dist.reduce_scatter(share, [torch.full((2,), 1.0 + rank), torch.full((2,), 5.0 + rank)])
assert torch.equal(share, torch.full((2,), 3.0 if rank == 0 else 11.0))
objects = [None, None]
dist.all_gather_object(objects, {"rank": rank})
assert objects == [{"rank": 0}, {"rank": 1}]
told = ["from 0"] if rank == 0 else [None]
dist.broadcast_object_list(told, src=0)
assert told == ["from 0"]
gathered = [torch.empty(4), torch.empty(4)] if rank == 0 else None
dist.gather(mine(), gathered, dst=0)
assert rank or torch.equal(gathered[1], torch.arange(4.0) + 10)

torch.manual_seed(0)
model = DDP(torch.nn.Linear(4, 1, bias=False).to(device), device_ids=[0])
model(mine()[None]).sum().backward()
assert torch.equal(model.module.weight.grad, (torch.arange(4.0) + 5)[None])
dist.barrier()
dist.destroy_process_group()
print("rank", rank, "is done", flush=True)
"""


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_two_processes_over_gloo(tmp_path: Path) -> None:
    start = Path(__file__).parents[4] / "auditor" / "run" / "inside" / "start.py"
    (tmp_path / "train_gpt.py").write_text(PEERS)
    (tmp_path / "spec.json").write_text('{"script": "train_gpt.py", "seed": 1, "threads": 1}')
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": "2", "HOME": str(tmp_path)}
    peers = [
        subprocess.Popen(
            [sys.executable, "-P", "-s", "-B", str(start), "spec.json"],
            cwd=tmp_path,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        printed = [peer.communicate(timeout=1800)[0] for peer in peers]
    finally:
        for peer in peers:
            peer.kill()
    assert [peer.returncode for peer in peers] == [0, 0], "\n".join(printed)
    assert "rank 1 is done" in printed[1]
