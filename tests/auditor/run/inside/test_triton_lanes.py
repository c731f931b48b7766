# ruff: noqa: E501 - scripts inside strings
"""Programs run abreast give what they give one by one, and those that part ways are run one by one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

pytest.importorskip("torch")
pytest.importorskip("triton")

START = """
import sys, torch, triton
import triton.language as tl

lanes = next(module for name, module in sys.modules.items() if name.endswith("triton_lanes"))
LANES = lanes.LANES

def abreast(kernel):
    return all(fn.__name__ != kernel.__name__ for fn in lanes._Abreast.alone)

torch.manual_seed(0)
ROWS = 2 * LANES + 7
"""


def test_rows_of_a_norm_run_abreast(passes: Run) -> None:
    passes(
        START
        + """
@triton.jit
def kernel(x_ptr, out_ptr, top_ptr, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + columns, mask=columns < n, other=0.0)
    scale = 1 / tl.sqrt(tl.sum(x * x, axis=0) / n + 1e-6)
    tl.store(out_ptr + row * n + columns, x * scale, mask=columns < n)
    tl.store(top_ptr + row, tl.argmax(tl.where(columns < n, x, -1e9), axis=0))

x = torch.randn(ROWS, 50)
out, top = torch.empty_like(x), torch.empty(ROWS, dtype=torch.int32)
kernel[(ROWS,)](x, out, top, 50, BLOCK=64)
torch.testing.assert_close(out, torch.nn.functional.rms_norm(x, (50,), eps=1e-6), rtol=1e-5, atol=1e-6)
assert torch.equal(top.long(), x.argmax(1)) and abreast(kernel)
"""
    )


def test_tiles_of_a_grid_with_two_axes_run_abreast(passes: Run) -> None:
    passes(
        START
        + """
@triton.jit
def kernel(x_ptr, y_ptr, out_ptr, total_ptr, N, B: tl.constexpr):
    rows, columns = tl.program_id(0) * B + tl.arange(0, B), tl.program_id(1) * B + tl.arange(0, B)
    places = rows[:, None] * N + columns[None, :]
    inside = (rows[:, None] < N) & (columns[None, :] < N)
    x = tl.load(x_ptr + places, mask=inside, other=0.0)
    y = tl.load(y_ptr + places, mask=inside, other=0.0)
    product = tl.dot(x, tl.trans(y)) + tl.cumsum(x, axis=1)
    tl.store(out_ptr + places, product, mask=inside)
    tl.store(total_ptr + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1), tl.sum(tl.reshape(x, (B * B,)), axis=0))

N, B = 140, 16
tiles = triton.cdiv(N, B)
x, y = torch.randn(N, N), torch.randn(N, N)
out, total = torch.zeros(N, N), torch.zeros(tiles, tiles)
kernel[(tiles, tiles)](x, y, out, total, N, B=B)
pad = lambda m: torch.nn.functional.pad(m, (0, tiles * B - N, 0, tiles * B - N)).unflatten(1, (tiles, B)).unflatten(0, (tiles, B)).transpose(1, 2)
px, py = pad(x), pad(y)
expected = (px @ py.mT + px.cumsum(-1)).transpose(1, 2).reshape(tiles * B, tiles * B)[:N, :N]
torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-4)
torch.testing.assert_close(total, px.sum((-1, -2)), rtol=1e-5, atol=1e-4)
assert abreast(kernel)
"""
    )


@pytest.mark.parametrize(
    "parting",
    [
        "if row % 3 == 1:\n        x = x * 2",
        "for _ in range(row % 3):\n        x = x + x * (row % 3 - 1) / 2 + x * (2 - row % 3)",
        "x = x + x * (tl.atomic_add(count_ptr + row, 1) + row % 3 == 1).to(tl.float32)",
    ],
    ids=["branch", "loop", "atomic"],
)
def test_programs_that_part_ways_leave_no_trace_of_the_attempt(parting: str, passes: Run) -> None:
    """The kernel works in place: what was done abreast before they parted must not be done twice."""
    passes(
        START
        + f"""
@triton.jit
def kernel(x_ptr, count_ptr, limit):
    row = tl.program_id(0)
    x = tl.load(x_ptr + row) + 1
    tl.store(x_ptr + row, x)
    {parting}
    tl.store(x_ptr + row, x)

x, count = torch.randn(ROWS), torch.zeros(ROWS, dtype=torch.int32)
rows = torch.arange(ROWS)
expected = x + 1
doubled = (rows % 3 == 1) if "range" not in {parting!r} else (rows % 3 > 0)
once = torch.where(rows % 3 == 1, 2 * expected, expected)
if "range" in {parting!r}:
    once = expected.clone()
    for step in range(2):
        more = once + once * (rows % 3 - 1) / 2 + once * (2 - rows % 3)
        once = torch.where(rows % 3 > step, more, once)
kernel[(ROWS,)](x, count, 3)
torch.testing.assert_close(x, once)
assert not abreast(kernel) and count.max() <= 1
"""
    )


def test_an_error_of_the_kernel_itself_is_the_scripts(run_script: Run) -> None:
    result = run_script(
        START
        + """
@triton.jit
def kernel(x_ptr):
    row = tl.program_id(0)
    x = tl.load(x_ptr + row)
    tl.store(x_ptr + row, undefined_name(x))

kernel[(ROWS,)](torch.randn(ROWS))
"""
    )
    assert result.returncode != 0 and "undefined_name" in result.stderr


def test_what_a_hook_prepares_before_the_launch_is_kept_when_programs_part_ways(passes: Run) -> None:
    passes(
        START
        + """
@triton.jit
def kernel(x_ptr, limit):
    row = tl.program_id(0)
    x = tl.load(x_ptr + row)
    if row % 3 == 1:
        x = x + 1
    tl.store(x_ptr + row, x)

def clear(*args, **keywords):
    args[0].zero_()

kernel.add_pre_run_hook(clear)
x = torch.full((ROWS,), 7.0)
kernel[(ROWS,)](x, 3)
assert torch.equal(x, (torch.arange(ROWS) % 3 == 1).float()) and not abreast(kernel)
"""
    )
