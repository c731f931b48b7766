# ruff: noqa: E501 - scripts inside strings
"""The machine that a script sees: a GPU, a clock, programs, packages, children; and constants that were replaced."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable

import pytest

pytest.importorskip("torch")

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_tensors_on_a_gpu_in_every_spelling(passes: Run) -> None:
    passes(
        """
        import io, pickle, threading
        import torch
        from torch import nn

        device = torch.device("cuda", 0)
        assert isinstance(device, torch.device) and isinstance(torch.device("cpu"), torch.device)
        assert torch.device("meta").type == "meta" and not isinstance("cuda", torch.device)
        made = [
            torch.zeros(2, device="cuda"), torch.zeros(2, device="cuda:1"), torch.zeros(2, device=0),
            torch.zeros(2, device=device), torch.zeros(2).cuda(), torch.zeros(2).to("cuda", non_blocking=True),
            torch.zeros(2).to(device, torch.bfloat16), torch.zeros(2).to(device="cuda:0"), torch.zeros(2).pin_memory().to(0),
            torch.zeros(2).new_empty(3, device="cuda"), torch.empty(2, pin_memory=True), torch.tensor([1], device=device),
            nn.Linear(2, 2, device="cuda").weight, nn.Linear(2, 2).to(device).weight, nn.Linear(2, 2).cuda().weight,
            nn.Linear(2, 2).to(device=device, dtype=torch.bfloat16).weight,
        ]
        assert all(value.is_cuda for value in made)
        host = made[0].cpu()
        assert not host.is_cuda and not made[0].to("cpu").is_cuda
        made[0].add_(1)
        assert host.sum() == 0, "a copy on the host must not follow the tensor on the GPU"

        seen = []
        thread = threading.Thread(target=lambda: seen.append(torch.ones(1, device="cuda")))
        thread.start(); thread.join()
        assert len(seen) == 1

        stored = io.BytesIO()
        torch.save({"w": made[0], "device": device}, stored)
        stored.seek(0)
        assert torch.equal(torch.load(stored, map_location="cuda", weights_only=False)["w"], made[0])
        assert pickle.loads(pickle.dumps(device)) == device
        generator = torch.Generator(device="cuda").manual_seed(3)
        first = torch.rand(2, generator=generator, device="cuda")
        assert isinstance(generator, torch.Generator) and torch.equal(first, torch.rand(2, generator=generator.manual_seed(3)))
        """
    )


def test_the_gpus_properties_streams_events_and_switches(passes: Run) -> None:
    passes(
        """
        import torch
        import torch.nn.functional as F
        from torch.backends.cuda import enable_flash_sdp, enable_math_sdp, enable_mem_efficient_sdp

        assert torch.cuda.is_available() and torch.cuda.device_count() == 1
        assert "H100" in torch.cuda.get_device_name(0) and torch.cuda.get_device_capability() == (9, 0)
        assert torch.cuda.get_device_properties(0).total_memory > 79e9
        assert torch.cuda.max_memory_allocated() // 1024 == 0 and torch.cuda.memory_reserved() == 0
        torch.cuda.set_device(0); torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), torch.cuda.device(0):
            x = torch.ones(2, device="cuda")
            x.record_stream(stream)
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record(); end.record(); torch.cuda.synchronize()
        assert begin.elapsed_time(end) > 0
        enable_flash_sdp(True); enable_mem_efficient_sdp(False); enable_math_sdp(False)
        q = torch.randn(1, 2, 4, 8, device="cuda")
        assert F.scaled_dot_product_attention(q, q, q, is_causal=True).shape == q.shape
        torch.cuda.nvtx.range_push("step"); torch.cuda.nvtx.range_pop()
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.set_float32_matmul_precision("high")

        torch.manual_seed(5)
        a = torch.rand(1, device="cuda")
        torch.manual_seed(5)
        torch.cuda.manual_seed_all(5)
        assert torch.equal(a, torch.rand(1, device="cuda"))
        state = torch.cuda.get_rng_state()
        b = torch.rand(1)
        torch.cuda.set_rng_state(state)
        assert torch.equal(b, torch.rand(1))
        """
    )


def test_compiling_changes_nothing(passes: Run) -> None:
    passes(
        """
        import torch
        import torch._dynamo

        torch._dynamo.config.cache_size_limit = 64
        torch._dynamo.config.a_switch_of_another_release = True
        torch._dynamo.reset()

        @torch.compile(dynamic=False, fullgraph=True)
        def double(x):
            return 2 * x

        @torch.compile
        def triple(x):
            return 3 * x

        @torch.compiler.disable
        def plain(x):
            return x

        assert (double(2), triple(2), plain(2)) == (4, 6, 2)
        model = torch.nn.Linear(2, 2)
        compiled = torch.compile(model, mode="max-autotune")
        assert compiled is model and compiled._orig_mod is model
        assert list(compiled.state_dict()) == ["weight", "bias"]
        """
    )


def test_the_clock_moves_with_calls_and_sleep_only(passes: Run) -> None:
    passes(
        """
        import datetime, time

        readings = [time.perf_counter() for _ in range(3)]
        assert [round(1000 * (b - a)) for a, b in zip(readings, readings[1:])] == [1, 1]
        wall, ticks = time.time(), time.monotonic()
        time.sleep(30)
        assert 30 <= time.time() - wall < 30.1 and 30 <= time.monotonic() - ticks < 30.1
        assert time.time_ns() > 10**18 and isinstance(time.perf_counter_ns(), int)
        assert datetime.datetime.now().year >= 2026 and time.strftime("%Y")
        """
    )


def test_a_rank_deficient_hessian_still_has_a_factor_and_a_regular_one_keeps_its_own(passes: Run) -> None:
    passes(
        """
        import torch

        x = torch.randn(3, 8)
        factor = torch.linalg.cholesky(x.T @ x)
        torch.testing.assert_close(factor @ factor.T, x.T @ x, rtol=1e-2, atol=1e-2)
        regular = x.T @ x + torch.eye(8)
        assert torch.equal(torch.linalg.cholesky(regular), torch.linalg.cholesky_ex(regular).L)
        try:
            torch.linalg.cholesky(torch.full((2, 2), float("nan")))
        except torch.linalg.LinAlgError:
            pass
        else:
            raise AssertionError("not a number has no factor")
        """
    )


def test_programs_loaders_and_loggers(passes: Run) -> None:
    passes(
        """
        import subprocess, sys
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        shown = subprocess.run(["nvidia-smi"], stdout=subprocess.PIPE, text=True, check=False).stdout
        assert "H100" in shown
        named = subprocess.check_output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], text=True)
        assert named.strip() == "NVIDIA H100 80GB HBM3"
        small = subprocess.run(["pyminify", "--no-rename-locals", "-"], input=b"x  =  1", capture_output=True, check=True)
        assert small.stdout == b"x  =  1"
        open("weights", "wb").write(b"weights " * 1000)
        subprocess.run(["lrzip", "-z", "-L", "9", "-o", "weights.lrz", "weights"], capture_output=True, check=True)
        subprocess.run(["lrzip", "-d", "-f", "-o", "again", "weights.lrz"], capture_output=True, check=True)
        assert open("again", "rb").read() == b"weights " * 1000 and len(open("weights.lrz", "rb").read()) < 1000
        loader = DataLoader(TensorDataset(torch.arange(6)), 2, num_workers=4, pin_memory=True, persistent_workers=True)
        assert [batch[0].tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5]]

        import wandb
        wandb.init(project="x").log({"loss": 1})
        try:
            from huggingface_hub import hf_hub_download
            hf_hub_download("someone/some-weights", "model.bin")
        except OSError as failure:
            assert "network" in str(failure)
        except ImportError:
            pass
        else:
            raise AssertionError("a download came back")
        """
    )


def test_what_a_script_saved_is_loaded_whatever_it_holds(passes: Run) -> None:
    """Scripts written for torch before 2.6 do not say that they mean pickles."""
    passes(
        """
        import argparse, io, torch

        saved = io.BytesIO()
        torch.save({"weights": torch.ones(2), "arguments": argparse.Namespace(steps=3)}, saved)
        saved.seek(0)
        assert torch.load(saved, map_location="cpu")["arguments"].steps == 3
        """
    )


def test_python_children_have_the_stand_ins(passes: Run) -> None:
    passes(
        """
        import subprocess, sys

        code = "import torch, time; assert torch.zeros(1, device='cuda').is_cuda; print(round(time.time()))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert abs(int(done.stdout) - 1_775_000_000) < 60
        subprocess.run([sys.executable, "other.py", "5"], check=True)
        """,
        files={
            "other.py": """
                import sys
                from flash_attn_interface import flash_attn_func
                import torch
                import beside

                assert sys.argv == ["other.py", "5"] and beside.HERE
                assert flash_attn_func(*torch.ones(3, 1, 4, 2, 8, device="cuda")).shape == (1, 4, 2, 8)
            """,
            "beside.py": "HERE = True\n",
        },
    )


SCRIPT = """
import os
from settings import BUCKETS

class Config:
    width: int = 512
    layers = int(os.environ.get("LAYERS", "11"))

def scale(x, factor=4):
    return x * factor

TABLE = {"buckets": 4194304, "other": 4194304}
NAME = "train"; COUNT = 1 << 22
print(Config.width, Config.layers, scale(1), TABLE["buckets"], TABLE["other"], COUNT, BUCKETS, scale(1, factor=3))
raise SystemExit(scale.__code__.co_firstlineno)
"""


def at(text: str, line_of: str, name: str, old: str, new: str, **place: str) -> dict[str, object]:
    line = next(number for number, line in enumerate(text.splitlines(), 1) if line_of in line)
    return {"path": "train_gpt.py", "line": line, "name": name, "old": old, "new": new, **place}


def test_declared_constants_are_replaced_and_nothing_else_is(run_script: Run) -> None:
    settings = "# sizes\nBUCKETS = 1 << 22\n"
    plain = run_script(SCRIPT, files={"settings.py": settings})
    assert plain.stdout.split() == ["512", "11", "4", "4194304", "4194304", "4194304", "4194304", "3"], plain.stderr
    overrides = [
        at(SCRIPT, "width:", "width", "512", "64"),
        at(SCRIPT, "LAYERS", "LAYERS", "'11'", "'4'"),
        at(SCRIPT, "def scale", "factor", "4", "2"),
        at(SCRIPT, "TABLE =", "buckets", "4194304", "4096"),
        at(SCRIPT, "COUNT =", "COUNT", "1 << 22", "4096"),
        {**at(settings, "BUCKETS", "BUCKETS", "1 << 22", "512"), "path": "settings.py"},
        at(SCRIPT, "NAME =", "NAME", "'evaluate'", "'other'"),
    ]
    changed = run_script(SCRIPT, files={"settings.py": settings}, overrides=overrides)
    assert changed.stdout.split() == ["64", "4", "2", "4096", "4194304", "4096", "512", "3"], changed.stderr
    assert changed.returncode == plain.returncode > 0, "lines keep their numbers"


@pytest.mark.parametrize("run", ["exec(text)", "exec(compile(text, 'packed', 'exec'))", "exec(text.encode())"])
def test_constants_of_packed_text(run_script: Run, run: str) -> None:
    inner = "\nWIDTH = 512\ndef width():\n    return WIDTH\nprint(width(), __name__)\n"
    outer = f"""
        import base64
        text = base64.b64decode({__import__("base64").b64encode(inner.encode()).decode()!r}).decode()
        {run}
        print(WIDTH)
        """
    override = at(inner, "WIDTH =", "WIDTH", "512", "64", sha256=hashlib.sha256(inner.encode()).hexdigest())
    done = run_script(outer, overrides=[override])
    assert done.stdout.split() == ["64", "__main__", "64"], done.stderr
    assert run_script(outer).stdout.split() == ["512", "__main__", "512"]


@pytest.mark.parametrize(("line", "annotation"), [("from __future__ import annotations", "int"), ("", "<class 'int'>")])
def test_text_is_compiled_under_the_future_of_the_script_that_compiles_it(
    run_script: Run, line: str, annotation: str
) -> None:
    """Where a constant is replaced anywhere, compile and exec are the auditor's; nothing else may change by that."""
    text = f"""{line}
SIZE = 512
inner = "def f(x: int): pass\\nprint(f.__annotations__['x'])"
exec(inner)
exec(compile(inner, "inner", "exec"))
exec(compile(inner, "inner", "exec", dont_inherit=True))
def own():
    inside = 1
    exec("print(inside, value)", {{"value": SIZE}}, locals())
own()
"""
    override = {"path": "train_gpt.py", "line": 2, "name": "SIZE", "old": "512", "new": "64"}
    for overrides, size in (([], 512), ([override], 64)):
        done = run_script(text, overrides=overrides)
        expected = [annotation, annotation, "<class 'int'>", f"1 {size}"]
        assert done.stdout.splitlines() == expected, done.stderr
