# ruff: noqa: E501 - scripts inside strings
"""Kernels in Triton's interpreter against eager torch: a fused MLP and a fused softcapped cross-entropy.

Tolerance: 1e-5 in fp32; for bf16 tensors one unit in the last place of what rounding the fp32 result gives.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

pytest.importorskip("torch")
pytest.importorskip("triton")

KERNELS = """
import torch, triton
import triton.language as tl
import torch.nn.functional as F

@triton.jit
def mlp_kernel(x_ptr, w_ptr, h_ptr, y_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for step in range(0, tl.cdiv(K, BK)):
        inner = step * BK + tl.arange(0, BK)
        x = tl.load(x_ptr + rows[:, None] * K + inner[None, :], mask=(rows[:, None] < M) & (inner[None, :] < K), other=0.0)
        w = tl.load(w_ptr + columns[None, :] * K + inner[:, None], mask=(columns[None, :] < N) & (inner[:, None] < K), other=0.0)
        total = tl.dot(x, w, total)
    inside = (rows[:, None] < M) & (columns[None, :] < N)
    h = total.to(h_ptr.dtype.element_ty)
    y = tl.maximum(h, 0.0)
    tl.store(h_ptr + rows[:, None] * N + columns[None, :], h, mask=inside)
    tl.store(y_ptr + rows[:, None] * N + columns[None, :], (y * y).to(y_ptr.dtype.element_ty), mask=inside)

@triton.jit
def loss_kernel(logits_ptr, targets_ptr, losses_ptr, grads_ptr, V, cap: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    raw = tl.load(logits_ptr + row * V + columns, mask=columns < V, other=0.0).to(tl.float32)
    target = tl.load(targets_ptr + row).to(tl.int32)
    squashed = 2 * tl.sigmoid(2 * raw / cap) - 1
    z = tl.where(columns < V, cap * squashed, -float("inf"))
    top = tl.max(z, axis=0)
    e = tl.exp(z - top)
    total = tl.sum(e, axis=0)
    picked = tl.sum(tl.where(columns == target, z, 0.0), axis=0)
    tl.store(losses_ptr + row, top + tl.log(total) - picked)
    p = e / total - tl.where(columns == target, 1.0, 0.0)
    tl.store(grads_ptr + row * V + columns, (p * (1 - squashed * squashed)).to(grads_ptr.dtype.element_ty), mask=columns < V)

def mlp(x, w):
    h = torch.empty(x.shape[0], w.shape[0], device="cuda", dtype=x.dtype)
    y = torch.empty_like(h)
    grid = (triton.cdiv(x.shape[0], 32), triton.cdiv(w.shape[0], 16))
    mlp_kernel[grid](x, w, h, y, x.shape[0], w.shape[0], x.shape[1], BM=32, BN=16, BK=16, num_warps=4, num_stages=3)
    return h, y

def loss(logits, targets, cap):
    losses = torch.empty(len(targets), device="cuda", dtype=torch.float32)
    grads = torch.empty_like(logits)
    loss_kernel[(len(targets),)](logits, targets, losses, grads, logits.shape[1], cap, triton.next_power_of_2(logits.shape[1]))
    return losses, grads

torch.manual_seed(0)
"""


def test_a_fused_mlp_agrees_with_eager(passes: Run) -> None:
    passes(
        KERNELS
        + """
x, w = torch.randn(70, 40, device="cuda"), torch.randn(50, 40, device="cuda")
h, y = mlp(x, w)
torch.testing.assert_close(h, x @ w.T, rtol=1e-5, atol=1e-5)
torch.testing.assert_close(y, F.relu(x @ w.T).square(), rtol=1e-5, atol=1e-5)

x, w = x.bfloat16(), w.bfloat16()
h, y = mlp(x, w)
wide = x.float() @ w.float().T
assert h.dtype is y.dtype is torch.bfloat16
torch.testing.assert_close(h, wide.bfloat16(), rtol=2**-7, atol=1e-5)
torch.testing.assert_close(y, F.relu(wide).square().bfloat16(), rtol=2**-7, atol=1e-5)
"""
    )


def test_a_view_that_a_kernel_reads_may_be_saved_for_backward(passes: Run) -> None:
    """A kernel works by address: what it is given counts as unchanged, also where halves are widened for it."""
    passes(
        KERNELS
        + """
class Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        flat = x.reshape(-1, x.shape[-1])
        h, y = mlp(flat, w)
        ctx.save_for_backward(flat, w, h)
        return y.reshape(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, grad):
        flat, w, h = ctx.saved_tensors
        slope = 2 * torch.relu(h) * grad.reshape(h.shape)
        return (slope @ w).reshape(*grad.shape[:-1], -1), slope.T @ flat

w = torch.randn(50, 40, device="cuda").bfloat16().requires_grad_()
x = torch.randn(2, 35, 40, device="cuda").bfloat16().requires_grad_()
Fused.apply(x * 1, w).float().sum().backward()
got, w.grad, x.grad = (x.grad, w.grad), None, None
F.relu((x * 1) @ w.T).square().float().sum().backward()
for fused, eager in zip(got, (x.grad, w.grad)):
    torch.testing.assert_close(fused, eager, rtol=2**-5, atol=0.2)
"""
    )


def test_a_fused_softcapped_loss_agrees_with_eager(passes: Run) -> None:
    passes(
        KERNELS
        + """
logits = (3 * torch.randn(20, 100, device="cuda")).requires_grad_()
targets = torch.randint(0, 100, (20,), device="cuda")
eager = F.cross_entropy(30 * torch.tanh(logits / 30), targets, reduction="none")
eager.sum().backward()
losses, grads = loss(logits.detach(), targets, 30.0)
torch.testing.assert_close(losses, eager, rtol=1e-5, atol=1e-5)
torch.testing.assert_close(grads, logits.grad, rtol=1e-4, atol=1e-6)

half = logits.detach().bfloat16()
losses, grads = loss(half, targets, 30.0)
eager = F.cross_entropy(30 * torch.tanh(half.float() / 30), targets, reduction="none")
torch.testing.assert_close(losses, eager, rtol=1e-5, atol=1e-5)
assert grads.dtype is torch.bfloat16
"""
    )


def test_arithmetic_on_bf16_inside_a_kernel_is_arithmetic(passes: Run) -> None:
    passes(
        """
import torch, triton
import triton.language as tl

@triton.jit
def kernel(x_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    x = tl.load(x_ptr + i)
    y = x.to(tl.bfloat16)
    zeros = tl.zeros((N,), dtype=tl.bfloat16)
    tl.store(out_ptr + i, y * y + zeros - tl.cast(0.5, tl.bfloat16))

x = torch.tensor([0.1, -1.7, 3.14159, 100.3, 1e-3, 0.0, 65504.0, -2.5], device="cuda")
out = torch.empty_like(x)
kernel[(1,)](x, out, 8)
torch.testing.assert_close(out, x.bfloat16().float() ** 2 - 0.5, rtol=1e-2, atol=1e-3)
"""
    )


def test_views_of_one_storage_stay_views_of_one_storage(passes: Run) -> None:
    passes(
        """
import torch, triton
import triton.language as tl

@triton.jit
def kernel(a_ptr, b_ptr, stride, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(b_ptr + i * stride, tl.load(a_ptr + i * stride) + tl.load(b_ptr + i * stride))

whole = torch.arange(16, device="cuda", dtype=torch.bfloat16).view(8, 2)
before = whole.clone()
kernel[(1,)](whole[:, 0], whole[:, 1], 2, 8)
assert torch.equal(whole[:, 0], before[:, 0])
assert torch.equal(whole[:, 1], before[:, 0] + before[:, 1])
"""
    )


def test_tensor_descriptors(passes: Run) -> None:
    passes(
        """
import torch, triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

@triton.jit
def kernel(a, b, BM: tl.constexpr, BN: tl.constexpr):
    row, column = tl.program_id(0) * BM, tl.program_id(1) * BN
    block = a.load([row, column])
    pairs = tl.reshape(block, (BM, 2, BN // 2))
    first, second = tl.split(tl.permute(pairs, (0, 2, 1)))
    b.store([row, column], block * 2)

a = torch.randn(32, 64, device="cuda", dtype=torch.bfloat16)
b = torch.empty_like(a)
kernel[(2, 2)](TensorDescriptor.from_tensor(a, [16, 32]), TensorDescriptor.from_tensor(b, [16, 32]), 16, 32)
assert torch.equal(b, a * 2)
"""
    )


def test_autotuning_device_functions_and_the_device_library(passes: Run) -> None:
    passes(
        """
import torch, triton
import triton.language as tl
from triton.language.extra import libdevice

@triton.jit
def squash(x):
    return libdevice.tanh(x)

@triton.autotune(configs=[triton.Config({"N": 8}, num_warps=4), triton.Config({"N": 4})], key=["n"])
@triton.jit
def kernel(x_ptr, out_ptr, n, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out_ptr + i, squash(tl.load(x_ptr + i, mask=i < n)), mask=i < n)

x = torch.randn(8, device="cuda")
out = torch.empty_like(x)
kernel[lambda meta: (1,)](x, out, 8)
torch.testing.assert_close(out, torch.tanh(x))
properties = triton.runtime.driver.active.utils.get_device_properties(torch.cuda.current_device())
assert properties["multiprocessor_count"] == torch.cuda.get_device_properties(0).multi_processor_count
"""
    )


def test_kernels_inside_autograd_functions_and_custom_operations(passes: Run) -> None:
    passes(
        KERNELS
        + """
class Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, targets):
        losses, grads = loss(logits, targets, 30.0)
        ctx.save_for_backward(grads)
        return losses

    @staticmethod
    def backward(ctx, upstream):
        (grads,) = ctx.saved_tensors
        return grads * upstream[:, None], None

@torch.library.custom_op("audit_test::loss", mutates_args=(), device_types="cuda")
def operation(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return loss(logits, targets, 30.0)[0]

@operation.register_fake
def _(logits, targets):
    return logits.new_empty(len(targets), dtype=torch.float32)

logits = torch.randn(6, 50, device="cuda", requires_grad=True)
targets = torch.randint(0, 50, (6,), device="cuda")
losses = Loss.apply(logits, targets)
losses.mean().backward()
mine = logits.grad.clone()
logits.grad = None
F.cross_entropy(30 * torch.tanh(logits / 30), targets).backward()
torch.testing.assert_close(mine, logits.grad, rtol=1e-4, atol=1e-6)
torch.testing.assert_close(torch.ops.audit_test.loss(logits.detach(), targets), losses.detach())
"""
    )
