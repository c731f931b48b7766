# ruff: noqa: E501 - scripts inside strings
"""autocast("cuda") on the CPU gives the types that CUDA gives; a product in half precision is exactly rounded fp32."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

pytest.importorskip("torch")

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_products_run_in_half_precision_and_losses_in_fp32(passes: Run) -> None:
    passes(
        """
        import torch
        import torch.nn.functional as F

        x, w = torch.randn(4, 8, device="cuda"), torch.randn(16, 8, device="cuda")
        with torch.autocast(device_type="cuda", dtype=torch.bfloat16):
            logits = F.linear(x, w)
            assert logits.dtype is (x @ w.T).dtype is torch.einsum("ij,kj->ik", x, w).dtype is torch.bfloat16
            targets = torch.zeros(4, dtype=torch.long, device="cuda")
            for value in (
                F.cross_entropy(logits, targets), F.cross_entropy(logits, targets, reduction="none"),
                torch.softmax(logits, -1), F.log_softmax(logits, -1), logits.pow(2), logits.exp(), logits.sum(),
                logits.norm(), torch.logsumexp(logits, -1), F.layer_norm(logits, (16,)), logits.cumsum(-1),
                torch.rsqrt(logits.abs()), F.nll_loss(F.log_softmax(logits, -1), targets), F.mse_loss(logits, logits),
            ):
                assert value.dtype is torch.float32, value.dtype
            assert torch.tanh(logits).dtype is F.relu(logits).dtype is torch.bfloat16
            assert logits.sum(dtype=torch.bfloat16).dtype is torch.bfloat16
            with torch.autocast("cuda", enabled=False):
                assert F.linear(x, w).dtype is torch.float32
        assert F.linear(x, w).dtype is torch.float32
        assert torch.softmax(logits, -1).dtype is torch.bfloat16
        """
    )


def test_a_loss_near_the_uniform_one_is_not_rounded_to_bf16(passes: Run) -> None:
    passes(
        """
        import torch
        import torch.nn.functional as F

        torch.manual_seed(0)
        logits = (0.01 * torch.randn(64, 1024, device="cuda")).bfloat16()
        targets = torch.randint(0, 1024, (64,), device="cuda")
        with torch.autocast(device_type="cuda", dtype=torch.bfloat16):
            loss = F.cross_entropy(logits, targets)
        exact = F.cross_entropy(logits.double(), targets)
        assert abs(loss.item() - exact.item()) < 1e-5, (loss, exact)
        """
    )


def test_a_product_is_the_rounded_product_of_rounded_operands_also_backwards(passes: Run) -> None:
    passes(
        """
        import torch
        import torch.nn.functional as F

        torch.manual_seed(0)
        x = torch.randn(2, 5, 32, device="cuda", requires_grad=True)
        w = torch.randn(16, 32, device="cuda", requires_grad=True)
        b = torch.randn(16, device="cuda", requires_grad=True)
        with torch.autocast(device_type="cuda", dtype=torch.bfloat16):
            y = F.linear(x, w, b)
        upstream = torch.randn(2, 5, 16).bfloat16()
        y.backward(upstream)

        rounded = [value.detach().bfloat16().float() for value in (x, w, b)]
        exact = F.linear(*rounded)
        assert torch.equal(y, exact.bfloat16())
        torch.testing.assert_close(w.grad, (upstream.float().flatten(0, 1).T @ rounded[0].flatten(0, 1)), rtol=2**-7, atol=1e-6)
        torch.testing.assert_close(x.grad, upstream.float() @ rounded[1], rtol=2**-7, atol=1e-6)
        torch.testing.assert_close(b.grad, upstream.float().sum((0, 1)), rtol=2**-7, atol=1e-6)
        assert torch.equal(x.grad, x.grad.bfloat16().float())
        """
    )


def test_other_spellings_of_autocast_and_double_precision(passes: Run) -> None:
    passes(
        """
        import torch

        x = torch.randn(4, 4, device="cuda")
        with torch.cuda.amp.autocast():
            assert (x @ x).dtype is torch.float16
        with torch.amp.autocast("cuda"):
            assert (x @ x).dtype is torch.float16
            assert torch.is_autocast_enabled() and torch.is_autocast_enabled("cuda")
            assert torch.get_autocast_gpu_dtype() is torch.float16
        with torch.autocast(device_type=x.device.type, dtype=torch.bfloat16):
            assert (x @ x).dtype is torch.bfloat16
            assert (x.double() @ x.double()).dtype is torch.float64

        @torch.autocast("cuda", dtype=torch.bfloat16)
        def product(a):
            return a @ a

        assert product(x).dtype is torch.bfloat16
        assert not torch.is_autocast_enabled()
        scaler = torch.amp.GradScaler("cuda")
        weight = torch.nn.Parameter(torch.ones(3, device="cuda"))
        optimizer = torch.optim.AdamW([weight], fused=True, capturable=True)
        scaler.scale(weight.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert (weight != 1).all()
        """
    )


def test_inference_tensors_can_enter_autograd(passes: Run) -> None:
    passes(
        """
        import torch

        weight = torch.ones(3, requires_grad=True)
        with torch.inference_mode():
            made = weight * 2
        assert not made.requires_grad
        (weight * made).sum().backward()
        assert weight.grad is not None

        @torch.inference_mode()
        def score(x):
            return x * weight

        @torch.inference_mode
        def also(x):
            return x * weight

        assert not score(made).requires_grad and not also(made).requires_grad
        with torch.inference_mode(False):
            assert (weight * 2).requires_grad
        assert torch.is_grad_enabled()
        """
    )
